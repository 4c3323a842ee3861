r"""Instances: detections with a mask each, as Mask R-CNN gives them (He et al. 2017).

They are matched, counted and judged like boxes (`aliasing.outputs.boxes`), but overlap, size and place are those of the
masks. The masks of the second view are moved back by the shift and cut to what both views show; by fractions of a pixel
they are interpolated, and a pixel belongs to what covers at least half of it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from aliasing.outputs.boxes import LEAST, MOST, Boxes, Detections, Matched, Shapes, moved_back, seen_sides
from aliasing.outputs.drawn import Outline, shift_of
from aliasing.outputs.truth import BoxFiles, OutlineFiles

if TYPE_CHECKING:
    from aliasing.jitter.network import Execution
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["Instances", "Mask", "Masked", "mask_iou"]

_NUMBER = 6  # the row of a pair's detections that says which of the masks is theirs
_FINE = 0.75  # pixels by which a drawn outline may differ


class Mask(NamedTuple):
    """A mask, from its first to its last row and column.

    Attributes
    ----------
    top, left : int
        The place of its first row and column.
    pixels : bool array (h, w)
    """

    top: int
    left: int
    pixels: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pixels: npt.NDArray[np.bool_], top: int = 0, left: int = 0) -> "Mask":
        """The mask of these pixels, without the empty rows and columns around it.

        Examples
        --------
        >>> found = Mask.of(np.array([[0, 0, 0], [0, 1, 1]], bool))
        >>> found.top, found.left, found.pixels.shape
        (1, 1, (1, 2))
        """
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if not len(rows):
            return cls(top, left, np.zeros((0, 0), np.bool_))
        inside = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(top + int(rows[0]), left + int(columns[0]), inside)

    @property
    def area(self) -> int:
        """In pixels."""
        return int(np.count_nonzero(self.pixels))

    def centre(self) -> tuple[float, float]:
        """The mean of its pixels' centres, x and y; NaN if it is empty."""
        if not self.pixels.size:
            return math.nan, math.nan
        y, x = np.nonzero(self.pixels)
        return self.left + float(x.mean()) + 0.5, self.top + float(y.mean()) + 0.5

    def moved(self, down: float, right: float) -> "Mask":
        """The same, moved; by fractions of a pixel it is interpolated."""
        whole = math.floor(down), math.floor(right)
        parts = down - whole[0], right - whole[1]
        pixels = self.pixels
        if any(parts) and pixels.size:
            shares = np.pad(pixels, 1).astype(np.float64)
            for axis, part in enumerate(parts):
                later = np.take(shares, np.arange(shares.shape[axis]) - 1, axis, mode="clip")
                shares = (1 - part) * shares + part * later
            return Mask.of(shares >= 0.5, self.top + whole[0] - 1, self.left + whole[1] - 1)
        return Mask(self.top + whole[0], self.left + whole[1], pixels)

    def cut(self, rows: tuple[float, float], columns: tuple[float, float]) -> "Mask":
        """What of it lies between these rows and columns."""
        top, bottom = (int(np.clip(end - self.top, 0, self.pixels.shape[0])) for end in rows)
        left, right = (int(np.clip(end - self.left, 0, self.pixels.shape[1])) for end in columns)
        return Mask.of(self.pixels[top:bottom, left:right], self.top + top, self.left + left)

    def common(self, other: "Mask") -> int:
        """The number of pixels that both have."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = (
            min(a + b, c + d)
            for a, b, c, d in zip(
                (self.top, self.left), self.pixels.shape, (other.top, other.left), other.pixels.shape, strict=True
            )
        )
        if bottom <= top or right <= left:
            return 0
        mine, others = (
            one.pixels[top - one.top : bottom - one.top, left - one.left : right - one.left] for one in (self, other)
        )
        return int(np.count_nonzero(mine & others))


def mask_iou(first: Sequence[Mask], second: Sequence[Mask]) -> npt.NDArray[np.float64]:
    """The intersections over unions of masks, n×m.

    Examples
    --------
    >>> square = Mask(0, 0, np.ones((2, 2), bool))
    >>> mask_iou([square], [square.moved(0, 1), square.moved(5, 5)]).round(3).tolist()
    [[0.333, 0.0]]
    """
    areas = [[one.area for one in some] for some in (first, second)]
    found = np.zeros((len(first), len(second)))
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            both = one.common(other)
            found[i, j] = both / (areas[0][i] + areas[1][j] - both) if both else 0.0
    return found


class Masked(NamedTuple):
    """Detections and their masks, eight pixels a byte.

    Attributes
    ----------
    detections : float32 array 6×n
        Corners, confidence, class.
    frames : int32 array 5×n
        Of each mask the first row and column, the numbers of rows and columns, and the area.
    bits : uint8 array
        The masks, one after the other.
    """

    detections: Detections
    frames: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, detections: Detections, masks: Iterable[Mask]) -> "Masked":
        """Pack masks."""
        packed, frames = [np.zeros(0, np.uint8)], []
        for mask in masks:
            packed.append(np.packbits(mask.pixels))
            frames.append((mask.top, mask.left, *mask.pixels.shape, mask.area))
        return cls(detections, np.array(frames, np.int32).reshape(-1, 5).T, np.concatenate(packed))

    def masks(self) -> list[Mask]:
        """The masks."""
        found, start = [], 0
        for top, left, height, width, _ in self.frames.T.tolist():
            stop = start + (height * width + 7) // 8
            pixels = np.unpackbits(self.bits[start:stop], count=height * width).view(np.bool_)
            found.append(Mask(top, left, pixels.reshape(height, width)))
            start = stop
        return found


@dataclass(frozen=True)
class _Outlined(Shapes):
    """The shapes of detections with masks, whose numbers are in a row of their own."""

    masks: Sequence[Mask]

    def of(self, found: Detections) -> list[Mask]:
        return [self.masks[int(number)] for number in found[_NUMBER]]

    def overlaps(self, first: Detections, second: Detections) -> npt.NDArray[np.float64]:
        return mask_iou(self.of(first), self.of(second))

    def centres(self, found: Detections) -> npt.NDArray[np.float64]:
        return np.array([mask.centre() for mask in self.of(found)], np.float64).reshape(-1, 2).T

    def areas(self, found: Detections) -> npt.NDArray[np.float64]:
        return np.array([mask.area for mask in self.of(found)], np.float64)

    def outline(self, found: npt.NDArray[np.float32]) -> Outline:
        mask = self.masks[int(found[_NUMBER])]
        # A contour runs through pixels' centres, so it is one of smaller pixels.
        grown = np.pad(mask.pixels, 1).astype(np.uint8).repeat(2, 0).repeat(2, 1)
        lines, _ = cv2.findContours(grown, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        simple = (cv2.approxPolyDP(line, 2 * _FINE, True)[:, 0] for line in lines)
        return tuple(
            tuple((x / 2 - 0.75 + mask.left, y / 2 - 0.75 + mask.top) for x, y in line.tolist()) for line in simple
        )


@dataclass(frozen=True)
class Instances(Boxes):
    """The instances in an image: detections with masks.

    The network answers a list with those of each view: a mapping with ``boxes``, ``scores`` and ``labels`` as for
    boxes, and ``masks``, n×H×W or n×1×H×W in the size of the view: bool, or shares, of which at least a half counts.
    """

    name: ClassVar[str] = "instances"
    truth: ClassVar[Callable[..., BoxFiles]] = OutlineFiles.open

    def network(self, running: "ShownNetwork", execution: "Execution") -> Any:
        """Views N×H×W×3 → the detections of each, with their masks."""
        from aliasing.jitter.network import instances_of

        return instances_of(running, execution, MOST, LEAST)

    def seen_again(self, outputs: list[Any]) -> npt.NDArray[np.float32]:
        """That of the boxes, and the sum of the masks' areas."""
        areas = np.array([[(one.detections[4] ** 4 * one.frames[4]).sum()] for one in outputs], np.float32)
        return np.hstack([super().seen_again([one.detections for one in outputs]), areas])

    def detections(self, output: Masked) -> Detections:
        return output.detections

    def classes(self, truth: Masked) -> npt.NDArray[np.int64]:
        found: npt.NDArray[np.int64] = truth.detections[5].astype(np.int64)
        return found

    def against(self, output: Masked, truth: Masked, moved: int) -> npt.NDArray[np.float64]:
        return mask_iou(output.masks(), [mask.moved(moved, moved) for mask in truth.masks()])

    def _matched(self, outputs: list[Masked], pair: tuple[int, int], views: "Views") -> Matched:
        shift = shift_of(pair, views)
        columns, rows = seen_sides(pair, views)
        (first, second), masks = (outputs[view] for view in pair), []
        masks += [mask.cut(rows, columns) for mask in first.masks()]
        masks += [mask.moved(-shift[0], -shift[1]).cut(rows, columns) for mask in second.masks()]
        numbers = np.arange(len(masks), dtype=np.float32)
        count = first.detections.shape[1]
        here = np.vstack([first.detections, numbers[:count]])
        there = np.vstack([moved_back(second.detections, shift), numbers[count:]])
        return Matched.of(here, there, _Outlined(masks), pair, views)
