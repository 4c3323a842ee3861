"""Options and output that the measuring commands share."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aliasing.kinds import DEFAULT_OPERATOR, IN_MEMORY, INPUTS, OPERATORS, OUTPUTS, PROTOCOLS
from aliasing.tables import FORMATS

if TYPE_CHECKING:
    from aliasing.images import ImageSource
    from aliasing.protocols import ViewProtocol
    from aliasing.surgery.finetune import Recipe

# The options of `add_input`.
_SAID = (
    "input_mean", "input_std", "input_size", "resize_size", "interpolation", "layout", "outputs", "preprocess",
)  # fmt: skip
OFFLINE = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")
"""The networks that pip installs."""


def known_images() -> str:
    """What `aliasing.images.open_images` takes, for help."""
    inputs = ", ".join(name for name in INPUTS if name not in IN_MEMORY)
    return f"image files, a folder, a pattern such as photos/*.jpg, or one of the kinds {inputs}"


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the options for images."""
    parser.add_argument(
        "--images",
        "--inputs",
        nargs="+",
        default=["sample"],
        metavar="PATH",
        help=f"{known_images()}; or sounds (WAV, FLAC, OGG, AIFF) for a network of sounds (default sample)",
    )
    parser.add_argument(
        "--orientation",
        choices=("upright", "stored"),
        default="upright",
        help="rotate photographs as their EXIF data say (default), or leave them as they are stored, as torchvision and"
        " timm do for the accuracies that they publish",
    )
    add_choice(parser)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options for measuring on some of the images."""
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N images only (see --sample)")
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="use N images drawn at random, by the seed and the hash of each image's bytes, not by name or place",
    )


def add_drawn_images(parser: argparse.ArgumentParser) -> None:
    """Which images are measured, by position; the first is drawn."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=f"{known_images()}; the first is drawn")
    add_choice(parser)


def add_models(parser: argparse.ArgumentParser, default: Sequence[str], more: str = "") -> None:
    """Which networks are measured."""
    parser.add_argument(
        "--models",
        nargs="+",
        default=default,
        metavar="NAME",
        help=f"networks, as NAME or LABEL=NAME (see `aliasing models`){more}",
    )


def add_protocol(
    parser: argparse.ArgumentParser,
    default: str | None = None,
    use: str = "how an image becomes views",
    option: str = "--protocol",
    said: str = "crop; samples for sounds; pad if the first network's input is below 80 pixels",
) -> None:
    """Which views of an image are compared; without a default, those that the help says."""
    parser.add_argument(
        option,
        default=default,
        metavar="NAME[:KEY=VALUE,…]",
        help=f"{use}: {', '.join(PROTOCOLS)} (default {default or said})",
    )


def add_resizer(parser: argparse.ArgumentParser) -> None:
    """Add the option for the resampler."""
    text = "the resampler, one of `aliasing resamplers` (default pil)"
    parser.add_argument("--resizer", default="pil", metavar="NAME", help=text)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option for what is compared."""
    parser.add_argument(
        "--output",
        choices=tuple(OUTPUTS),
        default="probabilities",
        help="the output that is compared: `masks` or `boxes` of places, `images` of a decoder, `embedding` of any",
    )


def add_truth(parser: argparse.ArgumentParser) -> None:
    """Add the options for ground truth that is no label."""
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="DIR",
        help="ground truth: for masks a PNG label map for each image, for boxes and instances YOLO's text files",
    )
    parser.add_argument("--void", type=int, metavar="N", help="the number in label maps that is no class")


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options for how networks run."""
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "verified"),
        default="float32",
        help="`verified`: bfloat16, repeated in float32 if rounding could have changed the answer, and audited; the"
        " mean absolute change then comes from a sample",
    )
    add_device(parser)
    parser.add_argument("--compile", action="store_true", help="run networks with torch.compile, for long runs")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option for the device."""
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default), cuda, cuda:1 or mps")


def add_operator(parser: argparse.ArgumentParser, taps: str) -> None:
    """Add the options for the operator, its filter and its placement."""
    operator = parser.add_argument(
        "--operator",
        default=DEFAULT_OPERATOR,
        metavar="NAME",
        help=f"one of {', '.join(OPERATORS)} (default {DEFAULT_OPERATOR})",
    )
    operator.completer = lambda **_: tuple(OPERATORS)  # type: ignore[attr-defined]
    parser.add_argument(
        "--taps",
        default=taps,
        help=f"the filter, if the operator takes one, by name or as numbers, 1-2-1 (default {taps})",
    )
    parser.add_argument("--placement", default="after", help="after (default) or before the convolution")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options for the batches of a run, its seed, and its results."""
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="batch size in views (default 16)")
    add_seed(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="stop, and name the images, if the network takes longer than this for a batch (default: wait)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write summary.json, records/ and figure.png here")
    add_format(parser)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the option for the seed."""
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the seed of random views and of --sample (default 0)"
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options for training."""
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="passes over the images (default 3)")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=0.01,
        metavar="R",
        help="the learning rate of the first step (default 0.01)",
    )
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="images per step (default 128)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="for the order, crops and mirroring (default 0)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="the precision of convolutions (default float32; bfloat16 is faster on recent CPUs); weights stay float32",
    )


