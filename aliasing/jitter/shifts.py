"""The jitter at each shift, from the records alone."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aliasing.outputs import output_of_table
from aliasing.outputs.base import Measure, Output, Pool, column

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
    found: dict[tuple[float, float], dict[Measure, Pool]] = {}
    pairs: Counter[tuple[float, float]] = Counter()
    for table in tables:
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
                counted = values[here & ~np.isnan(values)]
                pools.setdefault(measure, measure.pool()).add(counted, 1)
        if len(found) > MOST_SHIFTS:
            return ByShift(along_path, [])
    rows = [
        {"shift": list(shift), "pairs": pairs[shift]}
        | {measure.name: measure.estimate(pool, 1).as_dict() for measure, pool in pools.items()}
        for shift, pools in sorted(found.items())
    ]
    return ByShift(along_path, rows)
