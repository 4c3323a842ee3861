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
  aliasing compare --models "timm:*" --images DIR --out leaderboard --format markdown
      all of timm; after an interruption the same command continues, and a network that cannot be loaded is skipped

Accuracy, P(top-1 change), MAC and the worst-case change (the share of images whose answer some shift changes)
come from --protocol, by default all shifts within one pixel. Consistency comes from two random windows (Zhang 2019).
An --output other than class probabilities has its own measures, which all come from --protocol.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aliasing.cli import shared
from aliasing.tables import counted, measured_under

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
        help="measure this network first, and compare those without a plain sibling with it (default: the first)",
    )
    shared.add_labels(parser)
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
    shared.add_execution(parser)
    shared.add_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, print."""
    from aliasing import plots, tables
    from aliasing.leaderboard import compare_networks
    from aliasing.models import load_model
    from aliasing.models.source import label_of
    from aliasing.provenance import write_bytes, write_json

    models = arguments.models
    if arguments.against:
        first = next((name for name in models if label_of(name)[0] == arguments.against), arguments.against)
        load_model(first)  # it is told before anything is measured if there is none
        models = [first, *models]
    with shared.measuring(arguments) as options:
        board = compare_networks(
            shared.named(models, arguments.labels),
            protocol=arguments.protocol,
            consistency=arguments.consistency,
            output=arguments.output,
            antialiased=arguments.antialias,
            recalibrate_on=arguments.recalibrate,
            installed=arguments.installed,
            **options,
        )
        if options["ranks"].rank > 0:
            return
        summary = board.summary()
        if arguments.out:
            write_json(arguments.out / "summary.json", summary)
            markdown = "\n\n".join([*tables.leaderboard_tables(summary, board.speed, "markdown"), _of_what(summary)])
            write_bytes(arguments.out / "leaderboard.md", f"{markdown}\n".encode())
            (values,) = tables.leaderboard_tables(summary, board.speed, "csv")
            write_bytes(arguments.out / "leaderboard.csv", f"{values}\n".encode())
            plots.save(plots.leaderboard(board), arguments.out / "figure.png")
    found = tables.leaderboard_tables(summary, board.speed, arguments.format)
    shared.print_result(arguments, {**summary, "speed": board.speed}, found, _remarks(summary, arguments.out))


def _remarks(summary: dict[str, Any], out: Path | None) -> Iterable[str]:
    """Remarks on the tables."""
    models = summary["models"]
    yield _of_what(summary)
    yield from shared.flattery(summary, "leaderboard")
    if summary["pareto"]:
        front = ", ".join(summary["pareto"])
        yield f"by these estimates no other is both more accurate and more consistent than: {front}"
    yield from shared.first_lines(list(_notes(models)), out)
    unmeasured = summary["unmeasured"]
    if unmeasured:
        yield f"{len(unmeasured)} of {len(unmeasured) + len(models)} networks could not be measured:"
        yield from shared.first_lines([f"  {name}: {reason}" for name, reason in unmeasured.items()], out)
    yield from shared.skipped_lines(summary["images"], out)
    tables = "leaderboard.md", "leaderboard.csv"
    yield shared.written_line(out, *tables, "summary.json", "speed.json", "records/", "gallery/", "figure.png")


def _of_what(summary: dict[str, Any]) -> str:
    """Of how many images the tables are, and under which protocols."""
    models, settings = summary["models"], summary["settings"]
    images = max(model["images"] for model in models.values())
    by = f"on {settings['threads']} of its cores" if settings["device"] == "cpu" else f"by its {settings['device']}"
    return (
        f"({counted(images)}; 95 % intervals in brackets; views per second on this machine, {by})\n\n"
        f"{measured_under(settings)}."
    )


def _notes(models: dict[str, Any]) -> Iterable[str]:
    """Remarks on networks."""
    for name, model in models.items():
        yield from (f"{name}: {text}" for text in model["cautions"])
        yield from (f"{name}: {text}" for text in model["notes"] if not text.startswith("anti-aliased: "))
        if model["group"] == "trained anti-aliased" and model["sibling"] is None:
            yield f"{name}: trained anti-aliased; its plain sibling is not among these networks"
        if model["not_finite"]:
            yield f"{name}: NaN or infinite output on {shared.some(model['not_finite'])}"
        if "verification" in model:
            yield f"{name}: {shared.verification_line(model['verification'])}"