def recipe_of(arguments: argparse.Namespace) -> "Recipe":
    """How to train, from the options of `add_recipe`."""
    from aliasing.surgery.finetune import Recipe

    names = ("epochs", "learning_rate", "batch_size", "seed", "precision")
    return Recipe(**{name: getattr(arguments, name) for name in names})


def add_design(parser: argparse.ArgumentParser, default: str | None, said: str) -> None:
    """Add the option for what of the views is shown; ``said`` is the default in words."""
    parser.add_argument(
        "--design",
        choices=("full", "two-phase"),
        default=default,
        help="full shows every view; two-phase shows every image once and draws further views by the margin, for"
        f" narrower intervals from the same number of views (default: {said})",
    )


def add_format(parser: argparse.ArgumentParser, json: str = "print the summary instead of a table") -> None:
    """Add the options for the printed format."""
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="an aligned table (default), Markdown, or CSV with one number per column",
    )
    shown.add_argument("--json", action="store_true", help=json)


@contextmanager
def measuring(arguments: argparse.Namespace, command: str | None = None) -> Iterator[dict[str, Any]]:
    """Hold the folder of a measurement, and send what networks print to standard error.

    Yields the measurement's arguments from the options of `add_images`, `add_run` and, where the command has them,
    `add_execution`, and its ``ranks``, the processes that share it; only the first of them writes and prints. The
    folder becomes that of ``command``, by default this one.
    """
    from aliasing.runs import hold, join_ranks

    options: dict[str, Any] = {"images": source_of(arguments)}  # before there is a folder
    options |= {name: getattr(arguments, name) for name in ("batch_size", "seed", "out", "timeout")}
    ranks = join_ranks()
    options |= {"progress": not arguments.json, "ranks": ranks}
    if "design" in arguments:
        options["design"] = arguments.design
    if "compile" in arguments:
        options |= {"precision": arguments.precision, "device": arguments.device, "compiled": arguments.compile}
    with hold(arguments.out, ranks, command or arguments.command), redirect_stdout(sys.stderr):
        yield options


def add_animate(parser: argparse.ArgumentParser, shown: str) -> None:
    """Add the option for a film."""
    parser.add_argument(
        "--animate", action="store_true", help=f"also make a film, with --out: {shown}; animation.mp4, .gif and .json"
    )


def check_animate(arguments: argparse.Namespace, protocol: "ViewProtocol") -> None:
    """Refuse a film that cannot be made, before anything is measured."""
    from aliasing.errors import UsageError
    from aliasing.plots.film import require_encoder

    if not arguments.out:
        raise UsageError("--animate writes files; give it --out DIR")
    if not protocol.is_path:
        paths = ", ".join(name for name, kind in PROTOCOLS.items() if kind.is_path)
        raise UsageError(f"--animate follows a path, and {protocol.name} does not have one; choose one of {paths}")
    require_encoder()


