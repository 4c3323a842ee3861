"""The figure of downsampling operators: pictures, their spectra with what folds, and baseband against alias."""

import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from aliasing.downsample.comparison import Comparison
from aliasing.downsample.spectra import FLOOR, Look, Spectra
from aliasing.plots.style import COLOURS, baseband_kept, high_and_wide, input_name, style
from aliasing.rounding import rounded

# White and black on a picture, in the dark too: a page would take the pure ones for its paper and ink.
_ON_PICTURE = "#fffffe"
_BEHIND_TEXT = {"facecolor": "#000001", "alpha": 0.65, "edgecolor": "none", "pad": 1.5}
_LEAST = 1e-9  # of the strongest power; below it a profile is rounding


def spectrum(spectra: Spectra | NDArray[Any], results: Sequence[Comparison] = (), stride: int | None = None) -> Figure:
    """Draw a picture and the output of operators for it.

    Parameters
    ----------
    spectra : Spectra
        One column for the picture, and one for each operator (:func:`aliasing.compare_operators`).
    results, stride
        Deprecated, for one release: ``spectra`` may be a picture, with its comparisons and their stride.

    Returns
    -------
    matplotlib.figure.Figure
        Top: the pictures. Middle: log spectra before subsampling, in cycles per pixel of the original; outside the
        square folds. Bottom: power of the samples by frequency, split into baseband and alias.
    """
    if not isinstance(spectra, Spectra):
        warnings.warn(
            "plots.spectrum(picture, results, stride) is now plots.spectrum(Spectra.of(picture, results, stride))",
            DeprecationWarning,
            stacklevel=2,
        )
        spectra = Spectra.of(spectra, results, stride or 4)
    columns = len(spectra.looks)
    height, width = spectra.size
    with style():
        aspect = height / width
        figure = plt.figure(figsize=(3.1 * columns, 6.4 + 2.6 * aspect))
        grid = figure.subplots(3, columns, squeeze=False, gridspec_kw={"height_ratios": [aspect, 1, 0.85]})
        for panels, look in zip(grid.T, spectra.looks, strict=True):
            _show(
                panels[0], look, f"original\n{high_and_wide(height, width)}" if look is spectra.looks[0] else look.label
            )
            image = log_spectrum(panels[1], look, spectra)
            profile(panels[2], look, spectra)
        grid[1][0].set_title("spectrum of the original", fontsize=9.5)
        for axes in grid[1][1:]:
            axes.set_yticklabels([])
        for axes in grid[2][2:]:
            axes.tick_params(labelleft=False)
        grid[1][0].set_ylabel("cycles per pixel of the original")
        grid[2][0].set_ylabel("mean power")
        bar = figure.colorbar(image, ax=grid[1].tolist(), shrink=0.85, pad=0.01)
        bar.set_label("dB below the original's\nstrongest frequency")
        figure.suptitle(f"{input_name(spectra.photograph)}, and its samples at stride {spectra.stride}", fontsize=11)
        return figure


def _range(spectra: Spectra) -> tuple[float, float]:
    """The power of all operators' samples, without what is rounding alone."""
    parts = [look.power[part] for look in spectra.looks if "power" not in look.power for part in ("baseband", "alias")]
    powers = np.array([power for part in parts for _, power in part])
    highest = powers.max() or 1.0  # a black picture has none
    return powers.min(initial=highest, where=powers > _LEAST * highest) / 2, 2 * highest


def _show(axes: Axes, look: Look, title: str) -> None:
    axes.imshow(look.samples.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def log_spectrum(axes: Axes, look: Look, spectra: Spectra) -> AxesImage:
    """Draw a spectrum before subsampling, with the square that is kept, and the two numbers of what folds."""
    shown = {"cmap": "magma", "extent": (-0.5, 0.5, 0.5, -0.5), "interpolation": "antialiased"}
    image = axes.imshow(look.decibels, norm=Normalize(FLOOR, 0), **shown)  # type: ignore[arg-type]
    edge = spectra.nyquist
    axes.add_patch(Rectangle((-edge, -edge), 2 * edge, 2 * edge, fill=False, edgecolor=_ON_PICTURE, linewidth=1.4))
    said: Any = {"color": _ON_PICTURE, "ha": "center", "fontsize": 9, "bbox": _BEHIND_TEXT}
    axes.text(0, edge + 0.03, "stays", va="top", **said)
    axes.text(0, 0.46, "outside the square: folds", va="bottom", **said)
    ticks = [-0.5, -edge, *([0.0] if edge > 0.2 else []), edge, 0.5]  # labels nearer to 0 would touch its own
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8.5)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8.5)
    if look.alias_fraction is not None and look.baseband_kept is not None:
        axes.set_title(
            f"aliased {rounded(100 * look.alias_fraction, '.2f')} % of its energy\n{baseband_kept(look.baseband_kept)}",
            fontsize=9.5,
        )
    return image


def profile(axes: Axes, look: Look, spectra: Spectra) -> None:
    """Draw power by frequency: of the picture, with what folds shaded; or of an operator's baseband and alias.

    All operators have one range of power.
    """
    edge = spectra.nyquist
    if "power" in look.power:
        frequency, power = zip(*look.power["power"][1:], strict=True)
        axes.axvspan(edge, 0.5, color=COLOURS[1], alpha=0.12, linewidth=0)
        axes.loglog(frequency, power, color=COLOURS[6])
        axes.text(edge * 1.06, max(power), "folds", color=COLOURS[1], va="top", fontsize=9)
        if spectra.power_law:
            slope, error = spectra.power_law
            axes.set_title(
                f"power ∝ frequency$^{{{rounded(slope, '.2f')} ± {rounded(1.96 * error, '.2f')}}}$", fontsize=9.5
            )
        axes.set_xlabel("cycles per pixel")
        axes.set_xlim(frequency[0], 0.5)
        axes.set_xticks([0.02, 0.05, edge, 0.5], ["0.02", "0.05", f"{edge:g}", "0.5"], fontsize=8.5)
        axes.xaxis.set_minor_locator(NullLocator())
        return
    axes.set_ylim(_range(spectra))
    for part, colour in (("baseband", COLOURS[0]), ("alias", COLOURS[1])):
        frequency, power = zip(*look.power[part], strict=True)
        rounding = max(power) < _LEAST * max(value for _, value in look.power["baseband"])
        axes.semilogy(frequency, power, color=colour, label=f"{part}: none" if rounding else part)
    axes.set_xlim(0, edge)
    axes.set_xticks([0, edge / 2, edge], ["0", f"{edge / 2:g}", f"{edge:g}"], fontsize=8.5)
    axes.set_xlabel("cycles per pixel of the original")
    axes.set_title(f"its samples, at stride {spectra.stride}", fontsize=9.5)
    axes.legend(loc="best", fontsize=8.5)
