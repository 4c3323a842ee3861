"""Small networks of CIFAR-10 that differ in one thing, trained alike: how steady and how right each is.

Windows of random places are shown in training, windows one pixel apart or circular shifts in measuring.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import UsageError
from aliasing.estimates import Estimate, mean
from aliasing.models.classifier import record_weights
from aliasing.plots.style import COLOURS
from aliasing.provenance import write_json
from aliasing.tables import counted
from experiments._data import CIFAR10_CLASSES, Labelled, cifar10, resized
from experiments._run import Run, plain
from experiments._training import Recipe, normalise, over_seeds, train, window_and_mirror

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
PROTOCOLS = {"whole": "circular:pixels=4", "half": "circular:step=0.5,pixels=2", "crop": "grid:radius=1"}
# Each measure: its title, the protocol, and the key of the summary.
MEASURES = {
    "accuracy": ("accuracy", "crop", "accuracy"),
    "whole": ("circular, whole pixels", "whole", "consistency"),
    "half": ("circular, half pixels", "half", "consistency"),
    "crop": ("windows ±1 pixel apart", "crop", "consistency"),
    "worst": ("all nine windows right", "crop", "worst_accuracy"),
    "stability": ("two windows equal and right", "crop", "stability"),
}
LAWS = ("circular integer", "circular fractional", "cost")


@dataclass(frozen=True)
class Windows:
    """The windows that networks see, in pixels, and the pictures that they are taken of."""

    size: int
    of: int

    def augment(self, pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
        """A random window of each picture, mirrored or not, normalised."""
        return show(window_and_mirror(pixels, self.size, random))

    def centred(self, images: Labelled) -> Labelled:
        """The windows in the middle."""
        begin = (self.of - self.size) // 2
        inside = slice(begin, begin + self.size)
        pixels = np.ascontiguousarray(images.pixels[:, inside, inside])
        return Labelled(f"{images.name}, middle {self.size}", pixels, images.labels)

    def classifier(self, module: nn.Module, name: str) -> al.Classifier:
        """The trained network as the library measures it."""
        made = al.Classifier(module, name, self.size, MEAN, STD, "bilinear", self.of, 1.0, CIFAR10_CLASSES)
        return record_weights(made, "trained here")


def show(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """The image, normalised."""
    return normalise(pixels, MEAN, STD)


@dataclass(frozen=True)
class Trained:
    """What was found of the variants."""

    numbers: dict[str, dict[str, Any]]  #: a row a variant, of every measure over seeds
    laws: dict[str, list[Any]]  #: of each variant and seed, in float64
    weights: dict[str, Any]
    data: dict[str, Any]
    note: str

    def minus(self, name: str, plain: str) -> dict[str, Any]:
        """Mean difference from the plain network of the same seed, with its t interval over seeds."""
        found = {}
        for key in MEASURES:
            pairs = zip(self.numbers[name][key]["seeds"], self.numbers[plain][key]["seeds"], strict=True)
            found[key] = mean([ours["value"] - theirs["value"] for ours, theirs in pairs])
        return found


def train_alike(
    run: Run,
    recipes: Mapping[str, Recipe],
    network: Callable[[str], nn.Module],
    windows: Windows,
    count: tuple[int, int],
) -> Trained:
    """Train every variant by its recipe with every seed, and measure it; ``count`` images to train and to test.

    What is found of a seed is kept in ``seeds/seedN.json``, so that a run goes on where another, or another machine,
    was stopped. UsageError if such a file is of other settings.
    """
    seeds = (0,) if run.quick else (0, 1, 2)
    pictures = cifar10(run, "test", count[1])
    images, shown = (
        (cifar10(run, "train", count[0]), pictures)
        if windows.of == pictures.pixels.shape[1]
        else (resized(cifar10(run, "train", count[0]), windows.of), resized(pictures, windows.of))
    )
    test = windows.centred(shown)
    labelled = list(zip(pictures.pixels, pictures.labels.tolist(), strict=True))
    data = {"train": images.description(), "test": test.description()}
    settings = plain({"recipes": {name: vars(recipe) for name, recipe in recipes.items()}, "data": data})
    rows: list[dict[str, dict[str, Any]]] = []
    for seed in seeds:
        kept = run.out / "seeds" / f"seed{seed}.json"
        if not kept.exists():
            networks = {}
            for name, recipe in recipes.items():
                torch.manual_seed(seed)
                module = network(name)
                file = run.out / "training" / f"{name.replace(' ', '-').replace(',', '')}-seed{seed}.safetensors"
                train(module, images, test, windows.augment, show, replace(recipe, seed=seed), file)
                networks[name] = windows.classifier(module, name)
            kept.parent.mkdir(exist_ok=True)
            write_json(kept, {"settings": settings, "rows": plain(_measure(networks, labelled, windows.size))})
        row = json.loads(kept.read_text())
        if row["settings"] != settings:
            raise UsageError(f"{kept} is of a run with other settings; delete it, or give another --out")
        rows.append(row["rows"])
    numbers = {name: {key: over_seeds([row[name][key] for row in rows]) for key in MEASURES} for name in recipes}
    laws = {name: [row[name]["laws"] for row in rows] for name in recipes}
    weights = {f"{name}, seed {seed}": row[name]["weights"] for seed, row in enumerate(rows) for name in recipes}
    epochs = max(recipe.epochs for recipe in recipes.values())
    reason = "a quick look" if run.quick else "far from fully trained"
    shown_as = f"{len(images):,} training and {len(test):,} test images, {counted(epochs, 'epoch')}"
    note = f"{shown_as}, {counted(len(seeds), 'seed')}; {reason}"
    return Trained(numbers, laws, weights, data, note)


def _measure(networks: dict[str, al.Classifier], shown: list[Any], size: int) -> dict[str, dict[str, Any]]:
    """The measures of each network, its laws in float64, and its weights' hash."""
    checked = al.guarantees({name: made.module for name, made in networks.items()}, laws=LAWS, size=size).rows
    summaries = {
        protocol: al.measure_jitter(list(networks.values()), shown, specification, batch_size=250).summary()["models"]
        for protocol, specification in PROTOCOLS.items()
    }
    return {
        name: {key: summaries[protocol][name][kept] for key, (_, protocol, kept) in MEASURES.items()}
        | {"weights": summaries["crop"][name]["weights"]}
        | {"laws": {law: {key: cell[key] for key in ("value", "exact")} for law, cell in checked[name].items()}}
        for name in networks
    }


