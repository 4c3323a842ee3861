"""The figure of a leaderboard: accuracy against consistency, with the front that no network beats."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from aliasing.leaderboard import Leaderboard
from aliasing.lineage import GROUPS
from aliasing.outputs.base import Measure
from aliasing.plots.jitter import jitter, names_in
from aliasing.plots.style import COLOURS, both_ends, in_two_lines, later_alike, spans, style
from aliasing.plots.svg import tell
from aliasing.tables import cell, counted

# One marker and colour for each group that there is.
_GROUPS = dict(zip(GROUPS, zip(("o", "s", "D", "^", "P", "v", ">"), COLOURS, strict=True), strict=True))
# So many have their names beside them, more have numbers and a key, and of still more only the front is named.
_MOST_BESIDE = 8
_MOST_NAMED = 16
WITHIN = "marks within one another: networks of equal values"
_LINE = 0.235  # inches for a name
_SIZE = 6.5  # points of a mark
_MOST_AROUND = 3  # networks within a mark that are told from it by their sizes


def leaderboard(board: Leaderboard) -> Figure:
    """Accuracy against consistency with 95 % intervals; a grey line joins a conversion and its plain sibling.

    Parameters
    ----------
    board : Leaderboard

    Returns
    -------
    matplotlib.figure.Figure
        Markers are the groups. The dashed line is the Pareto front of the estimates themselves; networks with
        overlapping intervals may change places. More than 8 networks have numbers, which refer to the list beside;
        of more than 16 only those on the front. Marks of networks that are equal in both measures lie within one
        another, at their values. For an output without an accuracy, and for images without labels, the networks by
        measure (:func:`aliasing.plots.jitter`).
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
    beside = len(models) <= _MOST_BESIDE
    with style():
        width = 0.6 + 0.085 * max([32, *map(len, texts)])
        figure = plt.figure(figsize=(8, 5.4) if beside else (6.6 + width, max(4.6, _LINE * len(named) + 2.6)))
        if beside:
            axes = figure.subplots()
        else:
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
        points = [_point(models[name], measures) for name in named]
        called, protocol = measures[1].called, summary["settings"]["consistency"]["name"]
        axes.set_xlabel(called if protocol == called else f"{called} (protocol {protocol})")
        said = ["bold: on the Pareto front, where no other\nnetwork is better in both"]
        if len(named) < len(models):
            said.append(f"named: {len(named)} of {len(models)} networks, those on the front")
        if len(models) < len(summary["models"]):
            unknown = counted(len(summary["models"]) - len(models), "network")
            said.append(f"not drawn: {unknown} without {measures[0].called}")
        if len({_point(model, measures) for model in models.values()}) < len(models):
            said.append(WITHIN.replace(": ", ":\n"))
        figure.suptitle(_title(summary, len(models)), fontsize=11)
        bold = [name in front for name in named]
        if beside:
            _legend(figure, axes, [text.replace("\n", " ") for text in said], loc="outside lower center", ncols=3)
            ends = [spans([model[measure.name] for measure in measures[::-1]]) for model in models.values()]
            _name(axes, points, [in_two_lines(text, 24) for text in texts], bold, ends)
        else:
            _number(axes, points)
            _key(right, axes, texts, bold, said)
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
    Pareto front. All are at their values: of equal ones the first have the largest marks and the widest bars.
    """
    everywhere = [_point(model, measures) for members in series.values() for model in members.values()]
    on_one_line = ([point[axis] for point in everywhere] for axis in (1, 0))  # bars across are, of networks of one y
    sizes = iter(zip(later_alike(everywhere), *map(later_alike, on_one_line), strict=True))
    strength = 1 if len(everywhere) <= _MOST_NAMED else 0.4  # fewer can all be told from the paper (WCAG 2: 3 to 1)
    for label, members in series.items():
        marker, colour = looks[label]
        if members:
            axes.plot([], [], marker, color=colour, markersize=_SIZE, label=label)
        for name, model in members.items():
            _mark(axes, measures, name, model, next(sizes), marker, colour, strength)
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
    around: Sequence[int],
    marker: str,
    colour: str,
    strength: float,
) -> None:
    """One network; ``around`` are the numbers of later ones that its mark and its bars (across, upright) lie around.

    ``strength`` is the opacity of its intervals.
    """
    (y, upright), (x, across) = (spans([model[measure.name]]) for measure in measures)
    of_mark, *of_bars = (min(later, _MOST_AROUND) for later in around)
    for direction, errors, later in zip(("xerr", "yerr"), (across, upright), of_bars, strict=True):
        bars: Any = {
            direction: errors,
            "capsize": 2 + later,
            "elinewidth": 1 + later,
            "ecolor": to_rgba(colour, strength),
        }
        axes.errorbar(x, y, fmt="none", zorder=3, **bars)
    look: Any = {"markersize": _SIZE + 5 * of_mark, "markeredgecolor": "white", "markeredgewidth": 0.8, "zorder": 3}
    (mark,) = axes.plot(x, y, marker, color=colour, **look)
    tell(mark, [f"{name}: {', '.join(f'{one.called} {cell(model[one.name])}' for one in measures)}"])


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


def _name(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    bold: Sequence[bool],
    ends: Sequence[Any],
) -> None:
    """Write the names of the networks beside their points, upon no other name or point and on few lines.

    Networks at one point share a label, ``a = b``.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    pixels = axes.figure.dpi / 72
    at, marks, bars = axes.transData, [], []
    for point, (values, (below, above)) in zip(points, ends, strict=True):
        x, y = at.transform(point)
        marks.append(Bbox.from_bounds(x - 4 * pixels, y - 4 * pixels, 8 * pixels, 8 * pixels))
        for which in (0, 1):
            bar = np.array([values, values])
            bar[:, which] += -below[which], above[which]
            bars.append(Path(at.transform(bar)))
    drawn = (np.asarray(line.get_xydata()) for line in axes.lines)  # the front, and conversions to their plain networks
    bars += [Path(at.transform(line)) for line in drawn if len(line) > 1]
    taken: list[Bbox] = []
    labels: dict[tuple[float, float], tuple[list[str], bool]] = {}
    for point, text, front in zip(points, texts, bold, strict=True):
        labels.setdefault(point, ([], front))[0].append(text)
    for point, (lines, front) in sorted(labels.items(), key=lambda one: one[0][::-1]):
        look: Any = {"fontweight": "bold" if front else "normal", "zorder": 5, "fontsize": 9}
        halo = withStroke(linewidth=2.5, foreground="white")
        label = axes.annotate("\n= ".join(lines), point, (0, 0), at, "offset points", path_effects=[halo], **look)
        label.set_in_layout(False)
        mark, size = at.transform(point), label.get_window_extent().size

        def box(side: tuple[float, float], mark: Any = mark, size: Any = size) -> Bbox:
            corner = mark + np.array(side) * pixels + (np.sign(side) - 1) / 2 * size
            return Bbox([corner, corner + size]).padded(1.5 * pixels)

        def cost(side: tuple[float, float], box: Any = box) -> float:
            there = box(side)
            hidden = sum(there.overlaps(other) for other in (*taken, *marks))
            crossed = sum(bar.intersects_bbox(there, filled=False) for bar in bars)
            outside = not (axes.bbox.contains(*there.min) and axes.bbox.contains(*there.max))
            return float(np.hypot(*side) + 60 * crossed + 1e4 * hidden + 1e6 * outside)

        best = min(_SIDES, key=cost)
        taken.append(box(best))
        across, upright = (int(np.sign(side)) for side in best)
        label.set(position=best, ha=("center", "left", "right")[across], va=("center", "bottom", "top")[upright])
        if np.hypot(*best) > np.hypot(*_SIDES[0]):  # from afar, a line leads to it
            line: Any = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
            axes.annotate("", point, best, at, "offset points", arrowprops=line)


_SIDES = [
    (x, y)
    for x in (7, -7, 0, 30, -30, 60, -60, 100, -100, 150, -150, 220, -220)
    for y in (7, -7, 0, 20, -20, 34, -34, 48, -48, 64, -64, 80, -80, 100, -100, 130, -130, 170, -170)
    if (x, y) != (0, 0)
]
"""Where a name may be, in points right of its point and above it; the side of the name follows."""


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
    _legend(figure, drawn, said, loc="outside lower left", alignment="left")


def _legend(figure: Figure | SubFigure, drawn: Axes, said: list[str], **look: Any) -> None:
    """What the marks are."""
    handles, labels = drawn.get_legend_handles_labels()
    if len(labels) == 1 and labels[0] in _GROUPS:  # all networks are of one group
        handles, labels = [], []
    figure.legend(handles, labels, title="\n".join(said), fontsize=9, title_fontsize=9, **look)


def _title(summary: dict[str, Any], count: int) -> str:
    images = max(model["images"] for model in summary["models"].values())
    missing = f"; {len(summary['unmeasured'])} could not be measured" if summary["unmeasured"] else ""
    return f"{counted(count, 'network')} on the same {counted(images)}, 95 % intervals{missing}"
