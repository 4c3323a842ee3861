"""The figure of the signal core: pictures, their spectra with what folds, and baseband against alias."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from aliasing import sampling
from aliasing import spectrum as spectra
from aliasing.downsample.comparison import Comparison
from aliasing.plots.style import COLOURS, style

_FLOOR = -100.0  # decibels below the brightest frequency of the original


def spectrum(picture: NDArray[np.float64], results: Sequence[Comparison], stride: int) -> Figure:
    """Draw a picture and what operators make of it.

    Parameters
    ----------
    picture : array (channels, H, W)
        The original, as `aliasing.downsample.comparison.prepare` returns it.
    results : sequence of Comparison
        What each operator makes of it; one column each.
    stride : int
        Distance between the samples kept.

    Returns
    -------
    matplotlib.figure.Figure
        Top: the pictures. Middle: log spectra before subsampling, in cycles per pixel of the original; outside the
        square folds. Bottom: power of the samples by frequency, split into baseband and alias.
    """
    columns = 1 + len(results)
    with style():
        aspect = picture.shape[-2] / picture.shape[-1]
        figure = plt.figure(figsize=(3.1 * columns, 6.4 + 2.6 * aspect))
        grid = figure.subplots(3, columns, squeeze=False, gridspec_kw={"height_ratios": [aspect, 1, 0.85]})
        reference = float(spectra.magnitude(picture - picture.mean((-2, -1), keepdims=True)).max())
        norm = Normalize(_FLOOR, 0)
        _show(grid[0][0], picture, f"original, {picture.shape[-2]}×{picture.shape[-1]}")
        image = _show_spectrum(grid[1][0], picture, stride, norm, reference)
        grid[1][0].set_title("its spectrum", fontsize=9.5)
        _show_original_profile(grid[2][0], picture, stride)
        for column, result in enumerate(results, start=1):
            _show(grid[0][column], result.samples, result.label)
            _show_spectrum(grid[1][column], result.dense, stride, norm, reference)
            grid[1][column].set_title(
                f"aliased {100 * result.alias_fraction:.2f} % of its energy\n"
                f"baseband kept {100 * result.baseband_kept:.1f} %",
                fontsize=9.5,
            )
            _show_profiles(grid[2][column], result, stride)
        for axes in grid[1][1:]:
            axes.set_yticklabels([])
        lowest = min(axes.get_ylim()[0] for axes in grid[2][1:])
        highest = max(axes.get_ylim()[1] for axes in grid[2][1:])
        for axes in grid[2][1:]:
            axes.set_ylim(max(lowest, highest * 1e-9), highest)
        for axes in grid[2][2:]:
            axes.tick_params(labelleft=False)
        grid[1][0].set_ylabel("cycles per pixel of the original")
        grid[2][0].set_ylabel("mean power")
        bar = figure.colorbar(image, ax=grid[1].tolist(), shrink=0.85, pad=0.01)
        bar.set_label("dB below the original's\nstrongest frequency")
        return figure


def _show(axes: Axes, picture: NDArray[np.float64], title: str) -> None:
    shown = picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)
    axes.imshow(np.clip(shown, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def _show_spectrum(
    axes: Axes, picture: NDArray[np.float64], stride: int, norm: Normalize, reference: float
) -> AxesImage:
    decibels = spectra.log_magnitude(picture.mean(0), floor=_FLOOR, reference=reference)
    image = axes.imshow(decibels, norm=norm, cmap="magma", extent=(-0.5, 0.5, 0.5, -0.5), interpolation="antialiased")
    edge = sampling.nyquist(stride)
    axes.add_patch(Rectangle((-edge, -edge), 2 * edge, 2 * edge, fill=False, edgecolor="white", linewidth=1.4))
    axes.text(0, edge + 0.02, "stays", color="white", ha="center", va="top", fontsize=9)
    axes.text(0, 0.47, "outside the square: folds", color="white", ha="center", va="bottom", fontsize=9)
    ticks = [-0.5, -edge, 0, edge, 0.5]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    return image


def _show_original_profile(axes: Axes, picture: NDArray[np.float64], stride: int) -> None:
    frequency, power = spectra.radial_profile(picture, bins=48)
    power = power.mean(0)
    edge = sampling.nyquist(stride)
    axes.axvspan(edge, 0.5, color=COLOURS[1], alpha=0.12, linewidth=0)
    axes.loglog(frequency[1:], power[1:], color=COLOURS[6])
    axes.text(edge * 1.06, float(np.nanmax(power[1:])), "folds", color=COLOURS[1], va="top", fontsize=9)
    fit = spectra.power_law(picture.mean(0))
    axes.set_title(f"power ∝ frequency$^{{{float(fit.slope):.2f} ± {1.96 * float(fit.error):.2f}}}$", fontsize=9.5)
    axes.set_xlabel("cycles per pixel")
    axes.set_xlim(frequency[1], 0.5)
    axes.set_xticks([0.02, 0.05, edge, 0.5], ["0.02", "0.05", f"{edge:g}", "0.5"], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())


def _show_profiles(axes: Axes, result: Comparison, stride: int) -> None:
    bins = max(6, min(24, min(result.samples.shape[-2:]) // 4))
    for part, label, colour in ((result.baseband, "baseband", COLOURS[0]), (result.alias, "alias", COLOURS[1])):
        frequency, power = spectra.radial_profile(part - part.mean((-2, -1), keepdims=True), bins=bins)
        axes.semilogy(frequency / stride, power.mean(0), color=colour, label=label)
    edge = sampling.nyquist(stride)
    axes.set_xlim(0, edge)
    axes.set_xticks([0, edge / 2, edge], ["0", f"{edge / 2:g}", f"{edge:g}"], fontsize=8)
    axes.set_xlabel("cycles per pixel of the original")
    axes.set_title("its samples", fontsize=9.5)
    axes.legend(loc="upper right", fontsize=8.5)
