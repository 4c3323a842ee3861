r"""The label map of an image: the most probable class of each pixel, as a segmentation network gives it.

The second view's map is brought back by the shift, and both are cut to what both views show. With :math:`k_1`,
:math:`k_2` the classes of a pixel and :math:`p_1`, :math:`p_2` its probabilities,

.. math:: \mathrm{pixel\ agreement} = \langle k_1 = k_2 \rangle, \qquad
          \mathrm{IoU}_c = \frac{|\{k_1 = c\} \cap \{k_2 = c\}|}{|\{k_1 = c\} \cup \{k_2 = c\}|}, \qquad
          \mathrm{total\ variation} = \Big\langle \tfrac12 \sum_c |p_1(c) - p_2(c)| \Big\rangle

The agreement is the shift consistency of segmentation, mASSC (Rojas-Gomez et al. 2022).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.errors import InputError
from aliasing.outputs.base import (
    FLATTERS,
    Columns,
    ImageTotals,
    Measure,
    RatioMeasure,
    column,
    image_starts,
    pair_schema,
)  # fmt: skip
from aliasing.outputs.drawn import CHANGED, SAME, UNSEEN, Drawing, PlacedOutput, shift_of
from aliasing.outputs.overlap import overlap
from aliasing.outputs.truth import OUTSIDE, LabelMap, LabelMaps
from aliasing.rounding import rounded

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import ClassMap, Execution
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["BAND", "MASKS", "Masks", "boundary_band"]

Array = npt.NDArray[np.float32]
Classes = npt.NDArray[Any]
_SEEN_AGAIN = 4  # pixels from one to the next

BAND = 3
"""How far the band of a boundary between two classes reaches, in pixels."""

_COUNTS = pa.list_(pa.int32())  # one number a class
MASKS = pair_schema(
    # Shares of the pixels that both views show; null if there are none.
    ("pixel_agreement", pa.float32()),
    ("boundary_agreement", pa.float32()),
    ("interior_agreement", pa.float32()),
    # Half the sum of |Δp| over the classes, averaged over these pixels.
    ("soft_change", pa.float32()),
    # Of these pixels, those of each class in both views, and in at least one.
    ("between_intersection", _COUNTS),
    ("between_union", _COUNTS),
    # The same of each view and the ground truth, over all that the view shows; null without ground truth.
    *((f"{view}_{what}", _COUNTS) for view in ("first", "second") for what in ("intersection", "union")),
)
"""The columns of the records."""


def _mean_of(name: str, title: str, **more: Any) -> Measure:
    source = more.pop("source", name)
    return Measure(name, title, (source,), lambda table: column(table, source), **more)


def _ratio(
    name: str, title: str, views: tuple[str, ...], of: "Callable[[pa.Table], ImageTotals | None]", **more: Any
) -> Measure:
    columns = tuple(f"{view}_{what}" for view in views for what in ("intersection", "union"))
    return RatioMeasure(name, title, columns, of_images=of, sign=1, label=title.replace("mIoU", "mean IoU"), **more)


def _counts(table: pa.Table, view: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The intersections and unions of each row, rows×classes."""
    kinds = ("intersection", "union")
    flat = [table[f"{view}_{kind}"].combine_chunks().flatten().to_numpy().astype(np.int64) for kind in kinds]
    first, second = (found.reshape(len(table), -1) for found in flat)
    return first, second


def _told(table: pa.Table, *views: str) -> pa.Table | None:
    """The rows that have these counts; None if none has."""
    for view in views:
        table = table.filter(table[f"{view}_union"].is_valid())
    return table if len(table) else None


def _summed(view: str, table: pa.Table) -> ImageTotals | None:
    """The counts of an image's rows together."""
    rows = _told(table, view)
    if rows is None:
        return None
    starts = image_starts(rows)
    totals, counts = (np.add.reduceat(found, starts) for found in _counts(rows, view))
    return ImageTotals(column(rows, "name")[starts], totals, counts)


def _chosen(pick: Callable[[npt.NDArray[np.float64]], Any], table: pa.Table) -> ImageTotals | None:
    """The counts of the view on which an image's mean IoU is the least or the greatest."""
    rows = _told(table, "first", "second")
    if rows is None:
        return None
    intersection, union = (
        np.stack(both, 1) for both in zip(_counts(rows, "first"), _counts(rows, "second"), strict=True)
    )
    ratio = np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
    starts = image_starts(rows)
    chosen = []
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        chosen.append(2 * start + int(pick(np.nanmean(ratio[start:stop].reshape(-1, union.shape[-1]), axis=1))))
    views = (len(rows) * 2, -1)
    return ImageTotals(column(rows, "name")[starts], intersection.reshape(views)[chosen], union.reshape(views)[chosen])


