"""Cure a network: find the guilty sites, convert, fine-tune beside a control, and measure the gain on held-out images.

examples:
  aliasing cure file:net.pth@module:networks:resnet20 --train train.parquet --images test.parquet --out cure
      three epochs for the converted network and for the control, which is the network as it is
  aliasing cure resnet50 --train TRAINING --images HELD-OUT --out cure --dry-run
      how long that would take on this machine, measured on a few images
  aliasing cure resnet50 --train TRAINING --images HELD-OUT --candidates binomial3,before,all flc,all --out cure
      a choice between two conversions (operator, taps, placement and sites, as in the names of converted networks)

If interrupted, run the same command again: it resumes where it stopped, and ends with the same result. The folder holds
weights.safetensors (with the conversion), summary.json, figure.png, and a folder for each run on the way;
`aliasing report DIR --out DIR.html` makes a page of it.
"""

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from aliasing.cli import shared

SUMMARY = "the whole way: find the guilty sites, convert, fine-tune beside a control, and prove the gain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing cure``."""
    parser.add_argument("model", metavar="NETWORK", help="a network (see `aliasing models`)")
    shared.add_labels(parser)
    parser.add_argument("--train", required=True, metavar="PATH", help="labelled images to train on")
    parser.add_argument("--train-sample", type=int, metavar="N", help="train on N of them, drawn at random")
    shared.add_images(parser)
    shared.add_protocol(parser)
    parser.add_argument(
        "--candidates",
        nargs="+",
        metavar="SPECIFICATION",
        help="conversions to compare: operator, taps, placement and sites (default: four on all sites, and one on the"
        " guilty ones)",
    )
    shared.add_recipe(parser)
    shared.add_device(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the state, the weights and the results")
    parser.add_argument("--dry-run", action="store_true", help="only say how long it will take on this machine")
    shared.add_format(parser)


def run(arguments: argparse.Namespace) -> None:
    """Cure, write, print."""
    from aliasing.curing import cure, forecast_cure
    from aliasing.errors import UsageError
    from aliasing.models import load_model

    if arguments.out is None and not arguments.dry_run:
        raise UsageError("a cure is kept in a folder, in which it resumes if interrupted: give --out DIR, or --dry-run")
    (model,) = map(load_model, shared.named([arguments.model], arguments))
    given: dict[str, Any] = {
        "recipe": shared.recipe_of(arguments),
        "protocol": arguments.protocol,
        "candidates": arguments.candidates,
        "train_sample": arguments.train_sample,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    images = shared.source_of(arguments)
    tell = partial(print, file=sys.stderr, flush=True)
    if arguments.dry_run:
        _print_forecast(forecast_cure(model, arguments.train, images, tell=tell, **given))
        return
    _, result = cure(model, arguments.train, images, arguments.out, progress=not arguments.json, tell=tell, **given)
    summary = result.summary()
    shared.print_result(arguments, summary, result.readable(arguments.format), [*result.remarks(), *_next(arguments)])


def _print_forecast(stages: list[Any]) -> None:
    from tabulate import tabulate

    from aliasing.curing.forecast import assumed
    from aliasing.progress import duration

    rows = [[stage.stage, stage.images, duration(stage.seconds)] for stage in stages]
    print(tabulate(rows, headers=["stage", "images", "about"], colalign=("left", "right", "right")))
    print(f"in all about {duration(sum(stage.seconds for stage in stages))}, {assumed()}")
    print("nothing was written; while it runs, the command corrects the time that is left by the real rate")


def _next(arguments: argparse.Namespace) -> Iterable[str]:
    """What there is now, and what to do next."""
    weights = arguments.out / "weights.safetensors"
    yield f"written to {arguments.out}: weights.safetensors, summary.json, figure.png, and the runs on the way"
    yield f"the cured network is {shared.loaded_as(weights, arguments.model)}"
    yield f"a page: aliasing report {arguments.out} --out {arguments.out}.html"
