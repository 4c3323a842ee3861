"""Sounds: reading WAV, FLAC and other files of libsndfile, and writing WAV."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aliasing.classes import Label
from aliasing.errors import InputError
from aliasing.images import Entry, ImageSource, Signal, choose_images
from aliasing.images.entries import hash_bytes, read_file, shown
from aliasing.images.sound import MEDIUM, import_soundfile, samples_and_rates
from aliasing.provenance import write_bytes


class Sound(Signal):
    """A sound in memory: a signal of one axis.

    Parameters
    ----------
    samples : array (channels, N) or (N,)
        float64; the file's full scale is −1…1.
    rate : float
        Samples per second.
    name : str
    identity : str
        A hash of the file's bytes; by default one of the samples and the rate.
    label : int or str, optional

    Examples
    --------
    >>> Sound(np.zeros((1, 8000)), rate=16000).seconds
    0.5
    """

    def __init__(
        self, samples: ArrayLike, rate: float, name: str = "sound", identity: str = "", label: Label = None
    ) -> None:
        super().__init__(np.atleast_2d(np.asarray(samples, np.float64)), (rate,), name, identity, label)

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.rates[0]

    @property
    def seconds(self) -> float:
        """Its duration."""
        return float(self.samples.shape[-1] / self.rate)


def find_sounds(spec: Any) -> list[Path] | None:
    """The sound files that an argument names: a file, a folder that holds sounds, or several; None if it names none.

    Examples
    --------
    >>> find_sounds("sample") is None
    True
    """
    if isinstance(spec, list | tuple):
        parts = [find_sounds(one) for one in spec]
        return [path for part in parts if part for path in part] if parts and None not in parts else None
    if not isinstance(spec, str | Path):
        return None
    path = Path(spec)
    if path.is_dir():
        return sorted(_inside(path)) or None
    return [path] if path.suffix.lower() in MEDIUM.suffixes else None


def _inside(folder: Path) -> Iterator[Path]:
    named = (
        path for path in folder.rglob("*") if path.suffix.lower() in MEDIUM.suffixes and not path.name.startswith(".")
    )
    return (path for path in named if not path.is_dir())


def choose_sounds(sounds: Sequence[Path], limit: int | None = None, sample: int | None = None) -> list[Path]:
    """The first files, or a sample of them, as `aliasing.images.choose_images` takes images."""

    def entry(path: Path) -> Entry:
        return Entry(str(path), None, lambda _: read_file(path), lambda _: hash_bytes(read_file(path)))  # type: ignore

    source = ImageSource("sounds", lambda: map(entry, sounds))
    return [Path(chosen.name) for chosen in choose_images(source, limit=limit, sample=sample)]


def read_sound(path: str | Path) -> Sound:
    """Read a sound of any number of channels, as float64 from −1 to 1, at its own rate.

    Parameters
    ----------
    path : str or Path
        A WAV, FLAC, OGG or AIFF file.

    Raises
    ------
    InputError
        If there is no such file, it is no sound, is cut off, or has no samples, more than memory should hold, or NaN.
    """
    path = Path(path)
    try:
        return load_sound(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def load_sound(path: Path) -> Sound:
    """The sound of a file; InputError as for `read_sound`, but without the file's name."""
    import_soundfile()
    try:
        content = read_file(path)
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower()) from error
    return decode_sound(content, shown(path.name))


def decode_sound(content: bytes, name: str) -> Sound:
    """The sound of a file's bytes; InputError as for `load_sound`."""
    samples, (rate,) = samples_and_rates(content)
    return Sound(samples, rate, name, hash_bytes(content))


def write_sound(path: Path, samples: NDArray[Any], rate: float) -> None:
    """Write samples (channels, N) as a WAV of 16 bits; what exceeds −1…1 is clipped.

    A header holds a whole number of samples per second, so the rate is rounded.
    """
    soundfile = import_soundfile()
    content = io.BytesIO()
    soundfile.write(content, np.asarray(samples).T, round(rate), format="WAV", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
