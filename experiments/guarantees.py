"""Which promises of the published downsampling operators hold, each measured in float64 with the worst case found?

APS, LPS and TIPS are published as exact under circular shifts by whole samples, FLC and ASAP as free of aliases. Every
operator of the package is asked every law at stride 2, and the shifts at strides 3 and 4 too. FLC stands there twice:
as the package computes it, and by its publication's arithmetic, which cuts the spectrum at a quarter and three quarters
of its length, rounded down. Parts that learn have random weights.
"""

from typing import Any

import torch
from torch import Tensor

import aliasing as al
from aliasing.downsample.laws import LAWS
from aliasing.kinds import OPERATORS
from aliasing.plots.style import save
from experiments._run import Run

PLAIN = ("subsample", "max", "average")
QUICK = ("constant kept", "circular integer", "alias free")
CLAIMS = {"FLC as published": {"alias free": "free of aliases"}}


def run(run: Run) -> dict[str, Any]:
    """Check every operator, and draw the table."""
    names: dict[str, Any] = {name: name for name in (*PLAIN, *OPERATORS)}
    found = al.guarantees(
        {**names, "FLC as published": flc_as_published}, laws=QUICK if run.quick else LAWS, claims=CLAIMS
    )
    save(found.plot(), run.out / "figure.png")
    broken = {
        name: {law: cell for law, cell in cells.items() if cell["differs"]}
        for name, cells in found.rows.items()
        if any(cell["differs"] for cell in cells.values())
    }
    return {
        "settings": found.settings,
        "data": {"name": "white noise and noise with a 1/f spectrum, by seed"},
        "weights": {},
        "numbers": {"guarantees": found.rows, "claims that did not hold": broken, "skipped": found.skipped},
    }


def flc_as_published(x: Tensor) -> Tensor:
    """Frequency low-cut by the arithmetic of its publication (Grabinski et al. 2022), for an input of any size."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(x, norm="forward"), dim=(-2, -1))
    height, width = x.shape[-2:]
    low = spectrum[..., int(height / 4) : int(height / 4 * 3), int(width / 4) : int(width / 4 * 3)]
    return torch.fft.ifft2(torch.fft.ifftshift(low, dim=(-2, -1)), norm="forward").real
