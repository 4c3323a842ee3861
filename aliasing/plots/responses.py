"""Figures of what subsampling does to a wave and to its frequency, and of filters in front of it: all closed forms."""

from __future__ import annotations  # signatures in help() are as short as here

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from aliasing import filters, sampling
from aliasing.axes import whole
from aliasing.errors import UsageError
from aliasing.plots.style import COLOURS, colour_of, legend_below, line_of, percent, plain, style
from aliasing.rounding import rounded
from aliasing.tables import counted

_FREQUENCIES = 1025  # from 0 to 1/2: finer than the pixels of the figure
_SIZE = (5.6, 3.6)
_ROUNDING = 1e-12  # of a filter whose taps sum to one: far above the rounding of their sum, far below what is seen


def alias(
    frequency: float,
    stride: int,
    rate: float | None = None,
    phase: int = 0,
    taps: str | ArrayLike | None = None,
) -> Figure:
    r"""A cosine, the samples of it that are kept, and its alias: the slower wave that has the same samples.

    .. math:: \cos(2\pi f n) = \cos(2\pi f' (n - k) + 2\pi f k) \quad\text{at}\quad n = k, k + s, k + 2s, \dots

    with *n* a sample of the original, *s* the stride, *k* the phase and *f'* the frequency to which *f* folds
    (`aliasing.sampling.fold`). Both are in cycles per sample of the original, as ``fold`` has them with ``rate=1``;
    with a rate they are in hertz, and *n* is a time in seconds.

    Parameters
    ----------
    frequency : float
        At least 0; in hertz with a rate, otherwise in cycles per sample of the original.
    stride : int
        At least 1. With stride 1 a frequency above 1/2 folds, as when a signal is recorded.
    rate : float, optional
        Samples of the original per second; the time is then in seconds.
    phase : int
        The first sample that is kept, 0 … stride − 1, as in `aliasing.sampling.subsample`.
    taps : str or array_like, optional
        A low-pass filter before the subsampling, as in `aliasing.filters.get_taps`: the cosine behind it is drawn,
        sampled and folded. Its amplitude is the gain :math:`|H(f)|` at this one frequency, and an even number of taps
        moves it by half a sample (`aliasing.filters.delay`).

    Returns
    -------
    matplotlib.figure.Figure
        A line for the cosine, one for what a filter leaves of it, one for its alias if it has one, and the samples. The
        legend and the title give each frequency with its unit. On the new Nyquist frequency itself, which
        `aliasing.sampling.decompose` counts as alias, the samples are the cosine's at one phase and zero at another.

    Raises
    ------
    UsageError
        If ``stride`` or ``phase`` is not a whole number in its range, or ``frequency`` or ``rate`` is out of its own.

    See Also
    --------
    folding : Where each frequency is after subsampling.

    Examples
    --------
    >>> wave, alias_of_it, samples = alias(0.375, stride=2).axes[0].lines
    >>> alias_of_it.get_label(), samples.get_xdata()[:3].tolist()
    ('its alias, 0.125 cycles per original sample', [0.0, 2.0, 4.0])
    >>> alias(0.375, stride=2, taps="binomial4").axes[0].lines[1].get_label()
    'behind the filter, 0.056 of its amplitude'
    """
    per_second = 1.0 if rate is None else rate
    unit = "cycles per original sample" if rate is None else "Hz"
    step = whole(stride, "stride, along one axis,")
    if not (np.isfinite(frequency) and frequency >= 0):
        raise UsageError(f"frequency is {frequency!r}; expected a number of at least 0, in {unit}")
    if whole(phase, "phase", 0) >= step:
        raise UsageError(f"phase is {phase}; expected 0 … {step - 1}, because the stride is {step}")
    folded = float(sampling.fold(frequency, stride, per_second))
    is_kept = np.isclose(abs(folded), frequency)
    # Two periods of the slower wave, where that is neither too few samples nor too many periods of the faster one.
    fewest, most = 6 * step, max(24 * per_second / max(frequency, 1e-12), 3 * step)
    length = min(max(2 * per_second / max(abs(folded), 1e-12), fewest), most, 24 * step)
    kept = np.arange(phase, length + 1e-9, step) / per_second
    time = np.linspace(0, length, _FREQUENCIES) / per_second
    with style():
        figure, axes = plt.subplots(figsize=(8, 3.2))
        axes.plot(time, np.cos(2 * np.pi * frequency * time), color="0.6", label=f"a cosine of {frequency:g} {unit}")
        gain = 1.0 + 0j  # complex, because a filter of even length delays by half a sample
        if taps is not None:
            numbers = filters.get_taps(taps, step)
            gain = complex(filters.response(numbers, frequency / per_second))
            if abs(gain) < _ROUNDING:
                gain = 0j
            name = taps if isinstance(taps, str) else counted(len(numbers), "tap")
            left: Any = {
                "color": "0.4",
                "linestyle": "--",
                "label": f"behind the filter, {rounded(abs(gain), '.2g')} of its amplitude",
            }
            axes.plot(time, _wave(frequency * time, gain), **left)
        if not is_kept:
            turns = folded * (time - kept[0]) + frequency * kept[0]
            axes.plot(time, _wave(turns, gain), color=COLOURS[1], label=f"its alias, {abs(folded):g} {unit}")
        look: Any = {"color": COLOURS[0], "zorder": 3, "clip_on": False, "label": "samples kept"}
        axes.plot(kept, _wave(frequency * kept, gain), "o", **look)
        axes.set(xlabel="samples of the original" if rate is None else "seconds", ylabel="value", xlim=time[[0, -1]])
        what = f"{frequency:g} {unit} is kept" if is_kept else f"{frequency:g} folds to {abs(folded):g} {unit}"
        behind = "" if taps is None else f", behind {name}"
        title = f"{what} with stride {step}{behind}"
        nyquist = sampling.nyquist(step, per_second)
        if np.isclose(abs(folded), nyquist):
            where = "lies on" if is_kept else f"folds to {nyquist:g},"
            operation = f"stride {step}{behind}," if behind else f"stride {step}"
            title = (
                f"{frequency:g} {unit} {where} the new Nyquist frequency:\n"
                f"with {operation} what is left depends on the phase"
            )
        axes.set_title(title)
        axes.grid(alpha=0.3)
        legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def _wave(turns: NDArray[np.float64], gain: complex) -> NDArray[np.float64]:
    """A cosine behind a filter whose complex gain is given, at these numbers of turns."""
    return np.asarray((gain * np.exp(2j * np.pi * turns)).real)


