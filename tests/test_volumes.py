"""Volumes: NIfTI files are read as nibabel reads them or refused in one line; what folds is that of the closed form."""

import gzip
import json
import sys
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import aliasing as al
from aliasing import sampling
from aliasing.cli import main
from aliasing.downsample.comparison import compare, gaussian_alias_fraction
from aliasing.downsample.volume_spectra import VolumeSpectra
from aliasing.errors import InputError, UsageError
from aliasing.images import Signal, open_images
from aliasing.images.volume import decode_volume
from aliasing.models import SignalNetwork
from aliasing.spectrum import periodic
from aliasing.volumes import Volume, read_volume
from tests.image_files import nifti
from tests.networks import randomise
from tests.readable import complaints

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
        (gzip.compress(nifti(np.zeros((64, 64, 64), "u1")))[:-8] + bytes(8), "not a whole gzip file .*CRC"),
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
    ids=lambda value: value if isinstance(value, str) else "file",  # gzip's bytes hold the time, and processes differ
)
def test_what_is_no_volume_is_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(path)
    assert str(caught.value).isprintable()


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"a\.nii: unreadable: No such file"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(InputError, match="folder, not a regular file"):
        read_volume(tmp_path)
    (tmp_path / "A.NII.GZ").write_bytes(b"")
    (tmp_path / "a.gz").write_bytes(b"")
    assert [entry.name for entry in open_images(tmp_path)] == ["A.NII.GZ"]
    (tmp_path / "a.nii").write_bytes(nifti(RAMP))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install \"aliasing\[volume\]\""):
        read_volume(tmp_path / "a.nii")


def test_a_volume_in_memory() -> None:
    one, same = (Volume(np.ones((4, 5, 6)), 1.0) for _ in range(2))
    assert (one.rates, one.identity) == ((1.0, 1.0, 1.0), same.identity)
    with pytest.raises(UsageError, match="expected channels and 3 axes"):
        Volume(np.ones((4, 5)), 1.0)
    with pytest.raises(UsageError, match="rate is a positive number"):
        Volume(np.ones((4, 5, 6)), (1.0, 1.0))


# What folds ----------------------------------------------------------------------------------------------------------

RATES = (0.25, 0.5, 1.0)  # voxels of 4 × 2 × 1 mm


def wave(axis: int, cycles: float, shape: tuple[int, ...] = (24, 16, 20)) -> np.ndarray:
    """A cosine along an axis, its frequency in cycles per millimetre."""
    place = np.arange(shape[axis]) / RATES[axis]
    along = np.cos(2 * np.pi * cycles * place + 0.3)
    return np.broadcast_to(np.expand_dims(along, tuple({0, 1, 2} - {axis})), shape).copy()


@pytest.mark.parametrize(("axis", "cycles"), [(0, 0.25 * 9 / 24), (1, 0.5 * 7 / 16), (2, 1.0 * 8 / 20)])
def test_a_wave_along_an_axis_folds_where_its_own_voxels_put_it(axis: int, cycles: float) -> None:
    """Whole periods, which are compared as they are; only the stride of their axis matters."""
    volume = wave(axis, cycles)[None]
    for stride in ((2, 2, 2), tuple(2 if other == axis else 1 for other in range(3))):
        results = {name: compare(volume, name, stride) for name in ("subsample", "average", "blur", "flc")}
        assert results["subsample"].alias_fraction == pytest.approx(1, abs=1e-12)
        assert np.isnan(results["subsample"].baseband_kept)  # there is none
        assert results["flc"].alias_fraction == 0
        for name, taps in (("average", "box2"), ("blur", "binomial4")):
            gain = abs(al.filters.response(taps, cycles / RATES[axis])) ** 2
            assert results[name].above_kept == pytest.approx(gain, abs=1e-9)
        spectra = VolumeSpectra.of(volume, list(results.values()), stride, RATES, "a wave")
        assert spectra.looks[0].above == pytest.approx([float(other == axis) for other in range(3)], abs=1e-12)
        alias = np.array(spectra.looks[1].power[axis]["alias"])
        found = abs(al.sampling.fold(cycles, 2, RATES[axis]))
        assert alias[alias[:, 1].argmax(), 0] == pytest.approx(found, abs=1e-12)
        assert spectra.nyquist[axis] == RATES[axis] / 4
    left = tuple(1 if other == axis else 2 for other in range(3))
    assert compare(volume, "subsample", left).alias_fraction == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2), (1, 1, 2), (3, 2, 1)])
