"""The SoX resampler, by its four qualities; the quick one is cubic interpolation without a filter."""

from functools import partial
from typing import Any

import soxr

from aliasing.resamplers import Resampler, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, quality: str) -> Any:
    return soxr.resample(samples, len(samples), shape[0], quality)


RESAMPLERS = named(
    *(
        Resampler(
            name=f"soxr-{quality.lower()}",
            library="soxr",
            version=soxr.__version__,
            function=partial(_resample, quality=quality),
            antialias=quality != "QQ",
            axes=1,
            positions="starts",
        )
        for quality in ("QQ", "LQ", "HQ", "VHQ")
    )
)
