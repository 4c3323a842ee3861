"""The figure of paired differences: each two networks on the same images, with the line of no difference."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aliasing.jitter import Jitter
from aliasing.leaderboard import Leaderboard
from aliasing.outputs import measures_in
from aliasing.outputs.base import Measure
from aliasing.plots.jitter import names_in
from aliasing.plots.style import both_ends, colour_of, spans, style
from aliasing.plots.svg import tell
from aliasing.tables import cell, counted, word_for

MOST_DRAWN = 30
_PLACES = ("plot", "leaderboard")  # where a result shows its measures, by whether it is a leaderboard
_MOST_PANELS = 3


def differences(result: Jitter | Leaderboard) -> Figure:
    """Paired differences between networks with their 95 % intervals: a row a pair, a panel a measure, a line at 0.

    Parameters
    ----------
    result : Jitter or Leaderboard
        Of at least two networks.

    Returns
    -------
    matplotlib.figure.Figure
        The pairs are those of ``result.summary()["differences"]``, of which the first 30 are drawn. An interval that
        does not contain 0 is a clear difference, and each axis says on which side the network named first is better.
    """
    summary = result.summary()
    models, rows = summary["models"], summary["differences"]
    drawn, measures = rows[:MOST_DRAWN], measured(summary, _PLACES[isinstance(result, Leaderboard)])
    numbers, names = {name: number for number, name in enumerate(models)}, names_in(models)
    with style():
        figure = plt.figure(figsize=(10, 1.7 + 0.42 * max(len(drawn), 1)))
        panels = figure.subplots(1, max(len(measures), 1), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=False):
            paired(axes, drawn, measure, numbers, names)
        images = max((row["images"] for row in rows), default=0)
        first = "" if len(drawn) == len(rows) else f"; the first {len(drawn)} of {len(rows)} pairs"
        figure.suptitle(
            f"Paired differences on the same {counted(images, word_for(models))}, 95 % intervals{first}", fontsize=11
        )
    return figure


def measured(summary: Mapping[str, Any], place: str) -> list[Measure]:
    """The measures whose differences are drawn, of those that a summary shows in this place."""
    found = measures_in(summary, place)
    return [m for m in found if any(m.name in row for row in summary["differences"])][:_MOST_PANELS]


def paired(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    numbers: Mapping[str, int],
    names: Mapping[str, str] | None = None,
) -> None:
    """Draw the paired differences of a measure, one below the other.

    ``numbers`` are those of the networks' colours, ``names`` what the networks are called.
    """
    for row, difference in enumerate(rows):
        estimate = difference.get(measure.name)
        if estimate is None or estimate["value"] is None:
            continue
        number = numbers[difference["second"]]
        value, errors = spans([estimate])
        drawn = axes.errorbar(value, [row], xerr=errors, fmt="s", color=colour_of(number), capsize=3)
        tell(drawn.lines[0], [f"{named(difference, names)}: {cell(estimate, sign='+')}"])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(f"difference of {measure.called}{_BETTER[measure.sign]}", fontsize=9)
    width = min(34, int(7.4 * axes.figure.bbox.width / axes.figure.dpi))  # as in the figure of the networks
    axes.set_yticks(range(len(rows)), [_in_two_lines(named(row, names), width) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


_BETTER = {1: "\nthe one named first is better →", -1: "\n← the one named first is better", 0: ""}


def _in_two_lines(text: str, width: int) -> str:
    """A difference, the network that is subtracted on a line of its own if it is long."""
    second, minus, first = text.partition(" − ")
    return text if len(text) <= width else f"{both_ends(second, width)}\n{minus.lstrip()}{both_ends(first, width - 2)}"


def named(difference: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """A difference in words."""
    second, first = (difference[which] if names is None else names[difference[which]] for which in ("second", "first"))
    return f"{second} − {first}"