def test_white_noise_folds_the_share_of_the_frequencies_above(stride: tuple[int, ...]) -> None:
    """K of N frequencies stay along an axis; the energy of each is exponential, and half of them are conjugates."""
    shape = (24, 16, 18)
    noise = np.random.default_rng(0).normal(size=shape)
    found = float(al.sampling.decompose(noise, stride, axes=(0, 1, 2)).alias_fraction)
    kept = [size if step == 1 else 2 * ((size - 1) // (2 * step)) + 1 for size, step in zip(shape, stride, strict=True)]
    assert kept[0] == {1: 24, 2: 11, 3: 7}[stride[0]]
    expected = 1 - (np.prod(kept) - 1) / (np.prod(shape) - 1)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / np.prod(shape) * 2))


def test_an_axis_of_stride_1_is_left_alone() -> None:
    """The maximum of each block of samples; and where the axes are apart, the Gaussian's share is that of a picture."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 4, 5, 12))
    blocks = x.reshape(1, 2, 2, 5, 4, 3).max((2, 5))
    np.testing.assert_array_equal(compare(x, "max", (2, 1, 3)).samples, blocks)
    picture = random.normal(size=(1, 16, 20)).cumsum(2)
    picture -= picture.mean()
    apart = random.normal(size=(1, 12, 1, 1)) * picture[:, None]
    found = gaussian_alias_fraction(apart, (1, 2, 2), 0.7)
    assert found == pytest.approx(gaussian_alias_fraction(picture, 2, 0.7), rel=1e-9)


def test_an_ideal_low_pass_along_some_axes_leaves_nothing_that_folds() -> None:
    noise = Volume(np.random.default_rng(0).normal(size=(2, 12, 16, 20)), RATES)
    for stride in ((1, 2, 2), (2, 1, 1), (3, 2, 1)):
        shares = al.compare_operators(noise, stride, ["flc"]).images[0]["operators"]["flc"]
        assert shares["alias_fraction"] == pytest.approx(0, abs=1e-12)
        assert shares["baseband_kept"] == pytest.approx(1, abs=1e-12)


def test_channels_add_up_and_units_do_not_matter() -> None:
    """The shares of two channels are weighted by their energy; a scale or an offset of all voxels changes none."""
    random = np.random.default_rng(0)
    both = random.normal(size=(2, 12, 16, 20)) * np.array([1, 3])[:, None, None, None]
    both[1] = both[1].cumsum(0)

    def share(samples: np.ndarray) -> float:
        found = al.compare_operators(Volume(samples, RATES), (1, 2, 2), ["subsample"]).images[0]["operators"]
        return float(found["subsample"]["alias_fraction"])

    parts = periodic(both, axes=(1, 2, 3))
    weights = ((parts - parts.mean((1, 2, 3), keepdims=True)) ** 2).sum((1, 2, 3))
    for samples in (both, both * 1e200, both * 1e-200, both + 100):
        assert share(samples) == pytest.approx(np.average([share(one) for one in both], weights=weights), rel=1e-9)


def test_volumes_that_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="7×16×20 voxels are too few for stride 2: take 4 strides along an axis"):
        al.compare_operators(Volume(wave(1, 0.1, (7, 16, 20)), RATES), 2)
    single = Volume(wave(1, 0.1, (1, 16, 20)), RATES)  # a single slice, whose stride is 1
    assert al.compare_operators(single, (1, 2, 2), ["blur"]).images[0]["size"] == [1, 16, 20]
    unitless = decode_volume(nifti(np.random.default_rng(0).normal(size=(8, 8, 8)), units=0), "a")
    told = "1 volume: its header names no unit of length: taken for millimetres."
    assert al.compare_operators(unitless, 2, ["average"]).summary()["reading"] == [told]
    with pytest.raises(InputError, match="all voxels are equal"):
        al.compare_operators(Volume(np.full((8, 8, 8), 0.3), RATES), 2)
    for stride in ((1, 1, 1), 1, (2, 2), 2.0):
        with pytest.raises(UsageError, match="stride is a whole number"):
            al.compare_operators(single, stride)
    with pytest.raises(UsageError, match="stride, of an image, is a whole number"):
        al.compare_operators("sample", (2, 2))


def test_the_command_on_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "volumes", tmp_path / "out"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        samples = random.normal(size=(20, 16, 8)).astype(np.float32)
        (folder / f"{number}.nii.gz").write_bytes(gzip.compress(nifti(samples, (2, 2, 4))))
    (folder / "bad.nii").write_text("words")
    assert (
        main(["spectrum", str(folder), "--stride", "1,2,2", "--operator", "subsample", "blur", "--out", str(out)]) == 0
    )
    printed = capsys.readouterr().out
    assert "mean of 3 volumes" in printed
    assert "1 of 4 volumes skipped:\n  bad.nii: not a NIfTI file" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["stride"] == [1, 2, 2]
    assert [image["rate"] for image in summary["images"]["each"]] == [[0.25, 0.5, 0.5]] * 3
    again = al.open(out)
    assert again.summary()["operators"] == summary["operators"]
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "mean of 3 volumes" in page
    assert page.count("data:image/webp") == 1
    for figure in (again.plot(), al.compare_operators(folder / "0.nii.gz", 2, ["max"]).plot()):
        assert complaints(figure) == []
        plt.close(figure)
    with pytest.raises(SystemExit):
        main(["spectrum", str(folder), "--stride", "1,x"])
    assert "nor one for each axis as in 1,2,2" in capsys.readouterr().err
    assert main(["spectrum", str(folder), "--limit", "1", "--stride", "2", "--json"]) == 0
    assert [image["name"] for image in json.loads(capsys.readouterr().out)["images"]["each"]] == ["0.nii.gz"]


def test_the_experiment_gives_the_closed_forms(quick: Callable[[str], dict[str, Any]]) -> None:
    found = quick("volume")
    assert set(found["pictures"]) == {"figure.png", "operators.png"}
    (scan,) = found["numbers"].values()
    for shares in scan["shares"].values():
        for operator, closed in shares["closed form"].items():
            assert shares["alias fraction"][operator] == pytest.approx(closed, abs=1e-12)  # sums of 30,720 energies
        assert shares["alias fraction"]["flc"] == pytest.approx(0, abs=1e-12)
        assert shares["white noise"]["measured"] == pytest.approx(shares["white noise"]["closed form"], abs=0.015)
        assert shares["largest |baseband + alias − samples|"] < 1e-15


# Networks of volumes -------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    """Two convolutions with circular padding, the second with a stride, and a global average."""
    torch.manual_seed(0)
    layers = (
        nn.Conv3d(1, 4, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv3d(4, 4, 3, stride=(2, 2, 1), padding=1, padding_mode="circular"),
    )
    return randomise(nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5)))


def of_millimetres() -> SignalNetwork:
    """A factory of the command line: a network that was made for voxels of 4 × 2 × 2 mm."""
    return SignalNetwork(network(), "millimetres", (10, 12, 16), rate=(0.25, 0.5, 0.5))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Four volumes of 2 × 2 × 4 mm in two class folders, and one that is cut off."""
    folder = tmp_path / "scans"
    for number in range(4):
        path = folder / "ab"[number % 2] / f"{number}.nii{'.gz' * (number > 1)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = nifti(np.random.default_rng(number).normal(size=(16, 12, 10)), (2, 2, 4))
        path.write_bytes(gzip.compress(content) if number > 1 else content)
    (folder / "a" / "bad.nii").write_bytes(nifti(RAMP)[:-5])
    return folder


