"""Keras: ``ops.image.resize``, the call of its layer ``Resizing``, which filters only if asked."""

from functools import partial
from typing import Any

import keras

from aliasing.resamplers import Resampler, named


def _resize(pixels: Any, shape: tuple[int, ...], _: str, kernel: str, antialias: bool) -> Any:
    made = keras.ops.image.resize(pixels, shape, kernel, antialias=antialias, data_format="channels_last")
    return keras.ops.convert_to_numpy(made)


# The cubic kernel without antialiasing is torch's, a = −0.75, on that backend, and has −0.5 on the others.
_backend = f"backend {keras.backend.backend()}"
_call = partial(Resampler, library="keras", version=keras.__version__, conventions=_backend)
RESAMPLERS = named(
    *(
        _call(
            name=f"keras-{kernel}{'-antialias' * antialias}",
            function=partial(_resize, kernel=kernel, antialias=antialias),
            antialias=antialias,
        )
        for kernel in ("bilinear", "bicubic")
        for antialias in (False, True)
    )
)
