"""The command line: parse, call, print.

Each command is a module with ``SUMMARY`` (one line for ``aliasing --help``), ``add_arguments(parser)`` and
``run(arguments)``; none imports torch or matplotlib before ``run``, so help is fast.

Exit codes: 0 done, 1 the input is at fault, 2 wrong usage, 130 interrupted.
"""

import argparse
import io
import os
import platform
import sys
from collections.abc import Collection, Sequence
from importlib import import_module

from aliasing import __version__
from aliasing.cli.completion import PrintCompletion, complete
from aliasing.errors import ElsewhereError, InputError, UsageError, first_line, one_line, who_exits

_LONGEST = 4000  # characters of a complaint
COMMANDS = (
    "spectrum",
    "jitter",
    "compare",
    "depth",
    "attribute",
    "features",
    "sites",
    "antialias",
    "finetune",
    "cure",
    "report",
    "models",
    "resamplers",
    "guarantees",
    "explore",
    "doctor",
)


def make_parser(words: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of the command line, with the options of those commands that stand among the words."""
    completing = "_ARGCOMPLETE" in os.environ
    parser = argparse.ArgumentParser(
        prog="aliasing",
        description="See, measure and cure aliasing in downsampling.",
        epilog="`aliasing COMMAND --help` explains a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"aliasing {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh", "fish"),
        help='print shell completion; in ~/.bashrc or ~/.zshrc: eval "$(aliasing --print-completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"aliasing.cli.{name}")
        command = commands.add_parser(
            name, help=module.SUMMARY, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if completing or name in words:
            module.add_arguments(command)
        command.set_defaults(run=module.run)
    if completing:
        complete(parser, commands.choices)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = make_parser(words).parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):  # escape characters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; Python's flush at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UsageError as error:
        _complain(arguments.command, str(error))
        return 2
    except ElsewhereError:
        return 1
    except SystemExit as error:
        _complain(arguments.command, f"{who_exits(error)} calls sys.exit({error}); the command stopped there")
        return 1
    except InputError as error:
        _complain(arguments.command, str(error))
        return 1
    except OSError as error:  # of the machine: a folder that is gone, a disk, a link to itself
        where = f"{error.filename}: " if error.filename else ""
        _complain(arguments.command, f"{where}{error.strerror or first_line(error)}")
        return 1
    except KeyboardInterrupt:
        _complain(arguments.command, "interrupted; the same command continues where it stopped")
        return 130
    return 0


def _complain(command: str, text: str) -> None:
    """Print one line, with the rank if ``torchrun`` started several processes."""
    speaker = ""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        speaker = f"rank {os.environ.get('RANK')} on {platform.node()}: "
    if len(text) > _LONGEST:  # a file or a name of a stranger
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    print(f"aliasing {command}: {speaker}{one_line(text)}", file=sys.stderr)
