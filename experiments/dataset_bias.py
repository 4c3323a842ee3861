"""Photographers put the object in the middle: where objects are, against what invariance would need.

Claim (Azulay & Weiss 2019): photographers bias data sets in where objects are and how large they are, so a network need
not be invariant to do well on them, and augmentation by shifts teaches only what such images show. If the place were
free, objects would be equally frequent everywhere.

Published: histograms of the distance between a dog's eyes and of the place of the eyes; no number that could be
compared.

Measured: from box annotations if they are found beside the photographs (``VOC2012/Annotations``,
``coco/annotations/instances_val2017.json``, ``imagenet/Annotations``). There are none here, so from the saliency of 500
ImageNet photographs (``figures/dataset_bias``): the most salient point of 39 % of them lies in the middle quarter.

Saliency is the spectral residual (Hou & Zhang 2007): the log spectrum minus its local mean, with the phase of the
picture, back in space and squared. The mean of any broad map lies near the middle. So the same maps, rolled around by
random distances, are shown beside them: photographs without a preferred place would give these.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from aliasing import spectrum
from aliasing.estimates import Estimate, mean, share
from aliasing.images import Image
from aliasing.plots.style import COLOURS, save, style
from aliasing.resamplers import resize
from experiments._boxes import Box, read_coco, read_imagenet, read_voc
from experiments._photographs import bounds, photographs
from experiments._run import Run

SIZE = 64
READERS = {
    "VOC 2012": ("VOC2012/Annotations", read_voc),
    "COCO val2017": ("coco/annotations/instances_val2017.json", read_coco),
    "ImageNet": ("imagenet/Annotations", read_imagenet),
}
Map = NDArray[np.float64]


def saliency(pixels: NDArray[np.uint8]) -> Map:
    """The spectral residual of a photograph, SIZE×SIZE, its sum one.

    The picture is made periodic first, so that its edges do not stand out, and smoothed by 2.5 of 64 pixels, as
    published.
    """
    grey = resize(pixels, SIZE, SIZE, "bilinear").astype(np.float64).mean(2)
    transform = spectrum.centred(spectrum.periodic(grey))
    log_magnitude = np.log(abs(transform) + 1e-9)
    residual = log_magnitude - ndimage.uniform_filter(log_magnitude, 3, mode="wrap")
    back = np.fft.ifft2(np.fft.ifftshift(np.exp(residual) * np.exp(1j * np.angle(transform))))
    found = ndimage.gaussian_filter(abs(back) ** 2, 2.5, mode="wrap")
    return np.asarray(found / found.sum())


def centroid(found: Map) -> tuple[float, float]:
    """The mean place (y, x) of a map whose sum is one, from 0 to 1."""
    axis = (np.arange(SIZE) + 0.5) / SIZE
    return float(found.sum(1) @ axis), float(found.sum(0) @ axis)


def run(run: Run) -> dict[str, Any]:
    """Boxes where there are any, saliency of every photograph, and the same maps rolled at random."""
    source, data = photographs(run, full=500, quick=12)
    random = np.random.default_rng(0)
    maps, rolled, sizes = [], [], []
    for entry in source:
        image = entry.load()
        assert isinstance(image, Image)
        found = saliency(image.pixels)
        maps.append(found)
        rolled.append(np.roll(found, random.integers(0, SIZE, 2), (0, 1)))
        sizes.append(float((found > 3 / SIZE**2).mean()))  # three times the mean, as published
    boxes = {
        name: list(read(run.data / place)) for name, (place, read) in READERS.items() if (run.data / place).exists()
    }
    numbers = {
        "saliency": {
            "photographs": _numbers(maps),
            "the same rolled at random": _numbers(rolled),
            "uniform": {"in the middle quarter": 0.25, "distance of the most salient point": _uniform_distance()},
            "share of the picture that is salient": mean(sizes),
        },
        "boxes": {name: _box_numbers(found) for name, found in boxes.items()},
        "could not be measured here (no annotations)": [name for name in READERS if name not in boxes],
    }
    save(draw(np.array(maps), np.array(rolled), boxes, numbers, data), run.out / "figure.png")
    return {
        "settings": {
            "saliency": "spectral residual, 64×64",
            "random rolls": "seed 0",
            "readers": {name: place for name, (place, _) in READERS.items()},
        },
        "data": data,
        "weights": {},
        "numbers": numbers,
    }


def _numbers(maps: list[Map]) -> dict[str, Any]:
    quarter = slice(SIZE // 4, SIZE - SIZE // 4)
    places = [centroid(found) for found in maps]
    return {
        "in the middle quarter": share(found[quarter, quarter].sum() for found in maps),
        "most salient point in the middle quarter": share(
            (float(max(map(abs, _offset(found))) < 0.25) for found in maps), binary=True
        ),
        "distance of the most salient point": mean(float(np.hypot(*_offset(found))) for found in maps),
        "centroid_y": mean(y for y, _ in places),
        "centroid_x": mean(x for _, x in places),
        "distance of the centroid": mean(float(np.hypot(y - 0.5, x - 0.5)) for y, x in places),
    }


def _offset(found: Map) -> tuple[float, float]:
    """From the middle to the most salient point, in sides of the picture."""
    y, x = np.unravel_index(int(found.argmax()), found.shape)
    return (int(y) + 0.5) / SIZE - 0.5, (int(x) + 0.5) / SIZE - 0.5


def _uniform_distance() -> float:
    """Mean distance of a uniform point from the middle of a unit square: (√2 + asinh 1) / 6."""
    return float((np.sqrt(2) + np.arcsinh(1)) / 6)


def _box_numbers(boxes: list[Box]) -> dict[str, Any]:
    images = {box.image for box in boxes}
    largest = [max((box for box in boxes if box.image == image), key=lambda box: box.area) for image in sorted(images)]
    offsets = [(box.centre[0] - 0.5, box.centre[1] - 0.5) for box in largest]
    return {
        "boxes": len(boxes),
        "images": len(images),
        "largest box's centre in the middle quarter": share(
            (float(max(map(abs, offset)) < 0.25) for offset in offsets), binary=True
        ),
        "its distance from the middle": mean(float(np.hypot(*offset)) for offset in offsets),
        "its share of the picture": share(box.area for box in largest),
    }


def draw(maps: Map, rolled: Map, boxes: dict[str, list[Box]], numbers: dict[str, Any], data: dict[str, Any]) -> Figure:
    """The mean map beside that of the rolled maps; the place of the most salient point; saliency by distance."""
    with style():
        figure, panels = plt.subplots(1, 4, figsize=(13, 3.9), width_ratios=[1, 1, 1, 1.15])
        highest = max(maps.mean(0).max(), rolled.mean(0).max()) * SIZE**2
        for axes, found, label in ((panels[0], maps, "photographs"), (panels[1], rolled, "rolled at random")):
            image = axes.imshow(found.mean(0) * SIZE**2, extent=(0, 1, 1, 0), cmap="viridis", vmin=0, vmax=highest)
            axes.set_title(f"mean saliency, {label}", fontsize=10)
            axes.set(xlabel="x, share of the width", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        panels[0].set_ylabel("y, share of the height")
        figure.colorbar(image, ax=panels[:2].tolist(), shrink=0.8, label="1: as much as anywhere", pad=0.01)
        points = np.array([_offset(found) for found in maps]) + 0.5
        panels[2].plot(
            points[:, 1], points[:, 0], ".", color=COLOURS[0], alpha=0.6, markersize=4, label="saliency peak"
        )
        for index, (name, found) in enumerate(boxes.items(), start=1):
            centres = np.array([box.centre for box in found[:2000]])
            panels[2].plot(centres[:, 1], centres[:, 0], ".", color=COLOURS[index], markersize=2, label=f"{name} boxes")
        panels[2].plot([0.25, 0.75, 0.75, 0.25, 0.25], [0.25, 0.25, 0.75, 0.75, 0.25], color=COLOURS[1], linewidth=1)
        panels[2].set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xlabel="x", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        panels[2].set_title("most salient points;\nbox: the middle quarter", fontsize=10)
        _middle(panels[3], numbers)
        figure.suptitle(
            f"Where the object stands: {data['images']} photographs"
            + ("" if boxes else " (no box annotations here: saliency instead)")
        )
        return figure


def _middle(axes: Axes, numbers: dict[str, Any]) -> None:
    """The share in the middle quarter, against the quarter that a free place would give."""
    rows: list[tuple[str, Estimate]] = []
    for name, found in (("photographs", "photographs"), ("rolled", "the same rolled at random")):
        of = numbers["saliency"][found]
        rows += [(f"saliency,\n{name}", of["in the middle quarter"])]
        rows += [(f"saliency peaks,\n{name}", of["most salient point in the middle quarter"])]
    rows += [
        (f"{name} boxes", found["largest box's centre in the middle quarter"])
        for name, found in numbers["boxes"].items()
    ]
    axes.errorbar(
        [row[1].value for row in rows],
        range(len(rows)),
        xerr=bounds([row[1] for row in rows]),
        fmt="o",
        capsize=3,
        color=COLOURS[0],
    )
    axes.axvline(0.25, color="black", linestyle=":", linewidth=1)
    axes.text(0.25, -0.42, " uniform", fontsize=8.5, va="center")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("share in the middle quarter,\n95 % intervals")
    axes.grid(axis="x", alpha=0.3)
