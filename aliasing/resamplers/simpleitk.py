"""SimpleITK: ``Resample`` to a coarser grid of the same extent, ``Shrink`` and ``BinShrink``."""

from functools import partial
from typing import Any

import SimpleITK

from aliasing.resamplers import Resampler, factors, named


def _image(array: Any, shape: tuple[int, ...]) -> Any:
    return SimpleITK.GetImageFromArray(array, isVector=array.ndim > len(shape))


def _resample(array: Any, shape: tuple[int, ...], _: str) -> Any:
    """Voxels are areas: the first new one lies in the middle of those that it stands for."""
    image = _image(array, shape)
    spacing = [length / count for length, count in zip(array.shape, shape, strict=False)][::-1]
    origin = [(step - 1) / 2 for step in spacing]
    grid = (shape[::-1], SimpleITK.Transform(), SimpleITK.sitkLinear, origin, spacing, image.GetDirection())
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(image, *grid, 0.0, image.GetPixelID(), useNearestNeighborExtrapolator=True)
    )


def _by_factors(array: Any, shape: tuple[int, ...], _: str, call: Any) -> Any:
    return SimpleITK.GetArrayFromImage(call(_image(array, shape), factors(array, shape)[::-1]))


_call = partial(
    Resampler,
    library="SimpleITK",
    version=SimpleITK.Version.VersionString(),
    antialias=False,
    dtypes=("float32", "uint8"),
)
RESAMPLERS = named(
    _call(name="simpleitk", function=_resample),
    _call(name="simpleitk-3d", function=_resample, axes=3, dtypes=("float32",)),
    _call(name="simpleitk-shrink", function=partial(_by_factors, call=SimpleITK.Shrink)),
    _call(name="simpleitk-binshrink", function=partial(_by_factors, call=SimpleITK.BinShrink), antialias=True),
)
