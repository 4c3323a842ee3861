"""Draw a network's feature maps: while the image moves, layer by layer, and filter by filter.

examples:
  aliasing features pypi:efficientnet_lite0 photo.jpg --out features
      figure.png: maps at several depths while the photograph moves, and their global averages; layers.png: every
      convolution's output; filters.png: every filter's output of one layer
  aliasing features antialiased:binomial4:resnet50 photos/ --limit 200 --out features
      draws the first photograph, and measures the change of the averages over 200
  aliasing features resnet50 photo.jpg --layers relu layer2 layer4 --filters layer1.0.conv2 --protocol circular --json
"""

import argparse
from pathlib import Path

from aliasing.cli import shared

_FILES = ("summary.json", "figure.png", "layers.png", "filters.png")
SUMMARY = "draw a network's feature maps while the image moves"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing features``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    shared.add_drawn_images(parser)
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME", help="modules, or `input` (default: one for each resolution)"
    )
    parser.add_argument(
        "--filters", metavar="NAME", help="the layer whose filters are drawn (default: the first of the layers)"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="the channel that is drawn (default: a typical one)")
    shared.add_protocol(parser, "crop", "how the image moves")
    shared.add_seed(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write summary.json, figure.png, layers.png and filters.png here"
    )
    parser.add_argument("--json", action="store_true", help="print the summary instead of a table")


def run(arguments: argparse.Namespace) -> None:
    """Measure, draw, print."""
    from aliasing.depth.features import probe_features

    result = probe_features(
        arguments.model,
        shared.source_of(arguments),
        arguments.protocol,
        arguments.layers,
        filters=arguments.filters,
        channel=arguments.channel,
        seed=arguments.seed,
    )
    shared.write_and_print(arguments, result, shared.told(result, arguments.out, *_FILES))
