"""albumentations: ``Resize``, whose default is OpenCV's linear interpolation, and the same with its area means."""

from functools import partial
from typing import Any

import albumentations
import cv2

from aliasing.resamplers import Resampler, named


def _resize(pixels: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    return albumentations.Resize(*shape, **options)(image=pixels)["image"]


_call = partial(Resampler, library="albumentations", version=albumentations.__version__, dtypes=("float32", "uint8"))
RESAMPLERS = named(
    _call(name="albumentations", function=_resize, antialias=False),
    _call(name="albumentations-area", function=partial(_resize, interpolation=cv2.INTER_AREA), antialias=True),
)
