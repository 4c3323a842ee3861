"""What two views of an image both show, cell by cell."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["lanczos", "linear", "overlap", "seen_by_both"]

T = TypeVar("T", bound=np.generic)
Kernel = Callable[[float], npt.NDArray[np.float64]]

_LOBES = 3
_BORDER = 1.0  # pixels


def linear(part: float) -> npt.NDArray[np.float64]:
    """The weights of the cells before and after a place, which interpolate linearly: shares stay shares.

    Examples
    --------
    >>> linear(0.25).tolist()
    [0.75, 0.25]
    """
    return np.array([1 - part, part])


def lanczos(part: float) -> npt.NDArray[np.float64]:
    """The weights of the three cells on each side of a place, sinc windowed by sinc (Duchon 1979); they sum to 1."""
    distance = np.arange(1 - _LOBES, _LOBES + 1) - part
    weights = np.sinc(distance) * np.sinc(distance / _LOBES)
    normalised: npt.NDArray[np.float64] = weights / weights.sum()
    return normalised


def overlap(
    first: npt.NDArray[T],
    second: npt.NDArray[Any],
    shift: tuple[float, ...],
    circular: bool = False,
    kernel: Kernel = linear,
) -> tuple[npt.NDArray[T], npt.NDArray[Any]]:
    """Cut two maps to the content that both show, cell by cell.

    The content of ``first[y, x]`` is that of ``second[y + dy, x + dx]``; by fractions of a cell the second is
    interpolated.

    Parameters
    ----------
    first, second : array (..., H, W)
    shift : (float, float)
        How far the content moves from the first to the second, (dy, dx) in cells, positive down and right.
    circular : bool
        The content moves around the edges, so that nothing leaves.
    kernel : callable
        The part of a cell → the weights of the cells around the place, as many before as after it.

    Returns
    -------
    array (..., h, w), twice
        Empty if no content is in both.

    Examples
    --------
    >>> row = np.array([[1, 2, 3, 4]])
    >>> [cut.tolist() for cut in overlap(row, np.roll(row, 1), (0, 1))]
    [[[1, 2, 3]], [[1, 2, 3]]]
    >>> [cut.tolist() for cut in overlap(row, row / 1, (0, 0.5))]
    [[[1, 2, 3]], [[1.5, 2.5, 3.5]]]
    """
    seen = []
    for axis, by in ((-2, shift[0]), (-1, shift[1])):
        size, low = first.shape[axis], math.floor(by)
        weights = kernel(by - low) if by != low else np.ones(1)
        before = (len(weights) - 1) // 2 - low  # cells needed on this side of the first's own place
        after = len(weights) // 2 + low
        start, stop = (0, size) if circular else (max(0, before), max(0, before, min(size, size - after)))
        seen.append(slice(start, stop))
        parts = [_cells(second, start - before + k, stop - before + k, axis) for k in range(len(weights))]
        second = parts[0] if len(parts) == 1 else sum(w * part for w, part in zip(weights, parts, strict=True))
    return first[..., seen[0], seen[1]], second


def _cells(values: npt.NDArray[T], start: int, stop: int, axis: int) -> npt.NDArray[T]:
    """The cells from ``start`` to ``stop`` along an axis: a view of them, or a copy where they wrap round its ends."""
    size = values.shape[axis]
    if start >= 0 and stop <= size:
        return values[..., start:stop, :] if axis == -2 else values[..., start:stop]
    wrapped: npt.NDArray[T] = np.take(values, np.arange(start, stop) % size, axis)
    return wrapped


def seen_by_both(size: int, by: float, circular: bool = False) -> tuple[float, float]:
    """Between which places of the first view something has to lie to be in what both views show.

    The views are ``size`` pixels long, and the content moves ``by`` pixels from the first to the second. One more pixel
    at both ends is left out; if nothing moves, nothing is.

    Examples
    --------
    >>> seen_by_both(64, 2.0), seen_by_both(64, -2.0), seen_by_both(64, 0.0)
    ((1.0, 61.0), (3.0, 63.0), (-inf, inf))
    """
    if not by:
        return -math.inf, math.inf
    start, stop = (0.0, float(size)) if circular else (max(0.0, -by), size - max(0.0, by))
    return start + _BORDER, stop - _BORDER
