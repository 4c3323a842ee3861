"""torchaudio: ``functional.resample`` by a whole factor, with its Hann window and with a Kaiser window."""

from functools import partial
from typing import Any

import torch
import torchaudio

from aliasing.resamplers import Resampler, factors, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, **options: Any) -> Any:
    return torchaudio.functional.resample(torch.tensor(samples), factors(samples, shape)[0], 1, **options).numpy()


_call = partial(Resampler, library="torchaudio", version=torchaudio.__version__, axes=1, positions="steps")
RESAMPLERS = named(
    _call(name="torchaudio", function=_resample, antialias=True),
    _call(
        name="torchaudio-kaiser",
        function=partial(_resample, resampling_method="sinc_interp_kaiser"),
        antialias=True,
    ),
)
