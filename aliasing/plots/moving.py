"""Films of a moving photograph, with networks' answers or feature maps, one frame per view (Azulay & Weiss 2019)."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from aliasing.depth.feature_maps import INPUT, Array, LayerMaps, MovingMaps, drawn_channels
from aliasing.errors import UsageError
from aliasing.jitter import Followed, Trace
from aliasing.plots import overlay
from aliasing.plots.feature_maps import bare, named, show
from aliasing.plots.jitter import fit, limit_shares, mark_jumps, names_in
from aliasing.plots.style import (
    COLOURS,
    both_ends,
    colour_of,
    columns_in,
    high_and_wide,
    in_two_lines,
    input_name,
    placed,
    plain,
    same_spread,
    style,
)
from aliasing.rounding import rounded

# Slow enough to see each change from one pixel to the next.
FRAMES_PER_SECOND = 4
_WIDTH = 9.0  # inches; at 100 dots per inch this fits a README
_BARS_IN_A_ROW = 3
_CHANGED = "#F0E442"  # Okabe & Ito's yellow, which no line uses


def animation(traces: Sequence[Followed]) -> FuncAnimation:
    """A film of a photograph along its path: the leading classes, or what is drawn over it, and what of it stays.

    Parameters
    ----------
    traces : sequence of Trace or PlaceTrace
        One photograph followed by each network (:func:`aliasing.jitter.trace`).

    Returns
    -------
    matplotlib.animation.FuncAnimation
        One frame per view; :func:`aliasing.plots.save_film` writes it. When a network's class changes, its name turns
        yellow for a frame; rings mark these places on the curve.

    Raises
    ------
    UsageError
        The networks were not followed along the same path.
    """
    first = traces[0]
    _require_one_path(traces)
    columns = min(len(traces), _BARS_IN_A_ROW)
    rows = -(-len(traces) // _BARS_IN_A_ROW)
    high = 2.9
    if first.drawings:
        columns, rows = min(columns, 2), -(-len(traces) // 2)
        size = first.drawings[0].size
        high = min(_WIDTH / columns, _WIDTH * 0.6) * size[0] / size[1] + 0.7
    with style():
        figure = plt.figure(figsize=(_WIDTH, high * rows + 2.1))
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[high * rows, 2.1])[:, 0]
        names = _names([trace.model for trace in traces])
        parts: list[_Picture | _Bars | _Drawn | _Curves] = []
        right = upper
        if not first.drawings:
            left, right = upper.subfigures(1, 2, squeeze=False, width_ratios=[1, 2.1])[0]
            parts.append(_Picture(left.subplots(), first))
        panels = right.subplots(rows, columns, squeeze=False)
        for number, (axes, trace) in enumerate(zip(panels.flat, traces, strict=False)):
            shown = names[number], colour_of(number)
            parts.append(_Bars(axes, trace, *shown) if isinstance(trace, Trace) else _Drawn(axes, trace, *shown))
        for axes in panels.flat[len(traces) :]:
            axes.set_axis_off()
        parts.append(_Curves(lower.subplots(), traces, names))

        def draw(view: int) -> None:
            for part in parts:
                part.draw(view)

        return _film(figure, draw, len(first.positions))


def animated_maps(results: Sequence[MovingMaps]) -> FuncAnimation:
    """A film of feature maps at several depths while the photograph moves, each with its global average below.

    Parameters
    ----------
    results : sequence of MovingMaps
        One photograph followed by each network (:func:`aliasing.depth.feature_maps.follow_maps`).

    Returns
    -------
    matplotlib.animation.FuncAnimation
        One frame per view, with one column per layer and two rows per network: one channel's map, with the same grey
        scale in all frames, and the channel's average relative to its mean along the path.

    Raises
    ------
    UsageError
        The networks were not followed along the same path.
    """
    _require_one_path(results)
    columns = max(len(result.layers) for result in results)
    with style():
        figure = plt.figure(figsize=(_WIDTH, 2.45 * len(results) + 0.35))
        rows = figure.subfigures(len(results), 1, squeeze=False)[:, 0]
        maps: list[_Map] = []
        averages: list[Axes] = []
        for row, result, channels in zip(rows, results, drawn_channels(results), strict=True):
            panels = row.subplots(2, columns, squeeze=False, height_ratios=[1.5, 1])
            for place, (layer, channel) in enumerate(zip(result.layers, channels, strict=True)):
                maps.append(_Map(panels[0, place], panels[1, place], result, layer, channel))
            for axes in panels[:, len(result.layers) :].flat:
                axes.set_axis_off()
            averages += panels[1, : len(result.layers)].tolist()
            panels[1, 0].set_ylabel("average\n÷ its mean", fontsize=7.5)
        same_spread(averages)
        for axes in averages:
            axes.tick_params(labelleft=bool(axes.get_ylabel()))
        titles = [row.suptitle(" ", fontsize=11) for row in rows]
        names = _names([result.model for result in results])

        def draw(view: int) -> None:
            for part in maps:
                part.draw(view)
            for title, name, result in zip(titles, names, results, strict=True):
                place = f"{input_name(result.image, length=30)} at {placed(result.positions[view], result.unit)}"
                title.set_text(f"{both_ends(name, 40)}: {place} (maps: height × width)")

        return _film(figure, draw, len(results[0].positions))


class _Picture:
    """The view itself."""

    def __init__(self, axes: Axes, trace: Followed) -> None:
        self.axes, self.trace = axes, trace
        self.image: AxesImage = axes.imshow(trace.pictures[0].clip(0, 255).astype(np.uint8))
        bare(axes)
        height, width = trace.pictures.shape[1:3]
        axes.set_xlabel(f"{input_name(trace.image, length=34)}\n{high_and_wide(height, width)} pixels", fontsize=8)

    def draw(self, view: int) -> None:
        self.image.set_data(self.trace.pictures[view].clip(0, 255).astype(np.uint8))
        self.axes.set_title(placed(self.trace.positions[view], self.trace.unit))


class _Bars:
    """The probabilities of one network's leading classes."""

    def __init__(self, axes: Axes, trace: Trace, network: str, colour: str) -> None:
        self.trace = trace
        places = range(len(trace.leading))
        self.bars: BarContainer = axes.barh(places, trace.leading_probabilities[0], height=0.8, color=colour)
        self.values = [axes.text(0.99, place, "", ha="right", va="center", fontsize=8.5) for place in places]
        self.names = [
            axes.text(0.02, place, fit(name, 24), va="center", fontsize=8.5)
            for place, name in zip(places, trace.leading, strict=True)
        ]
        self.title = axes.set_title(in_two_lines(network, 24), color=colour, fontsize=10, pad=8)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(trace.leading) - 0.5, -0.5)
        axes.set_yticks([])
        axes.tick_params(labelsize=8)
        axes.set_xlabel("probability", fontsize=9)

    def draw(self, view: int) -> None:
        answer = self.trace.answers[view]
        parts = zip(self.bars, self.names, self.values, self.trace.leading, strict=True)
        for place, (bar, name, value, leading) in enumerate(parts):
            probability = float(self.trace.leading_probabilities[view, place])
            bar.set_width(probability)
            bar.set_alpha(0.75 if leading == answer else 0.25)
            value.set_text(rounded(probability, ".2f"))
            name.set_fontweight("bold" if leading == answer else "normal")
        changed = view in self.trace.jumps
        self.title.set_bbox({"facecolor": _CHANGED if changed else "none", "edgecolor": "none", "pad": 2})


