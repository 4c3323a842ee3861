"""dask: every nth sample of chunks that the step does not divide, and means of blocks by ``coarsen``."""

from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np

from aliasing.resamplers import Resampler, factors, named


def _slice(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    return da.from_array(samples, chunks=67)[:: factors(samples, shape)[0]].compute(scheduler="synchronous")


def _coarsen(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    chunked = da.from_array(samples, chunks=67)
    return da.coarsen(np.mean, chunked, {0: factors(samples, shape)[0]}, trim_excess=True).compute(
        scheduler="synchronous"
    )


_call = partial(Resampler, library="dask", version=dask.__version__, axes=1, dtypes=("float64",))
RESAMPLERS = named(
    _call(name="dask-slice", function=_slice, antialias=False, positions="steps"),
    _call(name="dask-coarsen", function=_coarsen, antialias=True, positions="blocks"),
)
