"""Jitter against the size of the object: the authors' sweep over the crop size, three curves.

Claim (Azulay & Weiss 2019): a one-pixel shift often changes the answer of a modern network, and the smaller the part
that is enlarged (s < 1, share of the area that is cropped and resized) or the smaller the photograph on a background of
the mean colour (s > 1, shrunk to input size ÷ s), the more often it does. Each photograph has nine windows along the
diagonal, which make eight pairs.

Published, read off the plot of a public rerun of the authors' script on about 1,000 photographs: P(top-1 change) from
0.12–0.13 at s = 0.1 down to 0.05–0.06 at 0.7 and up to 0.165–0.187 at 1.9, accuracy 0.73–0.77 at 0.7, for VGG16,
ResNet50 and DenseNet201. The weights of those three are measured too where they can be had.

Measured here (``figures/crop_size``), EfficientNet-Lite0, 1 and 2 on 128 photographs: 0.175, 0.156, 0.132 at s = 0.1,
0.041, 0.026, 0.021 at 0.7, 0.220, 0.164, 0.138 at 1.9. SqueezeNet: 0.259, 0.127, 0.273.
"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from aliasing.plots.style import COLOURS, nested, save, style
from experiments._photographs import FLATTERED, bounds, measure, networks_here, obtainable, photographs, title, weights
from experiments._run import Run

NETWORKS = ("torchvision:vgg16", "torchvision:resnet50", "torchvision:densenet201")
SIZES = (0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9)
# Read off the plot of the public rerun, ± 0.003.
PUBLISHED = {
    "top1_change": {
        "VGG16": {0.1: 0.134, 0.7: 0.056, 1.0: 0.070, 1.9: 0.187},
        "ResNet50": {0.1: 0.132, 0.7: 0.061, 1.0: 0.068, 1.9: 0.177},
        "DenseNet201": {0.1: 0.118, 0.7: 0.050, 1.0: 0.048, 1.9: 0.165},
    },
    "accuracy": {"VGG16": {0.7: 0.725}, "ResNet50": {0.7: 0.751}, "DenseNet201": {0.7: 0.767}},
}
MEASURES = {"top1_change": "P(top-1 change)", "mac": "mean absolute change", "accuracy": "accuracy"}


def run(run: Run) -> dict[str, Any]:
    """Measure every crop size and draw the three curves."""
    source, data = photographs(run, full=128, quick=3)
    had, missing = obtainable(run, NETWORKS)
    networks = [*networks_here(run), *([] if run.quick else had)]
    sizes = (0.4, 1.6) if run.quick else SIZES
    curves: dict[str, dict[str, Any]] = {}
    for size in sizes:
        protocol = f"crop-random:crop_size={size}" if size <= 1 else f"mean:crop_size={size}"
        result = measure(run, f"{size:g}", networks, source, protocol)
        for network in result.models:
            estimates = result.metrics(network).estimates(is_path=True)
            found = {key: estimates[key] for key in MEASURES if key in estimates}
            curves.setdefault(network, {})[f"{size:g}"] = found
    save(draw(curves, data), run.out / "figure.png")
    return {
        "settings": {"crop_sizes": sizes, "background": "mean colour (zero after normalisation)", "seed": 0},
        "data": data,
        "weights": weights(result),
        "numbers": {
            "measured": {title(network): curve for network, curve in curves.items()},
            "published": {"source": "plot of a public rerun of the authors' script, ±0.003", **PUBLISHED},
            "could not be measured here (no weights)": [title(name) for name in missing],
        },
    }


def draw(curves: dict[str, dict[str, Any]], data: dict[str, Any]) -> Figure:
    """Three curves over s: measured with intervals, published as grey marks."""
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(11, 4.2))
        for axes, (measure, label) in zip(panels, MEASURES.items(), strict=True):
            for index, (network, curve) in enumerate(curves.items()):
                sizes = [float(size) for size, found in curve.items() if measure in found]
                found = [estimates[measure] for estimates in curve.values() if measure in estimates]
                if found:
                    axes.errorbar(
                        sizes,
                        [estimate.value for estimate in found],
                        yerr=bounds(found),
                        fmt="o-",
                        markersize=4,
                        capsize=1 + nested(index, len(curves)),
                        elinewidth=nested(index, len(curves)),
                        color=COLOURS[index],
                        label=f"{title(network)}, measured",
                    )
            for marker, (name, points) in zip("^sD", PUBLISHED.get(measure, {}).items(), strict=False):
                axes.plot(
                    list(points),
                    list(points.values()),
                    f"{marker}:",
                    color="0.45",
                    markerfacecolor="white",
                    markersize=6,
                    linewidth=1,
                    label=f"{name}, published",
                )
            axes.axvline(1.15, color="0.8", linewidth=1)
            axes.set(xlabel="crop size s", ylabel=label, xlim=(0, 2))
            axes.set_ylim(0, 1 if measure == "accuracy" else None)
            axes.grid(alpha=0.3)
        panels[1].text(0.5, 0.02, "no values published", transform=panels[1].transAxes, ha="center", color="0.45")
        panels[0].set_title("crop enlarged | shrunk onto the mean colour", fontsize=9, x=0.55)
        panels[2].set_title(
            "flattered: many are training images" if data["caution"] == FLATTERED else "no labels", fontsize=9
        )
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
        figure.suptitle(f"One-pixel shifts against crop size: {data['images']} photographs, 95 % intervals")
        return figure
