"""TorchIO: ``Resize`` to a shape, and ``Resample`` to a spacing, of volumes; neither filters by default."""

from functools import partial
from typing import Any

import torch
import torchio

from aliasing.resamplers import Resampler, factors, named


def _apply(volume: Any, transform: Any) -> Any:
    return transform(torchio.ScalarImage(tensor=torch.tensor(volume)[None])).numpy()[0]


_call = partial(Resampler, library="torchio", version=torchio.__version__, axes=3, antialias=False)
RESAMPLERS = named(
    _call(name="torchio-resize", function=lambda x, shape, _: _apply(x, torchio.Resize(shape))),
    _call(
        name="torchio-resample",
        function=lambda x, shape, _: _apply(x, torchio.Resample(factors(x, shape))),
        positions="blocks",
    ),
)
