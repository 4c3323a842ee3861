"""Measuring until an interval is narrow enough, on growing random samples of the inputs.

A first sample says how wide the interval is; the next is as large as that width suggests, by its square (Stein 1945).
There are few looks, and they are far apart, so that the choice of the last hardly touches the interval's level (Chow &
Robbins 1965). Samples are drawn by the seed and the hashes of the inputs' bytes; a larger one contains a smaller one.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING

from aliasing.errors import InputError, UsageError
from aliasing.images import ImageSource
from aliasing.outputs.base import Output
from aliasing.records import Records
from aliasing.rounding import rounded
from aliasing.runs import Ranks

if TYPE_CHECKING:
    from aliasing.jitter.result import Jitter

__all__ = ["measure_until", "width_of"]

_FIRST_LOOK = 500  # inputs
_MORE = 1.1  # than the width suggests, which is itself not certain
_LEAST = 1.5  # times as many at the next look


def width_of(wanted: float | str, kind: type[Output]) -> tuple[str, float]:
    """The measure and the width that are asked for: ``0.005`` of the first measure, or ``"mac=0.005"``.

    Examples
    --------
    >>> from aliasing.kinds import OUTPUTS
    >>> width_of(0.005, OUTPUTS["probabilities"]), width_of("mac=0.01", OUTPUTS["probabilities"])
    (('top1_change', 0.005), ('mac', 0.01))
    """
    name, _, number = f"={wanted}".rpartition("=")
    name, known = name.lstrip("="), [measure.name for measure in kind.shown_in("table")]
    try:
        width = float(number)
    except ValueError:
        width = 0.0
    if not 0 < width < inf or (name and name not in known):
        raise UsageError(
            f"width is a number above 0, or MEASURE=NUMBER with one of {', '.join(known)}; got {str(wanted)!r}"
        )
    return name or known[0], width


def measure_until(
    measure: "Callable[[int | None, Path | None], Jitter]",
    source: ImageSource,
    wanted: tuple[str, float],
    out: Path | None,
    ranks: Ranks,
) -> "Jitter":
    """The measurement of the first sample on which the interval of every network is as narrow as wanted, or of all.

    ``measure`` is given the size of a sample, or None for all inputs, and a folder. With ``out`` each look has a folder
    in ``looks``, and the last one's records are also in ``out``.
    """
    (name, width), inputs = wanted, sum(1 for _ in source)
    if out is not None and (out / "records").exists() and not (out / "looks").exists():
        raise InputError(f"{out} holds a run without a width; choose another --out")
    number = _FIRST_LOOK
    while True:
        everything = number >= inputs
        look = None if out is None else out / "looks" / str(min(number, inputs))
        result = measure(None if everything else number, look)
        found = _widest(result, name)
        if everything or found <= width:
            break
        number = ceil(number * max(_LEAST, _MORE * min((found / width) ** 2, inputs / number)))
    settings = {**result.settings, "width": f"{name}={width:g}"}
    if found > width:
        told = (
            f"the interval of {name} is {rounded(found, '.3g')} wide on all inputs, wider than the {width:g} asked for"
        )
        settings["cautions"] = [*settings.get("cautions", []), told]
    if out is None:
        return replace(result, settings=settings)

    def copy() -> None:
        shutil.rmtree(out / "records", ignore_errors=True)  # those of another look
        result._write_records(out)

    ranks.from_first(copy)
    return replace(result, settings=settings, _records=Records(out))


def _widest(result: "Jitter", name: str) -> float:
    """The width of the widest interval of a measure; infinite if a network does not have it."""
    models = result.summary()["models"].values()
    ends = [model.get(name) or {"low": None, "high": None} for model in models]
    return max(inf if end["low"] is None or end["high"] is None else end["high"] - end["low"] for end in ends)