def film_numbers(networks: Sequence[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a film: each network's, the settings and the versions."""
    from aliasing.provenance import made_with

    return {"networks": list(networks), **made_with(settings)}


def loaded_as(weights: Path, model: str) -> str:
    """The name under which a file of weights for a named model is loaded; it holds the conversion itself.

    Examples
    --------
    >>> print(loaded_as(Path("new.pth"), "timm:efficientnet_b0.ra_in1k@test"))
    file:new.pth@timm:efficientnet_b0.ra_in1k@test
    >>> print(loaded_as(Path("new.pth"), "net=antialiased:binomial4:file:a@b.pth@timm:efficientnet_b0@test"))
    file:new.pth@timm:efficientnet_b0@test
    """
    from aliasing.models.source import label_of

    model = label_of(model)[1]
    while model.startswith(("antialiased:", "file:")):
        if model.startswith("file:"):  # without the file of its weights; only there does @ come before an architecture
            whole = model.removesuffix("@test")
            model = whole.rpartition("@")[2] + model[len(whole) :]
        else:
            model = label_of(model.split(":", 2)[2])[1]
    return f"file:{weights}@{model}"


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the option for the names of classes."""
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="the names of the networks' classes in order, one per line"
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add the options for how networks see pictures, where a file does not say it."""
    said = parser.add_argument_group("how the networks see pictures, where their files do not say it")
    for name, what in (("mean", "mean"), ("std", "standard deviation")):
        said.add_argument(
            f"--input-{name}",
            type=numbers,
            metavar="R,G,B",
            help=f"the {what} of each channel, of pictures in 0…1; one number for a network of one channel",
        )
    for name, what in (("input", "of the input"), ("resize", "to which the photograph is brought before the crop")):
        said.add_argument(f"--{name}-size", type=sizes, metavar="N", help=f"the size {what}: a side, or HEIGHT,WIDTH")
    said.add_argument("--interpolation", metavar="NAME", help="of that resize: bilinear, bicubic, …")
    said.add_argument("--layout", metavar="NCHW|NHWC", help="the order of an input's axes")
    said.add_argument(
        "--outputs",
        type=names,
        metavar="NAME,NAME,…",
        help="what the outputs of a file are, in its order: boxes,scores,labels or keypoints,scores,descriptors",
    )
    said.add_argument(
        "--preprocess",
        metavar="PACKAGE.MODULE:NAME",
        help="an evaluation transform of torchvision, timm or albumentations, or a function that makes one, instead of"
        " mean, standard deviation and sizes",
    )


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them: ``0.5`` or ``0.485,0.456,0.406``."""
    return tuple(map(float, text.split(",")))


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them: ``boxes,scores,labels``."""
    return tuple(name.strip() for name in text.split(","))


def sizes(text: str) -> int | tuple[int, ...]:
    """One whole number, or several with commas between them."""
    found = tuple(map(int, text.split(",")))
    return found if len(found) > 1 else found[0]


def named(models: Sequence[str], arguments: argparse.Namespace) -> Sequence[Any]:
    """The networks; loaded, if options say the names of their classes or how they see pictures."""
    said = {
        name.removeprefix("input_") if name in ("input_mean", "input_std") else name: value
        for name in _SAID
        if (value := getattr(arguments, name, None)) is not None
    }
    if getattr(arguments, "labels", None) is not None:
        said["labels"] = _lines(arguments.labels)
    if not said:
        return models
    from aliasing.models import load_model

    return [load_model(model, **said) for model in models]


def _lines(labels: Path) -> tuple[str, ...]:
    from aliasing.errors import InputError

    try:
        return tuple(labels.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{labels} cannot be read ({error}); expected a class's name on each line") from None


def source_of(arguments: argparse.Namespace) -> "ImageSource":
    """Open the images, check that ``--out`` is not among them, and keep those of ``--limit`` or ``--sample``."""
    from aliasing.images import choose_images, open_images
    from aliasing.runs import keep_apart

    images = arguments.images[0] if len(arguments.images) == 1 else arguments.images
    source = open_images(images, getattr(arguments, "orientation", "upright"))
    keep_apart(source.folders, arguments.out)
    seed = getattr(arguments, "seed", 0)
    return choose_images(source, limit=arguments.limit, sample=arguments.sample, seed=seed, progress=not arguments.json)


def print_json(summary: dict[str, Any]) -> None:
    """Print the summary to standard output."""
    json.dump(summary, sys.stdout, indent=2, ensure_ascii=False)
    print()


def write_and_print(arguments: argparse.Namespace, result: Any, report: Iterable[str]) -> None:
    """A result to ``--out``, if given; then its summary as JSON, or the report on it."""
    if arguments.out:
        result.write(arguments.out)
    if arguments.json:
        print_json(result.summary())
    else:
        print("\n".join(report))


def told(result: Any, out: Path | None, *files: str) -> Iterable[str]:
    """A result's tables and remarks, and what was written."""
    yield repr(result)
    yield written_line(out, *files)


def print_result(
    arguments: argparse.Namespace, summary: dict[str, Any], tables: list[str], remarks: Iterable[str]
) -> None:
    """Print the summary as JSON; or the tables, with remarks, which go to standard error if a program reads the tables.

    CSV holds only the first table.
    """
    if arguments.json:
        print_json(summary)
        return
    print(tables[0] if arguments.format == "csv" else "\n\n".join(tables))
    where = sys.stdout if arguments.format == "table" else sys.stderr
    for line in remarks:
        print(line, file=where)


def written_line(out: Path | None, *files: str) -> str:
    """What was written to ``--out``: files, and those of the folders (with a slash at the end) that are there."""
    if out is None:
        return "nothing was written: add --out DIR"
    return f"written to {out}: {', '.join(file for file in files if file[-1] != '/' or (out / file).is_dir())}"
