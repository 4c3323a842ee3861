"""julius: ``resample_frac`` by a whole factor: a sinc of 24 zeros under a Hann window."""

from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from julius.resample import resample_frac

from aliasing.resamplers import Resampler, factors, named


def _resample(samples: Any, shape: tuple[int, ...], _: str) -> Any:
    return resample_frac(torch.tensor(samples), factors(samples, shape)[0], 1).numpy()


_call = partial(Resampler, library="julius", version=version("julius"), antialias=True)
RESAMPLERS = named(_call(name="julius", function=_resample, axes=1, positions="steps"))
