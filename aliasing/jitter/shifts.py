"""The jitter at each shift, from the records alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from aliasing.estimates import Share

MOST_SHIFTS = 441  # a square of 21×21; with more, each has too few pairs


@dataclass(frozen=True)
class ByShift:
    """The jitter at every shift that a protocol compares.

    Attributes
    ----------
    along_path : bool
        True if a shift is a step (from, to) on the protocol's path, False if it is (dy, dx) in pixels.
    rows : list of dict
        ``shift`` (two numbers), ``pairs``, and ``top1_change`` and ``mac``, each as ``{"value", "low", "high"}``.
    """

    along_path: bool
    rows: list[dict[str, Any]]


@dataclass
class _Jitter:
    pairs: int = 0
    top1_change: Share = field(default_factory=lambda: Share(binary=True))
    mac: Share = field(default_factory=Share)


def by_shift(tables: Iterable[pa.Table], along_path: bool) -> ByShift:
    """The top-1 change and mean absolute change of a network's answers at every shift, with 95 % intervals.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        A network's records (``records.PROBABILITIES``), one block at a time.
    along_path : bool
        Group by steps of the protocol's path, instead of by how far the content moves between the two views.

    Returns
    -------
    ByShift
        Without rows if the records hold no answers (embeddings) or more than `MOST_SHIFTS` different shifts.

    Examples
    --------
    >>> columns = {"first_dy": [0.0], "first_dx": [0.0], "second_dy": [1.0], "second_dx": [-1.0]}
    >>> columns |= {"first_top1": [3], "second_top1": [4], "first_probability": [0.5], "second_probability": [0.25]}
    >>> (row,) = by_shift([pa.table(columns)], along_path=False).rows
    >>> row["shift"], row["top1_change"]["value"], row["mac"]["value"]
    ([1.0, -1.0], 1.0, 0.25)
    """
    found: dict[tuple[float, float], _Jitter] = {}
    for table in tables:
        if "first_top1" not in table.column_names:
            return ByShift(along_path, [])
        columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names if name in _COLUMNS}
        if along_path:
            keys = np.stack([columns["first_position"], columns["second_position"]], 1)
        else:
            keys = np.stack([columns[f"second_{axis}"] - columns[f"first_{axis}"] for axis in ("dy", "dx")], 1)
        changed = columns["first_top1"] != columns["second_top1"]
        jump = np.abs(columns["first_probability"] - columns["second_probability"])
        shifts, place = np.unique(keys, axis=0, return_inverse=True)
        for index, (a, b) in enumerate(shifts.tolist()):
            jitter = found.setdefault((a, b), _Jitter())
            here = place.reshape(-1) == index
            jitter.pairs += int(here.sum())
            jitter.top1_change.add(changed[here], 1)
            jitter.mac.add(jump[here], 1)
        if len(found) > MOST_SHIFTS:
            return ByShift(along_path, [])
    rows = [
        {
            "shift": list(shift),
            "pairs": jitter.pairs,
            "top1_change": jitter.top1_change.estimate().as_dict(),
            "mac": jitter.mac.estimate().as_dict(),
        }
        for shift, jitter in sorted(found.items())
    ]
    return ByShift(along_path, rows)


_COLUMNS = {
    f"{view}_{name}" for view in ("first", "second") for name in ("dy", "dx", "position", "top1", "probability")
}
