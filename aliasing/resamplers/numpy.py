"""NumPy: every nth sample, and the mean of each n."""

from functools import partial
from typing import Any

import numpy as np

from aliasing.resamplers import Resampler, factors, named


def _slice(array: Any, shape: tuple[int, ...], _: str) -> Any:
    return array[tuple(slice(None, None, step) for step in factors(array, shape))]


def _mean(array: Any, shape: tuple[int, ...], _: str) -> Any:
    down, across = factors(array, shape)
    height, width = array.shape[0] // down, array.shape[1] // across
    return array[: height * down, : width * across].reshape(height, down, width, across, -1).mean((1, 3))


_call = partial(Resampler, library="numpy", version=np.__version__, dtypes=("float32", "uint8"))
RESAMPLERS = named(
    _call(name="numpy-slice", function=_slice, antialias=False, positions="blocks"),
    _call(name="numpy-mean", function=_mean, antialias=True, positions="blocks"),
    _call(name="numpy-slice-1d", function=_slice, antialias=False, axes=1, positions="steps", dtypes=("float64",)),
)
