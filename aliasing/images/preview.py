"""Small pictures beside a run's numbers, to be looked at and not to be measured."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from aliasing.errors import InputError, first_line, one_line
from aliasing.provenance import write_bytes
from aliasing.state import read_bytes

LARGEST = 256  # pixels of the longer side; larger pictures are averaged down
_FORMATS = ("WEBP", "PNG", "JPEG")
_KEYS = "picture", "difference", "heat", "labels", "changed", "samples", "spectrum", "slice", "spectrogram", "folded"
_LOSSLESS = 64  # a picture this small is enlarged when shown, which would make compression artefacts visible


def write_preview(path: Path, pixels: npt.NDArray[Any], largest: int = LARGEST) -> None:
    """Write a picture H×W or H×W×3 in 0…255, rounded and clipped, completely or not at all.

    By its suffix it becomes WebP, for photographs (lossy, except for the smallest), or PNG, for what must stay exact. A
    longer side than ``largest`` is averaged down to it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.webp"
    >>> write_preview(path, np.full((300, 600), 128.0))
    >>> PIL.Image.open(path).size
    (256, 128)
    """
    picture = PIL.Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    longer = max(picture.size)
    if longer > largest:
        width, height = (max(1, round(side * largest / longer)) for side in picture.size)
        picture = picture.resize((width, height), PIL.Image.Resampling.BOX)
    options: dict[str, Any] = {"optimize": True}
    if path.suffix == ".webp":
        options = {"lossless": True} if longer <= _LOSSLESS else {"quality": 85, "method": 4}
    content = io.BytesIO()
    picture.save(content, path.suffix[1:].upper(), **options)
    write_bytes(path, content.getvalue())


def read_preview(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """A picture in a run's folder as an array, (H, W) or (H, W, 3)."""
    picture, _ = open_preview(folder, name)
    return np.asarray(picture)


def pictures_in(described: Any) -> Iterator[str]:
    """The files of the pictures that a description for JSON names, at any depth."""
    if isinstance(described, dict):
        yield from (described[key] for key in _KEYS if isinstance(described.get(key), str))
    if isinstance(described, dict | list):
        for inner in described.values() if isinstance(described, dict) else described:
            yield from pictures_in(inner)


def open_preview(folder: Path, name: str) -> tuple[PIL.Image.Image, bytes]:
    """A picture in a run's folder, and its file's content; InputError if it is missing or outside the folder."""
    path = folder / name
    try:
        content = read_bytes(path, folder)
        picture = PIL.Image.open(io.BytesIO(content), formats=_FORMATS)
        picture.load()
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{one_line(str(path))} is not a picture ({first_line(error)}); measure again") from None
    return picture, content
