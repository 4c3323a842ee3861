"""What each downsampling site folds, on given images.

A site is a call that keeps every *s*-th sample of a map that it could have computed densely, at stride 1
(`aliasing.sites`). The energy of the map in front of the site at and above the new Nyquist frequency 1/(2s) may fold;
that of the dense map does fold (as in `aliasing.sampling.decompose`, summed over the channels). A dense maximum has
circular padding, a dense convolution its own.

In an anti-aliased network, the map in front is the input of the low-pass, and the dense map its output.
`aliasing.depth.dense` finds these maps.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aliasing import spectrum
from aliasing.renamed import renamed
from aliasing.sampling import below_nyquist, rounding_share

BINS = 16  # rings of the radial spectrum, up to 0.5 cycles per cell


@dataclass(frozen=True)
class Energies:
    """The energy of a map (*axes, C) by frequency, without its mean, summed over the channels."""

    shape: tuple[int, ...]
    by_frequency: Tensor  # from 0 along the last axis, W // 2 + 1 of them, and centred along the others

    def above(self, stride: tuple[int, ...]) -> float:
        """The share at and above the Nyquist frequency of a stride; NaN if there is no energy."""
        total = float(self.by_frequency.sum())
        return 1 - self.below(stride) / total if total > 0 else math.nan

    def below(self, stride: tuple[int, ...]) -> float:
        """The energy below the Nyquist frequency of a stride."""
        return float(self.by_frequency[torch.from_numpy(below_nyquist(self.shape, stride, onesided=True))].sum())

    def radial(self) -> list[float | None]:
        """The mean energy per frequency in each ring, relative to a white spectrum."""
        total = float(self.by_frequency.sum())
        if not total > 0:
            return [None] * BINS
        rings, counts = _rings(self.shape)
        sums = torch.zeros(BINS + 1, dtype=torch.float64).index_add_(0, rings, self.by_frequency.reshape(-1))[:BINS]
        white = total / (math.prod(self.shape) - 1)
        return [float(energy / count / white) if count else None for energy, count in zip(sums, counts, strict=True)]


def energies(x: Tensor) -> Energies:
    """The energies of a map (*axes, C)."""
    shape = tuple(x.shape[:-1])
    energy = spectrum.power(x.movedim(-1, 0).contiguous(), axes=tuple(range(1, x.ndim)), onesided=True)
    summed = energy.sum(0).cpu().double()  # mps has no float64
    mean = float(summed[_mean(shape)])
    summed[_mean(shape)] = 0
    if float(summed.sum()) <= mean * rounding_share(torch.finfo(energy.dtype).eps, shape):
        summed.zero_()
    return Energies(shape, summed)


def _mean(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The place of frequency 0 in a one-sided spectrum."""
    return (*(size // 2 for size in shape[:-1]), 0)


@lru_cache(maxsize=64)
def _rings(shape: tuple[int, ...]) -> tuple[Tensor, list[int]]:
    """The ring of every frequency of a one-sided spectrum (the last is for what lies beyond), and their sizes."""
    relative, edges = (1.0,) * len(shape), tuple(np.linspace(0, 0.5, BINS + 1))
    ring = spectrum.ring_of_each(shape, relative, edges, onesided=True).copy()
    ring[_mean(shape)] = BINS
    f_x = spectrum.axis_frequencies(shape[-1], onesided=True)
    mirrored = np.where((f_x > 0) & (f_x < 0.5), 2, 1) * np.ones_like(ring)
    counts = np.bincount(ring.reshape(-1), mirrored.reshape(-1), minlength=BINS + 1)[:BINS]
    return torch.from_numpy(ring.reshape(-1)), [int(count) for count in counts]


def measure_site(before: Tensor, dense: Tensor, stride: tuple[int, ...], compares: bool) -> dict[str, Any]:
    """The measures of a site on one image, from the map in front of it and the one that is subsampled, channels last.

    ``energy_above`` is the share of the energy of ``before`` at and above the new Nyquist frequency, ``alias_fraction``
    the same for ``dense``, and ``baseband_kept`` the energy of ``dense`` below it ÷ that of ``before``, if the two
    are comparable (not for a convolution, whose weights have their own scale); NaN if there is no energy. ``spectrum``
    is the radial spectrum of ``before``.

    Examples
    --------
    >>> x = torch.tensor([1.0, -1.0] * 4).expand(8, 8)[..., None]
    >>> found = measure_site(x, x, (2, 2), compares=True)
    >>> round(found["alias_fraction"], 6)
    1.0
    """
    in_front = energies(before)
    behind = in_front if dense is before else energies(dense)
    inside = in_front.below(stride)
    return {
        "energy_above": in_front.above(stride),
        "alias_fraction": behind.above(stride),
        "baseband_kept": behind.below(stride) / inside if compares and inside > 0 else math.nan,
        "spectrum": in_front.radial(),
    }


__getattr__ = renamed(__name__, {"fold": "aliasing.depth.folding:measure_site"})
