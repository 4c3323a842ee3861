"""The images in zip and tar archives, read in memory one member at a time; nothing is ever written.

Labels are in a table or in the folders' names, as in a folder; or, in a shard of WebDataset, beside each image in a
member of the same name that ends in ``.cls``.

An archive that unpacks to more than 200 times its size and more than 256 MiB is taken for a bomb: photographs do not
compress so well. A tar is read in its own order, and a compressed one from front to back; at a damaged header it ends
with a message (tarfile alone would take that for the normal end).
"""

import bz2
import gzip
import io
import lzma
import posixpath
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Self

from aliasing.classes import Label, written
from aliasing.errors import InputError
from aliasing.images.entries import Entry, ImageSource, UniqueNames, bad_entry, read_bounded, shown
from aliasing.images.folders import folder_source, is_hidden
from aliasing.images.labels import TABLES, Labels, check_length, find_labels
from aliasing.images.media import is_media, media_entry
from aliasing.images.pixels import BadImage, check_expansion, check_size
from aliasing.images.tables import choose_split

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_MAX_HEADER = 2**20  # of a tar: a name or a table of attributes, which tarfile reads into memory
_LABEL_ENDING = ".cls"
_MAX_LABEL_BYTES = 4096
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zlib.error, lzma.LZMAError)
_DAMAGE_ZIP = (*_DAMAGE, zipfile.BadZipFile)
_DAMAGE_TAR = (*_DAMAGE, tarfile.TarError)


@dataclass
class Members:
    """The member names of an archive as a :class:`aliasing.images.labels.Tree`."""

    names: list[str] = field(default_factory=list)
    tables: dict[str, bytes] = field(default_factory=dict)
    classes: dict[str, Label] = field(default_factory=dict)  # WebDataset's labels, by the key of the sample

    def children(self, prefix: str) -> tuple[bool, list[str]]:
        inside = [name[len(prefix) :] for name in self.names if name.startswith(prefix) and is_media(name)]
        folders = {path.partition("/")[0] for path in inside if "/" in path}
        return any("/" not in path for path in inside), sorted(folders)

    def read(self, path: str) -> bytes | None:
        return self.tables.get(path)

    def has(self, path: str) -> bool:
        return path in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    def note(self, name: str, size: int, read: Callable[[], bytes]) -> None:
        """Keep what a member says about labels."""
        if posixpath.basename(name) in TABLES:
            check_length(name, size)
            self.tables[name] = read()
        elif name.endswith(_LABEL_ENDING) and size <= _MAX_LABEL_BYTES:
            self.classes[_key(name)] = written(read())

    def labels(self) -> Labels:
        """The labels of its images."""
        found = find_labels(self)
        if found.by_path is not None or not self.classes:
            return found
        by_path = {name: self.classes.get(_key(name)) for name in self.names if is_media(name)}
        return Labels(f"labels from {_LABEL_ENDING} files", found.prefix, by_path=by_path)

    def wanted(self, name: str, labels: Labels) -> bool:
        """Whether this member is an image of the chosen part."""
        return name.startswith(labels.prefix) and (is_media(name) or name in labels.listed)


def read_zip(spec: Any, path: Path | None) -> ImageSource | None:
    """The images in a zip file, sorted by name."""
    if path is None or not path.name.lower().endswith(".zip") or not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            members = Members([info.filename for info in _zip_members(archive)])
            for info in _zip_members(archive):
                members.note(info.filename, info.file_size, partial(_read_zip, archive, info, threading.Lock()))
    except _DAMAGE_ZIP as error:
        raise InputError(f"{path} is not a readable zip file: {_say(error)}") from error
    return archive_source("zip file", path, members, partial(_zip_entries, path, members))


def _zip_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    named = (info for info in archive.infolist() if info.filename and not info.is_dir())
    members = (info for info in named if not is_hidden(_plain(info.filename)))
    return sorted(members, key=lambda info: info.filename.split("/"))


def _zip_entries(path: Path, members: Members, labels: Labels) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(path)  # closed when the last entry, which reads from it, is freed
    except _DAMAGE_ZIP as error:
        yield bad_entry(path.name, None, f"archive can no longer be read: {_say(error)}")
        return
    lock = threading.Lock()
    names = UniqueNames()
    for info in _zip_members(archive):
        if members.wanted(info.filename, labels):
            read = partial(_read_zip, archive, info, lock)
            yield member_entry(names(info.filename), info.filename, labels, read)


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, lock: threading.Lock) -> bytes:
    if info.flag_bits & 1:
        raise BadImage("encrypted in its archive")
    check_size(info.file_size)
    check_expansion(info.file_size, info.compress_size)
    try:
        with lock, archive.open(info) as member:
            return read_bounded(member.read)
    except BadImage:
        raise
    except _DAMAGE_ZIP as error:
        raise BadImage(f"cannot be read from its archive: {_say(error)}") from error


def tar_source(path: Path) -> ImageSource:
    """The images in a tar file (plain, gzip, bzip2 or xz), in its own order."""
    members = Members()
    try:
        with _open_tar(path) as archive:
            for info in _tar_members(archive):
                members.names.append(info.name)
                if info.isreg():
                    members.note(info.name, info.size, partial(_read_tar, archive, info))
    except _DAMAGE_TAR as error:
        if not members.names:
            raise InputError(f"{path} is not a readable tar file: {_say(error)}") from error
    return archive_source("tar file", path, members, partial(_tar_entries, path, members))


