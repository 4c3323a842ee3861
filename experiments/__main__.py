"""``python -m experiments`` lists the experiments; ``python -m experiments NAME [--quick] [--out DIR]`` runs one.

It writes PNGs and ``summary.json`` to ``figures/NAME`` (or DIR): the numbers with their intervals, the settings, the
versions, the data and the weights by hash, and the command line. ``--quick`` runs a small honest version in seconds.
An experiment may have options of its own; its docstring tells of them.
"""

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from aliasing.errors import InputError, UsageError

FOLDER = Path(__file__).parent


def claims() -> dict[str, str]:
    """The first line of each experiment's docstring, without importing it."""
    files = sorted(file for file in FOLDER.glob("*.py") if not file.name.startswith("_"))
    return {file.stem: (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0] for file in files}


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; the experiments are its epilogue."""
    found = claims()
    listing = "\n".join(f"  {name:{max(map(len, found))}}  {claim}" for name, claim in found.items())
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        epilog=f"experiments:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="the experiment; without one, all are listed")
    parser.add_argument("--quick", action="store_true", help="run a small honest version, for a look and for CI")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the figures go (default figures/NAME)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=os.environ.get("ALIASING_DATA", Path("..") / "shared" / "data"),
        help="where the data sets are (default: ALIASING_DATA, else ../shared/data)",
    )
    parser.add_argument(
        "--download", action="store_true", help="download a data set, or a library to measure, that is not there"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment, or list them, and return the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    arguments, others = parser.parse_known_args(given)
    if arguments.name is None:
        print(parser.epilog)
        return 0
    if arguments.name not in claims():
        parser.error(f"no experiment {arguments.name!r}; `python -m experiments` lists them")
    module = import_module(f"experiments.{arguments.name}")
    if not hasattr(module, "run"):  # it has options of its own
        place = given.index(arguments.name)
        sys.argv = [f"{arguments.name}.py", *given[:place], *given[place + 1 :]]
        module.main()
        return 0
    own = argparse.ArgumentParser(prog=f"python -m experiments {arguments.name}", add_help=False)
    if hasattr(module, "add_options"):
        module.add_options(own)
    options, unknown = own.parse_known_args(others)
    if unknown:
        parser.error(f"unknown options: {' '.join(unknown)}")
    from experiments._run import Run

    out = arguments.out or Path("figures") / arguments.name
    try:
        run = Run(arguments.name, out, arguments.quick, Path(arguments.data), arguments.download, given, options)
        run.perform(module.run)
    except (InputError, UsageError) as error:
        print(f"python -m experiments {arguments.name}: {error}", file=sys.stderr)
        return 1 if isinstance(error, InputError) else 2
    except KeyboardInterrupt:
        print(f"{arguments.name}: interrupted; the same command resumes with what it had trained", file=sys.stderr)
        return 130
    print(f"written to {out}: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
