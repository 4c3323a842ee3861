"""Figures of resamplers: gain and what folds, where output samples sit, and a zone plate through each."""

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.plots.style import COLOURS, both_ends, colour_of, legend_below, line_of, percent, plain, style
from aliasing.rounding import rounded
from aliasing.tables import counted, pair

if TYPE_CHECKING:
    from aliasing.resamplers.characteristics import Characteristics
    from aliasing.resamplers.survey import ResamplerSurvey

_FREQUENCIES = np.linspace(0, 0.5, 513)
_DTYPES = {"uint8": "u8", "float32": "f32", "float64": "f64"}
_DIRECTIONS = {1: ("",), 2: ("down", "across"), 3: ("D", "H", "W")}


def resampler(found: "Characteristics") -> Figure:
    """What a resampler does along each axis.

    Parameters
    ----------
    found : Characteristics
        From `aliasing.resamplers.characterise`.

    Returns
    -------
    matplotlib.figure.Figure
        The gain, shaded where it folds; the offset of each output sample; and what becomes of a zone plate, or of a
        rising tone, whose rings have the Nyquist frequency at the edge: rings about other centres have folded.

    Examples
    --------
    >>> from aliasing.resamplers import characterise
    >>> figure = resampler(characterise(lambda x, shape: x[::2, ::2], 2))
    >>> figure.axes[0].get_xlabel()
    'frequency, cycles per input sample'
    """
    with style():
        figure, panels = plt.subplots(1, 2 if found.zone is None else 3, figsize=(10.5, 3.7))
        gain, offset = panels[:2]
        for number, (weights, direction) in enumerate(zip(found.along, _DIRECTIONS[len(found.along)], strict=True)):
            if number and found.alike:
                break
            look: Any = {"color": colour_of(number), "linestyle": line_of(number)}
            label = f"{'' if found.alike else direction} {percent(weights.folded)} of what is above folds".strip()
            gain.plot(_FREQUENCIES, found.gain(_FREQUENCIES, number), label=label, **look)
            offset.plot(weights.places, weights.offsets, marker=".", markersize=4, **look)
        gain.axvspan(1 / (2 * max(found.reduction)), 0.5, color="0.5", alpha=0.12, linewidth=0)
        for edge in sorted({1 / (2 * reduction) for reduction in found.reduction}):
            gain.axvline(edge, color="0.5", linestyle=":", label=f"new Nyquist frequency, {rounded(edge, '.3g')}")
        gain.set(xlim=(0, 0.5), xlabel="frequency, cycles per input sample", ylabel="gain |H(f)|", ylim=(0, None))
        offset.set(xlabel="place in the input, samples", ylabel="offset, samples")
        widest = max(1.2 * max(float(np.nanmax(abs(weights.offsets))) for weights in found.along), 0.05)
        offset.set_ylim(-widest, widest)
        if found.zone is not None:
            _zone(panels[2], found.zone)
        for axes in (gain, offset):
            axes.grid(alpha=0.3)
        figure.suptitle(f"{plain(found.name)}, {found.dtype}, reduced by {pair(found.reduction)}")
        legend_below(figure, *gain.get_legend_handles_labels())
    return figure


def _zone(axes: Axes, zone: Any) -> None:
    """A zone plate, or a rising tone, after the resampler."""
    if zone.ndim == 1:
        axes.plot(zone, color=COLOURS[0], linewidth=1)
        axes.set(ylim=(-1.3, 1.3), xlabel="output sample", title="a tone that rises to 1/2")
    else:
        axes.imshow(zone, cmap="gray", vmin=-1, vmax=1)
        axes.set_axis_off()
        axes.set_title("a zone plate through it")


