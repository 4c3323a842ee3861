"""How is a photograph brought to another size?

The step before the network is a subsampling too, and libraries differ in it: Pillow widens its kernel with the
reduction (it low-passes), torch does so only with ``antialias=True``, OpenCV's linear interpolation never does and
its area interpolation averages (Parmar, Zhang & Zhu 2022). So the resizer is named, and stands in every summary.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import PIL.Image
import torch
import torch.nn.functional as F

from aliasing.errors import UsageError

Pixels: TypeAlias = npt.NDArray[np.uint8]
View: TypeAlias = npt.NDArray[np.float32]
Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


def resize(pixels: Pixels, height: int, width: int, interpolation: str = "bicubic", resizer: str = "pil") -> View:
    """Bring an image to a size.

    Parameters
    ----------
    pixels : uint8 array, H×W×3
    height, width : int
        The size to reach, in pixels, at least 1.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}
        The kernel. OpenCV's resizers carry theirs in their name and do not look at it.
    resizer : {"pil", "torch", "torch-aliased", "opencv-linear", "opencv-area"}
        ``pil`` rounds to whole grey levels, as the evaluation transforms of torchvision and timm do; the others stay
        in float. ``torch-aliased`` is torch without antialiasing.

    Returns
    -------
    float32 array, height×width×3, 0…255

    Raises
    ------
    UsageError
        An unknown resizer or interpolation, or one that the resizer does not have.

    Examples
    --------
    >>> import numpy as np
    >>> resize(np.full((8, 6, 3), 7, np.uint8), 4, 3).shape
    (4, 3, 3)
    """
    if resizer not in RESIZERS:
        raise UsageError(f"unknown resizer {resizer!r}; choose one of {', '.join(RESIZERS)}")
    if interpolation not in INTERPOLATIONS:
        raise UsageError(f"unknown interpolation {interpolation!r}; choose one of {', '.join(INTERPOLATIONS)}")
    if pixels.shape[:2] == (height, width):
        return pixels.astype(np.float32)
    return RESIZERS[resizer](pixels, height, width, interpolation)


def fit(
    pixels: Pixels, size: Size, crop_mode: str = "center", interpolation: str = "bicubic", resizer: str = "pil"
) -> View:
    """Bring an image to a size, or near it with its aspect kept, as a crop mode of timm's has it.

    Parameters
    ----------
    pixels : uint8 array, H×W×3
    size : (int, int)
        The height and the width to reach.
    crop_mode : {"center", "squash", "border"}
        "center": the image covers the size, and one of its sides is longer. "squash": it has that size; its aspect is
        not kept. "border": it lies within the size, and one of its sides is shorter.
    interpolation, resizer : str
        As for :func:`resize`.

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
    return resize(pixels, height, width, interpolation, resizer)


def _cover(image: Size, size: Size) -> Size:
    """The smallest size of the image's aspect that covers a size; torchvision truncates the longer side of a square."""
    if size[0] == size[1]:
        shorter = min(image)
        return size[0] * image[0] // shorter, size[0] * image[1] // shorter
    return _scaled(image, min(image[0] / size[0], image[1] / size[1]))


def _squash(image: Size, size: Size) -> Size:
    """The size itself."""
    return size


def _lie_within(image: Size, size: Size) -> Size:
    """The largest size of the image's aspect that lies within a size."""
    return _scaled(image, max(image[0] / size[0], image[1] / size[1]))


def _scaled(image: Size, ratio: float) -> Size:
    """The image's size ÷ ratio, rounded as timm rounds it."""
    return max(round(image[0] / ratio), 1), max(round(image[1] / ratio), 1)


# A crop mode: the image's size and the size to reach -> the size that the image is resized to.
CROP_MODES: dict[str, Callable[[Size, Size], Size]] = {"center": _cover, "squash": _squash, "border": _lie_within}


def crop_centre(picture: View, height: int, width: int, colour: Sequence[float] | View = (0, 0, 0)) -> View:
    """The middle of a picture; where half a pixel is over, the corner is rounded as torchvision rounds it (to even).

    A side that is too short is filled up with a colour, where half a pixel is over on its far end, as torchvision does.
    The result is a copy, so that it does not keep what was cut off in memory.

    Examples
    --------
    >>> crop_centre(np.arange(25, dtype=np.float32).reshape(5, 5, 1), 2, 2)[..., 0]
    array([[12., 13.],
           [17., 18.]], dtype=float32)
    >>> crop_centre(np.ones((1, 2, 3), np.float32), 1, 5)[0, :, 0]
    array([0., 1., 1., 0., 0.], dtype=float32)
    """
    missing = max(height - picture.shape[0], 0), max(width - picture.shape[1], 0)
    if any(missing):
        above, left = missing[0] // 2, missing[1] // 2
        filled = np.empty((picture.shape[0] + missing[0], picture.shape[1] + missing[1], picture.shape[2]), np.float32)
        filled[:] = colour
        filled[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
        picture = filled
    top = round((picture.shape[0] - height) / 2)
    left = round((picture.shape[1] - width) / 2)
    return picture[top : top + height, left : left + width].copy()


def describe(resizer: str) -> dict[str, str | bool]:
    """The library, its version and its flags, as they stand in a summary."""
    library = {"pil": ("Pillow", PIL.__version__), "torch": ("torch", torch.__version__)}
    name, version = library.get(resizer.partition("-")[0], ("opencv", cv2.__version__))
    return {
        "name": resizer,
        "library": name,
        "version": version,
        "antialias": resizer in ("pil", "torch", "opencv-area"),
    }


def _pil(pixels: Pixels, height: int, width: int, interpolation: str) -> View:
    kernel = PIL.Image.Resampling[interpolation.upper()]
    return np.asarray(PIL.Image.fromarray(pixels).resize((width, height), kernel), dtype=np.float32)


def _torch(pixels: Pixels, height: int, width: int, interpolation: str, antialias: bool) -> View:
    if interpolation not in ("bilinear", "bicubic"):
        raise UsageError(f"torch cannot resize with {interpolation!r}; use --resizer pil")
    image = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    resized = F.interpolate(image, (height, width), mode=interpolation, antialias=antialias, align_corners=False)
    return resized[0].permute(1, 2, 0).clamp_(0, 255).contiguous().numpy()


def _opencv(pixels: Pixels, height: int, width: int, flag: int) -> View:
    return np.asarray(cv2.resize(pixels.astype(np.float32), (width, height), interpolation=flag), np.float32)


RESIZERS: dict[str, Callable[[Pixels, int, int, str], View]] = {
    "pil": _pil,
    "torch": partial(_torch, antialias=True),
    "torch-aliased": partial(_torch, antialias=False),
    "opencv-linear": lambda pixels, height, width, _: _opencv(pixels, height, width, cv2.INTER_LINEAR),
    "opencv-area": lambda pixels, height, width, _: _opencv(pixels, height, width, cv2.INTER_AREA),
}
