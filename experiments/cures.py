"""Trained alike with each published cure, how steady and how right is one network, and at what cost?

A ResNet of 8 layers learns CIFAR-10 at 16 pixels with each operator at every place where it downsamples. Every padding
is circular, so that what a publication promises of circular shifts can hold. Zhang 2019: blur-pooling makes a network
more consistent and no less accurate. Chaman & Dokmanić 2021, Rojas-Gomez et al. 2022, Saha & Gokhale 2025: circular
shifts by whole pixels change nothing. Michaeli et al. 2023: nor do fractions, if the non-linearity is alias-free too.

The budget is the same for all, and the networks are far from fully trained. There are three seeds; the interval of a
mean is over seeds, and differences from plain are of the same seed.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import aliasing as al
from aliasing.estimates import Estimate, mean
from aliasing.models.classifier import record_weights
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from experiments._data import CIFAR10_CLASSES, Labelled, cifar10, resized
from experiments._networks import relu, resnet8
from experiments._run import Run
from experiments._training import Recipe, normalise, over_seeds, train, window_and_mirror

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
SIZE, RESIZED = 16, 18  # windows of 16 pixels in pictures of 18; at 32, CIFAR-10's own, all takes four times as long
OPERATORS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blur, 3 taps": {"operator": "blur", "taps": "binomial3"},
    "blur, 4 taps": {"operator": "blur", "taps": "binomial4"},
    "DDAC": {"operator": "adaptive"},
    "FLC": {"operator": "flc"},
    "ASAP": {"operator": "asap"},
    "AFC": {"operator": "flc"},  # with alias-free polynomials in place of ReLU
    "APS": {"operator": "aps"},
    "LPS": {"operator": "lps"},
    "TIPS as published": {"operator": "tips"},
    "TIPS anchored": {"operator": "tips-anchored"},
}
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
# What the publications report, ImageNet, per cent: network, accuracy plain and cured, consistency plain and cured.
PUBLISHED = {
    "blur, 4 taps": ("ResNet-50, two windows (Zhang 2019, repository)", (76.16, 77.41), (89.20, 91.32)),
}


def run(run: Run) -> dict[str, Any]:
    """Train every variant with every seed, measure and draw."""
    seeds = (0,) if run.quick else (0, 1, 2)
    size = 16 if run.quick else 128  # enough steps for the statistics of batch norm to settle
    recipe = Recipe(2 if run.quick else 6, "sgd", 0.1, size, cosine=True, weight_decay=5e-4)
    images = resized(cifar10(run, "train", 128 if run.quick else 12_800), RESIZED)
    pictures = cifar10(run, "test", 24 if run.quick else 2000)
    test = centred(resized(pictures, RESIZED))
    shown = list(zip(pictures.pixels, pictures.labels.tolist(), strict=True))
    found: dict[str, dict[str, list[Any]]] = {name: {measure: [] for measure in MEASURES} for name in OPERATORS}
    weights: dict[str, Any] = {}
    laws: dict[str, list[Any]] = {name: [] for name in OPERATORS}
    for seed in seeds:
        networks = {}
        for name in OPERATORS:
            torch.manual_seed(seed)
            module = network(name)
            file = run.out / "training" / f"{name.replace(' ', '-').replace(',', '')}-seed{seed}.safetensors"
            train(module, images, test, augment, show, Recipe(**{**vars(recipe), "seed": seed}), file)
            networks[name] = classifier(module, name)
        checked = al.guarantees({name: made.module for name, made in networks.items()}, laws=LAWS, size=SIZE)
        for name, cells in checked.rows.items():
            laws[name].append({law: {"value": cell["value"], "exact": cell["exact"]} for law, cell in cells.items()})
        for name, measured in measure(networks, shown).items():
            weights[f"{name}, seed {seed}"] = measured.pop("weights")
            for key, estimate in measured.items():
                found[name][key].append(estimate)
    numbers = {name: {key: over_seeds(rows) for key, rows in row.items()} for name, row in found.items()}
    reason = "a quick look" if run.quick else "far from fully trained"
    note = (
        f"{len(images):,} training and {len(test):,} test images, {recipe.epochs} epochs, seeds: {len(seeds)}; {reason}"
    )
    costs = {name: rows[0]["cost"]["value"] / laws["plain"][0]["cost"]["value"] for name, rows in laws.items()}
    with style():
        save(draw(numbers, costs, note), run.out / "figure.png")
    return {
        "settings": {
            "network": "resnet8",
            "protocols": PROTOCOLS,
            "operators": OPERATORS,
            "note": note,
            **vars(recipe),
        },
        "data": {"train": images.description(), "test": test.description()},
        "weights": weights,
        "numbers": {
            "variants": numbers,
            "minus plain": {name: minus_plain(numbers, name) for name in numbers if name != "plain"},
            "multiply-adds of plain's": costs,
            "laws of the trained networks in float64": laws,
            "published": PUBLISHED,
        },
    }


def network(name: str) -> nn.Module:
    """A ResNet-8 with circular padding and the operator at every site; without one for plain."""
    module = resnet8(polynomial if name == "AFC" else relu, padding="circular")
    if not OPERATORS[name]:
        return module
    how = {"scheme": "all", "padding": "circular", **OPERATORS[name]}
    return al.antialias(module.eval(), example_input=torch.zeros(1, 3, SIZE, SIZE), **how)


def polynomial(channels: int) -> nn.Module:
    """A polynomial of degree two for each channel, between an interpolation by two and an ideal low-pass."""
    return al.layers.AliasFreeActivation2d(al.layers.Polynomial(channels))


def classifier(module: nn.Module, name: str) -> al.Classifier:
    """The trained network as the library measures it: pictures of 18 pixels, windows of 16."""
    made = al.Classifier(module, name, SIZE, MEAN, STD, "bilinear", RESIZED, 1.0, CIFAR10_CLASSES)
    return record_weights(made, "trained here")


def measure(networks: dict[str, al.Classifier], shown: list[Any]) -> dict[str, dict[str, Any]]:
    """The measures of each network, and its weights' hash."""
    summaries = {
        protocol: al.measure_jitter(list(networks.values()), shown, specification, batch_size=250).summary()["models"]
        for protocol, specification in PROTOCOLS.items()
    }
    return {
        name: {key: summaries[protocol][name][kept] for key, (_, protocol, kept) in MEASURES.items()}
        | {"weights": summaries["crop"][name]["weights"]}
        for name in networks
    }


