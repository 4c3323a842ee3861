"""The axes of a signal, and one number for each of them: strides, phases, kernels, rates.

Every function that takes a stride accepts Python's and NumPy's integers, one for all axes or one for each. A bool or a
float is refused, because it is more often a mistake than a stride. A rate is any positive number. Pictures with their
channels last are also recognised here.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from aliasing.errors import UsageError

PerAxis: TypeAlias = int | Sequence[int]
Axes: TypeAlias = int | Sequence[int]
Rate: TypeAlias = float | Sequence[float]

#: The default axes of a signal: those of a stack of pictures, or the only axis of a 1-D array.
LAST_TWO = (-2, -1)

# A picture with its channels last has 3 or 4 channels after two axes that are long enough for a picture.
_CHANNELS, _SMALLEST_PICTURE = (3, 4), 8


def whole(value: Any, name: str, least: int = 1) -> int:
    """The value as a Python int; UsageError, with its name, if it is not whole (a bool or a float) or too small.

    Examples
    --------
    >>> whole(np.int64(2), "stride")
    2
    """
    if not _is_whole(value, least):
        raise UsageError(f"{name} is a whole number of at least {least}; got {value!r}")
    return int(value)


def per_axis(value: Any, count: int, name: str, least: int = 1) -> tuple[int, ...]:
    """One whole number per axis, from one for all axes or one for each; UsageError, with its name, otherwise.

    Examples
    --------
    >>> per_axis(2, 3, "stride"), per_axis(np.array([2, 1]), 2, "stride")
    ((2, 2, 2), (2, 1))
    """
    values = tuple(value) if are_several(value) else (value,) * count
    if len(values) != count or not all(_is_whole(number, least) for number in values):
        many = f", or {count} of them" if count > 1 else ""
        raise UsageError(f"{name} is a whole number of at least {least}{many}; got {value!r}")
    return tuple(int(number) for number in values)


def rate_per_axis(rate: Any, count: int) -> tuple[float, ...]:
    """One sampling rate per axis, from one for all axes or one for each; UsageError if one is not positive.

    Examples
    --------
    >>> rate_per_axis(44100, 1), rate_per_axis((25, 1, 1), 3)
    ((44100.0,), (25.0, 1.0, 1.0))
    """
    values = tuple(rate) if are_several(rate) else (rate,) * count
    if len(values) != count or not all(is_real(value) and value > 0 for value in values):
        many = f", or {count} of them" if count > 1 else ""
        raise UsageError(f"rate is a positive number of samples per second{many}; got {rate!r}")
    return tuple(float(value) for value in values)


def is_real(value: Any) -> bool:
    """Whether a value is a finite real number of Python or NumPy; a bool is not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def are_several(value: Any) -> bool:
    """Whether a value is a sequence, with one number per axis, and not one number for all (also as an array)."""
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)


def signal_axes(shape: Sequence[int], axes: Axes = LAST_TWO) -> tuple[int, ...]:
    """The axes of a signal, counted from the front of an array of a given shape, in the order given.

    The default, the last two, means the only axis of a 1-D array. UsageError if the array has no such axis, an axis is
    empty or named twice, or the default is used for an array with the shape of a picture with its channels last.

    Examples
    --------
    >>> signal_axes((480, 640, 3), axes=(-3, -2)), signal_axes((44100,))
    ((0, 1), (0,))
    """
    named = (axes,) if isinstance(axes, int | np.integer) else tuple(axes)
    if named == LAST_TWO and len(shape) == 1:
        named = (-1,)
    if not named or not all(_is_whole(axis, -len(shape)) and axis < len(shape) for axis in named) or 0 in shape:
        what = "(..., H, W) or (N,)" if named in (LAST_TWO, (-1,)) else f"with axes {axes!r}"
        raise UsageError(f"expected an array {what} without an empty axis; got shape {tuple(shape)}")
    if named == LAST_TWO and channels_last(shape):
        raise UsageError(
            f"an array of shape {tuple(shape)} looks like a picture with its channels last: axes=(0, 1) takes its rows "
            f"and columns; if it holds {shape[0]} signals of {shape[1]}×{shape[2]}, axes=(1, 2) says so"
        )
    from_front = tuple(int(axis) % len(shape) for axis in named)
    if len(set(from_front)) < len(from_front):
        raise UsageError(f"each axis is named once; got {axes!r} for an array of shape {tuple(shape)}")
    return from_front


def channels_last(shape: Sequence[int]) -> bool:
    """Whether an array has the shape of a picture with its channels last: three axes, the last 3 or 4, the others ≥ 8.

    Read as H signals of W×3, such a picture gives meaningless numbers. A real stack of signals has that shape only if
    they are three or four pixels wide and more than twice as long.

    Examples
    --------
    >>> channels_last((480, 640, 3)), channels_last((3, 480, 640)), channels_last((64, 4, 4))
    (True, False, False)
    """
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[0], shape[1]) >= _SMALLEST_PICTURE


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
