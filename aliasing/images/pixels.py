"""Decoding an image file to uint8 H×W×3 RGB, or saying why it cannot be decoded.

These choices could have been made differently:

- transparency is straight alpha over white: :math:`c = \\alpha c + (1 - \\alpha) 255`;
- 16-bit grey is divided by 257, which maps 0…65535 onto 0…255 exactly at both ends, and is rounded, not clipped;
- CMYK follows Adobe's polarity if a JPEG carries Adobe's marker, otherwise the JPEG standard's;
- a colour profile (ICC) is ignored: the networks were trained on decoders that ignore it;
- an animation gives its first frame;
- 32-bit integers and floats (TIFF, HDR) have no agreed white level and are refused.

Images above Pillow's own limit against decompression bombs (179 megapixels) are refused by their header. So are images
with more than 16 megapixels and more than a thousand pixels per byte: no photograph is so empty, and a kilobyte of run
lengths can take half a minute.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ExifTags, ImageChops

from aliasing.errors import InputError, one_line
from aliasing.images.quiet import pillow_is_quiet
from aliasing.rounding import rounded

Pixels = npt.NDArray[np.uint8]

# The formats of photographs. Formats that start another program (EPS), and those without a signature, which any file
# may pass for, are left out on purpose.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI", "SGI", "PCX")
MAX_PIXELS = 2 * 89_478_485  # twice Pillow's MAX_IMAGE_PIXELS, where Pillow itself refuses
MAX_BYTES = 2**28  # of one encoded image: an uncompressed photograph of 89 megapixels
MAX_PIXELS_PER_BYTE = 1000  # JPEG at its lowest quality stays below 400
MAX_EXPANSION = 200  # of an archive or a table: photographs do not compress so well
UNSUSPECTED_PIXELS = 2**24

UPRIGHT, STORED = "upright", "stored"
ORIENTATIONS = (UPRIGHT, STORED)


class BadImage(InputError):  # noqa: N818 - the user's word for it
    """One image cannot be used. The text is the reason: one line, without control characters.

    Examples
    --------
    >>> print(BadImage("no such\\nthing"))
    no such\\nthing
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason)[:300])


def decode(content: bytes, orientation: str = UPRIGHT) -> Pixels:
    """The picture in an image file as uint8 RGB.

    Parameters
    ----------
    content : bytes
        A complete file: JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000, PPM, ICO, QOI, SGI or PCX.
    orientation : {"upright", "stored"}
        Whether the EXIF orientation is applied. torchvision's and timm's own readers do not apply it.

    Returns
    -------
    numpy.ndarray
        uint8, H×W×3, RGB, 0…255.

    Raises
    ------
    BadImage
        The bytes are empty, not an image, truncated, damaged or too large; its text says which.

    Examples
    --------
    >>> decode(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255])).tolist()
    [[[255, 0, 0], [0, 0, 255]]]
    """
    if not content:
        raise BadImage("empty file")
    check_size(len(content))
    with decoding(), pillow_is_quiet(), PIL.Image.open(io.BytesIO(content), formats=_formats()) as image:
        pixels = image.width * image.height
        if pixels > max(UNSUSPECTED_PIXELS, MAX_PIXELS_PER_BYTE * len(content)):
            raise BadImage(
                f"{image.width}×{image.height} pixels in {len(content)} bytes: taken for a decompression bomb"
            )
        return from_pil(image, orientation)


def check_size(size: int) -> None:
    """Raise BadImage if a file has more bytes than one image can need."""
    if size > MAX_BYTES:
        raise BadImage(f"file of more than {MAX_BYTES >> 20} MiB")


