"""Figures of resamplers: gain and what folds, where output samples sit, and a zone plate through each."""

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.plots.style import COLOURS, colour_of, legend_below, line_of, percent, plain, style
from aliasing.tables import pair

if TYPE_CHECKING:
    from aliasing.resamplers.characteristics import Characteristics

_FREQUENCIES = np.linspace(0, 0.5, 513)
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
    'frequency, cycles per sample'
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
            gain.axvline(edge, color="0.5", linestyle=":", label=f"new Nyquist frequency, {edge:.3g}")
        gain.set(xlim=(0, 0.5), xlabel="frequency, cycles per sample", ylabel="gain |H(f)|", ylim=(0, None))
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
        axes.imshow(zone, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title("a zone plate through it")
