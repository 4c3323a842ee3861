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

from aliasing.errors import InputError
from aliasing.estimates import Estimate
from aliasing.outputs import output_of_table
from aliasing.outputs.base import (
    ImageTotals,
    Measure,
    Output,
    Paired,
    Pool,
    column,
    image_starts,
    is_drawn,
    pairs_shown,
)
from aliasing.outputs.probabilities import audited
from aliasing.phases import Drawn, DrawnDifference, DrawnTotals

# With fewer changing images, the interval says little more than a bound.
FEW_IMAGES = 10
# With fewer audited pairs, the mean absolute change is hardly known.
FEW_PAIRS = 30
# With fewer images of which all pairs were shown, the worst case is hardly known.
FEW_WHOLE = 30
_SPLIT = 1000  # above the number of any stratum


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
        How many were added; of a two-phase design the pairs that were shown.
    drawn, whole, pairs_of_drawn : int
        In a two-phase design the images that were drawn, those of which all pairs were shown, and all pairs of the
        drawn ones.
    changed_images : int
        Images whose answer (or nearest neighbour) changes in at least one pair.
    near_ties : int
        Pairs with a view whose answer is so close that rounding may decide it.
    audit : Audit
        The audit of a verified run.
    shares : dict
        The accumulated measures (of :mod:`aliasing.estimates`), by name.
    samples : dict
        Those of a two-phase design of which not all images were drawn (of :mod:`aliasing.phases`).
    output : type of Output, optional
        The output of the measures; by default the first output that has a measure for the records.
    """

    images: int = 0
    pairs: int = 0
    changed_images: int = 0
    near_ties: int = 0
    audit: Audit = field(default_factory=Audit)
    shares: dict[str, Pool] = field(default_factory=dict)
    samples: dict[str, Drawn] = field(default_factory=dict)
    output: type[Output] | None = None
    drawn: int = 0
    whole: int = 0
    pairs_of_drawn: int = 0

    def add(self, table: pa.Table) -> None:
        """Add records in which the rows of an image are consecutive."""
        if not len(table):
            return
        self.output = self.output or output_of_table(table)
        shown = pairs_shown(table)
        self.pairs += len(shown)
        self.images += len(image_starts(table))
        if is_drawn(table):
            self._note_drawn(shown)
        totals, drawn = totals_of(self.output, table)
        for name, found in totals.items():
            self.shares.setdefault(name, self.output.measure(name).pool()).add(found.totals, found.counts)
        for name, sample in drawn.items():
            self.samples.setdefault(name, Drawn(self.output.measure(name).pool())).add(sample)
        counted = {name: found.totals for name, found in totals.items()}
        counted |= {name: sample.totals for name, sample in drawn.items()}
        changes = [values > 0 for name, values in counted.items() if self.output.measure(name).is_change]
        self.changed_images += sum(int(changed.sum()) for changed in changes)
        self.near_ties += self.output.near_ties(shown)
        self.audit.add(shown)

    def _note_drawn(self, shown: pa.Table) -> None:
        whole = column(shown, "whole")[image_starts(shown)]
        self.drawn += len(whole)
        self.whole += int(whole.sum())
        self.pairs_of_drawn += round(float(_stood_for(shown).sum()))

    def merge(self, other: Self) -> None:
        """Take in what another has taken in."""
        self.output = self.output or other.output
        self.images += other.images
        self.pairs += other.pairs
        self.changed_images += other.changed_images
        self.near_ties += other.near_ties
        self.drawn += other.drawn
        self.whole += other.whole
        self.pairs_of_drawn += other.pairs_of_drawn
        self.audit.merge(other.audit)
        _merge(self.shares, other.shares)
        _merge(self.samples, other.samples)

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
        pairs, images = (self.pairs_of_drawn, self.drawn) if self.drawn else (self.pairs, self.images)
        per_image = pairs / images if images else 0.0
        pools = {**self.shares, **self.samples}
        found = {m.name: m.estimate(pools[m.name], per_image) for m in measures if m.name in pools}
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
        measured = {*self.shares, *self.samples}
        tells_changes = any(measure.is_change for measure in self._measures if measure.name in measured)
        if self.images and self.changed_images < FEW_IMAGES and tells_changes:
            found.append(
                f"{_how_many(self.changed_images, self.images, what)}: too few for a narrow interval;"
                f" treat it as a bound, or measure more {what}s"
            )
        if self.samples and self.whole < min(FEW_WHOLE, self.images):
            found.append(
                f"only {self.whole} of {self.images} {what}s were shown all of their views: too few for the worst case;"
                f" measure more {what}s, or use --design full"
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
    samples: dict[str, DrawnDifference] = field(default_factory=dict)
    output: type[Output] | None = None

    def add(self, first: pa.Table, second: pa.Table) -> None:
        """Add the records of both for the same block of images; images that one of them lacks are left out."""
        if not (len(first) and len(second)):
            return
        self.output = self.output or output_of_table(first)
        shown = [column(table, "name")[image_starts(table)] for table in (first, second)]
        _, *both = np.intersect1d(shown[0], shown[1], return_indices=True)
        self.images += len(both[0])
        if is_drawn(first) != is_drawn(second):
            raise InputError("one of these networks was measured in two phases, the other in full; measure both alike")
        (before, before_drawn), (after, after_drawn) = (totals_of(self.output, table) for table in (first, second))
        for name in before_drawn.keys() & after_drawn.keys():
            measure = self.output.measure(name)
            if not measure.along_path:
                chosen = (one[name].of(where) for one, where in zip((before_drawn, after_drawn), both, strict=True))
                self.samples.setdefault(name, DrawnDifference(measure.difference())).add(*chosen)
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
        _merge(self.samples, other.samples)

    def estimates(self, names: Collection[str] | None = None) -> dict[str, Estimate]:
        """Second minus first, with the paired interval, for every measure, or for those of these names."""
        measures = () if self.output is None else self.output.measures
        pools = {**self.differences, **self.samples}
        wanted = pools.keys() if names is None else pools.keys() & names
        found = {m.name: m.estimated_difference(pools[m.name]) for m in measures if m.name in wanted}
        return found | {
            m.name: found[name].scaled(m.factor) for m in measures if not m.along_path for name in m.of if name in found
        }


def totals_of(output: type[Output], table: pa.Table) -> tuple[dict[str, ImageTotals], dict[str, DrawnTotals]]:
    """The measures of records by name: those that are known of all images, and those of the images that were drawn.

    In a two-phase design all images have what the first view tells. A measure over all pairs of an image, such as the
    worst case, is known of those that were shown all.
    """
    if not is_drawn(table):
        return output.totals(table), {}
    of_images, shown = table.take(image_starts(table)), pairs_shown(table)
    names, strata = column(of_images, "name"), column(of_images, "stratum").astype(np.int64)
    known: dict[str, ImageTotals] = {}
    found: dict[str, DrawnTotals] = {}
    right = next((measure.pairs(of_images) for measure in output.measures if measure.of_first), None)
    # Whether the first view is right tells much of whether all are: by that the strata of such measures are split.
    split = strata if right is None else strata + _SPLIT * (right > 0)
    for measure in output.measures:
        if measure.of_first:
            of_first = measure.totals(of_images)
            known |= {} if of_first is None else {measure.name: of_first}
            continue
        if measure.pairs(of_images) is None:
            continue
        needs_all = measure.within not in ("mean", "sum")
        rows = shown.filter(shown["whole"]) if needs_all else shown
        first = image_starts(rows)
        own = column(rows, "name")[first]
        # Each pair counts for as many as its image has for each that was shown.
        times = np.ones(len(own)) if needs_all else _stood_for(rows)[first]
        all_totals, all_counts = np.zeros(len(names)), np.zeros(len(names))
        totals = measure.totals(rows) if len(rows) else None
        if totals is not None:
            valued, times = np.isin(names, totals.names), times[np.isin(own, totals.names)]
            all_totals[valued], all_counts[valued] = totals.totals * times, totals.counts * times
        chances = column(of_images, "whole_chance" if needs_all else "chance").astype(np.float64)
        own_strata = split if "label" in measure.columns else strata
        found[measure.name] = DrawnTotals(own_strata, np.isin(names, own), 1 / chances, all_totals, all_counts)
    return known, found


def _stood_for(shown: pa.Table) -> npt.NDArray[np.float64]:
    """How many of its own image's pairs each pair stands for."""
    stood_for: npt.NDArray[np.float64] = column(shown, "weight").astype(np.float64) * column(shown, "chance")
    return stood_for


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
