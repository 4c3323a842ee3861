"""Skia: a picture drawn into a smaller rectangle, linear, with mipmaps, and with Mitchell's cubic; as browsers draw."""

from functools import partial
from typing import Any

import numpy as np
import skia

from aliasing.resamplers import Resampler, named

_LINEAR = skia.FilterMode.kLinear
_SAMPLING = {
    "linear": skia.SamplingOptions(_LINEAR),
    "mipmaps": skia.SamplingOptions(_LINEAR, skia.MipmapMode.kLinear),
    "mitchell": skia.SamplingOptions(skia.CubicResampler.Mitchell()),
}


def _draw(pixels: Any, shape: tuple[int, ...], _: str, sampling: str) -> Any:
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    image = skia.Image.fromarray(opaque, colorType=skia.kRGBA_8888_ColorType)
    if sampling == "mipmaps":  # without them the option is ignored
        image = image.withDefaultMipmaps()
    surface = skia.Surface(shape[1], shape[0])
    surface.getCanvas().drawImageRect(image, skia.Rect(shape[1], shape[0]), _SAMPLING[sampling])
    return surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3]


_call = partial(Resampler, library="skia-python", version=skia.__version__, dtypes=("uint8",))
RESAMPLERS = named(
    *(
        _call(name=f"skia-{name}", function=partial(_draw, sampling=name), antialias=name == "mipmaps")
        for name in _SAMPLING
    )
)
