"""Compare many networks: accuracy, consistency, the worst-case change within a pixel, and cost.

examples:
  aliasing compare --antialias binomial4 --out leaderboard
      the offline default: three real ImageNet networks, plain and anti-aliased, on scikit-image's photographs
  aliasing compare --models "timm:*resnet*50*" resnet50 --images DIR --limit 1000 --out leaderboard
      all matching networks of timm on your own photographs, those trained anti-aliased beside their plain siblings
  aliasing compare --models "*" --installed --images DIR --out leaderboard
      every network that loads offline
  aliasing compare --models "timm:*resnet*" --images DIR --precision verified --device cuda --out leaderboard
      on a GPU, with float32's answers at nearly bfloat16's speed
  aliasing compare --models resnet50 --deployed --images DIR --calibrate OTHER --out leaderboard
      the network as it is, exported to ONNX, in bfloat16 and float16, and quantised to int8 on other photographs
  aliasing compare --models "timm:*" --images DIR --out leaderboard --format markdown
      all of timm; after an interruption the same command continues, and a network that cannot be loaded is skipped

Accuracy, P(top-1 change), MAC and the worst-case change (the share of images whose answer some shift changes)
come from --protocol, by default all shifts within one pixel. Consistency comes from two random windows (Zhang 2019).
An --output other than class probabilities has its own measures, which all come from --protocol.
"""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aliasing.cli import shared

if TYPE_CHECKING:
    from aliasing.leaderboard import Leaderboard

SUMMARY = "compare many networks by accuracy, consistency and cost"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing compare``."""
    shared.add_models(parser, shared.OFFLINE, "; with * or ?, all that match")
    parser.add_argument("--installed", action="store_true", help="of those that match, only the ones that load offline")
    parser.add_argument(
        "--antialias",
        nargs="+",
        default=[],
        metavar="SPEC",
        help="also measure these conversions of each plain network: binomial4, binomial3,before, flc, …",
    )
    parser.add_argument(
        "--recalibrate",
        metavar="PATH",
        help="also measure each conversion with batch-norm statistics from these images (not the measured ones)",
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="measure this network first, and compare those without a plain sibling with it (default: the first); its"
        " name, or the short one that the table shows",
    )
    parser.add_argument(
        "--deployed",
        nargs="*",
        metavar="FORM",
        help="measure the one network also in the forms in which it is deployed: onnx, bfloat16, int8 (with"
        " --calibrate), float16 (which most CPUs are slow at); by default the first three",
    )
    parser.add_argument(
        "--calibrate", metavar="PATH", help="with --deployed: images that calibrate int8 (the first 128)"
    )
    shared.add_labels(parser)
    shared.add_input(parser)
    shared.add_images(parser)
    shared.add_protocol(
        parser,
        use="how an image becomes views, for all columns but consistency",
        said="grid:radius=1; pad if the first network's input is below 80 pixels",
    )
    shared.add_protocol(
        parser,
        use="the same for consistency; if it is the same as --protocol, nothing is measured twice",
        option="--consistency",
        said="consistency:draws=1; pad likewise",
    )
    shared.add_output(parser)
    shared.add_design(parser, None, "two-phase for more than 1000 images and class probabilities")
    shared.add_execution(parser)
    shared.add_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots, tables
    from aliasing.leaderboard import compare_networks
    from aliasing.provenance import write_bytes
    from aliasing.state import write_json

    models = arguments.models
    if arguments.against:
        models = [_reference(arguments.against, models, arguments.installed), *models]
    with shared.measuring(arguments) as options:
        kinds = {"protocol": arguments.protocol, "consistency": arguments.consistency, "output": arguments.output}
        loaded, forms = shared.named(models, arguments), list[dict[str, Any]]()
        if arguments.deployed is not None:
            board, forms = _deployed(arguments, loaded, {**kinds, **options})
        else:
            board = compare_networks(
                loaded,
                antialiased=arguments.antialias,
                recalibrate_on=arguments.recalibrate,
                installed=arguments.installed,
                **kinds,
                **options,
            )
        if options["ranks"].rank > 0:
            return
        summary = board.summary() | ({"deployed": forms} if forms else {})
        if arguments.out:
            what, *said = filter(None, board.remarks())
            whole = tables.leaderboard_tables(summary, board.speed, "markdown")
            parts = [*tables.slide(summary), *said, *whole, *tables.deployed_tables(summary, "markdown"), what]
            write_bytes(arguments.out / "leaderboard.md", ("\n\n".join(parts) + "\n").encode())
            (values,) = tables.leaderboard_tables(summary, board.speed, "csv")
            write_bytes(arguments.out / "leaderboard.csv", f"{values}\n".encode())
            plots.save(plots.leaderboard(board), arguments.out / "figure.png")
            if len(board.networks) > 1:
                plots.save(plots.differences(board), arguments.out / "differences.png")
            write_json(arguments.out / "summary.json", summary)
    found = tables.leaderboard_tables(summary, board.speed, arguments.format)
    found += tables.deployed_tables(summary, arguments.format)
    if arguments.format == "markdown":
        found = [*tables.slide(summary), *found]
    folders = ("records/", "gallery/")
    pictures = ("figure.png", *(["differences.png"] if len(board.networks) > 1 else []))
    written = ("leaderboard.md", "leaderboard.csv", "summary.json", "speed.json", *folders, *pictures)
    lines = [*board.remarks(), shared.written_line(arguments.out, *written)]
    shared.print_result(arguments, {**summary, "speed": board.speed}, found, lines)


def _deployed(
    arguments: argparse.Namespace, models: Sequence[Any], options: dict[str, Any]
) -> "tuple[Leaderboard, list[dict[str, Any]]]":
    """The forms of the one network of --deployed."""
    from aliasing.errors import UsageError
    from aliasing.leaderboard.deployed import compare_deployed
    from aliasing.models import load_model, of_pictures

    if len(models) != 1 or arguments.antialias:
        raise UsageError(
            "--deployed is of one network: give --models NAME (antialiased:binomial4:NAME for a conversion)"
        )
    model = of_pictures(load_model(models[0]), "--deployed")
    return compare_deployed(model, forms=arguments.deployed, calibrate=arguments.calibrate, **options)


def _reference(wanted: str, models: Sequence[str], installed: bool) -> str:
    """The network of --against: one of those given, by any name that a table shows, or else any that can be loaded.

    It is told before anything is measured if there is none.
    """
    from aliasing.called import meant_by
    from aliasing.errors import InputError, UsageError
    from aliasing.leaderboard.entrants import choose
    from aliasing.models import load_model
    from aliasing.models.source import label_of

    given = {label_of(name)[0] or name: name for name in choose(models, installed) if isinstance(name, str)}
    found = meant_by(wanted, given)
    if found is not None:
        return given[found]
    try:
        load_model(wanted)
    except (InputError, UsageError):
        # What a network is called may be known only when it is loaded; not all that match a pattern are.
        for name in models:
            with suppress(InputError, UsageError):
                loaded = load_model(name)
                if meant_by(wanted, [loaded.name], {loaded.name: {"weights": loaded.origin}}):
                    return name
        raise
    return wanted
