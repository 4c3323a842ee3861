"""GDAL, by rasterio: a reduced ``read`` of a raster without overviews, whose kernels widen with the reduction."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from aliasing.resamplers import Resampler, named

_KERNELS = ("nearest", "bilinear", "cubic", "lanczos", "average", "gauss")


def _read(pixels: Any, shape: tuple[int, ...], _: str, kernel: str) -> Any:
    bands = np.moveaxis(pixels, -1, 0)
    kind = {"driver": "GTiff", "count": len(bands), "dtype": bands.dtype}
    with warnings.catch_warnings(), MemoryFile() as file:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with file.open(height=bands.shape[1], width=bands.shape[2], **kind) as raster:
            raster.write(bands)
        with file.open() as raster:
            read = raster.read(out_shape=(len(bands), *shape), resampling=Resampling[kernel])
    return np.moveaxis(read, 0, -1)


_call = partial(Resampler, library="GDAL", version=rasterio.__gdal_version__, dtypes=("float32", "uint8"))
RESAMPLERS = named(
    *(
        _call(name=f"rasterio-{kernel}", function=partial(_read, kernel=kernel), antialias=kernel != "nearest")
        for kernel in _KERNELS
    )
)
