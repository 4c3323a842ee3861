"""ncnn: ``Mat.from_pixels_resize``, which is how pictures get in, and the layer ``Interp``; neither filters."""

from functools import lru_cache, partial
from typing import Any

import ncnn
import numpy as np

from aliasing.resamplers import Resampler, named

_KINDS = {"nearest": 1, "bilinear": 2, "bicubic": 3}


def _of_pixels(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    height, width = pixels.shape[:2]
    rgb = ncnn.Mat.PixelType.PIXEL_RGB
    made = ncnn.Mat.from_pixels_resize(np.ascontiguousarray(pixels), rgb, width, height, shape[1], shape[0])
    return np.moveaxis(np.array(made), 0, -1)


@lru_cache(maxsize=32)
def _net(shape: tuple[int, ...], kind: int) -> Any:
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("vulkan_compute", "fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    layers = f"Input x 0 1 x\nInterp y 1 1 x y 0={kind} 3={shape[0]} 4={shape[1]}"
    net.load_param_mem(f"7767517\n2 2\n{layers}\n")
    net.load_model_mem(b"")
    return net


def _interp(pixels: Any, shape: tuple[int, ...], _: str, kind: int) -> Any:
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    extractor = _net(shape, kind).create_extractor()
    extractor.input("x", ncnn.Mat(planes))
    return np.moveaxis(np.array(extractor.extract("y")[1]), 0, -1)


_call = partial(Resampler, library="ncnn", version=ncnn.__version__, antialias=False)
RESAMPLERS = named(
    _call(name="ncnn-pixels", function=_of_pixels, dtypes=("uint8",)),
    *(_call(name=f"ncnn-{name}", function=partial(_interp, kind=kind)) for name, kind in _KINDS.items()),
)
