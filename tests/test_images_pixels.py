"""Every mode and format comes out as upright RGB, and every bad image has its reason."""

import io
import struct
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from aliasing.errors import one_line
from aliasing.images import BadImage, decode
from aliasing.images.pixels import MAX_BYTES
from tests.hostile import MALFORMED
from tests.image_files import BAD_BYTES, PHOTO, PNG, RNG, encode, png


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "QOI", "SGI", "PCX"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    np.testing.assert_array_equal(decode(encode(PHOTO, file_format)), PHOTO)


def test_lossless_webp_and_avif_and_jpeg2000() -> None:
    np.testing.assert_array_equal(decode(encode(PHOTO, "WEBP", lossless=True)), PHOTO)
    np.testing.assert_array_equal(decode(encode(PHOTO, "JPEG2000")), PHOTO)  # reversible by default
    assert decode(encode(PHOTO, "AVIF")).shape == PHOTO.shape


def test_jpeg_is_what_pillow_decodes() -> None:
    content = encode(PHOTO, "JPEG")
    np.testing.assert_array_equal(decode(content), np.asarray(PIL.Image.open(io.BytesIO(content))))


def test_result_is_writable_contiguous_uint8() -> None:
    for content in (PNG, encode(PHOTO[..., 0]), encode(PHOTO, "JPEG")):
        array = decode(content)
        assert array.dtype == np.uint8
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_grey_is_repeated() -> None:
    np.testing.assert_array_equal(decode(encode(PHOTO[..., 0])), np.repeat(PHOTO[..., :1], 3, axis=2))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    grey = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    # value / 257 to the nearest: 128/257 = 0.498 -> 0, 129/257 = 0.502 -> 1, 65406/257 = 254.498, 65407/257 = 254.502
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    assert decode(encode(grey, file_format))[0, :, 0].tolist() == expected


def test_16_bit_grey_of_either_byte_order() -> None:
    netpbm = b"P5 2 1 65535\n" + struct.pack(">HH", 65535, 32768)
    assert decode(netpbm)[0, :, 1].tolist() == [255, 128]
    big = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 8)
    for tag, kind, value in (
        (256, 4, 2),
        (257, 4, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 110),
        (277, 3, 1),
        (279, 4, 4),
    ):
        big += struct.pack(">HHI", tag, kind, 1) + (
            struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        )
    big += struct.pack(">I", 0) + struct.pack(">HH", 65535, 32768)
    assert decode(big)[0, :, 1].tolist() == [255, 128]


def test_16_bit_rgb_png() -> None:
    row = b"\0" + struct.pack(">6H", 65535, 0, 32896, 0, 65535, 257)
    content = png(2, 1, depth=16, colour=2, data=row)
    assert decode(content)[0].tolist() == [[255, 0, 128], [0, 255, 1]]


def test_one_bit_is_black_and_white() -> None:
    image = PIL.Image.fromarray(PHOTO[..., 0] > 127)
    assert image.mode == "1"
    np.testing.assert_array_equal(decode(encode(image))[..., 2], np.where(PHOTO[..., 0] > 127, 255, 0))


