r"""The maximum over a window at every position, as elementwise maxima of shifted images,

.. math:: y_{ij} = \max_b \max_a x_{i + a,\, j + b},

one for each row and column of the window, each as fast as memory. torch's pooling compares pixel by pixel, which takes
ten to fifty times as long for contiguous images on a CPU, and keeps eight bytes per output for the gradient; one byte
per comparison is enough. Values and gradients are those of `torch.nn.functional.max_pool2d`, including ties: the first
maximum of a window, row by row, gets the gradient.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aliasing.downsample.recording import is_recorded

# The cost is one pass over memory, and a byte for the gradient, per comparison. Torch's way is slow for contiguous
# images; in channels_last it compares many channels at once, and is faster for all windows but two by two.
LARGEST, LARGEST_CHANNELS_LAST = 3, 2


def dense_maximum(
    x: Tensor, kernel: tuple[int, ...], padding: tuple[int, ...] = (), dilation: tuple[int, ...] = ()
) -> Tensor:
    """The maximum over a window at every position, like ``max_pool2d`` with stride 1.

    ``x`` is (N, C, ...) or (C, ...); kernel, padding and dilation have one number for each of its 1, 2 or 3 last axes.

    Examples
    --------
    >>> dense_maximum(torch.tensor([[[3.0, 1.0, 2.0, 5.0]]]), (1, 2))
    tensor([[[3., 2., 5.]]])
    """
    if is_recorded() or max(dilation, default=1) > 1 or not _pays(x, kernel):
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
        return pool(x, kernel, 1, padding or 0, dilation or 1)
    if max(padding, default=0) > 0:
        x = F.pad(x, [side for side in reversed(padding) for _ in range(2)], value=-torch.inf)
    # The last axis first: among equal values, the gradient goes to the first in its row, and to the first of the rows.
    for axis, count in zip(range(-1, -len(kernel) - 1, -1), reversed(kernel), strict=True):
        if not (torch.is_grad_enabled() and x.requires_grad):
            x = _largest(x, axis, count)
        elif count > 1:
            x = _Maximum.apply(x, axis, count)[0]
    return x


def _pays(x: Tensor, kernel: tuple[int, ...]) -> bool:
    return x.device.type == "cpu" and 1 < max(kernel) <= (LARGEST if x.is_contiguous() else LARGEST_CHANNELS_LAST)


def _shifted(x: Tensor, axis: int, count: int) -> list[Tensor]:
    """The image moved by 0, 1, …, count − 1 pixels along an axis, cropped to what all of them contain."""
    return [x.narrow(axis, start, x.shape[axis] - count + 1) for start in range(count)]


def _largest(x: Tensor, axis: int, count: int) -> Tensor:
    y, *others = _shifted(x, axis, count)
    for other in others:
        y = torch.maximum(y, other)
    return y


class _Maximum(torch.autograd.Function):
    """The maximum of ``count`` neighbours along an axis, and whether each of them exceeded those before it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axis: int, count: int) -> tuple[Tensor, ...]:
        y, *others = _shifted(x, axis, count)
        larger = []
        for other in others:
            larger.append(other > y)
            y = torch.maximum(y, other)
        return (y, *larger)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, ctx.axis, ctx.count = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])
        ctx.save_for_forward(*output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Any:
        last, shares = ctx.count - 1, []
        for larger in reversed(ctx.saved_tensors):
            # A product, because torch.where is ten times as slow here. (A gradient that overflowed spreads as NaN.)
            shares.append(gradient * larger)
            gradient = gradient - shares[-1]
        sides = (0, 0) * (-1 - ctx.axis)  # F.pad names the last axis first
        x = F.pad(gradient, (*sides, 0, last))
        for behind, share in enumerate(shares):
            x.narrow(ctx.axis, last - behind, gradient.shape[ctx.axis]).add_(share)
        return x, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Any:
        y, *others = _shifted(tangent, ctx.axis, ctx.count)
        for other, larger in zip(others, ctx.saved_tensors, strict=True):
            y = torch.where(larger, other, y)
        return (y, *(None for _ in others))
