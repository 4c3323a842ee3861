"""The figure of a depth profile: every measure against depth, with the downsampling sites marked."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, Protocol, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from aliasing.depth import LieProfile, LocalErrors, Profile
from aliasing.depth.local import KINDS
from aliasing.plots.jitter import names_in
from aliasing.plots.style import band, both_ends, colour_of, legend_below, line_of, nested, plain, spans, style
from aliasing.plots.svg import tell
from aliasing.rounding import rounded
from aliasing.tables import called_protocol, cell, counted, word_for

# The name of each network, its number (for its colour and line), and its part of the summary.
Networks: TypeAlias = Sequence[tuple[str, int, dict[str, Any]]]

_LONGEST_NAME = 20  # letters of a layer on an axis
_MOST_SITES_NAMED = 8
_ROUNDING = 1e-9  # local errors below are float32's rounding
# The marks of the kinds of local errors.
_MARKS = dict(zip(KINDS, "svoDP", strict=True))


class Panel(Protocol):
    """Draws the networks on the axes."""

    def __call__(self, axes: Axes, networks: Networks) -> None: ...


def depth(profile: Profile) -> Figure:
    """Invariance, equivariance, aliasing, spectra and receptive fields against depth.

    Layers are in the order of the run; a hollow point is a layer without a map (tokens, a vector). The triangles on the
    lower edge are the downsampling sites, black if all networks have the same.
    """
    summary = profile.summary()
    names = names_in(summary["models"])
    models = [(names[name], number, model) for number, (name, model) in enumerate(summary["models"].items())]
    with style():
        figure, panels = plt.subplots(3, 2, figsize=(11, 11.8))
        for axes, (title, draw) in zip(panels.flat, PANELS.items(), strict=True):
            draw(axes, models)
            axes.set_title(title.format(first=both_ends(with_sites(models)[0], 36)))
        handles, labels = panels[0, 0].get_legend_handles_labels()
        if any(not _is_map(layer) for _, _, model in models for layer in model["layers"]):
            handles.append(Line2D([], [], color="0.3", marker="o", markerfacecolor="white", markersize=4, linestyle=""))
            labels.append("not a map (tokens, a vector)")
        legend_below(figure, handles, labels)
        figure.suptitle(_title(summary), fontsize=11)
    return figure


def lie(profiles: Sequence[LieProfile]) -> Figure:
    """What each layer adds to the Lie-derivative error, and how far it is from moving with the image.

    ``profiles`` has one :class:`aliasing.depth.lie.LieProfile` per network.
    """
    summaries = [(profile.model, profile.summary()) for profile in profiles]
    names = names_in({name: {} for name, _ in summaries})
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(12, 4.2))
        titles = {
            "contribution": "What each layer adds: mean ‖c‖² ÷ dim\n(without what is rounding alone)",
            "share": "Its share; the shares add up to 1",
            "unexplained": "Motion that the shift does not explain",
        }
        for axes, (measure, title) in zip(panels, titles.items(), strict=True):
            for index, (name, summary) in enumerate(summaries):
                error = summary["error"]["value"]
                total = "not finite" if error is None else f"{rounded(error, '.3g')} in all"
                look: Any = {"color": colour_of(index), "linewidth": nested(index, len(summaries))}
                _lie_line(axes, summary["layers"], measure, f"{both_ends(names[name], 50)}: {total}", look)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("layers through which everything passes")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y", alpha=0.3)
        panels[0].set_yscale("log")
        panels[1].axhline(0, color="0.5", linewidth=1)
        panels[2].set_ylim(bottom=0)
        legend_below(figure, *panels[0].get_legend_handles_labels())
        images = max(summary["images"] for _, summary in summaries)
        methods = " / ".join(dict.fromkeys(summary["method"] for _, summary in summaries))
        shown = f"{counted(images)}, by {methods}, 95 % intervals"
        figure.suptitle(f"Lie-derivative error (Gruver et al. 2022): {shown}", fontsize=11)
    return figure


def _lie_line(axes: Axes, layers: Sequence[dict[str, Any]], measure: str, label: str, look: Mapping[str, Any]) -> None:
    known = {place: layer[measure] for place, layer in enumerate(layers, 1) if layer[measure] is not None}
    if measure == "contribution":  # mere rounding, or an end at 0, would take most of a logarithmic axis
        least = 1e-9 * max((estimate["value"] for estimate in known.values()), default=0)
        known = {place: estimate for place, estimate in known.items() if estimate["value"] > least}
        known = {
            place: {**one, "low": None if one["low"] is None else max(one["low"], one["value"] / 100)}
            for place, one in known.items()
        }
    values = [estimate["value"] for estimate in known.values()]
    axes.plot([*known], values, "o-", markersize=4, label=label, **look)
    band(axes, [*known], [*known.values()], color=look["color"], alpha=0.2)


def local_errors(found: Sequence[LocalErrors]) -> Figure:
    """What strides, padding, activations, norms and attention each fail to move: sums by kind, and call by call.

    ``found`` has one :class:`aliasing.depth.local.LocalErrors` per network.
    """
    summaries = [(errors.model, errors.summary()) for errors in found]
    looks = {kind: mark for kind, mark in _MARKS.items() if any(kind in summary["kinds"] for _, summary in summaries)}
    names = names_in({name: {} for name, _ in summaries})
    with style():
        figure, (sums, calls) = plt.subplots(1, 2, figsize=(12, 4.4), width_ratios=(1, 1.4))
        width = 0.8 / len(summaries)
        for index, (name, summary) in enumerate(summaries):
            for place, kind in enumerate(looks):
                if kind in summary["kinds"]:
                    estimate = summary["kinds"][kind]["error"]
                    here = place + (index - (len(summaries) - 1) / 2) * width
                    sums.bar(here, estimate["value"], 0.9 * width, color=colour_of(index))
                    if estimate["low"] is not None:
                        sums.vlines(here, max(estimate["low"], 0), estimate["high"], color="0.2", linewidth=1)
            shown = [call for call in summary["calls"] if call["error"]["value"] > _ROUNDING]
            order = {
                name: number for number, name in enumerate(dict.fromkeys(call["name"] for call in summary["calls"]))
            }
            for kind, mark in looks.items():
                chosen = [call for call in shown if call["kind"] == kind]
                points = [order[call["name"]] for call in chosen], [call["error"]["value"] for call in chosen]
                (drawn,) = calls.plot(*points, mark, color=colour_of(index), markersize=5, alpha=0.75)
                tell(drawn, [f"{names[name]}, {call['name']}: {cell(call['error'])}" for call in chosen])
        sums.set_xticks(range(len(looks)), looks, fontsize=8.5)
        sums.set_title("Sum over the calls of a kind", fontsize=10)
        calls.set_title("Each call (above rounding)", fontsize=10)
        calls.set(yscale="log", xlabel="calls in the order of the run")
        calls.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (sums, calls):
            axes.set_ylabel("local equivariance error")
            axes.grid(axis="y", alpha=0.3)
        kinds = [Line2D([], [], color="0.3", marker=mark, linestyle="", markersize=5) for mark in looks.values()]
        networks = [Patch(color=colour_of(index)) for index in range(len(summaries))]
        legend_below(figure, [*networks, *kinds], [*(both_ends(names[name], 50) for name, _ in summaries), *looks])
        images = counted(max(summary["images"] for _, summary in summaries))
        figure.suptitle(f"What each call fails to move when the image moves by a pixel: {images}", fontsize=11)
    return figure


def _title(summary: dict[str, Any]) -> str:
    models = summary["models"].values()
    images = max(model["images"] for model in models)
    exact = all(layer["margin"] in (0, None) for model in models for layer in model["layers"])
    boundary = "exact at the boundary" if exact else "boundary-contaminated, one cell at each side left out"
    protocol = called_protocol(summary["settings"]["protocol"])
    sites = max((site.get("images", images) for model in models for site in model["sites"]), default=images)
    word = word_for(summary["models"])
    shown = counted(images, word) + (f" ({counted(sites, word)} at the sites)" if sites < images else "")
    return f"A shift ({protocol}) against depth: {shown}\n95 % intervals, maps {boundary}"


def _against_depth(axes: Axes, networks: Networks, measure: str, title: str) -> None:
    for number, (name, index, model) in enumerate(networks):
        colour = colour_of(index)
        known = [layer for layer in model["layers"] if layer[measure] and layer[measure]["value"] is not None]
        places = [layer["depth"] for layer in known]
        values = [layer[measure]["value"] for layer in known]
        axes.plot(places, values, line_of(index), color=colour, label=name, linewidth=nested(number, len(networks)))
        for is_map, face in ((True, colour), (False, "white")):
            chosen = [layer for layer in known if _is_map(layer) == is_map]
            points = [layer["depth"] for layer in chosen], [layer[measure]["value"] for layer in chosen]
            (drawn,) = axes.plot(*points, "o", color=colour, markerfacecolor=face, markersize=4)
            tell(drawn, [f"{name}, {layer['name']}: {cell(layer[measure])}" for layer in chosen])
        band(axes, places, [layer[measure] for layer in known], color=colour, alpha=0.2)
    axes.set_ylabel(title)
    axes.set_ylim(bottom=0)
    _mark_sites(axes, networks)


def _is_map(layer: Mapping[str, Any]) -> bool:
    return str(layer["form"]).startswith("map")


def unexplained(axes: Axes, networks: Networks) -> None:
    """How much of each layer's change the shift does not explain."""
    axes.axhline(1, color="0.5", linestyle=":", linewidth=1)
    _against_depth(axes, networks, "unexplained_change", "unexplained change\n(dotted line: all of it)")


