"""Pictures of a run as text that a page can hold."""

import base64
import io
from pathlib import Path
from typing import Any

import PIL.Image

from aliasing.images.preview import open_preview


def embed(folder: Path, name: str, largest: int | None = None) -> str:
    """A picture of a run's folder as a ``data:`` address.

    Parameters
    ----------
    folder : Path
        What lies outside it is not read, whatever the run's JSON says.
    name : str
    largest : int, optional
        The longer side is brought down to it, and the picture encoded again; without it the file stands as it is.

    Raises
    ------
    InputError
        There is no such picture.
    """
    picture, content = open_preview(folder, name)
    if largest is None:
        return _address(content, str(picture.format))
    picture = picture.convert("RGB")
    picture.thumbnail((largest, largest))
    return _encoded(picture)


def _encoded(picture: PIL.Image.Image) -> str:
    content = io.BytesIO()
    options: dict[str, Any] = {"quality": 80, "method": 4}
    picture.save(content, "WEBP", **options)
    return _address(content.getvalue(), "WEBP")


def _address(content: bytes, kind: str) -> str:
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}"
