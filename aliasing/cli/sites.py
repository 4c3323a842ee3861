"""List where a network downsamples, and what can be done about it.

examples:
  aliasing sites resnet50
      every place where torchvision's resnet50 changes its sampling grid
  aliasing sites antialiased:binomial4:resnet50
      the same places, with what was done at each
  aliasing sites timm:convnext_tiny --size 256 --json
"""

import argparse
import json
import sys

from aliasing.cli.shared import add_format

SUMMARY = "list where a network downsamples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing sites``."""
    parser.add_argument("model", metavar="MODEL", help="a network (see `aliasing models`)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the probe (default: the network's own)")
    parser.add_argument("--all", action="store_true", help="list global pooling too")
    add_format(parser, "print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Find, print."""
    from dataclasses import asdict

    import torch

    from aliasing.errors import UsageError
    from aliasing.models import load_model
    from aliasing.sites import find_sites, table
    from aliasing.tables import counted, render

    if arguments.size is not None and arguments.size < 1:
        raise UsageError(f"--size is a number of pixels, at least 1; got {arguments.size}")
    probe = None if arguments.size is None else torch.zeros(1, 3, arguments.size, arguments.size)
    sites = find_sites(load_model(arguments.model), probe)
    if arguments.json:
        print(json.dumps([asdict(site) for site in sites], indent=2))
        return
    shown = [site for site in sites if arguments.all or site.status != "global"]
    print(render(table(shown), arguments.format))
    if len(shown) < len(sites):
        where = sys.stdout if arguments.format == "table" else sys.stderr
        left_out = counted(len(sites) - len(shown), "global pooling")
        print(f"and {left_out}, which keep{'s' * left_out.startswith('1 ')} no position (--all lists all)", file=where)
