"""Check what downsampling operators and networks guarantee, beside what is published.

Each law is measured in float64, with the worst case found: constants, sums, whole and fractional circular shifts,
crops, sizes, strides, what folds, gradients, exported programs, cost.

examples:
  aliasing guarantees                           every operator at stride 2
  aliasing guarantees aps lps tips --stride 3   some of them at another stride
  aliasing guarantees blur flc --dims 1 --out guarantees
      for sounds, with a figure, summary.json and records/
"""

import argparse
from pathlib import Path

from aliasing.cli import shared

SUMMARY = "check what operators and networks guarantee, beside what is published"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing guarantees``."""
    from aliasing.kinds import OPERATORS

    names = parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"operators ({', '.join(OPERATORS)}; subsample, max, average) or networks; default: every operator",
    )
    names.completer = lambda **_: tuple(OPERATORS)  # type: ignore[attr-defined]
    parser.add_argument("--stride", type=int, nargs="+", default=[2], metavar="S", help="one, or one each axis")
    parser.add_argument("--dims", type=int, choices=(1, 2, 3), default=2, help="spatial axes (default 2)")
    shared.add_seed(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write summary.json, records/ and figure.png here")
    shared.add_format(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    from aliasing.downsample.guarantees import guarantees

    stride = arguments.stride[0] if len(arguments.stride) == 1 else tuple(arguments.stride)
    found = guarantees(arguments.names or None, stride=stride, dims=arguments.dims, seed=arguments.seed)
    report = found.readable(arguments.format)
    if arguments.format != "csv":
        written = shared.written_line(arguments.out, "summary.json", "records/", "figure.png")
        report += ["", *found.remarks(), written]
    shared.write_and_print(arguments, found, report)
