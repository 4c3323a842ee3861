"""OpenCV: ``resize``, which filters with INTER_AREA only, ``pyrDown``, and the resize of ``dnn.blobFromImage``.

INTER_AREA repeats pixels when it enlarges.
"""

from functools import partial
from typing import Any

import cv2
import numpy as np

from aliasing.resamplers import Resampler, halved, named

_KERNELS = ("linear", "area", "nearest", "nearest-exact", "linear-exact", "cubic", "lanczos4")


def _resize(pixels: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    flag = getattr(cv2, f"INTER_{kernel.replace('-', '_').upper()}")
    return cv2.resize(pixels, shape[::-1], interpolation=flag)


def _blob(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    return np.moveaxis(cv2.dnn.blobFromImage(pixels, size=shape[::-1])[0], 0, -1)


_call = partial(Resampler, library="opencv", version=cv2.__version__, dtypes=("float32", "uint8"), antialias=False)
RESAMPLERS = named(
    *(
        _call(name=f"opencv-{kernel}", function=partial(_resize, kernel=kernel), antialias=kernel == "area")
        for kernel in _KERNELS
    ),
    _call(name="opencv-pyrdown", function=lambda x, shape, _: halved(x, shape, cv2.pyrDown), antialias=True),
    _call(name="opencv-blob", function=_blob, dtypes=("uint8",)),
)
