"""torch: ``interpolate`` with ``antialias=True``, and without; of pictures, sounds and volumes."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from aliasing.resamplers import Resampler, named


def _interpolate(array: Any, shape: tuple[int, ...], mode: str, **options: Any) -> Any:
    tensor = torch.tensor(array)
    tensor = tensor.permute(2, 0, 1) if len(shape) == 2 else tensor[None]
    resized = F.interpolate(tensor[None], shape, mode=mode, **options)[0]
    return (resized.permute(1, 2, 0).contiguous() if len(shape) == 2 else resized[0]).numpy()


def _fixed(array: Any, shape: tuple[int, ...], _: str, mode: str, **options: Any) -> Any:
    return _interpolate(array, shape, mode, **options)


def _kernels() -> tuple[str, ...]:
    """Those that widen with the reduction; torch 2.14 has Lanczos too, and older ones may not."""
    try:
        F.interpolate(torch.zeros(1, 1, 2, 2), (1, 1), mode="lanczos", antialias=True)
    except (NotImplementedError, ValueError):
        return ("bilinear", "bicubic")
    return ("bilinear", "bicubic", "lanczos")


# Without antialias the cubic kernel is another too: Keys's with a = −0.75, and −0.5 with it.
_call = partial(Resampler, library="torch", version=torch.__version__, antialias=False)
RESAMPLERS = named(
    _call(
        name="torch",
        function=partial(_interpolate, antialias=True),
        antialias=True,
        interpolations=_kernels(),
        dtypes=("float32", "uint8"),
    ),
    _call(name="torch-aliased", function=_interpolate, interpolations=("bilinear", "bicubic")),
    _call(name="torch-area", function=partial(_fixed, mode="area"), antialias=True),
    _call(name="torch-corners", function=partial(_fixed, mode="bilinear", align_corners=True), positions="corners"),
    _call(name="torch-linear-1d", function=partial(_fixed, mode="linear"), axes=1),
    _call(name="torch-trilinear", function=partial(_fixed, mode="trilinear"), axes=3),
    _call(name="torch-area-3d", function=partial(_fixed, mode="area"), axes=3, antialias=True),
)
