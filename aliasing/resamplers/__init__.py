"""Resamplers: ways to resize a photograph, or resample a sound or a volume, one file per library; and what each does.

Resizing before the network is subsampling too, and libraries differ: Pillow widens its kernel with the reduction (it
low-passes), torch does so only with ``antialias=True``, OpenCV's linear interpolation never does, and its area
interpolation averages (Parmar, Zhang & Zhu 2022). So the resampler has a name, and every summary says which one was
used. `aliasing.kinds.RESAMPLERS` holds them all, those of libraries that are not installed too; `characterise` finds
what one of them does, or any other call.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.kinds import RESAMPLERS
from aliasing.resamplers.characteristics import Characteristics, characterise
from aliasing.resamplers.probing import Places
from aliasing.resamplers.pyramids import Level, Pyramid, measure_pyramid
from aliasing.resamplers.skew import Skew, measure_skew

__all__ = [
    "DEFAULT_RESAMPLER",
    "INTERPOLATIONS",
    "Characteristics",
    "Level",
    "Pixels",
    "Pyramid",
    "Resampler",
    "Skew",
    "View",
    "characterise",
    "measure_pyramid",
    "measure_skew",
    "resampler_of",
    "resize",
]

Pixels: TypeAlias = npt.NDArray[np.uint8]
View: TypeAlias = npt.NDArray[np.float32]

DEFAULT_RESAMPLER = "pil"
"""That of torchvision's and timm's evaluation; a network whose own pipeline resizes otherwise keeps its own."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


@dataclass(frozen=True, kw_only=True)
class Resampler:
    """A way to resize an image, or to resample a sound or a volume.

    ``function(array, shape, interpolation)`` makes of an array another, of ``shape`` along its axes. Pictures are
    H×W×3; sounds and volumes have their axes only. Grey levels are of 0 to 255 in pictures to be resized.
    """

    name: str  #: under which it is registered: ``"opencv-area"``
    library: str  #: that computes it
    version: str
    antialias: bool  #: whether it low-passes when it reduces, with a kernel that is not ``nearest``
    function: Callable[[Any, tuple[int, ...], str], Any]
    #: The kernels among :data:`INTERPOLATIONS` that it can use; empty if it has its own and ignores the one given.
    interpolations: tuple[str, ...] = ()
    axes: int = 2  #: the number of axes that it resamples: 1 for sounds, 2 for pictures, 3 for volumes
    dtypes: tuple[str, ...] = ("float32",)  #: that it takes; pictures are resized in the first
    positions: str | Places = "areas"  #: where its samples belong, as in `characterise`
    conventions: str = ""  #: what else two versions of it may not have in common

    def provenance(self, interpolation: str = "") -> dict[str, str | bool]:
        """The library, its version, whether it low-passes, and its conventions if any, for a summary.

        Without an interpolation it is told whether kernels other than ``nearest`` low-pass, which never does.
        """
        told: dict[str, str | bool] = {"name": self.name, "library": self.library, "version": self.version}
        told |= {"antialias": self.antialias and interpolation != "nearest"}
        return told | ({"conventions": self.conventions} if self.conventions else {})


def resampler_of(name: str) -> Resampler:
    """The resampler of this name; ``"opencv-linear/uint8"`` is one that is given another of its dtypes.

    Raises UsageError if there is none, or it does not take that dtype.

    Examples
    --------
    >>> resampler_of("torch/uint8").dtypes, resampler_of("torch").dtypes
    (('uint8',), ('float32', 'uint8'))
    """
    base, slash, dtype = name.partition("/")
    found = RESAMPLERS[base]
    if not slash:
        return found
    if dtype not in found.dtypes:
        raise UsageError(f"{base} does not take {dtype!r}; it takes {' or '.join(found.dtypes)}")
    return replace(found, name=name, dtypes=(dtype,))


def named(*resamplers: Resampler) -> dict[str, Resampler]:
    """Resamplers by name, as a library's file holds them."""
    return {resampler.name: resampler for resampler in resamplers}


