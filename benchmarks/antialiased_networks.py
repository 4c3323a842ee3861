"""How fast are converted networks, against the published implementation and against the plain network?

``python -m benchmarks.antialiased_networks`` prints a Markdown table of ratios: the time of antialiased-cnns and of the
plain network over ours (above 1: we are faster), for an inference and a training step, in both memory layouts.
Every time is the best of several runs, taken turn by turn, so that what else the machine does falls on all alike.
"""

import argparse
import gc
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn

import aliasing as al


def build(kind: str, name: str) -> nn.Module:
    """One of: plain, antialiased-cnns, after, before."""
    torch.manual_seed(0)
    if kind == "antialiased-cnns":
        import antialiased_cnns

        network: nn.Module = getattr(antialiased_cnns, name)()
        return network
    plain = torchvision.models.get_model(name, weights=None)
    return plain if kind == "plain" else al.antialias(plain, placement=kind)  # type: ignore[arg-type]


def step(network: nn.Module, x: torch.Tensor, training: bool) -> Callable[[], None]:
    """One inference, or one forward and backward pass."""
    network.train(training)

    def infer() -> None:
        with torch.no_grad():
            network(x)

    def train() -> None:
        network.zero_grad()
        network(x).sum().backward()

    return train if training else infer


def times(name: str, layout: torch.memory_format, training: bool, batch: int, runs: int) -> dict[str, float]:
    """The best time of each kind, in seconds."""
    x = torch.randn(batch, 3, 224, 224).contiguous(memory_format=layout)
    best: dict[str, float] = {}
    steps = {kind: step(build(kind, name).to(memory_format=layout), x, training) for kind in KINDS}
    for function in steps.values():
        function()
    for _ in range(runs):
        for kind, function in steps.items():
            begin = time.perf_counter()
            function()
            best[kind] = min(best.get(kind, float("inf")), time.perf_counter() - begin)
    return best


def peak(kind: str, name: str, layout: str, training: bool, batch: int) -> float:
    """Peak memory of a process that does one step, in MB."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.antialiased_networks",
        "--peak",
        kind,
        name,
        layout,
        str(int(training)),
    ]
    done = subprocess.run([*command, "--batch", str(batch)], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


KINDS = ("plain", "antialiased-cnns", "after", "before")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vgg16", "densenet201"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure peak memory too, in a process each")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        kind, name, layout, training = arguments.peak
        x = torch.randn(arguments.batch, 3, 224, 224).contiguous(memory_format=LAYOUTS[layout])
        network = build(kind, name).to(memory_format=LAYOUTS[layout])
        gc.collect()
        step(network, x, bool(int(training)))()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
    )
    print(f"batches of {arguments.batch} at 224 pixels, best of {arguments.runs}\n")
    print("| network | step | layout | after, s | before, s | plain/after | peer/after | plain/before | peer/before |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.networks:
        for training in (False, True):
            for layout, memory_format in LAYOUTS.items():
                t = times(name, memory_format, training, arguments.batch, arguments.runs)
                what = "training" if training else "inference"
                print(
                    f"| {name} | {what} | {layout} | {t['after']:.3f} | {t['before']:.3f}"
                    f" | {t['plain'] / t['after']:.2f} | {t['antialiased-cnns'] / t['after']:.2f}"
                    f" | {t['plain'] / t['before']:.2f} | {t['antialiased-cnns'] / t['before']:.2f} |",
                    flush=True,
                )
    if arguments.memory:
        print("\n| network | step | layout | plain, MB | antialiased-cnns, MB | after, MB | before, MB |")
        print("|---|---|---|---|---|---|---|")
        for name in arguments.networks:
            for training in (False, True):
                for layout in LAYOUTS:
                    row = [peak(kind, name, layout, training, arguments.batch) for kind in KINDS]
                    what = "training" if training else "inference"
                    print(f"| {name} | {what} | {layout} | " + " | ".join(f"{mb:.0f}" for mb in row) + " |", flush=True)


if __name__ == "__main__":
    main()
