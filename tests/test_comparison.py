"""What operators fold of pictures, the figure of it, and `aliasing spectrum`."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage
from torch import nn

import aliasing as al
from aliasing import downsample, filters, plots, sampling, spectrum
from aliasing.cli import main
from aliasing.downsample.comparison import PLAIN, compare, gaussian_alias_fraction, prepare
from aliasing.downsample.operator import Operator
from aliasing.downsample.spectra import Spectra
from aliasing.errors import InputError, UsageError
from aliasing.kinds import OPERATORS
from aliasing.tables import cell


@pytest.fixture(scope="module")
def pixels():
    """A blurred random picture in colour, 61×90: neither size a multiple of 4."""
    noise = np.random.default_rng(0).normal(size=(61, 90, 3))
    smooth = ndimage.gaussian_filter(noise, (1.2, 1.2, 0), mode="wrap")
    return np.clip(128 + 90 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.fixture
def photo(pixels, tmp_path):
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_prepare_makes_the_size_a_multiple_and_the_signal_periodic(pixels):
    picture = prepare(pixels, 4)
    assert picture.shape == (1, 60, 88)
    assert prepare(pixels, 4, "rgb").shape == (3, 60, 88)
    luminance = pixels[:60, :88] @ np.array([0.2126, 0.7152, 0.0722]) / 255
    np.testing.assert_allclose(picture[0], spectrum.periodic(luminance), atol=1e-12)
    with pytest.raises(ValueError, match="too few"):
        prepare(pixels[:9], 4)
    with pytest.raises(ValueError, match="channels"):
        prepare(pixels, 4, "grey")


@pytest.mark.parametrize("channels", ["luminance", "rgb"])
@pytest.mark.parametrize("operator", [*PLAIN, "blur", "fourier"])
def test_dense_forms_are_scipys(pixels, operator, channels):
    """Each operator's dense form by other code, with the pixel that is kept where the operator has it."""
    picture = prepare(pixels, 4, channels)
    found = compare(picture, operator)

    def filtered(taps):
        taps = np.concatenate([[0], taps]) if len(taps) % 2 == 0 else taps
        x = picture
        for axis in (-2, -1):
            x = ndimage.correlate1d(x, taps, axis, mode="wrap")
        return x

    expected = {
        "subsample": picture,
        "max": ndimage.maximum_filter(picture, (1, 4, 4), mode="wrap", origin=(0, -2, -2)),
        "average": filtered(filters.box(4)),
        "convolution": filtered(filters.box(5)),
        "blur": filtered(filters.binomial(4, stride=4)),
        "fourier": sampling.ideal_lowpass(picture, 4),
    }[operator]
    np.testing.assert_allclose(found.dense, expected, atol=1e-13)
    np.testing.assert_allclose(found.baseband + found.alias, found.samples, atol=1e-13)
    if channels == "luminance":
        parts = sampling.decompose(expected, 4, before=picture)
        assert found.alias_fraction == pytest.approx(float(parts.alias_fraction[0]), abs=1e-12)
        assert found.baseband_kept == pytest.approx(float(parts.baseband_kept[0]), abs=1e-12)


@pytest.mark.parametrize("operator", ["convolution", "blur"])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_name_is_stretched_and_numbers_are_not(pixels, operator, stride):
    picture = prepare(pixels, 4)
    for taps in ("binomial4", "box3", (1, 2, 1)):
        row = torch.from_numpy(picture)
        expected = downsample.low_pass(row, stride, taps, "circular").numpy()
        found = compare(picture, operator, stride, taps)
        # Exact; but an operator divides its taps by their sum once more, which need not be 1 to the last bit.
        np.testing.assert_allclose(found.dense, expected, rtol=0, atol=1e-15 if operator == "blur" else 0)
        if operator == "convolution" and stride > 1:
            length = len(filters.get_taps(taps, stride))
            assert found.label.startswith(f"{length}×{length} ")
    # The seed's 5×5 box is five numbers: the same at every stride.
    assert stride == 1 or compare(picture, "convolution", stride).label == "5×5 box convolution"


