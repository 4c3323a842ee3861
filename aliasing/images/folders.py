"""The images in a folder: a sorted walk that opens nothing and that no loop, pipe or device can stop."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aliasing.classes import Label
from aliasing.images.entries import Entry, ImageSource, bad_entry, read_file
from aliasing.images.labels import Labels, find_labels
from aliasing.images.media import is_media, media_entry


def is_hidden(path: str) -> bool:
    """Whether a part of the path is a hidden file or folder, or one that macOS puts into archives."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.split("/"))


def folder_source(root: Path) -> ImageSource | None:
    """All media files below a folder, with the labels that are found there; None if there are none."""
    labels = find_labels(Folder(root))
    if not labels.listed and not _holds_media(root, labels.prefix):
        return None
    where = f"folder {root / labels.prefix}" if labels.prefix else f"folder {root}"
    return ImageSource(f"{where}, {labels.origin}", lambda: _entries(root, labels), folders=(root,))


@dataclass(frozen=True)
class Folder:
    """A folder as a :class:`aliasing.images.labels.Tree`."""

    root: Path

    def children(self, prefix: str) -> tuple[bool, list[str]]:
        images_here = False
        folders = []
        for name in _listing(self.root / prefix):
            if (self.root / prefix / name).is_dir():
                if _holds_media(self.root, f"{prefix}{name}/"):
                    folders.append(name)
            elif is_media(name):
                images_here = True
        return images_here, folders

    def read(self, path: str) -> bytes | None:
        return read_file(self.root / path) if self.has(path) else None

    def has(self, path: str) -> bool:
        try:
            return (self.root / path).is_file()
        except (OSError, ValueError):  # a name that no file can have
            return False


def _holds_media(root: Path, prefix: str) -> bool:
    """Whether there are media files below root/prefix, or folders that cannot be read."""
    return any(reason or is_media(path) for path, reason in walk(root, prefix))


def walk(root: Path, prefix: str) -> Iterator[tuple[str, str | None]]:
    """The paths of all files below root/prefix, relative to the root, sorted by name in every folder.

    With each comes None, or the reason why it is a folder that cannot be read. A folder with several links to it is
    visited once. Only the names of the folders on the current path are kept.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [prefix.rstrip("/")]
    while waiting:
        path = waiting.pop()
        try:
            status = (root / path).stat()
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                below = f"{path}/" if path else ""
                waiting.extend(below + name for name in reversed(_listing(root / path)))
                continue
        except OSError as error:
            # A file that cannot be read is reported when it is loaded; a folder must be reported here.
            if not is_media(path):
                if not isinstance(error, FileNotFoundError):
                    yield path, f"folder cannot be read: {error.strerror}"
                continue
        yield path, None


def _listing(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return sorted(entry.name for entry in found if not is_hidden(entry.name))


def _entries(root: Path, labels: Labels) -> Iterator[Entry]:
    missing = dict.fromkeys(labels.listed)
    for path, reason in walk(root, labels.prefix):
        listed = path in missing
        missing.pop(path, None)
        if reason is not None:
            yield bad_entry(path, None, reason)
        elif listed or is_media(path):
            yield file_entry(path, labels.of(path), root / path)
    for path in missing:
        yield bad_entry(path, labels.of(path), labels.missing)


def file_source(path: Path) -> ImageSource:
    """One media file; a name that tells nothing is taken for an image's."""
    return ImageSource(f"file {path}", lambda: iter([file_entry(path.name, None, path)]))


def file_entry(name: str, label: Label, path: Path) -> Entry:
    """The entry of a media file."""
    return media_entry(name, label, partial(read_file, path), path)
