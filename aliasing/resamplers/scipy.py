"""SciPy: ``ndimage.zoom``, which does not filter; and for sounds ``decimate``, ``resample`` and ``resample_poly``."""

from functools import partial
from typing import Any

import scipy
from scipy import ndimage, signal

from aliasing.resamplers import Resampler, factors, named


def _zoom(array: Any, shape: tuple[int, ...], _: str, order: int, **options: Any) -> Any:
    by = [count / length for count, length in zip(shape, array.shape, strict=False)]
    return ndimage.zoom(array, (*by, *[1] * (array.ndim - len(by))), order=order, **options)


def _decimate(samples: Any, shape: tuple[int, ...], _: str, ftype: str) -> Any:
    return signal.decimate(samples, factors(samples, shape)[0], ftype=ftype)


_call = partial(Resampler, library="scipy", version=scipy.__version__, antialias=False, dtypes=("float64",))
_sound = partial(_call, axes=1, antialias=True)
RESAMPLERS = named(
    _call(name="scipy-zoom", function=partial(_zoom, order=3), positions="corners"),
    _call(name="scipy-zoom-1", function=partial(_zoom, order=1), positions="corners"),
    _call(name="scipy-zoom-grid", function=partial(_zoom, order=1, grid_mode=True, mode="grid-constant")),
    _call(name="scipy-zoom-3d", function=partial(_zoom, order=1), positions="corners", axes=3),
    _sound(name="scipy-decimate", function=partial(_decimate, ftype="iir"), positions="steps"),
    _sound(name="scipy-decimate-fir", function=partial(_decimate, ftype="fir"), positions="steps"),
    _sound(name="scipy-resample", function=lambda x, shape, _: signal.resample(x, shape[0]), positions="starts"),
    _sound(
        name="scipy-resample-poly",
        function=lambda x, shape, _: signal.resample_poly(x, 1, factors(x, shape)[0]),
        positions="steps",
    ),
)
