"""Trained or fine-tuned with blur-pool, FLC or APS, does a network become more consistent at no loss of accuracy?

Zhang 2019 says that it becomes both more consistent and more accurate, for every network of his table on ImageNet. Here
a ResNet of 8 layers learns CIFAR-10, reduced to 16 pixels, plain and with each operator at every place where it
downsamples. It is trained from scratch and, for less time, from the plain network's weights; the plain network gets as
much further training. Consistency compares the answers under a shift by one pixel, over zero padding. There are three
seeds; the interval of a mean is over seeds.

APS is exact for circular shifts of a network with circular padding. Here neither is circular, so its guarantee is void.

Measured here (``figures/antialias_training``), minus plain, from scratch: consistency with blur-pool +0.027 [+0.004,
+0.049], FLC +0.064 [+0.026, +0.101], APS +0.012 [−0.027, +0.052]; accuracy +0.032, +0.041, −0.015. The networks are far
from fully trained.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.estimates import mean
from aliasing.models.classifier import record_weights
from aliasing.plots.style import COLOURS, save, style
from experiments._data import CIFAR10_CLASSES, Labelled, cifar10, resized
from experiments._networks import resnet8
from experiments._run import Run
from experiments._training import Recipe, crop_and_mirror, normalise, over_seeds, train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
SIZE = 16  # at 32, CIFAR-10's own, everything takes four times as long
OPERATORS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blur": {"operator": "blur", "taps": "binomial3", "scheme": "all"},
    "FLC": {"operator": "flc", "scheme": "all"},
    "APS": {"operator": "aps", "scheme": "all"},
}
LABELS = {"plain": "plain", "blur": "blur-pool, 3 taps", "FLC": "FLC", "APS": "APS"}
# Zhang's networks, per cent: accuracy and consistency, plain and anti-aliased (his repository's, fine-tuned).
PUBLISHED = {
    "vgg16": ((71.59, 88.52), (72.96, 90.91)),
    "resnet18": ((69.74, 85.11), (71.67, 88.36)),
    "resnet50": ((76.16, 89.20), (77.41, 91.32)),
    "densenet201": ((76.90, 90.36), (77.31, 91.32)),
    "mobilenet_v2": ((71.88, 86.50), (72.72, 87.73)),
}


def run(run: Run) -> dict[str, Any]:
    """Train every variant with every seed, measure and draw."""
    seeds = (0,) if run.quick else (0, 1, 2)
    scratch = Recipe(1 if run.quick else 4, "sgd", 0.1, 128, cosine=True, weight_decay=5e-4)
    fine = Recipe(1, "sgd", 0.02, 128, cosine=True, weight_decay=5e-4)
    images = resized(cifar10(run, "train", 192 if run.quick else 25_600), SIZE)
    fewer = resized(cifar10(run, "train", 192 if run.quick else 12_800), SIZE)
    test = resized(cifar10(run, "test", 50 if run.quick else 5000), SIZE)
    found: dict[str, dict[str, list[Any]]] = {}
    weights: dict[str, Any] = {}
    for seed in seeds:
        networks = variants(images, fewer, test, scratch, fine, seed, run.out / "training")
        summary = al.measure_jitter(
            [classifier(module, name) for name, module in networks.items()],
            list(zip(test.pixels, test.labels.tolist(), strict=True)),
            "pad",
            batch_size=250,
        ).summary()["models"]
        for name, model in summary.items():
            weights[f"{name}, seed {seed}"] = model["weights"]
            for measure in ("accuracy", "consistency"):
                found.setdefault(name, {}).setdefault(measure, []).append(model[measure])
    numbers = {name: {measure: over_seeds(rows) for measure, rows in row.items()} for name, row in found.items()}
    reason = "a quick look" if run.quick else "what a share of two cores had time for"
    caption = (
        f"{len(images):,} training images × {scratch.epochs} epochs (fine-tuned: {len(fewer):,} × {fine.epochs}), "
        f"seeds: {len(seeds)}; {reason}"
    )
    with style():
        draw(numbers, caption, run.out / "figure.png")
    settings = {
        "network": "resnet8",
        "size": SIZE,
        "seeds": seeds,
        "protocol": "pad",
        "operators": OPERATORS,
        "note": caption,
    }
    return {
        "settings": {**settings, "scratch": vars(scratch), "fine-tuned": vars(fine)},
        "data": {"train": images.description(), "fine-tune": fewer.description(), "test": test.description()},
        "weights": weights,
        "numbers": {
            "variants": numbers,
            "minus plain": {name: minus_plain(numbers, name) for name in numbers if not name.startswith("plain")},
            "published": {name: {"plain": plain, "anti-aliased": ours} for name, (plain, ours) in PUBLISHED.items()},
        },
    }


def variants(
    images: Labelled, fewer: Labelled, test: Labelled, scratch: Recipe, fine: Recipe, seed: int, folder: Path
) -> dict[str, nn.Module]:
    """The networks of one seed: each operator trained from scratch, then each fine-tuned from the plain one."""
    made: dict[str, nn.Module] = {}
    for name in OPERATORS:
        torch.manual_seed(seed)
        made[name] = converted(resnet8(), name)
        file = folder / f"{name}-seed{seed}.safetensors"
        train(made[name], images, test, augment, show, Recipe(**{**vars(scratch), "seed": seed}), file)
    for name in OPERATORS:
        torch.manual_seed(seed)
        module = resnet8()
        module.load_state_dict(made["plain"].state_dict())
        module = converted(module, name)
        file = folder / f"{name}-fine-seed{seed}.safetensors"
        train(module, fewer, test, augment, show, Recipe(**{**vars(fine), "seed": seed}), file)
        made[f"{name}, fine-tuned"] = module
    return made


def converted(module: nn.Module, name: str) -> nn.Module:
    """The network with the operator at every site; itself for plain."""
    if not OPERATORS[name]:
        return module
    return al.antialias(module.eval(), example_input=torch.zeros(1, 3, SIZE, SIZE), **OPERATORS[name])


def classifier(module: nn.Module, name: str) -> al.Classifier:
    """The trained network as the library measures it."""
    made = al.Classifier(module, name, SIZE, MEAN, STD, "bilinear", SIZE, 1.0, CIFAR10_CLASSES)
    return record_weights(made, "trained here")


def augment(pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """A random window of the image with its black margin, mirrored or not, normalised."""
    return show(crop_and_mirror(pixels, random, SIZE // 8))


def show(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """The image, normalised."""
    return normalise(pixels, MEAN, STD)


def minus_plain(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    """Mean difference from the plain network of the same seed, trained as long, with its t interval over seeds."""
    plain = numbers[name.replace(name.split(",")[0], "plain")]

    def differences(measure: str) -> list[float]:
        pairs = zip(numbers[name][measure]["seeds"], plain[measure]["seeds"], strict=True)
        return [ours["value"] - theirs["value"] for ours, theirs in pairs]

    return {measure: mean(differences(measure)) for measure in ("accuracy", "consistency")}


def draw(numbers: dict[str, Any], caption: str, path: Path) -> None:
    """Accuracy against consistency: ours by operator and seed, and Zhang's networks."""
    figure, panels = plt.subplots(1, 3, figsize=(11, 4.2))
    for axes, ending, title in (
        (panels[0], "", f"CIFAR-10 at {SIZE} pixels, ResNet-8, from scratch"),
        (panels[1], ", fine-tuned", "fine-tuned from the plain network"),
    ):
        for index, operator in enumerate(OPERATORS):
            row = numbers[operator + ending]
            x, y = (
                100 * np.array([seed["value"] for seed in row[key]["seeds"]]) for key in ("consistency", "accuracy")
            )
            axes.plot(x, y, "o", color=COLOURS[index], alpha=0.45, markersize=5)
            errors = [[100 * (half(row[key]["mean"]))] for key in ("consistency", "accuracy")]
            axes.errorbar(
                *(x.mean(), y.mean()),
                errors[1],
                errors[0],
                "s",
                color=COLOURS[index],
                capsize=3,
                label=LABELS[operator],
            )
        axes.set(title=title, xlabel="consistency (%)", ylabel="accuracy (%)")
    limits = [np.array([axes.get_xlim() for axes in panels[:2]]), np.array([axes.get_ylim() for axes in panels[:2]])]
    for axes in panels[:2]:
        axes.set(xlim=(limits[0].min(), limits[0].max()), ylim=(limits[1].min(), limits[1].max()))
    panels[0].legend(fontsize=9)
    for index, (name, (plain, anti)) in enumerate(PUBLISHED.items()):
        panels[2].annotate("", anti[::-1], plain[::-1], arrowprops={"arrowstyle": "->", "color": COLOURS[index]})
        panels[2].plot(*plain[::-1], "o", color=COLOURS[index], label=name)
        panels[2].plot(*anti[::-1], ",", color=COLOURS[index])  # so that the arrow is within the axes
    panels[2].set(title="published: Zhang, ImageNet", xlabel="consistency (%)", ylabel="accuracy (%)")
    panels[2].legend(fontsize=9, loc="upper left")
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.suptitle(f"{caption}\nsquares: mean and its 95 % interval over seeds; dots: the seeds", fontsize=10)
    save(figure, path)


def half(estimate: al.estimates.Estimate) -> float:
    """Half the width of an interval; zero if it is not finite, as with one seed."""
    width = (estimate.high - estimate.low) / 2
    return width if np.isfinite(width) else 0.0
