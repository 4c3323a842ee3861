"""The kinds of media files: pictures, videos, sounds and volumes, recognised by the ends of their names."""

from pathlib import Path
from typing import Any

from aliasing.classes import Label
from aliasing.images import sound, video, volume
from aliasing.images.entries import Entry, Medium, Read, image_entry

PICTURE = Medium(
    frozenset(
        {".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"}
        | {".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tif", ".tiff", ".webp"}
    ),
    image_entry,
)
MEDIA = (PICTURE, video.MEDIUM, sound.MEDIUM, volume.MEDIUM)


def is_media(path: str) -> bool:
    """Whether the name is that of a media file."""
    return medium_of(path) is not None


def medium_of(path: str) -> Medium | None:
    """The kind of media that a name ends like; None if it tells nothing."""
    name = path.lower()
    return next((medium for medium in MEDIA if name.endswith(tuple(medium.suffixes))), None)


def find_files(spec: Any, medium: Medium) -> list[Path] | None:
    """The files of a medium that an argument names, a file, a folder or several of these; None if it names none.

    Examples
    --------
    >>> find_files("sample", sound.MEDIUM) is None
    True
    """
    if isinstance(spec, list | tuple):
        parts = [find_files(one, medium) for one in spec]
        return [path for part in parts if part for path in part] if parts and None not in parts else None
    if not isinstance(spec, str | Path):
        return None
    path = Path(spec)
    if path.is_dir():
        named = (file for file in path.rglob("*") if medium_of(file.name) is medium and not file.name.startswith("."))
        return sorted(file for file in named if not file.is_dir()) or None
    return [path] if medium_of(path.name) is medium else None


def media_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """The entry of a media file; a name that tells nothing is taken for a picture's.

    ``read`` gives its bytes; ``path`` is None for a member of an archive.
    """
    medium = medium_of(name if path is None else path.name) or PICTURE
    return medium.entry(name, label, read, path)
