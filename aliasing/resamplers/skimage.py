"""scikit-image: ``resize``, which blurs first with a Gaussian of σ = (r − 1)/2, and two of its own."""

from functools import partial
from importlib.metadata import version
from typing import Any

from skimage import transform

from aliasing.resamplers import Resampler, factors, named


def _resize(array: Any, shape: tuple[int, ...], _: str, order: int, **options: Any) -> Any:
    return transform.resize(array, shape, order=order, preserve_range=True, **options)


def _pyramid(array: Any, shape: tuple[int, ...], _: str) -> Any:
    return transform.pyramid_reduce(array, array.shape[0] / shape[0], preserve_range=True, channel_axis=-1)


_call = partial(Resampler, library="scikit-image", version=version("scikit-image"), dtypes=("float64",), antialias=True)
RESAMPLERS = named(
    _call(name="skimage-resize", function=partial(_resize, order=1, anti_aliasing=True)),
    _call(name="skimage-resize-cubic", function=partial(_resize, order=3, anti_aliasing=True)),
    _call(name="skimage-resize-aliased", function=partial(_resize, order=1, anti_aliasing=False), antialias=False),
    _call(
        name="skimage-local-mean",
        function=lambda x, shape, _: transform.downscale_local_mean(x, (*factors(x, shape), 1)),
        positions="blocks",
    ),
    _call(name="skimage-pyramid", function=_pyramid),
)
