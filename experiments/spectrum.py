"""What folds when photographs are subsampled: natural spectra, and the share that each operator aliases.

Seed 001's figure (a photograph, its 4×4 maximum and its stride-4 convolution with a 5×5 box, under each its log
spectrum) with the share of aliased energy written on it, and the same numbers over many photographs at strides 2 and 4.

Published: power spectra of natural images fall as f^−α with α about 2 (Field 1987), so that most of the energy
survives any low-pass, and little is left to fold. The seed reads from its figure that pooling keeps high and drops low
frequencies.

Measured here (``figures/spectrum``): α = 2.44 ± 0.08 over 100 photographs; at stride 4 the maximum aliases 4.4 % of its
samples' energy, the 5×5 box 0.59 %, the blur-pool 0.27 %. The high frequencies that the seed sees are folded ones.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aliasing import plots
from aliasing import spectrum as spectra
from aliasing.downsample.comparison import compare, prepare
from aliasing.downsample.spectra import Spectra
from aliasing.estimates import mean, share
from aliasing.images import Image
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from experiments._photographs import bounds, photographs
from experiments._run import Run

STRIDES = (2, 4)
BINS = 48
OPERATORS = ("subsample", "max", "average", "convolution", "blur", "fourier")
_WORDS = {
    "subsample": "subsampled",
    "max": "maximum of the window",
    "average": "mean of the window",
    "convolution": "5×5 box convolution",
    "blur": "blur-pool, binomial4",
}
SEED_001 = ("max", "convolution", "blur")


def run(run: Run) -> dict[str, Any]:
    """Measure every photograph with every operator; draw the seed's figure and the summary of all."""
    source, data = photographs(run, full=100, quick=3)
    profiles: list[NDArray[np.float64]] = []
    slopes: list[float] = []
    found: dict[tuple[int, str], list[Any]] = {(stride, name): [] for stride in STRIDES for name in OPERATORS}
    for entry in source:
        image = entry.load()
        assert isinstance(image, Image)
        pixels = _centre(image.pixels, 128 if run.quick else 256)
        picture = prepare(pixels, max(STRIDES))
        profiles.append(spectra.radial_profile(picture[0] - picture.mean(), BINS)[1] / picture.var())
        slopes.append(float(spectra.power_law(picture[0]).slope))
        for stride, name in found:
            found[stride, name].append(compare(picture, name, stride))
        if len(slopes) == 1:
            whole = prepare(image.pixels, max(STRIDES))
            results = [compare(whole, name, max(STRIDES)) for name in SEED_001]
            save(plots.spectrum(Spectra.of(whole, results, max(STRIDES), entry.name)), run.out / "seed001.png")
    operators: dict[str, Any] = {
        f"stride {stride}": {
            name: {
                "label": found[stride, name][0].label,
                "alias_fraction": share(result.alias_fraction for result in found[stride, name]),
                "baseband_kept": mean(result.baseband_kept for result in found[stride, name]),
            }
            for name in OPERATORS
        }
        for stride in STRIDES
    }
    slope = mean(slopes)
    save(draw(np.array(profiles), slopes, operators, data), run.out / "figure.png")
    return {
        "settings": {
            "strides": STRIDES,
            "picture": "centre square of at most 256 pixels (quick: 128), luminance, periodic part",
            "seed001.png": "the first photograph, whole, stride 4",
        },
        "data": data,
        "weights": {},
        "numbers": {
            "power_law_slope": slope,
            "slope_percentiles": dict(zip(("5", "50", "95"), np.percentile(slopes, [5, 50, 95]), strict=True)),
            "operators": operators,
            "maximum against blur-pool": {
                f"stride {stride}": _against(found[stride, "max"], found[stride, "blur"]) for stride in STRIDES
            },
        },
    }


def _against(maxima: list[Any], blurs: list[Any]) -> dict[str, Any]:
    """Paired over photographs; a fair comparison is one where the blur keeps at least as much of the baseband."""
    pairs = list(zip(maxima, blurs, strict=True))
    fair = [(first, second) for first, second in pairs if second.baseband_kept >= first.baseband_kept]
    return {
        "alias_fraction_difference": mean(first.alias_fraction - second.alias_fraction for first, second in pairs),
        "photographs where the blur keeps at least as much": len(fair),
        "of these where the maximum aliases more": sum(a.alias_fraction > b.alias_fraction for a, b in fair),
    }


