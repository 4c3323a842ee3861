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

# In contiguous images up to this wide, a column is so large a part of memory that the padded copy is the faster way
# forward. (Its gradient is not the faster way back.)
NARROW = 32


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
        plan = _plan(rows, columns, x.dtype == torch.float64)
        if x.is_contiguous() and x.shape[-1] <= NARROW:
            beyond = [side for axis in (columns, rows) for side in ((len(axis.taps) - 1) // 2, len(axis.taps) // 2)]
            kernel = torch.from_numpy(np.outer(rows.taps, columns.taps)).to(x.dtype).expand(x.shape[1], 1, -1, -1)
            return F.conv2d(
                F.pad(x, beyond, rows.padding), kernel, None, (rows.stride, columns.stride), 0, 1, x.shape[1]
            )
        weight = torch.from_numpy(plan.kernel).to(x.dtype).expand(x.shape[1], 1, *plan.kernel.shape)
        y = F.conv2d(x, weight, None, (rows.stride, columns.stride), plan.padding, 1, x.shape[1])
        for border in plan.borders:
            matrix = torch.from_numpy(border.matrix).to(x.dtype)
            for pixel, outputs in border.outputs_of_pixel.items():
                line = _multiply(matrix, x.select(border.axis, pixel), x)
                for output, weight_there in outputs:
                    y.select(border.axis, output).add_(line, alpha=weight_there)
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
        plan = _plan(rows, columns, gradient.dtype == torch.float64)
        channels, stride = gradient.shape[1], (rows.stride, columns.stride)
        weight = torch.from_numpy(plan.kernel).to(gradient.dtype).expand(channels, 1, *plan.kernel.shape)
        x = F.conv_transpose2d(gradient, weight, None, stride, plan.padding, plan.unread, channels)
        for border in plan.borders:
            matrix = torch.from_numpy(border.matrix.T).to(gradient.dtype)
            for output, pixels in border.pixels_of_output.items():
                line = _multiply(matrix, gradient.select(border.axis, output), gradient)
                for pixel, weight_there in pixels:
                    x.select(border.axis, pixel).add_(line, alpha=weight_there)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.rows, ctx.columns = inputs

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        return _Blur.apply(x, ctx.rows, ctx.columns), None, None


def _multiply(matrix: Tensor, line: Tensor, image: Tensor) -> Tensor:
    """The matrix times each N×C line; from the left in channels_last, where C is innermost in memory."""
    return (matrix @ line.mT).mT if image.stride(1) == 1 else F.linear(line, matrix)


class _Border(NamedTuple):
    """B along one axis, and the matrix along the other."""

    axis: int
    outputs_of_pixel: dict[int, list[tuple[int, float]]]
    pixels_of_output: dict[int, list[tuple[int, float]]]
    matrix: NDArray[Any]


class _Plan(NamedTuple):
    """All of it that depends on sizes and taps alone."""

    kernel: NDArray[Any]
    padding: tuple[int, int]
    unread: tuple[int, int]  # pixels at the end of each axis that no output of the convolution reads
    borders: list[_Border]


@lru_cache(maxsize=16)
def _plan(rows: Axis, columns: Axis, double: bool) -> _Plan:
    dtype = np.float64 if double else np.float32
    (taps_y, before_y), (taps_x, before_x) = _zero_padded(rows), _zero_padded(columns)
    unread = tuple(
        axis.size + 2 * before - len(taps) - (_outputs(axis) - 1) * axis.stride
        for axis, taps, before in ((rows, taps_y, before_y), (columns, taps_x, before_x))
    )
    borders = []
    for place, axis, matrix in ((-2, rows, _matrix(columns)), (-1, columns, _matrix(rows, zero=True))):
        by_pixel: dict[int, list[tuple[int, float]]] = {}
        by_output: dict[int, list[tuple[int, float]]] = {}
        for output, pixel, weight in _beyond(axis):
            by_pixel.setdefault(pixel, []).append((output, weight))
            by_output.setdefault(output, []).append((pixel, weight))
        if by_pixel:
            borders.append(_Border(place, by_pixel, by_output, matrix.astype(dtype)))
    kernel = np.outer(taps_y, taps_x).astype(dtype)
    return _Plan(kernel, (before_y, before_x), (unread[0], unread[1]), borders)


def _outputs(axis: Axis) -> int:
    return -(-axis.size // axis.stride)


def _zero_padded(axis: Axis) -> tuple[Row, int]:
    """Taps and padding of a convolution that pads as much before as after, as torch's do."""
    before = (len(axis.taps) - 1) // 2
    if (axis.size + 2 * before - len(axis.taps)) // axis.stride + 1 == _outputs(axis):
        return axis.taps, before
    # An even number of taps whose last reaches one pixel further: a zero in front makes them odd, and symmetric.
    return (0.0, *axis.taps), before + 1


def _entries(axis: Axis) -> list[tuple[int, int, float, bool]]:
    """(output, pixel, weight, whether beyond the border) of every tap of every output."""
    last = axis.size - 1
    entries = []
    for output in range(_outputs(axis)):
        for tap, weight in enumerate(axis.taps):
            place = output * axis.stride + tap - (len(axis.taps) - 1) // 2
            pixel = {
                "reflect": last - abs(last - abs(place)),
                "replicate": min(max(place, 0), last),
                "circular": place % axis.size,
            }[axis.padding]
            entries.append((output, pixel, weight, not 0 <= place <= last))
    return entries


def _beyond(axis: Axis) -> tuple[tuple[int, int, float], ...]:
    """B: (output, pixel, weight) of the taps beyond the border, those on one pixel added up."""
    weights: dict[tuple[int, int], float] = {}
    for output, pixel, weight, beyond in _entries(axis):
        if beyond and weight:
            weights[output, pixel] = weights.get((output, pixel), 0.0) + weight
    return tuple((output, pixel, weight) for (output, pixel), weight in weights.items())


def _matrix(axis: Axis, *, zero: bool = False) -> NDArray[np.float64]:
    """A, or Z where beyond the border are zeros: (outputs, pixels)."""
    matrix = np.zeros((_outputs(axis), axis.size))
    for output, pixel, weight, beyond in _entries(axis):
        if not (zero and beyond):
            matrix[output, pixel] += weight
    return matrix
