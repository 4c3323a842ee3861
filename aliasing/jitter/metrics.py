"""From records to numbers: every estimate of a summary, with its interval, from the records and nothing else.

A metric takes in tables of records, merges with another that has taken in others, and can be computed at any time.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from aliasing.estimates import Difference, Estimate, Share

Column: TypeAlias = npt.NDArray[Any]

# Below this many images that change, the interval says little more than a bound.
FEW_IMAGES = 10
# Below this many audited pairs, the mean absolute change is hardly known.
FEW_PAIRS = 30
# A top-1 margin within which the rounding of another batch size may change the answer.
NEAR_TIE = 1e-4


# The columns that no measure follows from, which are not read for a summary.
NOT_MEASURED = (
    "model",
    "image",
    "pair",
    *(f"{view}_{what}" for view in ("first", "second") for what in ("dy", "dx", "position", "label_probability")),
)


@dataclass(frozen=True)
class ImageTotals:
    """A measure image by image: the sum of its values, and how many they are."""

    names: Column
    totals: Column
    counts: Column


def image_totals(table: pa.Table) -> dict[str, ImageTotals]:
    """Every measure of a table of records, image by image.

    Parameters
    ----------
    table : pyarrow.Table
        Records in which the rows of an image stand together (``records.PROBABILITIES`` or ``records.EMBEDDINGS``).

    Returns
    -------
    dict of str to ImageTotals
        ``top1_change``, ``mac``, ``total_variation``: over pairs. ``worst_change``: 1 where any pair of the image
        changes. ``accuracy``: over first views; ``worst_accuracy``: 1 where all views are right; both over the images
        that have a label. In a verified run ``mac`` and ``total_variation`` are over the audited pairs, the only ones
        of which float32 has given all probabilities. For embeddings ``cosine_distance`` (halved, so that it lies in
        0…1) and ``neighbour_change``. For networks with many labels ``any_change``: 1 where any label crosses a
        probability of 0.5; ``label_mac``: the mean absolute change of a label's probability; ``worst_change``.
    """
    if not len(table):
        return {}
    names = _column(table, "name")
    starts = image_starts(table)

    def over_pairs(values: Column, counted: Column | None = None) -> ImageTotals:
        counted = np.ones(len(values), bool) if counted is None else counted
        totals = np.add.reduceat(np.where(counted, values, 0).astype(np.float64), starts)
        counts = np.add.reduceat(counted.astype(np.int64), starts)
        some = counts > 0
        return ImageTotals(names[starts][some], totals[some], counts[some])

    def over_images(values: Column) -> ImageTotals:
        return ImageTotals(names[starts], values.astype(np.float64), np.ones(len(starts)))

    if "cosine_distance" in table.column_names:
        measures = {"cosine_distance": over_pairs(_column(table, "cosine_distance") / 2)}
        if table["first_neighbour"].null_count == 0:
            changed = _column(table, "first_neighbour") != _column(table, "second_neighbour")
            measures["neighbour_change"] = over_pairs(changed)
        return measures
    if "labels_changed" in table.column_names:
        changed = _column(table, "labels_changed") > 0
        return {
            "any_change": over_pairs(changed),
            "label_mac": over_pairs(_column(table, "label_change")),
            "worst_change": over_images(np.maximum.reduceat(changed, starts)),
        }

    first_top1, second_top1 = _column(table, "first_top1"), _column(table, "second_top1")
    changed = first_top1 != second_top1
    first, second = (_column(table, f"{view}_probability").astype(np.float64) for view in ("first", "second"))
    audited = _audited(table)
    measures = {
        "top1_change": over_pairs(changed),
        "mac": over_pairs(np.abs(first - second), audited),
        "total_variation": over_pairs(_column(table, "total_variation"), audited),
        "worst_change": over_images(np.maximum.reduceat(changed, starts)),
    }
    labelled = ~table["label"].is_null().to_numpy()[starts]
    if labelled.any():
        label = table["label"].fill_null(-1).to_numpy()
        right = first_top1 == label
        all_right = np.minimum.reduceat(right & (second_top1 == label), starts)
        for name, totals in (("accuracy", over_pairs(right)), ("worst_accuracy", over_images(all_right))):
            measures[name] = ImageTotals(*(column[labelled] for column in (totals.names, totals.totals, totals.counts)))
    return measures


def image_starts(table: pa.Table) -> npt.NDArray[np.intp]:
    """The first row of each image in a table of records, in which the rows of an image stand together."""
    names = _column(table, "name")
    return np.flatnonzero(np.concatenate([[len(names) > 0], names[1:] != names[:-1]]))


_BINARY = ("top1_change", "any_change", "worst_change", "accuracy", "worst_accuracy", "neighbour_change")
# The rate of which consistency is the complement, whichever of them is measured.
_RATES = ("top1_change", "any_change")


@dataclass
class Audit:
    """What float32 says of the answers of a verified run; accumulates and merges.

    Attributes
    ----------
    pairs, disagreements : int
        Pairs that were drawn and run in float32, and those of them of which an answer would have been wrong.
    kept, run_again : int
        Answers in the other pairs that are bfloat16's, and those that float32 gave because the margin was small.
    """

    pairs: int = 0
    disagreements: int = 0
    kept: int = 0
    run_again: int = 0

    def add(self, table: pa.Table) -> None:
        """Take in records; those of a run in one precision say nothing."""
        audited = _audited(table)
        if audited is None:
            return
        self.pairs += int(audited.sum())
        self.disagreements += int((table["disagreements"].fill_null(0).to_numpy() > 0).sum())
        for view in ("first", "second"):
            exact = _column(table, f"{view}_precision")[~audited] == "float32"
            self.run_again += int(exact.sum())
            self.kept += int((~exact).sum())

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        for name in ("pairs", "disagreements", "kept", "run_again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def summary(self) -> dict[str, Any]:
        """As it stands in ``summary.json``.

        ``disagreement_limit`` is the upper end of the exact one-sided 95 % interval of the share of all pairs that
        have a wrong answer (Clopper & Pearson 1934): about 3 / n where none was found in n. The pairs are drawn
        independently of each other, so it holds however alike the pairs of an image are.
        """
        found, pairs = self.disagreements, self.pairs
        limit = float(stats.beta.ppf(0.95, found + 1, pairs - found)) if found < pairs else 1.0
        answers = self.kept + self.run_again
        return {
            "run_again": self.run_again / answers if answers else None,
            "audited_pairs": pairs,
            "disagreements": found,
            "disagreement_limit": limit,
        }


@dataclass
class PairMetrics:
    """The measures of one network, from its records; accumulates and merges.

    Attributes
    ----------
    images, pairs : int
        How many were taken in.
    changed_images : int
        Images whose answer (or nearest neighbour) changes in at least one pair.
    near_ties : int
        Pairs with a view whose top-1 margin is so small that rounding may decide it.
    audit : Audit
        What float32 says of a verified run.
    shares : dict of str to Share
        The measures, by name.
    """

    images: int = 0
    pairs: int = 0
    changed_images: int = 0
    near_ties: int = 0
    audit: Audit = field(default_factory=Audit)
    shares: dict[str, Share] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Take in records in which the rows of an image stand together."""
        if not len(table):
            return
        self.pairs += len(table)
        for name, measure in image_totals(table).items():
            self.shares.setdefault(name, Share(binary=name in _BINARY)).add(measure.totals, measure.counts)
            if name in ("worst_change", "cosine_distance"):
                self.images += len(measure.names)
            if name in (*_RATES, "neighbour_change"):
                self.changed_images += int((measure.totals > 0).sum())
        if "first_margin" in table.column_names:
            margin = np.minimum(_column(table, "first_margin"), _column(table, "second_margin"))
            self.near_ties += int((margin < NEAR_TIE).sum())
        self.audit.add(table)

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        self.images += other.images
        self.pairs += other.pairs
        self.changed_images += other.changed_images
        self.near_ties += other.near_ties
        self.audit.merge(other.audit)
        for name, share in other.shares.items():
            self.shares.setdefault(name, Share(binary=share.binary)).merge(share)

    def estimates(self, is_path: bool = False) -> dict[str, Estimate]:
        """Every measure with its interval.

        Parameters
        ----------
        is_path : bool
            The pairs of an image follow one another along a path: then ``flip_rate`` (changes per step, Hendrycks &
            Dietterich 2019) and ``total_variation`` (of the class probabilities along the whole path, mean over
            images) have a meaning.
        """
        found = {name: share.estimate() for name, share in self.shares.items() if name != "total_variation"}
        for rate in found.keys() & {*_RATES}:
            change = found[rate]
            found["consistency"] = Estimate(1 - change.value, 1 - change.high, 1 - change.low)
            if is_path:
                found["flip_rate"] = change
            if is_path and "total_variation" in self.shares:
                found["total_variation"] = _scaled(
                    self.shares["total_variation"].per_image().estimate(), self.pairs / self.images
                )
        if "cosine_distance" in found:
            found["cosine_distance"] = _scaled(found["cosine_distance"], 2)
        return found

    def cautions(self) -> list[str]:
        """What a reader must know before trusting an interval."""
        found = []
        if self.images and self.changed_images < FEW_IMAGES and _rate_name(self.shares) is not None:
            found.append(
                f"only {self.changed_images} of {self.images} images change: too few for a narrow interval;"
                " read it as a bound, or measure more images"
            )
        if self.audit.kept and self.audit.pairs < FEW_PAIRS:
            found.append(
                f"only {self.audit.pairs} of {self.pairs} pairs were audited: too few for the probabilities' measures;"
                " measure more images, or take --precision float32"
            )
        return found


