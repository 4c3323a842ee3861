"""Seed 003's CIFAR-10 network of 5,852,170 parameters: trained, tested, with every layer and filter drawn.

Six 3×3 convolutions in three blocks, each ending in max pooling, and three linear layers; Adam 1e-4, batch 128, random
crop with a margin of 4 and mirror images. Published (seed 003): 5,852,170 parameters, 22.33 MB, 86.47 % on the test set
after 20 epochs, and its log of every epoch. Here matrix products run in bfloat16, the images are compressed to JPEG
again, and there are half as many test images. The learning rate is constant, so fewer epochs are the first ones of the
longer run, and a stopped run resumes.

Measured here (``figures/cifar_cnn``): 5,852,170 parameters, 22.33 MB; after 20 epochs 0.837 [0.826, 0.847] on 5,000
test images.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aliasing.estimates import share
from aliasing.models.classifier import fingerprint
from aliasing.plots.style import COLOURS, save, style
from aliasing.rounding import rounded
from aliasing.tables import cell
from experiments._data import CIFAR10_CLASSES, cifar10
from experiments._run import Run
from experiments._training import Recipe, crop_and_mirror, normalise, probabilities, train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
EPOCHS = 20
# Seed 003's log, epochs 1 to 20.
PUBLISHED_LOSS = (
    *(1.5280, 1.0987, 0.9198, 0.8134, 0.7299, 0.6658, 0.6087, 0.5652, 0.5366, 0.4996),
    *(0.4750, 0.4455, 0.4245, 0.4018, 0.3828, 0.3644, 0.3518, 0.3346, 0.3175, 0.3000),
)
PUBLISHED_ACCURACY = (
    *(0.5759, 0.6362, 0.6999, 0.7367, 0.7734, 0.7790, 0.7883, 0.8089, 0.7973, 0.8295),
    *(0.8176, 0.8272, 0.8356, 0.8388, 0.8494, 0.8505, 0.8499, 0.8604, 0.8568, 0.8647),
)
SHOWN_LAYER = 3  # the second convolution, whose 64 filters' outputs are drawn


def network() -> nn.Sequential:
    """The seed's network, its layers in one row."""

    def convolution(channels_in: int, channels: int) -> nn.Conv2d:
        return nn.Conv2d(channels_in, channels, 3, padding=1)

    return nn.Sequential(
        *(convolution(3, 32), nn.BatchNorm2d(32), nn.ReLU(), convolution(32, 64), nn.ReLU(), nn.MaxPool2d(2)),
        *(convolution(64, 128), nn.BatchNorm2d(128), nn.ReLU(), convolution(128, 128), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Dropout2d(0.05),
        *(convolution(128, 256), nn.BatchNorm2d(256), nn.ReLU(), convolution(256, 256), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.1), nn.Linear(4096, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU()),
        *(nn.Dropout(0.1), nn.Linear(512, 10)),
    )


def run(run: Run) -> dict[str, Any]:
    """Train, test and draw."""
    recipe = Recipe(1 if run.quick else EPOCHS, "adam", 1e-4, 128, bf16=True)
    images = cifar10(run, "train", 256 if run.quick else None)
    test = cifar10(run, "test", 250 if run.quick else None)
    torch.manual_seed(recipe.seed)
    module = network()
    history = train(module, images, test, augment, show, recipe, run.out / "training" / "cifar_cnn.safetensors")
    answers = probabilities(module, show, test.pixels).argmax(1)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (test.labels, answers), 1)
    accuracy = share(answers == test.labels, binary=True)
    outputs = layer_outputs(module, show(test.pixels[:1]))
    caption = f"{recipe.epochs} of the seed's 20 epochs, {len(images):,} training and {len(test):,} test images"
    if recipe.epochs < len(PUBLISHED_LOSS):
        caption += ": as many epochs as there was time for on two shared cores"
    with style():
        draw_training(history, confusion, caption, run.out / "figure.png")
        draw_layers(test.pixels[0], outputs, run.out / "layers.png")
        draw_filters(outputs[SHOWN_LAYER][1], SHOWN_LAYER, run.out / "filters.png")
        draw_kernels(module[0].weight.detach().numpy(), run.out / "kernels.png")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    buffers = sum(buffer.nbytes for buffer in module.buffers())
    return {
        "settings": {**vars(recipe), "note": caption, "published_epochs": 20, "precision": "trained in bf16 autocast"},
        "data": {"train": images.description(), "test": test.description()},
        "weights": {"cifar_cnn": {"source": "trained here", "sha256": fingerprint(module)}},
        "numbers": {
            "parameters": parameters,
            "megabytes": (4 * parameters + buffers) / 2**20,
            "accuracy": accuracy,
            "published_accuracy": {"same epoch": PUBLISHED_ACCURACY[recipe.epochs - 1], "20 epochs": 0.8647},
            "history": history,
            "confusion": {CIFAR10_CLASSES[row]: confusion[row] for row in range(10)},
            "layers": [{"layer": name, "shape": output.shape} for name, output in outputs],
        },
    }


