r"""Detections: boxes with a class and a confidence, as an object detector gives them.

The detections of two views are moved back by the shift and matched one to one, so that their intersections over unions
(IoU) add up to the most (Kuhn 1955); a match needs an IoU of at least 0.5. Detections that reach into what only one
view shows are left out. With :math:`n` the detections of both views above the confidence threshold, those without a
match are *lost*, and those whose match has another class are *renamed*:

.. math:: P(\mathrm{lost\ or\ renamed}) = \frac{\mathrm{lost} + \mathrm{renamed}}{n}

A lost detection that the other view has too, with the same class but below the threshold, has only *crossed* it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import linear_sum_assignment

from aliasing.outputs.average_precision import AP_COLUMNS, MOVED_HITS, ApMeasure, hits
from aliasing.outputs.base import (
    FLATTERS,
    Columns,
    ImageMeasure,
    ImageTotals,
    Measure,
    column,
    image_starts,
    pair_schema,
    share_of,
    totals_of,
)
from aliasing.outputs.drawn import Drawing, Mark, Outline, PlacedOutput, moved_outline, shift_of
from aliasing.outputs.overlap import seen_by_both
from aliasing.outputs.truth import BoxFiles
from aliasing.rounding import rounded

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["BOXES", "CONFIDENCE", "Boxes", "iou", "match"]

Detections: TypeAlias = npt.NDArray[np.float32]
"""6×n: left, top, right and bottom in pixels of the view, confidence, class."""

CONFIDENCE = 0.4
"""The confidence from which a detection counts."""
MATCHED = 0.5
"""The least IoU of a match."""
MOST, LEAST = 100, 0.001
"""The detections of a view that are kept, those with the highest confidence, and the least of it, as in COCO's
evaluation."""
_VIEWS: tuple[tuple[str, str, Literal["first", "worst", "best"]], ...] = (
    ("", "", "first"),
    ("_worst", " at the worst shift", "worst"),
    ("_best", " at the best shift", "best"),
)

_LIST, _NUMBERS = pa.list_(pa.float32()), pa.list_(pa.int32())
BOXES = pair_schema(
    ("detections", pa.int32()),  # above the threshold, in both views together
    ("lost", pa.int32()),
    ("renamed", pa.int32()),
    ("crossed", pa.int32()),  # of the lost ones
    ("at_border", pa.int32()),  # left out
    # Of each pair of matched detections with the same class.
    ("kept_confidence_change", _LIST),
    ("kept_iou", _LIST),
    ("kept_centre_distance", _LIST),  # pixels
    ("kept_scale_error", _LIST),  # |log| of the ratio of the square roots of the areas
    # Of all detections of a view, for the average precision; null without ground truth.
    *(
        column
        for view in ("first", "second")
        for column in (
            (f"{view}_confidences", _LIST),
            (f"{view}_classes", _NUMBERS),
            (f"{view}_hits", _NUMBERS),  # bit k: right at an IoU of 0.5 + 0.05 k
            (f"{view}_truth", _NUMBERS),  # the classes of what is there
        )
    ),
    (MOVED_HITS, _NUMBERS),  # of the first view, with the ground truth a pixel further down and right
)
"""The columns of the records."""


def _mean_of(kind: str, table: pa.Table) -> ImageTotals:
    """The mean over the matched detections."""
    lists = table[kind].to_pylist()
    totals, counts = (np.array([of(one) for one in lists], np.float64) for of in (sum, len))
    starts = image_starts(table)
    return totals_of(column(table, "name")[starts], *(np.add.reduceat(x, starts) for x in (totals, counts)))


def _worst(table: pa.Table) -> npt.NDArray[np.float64]:
    """The share of each pair; NaN without detections."""
    of, counted = (column(table, kind).astype(np.float64) for kind in ("detections", "lost"))
    shares: npt.NDArray[np.float64] = np.full(len(of), np.nan)
    return np.divide(counted + column(table, "renamed"), of, out=shares, where=of > 0)


def _shares(name: str, title: str, kinds: tuple[str, ...], **more: Any) -> Measure:
    return ImageMeasure(name, title, ("detections", *kinds), of_images=partial(share_of, kinds, "detections"), **more)


def _kept(name: str, title: str, **more: Any) -> Measure:
    source = more.pop("source", f"kept_{name}")
    return ImageMeasure(name, title, (source,), of_images=partial(_mean_of, source), **more)


class Shapes:
    """The shapes of detections in the places of a pair's first view; here their boxes."""

    def overlaps(self, first: Detections, second: Detections) -> npt.NDArray[np.float64]:
        """The intersections over unions, n×m."""
        return iou(first[:4].T, second[:4].T)

    def centres(self, found: Detections) -> npt.NDArray[np.float64]:
        """Their x and y, 2×n."""
        middle: npt.NDArray[np.float64] = (found[:2].astype(np.float64) + found[2:4]) / 2
        return middle

    def areas(self, found: Detections) -> npt.NDArray[np.float64]:
        """In pixels."""
        area: npt.NDArray[np.float64] = ((found[2] - found[0]) * (found[3] - found[1])).astype(np.float64)
        return area

    def outline(self, found: npt.NDArray[np.float32]) -> Outline:
        """The lines round one of them, beside its box: none."""
        return ()


