"""Pillow: ``resize``, whose kernel widens with the reduction, ``reduce``, ``thumbnail``, and JPEG's ``draft``."""

import io
from functools import partial
from typing import Any

import numpy as np
import PIL
import PIL.Image

from aliasing.resamplers import INTERPOLATIONS, Resampler, factors, named


def _resize(pixels: Any, shape: Any, interpolation: str) -> Any:
    kernel = PIL.Image.Resampling[interpolation.upper()]
    return np.asarray(PIL.Image.fromarray(pixels).resize(shape[::-1], kernel))


def _reduce(pixels: Any, shape: Any, _: str) -> Any:
    down, across = factors(pixels, shape)
    return np.asarray(PIL.Image.fromarray(pixels).reduce((across, down)))


def _thumbnail(pixels: Any, shape: Any, _: str) -> Any:
    image = PIL.Image.fromarray(pixels)
    image.thumbnail(shape[::-1])
    return np.asarray(image)


def _draft(pixels: Any, shape: Any, _: str) -> Any:
    """Scaled decoding by 2, 4 or 8 of a JPEG of the best quality."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0)
    image = PIL.Image.open(file)
    down, across = factors(pixels, shape)
    image.draft("RGB", (pixels.shape[1] // across, pixels.shape[0] // down))
    return np.asarray(image)


# Each pass rounds, so their order shows: some pixels differ by a grey level.
_PASSES = "horizontal pass first" if int(PIL.__version__.split(".")[0]) < 13 else "order of passes by shape"
_call = partial(Resampler, library="Pillow", version=PIL.__version__, dtypes=("uint8",), antialias=True)
RESAMPLERS = named(
    _call(name="pil", function=_resize, interpolations=INTERPOLATIONS, conventions=_PASSES),
    _call(name="pil-reduce", function=_reduce, positions="blocks"),
    _call(name="pil-thumbnail", function=_thumbnail),
    _call(name="pil-draft", function=_draft, positions="blocks"),
)
