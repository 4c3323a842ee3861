"""PyAV: the scaler of FFmpeg (swscale) on RGB frames; its default is bilinear."""

from functools import partial
from typing import Any

import av
import numpy as np

from aliasing.resamplers import Resampler, named


def _reformat(pixels: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame.reformat(shape[1], shape[0], interpolation=kernel).to_ndarray()


RESAMPLERS = named(
    *(
        Resampler(
            name=f"av-{kernel.lower().replace('_', '-')}",
            library="PyAV",
            version=av.__version__,
            function=partial(_reformat, kernel=kernel),
            antialias=kernel != "FAST_BILINEAR",
            dtypes=("uint8",),
        )
        for kernel in ("FAST_BILINEAR", "BILINEAR", "BICUBIC", "AREA", "LANCZOS")
    )
)
