"""PyAV: the scaler of FFmpeg (swscale) on RGB frames; its default is bilinear."""

from functools import partial
from typing import Any

import av
import numpy as np

from aliasing.resamplers import Resampler, named


def _reformat(pixels: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame.reformat(shape[1], shape[0], interpolation=kernel.replace("-", "_").upper()).to_ndarray()


_call = partial(Resampler, library="PyAV", version=av.__version__, dtypes=("uint8",))
RESAMPLERS = named(
    *(
        _call(name=f"av-{kernel}", function=partial(_reformat, kernel=kernel), antialias=kernel != "fast-bilinear")
        for kernel in ("fast-bilinear", "bilinear", "bicubic", "area", "lanczos")
    )
)