class _Drawn:
    """What one network answers, over the view itself."""

    def __init__(self, axes: Axes, trace: Followed, network: str, colour: str) -> None:
        self.axes, self.trace = axes, trace
        self.title: dict[str, Any] = {"label": in_two_lines(network, 40), "color": colour, "fontsize": 10}

    def draw(self, view: int) -> None:
        self.axes.clear()
        self.axes.imshow(self.trace.pictures[view].clip(0, 255).astype(np.uint8))
        overlay.draw(self.axes, self.trace.drawings[view])
        bare(self.axes)
        self.axes.set_title(**self.title)
        place = placed(self.trace.positions[view], self.trace.unit)
        self.axes.set_xlabel(f"{place}: {plain(both_ends(self.trace.answers[view], 60))}", fontsize=8)


class _Curves:
    """How much of the first view's answer is left along the path, and the current position."""

    def __init__(self, axes: Axes, traces: Sequence[Followed], names: Sequence[str]) -> None:
        self.traces = traces
        self.points: list[Line2D] = []
        for number, trace in enumerate(traces):
            colour = colour_of(number)
            axes.plot(trace.positions, trace.curve, "-", color=colour, linewidth=1.2)
            mark_jumps(axes, trace.positions[trace.jumps], trace.curve[trace.jumps], colour)
            answer = "" if trace.drawings else f": P({fit(trace.answers[0], 20)})"
            label = f"{both_ends(names[number], 36)}{answer}"
            self.points += axes.plot([], [], "o", color=colour, markersize=7, label=label)
        self.here = axes.axvline(traces[0].positions[0], color="0.6", linewidth=1, zorder=0)
        axes.set_ylim(-0.04, 1.04)
        rings = "; a ring where the answer changes"
        if traces[0].drawings:
            limit_shares(axes, [trace.curve for trace in traces])
            rings = ""
        axes.margins(x=0.02)
        axes.set_ylabel(traces[0].stays, fontsize=9)
        axes.set_xlabel(f"position on the path ({traces[0].unit}){rings}", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        many = columns_in(_WIDTH - 1, axes.get_legend_handles_labels()[1], 8.5)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=many, fontsize=8.5)

    def draw(self, view: int) -> None:
        for point, trace in zip(self.points, self.traces, strict=True):
            point.set_data([trace.positions[view]], [trace.curve[view]])
        position = self.traces[0].positions[view]
        self.here.set_xdata([position, position])


