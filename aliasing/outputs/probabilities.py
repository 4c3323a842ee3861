"""The probabilities of a network's classes, or of its labels if it gives an image several.

With *k* the top class of a view and *p* its probability (Azulay & Weiss 2019):

.. math:: P(\\text{top-1 change}) = \\langle k_1 \\ne k_2 \\rangle, \\qquad
          \\mathrm{MAC} = \\langle |p_1(k_1) - p_2(k_1)| \\rangle

Consistency is 1 − P(top-1 change) of two random windows (Zhang 2019). Stability is the share of pairs whose two answers
are equal and right (Saha & Gokhale 2025): S-Stab between windows, C-Stab between circular shifts. The answer of a
multi-label network changes if any label crosses a probability of 0.5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.errors import InputError
from aliasing.outputs.base import FLATTERS, Column, Columns, Measure, Output, column, first_and_second, pair_schema

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution, Network
    from aliasing.jitter.trace import Trace
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views
    from aliasing.scales import Found

__all__ = ["ACCURACY", "LABELS", "MAC", "PROBABILITIES", "TOP1_CHANGE", "Probabilities", "audited", "compare_classes"]

Array = npt.NDArray[np.float32]

# A top-1 margin within which the rounding of another batch size may change the answer.
NEAR_TIE = 1e-4

_MARGINS = [("first_margin", pa.float32()), ("second_margin", pa.float32())]
# The precision in which each view's answer and probabilities were computed: float32 or bfloat16.
_PRECISIONS = [("first_precision", pa.string()), ("second_precision", pa.string())]

PROBABILITIES = pair_schema(
    ("first_top1", pa.int32()),
    ("second_top1", pa.int32()),
    # The probability of the first view's top class in both views: MAC is the mean of their distance.
    ("first_probability", pa.float32()),
    ("second_probability", pa.float32()),
    ("first_label_probability", pa.float32()),
    ("second_label_probability", pa.float32()),
    # Top-1 minus top-2 probability: if it is tiny, rounding decides the answer.
    *_MARGINS,
    # Half the sum of |Δp| over all classes: 0 if equal, 1 if disjoint.
    ("total_variation", pa.float32()),
    *_PRECISIONS,
    # In a verified run, whether the pair was drawn for the audit, and how many of its two answers in bfloat16 would
    # have been kept although float32 disagrees. Null in a run of one precision.
    ("audited", pa.bool_()),
    ("disagreements", pa.int32()),
)
"""The columns of the records of a network that gives an image one class."""

LABELS = pair_schema(
    # The number of labels whose probability is at least 0.5 in each view.
    ("first_labels", pa.int32()),
    ("second_labels", pa.int32()),
    # The number of labels that are present in only one of the two views, and the mean of |Δp| over all labels.
    ("labels_changed", pa.int32()),
    ("label_change", pa.float32()),
    # The distance of the nearest label's probability from 0.5: if it is tiny, rounding decides.
    *_MARGINS,
    *_PRECISIONS,
)
"""The columns of the records of a network that gives an image any number of labels."""


def audited(table: pa.Table) -> Column | None:
    """Which pairs were drawn for the audit of a verified run; None in a run of one precision."""
    if "audited" not in table.column_names or table["audited"].null_count:
        return None
    return column(table, "audited")


def _where_audited(table: pa.Table, values: Column) -> Column:
    """Only for audited pairs has float32 given all probabilities."""
    drawn = audited(table)
    return values if drawn is None else np.where(drawn, values, np.nan)


def _changed(table: pa.Table) -> Column:
    changed: Column = column(table, "first_top1") != column(table, "second_top1")
    return changed


def _moved(table: pa.Table) -> Column:
    first, second = (column(table, f"{view}_probability").astype(np.float64) for view in ("first", "second"))
    return _where_audited(table, np.abs(first - second))


def _right(table: pa.Table, *views: str) -> Column | None:
    """Whether these views are classified correctly; NaN without a label."""
    if table["label"].null_count == len(table):
        return None
    label = table["label"].fill_null(-1).to_numpy()
    right = np.logical_and.reduce([column(table, view) == label for view in views or ("first_top1",)])
    return np.where(table["label"].is_null().to_numpy(), np.nan, right)


def _any_changed(table: pa.Table) -> Column:
    changed: Column = column(table, "labels_changed") > 0
    return changed


_TOP1, _LABELS_CHANGED = ("first_top1", "second_top1"), ("labels_changed",)
_CONSISTENT = "share of pairs that keep the answer"
_SPOKEN = "of the pairs of views change the answer"
_RATES = ("top1_change", "any_change")
_WORST: dict[str, Any] = {"within": "max", "binary": True}

TOP1_CHANGE = Measure("top1_change", "P(top-1 change)", _TOP1, _changed, binary=True, is_change=True, spoken=_SPOKEN)
MAC = Measure("mac", "MAC", ("first_probability", "second_probability"), _moved, label="mean absolute change")
ACCURACY = Measure(
    "accuracy", "accuracy", ("label", "first_top1"), _right, binary=True, sign=1, of_first=True, **FLATTERS
)


@dataclass(frozen=True)
class Probabilities(Output):
    """The probabilities of a network's classes, or of its labels.

    Attributes
    ----------
    scale : Found, optional
        The scale of the network's answer, and how it was found.
    """

    name: ClassVar[str] = "probabilities"
    of_classes: ClassVar[bool] = True
    movement: ClassVar[str] = MAC.name
    front: ClassVar[tuple[str, ...]] = ("accuracy", "consistency")
    measures: ClassVar[tuple[Measure, ...]] = (
        TOP1_CHANGE,
        MAC,
        Measure("any_change", "P(any label changes)", _LABELS_CHANGED, _any_changed, binary=True, is_change=True),
        Measure(
            "label_mac",
            "MAC per label",
            ("label_change",),
            lambda table: column(table, "label_change"),
            label="mean absolute change per label",
        ),
        Measure(  # of the class probabilities along the whole path
            "total_variation",
            "total variation",
            ("total_variation",),
            lambda table: _where_audited(table, column(table, "total_variation")),
            within="sum",
            along_path=True,
        ),
        Measure("worst_change", "worst-case change", _TOP1, _changed, **_WORST),
        Measure("worst_change", "worst-case change", _LABELS_CHANGED, _any_changed, **_WORST),
        ACCURACY,
        Measure(
            "worst_accuracy",
            "worst-case accuracy",
            ("label", *_TOP1),
            lambda table: _right(table, *_TOP1),
            within="min",
            binary=True,
            sign=1,
            **FLATTERS,
        ),
        Measure(  # S-Stab of windows, C-Stab of circular shifts (Saha & Gokhale 2025)
            "stability",
            "stability",
            ("label", *_TOP1),
            lambda table: _right(table, *_TOP1),
            binary=True,
            sign=1,
            **FLATTERS,
        ),
        Measure(
            "consistency",
            "consistency",
            of=_RATES,
            factor=-1,
            offset=1,
            sign=1,
            caution=_CONSISTENT,
            under="consistency",
            otherwise="1 − P(top-1 change)",
        ),
        Measure("flip_rate", "flip rate", of=_RATES, along_path=True),  # Hendrycks & Dietterich 2019
    )
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "table": ("top1_change", "mac", "any_change", "label_mac", "accuracy", "worst_accuracy"),
        "plot": ("top1_change", "mac", "any_change", "label_mac", "accuracy"),
        "leaderboard": (
            *("accuracy", "consistency", "top1_change", "any_change"),
            *("worst_change", "worst_accuracy", "stability", "mac", "label_mac"),
        ),
        "page": (
            *("accuracy", "consistency", "stability", "top1_change", "mac", "any_change", "label_mac"),
            *("worst_accuracy", "worst_change", "total_variation"),
        ),
        "shift": ("top1_change", "mac"),
        "attribution": ("top1_change", "mac", "any_change", "label_mac", "accuracy"),
    }

    scale: "Found | None" = None

    @classmethod
    def of(cls, model: "ShownNetwork") -> Self:
        """The probabilities of a network, whose answer's scale is recognised."""
        from aliasing.scales import find_scale

        found = find_scale(model)
        return cls(replace(model, scale=found.name), found)

    @property
    def of_labels(self) -> bool:
        """Whether the network gives an image any number of labels."""
        return self.scale is not None and self.scale.scale.of_labels

    @property
    def verifiable(self) -> bool:
        return not self.of_labels

    @property
    def schema(self) -> pa.Schema:
        return LABELS if self.of_labels else PROBABILITIES

    def describe(self) -> dict[str, Any]:
        return {} if self.scale is None else {"scale": self.scale.as_dict()}

    def network(self, running: "ShownNetwork", execution: "Execution") -> "Network":
        """Views N×H×W×3 → the probabilities of the classes, N×C."""
        from aliasing.jitter.network import probabilities_of

        return probabilities_of(running, execution)

    def compare(self, outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """What changes in the most probable class, or in the labels, from the first to the second view of each pair."""
        return (compare_labels if self.of_labels else compare_classes)(outputs, views, image, precision)

    def margins(self, outputs: Array) -> Array:
        return (margin_of_labels if self.of_labels else margin_of_class)(outputs)

    def follow(self, outputs: Sequence[Array], views: "Views", common: dict[str, Any]) -> "Trace":
        """The probability of the first view's answer, the answers, and the leading classes."""
        from aliasing.jitter.trace import LEADING, Trace, answer_in_words

        found, labels = np.stack(outputs), self.model.labels
        top1 = found.argmax(1)
        leading = np.argsort(-found.max(0), kind="stable")[:LEADING]
        return Trace(
            **common,
            curve=found[:, top1[0]],
            top1=top1,
            answers=tuple(answer_in_words(labels, int(index)) for index in top1),
            confidence=found.max(1),
            leading=tuple(answer_in_words(labels, int(index)) for index in leading),
            leading_probabilities=found[:, leading],
        )

    @classmethod
    def needed(cls) -> set[str]:
        """The columns of its measures, of the audit of a verified run, and of near ties."""
        return {*super().needed(), *(name for name, _ in (*_MARGINS, *_PRECISIONS)), "audited", "disagreements"}

    @classmethod
    def near_ties(cls, table: pa.Table) -> int:
        """The number of pairs with a view whose margin is so small that rounding may decide the answer."""
        if not {"first_margin", "second_margin"} <= {*table.column_names}:
            return 0
        margin = np.minimum(column(table, "first_margin"), column(table, "second_margin"))
        return int((margin < NEAR_TIE).sum())


def compare_classes(outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
    """What changes from the first to the second view of each pair: the columns of `PROBABILITIES`.

    ``outputs`` holds the class probabilities, views×classes, computed in ``precision``. The image's label, if any, is
    the number of a class (see `aliasing.classes.in_classes`); InputError if there is no such class.
    """
    classes = outputs.shape[1]
    label = image.label
    if isinstance(label, str) or (label is not None and not 0 <= label < classes):
        raise InputError(f"{image.name} has label {label!r}, but the network has {classes} classes, 0 … {classes - 1}")
    first, second = first_and_second(views)
    top1 = outputs.argmax(1)
    margin = margin_of_class(outputs)
    columns = {
        "first_top1": top1[first],
        "second_top1": top1[second],
        "first_probability": outputs[first, top1[first]],
        "second_probability": outputs[second, top1[first]],
        "total_variation": np.array([np.abs(outputs[a] - outputs[b]).sum() / 2 for a, b in views.pairs], np.float32),
        **_margins_and_precision(margin, first, second, precision),
    }
    if label is not None:
        columns["first_label_probability"] = outputs[first, label]
        columns["second_label_probability"] = outputs[second, label]
    return columns


def compare_labels(outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
    """Which labels cross a probability of 0.5 between the views of each pair: the columns of `LABELS`.

    ``outputs`` holds the probability of each label, views×labels, independently of the others.
    """
    first, second = first_and_second(views)
    there = outputs >= 0.5
    return {
        "first_labels": there.sum(1)[first],
        "second_labels": there.sum(1)[second],
        "labels_changed": (there[first] != there[second]).sum(1),
        "label_change": np.array([np.abs(outputs[a] - outputs[b]).mean() for a, b in views.pairs], np.float32),
        **_margins_and_precision(margin_of_labels(outputs), first, second, precision),
    }


def margin_of_class(outputs: Array) -> Array:
    """The probability of the top class minus that of the next: (views, classes) → (views,)."""
    two_largest = np.partition(outputs, -2, axis=1)[:, -2:]
    margin: Array = two_largest[:, 1] - two_largest[:, 0]
    return margin


def margin_of_labels(outputs: Array) -> Array:
    """The distance of the nearest label's probability from 0.5: (views, labels) → (views,)."""
    margin: Array = np.abs(outputs - 0.5).min(1)
    return margin


def _margins_and_precision(margin: Array, first: Column, second: Column, precision: str) -> Columns:
    return {
        "first_margin": margin[first],
        "second_margin": margin[second],
        "first_precision": [precision] * len(first),
        "second_precision": [precision] * len(first),
    }
