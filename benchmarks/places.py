"""Processor time of a jitter measurement of label maps and boxes, beside that of the bare network.

``python benchmarks/places.py DATA [--few N] [--many N]``, with DATA the folder that holds ``weights``, ``camvid`` and
``coco``. Whole measurements of few and of many images under ``crop``, nine views an image; *steady* is the bare network
on the views of those that the second has more, over the difference of the two: what a start-up costs is not in it.
Processor time, so that other work on the machine does not count.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=40)
    arguments = parser.parse_args()
    print("| network | output | bare, ms a view | steady: bare ÷ ours | whole: bare ÷ ours |\n" + "|---" * 5 + "|")
    for name, (make, output, folder) in NETWORKS.items():
        model = make(arguments.data / f"weights/{name}.safetensors")
        files = sorted(path for path in (arguments.data / folder).iterdir() if path.suffix in (".png", ".jpg"))
        seconds = []
        for number in (2, arguments.few, arguments.many):  # the first warms up
            start = time.process_time()
            al.measure_jitter(model, files[:number], "crop", output=output).summary()
            seconds.append(time.process_time() - start)
        more = 9 * (arguments.many - arguments.few)
        alone = bare(model, more) / more
        steady, whole = alone * more / (seconds[2] - seconds[1]), alone * 9 * arguments.many / seconds[2]
        print(f"| {name} | {output} | {1000 * alone:.1f} | {steady:.2f} | {whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
