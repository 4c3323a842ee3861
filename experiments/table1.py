"""The paper's table: how often, and how far, an answer moves when the photograph moves by one pixel.

Claim (Azulay & Weiss 2019, table 1): P(top-1 change) of 0.05–0.07 for a random crop and 0.11–0.29 for the photograph
small on black; mean absolute change (MAC) of the chosen class's probability of 0.03–0.09. Two views a photograph.

Published: VGG16, ResNet50 and DenseNet121, torchvision weights and (the first two) Keras weights. They are measured
here if their weights are available, and otherwise marked as not measured.

Measured here (``figures/table1``): EfficientNet-Lite0, 1 and 2 on 500 photographs: P(top-1 change) 0.05–0.06 for the
random crop and 0.17–0.20 on black, MAC 0.036–0.042 and 0.054–0.075. SqueezeNet: 0.18 and 0.33, 0.087 and 0.094.
"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.plots.style import COLOURS, save, style
from experiments._photographs import FLATTERED, bounds, measure, networks_here, obtainable, photographs, title, weights
from experiments._run import Run

NETWORKS = ("torchvision:vgg16", "torchvision:resnet50", "torchvision:densenet121")
PROTOCOLS = {"crop": "crop-random", "black": "black", "inpainted": "inpaint"}
MEASURES = {"top1_change": "P(top-1 change)", "mac": "mean absolute change"}
PUBLISHED = {
    "torchvision weights": {
        "top1_change": {
            "crop": {"VGG16": 0.062, "ResNet50": 0.061, "DenseNet121": 0.068},
            "black": {"VGG16": 0.18, "ResNet50": 0.20, "DenseNet121": 0.19},
        },
        "mac": {
            "crop": {"VGG16": 0.038, "ResNet50": 0.040, "DenseNet121": 0.045},
            "black": {"VGG16": 0.060, "ResNet50": 0.086, "DenseNet121": 0.079},
        },
    },
    "Keras weights": {
        "top1_change": {"crop": {"VGG16": 0.05, "ResNet50": 0.14}, "black": {"VGG16": 0.11, "ResNet50": 0.29}},
        "mac": {"crop": {"VGG16": 0.027, "ResNet50": 0.058}, "black": {"VGG16": 0.030, "ResNet50": 0.093}},
    },
}
UNMEASURED = "could not be measured here (no weights)"


def run(run: Run) -> dict[str, Any]:
    """Measure the table's cells, and draw them beside the published ones."""
    source, data = photographs(run, full=500, quick=5)
    had, missing = obtainable(run, NETWORKS)
    networks = [*networks_here(run), *([] if run.quick else had)]
    cells: dict[str, dict[str, dict[str, Any]]] = {measure: {} for measure in (*MEASURES, "accuracy")}
    used: dict[str, Any] = {}
    for protocol, name in PROTOCOLS.items():
        result = measure(run, protocol, networks, source, name)
        used |= weights(result)
        for network in result.models:
            estimates = result.metrics(network).estimates(is_path=True)
            for key in cells:
                if key in estimates:
                    cells[key].setdefault(protocol, {})[title(network)] = estimates[key]
        for network in missing:
            for key in MEASURES:
                cells[key][protocol][title(network)] = UNMEASURED
    save(draw(cells, data), run.out / "figure.png")
    return {
        "settings": {"protocols": PROTOCOLS, "seed": 0},
        "data": data,
        "weights": used,
        "numbers": {"measured": cells, "published": PUBLISHED},
    }


def draw(cells: dict[str, dict[str, dict[str, Any]]], data: dict[str, Any]) -> Figure:
    """A panel for each measure and protocol; a row for each network, what was published and what was measured."""
    rows = list(cells["top1_change"]["crop"])
    published = [row for row in ("VGG16", "ResNet50", "DenseNet121") if row in rows]
    rows = [*published, *(row for row in rows if row not in published)]
    with style():
        figure, panels = plt.subplots(2, 3, figsize=(11, 1.6 + 0.75 * len(rows)), sharey=True)
        for line, (measure, label) in zip(panels, MEASURES.items(), strict=True):
            for axes, protocol in zip(line, PROTOCOLS, strict=True):
                _panel(axes, rows, measure, protocol, cells[measure][protocol])
                axes.set_xlabel(f"{label}, {protocol}")
        panels[0][0].set_yticks(range(len(rows)), rows)
        panels[0][0].set_ylim(len(rows) - 0.5, -0.5)
        handles, labels = panels[0][1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        caution = "; many are training images" if data["caution"] == FLATTERED else ""
        figure.suptitle(f"The paper's table: {data['images']} photographs{caution}, 95 % intervals")
        return figure


def _panel(axes: Axes, rows: list[str], measure: str, protocol: str, cells: dict[str, Any]) -> None:
    for source, marker in (("torchvision weights", "D"), ("Keras weights", "s")):
        points = PUBLISHED[source][measure].get(protocol, {})
        known = {row: points[row] for row in rows if row in points}
        axes.plot(
            list(known.values()),
            [rows.index(row) - 0.15 for row in known],
            marker,
            color="0.35",
            markerfacecolor="white",
            label=f"published, {source}",
        )
    measured = {row: found for row, found in cells.items() if found != UNMEASURED}
    axes.errorbar(
        [found.value for found in measured.values()],
        [rows.index(row) for row in measured],
        xerr=bounds(list(measured.values())),
        fmt="o",
        capsize=3,
        color=COLOURS[0],
        label="measured here",
    )
    axes.set_xlim(left=0)
    for row in cells:
        if cells[row] == UNMEASURED:
            axes.text(
                0.02,
                rows.index(row) + 0.18,
                "not measured: no weights here",
                fontsize=7.5,
                va="center",
                color="0.45",
                transform=axes.get_yaxis_transform(),
            )
    axes.grid(axis="x", alpha=0.3)
