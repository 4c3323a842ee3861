r"""Blur-pooling images without copying them into a padded frame, which costs as much as the blur itself.

Along each axis the blur is a matrix :math:`A = Z + B`: *Z* reads zeros beyond the border, which a convolution does for
free, and *B* has the few entries of the taps that lie beyond it, at the pixels that the padding puts there. Then

.. math:: A_y X A_x^T = Z_y X Z_x^T + B_y X A_x^T + Z_y X B_x^T,

one convolution of the whole, and for each border row and column one product of that row or column with a small
matrix. The gradient is the transpose, term by term. Both are tested against the definition, pad and convolve. (They
differ from it in one thing: NaN or infinity in a row or column next to the border reaches that whole border, as 0 ·
NaN is NaN.)
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Row: TypeAlias = tuple[float, ...]


# Beyond this size the matrices, size² / stride, take more room than the padded copy is worth.
LARGEST = 1024


class Axis(NamedTuple):
    """The blur along one axis: its taps, stride and padding, and the length of what it reads."""

    taps: Row
    stride: int
    padding: str
    size: int


def blur(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Blur-pool a batch of images, N×C×H×W, along rows (the H axis) and columns."""
    y: Tensor = _Blur.apply(x, rows, columns)
    return y


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
        kernel, stride, padding = _convolution(rows, columns, x)
        y = F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])
        for axis, own, other in (
            (-2, _beyond(rows), _matrix(columns)),
            (-1, _beyond(columns), _matrix(rows, zero=True)),
        ):
            _add_border(y, x, axis, own, torch.from_numpy(other).to(x.dtype))
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.rows, ctx.columns = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Transpose.apply(gradient, ctx.rows, ctx.columns), None, None


class _Transpose(torch.autograd.Function):
    @staticmethod
    def forward(gradient: Tensor, rows: Axis, columns: Axis) -> Tensor:
        kernel, stride, padding = _convolution(rows, columns, gradient)
        missing = [  # pixels at the end that no output of a convolution of this padding reads
            axis.size - ((length - 1) * axis.stride - 2 * before + taps)
            for axis, length, before, taps in zip(
                (rows, columns), gradient.shape[2:], padding, kernel.shape[2:], strict=True
            )
        ]
        x = F.conv_transpose2d(gradient, kernel, None, stride, padding, missing, gradient.shape[1])
        for axis, own, other in (
            (-2, _beyond(rows), _matrix(columns)),
            (-1, _beyond(columns), _matrix(rows, zero=True)),
        ):
            swapped = tuple((pixel, output, weight) for output, pixel, weight in own)
            _add_border(x, gradient, axis, swapped, torch.from_numpy(other.T).to(gradient.dtype))
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.rows, ctx.columns = inputs

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        return _Blur.apply(x, ctx.rows, ctx.columns), None, None


def _add_border(y: Tensor, x: Tensor, axis: int, entries: tuple[tuple[int, int, float], ...], matrix: Tensor) -> None:
    """y[place] += weight · matrix x[source], for each line across ``axis``."""
    # In channels_last the lines are H×C or W×C in memory, and the product is from the left.
    channels_last = x.stride(1) == 1
    for source in dict.fromkeys(source for _, source, _ in entries):
        line = x.select(axis, source)
        line = (matrix @ line.mT).mT if channels_last else F.linear(line, matrix)
        for place, of, weight in entries:
            if of == source:
                y.select(axis, place).add_(line, alpha=weight)


def _convolution(rows: Axis, columns: Axis, like: Tensor) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Kernel, stride and zero padding of the convolution that Z_y X Z_xᵀ is."""
    (taps_y, before_y), (taps_x, before_x) = _zero_padded(rows), _zero_padded(columns)
    kernel = torch.from_numpy(np.outer(taps_y, taps_x)).to(like.dtype)
    weight = kernel.expand(like.shape[1], 1, *kernel.shape)
    return weight, (rows.stride, columns.stride), (before_y, before_x)


@lru_cache(maxsize=256)
def _zero_padded(axis: Axis) -> tuple[Row, int]:
    """Taps and padding of a convolution that pads as much before as after, as torch's do."""
    before, outputs = (len(axis.taps) - 1) // 2, -(-axis.size // axis.stride)
    if (axis.size + 2 * before - len(axis.taps)) // axis.stride + 1 == outputs:
        return axis.taps, before
    # An even number of taps whose last reaches one pixel further: a zero in front makes them odd, and symmetric.
    return (0.0, *axis.taps), before + 1


@lru_cache(maxsize=256)
def _entries(axis: Axis) -> list[tuple[int, int, float, bool]]:
    """(output, pixel, weight, whether beyond the border) of every tap of every output."""
    last = axis.size - 1
    entries = []
    for output in range(-(-axis.size // axis.stride)):
        for tap, weight in enumerate(axis.taps):
            place = output * axis.stride + tap - (len(axis.taps) - 1) // 2
            pixel = {
                "reflect": last - abs(last - abs(place)),
                "replicate": min(max(place, 0), last),
                "circular": place % axis.size,
            }[axis.padding]
            entries.append((output, pixel, weight, not 0 <= place <= last))
    return entries


@lru_cache(maxsize=256)
def _beyond(axis: Axis) -> tuple[tuple[int, int, float], ...]:
    """B: (output, pixel, weight) of the taps beyond the border, those on one pixel added up."""
    weights: dict[tuple[int, int], float] = {}
    for output, pixel, weight, beyond in _entries(axis):
        if beyond and weight:
            weights[output, pixel] = weights.get((output, pixel), 0.0) + weight
    return tuple((output, pixel, weight) for (output, pixel), weight in weights.items())


@lru_cache(maxsize=16)
def _matrix(axis: Axis, *, zero: bool = False) -> NDArray[np.float64]:
    """A, or Z where beyond the border are zeros: (outputs, pixels)."""
    matrix = np.zeros((-(-axis.size // axis.stride), axis.size))
    for output, pixel, weight, beyond in _entries(axis):
        if not (zero and beyond):
            matrix[output, pixel] += weight
    return matrix
