"""How an answer with places is drawn over its view: label maps, boxes or points, and what differs from another view.

A `Drawing` holds numbers and no colours; `aliasing.plots.overlay` draws it, for figures, films and pages alike.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from aliasing.outputs.base import Output
from aliasing.outputs.overlap import overlap
from aliasing.tables import counted

if TYPE_CHECKING:
    from aliasing.jitter.trace import PlaceTrace
    from aliasing.protocols import Views

__all__ = ["FATES", "Drawing", "Mark", "Outline", "PlacedOutput", "heat_map", "moved_outline"]

FATES = ("kept", "new", "lost", "renamed", "apart")
"""What becomes of a mark from one view to another; ``"apart"`` is where only one of the views looks."""
SAME, CHANGED, UNSEEN = range(3)
"""What becomes of a pixel; unseen are those that only one of the views shows."""
_AROUND = 4  # pixels: how far a point reaches in a heat map


Outline: TypeAlias = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True)
class Mark:
    """A box, or a point: its corners are then the same place twice.

    Attributes
    ----------
    corners : tuple of float
        Left, top, right and bottom, in pixels of the view.
    text : str
        What stands beside it, such as its class and confidence.
    fate : str
        One of `FATES`. One that is lost is where it would be in this view.
    outline : tuple of lines
        Closed lines that are drawn instead of the box, each a tuple of x and y; by the even-odd rule they enclose a
        mask.
    """

    corners: tuple[float, ...]
    text: str
    fate: str
    outline: Outline = ()

    @property
    def is_point(self) -> bool:
        """Whether it has no extent."""
        return self.corners[:2] == self.corners[2:]

    @property
    def views(self) -> int:
        """In how many of the two views it is."""
        return 1 if self.fate in ("new", "lost") else 2


@dataclass(frozen=True)
class Drawing:
    """An answer to a view, and what of it differs from the answer to another view of the same content.

    Attributes
    ----------
    size : (int, int)
        Height and width of the view.
    said : str
        What differs, in words.
    kept : float
        The share of the pixels or marks that stay the same; NaN if there are none to compare.
    labels, changed : uint8 array (H, W), optional
        The class of each pixel, and what became of it (`SAME`, `CHANGED` or `UNSEEN`).
    names : dict of int to str
        The classes of ``labels``, the most frequent first.
    marks : tuple of Mark
    """

    size: tuple[int, ...]
    said: str
    kept: float
    labels: npt.NDArray[np.uint8] | None = None
    changed: npt.NDArray[np.uint8] | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of_marks(cls, size: tuple[int, ...], marks: Iterable[Mark], word: str) -> "Drawing":
        """The drawing of marks, each a ``word``.

        Examples
        --------
        >>> boxes = [Mark((0, 0, 2, 2), "cat 0.90", "kept"), Mark((4, 4, 9, 9), "dog 0.50", "new")]
        >>> found = Drawing.of_marks((16, 16), boxes, "detection")
        >>> found.said, round(found.kept, 3)
        ('2 detections: 1 new', 0.667)
        """
        marks = tuple(marks)
        by = {fate: [mark for mark in marks if mark.fate == fate] for fate in FATES}
        compared = sum(mark.views for mark in marks if mark.fate != "apart")
        differs = ", ".join(f"{len(by[fate])} {fate}" for fate in ("lost", "new", "renamed") if by[fate])
        told = f"{counted(len(marks) - len(by['lost']), word)}{': ' if differs else ''}{differs}"
        return cls(size, told, 2 * len(by["kept"]) / compared if compared else np.nan, marks=marks)

    def unstable(self) -> npt.NDArray[np.bool_]:
        """Which pixels both views show, and which of these change or are covered by a mark that does, (2, H, W)."""
        if self.changed is not None:
            return np.stack([self.changed != UNSEEN, self.changed == CHANGED])
        found = np.zeros((2, *self.size), np.bool_)
        found[0] = True
        for mark in self.marks:
            if mark.fate in ("new", "lost", "renamed"):
                if mark.outline:
                    lines = [np.rint(np.array(line) - 0.5).astype(np.int32) for line in mark.outline]
                    mask = np.zeros(self.size, np.uint8)
                    found[1] |= cv2.fillPoly(mask, lines, 1).astype(np.bool_)
                    continue
                margin = _AROUND if mark.is_point else 0
                left, top, right, bottom = np.add(mark.corners, (-margin, -margin, margin, margin)).clip(0).round()
                found[1, int(top) : int(bottom), int(left) : int(right)] = True
        return found


def heat_map(drawings: Sequence[Drawing], shifts: Any, circular: bool = False) -> npt.NDArray[np.float32]:
    """Where an answer is unstable: the share of the pairs of views in which it changes there; NaN where none shows it.

    A label map changes where a pixel gets another class, boxes where one is lost, new or renamed.

    Parameters
    ----------
    drawings : sequence of Drawing
        Of the second view of each pair, against the first.
    shifts : sequence of (float, float)
        How the content of each has moved from where the map has it; fractions of a pixel are rounded.
    circular : bool
        The content moves around the edges.

    Examples
    --------
    >>> changed = np.array([[SAME, CHANGED, UNSEEN]], np.uint8)
    >>> drawings = [Drawing((1, 3), "", 0.5, changed=changed)] * 2
    >>> heat_map(drawings, [(0, 0), (0, 1)]).tolist()
    [[0.5, 1.0, nan]]
    """
    total = np.zeros((2, *drawings[0].size), np.int32)
    for drawing, shift in zip(drawings, shifts, strict=True):
        whole = round(float(shift[0])), round(float(shift[1]))
        places, unstable = overlap(np.indices(drawing.size), drawing.unstable(), whole, circular)
        total[:, places[0], places[1]] += unstable
    nothing = np.full(drawings[0].size, np.nan, np.float32)
    shares: npt.NDArray[np.float32] = np.divide(total[1], total[0], out=nothing, where=total[0] > 0)
    return shares


@dataclass(frozen=True)
class PlacedOutput(Output):
    """An output that is drawn over its view."""

    of_places: ClassVar[bool] = True
    stays: ClassVar[str]
    """What `Drawing.kept` is, on an axis."""

    @abstractmethod
    def drawing(self, outputs: Any, pair: tuple[int, int], views: "Views") -> Drawing:
        """The answer to the second view of a pair, and what of it differs from that to the first, moved to it."""

    def follow(self, outputs: Any, views: "Views", common: dict[str, Any]) -> "PlaceTrace":
        """The drawings along a path, each against the first view, and the heat map of its pairs."""
        from aliasing.jitter.trace import PlaceTrace

        drawings = tuple(self.drawing(outputs, (0, view), views) for view in range(len(views.views)))
        steps = tuple(self.drawing(outputs, pair, views) for pair in views.pairs)
        shifts = [np.subtract(views.views[b].shift, views.views[0].shift) for _, b in views.pairs]
        return PlaceTrace(
            **common,
            answers=tuple(drawing.said for drawing in drawings),
            curve=np.array([drawing.kept for drawing in drawings]),
            stays=self.stays,
            drawings=drawings,
            steps=steps,
            heat=heat_map(steps, shifts, views.circular),
        )


def moved_outline(outline: Outline, down: float, right: float) -> Outline:
    """The same lines, moved."""
    return tuple(tuple((x + right, y + down) for x, y in line) for line in outline)


def shift_of(pair: tuple[int, int], views: "Views") -> tuple[float, float]:
    """How the content moves from the first to the second view of a pair, (dy, dx)."""
    before, after = (views.views[view].shift for view in pair)
    return after[0] - before[0], after[1] - before[1]
