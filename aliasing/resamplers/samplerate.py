"""libsamplerate, by python-samplerate: sincs, which filter, and linear and zero-order hold, which do not."""

from functools import partial
from typing import Any

import samplerate

from aliasing.resamplers import Resampler, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, converter: str) -> Any:
    return samplerate.resample(samples, shape[0] / len(samples), converter.replace("-", "_"))


_call = partial(Resampler, library="libsamplerate", version=samplerate.__version__, axes=1, positions="starts")
RESAMPLERS = named(
    *(
        _call(name=f"samplerate-{name}", function=partial(_resample, converter=name), antialias=name[:4] == "sinc")
        for name in ("linear", "zero-order-hold", "sinc-fastest", "sinc-best")
    )
)
