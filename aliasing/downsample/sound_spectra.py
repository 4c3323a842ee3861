"""The spectra of one sound before and after each downsampling operator, for the figure and for a folder.

The folder holds ``sound.json`` (for the original and each operator: the share of energy that is aliased, the share of
the baseband that is kept, and Welch's averaged power by frequency) and the spectrograms as pictures, in which grey
level 255 is the original's strongest cell, and 0 is `FLOOR` decibels below it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from aliasing import sampling
from aliasing.downsample.comparison import Comparison, Picture
from aliasing.downsample.spectra import Profile
from aliasing.images.preview import read_preview, write_preview
from aliasing.provenance import write_json

FILE = "sound.json"
FLOOR = -80.0  # decibels
_FRAME = 0.032  # seconds: some periods of a voice, and short beside a syllable
_LARGEST = 1024  # frames and frequencies of a spectrogram in a folder


@dataclass(frozen=True)
class SoundLook:
    """A sound, or the output of an operator for it; the shares are those of `Comparison`, None for the sound."""

    operator: str  #: "original" for the sound itself
    label: str  #: in a figure
    spectrogram: NDArray[Any]  #: frequencies × frames, of the samples: decibels below the original's strongest cell
    folded: NDArray[Any] | None  #: of the alias alone; None for the original
    power: dict[str, Profile]  #: Welch's: "power" of the original; "baseband" and "alias" of an operator's samples
    alias_fraction: float | None = None
    baseband_kept: float | None = None  #: None too if the sound has next to nothing there
    above_kept: float | None = None


@dataclass(frozen=True)
class SoundSpectra:
    """One sound before and after each downsampling operator."""

    sound: str
    rate: float  #: samples per second of the original
    seconds: float
    stride: int
    looks: list[SoundLook]  #: the first is the original

    @classmethod
    def of(cls, sound: Picture, results: Sequence[Comparison], stride: int, rate: float, name: str) -> "SoundSpectra":
        """The spectra of a sound (channels, N), and of each operator's result."""
        reference = float(_cells(sound, rate).max()) or 1.0
        slow = rate / stride

        def decibels(samples: Picture, rate: float) -> NDArray[Any]:
            cells = _cells(samples, rate) / reference
            return np.asarray(10 * np.log10(np.maximum(cells, 10 ** (FLOOR / 10)))).clip(FLOOR, 0)

        original = SoundLook("original", "original", decibels(sound, rate), None, {"power": _welch(sound, rate)})
        looks = [
            SoundLook(
                result.operator,
                result.label,
                decibels(result.samples, slow),
                decibels(result.alias, slow),
                {"baseband": _welch(result.baseband, slow), "alias": _welch(result.alias, slow)},
                result.alias_fraction,
                known(result.baseband_kept),
                known(result.above_kept),
            )
            for result in results
        ]
        return cls(name, rate, sound.shape[-1] / rate, stride, [original, *looks])

    @property
    def nyquist(self) -> float:
        """The Nyquist frequency of the samples, in hertz."""
        return float(sampling.nyquist(self.stride, self.rate))

    def write(self, folder: Path) -> None:
        """Write the spectra to a folder."""
        described = []
        for look in self.looks:
            files = {"spectrogram": f"{look.operator}.png"}
            write_preview(folder / files["spectrogram"], 255 * (1 - look.spectrogram / FLOOR), _LARGEST)
            if look.folded is not None:
                files["folded"] = f"{look.operator}-folded.png"
                write_preview(folder / files["folded"], 255 * (1 - look.folded / FLOOR), _LARGEST)
            shares = {name: getattr(look, name) for name in ("alias_fraction", "baseband_kept", "above_kept")}
            described.append({"operator": look.operator, "label": look.label, **files, **shares, **look.power})
        content = {"sound": self.sound, "rate": self.rate, "seconds": self.seconds, "stride": self.stride}
        write_json(folder / FILE, {**content, "nyquist": self.nyquist, "floor": FLOOR, "looks": described})

    @classmethod
    def open(cls, folder: Path) -> "SoundSpectra":
        """Read what :meth:`write` wrote: spectrograms in 256 levels.

        Raises ValueError, KeyError or TypeError if the folder holds something else.
        """
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))

        def decibels(name: str | None) -> NDArray[Any] | None:
            return None if name is None else content["floor"] * (1 - read_preview(folder, name) / 255)

        looks = [
            SoundLook(
                str(look["operator"]),
                str(look["label"]),
                np.asarray(decibels(look["spectrogram"])),
                decibels(look.get("folded")),
                {part: look[part] for part in ("power", "baseband", "alias") if part in look},
                look["alias_fraction"],
                look["baseband_kept"],
                look.get("above_kept"),
            )
            for look in content["looks"]
        ]
        numbers = float(content["rate"]), float(content["seconds"]), int(content["stride"])
        return cls(str(content["sound"]), *numbers, looks)


def frame_length(size: int, rate: float) -> int:
    """Samples of a frame: about 32 ms, a power of two, and at most a quarter of the sound.

    Examples
    --------
    >>> frame_length(16000, 16000), frame_length(16000, 8000), frame_length(40, 8000)
    (512, 256, 8)
    """
    longest = max(size // 4, 8)
    return int(2 ** max(min(round(np.log2(_FRAME * rate)), np.floor(np.log2(longest))), 3))


def known(share: float) -> float | None:
    return None if np.isnan(share) else share


def _cells(samples: Picture, rate: float) -> NDArray[np.float64]:
    """The mean power over the channels of each frequency and frame, frequencies upwards from 0."""
    length = frame_length(samples.shape[-1], rate)
    transform = signal.ShortTimeFFT(signal.windows.hann(length, sym=False), length // 4, rate, scale_to="magnitude")
    cells = transform.spectrogram(samples).mean(0)
    inside = slice(transform.lower_border_end[1], transform.upper_border_begin(samples.shape[-1])[1])
    return np.asarray(cells[:, inside])


def _welch(samples: Picture, rate: float) -> Profile:
    """Pairs (hertz, power per hertz): the mean over overlapping frames (Welch 1967) and channels, without the mean."""
    frequency, power = signal.welch(samples, rate, nperseg=frame_length(samples.shape[-1], rate))
    return [[float(f), float(p)] for f, p in zip(frequency[1:], power.mean(0)[1:], strict=True)]