def test_limits(pixels):
    picture = prepare(pixels, 4)
    ideal, nothing = compare(picture, "fourier"), compare(picture, "subsample")
    assert ideal.alias_fraction == pytest.approx(0, abs=1e-12)
    assert ideal.baseband_kept == pytest.approx(1)
    assert nothing.baseband_kept == pytest.approx(1)
    # Keeping all of the baseband, a Gaussian is no filter.
    assert ideal.gaussian_alias_fraction == pytest.approx(nothing.alias_fraction, abs=1e-9)
    with pytest.raises(UsageError, match="no operator 'median'; there are subsample, max, average, convolution, blur"):
        compare(picture, "median")
    with pytest.raises(UsageError, match="not a low-pass"):
        compare(picture, "lps")
    constant = compare(np.ones((1, 16, 16)), "max")
    assert (constant.alias_fraction, constant.baseband_kept) == (0, 1)


def test_a_low_pass_of_another_package_is_compared(pixels, monkeypatch):
    class Half(Operator):
        """Averages neighbours, with a learned weight."""

        takes_taps = True

        def __init__(self, stride=2):
            super().__init__(stride)
            self.weight = nn.Parameter(torch.tensor(0.5))

        def low_pass(self, x):
            return self.weight * (x + x.roll(1, -1))

    monkeypatch.setitem(OPERATORS._added, "half", Half)
    picture = prepare(pixels, 2)
    found = compare(picture, "half", 2, "box3")
    np.testing.assert_allclose(found.dense, (picture + np.roll(picture, 1, -1)) / 2, atol=1e-15)
    assert found.label == "Half, box3 for stride 2"
    same = compare(picture, "flc", 2), compare(picture, "fourier", 2)
    np.testing.assert_array_equal(same[0].dense, same[1].dense)
    assert [one.operator for one in same] == ["flc", "fourier"]


def test_gaussian_of_equal_baseband_keeps_that_much(pixels):
    picture = prepare(pixels, 4)
    sigma = 1.7
    f_y, f_x = spectrum.frequencies(picture)
    gain = np.exp(-2 * np.pi**2 * sigma**2 * (f_y[:, None] ** 2 + f_x**2))  # a Gaussian of σ pixels
    blurred = np.fft.ifft2(np.fft.fft2(picture) * np.fft.ifftshift(gain)).real
    parts = sampling.decompose(blurred, 4, before=picture)
    # The root is found to 2e-12 relative; the fraction depends on it with a slope of about one.
    found = gaussian_alias_fraction(picture, 4, float(parts.baseband_kept[0]))
    assert found == pytest.approx(float(parts.alias_fraction[0]), rel=1e-6)
    assert math.isnan(gaussian_alias_fraction(picture, 4, 1.2))
    assert math.isnan(gaussian_alias_fraction(picture, 4, 0))


@pytest.mark.parametrize("channels", ["luminance", "rgb"])
def test_the_figure_has_its_numbers_written_on_it(pixels, channels):
    picture = prepare(pixels, 4, channels)
    results = [compare(picture, name) for name in ("max", "fourier")]
    figure = plots.spectrum(Spectra.of(picture, results, 4))
    written = [axes.get_title() for axes in figure.axes]
    assert f"{100 * results[0].alias_fraction:.2f} % of its energy folds" in "\n".join(written)
    assert f"baseband kept {100 * results[0].baseband_kept:.1f} %" in "\n".join(written)
    with pytest.warns(DeprecationWarning, match=r"Spectra\.of"):
        before = plots.spectrum(picture, results, 4)
    assert [axes.get_title() for axes in before.axes] == written


def test_spectra_come_back_from_a_folder(pixels, tmp_path):
    """To the numbers exactly; to the pictures as small and as coarse as they are kept."""
    picture = prepare(pixels, 4)
    spectra = Spectra.of(picture, [compare(picture, "max")], 4, "photo")
    spectra.write(tmp_path)
    found = Spectra.open(tmp_path)
    assert (found.photograph, found.size, found.stride) == ("photo", (60, 88), 4)
    assert found.power_law == spectra.power_law
    for before, after in zip(spectra.looks, found.looks, strict=True):
        assert (before.label, before.power, before.alias_fraction) == (after.label, after.power, after.alias_fraction)
        # Half of the distance between two of the 256 levels of 100 decibels.
        np.testing.assert_allclose(after.decibels, before.decibels, atol=100 / 255 / 2 + 1e-9)
        assert after.samples.shape[:2] == before.samples.shape[:2]  # WebP keeps grey as three channels
    plots.spectrum(found)


# The survey ----------------------------------------------------------------------------------------------------------


