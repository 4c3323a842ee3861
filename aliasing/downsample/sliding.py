r"""The maximum over a window at every position: as many elementwise maxima of shifted images as the window has rows
and columns,

.. math:: y_{ij} = \max_b \max_a x_{i + a,\, j + b},

each as fast as memory. torch's pooling compares pixel by pixel, which takes ten to fifty times as long for contiguous
images on a CPU, and keeps an index of eight bytes for every output to send the gradient back; one bit of truth for
each comparison, in a byte, is enough. Values and gradients are those of `torch.nn.functional.max_pool2d`, ties
included: the first largest of a window, row by row, gets the gradient.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aliasing.downsample.recording import is_recorded

# A comparison costs a pass over memory and a byte for the gradient, as many as the window is long. Torch's way is slow
# for contiguous images; in channels_last, where it compares many channels at once, it is good for all but two by two.
LARGEST, LARGEST_CHANNELS_LAST = 3, 2


def dense_maximum(
    x: Tensor, kernel: tuple[int, int], padding: tuple[int, int] = (0, 0), dilation: tuple[int, int] = (1, 1)
) -> Tensor:
    """The maximum over a window at every position, as ``max_pool2d`` with stride 1 gives it.

    Parameters
    ----------
    x : Tensor
        (N, C, H, W) or (C, H, W).
    kernel, padding, dilation : (int, int)
        Down and across.

    Returns
    -------
    Tensor
        H + 2 · padding − dilation · (kernel − 1) rows, and columns alike.

    Examples
    --------
    >>> dense_maximum(torch.tensor([[[3.0, 1.0, 2.0, 5.0]]]), (1, 2))
    tensor([[[3., 2., 5.]]])
    """
    if is_recorded() or dilation != (1, 1) or not _pays(x, kernel):
        return F.max_pool2d(x, kernel, 1, padding, dilation)
    if max(padding) > 0:
        (top, left) = padding
        x = F.pad(x, (left, left, top, top), value=-torch.inf)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _largest(_largest(x, -1, kernel[1]), -2, kernel[0])
    # Columns first: of equal values the gradient takes the first in its row, and of the rows the first.
    for axis, count in ((-1, kernel[1]), (-2, kernel[0])):
        if count > 1:
            x = _Maximum.apply(x, axis, count)[0]
    return x


def _pays(x: Tensor, kernel: tuple[int, int]) -> bool:
    return x.device.type == "cpu" and 1 < max(kernel) <= (LARGEST if x.is_contiguous() else LARGEST_CHANNELS_LAST)


def _shifted(x: Tensor, axis: int, count: int) -> list[Tensor]:
    """The image moved by 0, 1, …, count − 1 pixels along an axis, without what is not in all of them."""
    return [x.narrow(axis, start, x.shape[axis] - count + 1) for start in range(count)]


def _largest(x: Tensor, axis: int, count: int) -> Tensor:
    y, *others = _shifted(x, axis, count)
    for other in others:
        y = torch.maximum(y, other)
    return y


class _Maximum(torch.autograd.Function):
    """The maximum of ``count`` neighbours along an axis, and where each of them was larger than those before it."""

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
            # A product, for torch.where is ten times as slow here. (A gradient that has overflowed spreads as NaN.)
            shares.append(gradient * larger)
            gradient = gradient - shares[-1]
        sides = (0, 0) if ctx.axis == -2 else ()  # F.pad names the last axis first
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
