"""Ground truth for the places of an image: label maps, boxes and outlines that lie beside it and move with it."""

import csv
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image

from aliasing.errors import InputError, UsageError, first_line
from aliasing.images import BadImage, Image
from aliasing.images.entries import read_file
from aliasing.images.pixels import decoding
from aliasing.resamplers import DEFAULT_RESAMPLER

if TYPE_CHECKING:
    from aliasing.models import Classifier
    from aliasing.protocols import ViewProtocol, Views

__all__ = ["COLOURS", "OUTSIDE", "BoxFiles", "LabelMap", "LabelMaps", "OutlineFiles", "filled"]

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
        folder, files, digest = _files_in(spec, "png", "PNG label maps, one for each image")
        return cls(folder, files, void, digest)

    def settings(self) -> dict[str, Any]:
        """As in a summary."""
        return {"folder": str(self.folder), "maps": len(self.files), "void": self.void, "identity": self.digest}

    def of(self, image: Image, protocol: "ViewProtocol", model: "Classifier", seed: int) -> tuple[LabelMap | None, ...]:
        """The label map of each of the image's views.

        It is cut like the view, from a map that was resized to the nearest pixel; None for a view that is moved by
        fractions of a pixel. Raises BadImage if there is no map, or it cannot be used.
        """
        path = _of_image(self.files, image.name, f"no label map in {self.folder}")
        labels = self._read(path)
        if labels.shape != image.pixels.shape[:2]:
            (h, w), (height, width) = labels.shape, image.pixels.shape[:2]
            raise BadImage(f"its label map has {h}×{w} pixels, and the picture has {height}×{width}")
        drawn = replace(image, pixels=np.repeat(labels[..., None], 3, 2))
        dark = (0.0,) * model.channels  # what is padded is drawn as OUTSIDE
        sees = replace(model, resizer=DEFAULT_RESAMPLER, interpolation="nearest", mean=dark)
        views: Views = replace(protocol, resizer=DEFAULT_RESAMPLER).views(drawn, sees, seed)
        whole = [all(float(step).is_integer() for step in view.shift) for view in views.views]
        return tuple(
            LabelMap(view.draw, self.void) if is_whole else None
            for view, is_whole in zip(views.views, whole, strict=True)
        )

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        """`OUTSIDE`, or the class + 1, of each pixel."""
        with decoding(), PIL.Image.open(io.BytesIO(read_file(path))) as opened:
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


@dataclass(frozen=True)
class BoxFiles:
    """A folder of text files with the boxes of each image, one a line: class, centre x, y, width, height (YOLO's).

    The numbers are shares of the picture's width and height.

    Attributes
    ----------
    folder : Path
    files : dict of str to Path
        By the image's name without its suffix.
    digest : str
        A hash of all files.
    """

    folder: Path
    files: dict[str, Path]
    digest: str

    @classmethod
    def open(cls, spec: str | Path, void: int | None = None) -> "BoxFiles":
        """Find the files of a folder; InputError if there are none."""
        if void is not None:
            raise UsageError(f"void {void} is a number in label maps; boxes have none")
        folder, files, digest = _files_in(spec, "txt", "text files with the boxes of each image")
        return cls(folder, files, digest)

    def settings(self) -> dict[str, Any]:
        """As in a summary."""
        return {"folder": str(self.folder), "files": len(self.files), "identity": self.digest}

    def of(
        self, image: Image, protocol: "ViewProtocol", model: "Classifier", seed: int
    ) -> tuple[npt.NDArray[np.float64], ...]:
        """The boxes of each of the image's views, n×5: corners in pixels of the view, and class.

        They are cut to the view; one of which less than a quarter is left is not there. Raises BadImage if there is no
        file, or it cannot be read.
        """
        path = _of_image(
            self.files, image.name, f"no boxes in {self.folder} (an empty file says that nothing is there)"
        )
        boxes = _read_boxes(path)
        scale, offset, shifts = _placed(image, protocol, model, seed)
        height, width = image.pixels.shape[:2]
        centre, side = boxes[:, 1:3] * (width, height), boxes[:, 3:5] * (width, height)
        corners = np.hstack([centre - side / 2, centre + side / 2]) * np.tile(scale, 2) + np.tile(offset, 2)
        high, wide = model.view_size
        seen = []
        for down, right in shifts:
            moved = corners + np.tile([right, down], 2)
            cut = np.clip(moved, 0, np.tile([wide, high], 2))
            areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (cut, moved)]
            left = areas[0] > _LEAST_LEFT * areas[1]
            seen.append(np.hstack([cut, boxes[:, :1]])[left])
        return tuple(seen)