def name_layers(axes: Axes, layers: Sequence[Mapping[str, Any]]) -> None:
    """Name the layers on the axis of depth instead of counting them: as many, evenly spaced, as fit side by side.

    The axis ends behind the last of ``layers``.
    """
    axes.set_xlim(0.2, (layers[-1]["depth"] if layers else 1) + 0.8)
    _label_places(axes, {layer["depth"]: layer["name"] for layer in layers})
    axes.set_xlabel("observed layers; ▲ downsampling")


def _label_places(axes: Axes, names: Mapping[int, str]) -> None:
    """Name every n-th place of an axis."""
    texts = {place: both_ends(name, _LONGEST_NAME) for place, name in sorted(names.items())}
    size = plt.rcParams["font.size"]
    figure = axes.get_figure(root=True)
    assert figure is not None
    widest = 0.66 * size * max(map(len, texts.values()), default=1)  # points
    room = 0.85 * 72 * figure.get_figwidth() - widest  # the first and the last name reach half beyond their places
    every = max(1, ceil((max(texts, default=0) - min(texts, default=0)) * widest / room))
    axes.set_xticks([*texts][::every], [plain(text) for text in texts.values()][::every], fontsize=size)


def _mark_sites(axes: Axes, networks: Networks) -> None:
    """Draw a triangle on the lower edge for each site, and a line if all networks have the same sites."""
    found = [(index, sorted({site["depth"] + 0.5 for site in model["sites"]})) for _, index, model in networks]
    alike = all(places == found[0][1] for _, places in found)
    for row, (index, places) in enumerate(found[:1] if alike else found):
        if not places:  # an empty line that is not clipped would take room at the figure's corner
            continue
        axes.plot(
            places,
            [0.015 + 0.03 * row] * len(places),
            "^",
            color="black" if alike and len(found) > 1 else colour_of(index),
            markersize=6,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=3,
        )
        if alike:
            for place in places:
                axes.axvline(place, color="0.85", linewidth=1, zorder=0)
    axes.set_xlim(0.2, max(len(model["layers"]) for _, _, model in networks) + 0.8)  # no tick beside the layers
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("depth (observed layers); ▲ downsampling")
    axes.grid(axis="y", alpha=0.3)


