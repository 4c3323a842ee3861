"""One, two and three axes: every identity of spectra and sampling holds at each, and a rate is a unit."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import aliasing as al
from aliasing import sampling, spectrum

EPS = np.finfo(np.float64).eps


@st.composite
def signals(draw: Any, divisible: bool = False) -> tuple[Any, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A signal of one to three axes that stand anywhere among up to four, with a stride and a phase for each."""
    count = draw(st.integers(1, 3))
    batch = draw(st.integers(0, 1))
    stride = tuple(draw(st.integers(1, 4)) for _ in range(count))
    sizes = [draw(st.integers(1, 4)) * step if divisible else draw(st.integers(1, 9)) for step in stride]
    axes = tuple(draw(st.permutations(range(count + batch)))[:count])
    shape = [2] * (count + batch)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    x = x + 1j * x[::-1] if draw(st.booleans()) else x
    phase = tuple(draw(st.integers(0, step - 1)) for step in stride)
    return (torch.from_numpy(np.ascontiguousarray(x)) if draw(st.booleans()) else x), axes, stride, phase


def numbers(x: Any) -> Any:
    return np.asarray(x)


def energy(x: Any, axes: tuple[int, ...]) -> Any:
    return (abs(numbers(x)) ** 2).sum(axes)


@given(signals(), st.sampled_from([1.0, 8000, 0.25]))
def test_parseval(drawn: Any, rate: float) -> None:
    x, axes, *_ = drawn
    # A unitary transform of up to 729 values: a few eps · log₂ N of the norm.
    np.testing.assert_allclose(numbers(spectrum.power(x, axes, rate)).sum(axes), energy(x, axes), rtol=64 * EPS)
    if not np.iscomplexobj(numbers(x)):
        onesided = numbers(spectrum.power(x, axes, onesided=True))
        np.testing.assert_allclose(onesided.sum(axes), energy(x, axes), rtol=64 * EPS)


@given(signals())
def test_baseband_and_alias_are_the_samples_and_energy_above_is_what_folds(drawn: Any) -> None:
    x, axes, stride, phase = drawn
    parts = sampling.decompose(x, stride, phase, axes)
    samples = sampling.subsample(x, stride, phase, axes)
    np.testing.assert_allclose(numbers(parts.baseband + parts.alias), numbers(samples), atol=128 * EPS)
    limited = x
    for axis, step in zip(axes, stride, strict=True):
        limited = sampling.ideal_lowpass(limited, step, axis) if step > 1 else limited  # a stride of 1 folds nothing
    np.testing.assert_allclose(
        numbers(parts.baseband), numbers(sampling.subsample(limited, stride, phase, axes)), atol=128 * EPS
    )
    # Of a signal without a mean the two shares are one number, where one stride serves all axes.
    step = stride[0]
    still = numbers(x) - numbers(x).mean(axes, keepdims=True)
    if (energy(still, axes) > 1e-6).all():
        found = sampling.decompose(still, step, axes=axes).alias_fraction
        above = spectrum.energy_above(still, 1 / (2 * step), axes=axes) if step > 1 else 0
        np.testing.assert_allclose(found, above, atol=1e-12)


@given(signals(), st.lists(st.integers(-40, 40), min_size=3, max_size=3), st.floats(-2, 2))
def test_whole_shifts_roll_and_shifts_add_up(drawn: Any, whole: list[int], part: float) -> None:
    x, axes, *_ = drawn
    by = whole[: len(axes)]
    moved = sampling.shift(x, by, axes)
    np.testing.assert_array_equal(numbers(moved), np.roll(numbers(x), by, axes))
    there = sampling.shift(moved, [part] * len(axes), axes)
    once = sampling.shift(x, [distance + part for distance in by], axes)
    # One transform an axis of values of about 5; the sum of the distances is rounded too, at up to 42 · π.
    np.testing.assert_allclose(numbers(there), numbers(once), atol=2048 * EPS)


@given(signals(divisible=True))
def test_components_are_the_phases_and_weave_back(drawn: Any) -> None:
    x, axes, stride, _ = drawn
    components = sampling.polyphase(x, stride, axes)
    count = len(axes)
    last = numbers(np.moveaxis(numbers(x), axes, range(-count, 0)))
    for phase in product(*map(range, stride)):
        one = numbers(components)[(..., *phase, *[slice(None)] * count)]
        np.testing.assert_array_equal(one, sampling.subsample(last, stride, phase, tuple(range(-count, 0))))
    np.testing.assert_array_equal(numbers(sampling.from_polyphase(components, dims=count)), last)
    whole: Any = sum(
        sampling.upsample_zeros(sampling.subsample(x, stride, phase, axes), stride, phase, axes)
        for phase in product(*map(range, stride))
    )
    np.testing.assert_array_equal(numbers(whole), numbers(x))


