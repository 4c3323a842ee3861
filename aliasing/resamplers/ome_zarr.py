"""ome-zarr: a level of the pyramid that ``write_image`` writes, by three of its methods."""

from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import zarr
from ome_zarr.scale import Methods
from ome_zarr.writer import write_image

from aliasing.resamplers import Resampler, factors, named


def _level(pixels: Any, shape: tuple[int, ...], _: str, method: str) -> Any:
    group = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
    scale = dict(zip("yx", factors(pixels, shape), strict=True))
    write_image(np.moveaxis(pixels, -1, 0), group, [scale], method=Methods(method), axes="cyx")
    return np.moveaxis(group["s1"][:], 0, -1)


_call = partial(Resampler, library="ome-zarr", version=version("ome-zarr"), dtypes=("float32", "uint8"))
RESAMPLERS = named(
    *(
        _call(name=f"ome-zarr-{method.replace('_', '-')}", function=partial(_level, method=method), antialias=filters)
        for method, filters in (("resize", True), ("local_mean", True), ("nearest", False))
    )
)
