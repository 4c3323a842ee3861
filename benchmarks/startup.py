"""Seconds until a command answers, beside an interpreter that does nothing.

``python benchmarks/startup.py [--rounds N]`` prints a Markdown table: medians over separate processes, started in
turn, and how much longer each takes than the empty interpreter.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import aliasing": ["-c", "import aliasing"],
    "aliasing --help": ["-m", "aliasing", "--help"],
    "aliasing jitter --help": ["-m", "aliasing", "jitter", "--help"],
    "import torch": ["-c", "import torch"],
    "import aliasing.filters": ["-c", "import aliasing.filters"],
    "import aliasing.layers": ["-c", "import aliasing.layers"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(arguments.rounds + 1):
        for name, command in COMMANDS.items():
            spent = seconds(command)
            if round_:  # the first reads from disk and writes bytecode
                taken[name].append(spent)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    empty = medians["python -c pass"]
    print("| command | seconds | beyond the empty interpreter |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.3f} | {median - empty:.3f} |")


if __name__ == "__main__":
    main()