def check_expansion(size: int, compressed: int, unsuspected: int | None = None) -> None:
    """Raise BadImage if few bytes unpack to very many, and to more than ``unsuspected`` (MAX_BYTES)."""
    if size > (unsuspected or MAX_BYTES) and size > MAX_EXPANSION * compressed:
        raise BadImage(f"expands by more than {MAX_EXPANSION} times: taken for a decompression bomb")


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever Pillow raises into BadImage."""
    try:
        yield
    except BadImage:
        raise
    except PIL.UnidentifiedImageError:
        raise BadImage("not an image that Pillow can read") from None
    except PIL.Image.DecompressionBombError:
        raise BadImage(_TOO_LARGE) from None
    except Exception as error:  # decoders raise a dozen kinds of errors on damaged data
        raise BadImage(f"cannot be decoded: {str(error) or type(error).__name__}") from error


_TOO_LARGE = f"more than {rounded(MAX_PIXELS / 1e6, '.0f')} megapixels"


def lies(content: bytes) -> bool:
    """Whether the EXIF orientation of an image file asks for a rotation or flip.

    It never does for a TIFF, because Pillow itself rotates it for every reader.
    """
    try:
        with pillow_is_quiet(), PIL.Image.open(io.BytesIO(content), formats=_formats()) as image:
            return image.format != "TIFF" and turn_of(image) is not None
    except Exception:  # `decode` reports what is wrong
        return False


@pillow_is_quiet()
def from_pil(image: PIL.Image.Image, orientation: str = UPRIGHT) -> Pixels:
    """A Pillow image of any mode as uint8 H×W×3 RGB. Raises BadImage if the mode has no white level."""
    width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(f"no pixels: {width}×{height}")
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width}×{height} pixels: {_TOO_LARGE}")
    file_format = image.format
    image.load()
    turn = turn_of(image) if orientation == UPRIGHT else None
    image = image if turn is None else image.transpose(turn)
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        return _grey16(np.asarray(image))  # Pillow maps the white of Netpbm's formats to 65535
    if image.mode in ("I", "F"):
        raise BadImage(f"pixels of mode {image.mode} (32 bits) have no agreed white level; save it with 8 or 16 bits")
    if image.mode == "CMYK" and file_format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every JPEG for one of Adobe's, whose polarity is inverted
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image)


def from_array(array: npt.NDArray[Any]) -> Pixels:
    """Convert uint8 H×W (grey), H×W×3, H×W×4 (alpha over white) or uint16 H×W (grey) to uint8 H×W×3 RGB."""
    if array.dtype == np.uint16 and array.ndim == 2 and array.size:
        return _grey16(array)
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 2:
            return np.repeat(array[..., None], 3, axis=2)
        if array.ndim == 3 and array.shape[2] == 3:
            return np.array(array)
        if array.ndim == 3 and array.shape[2] == 4:
            return from_pil(PIL.Image.fromarray(array))
    raise BadImage(
        f"array of {array.dtype} with shape {array.shape}; expected uint8 H×W×3 (RGB), H×W×4 or H×W"
        ", or a signal with its rates: aliasing.images.Signal(array, rates)"
    )


def unnormalised(
    tensor: Any, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None
) -> npt.NDArray[np.float64]:
    """The levels in 0…255 of a tensor of floats, C×H×W or H×W, as an array: 255 (x std + mean), or 255 x."""
    array: npt.NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    if mean is not None:
        array = array * np.reshape(std, (-1, 1, 1)) + np.reshape(mean, (-1, 1, 1))  # type: ignore[arg-type]
    return 255 * array


def from_tensor(tensor: Any, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None) -> Pixels:
    """Convert a torch tensor C×H×W to an array for :func:`from_array`.

    It holds uint8; or floats in 0…1, as from ToTensor, or what `mean` and `std` have made of those.
    """
    channels = tensor.shape[0] if tensor.ndim == 3 else 1
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and channels not in (1, 3, 4)):
        raise BadImage(f"tensor of shape {tuple(tensor.shape)}; expected C×H×W with one, three or four channels")
    if mean is not None and (len(mean) not in (1, channels) or not tensor.is_floating_point()):
        what = f"{str(tensor.dtype).removeprefix('torch.')} of {channels} channels"
        raise BadImage(f"tensor of {what}, which mean {mean} cannot have normalised")
    if tensor.is_floating_point():
        array: npt.NDArray[Any] = unnormalised(tensor, mean, std)
        room = 0.0 if mean is None else 0.5  # for rounding
        if not (array.size and -room <= array.min() <= array.max() <= 255 + room):
            told = "give the picture before it is normalised" if mean is None else "it has another mean and std"
            raise BadImage(f"tensor of floats outside 0…1; {told}")
        array = np.rint(array).clip(0, 255).astype(np.uint8)
    else:
        array = tensor.detach().cpu().numpy()
    if array.ndim == 3:
        array = array[0] if channels == 1 else np.moveaxis(array, 0, -1)
    return array


def _grey16(grey: npt.NDArray[Any]) -> Pixels:
    grey8 = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(grey8[..., None], 3, axis=2)


def turn_of(image: PIL.Image.Image) -> PIL.Image.Transpose | None:
    """The transpose that the EXIF orientation asks for; None if the EXIF data is damaged."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None


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
    """The FORMATS that this Pillow can read."""
    PIL.Image.init()
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)
