"""librosa: ``resample`` by soxr's high quality, its default, by SciPy's polyphase filter, and by its FFT."""

from functools import partial
from importlib.metadata import version
from typing import Any

import librosa

from aliasing.resamplers import Resampler, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, kind: str) -> Any:
    return librosa.resample(samples, orig_sr=len(samples), target_sr=shape[0], res_type=kind)


RESAMPLERS = named(
    *(
        Resampler(
            name=name,
            library="librosa",
            version=version("librosa"),
            function=partial(_resample, kind=kind),
            antialias=True,
            axes=1,
            positions="starts",
        )
        for name, kind in (("librosa", "soxr_hq"), ("librosa-polyphase", "polyphase"), ("librosa-fft", "fft"))
    )
)