def resamplers(found: "ResamplerSurvey") -> Figure:
    """Many resamplers, a row each, those that fold most first.

    Parameters
    ----------
    found : ResamplerSurvey
        From `aliasing.resamplers.survey.survey`.

    Returns
    -------
    matplotlib.figure.Figure
        In each row the name; the gain from 0 to 1/2, in another colour above the new Nyquist frequency, where it folds;
        the share that folds; the offsets of output samples; and a zone plate, or a rising tone, through it.

    Examples
    --------
    >>> from aliasing.resamplers.survey import survey
    >>> [axes.get_title() for axes in resamplers(survey(["numpy-slice"])).axes]
    ['gain', 'folds', 'offset, samples', 'zone plate']
    """
    rows = found.rows
    with style():
        figure, panels = plt.subplots(
            1, 4, figsize=(10.5, 1.3 + 0.36 * len(rows)), width_ratios=[2.6, 1.1, 1.5, 0.62], sharey=True
        )
        gain, share, offset, zone = panels
        for number, row in enumerate(rows):
            _row(gain, number, np.array(row["gain"]), row["reduction"])
            share.text(1.04, number, percent(row["folded"]), va="center", fontsize=8)
            _offsets(offset, number, row)
            plate = found.zones.get(f"{row['name']}, {row['dtype']}")
            if plate is not None:
                _small_zone(zone, number, np.asarray(plate))
        share.barh(range(len(rows)), [min(row["folded"], 1) for row in rows], height=0.6, color=COLOURS[1])
        names = [both_ends(plain(f"{row['name']}  {_DTYPES[row['dtype']]}"), 44) for row in rows]
        gain.set_yticks(range(len(rows)), names, fontsize=8)
        gain.set(xlim=(0, 0.5), ylim=(len(rows) - 0.4, -0.6), xlabel="cycles per input sample", title="gain")
        share.set(xlim=(0, 1), title="folds", xticks=[0, 1], xticklabels=["0", "100 %"])
        widest = max([2.0, *(abs(row[end] or 0) for row in rows for end in ("offset_low", "offset_high"))])
        offset.set(xlim=(-1.1 * widest, 1.1 * widest), title="offset, samples")
        offset.axvline(0, color="0.6", linewidth=0.8, zorder=0)
        zone.set_title("zone plate", fontsize=10)
        zone.set(xlim=(0, 1), xticks=[])
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        zone.spines["bottom"].set_visible(False)
        figure.suptitle(f"{counted(len(rows), 'resampler')}, reduced by {found.settings['reduction']:g}")
    return figure


def _row(axes: Axes, number: int, gain: Any, reduction: str) -> None:
    """A gain as a small area over its row, which is one high; above the new Nyquist frequency in another colour."""
    frequency = np.linspace(0, 0.5, len(gain))
    top = number + 0.4 - 0.8 * gain.clip(0, 1.2)
    edge = 1 / (2 * float(reduction.split("×")[0]))
    for part, colour in ((frequency <= edge + 1e-9, COLOURS[0]), (frequency >= edge - 1e-9, COLOURS[1])):
        axes.fill_between(frequency[part], number + 0.4, top[part], color=colour, linewidth=0)
    axes.axhline(number + 0.4, color="0.85", linewidth=0.5, zorder=0)
    axes.plot([edge, edge], [number - 0.45, number + 0.4], color="0.4", linewidth=0.7)


def _offsets(axes: Axes, number: int, row: Any) -> None:
    low, high = row["offset_low"], row["offset_high"]
    if low is not None:  # what is not linear may have none
        axes.plot([low, high], [number, number], color=COLOURS[0], linewidth=2)
        axes.plot([(low + high) / 2], [number], "o", color=COLOURS[0], markersize=3.5)
    axes.axhline(number + 0.4, color="0.85", linewidth=0.5, zorder=0)


def _small_zone(axes: Axes, number: int, plate: Any) -> None:
    if plate.ndim == 1:
        place = np.linspace(0.03, 0.97, len(plate))
        axes.plot(place, number - 0.35 * plate.clip(-1.2, 1.2), color=COLOURS[0], linewidth=0.6)
    else:
        extent = (0.22, 0.78, number + 0.46, number - 0.46)
        axes.imshow(plate, cmap="gray", vmin=-1, vmax=1, interpolation="antialiased", extent=extent, aspect="auto")