@given(signals(divisible=True))
def test_the_spectrum_of_the_samples_is_the_spectrum_folded(drawn: Any) -> None:
    """X'(f') = Σ X(f) e^(2πi f·p) / √(Π s) over the frequencies that fold onto f' (unitary transforms)."""
    x, axes, stride, phase = drawn
    turned = numbers(spectrum.centred(x, axes))
    for axis, step, start, f in zip(axes, stride, phase, spectrum.frequencies(x, axes), strict=True):
        turn = np.exp(2j * np.pi * numbers(f) * start) / math.sqrt(step)
        turned = np.moveaxis(np.moveaxis(turned, axis, -1) * turn, -1, axis)
        places = sampling.folding_map(turned.shape[axis], step)
        turned = np.stack([turned.take(np.flatnonzero(places == k), axis).sum(axis) for k in sorted({*places})], axis)
    found = spectrum.centred(sampling.subsample(x, stride, phase, axes), axes)
    np.testing.assert_allclose(numbers(found), turned, atol=1e-12)


@given(signals(divisible=True))
def test_the_ideal_low_pass_makes_subsampling_equivariant(drawn: Any) -> None:
    x, axes, stride, _ = drawn
    x = sampling.ideal_lowpass(x, stride, axes)

    def operator(x: Any) -> Any:
        return sampling.subsample(x, stride, axes=axes)

    samples = numbers(operator(x))
    assume((abs(samples - samples.mean(axes, keepdims=True)) > 0.1).any())  # a constant output has no error

    shifts = [[1, 0, 0], [1, 1, 1], [2, 3, 5], [0.5, 0.25, 0.25]]
    errors = sampling.equivariance_error(operator, x, [shift[: len(axes)] for shift in shifts], axes=axes)
    assert numbers(errors).max() < 1e-24
    assert sampling.shiftability(operator, x, axes=axes) == pytest.approx(1, abs=1e-24)


@given(signals(), st.integers(1, 9))
def test_the_rings_hold_all_that_lies_within_the_nyquist_frequency(drawn: Any, bins: int) -> None:
    x, axes, *_ = drawn
    _, rings = spectrum.radial_profile(x, bins, axes)
    radius = np.sqrt(sum(np.meshgrid(*[numbers(f) ** 2 for f in spectrum.frequencies(x, axes)], indexing="ij")))
    # 0.5 itself is in the last ring; nothing of these sizes lies within 1e-9 of another edge but on it.
    counts, _ = np.histogram(radius + 1e-12, bins=np.append(np.linspace(0, 0.5, bins + 1)[:-1], 0.5 + 1e-9))
    power = np.moveaxis(numbers(spectrum.power(x, axes)), axes, range(-len(axes), 0))
    within = (power * (radius <= 0.5 + 1e-12)).sum(tuple(range(-len(axes), 0)))
    np.testing.assert_allclose(np.nansum(numbers(rings) * counts, -1), within, rtol=1e-12, atol=1e-12)


# One axis needs no axes -----------------------------------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(1, 4))
def test_an_array_of_one_axis_needs_no_axes(size: int, stride: int) -> None:
    x = np.random.default_rng(size).normal(size=size)
    for function in (
        spectrum.power,
        spectrum.log_magnitude,
        lambda x, **more: spectrum.radial_profile(x, 4, **more)[1],
        lambda x, **more: spectrum.energy_above(x, 0.2, **more),
        lambda x, **more: sampling.subsample(x, stride, **more),
        lambda x, **more: sampling.decompose(x, stride, **more).alias,
        lambda x, **more: sampling.shift(x, 0.5, **more),
        lambda x, **more: sampling.polyphase(sampling.upsample_zeros(x, stride, **more), stride, **more),
    ):
        np.testing.assert_array_equal(function(x), function(x, axes=-1))  # type: ignore[operator]
    woven = sampling.from_polyphase(sampling.polyphase(sampling.upsample_zeros(x, stride), stride))
    np.testing.assert_array_equal(woven, sampling.upsample_zeros(x, stride))


