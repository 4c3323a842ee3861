"""Feature maps of a moving image at several depths, and what their global averages do.

Claim (Azulay & Weiss 2019): a map that holds nothing above the Nyquist frequency of its own grid is shiftable
(Simoncelli et al. 1992), and the global average of a shiftable map does not change when the image moves. Pretrained
networks are not so: in deep layers a small shift of the image changes the map, and its average.

Published: maps of VGG16, ResNet50 and InceptionResNetV2 while a dog moves, and the sums of their maps, pictures only.

Measured here (``figures/shiftability``): EfficientNet-Lite0 as it is, with blur-pooling, and with the ideal low-pass
(FLC) at every site, converted and not trained. With circular shifts and circular padding nothing enters or leaves
the picture, so every change of an average comes from the network. Per pixel it grows from 0.4 % after the stem to
30 % at the end; with blur-pooling from 0 to 10 %, with FLC from 0 to 19 %. SqueezeNet's grows from 1.4 % to 12 %, and
with blur-pooling and FLC from 0.9 % to 7 and 9 %.
"""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from aliasing import plots
from aliasing.depth.feature_maps import AverageChange, average_change, choose_layers, follow_maps
from aliasing.models import Classifier, load_model
from aliasing.plots.style import COLOURS, save, style
from aliasing.surgery import antialias
from experiments._photographs import LITE, bounds, networks_here, photographs, title
from experiments._run import Run

PIXELS = 4


def run(run: Run) -> dict[str, Any]:
    """Follow the maps of one photograph, and the averages of many, through the network plain and converted."""
    torch.set_num_threads(1)
    source, data = photographs(run, full=60, quick=3)
    protocol = f"circular:pixels={PIXELS}"
    models = [load_model(network) for network in networks_here(run, LITE[:1])]
    changes = {}
    for model in models:
        layers = ["input", *choose_layers(model)]
        changes[model.name] = {
            name: average_change(network, source, protocol, layers) for name, network in converted(model).items()
        }
    image = next(iter(source)).load()
    drawn, layers = converted(models[0]), ["input", *choose_layers(models[0])]
    for name, key in (("plain", "figure"), ("ideal low-pass (FLC)", "figure_flc")):
        moving = follow_maps(drawn[name], image, f"crop:span={2 * PIXELS}", layers)
        plots.save(plots.moving_maps(replace(moving, model=f"{title(models[0].name)}, {name}")), run.out / f"{key}.png")
    save(draw(changes), run.out / "averages.png")
    return {
        "settings": {
            "networks": [model.name for model in models],
            "converted": "scheme all, placement after, padding circular; not trained",
            "protocol": protocol,
            "drawn": image.name,
        },
        "data": data,
        "weights": {model.name: model.weights for model in models},
        "numbers": {
            "relative change of the global averages from one pixel to the next": {
                network: {name: change.layers for name, change in of_network.items()}
                for network, of_network in changes.items()
            }
        },
    }


def converted(plain: Classifier) -> dict[str, Classifier]:
    """The network as it is and converted, all with circular padding."""
    return {
        "plain": antialias(plain, taps=(1.0,), scheme="all", padding="circular"),
        "blur-pool (4 taps)": antialias(plain, taps="binomial4", scheme="all", padding="circular"),
        "ideal low-pass (FLC)": antialias(plain, operator="flc", scheme="all", padding="circular"),
    }


def draw(changes: dict[str, dict[str, AverageChange]]) -> Figure:
    """How much the averages change in each layer: a panel per network, with one line per conversion."""
    with style():
        figure, panels = plt.subplots(1, len(changes), figsize=(1.5 + 5.7 * len(changes), 4.6), sharey=True)
        for axes, (network, of_network) in zip(np.atleast_1d(panels), changes.items(), strict=True):
            for index, (name, change) in enumerate(of_network.items()):
                layers = list(change.layers)[1:]  # without the input
                estimates = [change.layers[layer] for layer in layers]
                values = [100 * estimate.value for estimate in estimates]
                error = 100 * np.array(bounds(estimates))
                places = np.arange(len(values)) + 0.06 * (index - 1)
                axes.errorbar(places, values, yerr=error, fmt="o-", color=COLOURS[index], capsize=3, label=name)
            axes.set_xticks(range(len(layers)), layers, rotation=20, ha="right")
            axes.set(xlabel="layer, from shallow to deep", title=title(network))
            axes.set_yscale("symlog", linthresh=0.1)  # what is zero to rounding stands at zero
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", alpha=0.3)
        axes.legend()
        np.atleast_1d(panels)[0].set_ylabel("change of the averages per pixel, %")
        figure.suptitle(f"Global averages under circular shifts, {change.images} photographs, 95 % intervals")
    return figure
