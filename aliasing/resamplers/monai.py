"""MONAI: ``Resize`` of volumes, whose default is area means, and trilinear; and ``Spacing``, which does not filter."""

from functools import partial
from typing import Any

import monai
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Resize, Spacing

from aliasing.resamplers import Resampler, named


def _resize(volume: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    return np.asarray(Resize(shape, **options)(volume[None]))[0]


def _spacing(volume: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    steps = [length / count for length, count in zip(volume.shape, shape, strict=True)]
    given = MetaTensor(torch.tensor(volume)[None], affine=torch.eye(4))
    return np.asarray(Spacing(steps, mode="bilinear", **options)(given))[0]


_call = partial(Resampler, library="monai", version=monai.__version__, axes=3)
RESAMPLERS = named(
    _call(name="monai-resize", function=_resize, antialias=True),
    _call(name="monai-resize-trilinear", function=partial(_resize, mode="trilinear"), antialias=False),
    _call(name="monai-spacing", function=_spacing, antialias=False, positions="steps"),
    _call(name="monai-spacing-extent", function=partial(_spacing, scale_extent=True), antialias=False),
)
