"""Valid files, mutated: nothing that comes of it may crash, hang, or fill the memory.

One valid file for each container, mode, archive and checkpoint format; bytes are flipped, cut, doubled, swapped with
another file's, or set to extreme numbers. The default run is short. The long one runs in a process whose memory is
bounded and counts what it tried::

    python -m tests.test_fuzz 300     # seconds
"""

import bz2
import collections
import contextlib
import faulthandler
import gzip
import io
import lzma
import random
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aliasing.errors import InputError
from aliasing.images import BadImage, decode, open_images
from aliasing.images.volume import decode_volume
from aliasing.models.checkpoints import read_checkpoint
from aliasing.sounds import decode_sound
from tests.hostile import PHOTO, animation, encode, grey_tiff, png, rle8_bmp
from tests.image_files import idx, nifti, tar_bytes, zip_bytes

pytestmark = pytest.mark.filterwarnings("ignore")

MEMORY = 6 * 2**30  # bytes of address space, of which importing torch takes about 3
HANGS = 60  # seconds of one input


def _images() -> dict[str, bytes]:
    small = PIL.Image.fromarray(PHOTO[:16, :16])
    grey = small.convert("L")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": encode(small, "JPEG", exif=exif),
        "jpeg, grey": encode(grey, "JPEG"),
        "jpeg, cmyk": encode(small.convert("CMYK"), "JPEG"),
        "jpeg, progressive": encode(small, "JPEG", progressive=True),
        **{
            f"png, {depth} bit": png(16, 4, (b"\0" + bytes(2 * depth)) * 4, depth=depth, colour=0)
            for depth in (1, 2, 4)
        },
        "png, 16 bit": encode(np.asarray(grey).astype(np.uint16) * 257),
        "png, rgba": encode(small.convert("RGBA")),
        "png, palette": encode(small.quantize(8), transparency=1),
        "png, interlaced": png(1, 1, b"\0\1\2\3", interlace=1),
        "png, animated": animation("PNG"),
        "png, text and profile": encode(small, icc_profile=bytes(200)),
        "gif": animation("GIF"),
        "tiff": grey_tiff(),
        "tiff, lzw": encode(small, "TIFF", compression="tiff_lzw"),
        "tiff, deflate": encode(small, "TIFF", compression="tiff_adobe_deflate"),
        "tiff, jpeg": encode(small, "TIFF", compression="jpeg"),
        "tiff, pages": animation("TIFF"),
        "webp": encode(small, "WEBP"),
        "webp, animated": animation("WEBP"),
        "avif": encode(small, "AVIF"),
        "jpeg 2000": encode(small, "JPEG2000"),
        "bmp": encode(small, "BMP"),
        "bmp, run-length": rle8_bmp(4, 2, b"\2\7\2\x09\0\0\0\4\1\2\3\4\0\1"),
        "dib": encode(small, "DIB"),
        "ico": encode(small, "ICO", sizes=[(16, 16)]),
        "qoi": encode(small, "QOI"),
        "ppm": encode(small, "PPM"),
        "ppm, text": b"P3 2 2 255\n" + b"10 200 30 " * 4,
        "sgi": encode(small, "SGI"),
        "pcx": encode(small, "PCX"),
    }


def _sources() -> dict[str, bytes]:
    """By the ending that says how it is read."""
    picture = encode(PIL.Image.fromarray(PHOTO[:4, :4]))
    members = {"a/1.png": picture, "b/2.png": picture, "labels.csv": b"file,label\na/1.png,3\nb/2.png,0\n"}
    table = io.BytesIO()
    pq.write_table(pa.table({"image": [picture] * 3, "label": [0, 1, 2]}), table)
    tar = tar_bytes(members)
    return {
        "a.zip": zip_bytes(members),
        "stored.zip": zip_bytes(members, zipfile.ZIP_STORED),
        "a.tar": tar,
        "a.tar.gz": gzip.compress(tar),
        "a.tar.bz2": bz2.compress(tar),
        "a.tar.xz": lzma.compress(tar),
        "a.parquet": table.getvalue(),
        "t10k-images-idx3-ubyte": idx(0x803, (3, 4, 5), bytes(60)),
        "labels.csv": members["labels.csv"],
    }


def _checkpoints() -> dict[str, bytes]:
    weights = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2), "count": torch.tensor(3)}
    found = {"a.safetensors": safetensors.torch.save(weights)}
    for name, zipped in (("a.pth", True), ("old.pth", False)):
        buffer = io.BytesIO()
        torch.save({"state_dict": weights}, buffer, _use_new_zipfile_serialization=zipped)
        found[name] = buffer.getvalue()
    return found


