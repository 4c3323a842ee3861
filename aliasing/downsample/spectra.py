"""The spectra of one picture before and after each downsampling operator, for the figure and for a folder.

The folder holds ``spectra.json`` (for the original and each operator: the share of energy that is aliased, the share of
the baseband that is kept, and the power by frequency) and two pictures for each: its samples and its spectrum. In a
spectrum grey level 255 is the original's strongest frequency, and 0 is `FLOOR` decibels below it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aliasing import sampling, spectrum
from aliasing.downsample.comparison import Comparison, Picture
from aliasing.images.preview import pictures_in, read_preview, write_preview
from aliasing.state import read_json, write_json

FILE = "spectra.json"
OPERATORS = ("subsample", "max", "average", "blur", "fourier")
FLOOR = -100.0  # decibels

Profile: TypeAlias = list[list[float]]
"""Mean power by frequency: pairs (cycles per pixel of the original, power)."""


@dataclass(frozen=True)
class Look:
    """A picture, or the output of an operator for it; the shares are those of `Comparison`, None for the picture."""

    operator: str  #: "original" for the picture itself
    label: str  #: in a figure
    samples: NDArray[Any]  #: H×W or H×W×channels, 0…1
    decibels: NDArray[Any]  #: H×W: centred log spectrum before subsampling, below the original's strongest frequency
    power: dict[str, Profile]  #: "power" of the original; "baseband" and "alias" of an operator's samples
    alias_fraction: float | None = None
    baseband_kept: float | None = None


@dataclass(frozen=True)
class Spectra:
    """One picture before and after each downsampling operator."""

    photograph: str
    size: tuple[int, int]  #: height and width of the original
    stride: int
    power_law: tuple[float, float] | None  #: the exponent of the original's, and its standard error
    looks: list[Look]  #: the first is the original

    @classmethod
    def of(cls, picture: Picture, results: Sequence[Comparison], stride: int, photograph: str = "") -> "Spectra":
        """The spectra of a picture from `aliasing.downsample.comparison.prepare`, and of each operator's result."""
        reference = float(spectrum.magnitude(picture - picture.mean((-2, -1), keepdims=True)).max()) or 1.0

        def decibels(dense: Picture) -> NDArray[Any]:
            found = spectrum.log_magnitude(dense.mean(0), floor=FLOOR, reference=reference)
            return np.asarray(found).clip(None, 0)

        original = Look("original", "original", _shown(picture), decibels(picture), {"power": _profile(picture, 1)})
        looks = [
            Look(
                result.operator,
                result.label,
                _shown(result.samples),
                decibels(result.dense),
                {"baseband": _profile(result.baseband, stride), "alias": _profile(result.alias, stride)},
                result.alias_fraction,
                None if math.isnan(result.baseband_kept) else result.baseband_kept,
            )
            for result in results
        ]
        law = spectrum.power_law(picture.mean(0))
        height, width = picture.shape[-2:]
        return cls(photograph, (height, width), stride, (float(law.slope), float(law.error)), [original, *looks])

    @property
    def nyquist(self) -> float:
        """The Nyquist frequency of the samples, in cycles per pixel of the original."""
        return sampling.nyquist(self.stride)

    def write(self, folder: Path) -> None:
        """Write the spectra to a folder."""
        described = []
        for look in self.looks:
            files = {"samples": f"{look.operator}.webp", "spectrum": f"{look.operator}-spectrum.png"}
            write_preview(folder / files["spectrum"], 255 * (1 - look.decibels / FLOOR))
            write_preview(folder / files["samples"], 255 * look.samples)
            shares = {"alias_fraction": look.alias_fraction, "baseband_kept": look.baseband_kept}
            described.append(
                {"operator": look.operator, "label": look.label, **files}
                | {name: share for name, share in shares.items() if share is not None}
                | look.power
            )
        content = {
            "photograph": self.photograph,
            "size": list(self.size),
            "stride": self.stride,
            "nyquist": self.nyquist,
            "power_law": self.power_law,
            "floor": FLOOR,
            "looks": described,
        }
        write_json(folder / FILE, content, pictures_in(described))

    @classmethod
    def open(cls, folder: Path) -> "Spectra":
        """Read what :meth:`write` wrote: pictures at their reduced size, spectra in 256 levels.

        Raises ValueError, KeyError or TypeError if the folder holds something else.
        """
        content = read_json(folder / FILE, folder.parent)
        looks = [
            Look(
                str(look["operator"]),
                str(look["label"]),
                read_preview(folder, look["samples"]) / 255,
                content["floor"] * (1 - read_preview(folder, look["spectrum"]) / 255),
                {part: look[part] for part in ("power", "baseband", "alias") if part in look},
                look.get("alias_fraction"),
                look.get("baseband_kept"),
            )
            for look in content["looks"]
        ]
        height, width = map(int, content["size"])
        law = content.get("power_law")
        return cls(str(content["photograph"]), (height, width), int(content["stride"]), law and tuple(law), looks)


def _shown(samples: Picture) -> Picture:
    """Channels last, or without the axis if there is only one."""
    return samples[0] if len(samples) == 1 else np.moveaxis(samples, 0, -1)


def _profile(samples: Picture, stride: int) -> Profile:
    """Pairs (frequency, mean power) without the mean, in cycles per pixel of the original."""
    bins = max(6, min(48 // stride, min(samples.shape[-2:]) // 4))
    frequency, power = spectrum.radial_profile(samples - samples.mean((-2, -1), keepdims=True), bins=bins)
    pairs = zip(frequency / stride, power.mean(0), strict=True)
    return [[float(f), float(p)] for f, p in pairs if math.isfinite(p)]