@dataclass(frozen=True)
class Masks(PlacedOutput):
    """The label map of an image.

    The network answers N×C×h×w logits or probabilities (N×1×h×w of two classes), as a tensor, as the ``out`` of
    torchvision's segmentation networks or as the ``logits`` of Hugging Face's; a smaller answer is enlarged bilinearly
    to the size of the view.
    """

    name: ClassVar[str] = "masks"
    movement: ClassVar[str] = "pixel_agreement"
    stays: ClassVar[str] = "share of the pixels with\nthe first view's class"
    truth: ClassVar[Callable[..., LabelMaps]] = LabelMaps.open
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "table": ("pixel_agreement", "boundary_agreement", "miou_between", "total_variation", "miou"),
        "plot": ("pixel_agreement", "boundary_agreement", "miou_between", "miou"),
        "page": ("pixel_agreement", "boundary_agreement", "interior_agreement", "miou_between", "miou", "miou_worst"),
        "shift": ("pixel_agreement", "total_variation"),
        "attribution": ("pixel_agreement", "boundary_agreement", "miou"),
    }
    measures: ClassVar[tuple[Measure, ...]] = (
        _mean_of("pixel_agreement", "pixel agreement", sign=1, spoken="of the pixels keep their class"),
        _mean_of("worst_agreement", "worst agreement", source="pixel_agreement", within="min", sign=1),
        _mean_of("boundary_agreement", "at boundaries", label=f"agreement at boundaries (±{BAND} pixels)", sign=1),
        _mean_of("interior_agreement", "inside", label="agreement away from boundaries", sign=1),
        _mean_of("total_variation", "total variation", source="soft_change"),
        _ratio("miou_between", "mIoU between views", ("between",), partial(_summed, "between")),
        _ratio("miou", "mIoU", ("first",), partial(_summed, "first"), **FLATTERS),
        _ratio("miou_worst", "mIoU at the worst shift", ("first", "second"), partial(_chosen, np.argmin), **FLATTERS),
        _ratio("miou_best", "mIoU at the best shift", ("first", "second"), partial(_chosen, np.argmax), **FLATTERS),
    )

    @property
    def schema(self) -> pa.Schema:
        return MASKS

    def describe(self) -> dict[str, Any]:
        """The names of the classes, if each has its own."""
        labels = list(self.model.labels or ())
        return {"classes": labels} if labels and len({*labels}) == len(labels) else {}

    def network(
        self, running: "ShownNetwork", execution: "Execution"
    ) -> "Callable[[npt.NDArray[np.float32]], list[ClassMap]]":
        """Views N×H×W×3 → class probabilities and label maps."""
        from aliasing.jitter.network import class_maps_of

        return class_maps_of(running, execution)

    def seen_again(self, outputs: "list[ClassMap]") -> Array:
        """The probabilities of some of the pixels."""
        return np.stack([one.probable[:, ::_SEEN_AGAIN, ::_SEEN_AGAIN] for one in outputs])

    def compare(
        self, outputs: "list[ClassMap]", views: "Views", image: "Loaded", precision: str = "float32"
    ) -> Columns:
        """How much of the label map moves with the content: the columns of `MASKS`."""
        rows = [_compare(outputs, pair, views) for pair in views.pairs]
        columns: Columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        if not views.truth:
            return columns
        right = [
            _against(image.name, one.labels, truth, len(one.probable))
            for one, truth in zip(outputs, views.truth, strict=True)
        ]
        for view, end in (("first", 0), ("second", 1)):
            for place, what in enumerate(("intersection", "union")):
                found = [right[pair[end]] for pair in views.pairs]
                columns[f"{view}_{what}"] = [None if one is None else one[place] for one in found]
        return columns

    def drawing(self, outputs: "list[ClassMap]", pair: tuple[int, int], views: "Views") -> Drawing:
        """The label map of the second view, and which of its pixels have another class in the first."""
        before, shown = pair
        # In the places of the second view, which is the first of what both show.
        *_, here, moved = _both(outputs, (shown, before), views)
        labels, classes = outputs[shown].labels, len(outputs[shown].probable)
        shift = shift_of((shown, before), views)
        seen, _ = overlap(np.indices(labels.shape), np.indices(labels.shape), shift, views.circular)
        changed = np.full(labels.shape, UNSEEN, np.uint8)
        changed[seen[0], seen[1]] = np.where(here == moved, SAME, CHANGED)
        share = float((here == moved).mean()) if here.size else np.nan
        said = f"{rounded(100 * (1 - share), '.1f')} % changed" if share < 1 else "no pixel changed"
        counts = _confusion(moved, here, classes) * (1 - np.eye(classes, dtype=np.int64))
        if counts.any():
            before_and_now = divmod(int(counts.argmax()), classes)
            said += f", most from {' to '.join(map(self._called, before_and_now))}"
        found, counts = np.unique(labels, return_counts=True)
        names = {int(label): self._called(int(label)) for label in found[np.argsort(-counts, kind="stable")]}
        return Drawing(labels.shape, said, share, labels.astype(np.uint8), changed, names)

    def _called(self, label: int) -> str:
        from aliasing.jitter.trace import answer_in_words

        return answer_in_words(self.model.labels, label)


