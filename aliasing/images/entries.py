"""Images, clips, signals and the entries of a stream, which cost nothing until they are loaded."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aliasing.axes import rate_per_axis
from aliasing.classes import Label
from aliasing.errors import InputError, UsageError, one_line
from aliasing.images.pixels import MAX_BYTES, UPRIGHT, BadImage, Pixels, check_size, decode, lies
from aliasing.state import irregular


@dataclass(frozen=True, eq=False)
class Image:
    """A picture, ready to be measured.

    Attributes
    ----------
    pixels : uint8 array, H×W×3, RGB, upright.
    name : its path inside its source: unique there, one printable line.
    identity : hash of the image's bytes (BLAKE2b, 128 bits, hexadecimal); for an array, of its shape and values.
    label : its class, as it is written (see :mod:`aliasing.classes`); None without one.
    turned : whether the EXIF orientation rotated or flipped it.
    """

    what: ClassVar[str] = "a picture"

    pixels: Pixels
    name: str
    identity: str
    label: Label
    turned: bool = False

    def emptied(self) -> "Image":
        """The same without its pixels, which need not wait in memory once the views hold what they show."""
        return replace(self, pixels=np.empty((0, 0, 3), np.uint8))


@dataclass(frozen=True, eq=False)
class Clip:
    """A video, for the protocol ``frames`` or a network that takes N×3×T×H×W; attributes as of :class:`Image`."""

    what: ClassVar[str] = "a video"

    name: str
    identity: str
    label: Label
    _open: Callable[[], Iterator[Pixels]] = field(repr=False)

    def frames(self) -> Iterator[Pixels]:
        """The frames in order, uint8 H×W×3 RGB, decoded one at a time; each call returns a new iterator."""
        return self._open()

    def emptied(self) -> "Clip":
        """Itself: its frames are not in memory."""
        return self


@dataclass(frozen=True, eq=False)
class Signal:
    """A sampled signal with any number of axes: a sound, a time series, a volume.

    Attributes
    ----------
    samples : float array, (channels, N, …)
        An array with as many axes as there are rates has one channel.
    rates : tuple of float
        Samples per second, millimetre or whatever the axis is measured in, one for each axis.
    name, label : as of :class:`Image`.
    identity : hash of the file's bytes; for an array, of its shape, values and rates.
    assumed : what its file does not say, or says in two ways, about the rates, and what was taken.

    Raises
    ------
    UsageError
        The samples have another number of axes than there are rates, or a rate is not positive.

    Examples
    --------
    >>> series = Signal(np.zeros((3, 500)), rates=(100,), name="accelerometer")
    >>> series.axes, series.what
    (1, 'a sound')
    """

    samples: NDArray[np.floating[Any]]
    rates: tuple[float, ...] = (1.0,)
    name: str = "signal"
    identity: str = ""
    label: Label = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rates = rate_per_axis(self.rates, len(self.rates))
        samples = np.asarray(self.samples)
        if not np.issubdtype(samples.dtype, np.floating):
            samples = samples.astype(np.float64)
        if samples.ndim == len(rates):
            samples = samples[None]
        if samples.ndim != len(rates) + 1:
            raise UsageError(f"samples of shape {samples.shape}; expected channels and {len(rates)} axes, one a rate")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rates", rates)
        if not self.identity:
            described = repr((samples.dtype.str, samples.shape, rates)).encode()
            object.__setattr__(self, "identity", hash_bytes(described, np.ascontiguousarray(samples).tobytes()))

    @property
    def axes(self) -> int:
        """The number of its axes."""
        return len(self.rates)

    @property
    def what(self) -> str:
        """The word for it in messages."""
        return {1: "a sound", 3: "a volume"}.get(self.axes, f"a signal of {self.axes} axes")

    def emptied(self) -> "Signal":
        """The same without its samples, as :meth:`Image.emptied`."""
        nothing = np.empty((len(self.samples), *(0,) * self.axes), self.samples.dtype)
        return Signal(nothing, self.rates, self.name, self.identity, self.label)


Loaded: TypeAlias = Image | Clip | Signal
"""What an entry gives when it is loaded."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One image, clip or signal of a source, not yet read.

    Attributes
    ----------
    name, label : as of :class:`Image`.
    orientation : "upright" or "stored": whether its EXIF orientation is applied when it is loaded.
    is_signal : whether it is a :class:`Signal`, as far as its name tells.
    """

    name: str
    label: Label
    _load: "Load" = field(repr=False)
    _identify: "Identify" = field(repr=False)
    orientation: str = UPRIGHT
    is_signal: bool = False

    def load(self) -> Loaded:
        """Read and decode it; BadImage says why it cannot be used. This is safe to call from several threads."""
        with _reading():
            return self._load(self)

    def identify(self) -> str:
        """The ``identity`` of the image, the hash of its bytes, without decoding; BadImage if it cannot be read."""
        with _reading():
            return self._identify(self)


Load: TypeAlias = Callable[[Entry], Loaded]
Identify: TypeAlias = Callable[[Entry], str]
Read: TypeAlias = Callable[[], bytes]


@dataclass(frozen=True)
class Medium:
    """A kind of media file, such as a picture, recognised by the end of its name (`aliasing.images.media`).

    ``entry`` makes the entry of a file from its name, its label, a function that reads its bytes, and its path, which
    is None for a member of an archive.
    """

    suffixes: frozenset[str]
    entry: Callable[[str, Label, Read, Path | None], Entry]


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A stream of entries, always in the same order, that can be iterated repeatedly.

    Attributes
    ----------
    description : what it is and where its labels come from, in one line.
    class_names : the names that the data set itself gives to its integer labels, in order; None if it gives none.
    orientation : "upright" or "stored": whether EXIF orientations are applied.
    folders : the folders that it walks: any file put there may become one of its images.
    limit : the number of these images if they are the first of a longer stream; otherwise None.
    sample : how many ``images`` were drawn from a longer stream, and the ``seed``; None if none were.
    preprocessing : of tensors, which a network sees as they are: ``input_size``, ``mean``, ``std`` and so on; or None.
    cautions : what a reader of a result should know about the images.
    assumed : what `preprocessing` assumes.
    whole : the longer stream, if these are its first images; otherwise None.
    """

    description: str
    _entries: Callable[[], Iterator[Entry]] = field(repr=False)
    class_names: tuple[str, ...] | None = None
    orientation: str = UPRIGHT
    folders: tuple[Path, ...] = ()
    limit: int | None = None
    sample: dict[str, int] | None = None
    preprocessing: dict[str, Any] | None = None
    cautions: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    whole: "ImageSource | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", one_line(self.description))

    def __iter__(self) -> Iterator[Entry]:
        if self.orientation == UPRIGHT:
            return self._entries()
        return (replace(entry, orientation=self.orientation) for entry in self._entries())


