"""The figure of a cure: the four networks on held-out images, and the paired differences that prove it or do not."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aliasing.outputs import measures_in
from aliasing.outputs.base import Measure
from aliasing.plots.jitter import intervals, short_name
from aliasing.plots.style import both_ends, colour_of, spans, style
from aliasing.plots.svg import tell
from aliasing.tables import cell, counted

if TYPE_CHECKING:
    from aliasing.curing import Cure


def cure(result: "Cure") -> Figure:
    """Each network's jitter and accuracy; below, cured minus plain and minus control, with the line of no difference.

    Parameters
    ----------
    result : Cure
    """
    summary = result.summary()
    models = summary["models"]
    measures = [measure for measure in measures_in(summary, "plot") if measure.name in next(iter(models.values()))]
    with style():
        numbers = {name: number for number, name in enumerate(models)}
        figure, rows = plt.subplots(2, len(measures), figsize=(10, 4.6), squeeze=False, sharey="row")
        for upper, lower, measure in zip(*rows, measures, strict=True):
            found = [(name, number, model.get(measure.name)) for number, (name, model) in enumerate(models.items())]
            intervals(upper, found, measure)
            upper.xaxis.set_major_locator(MaxNLocator(4))
            upper.set_xlabel(measure.called)  # no network was trained on these images
            differences(lower, summary["differences"], measure, numbers)
        network, how = short_name(summary["cure"]["network"], models["plain"]), summary["cure"]["chosen"]
        images, protocol = models["plain"]["images"], summary["settings"]["protocol"]["name"]
        outcome = "cured" if summary["cure"]["cured"] else "no cure is shown"
        figure.suptitle(
            f"{both_ends(network, 40)}, {both_ends(how.replace(',', ', '), 50)}: {outcome}\n"
            f"({counted(images, 'held-out image')}, protocol {protocol}, 95 % intervals)",
            fontsize=11,
        )
    return figure


def differences(axes: Axes, rows: Sequence[Mapping[str, Any]], measure: Measure, numbers: Mapping[str, int]) -> None:
    """The paired differences of a measure, one below the other; ``numbers`` are the networks' colours."""
    for row, difference in enumerate(rows):
        estimate = difference.get(measure.name)
        if estimate is None or estimate["value"] is None:
            continue
        number = numbers[difference["second"]]
        value, errors = spans([estimate])
        drawn = axes.errorbar(value, [row], xerr=errors, fmt="s", color=colour_of(number), capsize=3)
        tell(drawn.lines[0], [f"{named(difference)}: {cell(estimate, sign='+')}"])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(f"difference of {measure.called}")
    axes.set_yticks(range(len(rows)), [named(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def named(difference: Mapping[str, Any]) -> str:
    """A difference in words."""
    return f"{difference['second']} − {difference['first']}"
