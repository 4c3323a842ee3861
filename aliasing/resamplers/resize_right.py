"""ResizeRight (Shocher): kernels that widen with the reduction; zeros, by default, beyond the ends."""

from functools import partial
from importlib.metadata import version
from typing import Any

from resize_right import interp_methods, resize_right

from aliasing.resamplers import Resampler, named


def _resize(array: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    return resize_right.resize(array, out_shape=shape, interp_method=getattr(interp_methods, kernel))


_call = partial(Resampler, library="resize-right", version=version("resize-right"), antialias=True)
RESAMPLERS = named(
    *(
        _call(name=f"resize-right-{kernel}", function=partial(_resize, kernel=kernel))
        for kernel in ("linear", "cubic", "lanczos3")
    )
)
