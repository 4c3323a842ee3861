"""Volumes: NIfTI files (.nii, .nii.gz), whose voxels need not be cubes.

The voxels of a file are indexed (i, j, k), the first fastest in memory; here the axes are (k, j, i), depth × height ×
width, the last fastest, as networks take them. Nothing is turned, mirrored or resampled, because a stride is one of the
file's own grid; `Volume.directions` says to which side of the body each axis runs.
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aliasing.axes import rate_per_axis
from aliasing.classes import Label
from aliasing.errors import first_line
from aliasing.images.entries import Entry, Medium, Read, Signal, hash_bytes, shown
from aliasing.images.pixels import MAX_BYTES, BadImage, check_expansion

_LARGEST = 2**27  # voxels of all channels: a gigabyte of float64
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of a NIfTI unit of length: unknown, metre, millimetre, micron
_LONGEST_HEADER = 540
_MAGIC = {348: b"n+1\0", 540: b"n+2\0"}  # of a file that holds its header and its voxels


@dataclass(frozen=True, eq=False)
class Volume(Signal):
    """A volume in memory: a signal of three axes.

    Attributes
    ----------
    samples : float array (channels, D, H, W) or (D, H, W)
        In the file's own unit; the times of a 4-D file, or its colours, are channels.
    rates : tuple of three float
        Voxels per millimetre along D, H and W: 1 ÷ the size of a voxel there. One number if they are cubes.
    directions : str
        To which side of the body each axis runs, if the file says so: "SAL" is D up (superior), H to the front
        (anterior) and W to the left; the others are I, P and R.
    name, identity, label, assumed : as of `aliasing.images.Signal`.

    Examples
    --------
    >>> Volume(np.zeros((24, 96, 128)), rates=(1 / 2.2, 1 / 2, 1 / 2)).samples.shape
    (1, 24, 96, 128)
    """

    rates: tuple[float, ...] = (1.0, 1.0, 1.0)
    directions: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", rate_per_axis(self.rates, 3))
        super().__post_init__()


def volume_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """An entry for a NIfTI file."""

    def load(entry: Entry) -> Volume:
        return decode_volume(read(), entry.name, entry.label)

    return Entry(shown(name), label, load, lambda _: hash_bytes(read()), is_signal=True)


MEDIUM = Medium(frozenset({".nii", ".nii.gz"}), volume_entry)


@np.errstate(all="ignore")  # what a broken header makes of a number is refused, not warned of
def decode_volume(content: bytes, name: str, label: Label = None) -> Volume:
    """The volume of a file's bytes; BadImage says why it cannot be used.

    It unpacks at most what the header promises, and refuses a header that promises more than memory should hold.
    """
    header = _header(_unpacked(content, _LONGEST_HEADER))
    shape, dtype, offset = _layout(header)
    end = offset + math.prod(shape) * dtype.itemsize
    check_expansion(end, len(content))
    unpacked = _unpacked(content, end)
    if len(unpacked) < end:
        raise BadImage(f"cut off: {end - len(unpacked)} bytes that its header promises are missing")
    stored = np.frombuffer(unpacked, dtype, math.prod(shape), offset).reshape(shape[::-1])
    samples = _scaled(stored, header)
    samples = samples.reshape(-1, *samples.shape[-3:])  # whatever comes after i, j and k is a channel
    if not np.isfinite(samples).all():
        raise BadImage("holds NaN or infinity; put 0 where nothing was measured")
    rates, assumed = _rates(header)
    samples = np.ascontiguousarray(samples)
    return Volume(samples, rates, name, hash_bytes(content), label, assumed, _directions(header))


def _unpacked(content: bytes, end: int) -> bytes:
    """The first bytes of a file, those of its archive if it is compressed; its checksum is compared at its end."""
    if content[:2] != b"\x1f\x8b":
        return content[:end] if end == _LONGEST_HEADER else content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(end)
            if end > _LONGEST_HEADER:
                file.read(1)
            return unpacked
    except (OSError, EOFError, zlib.error) as error:
        raise BadImage(f"not a whole gzip file ({first_line(error)})") from error


def _header(block: bytes) -> Any:
    """The header of NIfTI-1 or NIfTI-2, in either order of bytes."""
    nibabel = import_nibabel()
    for order, endianness in (("little", "<"), ("big", ">")):
        size = int.from_bytes(block[:4], order)  # type: ignore[arg-type]
        if size in _MAGIC and len(block) >= size:
            kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
            header = kind(block[:size], endianness, check=False)
            if header["magic"].tobytes()[:4] == _MAGIC[size]:
                return header
    raise BadImage("not a NIfTI file: no header of NIfTI-1 or NIfTI-2 with its voxels in the same file")


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """The sizes along i, j, k and further axes, the stored type and the place of the first voxel, if all make sense."""
    nibabel = import_nibabel()
    count = int(header["dim"][0])
    if not 3 <= count <= 7:
        raise BadImage(f"a volume has 3 axes, and up to 4 more of times or channels; its header says {count}")
    shape = tuple(int(size) for size in header["dim"][1 : count + 1])
    if min(shape) < 1:
        raise BadImage(f"holds no voxels: its header says {'×'.join(map(str, shape))}")
    if math.prod(shape) > _LARGEST:
        raise BadImage(f"{'×'.join(map(str, shape))} voxels are too many; cut it")
    try:
        dtype = header.get_data_dtype()
    except (KeyError, nibabel.spatialimages.HeaderDataError):  # no such type, or one that NumPy lacks
        dtype = np.dtype("V")
    if dtype.kind not in "iuf" and dtype.names is None:
        raise BadImage(f"voxels of NIfTI's type {header['datatype']} are not real numbers that NumPy has; convert it")
    offset = float(header["vox_offset"])
    if not header["sizeof_hdr"] <= offset <= MAX_BYTES:
        raise BadImage(f"broken header: its voxels begin at byte {offset:g}")
    return shape, dtype, int(offset)


def _scaled(stored: NDArray[Any], header: Any) -> NDArray[np.float64]:
    """Float64 values, by the slope and the intercept of the header; the colours become channels, without alpha."""
    if stored.dtype.names:
        return np.stack([stored[colour].astype(np.float64) for colour in "RGB"])
    samples = stored.astype(np.float64)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):  # "not scaled", and what nibabel writes for it
        return samples
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise BadImage(f"broken header: its values are scaled by {slope:g} and {intercept:g} is added")
    return samples * slope + intercept


def _rates(header: Any) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Voxels per millimetre along k, j and i, and what had to be assumed for it.

    The size of a voxel is ``pixdim``, which is of the grid; the affine map may lead into a template's space.
    """
    unit = int(header["xyzt_units"]) & 7
    if unit not in _MILLIMETRES:
        raise BadImage(f"broken header: there is no unit {unit} of length")
    stored = abs(header["pixdim"][1:4])
    sizes = np.array([float(str(size)) for size in stored]) * _MILLIMETRES[unit]  # 2.2, and not float32's 2.2000000477
    if not (np.isfinite(sizes).all() and sizes.all()):
        raise BadImage(f"its voxels have no size: the header says {_by(stored)}")
    assumed: tuple[str, ...] = () if unit else ("its header names no unit of length: taken for millimetres",)
    if header["sform_code"] > 0:
        mapped = np.sqrt((header.get_sform()[:3, :3] ** 2).sum(0)) * _MILLIMETRES[unit]
        if not np.allclose(mapped, sizes, rtol=0.01):
            assumed += (f"its affine map makes voxels of {_by(mapped)} mm, its header {_by(sizes)} mm: the latter",)
    return tuple(float(1 / size) for size in sizes[::-1]), assumed


def _directions(header: Any) -> str:
    """To which side of the body k, j and i run, such as "SAL"; empty if the file does not say."""
    nibabel = import_nibabel()
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        return ""
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    header["pixdim"][1:4] = abs(header["pixdim"][1:4])
    try:
        codes = nibabel.aff2axcodes(header.get_best_affine())
    except (ValueError, np.linalg.LinAlgError, nibabel.spatialimages.HeaderDataError):
        return ""  # no rotation
    return "".join(reversed(codes)) if None not in codes else ""


def _by(sizes: Any) -> str:
    return "×".join(f"{size:g}" for size in sizes)


def import_nibabel() -> Any:
    """The library `nibabel`; BadImage if it is not installed."""
    try:
        import nibabel
    except ImportError:
        raise BadImage('volumes are read by nibabel; pip install "aliasing[volume]"') from None
    return nibabel
