"""Figures of what subsampling does to a frequency, and of filters in front of it: both are closed forms."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from aliasing import filters, sampling
from aliasing.plots.style import COLOURS, colour_of, legend_below, line_of, percent, plain, style
from aliasing.tables import counted

_FREQUENCIES = 1025  # from 0 to 1/2: finer than the pixels of the figure
_SIZE = (5.6, 3.6)


def folding(stride: int, rate: float | None = None) -> Figure:
    r"""The frequency at which each frequency appears after subsampling: a zig-zag.

    .. math:: |f'| = \left| f - \frac{1}{s} \left\lfloor s f + \tfrac12 \right\rfloor \right|

    with *s* the stride and both frequencies in cycles per sample of the original (`aliasing.sampling.fold`): those
    below the new Nyquist frequency 1/(2s) stay where they are, and all others fold onto them.

    Parameters
    ----------
    stride : int
        At least 1; with stride 1 nothing folds.
    rate : float, optional
        Samples of the original per second; frequencies are then in hertz.

    Returns
    -------
    matplotlib.figure.Figure
        A line for what stays and one for what folds, and the new Nyquist frequency.

    Raises
    ------
    UsageError
        If ``stride`` is not a whole number of at least 1, or ``rate`` is not a positive number.

    Examples
    --------
    >>> stays, folds, *_ = folding(4).axes[0].lines
    >>> folds.get_xdata().tolist(), folds.get_ydata().tolist()
    ([0.125, 0.25, 0.375, 0.5], [0.125, 0.0, 0.125, 0.0])
    """
    of_original = 1.0 if rate is None else rate
    nyquist = sampling.nyquist(stride, of_original)
    unit = "cycles per sample of the original" if rate is None else "Hz"
    with style():
        figure, axes = plt.subplots(figsize=_SIZE)
        zigzag(axes, stride, of_original)
        axes.axvline(nyquist, color="0.5", linestyle=":", label=f"new Nyquist frequency, {nyquist:g}")
        axes.set(ylim=(0, 1.1 * nyquist), xlabel=f"frequency before, {unit}")
        axes.set_ylabel(f"frequency after,\n{unit}")
        axes.set_title(f"where each frequency is after subsampling by {stride}")
        axes.grid(alpha=0.3)
        legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def zigzag(axes: Axes, stride: int, rate: float) -> None:
    """Draw at which frequency each is found after subsampling, from 0 to the Nyquist frequency."""
    corners = sampling.nyquist(stride, rate) * np.arange(stride + 1)
    found = abs(sampling.fold(corners, stride, rate))
    axes.plot(corners[:2], found[:2], color=COLOURS[0], linewidth=2, label="stays")
    axes.plot(corners[1:], found[1:], color=COLOURS[1], linewidth=2, label="folds")
    axes.set_xlim(0, sampling.nyquist(1, rate))


def response(taps: str | ArrayLike | Sequence[str] | Mapping[str, str | ArrayLike], stride: int = 2) -> Figure:
    r"""The gain :math:`|H(f)|` of low-pass filters, with the new Nyquist frequency.

    Parameters
    ----------
    taps : str, array_like of float, sequence of str, or mapping of str to str or array_like
        A filter (as for `aliasing.filters.get_taps`), several names, or several filters by what they are called.
    stride : int
        To which named filters are stretched; it sets the new Nyquist frequency 1/(2·stride).

    Returns
    -------
    matplotlib.figure.Figure
        A line for each filter (`aliasing.filters.response`), from 0 to 1/2 cycles per sample; what passes in the shaded
        part folds. The legend says how much of white noise above the new Nyquist frequency does
        (`aliasing.filters.stopband_share`).

    Raises
    ------
    UsageError
        If there is no such filter, or ``stride`` is not a whole number of at least 1.

    Examples
    --------
    >>> first, second, *_ = response(["binomial3", "binomial4"]).axes[0].lines
    >>> frequency, gain = first.get_data()
    >>> bool(np.allclose(gain, np.cos(np.pi * frequency) ** 2))
    True
    >>> second.get_label()
    'binomial4, 4 taps: 2.1 % of what is above folds'
    """
    nyquist, frequency = sampling.nyquist(stride), np.linspace(0, 0.5, _FREQUENCIES)
    with style():
        figure, axes = plt.subplots(figsize=_SIZE)
        for number, (name, given) in enumerate(_named(taps).items()):
            found = filters.get_taps(given, stride)
            label = f"{plain(name)}, {counted(len(found), 'tap')}"
            if stride > 1:
                share = filters.stopband_share(found, stride) / (1 - 1 / stride)
                label += f": {percent(share)} of what is above folds"
            look: Any = {"color": colour_of(number), "linestyle": line_of(number), "label": label}
            axes.plot(frequency, abs(filters.response(found, frequency)), **look)
        axes.axvspan(nyquist, 0.5, color="0.5", alpha=0.12, linewidth=0)
        axes.axvline(nyquist, color="0.5", linestyle=":", label=f"new Nyquist frequency, {nyquist:g}")
        axes.set(xlim=(0, 0.5), xlabel="frequency, cycles per sample", ylabel="gain |H(f)|")
        axes.set_ylim(bottom=0)
        axes.set_title(f"filters in front of stride {stride}")
        axes.grid(alpha=0.3)
        legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def _named(taps: Any) -> dict[str, Any]:
    """The filters by name."""
    if isinstance(taps, Mapping):
        return dict(taps)
    if isinstance(taps, str):
        return {taps: taps}
    given = list(taps)
    return {name: name for name in given} if given and isinstance(given[0], str) else {"taps as given": given}
