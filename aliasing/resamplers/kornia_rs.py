"""kornia-rs: ``imgproc.resize``; its ``antialias=True``, the default, filters the cubic and Lanczos kernels only."""

from functools import partial
from typing import Any

import kornia_rs
import numpy as np

from aliasing.resamplers import Resampler, named


def _resize(pixels: Any, shape: Any, _: str, kernel: str) -> Any:
    return kornia_rs.imgproc.resize(np.ascontiguousarray(pixels), shape, kernel)


_call = partial(Resampler, library="kornia-rs", version=kornia_rs.__version__, dtypes=("uint8",))
RESAMPLERS = named(
    *(
        _call(name=f"kornia-rs-{kernel}", function=partial(_resize, kernel=kernel), antialias=kernel != "bilinear")
        for kernel in ("bilinear", "bicubic", "lanczos")
    )
)
