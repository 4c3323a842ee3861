"""List the resamplers, or measure what they do: what folds, where samples sit, how they round.

Without an argument it lists all that are installed. With names, patterns or --reduce it measures them, and prints those
that fold most first. `aliasing jitter --resizer opencv-area` measures a network with one of them.

examples:
  aliasing resamplers                           each with its library and version, and whether it low-passes
  aliasing resamplers 'opencv-*' pil            what these do when they reduce by 4
  aliasing resamplers '*' --reduce 2.5 --out resamplers
      all that are installed, with a figure and summary.json
  aliasing resamplers --of mypackage.images:shrink --dtype float32
      one's own: shrink(array, shape) makes of an array one of that shape
  aliasing resamplers --against pil opencv-linear --models resnet50 --images FOLDER
      skew: what it costs a network if photographs are resized by the second, not by the first
"""

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aliasing.cli import shared

if TYPE_CHECKING:
    from aliasing.resamplers.characteristics import Characteristics

SUMMARY = "list the resamplers, or measure what they fold and where they put samples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing resamplers``."""
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="names or patterns, as in 'torch*'")
    parser.add_argument("--reduce", type=float, metavar="R", help="measure how they reduce by R (default 4)")
    parser.add_argument("--size", type=int, metavar="N", help="samples along each axis of what is reduced")
    parser.add_argument(
        "--of",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="measure a function of an array and the shape to reach",
    )
    parser.add_argument(
        "--axes", type=int, default=2, metavar="N", help="what --of resamples: 1 sounds, 2 pictures, 3 volumes"
    )
    parser.add_argument("--dtype", default="uint8", metavar="TYPE", help="what --of takes: uint8, float32, float64")
    parser.add_argument("--channels", choices=("first", "last"), help="of three channels, where --of has them")
    parser.add_argument(
        "--against", nargs=2, metavar=("FIRST", "SECOND"), help="show --models the same --images through both"
    )
    shared.add_models(parser, shared.OFFLINE[:1])
    shared.add_images(parser)
    shared.add_device(parser)
    shared.add_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """List or measure, and print."""
    if arguments.against:
        _skew(arguments)
        return
    if not (arguments.patterns or arguments.of or arguments.reduce or arguments.size or arguments.out):
        _list(arguments)
        return
    if arguments.out:  # before TensorFlow: what draws loads Triton, which ends the process if it comes later
        from aliasing import plots  # noqa: F401
    from aliasing.resamplers.survey import chosen, survey

    reduction = arguments.reduce or 4
    if arguments.of:
        asked: list[str | Characteristics] = [_own(arguments, reduction), *chosen(arguments.patterns)]
        asked = asked if arguments.patterns else asked[:1]
    else:
        asked = [*chosen(arguments.patterns)]
    result = survey(asked, reduction, arguments.size, progress=not arguments.json)
    shared.write_and_print(arguments, result, _report(result, arguments))


def _skew(arguments: argparse.Namespace) -> None:
    from aliasing.resamplers import measure_skew
    from aliasing.tables import render

    first, second = arguments.against
    with shared.measuring(arguments, "jitter") as options:  # what is written is a run of jitter, and skew.json
        skew = measure_skew(arguments.models, resamplers=(first, second), device=arguments.device, **options)
    written = shared.written_line(arguments.out, "summary.json", "records/", "figure.png")
    title = f"{second} in the place of {first}, 95 % intervals in brackets"
    shared.write_and_print(arguments, skew, [render(skew.table(), arguments.format), "", title, written])


def _report(result: Any, arguments: argparse.Namespace) -> Iterable[str]:
    yield from result.readable(arguments.format)
    if arguments.format != "csv":
        yield from ["", *result.remarks(), shared.written_line(arguments.out, "summary.json", "records/", "figure.png")]


def _own(arguments: argparse.Namespace, reduction: float) -> "Characteristics":
    from aliasing.own import find
    from aliasing.resamplers import characterise

    return characterise(
        find(arguments.of, f"--of {arguments.of}"),
        reduction,
        arguments.axes,
        arguments.dtype,
        channels=arguments.channels,
        size=arguments.size,
        name=arguments.of,
    )


def _list(arguments: argparse.Namespace) -> None:
    """What is installed, without measuring it."""
    from aliasing.errors import InputError
    from aliasing.kinds import RESAMPLERS
    from aliasing.tables import render

    rows: list[dict[str, Any]] = []
    missing: dict[str, None] = {}  # in order, and each once
    for name in RESAMPLERS:
        try:
            resampler = RESAMPLERS[name]
        except InputError as error:
            missing[str(error).partition("' ")[2].partition(",")[0].removeprefix("needs ")] = None
            continue
        kinds = {"axes": resampler.axes, "dtypes": resampler.dtypes}
        rows.append(resampler.provenance() | kinds | {"interpolations": resampler.interpolations or ("its own",)})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        row.pop("conventions", None)  # of a few: for programs
        row |= {key: ", ".join(value) for key, value in row.items() if isinstance(value, tuple)}
    print(render(rows, arguments.format))
    if arguments.format == "table" and missing:
        print(f"not installed, or not whole: {', '.join(missing)}")
