"""The figure of jitter against depth: one column per set of images, the families as lines, the trends below."""

from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from aliasing.depth.across import AcrossDepth
from aliasing.plots.jitter import names_in
from aliasing.plots.style import COLOURS, both_ends, legend_below, plain, spans, style
from aliasing.tables import counted

_MEASURES = {"top1_change": "P(top-1 change)", "mac": "mean absolute change"}
_SELECTIONS = {"all": "all pairs", "right": "first view right", "matched": "matched on margin"}
_AXES = {"layers": "weighted layers", "sites": "downsampling sites", "cumulative_stride": "cumulative stride (pixels)"}
_MOST_NAMED = 6
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def across(result: AcrossDepth, against: str = "layers") -> Figure:
    """Jitter against depth, with 95 % intervals: the columns are all pairs, correctly answered and matched ones.

    Networks of the same depth are drawn side by side, around it, and the axis says so: its ticks are the depths.

    Parameters
    ----------
    result : AcrossDepth
    against : {"layers", "sites", "cumulative_stride"}

    Returns
    -------
    matplotlib.figure.Figure
        Two rows (P(top-1 change), MAC) for each set of images; a line joins the networks of a family.
    """
    rows = [(group, measure) for group in result.groups for measure in _MEASURES]
    depths = [[network[against] for network in group["networks"]] for group in result.groups]
    shared = any(len({*of_group}) < len(of_group) for of_group in depths)
    with style():
        figure, grid = plt.subplots(len(rows), 3, figsize=(10.5, 2.35 * len(rows) + 0.9), squeeze=False, sharey="row")
        for row, (panels, (group, measure)) in enumerate(zip(grid, rows, strict=True)):
            for axes, selection in zip(panels, _SELECTIONS, strict=True):
                _panel(axes, group, measure, selection, against)
                unknown = sum(network[measure][selection]["value"] is None for network in group["networks"])
                remark = f"not drawn: {counted(unknown, 'network')} without such a pair" if unknown else ""
                title = _SELECTIONS[selection] if row == 0 else ""
                axes.set_title("\n".join(filter(None, (title, remark))), fontsize=9.5)
            panels[0].set_ylabel(f"{_MEASURES[measure]}\n{group['protocol']}")
            panels[0].set_ylim(bottom=0)
        for axes in grid[-1]:
            axes.set_xlabel(f"{_AXES[against]}\n(equal ones side by side)" if shared else _AXES[against])
        families = {
            label: handle
            for axes in grid[:, 0]
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        legend_below(figure, [*families.values()], [*families])
        figure.suptitle(_title(result), fontsize=11)
    return figure


def _title(result: AcrossDepth) -> str:
    shown = (f"{counted(group['networks'][0]['images'])} ({group['protocol']})" for group in result.groups)
    images = " and ".join(shown)
    title = f"Jitter against depth: {images}, 95 % intervals"
    if not result.unmeasured:
        return title
    depths = result.depths_of_unmeasured
    names = [
        f"{both_ends(text, 40)} ({depths[name].layers} layers)" if name in depths else both_ends(text, 40)
        for name, text in names_in({name: {} for name in result.unmeasured}).items()
    ]
    names = names[:_MOST_NAMED] + ([f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else [])
    return title + "\n" + fill(f"not measured here: {'; '.join(names)}", 110)


def _panel(axes: Axes, group: dict[str, Any], measure: str, selection: str, against: str) -> None:
    families = list(dict.fromkeys(network["family"] for network in group["networks"]))
    for index, family in enumerate(families):
        members = sorted((n for n in group["networks"] if n["family"] == family), key=lambda n: n[against])
        members = [n for n in members if n[measure][selection]["value"] is not None]
        values, errors = spans(n[measure][selection] for n in members)
        depth = _side_by_side([n[against] for n in members], index - (len(families) - 1) / 2, against == "layers")
        colour, marker = COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)]
        axes.errorbar(
            depth,
            values,
            yerr=errors,
            fmt=f"{marker}-" if len({n[against] for n in members}) > 1 else marker,
            color=colour,
            capsize=2.5,
            markersize=5,
            linewidth=1.2,
            label=plain(both_ends(family, 40)),
        )
    if against == "layers":
        axes.set_xscale("log", base=2)
    ticks = _apart(sorted({network[against] for network in group["networks"]}), against == "layers")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = (extreme(network[against] for network in group["networks"]) for extreme in (min, max))
    beyond = 0.1 * (high - low) or 0.5
    axes.set_xlim(*((low / 1.15, high * 1.15) if against == "layers" else (low - beyond, high + beyond)))
    axes.grid(axis="y", alpha=0.3)


def _apart(depths: list[float], logarithmic: bool) -> list[float]:
    """The depths that can be written below an axis: each at least a sixth of it from the one before."""
    places = np.log2(depths) if logarithmic else np.array(depths)
    written: list[int] = []
    for number, place in enumerate(places):
        if not written or place - places[written[-1]] >= 0.16 * (places[-1] - places[0]):
            written.append(number)
    return [depths[number] for number in written]


def _side_by_side(depths: list[float], family: float, logarithmic: bool) -> list[float]:
    """The positions of the points: apart from others of the same depth, in the family and in the others."""
    found = []
    for number, depth in enumerate(depths):
        alike = [other for other, same in enumerate(depths) if same == depth]
        place = family * (len(alike) + 0.5) + alike.index(number) - (len(alike) - 1) / 2
        found.append(depth * 2 ** (0.025 * place) if logarithmic else depth * (1 + 0.01 * place))
    return found
