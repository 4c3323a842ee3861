"""Axes of a signal, and one whole number for each of them: strides, phases, kernels.

Here is what every function that takes such a number accepts: Python's and NumPy's integers, one for all axes or one
for each. A bool and a float are refused, because they are more often a slip than a stride.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from aliasing.errors import UsageError

PerAxis: TypeAlias = int | Sequence[int]

# A picture whose channels stand last: as many as colours have, behind two axes that are long enough for a picture.
_CHANNELS, _SMALLEST_PICTURE = (3, 4), 8


def whole(value: Any, name: str, least: int = 1) -> int:
    """The value as a Python int.

    Parameters
    ----------
    value : int or numpy.integer
        At least ``least``.
    name : str
        What the error calls it.
    least : int
        The smallest value that makes sense.

    Returns
    -------
    int

    Raises
    ------
    UsageError
        If the value is not a whole number (a bool and a float are not), or is too small.

    Examples
    --------
    >>> whole(np.int64(2), "stride")
    2
    """
    if not _is_whole(value, least):
        raise UsageError(f"{name} is a whole number of at least {least}; got {value!r}")
    return int(value)


def per_axis(value: Any, count: int, name: str, least: int = 1) -> tuple[int, ...]:
    """One whole number an axis, from one for all or one each.

    Parameters
    ----------
    value : int or sequence of int
        Python's or NumPy's integers, each at least ``least``.
    count : int
        Number of axes.
    name : str
        What the error calls it.
    least : int
        The smallest value that makes sense.

    Returns
    -------
    tuple of int
        ``count`` numbers.

    Raises
    ------
    UsageError
        If there are more or fewer numbers than axes, or one of them is not a whole number, or is too small.

    Examples
    --------
    >>> per_axis(2, 3, "stride"), per_axis(np.array([2, 1]), 2, "stride")
    ((2, 2, 2), (2, 1))
    """
    several = isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)
    values = tuple(value) if several else (value,) * count
    if len(values) != count or not all(_is_whole(number, least) for number in values):
        many = f", or {count} of them" if count > 1 else ""
        raise UsageError(f"{name} is a whole number of at least {least}{many}; got {value!r}")
    return tuple(int(number) for number in values)


def channels_last(shape: Sequence[int]) -> bool:
    """Whether an array has the shape of one picture with its channels last, H×W×3 or H×W×4.

    Taken for H signals of W×3 such a picture gives numbers that mean nothing. An honest stack of signals has that
    shape only if they are more than twice as long as they are wide, and three or four pixels wide.

    Parameters
    ----------
    shape : sequence of int

    Returns
    -------
    bool
        True for three axes of which the last holds 3 or 4 and the others at least 8.

    Examples
    --------
    >>> channels_last((480, 640, 3)), channels_last((3, 480, 640)), channels_last((64, 4, 4))
    (True, False, False)
    """
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[0], shape[1]) >= _SMALLEST_PICTURE


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
