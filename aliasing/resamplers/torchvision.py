"""torchvision: ``v2.functional.resize`` of tensors and of PIL images, and ``roi_align`` of the whole picture."""

from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
import torchvision
from torchvision.ops import roi_align
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from aliasing.resamplers import Resampler, named


def _tensor(pixels: Any, shape: tuple[int, ...], interpolation: str, antialias: bool) -> Any:
    tensor = torch.tensor(pixels).permute(2, 0, 1)
    resized = functional.resize(tensor, list(shape), InterpolationMode(interpolation), antialias=antialias)
    return resized.permute(1, 2, 0).contiguous().numpy()


def _pil(pixels: Any, shape: tuple[int, ...], interpolation: str) -> Any:
    image = PIL.Image.fromarray(pixels)
    return np.asarray(functional.resize(image, list(shape), InterpolationMode(interpolation)))


def _roi_align(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    height, width = pixels.shape[:2]
    box = torch.tensor([[0.0, 0, 0, width, height]])
    aligned = roi_align(torch.tensor(pixels).permute(2, 0, 1)[None], box, shape, aligned=True)
    return aligned[0].permute(1, 2, 0).contiguous().numpy()


_call = partial(
    Resampler, library="torchvision", version=torchvision.__version__, interpolations=("bilinear", "bicubic")
)
RESAMPLERS = named(
    _call(name="torchvision", function=partial(_tensor, antialias=True), antialias=True, dtypes=("float32", "uint8")),
    _call(name="torchvision-aliased", function=partial(_tensor, antialias=False), antialias=False),
    _call(name="torchvision-pil", function=_pil, antialias=True, dtypes=("uint8",)),
    _call(name="torchvision-roi-align", function=_roi_align, antialias=True, interpolations=()),
)
