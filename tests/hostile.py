"""Malformed images, built by code: every container that is read, broken in the ways that files are broken.

``MALFORMED`` has the bytes of each and a part of the reason that must be given; ``UNUSUAL`` are files that look
malformed and are not, with the pixels that they hold.
"""

import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image

from tests.image_files import encode, png, png_chunk

RANDOM = np.random.default_rng(7)
PHOTO = RANDOM.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def jpeg_marker(content: bytes, marker: int) -> int:
    """Where a JPEG's segment begins."""
    place = 2
    while content[place + 1] != marker:
        place += 2 + int(struct.unpack(">H", content[place + 2 : place + 4])[0])
    return place


def patched(content: bytes, place: int, new: bytes) -> bytes:
    """The content with some of its bytes overwritten."""
    return content[:place] + new + content[place + len(new) :]


def tiff(tags: dict[int, tuple[int, int, int]], *, after: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory at offset 8: tag → (type, count, value or offset)."""
    entries = b"".join(
        struct.pack("<HHII", tag, kind, count, value) for tag, (kind, count, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + after


def grey_tiff(**changed: tuple[int, int, int]) -> bytes:
    """A grey TIFF of 4×4 pixels, some of whose tags are other than they should be."""
    names = {
        "width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offsets": 273,
        "samples": 277, "rows": 278, "counts": 279, "predictor": 317, "tile_width": 322, "tile_height": 323,
        "tile_offsets": 324, "tile_counts": 325, "format": 339,
    }  # fmt: skip
    tags = {
        256: (4, 1, 4), 257: (4, 1, 4), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 0),
        277: (3, 1, 1), 278: (4, 1, 4), 279: (4, 1, 16),
    }  # fmt: skip
    tags |= {names[name]: value for name, value in changed.items()}
    if "offsets" not in changed:
        tags[273] = (4, 1, 14 + 12 * len(tags))
    return tiff(tags, after=bytes(range(0, 256, 16)))


def rle8_bmp(width: int, height: int, data: bytes) -> bytes:
    """A BMP of 8 bits with run-length coding (compression 1)."""
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def animation(file_format: str, **options: Any) -> bytes:
    """Three frames."""
    frames = [PIL.Image.fromarray(np.roll(PHOTO, k, 1)) for k in range(3)]
    return encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)


def _jpegs() -> dict[str, tuple[bytes, str]]:
    grey = encode(PHOTO[..., 0], "JPEG")
    cmyk = encode(PIL.Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
    progressive = encode(PHOTO, "JPEG", progressive=True)
    plain = encode(PHOTO, "JPEG")
    frame = jpeg_marker(plain, 0xC0)
    adobe = jpeg_marker(cmyk, 0xEE)
    size = frame + 5
    return {
        "grey jpeg, cut": (grey[: len(grey) * 2 // 3], "truncated"),
        "cmyk jpeg, cut": (cmyk[: len(cmyk) * 2 // 3], "truncated"),
        "cmyk jpeg, cut within adobe's marker": (cmyk[: adobe + 8], ""),
        "progressive jpeg, cut in the first scan": (progressive[: jpeg_marker(progressive, 0xDA) + 40], "truncated"),
        "jpeg of 12 bits": (patched(plain, frame + 4, b"\x0c"), ""),
        "jpeg, lossless": (patched(plain, frame + 1, b"\xc3"), ""),
        "jpeg, hierarchical": (patched(plain, frame + 1, b"\xc5"), ""),
        "jpeg, 0 × 0": (patched(plain, size, b"\0\0\0\0"), ""),
        "jpeg, 65500 × 65500": (patched(plain, size, struct.pack(">HH", 65500, 65500)), "179 megapixels"),
        "jpeg, 8000 × 8000 in its header": (patched(plain, size, struct.pack(">HH", 8000, 8000)), "bomb"),
        "jpeg of 2 colours": (patched(plain, frame + 9, b"\x02"), ""),
        "jpeg of 255 colours": (patched(plain, frame + 9, b"\xff"), ""),
        "jpeg without quantisation": (plain.replace(b"\xff\xdb", b"\xff\xe5"), ""),
        "jpeg without huffman tables, a scan of noise": (
            plain[: jpeg_marker(plain, 0xC4)] + plain[jpeg_marker(plain, 0xDA) :][:40],
            "",
        ),
        "jpeg, a segment longer than the file": (patched(plain, frame + 2, b"\xff\xff"), ""),
        "jpeg, a segment of length 0": (patched(plain, frame + 2, b"\0\0"), ""),
    }


def _pngs() -> dict[str, tuple[bytes, str]]:
    rows = {depth: b"".join(b"\0" + RANDOM.bytes(-(-64 * depth // 8)) for _ in range(48)) for depth in (1, 2, 4, 8, 16)}
    whole = {
        **{f"{depth} bit": png(64, 48, data, depth=depth, colour=0) for depth, data in rows.items()},
        "palette with transparency": encode(PIL.Image.fromarray(PHOTO).quantize(200), transparency=bytes(range(200))),
        "grey and alpha": encode(PIL.Image.fromarray(np.dstack([PHOTO[..., 0]] * 2))),
        "rgba": encode(np.dstack([PHOTO, PHOTO[..., 0]])),
    }
    cut = {f"png, {kind}, cut": (content[: len(content) * 2 // 3], "") for kind, content in whole.items()}
    bomb = zlib.compress(bytes(2**26), 9)  # 64 MiB of zeros in 64 KiB
    row = b"\0" + bytes(12)
    two = png(64, 48, rows[8], colour=0)
    return cut | {
        "png, interlaced, cut": (png(64, 48, rows[8][:1000], colour=0, interlace=1), ""),
        "png, interlace of kind 9": (png(64, 48, rows[8], colour=0, interlace=9), ""),
        "png, a text that expands to 64 MiB": (
            png(4, 4, row * 4, before=png_chunk(b"zTXt", b"a\0\0" + bomb)),
            "too large",
        ),
        "png, a profile that expands to 64 MiB": (png(4, 4, row * 4, before=png_chunk(b"iCCP", b"a\0\0" + bomb)), ""),
        "png, an international text that expands to 64 MiB": (
            png(4, 4, row * 4, before=png_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)),
            "",
        ),
        "png, a thousand texts of a MiB": (
            png(4, 4, row * 4, before=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 9), 9)) * 1000),
            "",
        ),
        "png, no palette": (png(4, 4, b"\0\1\2\3\4" * 4, colour=3), ""),
        "png, a filter that there is not": (png(4, 4, (b"\x09" + bytes(12)) * 4), ""),
        "png, header of 3 bytes": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", b"abc"), ""),
        "png, a chunk of 2 GiB": (two[:33] + png_chunk(b"tEXt", b"abc", length=2**31 - 1), ""),
    }


def _gifs_and_webps() -> dict[str, tuple[bytes, str]]:
    gif, webp = animation("GIF"), animation("WEBP")
    still = encode(PHOTO, "GIF")
    place = still.index(b",", 13 + 3 * 256)  # of the frame's descriptor, behind the header and its colours
    return {
        "gif, animated, cut in its first frame": (gif[:900], ""),
        "gif, canvas of 65535 × 65535": (patched(still, 6, b"\xff\xff\xff\xff"), "179 megapixels"),
        "gif, a frame of 65535 × 65535": (patched(still, place + 5, b"\xff\xff\xff\xff"), ""),
        "gif, codes of 13 bits": (patched(still, place + 10, b"\x0d"), ""),
        "webp, animated, cut": (webp[: len(webp) // 4], ""),
        "webp, canvas of 2^24 × 2^24": (patched(webp, 24, b"\xff" * 6), ""),
        "webp, riff of 4 GiB": (patched(encode(PHOTO, "WEBP")[:300], 4, b"\xff\xff\xff\xff"), ""),
        "webp, lossless, cut": (encode(PHOTO, "WEBP", lossless=True)[:2000], ""),
    }


def _tiffs() -> dict[str, tuple[bytes, str]]:
    lzw = encode(PHOTO, "TIFF", compression="tiff_lzw")
    deflate = encode(PHOTO, "TIFF", compression="tiff_adobe_deflate")
    jpeg = encode(PHOTO, "TIFF", compression="jpeg")
    fax = encode(PIL.Image.fromarray(PHOTO[..., 0] > 127), "TIFF", compression="group4")
    tiled = {"tile_width": (4, 1, 16), "tile_height": (4, 1, 16), "tile_offsets": (4, 1, 8), "tile_counts": (4, 1, 256)}
    return {
        "tiff, lzw, cut": (lzw[: len(lzw) // 2], ""),
        "tiff, deflate, its stream damaged": (patched(deflate, 40, RANDOM.bytes(200)), ""),
        "tiff, jpeg inside, cut": (jpeg[: len(jpeg) // 2], ""),
        "tiff, fax, cut": (fax[: len(fax) // 2], ""),
        "tiff, tiled, no tiles there": (grey_tiff(**{**tiled, "width": (4, 1, 64), "height": (4, 1, 64)}), ""),
        "tiff, pages, cut": (animation("TIFF", compression="tiff_lzw")[:600], ""),
        "tiff, 2^31 × 2^31": (grey_tiff(width=(4, 1, 2**31), height=(4, 1, 2**31)), "179 megapixels"),
        "tiff, 13000 × 13000 of 16 bytes": (grey_tiff(width=(4, 1, 13_000), height=(4, 1, 13_000)), ""),
        "tiff, 7 bits": (grey_tiff(bits=(3, 1, 7)), ""),
        "tiff, 65535 samples": (grey_tiff(samples=(3, 1, 65_535)), ""),
        "tiff, a compression that there is not": (grey_tiff(compression=(3, 1, 65_000)), ""),
        "tiff, strips beyond its end": (grey_tiff(offsets=(4, 1, 2**31)), ""),
        "tiff, 2^32 − 1 strips": (grey_tiff(offsets=(4, 2**32 - 1, 8)), ""),
        "tiff, deflate that is none": (grey_tiff(compression=(3, 1, 8)), ""),
        "tiff of 64-bit floats": (grey_tiff(bits=(3, 1, 64), format=(3, 1, 3), counts=(4, 1, 128)), ""),
        "tiff, width a string": (grey_tiff(width=(2, 4, 0x61626364)), ""),
        "tiff, 65535 entries": (b"II*\0" + struct.pack("<IH", 8, 65_535), ""),
        "tiff, its directory its own header": (b"II*\0" + struct.pack("<I", 0), ""),
        "big tiff, directory at 2^63": (b"II+\0" + struct.pack("<HHQ", 8, 0, 2**63 - 1), ""),
    }


def _others() -> dict[str, tuple[bytes, str]]:
    avif, jp2 = encode(PHOTO, "AVIF"), encode(PHOTO, "JPEG2000")
    siz = jp2.index(b"\xff\x51") + 6  # the sizes in the code stream's header
    bmp, qoi = encode(PHOTO, "BMP"), encode(PHOTO, "QOI")
    sgi, pcx = encode(PHOTO, "SGI"), encode(PHOTO, "PCX")
    icon = encode(PIL.Image.fromarray(PHOTO).resize((32, 32)), "ICO", sizes=[(32, 32)])
    return {
        "avif, ftyp only": (avif[:32], ""),
        "avif, cut in its meta box": (avif[:200], ""),
        "jpeg 2000, cut in its header": (jp2[: siz + 10], ""),
        "jpeg 2000, 2^32 − 1 pixels wide": (patched(jp2, siz, b"\xff\xff\xff\xff"), ""),
        "jpeg 2000, a box of length 1": (patched(jp2, 12, b"\0\0\0\1"), ""),
        "jpeg 2000, tiles of 0": (patched(jp2, siz + 16, bytes(8)), ""),
        "jpeg 2000, 255 components": (patched(jp2, siz + 32, b"\0\xff"), ""),
        "bmp, 7 bits": (patched(bmp, 28, b"\x07"), ""),
        "bmp, a header of 2^32 − 1 bytes": (patched(bmp, 14, b"\xff\xff\xff\xff"), ""),
        "bmp, pixels beyond its end": (patched(bmp, 10, b"\xff\xff\xff\x7f"), ""),
        "bmp, run-length, cut": (rle8_bmp(64, 48, b"\x05\x07"), ""),
        "bmp, run-length, a line of 170 million": (rle8_bmp(170_000_000, 1, b"\1\7\0\0\1\7\0\1"), "bomb"),
        "bmp, run-length, jumps in 13000 × 13000": (rle8_bmp(13_000, 13_000, b"\0\2\xff\xff" * 20), "bomb"),
        "dib without its header": (bmp[54:], "not an image"),
        "ico, its picture beyond its end": (patched(icon, 18, b"\xff\xff\xff\x7f"), ""),
        "ico, 65535 pictures": (patched(icon, 4, b"\xff\xff"), ""),
        "ico, its png cut": (icon[: len(icon) // 2], ""),
        "ico, its png of 20000 × 20000": (patched(icon, 22 + 16, struct.pack(">II", 20_000, 20_000)), ""),
        "qoi, cut": (qoi[: len(qoi) // 2], ""),
        "qoi, 13000 × 13000 in its header": (patched(qoi, 4, struct.pack(">II", 13_000, 13_000)), ""),
        "ppm, white is 0": (b"P6 4 4 0\n" + bytes(48), ""),
        "ppm, white is 99999": (b"P6 4 4 99999\n" + bytes(48), ""),
        "ppm, 13000 × 13000 of nothing": (b"P6 13000 13000 255\n", "bomb"),
        "ppm, text, cut": (b"P3 4 4 255\n1 2 3", ""),
        "ppm, text, above white": (b"P3 1 1 255\n1 2 256", ""),
        "ppm, a width of ten million digits": (b"P6 " + b"9" * 10_000_000, ""),
        "ppm, a comment without end": (b"P6 #" + b"x" * 1_000_000, ""),
        "pfm, floats": (b"Pf 2 2 -1.0\n" + np.ones(4, "<f4").tobytes(), "no agreed white level"),
        "sgi, cut": (sgi[: len(sgi) // 2], ""),
        "sgi, run-length, no tables": (patched(sgi[:600], 2, b"\x01"), ""),
        "pcx, cut": (pcx[:200], ""),
        "pcx, 65536 × 65536": (patched(pcx, 4, b"\0\0\0\0\xff\xff\xff\xff"), "179 megapixels"),
    }


MALFORMED: dict[str, tuple[bytes, str]] = {**_jpegs(), **_pngs(), **_gifs_and_webps(), **_tiffs(), **_others()}

# Decoded, and of a shape that no network can be shown.
ELONGATED: dict[str, bytes] = {
    "png, 100000 high and 1 wide": png(1, 100_000, b"\0\x80" * 100_000, depth=1, colour=0),
    "png, 60000 wide and 1 high": png(60_000, 1, bytes(180_001)),
}


def _looped_tiff() -> bytes:
    content = grey_tiff()
    return patched(content, 10 + 12 * 9, struct.pack("<I", 8))  # the next directory is the first one again


_ANIMATED = animation("PNG")
_GREY = np.repeat(np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4, 1), 3, axis=2)

UNUSUAL: dict[str, tuple[bytes, np.ndarray]] = {
    "an animated png, cut behind its first picture": (_ANIMATED[: len(_ANIMATED) * 2 // 3], PHOTO),
    "a tiff whose directories go round": (_looped_tiff(), _GREY),
    "a tiff with tiles of 0 × 0 beside its strips": (grey_tiff(tile_width=(4, 1, 0), tile_height=(4, 1, 0)), _GREY),
    "a png with noise behind it": (encode(PHOTO) + RANDOM.bytes(1000), PHOTO),
    "a bmp of run lengths": (
        rle8_bmp(4, 2, b"\2\7\2\x09\0\0\0\4\1\2\3\4\0\1"),
        np.repeat(np.array([[[1], [2], [3], [4]], [[7], [7], [9], [9]]], np.uint8), 3, axis=2),
    ),
}