@dataclass(frozen=True)
class Boxes(PlacedOutput):
    """The detections of an image.

    The network answers a list with the detections of each view: a mapping with ``boxes`` (n×4: left, top, right,
    bottom in pixels), ``scores`` and ``labels``, as torchvision's detectors do, or an array n×6 of these numbers.
    """

    name: ClassVar[str] = "boxes"
    movement: ClassVar[str] = "lost_or_renamed"
    stays: ClassVar[str] = "share of the detections\nas in the first view"
    truth: ClassVar[Callable[..., BoxFiles]] = BoxFiles.open
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "table": ("lost_or_renamed", "threshold_crossed", "confidence_change", "matched_iou", "ap50"),
        "plot": ("lost_or_renamed", "confidence_change", "matched_iou", "ap50"),
        "shift": (),
        "attribution": ("lost_or_renamed", "confidence_change", "ap50"),
    }
    measures: ClassVar[tuple[Measure, ...]] = (
        _shares(
            "lost_or_renamed",
            "lost or renamed",
            ("lost", "renamed"),
            label="P(lost or renamed)",
            spoken="of the detections are lost or renamed",
        ),
        Measure(
            "lost_or_renamed_worst",
            "worst loss",
            ("detections", "lost", "renamed"),
            _worst,
            label="P(lost or renamed) at the worst shift",
            within="max",
        ),
        _shares("threshold_crossed", "crossed only", ("crossed",), label="P(only below the threshold)"),
        _kept("confidence_change", "confidence", label="change of confidence"),
        _kept("matched_iou", "matched IoU", source="kept_iou", sign=1),
        _kept("centre_distance", "distance", label="distance of centres", range=(0.0, np.inf), unit="pixels"),
        _kept("scale_error", "scale", label="|log| of the scale", range=(0.0, np.inf)),
        *(
            ApMeasure(
                f"{name}{end}", f"{title}{told}", AP_COLUMNS, thresholds=thresholds, view=view, sign=1, **FLATTERS
            )
            for name, title, thresholds in (("ap", "AP", 10), ("ap50", "AP50", 1))
            for end, told, view in _VIEWS
        ),
        ApMeasure(
            "ap_moved_truth",
            "AP, truth a pixel off",
            (*AP_COLUMNS, MOVED_HITS),
            label="AP against a truth one pixel off",
            view="moved",
            sign=1,
            **FLATTERS,
        ),
        ApMeasure(
            "ap_moved_truth_change",
            "AP change, truth a pixel off",
            (*AP_COLUMNS, MOVED_HITS),
            label="change of AP if the truth is one pixel off",
            view="moved minus first",
            range=(-np.inf, np.inf),
            sign=0,
        ),
    )

    @property
    def schema(self) -> pa.Schema:
        return BOXES

    def network(
        self, running: "ShownNetwork", execution: "Execution"
    ) -> Callable[[npt.NDArray[np.float32]], list[Detections]]:
        """Views N×H×W×3 → the detections of each, 6×n."""
        from aliasing.jitter.network import detections_of

        return detections_of(running, execution, MOST, LEAST)

    def seen_again(self, outputs: list[Any]) -> npt.NDArray[np.float32]:
        """The detections of each view as five sums, in which one at the least confidence does not count."""
        weights = [(one[4] ** 4, one[:4]) for one in outputs]  # the order of equals and the threshold are chance
        return np.stack([np.append((weight * corners).sum(1), weight.sum()) for weight, corners in weights])

    def compare(self, outputs: list[Any], views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """Which detections are kept from the first to the second view of each pair: the columns of `BOXES`."""
        rows = [_changes(self._matched(outputs, pair, views)) for pair in views.pairs]
        columns: Columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        if not views.truth:
            return columns
        found = [self.detections(one) for one in outputs]
        right = [
            hits(one, self.classes(there), self.against(output, there, 0)).tolist()
            for one, output, there in zip(found, outputs, views.truth, strict=True)
        ]
        for view, end in (("first", 0), ("second", 1)):
            shown = [pair[end] for pair in views.pairs]
            columns[f"{view}_confidences"] = [found[one][4].tolist() for one in shown]
            columns[f"{view}_classes"] = [found[one][5].astype(int).tolist() for one in shown]
            columns[f"{view}_hits"] = [right[one] for one in shown]
            columns[f"{view}_truth"] = [self.classes(views.truth[one]).tolist() for one in shown]
        moved = {
            one: hits(
                found[one], self.classes(views.truth[one]), self.against(outputs[one], views.truth[one], 1)
            ).tolist()
            for one in dict.fromkeys(pair[0] for pair in views.pairs)
        }
        columns[MOVED_HITS] = [moved[pair[0]] for pair in views.pairs]
        return columns

    def detections(self, output: Any) -> Detections:
        """The detections in the answer to a view."""
        found: Detections = output
        return found

    def classes(self, truth: Any) -> npt.NDArray[np.int64]:
        """The classes of what is there in a view."""
        found: npt.NDArray[np.int64] = truth[:, 4].astype(np.int64)
        return found

    def against(self, output: Any, truth: Any, moved: int) -> npt.NDArray[np.float64]:
        """The IoU of each detection with what is there, if that lay this many pixels further down and right."""
        return iou(output[:4].T, truth[:, :4] + moved)

    def _matched(self, outputs: list[Any], pair: tuple[int, int], views: "Views") -> "Matched":
        first, second = (outputs[view] for view in pair)
        return Matched.of(first, moved_back(second, shift_of(pair, views)), Shapes(), pair, views)

    def drawing(self, outputs: list[Any], pair: tuple[int, int], views: "Views") -> Drawing:
        """The detections of the second view, and those of the first that it has no more."""
        from aliasing.jitter.trace import answer_in_words

        def called(box: npt.NDArray[np.float32]) -> str:
            return f"{answer_in_words(self.model.labels, int(box[5]))} {rounded(box[4], '.2f')}"

        found = self._matched(outputs, pair, views)
        there, here = found.sure  # in the places of the first view
        fates = {}
        for i, j in found.matches:
            renamed = there[5, i] != here[5, j]
            text = called(here[:, j])
            fates[j] = ("renamed", f"{called(there[:, i])} → {text}") if renamed else ("kept", text)
        marks = [(here[:, j], *fates.get(j, ("new", called(here[:, j])))) for j in range(here.shape[1])]
        fallen = {found.alone[0][i]: f" → {rounded(found.unsure[1][4, j], '.2f')}" for i, j in found.crossed[0]}
        marks += [(there[:, i], "lost", called(there[:, i]) + fallen.get(i, "")) for i in found.alone[0]]
        marks += [(box, "apart", called(box)) for box in found.apart.T]
        down, right = shift_of(pair, views)
        by = (right, down) * 2
        drawn = (
            Mark(tuple((box[:4] + by).tolist()), text, fate, moved_outline(found.shapes.outline(box), down, right))
            for box, fate, text in marks
        )
        return Drawing.of_marks(views.size, drawn, "detection")


def iou(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The intersections over unions of boxes n×4 and m×4, n×m.

    Examples
    --------
    >>> iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    if not (len(first) and len(second)):
        return np.zeros((len(first), len(second)))
    a, b = np.asarray(first, np.float64).T[:, :, None], np.asarray(second, np.float64).T[:, None]
    wide, high = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0)
    both = wide * high
    areas = [np.multiply(*(x[2:] - x[:2]).clip(0)) for x in (a, b)]
    either = areas[0] + areas[1] - both
    shares: npt.NDArray[np.float64] = np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
    return shares


def match(
    first: Detections, second: Detections, overlaps: npt.NDArray[np.float64], same_class: bool = False
) -> list[tuple[int, int]]:
    """The one-to-one matches of detections 6×n and 6×m, of which each has an IoU of at least `MATCHED`.

    Between equal matches, one of the same class is preferred; with ``same_class`` there are no others.
    """
    if not overlaps.size:
        return []
    same = first[5][:, None] == second[5][None]
    possible = (overlaps >= MATCHED) & (same | (not same_class))
    rows, columns = linear_sum_assignment(np.where(possible, overlaps + 1e-3 * same, 0), maximize=True)
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if possible[a, b]]


