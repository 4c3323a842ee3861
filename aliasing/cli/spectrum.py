"""Draw what downsampling folds of photographs, and say how much.

Original, 4×4 max-pooling, a stride-4 convolution with a 5×5 box, and blur-pooling: under each its spectrum, with the
region that folds, the share of its energy that is aliased, and the share of the baseband that it keeps.

examples:
  aliasing spectrum photo.jpg --out spectrum
      the figure, and summary.json with its numbers
  aliasing spectrum photos/ --operator subsample average blur --stride 2
      other operators, over a folder of photographs, with intervals
  aliasing spectrum sample --operator blur --taps kaiser8 --json
      the photographs that scikit-image bundles, another filter, the summary on standard output
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aliasing.cli.shared import cell, print_json, source_of

SUMMARY = "draw what downsampling folds of photographs, and say how much"

DEFAULT_OPERATORS = ("max", "convolution", "blur")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing spectrum``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, a folder, a glob, an archive, a data set on disk, or `sample`; the first is drawn",
    )
    parser.add_argument(
        "--operator",
        nargs="+",
        default=DEFAULT_OPERATORS,
        metavar="NAME",
        help="subsample, max, average, convolution, blur, fourier; default: max convolution blur",
    )
    parser.add_argument("--stride", type=int, default=4, metavar="N", help="distance between samples kept (default 4)")
    parser.add_argument(
        "--taps",
        metavar="NAME",
        help="filter of convolution and blur: box, binomial, gaussian, kaiser, lanczos or sinc, and a length at stride"
        " 2, stretched to the stride (default: a 5×5 box as it is, and binomial4)",
    )
    parser.add_argument(
        "--channels",
        choices=("luminance", "rgb"),
        default="luminance",
        help="one weighted sum (default), or each colour",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="leave summary.json, spectra/ and figure.png here")
    parser.add_argument("--json", action="store_true", help="print the summary instead of a table")


def run(arguments: argparse.Namespace) -> None:
    """Compare, draw, print."""
    from aliasing import plots
    from aliasing.downsample.comparison import OPERATORS, compare, prepare
    from aliasing.downsample.spectra import write_spectra
    from aliasing.errors import InputError, UsageError
    from aliasing.filters import get_taps
    from aliasing.images import BadImage, Image
    from aliasing.provenance import command_line, versions, write_json

    operators = list(dict.fromkeys(arguments.operator))
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown:
        raise UsageError(f"no operator {unknown[0]!r}; there are {', '.join(OPERATORS)}")
    if arguments.stride < 2:
        raise UsageError(f"--stride is at least 2; got {arguments.stride}")
    if arguments.taps:
        try:
            get_taps(arguments.taps)
        except ValueError as error:
            raise UsageError(str(error)) from error

    measured: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    figure = None
    for entry in source_of(arguments):
        try:
            image = entry.load()
            if not isinstance(image, Image):
                raise BadImage("a video; give its frames as images")
            picture = prepare(image.pixels, arguments.stride, arguments.channels)
        except ValueError as error:
            skipped[entry.name] = str(error)
            continue
        results = [compare(picture, name, arguments.stride, arguments.taps) for name in operators]
        if figure is None and arguments.out:
            figure = plots.spectrum(picture, results, arguments.stride)
            write_spectra(arguments.out / "spectra", image.name, picture, results, arguments.stride)
        measured.append(
            {
                "name": image.name,
                "identity": image.identity,
                "height": picture.shape[-2],
                "width": picture.shape[-1],
                "operators": {
                    result.operator: {name: _number(getattr(result, name)) for name in _MEASURES} for result in results
                },
            }
        )
        labels = {result.operator: result.label for result in results}
    if not measured:
        reason = next(iter(skipped.items()), None)
        raise InputError(f"no image could be used: {reason[0]}: {reason[1]}" if reason else "no image was found")

    summary = {
        "command": command_line(),
        "settings": {
            "stride": arguments.stride,
            "operators": operators,
            "taps": arguments.taps,
            "channels": arguments.channels,
            "periodic": "the periodic part of each image (Moisan 2011), circular padding",
        },
        "operators": {name: {"label": labels[name], **_estimates(measured, name)} for name in operators},
        "images": {"used": len(measured), "skipped": skipped, "each": measured},
        "versions": versions(),
    }
    summary["reading"] = list(reading(summary))
    if arguments.out:
        write_json(arguments.out / "summary.json", summary)
        if figure is not None:
            plots.save(figure, arguments.out / "figure.png")
    if arguments.json:
        print_json(summary)
    else:
        print("\n".join(_report(summary, arguments.out)))


_MEASURES = {
    "alias_fraction": "aliased energy",
    "baseband_kept": "baseband kept",
    "gaussian_alias_fraction": "Gaussian of equal baseband",
}


def _estimates(measured: list[dict[str, Any]], operator: str) -> dict[str, Any]:
    from aliasing.estimates import mean, share

    found: dict[str, Any] = {}
    for measure in _MEASURES:
        values = [image["operators"][operator][measure] for image in measured]
        values = [value for value in values if value is not None]
        # A maximum is no filter: it can raise the energy of the baseband above one.
        estimate = (mean if measure == "baseband_kept" else share)(values)
        found[measure] = estimate.as_dict() if len(values) > 1 else _single(values)
    return found


def _single(values: list[float]) -> dict[str, float | None]:
    """One image tells a value and no spread."""
    return {"value": values[0] if values else None, "low": None, "high": None}


def reading(summary: dict[str, Any]) -> Iterable[str]:
    """What the numbers say of the picture, and of the seed's "pooling keeps high and drops low frequencies"."""
    operators, stride = summary["operators"], summary["settings"]["stride"]

    def percent(name: str, measure: str) -> str:
        value = operators[name][measure]["value"]
        return "–" if value is None else f"{100 * value:.3g} %"

    edge = f"{1 / (2 * stride):g} cycles per pixel"
    if "max" in operators:
        kept, alias = operators["max"]["baseband_kept"]["value"], operators["max"]["alias_fraction"]["value"]
        verb = "does not drop" if kept > 0.9 else "loses part of"
        yield (
            f"Max-pooling {verb} the low frequencies: below {edge}, the new Nyquist frequency, their energy is"
            f" {percent('max', 'baseband_kept')} of the original's."
        )
        yield (
            f"Nor does it keep high ones: nothing above {edge} outlives a stride of {stride}. Of the energy that"
            f" it samples {percent('max', 'alias_fraction')} lies there and comes out as false low frequencies, which"
            " is what its spectrum shows as high."
        )
        for name in ("convolution", "blur"):
            if name in operators and operators[name]["alias_fraction"]["value"] < alias:
                yield (
                    f"{operators[name]['label'].capitalize()}: {percent(name, 'alias_fraction')} aliased, with"
                    f" {percent(name, 'baseband_kept')} of the baseband kept; a Gaussian that keeps as much aliases"
                    f" {percent(name, 'gaussian_alias_fraction')}. Compare filters at equal baseband only."
                )


def _report(summary: dict[str, Any], out: Path | None) -> Iterable[str]:
    """The summary for a person."""
    from tabulate import tabulate

    rows = [[o["label"], *(cell(o[measure], digits=4) for measure in _MEASURES)] for o in summary["operators"].values()]
    yield tabulate(rows, [f"stride {summary['settings']['stride']}", *_MEASURES.values()])
    images = summary["images"]
    yield f"(shares of energy, mean of {images['used']} images" + (
        ", in brackets the 95 % interval)" if images["used"] > 1 else "; one image has no interval)"
    )
    yield ""
    yield from summary["reading"]
    for name, reason in list(images["skipped"].items())[:10]:
        yield f"skipped {name}: {reason}"
    if len(images["skipped"]) > 10:
        yield f"and {len(images['skipped']) - 10} more"
    yield f"written to {out}: summary.json, spectra/, figure.png" if out else "nothing is kept: add --out DIR"


def _number(value: float) -> float | None:
    return value if value == value else None  # NaN is no JSON
