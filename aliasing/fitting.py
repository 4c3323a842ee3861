"""Fitting a photograph into a size: timm's crop modes, and the crop of the centre."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from aliasing.resamplers import Pixels, View, resize

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""


def fit(
    pixels: Pixels, size: Size, crop_mode: str = "center", interpolation: str = "bicubic", resampler: str = "pil"
) -> View:
    """Resize an image to a size, or close to it with the same aspect ratio, as one of timm's crop modes does.

    Parameters
    ----------
    pixels : uint8 array, H×W×3
    size : (int, int)
        The height and the width to reach.
    crop_mode : {"center", "squash", "border"}
        "center": the image covers the size, and one of its sides is longer. "squash": it has that size, whatever its
        aspect ratio. "border": it lies within the size, and one of its sides is shorter.
    interpolation, resampler : str
        As for :func:`aliasing.resamplers.resize`.

    Returns
    -------
    float32 array, 0…255

    Examples
    --------
    >>> wide = np.zeros((30, 50, 3), np.uint8)
    >>> [fit(wide, (8, 8), mode).shape[:2] for mode in CROP_MODES]
    [(8, 13), (8, 8), (5, 8)]
    """
    height, width = CROP_MODES[crop_mode]((pixels.shape[0], pixels.shape[1]), size)
    return resize(pixels, height, width, interpolation, resampler)


def _cover(image: Size, size: Size) -> Size:
    """The smallest size with the image's aspect that covers a size; for a square, truncated as in torchvision."""
    if size[0] == size[1]:
        shorter = min(image)
        return size[0] * image[0] // shorter, size[0] * image[1] // shorter
    return _scaled(image, min(image[0] / size[0], image[1] / size[1]))


def _lie_within(image: Size, size: Size) -> Size:
    """The largest size with the image's aspect that lies within a size."""
    return _scaled(image, max(image[0] / size[0], image[1] / size[1]))


def _scaled(image: Size, ratio: float) -> Size:
    """The image's size ÷ ratio, rounded as timm rounds it."""
    return max(round(image[0] / ratio), 1), max(round(image[1] / ratio), 1)


# A crop mode: the image's size and the target size -> the size to which the image is resized.
CROP_MODES: dict[str, Callable[[Size, Size], Size]] = {
    "center": _cover,
    "squash": lambda image, size: size,
    "border": _lie_within,
}


def crop_centre(picture: View, height: int, width: int, colour: Sequence[float] | View = (0, 0, 0)) -> View:
    """Crop the centre of a picture; a corner at half a pixel is rounded to even, as in torchvision.

    A side that is too short is filled up with a colour, an odd pixel at its far end, as in torchvision. The result is a
    copy, so that the rest of the picture can be freed.

    Examples
    --------
    >>> crop_centre(np.arange(25, dtype=np.float32).reshape(5, 5, 1), 2, 2)[..., 0]
    array([[12., 13.],
           [17., 18.]], dtype=float32)
    >>> crop_centre(np.ones((1, 2, 3), np.float32), 1, 5)[0, :, 0]
    array([0., 1., 1., 0., 0.], dtype=float32)
    """
    rows, columns, channels = picture.shape
    if rows < height or columns < width:
        filled = np.empty((max(rows, height), max(columns, width), channels), np.float32)
        filled[:] = colour
        above, left = max(height - rows, 0) // 2, max(width - columns, 0) // 2
        filled[above : above + rows, left : left + columns] = picture
        picture = filled
    top = round((picture.shape[0] - height) / 2)
    left = round((picture.shape[1] - width) / 2)
    return picture[top : top + height, left : left + width].copy()