def factors(array: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The whole factors by which an array is reduced; UsageError if they are not whole, or it is enlarged.

    Examples
    --------
    >>> factors(np.zeros((97, 48, 3)), (24, 24))
    (4, 2)
    """
    found = tuple(round(length / count) for length, count in zip(array.shape, shape, strict=False))
    for factor, length, count in zip(found, array.shape, shape, strict=False):
        if factor < 1 or abs(length - factor * count) > factor / 2:
            raise UsageError(f"it reduces by whole factors only, and not an array of shape {array.shape} to {shape}")
    return found


def coarser(volume: Any, shape: tuple[int, ...]) -> Any:
    """The affine of a coarser grid of the same extent: its first voxel is in the middle of those that it stands for.

    Examples
    --------
    >>> coarser(np.zeros((8, 8, 8)), (2, 4, 8)).tolist()
    [[4.0, 0.0, 0.0, 1.5], [0.0, 2.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    steps = np.array(volume.shape) / shape
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = (steps - 1) / 2
    return affine


def halvings(array: Any, shape: tuple[int, ...]) -> int:
    """How many times an array is halved; UsageError if that does not lead to the shape.

    Examples
    --------
    >>> halvings(np.zeros((97, 97, 3)), (24, 24))
    2
    """
    factor, *others = factors(array, shape)
    if factor & (factor - 1) or {factor} != {factor, *others}:
        raise UsageError(f"it halves only, and makes no array of shape {shape} of one of shape {array.shape}")
    return factor.bit_length() - 1


def halved(array: Any, shape: tuple[int, ...], halve: Callable[[Any], Any]) -> Any:
    """An array that is halved until it has the shape; UsageError if it never has."""
    for _step in range(halvings(array, shape)):
        array = halve(array)
    return array


def resize(pixels: Pixels, height: int, width: int, interpolation: str = "bicubic", resampler: str = "pil") -> View:
    """Resize an image.

    Parameters
    ----------
    pixels : uint8 array, H×W×3
    height, width : int
        The new size in pixels, at least 1.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}
        The kernel. OpenCV's resamplers name theirs and ignore this.
    resampler : str
        A name in `aliasing.kinds.RESAMPLERS`. ``"pil"`` rounds to whole grey levels, like the evaluation transforms of
        torchvision and timm; the package's other resamplers give floats. ``"torchvision/uint8"`` is given whole grey
        levels, and rounds as it does.

    Returns
    -------
    float32 array, height×width×3, 0…255

    Raises
    ------
    UsageError
        If there is no such resampler or interpolation, or the resampler does not have that interpolation, or it cannot
        resize a picture to any size.

    Examples
    --------
    >>> import numpy as np
    >>> resize(np.full((8, 6, 3), 7, np.uint8), 4, 3).shape
    (4, 3, 3)
    """
    chosen = resampler_of(resampler)
    if interpolation not in INTERPOLATIONS:
        raise UsageError(f"unknown interpolation {interpolation!r}; choose one of {', '.join(INTERPOLATIONS)}")
    if pixels.shape[:2] == (height, width):
        return pixels.astype(np.float32)
    if chosen.axes != 2:
        raise UsageError(f"{resampler} does not resample pictures; choose another resampler")
    if chosen.interpolations and interpolation not in chosen.interpolations:
        kernels = " or ".join(chosen.interpolations)
        raise UsageError(f"{resampler} cannot resize with {interpolation!r}; choose {kernels}, or another resampler")
    try:
        resized = chosen.function(pixels.astype(chosen.dtypes[0], copy=False), (height, width), interpolation)
    except UsageError as error:  # whole factors only, and these are not
        raise UsageError(f"{resampler}: {error}; choose another resampler") from error
    if resized.shape[:2] != (height, width):
        made = "×".join(map(str, resized.shape[:2]))
        raise UsageError(f"{resampler} makes {made} pixels of the {height}×{width} asked for; choose another resampler")
    floats: View = np.asarray(resized, np.float32)
    return floats if np.asarray(resized).dtype == np.uint8 else floats.clip(0, 255)
