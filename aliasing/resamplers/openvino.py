"""OpenVINO: the operator ``Interpolate``, whose ``antialias`` is ignored, and its two modes that are Pillow's."""

from functools import lru_cache, partial
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from aliasing.resamplers import Resampler, named

_ONE_THREAD = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


@lru_cache(maxsize=32)
def _compiled(given: tuple[int, ...], asked: tuple[int, ...], dtype: str, mode: str) -> Any:
    """A model for the shapes, N×C×H×W."""
    pixels = opset13.parameter(given, np.dtype(dtype))
    sizes, axes = (opset13.constant(np.array(values, np.int64)) for values in (asked, (2, 3)))
    nothing = [0] * len(given)
    made = opset13.interpolate(pixels, sizes, mode, "sizes", nothing, nothing, axes=axes)
    return openvino.Core().compile_model(openvino.Model([made], [pixels]), "CPU", _ONE_THREAD)


def _resize(pixels: Any, shape: tuple[int, ...], _: str, mode: str) -> Any:
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)[None])
    return np.moveaxis(_compiled(planes.shape, shape, str(planes.dtype), mode)(planes)[0][0], 0, -1)


_release = openvino.__version__.partition("-")[0]
_call = partial(Resampler, library="openvino", version=_release, dtypes=("float32", "uint8"))
RESAMPLERS = named(
    *(
        _call(
            name=f"openvino-{mode.replace('_', '-')}",
            function=partial(_resize, mode=mode),
            antialias=mode.endswith("pillow"),
        )
        for mode in ("linear_onnx", "cubic", "bilinear_pillow", "bicubic_pillow")
    )
)
