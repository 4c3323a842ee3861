"""Images, clips and the entries of a stream, which cost nothing until they are loaded."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from aliasing.classes import Label
from aliasing.errors import one_line
from aliasing.images.pixels import MAX_BYTES, UPRIGHT, BadImage, Pixels, check_size, decode, lies


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
    name, label : as of :class:`Image`.
    orientation : "upright" or "stored": whether its EXIF orientation is applied when it is loaded.
    """

    name: str
    label: Label
    _load: "Load" = field(repr=False)
    _identify: "Identify" = field(repr=False)
    orientation: str = UPRIGHT

    def load(self) -> Image | Clip:
        """Read and decode it; BadImage says why it cannot be used. This is safe to call from several threads."""
        with _reading():
            return self._load(self)

    def identify(self) -> str:
        """The ``identity`` of the image, the hash of its bytes, without decoding; BadImage if it cannot be read."""
        with _reading():
            return self._identify(self)


Load: TypeAlias = Callable[[Entry], Image | Clip]
Identify: TypeAlias = Callable[[Entry], str]


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


def image_entry(name: str, label: Label, read: Callable[[], bytes]) -> Entry:
    """An entry for an encoded image, whose bytes `read` returns."""

    def load(entry: Entry) -> Image:
        content = read()
        turned = entry.orientation == UPRIGHT and lies(content)
        return Image(decode(content, entry.orientation), entry.name, hash_bytes(content), entry.label, turned)

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
    check_size(len(content))
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


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "permission denied" if isinstance(error, PermissionError) else error.strerror or error
        raise BadImage(f"unreadable: {reason}") from error