def draw(profiles: NDArray[np.float64], slopes: list[float], operators: dict[str, Any], data: dict[str, Any]) -> Figure:
    """Spectra of all photographs with their power law; exponents; alias against baseband kept, operator by operator."""
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(11.5, 4.1), width_ratios=[1, 0.75, 1.45])
        _spectra(panels[0], profiles, slopes)
        panels[1].hist([-slope for slope in slopes], bins=18, color=COLOURS[4])
        panels[1].axvline(2, color="black", linestyle=":")
        panels[1].set_title("power-law fits\ndotted: 2 (Field 1987)", fontsize=9.5)
        panels[1].set(xlabel="exponent α", ylabel="photographs")
        _operators(panels[2], operators)
        figure.suptitle(f"What subsampling folds of {data['images']} photographs, 95 % intervals")
        return figure


def _spectra(axes: Axes, profiles: NDArray[np.float64], slopes: list[float]) -> None:
    frequency = (np.arange(BINS) + 0.5) / (2 * BINS)
    low, middle, high = np.nanpercentile(profiles, [10, 50, 90], axis=0)
    axes.fill_between(frequency[1:], low[1:], high[1:], color=COLOURS[0], alpha=0.2, label="10 to 90 % of photographs")
    axes.loglog(frequency[1:], middle[1:], color=COLOURS[0], label="median")
    slope = float(np.mean(slopes))
    line = middle[8] * (frequency / frequency[8]) ** slope
    axes.loglog(
        frequency[1:], line[1:], "--", color=COLOURS[1], label=f"f$^{{{rounded(slope, '.2f')}}}$, mean of the fits"
    )
    for stride, height in zip(STRIDES, (0.9, 0.82), strict=True):
        axes.axvline(1 / (2 * stride), color="0.6", linewidth=1)
        axes.text(
            1 / (2 * stride) * 1.04,
            height,
            f"stride {stride}\nfolds",
            transform=axes.get_xaxis_transform(),
            fontsize=7,
            color="0.35",
            va="top",
        )
    axes.set(xlabel="frequency, cycles per pixel", ylabel="power ÷ variance", xlim=(frequency[1], 0.5))
    axes.set_xticks([0.02, 0.05, 0.125, 0.25, 0.5], ["0.02", "0.05", "0.125", "0.25", "0.5"], fontsize=8.5)
    axes.xaxis.minorticks_off()
    axes.set_ylim(bottom=axes.get_ylim()[0] / 20)  # room for the legend below the curves
    axes.set_title("power spectra", fontsize=9.5)
    axes.legend(loc="lower left", fontsize=8, frameon=True, framealpha=1, edgecolor="none")


def _operators(axes: Axes, operators: dict[str, Any]) -> None:
    """Aliased against kept: the better an operator, the further to the lower right."""
    lowest = 1.0
    for marker, rows in zip("os", operators.values(), strict=True):
        for name, colour in zip(OPERATORS, COLOURS, strict=False):
            kept, alias = rows[name]["baseband_kept"], rows[name]["alias_fraction"]
            if name == "fourier":
                continue  # nothing folds: it has no place on a logarithmic axis, as the legend says
            lowest = min(lowest, alias.value)
            axes.errorbar(
                kept.value,
                alias.value,
                xerr=bounds([kept]),
                yerr=bounds([alias]),
                fmt=marker,
                capsize=2,
                color=colour,
                label=_WORDS[name] if marker == "o" else None,
                markersize=5,
            )
    axes.set_yscale("log")
    axes.set_ylim(lowest / 4, 1)
    axes.axvline(1, color="0.8", linewidth=1)
    axes.set(xlabel="baseband energy kept", ylabel="aliased share of the samples' energy")
    axes.grid(alpha=0.3, which="major")
    axes.set_title("each operator at strides 2 and 4", fontsize=9.5)
    said = "● stride 2   ■ stride 4\nnot drawn: the ideal low-pass,\nwhich folds nothing"
    look: Any = {"fontsize": 8.5, "title_fontsize": 8.5, "alignment": "left"}
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=said, **look)


def _centre(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre square: one size for all photographs, so that their frequencies are the same."""
    size = min(size, *pixels.shape[:2])
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]
