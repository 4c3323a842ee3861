"""Images made for the tests: every kind of good one and bad one, in every container."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa

from aliasing.images import BadImage, Image, open_images

RNG = np.random.default_rng(0)


PHOTO = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)  # odd and unequal sides: a wrong turn changes the shape


def encode(image: PIL.Image.Image | np.ndarray, file_format: str = "PNG", **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


PNG = encode(PHOTO)


def noise(folder: Path, count: int = 3, size: tuple[int, int] = (40, 48)) -> Path:
    """White noise in ``000.png``, ``001.png`` …"""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)
        (folder / f"{index:03d}.png").write_bytes(encode(pixels))
    return folder


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


def png_chunk(name: bytes, body: bytes, *, length: int | None = None) -> bytes:
    """A chunk of a PNG; with a length that is not its own, where one is given."""
    length = len(body) if length is None else length
    return struct.pack(">I", length) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 2, interlace: int = 0, before: bytes = b""
) -> bytes:
    """A PNG of these scan lines (filter bytes and all); ``before`` stands between header and pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    pixels = png_chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + png_chunk(b"IEND", b"")


def flip(content: bytes, position: int) -> bytes:
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
    "png, header checksum wrong": (flip(PNG, 30), ""),
    "png, pixels damaged": (flip(PNG, 60), "cannot be decoded"),
    "png, no pixels": (png(0, 0), ""),
    "png, 20000 × 20000": (png(20_000, 20_000), "179 megapixels"),
    "png, 2^31 − 1 wide": (png(2**31 - 1, 1), "179 megapixels"),
    "png, depth of 3 bits": (png(4, 4, depth=3), ""),
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


def write_tree(root: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pixels(index))


def tar_bytes(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parquet_table(
    images: list[bytes | None], labels: list[int | None] | None = None, names: list[str] | None = None
) -> pa.Table:
    cells = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(images)]
    column = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": column, "label": pa.array(labels or [0] * len(images), pa.int64())})
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    return table


def idx(magic: int, shape: tuple[int, ...], content: bytes) -> bytes:
    return struct.pack(f">{len(shape) + 1}I", magic, *shape) + content


_NIFTI_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}


def nifti(samples: Any, size: tuple[float, ...] = (1, 1, 1), *, order: str = "<", **fields: Any) -> bytes:
    """A NIfTI-1 file of an array (i, j, k, ...) whose voxels have this size along i, j and k.

    ``fields`` replace parts of the header: ``dim``, ``datatype`` with its bits, ``pixdim``, ``offset``, ``slope``,
    ``intercept``, ``units``, ``qform`` and ``sform`` (their codes), ``affine`` (3×4), ``magic``.
    """
    samples = np.asarray(samples)
    code = _NIFTI_CODES.get(samples.dtype.str[1:], 0), 8 * samples.dtype.itemsize
    affine = np.diag([*size, 1])[:3] if "affine" not in fields else fields["affine"]
    header = bytearray(352)
    for place, form, values in (
        (0, "i", [348]),
        (40, "8h", fields.get("dim", (samples.ndim, *samples.shape, *[1] * (7 - samples.ndim)))),
        (70, "2h", fields.get("datatype", code)),
        (76, "8f", fields.get("pixdim", (1, *size, 1, 1, 1, 1))),
        (108, "f", [fields.get("offset", 352)]),
        (112, "2f", (fields.get("slope", 1), fields.get("intercept", 0))),
        (123, "B", [fields.get("units", 2)]),
        (252, "2h", (fields.get("qform", 0), fields.get("sform", 1))),
        (280, "12f", np.ravel(affine)),
        (344, "4s", [fields.get("magic", b"n+1\0")]),
    ):
        struct.pack_into(order + form, header, place, *values)
    stored = samples.astype(samples.dtype.newbyteorder(order)) if samples.dtype.names is None else samples
    return bytes(header) + stored.tobytes(order="F")
