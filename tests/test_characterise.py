"""What `characterise` finds in resamplers whose weights are known, and what it says of those with faults."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage, signal

from aliasing.errors import UsageError
from aliasing.resamplers.characteristics import Characteristics, characterise
from aliasing.resamplers.survey import survey
from aliasing.resamplers.weights import middle

FREQUENCIES = np.linspace(0, 0.5, 41)


def _keys(a: float) -> Callable[[Any], Any]:
    def kernel(x: Any) -> Any:
        inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
        return np.where(x < 1, inner, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0))

    return kernel


KERNELS: dict[str, Callable[[Any], Any]] = {  # by the distance in output samples
    "box": lambda x: 1.0 * (x < 0.5 - 1e-9),  # what lies on its edge does not depend on rounding
    "triangle": lambda x: np.maximum(1 - x, 0),
    "Keys -0.5": _keys(-0.5),
    "Keys -0.75": _keys(-0.75),
    "Lanczos": lambda x: np.sinc(x) * np.sinc(x / 3) * (x < 3),
    "Gaussian": lambda x: np.exp(-2 * x**2) * (x < 2),
    "Kaiser": lambda x: np.sinc(x) * np.i0(4 * np.sqrt(np.maximum(1 - (x / 2) ** 2, 0))) * (x < 2),
}


@cache
def weights(kernel: str, length: int, count: int, longer: float = 1, padded: bool = False) -> NDArray[Any]:
    """The weights of a kernel that widens with the reduction, as Pillow's do.

    ``longer`` is by how much its steps are too long; ``padded`` continues the signal with zeros.
    """
    step = length / count * longer
    places = ((np.arange(count) + 0.5) * step - 0.5).clip(0, length - 1)
    inside = np.arange(-4 * length, 5 * length) if padded else np.arange(length)
    found = KERNELS[kernel](abs(inside - places[:, None]) / max(step, 1))
    found = found / found.sum(1, keepdims=True)
    return found[:, 4 * length : 5 * length] if padded else found


def resampler(kernel: str, rounded: Callable[[Any], Any] = np.rint, **changes: Any) -> Callable[..., Any]:
    """A separable resampler; an output of integers is rounded once."""

    def apply(array: Any, shape: tuple[int, ...]) -> Any:
        found = array.astype(float)
        for axis, count in enumerate(shape):
            found = np.moveaxis(
                np.tensordot(weights(kernel, array.shape[axis], count, **changes), found, (1, axis)), 0, axis
            )
        return found if array.dtype.kind == "f" else rounded(found + 1e-9).clip(0, 255).astype(array.dtype)

    return apply


def expected_gain(kernel: str, found: Characteristics) -> NDArray[Any]:
    """The mean modulus of the Fourier transform of one row a phase, in the middle."""
    length, count = found.lengths[0], found.asked[0]
    rows = weights(kernel, length, count)[count // 4 :][
        : Fraction(found.reduction[0]).limit_denominator(64).denominator
    ]
    return abs(np.exp(-2j * np.pi * FREQUENCIES[:, None] * np.arange(length)) @ rows.T).mean(1)


def check(found: Characteristics, kernel: str, tolerance: float) -> None:
    np.testing.assert_allclose(found.gain(FREQUENCIES), expected_gain(kernel, found), atol=tolerance)
    assert found.linear
    assert found.shift_invariant
    assert found.separable in (None, True)
    # Symmetric kernels sit in their place; a weight's error counts by its distance, up to 22 samples.
    assert abs(found.shift) < 10 * tolerance
    assert found.constant_error < max(tolerance, 1e-9)
    assert not any(text.startswith("slides") or "rim" in text for text in found.caveats)


@pytest.mark.parametrize("reduction", [2, 2.5, 3, 4, 7.3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_known_kernels_along_one_axis(kernel: str, reduction: float) -> None:
    check(characterise(resampler(kernel), reduction, axes=1, dtype="float64"), kernel, 1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_known_kernels_along_two_axes(kernel: str) -> None:
    for reduction in (2, 2.5, 3, 4):
        check(characterise(resampler(kernel), reduction, dtype="float64"), kernel, 1e-6)


@pytest.mark.parametrize(("kernel", "reduction"), [("triangle", 4), ("Keys -0.5", 2.5), ("Lanczos", 3), ("box", 2)])
def test_known_kernels_along_three_axes(kernel: str, reduction: float) -> None:
    check(characterise(resampler(kernel), reduction, axes=3, dtype="float64"), kernel, 1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_known_kernels_of_whole_grey_levels(kernel: str) -> None:
    for reduction in (2.5, 4, 7.3):
        found = characterise(resampler(kernel), reduction)
        # A weight is known to about 0.3 grey levels ÷ 80 ÷ √(3·97 signals), and a gain sums up to 24 of them.
        check(found, kernel, 0.003)
        assert found.rounding.startswith("to the nearest")
        assert "pass" not in found.rounding
        assert abs(found.mean_error) < 0.15  # half up, where there are many halves


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kernel", ["box", "Lanczos"])
def test_the_noise_of_weights_and_of_places_is_what_it_is_said_to_be(kernel: str, axes: int) -> None:
    found = characterise(resampler(kernel), 7.3, axes=axes)
    for along in found.along:
        true = weights(kernel, found.lengths[0], found.asked[0])
        off = (along.matrix - true) / along.noise[:, None]
        # 219 weights of 30 outputs and more; that of an output is itself known to a twentieth.
        assert np.sqrt((off**2).mean()) == pytest.approx(1, abs=0.1)
        assert abs(off).max() < 6
        inputs = np.arange(found.lengths[0])
        apart = along.offset - (true @ inputs / true.sum(1) - along.places)[middle(len(true))]
        said = along.offsets_noise[middle(len(true))]
        # 16 outputs: √(1 ± 6/√32); weights below their noise are cut off, and missing in a place.
        assert 0.4 < np.sqrt(((apart / said) ** 2).mean()) < 2


@pytest.mark.slow
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("reduction", [2, 2.5, 3, 4, 7.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("uint8", 0.003)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_known_kernels_by_every_factor(kernel: str, dtype: str, tolerance: float, reduction: float, axes: int) -> None:
    check(characterise(resampler(kernel), reduction, axes=axes, dtype=dtype), kernel, tolerance)


# --- what is said of faults -----------------------------------------------------------------------------------------


def said(found: Characteristics) -> str:
    return "\n".join(found.caveats)


def test_a_good_resampler_has_no_caveats() -> None:
    for dtype in ("uint8", "float32"):
        assert said(characterise(resampler("triangle"), 4, dtype=dtype)) == ""


def test_a_median_is_not_linear() -> None:
    found = characterise(lambda x, shape: ndimage.median_filter(x, 4)[2::4, 2::4], 4)
    assert not found.linear
    assert "not linear" in said(found)
    assert "truncates" not in said(found)  # which cannot be told
    # A median of four samples keeps a tone of 1/16, whose extrema are eight apart, and passes some of what is above.
    assert found.gain(0.0625) > 0.9
    assert 0.1 < found.folded < 0.9


def test_minima_and_maxima_draw_false_waves() -> None:
    """The greatest of each four of a tone keeps a wave near the new Nyquist frequency's multiples."""
    found = characterise(lambda x, shape: x.reshape(-1, 4).max(1), 4, axes=1, dtype="float64", size=256)
    assert not found.linear
    assert found.tones is not None
    assert found.folded > 0.01


