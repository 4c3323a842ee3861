"""Pillow's resampler: its kernel widens with the reduction, and it rounds to whole grey levels."""

import numpy as np
import PIL
import PIL.Image

from aliasing.resamplers import INTERPOLATIONS, Pixels, Resampler, View


def _resize(pixels: Pixels, height: int, width: int, interpolation: str) -> View:
    kernel = PIL.Image.Resampling[interpolation.upper()]
    return np.asarray(PIL.Image.fromarray(pixels).resize((width, height), kernel), dtype=np.float32)


pil = Resampler(
    name="pil",
    library="Pillow",
    version=PIL.__version__,
    antialias=True,
    function=_resize,
    interpolations=INTERPOLATIONS,
    dtypes=("uint8",),
)