class UniqueNames:
    """Makes the names of a stream unique by marking the second of the same name."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name} ({count})"


def image_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """An entry for an encoded image, whose bytes `read` returns."""

    def load(entry: Entry) -> Image:
        content = read()
        turned = entry.orientation == UPRIGHT and lies(content)
        return Image(decode(content, entry.orientation), entry.name, hash_bytes(content), entry.label, turned)

    return Entry(shown(name), label, load, lambda _: hash_bytes(read()))


def encoded_signal(name: str, label: Label, read: Read, decode: Callable[[bytes], tuple[Any, Any]]) -> Entry:
    """An entry for a file of a signal: ``decode`` gives its samples and rates, or raises InputError with the reason."""

    def load(entry: Entry) -> Signal:
        content = read()
        try:
            samples, rates = decode(content)
        except BadImage:
            raise
        except InputError as error:
            raise BadImage(str(error)) from error
        return Signal(samples, rates, entry.name, hash_bytes(content), entry.label)

    return Entry(shown(name), label, load, lambda _: hash_bytes(read()), is_signal=True)


def signal_entry(name: str, label: Label, signal: Signal) -> Entry:
    """An entry for a signal in memory."""

    def load(entry: Entry) -> Signal:
        if not signal.samples.size:
            raise BadImage("holds no samples")
        if not np.isfinite(signal.samples).all():
            raise BadImage("holds NaN or infinity")
        loaded = copy(signal)  # with what a subclass knows of it
        object.__setattr__(loaded, "name", entry.name)
        object.__setattr__(loaded, "label", entry.label)
        return loaded

    return Entry(shown(name), label, load, lambda _: signal.identity, is_signal=True)


def bad_entry(name: str, label: Label, reason: str) -> Entry:
    """An entry that is known to be unusable."""

    def fail(_: Entry) -> Any:
        raise BadImage(reason)

    return Entry(shown(name), label, fail, fail)


def shown(name: str) -> str:
    r"""A file name as one printable line, different for different names.

    Examples
    --------
    >>> print(shown("a\nb.png"))
    a\nb.png
    >>> print(shown(r"a\nb.png"))
    a\\nb.png
    """
    return one_line(name.replace("\\", "\\\\"))


def hash_bytes(*contents: bytes) -> str:
    """BLAKE2b of the contents, 128 bits, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def read_file(path: Path) -> bytes:
    """The bytes of a regular file of acceptable size; never waits for a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        check_regular(os.fstat(descriptor))
    except BadImage:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        return read_bounded(file.read)


def read_bounded(read: Callable[[int], bytes]) -> bytes:
    """Everything that `read` gives; BadImage if that is more than one image can need."""
    content = read(MAX_BYTES + 1)
    check_size(len(content))
    return content


def check_regular(status: os.stat_result) -> None:
    """Raise BadImage if it is not a regular file, and say what it is."""
    kind = irregular(status)
    if kind is not None:
        raise BadImage(f"{kind}, not a regular file")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "permission denied" if isinstance(error, PermissionError) else error.strerror or error
        raise BadImage(f"unreadable: {reason}") from error
