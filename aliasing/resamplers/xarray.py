"""xarray: means of blocks by ``coarsen``, whose coordinates are means too, and ``interp``, which does not filter."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from aliasing.resamplers import Resampler, factors, named


def _coarsen(array: Any, shape: tuple[int, ...], _: str) -> Any:
    blocks = dict(zip("yx", factors(array, shape), strict=True))
    return xr.DataArray(array, dims=("y", "x", "channel")).coarsen(blocks, boundary="trim").mean().to_numpy()


def _interp(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    series = xr.DataArray(samples, {"time": np.arange(len(samples))})
    return series.interp(time=np.arange(shape[0]) * (len(samples) / shape[0])).to_numpy()


_call = partial(Resampler, library="xarray", version=xr.__version__)
RESAMPLERS = named(
    _call(name="xarray-coarsen", function=_coarsen, antialias=True, positions="blocks"),
    _call(name="xarray-interp", function=_interp, antialias=False, axes=1, positions="starts", dtypes=("float64",)),
)
