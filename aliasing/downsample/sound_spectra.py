"""The spectra of one sound before and after each downsampling operator, for the figure and for a folder.

The folder holds ``sound.json`` (for the original and each operator: the share of energy that is aliased, the share of
the baseband that is kept, and Welch's averaged power by frequency) and the spectrograms as pictures, in which grey
level 255 is the original's strongest cell, and 0 is `FLOOR` decibels below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from aliasing import sampling
from aliasing.downsample.comparison import Comparison, Picture
from aliasing.downsample.spectra import Profile
from aliasing.images.preview import pictures_in, read_preview, write_preview
from aliasing.state import read_json, write_json

FILE = "sound.json"
FLOOR = -80.0  # decibels
_FRAME = 0.032  # seconds: some periods of a voice, and short beside a syllable
_SHORTEST = 8  # samples of a frame
_UNITS = ((2000, "kHz", 1e3), (1, "Hz", 1.0), (1e-3, "mHz", 1e-3), (0, "µHz", 1e-6))  # from this rate on
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
    rate: float | None  #: samples per second of the original; None if they are not known
    seconds: float
    stride: int
    looks: list[SoundLook]  #: the first is the original

    @classmethod
    def of(
        cls, sound: Picture, results: Sequence[Comparison], stride: int, rate: float | None, name: str
    ) -> "SoundSpectra":
        """The spectra of a sound (channels, N), and of each operator's result."""
        per_second = 1.0 if rate is None else rate
        reference = float(_cells(sound, per_second).max()) or 1.0
        slow = per_second / stride

        def decibels(samples: Picture, rate: float) -> NDArray[Any]:
            cells = _cells(samples, rate) / reference
            return np.asarray(10 * np.log10(np.maximum(cells, 10 ** (FLOOR / 10)))).clip(FLOOR, 0)

        power = {"power": _welch(sound, per_second)}
        original = SoundLook("original", "original", decibels(sound, per_second), None, power)
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
        return cls(name, rate, sound.shape[-1] / per_second, stride, [original, *looks])

    @property
    def highest(self) -> float:
        """The Nyquist frequency of the original, in hertz, or cycles per sample of the original."""
        return float(sampling.nyquist(1, 1.0 if self.rate is None else self.rate))

    @property
    def unit(self) -> tuple[str, float]:
        """The unit in which its frequencies are numbers of a few digits, and how many hertz that is."""
        if self.rate is None:
            return "cycles per original sample", 1.0
        return next((unit, hertz) for least, unit, hertz in _UNITS if self.rate >= least)

    @property
    def nyquist(self) -> float:
        """The Nyquist frequency of the samples, in hertz, or cycles per sample of the original."""
        return self.highest / self.stride

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
        content: dict[str, Any] = {
            "sound": self.sound,
            "rate": self.rate,
            "seconds": self.seconds,
            "stride": self.stride,
        }
        content |= {"nyquist": self.nyquist, "floor": FLOOR, "looks": described}
        write_json(folder / FILE, content, pictures_in(described))

    @classmethod
    def open(cls, folder: Path) -> "SoundSpectra":
        """Read what :meth:`write` wrote: spectrograms in 256 levels.

        Raises ValueError, KeyError or TypeError if the folder holds something else.
        """
        content = read_json(folder / FILE, folder.parent)

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
        rate = None if content["rate"] is None else float(content["rate"])
        numbers = rate, float(content["seconds"]), int(content["stride"])
        return cls(str(content["sound"]), *numbers, looks)


def frame_length(size: int, rate: float) -> int:
    """Samples of a frame: about 32 ms of a sound, a 16th of a slower signal; a power of two, and at most a quarter.

    Examples
    --------
    >>> frame_length(16000, 16000), frame_length(16000, 8000), frame_length(40, 8000), frame_length(1024, 1)
    (512, 256, 8, 64)
    """
    longest, wanted = max(size // 4, _SHORTEST), _FRAME * rate
    if wanted < _SHORTEST:  # so slow a signal is no sound
        wanted = max(size / 16, _SHORTEST)
    return max(int(2 ** min(round(np.log2(wanted)), np.floor(np.log2(longest)))), _SHORTEST)


def known(share: float) -> float | None:
    return None if np.isnan(share) else share


def _cells(samples: Picture, rate: float) -> NDArray[np.float64]:
    """The mean power over the channels of each frequency and frame, frequencies upwards from 0."""
    length = frame_length(samples.shape[-1], rate)
    transform = scipy.signal.ShortTimeFFT(
        scipy.signal.windows.hann(length, sym=False), length // 4, rate, scale_to="magnitude"
    )
    cells = transform.spectrogram(samples).mean(0)
    inside = slice(transform.lower_border_end[1], transform.upper_border_begin(samples.shape[-1])[1])
    return np.asarray(cells[:, inside])


def _welch(samples: Picture, rate: float) -> Profile:
    """Pairs (hertz, power per hertz): the mean over overlapping frames (Welch 1967) and channels, without the mean."""
    frequency, power = scipy.signal.welch(samples, rate, nperseg=frame_length(samples.shape[-1], rate))
    return [[float(f), float(p)] for f, p in zip(frequency[1:], power.mean(0)[1:], strict=True)]
