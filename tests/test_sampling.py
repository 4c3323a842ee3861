"""Sampling: exact identities over sizes, strides, phases and dtypes; the theory of cosines and white noise."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from aliasing import sampling, spectrum

SIZES = st.integers(1, 17)
STRIDES = st.integers(1, 5)
DTYPES = st.sampled_from(["float32", "float64", "complex64", "complex128"])


def signal(shape, dtype="float64", seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    if dtype.startswith("complex"):
        x = x + 1j * random.normal(size=shape)
    return x.astype(dtype)


def rounding(dtype):
    """Transforms of at most 17 values and a few sums: 32 eps of the largest value, about 4."""
    return 128 * np.finfo(dtype).eps


def kind(x, as_torch):
    return torch.from_numpy(x) if as_torch else x


# Samples -------------------------------------------------------------------------------------------------------------


@given(SIZES, SIZES, st.tuples(STRIDES, STRIDES), st.data())
def test_subsample_is_the_slice(height, width, stride, data):
    x = signal((2, height, width))
    phase = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    expected = x[:, phase[0] :: stride[0], phase[1] :: stride[1]]
    np.testing.assert_array_equal(sampling.subsample(x, stride, phase), expected)


@given(st.integers(1, 6), st.integers(1, 6), st.tuples(STRIDES, STRIDES), st.data())
def test_upsampling_is_the_transpose_of_subsampling(height, width, stride, data):
    """<subsample(x), y> = <x, upsample(y)>."""
    x = signal((height * stride[0], width * stride[1]))
    phase = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    y = signal((height, width), seed=1)
    assert (sampling.subsample(x, stride, phase) * y).sum() == pytest.approx(
        (x * sampling.upsample_zeros(y, stride, phase)).sum(), abs=1e-12
    )


def test_samples_of_any_dtype():
    x = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for y in (
        sampling.subsample(x, 2),
        sampling.polyphase(x, 2),
        sampling.upsample_zeros(x, 2),
        sampling.shift(x, (1, 2)),
    ):
        assert y.dtype == np.uint8


# Folding -------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 8), STRIDES)
def test_the_map_says_the_same_as_the_formula(size, stride):
    f = spectrum.axis_frequencies(size * stride)
    expected = spectrum.axis_frequencies(size)[sampling.folding_map(size * stride, stride)]
    np.testing.assert_allclose(sampling.fold(f, stride), expected, atol=1e-12)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("k", range(1, 30))
def test_a_cosine_comes_out_at_the_frequency_and_amplitude_of_theory(stride, k):
    size, angle = 60, 0.4
    n = np.arange(size)
    x = 1.5 * np.cos(2 * np.pi * k / size * n + angle) * np.ones((size, 1)) + 7
    parts = sampling.decompose(x, stride)
    frequency = sampling.fold(k / size, stride)
    # Folding to a negative frequency is the same cosine, its phase turned round: cos is even.
    expected = 1.5 * np.cos(2 * np.pi * frequency * np.arange(size // stride) + angle)
    samples = sampling.subsample(x, stride)
    np.testing.assert_allclose(samples[0] - 7, expected, atol=1e-12)
    folds = k / size >= sampling.nyquist(stride)
    assert parts.alias_fraction == pytest.approx(float(folds), abs=1e-12)
    np.testing.assert_allclose(parts.alias[0], expected if folds else 0 * expected, atol=1e-12)
    np.testing.assert_allclose(parts.baseband[0], 7 + (0 if folds else expected), atol=1e-12)
    power = spectrum.power(parts.alias if folds else parts.baseband - 7)
    f_x = spectrum.frequencies(samples)[1]
    line = abs(abs(f_x) - abs(frequency)) < 1e-9
    assert power[:, line].sum() == pytest.approx(power.sum())


@given(st.data(), st.integers(1, 3), st.sampled_from(["float32", "float64"]), st.booleans())
def test_a_tone_along_any_axes_folds_to_the_closed_form_in_hertz(data, count, dtype, as_torch):
    """A plane wave along one to three axes of an array of four, in any order, with a stride, phase and rate an axis."""

    def one_each(values):
        return data.draw(st.tuples(*[values] * count))

    axes = data.draw(st.permutations(range(4)))[:count]
    strides, rates = one_each(st.integers(2, 5)), one_each(st.sampled_from([1.0, 0.25, 16000.0]))
    sizes = [cells * stride for cells, stride in zip(one_each(st.integers(3, 5)), strides, strict=True)]
    periods = [data.draw(st.integers(-size // 2, size // 2)) for size in sizes]
    phases = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    assume(any(periods))
    hertz = [k / size * rate for k, size, rate in zip(periods, sizes, rates, strict=True)]
    folded = [sampling.fold(f, stride, rate) for f, stride, rate in zip(hertz, strides, rates, strict=True)]
    slow = [rate / stride for rate, stride in zip(rates, strides, strict=True)]

    def wave(frequencies, rates, lengths, angle):
        shape, argument = [2, 3, 2, 3], np.full((1, 1, 1, 1), angle)
        for axis, frequency, rate, length in zip(axes, frequencies, rates, lengths, strict=True):
            shape[axis] = length
            along = 2 * np.pi * frequency * np.arange(length) / rate
            argument = argument + np.expand_dims(along, tuple({0, 1, 2, 3} - {axis}))
        return np.broadcast_to(1.5 * np.cos(argument), shape)

    x = kind(wave(hertz, rates, sizes, 0.4).astype(dtype), as_torch)
    later = 0.4 + sum(2 * np.pi * f * phase / rate for f, phase, rate in zip(hertz, phases, rates, strict=True))
    expected = wave(folded, slow, [size // stride for size, stride in zip(sizes, strides, strict=True)], later)
    parts = sampling.decompose(x, strides, phases, axes=axes)
    folds = any(2 * stride * abs(k) >= size for stride, k, size in zip(strides, periods, sizes, strict=True))
    # The angle, up to 200, is right to eps of itself; three transforms of 25 values at most are as exact.
    atol = 400 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(sampling.subsample(x, strides, phases, axes=axes)), expected, atol=atol)
    np.testing.assert_allclose(np.asarray(parts.alias), expected if folds else 0 * expected, atol=atol)
    np.testing.assert_allclose(np.asarray(parts.baseband), 0 * expected if folds else expected, atol=atol)
    np.testing.assert_allclose(np.asarray(parts.alias_fraction), float(folds), atol=atol)
    power, energy = np.asarray(spectrum.power(x, axes, rates)), np.asarray(x).astype(float) ** 2
    np.testing.assert_allclose(power.sum(tuple(axes)), energy.sum(tuple(axes)), rtol=atol)


# Decompose -----------------------------------------------------------------------------------------------------------


@given(SIZES, SIZES, st.tuples(STRIDES, STRIDES), DTYPES, st.booleans(), st.data())
def test_baseband_and_alias_add_up_to_the_samples(height, width, stride, dtype, as_torch, data):
    x = signal((2, height, width), dtype)
    phase = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    parts = sampling.decompose(kind(x, as_torch), stride, phase)
    samples = x[:, phase[0] :: stride[0], phase[1] :: stride[1]]
    assert str(parts.alias.dtype).removeprefix("torch.") == dtype
    # One subtraction and one addition: two roundings of the larger part.
    np.testing.assert_allclose(np.asarray(parts.baseband + parts.alias), samples, atol=2 * rounding(dtype))
    # By the definition: limit, then subsample.
    f_y, f_x = (abs(np.fft.fftfreq(n)) * (s > 1) for n, s in zip((height, width), stride, strict=True))  # 1 folds none
    mask = (f_y < 1 / (2 * stride[0]) - 1e-12)[:, None] & (f_x < 1 / (2 * stride[1]) - 1e-12)
    limited = np.fft.ifft2(np.fft.fft2(x) * mask)
    limited = limited if dtype.startswith("complex") else limited.real
    np.testing.assert_allclose(
        np.asarray(parts.baseband), limited[:, phase[0] :: stride[0], phase[1] :: stride[1]], atol=rounding(dtype)
    )
    deviation = x - x.mean((-2, -1), keepdims=True)
    energy = (abs(deviation) ** 2).sum((-2, -1))
    inside = limited - limited.mean((-2, -1), keepdims=True)
    if (energy > 1e-3).all():  # else the signal is constant
        fraction = 1 - (abs(inside) ** 2).sum((-2, -1)) / energy
        np.testing.assert_allclose(np.asarray(parts.alias_fraction), fraction, atol=4 * rounding(dtype))


@pytest.mark.parametrize(("size", "stride"), [(64, 2), (64, 4), (63, 2), (45, 3)])
def test_alias_fraction_of_white_noise(size, stride):
    images = 400
    x = signal((images, size, size))
    kept = sum(abs(k) / size < 1 / (2 * stride) for k in range(-size, size))
    expected = 1 - (kept**2 - 1) / (size**2 - 1)
    found = sampling.decompose(x, stride).alias_fraction
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / np.sqrt(images)
    # ... and that sampling error is small enough for the test to mean something.
    assert found.std(ddof=1) / np.sqrt(images) < 0.002


def test_a_constant_has_no_alias():
    for value in (0.0, 1.0, 1e6, 0.1):
        for dtype in ("float32", "float64"):
            parts = sampling.decompose(np.full((2, 14, 9), value, dtype=dtype), 2)
            assert (parts.alias_fraction == 0).all()
            assert (parts.baseband_kept == 1).all()
            np.testing.assert_allclose(parts.alias, 0, atol=value * rounding(dtype))


def test_baseband_kept():
    x = signal((3, 20, 20))
    half = sampling.decompose(x / 2, 2, before=x)
    np.testing.assert_allclose(half.baseband_kept, 1 / 4)
    np.testing.assert_allclose(half.alias_fraction, sampling.decompose(x, 2).alias_fraction)
    nothing = sampling.decompose(np.ones_like(x), 2, before=x)
    np.testing.assert_allclose(nothing.baseband_kept, 0)
    ideal = sampling.decompose(sampling.ideal_lowpass(x, 2), 2, before=x)
    np.testing.assert_allclose(ideal.baseband_kept, 1)
    np.testing.assert_allclose(ideal.alias_fraction, 0, atol=1e-12)


# Shift ---------------------------------------------------------------------------------------------------------------


FRACTIONS = st.floats(-3, 3).map(lambda d: round(d, 3))


@given(SIZES, SIZES, DTYPES, st.tuples(FRACTIONS, FRACTIONS), st.tuples(FRACTIONS, FRACTIONS), st.booleans())
def test_shifts_add_up_where_nothing_is_at_the_nyquist_frequency(height, width, dtype, first, second, as_torch):
    x = sampling.ideal_lowpass(kind(signal((2, height, width), dtype), as_torch), 1)
    twice = sampling.shift(sampling.shift(x, first), second)
    once = sampling.shift(x, (first[0] + second[0], first[1] + second[1]))
    assert twice.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(twice), np.asarray(once), atol=4 * rounding(dtype))
    # A shift keeps the energy of such a signal.
    np.testing.assert_allclose(
        (abs(np.asarray(once)) ** 2).sum(), (abs(np.asarray(x)) ** 2).sum(), rtol=rounding(dtype)
    )


@given(SIZES, SIZES, DTYPES, st.tuples(FRACTIONS, FRACTIONS), st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_shifts_add_up_where_one_is_whole(height, width, dtype, first, second):
    x = signal((2, height, width), dtype)
    for a, b in ((first, second), (second, first)):
        np.testing.assert_allclose(
            sampling.shift(sampling.shift(x, a), b),
            sampling.shift(x, (first[0] + second[0], first[1] + second[1])),
            atol=4 * rounding(dtype),
        )


def test_two_halves_of_the_nyquist_frequency_do_not_add_up():
    """The limit of the rule: cos²(π/2) = 0, not cos(π) = −1."""
    x = np.array([[1.0, -1.0, 1.0, -1.0]])
    assert abs(sampling.shift(x, (0, 0.5))).max() < 1e-15
    np.testing.assert_array_equal(sampling.shift(x, (0, 1)), -x)


@given(st.integers(3, 17), FRACTIONS, st.integers(0, 8))
def test_a_shifted_cosine_is_the_cosine_of_shifted_places(size, distance, k):
    assume(2 * k < size)
    n = np.arange(size)
    x = np.cos(2 * np.pi * k * n / size + 0.3) * np.ones((2, 1))
    expected = np.cos(2 * np.pi * k * (n - distance) / size + 0.3)
    np.testing.assert_allclose(sampling.shift(x, (0.25, distance))[1], expected, atol=1e-13)


@given(SIZES, SIZES, st.tuples(FRACTIONS, FRACTIONS))
def test_real_stays_real_and_agrees_with_the_complex_shift(height, width, by):
    x = signal((height, width))
    moved = sampling.shift(x, by)
    as_complex = sampling.shift(x.astype(complex), by)
    np.testing.assert_allclose(moved, as_complex.real, atol=1e-13)
    np.testing.assert_allclose(as_complex.imag, 0, atol=1e-13)


# Equivariance --------------------------------------------------------------------------------------------------------


def test_subsampling_alone_is_not():
    x = signal((64, 30, 30))
    errors = sampling.equivariance_error(lambda x: sampling.subsample(x, 2), x, [(1, 1), (2, 2)])
    # At an odd shift the samples are unrelated to those before: the squared distance of two independent signals of unit
    # energy is 2, to within 1 / √(64 · 225) each.
    assert errors[0] == pytest.approx(2, abs=5 * 2 / np.sqrt(64 * 225))
    assert errors[1] == 0
    assert sampling.shiftability(lambda x: sampling.subsample(x, 2), x) == pytest.approx(-0.5, abs=0.1)


def test_equivariance_of_a_torch_network_on_circular_padding():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), torch.nn.ReLU(), torch.nn.AvgPool2d(2)
    ).double()
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    with torch.no_grad():
        errors = sampling.equivariance_error(network, x, [(0, 0), (2, 4), (1, 0)])
    assert errors[0] == 0
    assert errors[1] < 1e-25
    assert 0.001 < errors[2] < 1


def test_the_shift_of_the_output_is_divided_along_each_axis_by_its_own_stride():
    x = sampling.ideal_lowpass(signal((24, 24)), (2, 3))
    errors = sampling.equivariance_error(lambda x: sampling.subsample(x, (2, 3)), x, [(2, 3), (1, 2), (0, 1), (5, 1)])
    assert errors.max() < rounding("float64") ** 2


def test_a_mean_does_not_make_the_error_small():
    """Relative to the energy about the mean, an error is the same on a grey image as on a black one."""
    x = signal((30, 30))
    black, grey = (
        sampling.equivariance_error(lambda x: sampling.subsample(x, 2), x + mean, [(1, 0)])[0] for mean in (0, 100)
    )
    assert grey == pytest.approx(black, rel=1e-10)  # squares of 100, of 1e-16 each, in differences of 1


def test_margin_leaves_out_the_border():
    x = signal((12, 12))

    def operator(x):
        y = x.copy()
        y[0] = y[-1] = 0  # a border that does not move
        y[:, 0] = y[:, -1] = 0
        return y

    errors = [sampling.equivariance_error(operator, x, [(1, 1)], margin=margin)[0] for margin in (0, 1, 2)]
    assert errors[0] > 0.1
    assert errors[1] > 0.1  # the border row has moved inside
    assert errors[2] == 0


# Errors --------------------------------------------------------------------------------------------------------------

X = np.ones((8, 8))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: sampling.subsample(X, 0), ValueError),
        (lambda: sampling.subsample(X, -2), ValueError),
        (lambda: sampling.subsample(X, 1.5), (TypeError, ValueError)),
        (lambda: sampling.subsample(X, (2, 2, 2)), ValueError),
        (lambda: sampling.subsample(X, 2, 2), ValueError),
        (lambda: sampling.subsample([[1.0]], 2), TypeError),
        (lambda: sampling.subsample(np.array(8.0), 2), ValueError),
        (lambda: sampling.subsample(np.ones((0, 8)), 2), ValueError),
        (lambda: sampling.polyphase(np.ones((8, 9)), 2), ValueError),
        (lambda: sampling.from_polyphase(np.ones((2, 2, 2))), ValueError),
        (lambda: sampling.from_polyphase(np.ones((2, 2, 2)), dims=2), ValueError),
        (lambda: sampling.nyquist(2, rate=0), ValueError),
        (lambda: sampling.fold(0.1, 2, rate=-1), ValueError),
        (lambda: sampling.folding_map(9, 2), ValueError),
        (lambda: sampling.decompose(X.astype(np.uint8), 2), TypeError),
        (lambda: sampling.decompose(X * np.nan, 2), ValueError),
        (lambda: sampling.decompose(X, 2, before=X.astype(np.float32)), ValueError),
        (lambda: sampling.decompose(X, 2, before=torch.ones(8, 8, dtype=torch.float64)), ValueError),
        (lambda: sampling.ideal_lowpass(X * np.inf, 2), ValueError),
        (lambda: sampling.shift(X.astype(np.uint8), (0, 0.5)), TypeError),
        (lambda: sampling.shift(X, (np.nan, 0)), ValueError),
        (lambda: sampling.shift(X, (1, 2, 3)), ValueError),
        (lambda: sampling.shift(X * np.nan, (0.5, 0)), ValueError),
        (lambda: sampling.equivariance_error(lambda x: x[:5], X, [(0, 1)]), ValueError),
        (lambda: sampling.equivariance_error(lambda x: x, X, [(0, 1)], margin=4), ValueError),
    ],
)
def test_wrong_calls_are_one_line(call, error):
    with np.errstate(all="ignore"), pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value)


def test_gradients_flow():
    x = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
    parts = sampling.decompose(x, 2)
    (parts.baseband.sum() + parts.alias_fraction + sampling.shift(x, (0.5, 1)).sum()).backward()
    assert x.grad.isfinite().all()