def test_operators_are_compared_by_one_call(pixels, tmp_path):
    pictures = [np.roll(pixels, 9 * index, 0)[: 50 + 4 * index] for index in range(3)]
    result = al.compare_operators(pictures, stride=2, operators=["max", "blur"], taps="box3")
    each = [compare(prepare(picture, 2), "blur", 2, "box3") for picture in pictures]
    estimate = result.summary()["operators"]["blur"]["alias_fraction"]
    assert estimate["value"] == pytest.approx(np.mean([one.alias_fraction for one in each]))
    assert estimate["low"] < estimate["value"] < estimate["high"]
    row = result.table().to_pylist()[1]
    assert (row["operator"], row["alias_fraction"]) == ("blur", estimate["value"])
    assert cell(estimate) in repr(result)
    written = "\n".join(axes.get_title() for axes in result.plot().axes)
    assert f"{100 * each[0].alias_fraction:.2f} % of its energy folds" in written
    result.write(tmp_path)
    again = al.open(tmp_path)
    assert again.summary()["operators"] == result.summary()["operators"]
    assert written == "\n".join(axes.get_title() for axes in again.plot().axes)


def test_what_cannot_be_compared_is_refused(pixels):
    with pytest.raises(UsageError, match="no operator 'median'"):
        al.compare_operators(pixels, operators=["max", "median"])
    with pytest.raises(UsageError, match="at least 2; got 1"):
        al.compare_operators(pixels, stride=1)
    with pytest.raises(InputError, match="no image could be used"):
        al.compare_operators(pixels[:9])


# The command ---------------------------------------------------------------------------------------------------------


def test_spectrum_leaves_figure_and_summary(photo, tmp_path, capsys):
    assert main(["spectrum", str(photo), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "4×4 maximum" in printed
    assert "Max-pooling" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["operators"]) == ["max", "convolution", "blur"]
    assert set(summary["operators"]["max"]["alias_fraction"]) == {"value", "low", "high"}
    assert summary["versions"]["torch"]
    assert summary["settings"]["stride"] == 4
    with PIL.Image.open(tmp_path / "out" / "figure.png") as figure:
        assert min(figure.size) > 500


def test_several_images_have_intervals_and_bad_ones_are_skipped(pixels, tmp_path, capsys):
    for index in range(3):
        PIL.Image.fromarray(np.roll(pixels, 7 * index, 0)[: 50 + 3 * index]).save(tmp_path / f"{index}.png")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert main(["spectrum", str(tmp_path), "--operator", "average", "max", "--stride", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    estimate = summary["operators"]["average"]["alias_fraction"]
    assert estimate["low"] < estimate["value"] < estimate["high"]
    each = [image["operators"]["average"]["alias_fraction"] for image in summary["images"]["each"]]
    assert estimate["value"] == pytest.approx(np.mean(each))
    assert list(summary["images"]["skipped"]) == ["bad.jpg"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--operator", "median"], 2, "median"),
        (["--stride", "1"], 2, "stride"),
        (["--taps", "triangle3"], 2, "triangle3"),
        (["--stride", "40"], 1, "too few"),
    ],
)
def test_wrong_usage_and_wrong_input(photo: Path, arguments, code, says, complaint: Callable[..., str]):
    complaint(["spectrum", str(photo), *arguments], code, says)


def test_no_picture_at_all_is_one_line(tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert main(["spectrum", str(tmp_path / "bad.jpg")]) == 1
    assert main(["spectrum", str(tmp_path / "missing.jpg")]) == 1
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("taps", ["binomial3", "binomial4", "binomial5", (1, 2, 3, 2, 1), (1, 1)])
def test_an_even_number_of_taps_is_said_to_lie_between_two_pixels(taps: Any) -> None:
    """It is where a ramp of brightness says that it is: the blur of a ramp is the ramp, moved."""
    for stride in (2, 3):
        row = al.filters.get_taps(taps, stride)
        picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        told = [text for text in al.compare_operators(picture, stride, ["blur"], taps).remarks() if "taps" in text]
        ramp = torch.arange(30.0, dtype=torch.float64)[None]
        # Behind the border, to rounding of numbers up to 30.
        beside = (al.downsample.blur_pool(ramp, stride, taps, dims=1) - ramp[:, ::stride])[0, 4:-4]
        assert beside == pytest.approx(al.filters.delay(row), abs=1e-9)
        assert len(told) == (al.filters.delay(row) == pytest.approx(0.5))
        assert all(f"an even number of taps ({len(row)})" in text and "up and to the left" in text for text in told)
