"""The SoX resampler, by its four qualities; the quick one is cubic interpolation without a filter."""

from functools import partial
from typing import Any

import soxr

from aliasing.resamplers import Resampler, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, quality: str) -> Any:
    return soxr.resample(samples, len(samples), shape[0], quality)


_call = partial(Resampler, library="soxr", version=soxr.__version__, axes=1, positions="starts")
RESAMPLERS = named(
    *(
        _call(name=f"soxr-{name}", function=partial(_resample, quality=name.upper()), antialias=name != "qq")
        for name in ("qq", "lq", "hq", "vhq")
    )
)