class _Map:
    """The map of one channel of one layer, and its average below."""

    def __init__(self, map_axes: Axes, average_axes: Axes, result: MovingMaps, layer: LayerMaps, channel: int) -> None:
        self.positions = result.positions
        self.pictures: Array = layer.maps[:, channel]
        if layer.layer == INPUT:
            self.pictures = result.pictures.clip(0, 255).astype(np.uint8)
        self.image = show(map_axes, self.pictures[0], self.pictures.min(), self.pictures.max())
        map_axes.set_title(named(layer, channel), fontsize=7.5)
        bare(map_axes)
        averages = layer.averages[:, channel].astype(np.float64)
        self.relative = averages / averages.mean()
        average_axes.plot(self.positions, self.relative, color=COLOURS[0], linewidth=1)
        (self.point,) = average_axes.plot([], [], "o", color=COLOURS[1], markersize=4.5)
        average_axes.grid(alpha=0.3)
        average_axes.tick_params(labelsize=7)

    def draw(self, view: int) -> None:
        self.image.set_data(self.pictures[view])
        self.point.set_data([self.positions[view]], [self.relative[view]])


def _require_one_path(followed: Sequence[Followed | MovingMaps]) -> None:
    if any(not np.array_equal(one.positions, followed[0].positions) for one in followed):
        raise UsageError("the networks were followed along different paths; a film has one")


def _names(models: Sequence[str]) -> list[str]:
    """The networks' short names."""
    return list(names_in({model: {} for model in models}).values())


def _film(figure: Figure, draw: Callable[[int], None], frames: int) -> FuncAnimation:
    """The animation, laid out once: laying out every frame would make it tremble."""
    draw(0)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def update(view: int) -> tuple[Artist, ...]:
        draw(view)
        return ()

    return FuncAnimation(figure, update, frames=frames, interval=1000 // FRAMES_PER_SECOND)