def test_zoom_is_not_shift_invariant() -> None:
    found = characterise(lambda x, shape: ndimage.zoom(x, 1 / 4, order=1), 4, dtype="float64", size=64)
    assert found.shift_invariant is False
    assert "not shift-invariant" in said(found)
    # It aligns the corners: output 4 of 16 lies at 4 · 63/15, and not at 4 · 4 + 1.5.
    np.testing.assert_allclose(found.offset, np.arange(4, 12) * 63 / 15 - (4 * np.arange(4, 12) + 1.5), atol=1e-6)
    corners = characterise(
        lambda x, shape: ndimage.zoom(x, 1 / 4, order=1), 4, dtype="float64", size=64, positions="corners"
    )
    assert abs(corners.offset).max() < 1e-6
    assert "slides" not in said(corners)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("reduction", [4, 7.3])
def test_a_step_of_one_per_cent_too_long_slides(reduction: float, dtype: str) -> None:
    found = characterise(resampler("triangle", longer=1.01), reduction, dtype=dtype)
    assert "slides by" in said(found)
    assert found.along[0].stretch == pytest.approx(0.01, abs=1e-3)
    # Sums of samples are not integrals.
    assert found.drift == pytest.approx(0.01 * reduction * (found.asked[0] - 1), abs=0.1)


