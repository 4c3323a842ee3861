r"""Key points: places in a picture with a score and a descriptor, as a detector of features gives them.

The key points of two views are moved back by the shift; those that lie where only one view looks are left out. A key
point is *repeated* if the other view has one within a given number of pixels (Schmid, Mohr & Bauckhage 2000):

.. math:: \mathrm{repeatability} = \frac{\mathrm{repeated}_1 + \mathrm{repeated}_2}{n_1 + n_2}

Descriptors and scores are compared for pairs that are each other's nearest within three pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial import KDTree

from aliasing.outputs.base import Columns, ImageMeasure, Measure, pair_schema, share_of
from aliasing.outputs.drawn import Drawing, Mark, PlacedOutput, shift_of
from aliasing.outputs.overlap import seen_by_both

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["KEYPOINTS", "REACHES", "Keypoints"]

Points: TypeAlias = npt.NDArray[np.float32]
"""(3 + D)×n: x and y in pixels of the view, score, descriptor of unit length."""

REACHES = (1, 2, 3)
"""The distances in pixels within which a key point is repeated."""
_NEAR = float(REACHES[-1])

KEYPOINTS = pair_schema(
    ("keypoints", pa.int32()),  # of both views together
    *((f"repeated_{reach}", pa.int32()) for reach in REACHES),
    ("matched", pa.int32()),
    ("similarity", pa.float64()),  # the sum of the cosines of matched descriptors
    ("score_change", pa.float64()),  # the sum of the changes of their scores
)
"""The columns of the records."""


def _ratio(name: str, title: str, counted: str, per: str, **more: Any) -> Measure:
    return ImageMeasure(name, title, (counted, per), of_images=partial(share_of, counted, per), **more)


@dataclass(frozen=True)
class Keypoints(PlacedOutput):
    """The key points of an image.

    The network answers a list with a mapping for each view: ``keypoints`` (n×2: x, y in pixels), ``scores`` (n) and
    ``descriptors`` (n×D).
    """

    name: ClassVar[str] = "keypoints"
    movement: ClassVar[str] = "repeatability"
    stays: ClassVar[str] = f"share of the key points within\n{_NEAR:g} pixels of one of the first view"
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "plot": ("repeatability", "descriptor_similarity", "score_change"),
        "shift": (),
        "attribution": ("repeatability", "repeatability_1", "descriptor_similarity"),
    }
    measures: ClassVar[tuple[Measure, ...]] = (
        *(
            _ratio(
                "repeatability" if reach == _NEAR else f"repeatability_{reach}",
                f"within {reach} px",
                f"repeated_{reach}",
                "keypoints",
                label=f"repeatability within {reach} pixel{'s' if reach > 1 else ''}",
                sign=1,
                **({"spoken": f"of the key points are repeated within {reach} pixels"} if reach == _NEAR else {}),
            )
            for reach in reversed(REACHES)
        ),
        _ratio(
            "descriptor_similarity",
            "similarity",
            "similarity",
            "matched",
            label="cosine of matched descriptors",
            sign=1,
            range=(-1.0, 1.0),
        ),
        _ratio("score_change", "score", "score_change", "matched", label="change of the score", range=(0.0, np.inf)),
    )

    @property
    def schema(self) -> pa.Schema:
        return KEYPOINTS

    def network(
        self, running: "ShownNetwork", execution: "Execution"
    ) -> Callable[[npt.NDArray[np.float32]], list[Points]]:
        """Views N×H×W×3 → the key points of each, (3 + D)×n."""
        from aliasing.jitter.network import keypoints_of

        return keypoints_of(running, execution)

    def seen_again(self, outputs: list[Points]) -> npt.NDArray[np.float32]:
        """The key points of each view as three sums, in which weak ones hardly count."""
        return np.stack([(one[2] ** 4 * np.vstack([one[:2], np.ones_like(one[2])])).sum(1) for one in outputs])

    def compare(self, outputs: list[Points], views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """Which key points are repeated: the columns of `KEYPOINTS`."""
        rows = [_compare(outputs, pair, views) for pair in views.pairs]
        return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}

    def drawing(self, outputs: list[Points], pair: tuple[int, int], views: "Views") -> Drawing:
        """The key points of the second view, and those of the first that are not repeated in it."""
        (there, others), (here, inside) = _moved(outputs, pair, views)  # in the places of the first view
        first, second = there[:, others], here[:, inside]
        marks = [(point, "apart") for point in here[:, ~inside].T]
        for one, other, fate in ((second, first, "new"), (first, second, "lost")):
            distance = KDTree(other[:2].T).query(one[:2].T)[0] if other.shape[1] else np.full(one.shape[1], np.inf)
            repeated = "kept" if fate == "new" else ""  # once is enough
            found = zip(one.T, np.where(distance <= _NEAR, repeated, fate).tolist(), strict=True)
            marks += [(point, what) for point, what in found if what]
        down, right = shift_of(pair, views)
        drawn = (Mark((float(x + right), float(y + down)) * 2, "", fate) for (x, y, *_), fate in marks)
        drawing = Drawing.of_marks(views.size, drawn, "key point")
        alone, count = sum(mark.views == 1 for mark in drawing.marks), first.shape[1] + second.shape[1]
        return replace(drawing, kept=1 - alone / count if count else np.nan)


def _moved(outputs: list[Points], pair: tuple[int, int], views: "Views") -> list[tuple[Points, npt.NDArray[np.bool_]]]:
    """The key points of both views in the places of the first, each with which lie where both look."""
    down, right = shift_of(pair, views)
    moved = outputs[pair[1]].copy()
    moved[:2] -= np.reshape((right, down), (2, 1))
    sides = [seen_by_both(size, by, views.circular) for size, by in zip(views.size[::-1], (right, down), strict=True)]
    return [(one, _inside(one, sides)) for one in (outputs[pair[0]], moved)]


def _compare(outputs: list[Points], pair: tuple[int, int], views: "Views") -> dict[str, Any]:
    first, second = (one[:, inside] for one, inside in _moved(outputs, pair, views))
    nothing = {"matched": 0, "similarity": 0.0, "score_change": 0.0}
    count = first.shape[1] + second.shape[1]
    if not first.shape[1] or not second.shape[1]:
        return {"keypoints": count, **{f"repeated_{reach}": 0 for reach in REACHES}, **nothing}
    to_second, nearest = KDTree(second[:2].T).query(first[:2].T)
    to_first, back = KDTree(first[:2].T).query(second[:2].T)
    mutual = (back[nearest] == np.arange(first.shape[1])) & (to_second <= _NEAR)
    x, y = first[:, mutual], second[:, nearest[mutual]]
    return {
        "keypoints": count,
        **{f"repeated_{reach}": int((to_second <= reach).sum() + (to_first <= reach).sum()) for reach in REACHES},
        "matched": int(mutual.sum()),
        "similarity": float((x[3:].astype(np.float64) * y[3:]).sum()),
        "score_change": float(np.abs(x[2] - y[2]).sum()),
    }


def _inside(points: Points, sides: list[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    (left, right), (top, bottom) = sides
    inside: npt.NDArray[np.bool_] = (
        (points[0] >= left) & (points[0] <= right) & (points[1] >= top) & (points[1] <= bottom)
    )
    return inside
