"""The kinds of media files: pictures, videos, sounds and volumes, recognised by the ends of their names."""

from pathlib import Path

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


def media_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """The entry of a media file; a name that tells nothing is taken for a picture's.

    ``read`` gives its bytes; ``path`` is None for a member of an archive.
    """
    medium = medium_of(name if path is None else path.name) or PICTURE
    return medium.entry(name, label, read, path)