def test_zero_padding_darkens_the_rim() -> None:
    for dtype in ("float64", "uint8"):
        found = characterise(resampler("triangle", padded=True), 4, dtype=dtype)
        # The first triangle reaches half an output beyond the end: an eighth of its area.
        assert found.along[0].rim == pytest.approx(7 / 8, abs=0.01)
        assert "darkens the rim" in said(found)
    sound = characterise(resampler("triangle", padded=True), 4, axes=1, dtype="float64")
    assert "fades at the ends to 0.88" in said(sound)  # which has no rim, and is not dark


def test_a_floor_truncates() -> None:
    found = characterise(resampler("triangle", rounded=np.floor), 4)
    assert found.rounding.startswith("truncated")
    assert found.mean_error == pytest.approx(-0.5, abs=0.05)
    assert "truncates" in said(found)
    assert "truncates" not in said(characterise(resampler("triangle", rounded=lambda x: np.floor(x + 0.5)), 4))


def test_halves_that_go_up_twice_are_brighter() -> None:
    def twice(array: Any, shape: tuple[int, ...]) -> Any:
        first = np.floor(array.reshape(shape[0], 2, -1).mean(1) + 0.5)
        return np.floor(first.reshape(shape[0], shape[1], 2).mean(2) + 0.5)

    found = characterise(twice, 2)
    assert found.mean_error == pytest.approx(0.5, abs=0.02)  # a half of the sums is odd, in either pass
    assert "rounds up: it is brighter by 0." in said(found)


def test_rounding_after_each_pass_is_told_from_rounding_once() -> None:
    def twice(array: Any, shape: tuple[int, ...]) -> Any:
        first = np.floor(weights("Keys -0.5", array.shape[0], shape[0]) @ array + 0.5 + 1e-9)
        return np.floor(first @ weights("Keys -0.5", array.shape[1], shape[1]).T + 0.5 + 1e-9)

    found = characterise(twice, 4)
    assert "after each pass, axis 0 first" in found.rounding
    assert found.transposed is not None
    assert found.transposed > 0.05
    assert "exchanged" in said(found)


def test_halves_are_told_apart() -> None:
    means = {"half up": lambda x: np.floor(x + 0.5), "half to even": np.rint}
    for expected, rounded in means.items():
        found = characterise(lambda x, shape, r=rounded: r(x.reshape(shape[0], 2, shape[1], 2).mean((1, 3))), 2)
        assert found.rounding == f"to the nearest, {expected}"


def test_means_of_two_are_not_rounded_upwards_but_half_up() -> None:
    """All that is above a whole number is a half, so both are the same."""
    found = characterise(resampler("box"), 2, axes=1)
    assert found.rounding == "to the nearest, half up"


def test_constants_that_become_nan_and_small_ones_that_vanish() -> None:
    with np.errstate(all="ignore"):
        found = characterise(lambda x, shape: x[1::4, 1::4] / x.std() * x.std(), 4, dtype="float64")
    assert "constants become NaN" in said(found)
    assert math.isnan(found.constant_error)
    dim = characterise(resampler("box", rounded=lambda x: np.floor(0.999 * x)), 4)
    assert "a constant of 1 becomes 0" in said(dim)


def test_samples_that_no_output_sees_and_lengths_that_were_not_asked_for() -> None:
    found = characterise(lambda x, shape: resampler("box")(x[:-20], shape), 4, axes=1, dtype="float64")
    assert "the 20 samples at the end are seen by no output" in said(found)
    assert found.along[0].unseen_ends == (0, 20)
    short = characterise(lambda x, shape: x[2:-8:4], 4, axes=1, dtype="float64", positions="steps")
    assert "makes 98 samples where 100 were asked for" in said(short)
    every = characterise(lambda x, shape: x[::4], 4, axes=1, dtype="float64", positions="steps")
    assert "seen by no output" not in said(every)  # a picker sees one of four, and no fault lies at its end
    assert every.along[0].unseen == 0.75


