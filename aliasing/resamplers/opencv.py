"""OpenCV's resamplers: linear interpolation, which does not filter, and area interpolation, which averages."""

from functools import partial

import cv2
import numpy as np

from aliasing.resamplers import Pixels, Resampler, View


def _resize(pixels: Pixels, height: int, width: int, interpolation: str, flag: int) -> View:
    return np.asarray(cv2.resize(pixels.astype(np.float32), (width, height), interpolation=flag), np.float32)


def _resampler(name: str, flag: int, antialias: bool) -> Resampler:
    return Resampler(
        name=name, library="opencv", version=cv2.__version__, antialias=antialias, function=partial(_resize, flag=flag)
    )


linear = _resampler("opencv-linear", cv2.INTER_LINEAR, antialias=False)
area = _resampler("opencv-area", cv2.INTER_AREA, antialias=True)
