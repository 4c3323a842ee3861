"""Metrics from records: every estimate of a summary, with its interval, from the records alone.

A metric accumulates tables of records, merges with others, and can be computed at any time. The output's measures say
what is measured and how it is pooled (`aliasing.outputs`).
"""

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import special

from aliasing.estimates import Estimate
from aliasing.outputs import output_of_table
from aliasing.outputs.base import ImageTotals, Measure, Output, Paired, Pool, column, image_starts
from aliasing.outputs.probabilities import audited

# With fewer changing images, the interval says little more than a bound.
FEW_IMAGES = 10
# With fewer audited pairs, the mean absolute change is hardly known.
FEW_PAIRS = 30


@dataclass
class Audit:
    """The audit of a verified run by float32; accumulates and merges.

    Attributes
    ----------
    pairs, disagreements : int
        The pairs that were drawn and repeated in float32, and those among them with a wrong answer.
    kept, run_again : int
        The answers in the other pairs from bfloat16, and those from float32 because the margin was small.
    """

    pairs: int = 0
    disagreements: int = 0
    kept: int = 0
    run_again: int = 0

    def add(self, table: pa.Table) -> None:
        """Add records; those of a run in one precision change nothing."""
        drawn = audited(table)
        if drawn is None:
            return
        self.pairs += int(drawn.sum())
        self.disagreements += int((table["disagreements"].fill_null(0).to_numpy() > 0).sum())
        for view in ("first", "second"):
            exact = column(table, f"{view}_precision")[~drawn] == "float32"
            self.run_again += int(exact.sum())
            self.kept += int((~exact).sum())

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        for name in ("pairs", "disagreements", "kept", "run_again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def summary(self) -> dict[str, Any]:
        """As in ``summary.json``.

        ``disagreement_limit`` is the upper end of the exact one-sided 95 % interval of the share of pairs with a wrong
        answer (Clopper & Pearson 1934): about 3 / n if none was found in n. The pairs are drawn independently, so it
        holds however similar the pairs of an image are.
        """
        found, pairs = self.disagreements, self.pairs
        limit = float(special.betaincinv(found + 1, pairs - found, 0.95)) if found < pairs else 1.0
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
        How many were added.
    changed_images : int
        Images whose answer (or nearest neighbour) changes in at least one pair.
    near_ties : int
        Pairs with a view whose answer is so close that rounding may decide it.
    audit : Audit
        The audit of a verified run.
    shares : dict
        The accumulated measures (of :mod:`aliasing.estimates`), by name.
    output : type of Output, optional
        The output of the measures; by default the first output that has a measure for the records.
    """

    images: int = 0
    pairs: int = 0
    changed_images: int = 0
    near_ties: int = 0
    audit: Audit = field(default_factory=Audit)
    shares: dict[str, Pool] = field(default_factory=dict)
    output: type[Output] | None = None

    def add(self, table: pa.Table) -> None:
        """Add records in which the rows of an image are consecutive."""
        if not len(table):
            return
        self.output = self.output or output_of_table(table)
        self.pairs += len(table)
        self.images += len(image_starts(table))
        for name, found in self.output.totals(table).items():
            measure = self.output.measure(name)
            self.shares.setdefault(name, measure.pool()).add(found.totals, found.counts)
            if measure.is_change:
                self.changed_images += int((found.totals > 0).sum())
        self.near_ties += self.output.near_ties(table)
        self.audit.add(table)

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        self.output = self.output or other.output
        self.images += other.images
        self.pairs += other.pairs
        self.changed_images += other.changed_images
        self.near_ties += other.near_ties
        self.audit.merge(other.audit)
        _merge(self.shares, other.shares)

    def estimates(self, is_path: bool = False) -> dict[str, Estimate]:
        """Every measure with its interval.

        Parameters
        ----------
        is_path : bool
            The pairs of an image follow one another along a path, so that measures along a path make sense: for
            probabilities ``flip_rate`` (changes per step, Hendrycks & Dietterich 2019) and ``total_variation`` (of the
            class probabilities along the whole path, mean over images).
        """
        measures = [measure for measure in self._measures if is_path or not measure.along_path]
        per_image = self.pairs / self.images if self.images else 0.0
        found = {m.name: m.estimate(self.shares[m.name], per_image) for m in measures if m.name in self.shares}
        return found | {
            m.name: found[name].scaled(m.factor, m.offset) for m in measures for name in m.of if name in found
        }

    def by_class(self) -> dict[str, dict[int, Estimate]]:
        """The measures that are means over classes, for each class alone."""
        found = {m.name: m.by_class(self.shares[m.name]) for m in self._measures if m.name in self.shares}
        return {name: classes for name, classes in found.items() if classes}

    def cautions(self, what: str = "image") -> list[str]:
        """What to know before trusting an interval; ``what`` is the word for an input."""
        found = []
        tells_changes = any(measure.is_change for measure in self._measures if measure.name in self.shares)
        if self.images and self.changed_images < FEW_IMAGES and tells_changes:
            found.append(
                f"{_how_many(self.changed_images, self.images, what)}: too few for a narrow interval;"
                f" treat it as a bound, or measure more {what}s"
            )
        if self.audit.kept and self.audit.pairs < FEW_PAIRS:
            found.append(
                f"only {self.audit.pairs} of {self.pairs} pairs were audited: too few for the probabilities' measures;"
                " measure more images, or use --precision float32"
            )
        return found

    @property
    def _measures(self) -> tuple[Measure, ...]:
        return () if self.output is None else self.output.measures


@dataclass
class PairedMetrics:
    """The difference between two networks on the same images, from their records; accumulates and merges."""

    images: int = 0
    differences: dict[str, Paired] = field(default_factory=dict)
    output: type[Output] | None = None

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """Add the records of both for the same block of images; images that one of them lacks are left out."""
        if not (len(first) and len(second)):
            return
        self.output = self.output or output_of_table(first)
        shown = [column(table, "name")[image_starts(table)] for table in (first, second)]
        self.images += len(np.intersect1d(shown[0], shown[1]))
        before, after = self.output.totals(first), self.output.totals(second)
        for name, a in before.items():
            measure = self.output.measure(name)
            if measure.along_path or name not in after:
                continue
            b = after[name]
            in_a = in_b = np.arange(len(a.names))
            if not np.array_equal(a.names, b.names):
                _, in_a, in_b = np.intersect1d(a.names, b.names, return_indices=True)
            difference = self.differences.setdefault(name, measure.difference())
            difference.add(*measure.paired(_of(a, in_a), _of(b, in_b)))

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        self.output = self.output or other.output
        self.images += other.images
        _merge(self.differences, other.differences)

    def estimates(self, names: Collection[str] | None = None) -> dict[str, Estimate]:
        """Second minus first, with the paired interval, for every measure, or for those of these names."""
        measures = () if self.output is None else self.output.measures
        wanted = self.differences.keys() if names is None else self.differences.keys() & names
        found = {m.name: m.estimated_difference(self.differences[m.name]) for m in measures if m.name in wanted}
        return found | {
            m.name: found[name].scaled(m.factor) for m in measures if not m.along_path for name in m.of if name in found
        }


def _how_many(changed: int, images: int, what: str = "image") -> str:
    """How many answers change, in English.

    Examples
    --------
    >>> for counts in ((0, 12), (0, 1), (1, 12), (3, 12)):
    ...     print(_how_many(*counts))
    the answer of none of the 12 images changes
    the one image's answer does not change
    the answer of only 1 of the 12 images changes
    the answers of only 3 of the 12 images change
    """
    if images == 1:
        return f"there is only one {what}" if changed else f"the one {what}'s answer does not change"
    if not changed:
        return f"the answer of none of the {images} {what}s changes"
    if changed == 1:
        return f"the answer of only 1 of the {images} {what}s changes"
    return f"the answers of only {changed} of the {images} {what}s change"


def _of(totals: ImageTotals, chosen: npt.NDArray[np.intp]) -> ImageTotals:
    """The totals of these images."""
    return ImageTotals(totals.names[chosen], totals.totals[chosen], totals.counts[chosen])


def _merge(mine: dict[str, Any], others: dict[str, Any]) -> None:
    for name, other in others.items():
        if name in mine:
            mine[name].merge(other)
        else:
            mine[name] = deepcopy(other)
