"""Look at a network's feature maps: while the image moves, layer by layer, and filter by filter.

examples:
  aliasing features pypi:efficientnet_lite0 photo.jpg --out features
      figure.png: maps at several depths while the photograph moves, and their global averages; layers.png: every
      convolution's output; filters.png: every filter's output of one layer
  aliasing features antialiased:binomial4:resnet50 photos/ --limit 200 --out features
      the first photograph drawn, the change of the averages measured over 200
  aliasing features resnet50 photo.jpg --layers relu layer2 layer4 --filters layer1.0.conv2 --protocol circular --json
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aliasing.cli.shared import cell, print_json, source_of

SUMMARY = "look at a network's feature maps while the image moves"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing features``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, a folder, a glob, an archive, a data set on disk, or `sample`; the first is drawn",
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME", help="modules, or `input` (default: one for each resolution)"
    )
    parser.add_argument(
        "--filters", metavar="NAME", help="the layer whose filters are drawn (default: the first of the layers)"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="the channel that is drawn (default: a typical one)")
    parser.add_argument(
        "--protocol",
        default="crop",
        metavar="NAME[:KEY=VALUE,…]",
        help="how the image moves (see `aliasing jitter`; default crop)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="look at the first N images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="for protocols that draw at random")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="leave summary.json, figure.png, layers.png and filters.png here"
    )
    parser.add_argument("--json", action="store_true", help="print the summary instead of a table")


def run(arguments: argparse.Namespace) -> None:
    """Measure, draw, print."""
    from aliasing.depth.feature_maps import INPUT, average_change, choose_layers
    from aliasing.errors import UsageError
    from aliasing.models import load_model
    from aliasing.protocols import make_protocol
    from aliasing.provenance import command_line, versions, write_json

    if arguments.channel is not None and arguments.channel < 0:
        raise UsageError(f"--channel is {arguments.channel}; channels are numbered from 0")
    model, protocol = load_model(arguments.model), make_protocol(arguments.protocol)
    source = source_of(arguments)
    layers = arguments.layers or [INPUT, *choose_layers(model)]
    change = average_change(model, source, protocol, layers, limit=arguments.limit, seed=arguments.seed)
    summary = {
        "model": model.name,
        "identity": model.identity,
        "weights": model.weights,
        "layers": {name: estimate.as_dict() for name, estimate in change.layers.items()},
        "measure": "relative change of the global averages from one view to the next, mean over images",
        "images": {"source": source.description, "used": change.images, "skipped": change.skipped},
        "settings": {"protocol": protocol.parameters(), "limit": arguments.limit, "seed": arguments.seed},
        "versions": versions(),
        "command": command_line(),
    }
    if arguments.out:
        summary["drawn"] = _draw(arguments, model, protocol, source, layers, change)
        write_json(arguments.out / "summary.json", summary)
    if arguments.json:
        print_json(summary)
    else:
        print("\n".join(_report(summary, arguments.out)))


def _draw(arguments: argparse.Namespace, model: Any, protocol: Any, source: Any, layers: list[str], change: Any) -> Any:
    """The three figures of the first image that can be shown; what they show."""
    from aliasing import plots
    from aliasing.depth.feature_maps import INPUT, convolutions, follow_maps, layer_outputs

    image = next(entry for entry in source if entry.name not in change.skipped).load()
    moving = follow_maps(model, image, protocol, layers, seed=arguments.seed)
    plots.save(plots.moving_maps(moving, change, arguments.channel), arguments.out / "figure.png")
    first = moving.pictures[:1]
    every = convolutions(model)
    chosen = arguments.filters or next((name for name in layers if name != INPUT), every[0] if every else INPUT)
    plots.save(plots.filters(layer_outputs(model, first, [chosen])[0], model.name), arguments.out / "filters.png")
    outputs = layer_outputs(model, first, arguments.layers or every or layers)
    plots.save(plots.layers(outputs, model.name), arguments.out / "layers.png")
    channels = {layer.layer: layer.typical_channel() for layer in moving.layers}
    return {"image": image.name, "channels": channels, "filters_of": chosen}


def _report(summary: dict[str, Any], out: Path | None) -> Iterable[str]:
    """The summary for a person."""
    from tabulate import tabulate

    rows = [[name, cell(estimate, digits=4)] for name, estimate in summary["layers"].items()]
    yield tabulate(rows, ["layer", "change of the global averages per step"])
    images = summary["images"]
    yield f"(relative to their size; {images['used']} images" + (
        ", in brackets the 95 % interval)" if images["used"] > 1 else "; one image has no interval)"
    )
    yield from (f"skipped {name}: {reason}" for name, reason in list(images["skipped"].items())[:10])
    yield (
        f"written to {out}: summary.json, figure.png, layers.png, filters.png"
        if out
        else "nothing is kept: add --out DIR"
    )
