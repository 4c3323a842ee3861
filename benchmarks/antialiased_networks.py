"""How fast are converted networks, against the published implementation and against the plain network?

``python -m benchmarks.antialiased_networks`` prints a Markdown table of ratios: the time of antialiased-cnns and of the
plain network over ours (above 1: we are faster), for an inference and a training step, in both memory layouts. The
*floor* is our network with a filter of one tap: the same dense convolutions, maxima and copies, without a blur. Nothing
that keeps the network and the placement can be faster. *Multiply–adds* are those of the converted network over those of
the plain one. Networks of clips (``--networks r3d_18``) have no peer.
``--evaluation`` prints what filters cost a measurement instead, in front of strided convolutions (folded into them, and
not) or after, as the processor's time over the plain network's: batch norms, clamps and paddings are fused in all.
Every time is the median of several runs, taken turn by turn, so that other work on the machine slows all of them alike.
"""

import argparse
import gc
import itertools
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import aliasing as al
from aliasing.memory import keep_freed_memory
from aliasing.surgery.filtering import fold_filters
from aliasing.surgery.fusing import fuse_convolutions


def build(kind: str, name: str) -> nn.Module:
    """One of: plain, antialiased-cnns, after, before, floor."""
    torch.manual_seed(0)
    if kind == "antialiased-cnns":
        import antialiased_cnns

        network: nn.Module = getattr(antialiased_cnns, name)()
        return network
    plain = torchvision.models.get_model(name, weights=None)
    if kind == "plain":
        return plain
    example = torch.zeros(1, *SIZES.get(name, PICTURE))
    if kind == "floor":
        return al.antialias(plain, taps=[1.0], example_input=example)
    return al.antialias(plain, placement=kind, example_input=example)  # type: ignore[arg-type]


def multiply_adds(network: nn.Module, name: str) -> int:
    """Of one input: convolutions, the blurs among them, and matrix products."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *SIZES.get(name, PICTURE)))
    return counter.get_total_flops() // 2


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
    """The median time of each kind, in seconds; NaN for one that fails (the peer's VGG, in channels_last) or is not."""
    x = torch.randn(batch, *SIZES.get(name, PICTURE)).contiguous(memory_format=layout)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    steps = {}
    for kind in KINDS:
        try:
            steps[kind] = step(build(kind, name).to(memory_format=layout), x, training)
            steps[kind]()
        except (RuntimeError, AttributeError):
            taken[kind].append(math.nan)
            steps.pop(kind, None)
    for _ in range(runs):
        for kind, function in steps.items():
            begin = time.perf_counter()
            function()
            taken[kind].append(time.perf_counter() - begin)
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def evaluation(name: str, scheme: str, batch: int, runs: int, precision: str) -> tuple[float, list[float], list[float]]:
    """The plain network's time in a measurement, and the ratios to it: of times, and of multiply–adds.

    The times are of `before`, of `before` with folded filters and of `after`; the multiply–adds, of the latter two.
    It is the processor's time, which other work on the machine changes least, and the medians of ratios in turns.
    """
    layout = torch.channels_last
    x = torch.randn(batch, *PICTURE).contiguous(memory_format=layout)
    plain = al.load_model(name).module if ":" in name else build("plain", name).eval()
    before, after = (
        al.antialias(plain, placement=placement, scheme=scheme, example_input=x[:1])
        for placement in ("before", "after")
    )
    folded = fold_filters(before, x)
    networks = [fuse_convolutions(module, x).to(memory_format=layout) for module in (plain, before, folded, after)]
    taken: list[list[float]] = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(runs + 1):
            taken.append([])
            for network in networks:
                begin = time.process_time()
                network(x)
                taken[-1].append(time.process_time() - begin)
    turns = taken[1:]  # the first packs the kernels
    ratios = [statistics.median(turn[kind] / turn[0] for turn in turns) for kind in (1, 2, 3)]
    counts = [multiply_adds(network, name) for network in (plain, folded, after)]
    return statistics.median(turn[0] for turn in turns), ratios, [count / counts[0] for count in counts[1:]]


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
    done = subprocess.run([*command, "--batch", str(batch)], capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else math.nan


KINDS = ("plain", "antialiased-cnns", "after", "before", "floor")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PICTURE = (3, 224, 224)
SIZES = dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), (3, 16, 112, 112))  # of clips; their layout is contiguous


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vgg16", "densenet201"])
    parser.add_argument("--steps", nargs="+", default=["inference", "training"], choices=["inference", "training"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep-memory", action="store_true", help="let the allocator keep freed memory for all")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead, one process each")
    parser.add_argument(
        "--evaluation", action="store_true", help="measure converted networks as a measurement runs them"
    )
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of `--evaluation`")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        kind, name, layout, training = arguments.peak
        x = torch.randn(arguments.batch, *SIZES.get(name, PICTURE)).contiguous(memory_format=LAYOUTS[layout])
        network = build(kind, name).to(memory_format=LAYOUTS[layout])
        gc.collect()
        step(network, x, bool(int(training)))()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    if arguments.keep_memory:
        keep_freed_memory()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, ", end="")
    print(f"batches of {arguments.batch}, load {os.getloadavg()[0]:.1f}\n")
    if arguments.evaluation:
        print("| network | scheme | plain, s | before | folded | after | multiply–adds folded | after |")
        print("|---|---|---|---|---|---|---|---|")
        for name, scheme in itertools.product(arguments.networks, ("all", "zhang2019")):
            seconds, *ratios = evaluation(name, scheme, arguments.batch, arguments.runs, arguments.precision)
            shown = " | ".join(f"{ratio:.2f}" for ratio in itertools.chain(*ratios))
            print(f"| {name} | {scheme} | {seconds:.3f} | {shown} |", flush=True)
        return
    if arguments.memory:
        print("| network | step | layout | plain, MB | antialiased-cnns, MB | after, MB | before, MB |")
        print("|---|---|---|---|---|---|---|")
    else:
        print(
            "| network | step | layout | after, s | before, s | plain/after | peer/after | plain/before | peer/before "
            "| floor/after | peer/floor | multiply–adds after | before |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, what, layout in itertools.product(arguments.networks, arguments.steps, LAYOUTS):
        if name in SIZES and layout == "channels_last":
            continue
        training = what == "training"
        row = [name, what, layout]
        if arguments.memory:
            row += [f"{peak(kind, name, layout, training, arguments.batch):.0f}" for kind in KINDS[:-1]]
        else:
            t = times(name, LAYOUTS[layout], training, arguments.batch, arguments.runs)
            row += [f"{t[placement]:.3f}" for placement in ("after", "before")]
            others = ("plain", "antialiased-cnns")
            row += [f"{t[other] / t[placement]:.2f}" for placement in ("after", "before") for other in others]
            row += [f"{t['floor'] / t['after']:.2f}", f"{t['antialiased-cnns'] / t['floor']:.2f}"]
            plain, *ours = (multiply_adds(build(kind, name), name) for kind in ("plain", "after", "before"))
            row += [f"{count / plain:.2f}" for count in ours]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