@dataclass
class PairedMetrics:
    """The difference between two networks on the same images, from their records; accumulates and merges."""

    images: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """Take in the records of both for the same block of images; images that one of them lacks are left out."""
        before, after = image_totals(first), image_totals(second)
        for name in before.keys() & after.keys() - {"total_variation"}:
            a, b = before[name], after[name]
            in_a = in_b = np.arange(len(a.names))
            if not np.array_equal(a.names, b.names):
                _, in_a, in_b = np.intersect1d(a.names, b.names, return_indices=True)
            difference = self.differences.setdefault(name, Difference(binary=name in _BINARY))
            difference.add(b.totals[in_b] - a.totals[in_a], a.counts[in_a])
            if name in ("worst_change", "cosine_distance"):
                self.images += len(in_a)

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        self.images += other.images
        for name, difference in other.differences.items():
            self.differences.setdefault(name, Difference(binary=difference.binary)).merge(difference)

    def estimates(self) -> dict[str, Estimate]:
        """Second minus first, with the paired interval, for every measure."""
        found = {name: difference.estimate() for name, difference in sorted(self.differences.items())}
        for rate in found.keys() & {*_RATES}:
            change = found[rate]
            found["consistency"] = Estimate(-change.value, -change.high, -change.low)
        if "cosine_distance" in found:
            found["cosine_distance"] = _scaled(found["cosine_distance"], 2)
        return found


def _rate_name(shares: dict[str, Share]) -> str | None:
    return next((name for name in (*_RATES, "neighbour_change") if name in shares), None)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    if math.isnan(estimate.value):
        return estimate
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _audited(table: pa.Table) -> Column | None:
    """Which pairs were drawn for the audit of a verified run; None in a run of one precision."""
    if "audited" not in table.column_names or table["audited"].null_count:
        return None
    return _column(table, "audited")


def _column(table: pa.Table, name: str) -> Column:
    column: Column = table[name].to_numpy()
    return column
