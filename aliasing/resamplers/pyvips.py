"""libvips: ``resize`` (shrink by whole factors, then a Lanczos-3), ``shrink`` and ``thumbnail_image``."""

from functools import partial
from typing import Any

import numpy as np
import pyvips

from aliasing.resamplers import Resampler, factors, named


def _resize(pixels: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    down, across = (count / length for count, length in zip(shape, pixels.shape, strict=False))
    return np.asarray(pyvips.Image.new_from_array(pixels).resize(across, vscale=down, **options))


def _shrink(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    down, across = factors(pixels, shape)
    return np.asarray(pyvips.Image.new_from_array(pixels).shrink(across, down))


def _thumbnail(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb")
    return np.asarray(image.thumbnail_image(shape[1], height=shape[0], size="force"))


_release = ".".join(str(pyvips.version(part)) for part in range(3))
_call = partial(Resampler, library="libvips", version=_release, antialias=True, dtypes=("uint8",))
RESAMPLERS = named(
    _call(name="pyvips-resize", function=_resize, dtypes=("uint8", "float32")),
    _call(name="pyvips-resize-linear", function=partial(_resize, kernel="linear")),
    _call(name="pyvips-shrink", function=_shrink, positions="blocks"),
    _call(name="pyvips-thumbnail", function=_thumbnail),
)
