"""Write one self-contained HTML page from the results of one or several runs.

The page compares networks and shows a photograph to move pixel by pixel, the most and the least stable photographs,
jitter by shift, depth profiles, attribution, spectra, and how everything was made. It opens from disk, needs no
internet access, and can be sent to others. Nothing is measured: the page shows what is in the runs' folders.

examples:
  aliasing report jitter --out report.html
      the page of one run, which `aliasing jitter --out jitter` wrote
  aliasing report jitter depth attribution spectrum --out report.html
      several runs on one page
  aliasing report crop grid --out report.html --title "ResNet50, plain and anti-aliased"
"""

import argparse
from pathlib import Path

from aliasing.rounding import rounded

SUMMARY = "write one self-contained HTML page from the results of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``aliasing report``."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="the --out folder of a finished jitter, compare, depth, attribute, cure, spectrum or features run",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, for example report.html")
    parser.add_argument("--title", default="", metavar="TEXT", help="its heading (default: the networks' names)")


def run(arguments: argparse.Namespace) -> None:
    """Read, write, print."""
    from aliasing.errors import one_line
    from aliasing.report import write_report

    for caution in write_report(arguments.runs, arguments.out, arguments.title):
        print(f"caution: {one_line(caution)}")
    print(f"written to {arguments.out} ({rounded(arguments.out.stat().st_size / 1e6, '.1f')} MB)")
