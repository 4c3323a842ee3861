"""The figure of a jitter measurement: the networks by measure, and one photograph along the shift."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aliasing.called import short_names
from aliasing.jitter import Followed, Jitter, PlaceTrace
from aliasing.leaderboard import Leaderboard
from aliasing.outputs import measures_in, output_of
from aliasing.outputs.base import Measure
from aliasing.plots import overlay
from aliasing.plots.style import (
    COLOURS,
    both_ends,
    colour_of,
    columns_in,
    in_two_lines,
    input_name,
    line_of,
    percent,
    placed,
    plain,
    spans,
    style,
)
from aliasing.plots.svg import tell
from aliasing.rounding import rounded
from aliasing.tables import called_protocol, cell, counted, word_for

_MOST_THUMBNAILS = 9
_MOST_PATHS = 6  # as many as there are colours that a reader can follow
_MOST_DRAWN = 3  # networks whose answers are drawn over the photograph
_CURVE = 2.2  # inches
_MOST_POINTS = 200  # of a waveform
_FEW_VIEWS = 4  # the curve of so few views has the legend beside it
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Row: TypeAlias = tuple[str, int, dict[str, Any] | None]


def jitter(result: Jitter | Leaderboard, traces: Sequence[Followed] = ()) -> Figure:
    """Networks by measure with their 95 % intervals; below, if there are traces, one photograph on its path.

    Parameters
    ----------
    result : Jitter or Leaderboard
    traces : sequence of Trace
        One photograph followed by each network (:func:`aliasing.jitter.trace_most_jittery`); the first six are drawn,
        and what the first three answer with places.
    """
    summary = result.summary()
    models = summary["models"]
    measures = measures_in(summary, "plot")
    output = output_of(summary["settings"])
    if not measures and output is not None:  # no output was finite: an empty panel says so
        measures = output.shown_in("plot")[:1]
    top = 1.3 + 0.32 * len(models)
    drawn = [trace for trace in traces if isinstance(trace, PlaceTrace)][:_MOST_DRAWN]
    bottom = _CURVE + 2.7 * len(drawn) if drawn else 4.4 if traces else 0
    with style():
        figure = plt.figure(figsize=(10, top + bottom))
        if not traces:
            _measures(figure, models, measures, summary)
            return figure
        parts = figure.subfigures(2, 1, height_ratios=[top, bottom], squeeze=False)
        _measures(parts[0, 0], models, measures, summary)
        if drawn:
            _places(parts[1, 0], traces, drawn, names_in(models))
        else:
            _path(parts[1, 0], traces, names_in(models))
    return figure


def short_name(model: str, described: Mapping[str, Any] | None = None) -> str:
    """A network's short name (`aliasing.called`), for matplotlib; ``described`` is what a summary says of it."""
    return names_in({model: described or {}})[model]


