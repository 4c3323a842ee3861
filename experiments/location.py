"""Is the answer the same wherever the object is? P(correct) as a function of its place in the frame.

Claim (Azulay & Weiss 2019): networks are not invariant to where an object is, and learn the places at which
photographers put it. Here a photograph's centre square, 100 pixels wide (of 224), lies on black at 7 × 7 places.

Published: no such map in the paper; its figures show the same photograph right at one place and wrong at the next.

Measured here (``figures/location``): EfficientNet-Lite0 and SqueezeNet on 160 photographs. No place is better than
another on average, but 43 % and 26 % of the photographs are right at some places and wrong at others. One photograph at
every pixel of a small region shows why: its map repeats itself every 8 or 16 pixels, cumulative strides of the network.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from aliasing.estimates import mean, share
from aliasing.images import ImageSource
from aliasing.jitter import Jitter
from aliasing.jitter.trace import answer_in_words
from aliasing.models import load_model
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from experiments._photographs import FLATTERED, LITE, measure, networks_here, photographs, title, weights
from experiments._places import Places
from experiments._run import Run

Map = NDArray[np.float64]


def run(run: Run) -> dict[str, Any]:
    """Measure the mean map over photographs, and the fine map of the photograph whose map varies most."""
    source, data = photographs(run, full=160, quick=2)
    coarse = Places(count=3, step=45) if run.quick else Places()
    fine = Places(count=9 if run.quick else 31, step=1)
    models = [load_model(network) for network in networks_here(run, LITE[:1])]
    result = measure(run, "coarse", models, source, coarse)
    numbers, drawn, labels = {}, {}, {model.name: model.labels for model in models}
    for model in models:
        maps = _maps(result, model.name, coarse.count)
        labelled = np.isfinite(next(iter(maps.values()))["label"]).all()
        kind = "label" if labelled else "answer"  # without labels: the probability of the answer in the middle
        chosen = max(maps, key=lambda name: float(np.ptp(maps[name][kind])))
        entries = [entry for entry in source if entry.name == chosen]
        of_chosen = ImageSource(f"{chosen} alone", partial(iter, entries))
        closely = measure(run, f"fine-{model.name}", [model], of_chosen, fine)
        pixels = _maps(closely, model.name, fine.count)[chosen]
        story = _story(chosen, pixels, kind, model.labels)
        numbers[model.name] = {**_numbers(maps, kind), "chosen": story}
        drawn[model.name] = pixels
    save(draw(numbers, drawn, labels, coarse, data), run.out / "figure.png")
    return {
        "settings": {"networks": list(numbers), "coarse": coarse.parameters(), "fine": fine.parameters()},
        "data": data,
        "weights": weights(result),
        "numbers": numbers,
    }


def _numbers(maps: dict[str, dict[str, Map]], kind: str) -> dict[str, Any]:
    """How right the network is at each place, and how that differs between the border and the middle."""
    correct = np.stack([found["correct"] for found in maps.values()])
    values = np.stack([found[kind] for found in maps.values()])
    count = correct.shape[1]
    middle = count // 2
    border = np.ones((count, count), bool)
    border[1:-1, 1:-1] = False
    return {
        "what is correct": "the label" if kind == "label" else "the answer in the middle (no labels)",
        "mean_probability": [[share(values[:, y, x]) for x in range(count)] for y in range(count)],
        "share_correct": [[share(correct[:, y, x], binary=True) for x in range(count)] for y in range(count)],
        "middle": share(correct[:, middle, middle], binary=True),
        "border": share(correct[:, border].mean(1)),
        "border minus middle, paired": mean(correct[:, border].mean(1) - correct[:, middle, middle]),
        "photographs right somewhere and wrong elsewhere": share(
            (correct.min((1, 2)) != correct.max((1, 2))).astype(float), binary=True
        ),
        "answers per photograph": float(np.mean([len(np.unique(found["top1"])) for found in maps.values()])),
    }


def _story(name: str, fine: dict[str, Map], kind: str, labels: Sequence[str] | None) -> dict[str, Any]:
    """What the network says of one photograph from pixel to pixel."""
    return {
        "name": name,
        "rule": "the photograph whose probability varies most between places",
        "answers": {
            answer_in_words(labels, int(k)): int(n)
            for k, n in zip(*np.unique(fine["top1"], return_counts=True), strict=True)
        },
        "largest step of the probability between neighbouring pixels": float(
            max(np.abs(np.diff(fine[kind], axis=axis)).max() for axis in (0, 1))
        ),
    }


def _maps(result: Jitter, network: str, count: int) -> dict[str, dict[str, Map]]:
    """For each photograph: at each place the label's probability, whether it is the answer, and the answer."""
    table = result.records.filter(pc.field("model") == network)
    # The rows of a photograph stand together. The window's corner moves down and right over the canvas, and so the
    # content up and left: the first row is the lowest and rightmost place.
    columns = {
        column: table[column].to_numpy(zero_copy_only=False).reshape(-1, count, count)[:, ::-1, ::-1]
        for column in ("name", "label", "first_top1", "second_top1", "second_probability", "second_label_probability")
    }
    labelled = table["label"].null_count == 0
    correct = columns["second_top1"] == columns["label" if labelled else "first_top1"]
    return {
        str(name[0, 0]): {
            "label": columns["second_label_probability"][index].astype(float),
            "answer": columns["second_probability"][index].astype(float),
            "top1": columns["second_top1"][index],
            "correct": correct[index].astype(float),
        }
        for index, name in enumerate(columns["name"])
    }


