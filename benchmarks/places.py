"""Processor time of a jitter measurement of label maps and boxes, beside the bare network and a loop by hand.

``python -m benchmarks.places DATA [NETWORK …] [--few N] [--many N] [--rounds N]``, with DATA the folder that holds
``weights``, ``camvid`` and ``coco``. Whole measurements of few and of many images under ``crop``, nine views an image;
*steady* is another way's time for the images that the second has more, over the difference of the two: what a start-up
costs is not in it. The other ways:

- *bare*: the network alone, batch norms folded, on ready full batches, each distinct view once;
- *by hand*: what anybody must do who has the same answers without this package: read the photograph, resize it, cut the
  nine windows, normalise, run the same network, and take the class of each pixel, or choose among the boxes (NMS).
  Nothing is compared.

Processor time on one thread, in turns, and the median of several rounds, as other work on the machine slows memory.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import nn

import aliasing as al
from aliasing.jitter import BATCH_SIZE
from aliasing.jitter.network import ON_CPU, running_on
from aliasing.memory import keep_freed_memory
from aliasing.models import Classifier
from aliasing.surgery.folding import fold_batch_norms
from experiments._detectors import fastestdet
from experiments._scenes import enet, espnet

NETWORKS: dict[str, tuple[Callable[[Path], Classifier], str, str]] = {
    "espnet": (espnet, "masks", "camvid/images"),
    "enet": (enet, "masks", "camvid/images"),
    "fastestdet": (fastestdet, "boxes", "coco/images"),
}


def folded(model: Classifier) -> nn.Module:
    """The network as it runs fastest without this package's own steps."""
    example = torch.zeros(2, 3, *model.view_size)
    return fold_batch_norms(model.module, example).to(memory_format=torch.channels_last)


def bare(model: Classifier, views: int) -> float:
    """Seconds of the network alone on ready full batches."""
    module, (height, width) = folded(model), model.view_size
    pixels = np.random.default_rng(0).uniform(0, 255, (BATCH_SIZE, height, width, 3)).astype(np.float32)
    batch, batches = model.normalize(pixels), max(1, round(views / BATCH_SIZE))
    with running_on(ON_CPU):
        module(batch)
        start = time.process_time()
        for _ in range(batches):
            module(batch)
        return (time.process_time() - start) * views / (batches * BATCH_SIZE)


def by_hand(model: Classifier, files: list[Path]) -> float:
    """Seconds from the files to the answers to nine windows of each."""
    module, (height, width), windows = folded(model), model.view_size, []
    answer = model.answer or (lambda module, batch: module(batch).argmax(1))
    with running_on(ON_CPU):
        start = time.process_time()
        for file in files:
            picture = PIL.Image.open(file).convert("RGB").resize((width + 8, height + 8), PIL.Image.Resampling.BILINEAR)
            canvas = np.asarray(picture, np.float32)
            windows += [canvas[k : k + height, k : k + width] for k in range(9)]
            while len(windows) >= BATCH_SIZE or (windows and file is files[-1]):
                batch, windows = windows[:BATCH_SIZE], windows[BATCH_SIZE:]
                answer(module, model.normalize(np.stack(batch)))
        return time.process_time() - start


def ours(model: Classifier, files: list[Path], output: str) -> float:
    """Seconds of a whole measurement."""
    start = time.process_time()
    al.measure_jitter(model, files, "crop", output=output).summary()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("networks", nargs="*", default=[*NETWORKS])
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    columns = "bare, ms a view | steady: bare ÷ ours | steady: by hand ÷ ours | whole: bare ÷ ours"
    print(f"| network | output | {columns} |\n" + "|---" * 6 + "|")
    for name in arguments.networks:
        make, output, folder = NETWORKS[name]
        model = make(arguments.data / f"weights/{name}.safetensors")
        files = sorted(path for path in (arguments.data / folder).iterdir() if path.suffix in (".png", ".jpg"))
        more = 9 * (arguments.many - arguments.few)
        ours(model, files[:2], output)  # warms up
        rounds = []
        for _ in range(arguments.rounds):
            few, before = ours(model, files[: arguments.few], output), bare(model, more)
            many, after = ours(model, files[: arguments.many], output), bare(model, more)
            alone, hand = (before + after) / 2, by_hand(model, files[arguments.few : arguments.many])
            steady = many - few
            rounds.append(
                (1000 * alone / more, alone / steady, hand / steady, alone / more * 9 * arguments.many / many)
            )
        each, *ratios = np.median(rounds, axis=0)
        told = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {output} | {each:.1f} | {told} |", flush=True)
        if arguments.rounds > 1:
            print(*(f"  {name}: " + ", ".join(f"{one:.3f}" for one in row) for row in rounds), sep="\n", flush=True)


if __name__ == "__main__":
    main()
