"""The figure of a jitter measurement: the networks by measure, and one photograph along the shift."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from aliasing.jitter import Jitter, Trace
from aliasing.outputs import measures_in, output_of
from aliasing.outputs.base import Measure
from aliasing.plots.style import COLOURS, line_of, plain, style

_MOST_THUMBNAILS = 9


def jitter(result: Jitter, traces: Sequence[Trace] = ()) -> Figure:
    """Networks by measure with their 95 % intervals; below them, where there are traces, one photograph on its path.

    Parameters
    ----------
    result : Jitter
    traces : sequence of Trace
        One photograph followed by each network (:func:`aliasing.jitter.trace_most_jittery`).

    Returns
    -------
    matplotlib.figure.Figure
    """
    summary = result.summary()
    models = summary["models"]
    measures = measures_in(summary, "plot")
    output = output_of(summary["settings"])
    if not measures and output is not None:  # no output was finite: an empty panel says so
        measures = output.shown_in("plot")[:1]
    top = 1.3 + 0.32 * len(models)
    bottom = 4.1 if traces else 0
    with style():
        figure = plt.figure(figsize=(10, top + bottom))
        if not traces:
            _measures(figure, models, measures, summary)
            return figure
        parts = figure.subfigures(2, 1, height_ratios=[top, bottom], squeeze=False)
        _measures(parts[0, 0], models, measures, summary)
        _path(parts[1, 0], traces)
    return figure


def short_name(model: str) -> str:
    """A network's name without where it comes from, and how it was anti-aliased."""
    architecture = model.split("@")[-1].split(":")[-1]
    if model.startswith("antialiased:"):
        architecture += f", {model.split(':')[1].replace(',', ', ')}"
    return plain(architecture)


def _measures(
    figure: Figure | SubFigure, models: dict[str, Any], measures: list[Measure], summary: dict[str, Any]
) -> None:
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        for row, model in enumerate(models.values()):
            estimate = model.get(measure.name)
            if estimate is None or estimate["value"] is None:
                continue
            value, low, high = estimate["value"], estimate["low"], estimate["high"]
            errors = [[value - low], [high - value]]
            axes.errorbar(value, row, xerr=errors, fmt="o", color=COLOURS[row % len(COLOURS)], capsize=3)
        axes.set_xlabel(measure.axis)
        axes.grid(axis="x", alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(6))  # the numbers of small values are long
        if measure.sign < 0:
            axes.set_xlim(left=measure.range[0])
    panels[0].set_yticks(range(len(models)), [short_name(name) for name in models])
    panels[0].set_ylim(len(models) - 0.5, -0.5)
    images = max(model["images"] for model in models.values())
    protocol = summary["settings"]["protocol"]["name"]
    few = any("too few for a narrow interval" in caution for model in models.values() for caution in model["cautions"])
    caution = "; too few change for narrow intervals" if few else ""
    shown = "1 image" if images == 1 else f"{images} images"
    figure.suptitle(f"Jitter under `{protocol}`: {shown}, 95 % intervals{caution}", fontsize=11)


def _path(figure: SubFigure, traces: Sequence[Trace]) -> None:
    first = traces[0]
    shown = np.unique(np.linspace(0, len(first.positions) - 1, min(_MOST_THUMBNAILS, len(first.positions))).round())
    columns = len(shown)
    grid = figure.add_gridspec(2, columns, height_ratios=[2.2, 1])
    curve = figure.add_subplot(grid[0, :])
    for index, trace in enumerate(traces):
        colour = COLOURS[index % len(COLOURS)]
        label = f"{short_name(trace.model)}: P({fit(trace.answers[0], 30)})"
        curve.plot(trace.positions, trace.probability, f"o{line_of(index)}", color=colour, label=label, markersize=4)
        mark_jumps(curve, trace, colour)
    margin = (first.positions[-1] - first.positions[0]) / (2 * max(columns - 1, 1))
    curve.set_xlim(first.positions[0] - margin, first.positions[-1] + margin)
    curve.set_ylim(-0.02, 1.02)
    curve.set_ylabel("probability of the\nfirst view's answer")
    curve.set_xlabel(f"position on the path ({first.unit}); a ring where the answer changes")
    curve.grid(alpha=0.3)
    curve.set_xticks(first.positions[shown.astype(int)])
    curve.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(traces), 3), fontsize=9)
    for column, view in enumerate(shown.astype(int)):
        axes = figure.add_subplot(grid[1, column])
        axes.imshow(first.pictures[view].clip(0, 255).astype(np.uint8))
        axes.set_xticks([])
        axes.set_yticks([])
        changed = first.top1[view] != first.top1[0]
        axes.set_xlabel(
            f"{fit(first.answers[view])}\n{first.positions[view]:g}",
            fontsize=8,
            color=COLOURS[1] if changed else "black",
        )
        axes.spines[:].set_visible(False)
    figure.suptitle(
        f"The photograph that moves {short_name(first.model)} most: {fit(first.image, 60)}"
        f" (under each view {short_name(first.model)}'s answer)",
        fontsize=11,
    )


def mark_jumps(axes: Axes, trace: Trace, colour: str) -> None:
    """A ring around each point whose answer is not that of the point before."""
    jumps = trace.jumps
    axes.plot(
        trace.positions[jumps], trace.probability[jumps], "o", markersize=11, markerfacecolor="none", color=colour
    )


def fit(text: str, length: int = 17) -> str:
    """The first of several synonyms, no longer than there is room for."""
    text = text.split(", ")[0]
    return plain(text if len(text) <= length else text[: length - 1] + "…")
