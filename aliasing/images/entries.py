"""Images, clips and the entries of a stream, which cost nothing until they are loaded."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from aliasing.classes import Label
from aliasing.errors import one_line
from aliasing.images.pixels import MAX_BYTES, UPRIGHT, BadImage, Pixels, decode, lies


@dataclass(frozen=True, eq=False)
class Image:
    """A picture, ready to be measured.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8, H×W×3, RGB, upright.
    name : str
        Its path inside its source: unique there, one printable line.
    identity : str
        Hash of the image's bytes (BLAKE2b, 128 bits, hexadecimal); for an array, of its shape and values.
    label : int, str or None
        Its class, as it is written (see :mod:`aliasing.classes`).
    turned : bool
        Whether the EXIF orientation rotated or flipped it.
    """

    pixels: Pixels
    name: str
    identity: str
    label: Label
    turned: bool = False


@dataclass(frozen=True, eq=False)
class Clip:
    """A video, for the protocol ``frames``; the attributes are those of :class:`Image`."""

    name: str
    identity: str
    label: Label
    _open: Callable[[], Iterator[Pixels]] = field(repr=False)

    def frames(self) -> Iterator[Pixels]:
        """The frames in order, uint8 H×W×3 RGB, decoded one at a time; each call returns a new iterator."""
        return self._open()


@dataclass(frozen=True, eq=False)
class Entry:
    """One image or clip of a source, not yet read.

    Attributes
    ----------
    name : str
        Its path inside its source: unique there, one printable line.
    label : int, str or None
        Its class, as it is written (see :mod:`aliasing.classes`).
    orientation : {"upright", "stored"}
        Whether its EXIF orientation is applied when it is loaded.
    """

    name: str
    label: Label
    _load: "Load" = field(repr=False)
    _identify: "Identify" = field(repr=False)
    orientation: str = UPRIGHT

    def load(self) -> Image | Clip:
        """Read and decode it; BadImage says why it cannot be used. This is safe to call from several threads."""
        try:
            return self._load(self)
        except OSError as error:
            raise BadImage(_reason(error)) from error

    def identify(self) -> str:
        """The ``identity`` of the image, the hash of its bytes, without decoding; BadImage if it cannot be read."""
        try:
            return self._identify(self)
        except OSError as error:
            raise BadImage(_reason(error)) from error


Load: TypeAlias = Callable[[Entry], Image | Clip]
Identify: TypeAlias = Callable[[Entry], str]


@dataclass(frozen=True, eq=False)
class ImageSource:
    """A stream of entries, always in the same order, that can be iterated repeatedly.

    Attributes
    ----------
    description : str
        What it is and where its labels come from, in one line.
    class_names : tuple of str, or None
        The names that the data set itself gives to its integer labels, in order.
    orientation : {"upright", "stored"}
        Whether EXIF orientations are applied.
    folders : tuple of Path
        The folders that it walks: any file put there may become one of its images.
    limit : int, or None
        If these are the first N images of a longer stream, N.
    sample : dict, or None
        If these were drawn from a longer stream: how many ``images``, and the ``seed``.
    preprocessing : dict, or None
        If these are tensors, which a network sees as they are: its ``input_size``, ``mean``, ``std`` and so on.
    cautions : tuple of str
        What a reader of a result should know about the images.
    assumed : tuple of str
        What `preprocessing` assumes.
    whole : ImageSource, or None
        The longer stream, if these are its first images.
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


def image_entry(name: str, label: Label, read: Callable[[], bytes]) -> Entry:
    """An entry for an encoded image, whose bytes `read` returns."""

    def load(entry: Entry) -> Image:
        content = read()
        if entry.orientation == UPRIGHT:
            return Image(decode(content), entry.name, hash_bytes(content), entry.label, lies(content))
        return Image(decode(content, entry.orientation), entry.name, hash_bytes(content), entry.label)

    return Entry(shown(name), label, load, lambda _: hash_bytes(read()))


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
    with os.fdopen(descriptor, "rb") as file:
        check_regular(os.fstat(descriptor))
        return read_bounded(file.read)


def read_bounded(read: Callable[[int], bytes]) -> bytes:
    """Everything that `read` gives; BadImage if that is more than one image can need."""
    content = read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadImage(f"file of more than {MAX_BYTES >> 20} MiB")
    return content


def check_regular(status: os.stat_result) -> None:
    """Raise BadImage if it is not a regular file, and say what it is."""
    if not stat.S_ISREG(status.st_mode):
        raise BadImage(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'special file')}, not a regular file")


_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "unreadable: permission denied"
    return f"unreadable: {error.strerror or error}"
