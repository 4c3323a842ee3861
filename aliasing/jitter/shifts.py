"""The jitter at each shift, from the records alone."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.outputs import output_of_table
from aliasing.outputs.base import Measure, Output, Pool, column, image_starts, is_drawn, pairs_shown
from aliasing.phases import Drawn, DrawnTotals

MOST_SHIFTS = 441  # a square of 21×21; with more, each has too few pairs


@dataclass(frozen=True)
class ByShift:
    """The jitter at every shift that a protocol compares.

    Attributes
    ----------
    along_path : bool
        True if a shift is a step (from, to) on the protocol's path, False if it is (dy, dx) in pixels.
    rows : list of dict
        ``shift`` (two numbers), ``pairs``, and the measures that the output shows by shift (for probabilities
        ``top1_change`` and ``mac``), each as ``{"value", "low", "high"}``.
    """

    along_path: bool
    rows: list[dict[str, Any]]


def by_shift(tables: Iterable[pa.Table], along_path: bool, output: type[Output] | None = None) -> ByShift:
    """How much a network's output moves at every shift, with 95 % intervals, from its records, block by block.

    With ``along_path`` a shift is a step of the protocol's path, instead of how far the content moves between the two
    views. The default output is the first that has a measure for the records. There are no rows if it shows nothing by
    shift (an embedding), or there are more than `MOST_SHIFTS` shifts.

    Examples
    --------
    >>> columns = {"first_dy": [0.0], "first_dx": [0.0], "second_dy": [1.0], "second_dx": [-1.0]}
    >>> columns |= {"first_top1": [3], "second_top1": [4], "first_probability": [0.5], "second_probability": [0.25]}
    >>> (row,) = by_shift([pa.table(columns)], along_path=False).rows
    >>> row["shift"], row["top1_change"]["value"], row["mac"]["value"]
    ([1.0, -1.0], 1.0, 0.25)
    """
    found: dict[tuple[float, float], dict[Measure, Pool | Drawn]] = {}
    pairs: Counter[tuple[float, float]] = Counter()
    for whole in _together_if_drawn(tables):
        table = pairs_shown(whole)
        output = output or output_of_table(table)
        told = [(measure, measure.pairs(table)) for measure in output.shown_in("shift")]
        shown = [(measure, values) for measure, values in told if values is not None]
        if not shown or (not along_path and "first_dz" in table.column_names):  # a plane shows two axes
            return ByShift(along_path, [])
        ends = ("position",) if along_path else ("dy", "dx")
        first, second = (
            np.stack([column(table, f"{view}_{end}").astype(np.float64) for end in ends], 1)
            for view in ("first", "second")
        )
        shifts, place = np.unique(
            np.concatenate([first, second], 1) if along_path else second - first, axis=0, return_inverse=True
        )
        for index, (a, b) in enumerate(shifts.tolist()):
            here = place.reshape(-1) == index
            pairs[a, b] += int(here.sum())
            pools = found.setdefault((a, b), {})
            for measure, values in shown:
                pool = pools.setdefault(measure, Drawn(measure.pool()) if is_drawn(whole) else measure.pool())
                if isinstance(pool, Drawn):
                    pool.add(_drawn_at(whole, here, values))
                else:
                    pool.add(values[here & ~np.isnan(values)], 1)
        if len(found) > MOST_SHIFTS:
            return ByShift(along_path, [])
    rows = [
        {"shift": list(shift), "pairs": pairs[shift]}
        | {measure.name: measure.estimate(pool, 1).as_dict() for measure, pool in pools.items()}
        for shift, pools in sorted(found.items())
    ]
    return ByShift(along_path, rows)


def _together_if_drawn(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables; those of a two-phase design as one, because a shift is weighted by all images, also without it."""
    each = iter(tables)
    for first in each:
        if is_drawn(first):
            yield pa.concat_tables([first, *each])
        else:
            yield first


def _drawn_at(table: pa.Table, here: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> DrawnTotals:
    """A measure of the images of which a pair was drawn at one shift; ``here`` chooses among the pairs shown."""
    starts, weights = image_starts(table), column(table, "weight").astype(np.float64)
    images = len(starts)
    of_row = np.repeat(np.arange(images), np.diff([*starts, len(table)]))[weights > 0]
    counted = here & ~np.isnan(values)
    per_image = np.bincount(of_row[here], minlength=images)
    return DrawnTotals(
        column(table, "stratum")[starts].astype(np.int64),
        per_image > 0,
        np.bincount(of_row[here], weights[weights > 0][here], images) / np.maximum(per_image, 1),
        np.bincount(of_row[counted], values[counted], images).astype(np.float64),
        np.bincount(of_row[counted], minlength=images).astype(np.float64),
    )
