"""Augmentation teaches invariance only for images that are placed and sized as in training (Azulay & Weiss 2019).

CIFAR-10 images, reduced to 20 pixels, lie on a mean-colour canvas of 36. Each network is trained twice: with every
image in the middle, and with random shifts by up to 4 pixels from there. The test moves the image along the diagonal,
within those 4 pixels and beyond, and changes its size; it measures P(top-1 change) between neighbouring positions, and
accuracy. There are two architectures, because one has built in what the other must learn: a ResNet averages its last
map over all places; a network that ends in linear layers on the flattened map does not. Published: a claim without a
number.

Measured here (``figures/augmentation``), three seeds: for the network that flattens, shifts in training halve P(top-1
change) where images are placed as in training (0.306 to 0.161) and gain nothing elsewhere (0.246 and 0.253). For the
one that averages they gain as much everywhere (0.457 to 0.144, and 0.417 to 0.150).
"""

from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from aliasing.estimates import Difference, Estimate, Share, mean
from aliasing.models.classifier import fingerprint
from aliasing.plots.style import COLOURS, save, style
from experiments._data import Labelled, cifar10, resized
from experiments._networks import resnet8
from experiments._run import Run
from experiments._training import Recipe, normalise, over_seeds, probabilities, train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CANVAS, SIZE, REACH, FAR = 36, 20, 4, 8
SIZES = (12, 16, 20, 24, 28)
ARMS = {"without shifts": 0, "with shifts": REACH}
# A condition: the sizes of the image, and the shifts from the middle whose neighbours are compared.
CONDITIONS = {
    "as in training": ((SIZE,), range(-REACH, REACH)),
    "placed otherwise": ((SIZE,), (*range(-FAR, -REACH), *range(REACH, FAR))),
    "sized otherwise": (tuple(size for size in SIZES if size != SIZE), range(-REACH, REACH)),
}