def draw(
    numbers: dict[str, dict[str, Any]],
    fine: dict[str, dict[str, Map]],
    labels: dict[str, Sequence[str] | None],
    coarse: Places,
    data: dict[str, Any],
) -> Figure:
    """A row per network: mean maps over the photographs, and one photograph pixel by pixel."""
    with style():
        figure = plt.figure(figsize=(17, 5 * len(numbers)))
        rows = np.atleast_1d(figure.subfigures(len(numbers), 1))
        for part, (network, found) in zip(rows, numbers.items(), strict=True):
            _row(part, found, fine[network], labels[network], coarse.step * coarse.count / 2)
            part.suptitle(title(network), fontsize=12)
        caution = " (many are training images: flattered)" if data["caution"] == FLATTERED else ""
        figure.suptitle(
            f"A photograph 100 pixels wide at other places of the frame of 224: {data['images']} photographs{caution}",
            fontsize=12,
        )
        return figure


def _row(
    figure: SubFigure, found: dict[str, Any], fine: dict[str, Map], labels: Sequence[str] | None, reach: float
) -> None:
    panels = figure.subplots(1, 4)
    kind = "label" if np.isfinite(fine["label"]).all() else "answer"
    correct = "share correct" if kind == "label" else "share same answer as in the middle"
    for axes, key, label in (
        (panels[0], "share_correct", correct),
        (panels[1], "mean_probability", "mean probability of the label" if kind == "label" else "mean probability"),
    ):
        values = np.array([[estimate.value for estimate in row] for row in found[key]])
        half = np.mean([(estimate.high - estimate.low) / 2 for row in found[key] for estimate in row])
        limits = max(values.mean() - half, 0), min(values.mean() + half, 1)
        _heat(figure, axes, values, reach, f"mean ± {rounded(half, '.3f')}, one place's interval", limits)
        axes.set_title(label, fontsize=10)
    edge = len(fine["top1"]) / 2
    _heat(figure, panels[2], fine[kind], edge, f"probability of the {kind}", None)
    _answers(panels[3], fine["top1"], edge, labels)
    panels[2].set_title(f"{found['chosen']['name'].split('/')[-1]}, which varies most", fontsize=10)
    panels[3].set_title("its answer there", fontsize=10)
    for axes in panels:
        axes.set_xlabel("pixels right of the middle")
    panels[0].set_ylabel("pixels below the middle")


def _heat(
    figure: SubFigure, axes: Axes, values: Map, edge: float, label: str, limits: tuple[float, float] | None
) -> None:
    low, high = limits or (values.min(), values.max())
    extent = (-edge, edge, edge, -edge)
    image = axes.imshow(values, extent=extent, cmap="viridis", interpolation="nearest", vmin=low, vmax=high)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _answers(axes: Axes, top1: Map, edge: float, labels: Sequence[str] | None) -> None:
    """The answers as colours: the commonest by name, the others in grey."""
    classes, counts = np.unique(top1, return_counts=True)
    common = classes[np.argsort(-counts)][:5]
    index = np.full(top1.shape, len(common))
    for number, answer in enumerate(common):
        index[top1 == answer] = number
    colours = ListedColormap([*COLOURS[: len(common)], "0.8"])
    axes.imshow(
        index,
        extent=(-edge, edge, edge, -edge),
        cmap=colours,
        vmin=-0.5,
        vmax=len(common) + 0.5,
        interpolation="nearest",
    )
    for number, answer in enumerate(common):
        axes.plot([], [], "s", color=COLOURS[number], label=answer_in_words(labels, int(answer)).split(",")[0][:24])
    if len(classes) > len(common):
        axes.plot([], [], "s", color="0.8", label=f"{len(classes) - len(common)} others")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8.5, ncols=3, handletextpad=0.1)