def draw(trained: Trained, families: Mapping[str, str], labels: Mapping[str, str], more: str = "") -> Figure:
    """A panel a measure: each variant's mean over seeds with its interval, the seeds, and its plain network's mean.

    ``families`` names the plain network of every variant.
    """
    numbers = trained.numbers
    figure, panels = plt.subplots(2, 3, figsize=(12, 8), sharey=True)
    for axes, (key, (title, _, _)) in zip(panels.flat, MEASURES.items(), strict=True):
        for row, (name, found) in enumerate(numbers.items()):
            colour = COLOURS[0] if name in families.values() else COLOURS[1]
            estimate: Estimate = found[key]["mean"]
            spread = [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]
            if np.isfinite(spread).all():
                axes.errorbar([100 * estimate.value], [row], xerr=100 * np.array(spread), color=colour, capsize=3)
            axes.plot([100 * estimate.value], [row], "s", color=colour)
            seeds = [100 * seed["value"] for seed in found[key]["seeds"]]
            axes.plot(seeds, [row + 0.25] * len(seeds), "o", color=colour, alpha=0.45, markersize=4)
            plain = 100 * numbers[families[name]][key]["mean"].value
            axes.plot([plain, plain], [row - 0.5, row + 0.5], color=COLOURS[0], linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    panels[0, 0].set_yticks(range(len(numbers)), [labels[name] for name in numbers])
    panels[0, 0].set_ylim(len(numbers) - 0.4, -0.6)
    for axes in panels[1]:
        axes.set_xlabel("per cent of pictures or pairs")
    figure.suptitle(
        f"{trained.note}\nsquares: mean and 95 % interval over seeds; dots: seeds; dotted: the plain network{more}",
        fontsize=10,
    )
    return figure