def _both(outputs: "list[ClassMap]", pair: tuple[int, int], views: "Views") -> tuple[Array, Array, Classes, Classes]:
    """What both views of a pair show, in the places of the first: probabilities of both, and label maps of both."""
    from aliasing.jitter.network import ClassMap

    a, b = (outputs[view] for view in pair)
    shift = shift_of(pair, views)
    probable, moved = overlap(a.probable, b.probable, shift, views.circular)
    first, second = overlap(a.labels, b.labels, shift, views.circular)
    if not all(float(step).is_integer() for step in shift):
        second = ClassMap.of(moved).labels
    return probable, moved, first, second


def _compare(outputs: "list[ClassMap]", pair: tuple[int, int], views: "Views") -> dict[str, Any]:
    """The columns of one pair that need no ground truth."""
    probable, moved, first, second = _both(outputs, pair, views)
    if not first.size:
        return dict.fromkeys(MASKS.names[MASKS.get_field_index("pixel_agreement") :])
    agrees, near = first == second, boundary_band(first) | boundary_band(second)
    agreeing, close, both = (int(np.count_nonzero(where)) for where in (agrees, near, agrees & near))
    intersection, union = _overlaps(first, second, len(probable))
    return {
        "pixel_agreement": agreeing / first.size,
        "boundary_agreement": both / close if close else None,
        "interior_agreement": (agreeing - both) / (first.size - close) if close < first.size else None,
        "soft_change": _distance(probable, moved) / first.size / 2,
        "between_intersection": intersection,
        "between_union": union,
    }


def _distance(one: Array, other: npt.NDArray[Any]) -> float:
    """The sum of |Δp| in float64, class by class: OpenCV does it in one pass over a view, without a copy."""
    other = other.astype(one.dtype, copy=False)
    return sum(float(cv2.norm(a, b, cv2.NORM_L1)) for a, b in zip(one, other, strict=True))


def boundary_band(labels: Classes, reach: int = BAND) -> npt.NDArray[np.bool_]:
    """The pixels within ``reach`` of a boundary between two classes, on either side (in the maximum norm).

    Examples
    --------
    >>> boundary_band(np.array([[0, 0, 0, 1, 1, 1]]), 1).astype(int).tolist()
    [[0, 0, 1, 1, 0, 0]]
    """
    edge = np.zeros(labels.shape, np.bool_)
    below, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    for part, differs in ((edge[1:], below), (edge[:-1], below), (edge[:, 1:], right), (edge[:, :-1], right)):
        np.logical_or(part, differs, out=part)
    kernel = np.ones((2 * reach - 1, 2 * reach - 1), np.uint8)
    grown = cv2.dilate(edge.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(grown).view(np.bool_)


def _confusion(first: Classes, second: Classes, classes: int) -> npt.NDArray[np.int64]:
    """The pixels of each class of the first map that have each class in the second, classes×classes."""
    codes = first.astype(np.min_scalar_type(classes**2 - 1)) * classes + second
    return np.bincount(codes.ravel(), minlength=classes**2).reshape(classes, classes)


def _overlaps(first: Classes, second: Classes, classes: int) -> tuple[list[int], list[int]]:
    """The pixels of each class in both maps, and in at least one."""
    counts = _confusion(first, second, classes)
    both = counts.diagonal()
    return both.tolist(), (counts.sum(0) + counts.sum(1) - both).tolist()


def _against(name: str, found: Classes, right: LabelMap | None, classes: int) -> tuple[list[int], list[int]] | None:
    """The counts of what a network found in a view and the ground truth, where there is one."""
    if right is None:
        return None
    drawn = right.draw()[..., 0]
    known = drawn != OUTSIDE
    truth = drawn[known].astype(np.uint8) - np.uint8(OUTSIDE + 1)  # at most 255 classes (see `LabelMap`)
    if truth.size and truth.max() >= classes:
        raise InputError(
            f"the label map of {name} has class {truth.max()}, and the network has {classes} classes; say which number"
            " is no class: void"
        )
    intersection, union = _overlaps(truth, found[known], classes)
    if right.void is not None and right.void < classes:
        intersection[right.void] = union[right.void] = 0  # an answer of no class is wrong where the truth is known
    return intersection, union