def flattening() -> nn.Sequential:
    """Two convolutions with max pooling, and linear layers on the flattened map, as seed 000's network."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * (CANVAS // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


ARCHITECTURES = {"ResNet-8, averages over places": resnet8, "flattening network": flattening}
# The answers to the test images, by the size of the image and its shift from the middle.
Answers = dict[tuple[int, int], npt.NDArray[np.int64]]


def run(run: Run) -> dict[str, Any]:
    """Train both networks both ways, move the test images, and draw."""
    seeds = (0,) if run.quick else (0, 1, 2)
    images = cifar10(run, "train", 256 if run.quick else 16_000)
    test = cifar10(run, "test", 30 if run.quick else 500)
    small = resized(images, SIZE), resized(test, SIZE)
    weights: dict[str, Any] = {}
    answers: dict[str, dict[str, list[Answers]]] = {}
    for (title, make), (arm, reach), seed in product(ARCHITECTURES.items(), ARMS.items(), seeds):
        recipe = Recipe(1 if run.quick else 4, "adam", 2e-3, 128, cosine=True, bf16=True, seed=seed)
        torch.manual_seed(seed)
        module = make()

        def prepare(pixels: npt.NDArray[np.uint8], random: np.random.Generator, reach: int = reach) -> Tensor:
            return placed(pixels, random.integers(-reach, reach + 1, (2, len(pixels))))

        file = run.out / "training" / f"{make.__name__}-{arm.replace(' ', '-')}-seed{seed}.safetensors"
        train(module, *small, prepare, lambda pixels: placed(pixels, centred(pixels)), recipe, file)
        answers.setdefault(title, {}).setdefault(arm, []).append(answers_along_diagonal(module, test))
        weights[f"{title}, {arm}, seed {seed}"] = {"source": "trained here", "sha256": fingerprint(module)}
    numbers = {title: compared(arms, test.labels) for title, arms in answers.items()}
    caption = (
        f"CIFAR-10, {len(images):,} training images × {recipe.epochs} epochs, {len(test):,} test images, "
        f"seeds: {len(seeds)}"
    )
    with style():
        draw(answers, test.labels, caption, run.out / "figure.png")
    settings = {"canvas": CANVAS, "size": SIZE, "shifts in training": REACH, "sizes": SIZES, "note": caption}
    return {
        "settings": {**settings, **vars(recipe), "seed": seeds},
        "data": {"train": images.description(), "test": test.description()},
        "weights": weights,
        "numbers": numbers,
    }


def placed(pixels: npt.NDArray[np.uint8], shifts: npt.NDArray[np.int64]) -> Tensor:
    """The normalised images on the canvas, each moved from its middle by its (dy, dx): shifts are 2×N."""
    x = normalise(pixels, MEAN, STD)
    count, _, size, _ = x.shape
    canvas = torch.zeros(count, CANVAS, CANVAS, 3)
    corners = torch.from_numpy((CANVAS - size) // 2 + shifts)[:, :, None]
    rows, columns = corners + torch.arange(size)
    canvas[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]] = x.permute(0, 2, 3, 1)
    return canvas.permute(0, 3, 1, 2)


def centred(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """No shift of any image."""
    return np.zeros((2, len(pixels)), np.int64)


def answers_along_diagonal(module: nn.Module, test: Labelled) -> Answers:
    """The answer to each image, by its size and its shift from the middle along the diagonal."""
    found = {}
    for size in SIZES:
        pixels = resized(test, size).pixels
        reach = FAR if size == SIZE else REACH
        for shift in range(-reach, reach + 1):
            moved = probabilities(module, lambda batch, shift=shift: placed(batch, centred(batch) + shift), pixels)
            found[size, shift] = moved.argmax(1)
    return found


def compared(arms: dict[str, list[Answers]], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """P(top-1 change) and accuracy in each condition, over the seeds, and what the shifts in training changed."""
    table: dict[str, Any] = {}
    for condition, (sizes, shifts) in CONDITIONS.items():
        places = list(product(sizes, shifts))
        hits = {arm: [counted(answers, places, labels) for answers in seeds] for arm, seeds in arms.items()}
        table[condition] = {
            arm: {
                measure: over_seeds([shared(row[measure], len(places)).as_dict() for row in rows])
                for measure in rows[0]
            }
            for arm, rows in hits.items()
        }
        without, with_shifts = hits.values()
        table[condition]["with minus without"] = {
            measure: over_seeds(
                [
                    paired(first[measure], second[measure], len(places)).as_dict()
                    for first, second in zip(without, with_shifts, strict=True)
                ]
            )
            for measure in without[0]
        }
    return table


def counted(
    answers: Answers, places: list[tuple[int, int]], labels: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.int64]]:
    """Count for each test image the places where the next pixel changes the answer, and those where it is right."""
    return {
        "top1_change": np.sum([answers[size, k] != answers[size, k + 1] for size, k in places], axis=0),
        "accuracy": np.sum([answers[place] == labels for place in places], axis=0),
    }


def shared(hits: npt.NDArray[np.int64], of: int) -> Estimate:
    """The share of hits, given the number of chances per image."""
    share = Share(binary=True)
    share.add(hits, of)
    return share.estimate()


def paired(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], of: int) -> Estimate:
    """The second's share minus the first's on the same images."""
    difference = Difference(binary=True)
    difference.add(second - first, of)
    return difference.estimate()


def draw(answers: dict[str, dict[str, list[Answers]]], labels: npt.NDArray[np.int64], caption: str, path: Path) -> None:
    """P(top-1 change) and accuracy by place and by size; what was seen in training is shaded."""
    figure, grid = plt.subplots(2, 4, figsize=(11, 5.8), sharey="col", squeeze=False)
    steps, places = range(-REACH, REACH), range(-FAR, FAR + 1)
    for row, (title, arms) in zip(grid, answers.items(), strict=True):
        for colour, (arm, seeds) in enumerate(arms.items()):
            along = [[counted(found, [(SIZE, k)], labels) for k in places[:-1]] for found in seeds]
            by_size = [[counted(found, [(size, k) for k in steps], labels) for size in SIZES] for found in seeds]
            right = [[found[SIZE, k] == labels for k in places] for found in seeds]
            _curve(row[0], [k + 0.5 for k in places[:-1]], _means(along, "top1_change"), colour, arm)
            _curve(row[1], places, np.array([[hits.mean() for hits in curve] for curve in right]), colour, arm)
            _curve(row[2], SIZES, _means(by_size, "top1_change") / len(steps), colour, arm)
            _curve(row[3], SIZES, _means(by_size, "accuracy") / len(steps), colour, arm)
        for axes, measure in zip(row, ("P(top-1 change)", "accuracy") * 2, strict=True):
            axes.set_title(measure, fontsize=10)
            axes.set_ylim(0, 0.7)
            axes.grid(alpha=0.3)
        row[0].set_ylabel(title)
        for axes in row[:2]:
            axes.axvspan(-REACH, REACH, color="0.9", zorder=0)
            axes.set(xlabel="shift from the middle (pixels)", xticks=range(-FAR, FAR + 1, 4))
        for axes in row[2:]:
            axes.axvspan(SIZE - 0.5, SIZE + 0.5, color="0.9", zorder=0)
            axes.set(xlabel="size of the image (pixels)", xticks=SIZES)
    handles, arms = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, [f"trained {arm}" for arm in arms], loc="outside lower center", ncols=2)
    figure.suptitle(
        f"{caption}\nshaded: shifts and size in training with shifts; line: mean of the seeds, thin: each seed, "
        "band: 95 % interval of the mean over seeds",
        fontsize=10,
    )
    save(figure, path)


def _means(curves: list[list[dict[str, npt.NDArray[np.int64]]]], measure: str) -> npt.NDArray[np.float64]:
    """The mean hits per image: seeds × points of the curve."""
    return np.array([[point[measure].mean() for point in curve] for curve in curves])


def _curve(axes: Axes, x: Any, seeds: npt.NDArray[np.float64], colour: int, label: str) -> None:
    """Each seed's curve, their mean and its 95 % interval."""
    axes.plot(x, seeds.T, color=COLOURS[colour], linewidth=0.6, alpha=0.6)
    axes.plot(x, seeds.mean(0), "o-", markersize=3, color=COLOURS[colour], label=label)
    means = [mean(point) for point in seeds.T]
    low, high = [estimate.low for estimate in means], [estimate.high for estimate in means]
    axes.fill_between(x, low, high, color=COLOURS[colour], alpha=0.2, linewidth=0)
