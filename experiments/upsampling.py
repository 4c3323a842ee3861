"""Which pair of down- and upsampling segments a street scene best, and steadiest, in a small U-Net trained alike?

Claims: a decoder that puts values back at the phase that its encoder kept moves with every circular shift by whole
pixels (Chaman & Dokmanić 2021); transposed convolutions and nearest neighbours leave images, a checkerboard at the
Nyquist frequency (Odena et al. 2016), which a low-pass behind the upsampling rejects (Karras et al. 2021).

CamVid's scenes at a quarter of their size; every other scene trains, the others test. The budget is the same for all,
and small. Every padding is circular, so that what is promised of circular shifts can hold. The interval of a mean is
over three seeds, and differences from plain are of the same seed.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

import aliasing as al
from aliasing.estimates import mean
from aliasing.plots.style import COLOURS, save, style
from experiments._data import Labelled
from experiments._run import Run, hash_files
from experiments._scenes import VOID
from experiments._training import Recipe, normalise, over_seeds, train

SIZE = (80, 112)  # of the windows, in scenes of 90×120
CORNERS = ((0, 0), (0, 8), (10, 0), (10, 8))
IGNORED = -100  # by torch's cross entropy
# What goes up in the network itself, and how it is converted.
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "maximum, transposed": ("transposed", {}),
    "maximum, nearest": ("nearest", {}),
    "maximum, unpooling": ("unpooling", {}),
    "blur, nearest": ("nearest", {"operator": "blur"}),
    "blur, blur": ("nearest", {"operator": "blur", "upsampling": True}),
    "FLC, FLC": ("nearest", {"operator": "flc", "upsampling": True}),
    "APS, nearest": ("nearest", {"operator": "aps"}),
    "APS, APS": ("nearest", {"operator": "aps", "upsampling": True}),
    "LPS, LPS": ("nearest", {"operator": "lps", "upsampling": True}),
}
PLAIN = "maximum, nearest"
MEASURES = {
    "miou": "mean IoU",
    "crop": "agreement, windows a pixel apart",
    "circular": "agreement, circular shifts",
    "checkerboard": "checkerboard, share of energy",
}


class UNet(nn.Module):
    """Two levels, with circular padding."""

    def __init__(self, up: str, width: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.encoder = nn.ModuleList(_twice(a, b) for a, b in zip((3, *widths), widths, strict=False))
        self.pool = nn.MaxPool2d(2, return_indices=up == "unpooling")
        pairs = list(pairwise(widths))
        if up == "transposed":
            self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in pairs)
        else:
            self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.unpool, self.nearest, self.how = nn.MaxUnpool2d(2), nn.Upsample(scale_factor=2), up
        self.decoder = nn.ModuleList(_twice(2 * fine, fine) for fine, _ in pairs)
        self.head = nn.Conv2d(width, VOID, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Any] = []
        for level, layers in enumerate(self.encoder):
            x = layers(x)
            if level < len(self.up):
                pooled = self.pool(x)
                skips.append((x, pooled[1] if self.how == "unpooling" else None))
                x = pooled[0] if self.how == "unpooling" else pooled
        for level in reversed(range(len(self.up))):
            skip, places = skips[level]
            x = self.up[level](x)
            if self.how == "unpooling":
                x = self.unpool(x, places)
            elif self.how == "nearest":
                x = self.nearest(x)
            x = self.decoder[level](torch.cat([x, skip], 1))
        answer: Tensor = self.head(x)
        return answer


def _twice(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        convolution = nn.Conv2d(channels, outside, 3, padding=1, padding_mode="circular", bias=False)
        layers += [convolution, nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers)


def run(run: Run) -> dict[str, Any]:
    """Train every pair with every seed, measure and draw."""
    files = sorted((run.folder("camvid") / "images").glob("*.png"))
    trained, tested = (files[start : (4 if run.quick else None) : 2] for start in (1, 0))
    images, test = windows(trained, CORNERS[: 1 if run.quick else 4], mirrored=not run.quick), windows(tested, [(5, 4)])
    shown = [scene(file) for file in tested]
    seeds, epochs, width = ((0,), 1, 4) if run.quick else ((0, 1, 2), 12, 12)
    recipe = Recipe(epochs, "adam", 3e-3, 1 if run.quick else 8, cosine=True)
    found: dict[str, dict[str, list[Any]]] = {name: {measure: [] for measure in MEASURES} for name in PAIRS}
    weights: dict[str, Any] = {}
    for seed in seeds:
        for name in PAIRS:
            torch.manual_seed(seed)
            network = made(name, width)
            file = run.out / "training" / f"{name.replace(', ', '-')}-seed{seed}.safetensors"
            seeded = Recipe(**{**vars(recipe), "seed": seed})
            train(network, images, test, lambda pixels, _: show(pixels), show, seeded, file)
            weights[f"{name}, seed {seed}"] = {"sha256": hash_files([file])}
            for key, value in measure(network, shown).items():
                found[name][key].append({"value": value})
    numbers = {name: {key: over_seeds(rows) for key, rows in row.items()} for name, row in found.items()}
    scenes = {"name": "camvid/images", "sha256": hash_files(files)}
    note = f"{len(trained)} scenes to train, {len(tested)} to test, {epochs} epochs, seeds: {len(seeds)}"
    note += "; a quick look" if run.quick else ""
    with style():
        save(draw(numbers, note), run.out / "figure.png")
    return {
        "settings": {"width": width, "pairs": PAIRS, "note": note, **vars(recipe)},
        "data": {"train": images.description(), "test": test.description(), "scenes": scenes},
        "weights": weights,
        "numbers": {
            "pairs": numbers,
            "minus plain": {name: minus_plain(numbers, name) for name in numbers if name != PLAIN},
        },
    }


def made(name: str, width: int) -> nn.Module:
    """The network of a pair, not trained."""
    up, how = PAIRS[name]
    network = UNet(up, width)
    if not how:
        return network
    example = torch.zeros(1, 3, *SIZE)
    return al.antialias(network, scheme="all", padding="circular", example_input=example, **how)


def scene(file: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A scene at a quarter of its size, each pixel the mean of sixteen, and its classes at their middles."""
    pixels = np.asarray(Image.open(file).convert("RGB").reduce(4))
    labels = np.asarray(Image.open(file.parent.parent / "labels" / file.name))[2::4, 2::4].astype(np.int64)
    return pixels, np.where(labels == VOID, IGNORED, labels)


