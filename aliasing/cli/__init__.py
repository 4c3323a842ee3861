"""The command line: parse, call, print.

One module a command. Each has ``SUMMARY`` (one line for ``aliasing --help``), ``add_arguments(parser)`` and
``run(arguments)``; none imports torch or matplotlib before ``run``, so that help costs nothing.

Exit codes: 0 done, 1 the input is at fault, 2 wrong usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from aliasing import __version__
from aliasing.errors import InputError, UsageError

COMMANDS = (
    "spectrum",
    "jitter",
    "depth",
    "attribute",
    "features",
    "sites",
    "antialias",
    "finetune",
    "models",
    "explore",
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="aliasing",
        description="See, measure and cure aliasing in downsampling.",
        epilog="`aliasing COMMAND --help` explains a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"aliasing {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"aliasing.cli.{name}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; Python's own flush at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UsageError as error:
        print(f"aliasing {arguments.command}: {error}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"aliasing {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"aliasing {arguments.command}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0
