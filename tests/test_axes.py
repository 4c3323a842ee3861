"""Axes, and whole numbers along them: the same answer for every spelling, one line for what is neither."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aliasing as al
from aliasing import axes, downsample, filters, layers, sampling, spectrum
from aliasing.downsample import comparison

X = torch.randn(1, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SIGNAL = X[0].numpy()

# Whole numbers --------------------------------------------------------------------------------------------------------

# Every function that takes a stride, kernel, size, phase, margin or number of taps, with 2 for it.
TAKES: dict[str, Callable[[Any], Any]] = {
    "nyquist": sampling.nyquist,
    "fold": lambda n: sampling.fold([0.1, 0.3], n),
    "folding_map": lambda n: sampling.folding_map(16, n),
    "folding_map, size": lambda n: sampling.folding_map(n, 2),
    "sampling.subsample": lambda n: sampling.subsample(SIGNAL, n),
    "sampling.subsample, phase": lambda n: sampling.subsample(SIGNAL, 4, n),
    "polyphase": lambda n: sampling.polyphase(SIGNAL, n),
    "upsample_zeros": lambda n: sampling.upsample_zeros(SIGNAL, n),
    "upsample_zeros, phase": lambda n: sampling.upsample_zeros(SIGNAL, 4, n),
    "ideal_lowpass": lambda n: sampling.ideal_lowpass(SIGNAL, n),
    "decompose": lambda n: sampling.decompose(SIGNAL, n).alias,
    "decompose, phase": lambda n: sampling.decompose(SIGNAL, 4, n).alias,
    "equivariance_error": lambda n: sampling.equivariance_error(lambda x: x[..., ::2, ::2], SIGNAL, [(1, 0)], n),
    "equivariance_error, margin": lambda n: sampling.equivariance_error(lambda x: x, SIGNAL, [(0.5, 0)], margin=n),
    "shiftability": lambda n: sampling.shiftability(lambda x: x[..., ::2, ::2], SIGNAL, n),
    "radial_profile": lambda n: spectrum.radial_profile(SIGNAL, n)[1],
    "directional_profile": lambda n: spectrum.directional_profile(SIGNAL, n)[1],
    **{f"{name}, taps": family for name, family in filters.FAMILIES.items()},
    **{f"{name}, stride": lambda n, make=family: make(8, n) for name, family in filters.FAMILIES.items()},
    "get_taps": lambda n: filters.get_taps("binomial4", n),
    "stopband_share": lambda n: filters.stopband_share("binomial4", n),
    "passband_share": lambda n: filters.passband_share("binomial4", n),
    "imaging_fraction": lambda n: filters.imaging_fraction("binomial4", n),
    "subsample": lambda n: downsample.subsample(X, n),
    "max_pool": lambda n: downsample.max_pool(X, n),
    "max_pool, kernel": lambda n: downsample.max_pool(X, 2, n),
    "average_pool": lambda n: downsample.average_pool(X, n),
    "average_pool, kernel": lambda n: downsample.average_pool(X, 2, n),
    "convolve": lambda n: downsample.convolve(X, torch.ones(3, 3), n),
    "area_resize": lambda n: downsample.area_resize(X, n),
    "linear_resize": lambda n: downsample.linear_resize(X, n),
    "blur_pool": lambda n: downsample.blur_pool(X, n),
    "low_pass": lambda n: downsample.low_pass(X, n),
    "max_blur_pool": lambda n: downsample.max_blur_pool(X, n),
    "max_blur_pool, kernel": lambda n: downsample.max_blur_pool(X, 2, kernel=n),
    "fourier_pool": lambda n: downsample.fourier_pool(X, n),
    "fourier_low_pass": lambda n: downsample.fourier_low_pass(X, n),
    "polyphase_pool": lambda n: downsample.polyphase_pool(X, n),
    "largest_phase": lambda n: downsample.largest_phase(X, n),
    "blur_upsample": lambda n: downsample.blur_upsample(X, n),
    "Subsample2d": lambda n: layers.Subsample2d(n)(X),
    "BlurPool1d": lambda n: layers.BlurPool1d(n)(X[0]),
    "BlurPool2d": lambda n: layers.BlurPool2d(n)(X),
    "BlurPool3d": lambda n: layers.BlurPool3d(n)(X.unflatten(3, (4, 4))),
    "MaxBlurPool2d": lambda n: layers.MaxBlurPool2d(n)(X),
    "MaxBlurPool2d, kernel": lambda n: layers.MaxBlurPool2d(kernel=n)(X),
    "FourierPool2d": lambda n: layers.FourierPool2d(n)(X),
    "PolyphasePool2d": lambda n: layers.PolyphasePool2d(n)(X),
    "BlurUpsample2d": lambda n: layers.BlurUpsample2d(n)(X),
    "compare": lambda n: comparison.compare(SIGNAL, "blur", n).dense,
    "prepare": lambda n: comparison.prepare(np.zeros((16, 16, 3), np.uint8), n),
}
# One number, along one axis or for both; the others take one an axis too.
ONE = {"fold", "folding_map", "folding_map, size", "equivariance_error, margin", "radial_profile", "compare", "prepare"}
ONE |= {"directional_profile", "get_taps", "stopband_share", "passband_share", "imaging_fraction", "BlurPool1d"}
ONE |= {name for name in TAKES if name.split(",")[0] in filters.FAMILIES}


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_numpys_integers_are_integers(name: str, kind: type) -> None:
    np.testing.assert_array_equal(TAKES[name](kind(2)), TAKES[name](2))


@pytest.mark.parametrize("name", sorted(TAKES.keys() - ONE - {"BlurPool3d"}))
def test_a_tuple_a_list_and_an_array_are_one_number_an_axis(name: str) -> None:
    expected = TAKES[name]((2, 2))
    if name != "nyquist":
        np.testing.assert_array_equal(expected, TAKES[name](2))
    for several in ([2, 2], np.array([2, 2]), (np.int64(2), 2)):
        np.testing.assert_array_equal(TAKES[name](several), expected)


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("wrong", [True, np.True_, 2.0, np.float64(2), "2", None, -1, (2, 2, 2, 2), np.array(2.0)])
def test_what_is_no_whole_number_is_refused_in_one_line(name: str, wrong: Any) -> None:
    if wrong is None and name in {"equivariance_error", "shiftability", "MaxBlurPool2d, kernel"}:
        pytest.skip("None is the default")
    if wrong is None and name.endswith("pool, kernel"):
        pytest.skip("None is the default")
    if name == "nyquist" and isinstance(wrong, tuple):
        pytest.skip("any number of axes")
    with pytest.raises(al.errors.UsageError) as caught:
        TAKES[name](wrong)
    assert "\n" not in str(caught.value)
    assert "whole number" in str(caught.value)


def test_nyquist_answers_per_axis_and_one_axis_takes_one_stride() -> None:
    assert sampling.nyquist(4) == 0.125
    assert sampling.nyquist((2, 4)) == (0.25, 0.125)
    assert sampling.nyquist(np.array([2])) == (0.25,)
    for call in (lambda: sampling.fold(0.3, (2, 4)), lambda: sampling.folding_map(8, (2, 4))):  # type: ignore[arg-type]
        with pytest.raises(al.errors.UsageError, match="along one axis"):
            call()


# Axes -----------------------------------------------------------------------------------------------------------------

# Functions whose result has the axes of the signal, or none of them.
KEEPS: dict[str, Callable[..., Any]] = {
    "subsample": lambda x, axes: sampling.subsample(x, 2, 1, axes=axes),
    "upsample_zeros": lambda x, axes: sampling.upsample_zeros(x, 2, 1, axes=axes),
    "ideal_lowpass": lambda x, axes: sampling.ideal_lowpass(x, 2, axes=axes),
    "baseband": lambda x, axes: sampling.decompose(x, 2, 1, axes=axes).baseband,
    "alias": lambda x, axes: sampling.decompose(x, 2, 1, axes=axes).alias,
    "shift": lambda x, axes: sampling.shift(x, (1.5, -2) if np.ndim(axes) else 1.5, axes=axes),
    "centred": spectrum.centred,
    "magnitude": spectrum.magnitude,
    "log_magnitude": lambda x, axes: spectrum.log_magnitude(x, axes=axes),
    "power": spectrum.power,
    "power, onesided": lambda x, axes: spectrum.power(x, axes, onesided=True),
    "phase": spectrum.phase,
    "hann": spectrum.hann,
    "periodic": spectrum.periodic,
}
REDUCES: dict[str, Callable[..., Any]] = {
    "alias_fraction": lambda x, axes: sampling.decompose(x, 2, axes=axes).alias_fraction,
    "baseband_kept": lambda x, axes: sampling.decompose(x, 2, axes=axes, before=x + x**2).baseband_kept,
    "polyphase": lambda x, axes: sampling.polyphase(x, 2, axes=axes),
    "energy_above": lambda x, axes: spectrum.energy_above(x, 0.25, axes=axes),
    "energy_above, disc": lambda x, axes: spectrum.energy_above(x, 0.25, "disc", axes=axes),
    "radial_profile": lambda x, axes: spectrum.radial_profile(x, 5, axes=axes)[1],
    "power_law": lambda x, axes: spectrum.power_law(x, axes=axes).slope,
}
TWO = {"directional_profile": lambda x, axes: spectrum.directional_profile(x, 5, axes=axes)[1]}


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("name", KEEPS | REDUCES | TWO)
def test_a_picture_with_its_channels_last_is_the_transposed_call(name: str, as_torch: bool) -> None:
    photograph = np.random.default_rng(0).normal(size=(16, 12, 3))
    channels_first = np.ascontiguousarray(photograph.transpose(2, 0, 1))
    function = (KEEPS | REDUCES | TWO)[name]
    x = torch.from_numpy(photograph) if as_torch else photograph
    found, expected = np.asarray(function(x, (0, 1))), function(channels_first, (-2, -1))
    # The same transforms of the same values, in another order of memory: 64 eps of values up to about 50.
    found_first = np.moveaxis(found, -1, 0) if name in KEEPS else found
    if name == "phase":
        found_first, expected = np.exp(1j * found_first), np.exp(1j * expected)  # π and −π are one
    np.testing.assert_allclose(found_first, expected, atol=1e-12)
    # Axes from the front and from the end, in any order of memory, are the same.
    np.testing.assert_allclose(np.asarray(function(x, (-3, -2))), found, atol=0)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", KEEPS | REDUCES)
def test_one_dimension_is_a_picture_of_one_row(name: str, axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(14, 18))
    row = np.moveaxis(x, axis, -1)
    found = (KEEPS | REDUCES)[name](x, axis)
    found = np.moveaxis(found, axis, -1) if name in KEEPS else found
    two = {
        "subsample": lambda x, axes: sampling.subsample(x, (1, 2), (0, 1)),
        "upsample_zeros": lambda x, axes: sampling.upsample_zeros(x, (1, 2), (0, 1)),
        "ideal_lowpass": lambda x, axes: sampling.ideal_lowpass(x, (1, 2)),
        "baseband": lambda x, axes: sampling.decompose(x, (1, 2), (0, 1)).baseband,
        "alias": lambda x, axes: sampling.decompose(x, (1, 2), (0, 1)).alias,
        "shift": lambda x, axes: sampling.shift(x, (0, 1.5)),
        "alias_fraction": lambda x, axes: sampling.decompose(x, (1, 2)).alias_fraction,
        "baseband_kept": lambda x, axes: sampling.decompose(x, (1, 2), before=x + x**2).baseband_kept,
        "polyphase": lambda x, axes: sampling.polyphase(x, (1, 2))[:, 0, :, 0],
        "power_law": lambda x, axes: spectrum.power_law(x, low=2 / x.shape[-1]).slope,
    }.get(name, (KEEPS | REDUCES)[name])(row[:, None, :], (-2, -1))
    np.testing.assert_allclose(found, two[:, 0] if name in KEEPS else two, atol=1e-12)


@given(st.permutations(range(4)), st.integers(1, 3))
def test_any_order_of_axes_is_the_transposed_array(order: list[int], count: int) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 7))
    chosen, turned = tuple(order[-count:]), x.transpose(order)
    here, there = sampling.decompose(x, 2, axes=chosen), sampling.decompose(turned, 2, axes=tuple(range(-count, 0)))
    np.testing.assert_allclose(here.alias.transpose(order), there.alias, atol=1e-13)
    # What is left is in the order of x: that of the sorted rest.
    rest = order[:-count]
    np.testing.assert_allclose(here.alias_fraction, there.alias_fraction.transpose(np.argsort(rest)), atol=1e-13)


# A photograph that nobody has announced -------------------------------------------------------------------------------

PHOTOGRAPH = np.random.default_rng(0).random((48, 64, 3))


@pytest.mark.parametrize("as_torch", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", KEEPS | REDUCES | TWO)
def test_a_photograph_is_not_taken_for_its_rows(name: str, channels: int, as_torch: bool) -> None:
    x = np.random.default_rng(0).random((48, 64, channels))
    with pytest.raises(al.errors.UsageError, match=r"axes=\(0, 1\)") as caught:
        (KEEPS | REDUCES | TWO)[name](torch.from_numpy(x) if as_torch else x, (-2, -1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in TAKES if name in downsample.__all__])
def test_nor_by_an_operator(name: str) -> None:
    photograph = torch.from_numpy(PHOTOGRAPH)
    function = getattr(downsample, name)
    more = [torch.ones(3, 3)] if name == "convolve" else [2] if name.endswith("resize") else []
    with pytest.raises(al.errors.UsageError, match=r"permute\(2, 0, 1\)"):
        function(photograph, *more)
    assert function(photograph.permute(2, 0, 1), *more) is not None


def test_pixels_as_they_are_read_are_refused_too() -> None:
    pixels = (255 * PHOTOGRAPH).astype(np.uint8)
    for call in (sampling.subsample, sampling.polyphase, sampling.upsample_zeros):
        with pytest.raises(al.errors.UsageError, match="channels last"):
            call(pixels, 2)
    assert sampling.subsample(pixels, 2, axes=(0, 1)).shape == (24, 32, 3)


@pytest.mark.parametrize(
    "shape", [(3, 48, 64), (10, 48, 64, 3), (8, 16, 4, 4), (64, 4, 4), (64, 7, 3), (2, 9, 3), (48, 3), (3, 3, 3)]
)
def test_honest_signals_are_taken(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    assert sampling.decompose(x, 2).alias_fraction.shape == shape[:-2]
    assert spectrum.power(x).shape == shape
    # And a stack of narrow pictures, if one says that it is one.
    assert sampling.decompose(PHOTOGRAPH, 2, axes=(1, 2)).alias_fraction.shape == (48,)


@pytest.mark.parametrize("wrong", [2, (0, 0), (0, -2), (0, 5), (), (0.0, 1), True, (-3, -1)])
def test_axes_that_are_not_there_are_one_line(wrong: Any) -> None:
    with pytest.raises(al.errors.UsageError) as caught:
        sampling.decompose(np.ones((8, 9)), 2, axes=wrong)
    assert "\n" not in str(caught.value)


def test_errors_are_reachable_without_an_import() -> None:
    assert issubclass(al.errors.InputError, ValueError)
    assert axes.channels_last(PHOTOGRAPH.shape)