@dataclass(frozen=True)
class OutlineFiles(BoxFiles):
    """A folder of text files with the outlines of each image, one a line: class, x, y, x, y, … (YOLO's).

    The numbers are shares of the picture's width and height. A pixel belongs to what its centre lies in, by the
    even-odd rule: an outline of several parts goes from one to the next and back on the same line, which adds nothing.
    """

    def of(self, image: Image, protocol: "ViewProtocol", model: "Classifier", seed: int) -> tuple[Any, ...]:
        """The instances in each of the image's views, `aliasing.outputs.instances.Masked`, sure and with their class.

        They are cut to the view; one of which less than a quarter is left is not there. Raises BadImage if there is no
        file, or it cannot be read.
        """
        from aliasing.outputs.instances import Mask, Masked

        path = _of_image(
            self.files, image.name, f"no outlines in {self.folder} (an empty file says that nothing is there)"
        )
        outlines = _read_outlines(path)
        scale, offset, shifts = _placed(image, protocol, model, seed)
        size = np.array(image.pixels.shape[1::-1])
        high, wide = model.view_size
        seen = []
        for down, right in shifts:
            rows, masks = [], []
            for label, points in outlines:
                top, left, pixels = filled(points * size * scale + offset + (right, down))
                whole = Mask.of(pixels, top, left)
                mask = whole.cut((0, high), (0, wide))
                if mask.area > _LEAST_LEFT * whole.area:
                    height, width = mask.pixels.shape
                    corners = (mask.left, mask.top, mask.left + width, mask.top + height)
                    rows.append((*corners, 1.0, label))
                    masks.append(mask)
            seen.append(Masked.of(np.array(rows, np.float32).reshape(-1, 6).T, masks))
        return tuple(seen)


def filled(points: npt.NDArray[np.float64]) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """The pixels whose centre lies in an outline n×2 of x and y, and the place of the first row and column of them.

    By the even-odd rule: a pixel is inside if there is an odd number of crossings to its left.

    Examples
    --------
    >>> top, left, pixels = filled(np.array([[1, 1], [4, 1], [1, 4]], float))
    >>> top, left, pixels.astype(int).tolist()
    (1, 1, [[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    """
    left, top = (int(np.floor(ends)) for ends in points.min(0))
    right, bottom = (int(np.ceil(ends)) for ends in points.max(0))
    crossings = np.zeros((max(bottom - top, 1), max(right - left, 1) + 1), np.int64)
    starts, ends = points, np.roll(points, -1, 0)
    for (x, y), (other_x, other_y) in zip(starts.tolist(), ends.tolist(), strict=True):
        first, last = (math.ceil(end - 0.5) for end in sorted((y, other_y)))  # rows whose centre it passes
        rows = np.arange(first, last)
        if len(rows):
            at = x + (rows + 0.5 - y) * (other_x - x) / (other_y - y)
            columns = np.ceil(at - 0.5).astype(int) - left
            np.add.at(crossings, (rows - top, columns.clip(0, crossings.shape[1] - 1)), 1)
    return top, left, (crossings.cumsum(1)[:, :-1] % 2).astype(np.bool_)


_LEAST_LEFT = 0.25


def _read_outlines(path: Path) -> list[tuple[int, npt.NDArray[np.float64]]]:
    """The class and the points n×2 of each line."""
    found = []
    for label, *numbers in _read_lines(path, "outlines"):
        points = np.array(numbers, np.float64)
        outside = not np.isfinite([label, *numbers]).all() or (points < 0).any() or (points > 1).any()
        if len(points) < 6 or len(points) % 2 or outside:
            raise BadImage(
                f"{path.name} must have lines of a class and the shares of the picture x, y of three points or more"
            )
        found.append((int(label), points.reshape(-1, 2)))
    return found


