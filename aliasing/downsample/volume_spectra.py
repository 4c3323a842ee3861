"""The spectra of one volume before and after each downsampling operator, for the figure and for a folder.

The folder holds ``volume.json`` (for the original and each operator: the shares of energy, and the power by frequency
along each axis, in cycles per millimetre) and, as pictures, the middle slice of the samples and of what of it has
folded. In a slice grey level 0 is the original's least value and 255 its largest; in what has folded, 128 is zero and 1
and 255 are `reach` of the way from the former to the latter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from aliasing import sampling, spectrum
from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.comparison import Comparison, Picture, Steps
from aliasing.downsample.sound_spectra import known
from aliasing.downsample.spectra import Profile
from aliasing.images.preview import pictures_in, read_preview, write_preview
from aliasing.state import read_json, write_json

FILE = "volume.json"
AXES = "DHW"
_LARGEST = 1024  # voxels of a slice in a folder


@dataclass(frozen=True)
class VolumeLook:
    """A volume, or the output of an operator for it; the shares are those of `Comparison`, None for the volume."""

    operator: str  #: "original" for the volume itself
    label: str  #: in a figure
    slice: NDArray[Any]  #: the middle one of the samples, of the first channel: 0…1
    folded: NDArray[Any] | None  #: that of the alias alone, as a share of ``reach``: −1…1; None for the original
    power: list[dict[str, Profile]]  #: by axis: "power" of the original; "baseband" and "alias" of an operator
    above: list[float]  #: by axis: the share of the energy at and above the new Nyquist frequency there
    alias_fraction: float | None = None
    baseband_kept: float | None = None
    above_kept: float | None = None


@dataclass(frozen=True)
class VolumeSpectra:
    """One volume before and after each downsampling operator."""

    volume: str
    rates: tuple[float, ...]  #: voxels of the original per millimetre along D, H and W
    size: tuple[int, ...]  #: of the original, in voxels
    stride: Steps
    directions: str  #: as of `aliasing.volumes.Volume`
    reach: float  #: the strongest alias of an operator in its slice, as a share of the range of the original's values
    looks: list[VolumeLook]  #: the first is the original

    @classmethod
    def of(
        cls,
        volume: Picture,
        results: Sequence[Comparison],
        stride: PerAxis,
        rates: tuple[float, ...],
        name: str,
        directions: str = "",
    ) -> "VolumeSpectra":
        """The spectra of a volume (channels, D, H, W), and of each operator's result."""
        size = volume.shape[1:]
        steps = per_axis(stride, len(size), "stride")
        slow = tuple(rate / step for rate, step in zip(rates, steps, strict=True))
        across = _across(size, rates)
        place = size[across] // steps[across] // 2
        least, largest = volume[0].min(), volume[0].max()
        span = (largest - least) or 1.0

        def middle(samples: Picture, step: int = 1) -> Picture:
            return np.asarray(samples[0].take(step * place, across)) / span

        aliases = [middle(result.alias) for result in results]
        reach = max((float(abs(alias).max()) for alias in aliases), default=0.0) or 1.0
        original = VolumeLook(
            "original",
            "original",
            middle(volume, steps[across]) - least / span,
            None,
            [{"power": _density(volume, axis, rates)} for axis in range(len(size))],
            above_each(volume, steps),
        )
        looks = [
            VolumeLook(
                result.operator,
                result.label,
                (middle(result.samples) - least / span).clip(0, 1),
                alias / reach,
                [
                    {"baseband": _density(result.baseband, axis, slow), "alias": _density(result.alias, axis, slow)}
                    for axis in range(len(size))
                ],
                above_each(result.dense, steps),
                result.alias_fraction,
                known(result.baseband_kept),
                known(result.above_kept),
            )
            for result, alias in zip(results, aliases, strict=True)
        ]
        return cls(name, rates, size, steps, directions, reach, [original, *looks])

    @property
    def nyquist(self) -> tuple[float, ...]:
        """The Nyquist frequency of the samples along each axis, in cycles per millimetre."""
        return sampling.nyquist(self.stride, self.rates)

    @property
    def across(self) -> int:
        """The axis that the slices are perpendicular to: the one along which the volume is shortest."""
        return _across(self.size, self.rates)

    def write(self, folder: Path) -> None:
        """Write the spectra to a folder."""
        described = []
        for look in self.looks:
            files = {"slice": f"{look.operator}.png"}
            write_preview(folder / files["slice"], 255 * look.slice, _LARGEST)
            if look.folded is not None:
                files["folded"] = f"{look.operator}-folded.png"
                write_preview(folder / files["folded"], 128 + 127 * look.folded, _LARGEST)
            shares = {name: getattr(look, name) for name in ("alias_fraction", "baseband_kept", "above_kept")}
            numbers = {**shares, "above": look.above, "power": look.power}
            described.append({"operator": look.operator, "label": look.label, **files, **numbers})
        content = {
            "volume": self.volume,
            "rates": list(self.rates),
            "size": list(self.size),
            "stride": list(self.stride),
            "directions": self.directions,
            "reach": self.reach,
            "nyquist": list(self.nyquist),
            "looks": described,
        }
        write_json(folder / FILE, content, pictures_in(described))

    @classmethod
    def open(cls, folder: Path) -> "VolumeSpectra":
        """Read what :meth:`write` wrote: slices in 256 levels.

        Raises ValueError, KeyError or TypeError if the folder holds something else.
        """
        content = read_json(folder / FILE, folder.parent)
        looks = [
            VolumeLook(
                str(look["operator"]),
                str(look["label"]),
                read_preview(folder, look["slice"]) / 255,
                None if "folded" not in look else (read_preview(folder, look["folded"]) - 128.0) / 127,
                look["power"],
                look["above"],
                look["alias_fraction"],
                look["baseband_kept"],
                look["above_kept"],
            )
            for look in content["looks"]
        ]
        rates, size, stride = (tuple(content[name]) for name in ("rates", "size", "stride"))
        directions, reach = str(content["directions"]), float(content["reach"])
        return cls(str(content["volume"]), rates, size, stride, directions, reach, looks)


def above_each(volume: Picture, stride: Steps) -> list[float]:
    """For each axis, the share of the energy at and above the new Nyquist frequency there, without the mean.

    What lies above two of them counts twice, so the sum is at least the share above any.
    """
    power = spectrum.power(volume, tuple(range(1, volume.ndim))).sum(0)
    power[tuple(size // 2 for size in power.shape)] = 0  # without the mean
    total, found = power.sum() or 1.0, []
    for axis, step in enumerate(stride):
        lines = np.moveaxis(power, axis, 0).reshape(power.shape[axis], -1).sum(1)
        above = lines[~sampling.below_nyquist(lines.shape, (step,))].sum() / total
        found.append(round(float(above), 12))  # the rest is rounding
    return found


def _across(size: Sequence[int], rates: Sequence[float]) -> int:
    return int(np.argmin([count / rate for count, rate in zip(size, rates, strict=True)]))


def _density(samples: Picture, axis: int, rates: Sequence[float]) -> Profile:
    """Pairs (cycles per millimetre, power per cycle per millimetre), without 0: the mean over the lines of an axis."""
    frequency, power = scipy.signal.periodogram(samples, rates[axis], detrend=False, axis=axis + 1)
    power = np.moveaxis(power, axis + 1, -1)
    power = power.reshape(-1, power.shape[-1]).mean(0)
    return [[float(f), float(p)] for f, p in zip(frequency[1:], power[1:], strict=True)]
