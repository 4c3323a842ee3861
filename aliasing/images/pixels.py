"""What does this file look like? Bytes in, upright uint8 H×W×3 RGB out, or the reason why not.

Choices that a reader could have made otherwise:

- transparency is straight alpha over white: :math:`c = \\alpha c + (1 - \\alpha) 255`;
- 16-bit grey is divided by 257, which maps 0…65535 onto 0…255 exactly at both ends, and is rounded, not clipped;
- CMYK follows Adobe's polarity where a JPEG carries Adobe's marker, else the JPEG standard's;
- a colour profile (ICC) is left alone: the networks were trained on decoders that ignore it;
- of an animation, the first frame;
- 32-bit integers and floats (TIFF, HDR) have no agreed white level, and are refused.

Nothing larger than Pillow's own limit against decompression bombs (179 megapixels) is decoded: the header decides.
Nor is what has more than 16 megapixels and more than a thousand pixels a byte: no photograph is so empty, and a
kilobyte of run lengths can take half a minute.
"""

import io
import logging
import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags, ImageChops

from aliasing.errors import InputError, one_line

Pixels = npt.NDArray[np.uint8]

# The formats in which photographs come. Left out on purpose: formats that start another program (EPS), and those
# without a signature, for which any file may pass.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI", "SGI", "PCX")
MAX_PIXELS = 2 * 89_478_485  # twice Pillow's MAX_IMAGE_PIXELS: where Pillow itself refuses
MAX_BYTES = 2**28  # of one encoded image; an uncompressed photograph of 89 megapixels
MAX_PIXELS_PER_BYTE = 1000  # JPEG at its lowest quality stays below 400
UNSUSPECTED_PIXELS = 2**24

# What Pillow has to say about a file is said by BadImage or is of no consequence; it must not tear up a progress bar.
# (A filter for good, because `warnings.catch_warnings` is not safe in threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class BadImage(InputError):  # noqa: N818 - what it is, as the user knows it
    """One image cannot be used. The text is the reason: one line, without control characters.

    Examples
    --------
    >>> print(BadImage("no such\\nthing"))
    no such\\nthing
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason)[:300])


def decode(content: bytes) -> Pixels:
    """The picture in an image file, upright, as uint8 RGB.

    Parameters
    ----------
    content : bytes
        A whole file: JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000, PPM, ICO, QOI, SGI or PCX.

    Returns
    -------
    numpy.ndarray
        uint8, H×W×3, RGB, 0…255, with the EXIF orientation applied.

    Raises
    ------
    BadImage
        The bytes are empty, no image, truncated, damaged or too large; its text says which.

    Examples
    --------
    >>> decode(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255])).tolist()
    [[[255, 0, 0], [0, 0, 255]]]
    """
    if not content:
        raise BadImage("empty file")
    if len(content) > MAX_BYTES:
        raise BadImage(f"file of more than {MAX_BYTES >> 20} MiB")
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_formats()) as image:
            pixels = image.width * image.height
            if pixels > max(UNSUSPECTED_PIXELS, MAX_PIXELS_PER_BYTE * len(content)):
                raise BadImage(
                    f"{image.width}×{image.height} pixels in {len(content)} bytes: taken for a decompression bomb"
                )
            return from_pil(image)
    except BadImage:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImage("not an image that Pillow can read") from None
    except PIL.Image.DecompressionBombError:
        raise BadImage(_TOO_LARGE) from None
    except Exception as error:  # decoders raise a dozen kinds on damaged data, none of them ours
        raise BadImage(f"cannot be decoded: {str(error) or type(error).__name__}") from error


_TOO_LARGE = f"more than {MAX_PIXELS / 1e6:.0f} megapixels"


def from_pil(image: PIL.Image.Image) -> Pixels:
    """A Pillow image of any mode, upright, as uint8 H×W×3 RGB. Raises BadImage where a mode has no white level."""
    width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(f"no pixels: {width}×{height}")
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}×{height} pixels: {_TOO_LARGE}")
    file_format = image.format
    image.load()
    image = _upright(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        return _grey16(np.asarray(image))  # of Netpbm's formats Pillow maps white, whichever it is, to 65535
    if image.mode in ("I", "F"):
        raise BadImage(f"pixels of mode {image.mode} (32 bits) have no agreed white level; save it with 8 or 16 bits")
    if image.mode == "CMYK" and file_format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every JPEG for Adobe's, whose polarity is inverted
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image)


def from_array(array: npt.NDArray[Any]) -> Pixels:
    """An array as uint8 H×W×3 RGB: uint8 H×W (grey), H×W×3, H×W×4 (alpha over white), or uint16 H×W (grey)."""
    if array.dtype == np.uint16 and array.ndim == 2 and array.size:
        return _grey16(array)
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 2:
            return np.repeat(array[..., None], 3, axis=2)
        if array.ndim == 3 and array.shape[2] == 3:
            return np.array(array)
        if array.ndim == 3 and array.shape[2] == 4:
            return from_pil(PIL.Image.fromarray(array))
    raise BadImage(f"array of {array.dtype} with shape {array.shape}; expected uint8 H×W×3 (RGB), H×W×4 or H×W")


def _grey16(grey: npt.NDArray[Any]) -> Pixels:
    grey8 = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(grey8[..., None], 3, axis=2)


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """Apply the EXIF orientation. Damaged EXIF says nothing about the pixels: the image is then taken as it lies."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None
    return image if turn is None else image.transpose(turn)


_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow can read."""
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)