def _sounds() -> dict[str, bytes]:
    samples = np.linspace(-0.5, 0.5, 400).reshape(200, 2)
    kinds = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", "PCM_16")]
    found = {}
    for form, subtype in [*kinds, ("OGG", "VORBIS"), ("AIFF", "PCM_16")]:
        content = io.BytesIO()
        soundfile.write(content, samples, 8000, subtype, format=form)
        found[f"{form}, {subtype}"] = content.getvalue()
    return found


def _volumes() -> dict[str, bytes]:
    samples = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    plain = nifti(samples[..., 0], (2, 3, 5))
    return {
        "nifti": plain,
        "nifti, big-endian": nifti(samples, order=">", slope=2, intercept=3, qform=1, sform=0),
        "nifti, gzip": gzip.compress(plain),
        "nifti, float": nifti(samples / 48),
        "nifti, colours": nifti(samples[..., 0].astype([(name, "u1") for name in "RGB"]), datatype=(128, 24)),
    }


IMAGES, SOURCES, CHECKPOINTS, SOUNDS = _images(), _sources(), _checkpoints(), _sounds()
VOLUMES = _volumes()
EXTREME = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1", b"\x80\0\0\0")


def mutate(content: bytes, other: bytes, number: Callable[[int, int], int]) -> bytes:
    """The content, changed in one to six places; ``number(low, high)`` decides where and how."""
    changed = bytearray(content)
    for _ in range(number(1, 6)):
        place, length = number(0, max(len(changed) - 1, 0)), number(1, 16)
        match number(0, 6):
            case 0:
                changed[place : place + 1] = bytes([number(0, 255)])
            case 1:
                changed[place : place + length] = bytes(number(0, 255) for _ in range(length))
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length] * number(1, 8)
            case 4:
                changed[place : place + 4] = EXTREME[number(0, len(EXTREME) - 1)]
            case 5:
                start = number(0, max(len(other) - 1, 0))
                changed[place : place + length] = other[start : start + length]
            case _:
                del changed[place:]
    return bytes(changed)


def refused(error: Exception) -> str:
    """One line, that a terminal can show."""
    assert str(error).isprintable()
    assert len(str(error)) < 10_000
    return "refused"


def check_image(content: bytes) -> str:
    """Decoded, or refused with a reason."""
    try:
        pixels = decode(content)
    except BadImage as error:
        return refused(error)
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    assert pixels.size
    return "read"


def check_source(name: str, content: bytes, folder: Path) -> str:
    """A stream of entries, each of which loads or says why not; or one line."""
    path = folder / name
    path.write_bytes(content)
    (folder / "a").mkdir(exist_ok=True)
    (folder / "a" / "1.png").write_bytes(IMAGES["png, rgba"])
    try:
        source = open_images(folder if name == "labels.csv" else path)
    except InputError as error:
        return refused(error)
    read = 0
    for entry in source:
        assert entry.name.isprintable()
        with contextlib.suppress(BadImage):
            entry.load()
            read += 1
    return "read" if read else "refused"


def check_checkpoint(name: str, content: bytes, folder: Path) -> str:
    """Plain tensors, or one line."""
    path = folder / name
    path.write_bytes(content)
    try:
        weights = read_checkpoint(path).tensors
    except InputError as error:
        return refused(error)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    return "read"


def check_sound(content: bytes) -> str:
    """Finite samples, or one line."""
    try:
        sound = decode_sound(content, "a sound")
    except InputError as error:
        return refused(error)
    assert sound.samples.size
    assert np.isfinite(sound.samples).all()
    assert sound.rate > 0
    return "read"


def check_volume(content: bytes) -> str:
    """Finite samples on a grid in millimetres, or one line."""
    try:
        volume = decode_volume(content, "a volume")
    except InputError as error:
        return refused(error)
    assert volume.samples.size
    assert np.isfinite(volume.samples).all()
    assert all(0 < rate < np.inf for rate in volume.rates)
    return "read"


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, bytes]) -> tuple[str, bytes]:
    name, other = draw(st.sampled_from(sorted(valid))), draw(st.sampled_from(sorted(valid)))
    return name, mutate(valid[name], valid[other], lambda low, high: draw(st.integers(low, high)))


@settings(max_examples=300)
@given(mutated(IMAGES))
def test_mutated_images(case: tuple[str, bytes]) -> None:
    check_image(case[1])


