"""The spectra of one picture before and after each way of downsampling, kept beside a run's numbers to be looked at.

The folder holds ``spectra.json`` (for the original and for each operator: which share of its energy is aliased, how
much of the baseband it keeps, and its power by frequency) and two pictures of each: its samples, and its spectrum. The
spectrum is kept as numbers: grey level 255 is the original's strongest frequency, 0 lies `FLOOR` decibels below it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aliasing import sampling, spectrum
from aliasing.downsample.comparison import Comparison, Picture
from aliasing.images.preview import write_preview
from aliasing.provenance import write_json

FILE = "spectra.json"
OPERATORS = ("subsample", "max", "average", "blur", "fourier")
FLOOR = -100.0  # decibels


def write_spectra(folder: Path, name: str, picture: Picture, results: Sequence[Comparison], stride: int) -> None:
    """Leave the spectra of a picture, and of what operators make of it, in a folder.

    Parameters
    ----------
    folder : Path
    name : str
        The picture's.
    picture : array (channels, H, W)
        As :func:`aliasing.downsample.comparison.prepare` returns it.
    results : sequence of Comparison
        What each operator makes of it.
    stride : int
        Distance between the samples kept.
    """
    reference = float(spectrum.magnitude(picture - picture.mean((-2, -1), keepdims=True)).max()) or 1.0

    def look(key: str, label: str, dense: Picture, samples: Picture) -> dict[str, Any]:
        decibels = spectrum.log_magnitude(dense.mean(0), floor=FLOOR, reference=reference)
        write_preview(folder / f"{key}-spectrum.png", 255 * (1 - decibels / FLOOR))
        write_preview(folder / f"{key}.webp", 255 * (samples[0] if len(samples) == 1 else np.moveaxis(samples, 0, -1)))
        return {"operator": key, "label": label, "samples": f"{key}.webp", "spectrum": f"{key}-spectrum.png"}

    looks = [look("original", "original", picture, picture) | {"power": _profile(picture, 1)}]
    for result in results:
        looks.append(
            look(result.operator, result.label, result.dense, result.samples)
            | {
                "alias_fraction": result.alias_fraction,
                "baseband_kept": result.baseband_kept,
                "baseband": _profile(result.baseband, stride),
                "alias": _profile(result.alias, stride),
            }
        )
    write_json(
        folder / FILE,
        {
            "photograph": name,
            "size": list(picture.shape[-2:]),
            "stride": stride,
            "nyquist": sampling.nyquist(stride),
            "floor": FLOOR,
            "looks": looks,
        },
    )


def _profile(samples: Picture, stride: int) -> list[list[float]]:
    """Mean power by frequency, in cycles per pixel of the original, without the mean: pairs (frequency, power)."""
    bins = max(6, min(48 // stride, min(samples.shape[-2:]) // 4))
    frequency, power = spectrum.radial_profile(samples - samples.mean((-2, -1), keepdims=True), bins=bins)
    pairs = zip(frequency / stride, power.mean(0), strict=True)
    return [[float(f), float(p)] for f, p in pairs if math.isfinite(p)]
