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
  aliasing jitter --models vgg16 --images DIR --precision verified --out jitter
      the answers of float32 at nearly the speed of bfloat16
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aliasing.cli.shared import add_images, add_run, cell, images_of, print_json, skipped_lines

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
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "verified"),
        default="float32",
        help="`verified`: bfloat16, run again in float32 where rounding could have changed the answer, and audited; the"
        " mean absolute change is then known from a sample only",
    )
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default), cuda, cuda:1 or mps")
    parser.add_argument("--compile", action="store_true", help="run the networks by torch.compile: pays on long runs")
    add_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots
    from aliasing.jitter import measure_jitter, trace_most_jittery
    from aliasing.protocols import make_protocol
    from aliasing.provenance import write_json

    images = images_of(arguments)
    result = measure_jitter(
        arguments.models,
        images,
        make_protocol(arguments.protocol, resizer=arguments.resizer),
        output=arguments.output,
        limit=arguments.limit,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        precision=arguments.precision,
        device=arguments.device,
        compiled=arguments.compile,
        out=arguments.out,
        progress=not arguments.json,
    )
    summary = result.summary()
    if arguments.out:
        write_json(arguments.out / "summary.json", summary)
        plots.save(
            plots.jitter(result, trace_most_jittery(result, arguments.models, images)), arguments.out / "figure.png"
        )
    if arguments.json:
        print_json(summary)
    else:
        print("\n".join(_report(summary, arguments.out)))


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
        if "verification" in model:
            yield f"{name}: {_verification(model['verification'])}"
        if model["not_finite"]:
            yield f"{name}: NaN or infinite output on {len(model['not_finite'])} images: {_some(model['not_finite'])}"
    yield from skipped_lines(summary["images"], out)
    yield f"written to {out}: summary.json, records/, figure.png" if out else "nothing is kept: add --out DIR"


def _verification(found: dict[str, Any]) -> str:
    """What float32 says of the answers of bfloat16."""
    bound = "all views" if found["bound"] is None else f"views with a margin below {found['bound']:.3f} in logits"
    share = "" if found["run_again"] is None else f", {found['run_again']:.1%} of them"
    return (
        f"bfloat16, {bound} run again in float32{share}; of {found['audited_pairs']} audited pairs"
        f" {found['disagreements']} had a wrong answer: at most {found['disagreement_limit']:.2%} of all (95 %)"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
