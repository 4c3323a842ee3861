"""Augmentation teaches invariance only for images that are placed and sized as in training (Azulay & Weiss 2019).

CIFAR-10 images, reduced to 20 pixels, stand on a mean-colour canvas of 36. Each network is trained twice: with every
image in the middle, and with random shifts by up to 4 pixels from there. Tested where the image stands along the
diagonal, within those 4 pixels and beyond, and how large it is: P(top-1 change) between neighbouring positions, and
accuracy. Two architectures, because one brings along what the other must learn: a ResNet averages its last map over all
places; a network that ends in linear layers on the flattened map does not. Published: a claim without a number.
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

from aliasing.estimates import Difference, Estimate, Share
from aliasing.models.classifier import fingerprint
from aliasing.plots.style import COLOURS, save, style
from experiments._data import Labelled, cifar10, resized
from experiments._networks import resnet8
from experiments._run import Run
from experiments._training import Recipe, normalise, probabilities, train

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


def run(run: Run) -> dict[str, Any]:
    """Train both networks both ways, move the test images, and draw."""
    recipe = Recipe(1 if run.quick else 4, "adam", 2e-3, 128, cosine=True, bf16=True)
    images = cifar10(run, "train", 640 if run.quick else 16_000)
    test = cifar10(run, "test", 60 if run.quick else 500)
    weights: dict[str, Any] = {}
    answers: dict[str, dict[str, dict[tuple[int, int], npt.NDArray[np.int64]]]] = {}
    for (title, make), (arm, reach) in product(ARCHITECTURES.items(), ARMS.items()):
        torch.manual_seed(recipe.seed)
        module = make()

        def prepare(pixels: npt.NDArray[np.uint8], random: np.random.Generator, reach: int = reach) -> Tensor:
            return placed(pixels, random.integers(-reach, reach + 1, (2, len(pixels))))

        file = run.out / "training" / f"{make.__name__}-{arm.replace(' ', '-')}.safetensors"
        small = resized(images, SIZE), resized(test, SIZE)
        train(module, *small, prepare, lambda pixels: placed(pixels, centred(pixels)), recipe, file)
        answers.setdefault(title, {})[arm] = answers_along_diagonal(module, test)
        weights[f"{title}, {arm}"] = {"source": "trained here", "sha256": fingerprint(module)}
    numbers = {title: compared(arms, test.labels) for title, arms in answers.items()}
    caption = f"{len(images):,} training images × {recipe.epochs} epochs, {len(test):,} test images, one seed"
    with style():
        draw(answers, test.labels, caption, run.out / "figure.png")
    settings = {"canvas": CANVAS, "size": SIZE, "shifts in training": REACH, "sizes": SIZES, "note": caption}
    return {
        "settings": {**settings, **vars(recipe)},
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


def answers_along_diagonal(module: nn.Module, test: Labelled) -> dict[tuple[int, int], npt.NDArray[np.int64]]:
    """The answer to each image, by its size and its shift from the middle along the diagonal."""
    found = {}
    for size in SIZES:
        pixels = resized(test, size).pixels
        reach = FAR if size == SIZE else REACH
        for shift in range(-reach, reach + 1):
            moved = probabilities(module, lambda batch, shift=shift: placed(batch, centred(batch) + shift), pixels)
            found[size, shift] = moved.argmax(1)
    return found


def compared(
    arms: dict[str, dict[tuple[int, int], npt.NDArray[np.int64]]], labels: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """P(top-1 change) and accuracy in each condition, and what the shifts in training changed, paired."""
    table: dict[str, Any] = {}
    for condition, (sizes, shifts) in CONDITIONS.items():
        places = list(product(sizes, shifts))
        rows = {}
        for arm, answers in arms.items():
            changes = sum((answers[size, k] != answers[size, k + 1]).astype(int) for size, k in places)
            correct = sum((answers[place] == labels).astype(int) for place in places)
            rows[arm] = {"top1_change": changes, "accuracy": correct}
        table[condition] = {
            arm: {measure: shared(hits, len(places)) for measure, hits in row.items()} for arm, row in rows.items()
        }
        without, with_shifts = rows.values()
        table[condition]["with minus without"] = {
            measure: paired(without[measure], with_shifts[measure], len(places)) for measure in without
        }
    return table


def shared(hits: npt.NDArray[np.int64], of: int) -> Estimate:
    """The share of hits, so many chances an image."""
    share = Share(binary=True)
    share.add(hits, of)
    return share.estimate()


def paired(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], of: int) -> Estimate:
    """The second's share minus the first's on the same images."""
    difference = Difference(binary=True)
    difference.add(second - first, of)
    return difference.estimate()


def draw(
    answers: dict[str, dict[str, dict[tuple[int, int], npt.NDArray[np.int64]]]],
    labels: npt.NDArray[np.int64],
    caption: str,
    path: Path,
) -> None:
    """P(top-1 change) and accuracy by place and by size; what was seen in training is shaded."""
    figure, grid = plt.subplots(2, 4, figsize=(11, 5.6), sharey="col", squeeze=False)
    for row, (title, arms) in zip(grid, answers.items(), strict=True):
        for colour, (arm, found) in enumerate(arms.items()):
            change = {k: found[SIZE, k] != found[SIZE, k + 1] for k in range(-FAR, FAR)}
            _curve(row[0], [k + 0.5 for k in change], [shared(hits, 1) for hits in change.values()], colour, arm)
            places = range(-FAR, FAR + 1)
            _curve(row[1], places, [shared(found[SIZE, k] == labels, 1) for k in places], colour, arm)
            steps = range(-REACH, REACH)
            moved = [sum((found[size, k] != found[size, k + 1]).astype(int) for k in steps) for size in SIZES]
            right = [sum((found[size, k] == labels).astype(int) for k in steps) for size in SIZES]
            _curve(row[2], SIZES, [shared(hits, len(steps)) for hits in moved], colour, arm)
            _curve(row[3], SIZES, [shared(hits, len(steps)) for hits in right], colour, arm)
        for axes, measure in zip(row, ("P(top-1 change)", "accuracy") * 2, strict=True):
            axes.set_title(measure, fontsize=10)
            axes.grid(alpha=0.3)
        row[0].set_ylabel(title)
        for axes in row[:2]:
            axes.axvspan(-REACH, REACH, color="0.9", zorder=0)
            axes.set_xlabel("shift from the middle (pixels)")
        for axes in row[2:]:
            axes.axvspan(SIZE - 0.5, SIZE + 0.5, color="0.9", zorder=0)
            axes.set(xlabel="size of the image (pixels)", xticks=SIZES)
    handles, arms = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, [f"trained {arm}" for arm in arms], loc="outside lower center", ncols=2)
    figure.suptitle(f"{caption}; shaded: shifts and size in training with shifts", fontsize=10)
    save(figure, path)


def _curve(axes: Axes, x: Any, estimates: list[Estimate], colour: int, label: str) -> None:
    """Values and their 95 % intervals."""
    axes.plot(x, [estimate.value for estimate in estimates], "o-", markersize=3, color=COLOURS[colour], label=label)
    low, high = [estimate.low for estimate in estimates], [estimate.high for estimate in estimates]
    axes.fill_between(x, low, high, color=COLOURS[colour], alpha=0.2, linewidth=0)
