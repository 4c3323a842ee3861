"""JAX: ``image.resize``, which filters by default, and without."""

from functools import partial
from typing import Any

import jax
import numpy as np

from aliasing.resamplers import Resampler, named

_compiled = jax.jit(jax.image.resize, static_argnums=(1, 2, 3))


def _resize(pixels: Any, shape: tuple[int, ...], _: str, method: str, antialias: bool) -> Any:
    return np.asarray(_compiled(pixels, (*shape, pixels.shape[-1]), method, antialias))


RESAMPLERS = named(
    *(
        Resampler(
            name=name,
            library="jax",
            version=jax.__version__,
            function=partial(_resize, method=method, antialias=antialias),
            antialias=antialias,
        )
        for name, method, antialias in (
            ("jax-linear", "linear", True),
            ("jax-linear-aliased", "linear", False),
            ("jax-cubic", "cubic", True),
            ("jax-lanczos3", "lanczos3", True),
        )
    )
)
