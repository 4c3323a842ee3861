"""Volumes: NIfTI files are read as nibabel reads them or refused in one line."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aliasing.errors import InputError, UsageError
from aliasing.volumes import Volume, decode_volume, is_volume, read_volume
from tests.image_files import nifti

nibabel = pytest.importorskip("nibabel")

SIZE = (2.0, 3.0, 5.0)  # millimetres along i, j and k
RAMP = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_voxels_are_read_as_they_are(tmp_path: Path, kind: str, order: str, packed: Any) -> None:
    samples = RAMP.astype(kind)
    path = tmp_path / ("a.nii" if packed is bytes else "a.nii.gz")
    path.write_bytes(packed(nifti(samples, SIZE, order=order, slope=0.5, intercept=-3)))
    volume = read_volume(path)
    assert (volume.name, volume.directions, volume.assumed) == (path.name, "SAR", ())
    assert volume.rates == (1 / 5, 1 / 3, 1 / 2)  # along k, j and i
    assert np.array_equal(volume.samples[0], samples.T * 0.5 - 3)
    assert np.array_equal(volume.samples[0].T, nibabel.load(path).get_fdata())  # the peer


def test_the_files_that_nibabel_ships() -> None:
    """NIfTI-1 and -2, both orders of bytes, a scaled series of 20 times: 8-byte floats equal to nibabel's."""
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    for name in ("anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "standard.nii.gz"):
        peer, volume = nibabel.load(folder / name), read_volume(folder / name)
        assert np.array_equal(volume.samples, peer.get_fdata().T.reshape(volume.samples.shape)), name
        assert np.allclose(1 / np.array(volume.rates[::-1]), peer.header.get_zooms()[:3])
        assert volume.directions == "".join(reversed(nibabel.aff2axcodes(peer.affine)))


def test_times_and_colours_are_channels() -> None:
    series = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    assert np.array_equal(decode_volume(nifti(series), "a").samples, series.T)
    assert decode_volume(nifti(series[..., None, :]), "a").samples.shape == (2, 4, 3, 2)
    for bits, names in ((24, "RGB"), (32, "RGBA")):
        colours = np.zeros((2, 3, 4), [(name, "u1") for name in names])
        colours["G"], colours["B"] = RAMP, 7
        found = decode_volume(nifti(colours, datatype=({24: 128, 32: 2304}[bits], bits), slope=9), "a").samples
        assert np.array_equal(found, np.stack([0 * RAMP.T, RAMP.T, 0 * RAMP.T + 7]))  # a colour is not scaled


@pytest.mark.parametrize(("units", "millimetres"), [(1, 1000), (2, 1), (3, 0.001), (2 + 8, 1)])
def test_a_voxel_is_measured_in_millimetres(units: int, millimetres: float) -> None:
    rates = decode_volume(nifti(RAMP, SIZE, units=units), "a").rates
    assert np.allclose(1 / np.array(rates), [size * millimetres for size in SIZE[::-1]])


def test_a_size_in_single_precision_is_the_decimal_that_was_written() -> None:
    assert decode_volume(nifti(RAMP, (0.9, 1.1, 2.2)), "a").rates == (1 / 2.2, 1 / 1.1, 1 / 0.9)


def test_what_had_to_be_assumed_is_said() -> None:
    assert "no unit" in decode_volume(nifti(RAMP, SIZE, units=0), "a").assumed[0]
    wider = decode_volume(nifti(RAMP, SIZE, affine=np.diag([1, 1, 1, 1])[:3]), "a")
    assert wider.assumed == ("its affine map makes voxels of 1×1×1 mm, its header 2×3×5 mm: the latter",)
    assert wider.rates == (1 / 5, 1 / 3, 1 / 2)
    assert decode_volume(nifti(RAMP, (-2, 3, 5), sform=0), "a").rates == (1 / 5, 1 / 3, 1 / 2)
    assert decode_volume(nifti(RAMP, sform=0), "a").directions == ""
    assert decode_volume(nifti(RAMP, affine=np.eye(4)[[2, 0, 1]]), "a").directions == "RSA"  # x is k, y is i, z is j
    assert decode_volume(nifti(RAMP, slope=np.nan, intercept=np.nan), "a").samples.max() == 23  # nibabel's "unscaled"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"words", "not a NIfTI file"),
        (nifti(RAMP, magic=b"ni1\0"), "its voxels in the same file"),  # the header of a pair
        (nifti(RAMP)[:-5], "cut off: 5 bytes"),
        (gzip.compress(nifti(RAMP))[:-12], "not a whole gzip file"),
        (gzip.compress(nifti(RAMP))[:-8] + bytes(8), "not a whole gzip file .*CRC"),
        (gzip.compress(nifti(RAMP)[:-5]), "cut off: 5 bytes"),
        (nifti(RAMP, dim=(3, 2, 0, 4, 1, 1, 1, 1)), "no voxels: its header says 2×0×4"),
        (nifti(RAMP, dim=(3, -2, 3, 4, 1, 1, 1, 1)), "no voxels"),
        (nifti(RAMP, dim=(2, 6, 4, 1, 1, 1, 1, 1)), "its header says 2"),
        (nifti(RAMP, dim=(3, 10000, 10000, 10000, 1, 1, 1, 1)), "10000×10000×10000 voxels are too many"),
        (gzip.compress(nifti(RAMP, dim=(3, 512, 512, 512, 1, 1, 1, 1)) + bytes(10**6)), "decompression bomb"),
        (nifti(RAMP, pixdim=(1, 2, 0, 5, 1, 1, 1, 1)), "no size: the header says 2×0×5"),
        (nifti(RAMP, pixdim=(1, 2, np.nan, 5, 1, 1, 1, 1)), "no size"),
        (nifti(RAMP, units=5), "no unit 5"),
        (nifti(RAMP, slope=np.inf), "scaled by inf"),
        (nifti(RAMP, intercept=np.nan), "nan is added"),
        (nifti(RAMP, offset=np.nan), "begin at byte nan"),
        (nifti(RAMP, offset=0), "begin at byte 0"),
        (nifti(RAMP, datatype=(99, 16)), "NIfTI's type 99"),
        (nifti(RAMP, datatype=(32, 64)), "not real numbers"),
        (nifti(RAMP, datatype=(1, 1)), "not real numbers"),
        (nifti(np.where(RAMP == 3, np.nan, 1.0)), "holds NaN or infinity"),
        (nifti(np.full((2, 2, 2), 1e308), slope=1e30), "holds NaN or infinity"),
    ],
)
def test_what_is_no_volume_is_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(path)
    assert str(caught.value).isprintable()


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(InputError, match="is a directory"):
        read_volume(tmp_path)
    assert is_volume(tmp_path / "A.NII.GZ")
    assert not is_volume("nii")
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install \"aliasing\[volume\]\""):
        read_volume(tmp_path / "a.nii")


def test_a_volume_in_memory() -> None:
    one, same = (Volume(np.ones((4, 5, 6)), 1.0) for _ in range(2))
    assert (one.rates, one.identity) == ((1.0, 1.0, 1.0), same.identity)
    with pytest.raises(UsageError, match=r"shape \(D, H, W\)"):
        Volume(np.ones((4, 5)), 1.0)
    with pytest.raises(UsageError, match="rate is a positive number"):
        Volume(np.ones((4, 5, 6)), (1.0, 1.0))
