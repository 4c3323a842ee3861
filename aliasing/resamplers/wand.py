"""ImageMagick, by Wand: ``resize``, ``scale``, ``sample`` and ``thumbnail``."""

from functools import partial
from typing import Any

import numpy as np
from wand.image import Image
from wand.version import MAGICK_VERSION_INFO

from aliasing.resamplers import Resampler, named


def _of_image(pixels: Any, shape: tuple[int, ...], _: str, method: str) -> Any:
    with Image.from_array(pixels, channel_map="RGB") as image:
        getattr(image, method)(shape[1], shape[0])
        return np.asarray(image.export_pixels(channel_map="RGB"), np.uint8).reshape(image.height, image.width, 3)


_release = ".".join(map(str, MAGICK_VERSION_INFO[:3]))
_call = partial(Resampler, library="ImageMagick", version=_release, dtypes=("uint8",))
RESAMPLERS = named(
    *(
        _call(name=f"wand-{method}", function=partial(_of_image, method=method), antialias=method != "sample")
        for method in ("resize", "scale", "sample", "thumbnail")
    )
)
