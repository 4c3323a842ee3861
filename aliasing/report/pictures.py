"""Embedding the pictures of a run in a page."""

import base64
import io
from pathlib import Path
from typing import Any

import PIL.Image

from aliasing.images.preview import open_preview


def embed(folder: Path, name: str, largest: int | None = None) -> str:
    """A picture in a run's folder as a ``data:`` address; InputError if it is missing or outside the folder.

    With ``largest`` the longer side is reduced to it, and the picture is encoded again.
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
