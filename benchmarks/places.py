"""Processor time of a jitter measurement of label maps and boxes, beside that of the bare network.

``python benchmarks/places.py DATA [--few N] [--many N] [--rounds N]``, with DATA the folder that holds ``weights``,
``camvid`` and ``coco``. Whole measurements of few and of many images under ``crop``, nine views an image; *steady* is
the bare network on the views of those that the second has more, over the difference of the two: what a start-up costs
is not in it.
Processor time, in turns, and the median of several rounds, as other work on the machine slows memory.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import aliasing as al
from aliasing.jitter import BATCH_SIZE
from aliasing.jitter.network import ON_CPU, running_on
from aliasing.models import Classifier
from aliasing.surgery.folding import fold_batch_norms
from experiments._detectors import fastestdet
from experiments._scenes import enet, espnet

NETWORKS: dict[str, tuple[Callable[[Path], Classifier], str, str]] = {
    "espnet": (espnet, "masks", "camvid/images"),
    "enet": (enet, "masks", "camvid/images"),
    "fastestdet": (fastestdet, "boxes", "coco/images"),
}


def bare(model: Classifier, views: int) -> float:
    """Seconds of the network alone, batch norms folded, on ready full batches."""
    height, width = model.view_size
    module = fold_batch_norms(model.module, torch.zeros(2, 3, height, width)).to(memory_format=torch.channels_last)
    pixels = np.random.default_rng(0).uniform(0, 255, (BATCH_SIZE, height, width, 3)).astype(np.float32)
    batch, batches = model.normalize(pixels), max(1, round(views / BATCH_SIZE))
    with running_on(ON_CPU):
        module(batch)
        start = time.process_time()
        for _ in range(batches):
            module(batch)
        return (time.process_time() - start) * views / (batches * BATCH_SIZE)


def ours(model: Classifier, files: list[Path], output: str) -> float:
    """Seconds of a whole measurement."""
    start = time.process_time()
    al.measure_jitter(model, files, "crop", output=output).summary()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| network | output | bare, ms a view | steady: bare ÷ ours | whole: bare ÷ ours |\n" + "|---" * 5 + "|")
    for name, (make, output, folder) in NETWORKS.items():
        model = make(arguments.data / f"weights/{name}.safetensors")
        files = sorted(path for path in (arguments.data / folder).iterdir() if path.suffix in (".png", ".jpg"))
        more = 9 * (arguments.many - arguments.few)
        ours(model, files[:2], output)  # warms up
        rounds = []
        for _ in range(arguments.rounds):
            few, before = ours(model, files[: arguments.few], output), bare(model, more)
            many, after = ours(model, files[: arguments.many], output), bare(model, more)
            alone = (before + after) / 2
            rounds.append((1000 * alone / more, alone / (many - few), alone / more * 9 * arguments.many / many))
        each, steady, whole = np.median(rounds, axis=0)
        print(f"| {name} | {output} | {each:.1f} | {steady:.2f} | {whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