def folding(stride: int, rate: float | None = None, frequencies: ArrayLike = ()) -> Figure:
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
    frequencies : float or array_like of float
        Frequencies to mark, at least 0; the legend says where each is found. One above the original's Nyquist frequency
        has folded already when the original was sampled.

    Returns
    -------
    matplotlib.figure.Figure
        A line for what stays and one for what folds, the new Nyquist frequency, and the marks.

    Raises
    ------
    UsageError
        If ``stride`` is not a whole number of at least 1, ``rate`` is not a positive number, or one of ``frequencies``
        is negative or not finite.

    See Also
    --------
    alias : A cosine, its samples, and the wave that it becomes.

    Examples
    --------
    >>> stays, folds, *_ = folding(4).axes[0].lines
    >>> folds.get_xdata().tolist(), folds.get_ydata().tolist()
    ([0.125, 0.25, 0.375, 0.5], [0.125, 0.0, 0.125, 0.0])
    >>> folding(2, frequencies=0.375).axes[0].lines[-1].get_label()
    '0.375 is found at 0.125'
    >>> folding(1, 8000, 7000).axes[0].lines[-1].get_label()
    '7000 is found at 1000'
    """
    of_original = 1.0 if rate is None else rate
    nyquist = sampling.nyquist(stride, of_original)
    before_it = sampling.nyquist(1, of_original)
    marked = np.atleast_1d(np.asarray(frequencies, dtype=np.float64))
    for wrong in marked[~(np.isfinite(marked) & (marked >= 0))]:
        raise UsageError(f"frequency {wrong:g} cannot be marked; expected a number of at least 0")
    highest = max([before_it, *(1.05 * marked[marked > before_it])])
    unit = "cycles per sample of the original" if rate is None else "Hz"
    with style():
        figure, axes = plt.subplots(figsize=_SIZE)
        zigzag(axes, stride, of_original, highest)
        if stride > 1:
            axes.axvline(nyquist, color="0.5", linestyle=":", label=f"new Nyquist frequency, {nyquist:g}")
        if stride == 1 or highest > before_it:
            axes.axvline(before_it, color="0.5", label=f"Nyquist frequency of the original, {before_it:g}")
        found = abs(sampling.fold(marked, stride, of_original))
        for number, (before, after) in enumerate(zip(marked, found, strict=True)):
            look: Any = {"color": colour_of(number + 2), "label": f"{before:g} is found at {after:g}"}
            axes.plot([before, before, 0], [0, after, after], "o--", markevery=[1], clip_on=False, zorder=4, **look)
        axes.set(ylim=(0, 1.1 * nyquist), xlabel=f"frequency before, {unit}")
        axes.set_ylabel(f"frequency after,\n{unit}")
        axes.set_title(f"where each frequency is after {f'subsampling by {stride}' if stride > 1 else 'sampling'}")
        axes.grid(alpha=0.3)
        legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def zigzag(axes: Axes, stride: int, rate: float, highest: float | None = None) -> None:
    """Draw at which frequency each is found after subsampling, from 0 to ``highest``, or the Nyquist frequency."""
    nyquist = float(sampling.nyquist(stride, rate))
    end = stride if highest is None else highest / nyquist
    corners = nyquist * np.array([*range(math.ceil(end - 1e-9)), end])
    found = abs(sampling.fold(corners, stride, rate))
    axes.plot(corners[:2], found[:2], color=COLOURS[0], linewidth=2, label="stays")
    axes.plot(corners[1:], found[1:], color=COLOURS[1], linewidth=2, label="folds" if len(corners) > 2 else "_")
    axes.set_xlim(0, corners[-1])


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
        A line for each filter (`aliasing.filters.response`), from 0 to 1/2 cycles per sample of the original; what
        passes in the shaded part folds. The gain is what is left of a wave's amplitude. The legend says how much of the
        energy of white noise above the new Nyquist frequency passes (`aliasing.filters.stopband_share`).

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
    'binomial4, 4 taps: 2.1 % of the energy above passes'
    """
    nyquist, frequency = sampling.nyquist(stride), np.linspace(0, 0.5, _FREQUENCIES)
    with style():
        figure, axes = plt.subplots(figsize=_SIZE)
        for number, (name, given) in enumerate(_named(taps).items()):
            found = filters.get_taps(given, stride)
            label = f"{plain(name)}, {counted(len(found), 'tap')}"
            if stride > 1:
                share = filters.stopband_share(found, stride) / (1 - 1 / stride)
                label += f": {percent(share)} of the energy above passes"
            look: Any = {"color": colour_of(number), "linestyle": line_of(number), "label": label}
            axes.plot(frequency, abs(filters.response(found, frequency)), **look)
        axes.axvspan(nyquist, 0.5, color="0.5", alpha=0.12, linewidth=0)
        axes.axvline(nyquist, color="0.5", linestyle=":", label=f"new Nyquist frequency, {nyquist:g}")
        axes.set(
            xlim=(0, 0.5), xlabel="frequency, cycles per sample of the original", ylabel="gain of the amplitude, |H(f)|"
        )
        axes.set_ylim(bottom=0)
        axes.set_title(f"low-pass filters before subsampling by {stride}")
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
