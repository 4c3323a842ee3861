"""The figure of a leaderboard: accuracy against consistency, with the front that no network beats."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import ScaledTranslation

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
_APART = 5.0  # points between networks of equal value, which would hide each other
_SPREAD = 30.0  # points from the first to the last of them
_LINE = 0.235  # inches for a name


def leaderboard(board: Leaderboard) -> Figure:
    """Accuracy against consistency with 95 % intervals; a grey line joins a conversion and its plain sibling.

    Parameters
    ----------
    board : Leaderboard

    Returns
    -------
    matplotlib.figure.Figure
        Markers are the groups. The dashed line is the Pareto front of the estimates themselves; networks with
        overlapping intervals may change places. Numbers refer to the list beside; with more than 16 networks only
        those on the front have one. Networks of equal value are drawn side by side. For an output without an
        accuracy, and for images without labels, the networks by measure (:func:`aliasing.plots.jitter`).
    """
    measures = [board.output.measure(name) for name in board.output.front]
    summary = board.summary()
    models = {
        name: model for name, model in summary["models"].items() if all(measure.name in model for measure in measures)
    }
    if not measures or not models:
        return jitter(board)
    front = summary["pareto"]
    named = (list(models) if len(models) <= _MOST_NAMED else front)[: 2 * _MOST_NAMED]
    names = names_in(summary["models"])
    texts = [both_ends(names[name], 46) for name in named]
    with style():
        width = 0.6 + 0.085 * max([32, *map(len, texts)])
        figure = plt.figure(figsize=(6.6 + width, max(4.6, _LINE * len(named) + 2.6)))
        left, right = figure.subfigures(1, 2, width_ratios=[6.6, width], squeeze=False)[0]
        axes = left.subplots()
        label = "a conversion and its plain network"
        for model in models.values():
            if model["sibling"] in models:
                look: Any = {"color": "0.7", "linewidth": 1, "zorder": 0, "label": label}
                _line(axes, measures, [models[model["sibling"]], model], **look)
                label = "_"
        groups = {
            group: {names[name]: model for name, model in models.items() if model["group"] == group}
            for group in _GROUPS
        }
        against(axes, measures, groups, _GROUPS, [models[name] for name in front])
        _number(axes, [_point(models[name], measures) for name in named])
        called, protocol = measures[1].called, summary["settings"]["consistency"]["name"]
        axes.set_xlabel(called if protocol == called else f"{called} (protocol {protocol})")
        equal = len({_point(model, measures) for model in models.values()}) < len(models)
        said = ["bold: on the Pareto front, where no other\nnetwork is better in both"]
        if len(named) < len(models):
            said.append(f"named: {len(named)} of {len(models)} networks, those on the front")
        if len(models) < len(summary["models"]):
            unknown = counted(len(summary["models"]) - len(models), "network")
            said.append(f"not drawn: {unknown} without {measures[0].called}")
        if equal:
            said.append("side by side: networks of equal value")
        _key(right, axes, texts, [name in front for name in named], said)
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
    everywhere = Counter(_point(model, measures) for members in series.values() for model in members.values())
    drawn: Counter[tuple[float, float]] = Counter()
    strength = 1 if everywhere.total() <= _MOST_NAMED else 0.4  # fewer can all be told from the paper (WCAG 2: 3 to 1)
    for label, members in series.items():
        for number, (name, model) in enumerate(members.items()):
            point = _point(model, measures)
            apart = min(_APART, _SPREAD / everywhere[point])
            place = apart * (drawn[point] - (everywhere[point] - 1) / 2)
            drawn[point] += 1
            _mark(axes, measures, name, model, place, *looks[label], "_" if number else label, strength)
    in_order = sorted(front, key=lambda model: _point(model, measures)[0])
    if len({_point(model, measures) for model in in_order}) > 1:  # one point is no line, and its name says so
        _line(axes, measures, in_order, color="0.3", linestyle="--", linewidth=1, zorder=1, label="Pareto front")
    axes.set_xlabel(measures[1].axis)
    axes.set_ylabel(measures[0].axis)
    axes.grid(alpha=0.3)


def _mark(
    axes: Axes,
    measures: Sequence[Measure],
    name: str,
    model: dict[str, Any],
    place: float,
    marker: str,
    colour: str,
    label: str,
    strength: float,
) -> None:
    """One network, some points down and to the right of its value; ``strength`` is the opacity of its intervals."""
    (y, upright), (x, across) = (spans([model[measure.name]]) for measure in measures)
    ends = np.array([[x - across[0], x + across[1]], [y - upright[0], y + upright[1]]])
    axes.update_datalim(ends.reshape(2, 2).T)  # which errorbar leaves out, as its marks are moved
    axes.autoscale_view()
    moved = ScaledTranslation(place / 72, -place / 72, axes.figure.dpi_scale_trans)
    drawn = axes.errorbar(
        x,
        y,
        xerr=across,
        yerr=upright,
        fmt=marker,
        color=colour,
        ecolor=to_rgba(colour, strength),
        markersize=6,
        capsize=2,
        linewidth=1,
        label=label,
        zorder=3,
        transform=axes.transData + moved,
    )
    tell(drawn.lines[0], [f"{name}: {', '.join(f'{one.called} {cell(model[one.name])}' for one in measures)}"])


def _number(axes: Axes, points: list[tuple[float, float]]) -> None:
    """Write the numbers of the networks beside their points, on the side where there is room."""
    numbers: dict[tuple[float, float], list[str]] = {}
    for number, point in enumerate(points, 1):
        numbers.setdefault(point, []).append(str(number))
    low, high = axes.get_xlim()
    for (x, y), those in numbers.items():
        right = x < low + 0.75 * (high - low)
        side: Any = {"xytext": (4, 4)} if right else {"xytext": (-4, -4), "ha": "right", "va": "top"}
        axes.annotate(", ".join(those), (x, y), textcoords="offset points", fontsize=9, zorder=5, **side)


def _point(model: dict[str, Any], measures: Sequence[Measure]) -> tuple[float, float]:
    y, x = (model[measure.name]["value"] for measure in measures)
    return x, y


def _line(axes: Axes, measures: Sequence[Measure], models: list[dict[str, Any]], **look: Any) -> None:
    points = [_point(model, measures) for model in models]
    axes.plot([x for x, _ in points], [y for _, y in points], **look)


def _key(figure: SubFigure, drawn: Axes, texts: list[str], front: list[bool], said: list[str]) -> None:
    """The list of names, those on the front in bold, and what the marks are."""
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, figure.bbox.width / figure.dpi)
    axes.set_ylim(max(len(texts), (figure.bbox.height / figure.dpi - 2.3) / _LINE) + 0.5, 0.5)
    for number, (text, bold) in enumerate(zip(texts, front, strict=True), 1):
        axes.text(0.3, number, str(number), ha="right", va="center", fontsize=9)
        axes.text(0.4, number, text, va="center", fontsize=9, fontweight="bold" if bold else "normal")
    handles, labels = drawn.get_legend_handles_labels()
    if len(labels) == 1 and labels[0] in _GROUPS:  # all networks are of one group
        handles, labels = [], []
    look: Any = {"fontsize": 9, "title_fontsize": 9, "alignment": "left"}
    figure.legend(handles, labels, loc="outside lower left", title="\n".join(said), **look)


def _title(summary: dict[str, Any], count: int) -> str:
    images = max(model["images"] for model in summary["models"].values())
    missing = f"; {len(summary['unmeasured'])} could not be measured" if summary["unmeasured"] else ""
    return f"{counted(count, 'network')} on the same {counted(images)}, 95 % intervals{missing}"
