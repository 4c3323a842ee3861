"""TensorFlow: ``image.resize``, which filters only if asked."""

from functools import partial
from typing import Any

import tensorflow as tf

from aliasing.resamplers import Resampler, named


def _resize(pixels: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    return tf.image.resize(pixels, shape, **options).numpy()


_call = partial(Resampler, library="tensorflow", version=tf.__version__)
RESAMPLERS = named(
    _call(name="tensorflow", function=_resize, antialias=False),
    _call(name="tensorflow-antialias", function=partial(_resize, antialias=True), antialias=True),
    _call(name="tensorflow-area", function=partial(_resize, method="area"), antialias=True),
    _call(name="tensorflow-cubic", function=partial(_resize, method="bicubic"), antialias=False),
)
