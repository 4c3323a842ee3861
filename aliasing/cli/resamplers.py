"""List the resamplers for --resizer, which resize a photograph before the network sees it.

examples:
  aliasing resamplers                      each with its library and version, and whether it low-passes
  aliasing resamplers --format markdown    the same as Markdown
  aliasing resamplers --json               the same as JSON

`aliasing jitter --resizer opencv-area` then measures with one of them.
"""

import argparse
import json

from aliasing.cli.shared import add_format

SUMMARY = "list the resamplers, which resize photographs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing resamplers``."""
    add_format(parser, "print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    from aliasing.kinds import RESAMPLERS
    from aliasing.tables import render

    rows = [
        {
            **resampler.provenance(),
            "axes": resampler.axes,
            "dtypes": resampler.dtypes,
            "interpolations": resampler.interpolations or ("its own",),
        }
        for resampler in RESAMPLERS.values()
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        row |= {key: ", ".join(value) for key, value in row.items() if isinstance(value, tuple)}
    print(render(rows, arguments.format))
