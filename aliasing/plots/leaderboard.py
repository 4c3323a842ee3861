"""The figure of a leaderboard: accuracy against consistency, with the front that no network beats."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from aliasing.leaderboard import Leaderboard
from aliasing.lineage import GROUPS
from aliasing.outputs.base import Measure
from aliasing.plots.jitter import jitter, names_in
from aliasing.plots.style import COLOURS, both_ends, spans, style
from aliasing.plots.svg import tell
from aliasing.tables import cell, counted

# One marker and colour for each group that there is.
_GROUPS = dict(zip(GROUPS, zip(("o", "s", "D", "^", "P", "v", ">"), COLOURS, strict=True), strict=True))
# With more networks only the front is named, because names would overlap.
_MOST_NAMED = 16


def leaderboard(board: Leaderboard) -> Figure:
    """Accuracy against consistency with 95 % intervals; a grey line joins a network and its plain sibling.

    Parameters
    ----------
    board : Leaderboard

    Returns
    -------
    matplotlib.figure.Figure
        Markers are the groups. The dashed line is the Pareto front of the estimates themselves; networks with
        overlapping intervals may change places. Numbers refer to the list beside; with more than 16 networks only
        those on the front have one. For an output without an accuracy, the networks by measure
        (:func:`aliasing.plots.jitter`).
    """
    measures = [board.output.measure(name) for name in board.output.front]
    if not measures:
        return jitter(board)
    summary = board.summary()
    models = {
        name: model for name, model in summary["models"].items() if all(measure.name in model for measure in measures)
    }
    named = list(models) if len(models) <= _MOST_NAMED else summary["pareto"]
    with style():
        figure, (axes, key) = plt.subplots(1, 2, figsize=(10.5, 5.2), width_ratios=[1.5, 1])
        for model in models.values():
            if model["sibling"] in models:
                _line(axes, measures, [models[model["sibling"]], model], color="0.8", linewidth=1, zorder=0)
        names = names_in(summary["models"])
        groups = {
            group: {names[name]: model for name, model in models.items() if model["group"] == group}
            for group in _GROUPS
        }
        against(axes, measures, groups, _GROUPS, [models[name] for name in summary["pareto"]])
        for point, label in _labels([_point(models[name], measures) for name in named]).items():
            axes.annotate(label, point, xytext=(5, 5), textcoords="offset points", fontsize=9, zorder=5)
        axes.set_xlabel(f"{measures[1].called} (protocol {summary['settings']['consistency']['name']})")
        _key(key, named, names, summary["pareto"], len(models))
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
        figure.suptitle(_title(summary, len(models)), fontsize=11)
    return figure


def against(
    axes: Axes,
    measures: Sequence[Measure],
    series: Mapping[str, Mapping[str, dict[str, Any]]],
    looks: Mapping[str, tuple[str, str]],
    front: Sequence[dict[str, Any]],
) -> None:
    """Draw networks by two measures, upright and across, with their intervals, and the front that none of them beats.

    ``measures`` are those of an output's front, such as accuracy and consistency. ``series`` holds the networks of each
    series, by name, as in a summary; ``looks`` the marker and colour of each series; ``front`` the networks on the
    Pareto front.
    """
    for label, members in series.items():
        if members:
            _points(axes, measures, members, *looks[label], label)
    in_order = sorted(front, key=lambda model: _point(model, measures)[0])
    _line(axes, measures, in_order, color="0.3", linestyle="--", linewidth=1, zorder=1, label="Pareto front")
    axes.set_xlabel(measures[1].axis)
    axes.set_ylabel(measures[0].axis)
    axes.grid(alpha=0.3)


def _points(
    axes: Axes, measures: Sequence[Measure], members: Mapping[str, dict[str, Any]], marker: str, colour: str, label: str
) -> None:
    (y, upright), (x, across) = (spans(model[measure.name] for model in members.values()) for measure in measures)
    drawn = axes.errorbar(
        x,
        y,
        xerr=across,
        yerr=upright,
        fmt=marker,
        color=colour,
        ecolor=to_rgba(colour, 0.4),
        markersize=6,
        capsize=2,
        linewidth=1,
        label=label,
        zorder=3,
    )
    tell(
        drawn.lines[0],
        [
            f"{name}: {', '.join(f'{measure.called} {cell(model[measure.name])}' for measure in measures)}"
            for name, model in members.items()
        ],
    )


def _labels(points: list[tuple[float, float]]) -> dict[tuple[float, float], str]:
    """The numbers of the networks at each point, because several may coincide."""
    numbers: dict[tuple[float, float], list[str]] = {}
    for number, point in enumerate(points, 1):
        numbers.setdefault(point, []).append(str(number))
    return {point: ", ".join(those) for point, those in numbers.items()}


def _point(model: dict[str, Any], measures: Sequence[Measure]) -> tuple[float, float]:
    y, x = (model[measure.name]["value"] for measure in measures)
    return x, y


def _line(axes: Axes, measures: Sequence[Measure], models: list[dict[str, Any]], **look: Any) -> None:
    points = [_point(model, measures) for model in models]
    axes.plot([x for x, _ in points], [y for _, y in points], **look)


def _key(axes: Axes, named: list[str], names: Mapping[str, str], front: list[str], count: int) -> None:
    """The list of names; those on the front in bold."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(named), _MOST_NAMED) + 0.5, 0.5)
    for number, name in enumerate(named, 1):
        axes.text(0.08, number, str(number), ha="right", va="center", fontsize=9)
        axes.text(
            0.11,
            number,
            both_ends(names[name], 46),
            va="center",
            fontsize=9,
            fontweight="bold" if name in front else "normal",
        )
    if len(named) < count:
        axes.set_title(f"the front, of {count} networks", fontsize=9.5, loc="left")


def _title(summary: dict[str, Any], count: int) -> str:
    images = max(model["images"] for model in summary["models"].values())
    missing = f"; {len(summary['unmeasured'])} could not be measured" if summary["unmeasured"] else ""
    return f"{counted(count, 'network')} on the same {counted(images)}, 95 % intervals{missing}"
