"""julius: ``resample_frac`` by a whole factor: a sinc of 24 zeros under a Hann window."""

from importlib.metadata import version
from typing import Any

import torch
from julius.resample import resample_frac

from aliasing.resamplers import Resampler, factors, named


def _resample(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    return resample_frac(torch.tensor(samples), factors(samples, shape)[0], 1).numpy()


RESAMPLERS = named(
    Resampler(
        name="julius",
        library="julius",
        version=version("julius"),
        function=_resample,
        antialias=True,
        axes=1,
        whole=True,
        positions="steps",
    )
)
