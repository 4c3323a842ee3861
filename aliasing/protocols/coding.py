"""Compression between the shift and the network: each view is coded as JPEG, WebP or H.264, and decoded.

A network that is deployed sees photographs as a camera or a server has compressed them. A shift then moves the content
against the blocks of the code, and against the pairs of pixels that share a colour (chroma 4:2:0), which is itself
subsampling. Pillow codes and decodes pictures, and FFmpeg's libx264 (by PyAV) videos: a view is the only frame of one,
a key frame, as the first of every clip is; frames after it would refine a picture that stands still. FFmpeg converts
the colours (BT.601) in its fast way, as for most programs, which makes 4:2:0 about a grey level darker. The same view
gives the same bytes each time.
"""

import io
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from PIL import Image

from aliasing.errors import InputError, UsageError

# Pillow's numbers for what it calls subsampling.
CHROMA = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
JPEG, WEBP, H264 = "JPEG", "WebP", "H.264"
# Of each format the parameter, the largest number that says how much is lost, and what FFmpeg or Pillow call it.
_PARAMETERS = {JPEG: ("jpeg", 100, "quality"), WEBP: ("webp", 100, "quality"), H264: ("video", 51, "CRF")}


@dataclass(frozen=True)
class Coding:
    """A code for views: its ``format``, how well it keeps them, and how its colours are subsampled.

    The ``quality`` of "JPEG" and "WebP" is 0 to 100, the best; that of "H.264" is x264's constant rate factor (CRF), 0
    to 51, the worst (23 is usual, 0 loses only by the conversion of colours). Raises UsageError if there is no such
    quality or chroma; WebP has 4:2:0 only.

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
        parameter, most, what = _PARAMETERS[self.format]
        if not 0 <= self.quality <= most:
            raise UsageError(f"{parameter}={self.quality}; a {what} is 0 to {most}")
        known = ("4:2:0",) if self.format == WEBP else CHROMA
        if self.chroma not in known:
            raise UsageError(f"chroma={self.chroma}; {self.format} has {', '.join(known)}")

    def __str__(self) -> str:
        what = "quality" if self.format != H264 else "one key frame and CRF"
        return f"{self.format} of {what} {self.quality}, chroma {self.chroma}"

    def require(self) -> None:
        """Raise InputError if the library that codes is not installed."""
        if self.format == H264 and find_spec("av") is None:
            raise InputError('videos are coded by PyAV, which is not installed: pip install "aliasing[film]"')

    def through(self, view: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A view H×W×3 in 0…255, rounded to whole levels, coded and decoded."""
        pixels = np.rint(view).clip(0, 255).astype(np.uint8)
        if self.format == H264:
            return _through_h264(pixels, self.quality, f"yuv{self.chroma.replace(':', '')}p")
        file = io.BytesIO()
        how = {"subsampling": CHROMA[self.chroma]} if self.format == JPEG else {}
        Image.fromarray(pixels).save(file, self.format, quality=self.quality, **how)
        with Image.open(file) as decoded:
            return np.asarray(decoded.convert("RGB"), np.float32)


def _through_h264(pixels: npt.NDArray[np.uint8], factor: int, pixel_format: str) -> npt.NDArray[np.float32]:
    """Pixels as the only frame of a video, decoded; an odd side is lengthened by its last pixel, and cut again."""
    import av

    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.thread_count = *even.shape[:2], pixel_format, 1
    encoder.framerate, encoder.options = Fraction(25), {"crf": str(factor)}
    decoder = av.CodecContext.create("h264", "r")
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    (decoded,) = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return decoded.to_ndarray(format="rgb24")[:height, :width].astype(np.float32)


def coding_of(jpeg: int | None, webp: int | None, video: int | None, chroma: str | None) -> Coding | None:
    """The coding that a protocol's parameters mean, if any; UsageError if they contradict one another.

    Examples
    --------
    >>> coding_of(None, 60, None, None)
    Coding(format='WebP', quality=60, chroma='4:2:0')
    """
    given = {name: number for name, number in ((JPEG, jpeg), (WEBP, webp), (H264, video)) if number is not None}
    if len(given) > 1:
        named = " and ".join(f"{_PARAMETERS[name][0]}={number}" for name, number in given.items())
        raise UsageError(f"{named}; a view is coded once: give one of them")
    if not given and chroma is not None:
        raise UsageError(f"chroma={chroma} of which code? give jpeg=QUALITY too")
    return next((Coding(name, quality, chroma or "4:2:0") for name, quality in given.items()), None)
