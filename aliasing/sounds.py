"""Sounds: reading WAV, FLAC and other files of libsndfile, and writing WAV."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aliasing.errors import InputError, one_line
from aliasing.images import Entry, ImageSource, choose_images
from aliasing.images.entries import hash_bytes, read_file, shown
from aliasing.provenance import write_bytes

SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff")
_LARGEST = 2**27  # samples of all channels: a gigabyte of float64


@dataclass(frozen=True)
class Sound:
    """A sound in memory.

    Attributes
    ----------
    samples : array (channels, N) or (N,)
        float64; the file's full scale is −1…1.
    rate : float
        Samples per second.
    name : str
    identity : str
        A hash of the file's bytes; by default one of the samples.

    Examples
    --------
    >>> Sound(np.zeros((1, 8000)), rate=16000).seconds
    0.5
    """

    samples: NDArray[np.float64]
    rate: float
    name: str = "sound"
    identity: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", np.atleast_2d(np.asarray(self.samples, np.float64)))
        if not self.identity:
            object.__setattr__(self, "identity", hash_bytes(np.ascontiguousarray(self.samples).tobytes()))

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
    return [path] if path.suffix.lower() in SUFFIXES else None


def _inside(folder: Path) -> Iterator[Path]:
    named = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
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
    return Sound(np.ascontiguousarray(samples), rate, name, hash_bytes(content))


def _missing(content: bytes) -> int:
    """How many bytes a WAV or AIFF file lacks by its own header; a stream that was recorded without one lacks none."""
    order = {b"RIFF": "little", b"FORM": "big"}.get(content[:4])
    if order is None or len(content) < 12 or content[4:8] in (b"\xff" * 4, b"\0" * 4):
        return 0
    return int.from_bytes(content[4:8], order) + 8 - len(content)  # type: ignore[arg-type]


def write_sound(path: Path, samples: NDArray[Any], rate: float) -> None:
    """Write samples (channels, N) as a WAV of 16 bits; what exceeds −1…1 is clipped.

    A header holds a whole number of samples per second, so the rate is rounded.
    """
    soundfile = import_soundfile()
    content = io.BytesIO()
    soundfile.write(content, np.asarray(samples).T, round(rate), format="WAV", subtype="PCM_16")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())


def import_soundfile() -> Any:
    """The library `soundfile`; InputError if it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the library without libsndfile
        raise InputError('sounds are read by soundfile; pip install "aliasing[sound]"') from None
    return soundfile
