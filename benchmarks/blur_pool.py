"""Blur-pooling beside its peers: time of ours ÷ time of theirs.

    python benchmarks/blur_pool.py

Forward, and forward and backward, on feature maps of a ResNet, in both memory layouts, all in one run. The peers that
compute the same output (reflect padding) are antialiased-cnns and timm; kornia pads with zeros. A plain copy of the
input is the floor of what moves that much memory. Each number is the median of consecutive calls. The allocator is as
it comes: a padded copy then costs fresh pages besides, as it does in anyone's program; ``--keep-memory`` takes that
out (`aliasing.memory`).
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from statistics import median

import antialiased_cnns
import kornia
import torch
from tabulate import tabulate
from timm.layers import BlurPool2d as TimmBlurPool2d
from torch import Tensor

from aliasing.downsample import blur_pool
from aliasing.layers import BlurPool2d
from aliasing.memory import keep_freed_memory

SHAPES = ((8, 64, 112, 112), (8, 256, 56, 56), (8, 512, 28, 28))


def milliseconds(call: Callable[[], object], seconds: float) -> float:
    """Median time of a call, repeated for some seconds and at least seven times."""
    call(), call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 7:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


def forward(operator: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """The operator as in inference."""

    def call() -> Tensor:
        with torch.no_grad():
            return operator(x)

    return call


def forward_backward(operator: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """The operator and the gradient of its input, as in training."""
    x = x.detach().requires_grad_()
    gradient = torch.ones_like(operator(x))
    return lambda: torch.autograd.grad(operator(x), x, gradient)


def cpu() -> str:
    """The processor's name and the number of threads."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - not a file of ours
            name = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.12, help="for each number (default 0.12)")
    parser.add_argument("--keep-memory", action="store_true", help="keep freed memory, as `aliasing jitter` does")
    arguments = parser.parse_args()
    if arguments.keep_memory:
        keep_freed_memory()
    rows, same, zero = [], [], []
    for shape in SHAPES:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(shape).contiguous(memory_format=layout)
            for taps in (3, 4, 5):
                for name, how in (("forward", forward), ("forward + backward", forward_backward)):

                    def timed(operator: Callable[[Tensor], Tensor], how=how, x=x) -> float:  # type: ignore[no-untyped-def]
                        return milliseconds(how(operator, x), arguments.seconds)

                    ours = timed(BlurPool2d(2, f"binomial{taps}"))
                    cnns = timed(antialiased_cnns.BlurPool(shape[1], filt_size=taps, stride=2))
                    timm = timed(TimmBlurPool2d(shape[1], filt_size=taps, stride=2))
                    our_zero = timed(lambda x, taps=taps: blur_pool(x, 2, f"binomial{taps}", "zero"))
                    kornias = timed(lambda x, taps=taps: kornia.filters.blur_pool2d(x, taps, 2))
                    copy = timed(torch.clone)
                    same.append(ours / min(cnns, timm))
                    zero.append(our_zero / kornias)
                    rows.append(
                        [
                            "×".join(map(str, shape)),
                            "channels_last" if layout is torch.channels_last else "contiguous",
                            taps,
                            name,
                            *(f"{value:.2f}" for value in (ours, cnns, timm, copy, same[-1])),
                            *(f"{value:.2f}" for value in (our_zero, kornias, zero[-1])),
                        ]
                    )
    heads = ["shape", "layout", "taps", "", "ours, ms", "antialiased-cnns", "timm", "copy", "ratio"]
    print(tabulate(rows, [*heads, "ours, zeros", "kornia", "ratio"], tablefmt="github", disable_numparse=True))
    print(f"\n{cpu()}")
    print(f"same output: geometric mean {geometric_mean(same):.3f}, worst cell {max(same):.2f}")
    print(f"zero padding: geometric mean {geometric_mean(zero):.3f}, worst cell {max(zero):.2f}")


def geometric_mean(ratios: list[float]) -> float:
    """The mean of ratios."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


if __name__ == "__main__":
    main()