def moved_back(found: Detections, shift: tuple[float, float]) -> Detections:
    """The detections in the places of a view whose content moves by this to theirs."""
    down, right = shift
    moved = found.copy()
    moved[[0, 2]] -= right
    moved[[1, 3]] -= down
    return moved


@dataclass(frozen=True)
class Matched:
    """The detections of two views in the places of the first, and which of them match.

    Those that reach into what only one view shows are left out; ``apart`` are the sure ones of the second view, and
    ``left_out`` is the number in both. ``overlaps`` are the IoUs of the sure ones. ``alone`` holds those of either view
    without a match, and ``crossed`` which of these match an unsure one of the other view.
    """

    shapes: Shapes
    apart: Detections
    left_out: int
    sure: tuple[Detections, Detections]
    unsure: tuple[Detections, Detections]
    matches: list[tuple[int, int]]
    overlaps: npt.NDArray[np.float64]
    alone: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    crossed: tuple[list[tuple[int, int]], list[tuple[int, int]]]

    @classmethod
    def of(
        cls, first: Detections, second: Detections, shapes: Shapes, pair: tuple[int, int], views: "Views"
    ) -> "Matched":
        """Match the detections of a pair, whose second view's are moved back."""
        sides = seen_sides(pair, views)
        inside = [_inside(one, *sides) for one in (first, second)]
        apart = second[:, (second[4] >= CONFIDENCE) & ~inside[1]]
        left_out = sum(
            int((one[4, ~within] >= CONFIDENCE).sum()) for one, within in zip((first, second), inside, strict=True)
        )
        kept = [one[:, within] for one, within in zip((first, second), inside, strict=True)]
        x, y = (one[:, one[4] >= CONFIDENCE] for one in kept)
        unsure = [one[:, one[4] < CONFIDENCE] for one in kept]
        overlaps = shapes.overlaps(x, y)
        matches = match(x, y, overlaps)
        alone = [np.delete(np.arange(one.shape[1]), [m[end] for m in matches]) for end, one in enumerate((x, y))]
        fallen = [(x[:, alone[0]], unsure[1]), (y[:, alone[1]], unsure[0])]
        crossed = [match(one, others, shapes.overlaps(one, others), True) for one, others in fallen]
        return cls(
            shapes, apart, left_out, (x, y), (unsure[0], unsure[1]), matches, overlaps, (alone[0], alone[1]),
            (crossed[0], crossed[1]),
        )  # fmt: skip


