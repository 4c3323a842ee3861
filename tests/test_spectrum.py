"""Spectra: Parseval, closed forms, and one implementation for NumPy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aliasing import spectrum

SIZES = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31])
DTYPES = st.sampled_from(["float32", "float64", "complex64", "complex128"])


def signal(shape, dtype="float64", seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    if dtype.startswith("complex"):
        x = x + 1j * random.normal(size=shape)
    return x.astype(dtype)


def rounding(dtype):
    """A unitary transform of N values is exact to a few eps · log₂ N of the norm; 64 eps covers N up to 1000."""
    return 64 * np.finfo(dtype).eps


@given(SIZES, SIZES, DTYPES, st.booleans())
def test_parseval(height, width, dtype, as_torch):
    x = signal((2, 3, height, width), dtype)
    given_x = torch.from_numpy(x) if as_torch else x
    power = spectrum.power(given_x)
    assert type(power) is type(given_x)
    assert str(power.dtype).removeprefix("torch.") == ("float32" if dtype in ("float32", "complex64") else "float64")
    energy = (abs(x.astype(complex)) ** 2).sum((-2, -1))
    np.testing.assert_allclose(np.asarray(power).sum((-2, -1)), energy, rtol=rounding(dtype))


@given(SIZES, SIZES, st.sampled_from(["float32", "float64"]))
def test_onesided_power_is_the_power_folded_onto_non_negative_columns(height, width, dtype):
    x = signal((2, height, width), dtype)
    two, one = spectrum.power(x), spectrum.power(x, onesided=True)
    assert one.shape == (2, height, width // 2 + 1)
    np.testing.assert_allclose(one.sum((-2, -1)), two.sum((-2, -1)), rtol=rounding(dtype))
    f_x = spectrum.frequencies(x)[1]
    for column, frequency in enumerate(spectrum.frequencies(x, onesided=True)[1]):
        folded = two[..., np.isclose(abs(f_x), frequency)].sum((-2, -1))
        np.testing.assert_allclose(one[..., column].sum(-1), folded, rtol=2 * rounding(dtype), atol=rounding(dtype))


@given(SIZES, SIZES)
def test_centred_is_numpys_transform(height, width):
    x = signal((height, width))
    expected = np.fft.fftshift(np.fft.fft2(x)) / np.sqrt(height * width)
    np.testing.assert_allclose(spectrum.centred(x), expected, atol=rounding("float64") * np.sqrt(x.size))
    np.testing.assert_allclose(spectrum.magnitude(x), abs(expected), atol=rounding("float64") * np.sqrt(x.size))


@pytest.mark.parametrize("size", [(8, 9), (7, 16)])
def test_frequencies_are_those_of_the_spectrum(size):
    for f, n in zip(spectrum.frequencies(np.zeros(size)), size, strict=True):
        np.testing.assert_allclose(f, np.fft.fftshift(np.fft.fftfreq(n)), atol=1e-16)
    # A cosine of k periods has its two lines exactly at ±k/N.
    k = 3
    wave = np.cos(2 * np.pi * k * np.arange(size[1]) / size[1]) * np.ones((size[0], 1))
    power = spectrum.power(wave)
    lines = {(round(f_y, 9), round(f_x, 9)) for f_y, f_x in zip(*peaks(wave, power), strict=True)}
    assert lines == {(0, round(-k / size[1], 9)), (0, round(k / size[1], 9))}


def peaks(x, power):
    f_y, f_x = spectrum.frequencies(x)
    row, column = np.nonzero(power > 1e-9 * power.sum())
    return f_y[row], f_x[column]


def test_log_magnitude_has_a_floor_and_no_log_of_zero():
    with np.errstate(all="raise"):
        decibels = spectrum.log_magnitude(np.ones((4, 4)), floor=-80)
        assert decibels.max() == 0
        assert np.sort(decibels.ravel())[:-1].max() == -80
        np.testing.assert_array_equal(spectrum.log_magnitude(np.zeros((4, 4)), floor=-80), -80)
    # A tenth of the amplitude is 20 dB less, against a reference of one's own.
    one = spectrum.log_magnitude(np.ones((4, 4)), reference=4.0)
    assert one.max() == pytest.approx(0, abs=1e-12)
    assert spectrum.log_magnitude(np.ones((4, 4)) / 10, reference=4.0).max() == pytest.approx(-20, abs=1e-12)


def test_phase_of_a_shifted_cosine():
    n, k, angle = 16, 3, 0.7
    wave = np.cos(2 * np.pi * k * np.arange(n) / n + angle)[None]
    phase = spectrum.phase(wave)[0]
    assert phase[n // 2 + k] == pytest.approx(angle, abs=1e-12)
    assert phase[n // 2 - k] == pytest.approx(-angle, abs=1e-12)


def test_radial_profile_of_white_noise_is_flat_and_of_a_cosine_a_line():
    x = signal((64, 128, 128))
    frequency, power = spectrum.radial_profile(x, bins=16)
    assert frequency[0] == 0.5 / 32
    assert frequency[-1] == 0.5 - 0.5 / 32
    # Power of one frequency is exponential with mean 1 (each pair ±f counts once), so a ring's mean over m frequencies
    # has a standard deviation of √(2/m); the smallest ring here has m ≥ 64 · 40.
    assert abs(power.mean(0) - 1).max() < 5 * np.sqrt(2 / (64 * 40))
    wave = np.cos(2 * np.pi * 0.25 * np.arange(64)) * np.ones((64, 1))
    frequency, power = spectrum.radial_profile(wave, bins=10)
    assert frequency[power.argmax()] == pytest.approx(0.275)  # 0.25 is the lower edge of its ring
    # A ring without frequencies is NaN, not zero.
    assert np.isnan(spectrum.radial_profile(signal((4, 4)), bins=64)[1]).any()


def test_directional_profile_finds_the_direction_of_a_wave():
    y, x = np.mgrid[:64, :64]
    for k_y, k_x in [(0, 5), (5, 0), (5, 5), (5, -5)]:
        wave = np.cos(2 * np.pi * (k_y * y + k_x * x) / 64)
        angle, power = spectrum.directional_profile(wave, bins=8)
        assert angle[power.argmax()] == pytest.approx(np.arctan2(k_y, k_x) % np.pi)
    # A direction belongs to the nearest middle, on either side: −7° to 0°, as 7° does.
    for k_y, k_x in [(-1, 8), (1, 8)]:
        _, power = spectrum.directional_profile(np.cos(2 * np.pi * (k_y * y + k_x * x) / 64), bins=8)
        assert power.argmax() == 0


@pytest.mark.parametrize("slope", [-1.0, -2.0, -3.0])
@pytest.mark.parametrize("shape", [(128, 128), (97, 128)])
def test_power_law_of_noise_made_with_that_law(slope, shape):
    x = signal((20, *shape))
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    f[0, 0] = 1
    coloured = np.fft.ifft2(np.fft.fft2(x) * f ** (slope / 2)).real
    fit = spectrum.power_law(coloured)
    assert fit.slope.shape == fit.error.shape == fit.log_power.shape == (20,)
    # The error that the fit gives is the scatter of the slopes, within the χ distribution of 20 of them (a factor of
    # 1.6 is beyond 99.9 %), and the mean is unbiased within four of its standard errors. Rings of few frequencies have
    # a biased logarithm (−0.06 for 8 of them), hence the 0.03.
    assert abs(fit.slope.mean() - slope) < 4 * fit.slope.std() / np.sqrt(20) + 0.03
    assert 1 / 1.8 < fit.error.mean() / fit.slope.std() < 1.8


def test_power_law_of_an_exact_law_has_no_error():
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
    f[0, 0] = 1
    exact = 256 * np.fft.ifft2(1 / f).real  # the transform is unitary
    fit = spectrum.power_law(exact)
    # Rings have a width: the mean of f⁻² in one is not quite f⁻² at its mean log frequency.
    assert fit.slope == pytest.approx(-2, abs=0.01)
    assert fit.error < 0.01
    assert np.exp(fit.log_power) == pytest.approx(1, rel=0.05)


def test_energy_above():
    y, x = np.mgrid[:32, :32]
    diagonal = np.cos(2 * np.pi * (6 * y + 6 * x) / 32)  # 0.1875 along each axis, 0.265 along the diagonal
    assert spectrum.energy_above(diagonal, 0.2) == pytest.approx(0, abs=1e-12)
    assert spectrum.energy_above(diagonal, 0.2, region="disc") == pytest.approx(1)
    # Exactly at the cutoff counts as above, also where 1/(2s) is no binary fraction.
    for n, s in [(12, 3), (10, 5), (36, 6), (28, 7)]:
        wave = np.cos(2 * np.pi * (n // (2 * s)) * np.arange(n) / n)[None]
        assert spectrum.energy_above(wave, 1 / (2 * s)) == pytest.approx(1)
    assert spectrum.energy_above(np.zeros((4, 4)), 0.25) == 0
    # A constant's energy is all at zero.
    assert spectrum.energy_above(np.ones((3, 5, 7)), 1e-9) == pytest.approx(0, abs=1e-12)
    assert spectrum.energy_above(np.ones((3, 5, 7)), 0) == pytest.approx(1)


@given(SIZES, SIZES)
def test_hann_keeps_the_energy_of_white_noise(height, width):
    ones = spectrum.hann(np.ones((height, width)))
    assert (ones**2).mean() == pytest.approx(1, rel=1e-12)


def test_hann_spreads_a_constant_over_its_neighbours_only():
    power = spectrum.power(spectrum.hann(np.ones((8, 9))))
    f_y, f_x = peaks(np.ones((8, 9)), power)
    assert len(f_y) == 9
    assert abs(f_y).max() == pytest.approx(1 / 8)
    assert abs(f_x).max() == pytest.approx(1 / 9)


@given(SIZES, SIZES, DTYPES)
def test_periodic_part_of_moisan(height, width, dtype):
    x = signal((2, height, width), dtype)
    part = spectrum.periodic(x)
    assert part.dtype == x.dtype
    scale = abs(x).max() * rounding(dtype) * 8  # the inverse Laplacian amplifies by up to N²/40 < 25 at these sizes
    np.testing.assert_allclose(part.mean((-2, -1)), x.mean((-2, -1)), atol=scale)

    # Its defining equation: its periodic Laplacian is the Laplacian of x that ignores pairs across the edges.
    def laplacian(u):
        return sum(np.roll(u, step, axis) - u for step in (1, -1) for axis in (-2, -1))

    inner = np.zeros_like(x)
    inner[:, 1:] += x[:, :-1] - x[:, 1:]
    inner[:, :-1] += x[:, 1:] - x[:, :-1]
    inner[..., 1:] += x[..., :-1] - x[..., 1:]
    inner[..., :-1] += x[..., 1:] - x[..., :-1]
    np.testing.assert_allclose(laplacian(part), inner, atol=8 * scale)


def test_periodic_part_takes_away_the_cross():
    y, x = np.mgrid[:64, :64] / 64
    ramp = 3 * x + 2 * y
    cross = spectrum.energy_above(ramp - ramp.mean(), 0.25)
    part = spectrum.periodic(ramp)
    assert ((part - part.mean()) ** 2).sum() < 0.02 * ((ramp - ramp.mean()) ** 2).sum()
    assert cross > 0.005


FUNCTIONS = [
    spectrum.centred,
    spectrum.magnitude,
    spectrum.log_magnitude,
    spectrum.power,
    lambda x: spectrum.phase(x) ** 2,  # −π and π are one phase
    lambda x: spectrum.radial_profile(x, 5)[1],
    lambda x: spectrum.directional_profile(x, 5)[1],
    lambda x: spectrum.power_law(x, bins=5).slope,
    lambda x: spectrum.power_law(x, bins=5).error,
    lambda x: spectrum.energy_above(x, 0.2),
    lambda x: spectrum.frequencies(x)[0],
    spectrum.hann,
    spectrum.periodic,
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_torch_and_numpy_agree_and_dtype_is_kept(function, dtype):
    x = signal((2, 3, 12, 15), dtype)
    ours, theirs = function(x), function(torch.from_numpy(x))
    assert isinstance(theirs, torch.Tensor)
    assert str(theirs.dtype).removeprefix("torch.") == str(ours.dtype)
    assert np.finfo(ours.dtype).eps == np.finfo(x.dtype).eps
    # The phase and the logarithm amplify rounding where |X| is small: 1e4 eps is their condition for this signal.
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e4 * np.finfo(dtype).eps, atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f is not FUNCTIONS[-3]])
@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        ([[1.0, 2.0]], TypeError, "list"),
        ("photo.png", TypeError, "str"),
        (np.ones((4, 4), dtype=np.uint8), TypeError, "uint8"),
        (torch.ones(4, 4, dtype=torch.bfloat16), TypeError, "bfloat16"),
        (np.array(4.0), ValueError, "shape"),
        (np.ones((3, 0, 4)), ValueError, "shape"),
    ],
)
def test_wrong_input_is_one_line(function, x, error, says):
    with pytest.raises(error, match=says) as caught:
        function(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("as_torch", [False, True])
def test_nan_and_infinity_are_refused(bad, as_torch):
    x = np.ones((2, 5, 6))
    x[1, 2, 3] = bad
    x = torch.from_numpy(x) if as_torch else x
    for function in (spectrum.power, spectrum.log_magnitude, lambda x: spectrum.power(x, onesided=True)):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="NaN or infinity"):
            function(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: spectrum.energy_above(x, 0.25, region="circle"),
        lambda x: spectrum.energy_above(x, -1),
        lambda x: spectrum.radial_profile(x, bins=0),
        lambda x: spectrum.power_law(x, low=0.4, high=0.3),
        lambda x: spectrum.power_law(x[:4, :4]),
        lambda x: spectrum.log_magnitude(x, reference=0),
    ],
)
def test_wrong_arguments_are_one_line(call):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the messages differ
        call(np.ones((16, 16)))
    assert "\n" not in str(caught.value)


def test_gradient_of_the_power_is_that_of_the_energy():
    x = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    spectrum.power(x).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
