"""Peak memory of whole measurements, by the number of images and of views.

``python benchmarks/memory.py [--images DIR] [--few N] [--many N] [COMMAND …]`` prints two Markdown tables. Each
measurement runs EfficientNet-Lite0 in a separate process, with its records in a folder.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import torch

NETWORK = "pypi:efficientnet_lite0"
COMMANDS = {
    "jitter": ["jitter", "--models", NETWORK],
    "jitter in bfloat16": ["jitter", "--models", NETWORK, "--precision", "bfloat16"],
    "depth": ["depth", "--models", NETWORK],
    "compare": ["compare", "--models", NETWORK],
    "attribute": ["attribute", NETWORK],
}
MANY_VIEWS = ["jitter", "--models", NETWORK, "--protocol", "grid:radius=8"]
MEASURE = """
import resource, sys
from aliasing.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def peak_memory(words: Sequence[str], images: str, limit: int) -> float:
    """Peak resident memory in MiB of a command on N images."""
    with tempfile.TemporaryDirectory() as out:
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, *words, "--images", images, "--limit", str(limit), "--out", out],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return int(run.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS), metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("--images", default="sample")
    parser.add_argument("--few", type=int, default=50)
    parser.add_argument("--many", type=int, default=500)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"| command | {arguments.few} images, MiB | {arguments.many} images, MiB |\n|---|---|---|")
    for command in arguments.commands:
        peaks = [peak_memory(COMMANDS[command], arguments.images, n) for n in (arguments.few, arguments.many)]
        print(f"| {command} | {peaks[0]:.0f} | {peaks[1]:.0f} |", flush=True)
    views = [peak_memory(words, arguments.images, arguments.few) for words in (COMMANDS["jitter"], MANY_VIEWS)]
    print(f"\n| {arguments.few} images, 9 views each, MiB | 289 views each, MiB |\n|---|---|")
    print(f"| {views[0]:.0f} | {views[1]:.0f} |")


if __name__ == "__main__":
    main()
