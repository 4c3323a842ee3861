"""libsamplerate, by python-samplerate: sincs, which filter, and linear and zero-order hold, which do not."""

from functools import partial
from typing import Any

import samplerate

from aliasing.resamplers import Resampler, named

_CONVERTERS = {
    "linear": "linear",
    "zero-order-hold": "zero_order_hold",
    "sinc-fastest": "sinc_fastest",
    "sinc-best": "sinc_best",
}


def _resample(samples: Any, shape: tuple[int, ...], _: str, converter: str) -> Any:
    return samplerate.resample(samples, shape[0] / len(samples), converter)


RESAMPLERS = named(
    *(
        Resampler(
            name=f"samplerate-{name}",
            library="libsamplerate",
            version=samplerate.__version__,
            function=partial(_resample, converter=converter),
            antialias=name.startswith("sinc"),
            axes=1,
            positions="starts",
        )
        for name, converter in _CONVERTERS.items()
    )
)
