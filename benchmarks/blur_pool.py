"""Blur-pooling beside its peers: time of ours ÷ time of theirs.

    python benchmarks/blur_pool.py [--axes 1 | 3]

Forward, and forward and backward, on feature maps of a ResNet, in both memory layouts, all in one run. The peers that
compute the same output (reflect padding) are antialiased-cnns and timm; kornia pads with zeros. A plain copy of the
input is the lower bound for moving that much memory. In each cell the contenders take turns of several consecutive
calls, and each number is the median of one contender. With the default allocator a padded copy also costs fresh pages,
as it does in any program; ``--keep-memory`` removes that cost (`aliasing.memory`).

``--axes 1`` and ``--axes 3`` are sounds and volumes, for which there is no peer: there the contender is the obvious
way, a padded copy and a depthwise convolution, which computes the same.
"""

import argparse
import math
import platform
import random
import time
from collections.abc import Callable
from statistics import median

import antialiased_cnns
import kornia
import torch
import torch.nn.functional as F
from tabulate import tabulate
from timm.layers import BlurPool2d as TimmBlurPool2d
from torch import Tensor

from aliasing.layers import BlurPool1d, BlurPool2d, BlurPool3d
from aliasing.memory import keep_freed_memory

SHAPES = ((8, 64, 112, 112), (8, 256, 56, 56), (8, 512, 28, 28))
# Maps of networks for raw sound, electrocardiograms and wave forms; of networks for clips and medical volumes.
OTHER_SHAPES = {
    1: (
        *((1, 32, 48000), (8, 64, 16000), (16, 128, 1000), (4, 512, 500), (32, 256, 250)),
        *((1, 1, 64000), (16, 1, 4000), (1, 16, 8000), (1, 64, 1000), (4, 64, 250)),
    ),
    3: (
        *((1, 64, 16, 56, 56), (2, 128, 8, 28, 28), (4, 256, 4, 14, 14), (1, 32, 64, 64, 64), (1, 32, 20, 128, 128)),
        *((1, 3, 16, 112, 112), (1, 1, 64, 64, 64), (1, 64, 8, 56, 56), (1, 256, 8, 14, 14), (2, 16, 16, 16, 16)),
    ),
}


def milliseconds(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median time of each call.

    They take turns in an order that changes, so that all share the good and bad moments of the machine and follow one
    another; a turn is seven calls of which the last five count, because the first ones find the caches as the one
    before left them.
    """
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(times))]) < 15:
        for name, call in order.sample(list(calls.items()), len(calls)):
            call(), call()
            for _ in range(5):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * median(rounds) for name, rounds in times.items()}


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
    parser.add_argument("--seconds", type=float, default=1.0, help="for each cell (default 1)")
    parser.add_argument("--keep-memory", action="store_true", help="keep freed memory, as `aliasing jitter` does")
    parser.add_argument(
        "--axes", type=int, choices=(1, 2, 3), default=2, help="sounds, pictures or volumes (default 2)"
    )
    arguments = parser.parse_args()
    if arguments.keep_memory:
        keep_freed_memory()
    if arguments.axes != 2:
        beside_the_obvious_way(arguments.axes, arguments.seconds)
        return
    rows, same, zero, null = [], [], [], []
    for shape in SHAPES:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(shape).contiguous(memory_format=layout)
            for taps in (3, 4, 5):
                ours = BlurPool2d(2, f"binomial{taps}")
                operators = {
                    "ours": ours,
                    "antialiased-cnns": antialiased_cnns.BlurPool(shape[1], filt_size=taps, stride=2),
                    "timm": TimmBlurPool2d(shape[1], filt_size=taps, stride=2),
                    "copy": torch.clone,
                    "ours, zeros": BlurPool2d(2, f"binomial{taps}", padding="zero"),
                    "kornia": kornia.filters.BlurPool2D(taps, stride=2),
                    "kornia again": kornia.filters.BlurPool2D(taps, stride=2),
                }
                for name, how in (("forward", forward), ("forward + backward", forward_backward)):
                    times = milliseconds({key: how(call, x) for key, call in operators.items()}, arguments.seconds)
                    same.append(times["ours"] / min(times["antialiased-cnns"], times["timm"]))
                    zero.append(times["ours, zeros"] / times["kornia"])
                    null.append(times.pop("kornia again") / times["kornia"])
                    cells = [f"{value:.2f}" for value in times.values()]
                    layout_name = "channels_last" if layout is torch.channels_last else "contiguous"
                    rows.append(
                        [
                            *("×".join(map(str, shape)), layout_name, taps, name),
                            *(*cells[:4], f"{same[-1]:.2f}", *cells[4:], f"{zero[-1]:.2f}"),
                        ]
                    )
    heads = ["shape", "layout", "taps", "", "ours, ms", "antialiased-cnns", "timm", "copy", "ratio"]
    print(tabulate(rows, [*heads, "ours, zeros", "kornia", "ratio"], tablefmt="github", disable_numparse=True))
    print(f"\n{cpu()}")
    print(f"same output: geometric mean {geometric_mean(same):.3f}, worst cell {max(same):.2f}")
    print(f"zero padding: geometric mean {geometric_mean(zero):.3f}, worst cell {max(zero):.2f}")
    print(
        f"kornia ÷ kornia, the error of all this: geometric mean {geometric_mean(null):.3f}, worst cell {max(null):.2f}"
    )


def beside_the_obvious_way(axes: int, seconds: float) -> None:
    """Print the table for sounds or volumes."""
    rows, ratios = [], []
    ours = (BlurPool1d, BlurPool3d)[axes == 3](2, "binomial4")
    for shape in OTHER_SHAPES[axes]:
        x = torch.randn(shape)
        for name, how in (("forward", forward), ("forward + backward", forward_backward)):
            times = milliseconds({"ours": how(ours, x), "obvious": how(obvious_way(axes, shape[1]), x)}, seconds)
            ratios.append(times["ours"] / times["obvious"])
            numbers = (*times.values(), ratios[-1])
            rows.append(["×".join(map(str, shape)), name, *(f"{number:.2f}" for number in numbers)])
    print(
        tabulate(rows, ["shape", "", "ours, ms", "padded copy, ms", "ratio"], tablefmt="github", disable_numparse=True)
    )
    print(f"\n{cpu()}\ngeometric mean {geometric_mean(ratios):.3f}, worst cell {max(ratios):.2f}")


def obvious_way(axes: int, channels: int) -> Callable[[Tensor], Tensor]:
    """Pad a copy by reflection, and convolve every channel."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = row if axes == 1 else torch.einsum("i,j,k->ijk", row, row, row)
    weight, convolution = kernel.expand(channels, 1, *kernel.shape), F.conv1d if axes == 1 else F.conv3d
    return lambda x: convolution(F.pad(x, (1, 2) * axes, "reflect"), weight, stride=2, groups=channels)


def geometric_mean(ratios: list[float]) -> float:
    """The mean of ratios."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


if __name__ == "__main__":
    main()
