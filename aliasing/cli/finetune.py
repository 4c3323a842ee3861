"""Train a network for a few more epochs, so that a converted one gets its accuracy back.

examples:
  aliasing finetune antialiased:binomial4:resnet50 --data DIR --epochs 3 --out run
      SGD from its current weights; DIR holds one folder per class, named by the class's name or number, or images and
      a labels.csv
  aliasing finetune file:net.safetensors@module:networks:resnet20 --data cifar10/train.parquet --out run

The folder keeps the state of the run: the same command resumes where it was stopped. At the end it holds
weights.safetensors, which restores the conversion too when it is loaded.
"""

import argparse
from functools import partial
from pathlib import Path

from aliasing.cli import shared

SUMMARY = "train a network for a few more epochs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing finetune``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    shared.add_labels(parser)
    parser.add_argument("--data", required=True, metavar="PATH", help="labelled images")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the state of the run and the result"
    )
    shared.add_recipe(parser)
    shared.add_choice(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, write, print."""
    from aliasing.images import choose_images, open_images
    from aliasing.models import load_model
    from aliasing.runs import ALONE, hold, keep_apart
    from aliasing.surgery import save
    from aliasing.surgery.finetune import finetune

    (model,) = map(load_model, shared.named([arguments.model], arguments))
    images = open_images(arguments.data)
    keep_apart(images.folders, arguments.out)
    images = choose_images(images, limit=arguments.limit, sample=arguments.sample, seed=arguments.seed)
    with hold(arguments.out, ALONE, arguments.command):
        tell = partial(print, flush=True)
        tuned = finetune(model, images, arguments.out, shared.recipe_of(arguments), tell=tell)
        weights = arguments.out / "weights.safetensors"
        save(tuned, weights)
    print(tuned.notes[-1])
    print(f"written to {weights}; measure it on images that it was not trained on:")
    print(
        f"  aliasing jitter --models {arguments.model} {shared.loaded_as(weights, arguments.model)} --images HELD-OUT"
    )