def augment(pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """A random window of each picture, mirrored or not, normalised."""
    return show(window_and_mirror(pixels, SIZE, random))


def centred(images: Labelled) -> Labelled:
    """The windows in the middle."""
    begin = (RESIZED - SIZE) // 2
    inside = slice(begin, begin + SIZE)
    return Labelled(
        f"{images.name}, middle {SIZE}", np.ascontiguousarray(images.pixels[:, inside, inside]), images.labels
    )


def show(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """The image, normalised."""
    return normalise(pixels, MEAN, STD)


def minus_plain(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    """Mean difference from the plain network of the same seed, with its t interval over seeds."""
    found = {}
    for key in MEASURES:
        pairs = zip(numbers[name][key]["seeds"], numbers["plain"][key]["seeds"], strict=True)
        found[key] = mean([ours["value"] - theirs["value"] for ours, theirs in pairs])
    return found


def draw(numbers: dict[str, Any], costs: dict[str, float], note: str) -> Figure:
    """A panel a measure: each operator's mean over seeds with its interval, and the seeds."""
    figure, panels = plt.subplots(2, 3, figsize=(12, 8), sharey=True)
    for axes, (key, (title, _, _)) in zip(panels.flat, MEASURES.items(), strict=True):
        for row, (name, found) in enumerate(numbers.items()):
            colour = COLOURS[0] if name == "plain" else COLOURS[1]
            estimate: Estimate = found[key]["mean"]
            spread = [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]
            if np.isfinite(spread).all():
                axes.errorbar([100 * estimate.value], [row], xerr=100 * np.array(spread), color=colour, capsize=3)
            axes.plot([100 * estimate.value], [row], "s", color=colour)
            seeds = [100 * seed["value"] for seed in found[key]["seeds"]]
            axes.plot(seeds, [row + 0.25] * len(seeds), "o", color=colour, alpha=0.45, markersize=4)
        axes.axvline(100 * numbers["plain"][key]["mean"].value, color=COLOURS[0], linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    labels = [f"{name} (×{rounded(costs[name], '.1f')})" for name in numbers]
    panels[0, 0].set_yticks(range(len(numbers)), labels)
    panels[0, 0].set_ylim(len(numbers) - 0.4, -0.6)
    for axes in panels[1]:
        axes.set_xlabel("per cent of pictures or pairs")
    figure.suptitle(
        f"{note}\nsquares: mean and 95 % interval over seeds; dots: seeds; ×: multiply-adds of the plain network's",
        fontsize=10,
    )
    return figure
