"""Sounds: reading WAV, FLAC and other files of libsndfile, and writing WAV."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aliasing.classes import Label
from aliasing.errors import InputError
from aliasing.images import Signal
from aliasing.images.entries import hash_bytes, read_file, shown
from aliasing.images.sound import import_soundfile, samples_and_rates
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
