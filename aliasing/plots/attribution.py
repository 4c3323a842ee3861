"""The figure of an attribution: for each site the jitter that its treatment removes, and that sparing it leaves."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.depth.attribution import AS_IT_IS, TREATED, Attribution
from aliasing.outputs import measures_in
from aliasing.outputs.base import Measure
from aliasing.plots.jitter import short_name
from aliasing.plots.style import COLOURS, both_ends, legend_below, plain, spans, style
from aliasing.rounding import rounded
from aliasing.tables import counted, decimals, over_all, pair

WAYS = {
    "only": ("this site treated, minus none", 1, "o"),
    "all_but": ("all but this site treated, minus all", -1, "s"),
}
"""What is subtracted from what; 1 if a guilty site's difference is an improvement, −1 if not; and its mark."""


def attribution(result: Attribution, by: str | None = None) -> Figure:
    """The sites, the guiltiest on top, with the paired differences of the measures, and their 95 % intervals.

    Parameters
    ----------
    result : Attribution
    by : str, optional
        The measure that ranks the sites, as in :meth:`Attribution.ranking`.

    Returns
    -------
    matplotlib.figure.Figure
        A filled mark is the difference over all pairs, a hollow one the difference matched on the margin. An arrow
        is the end of a hollow mark's interval that is much wider than the others, with where it ends.
    """
    summary = result.summary(by)
    sites = summary["sites"]
    measures = [measure for measure in measures_in(summary, "attribution") if measure.name in sites[0]["only"]]
    with style():
        figure, panels = plt.subplots(
            1,
            len(measures),
            figsize=(max(10.5, 3.5 * len(measures)), 2.5 + 0.55 * len(sites)),
            sharey=True,
            squeeze=False,
        )
        for axes, measure in zip(panels[0], measures, strict=True):
            differences(axes, sites, measure)
            sides = [_guilty(way, measure) for way in WAYS]
            guilty = "" if measure.flatters else f"\nguilty: ● {sides[0]} 0, ■ {sides[1]} 0"
            axes.set_xlabel(f"{fill(f'difference of {measure.called}', 34)}{guilty}")
            variants = (summary["variants"][name][measure.name] for name in (AS_IT_IS, TREATED))
            before, after = (rounded(variant["value"], f".{decimals(variant)}f") for variant in variants)
            axes.set_title(f"{fill(measure.called, 38)}:\nno site treated {before}, all {after}", fontsize=9.5)
        strides = [f"{site['kind']}, cumulative stride {pair(site['cumulative_stride'])}" for site in sites]
        labels = [
            f"{site['rank']}. {plain(both_ends(site['name'], 34))}\n{stride}"
            for site, stride in zip(sites, strides, strict=True)
        ]
        panels[0][0].set_yticks(range(len(sites)), labels)
        # Of the panel that tells most: the first, unless only another has matched pairs.
        whole = max(panels[0], key=lambda axes: len(axes.get_legend_handles_labels()[1]))
        handles, names = whole.get_legend_handles_labels()
        legend_below(figure, handles, names, size=8.5)
        as_it_is, hollow = summary["variants"][AS_IT_IS], ""
        if any("matched" in site["only"][measure.name] for site in sites for measure in measures):
            hollow = "\nhollow: matched on the margin, as if the network were equally sure however it is treated"
        images = as_it_is["images"]
        figure.suptitle(
            f"{both_ends(short_name(result.model, as_it_is), 40)}: which site causes the jitter? {counted(images)},"
            f" protocol {summary['settings']['protocol']['name']}, {treatment(summary)}, paired 95 % intervals{hollow}",
            fontsize=10.5,
        )
    return figure


def differences(axes: Axes, sites: Sequence[dict[str, Any]], measure: Measure) -> None:
    """The change of a measure if only a site is treated, and if only it is spared; sites from top to bottom."""
    by_pair = "all" in sites[0]["only"][measure.name]
    selections = {"all": "all pairs", "matched": "matched on margin"} if by_pair else {"": ""}
    low, high = _limits([site[way][measure.name] for site in sites for way in WAYS])
    axes.set_xlim(low, high)
    for (way, (text, _, marker)), colour in zip(WAYS.items(), COLOURS, strict=False):
        for number, (selection, label) in enumerate(selections.items()):
            found = [site[way][measure.name] for site in sites]
            estimates = [estimate[selection] if selection else estimate for estimate in found]
            if label and any(estimate["value"] is None for estimate in estimates):  # a mark that is NaN is not drawn
                label += " (no mark: too few pairs)"
            values, errors = spans(estimates)
            offset = (-0.22 if way == "only" else 0.1) + 0.13 * number
            for row, estimate in enumerate(estimates):
                _go_on(axes, row + offset, estimate, colour)
            axes.errorbar(
                values,
                [row + offset for row in range(len(sites))],
                xerr=errors,
                fmt=marker,
                color=colour,
                markerfacecolor="white" if selection == "matched" else colour,
                capsize=2,
                markersize=5,
                linewidth=1.2,
                label=f"{text}: {label}" if label else text,
            )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.locator_params(axis="x", nbins=4)  # three panels side by side
    axes.set_yticks(range(len(sites)), [f"{site['rank']}. {plain(site['name'])}" for site in sites])
    axes.tick_params(axis="y", labelsize=9)
    axes.set_ylim(len(sites) - 0.5, -0.5)


def _limits(found: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The ends of an axis: every mark and every interval over all pairs; a much wider one of matched pairs is cut."""
    whole = [end for estimate in found for end in (over_all(estimate) or {}).values() if end is not None]
    matched = [estimate["matched"] for estimate in found if "matched" in estimate]
    kept = [0.0, *whole, *(one["value"] for one in matched if one["value"] is not None)]
    every = [*kept, *(end for one in matched for end in one.values() if end is not None)]
    span = max(kept) - min(kept) or 0.01
    low, high = max(min(every), min(kept) - 0.2 * span), min(max(every), max(kept) + 0.2 * span)
    return low - 0.05 * span, high + 0.05 * span


def _go_on(axes: Axes, row: float, estimate: dict[str, Any], colour: str) -> None:
    """Mark an interval that goes on beyond the axis, and say up to where."""
    for limit, end, sign, side in zip(axes.get_xlim(), ("low", "high"), (-1, 1), ("left", "right"), strict=True):
        if estimate[end] is not None and sign * (estimate[end] - limit) > 0:
            text = rounded(estimate[end], f".{decimals(estimate)}f")
            axes.plot([limit], [row], marker="<" if sign < 0 else ">", color=colour, markersize=4, clip_on=False)
            look: Any = {"ha": side, "va": "bottom", "fontsize": 7.5, "color": colour}
            axes.annotate(text, (limit, row), (-6 * sign, 1), textcoords="offset points", **look)


def called(way: str, measure: Measure) -> str:
    """What is subtracted from what; and for a measure of jitter, on which side of 0 a site is guilty."""
    text = WAYS[way][0]
    return text if measure.flatters else f"{text} (guilty: {_guilty(way, measure)} 0)"


def _guilty(way: str, measure: Measure) -> str:
    """On which side of 0 a guilty site's difference is."""
    return "above" if WAYS[way][1] * measure.sign > 0 else "below"


def treatment(summary: dict[str, Any]) -> str:
    """How the sites were treated, in words."""
    treated = summary.get("treatment") or {}
    return " ".join(str(treated[key]) for key in ("operator", "taps", "placement") if treated.get(key))
