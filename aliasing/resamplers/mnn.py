"""MNN: ``cv.resize``; every kernel but the linear one is the nearest pixel, whatever it is called."""

from functools import partial
from importlib.metadata import version
from typing import Any

import MNN.cv as cv
import MNN.expr as expr
import numpy as np

from aliasing.resamplers import Resampler, named


def _resize(pixels: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    given = expr.const(np.ascontiguousarray(pixels), list(pixels.shape), expr.NHWC, expr.uint8)
    return np.array(cv.resize(given, shape[::-1], interpolation=getattr(cv, f"INTER_{kernel.upper()}")).read())


_call = partial(Resampler, library="MNN", version=version("MNN"), dtypes=("uint8",), antialias=False)
RESAMPLERS = named(
    *(_call(name=f"mnn-{kernel}", function=partial(_resize, kernel=kernel)) for kernel in ("linear", "area", "cubic"))
)
