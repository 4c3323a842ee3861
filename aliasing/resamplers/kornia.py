"""kornia: ``geometry.resize``, which filters only if asked, with a Gaussian, and ``geometry.pyrdown``."""

from functools import partial
from typing import Any

import kornia
import torch
from kornia.geometry import pyrdown, resize

from aliasing.resamplers import Resampler, halved, named


def _planes(pixels: Any) -> Any:
    return torch.tensor(pixels).permute(2, 0, 1)[None]


def _pixels(planes: Any) -> Any:
    return planes[0].permute(1, 2, 0).contiguous().numpy()


def _resize(pixels: Any, shape: Any, _: str, **options: Any) -> Any:
    return _pixels(resize(_planes(pixels), shape, **options))


_call = partial(Resampler, library="kornia", version=kornia.__version__)
RESAMPLERS = named(
    _call(name="kornia", function=_resize, antialias=False),
    _call(name="kornia-antialias", function=partial(_resize, antialias=True), antialias=True),
    _call(
        name="kornia-pyrdown",
        function=lambda x, shape, _: halved(x, shape, lambda y: _pixels(pyrdown(_planes(y)))),
        antialias=True,
    ),
)
