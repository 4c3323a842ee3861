"""The figure of `aliasing spectrum` on a sound: spectrograms of what is kept and what has folded, and their power."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from aliasing.downsample.sound_spectra import FLOOR, SoundLook, SoundSpectra
from aliasing.downsample.spectra import Profile
from aliasing.plots.responses import zigzag
from aliasing.plots.style import COLOURS, baseband_kept, in_two_lines, input_name, percent, style
from aliasing.rounding import rounded

LEAST = 1e-9  # of the largest power that is drawn


def sound(spectra: SoundSpectra) -> Figure:
    """Draw a sound before and after each downsampling operator.

    Parameters
    ----------
    spectra : SoundSpectra
        As `aliasing.compare_operators` finds them for a sound (``result.spectra``).

    Returns
    -------
    matplotlib.figure.Figure
        A row for the original and for each operator. Left: the spectrogram of its samples. Middle: that of the part
        which has folded, on the same scale; for the original, where each frequency goes. Right: Welch's averaged power
        of the two.
    """
    original, *others = spectra.looks
    with style():
        figure, grid = plt.subplots(
            len(spectra.looks),
            3,
            figsize=(11, 0.9 + 2.3 * len(spectra.looks)),
            squeeze=False,
            width_ratios=[1.2, 1.2, 1.15],
        )
        image = _spectrogram(grid[0][0], original.spectrogram, spectra, spectra.highest)
        unit, hertz = spectra.unit
        rate = "" if spectra.rate is None else f", {spectra.rate / hertz:g} {unit}"
        time = "samples" if spectra.rate is None else "seconds"
        grid[0][0].axhline(spectra.nyquist / hertz, color="white", linewidth=1.2, linestyle="--")
        grid[0][0].set_title(f"{input_name(spectra.sound, 'sound')}{rate}")
        _folding(grid[0][1], spectra)
        _power(grid[0][2], original, spectra)
        for panels, look in zip(grid[1:], others, strict=True):
            assert look.folded is not None
            _spectrogram(panels[0], look.spectrogram, spectra, spectra.nyquist)
            _spectrogram(panels[1], look.folded, spectra, spectra.nyquist)
            panels[0].set_title(look.label)
            above = "" if look.above_kept is None else f"\n{percent(look.above_kept)} of what was above"
            panels[1].set_title(
                f"of it, folded: {rounded(100 * (look.alias_fraction or 0), '.2f')} % of its energy{above}"
            )
            _power(panels[2], look, spectra)
        for panels in grid:
            panels[0].set_ylabel(in_two_lines(unit, 18))
            panels[2].set_ylabel("power" if spectra.rate is None else "power per hertz")
        for axes in grid[-1][:2]:
            axes.set_xlabel(time)
        grid[-1][2].set_xlabel(unit)
        highest = max(axes.get_ylim()[1] for axes in grid[:, 2])
        for axes in grid[:, 2]:
            axes.set_ylim(LEAST * highest, highest)
        if others:
            grid[1][2].legend(fontsize=8.5, loc="lower right")
        bar = figure.colorbar(
            image, ax=grid[:, :2].ravel().tolist(), location="bottom", pad=0.02, shrink=0.5, aspect=40
        )
        bar.set_label("dB below the original's peak")
        return figure


def _spectrogram(axes: Axes, decibels: NDArray[np.float64], spectra: SoundSpectra, highest: float) -> AxesImage:
    """A spectrogram of decibels that all rows share, so that a band that is gone is seen to be gone."""
    highest /= spectra.unit[1]
    extent = (0.0, spectra.seconds, 0.0, highest)
    shown = axes.imshow(
        decibels,
        norm=Normalize(FLOOR, 0),
        cmap="magma",
        extent=extent,
        origin="lower",
        aspect="auto",
        interpolation="antialiased",
    )
    axes.set_ylim(0, highest)
    return shown


def _folding(axes: Axes, spectra: SoundSpectra) -> None:
    """Where each frequency goes."""
    unit, hertz = spectra.unit
    edge, highest = spectra.nyquist / hertz, spectra.highest / hertz
    zigzag(axes, spectra.stride, 2 * highest)
    axes.set(title="where each frequency goes", xlabel=f"before, {unit}", ylim=(0, 1.25 * edge))
    axes.set_ylabel(in_two_lines(f"after, {unit}", 20))
    axes.text(edge / 2, 1.08 * edge, "stays", color=COLOURS[0], ha="center")
    axes.text((edge + highest) / 2, 1.08 * edge, "folds", color=COLOURS[1], ha="center")


def _power(axes: Axes, look: SoundLook, spectra: SoundSpectra) -> None:
    """Welch's averaged power: of the sound, with what folds shaded; or of an operator's baseband and alias."""
    parts_of_power(axes, look.power, spectra.nyquist, spectra.highest, unit=spectra.unit[1])
    if look.folded is None:
        axes.set_title("power of the original")
    else:
        axes.set_title("no baseband to keep" if look.baseband_kept is None else baseband_kept(look.baseband_kept))


def parts_of_power(axes: Axes, power: Mapping[str, Profile], edge: float, highest: float, unit: float = 1) -> None:
    """Draw power by frequency, with what folds shaded; or baseband and alias, with nothing above ``edge``."""
    strongest = max(mean for profile in power.values() for _, mean in profile)
    for part, colour in (("power", COLOURS[6]), ("baseband", COLOURS[0]), ("alias", COLOURS[1])):
        if part in power:
            frequency, mean = zip(*power[part], strict=True)
            seen = np.where(np.array(mean) > LEAST * strongest, mean, np.nan)  # the rest is rounding
            axes.semilogy(np.array(frequency) / unit, seen, color=colour, label=part)
    if edge < highest:
        said, shade, high = ("folds", COLOURS[1], 0.08) if "power" in power else ("nothing above", "0.35", 0.4)
        axes.axvspan(edge / unit, highest / unit, color=shade, alpha=0.12, linewidth=0)
        middle: Any = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "center", "fontsize": 8.5}
        axes.text((edge + highest) / 2 / unit, high, said, color=shade, **middle)
    axes.set_xlim(0, highest / unit)  # of all rows, so that one sees where the samples' frequencies end