def augment(pixels: npt.NDArray[np.uint8], random: np.random.Generator) -> Tensor:
    """A random window of the image with its black margin, mirrored or not, normalised."""
    return show(crop_and_mirror(pixels, random))


def show(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """The image, normalised."""
    return normalise(pixels, MEAN, STD)


@torch.inference_mode()
def layer_outputs(module: nn.Sequential, x: Tensor) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Each layer's name and its output for one image, without the batch axis."""
    found = []
    for layer in module.eval():
        x = layer(x)
        found.append((type(layer).__name__, x[0].numpy()))
    return found


def draw_training(history: list[dict[str, float]], confusion: npt.NDArray[np.int64], caption: str, path: Path) -> None:
    """Loss and accuracy by epoch, ours and the seed's, and the confusion matrix."""
    figure, (loss, accuracy, matrix) = plt.subplots(1, 3, figsize=(11, 3.9), width_ratios=[1, 1, 1.35])
    epochs = np.arange(1, 21)
    for axes, key, published in ((loss, "loss", PUBLISHED_LOSS), (accuracy, "test_accuracy", PUBLISHED_ACCURACY)):
        axes.plot(epochs, published, "--", color="0.5", label="seed 003")
        values = [row[key] for row in history]
        axes.plot(epochs[: len(history)], values, "o-", markersize=3, color=COLOURS[0], label="here")
        axes.set(xlabel="epoch", xticks=[1, 5, 10, 15, 20])
        axes.grid(alpha=0.3)
    loss.set(title="training loss", ylabel="cross-entropy (nats)")
    count = int(confusion.sum())
    estimate = share(np.repeat([1.0, 0.0], [confusion.trace(), count - confusion.trace()]), binary=True)
    error = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
    accuracy.errorbar(len(history), estimate.value, yerr=error, color=COLOURS[0], capsize=3)
    accuracy.set(title=f"test accuracy, {cell(estimate.as_dict())}", ylabel="share")
    loss.legend()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    matrix.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    for row, column in np.ndindex(shares.shape):
        colour = "black" if shares[row, column] > 0.5 else "white"
        text = rounded(100 * shares[row, column], ".0f")
        matrix.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    matrix.set_xticks(range(10), CIFAR10_CLASSES, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    matrix.set_yticks(range(10), CIFAR10_CLASSES, fontsize=8)
    matrix.set(title="confusion, % of each true class", xlabel="answer", ylabel="true class")
    figure.suptitle(caption, fontsize=10)
    save(figure, path)


def draw_layers(picture: npt.NDArray[np.uint8], outputs: list[tuple[str, npt.NDArray[np.float32]]], path: Path) -> None:
    """Every layer's output for one image: maps averaged over the channels, vectors as rows of 64."""
    figure, grid = plt.subplots(4, 7, figsize=(10, 6.6))
    panels = iter(grid.flat)
    first = next(panels)
    first.imshow(picture)
    first.set_title("test image 0\n3×32×32", fontsize=8)
    for index, (name, output) in enumerate(outputs):
        axes = next(panels)
        flat = output.ndim == 1
        image = output.reshape(-1, min(64, output.size)) if flat else output.mean(0)
        axes.imshow(image, cmap="cividis", aspect="auto" if flat else "equal")
        axes.set_title(f"{index} {name}\n{'×'.join(map(str, output.shape))}", fontsize=8)
    for axes in grid.flat:
        axes.set_axis_off()
    figure.suptitle("Every layer's output: maps averaged over channels, vectors as rows of 64 (own scale each)")
    save(figure, path)


def draw_filters(output: npt.NDArray[np.float32], layer: int, path: Path) -> None:
    """Every filter's output of one layer, on one common scale."""
    rows = -(-len(output) // 16)
    figure, grid = plt.subplots(rows, 16, figsize=(10, 0.58 * rows + 0.4))
    bound = float(np.abs(output).max())
    for axes, image in zip(grid.flat, output, strict=False):
        drawn = axes.imshow(image, cmap="PuOr_r", vmin=-bound, vmax=bound)
    for axes in grid.flat:
        axes.set_axis_off()
    figure.colorbar(drawn, ax=grid, shrink=0.9, pad=0.01, label="output")
    figure.suptitle(f"Every filter's output of layer {layer}, a convolution, for test image 0", fontsize=11)
    save(figure, path)


def draw_kernels(kernels: npt.NDArray[np.float32], path: Path) -> None:
    """The first layer's kernels as colours: grey is zero, one scale for all."""
    figure, grid = plt.subplots(2, 16, figsize=(10, 1.9))
    bound = float(np.abs(kernels).max())
    for axes, kernel in zip(grid.flat, kernels, strict=True):
        axes.imshow(0.5 + kernel.transpose(1, 2, 0) / (2 * bound))
        axes.set_axis_off()
    figure.suptitle(
        f"The first layer's 32 kernels, 3×3 RGB (grey is 0, full range ±{rounded(bound, '.2f')})", fontsize=11
    )
    save(figure, path)
