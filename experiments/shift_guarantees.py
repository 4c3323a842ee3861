"""Adaptive polyphase sampling promises invariance to circular shifts: how much remains when the window really moves?

APS (Chaman & Dokmanić 2021) makes a network with circular padding exactly invariant to circular shifts, where no pixel
enters or leaves. FLC (Grabinski et al. 2022) does this for linear operators, but not for what the ReLUs between them
fold. Neither says anything about a window that moves over a scene. A trained CIFAR ResNet-20 (He et al. 2016),
converted at every site and with its batch-norm statistics re-estimated, is shown both: `circular`, the image rolled by
0 … 8 pixels along the diagonal, and `pad`, the padded image seen through a window that moves by one pixel.

Measured here (``figures/shift_guarantees``), 5,000 test images, P(top-1 change) under circular shifts and under a
window that moves: plain 0.150 and 0.121, blur-pool 0.081 and 0.186, FLC 0.095 and 0.169, APS 0 and 0.200.
"""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from aliasing.estimates import Estimate
from aliasing.models import Classifier
from aliasing.plots.style import COLOURS, save, style
from aliasing.surgery import antialias, recalibrate
from experiments._cifar import cifar_resnet, cifar_test, cifar_train
from experiments._photographs import bounds, measure, weights
from experiments._run import Run

PROTOCOLS = {"circular": "circular shifts", "pad": "a window that moves by one pixel"}
MEASURES = ("top1_change", "mac", "accuracy")
OPERATORS: dict[str, dict[str, Any]] = {
    "blur-pool, 4 taps": {"operator": "blur", "taps": "binomial4"},
    "FLC": {"operator": "flc"},
    "APS": {"operator": "aps"},
}
# A mean absolute change that is rounding alone is drawn here.
FLOOR = 1e-7


def run(run: Run) -> dict[str, Any]:
    """Measure the network, plain and with each operator, under both kinds of shift."""
    tests, data = cifar_test(run, full=5000, quick=15)
    statistics = 50 if run.quick else 2000
    networks = variants(run, statistics)
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for protocol in PROTOCOLS:
        result = measure(run, protocol, networks, tests, protocol, batch_size=100)
        found[protocol] = {
            name: {key: value for key, value in result.metrics(name).estimates().items() if key in MEASURES}
            for name in result.models
        }
    save(draw(found, data), run.out / "figure.png")
    return {
        "settings": {
            "network": "resnet20",
            "scheme": "all",
            "padding": "circular",
            "operators": OPERATORS,
            "statistics": f"the first {statistics:,} training images",
        },
        "data": data,
        "weights": weights(result),
        "numbers": found,
    }


def variants(run: Run, statistics: int) -> list[Classifier]:
    """The network as it is, and converted at every site with every padding circular."""
    plain = cifar_resnet(run, 20)
    made = [replace(plain, name="plain")]
    for name, operator in OPERATORS.items():
        converted = antialias(plain, scheme="all", padding="circular", **operator)
        made.append(replace(recalibrate(converted, cifar_train(run), batch_size=250, limit=statistics), name=name))
    return made


def draw(found: dict[str, dict[str, dict[str, Estimate]]], data: dict[str, Any]) -> Figure:
    """P(top-1 change) and mean absolute change of every network, under both kinds of shift."""
    networks = list(found["circular"])
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(10, 1.6 + 0.5 * len(networks)), sharey=True)
        for axes, key in zip(panels, ("top1_change", "mac"), strict=True):
            for index, (protocol, label) in enumerate(PROTOCOLS.items()):
                estimates = [found[protocol][network][key] for network in networks]
                if key == "mac":
                    estimates = [
                        Estimate(*(max(number, FLOOR) for number in (one.value, one.low, one.high)))
                        for one in estimates
                    ]
                axes.errorbar(
                    [estimate.value for estimate in estimates],
                    [row + 0.24 * index - 0.12 for row in range(len(networks))],
                    xerr=bounds(estimates),
                    fmt="so"[index],
                    color=COLOURS[index],
                    capsize=3,
                    label=label,
                )
            axes.grid(axis="x", alpha=0.3)
        panels[0].set(xlabel="P(top-1 change)", yticks=range(len(networks)), yticklabels=networks)
        panels[0].set_xlim(left=-0.003)
        panels[0].set_ylim(len(networks) - 0.5, -0.5)
        panels[1].set(xlabel="mean absolute change (at $10^{-7}$: rounding)", xscale="log")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(
            f"CIFAR ResNet-20 anti-aliased at every site, circular padding: {data['images']:,} test images, "
            "95 % intervals",
            fontsize=11,
        )
        return figure