def test_the_numbers_are_those_of_a_loop_with_roll(scans: Path) -> None:
    found = al.measure_jitter(of_millimetres(), scans, "circular:pixels=4").summary()
    assert found["images"]["skipped"] == {"a/bad.nii": "cut off: 5 bytes that its header promises are missing"}
    described = found["models"]["millimetres"]
    module, changed, moved = network(), [], []
    with torch.inference_mode():
        for path in sorted(path for path in scans.rglob("*.nii*") if path.name != "bad.nii"):
            x = torch.tensor(read_volume(path).samples, dtype=torch.float32)[None]
            answers = [module(x.roll((k, k, k), (2, 3, 4))).softmax(1)[0] for k in range(5)]
            for before, after in pairwise(answers):
                top = before.argmax()
                changed.append(float(after.argmax() != top))
                moved.append(float((after[top] - before[top]).abs()))
    assert described["top1_change"]["value"] == pytest.approx(np.mean(changed))
    assert described["mac"]["value"] == pytest.approx(np.mean(moved), abs=1e-6)  # folded weights, other batches
    assert described["mac"]["value"] > 1e-5


def test_volumes_are_moved_along_an_axis_from_the_command_line(scans: Path, tmp_path: Path, capsys: Any) -> None:
    """What moves is only the axis that is named; a file that is cut off is counted."""
    out = tmp_path / "out"
    names = {axis: f"samples:axis={axis},steps=2" for axis in range(3)}
    for axis, protocol in names.items():
        command = ["jitter", "--images", str(scans), "--models", "module:tests.test_volumes:of_millimetres"]
        assert main([*command, "--protocol", protocol, "--out", str(out / str(axis))]) == 0
    assert "bad.nii" in capsys.readouterr().out
    for axis in range(3):
        summary = json.loads((out / str(axis) / "summary.json").read_text())
        assert list(summary["images"]["skipped"]) == ["a/bad.nii"]
        rows = al.open(out / str(axis)).records.to_pydict()
        shifts = [rows[f"second_d{name}"] for name in "zyx"]
        assert [abs(max(shift, key=abs)) for shift in shifts] == [2.0 * (axis == other) for other in range(3)]