def names_in(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The short names of the networks of a summary, each unique, for matplotlib."""
    return {name: plain(text) for name, text in short_names(models, models).items()}


def _measures(
    figure: Figure | SubFigure, models: dict[str, Any], measures: list[Measure], summary: dict[str, Any]
) -> None:
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    names = names_in(models)
    for axes, measure in zip(panels, measures, strict=True):
        rows = [(names[name], row, model.get(measure.name)) for row, (name, model) in enumerate(models.items())]
        intervals(axes, rows, measure)
    images = max(model["images"] for model in models.values())
    protocol = called_protocol(summary["settings"]["protocol"])
    few = any("too few for a narrow interval" in caution for model in models.values() for caution in model["cautions"])
    caution = "; too few change for narrow intervals" if few else ""
    # Rows that are conversions of one network do not name it.
    own = {str((model.get("weights") or {}).get("name", "")) for model in models.values()}
    network = own.pop() if len(own) == 1 else ""
    of = "" if any(network in name for name in names.values()) else f" of {plain(network)}"
    figure.suptitle(
        f"Jitter{of} under {protocol}: {counted(images, word_for(models))}, 95 % intervals{caution}", fontsize=11
    )


def intervals(axes: Axes, rows: Sequence[Row], measure: Measure) -> None:
    """Draw one measure of every network as a point with its interval.

    Each row is the network's name, its number (for its colour), and its estimate, if any.
    """
    for row, (name, number, estimate) in enumerate(rows):
        if estimate is not None and estimate["value"] is not None:
            value, errors = spans([estimate])
            look: Any = {"color": colour_of(number), "capsize": 3, "clip_on": False}  # a mark at 0 is whole
            drawn = axes.errorbar(value, [row], xerr=errors, fmt="o", **look)
            tell(drawn.lines[0], [f"{name}: {cell(estimate)}"])
        else:
            place: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "center"}
            axes.text(0.5, row, "not known", color="0.4", fontsize=8.5, **place)
    axes.set_xlabel(measure.axis.replace(" (", "\n("))
    axes.grid(axis="x", alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(5))  # small values have long numbers
    if measure.sign < 0:
        axes.set_xlim(left=measure.range[0])
    width = min(34, int(7.4 * axes.figure.bbox.width / axes.figure.dpi))  # characters; a panel for a phone is narrow
    axes.set_yticks(range(len(rows)), [in_two_lines(name, width) for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _path(figure: SubFigure, traces: Sequence[Followed], names: Mapping[str, str]) -> None:
    first, drawn = traces[0], traces[:_MOST_PATHS]
    shown = np.unique(np.linspace(0, len(first.positions) - 1, min(_MOST_THUMBNAILS, len(first.positions))).round())
    columns = len(shown)
    part, side = figure, None
    if columns <= _FEW_VIEWS:
        part, side = figure.subfigures(1, 2, width_ratios=[columns + 1, _MOST_THUMBNAILS - columns], squeeze=False)[0]
    grid = part.add_gridspec(2, columns, height_ratios=[2.2, 1])
    curve = part.add_subplot(grid[0, :])
    for index, trace in enumerate(drawn):
        label = f"{both_ends(names[trace.model], 36)}: P({_said(trace.answers[0], 20)})"
        answers_along_path(curve, trace.positions, trace.curve, trace.jumps, index, label)
    margin = (first.positions[-1] - first.positions[0]) / (2 * max(columns - 1, 1))
    curve.set_xlim(first.positions[0] - margin, first.positions[-1] + margin)
    curve.set_ylabel(first.stays)
    rings = "a ring where the answer changes"
    curve.set_xlabel(f"position on the path ({first.unit}); {rings}" if side is None else f"position ({first.unit})")
    curve.set_xticks(first.positions[shown.astype(int)])
    handles, labels = curve.get_legend_handles_labels()
    if side is None:
        many = columns_in(9, labels)
        curve.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=many, fontsize=9)
    else:
        side.legend(handles, labels, loc="center left", fontsize=9, title=rings, alignment="left", title_fontsize=9)
    for column, view in enumerate(shown.astype(int)):
        axes = part.add_subplot(grid[1, column])
        _thumbnail(axes, first.pictures[view])
        axes.set_xticks([])
        axes.set_yticks([])
        changed = first.answers[view] != first.answers[0]
        axes.set_xlabel(
            f"{in_two_lines(_said(first.answers[view], 26), 13)}\nat {rounded(first.positions[view], '.6g')}",
            fontsize=8,
            fontweight="bold" if changed else "normal",
        )
        axes.spines[:].set_visible(False)
    left_out = "" if len(drawn) == len(traces) else f"; the first {len(drawn)} of {len(traces)} networks"
    network, what = both_ends(names[first.model], 40), "photograph" if _is_picture(first.pictures[0]) else "signal"
    figure.suptitle(
        f"The {what} that moves “{network}” most: {input_name(first.image, length=44)}{left_out}\n"
        "under each view that network's answer and the position, bold where it differs from the first",
        fontsize=10.5,
    )


def _places(
    figure: SubFigure, traces: Sequence[Followed], drawn: Sequence[PlaceTrace], names: Mapping[str, str]
) -> None:
    """How much of each network's answer stays along the path, and of a few: two views, and where it is unstable."""
    first = drawn[0]
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[_CURVE, 2.7 * len(drawn)])[:, 0]
    curve = upper.subplots()
    for index, trace in enumerate(traces[:_MOST_PATHS]):
        label = both_ends(names[trace.model], 36)
        answers_along_path(curve, trace.positions, trace.curve, trace.jumps, index, label)
    limit_shares(curve, [trace.curve for trace in traces[:_MOST_PATHS]])
    curve.set(xlabel=f"position on the path ({first.unit})", ylabel=first.stays)
    curve.set_xticks(first.positions[:: -(-len(first.positions) // _MOST_THUMBNAILS)])
    handles, labels = curve.get_legend_handles_labels()
    side: Any = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": 9}
    curve.legend(handles, [in_two_lines(label, 24) for label in labels], **side)
    for row, trace in zip(lower.subplots(len(drawn), 3, squeeze=False), drawn, strict=True):
        worst = int(np.nanargmin(np.nan_to_num(trace.curve, nan=1.0)))
        for axes, view in zip(row, (0, worst), strict=False):
            _thumbnail(axes, trace.pictures[view])
            overlay.draw(axes, trace.drawings[view], 0.8)
            place = placed(trace.positions[view], trace.unit)
            axes.set_title(
                f"at {place}" if view == 0 else f"at {place}: {rounded(trace.curve[view], '.3f')} stays", fontsize=9
            )
        _thumbnail(row[2], trace.pictures[0])
        row[2].imshow(overlay.heat(trace.heat))
        hottest = percent(float(np.nanmax(trace.heat, initial=0)))
        row[2].set_title(f"unstable, in up to {hottest} of the steps", fontsize=9)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(in_two_lines(names[trace.model], 26), fontsize=9)
    drawings = [drawing for trace in drawn for drawing in trace.drawings]
    meanings = overlay.handles(drawings)
    many = columns_in(9.5, [str(one.get_label()) for one in meanings], 8.5)
    lower.legend(handles=meanings, loc="outside lower center", ncols=many, fontsize=8.5)
    figure.suptitle(
        f"The photograph that moves “{both_ends(names[first.model], 40)}” most: {plain(both_ends(first.image, 44))}",
        fontsize=10.5,
    )


def _is_picture(view: Floats) -> bool:
    return view.ndim == 3 and view.shape[-1] == 3


def _thumbnail(axes: Axes, view: Floats) -> None:
    """Draw a view small: a picture, the waveform of a sound, or the middle slice of a volume."""
    if _is_picture(view):
        axes.imshow(view.clip(0, 255).astype(np.uint8))
        return
    signal = view[0]
    if signal.ndim == 1:
        blocks = np.array_split(signal, min(len(signal), _MOST_POINTS))
        place = np.arange(len(blocks))
        lowest, highest = (np.array([end(block) for block in blocks]) for end in (np.min, np.max))
        axes.fill_between(place, lowest, highest, color=COLOURS[6], linewidth=0.5, edgecolor=COLOURS[6])
        axes.margins(0)
        return
    while signal.ndim > 2:
        signal = signal[len(signal) // 2]
    axes.imshow(signal, cmap="gray")


def answers_along_path(
    axes: Axes, positions: Floats, probability: Floats, jumps: Any, number: int, label: str, joined: bool = True
) -> Line2D:
    """Draw the probability of the first view's answer, view by view, with a ring where the answer jumps.

    ``jumps`` holds indices or a mask of views; ``number`` is the network's, for its colour and line. ``joined`` joins
    the points, if the views follow one another along a path.
    """
    colour = colour_of(number)
    line = f"o{line_of(number)}" if joined else "o"
    (points,) = axes.plot(positions, probability, line, color=colour, label=label, markersize=4)
    mark_jumps(axes, positions[jumps], probability[jumps], colour)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    return points


def limit_shares(axes: Axes, curves: Sequence[Floats]) -> None:
    """Show shares up to 1 from a little below the least of these curves."""
    room = max(1 - min(float(np.nanmin(curve, initial=1.0)) for curve in curves), 0.01)
    axes.set_ylim(1 - 1.15 * room, 1 + 0.1 * room)


def mark_jumps(axes: Axes, positions: Floats, probability: Floats, colour: str) -> None:
    """Draw a ring around each point whose answer differs from that of the point before."""
    axes.plot(positions, probability, "o", markersize=11, markerfacecolor="none", color=colour)


def _said(answer: str, length: int) -> str:
    """An answer; of a network whose classes have no names, its number says of what."""
    return f"class {answer}" if answer.isdecimal() else fit(answer, length)


def fit(text: str, length: int = 17) -> str:
    """The first of several synonyms, shortened to ``length``."""
    text = text.split(", ")[0]
    return plain(text if len(text) <= length else text[: length - 1] + "…")
