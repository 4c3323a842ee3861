"""MONAI: ``Resize`` of volumes, whose default is area means, and trilinear."""

from functools import partial
from typing import Any

import monai
import numpy as np
from monai.transforms import Resize

from aliasing.resamplers import Resampler, named


def _resize(volume: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    return np.asarray(Resize(shape, **options)(volume[None]))[0]


_call = partial(Resampler, library="monai", version=monai.__version__, axes=3)
RESAMPLERS = named(
    _call(name="monai-resize", function=_resize, antialias=True),
    _call(name="monai-resize-trilinear", function=partial(_resize, mode="trilinear"), antialias=False),
)
