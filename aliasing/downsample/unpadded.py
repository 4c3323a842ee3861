r"""Blur-pooling without a padded copy, which costs as much as the blur itself, in one, two and three axes.

Along each axis the blur is a matrix, :math:`Y = A_y X A_x^T`. The fastest way depends on the image's memory format.

*Contiguous* images, whose rows are contiguous in memory, are blurred one axis at a time: their rows are added up tap by
tap, and the columns, which would have to be gathered, take one matrix product.

*Channels-last* images take one convolution. With :math:`A = Z + B`, where *Z* reads zeros beyond the border, which a
convolution does for free, and *B* has the few entries of taps beyond the border, at the pixels that the padding puts
there,

.. math:: A_y X A_x^T = Z_y X Z_x^T + B_y X A_x^T + Z_y X B_x^T:

each border row and column adds a product of a line with a small matrix to the convolution of the whole.

*Sounds* take the convolution and the taps beyond the border; *volumes* are summed plane by plane, tap by tap, and then
blurred as images.

The gradient is the transpose, term by term. Both ways are tested against the definition, pad and convolve. They differ
from it only for NaN and infinity, which reach the whole row or its border, because 0 · NaN is NaN.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from inspect import signature
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Row: TypeAlias = tuple[float, ...]


# Beyond this size the matrices, size² / stride, need more memory than the padded copy.
LARGEST = 1024

# The axes of a batch -> a batch of sounds, images or volumes with fewer samples is padded in less time than it takes to
# look for a better way and to call torch more often.
SMALLEST = {3: 1 << 15, 4: 0, 5: 1 << 16}
# With more taps than four along each of three axes, torch's padded way takes gigabytes.
MOST_TAPS = 64

# With more taps, the convolution of a padded copy of a sound is up to ten times as fast as one with zero padding.
MOST_TAPS_OF_SOUNDS = 8

# Contiguous images wider than this take the convolution too: the operations of a matrix product per pixel grow with the
# width.
WIDEST = 256

# The part of a batch that is processed at a time, in bytes: about a second-level cache.
CACHE = 1 << 21


class Axis(NamedTuple):
    """The blur along one axis: its taps, stride and padding, and the length of its input."""

    taps: Row
    stride: int
    padding: str
    size: int


def may_pay(x: Tensor, taps: int) -> bool:
    """Whether asking `pays` takes less time than padding and convolving the batch; the filter has ``taps`` in all."""
    return x.numel() >= SMALLEST[x.ndim] or taps > MOST_TAPS


def pays(x: Tensor, first: Axis) -> bool:
    """Whether a batch of sounds, images or volumes is blurred faster here than by padding and convolving.

    ``first`` is the blur along the first of its axes.
    """
    if x.ndim == 4:
        return max(x.shape[2:]) <= LARGEST
    # Sums in half precision would be rounded after every tap, unlike a convolution.
    exact = x.dtype in (torch.float32, torch.float64)
    if x.ndim == 3:
        return exact and len(first.taps) <= MOST_TAPS_OF_SOUNDS
    # Planes are summed in units of the tap on the kept one.
    return exact and x.is_contiguous() and max(x.shape[2:]) <= LARGEST and _terms(first)[0].weight != 0


def blur(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Blur-pool a batch of images, N×C×H×W, along rows (the H axis) and columns."""
    if not (x.requires_grad and torch.is_grad_enabled()) and not _by_axis(x, rows, columns):
        return _blur_by_convolution(x, rows, columns)  # torch can differentiate its operations
    y: Tensor = _Linear.apply(x, _IMAGE, (rows, columns), False)
    return y