def test_a_volume_of_another_grid_is_converted_and_what_was_assumed_is_told(scans: Path) -> None:
    content = nifti(np.random.default_rng(9).normal(size=(32, 24, 10)), (1, 1, 4), units=0)
    (scans / "fine.nii").write_bytes(content)
    adapted = al.measure_jitter(of_millimetres(), scans, "samples").summary()["models"]["millimetres"]["adapted"]
    assert adapted == {"rate 1 to 0.5 (1/2), its header names no unit of length: taken for millimetres": 1}


def test_volumes_in_an_archive_and_in_memory(scans: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(scans.rglob("*.nii*")):
            archive.write(path, path.relative_to(scans))
    walked, packed = list(open_images(scans)), list(open_images(tmp_path / "all.zip"))
    assert [(entry.name, entry.label) for entry in walked][:2] == [("a/0.nii", "a"), ("a/2.nii.gz", "a")]
    assert [entry.identify() for entry in packed] == [entry.identify() for entry in walked]
    volume = read_volume(scans / "a" / "2.nii.gz")
    several = al.compare_operators([volume, scans / "b", Signal(volume.samples, volume.rates)], 2, ["blur"]).images
    assert [(image["directions"], image["rate"]) for image in several] == [
        (directions, [0.25, 0.5, 0.5]) for directions in ("SAR", "SAR", "SAR", "")
    ]
    assert several[0]["operators"] == several[3]["operators"]
    assert main(["spectrum", str(scans), "--stride", "2", "--listen", str(tmp_path / "heard")]) == 1
    assert not (tmp_path / "heard").exists()
    assert volume.identity == walked[1].identify() == walked[1].load().identity
    (entry,) = open_images(volume)
    assert np.array_equal(entry.load().samples, volume.samples)


def test_what_a_site_folds_is_what_its_operator_folds_of_the_volume() -> None:
    """On a ring all views have one spectrum, so the probe's shares are those of one dense map; float32 there."""
    torch.manual_seed(0)
    strided = nn.Conv3d(1, 3, 3, stride=(3, 1, 2), padding=1, padding_mode="circular", bias=False)
    end = (nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 3))
    module = nn.Sequential(nn.Identity(), nn.MaxPool3d((1, 2, 2)), strided, *end)
    samples = np.random.default_rng(0).normal(size=(1, 12, 16, 20)).cumsum(3).astype(np.float32).astype(np.float64)
    model = al.load_model(module, input_size=(12, 16, 20), rate=1)
    profile = al.probe_depth(model, [Volume(samples, 1.0)], "circular:pixels=1", sites_every=1)
    pool, convolution, *_ = profile.summary()["models"]["Sequential"]["sites"]
    expected = compare(samples, "max", (1, 2, 2))
    assert pool["alias_fraction"]["value"] == pytest.approx(expected.alias_fraction, rel=1e-5)
    assert pool["baseband_kept"]["value"] == pytest.approx(expected.baseband_kept, rel=1e-5)
    dense = torch.nn.functional.pad(torch.from_numpy(expected.samples).float(), (1,) * 6, "circular")
    with torch.no_grad():
        dense = torch.nn.functional.conv3d(dense, strided.weight).double()
    inside, total = sampling.baseband_energy(dense, (3, 1, 2), (1, 2, 3))
    assert convolution["alias_fraction"]["value"] == pytest.approx(1 - float(inside.sum() / total.sum()), rel=1e-5)
