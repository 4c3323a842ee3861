"""The figure of a cure: the four networks on held-out images, and the paired differences that prove it or do not."""

from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aliasing.called import explained
from aliasing.outputs import measures_in
from aliasing.plots.differences import paired
from aliasing.plots.jitter import intervals, short_name
from aliasing.plots.style import both_ends, style
from aliasing.tables import called_protocol, counted

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
        figure, rows = plt.subplots(2, len(measures), figsize=(10, 5.0), squeeze=False, sharey="row")
        for upper, lower, measure in zip(*rows, measures, strict=True):
            found = [(name, number, model.get(measure.name)) for number, (name, model) in enumerate(models.items())]
            intervals(upper, found, measure)
            upper.xaxis.set_major_locator(MaxNLocator(4))
            upper.set_xlabel(measure.called)  # no network was trained on these images
            paired(lower, summary["differences"], measure, numbers)
        network, how = short_name(summary["cure"]["network"], models["plain"]), summary["cure"]["chosen"]
        images, protocol = models["plain"]["images"], called_protocol(summary["settings"]["protocol"])
        outcome = "cured" if summary["cure"]["cured"] else "no cure is shown"
        lines = [
            f"{both_ends(network, 40)}, {both_ends(how.replace(',', ', '), 50)}: {outcome}",
            f"({counted(images, 'held-out image')}, protocol {protocol}, 95 % intervals)",
            *(fill(meaning, 120) for meaning in explained([how]).split("; ")),
        ]
        figure.suptitle("\n".join(filter(None, lines)), fontsize=11)
    return figure