class _Linear(torch.autograd.Function):
    """A linear map or its transpose, of a pair of functions of a tensor and axes: each is the gradient of the other."""

    @staticmethod
    def forward(*given: Any) -> Tensor:
        x, pair, axes, transposed = given
        return cast(Tensor, pair[transposed](x, *axes))

    # torch asks for it at every call, and to find it takes as long as to blur a second of speech.
    forward.__func__.__signature__ = signature(forward)  # type: ignore[attr-defined]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, *ctx.given = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        pair, axes, transposed = ctx.given
        return _linear(gradient, pair, axes, not transposed), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Any:
        return _Linear.apply(tangent, *ctx.given)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, *given: Any) -> tuple[Tensor, int]:
        batches = x.movedim(cast(int, in_dims[0]), 0)
        return _Linear.apply(batches.flatten(0, 1), *given).unflatten(0, batches.shape[:2]), 0


def _linear(x: Tensor, pair: "_Pair", axes: tuple[Axis, ...], transposed: bool) -> Tensor:
    """The map or its transpose, without `_Linear` where no gradient is asked for and torch could compute one too."""
    if pair is _LINE and not (x.requires_grad and torch.is_grad_enabled()):
        return pair[transposed](x, *axes)
    return cast(Tensor, _Linear.apply(x, pair, axes, transposed))


def blur_line(x: Tensor, axis: Axis) -> Tensor:
    """Blur-pool a batch of sounds, N×C×L."""
    return _linear(x, _LINE, (axis,), False)


def blur_volume(x: Tensor, planes: Axis, rows: Axis, columns: Axis) -> Tensor:
    """Blur-pool a batch of volumes, N×C×D×H×W, along planes (the D axis), rows and columns."""
    images = x
    if len(planes.taps) > 1 or planes.stride > 1:
        summed: Tensor = _Linear.apply(x.flatten(3), _PLANES, (planes,), False)
        images = summed.reshape(*summed.shape[:3], *x.shape[3:])
    blurred = blur(images.flatten(1, 2), rows, columns)
    return blurred.reshape(*images.shape[:3], *blurred.shape[2:])


class _Line(NamedTuple):
    """Everything that a sound's blur does not take from its samples."""

    taps: NDArray[Any]
    before: int  # samples of zeros before and after
    unread: int  # samples at the end that the convolution does not read
    beyond: list[tuple[slice, slice, float]]  # outputs, samples and weight of the taps beyond the border


@lru_cache(maxsize=64)
def _line(axis: Axis, double: bool) -> _Line:
    taps, before = _zero_padded(axis)
    beyond: list[tuple[slice, slice, float]] = []
    ends = list(_beyond(axis))
    while ends:
        output, pixel, weight = ends.pop(0)
        # With one of the same weight at the other end they are two equally spaced places, which one call adds.
        other = next((end for end in ends if end[2] == weight and end[0] > output and end[1] > pixel), None)
        if other:
            ends.remove(other)
        last_output, last_pixel, _ = other or (output + 1, pixel + 1, weight)
        places = slice(output, last_output + bool(other), last_output - output)
        beyond.append((places, slice(pixel, last_pixel + bool(other), last_pixel - pixel), weight))
    row = np.array(taps, np.float64 if double else np.float32)
    return _Line(row, before, _unread(axis, taps, before), beyond)


def _blur_line(x: Tensor, axis: Axis) -> Tensor:
    line, channels = _line(axis, x.dtype == torch.float64), x.shape[1]
    weight = torch.from_numpy(line.taps).expand(channels, 1, -1)
    y = F.conv1d(x, weight, None, axis.stride, line.before, 1, channels)
    for outputs, samples, weight_there in line.beyond:
        y[..., outputs].add_(x[..., samples], alpha=weight_there)
    return y


def _transpose_line(gradient: Tensor, axis: Axis) -> Tensor:
    line, channels = _line(axis, gradient.dtype == torch.float64), gradient.shape[1]
    weight = torch.from_numpy(line.taps).expand(channels, 1, -1)
    x = F.conv_transpose1d(gradient, weight, None, axis.stride, line.before, line.unread, channels)
    for outputs, samples, weight_there in line.beyond:
        x[..., samples].add_(gradient[..., outputs], alpha=weight_there)
    return x


