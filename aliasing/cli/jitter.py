"""Measure how much the answers of pretrained networks move when the image moves by one pixel.

examples:
  aliasing jitter --out jitter
      the offline default: three real ImageNet networks on the photographs that scikit-image bundles
  aliasing jitter --models vgg16 resnet50 densenet201 --images DIR --out jitter
      torchvision's networks on one's own photographs
  aliasing jitter --models file:net.safetensors@torchvision:resnet18 --images DIR --protocol black
      one's own weights, the photograph small on black
  aliasing jitter --protocol consistency:draws=1 --resizer torch --json
      two random windows a photograph, resized by torch, the summary on standard output
  aliasing jitter --models resnet50 antialiased:binomial4:resnet50 --images photo.jpg \
      --protocol horizontal:pixels=32 --animate --out jitter
      a film of one photograph, plain and anti-aliased side by side: animation.mp4, .gif and its numbers, .json
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aliasing.cli.shared import (
    add_animate,
    add_images,
    add_run,
    cell,
    check_animate,
    film_numbers,
    images_of,
    print_json,
    skipped_lines,
)

SUMMARY = "measure how much a network's answer moves when the image moves by one pixel"

DEFAULT_MODELS = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing jitter``."""
    parser.add_argument(
        "--models", nargs="+", default=DEFAULT_MODELS, metavar="NAME", help="networks (see `aliasing models`)"
    )
    add_images(parser)
    parser.add_argument(
        "--protocol",
        default="crop",
        metavar="NAME[:KEY=VALUE,…]",
        help="how an image becomes views: crop (default), crop-random, black, mean, inpaint, consistency,"
        " consistency-cifar, pad, grid, horizontal, vertical, circular, subpixel, scale, rotate, frames",
    )
    parser.add_argument(
        "--resizer", default="pil", help="pil (default), torch, torch-aliased, opencv-linear or opencv-area"
    )
    parser.add_argument(
        "--output",
        choices=("probabilities", "embedding"),
        default="probabilities",
        help="what of the network is compared; `embedding` for one that is no classifier",
    )
    add_run(parser)
    add_animate(parser, "the photograph that moves the first network's answer most, along the path of the protocol")


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots
    from aliasing.errors import InputError, UsageError
    from aliasing.jitter import measure_jitter, trace_most_jittery
    from aliasing.protocols import make_protocol
    from aliasing.provenance import write_json

    images = images_of(arguments)
    protocol = make_protocol(arguments.protocol, resizer=arguments.resizer)
    if arguments.animate:
        check_animate(arguments, protocol)
        if arguments.output == "embedding":
            raise UsageError("--animate shows probabilities, which an embedding has not")
    result = measure_jitter(
        arguments.models,
        images,
        protocol,
        output=arguments.output,
        limit=arguments.limit,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        out=arguments.out,
        progress=not arguments.json,
    )
    summary = result.summary()
    if arguments.out:
        write_json(arguments.out / "summary.json", summary)
        traces = trace_most_jittery(result, arguments.models, images)
        plots.save(plots.jitter(result, traces), arguments.out / "figure.png")
        if arguments.animate:
            if not traces:
                raise InputError("--animate: no photograph has moved at all, so there is nothing to show")
            plots.save_film(plots.animation(traces), arguments.out / "animation", progress=not arguments.json)
            write_json(
                arguments.out / "animation.json", film_numbers([trace.numbers() for trace in traces], result.settings)
            )
    if arguments.json:
        print_json(summary)
    else:
        print("\n".join(_report(summary, arguments.out)))
        if arguments.animate:
            print(f"and the film of {traces[0].image}: animation.mp4, animation.gif, animation.json")


_COLUMNS = {
    "top1_change": "P(top-1 change)",
    "mac": "MAC",
    "cosine_distance": "cosine distance",
    "neighbour_change": "P(neighbour change)",
    "accuracy": "accuracy",
    "worst_accuracy": "worst-case accuracy",
}


def _report(summary: dict[str, Any], out: Path | None) -> Iterable[str]:
    """The summary for a person."""
    from tabulate import tabulate

    models = summary["models"]
    columns = [name for name in _COLUMNS if any(name in model for model in models.values())]
    rows = [
        [name, *(cell(model.get(column)) for column in columns), model["images"], model["pairs"]]
        for name, model in models.items()
    ]
    yield tabulate(rows, ["network", *(_COLUMNS[column] for column in columns), "images", "pairs"])
    yield "(in brackets the 95 % interval)"
    if "accuracy" in columns:
        yield "(an accuracy flatters a network that was trained on these images)"
    if summary["differences"]:
        columns = [name for name in columns if name in summary["differences"][0]]
        first = summary["differences"][0]["first"]
        rows = [
            [difference["second"], *(cell(difference[column], sign="+") for column in columns)]
            for difference in summary["differences"]
        ]
        yield ""
        yield tabulate(rows, [f"minus {first}, paired", *(_COLUMNS[column] for column in columns)])
    yield ""
    for name, model in models.items():
        yield from (f"{name}: {text}" for text in (*model["cautions"], *model["notes"]))
        if model["not_finite"]:
            yield f"{name}: NaN or infinite output on {len(model['not_finite'])} images: {_some(model['not_finite'])}"
    yield from skipped_lines(summary["images"], out)
    yield f"written to {out}: summary.json, records/, figure.png" if out else "nothing is kept: add --out DIR"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