def test_places_that_depend_on_the_length() -> None:
    """Right at 400 samples; at 401 what is left over is cut off, and the header says that it is not."""

    def cut(array: Any, shape: tuple[int, ...]) -> Any:
        return resampler("box")(array[: len(array) // 4 * 4], shape)

    found = characterise(cut, 4, axes=1, dtype="float64")
    assert abs(found.shift) < 1e-6
    assert "of 403 samples instead of 400 it sits −1.50 further off" in said(found)


def test_a_causal_filter_delays_and_more_so_what_is_fast() -> None:
    """The phase of what it makes is that of the filter's own frequency response."""
    taps = signal.cheby1(8, 0.05, 0.2, output="sos")
    found = characterise(lambda x, shape: signal.sosfilt(taps, x)[::4], 4, axes=1, dtype="float64", positions="steps")
    for frequency in (0.03, 0.09):
        phase = np.unwrap(np.angle(signal.freqz_sos(taps, np.linspace(0, frequency, 99), fs=1)[1]))[-1]
        # 400 samples in, the filter still rings from their beginning by some 1e-4.
        assert found.along[0].offset_at(frequency) == pytest.approx(phase / (2 * np.pi * frequency), abs=1e-3)
    assert "sits −9.67 samples off its place" in said(found)
    assert "delays fast content otherwise than slow" in said(found)
    twice = characterise(
        lambda x, shape: signal.sosfiltfilt(taps, x)[::4], 4, axes=1, dtype="float64", positions="steps"
    )
    assert "delays" not in said(twice)


def test_slices_of_chunks_that_each_begin_anew() -> None:
    """Every fourth sample of chunks of 37, as of a file that is read lazily, and of the whole."""

    def lazily(array: Any, shape: tuple[int, ...]) -> Any:
        return np.concatenate([array[first : first + 37][::4] for first in range(0, len(array), 37)])

    found = characterise(lazily, 4, axes=1, dtype="float64", positions="steps")
    assert "makes 108 samples where 100 were asked for" in said(found)
    assert "slides" in said(found)
    whole = characterise(lambda x, shape: x[::4], 4, axes=1, dtype="float64", positions="steps")
    assert "slides" not in said(whole)


def test_pickers_for_drawings_are_not_linear_and_fold() -> None:
    def extremes(array: Any, shape: tuple[int, ...]) -> Any:
        blocks = array.reshape(shape[0] // 2, -1)
        return np.stack([blocks.min(1), blocks.max(1)], 1).ravel()

    found = characterise(extremes, 4, axes=1, dtype="float64", positions="starts")
    assert "not linear" in said(found)
    # The least and the greatest of eight samples of a tone are about ±1 by turns, whatever its frequency, so that they
    # make a wave at the new Nyquist frequency with twice the tone's energy.
    assert 1.5 < found.folded < 2
    assert found.row()["offset_low"] is None  # it has no weights, and so no place
    assert "none" in survey([found]).readable("table")[0]
    assert survey([found]).plot().axes


def test_channels_that_are_mixed() -> None:
    def through_luma(array: Any, shape: tuple[int, ...]) -> Any:
        found = array.reshape(shape[0], 4, shape[1], 4, 3).mean((1, 3))
        return (found + found.mean(-1, keepdims=True)) / 2

    mixed = characterise(through_luma, 4, dtype="float64", channels="last")
    assert "mixes the channels" in said(mixed)
    grey = characterise(lambda x, shape: through_luma(np.stack([x] * 3, -1), shape)[..., 0], 4, dtype="float64")
    np.testing.assert_allclose(mixed.gain(FREQUENCIES), grey.gain(FREQUENCIES), atol=1e-12)  # of equal channels


def test_a_signal_that_changes_though_its_size_stays() -> None:
    def soft(array: Any, shape: tuple[int, ...]) -> Any:
        return resampler("triangle")(ndimage.uniform_filter(array, 3), shape)

    assert "whose size stays" in said(characterise(soft, 4, dtype="float64"))


def test_enlarging_is_tried() -> None:
    def late(array: Any, shape: tuple[int, ...]) -> Any:
        found = resampler("triangle")(array, shape)
        return np.roll(found, 1, -1) if shape[-1] > array.shape[-1] else found

    assert "when it enlarges by 2 it sits −0.50 samples off" in said(characterise(late, 4, dtype="float64"))


def test_a_low_pass_that_is_applied_though_the_size_grows() -> None:
    def soft(array: Any, shape: tuple[int, ...]) -> Any:
        return resampler("triangle")(ndimage.gaussian_filter(array, 1, mode="wrap"), shape)

    found = characterise(soft, 4, dtype="float64")
    # 1/8 of a cycle a sample: the Gaussian's own gain, and that of pairs weighed 3/4 and 1/4.
    expected = math.exp(-2 * (np.pi / 8) ** 2) * math.sqrt(5 / 8 + 3 / 8 * math.cos(np.pi / 4))
    assert found.enlarging is not None
    assert found.enlarging[2] == pytest.approx(expected, abs=1e-3)
    assert "when it enlarges by 2 it keeps 0.69 of a tone" in said(found)


def test_a_kernel_of_round_rings_is_not_separable() -> None:
    ring = np.hypot(*np.ogrid[-3:4, -3:4]) < 3.2

    def round_mean(array: Any, shape: tuple[int, ...]) -> Any:
        return ndimage.convolve(array, ring / ring.sum())[1::4, 1::4]

    found = characterise(round_mean, 4, dtype="float64")
    assert found.separable is False
    assert "not separable" in said(found)


def test_the_overshoot_is_that_of_the_kernels_running_sum() -> None:
    """Keys's cubic of the places ±1/2, ±3/2 has the weights −1/16, 9/16, 9/16, −1/16."""
    cubic = np.array([-1, 9, 9, -1]) / 16
    found = characterise(lambda x, shape: np.convolve(x, cubic, "same")[2::4], 4, axes=1, dtype="float64")
    assert found.overshoot == pytest.approx(1 / 16, abs=1e-9)


def test_axes_that_are_not_treated_alike() -> None:
    slides = characterise(
        lambda x, shape: weights("box", x.shape[0], shape[0]) @ x @ weights("box", x.shape[1], shape[1], longer=1.05).T,
        4,
        dtype="float64",
    )
    assert slides.alike is False
    assert "slides across" in said(slides)
    assert "slides down" not in said(slides)
    found = characterise(
        lambda x, shape: weights("box", x.shape[0], shape[0]) @ x @ weights("triangle", x.shape[1], shape[1]).T,
        4,
        dtype="float64",
    )
    assert found.alike is False
    assert found.folded == pytest.approx(found.along[0].folded)  # that of the axis that folds more


def test_the_fourier_transform_wraps_around() -> None:
    found = characterise(lambda x, shape: signal.resample(x, shape[0]), 4, axes=1, dtype="float64", positions="starts")
    assert "wraps around" in said(found)
    assert abs(found.offset).max() < 1e-6
    assert found.gain([0.0625, 0.25]).round(6).tolist() == [1, 0]


def test_what_is_asked_amiss_is_said_in_one_line() -> None:
    for wrong, expected in (
        ({"reduction": 0.5}, "reduction is a number above 1"),
        ({"axes": 4}, "axes is 4; expected 1, 2 or 3"),
        ({"channels": "middle"}, "channels is 'middle'"),
        ({"positions": "centres"}, "positions is 'centres'; expected one of areas"),
        ({"size": 8}, "size is 8"),
        ({"dtype": "grey"}, "dtype is 'grey'"),
        ({"function": lambda x, shape: x.nothing}, "the resampler failed on an array of shape"),
        ({"function": lambda x, shape: x[0]}, "made an array of shape"),
    ):
        with pytest.raises(UsageError, match=expected):
            characterise(**({"function": resampler("box"), "reduction": 4} | wrong))


def test_it_is_a_value_that_can_be_read() -> None:
    found = characterise(resampler("box"), (2, 4), dtype="float32", name="boxes", channels=None)
    assert "boxes" in repr(found)
    assert found.table().column_names == ["axis", "output", "place", "offset", "sum"]
    assert found.along[0].reduction == 2
    assert found.alike is None
    with pytest.raises(AttributeError):
        found.name = "other"  # type: ignore[misc]
    layouts = [
        characterise(lambda x, s: x[::4, ::4], 4, channels="last").folded,
        characterise(lambda x, s: x[:, ::4, ::4], 4, channels="first").folded,
    ]
    assert layouts == pytest.approx([1, 1], abs=0.01)
