"""JAX: ``image.resize``, which filters by default, and without. It is compiled for each shape, a fifth of a second."""

from functools import partial
from typing import Any

import jax
import numpy as np

from aliasing.resamplers import Resampler, named

_compiled = jax.jit(jax.image.resize, static_argnums=(1, 2, 3))


def _resize(pixels: Any, shape: tuple[int, ...], _: str, method: str, antialias: bool = True) -> Any:
    return np.asarray(_compiled(pixels, (*shape, pixels.shape[-1]), method, antialias))


_call = partial(Resampler, library="jax", version=jax.__version__, antialias=True)
RESAMPLERS = named(
    _call(name="jax-linear", function=partial(_resize, method="linear")),
    _call(name="jax-linear-aliased", function=partial(_resize, method="linear", antialias=False), antialias=False),
    _call(name="jax-cubic", function=partial(_resize, method="cubic")),
    _call(name="jax-lanczos3", function=partial(_resize, method="lanczos3")),
)
