"""The step before the network aliases too: five ways to reduce a photograph, and what the network makes of each.

Claim (Parmar, Zhang & Zhu 2022; for this subject Azulay & Weiss 2019, section on sampling): Pillow and torch with
``antialias=True`` low-pass before they subsample, OpenCV's area interpolation averages, torch without antialias and
OpenCV's linear interpolation do neither and fold what lies above the new Nyquist frequency.

Published: no number to compare; the ratio of aliasing is a property of the kernels.

Measured here (``figures/resize``): on 96 photographs reduced by 4 with bilinear kernels, Pillow and torch with
antialias alias 0.3 % of the energy, OpenCV area 1.4 %, and the other two 6.6 %. EfficientNet-Lite0 does not jitter
more, and is not right less often, after any of them.

The alias of a linear resizer R is R(x) − R(x₀), with x₀ the photograph without what lies at and above the new Nyquist
frequency (`aliasing.sampling.ideal_lowpass`). Both are rounded to grey levels, which sets a floor of about 1e-4.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aliasing import sampling
from aliasing import spectrum as spectra
from aliasing.estimates import mean, share
from aliasing.images import Image
from aliasing.plots.style import COLOURS, save, style
from aliasing.resamplers import resize
from experiments._photographs import FLATTERED, LITE, bounds, measure, photographs, title, weights
from experiments._run import Run

NETWORK = LITE[0]
FACTOR = 4
BINS = 24
WORDS = {
    "pil": "Pillow",
    "torch": "torch, antialias",
    "torch-aliased": "torch, no antialias",
    "opencv-linear": "OpenCV linear",
    "opencv-area": "OpenCV area",
}
PROTOCOLS = {"crop": "crop:span=2", "black": "black"}


def run(run: Run) -> dict[str, Any]:
    """Reduce every photograph with every resizer, and show them to the network."""
    source, data = photographs(run, full=96, quick=2)
    alias: dict[str, list[float]] = {name: [] for name in WORDS}
    kept: dict[str, list[float]] = {name: [] for name in WORDS}
    spectrum: dict[str, list[NDArray[np.float64]]] = {name: [] for name in WORDS}
    for entry in source:
        image = entry.load()
        assert isinstance(image, Image)
        picture = _contrast_reduced(image.pixels, 256)
        below = _rounded(sampling.ideal_lowpass(picture.astype(np.float64).transpose(2, 0, 1), FACTOR))
        ideal = sampling.subsample(below.astype(np.float64).transpose(2, 0, 1), FACTOR)
        size = picture.shape[0] // FACTOR
        for name in WORDS:
            whole = resize(picture, size, size, "bilinear", name).astype(np.float64)
            folded = whole - resize(below, size, size, "bilinear", name)
            alias[name].append(_energy(folded) / _energy(whole))
            kept[name].append(_energy(whole - folded) / _energy(ideal.transpose(1, 2, 0)))
            luminance = whole.mean(2)
            spectrum[name].append(
                spectra.radial_profile(spectra.hann(luminance - luminance.mean()), BINS)[1] / luminance.var()
            )
    found: dict[str, dict[str, Any]] = {
        name: {
            "alias_fraction": share(alias[name]),
            "baseband_kept": mean(kept[name]),
            "spectrum": np.median(spectrum[name], axis=0),
        }
        for name in WORDS
    }
    protocols = {"black": "black"} if run.quick else PROTOCOLS
    for key, protocol in protocols.items():
        for name in WORDS:
            separator = "," if ":" in protocol else ":"
            result = measure(run, f"{key}-{name}", [NETWORK], source, f"{protocol}{separator}resizer={name}")
            estimates = result.metrics(NETWORK).estimates(is_path=True)
            found[name][key] = {k: estimates[k] for k in ("top1_change", "mac", "accuracy") if k in estimates}
    save(draw(found, list(protocols), data), run.out / "figure.png")
    return {
        "settings": {
            "factor": FACTOR,
            "kernel": "bilinear (OpenCV's own)",
            "picture": "centre square of 256 pixels, contrast × 0.75 so that x₀ needs no clipping",
            "network": NETWORK,
            "protocols": protocols,
            "kernel before the network": "the network's own, bicubic, but for OpenCV's",
        },
        "data": data,
        "weights": weights(result),
        "numbers": found,
    }


def draw(found: dict[str, dict[str, Any]], protocols: list[str], data: dict[str, Any]) -> Figure:
    """Aliased energy, spectra, and the network's accuracy and jitter."""
    colours = dict(zip(WORDS, COLOURS, strict=False))
    with style():
        figure, panels = plt.subplots(1, 4, figsize=(12.5, 3.9), width_ratios=[1, 1.25, 1, 1])
        rows = list(WORDS)
        for axes in (panels[0], panels[2], panels[3]):
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(axis="x", alpha=0.3)
        panels[0].set_yticks(range(len(rows)), [WORDS[row] for row in rows])
        for axes in panels[2:]:
            axes.set_yticks(range(len(rows)), [""] * len(rows))
        frequency = (np.arange(BINS) + 0.5) / (2 * BINS)
        for index, row in enumerate(rows):
            estimate = found[row]["alias_fraction"]
            panels[0].errorbar(estimate.value, index, xerr=bounds([estimate]), fmt="o", capsize=3, color=colours[row])
            ratio = found[row]["spectrum"] / found["opencv-area"]["spectrum"]
            if row != "opencv-area":
                panels[1].semilogy(
                    frequency[1:],
                    ratio[1:],
                    "--" if row.startswith("torch") else "-",  # two pairs of curves coincide
                    linewidth=2.2 if row.startswith("torch") else 1.2,
                    color=colours[row],
                    label=WORDS[row],
                )
            for axes, measure in ((panels[2], "top1_change"), (panels[3], "accuracy")):
                for marker, offset, key in zip("os", (-0.12, 0.12), protocols, strict=False):
                    if measure in found[row][key]:
                        estimate = found[row][key][measure]
                        axes.errorbar(
                            estimate.value,
                            index + offset,
                            xerr=bounds([estimate]),
                            fmt=marker,
                            capsize=3,
                            color=colours[row],
                            markersize=5,
                        )
        panels[0].set_xscale("log")
        panels[0].set_xlim(min(found[row]["alias_fraction"].value for row in rows) / 4, 1)
        panels[0].set_xlabel(f"aliased share of the energy,\nreduced by {FACTOR}")
        panels[1].axhline(1, color="0.7", linewidth=1)
        panels[1].set(xlabel="cycles per pixel of the reduced", ylabel="power ÷ that of OpenCV area")
        panels[1].set_yticks([0.4, 0.6, 1, 2], ["0.4", "0.6", "1", "2"])
        panels[1].minorticks_off()
        panels[1].legend(fontsize=8, loc="upper left")
        panels[2].set_xlabel(f"P(top-1 change),\n{title(NETWORK)}\n" + _marks(protocols))
        flattered = "flattered: training images" if data["caution"] == FLATTERED else "no labels"
        panels[3].set_xlabel(f"accuracy\n({flattered})\n" + _marks(protocols))
        figure.suptitle(f"Five ways to reduce {data['images']} photographs, 95 % intervals")
        return figure


def _marks(protocols: list[str]) -> str:
    return "   ".join(f"{mark} {key}" for mark, key in zip("●■", protocols, strict=False))


def _contrast_reduced(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre square in grey levels from 32 to 223; its sides are multiples of the factor."""
    size = min(size, *(length // FACTOR * FACTOR for length in pixels.shape[:2]))
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return _rounded(32 + 0.75 * pixels[top : top + size, left : left + size].transpose(2, 0, 1))


def _rounded(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(picture.clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)


def _energy(picture: NDArray[Any]) -> float:
    """The energy without each colour's mean and without a border of two pixels, where the picture is not periodic."""
    inner = picture[2:-2, 2:-2]
    return float(((inner - inner.mean((0, 1))) ** 2).sum())
