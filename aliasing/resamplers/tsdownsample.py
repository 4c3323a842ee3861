"""tsdownsample: samples picked for a drawing, by largest triangles and by extremes; they are not linear, and fold."""

from functools import partial
from importlib.metadata import version
from typing import Any

import tsdownsample

from aliasing.resamplers import Resampler, named


def _pick(samples: Any, shape: tuple[int, ...], _: str, picker: Any) -> Any:
    return samples[picker.downsample(samples, n_out=shape[0])]


_call = partial(Resampler, library="tsdownsample", version=version("tsdownsample"), antialias=False, axes=1)
RESAMPLERS = named(
    _call(name="lttb", function=partial(_pick, picker=tsdownsample.LTTBDownsampler()), positions="starts"),
    _call(name="min-max", function=partial(_pick, picker=tsdownsample.MinMaxDownsampler()), positions="starts"),
)