def _aliasing(axes: Axes, networks: Networks) -> None:
    apart = min(0.3, 0.8 / len(networks))  # so that the marks of a site stay between its neighbours
    missing = False
    for row, (name, index, model) in enumerate(networks):
        colour = colour_of(index)
        marks = ("energy_above", "s", "white", 0.0), ("alias_fraction", "o", colour, apart / 2)
        for measure, marker, face, shift in marks:
            known = [site for site in model["sites"] if site[measure] is not None]
            missing = missing or len(known) < len(model["sites"])
            values, errors = spans(site[measure] for site in known)
            drawn = axes.errorbar(
                [site["depth"] + 0.5 + shift + apart * row for site in known],
                values,
                yerr=errors,
                fmt=marker,
                color=colour,
                markerfacecolor=face,
                capsize=2,
                markersize=5,
            )
            title = measure.replace("_", " ")
            tell(drawn.lines[0], [f"{name}, {site['name']}: {title} {cell(site[measure])}" for site in known])
    _mark_sites(axes, networks)
    axes.set_ylim(0, None)
    axes.set_ylabel("share of the energy")
    if missing:
        axes.set_ylabel("share of the energy\n(no mark: no spectrum there)")


def with_sites(networks: Networks) -> tuple[str, int, dict[str, Any]]:
    """The first network whose downsampling sites are known; the first of all if there is none."""
    return next((network for network in networks if network[2]["sites"]), networks[0])


