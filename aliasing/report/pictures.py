"""Embedding the pictures of a run in a page."""

from pathlib import Path

from aliasing.images.preview import open_preview
from aliasing.plots.svg import data_address, webp


def embed(folder: Path, name: str, largest: int | None = None) -> str:
    """A picture in a run's folder as a ``data:`` address; InputError if it is missing or outside the folder.

    With ``largest`` the longer side is reduced to it, and the picture is encoded again.
    """
    picture, content = open_preview(folder, name)
    if largest is None:
        return data_address(content, str(picture.format).lower())
    picture = picture.convert("RGB")
    picture.thumbnail((largest, largest), reducing_gap=None)  # with a gap it subsamples first, and what folds stays
    return webp(picture)
