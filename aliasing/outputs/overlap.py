"""What two views of an image both show, cell by cell."""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["overlap"]

T = TypeVar("T", bound=np.generic)


def overlap(
    first: npt.NDArray[T], second: npt.NDArray[T], shift: tuple[float, float], circular: bool = False
) -> tuple[npt.NDArray[T], npt.NDArray[T]]:
    """Cut two maps to the content that both show, cell by cell.

    The content of ``first[y, x]`` is that of ``second[y + dy, x + dx]``. By fractions of a cell the second is
    interpolated linearly, so that shares stay shares.

    Parameters
    ----------
    first, second : array (..., H, W)
    shift : (float, float)
        How far the content moves from the first to the second, (dy, dx) in cells, positive down and right.
    circular : bool
        The content moves around the edges, so that nothing leaves.

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
        part = by - low
        start, stop = (0, size) if circular else (max(0, -low), max(0, -low, min(size, size - math.ceil(by))))
        seen.append(slice(start, stop))
        places = np.arange(start, stop) + low
        moved = np.take(second, places % size, axis)
        if part:
            moved = (1 - part) * moved + part * np.take(second, (places + 1) % size, axis)
        second = moved
    return first[..., seen[0], seen[1]], second
