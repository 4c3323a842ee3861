"""Compression between the shift and the network: each view is coded as JPEG or WebP, and decoded.

A network that is deployed sees photographs as a camera or a server has compressed them. A shift then moves the content
against the 8×8 blocks of the code, and against the pairs of pixels that share a colour (chroma 4:2:0), which is itself
subsampling. Pillow codes and decodes; the same view gives the same bytes each time.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from aliasing.errors import UsageError

# Pillow's numbers for what it calls subsampling.
CHROMA = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@dataclass(frozen=True)
class Coding:
    """A code for views: ``format`` "JPEG" or "WebP", its quality of 0 to 100, and how its colours are subsampled.

    Raises UsageError if there is no such quality or chroma; WebP has 4:2:0 only.

    Examples
    --------
    >>> print(Coding("JPEG", 75))
    JPEG of quality 75, chroma 4:2:0
    >>> grey = np.full((8, 8, 3), 100.4, np.float32)
    >>> Coding("JPEG", 75).through(grey)[0, 0]
    array([100., 100., 100.], dtype=float32)
    """

    format: str
    quality: int
    chroma: str = "4:2:0"

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise UsageError(f"{self.format.lower()}={self.quality}; a quality is 0 to 100")
        known = CHROMA if self.format == "JPEG" else ("4:2:0",)
        if self.chroma not in known:
            raise UsageError(f"chroma={self.chroma}; {self.format} has {', '.join(known)}")

    def __str__(self) -> str:
        return f"{self.format} of quality {self.quality}, chroma {self.chroma}"

    def through(self, view: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A view H×W×3 in 0…255, rounded to whole levels, coded and decoded."""
        file = io.BytesIO()
        how = {"subsampling": CHROMA[self.chroma]} if self.format == "JPEG" else {}
        pixels = np.rint(view).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, self.format, quality=self.quality, **how)
        with Image.open(file) as decoded:
            return np.asarray(decoded.convert("RGB"), np.float32)


def coding_of(jpeg: int | None, webp: int | None, chroma: str | None) -> Coding | None:
    """The coding that a protocol's parameters mean, if any; UsageError if they contradict one another.

    Examples
    --------
    >>> coding_of(None, 60, None)
    Coding(format='WebP', quality=60, chroma='4:2:0')
    """
    if jpeg is not None and webp is not None:
        raise UsageError(f"jpeg={jpeg} and webp={webp}; a view is coded once: give one of them")
    if jpeg is None and webp is None:
        if chroma is not None:
            raise UsageError(f"chroma={chroma} of which code? give jpeg=QUALITY too")
        return None
    name, quality = ("JPEG", jpeg) if jpeg is not None else ("WebP", webp)
    assert quality is not None
    return Coding(name, quality, chroma or "4:2:0")