def test_palette() -> None:
    image = PIL.Image.fromarray(PHOTO).quantize(16)
    np.testing.assert_array_equal(decode(encode(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("transparency", [0, bytes([0, 255, 255, 255])])
def test_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    image = PIL.Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 0, 0, 0, 0, 0, 0])
    image.putpixel((1, 0), 1)
    assert decode(encode(image, transparency=transparency))[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_straight_alpha_over_white() -> None:
    colour = RNG.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    alpha = colour[..., 3:] / 255
    expected = alpha * colour[..., :3] + (1 - alpha) * 255
    assert np.abs(decode(encode(colour)) - expected).max() <= 1  # Pillow composes in integers: one rounding


def test_grey_with_alpha() -> None:
    image = PIL.Image.merge("LA", [PIL.Image.new("L", (1, 1), 100), PIL.Image.new("L", (1, 1), 0)])
    assert decode(encode(image)).tolist() == [[[255, 255, 255]]]


def test_colour_key() -> None:
    image = PIL.Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encode(image, transparency=(1, 2, 3)))[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_cmyk_jpeg_of_either_polarity() -> None:
    cyan = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    adobe = encode(cyan, "JPEG", quality=100)
    start = adobe.index(b"\xff\xee")
    assert adobe[start + 4 : start + 9] == b"Adobe"
    marker = 2 + struct.unpack(">H", adobe[start + 2 : start + 4])[0]
    without_marker = adobe[:start] + adobe[start + marker :]
    assert np.abs(decode(adobe)[8, 8].astype(int) - [0, 255, 255]).max() <= 2  # JPEG's rounding
    # The same numbers without Adobe's marker mean their complement: no cyan, and full magenta, yellow, black.
    assert decode(without_marker)[8, 8].max() <= 2
    assert decode(encode(cyan, "TIFF"))[8, 8].tolist() == [0, 255, 255]


def test_lab_and_ycbcr_tiff() -> None:
    assert decode(encode(PIL.Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")).min() >= 250
    photo = PIL.Image.fromarray(PHOTO).convert("YCbCr")
    for compression in ("jpeg", "tiff_lzw"):
        assert decode(encode(photo, "TIFF", compression=compression)).shape == PHOTO.shape
    uncompressed = encode(photo, "TIFF")
    if int(PIL.__version__.split(".")[0]) >= 13:
        assert decode(uncompressed).shape == PHOTO.shape
    else:  # Pillow before 13 takes three bytes a pixel for four, and finds the file too short: a named skip
        with pytest.raises(BadImage, match="truncated"):
            decode(uncompressed)


def _turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores an upright image under each EXIF orientation (row 0 and column 0 by the EXIF standard)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, file_format: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    stored = np.ascontiguousarray(_turned(PHOTO, orientation))
    np.testing.assert_array_equal(decode(encode(stored, file_format, exif=exif, **options)), PHOTO)
    grey = encode(PIL.Image.fromarray(stored).convert("L"), "PNG", exif=exif)
    assert decode(grey).shape == PHOTO.shape


@pytest.mark.parametrize("orientation", [0, 9, 77, 65535])
def test_undefined_orientation_is_none(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(encode(PHOTO, exif=exif)), PHOTO)


def test_damaged_exif_does_not_make_an_image_bad() -> None:
    content = encode(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode(content), decode(encode(PHOTO, "JPEG")))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(file_format: str) -> None:
    frames = [PIL.Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    content = encode(
        frames[0],
        file_format,
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if file_format == "WEBP" else {}),
    )
    assert decode(content)[2, 2].tolist() == [255, 0, 0]


def test_colour_profile_is_left_alone() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    np.testing.assert_array_equal(decode(encode(PHOTO, icc_profile=profile)), PHOTO)


@pytest.mark.parametrize("case", BAD_BYTES | MALFORMED)
def test_bad_bytes_have_a_reason(case: str) -> None:
    content, expected = (BAD_BYTES | MALFORMED)[case]
    with pytest.raises(BadImage, match=expected or None) as caught:
        decode(content)
    reason = str(caught.value)
    assert reason.isprintable()
    assert 5 < len(reason) <= 300


def test_too_many_bytes() -> None:
    with pytest.raises(BadImage, match="more than 256 MiB"):
        decode(bytes(MAX_BYTES + 1))


def test_reasons_are_one_printable_line() -> None:
    assert str(BadImage("a\nb\x1b[31m\u202e\udcff")) == r"a\nb\x1b[31m\u202e\udcff"
    assert one_line("日本語 é") == "日本語 é"


def test_pillow_says_nothing_on_stderr() -> None:
    """Neither the warning for over 89 megapixels nor those about metadata reach the terminal, threads or not."""
    program = (
        "import io, numpy, PIL.Image, struct\n"
        "from aliasing.images import decode\n"
        "b = io.BytesIO(); PIL.Image.new('1', (10000, 10000)).save(b, 'PNG')\n"
        "assert decode(b.getvalue() + bytes(100_000)).shape == (10000, 10000, 3)\n"  # not so small as to be a bomb
        "b = io.BytesIO(); PIL.Image.new('P', (4, 4)).save(b, 'PNG', transparency=b'\\0\\1'); decode(b.getvalue())\n"
        "damaged = b'Exif\\0\\0II*\\0\\x08\\0\\0\\0\\xff\\0'\n"
        "b = io.BytesIO(); PIL.Image.new('RGB', (4, 4)).save(b, 'JPEG', exif=damaged); decode(b.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
