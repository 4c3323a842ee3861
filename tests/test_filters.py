"""Filters: Pascal's rows, scipy's designs, and the integral of |H|² three ways."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, signal

from aliasing import filters

NAMES = [
    "box2",
    "box5",
    *(f"binomial{n}" for n in range(1, 8)),
    "gaussian5",
    "kaiser8",
    "kaiser9",
    "lanczos12",
    "sinc9",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_dc_gain_is_one_and_taps_are_symmetric(name, stride):
    taps = filters.get_taps(name, stride)
    assert taps.dtype == np.float64
    # A sum of n terms of at most 1 is exact to n eps.
    assert taps.sum() == pytest.approx(1, abs=len(taps) * 2.3e-16)
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-15)


@pytest.mark.parametrize("taps", range(1, 8))
def test_binomial_is_pascals_row(taps):
    row = np.array([1.0])
    for _ in range(taps - 1):
        row = np.convolve(row, [0.5, 0.5])
    np.testing.assert_array_equal(filters.binomial(taps), row)
    # Closed forms: |H(f)| = cos^(n−1)(πf), variance (n − 1) / 4.
    f = np.linspace(0, 0.5, 17)
    np.testing.assert_allclose(abs(filters.response(row, f)), np.cos(np.pi * f) ** (taps - 1), atol=1e-15)
    if taps > 1:
        assert filters.half_amplitude(row) == pytest.approx(math.acos(0.5 ** (1 / (taps - 1))) / math.pi, abs=1e-12)


def test_a_long_row_of_pascals_triangle_is_the_exact_one():
    for order in (817, 1088, 10_100):
        row, long = filters.binomial(order + 1), filters._long_row(order)
        # A tap is a product of at most 11√order ratios, each rounded to 1e-16.
        np.testing.assert_allclose(long, row, rtol=2e-16 * 11 * order**0.5)
    taps = filters.binomial(4, stride=1000)  # 750,001 of them in whole numbers took half an hour
    assert abs(taps.sum() - 1) < 1e-12
    place = np.arange(len(taps)) - (len(taps) - 1) / 2
    assert abs(taps @ place**2 / 187_500 - 1) < 1e-9  # the variance: (length − 1) / 4


def test_a_binomial_for_a_large_stride_is_short_and_made_at_once():
    """The front end of a network of raw sound may step over 160 samples: ``math.comb`` took 18 s for 19,201 taps."""
    taps = filters.binomial(4, stride=160)
    assert len(taps) < 3000
    assert taps.sum() == pytest.approx(1, abs=1e-15)
    # The standard deviation is that of the whole row, √(3 · 80² / 4); its entries are within 1 / n of the Gaussian's.
    assert taps.max() == pytest.approx(1 / (math.sqrt(3) * 40 * math.sqrt(2 * math.pi)), rel=1 / 19201)
    k = np.arange(len(taps)) - (len(taps) - 1) / 2
    assert math.sqrt(taps @ k**2) == pytest.approx(math.sqrt(3) * 40, rel=1e-12)


def test_designs_are_scipys():
    np.testing.assert_allclose(filters.kaiser(9, beta=4), signal.firwin(9, 0.5, window=("kaiser", 4)), atol=1e-15)
    np.testing.assert_allclose(filters.sinc(9, 4), signal.firwin(17, 0.25, window="hamming"), atol=1e-15)
    gauss = signal.windows.gaussian(7, 1.5)
    np.testing.assert_allclose(filters.gaussian(7, sigma=1.5), gauss / gauss.sum(), atol=1e-15)
    n = np.arange(-5.5, 6) / 2
    lanczos = np.sinc(n) * np.sinc(n / 3)
    np.testing.assert_allclose(filters.lanczos(12), lanczos / lanczos.sum(), atol=1e-15)


@pytest.mark.parametrize("family", ["box", "binomial", "gaussian"])
def test_stretching_scales_the_width_with_the_stride(family):
    def deviation(taps):
        k = np.arange(len(taps))
        return math.sqrt(taps @ k**2 - (taps @ k) ** 2)

    for stride in (4, 6, 8):
        ratio = deviation(filters.get_taps(f"{family}6", stride)) / deviation(filters.get_taps(f"{family}6"))
        # A box of n has variance (n² − 1) / 12, a Gaussian is cut off: 3 % from the ratio of continuous filters.
        assert ratio == pytest.approx(stride / 2, rel=0.03)


@pytest.mark.parametrize("family", filters.FAMILIES)
def test_a_longer_name_and_a_larger_stride_never_give_fewer_taps(family):
    """By the same rule in every family: the nearest whole number, and halfway the larger one."""
    lengths = np.array(
        [[len(filters.FAMILIES[family](taps, stride)) for taps in range(1, 14)] for stride in range(1, 11)]
    )
    assert (np.diff(lengths, axis=0) >= 0).all()
    assert (np.diff(lengths, axis=1) >= 0).all()
    assert (lengths[:, 0] == 1).all()  # one tap is no filter, at any stride
    taps, stride = np.meshgrid(np.arange(2, 14), np.arange(1, 11))
    exact = {
        "binomial": (taps - 1) * (stride / 2) ** 2 + 1,
        **dict.fromkeys(("kaiser", "sinc"), (taps - 1) * stride / 2 + 1),
    }.get(family, taps * stride / 2)
    np.testing.assert_array_equal(lengths[:, 1:], np.floor(exact + 0.5))  # halves and quarters are exact
    np.testing.assert_array_equal(lengths[1], range(1, 14))  # at stride 2 the name says the length


def test_boxes_between_two_lengths():
    assert [len(filters.box(taps, stride=1)) for taps in (3, 5, 7, 9)] == [2, 3, 4, 5]
    assert [len(filters.box(taps, stride=3)) for taps in (3, 5, 7, 9)] == [5, 8, 11, 14]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_stretched_and_numbers_are_not(name):
    family, length = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
    for stride in (2, 3, 4):
        made = filters.FAMILIES[family](length, stride)
        np.testing.assert_array_equal(filters.get_taps(name, stride), made)
        np.testing.assert_array_equal(filters.taps_per_axis(name, (stride, 1))[0], made)
        # Numbers are divided by their sum, which is one to rounding.
        np.testing.assert_allclose(filters.get_taps(filters.get_taps(name), stride), filters.get_taps(name), rtol=1e-15)
        for share in (filters.stopband_share, filters.passband_share, filters.imaging_fraction):
            assert share(name, stride) == pytest.approx(share(made, stride), abs=1e-14)
    # Along an axis of stride 1 there is no filter, whether it has a name or not.
    for taps in (name, filters.get_taps(name)):
        assert [len(row) for row in filters.taps_per_axis(taps, (1, 1, 1))] == [1, 1, 1]


def test_taps_per_axis():
    one, two = filters.taps_per_axis(["binomial3", (1, 1)], (2, 2))
    np.testing.assert_array_equal(one, (0.25, 0.5, 0.25))
    np.testing.assert_array_equal(two, (0.5, 0.5))
    with pytest.raises(ValueError, match="no filter 'triangle3'"):
        filters.taps_per_axis("triangle3", (1, 1))  # a wrong name is told, even where it would not be used
    with pytest.raises(ValueError, match="one filter, or 2 of them"):
        filters.taps_per_axis(("binomial3",), (2, 2))


def test_stretched_filters_fold_alike_at_every_stride():
    """Relative to the new Nyquist frequency: the share of white noise in two dimensions that folds, of what is left."""

    def folds(taps, stride):
        return 1 - (1 - filters.imaging_fraction(taps, stride)) ** 2

    assert folds("binomial4", 4) == pytest.approx(0.0953, abs=5e-5)
    assert folds((1, 3, 3, 1), 4) == pytest.approx(0.5231, abs=5e-5)  # the filter for stride 2, as it is
    # The binomial filter tends to a Gaussian whose width is in proportion to the stride.
    found = [folds("binomial4", stride) for stride in (2, 3, 4, 8, 16)]
    assert found == pytest.approx([0.0652, 0.0803, 0.0953, 0.1031, 0.1051], abs=5e-5)


@pytest.mark.parametrize("name", ["kaiser16", "lanczos16", "sinc17"])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_windowed_sincs_halve_the_new_nyquist_frequency(name, stride):
    assert filters.half_amplitude(filters.get_taps(name, stride)) == pytest.approx(1 / (2 * stride), rel=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_stopband_share_is_the_integral_of_the_response(name, stride):
    taps = filters.get_taps(name)
    squared = lambda f: abs(filters.response(taps, f)) ** 2  # noqa: E731
    above = 2 * integrate.quad(squared, 1 / (2 * stride), 0.5, epsabs=1e-13)[0]
    below = 2 * integrate.quad(squared, 0, 1 / (2 * stride), epsabs=1e-13)[0]
    assert filters.stopband_share(taps, stride) == pytest.approx(above, abs=1e-12)
    assert filters.passband_share(taps, stride) == pytest.approx(below, abs=1e-12)
    # Both together are the energy of the taps (Parseval).
    assert above + below == pytest.approx(taps @ taps, abs=1e-12)
    assert filters.imaging_fraction(taps, stride) == pytest.approx(above / (above + below), abs=1e-12)


@pytest.mark.parametrize("name", ["box5", "binomial4", "kaiser8"])
def test_stopband_share_is_what_white_noise_loses(name):
    """Filter white noise, circularly, and measure the energy above 1/4: the integral within the sampling error."""
    taps, size, rows = filters.get_taps(name), 256, 2000
    noise = np.random.default_rng(0).normal(size=(rows, size))
    f = np.fft.fftfreq(size)
    power = abs(np.fft.fft(noise) * filters.response(taps, f)) ** 2 / size
    above = power[:, abs(f) >= 0.25].sum(1) / size
    # The sum over bins is the integral's trapezoid, exact for n < 256 taps but for the bin at the edge, half of which
    # lies below: |H(1/4)|² / 256.
    edge = abs(filters.response(taps, 0.25)) ** 2 / size
    assert abs(above.mean() - filters.stopband_share(taps) - edge) < 4 * above.std() / np.sqrt(rows)


@given(st.lists(st.floats(-1, 3), min_size=1, max_size=9), st.integers(-50, 50))
def test_response_is_what_a_correlation_does_to_a_wave(values, thousandths):
    if abs(sum(values)) < 0.1:
        return
    taps, frequency = filters.get_taps(values), thousandths / 100
    n = np.arange(40)
    wave = np.exp(2j * np.pi * frequency * n)
    centre = (len(taps) - 1) // 2
    filtered = np.correlate(wave, taps, "valid")
    expected = filters.response(taps, frequency) * wave[centre : centre + len(filtered)]
    np.testing.assert_allclose(filtered, expected, atol=1e-13 * abs(taps).sum())


def test_even_lengths_look_half_a_pixel_ahead():
    for name in NAMES:
        taps = filters.get_taps(name)
        assert filters.delay(taps) == pytest.approx(0.5 * (len(taps) % 2 == 0), abs=1e-12)
    assert filters.delay((0, 0, 1)) == pytest.approx(1)
    # A symmetric filter's phase is that of its delay, and its response real for odd lengths.
    assert np.angle(filters.response("binomial4", 0.1)) == pytest.approx(2 * np.pi * 0.1 * 0.5)
    assert abs(filters.response("binomial5", np.linspace(0, 0.5, 9)).imag).max() < 1e-16


def test_one_tap_lets_all_through():
    assert filters.stopband_share((3,), 4) == pytest.approx(0.75)
    assert math.isnan(filters.half_amplitude((1,)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: filters.get_taps("binomial"),
        lambda: filters.get_taps("triangle3"),
        lambda: filters.get_taps("binomial0"),
        lambda: filters.get_taps(()),
        lambda: filters.get_taps((1, -1)),
        lambda: filters.get_taps((1, np.nan)),
        lambda: filters.get_taps([[1, 2]]),
        lambda: filters.binomial(0),
        lambda: filters.box(2.5),
        lambda: filters.binomial(4, stride=0),
        lambda: filters.gaussian(5, sigma=-1),
        lambda: filters.stopband_share("binomial4", stride=0),
    ],
)
def test_wrong_calls_are_one_line(call):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the messages differ
        call()
    assert "\n" not in str(caught.value)


def test_the_number_of_taps_is_taken_under_its_earlier_name():
    with pytest.warns(DeprecationWarning, match=r"binomial\(taps=…\) is now binomial\(length=…\)"):
        old = filters.binomial(taps=3)
    np.testing.assert_array_equal(old, filters.binomial(length=3))
