"""The cost of a network: its parameters, its arithmetic, and its speed on this machine.

Multiply–adds are counted in one run on one image: those of convolutions (including blur-pooling), matrix products and
attention. Poolings, activations and Fourier transforms are left out, as in torchvision's own counts.
"""

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aliasing.blackbox import BlackBox
from aliasing.jitter.network import ON_CPU, Execution, evaluated, prepare
from aliasing.models import ShownNetwork
from aliasing.outputs import OUTPUTS
from aliasing.scales import SCALES, find_scale, rows_of
from aliasing.undisturbed import in_evaluation, surroundings_kept

__all__ = ["TIMED", "Cost", "cost", "speeds", "views_per_second"]

TIMED = 5
"""How many batches are timed."""
_WARM_UP = 0.3  # seconds


@dataclass(frozen=True)
class Cost:
    """The cost of a network on any machine.

    Attributes
    ----------
    parameters : int or None
        The number of learned values. None for a file that another library runs, which does not tell.
    multiply_adds : int or None
        For one image of the network's input size; None likewise.
    classes : int or None
        The number of classes or labels; two for a network that gives one number. None for another output.
    """

    parameters: int | None
    multiply_adds: int | None
    classes: int | None


@surroundings_kept()
def cost(model: ShownNetwork, of_classes: bool = True) -> Cost:
    """Count the parameters, the multiply–adds and, unless told not to, the classes of a network, by a run on one image.

    Raises
    ------
    InputError
        If it is not a classifier, and the classes are to be counted.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8, bias=False), nn.Flatten(), nn.Linear(16, 10))
    >>> half = (0.5, 0.5, 0.5)
    >>> cost(Classifier(network, "tiny", 16, half, half, "bilinear", resize_size=16, crop_share=1.0))
    Cost(parameters=938, multiply_adds=3232, classes=10)
    """
    run = evaluated(model)
    # The counter does not know all fused attention kernels; this one consists of matrix products.
    with ExitStack() as stack:
        for context in (torch.no_grad(), in_evaluation(run.module), sdpa_kernel(SDPBackend.MATH)):
            stack.enter_context(context)
        counter = stack.enter_context(FlopCounterMode(display=False))
        answer = run.module(run.blank())
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    classes = rows_of(answer, model.name).shape[1] if of_classes else None
    if classes == 1 and not SCALES[model.scale or find_scale(model).name].of_labels:
        classes = 2
    if isinstance(model.module, BlackBox):
        return Cost(None, None, classes)
    return Cost(parameters, counter.get_total_flops() // 2, classes)  # the counter counts both operations


def views_per_second(
    model: ShownNetwork, batch_size: int, execution: Execution = ON_CPU, output: str = "probabilities"
) -> float:
    """The number of views per second on this machine: the median of `speeds`."""
    return statistics.median(speeds(model, batch_size, execution, output))


@surroundings_kept()
def speeds(
    model: ShownNetwork, batch_size: int, execution: Execution = ON_CPU, output: str = "probabilities"
) -> list[float]:
    """The views per second of five batches of this size on this machine, one after the other, after a warm-up.

    Decoding and resizing are not included. Unlike everything else, these numbers differ from run to run.
    """
    measured = OUTPUTS[output].of(model)
    network = measured.network(prepare(measured.model, execution), execution)
    pictures = np.repeat(np.zeros_like(model.trial_views()[:1]), batch_size, 0)
    warm = time.perf_counter() + _WARM_UP
    network(pictures)  # allocates
    while time.perf_counter() < warm:  # caches fill and the processor's clock settles
        network(pictures)
    found = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        network(pictures)
        found.append(batch_size / (time.perf_counter() - begin))
    return found
