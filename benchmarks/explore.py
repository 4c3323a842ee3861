"""How long the explorer takes to answer when a photograph is dragged, beside the bare network's forward pass.

``python benchmarks/explore.py [--rounds N]`` prints a Markdown table of processor times, taken in turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from aliasing.explorer.networks import load
from aliasing.explorer.walk import FRACTION, HOME, Watch, find_start, picture

NETWORK = "pypi:efficientnet_lite0"


def taken(job: Callable[[], Any]) -> float:
    """Milliseconds of the processor."""
    start = time.process_time()
    job()
    return 1000 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    model = load(NETWORK)
    start = find_start(model)
    assert start is not None
    watch, module, view = Watch(model, start.image), model.module.eval(), torch.rand(1, 3, 224, 224)
    watch.answer(HOME)
    times: dict[str, list[float]] = {"a drag to a new place": [], "the view alone": [], "the bare network": []}
    for number in range(1, rounds + 1):
        place = (number * FRACTION, 1.0)
        with torch.inference_mode():
            times["the bare network"].append(taken(lambda: module(view)))
        times["the view alone"].append(taken(lambda place=place: picture(start.image, model, place)))
        times["a drag to a new place"].append(taken(lambda place=place: watch.answer(place)))
    medians = {name: statistics.median(found) for name, found in times.items()}
    print("| | ms | over the bare network |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.1f} | {median / medians['the bare network']:.2f} |")


if __name__ == "__main__":
    main()