@pytest.mark.parametrize("kind", IMAGES)
def test_images_cut_anywhere(kind: str) -> None:
    content = IMAGES[kind]
    for length in range(0, len(content), max(1, len(content) // 60)):
        check_image(content[:length])


@settings(max_examples=150)
@given(mutated(SOURCES))
def test_mutated_archives_tables_and_data_sets(case: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_source(*case, Path(folder))


@settings(max_examples=150)
@given(mutated(CHECKPOINTS))
def test_mutated_checkpoints(case: tuple[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_checkpoint(*case, Path(folder))


@settings(max_examples=300)
@given(mutated(SOUNDS))
def test_mutated_sounds(case: tuple[str, bytes]) -> None:
    check_sound(case[1])


@pytest.mark.parametrize("kind", SOUNDS)
def test_sounds_cut_anywhere(kind: str) -> None:
    content = SOUNDS[kind]
    for length in range(0, len(content), max(1, len(content) // 60)):
        check_sound(content[:length])


@settings(max_examples=300)
@given(mutated(VOLUMES))
def test_mutated_volumes(case: tuple[str, bytes]) -> None:
    check_volume(case[1])


@settings(max_examples=300)
@given(st.sampled_from(sorted(VOLUMES)), st.integers(0, 351), st.binary(min_size=1, max_size=8))
def test_volumes_whose_header_is_edited(kind: str, place: int, edit: bytes) -> None:
    content = VOLUMES[kind]
    plain = bytearray(gzip.decompress(content) if kind == "nifti, gzip" else content)
    plain[place : place + len(edit)] = edit
    check_volume(gzip.compress(plain, 1) if kind == "nifti, gzip" else bytes(plain))


@pytest.mark.parametrize("kind", VOLUMES)
def test_volumes_cut_anywhere(kind: str) -> None:
    content = VOLUMES[kind]
    for length in range(0, len(content), max(1, len(content) // 60)):
        assert check_volume(content[:length]) == "refused"


KINDS = {"images": IMAGES, "sources": SOURCES, "checkpoints": CHECKPOINTS, "sounds": SOUNDS, "volumes": VOLUMES}


@pytest.mark.parametrize("valid", KINDS.values(), ids=KINDS)
def test_unchanged_they_are_read(valid: dict[str, bytes], tmp_path: Path) -> None:
    """Otherwise the tests above would try nothing but the first bytes."""
    for name, content in valid.items():
        if valid is IMAGES:
            assert check_image(content) == "read", name
        elif valid is SOURCES:
            (tmp_path / name).mkdir()
            assert check_source(name, content, tmp_path / name) == "read", name
        elif valid is SOUNDS:
            assert check_sound(content) == "read", name
        elif valid is VOLUMES:
            pytest.importorskip("nibabel")
            assert check_volume(content) == "read", name
        else:
            assert check_checkpoint(name, content, tmp_path) == "read", name


@pytest.mark.slow
def test_mutated_at_length() -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "tests.test_fuzz", "300"], capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _fuzz(seconds: float, seed: int) -> int:
    """Mutate and check until the time is over, in bounded memory; how many failed.

    A hang ends the process with its traceback.
    """
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    chosen = random.Random(seed)
    tried: collections.Counter[str] = collections.Counter()
    longest, most = 0.0, ""
    kinds = [("image", IMAGES)] * 8 + [("source", SOURCES)] * 2 + [("checkpoint", CHECKPOINTS), ("sound", SOUNDS)]
    kinds.append(("volume", VOLUMES))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        while time.monotonic() - begin < seconds:
            kind, valid = chosen.choice(kinds)
            name, other = chosen.choice(sorted(valid)), chosen.choice(sorted(valid))
            content = mutate(valid[name], valid[other], chosen.randint)
            faulthandler.dump_traceback_later(HANGS, exit=True)
            (folder / "last").write_bytes(content)  # what a crash leaves behind
            used = time.process_time()
            try:
                if kind == "image":
                    outcome = check_image(content)
                elif kind == "source":
                    outcome = check_source(name, content, folder)
                elif kind == "sound":
                    outcome = check_sound(content)
                elif kind == "volume":
                    outcome = check_volume(content)
                else:
                    outcome = check_checkpoint(name, content, folder)
            except Exception:
                outcome = "FAILED"
                kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{sum(tried.values())}"
                kept.write_bytes(content)
                print(f"{kind} {name}, kept as {kept}\n{traceback.format_exc()}", file=sys.stderr)
            used = time.process_time() - used
            if used > longest:
                longest, most = used, f"{kind} {name}"
            tried[f"{kind}, {outcome}"] += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{sum(tried.values())} inputs in {seconds:g} s, seed {seed}: {dict(sorted(tried.items()))}")
    print(f"longest: {longest:.2f} s of processor time ({most})")
    return sum(count for outcome, count in tried.items() if "FAILED" in outcome)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(min(_fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