def _spectra(axes: Axes, networks: Networks) -> None:
    """The spectra in front of each site of the first network that has some."""
    model = with_sites(networks)[2]
    if not model["sites"]:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no downsampling sites are known", ha="center", va="center", transform=axes.transAxes)
        return
    sites = [site for site in model["sites"] if site["spectrum"] is not None]
    colours, each = plt.get_cmap("viridis"), -(-len(sites) // _MOST_SITES_NAMED)
    longest = 16 if axes.figure.bbox.width < 4 * axes.figure.dpi else 24  # two columns fit a phone
    for index, site in enumerate(sites):
        rings = zip(site["spectrum"]["frequency"], site["spectrum"]["power"], strict=True)
        known = {frequency: power for frequency, power in rings if power is not None and power["value"] > 0}
        colour = colours(0.25 + 0.6 * index / max(len(sites) - 1, 1))  # not too dark or too pale for a page
        label = None if index % each else plain(both_ends(site["name"], longest))
        look: Any = {"color": colour, "linewidth": 1.3 if index % 2 else 3.2}  # a block and its shortcut often coincide
        axes.plot([*known], [power["value"] for power in known.values()], "-", label=label, **look)
        bounded = {frequency: power for frequency, power in known.items() if (power["low"] or 0) > 0}
        band(axes, [*bounded], [*bounded.values()], color=colour, alpha=0.15)
    for number, stride in enumerate(sorted({step for site in sites for step in site["stride"] if step > 1})):
        said = "_" if number else "new Nyquist frequency"
        axes.axvline(1 / (2 * stride), color="0.5", linestyle=":", linewidth=1, label=said)
    axes.axhline(1, color="0.85", linewidth=1)
    axes.set_yscale("log")
    axes.set_xlim(0, 0.5)
    axes.set_xlabel("frequency, cycles per cell")
    axes.set_ylabel("mean power ÷\nthat of white noise")
    if sites:
        title = None if each == 1 else f"every {each}th is named"
        key: Any = {"fontsize": 8.5, "title_fontsize": 8.5, "title": title, "ncols": 2, "handlelength": 1.2}
        below = axes.transAxes + ScaledTranslation(0, -34 / 72, axes.figure.dpi_scale_trans)  # the label of the axis
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, **key)


def _receptive_fields(axes: Axes, networks: Networks) -> None:
    for number, (_, index, model) in enumerate(networks):
        look: Any = {"color": colour_of(index), "linewidth": nested(number, len(networks))}
        known = [
            (layer["depth"], (layer["receptive_field"] or [None])[0], layer["cumulative_stride"][0])
            for layer in model["layers"]
            if layer["cumulative_stride"] is not None
        ]
        fields = [(place, field) for place, field, _ in known if isinstance(field, int | float)]
        axes.plot([place for place, _ in fields], [field for _, field in fields], "-", **look)
        axes.plot([place for place, _, _ in known], [stride for _, _, stride in known], "--", **look)
    # The fields are measured along the first axis, down an image, so its size bounds them.
    for size in sorted({np.ravel(model["input_size"])[0] for _, _, model in networks}):
        axes.axhline(size, color="0.5", linestyle=":", linewidth=1)
    _mark_sites(axes, networks)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    word = word_for({name: model for name, _, model in networks})
    axes.set_ylabel({"image": "pixels", "volume": "samples along D"}.get(word, "samples"))


PANELS: dict[str, Panel] = {
    "Invariance: how far do the averaged features move?": partial(
        _against_depth, measure="relative_change", title="relative change"
    ),
    "Equivariance: how far is the map from the moved map?": partial(
        _against_depth, measure="equivariance_error", title="equivariance error (2: unrelated)"
    ),
    "How much of the map's change does the shift not explain?": unexplained,
    "Aliasing: energy at and above the new Nyquist\nfrequency, □ in front of a site, ● of what is subsampled": (
        _aliasing
    ),
    "Spectrum in front of each site: {first}": _spectra,
    "Receptive field (—), cumulative stride (- -), input size (⋯)": _receptive_fields,
}
"""The panels of :func:`depth` by what they show; one that shows the first network only has ``{first}`` in its title."""