@given(st.data(), st.integers(1, 3), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_a_tone_folds_to_the_frequency_and_amplitude_of_theory(
    data: st.DataObject, count: int, dtype: Any, as_torch: bool
) -> None:
    """A cosine at f comes out at fold(f) along each axis, with its amplitude, at any phase of the grid."""
    stride = tuple(data.draw(st.integers(2, 5)) for _ in range(count))
    rate, cells = 16000.0, (8, 6, 4)[:count]
    sizes = tuple(step * n for step, n in zip(stride, cells, strict=True))
    bins = tuple(data.draw(st.integers(0, size - 1)) for size in sizes)
    folded_bins = tuple(k % n for k, n in zip(bins, cells, strict=True))
    assume(any((2 * k) % n for k, n in zip(folded_bins, cells, strict=True)))  # else its two halves meet in one bin
    phase = tuple(data.draw(st.integers(0, step - 1)) for step in stride)
    places = np.meshgrid(*map(np.arange, sizes), indexing="ij")
    turns = sum(k * place / size for k, place, size in zip(bins, places, sizes, strict=True))
    tone = (3 * np.cos(2 * np.pi * turns + 0.4)).astype(dtype)
    x = torch.from_numpy(tone) if as_torch else tone
    axes = tuple(range(count))
    parts = sampling.decompose(x, stride, phase, axes)
    samples = numbers(sampling.subsample(x, stride, phase, axes))
    # Rounding of the samples themselves, 3 eps, in a sum of up to 192 of them.
    rounding = 200 * float(np.finfo(dtype).eps)
    spread = np.fft.fftn(samples)
    np.testing.assert_allclose(abs(spread[folded_bins]), 1.5 * math.prod(cells), rtol=rounding)
    np.testing.assert_allclose((abs(spread) ** 2).sum(), 2 * abs(spread[folded_bins]) ** 2, rtol=10 * rounding)
    # All of it is alias if any axis lies at or above its new Nyquist frequency, none of it otherwise.
    signed = [(k if 2 * k < size else k - size) / size * rate for k, size in zip(bins, sizes, strict=True)]
    above = any(abs(f) >= sampling.nyquist(step, rate) for f, step in zip(signed, stride, strict=True))
    share = float(numbers(parts.alias_fraction))
    assert share == pytest.approx(float(above), abs=rounding)
    for f, step, k, n in zip(signed, stride, folded_bins, cells, strict=True):
        heard = np.fft.fftfreq(n, step / rate)[k]
        assert float(sampling.fold(f, step, rate)) == pytest.approx(heard, abs=1e-9 * rate)


# Rates ----------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(2, 60), st.sampled_from([8000, 44100, 22050, 0.3, 1 / 3]))
def test_a_rate_turns_cycles_per_sample_into_hertz(stride: int, size: int, rate: float) -> None:
    x = np.random.default_rng(size).normal(size=size)
    np.testing.assert_allclose(spectrum.frequencies(x, rate=rate)[0], rate * spectrum.frequencies(x)[0], rtol=4 * EPS)
    # The Nyquist frequency in hertz is the same edge as in cycles per sample, also where both lie on a frequency.
    assert spectrum.energy_above(x, sampling.nyquist(stride, rate), rate=rate) == spectrum.energy_above(
        x, sampling.nyquist(stride)
    )
    (middles, rings), (cycles, same) = spectrum.radial_profile(x, 7, rate=rate), spectrum.radial_profile(x, 7)
    np.testing.assert_allclose(middles, rate * cycles, rtol=4 * EPS)
    np.testing.assert_array_equal(rings, same)
    f = rate * np.linspace(-0.5, 0.49, 23)
    folded = sampling.fold(f, stride, rate)
    assert (abs(folded) <= rate / (2 * stride) * (1 + 4 * EPS)).all()
    np.testing.assert_allclose(np.exp(2j * np.pi * folded / rate * stride), np.exp(2j * np.pi * f / rate * stride))


def test_axes_of_two_rates_have_rings_in_one_unit() -> None:
    """A volume whose slices lie twice as far apart as its pixels: what is round in millimetres is one ring."""
    z, y, x = np.meshgrid(np.arange(16) * 2.0, np.arange(32), np.arange(32), indexing="ij")
    rate = (0.5, 1, 1)
    for along in (z, y, x):
        wave = np.cos(2 * np.pi * along * 6 / 32)  # 0.1875 cycles per millimetre
        middles, rings = spectrum.radial_profile(wave, 8, axes=(0, 1, 2), rate=rate)
        assert middles[-1] + middles[0] == pytest.approx(0.25)  # the slices resolve no more
        assert middles[np.nanargmax(rings)] == pytest.approx(0.203125)
        assert spectrum.energy_above(wave, 0.18, axes=(0, 1, 2), rate=rate) == pytest.approx(1)
        assert spectrum.energy_above(wave, 0.19, axes=(0, 1, 2), rate=rate) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rate", [1.0, 250.0])
def test_a_power_law_in_hertz(rate: float) -> None:
    f = abs(np.fft.fftfreq(4096, 1 / rate))
    f[0] = 1
    x = math.sqrt(4096) * np.fft.ifft(1 / f).real
    fit = spectrum.power_law(x, rate=rate)
    # Half of the energy of the even part is that of the whole: a cosine series of amplitude 1/f has power 1/f².
    assert float(fit.slope) == pytest.approx(-2, abs=0.01)
    assert math.exp(float(fit.log_power)) == pytest.approx(1, rel=0.05)
    with pytest.raises(al.errors.UsageError, match="low < high"):
        spectrum.power_law(x, high=0.6 * rate, rate=rate)


@pytest.mark.parametrize("wrong", [0, -1, True, "44100", float("nan"), (1, 2), None])
def test_what_is_no_rate_is_refused_in_one_line(wrong: Any) -> None:
    x = np.ones(8)
    for call in (
        lambda: spectrum.power(x, rate=wrong),
        lambda: spectrum.frequencies(x, rate=wrong),
        lambda: spectrum.radial_profile(x, rate=wrong),
        lambda: spectrum.energy_above(x, 0.25, rate=wrong),
        lambda: sampling.nyquist(2, rate=wrong),
    ):
        with pytest.raises(al.errors.UsageError, match="rate is a positive number") as caught:
            call()
        assert "\n" not in str(caught.value)
