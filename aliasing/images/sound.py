"""Sound files, decoded by libsndfile: samples of −1…1 at the file's own rate."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aliasing.classes import Label
from aliasing.errors import InputError, one_line
from aliasing.images.entries import Entry, Medium, Read, encoded_signal

_LARGEST = 2**27  # samples of all channels: a gigabyte of float64


def sound_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """An entry for a sound file."""
    return encoded_signal(name, label, read, samples_and_rates)


MEDIUM = Medium(frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff"}), sound_entry)


def samples_and_rates(content: bytes) -> tuple[NDArray[np.float64], tuple[float]]:
    """The samples (channels, N) of a file's bytes and its rate; InputError says why it cannot be used."""
    soundfile = import_soundfile()
    missing = _missing(content)
    if missing > 0:  # libsndfile would read what is there
        raise InputError(f"cut off: {missing} bytes that its header promises are missing")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised, rate = file.frames, float(file.samplerate)
            if promised * file.channels > _LARGEST:
                raise InputError(f"{promised} samples of {file.channels} channels are too many; cut it")
            samples = file.read(dtype="float64", always_2d=True).T
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        reason = one_line(getattr(error, "error_string", str(error)))  # without the address of the bytes in memory
        raise InputError(f"not a sound that libsndfile reads ({reason})") from error
    if not samples.size:
        raise InputError("holds no samples")
    if not np.isfinite(samples).all():
        raise InputError("holds NaN or infinity")
    return np.ascontiguousarray(samples), (rate,)


def _missing(content: bytes) -> int:
    """How many bytes a WAV or AIFF file lacks by its own header; a stream that was recorded without one lacks none."""
    order = {b"RIFF": "little", b"FORM": "big"}.get(content[:4])
    if order is None or len(content) < 12 or content[4:8] in (b"\xff" * 4, b"\0" * 4):
        return 0
    return int.from_bytes(content[4:8], order) + 8 - len(content)  # type: ignore[arg-type]


def import_soundfile() -> Any:
    """The library `soundfile`; InputError if it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the library without libsndfile
        raise InputError('sounds are read by soundfile; pip install "aliasing[sound]"') from None
    return soundfile
