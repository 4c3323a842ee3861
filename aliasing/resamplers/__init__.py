"""Resamplers: ways to resize a photograph, one file per library.

Resizing before the network is subsampling too, and libraries differ: Pillow widens its kernel with the reduction (it
low-passes), torch does so only with ``antialias=True``, OpenCV's linear interpolation never does, and its area
interpolation averages (Parmar, Zhang & Zhu 2022). So the resampler has a name, and every summary says which one was
used. `aliasing.kinds.RESAMPLERS` holds them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.kinds import RESAMPLERS
from aliasing.resamplers.characteristics import Characteristics, characterise
from aliasing.resamplers.skew import Skew, measure_skew

__all__ = [
    "INTERPOLATIONS",
    "Characteristics",
    "Pixels",
    "Resampler",
    "Skew",
    "View",
    "characterise",
    "measure_skew",
    "resize",
]

Pixels: TypeAlias = npt.NDArray[np.uint8]
View: TypeAlias = npt.NDArray[np.float32]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


@dataclass(frozen=True, kw_only=True)
class Resampler:
    """A way to resize an image.

    ``function(pixels, height, width, interpolation)`` maps uint8 H×W×3 to float32 height×width×3, 0…255.
    """

    name: str  #: under which it is registered: ``"opencv-area"``
    library: str  #: that computes it
    version: str
    antialias: bool  #: whether it low-passes when it reduces
    function: Callable[[Pixels, int, int, str], View]
    #: The kernels among :data:`INTERPOLATIONS` that it can use; empty if it has its own and ignores the one given.
    interpolations: tuple[str, ...] = ()
    axes: int = 2  #: the number of axes that it resamples: 2 for pictures
    dtypes: tuple[str, ...] = ("float32",)  #: of its grey levels: ``"uint8"`` if it rounds them

    def provenance(self) -> dict[str, str | bool]:
        """The library, its version and whether it low-passes, for a summary."""
        return {"name": self.name, "library": self.library, "version": self.version, "antialias": self.antialias}


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
        torchvision and timm; the package's other resamplers give floats.

    Returns
    -------
    float32 array, height×width×3, 0…255

    Raises
    ------
    UsageError
        If there is no such resampler or interpolation, or the resampler does not have that interpolation.

    Examples
    --------
    >>> import numpy as np
    >>> resize(np.full((8, 6, 3), 7, np.uint8), 4, 3).shape
    (4, 3, 3)
    """
    chosen = RESAMPLERS[resampler]
    if interpolation not in INTERPOLATIONS:
        raise UsageError(f"unknown interpolation {interpolation!r}; choose one of {', '.join(INTERPOLATIONS)}")
    if pixels.shape[:2] == (height, width):
        return pixels.astype(np.float32)
    if chosen.interpolations and interpolation not in chosen.interpolations:
        kernels = " or ".join(chosen.interpolations)
        raise UsageError(f"{resampler} cannot resize with {interpolation!r}; choose {kernels}, or another resampler")
    return chosen.function(pixels, height, width, interpolation)
