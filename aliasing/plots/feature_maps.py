"""Figures of feature maps: while the image moves, layer by layer, and filter by filter."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from aliasing.depth.feature_maps import INPUT, Array, AverageChange, LayerMaps, MovingMaps
from aliasing.plots.jitter import short_name
from aliasing.plots.style import COLOURS, both_ends, high_and_wide, input_name, placed, plain, same_spread, style
from aliasing.tables import cell

_MOST_VIEWS = 5
_MOST_AVERAGES = 8
_MOST_FILTERS = 256


_TITLE = 6.0  # inches: a figure of one or two maps is as wide as its title


def moving_maps(result: MovingMaps, change: AverageChange | None = None, channel: int | None = None) -> Figure:
    """Feature maps at several depths while the image moves, and their global averages (Azulay & Weiss 2019).

    Parameters
    ----------
    result : MovingMaps
    change : AverageChange, optional
        The change of the same layers over many images, which is printed beside each layer.
    channel : int, optional
        The channel that is shown; by default each layer's typical one.

    Returns
    -------
    matplotlib.figure.Figure
        One row per layer: one channel's map at several positions; right, the global averages of the layer's strongest
        channels along the path, each relative to its mean.
    """
    shown = np.unique(np.linspace(0, len(result.positions) - 1, min(_MOST_VIEWS, len(result.positions))).astype(int))
    layers = result.layers
    with style():
        figure, grid = plt.subplots(
            len(layers),
            len(shown) + 1,
            figsize=(1.45 * len(shown) + 4.2, 1.55 * len(layers) + 0.9),
            squeeze=False,
            gridspec_kw={"width_ratios": [1] * len(shown) + [2.1]},
        )
        for row, layer in enumerate(layers):
            number = layer.typical_channel() if channel is None else min(channel, layer.maps.shape[1] - 1)
            for column, view in enumerate(shown):
                if layer.layer == INPUT:
                    grid[row, column].imshow(result.pictures[view].clip(0, 255).astype(np.uint8))
                else:
                    maps = layer.maps[:, number]
                    show(grid[row, column], maps[view], maps.min(), maps.max())
                bare(grid[row, column])
                if row == 0:
                    grid[row, column].set_title(placed(result.positions[view], result.unit), fontsize=9)
            grid[row, 0].set_ylabel(named(layer, number), fontsize=8)
            _averages(grid[row, -1], result, layer, change)
        same_spread(grid[:, -1])
        for axes in grid[:-1, -1]:
            axes.tick_params(labelbottom=False)
        grid[0, -1].set_title(f"global averages ÷ their mean,\nthe {_MOST_AVERAGES} strongest channels", fontsize=9)
        grid[-1, -1].set_xlabel(f"position ({result.unit})")
        where = " " if len(shown) == _MOST_VIEWS else "\n"
        network, image = both_ends(short_name(result.model), 40), input_name(result.image, length=36)
        figure.suptitle(
            f"{network}: feature maps{where}while {image} moves (maps: height × width)",
            fontsize=11,
        )
    return figure


def layers(outputs: Sequence[LayerMaps], model: str) -> Figure:
    """The output of each layer for one view: the mean over its channels, each with its own grey scale."""
    with style():
        figure, panels = _grid(len(outputs), 1.35)
        for axes, layer in zip(panels, outputs, strict=False):
            picture = layer.maps[0].mean(0)
            show(axes, picture, picture.min(), picture.max())
            _, channels, height, width = layer.maps.shape
            axes.set_title(f"{_tail(layer.layer)}\n{channels}×{height}×{width}{_mark(layer)}", fontsize=6.5)
        figure.suptitle(
            f"{both_ends(short_name(model), 40)}: every layer's output,\n"
            "mean over its channels (channels × height × width)",
            fontsize=11,
        )
    return figure


def filters(layer: LayerMaps, model: str) -> Figure:
    """The output of each filter of a layer for one view, on one grey scale; a vector as one picture."""
    maps = layer.maps[0]
    count = min(len(maps), _MOST_FILTERS)
    with style():
        if maps.shape[1:] == (1, 1):  # no positions: all channels in one picture
            figure, axes = plt.subplots(figsize=(10, 1.8))
            axes.stem(np.arange(len(maps)), maps[:, 0, 0], markerfmt=" ", basefmt=" ")
            title = f"{both_ends(short_name(model), 40)}, {_tail(layer.layer)}: {len(maps)} values{_mark(layer)}"
            axes.set(xlabel="channel", ylabel="value", title=title)
            return figure
        figure, panels = _grid(count, 0.8)
        low, high = np.quantile(maps[:count], [0.005, 0.995])
        for axes, picture in zip(panels, maps, strict=False):
            show(axes, picture, low, high)
        first = f", the first {count}" if count < len(maps) else ""
        size = f"{len(maps)} filters{first}, each {high_and_wide(*maps.shape[1:])}"
        figure.suptitle(f"{both_ends(short_name(model), 40)}, {_tail(layer.layer)}:\n{size}{_mark(layer)}", fontsize=11)
    return figure


def _grid(count: int, side: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, max(6, math.ceil(math.sqrt(1.6 * count))))
    rows = math.ceil(count / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(max(side * columns, _TITLE), side * rows * 1.15 + 0.5), squeeze=False
    )
    for axes in panels.flat:
        bare(axes)
    return figure, list(panels.flat)


def _averages(axes: Axes, result: MovingMaps, layer: LayerMaps, change: AverageChange | None) -> None:
    averages = layer.averages.astype(np.float64)
    size = np.abs(averages).mean(0)
    strongest = np.argsort(-size, kind="stable")[:_MOST_AVERAGES]
    for number in strongest[size[strongest] > 0]:
        axes.plot(result.positions, averages[:, number] / averages[:, number].mean(), linewidth=1, alpha=0.8)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.02)
    axes.grid(alpha=0.3)
    if change is not None and layer.layer in change.layers:
        estimate = change.layers[layer.layer]
        percent = {end: 100 * value for end, value in estimate.as_dict().items() if value is not None}
        text = f"{cell({'low': None, 'high': None, **percent})} % per step"
        text = text.replace(" %", f" %, {change.images} images") if change.images > 1 else text
        axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, color=COLOURS[6])


def named(layer: LayerMaps, channel: int) -> str:
    """The layer and channel that are drawn, in two lines."""
    if layer.layer == INPUT:
        return "input"
    _, _, height, width = layer.maps.shape
    return f"{_tail(layer.layer)}{_mark(layer)}\n{height}×{width}, channel {channel}"


def _mark(layer: LayerMaps) -> str:
    """A remark if the output is not a map."""
    return "" if layer.kind == "map" else f" ({layer.kind})"


def _tail(name: str) -> str:
    return plain(name if len(name) <= 22 else "…" + name[-21:])


def show(axes: Axes, picture: Array, low: float, high: float) -> AxesImage:
    """Draw a map in grey, between two values."""
    return axes.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-12))


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