def _read_lines(path: Path, what: str) -> list[list[float]]:
    """The numbers of each line that has any."""
    try:
        lines = read_file(path).decode("utf-8").splitlines()
        return [[float(number) for number in line.split()] for line in lines if line.strip()]
    except BadImage:
        raise
    except (OSError, ValueError) as error:
        raise BadImage(f"its {what} cannot be read from {path.name}: {first_line(error)}") from error


def _read_boxes(path: Path) -> npt.NDArray[np.float64]:
    rows = _read_lines(path, "boxes")
    boxes = np.array(rows if len({*map(len, rows)}) == 1 else [[]] * len(rows), np.float64)
    boxes = boxes.reshape(len(rows), -1) if rows else np.zeros((0, 5))
    if boxes.shape[1] != 5 or not np.isfinite(boxes).all() or (boxes[:, 1:] < 0).any() or (boxes[:, 1:] > 1).any():
        raise BadImage(
            f"{path.name} must have lines of a class and four shares of the picture: centre x, y, width, height"
        )
    return boxes


def _placed(
    image: Image, protocol: "ViewProtocol", model: "Classifier", seed: int
) -> tuple[tuple[float, float], tuple[float, float], list[tuple[float, float]]]:
    """How a protocol places a picture: the scale and offset (x, y) of its views at no shift, and the views' shifts.

    Each pixel of a view says which pixel of the picture it shows, once the picture's pixels hold their own places.
    """
    height, width = image.pixels.shape[:2]
    sees = replace(model, resizer=DEFAULT_RESAMPLER, interpolation="nearest", mean=(0.0,) * model.channels)
    at, shifts = [], []
    for size, axis in ((width, 1), (height, 0)):
        places = np.arange(1, size + 1)
        codes = np.stack([places // 256, places % 256, np.full(size, 255)], 1).astype(np.uint8)
        shape = (1, size, 3) if axis else (size, 1, 3)
        pixels = np.ascontiguousarray(np.broadcast_to(codes.reshape(shape), (height, width, 3)))
        views: Views = replace(protocol, resizer=DEFAULT_RESAMPLER).views(replace(image, pixels=pixels), sees, seed)
        whole = next(view for view in views.views if all(float(step).is_integer() for step in view.shift))
        drawn = np.rint(whole.draw()).astype(np.int64)
        known = drawn[..., 2] == 255
        shown = np.argwhere(known)[:, axis] + 0.5 - whole.shift[axis]
        source = drawn[..., 0][known] * 256 + drawn[..., 1][known] - 0.5
        at.append(np.polyfit(source, shown, 1) if len(np.unique(source)) > 1 else np.array([np.nan, np.nan]))
        shifts = [(float(view.shift[0]), float(view.shift[1])) for view in views.views]
    if not np.isfinite(at).all():
        raise BadImage(f"protocol {protocol.name} does not show enough of it to place its boxes")
    return (float(at[0][0]), float(at[1][0])), (float(at[0][1]), float(at[1][1])), shifts


def _files_in(spec: str | Path, suffix: str, what: str) -> tuple[Path, dict[str, Path], str]:
    """A folder, its files by the name of their image, and the hash of all; InputError if there are none."""
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected one with {what}")
    files = {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob(f"*.{suffix}"))}
    if not files:
        raise InputError(f"{folder} holds no {what}")
    digest = hashlib.blake2b(digest_size=16)
    for path in [*files.values(), folder / COLOURS]:
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\n".encode() + read_file(path))
    return folder, files, digest.hexdigest()


def _of_image(files: dict[str, Path], name: str, missing: str) -> Path:
    """The file of an image, whose name may have more folders before it; BadImage if there is none."""
    parts = Path(name).with_suffix("").parts
    for start in range(len(parts)):
        found = files.get("/".join(parts[start:]))
        if found is not None:
            return found
    raise BadImage(missing)


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
