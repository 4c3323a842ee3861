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
        square folds. Bottom: power of the samples by frequency, in the same unit, split into baseband and alias.
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
        for axes in grid[2][1:]:
            axes.tick_params(labelleft=False)
            axes.set_ylabel("")
        grid[1][0].set_ylabel("cycles per pixel of the original")
        bar = figure.colorbar(image, ax=grid[1].tolist(), shrink=0.85, pad=0.01)
        bar.set_label("dB below the original's\nstrongest frequency")
        figure.suptitle(f"{input_name(spectra.photograph)}, and its samples at stride {spectra.stride}", fontsize=11)
        return figure


def _profiles(look: Look, stride: int) -> dict[str, NDArray[np.float64]]:
    """Frequency and power of the picture, or of baseband and alias on the picture's scale, without the lowest bin.

    Of s² times fewer samples each frequency has an s²-th of the power (`aliasing.spectrum.power`); times s², what the
    operator leaves as it was has the power that it had.
    """
    scale = 1 if "power" in look.power else stride**2
    return {part: np.array(pairs).T[:, 1:] * [[1], [scale]] for part, pairs in look.power.items()}


def _limits(spectra: Spectra) -> tuple[tuple[float, float], tuple[float, float]]:
    """The frequencies and powers of all profiles, without what is rounding alone."""
    drawn = np.concatenate([one for look in spectra.looks for one in _profiles(look, spectra.stride).values()], axis=1)
    frequency, power = drawn
    highest = power.max() or 1.0  # a black picture has none
    return (frequency.min(), 0.5), (power.min(initial=highest, where=power > _LEAST * highest) / 2, 2 * highest)


def _show(axes: Axes, look: Look, title: str) -> None:
    axes.imshow(look.samples.clip(0, 1), cmap="gray", vmin=0, vmax=1)
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
    labels = [f"{tick:g}".replace("-", "−") for tick in ticks]
    axes.set_yticks(ticks, labels, fontsize=8.5)
    if edge < 0.1:  # side by side the two of a small square would touch
        labels[1] = ""
    axes.set_xticks(ticks, labels, fontsize=8.5)
    if look.alias_fraction is not None and look.baseband_kept is not None:
        axes.set_title(
            f"spectrum before subsampling\n{rounded(100 * look.alias_fraction, '.2f')} % of its energy folds\n"
            + baseband_kept(look.baseband_kept),
            fontsize=9.5,
        )
    return image


def profile(axes: Axes, look: Look, spectra: Spectra) -> None:
    """Draw power by frequency: of the picture, with what folds shaded; or of an operator's baseband and alias.

    All have the same two axes, so that one sees where the samples' frequencies end, and what the operator changed.
    """
    edge, drawn = spectra.nyquist, _profiles(look, spectra.stride)
    frequencies, powers = _limits(spectra)
    axes.set(xscale="log", yscale="log", xlim=frequencies, ylim=powers)
    strongest = max(power.max() for _, power in drawn.values())
    for part, colour in (("power", COLOURS[6]), ("baseband", COLOURS[0]), ("alias", COLOURS[1])):
        if part in drawn:
            frequency, power = drawn[part]
            label = f"{part}: none" if power.max() < _LEAST * strongest else part
            axes.plot(frequency, power, color=colour, label=label)
    if "power" in drawn:
        axes.axvspan(edge, 0.5, color=COLOURS[1], alpha=0.12, linewidth=0)
        axes.text(edge * 1.06, powers[1] / 1.3, "folds", color=COLOURS[1], va="top", fontsize=9)
        if spectra.power_law:
            slope, error = spectra.power_law
            power_law = f"{rounded(slope, '.2f')} ± {rounded(1.96 * error, '.2f')}"
            axes.set_title(f"power ∝ frequency$^{{{power_law}}}$", fontsize=9.5)
    else:
        axes.axvspan(edge, 0.5, color="0.5", alpha=0.12, linewidth=0)
        axes.text(edge * 1.06, powers[1] / 1.3, "nothing\nabove", color="0.35", va="top", fontsize=8.5)
        axes.set_title(f"its samples, at stride {spectra.stride}", fontsize=9.5)
        axes.legend(loc="best", fontsize=8.5)
    ticks = [tick for tick in (0.02, 0.05, 0.1) if tick * 1.7 < edge]
    axes.set_xticks([*ticks, edge, 0.5], [f"{tick:g}" for tick in (*ticks, edge, 0.5)], fontsize=8.5)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="cycles per pixel of the original", ylabel="mean power")
