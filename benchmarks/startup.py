"""Processor time until a command answers, beside an interpreter that does nothing and one that imports torch.

``python benchmarks/startup.py [--rounds N]`` prints a Markdown table: medians over separate processes, started in
turn, how much longer each takes than the empty interpreter, and its ratio to importing torch.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage

PHOTOGRAPH = Path(skimage.__file__).parent / "data" / "coffee.png"

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import aliasing": ["-c", "import aliasing"],
    "aliasing --help": ["-m", "aliasing", "--help"],
    "aliasing jitter --help": ["-m", "aliasing", "jitter", "--help"],
    "import torch": ["-c", "import torch"],
    "import aliasing.filters": ["-c", "import aliasing.filters"],
    "import aliasing.layers": ["-c", "import aliasing.layers"],
    "aliasing spectrum PHOTOGRAPH": ["-m", "aliasing", "spectrum", str(PHOTOGRAPH), "--out"],
}


def processor_seconds(arguments: list[str]) -> float:
    """Of the process and its threads: what else the machine does hardly changes it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        where = [out] if arguments[-1] == "--out" else []
        subprocess.run([sys.executable, *arguments, *where], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(arguments.rounds + 1):
        for name, command in COMMANDS.items():
            spent = processor_seconds(command)
            if round_:  # the first reads from disk and writes bytecode
                taken[name].append(spent)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    empty = medians["python -c pass"]
    print("| command | seconds | beyond the empty interpreter | over import torch |\n|---|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.3f} | {median - empty:.3f} | {median / medians['import torch']:.2f} |")


if __name__ == "__main__":
    main()
