"""kornia: ``geometry.resize``, which filters only if asked, with a Gaussian, and ``geometry.pyrdown``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import kornia
import torch
from kornia.geometry import pyrdown, resize

from aliasing.resamplers import Resampler, named


def _of_tensor(pixels: Any, shape: tuple[int, ...], _: str, call: Callable[..., Any]) -> Any:
    resized = call(torch.tensor(pixels).permute(2, 0, 1)[None], shape)[0]
    return resized.permute(1, 2, 0).contiguous().numpy()


_call = partial(Resampler, library="kornia", version=kornia.__version__)
RESAMPLERS = named(
    _call(name="kornia", function=partial(_of_tensor, call=resize), antialias=False),
    _call(name="kornia-antialias", function=partial(_of_tensor, call=partial(resize, antialias=True)), antialias=True),
    _call(
        name="kornia-pyrdown",
        function=partial(_of_tensor, call=lambda tensor, _: pyrdown(tensor)),
        antialias=True,
        only=2,
    ),
)
