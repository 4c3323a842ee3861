"""Ground truth for the places of an image: label maps, read beside the images and moved with them."""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image

from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, Image
from aliasing.images.entries import read_file
from aliasing.images.pixels import decoding

if TYPE_CHECKING:
    from aliasing.models import Classifier
    from aliasing.protocols import ViewProtocol, Views

__all__ = ["COLOURS", "OUTSIDE", "LabelMap", "LabelMaps"]

OUTSIDE = 0
"""What stands in a drawn label map where nothing is known; a class is drawn as its number + 1."""
COLOURS = "colours.csv"
"""The table of a folder of coloured label maps, with the columns ``class``, ``red``, ``green``, ``blue``."""
_MOST = 254  # classes that fit into 8 bits beside OUTSIDE
_PLAIN = ("1", "L", "P", "I;16", "I")


class LabelMap(NamedTuple):
    """The label map of one view.

    Attributes
    ----------
    draw : callable
        Makes it, height×width×3: `OUTSIDE`, or the class + 1, in each channel.
    void : int or None
        The number that is no class.
    """

    draw: Callable[[], npt.NDArray[np.float32]]
    void: int | None


@dataclass(frozen=True)
class LabelMaps:
    """A folder of PNG label maps, one an image, with the image's name.

    Attributes
    ----------
    folder : Path
    files : dict of str to Path
        By the image's name without its suffix.
    void : int, optional
        The number that is no class.
    digest : str
        A hash of all files.
    """

    folder: Path
    files: dict[str, Path]
    void: int | None
    digest: str

    @classmethod
    def open(cls, spec: str | Path, void: int | None = None) -> "LabelMaps":
        """Find the maps of a folder; InputError if there are none."""
        folder = Path(spec).expanduser()
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; expected one with a PNG label map for each image")
        files = {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.png"))}
        if not files:
            raise InputError(f"{folder} holds no PNG label maps")
        digest = hashlib.blake2b(digest_size=16)
        for path in [*files.values(), folder / COLOURS]:
            if path.is_file():
                digest.update(f"{path.relative_to(folder)}\n".encode() + read_file(path))
        return cls(folder, files, void, digest.hexdigest())

    def settings(self) -> dict[str, Any]:
        """As in a summary."""
        return {"folder": str(self.folder), "maps": len(self.files), "void": self.void, "identity": self.digest}

    def of(self, image: Image, protocol: "ViewProtocol", model: "Classifier", seed: int) -> tuple[LabelMap | None, ...]:
        """The label map of each of the image's views.

        It is cut like the view, from a map that was resized to the nearest pixel; None for a view that is moved by
        fractions of a pixel. Raises BadImage if the map cannot be used; the tuple is empty if the image has none.
        """
        path = self.files.get(str(Path(image.name).with_suffix("")))
        if path is None:
            return ()
        if protocol.name == "inpaint":
            raise UsageError("protocol inpaint invents pixels, which have no ground truth; choose black or mean")
        labels = self._read(path)
        if labels.shape != image.pixels.shape[:2]:
            (h, w), (height, width) = labels.shape, image.pixels.shape[:2]
            raise BadImage(f"its label map has {h}×{w} pixels, and the picture has {height}×{width}")
        drawn = replace(image, pixels=np.repeat(labels[..., None], 3, 2))
        dark = (0.0,) * model.channels  # what is padded is drawn as OUTSIDE
        sees = replace(model, interpolation="nearest", mean=dark)
        views: Views = replace(protocol, resizer="pil").views(drawn, sees, seed)
        whole = [all(float(step).is_integer() for step in view.shift) for view in views.views]
        return tuple(
            LabelMap(view.draw, self.void) if is_whole else None
            for view, is_whole in zip(views.views, whole, strict=True)
        )

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        """`OUTSIDE`, or the class + 1, of each pixel."""
        with decoding(), PIL.Image.open(path) as opened:
            numbers = np.asarray(opened if opened.mode in _PLAIN else opened.convert("RGB")).astype(np.int64)
        if numbers.ndim == 3:
            numbers = self._classes_of(path, numbers)
        known = numbers != (-1 if self.void is None else self.void)
        if known.any() and numbers[known].max() >= _MOST:
            raise BadImage(f"its label map has the number {numbers[known].max()}; if that is no class, say so: void")
        return np.where(known, numbers + OUTSIDE + 1, OUTSIDE).astype(np.uint8)

    def _classes_of(self, path: Path, colours: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The class of each pixel of a coloured map."""
        codes = colours @ np.array([65536, 256, 1])
        classes = np.full(codes.shape, -1, np.int64)
        for code, number in _table(self.folder / COLOURS).items():
            classes[codes == code] = number
        if (classes < 0).any():
            red, green, blue = colours[classes < 0][0]
            raise BadImage(f"its label map has the colour ({red}, {green}, {blue}), which {COLOURS} does not name")
        return classes


@lru_cache(maxsize=8)
def _table(path: Path) -> dict[int, int]:
    """The class of each colour, as red·65536 + green·256 + blue."""
    if not path.is_file():
        raise InputError(
            f"the label maps are coloured: {path} must say which colour is which class (class,red,green,blue)"
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {
            sum(int(r[c]) * f for c, f in zip(("red", "green", "blue"), (65536, 256, 1), strict=True)): int(r["class"])
            for r in rows
        }
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read; expected the columns class, red, green, blue with whole numbers"
        ) from error
