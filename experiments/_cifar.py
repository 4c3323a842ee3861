"""The CIFAR ResNets of He et al. 2016 with their trained weights, and the images that they are measured on."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from aliasing.images import ImageSource, open_images
from aliasing.models import Classifier, load_model
from experiments._photographs import evenly
from experiments._run import Run, hash_files


def cifar_resnet(run: Run, layers: int) -> Classifier:
    """Return the trained network with this number of layers; its architecture is in the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    path = run.folder("cifar10-resnets") / f"resnet{layers}.safetensors"
    return replace(load_model(f"file:{path}@module:cifar_resnet:resnet{layers}"), name=f"CIFAR ResNet{layers}")


def cifar_test(run: Run, full: int, quick: int) -> tuple[ImageSource, dict[str, Any]]:
    """Return N CIFAR-10 test images, evenly over the file, and what a summary says about them."""
    path = run.folder("cifar10") / "test.parquet"
    source = open_images(path)
    chosen, of = evenly(source, quick if run.quick else full)
    data = {"name": "CIFAR-10, test", "images": len(chosen), "of": of, "blake2b": hash_files([path])}
    return ImageSource(f"{len(chosen)} of {source.description}", lambda: iter(chosen)), data


def cifar_train(run: Run) -> Path:
    """The CIFAR-10 training images."""
    return run.folder("cifar10") / "train.parquet"