def windows(files: list[Path], corners: Any, *, mirrored: bool = False) -> Labelled:
    """Windows of the scenes at these corners, and mirrored."""
    found = [
        tuple(one[top : top + SIZE[0], left : left + SIZE[1]][:, ::step] for one in scene(file))
        for file in files
        for top, left in corners
        for step in ((1, -1) if mirrored else (1,))
    ]
    pixels, labels = (np.ascontiguousarray(np.stack(part)) for part in zip(*found, strict=True))
    return Labelled(f"windows of {len(files)} scenes of CamVid", pixels, labels)


def show(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """The picture, normalised."""
    return normalise(pixels, (0.41, 0.43, 0.43), (0.28, 0.28, 0.28))


@torch.inference_mode()
def measure(network: nn.Module, scenes: list[Any]) -> dict[str, float]:
    """The measures of a trained network over the scenes."""
    counts, agreed, followed, boards = np.zeros((VOID, VOID), np.int64), [], [], []
    (height, width), (top, left) = SIZE, (5, 4)
    for pixels, labels in scenes:
        seen = [show(pixels[None, top + k : top + k + height, left + k : left + k + width].copy()) for k in (0, 1)]
        logits, other = (network(x) for x in seen)
        classes, moved = logits[0].argmax(0), other[0].argmax(0)
        truth = torch.from_numpy(labels[top : top + height, left : left + width])
        known = truth != IGNORED
        counts += np.bincount(VOID * truth[known] + classes[known], minlength=VOID**2).reshape(VOID, VOID)
        agreed.append(float((classes[1:, 1:] == moved[:-1, :-1]).double().mean()))
        for by in ((1, 1), (2, 3), (7, 5)):
            rolled = network(seen[0].roll(by, (-2, -1)))[0].argmax(0)
            followed.append(float((classes.roll(by, (-2, -1)) == rolled).double().mean()))
        boards.append(float(al.sampling.imaging(logits.double(), 2).checkerboard.mean()))
    inside = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - inside
    miou = float((inside[union > 0] / union[union > 0]).mean())
    agreement, circular, board = (float(np.mean(values)) for values in (agreed, followed, boards))
    return {"miou": miou, "crop": agreement, "circular": circular, "checkerboard": board}


def minus_plain(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    """Mean difference from the plain network of the same seed, with its t interval over seeds."""
    ours, plain = numbers[name], numbers[PLAIN]
    return {
        key: mean([a["value"] - b["value"] for a, b in zip(ours[key]["seeds"], plain[key]["seeds"], strict=True)])
        for key in MEASURES
    }


def draw(numbers: dict[str, Any], note: str) -> Figure:
    """A panel a measure: the mean of each pair with its interval, and its seeds."""
    figure, panels = plt.subplots(1, len(MEASURES), figsize=(12, 4.4), sharey=True)
    for axes, (key, title) in zip(panels, MEASURES.items(), strict=True):
        for row, found in enumerate(numbers.values()):
            middle, seeds = found[key]["mean"], [one["value"] for one in found[key]["seeds"]]
            colour = COLOURS[row >= 3]
            if np.isfinite([middle.low, middle.high]).all():
                axes.plot([middle.low, middle.high], [row, row], color=colour, linewidth=1.5)
            axes.plot([middle.value], [row], "s", color=colour)
            axes.plot(seeds, [row + 0.25] * len(seeds), "o", color=colour, alpha=0.45, markersize=3)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xscale("log")
    panels[0].set_yticks(range(len(numbers)), list(numbers))
    panels[0].set_ylim(len(numbers) - 0.4, -0.6)
    panels[0].set_ylabel("down, up")
    figure.suptitle(f"{note}\nsquares: mean and 95 % interval over seeds; dots: seeds; orange: converted", fontsize=10)
    return figure