def seen_sides(pair: tuple[int, int], views: "Views") -> tuple[tuple[float, float], tuple[float, float]]:
    """Between which columns and rows of the first view something is seen by both."""
    down, right = shift_of(pair, views)
    height, width = views.size
    return seen_by_both(width, right, views.circular), seen_by_both(height, down, views.circular)


def _changes(found: Matched) -> dict[str, Any]:
    """The columns of one pair that need no ground truth."""
    sure, matches, shapes = found.sure, found.matches, found.shapes
    kept = [(i, j) for i, j in matches if sure[0][5, i] == sure[1][5, j]]
    x, y = (sure[end][:, [m[end] for m in kept]] for end in (0, 1))
    sizes = [np.log(np.maximum(shapes.areas(one), 1e-12)) / 2 for one in (x, y)]
    return {
        "detections": sum(one.shape[1] for one in sure),
        "lost": sum(map(len, found.alone)),
        "renamed": 2 * (len(matches) - len(kept)),
        "crossed": sum(map(len, found.crossed)),
        "at_border": found.left_out,
        "kept_confidence_change": np.abs(x[4] - y[4]).tolist(),
        "kept_iou": [float(found.overlaps[match]) for match in kept],
        "kept_centre_distance": np.hypot(*(shapes.centres(x) - shapes.centres(y))).tolist(),
        "kept_scale_error": np.abs(sizes[0] - sizes[1]).tolist(),
    }


def _inside(detections: Detections, columns: tuple[float, float], rows: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Which detections lie between these places."""
    left, top, right, bottom = detections[:4]
    inside: npt.NDArray[np.bool_] = (
        (left >= columns[0]) & (right <= columns[1]) & (top >= rows[0]) & (bottom <= rows[1])
    )
    return inside
