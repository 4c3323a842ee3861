"""The figure of `aliasing spectrum` on a volume: a slice of what is kept and of what has folded, and power by axis."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from aliasing.downsample.volume_spectra import AXES, VolumeSpectra
from aliasing.plots.responses import zigzag
from aliasing.plots.sound import LEAST, parts_of_power
from aliasing.plots.style import input_name, line_of, percent, style
from aliasing.rounding import rounded
from aliasing.tables import pair

_TOWARDS = {"S": "up", "I": "down", "A": "front", "P": "back", "L": "left", "R": "right"}


def volume(spectra: VolumeSpectra) -> Figure:
    """Draw a volume before and after each downsampling operator.

    Parameters
    ----------
    spectra : VolumeSpectra
        As `aliasing.compare_operators` finds them for a volume (``result.spectra``).

    Returns
    -------
    matplotlib.figure.Figure
        A row for the original and for each operator. Left: the middle slice across the axis along which the volume is
        shortest, in millimetres, and the same slice of the part which has folded; for the original, where the
        frequencies of each axis go. Right: for each axis, power by cycles per millimetre, averaged over the lines along
        it, and the share of the energy at and above the new Nyquist frequency there.
    """
    original, *others = spectra.looks
    across, (down, along) = spectra.across, [axis for axis in range(3) if axis != spectra.across]
    tall, wide = (spectra.size[axis] / spectra.rates[axis] for axis in (down, along))
    height = min(max(2.9 * tall / wide, 1.7), 3.2)
    with style():
        figure, grid = plt.subplots(
            len(spectra.looks), 5, figsize=(15, 1.1 + (height + 0.5) * len(spectra.looks)), squeeze=False
        )
        _slice(grid[0][0], original.slice, spectra, "gray", 0)
        _folding(grid[0][1], spectra)
        grid[0][0].set_title("original")
        for panels, look in zip(grid[1:], others, strict=True):
            assert look.folded is not None
            _slice(panels[0], look.slice, spectra, "gray", 0)
            _slice(panels[1], look.folded, spectra, "RdBu_r", -1)
            panels[0].set_title(look.label)
            above = "" if look.above_kept is None else f"\n{percent(look.above_kept)} of what was above"
            panels[1].set_title(f"folded: {rounded(100 * (look.alias_fraction or 0), '.2f')} % of its energy{above}")
        for panels, look in zip(grid, spectra.looks, strict=True):
            panels[0].set_ylabel(f"{AXES[down]}, mm")
            panels[2].set_ylabel("mean power")
            for axis, axes in enumerate(panels[2:]):
                parts_of_power(axes, look.power[axis], spectra.nyquist[axis], spectra.rates[axis] / 2)
                edge = spectra.nyquist[axis]
                folds = f"{percent(look.above[axis])} at or above {rounded(edge, '.3g')}"
                axes.set_title(folds if spectra.stride[axis] > 1 else "nothing folds")
                ticks = {0, edge / 2, edge, spectra.rates[axis] / 2}
                axes.set_xticks(sorted(tick for tick in ticks if tick <= axes.get_xlim()[1]))
                axes.xaxis.set_major_formatter("{x:.3g}")
                axes.yaxis.set_minor_locator(NullLocator())  # a third of the time of drawing
        for axis, axes in enumerate(grid[0][2:]):
            towards = _TOWARDS.get(spectra.directions[axis : axis + 1])
            named = (
                f"along {AXES[axis]}{f' ({towards})' if towards else ''}: {rounded(1 / spectra.rates[axis], '.3g')} mm"
            )
            axes.set_title(f"{named}, stride {spectra.stride[axis]}\n{axes.get_title()}")
        for axes in grid[-1][: 2 if others else 1]:
            axes.set_xlabel(f"{AXES[along]}, mm")
        for axes in grid[-1][2:]:
            axes.set_xlabel("cycles per mm")
        drawn = np.concatenate([line.get_ydata() for axes in grid[:, 2:].flat for line in axes.lines])
        for axes in grid[:, 2:].flat:
            axes.set_ylim(max(np.nanmin(drawn) / 2, LEAST * np.nanmax(drawn)), 2 * np.nanmax(drawn))
        for panels in grid[:, 3:]:
            for axes in panels:
                axes.tick_params(labelleft=False)
        if others:
            grid[1][-1].legend(fontsize=8.5, loc="lower right")
        name = input_name(spectra.volume, "volume")
        size = "×".join(map(str, spectra.size))
        figure.suptitle(
            f"{name}, {size} voxels, and its samples at stride {pair(spectra.stride)}\n"
            f"slices: the middle of {AXES[across]}; what folded: from blue to red ±{percent(spectra.reach)} of the"
            " original's range",
            fontsize=11,
        )
        return figure


def _slice(axes: Axes, slice_: NDArray[np.float64], spectra: VolumeSpectra, colours: str, least: float) -> None:
    """A slice in millimetres: what its voxels are, they look like."""
    down, along = (axis for axis in range(3) if axis != spectra.across)
    tall, wide = (spectra.size[axis] / spectra.rates[axis] for axis in (down, along))
    axes.imshow(
        slice_,
        cmap=colours,
        vmin=least,
        vmax=1,
        extent=(0, wide, 0, tall),
        origin="lower",
    )


def _folding(axes: Axes, spectra: VolumeSpectra) -> None:
    """Where the frequencies of each axis go."""
    for axis, (stride, rate) in enumerate(zip(spectra.stride, spectra.rates, strict=True)):
        before = len(axes.lines)
        zigzag(axes, stride, rate)
        for line in axes.lines[before:]:
            line.set(linestyle=line_of(7 * axis), label=AXES[axis] if line is axes.lines[before] else "_")
    axes.set_xlim(0, max(spectra.rates) / 2)
    axes.set(title="where each frequency goes", xlabel="cycles per mm before", ylabel="cycles per mm after")
    axes.set_ylim(0, 1.5 * max(spectra.nyquist))
    axes.legend(fontsize=8.5, ncols=3, loc="upper center")