def is_tar(path: Path) -> bool:
    """Whether the name is that of a tar file, plain or compressed."""
    return path.name.lower().endswith(_TAR_ENDINGS)


def read_tar(spec: Any, path: Path | None) -> ImageSource | None:
    """A tar file, plain or compressed; or a folder of them without images, such as WebDataset's shards."""
    if path is None or not path.is_dir():
        return tar_source(path) if path is not None and is_tar(path) else None
    shards = choose_split(sorted(file for file in path.iterdir() if is_tar(file)))
    if not shards or folder_source(path) is not None:
        return None
    return replace(shards_source(shards, str(path)), folders=(path,))


def shards_source(shards: list[Path], where: str) -> ImageSource:
    """The images of several tar files, one file after the other."""
    sources = [tar_source(shard) for shard in shards]
    origins = {source.description.rpartition(", ")[2] for source in sources}
    names = UniqueNames()
    prefixes = [names(shown(shard.name)) for shard in shards]
    return ImageSource(
        f"{len(shards)} tar files in {where}, {origins.pop() if len(origins) == 1 else 'labels from some'}",
        lambda: (
            replace(entry, name=f"{prefix}/{entry.name}")
            for prefix, source in zip(prefixes, sources, strict=True)
            for entry in source
        ),
    )


def _tar_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (info := archive.next()) is not None:
        vars(archive)["members"].clear()  # otherwise tarfile keeps every header
        info.name = _plain(info.name)
        if not info.isdir() and not is_hidden(info.name):
            yield info


def _tar_entries(path: Path, members: Members, labels: Labels) -> Iterator[Entry]:
    names = UniqueNames()
    last = "its beginning"
    try:
        with _open_tar(path) as archive:
            for info in _tar_members(archive):
                last = info.name
                if members.wanted(info.name, labels):
                    try:
                        _check_kind(info)
                        content = _read_tar(archive, info)
                    except BadImage as error:
                        yield bad_entry(names(info.name), labels.of(info.name), str(error))
                    else:
                        yield member_entry(names(info.name), info.name, labels, partial(bytes, content))
    except _DAMAGE_TAR as error:
        yield bad_entry(names(path.name), None, f"archive cannot be read beyond {last}: {_say(error)}")


def _check_kind(info: tarfile.TarInfo) -> None:
    if info.issym() or info.islnk():
        link = f"a {'symbolic' if info.issym() else 'hard'} link to {info.linkname}"
        raise BadImage(f"{link} in an archive, which is not followed; unpack it to measure it")
    if not info.isreg():
        raise BadImage("a device or a pipe in an archive, not a regular file")


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    check_size(info.size)
    member = archive.extractfile(info)
    content = member.read() if member is not None else b""
    if len(content) < info.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar as a stream that stops if it expands like a bomb."""
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        opener = next((opener for magic, opener in _COMPRESSIONS.items() if head.startswith(magic)), None)
        if opener is None:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
                yield archive
        else:
            watched = _Watched(opener(file), file)
            with tarfile.open(fileobj=io.BufferedReader(watched, 2**16), mode="r|", tarinfo=_Header) as archive:
                yield archive
            if watched.damage is not None:
                raise watched.damage


_COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class _Header(tarfile.TarInfo):
    """A member's header; a damaged or absurd one ends the archive with an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        if not any(buf):
            return super().frombuf(buf, encoding or "utf-8", errors)  # the end, which tarfile recognises
        try:
            header = super().frombuf(buf, encoding or "utf-8", errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
        if not header.isreg() and header.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class _Watched(io.RawIOBase):
    """A decompressed stream that ends where it is damaged, and fails as soon as it has expanded too much."""

    damage: Exception | None = None

    def __init__(self, stream: Any, compressed: IO[bytes]) -> None:
        self._stream = stream
        self._compressed = compressed
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._stream.read1(len(buffer))
        except _DAMAGE as error:  # what came before it can be used
            self.damage = error
            content = b""
        buffer[: len(content)] = content
        self._given += len(content)
        check_expansion(self._given, self._compressed.tell())
        return len(content)


def archive_source(
    kind: str, path: Path | str, members: Members, entries: Callable[[Labels], Iterator[Entry]]
) -> ImageSource:
    """The images among the members of an archive or of a folder elsewhere, with the labels that are found there."""
    labels = members.labels()
    if not any(members.wanted(name, labels) for name in members.names):
        raise InputError(f"{path} holds no images")
    where = f"{kind} {path}" + (f", below {labels.prefix}" if labels.prefix else "")

    def all_entries() -> Iterator[Entry]:
        yield from entries(labels)
        for name in labels.listed:
            if not members.has(name):
                yield bad_entry(name, labels.of(name), labels.missing)

    return ImageSource(f"{where}, {labels.origin}", all_entries)


def member_entry(name: str, path: str, labels: Labels, read: Callable[[], bytes]) -> Entry:
    """The entry of a member, unless its path leads elsewhere."""
    if path.startswith("/") or ".." in path.split("/"):
        return bad_entry(name, labels.of(path), "its path leads out of the archive")
    return media_entry(name, labels.of(path), read)


def _key(name: str) -> str:
    """The key of a WebDataset sample: the path up to the first dot of the file's name."""
    folder, file = posixpath.split(name)
    return posixpath.join(folder, file.partition(".")[0])


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__