def _blur_planes(x: Tensor, planes: Axis) -> Tensor:
    unit = _terms(planes)[0].weight
    return _sum_rows(x, planes, unit, unit)


def _transpose_planes(gradient: Tensor, planes: Axis) -> Tensor:
    unit = _terms(planes)[0].weight
    return _spread_rows(gradient.contiguous(), planes, unit, unit)


def _blur(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    return (_blur_by_axis if _by_axis(x, rows, columns) else _blur_by_convolution)(x, rows, columns)


def _transpose(gradient: Tensor, rows: Axis, columns: Axis) -> Tensor:
    by_axis = _by_axis(gradient, rows, columns)
    return (_transpose_by_axis if by_axis else _transpose_by_convolution)(gradient, rows, columns)


def _by_axis(image: Tensor, rows: Axis, columns: Axis) -> bool:
    # Sums in half precision would be rounded after every tap, unlike a convolution.
    exact = image.dtype in (torch.float32, torch.float64)
    return exact and image.is_contiguous() and columns.size <= WIDEST and _terms(rows)[0].weight != 0


def _blur_by_axis(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    unit = _terms(rows)[0].weight  # rows are summed in this unit; the matrix multiplies it back
    sums = _sum_rows(x, rows, unit)
    return _product(sums, torch.from_numpy(_scaled_matrix(columns, unit, x.dtype == torch.float64)))


def _sum_rows(x: Tensor, rows: Axis, unit: float, factor: float = 1.0) -> Tensor:
    """The blur along rows, tap by tap, times ``factor`` / ``unit``."""
    first, *others = _terms(rows)
    pair = bool(others) and others[0].outputs == first.outputs  # two taps of all outputs are added in one pass
    sums = x.new_empty(*x.shape[:2], _outputs(rows), x.shape[-1])
    for some in _some_images(sums):
        images, sums_of_rows = x[some], sums[some]
        if pair:
            weight = others[0].weight / unit
            torch.add(images[:, :, first.pixels], images[:, :, others[0].pixels], alpha=weight, out=sums_of_rows)
        else:
            sums_of_rows.copy_(images[:, :, first.pixels])
        for term in others[pair:]:
            sums_of_rows[:, :, term.outputs].add_(images[:, :, term.pixels], alpha=term.weight / unit)
        if factor != 1:
            sums_of_rows.mul_(factor)
    return sums


def _transpose_by_axis(gradient: Tensor, rows: Axis, columns: Axis) -> Tensor:
    unit = _terms(rows)[0].weight
    matrix = torch.from_numpy(_scaled_matrix(columns, unit, gradient.dtype == torch.float64))
    return _spread_rows(_product(gradient, matrix.T), rows, unit)


def _spread_rows(sums: Tensor, rows: Axis, unit: float, factor: float = 1.0) -> Tensor:
    """The transpose of `_sum_rows`."""
    terms = _terms(rows)
    every_pixel = sum(term.first_of_phase for term in terms) == rows.stride
    x = (sums.new_empty if every_pixel else sums.new_zeros)(*sums.shape[:2], rows.size, sums.shape[-1])
    unit = unit / factor
    for some in _some_images(sums):
        images, sums_of_rows = x[some], sums[some]
        for term in terms:
            if term.first_of_phase:
                torch.mul(sums_of_rows[:, :, term.outputs], term.weight / unit, out=images[:, :, term.pixels])
            else:
                images[:, :, term.pixels].add_(sums_of_rows[:, :, term.outputs], alpha=term.weight / unit)
    return x


def _some_images(batch: Tensor) -> list[slice]:
    """A batch in parts that stay in the cache while the taps are added."""
    some = max(1, CACHE // (batch[0].numel() * batch.element_size()))
    return [slice(first, first + some) for first in range(0, len(batch), some)]


def _product(lines: Tensor, matrix: Tensor) -> Tensor:
    """The matrix times each line of the last axis."""
    if lines.dtype != torch.float32:
        return F.linear(lines, matrix)
    # As a 1×1 convolution of one image in channels_last, which takes half the time of the product in float32.
    pixels = lines.reshape(1, -1, 1, lines.shape[-1]).permute(0, 3, 1, 2)
    y = F.conv2d(pixels, matrix[:, :, None, None]).contiguous(memory_format=torch.channels_last)
    # Reshape in place: a Function must not return a view, because a later operation may change it in place.
    images, channels, rows, width = *lines.shape[:-1], len(matrix)
    return y.as_strided_((images, channels, rows, width), (channels * rows * width, rows * width, width, 1))


def _blur_by_convolution(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    plan = _plan(rows, columns, x.dtype == torch.float64)
    stride, channels = (rows.stride, columns.stride), x.shape[1]
    weight = torch.from_numpy(plan.kernel).to(x.dtype).expand(channels, 1, -1, -1)
    y = F.conv2d(x, weight, None, stride, plan.padding, 1, channels)
    for border in plan.borders:
        matrix = torch.from_numpy(border.matrix).to(x.dtype)
        for output, pixels in border.pixels_of_output.items():
            (pixel, unit), *others = pixels
            line = x.select(border.axis, pixel)
            for pixel, weight_there in others:
                line = torch.add(line, x.select(border.axis, pixel), alpha=weight_there / unit)
            y.select(border.axis, output).add_(_multiply(matrix, line, x), alpha=unit)
    return y


def _transpose_by_convolution(gradient: Tensor, rows: Axis, columns: Axis) -> Tensor:
    if gradient.dtype in (torch.bfloat16, torch.float16):
        # oneDNN's transposed depthwise convolution takes fifty times as long in half precision.
        return _transpose_by_convolution(gradient.float(), rows, columns).to(gradient.dtype)
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


def _multiply(matrix: Tensor, line: Tensor, image: Tensor) -> Tensor:
    """The matrix times each N×C line; from the left in channels_last, where C is innermost in memory."""
    return (matrix @ line.mT).mT if image.stride(1) == 1 else F.linear(line, matrix)


class _Border(NamedTuple):
    """B along one axis, and the matrix along the other."""

    axis: int
    pixels_of_output: dict[int, list[tuple[int, float]]]
    matrix: NDArray[Any]


class _Plan(NamedTuple):
    """Everything that depends only on sizes and taps."""

    kernel: NDArray[Any]
    padding: tuple[int, int]
    unread: tuple[int, int]  # pixels at the end of each axis that the convolution does not read
    borders: list[_Border]


@lru_cache(maxsize=16)
def _plan(rows: Axis, columns: Axis, double: bool) -> _Plan:
    dtype = np.float64 if double else np.float32
    (taps_y, before_y), (taps_x, before_x) = _zero_padded(rows), _zero_padded(columns)
    unread = _unread(rows, taps_y, before_y), _unread(columns, taps_x, before_x)
    borders = []
    for place, axis, matrix in ((-2, rows, _matrix(columns)), (-1, columns, _matrix(rows, zero=True))):
        by_output: dict[int, list[tuple[int, float]]] = {}
        for output, pixel, weight in _beyond(axis):
            by_output.setdefault(output, []).append((pixel, weight))
        if by_output:
            borders.append(_Border(place, by_output, matrix.astype(dtype)))
    kernel = np.outer(taps_y, taps_x).astype(dtype)
    return _Plan(kernel, (before_y, before_x), unread, borders)


def _outputs(axis: Axis) -> int:
    return -(-axis.size // axis.stride)


def _unread(axis: Axis, taps: Row, before: int) -> int:
    """The pixels at the end that no output of the convolution reads."""
    return axis.size + 2 * before - len(taps) - (_outputs(axis) - 1) * axis.stride


def _zero_padded(axis: Axis) -> tuple[Row, int]:
    """Taps and padding of a convolution with equal padding before and after, as in torch."""
    before = (len(axis.taps) - 1) // 2
    if (axis.size + 2 * before - len(axis.taps)) // axis.stride + 1 == _outputs(axis):
        return axis.taps, before
    # The last of an even number of taps reaches one pixel further: a zero in front makes the padding equal.
    return (0.0, *axis.taps), before + 1


def _entries(axis: Axis) -> list[tuple[int, int, float, bool]]:
    """(output, pixel, weight, whether it is beyond the border) for every tap of every output."""
    return _entries_of(axis, range(_outputs(axis)))


def _entries_of(axis: Axis, outputs: Iterable[int]) -> list[tuple[int, int, float, bool]]:
    last = axis.size - 1
    entries = []
    for output in outputs:
        for tap, weight in enumerate(axis.taps):
            place = output * axis.stride + tap - (len(axis.taps) - 1) // 2
            pixel = {
                "reflect": last - abs(last - abs(place)),
                "replicate": min(max(place, 0), last),
                "circular": place % axis.size,
            }[axis.padding]
            entries.append((output, pixel, weight, not 0 <= place <= last))
    return entries


class _Term(NamedTuple):
    """One tap, for all the outputs that read a pixel there."""

    weight: float
    outputs: slice
    pixels: slice
    first_of_phase: bool  # among those that read pixels i·stride + phase, the one that reads all of them


@lru_cache(maxsize=16)
def _terms(axis: Axis) -> list[_Term]:
    """A, tap by tap: first the tap on the kept pixel, which all outputs read; last those beyond the border."""
    taps: dict[int, list[tuple[int, int, float]]] = {}
    for output, pixel, weight, beyond in _entries(axis):
        if not beyond:
            taps.setdefault(pixel - output * axis.stride, []).append((output, pixel, weight))
    terms = []
    for offset, entries in taps.items():
        (first, first_pixel, weight), (last, last_pixel, _) = entries[0], entries[-1]
        pixels = slice(first_pixel, last_pixel + 1, axis.stride)
        terms.append(_Term(weight, slice(first, last + 1), pixels, 0 <= offset < axis.stride))
    for output, pixel, weight in _beyond(axis):
        terms.append(_Term(weight, slice(output, output + 1), slice(pixel, pixel + 1), False))
    return terms


def _beyond(axis: Axis) -> tuple[tuple[int, int, float], ...]:
    """B: (output, pixel, weight) of the taps beyond the border, summed per pixel."""
    weights: dict[tuple[int, int], float] = {}
    # A sound has many outputs, and only those whose taps reach over an end of it have such taps.
    many, reach = _outputs(axis), len(axis.taps) // axis.stride + 1
    at_ends = sorted({*range(min(reach, many)), *range(max(many - reach, 0), many)})
    for output, pixel, weight, beyond in _entries_of(axis, at_ends):
        if beyond and weight:
            weights[output, pixel] = weights.get((output, pixel), 0.0) + weight
    return tuple((output, pixel, weight) for (output, pixel), weight in weights.items())


@lru_cache(maxsize=16)
def _scaled_matrix(axis: Axis, scale: float, double: bool) -> NDArray[Any]:
    """A times a factor."""
    return (scale * _matrix(axis)).astype(np.float64 if double else np.float32)


def _matrix(axis: Axis, *, zero: bool = False) -> NDArray[np.float64]:
    """A, or Z with zeros beyond the border: (outputs, pixels)."""
    matrix = np.zeros((_outputs(axis), axis.size))
    for output, pixel, weight, beyond in _entries(axis):
        if not (zero and beyond):
            matrix[output, pixel] += weight
    return matrix


_Pair: TypeAlias = tuple[Callable[..., Tensor], Callable[..., Tensor]]
_IMAGE: _Pair = (_blur, _transpose)
_LINE: _Pair = (_blur_line, _transpose_line)
_PLANES: _Pair = (_blur_planes, _transpose_planes)
