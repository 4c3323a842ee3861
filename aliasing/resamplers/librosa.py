"""librosa: ``resample`` by soxr's high quality, its default, by SciPy's polyphase filter, and by its FFT."""

from functools import partial
from importlib.metadata import version
from typing import Any

from librosa import resample  # which loads most of the library, and not only when it is called first

from aliasing.resamplers import Resampler, named


def _resample(samples: Any, shape: tuple[int, ...], _: str, kind: str) -> Any:
    return resample(samples, orig_sr=len(samples), target_sr=shape[0], res_type=kind)


_call = partial(Resampler, library="librosa", version=version("librosa"), antialias=True, axes=1, positions="starts")
RESAMPLERS = named(
    _call(name="librosa", function=partial(_resample, kind="soxr_hq")),
    _call(name="librosa-polyphase", function=partial(_resample, kind="polyphase")),
    _call(name="librosa-fft", function=partial(_resample, kind="fft")),
)
