"""How long a filter? Consistency and accuracy of converted networks against the number of taps.

Claim (Zhang 2019): the longer the binomial filter, the more consistent the network, at no loss of accuracy, once the
network is trained with it.

Published (networks trained or fine-tuned with their filter, ImageNet, 4 taps): consistency of vgg16 88.52 → 90.91 %,
resnet18 85.11 → 88.36 %, resnet50 89.20 → 91.32 %, densenet201 90.36 → 91.32 %, mobilenet_v2 86.50 → 87.73 %, accuracy
0.4 to 1.9 points up.

Measured here (``figures/filters``): networks that were never trained with a filter, EfficientNet-Lite0 and the CIFAR
ResNet20, converted and recalibrated (batch-norm statistics from other images). The claim does not carry over: its
P(top-1 change) falls from 0.145 to 0.110 with two taps and no further, its accuracy from 0.74 to 0.51 at seven taps;
EfficientNet-Lite0 loses both.
"""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing import filters
from aliasing.images import ImageSource
from aliasing.models import Classifier, load_model
from aliasing.plots.style import COLOURS, save, style
from aliasing.surgery import antialias, recalibrate
from experiments._cifar import cifar_resnet, cifar_test, cifar_train
from experiments._photographs import FLATTERED, LITE, bounds, measure, others, photographs
from experiments._run import Run

TAPS = (1, 2, 3, 4, 5, 6, 7)
WANTED = ("top1_change", "mac", "accuracy")


def run(run: Run) -> dict[str, Any]:
    """Convert both networks with every length, recalibrate, and measure."""
    taps = (1, 3) if run.quick else TAPS
    found: dict[str, Any] = {}
    data: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    source, data["photographs"] = photographs(run, full=96, quick=3)
    rest = others(run, source, 8 if run.quick else 96)
    subjects: list[tuple[str, Classifier, ImageSource, Any, int, str]] = [
        ("EfficientNet-Lite0", load_model(LITE[0]), source, rest, 32, "consistency:draws=1")
    ]
    if (run.data / "cifar10").exists() or not run.quick:
        tests, data["cifar10"] = cifar_test(run, full=800, quick=20)
        network = cifar_resnet(run, 20)
        subjects.append((network.name, network, tests, cifar_train(run), 250, "consistency-cifar:draws=1"))
    for name, plain, images, statistics, batch, protocol in subjects:
        weights[name] = plain.weights
        networks = [replace(plain, name="1 tap (plain)")]
        for count in taps[1:]:
            converted = antialias(plain, taps=f"binomial{count}")
            networks.append(replace(converted, name=f"{count} taps"))
            limit = 50 if run.quick else 1000
            calibrated = recalibrate(converted, statistics, batch_size=batch, limit=limit)
            networks.append(replace(calibrated, name=f"{count} taps, recalibrated"))
        result = measure(run, name.replace(" ", "-"), networks, images, protocol)
        found[name] = {
            network: {key: value for key, value in result.metrics(network).estimates().items() if key in WANTED}
            for network in result.models
        }
    save(draw(found, taps, data), run.out / "figure.png")
    return {
        "settings": {
            "taps": taps,
            "filter": "binomial",
            "scheme": "zhang2019",
            "placement": "after",
            "protocols": {name: protocol for name, *_, protocol in subjects},
            "statistics": {"EfficientNet-Lite0": rest.description, "CIFAR ResNet20": "the first 1,000 training images"},
        },
        "data": data,
        "weights": weights,
        "numbers": {
            "filters": {
                str(count): {
                    "half_amplitude": _finite(filters.half_amplitude(f"binomial{count}")),
                    "stopband_share": filters.stopband_share(f"binomial{count}"),
                    "passband_share": filters.passband_share(f"binomial{count}"),
                }
                for count in TAPS
            },
            "networks": found,
        },
    }


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def draw(found: dict[str, Any], taps: tuple[int, ...], data: dict[str, Any]) -> Figure:
    """The filters' responses; then consistency and accuracy against their length."""
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.3))
        _responses(panels[0])
        for index, (name, networks) in enumerate(found.items()):
            for suffix, line, marker in (("", ":", "s"), (", recalibrated", "-", "o")):
                names = ["1 tap (plain)", *(f"{count} taps{suffix}" for count in taps[1:])]
                places = np.array(taps) + (0.08 if suffix else -0.08)
                for axes, measure in ((panels[1], "top1_change"), (panels[2], "accuracy")):
                    if measure not in networks[names[0]]:
                        continue
                    estimates = [networks[each][measure] for each in names]
                    values = np.array([estimate.value for estimate in estimates])
                    low, high = bounds(estimates)
                    if measure == "top1_change":
                        values, low, high = 1 - values, high, low
                    axes.errorbar(
                        places,
                        values,
                        yerr=[low, high],
                        fmt=marker + line,
                        color=COLOURS[index],
                        capsize=2,
                        markersize=4,
                        label=f"{name}, converted{suffix}",
                    )
        panels[1].set(xlabel="taps of the binomial filter", ylabel="consistency, 1 − P(top-1 change)")
        panels[2].set(xlabel="taps of the binomial filter", ylabel="accuracy")
        panels[2].set_title(
            "Lite0's is flattered: training images" if data["photographs"]["caution"] == FLATTERED else "no labels",
            fontsize=9.5,
        )
        panels[1].set_title("1 tap: the plain network", fontsize=9.5)
        for axes in panels[1:]:
            axes.set_xticks(taps)
            axes.grid(alpha=0.3)
            axes.set_ylim(top=1)
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
        words = {"photographs": "photographs", "cifar10": "CIFAR-10 test images"}
        counts = ", ".join(f"{entry['images']} {words[name]}" for name, entry in data.items())
        figure.suptitle(f"Filter length, without training: {counts}, 95 % intervals")
        return figure


def _responses(axes: Axes) -> None:
    frequency = np.linspace(0, 0.5, 201)
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.05, len(TAPS) - 1))
    axes.axvspan(0.25, 0.5, color=COLOURS[1], alpha=0.1, linewidth=0)
    axes.text(0.26, 1.02, "folds at stride 2", fontsize=8.5, color=COLOURS[1], va="top")
    for count, shade in zip(TAPS[1:], shades, strict=True):
        axes.plot(frequency, abs(filters.response(f"binomial{count}", frequency)), color=shade, label=f"{count} taps")
    axes.set(xlabel="frequency, cycles per pixel", ylabel="amplitude |H|", xlim=(0, 0.5), ylim=(0, 1.05))
    axes.legend(fontsize=8.5, loc="lower left")
    axes.grid(alpha=0.3)
