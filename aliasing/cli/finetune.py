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

from aliasing.cli.shared import add_choice, add_labels, loaded_as, named

SUMMARY = "train a network for a few more epochs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing finetune``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    add_labels(parser)
    parser.add_argument("--data", required=True, metavar="PATH", help="labelled images")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the state of the run and the result"
    )
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="passes over the images (default 3)")
    parser.add_argument(
        "--learning-rate", type=float, default=0.01, metavar="R", help="that of the first step (default 0.01)"
    )
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="images per step (default 128)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for the order, crops and mirroring (default 0)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="that of convolutions; weights stay float32; bfloat16 is faster on recent CPUs (default float32)",
    )
    add_choice(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, write, print."""
    from aliasing.images import choose_images, open_images
    from aliasing.models import load_model
    from aliasing.runs import ALONE, hold, keep_apart
    from aliasing.surgery import save
    from aliasing.surgery.finetune import Recipe, finetune

    recipe = Recipe(
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        precision=arguments.precision,
    )
    (model,) = map(load_model, named([arguments.model], arguments.labels))
    images = open_images(arguments.data)
    keep_apart(images, arguments.out)
    images = choose_images(images, limit=arguments.limit, sample=arguments.sample, seed=arguments.seed)
    with hold(arguments.out, ALONE):
        tell = partial(print, flush=True)
        tuned = finetune(model, images, arguments.out, recipe, tell=tell)
        weights = arguments.out / "weights.safetensors"
        save(tuned, weights)
    print(f"trained on {tuned.notes[-1]}")
    print(f"written to {weights}; measure it on images that it was not trained on:")
    print(f"  aliasing jitter --models {arguments.model} {loaded_as(weights, arguments.model)} --images HELD-OUT")
