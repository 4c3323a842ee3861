"""Intervals must contain the truth as often as they say, and never claim certainty."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from aliasing.estimates import Difference, Mean, Share, mean, share

PAIRS = 8
REPETITIONS = 600


def correlated_changes(rate: float, correlation: float, images: int, random: np.random.Generator) -> np.ndarray:
    """Changed pairs of each image, (REPETITIONS, images): beta-binomial, so that pairs of an image are correlated."""
    concentration = 1 / correlation - 1
    propensity = random.beta(rate * concentration, (1 - rate) * concentration, size=(REPETITIONS, images))
    return random.binomial(PAIRS, propensity)


@pytest.mark.parametrize("images", [13, 50, 200, 500])
@pytest.mark.parametrize("rate", [0.005, 0.02, 0.05, 0.2, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("correlation", [0.05, 0.3, 0.7])
def test_rate_intervals_cover_wherever_ten_images_are_expected_to_change(
    images: int, rate: float, correlation: float
) -> None:
    changes = correlated_changes(rate, correlation, images, np.random.default_rng([images, int(rate * 1000)]))
    estimates = []
    for sample in changes:
        metric = Share(binary=True)
        metric.add(sample, PAIRS)
        estimates.append(metric.estimate())
    assert all(estimate.low < estimate.high for estimate in estimates)
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in estimates)
    if (changes > 0).sum(1).mean() >= 10:
        # 0.93 is what the design promises; 600 repetitions know a coverage of 0.95 to ±0.009.
        assert np.mean([estimate.low <= rate <= estimate.high for estimate in estimates]) >= 0.93


@pytest.mark.parametrize("images", [200, 500])
def test_intervals_of_skewed_means_cover(images: int) -> None:
    """Probability changes are small on most images and large on a few: log-normal between and within images."""
    random = np.random.default_rng(images)

    def changes(shape: tuple[int, ...]) -> np.ndarray:
        image = random.normal(-4, 1.2, (*shape, 1))
        return np.minimum(1, np.exp(image + random.normal(0, 0.7, (*shape, PAIRS))))

    truth = changes((200_000,)).mean()
    covered = 0
    for sample in changes((REPETITIONS, images)):
        metric = Share()
        metric.add(sample.sum(1), PAIRS)
        estimate = metric.estimate()
        covered += estimate.low <= truth <= estimate.high
    assert covered / REPETITIONS >= 0.93


@pytest.mark.parametrize("images", [50, 500])
@pytest.mark.parametrize(("first", "second"), [(0.03, 0.03), (0.03, 0.02), (0.3, 0.2)])
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_intervals_of_paired_differences_cover(images: int, first: float, second: float, shared: float) -> None:
    random = np.random.default_rng([images, int(first * 100), int(second * 100), int(shared)])
    quantile = random.random((2, REPETITIONS, images))
    quantile[1] = np.where(random.random(quantile[1].shape) < shared, quantile[0], quantile[1])
    a, b = (
        random.binomial(PAIRS, stats.beta.ppf(q, rate, 1 - rate))
        for q, rate in zip(quantile, (first, second), strict=True)
    )
    covered = 0
    for before, after in zip(a, b, strict=True):
        metric = Difference(binary=True)
        metric.add(after - before, PAIRS)
        estimate = metric.estimate()
        assert estimate.low < estimate.high
        covered += estimate.low <= second - first <= estimate.high
    assert covered / REPETITIONS >= 0.93


def test_no_change_in_n_images_reads_as_the_rule_of_three() -> None:
    metric = Share(binary=True)
    metric.add(np.zeros(500), PAIRS)
    estimate = metric.estimate()
    assert (estimate.value, estimate.low) == (0, 0)
    assert 3 / 500 < estimate.high < 4 / 500
    # The exact two-sided bound (Clopper & Pearson 1934) on 500 independent images, not on 4,000 pairs.
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 500), rel=1e-12)


def test_shares_that_differ_by_rounding_do_not_vary() -> None:
    # The alias fraction of a constant is 0, or 2.2e-16: that says no more of the other images than 0 and 0 do.
    rounded, exact = share([2.0**-52, 0.0, 0.0]), share([0.0, 0.0, 0.0])
    assert rounded.high == pytest.approx(exact.high, abs=1e-12)


def test_independent_values_get_the_clopper_pearson_interval() -> None:
    """One value an image: no design effect, so the interval is that of a plain proportion, up to Student's factor."""
    hits, images = 300, 1000
    estimate = share([1.0] * hits + [0.0] * (images - hits), binary=True)
    exact = stats.binomtest(hits, images).proportion_ci(method="exact")
    # The unbiased variance makes the size 0.1 % smaller and Student's factor (299 degrees) 0.8 %: 0.5 % of the width.
    assert estimate.high - estimate.low == pytest.approx(exact.high - exact.low, rel=0.01)


def test_a_share_adds_one_value_after_the_other() -> None:
    values = np.random.default_rng(0).beta(2, 20, 50)
    together = Share()
    together.add(values, 1)
    assert share(values).as_dict() == pytest.approx(together.estimate().as_dict(), rel=1e-12)  # sums in another order


def test_identical_pairs_count_as_one() -> None:
    """Eight copies of one value an image carry what one carries: the design effect is 8."""
    values = np.random.default_rng(0).random(300) < 0.3
    once, copied = Share(binary=True), Share(binary=True)
    once.add(values, 1)
    copied.add(values * PAIRS, PAIRS)
    assert copied.estimate().low == pytest.approx(once.estimate().low, rel=1e-12)
    assert copied.estimate().high == pytest.approx(once.estimate().high, rel=1e-12)


counts = st.lists(st.integers(0, PAIRS), min_size=1, max_size=40)


@given(counts, counts)
def test_merging_is_adding(first: list[int], second: list[int]) -> None:
    merged, other, whole = Share(binary=True), Share(binary=True), Share(binary=True)
    merged.add(first, PAIRS)
    other.add(second, PAIRS)
    merged.merge(other)
    whole.add([*first, *second], PAIRS)
    assert merged == whole  # sums of small integers are exact


def corrected(mean: float, error: float, images: int, skewness: float) -> tuple[float, float]:
    """The ends of the interval: roots of Hall's (1992) cubic at plus and minus Student's quantile."""
    a = skewness / math.sqrt(images)
    quantile = stats.t.ppf(0.975, max((images - 1) / (1 + 0.75 * skewness**2), 1))
    cubic = np.polynomial.Polynomial([a / 6, 1, a / 3, a * a / 27])
    low, high = (brentq(cubic - aim, -100, 100, xtol=1e-13) for aim in (-quantile, quantile))
    return mean - error * high, mean - error * low


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_the_mean_of_few_values_has_students_interval(values: list[float]) -> None:
    estimate = mean(values)
    assert estimate.value == pytest.approx(np.mean(values), abs=1e-9)
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error) if error else (values[0],) * 2
    # Rounding of a mean of numbers up to 1e3: some 1e-13, times the t quantile of 12.7 for two values.
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


whole = st.lists(st.integers(-1000, 1000), min_size=10, max_size=40)


@given(whole)
def test_the_mean_of_ten_and_more_is_corrected_for_skewness(values: list[int]) -> None:
    estimate = mean(values)
    if len(set(values)) == 1:
        assert (estimate.low, estimate.high) == (values[0], values[0])
        return
    # The deviations of whole numbers from their mean are at least 1/40, so the skewness is known to some 1e-12, and the
    # ends, up to 12.7 × 3 errors of at most 1e3 away, to 1e-8.
    expected = corrected(np.mean(values), stats.sem(values), len(values), stats.skew(values, bias=False))
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-7)
    assert estimate.low < estimate.value < estimate.high


@given(whole, whole, st.booleans())
def test_merged_means_and_differences_are_those_of_all_at_once(
    first: list[int], second: list[int], binary: bool
) -> None:
    """With numbers of values that vary, as in clips: the sums of the products are then all needed."""
    sizes = np.arange(len(first) + len(second)) % 5 + 1
    totals = np.array([*first, *second]) / 1000 * sizes
    for make, columns in ((Mean, (totals,)), (lambda: Difference(binary=binary), (totals, sizes))):
        merged, other, one_by_one, at_once = (make() for _ in range(4))
        merged.add(*(column[: len(first)] for column in columns))
        other.add(*(column[len(first) :] for column in columns))
        merged.merge(other)
        at_once.add(*columns)
        for values in zip(*columns, strict=True):
            one_by_one.add(*values)
        expected = at_once.estimate()
        for found in (merged.estimate(), one_by_one.estimate()):
            # Some hundred roundings of sums of at most 80 numbers below 5; ends that lie tens of errors away.
            assert (found.value, found.low, found.high) == pytest.approx(
                (expected.value, expected.low, expected.high), abs=1e-9
            )


def test_a_difference_is_corrected_by_the_skewness_of_its_residuals() -> None:
    random = np.random.default_rng(0)
    counts = random.integers(1, 9, 40)
    totals = counts * random.beta(1, 9, 40)
    metric = Difference()
    metric.add(totals, counts)
    ratio = totals.sum() / counts.sum()
    residuals = totals - ratio * counts
    error = math.sqrt(40 / 39 * (residuals**2).sum()) / counts.sum()
    expected = corrected(ratio, error, 40, stats.skew(residuals, bias=False))
    estimate = metric.estimate()
    # Sums of 40 numbers below 10: some 1e-15 of them.
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-12)
    assert estimate.high - ratio > 1.1 * (ratio - estimate.low)  # it reaches out to where the large ones are


def test_large_values_that_vary_little_keep_their_skewness() -> None:
    """Sums of the powers themselves would lose the cubes: (1e8)³ is known to 1e8, and they add up to some 100."""
    values = np.random.default_rng(0).exponential(size=60)
    raised = Mean()
    for part in np.split(values, 6):
        raised.add(part + 1e8)
    found, expected = raised.estimate(), mean(values)
    # A number around 1e8 is known to 1.5e-8; the mean, and ends a few errors away, to a few times that.
    assert (found.low - 1e8, found.high - 1e8) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.3], (0.3, math.nan, math.nan)),
        ([0.1] * 2, (0.1, 0.1, 0.1)),
        ([0.1] * 500, (0.1, 0.1, 0.1)),
        ([0.0, 2.0], (1.0, 1 - stats.t.ppf(0.975, 1), 1 + stats.t.ppf(0.975, 1))),
        ([0.0, 0.0, 3.0], (1.0, 1 - stats.t.ppf(0.975, 2), 1 + stats.t.ppf(0.975, 2))),
    ],
)
def test_degenerate_means(values: list[float], expected: tuple[float, float, float]) -> None:
    """One value knows nothing of its spread; two, three and up to nine have Student's; equal ones have no width."""
    estimate = mean(values)
    # A mean of equal numbers and Student's quantile of 12.7 times an error of 1: a few roundings.
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize("images", [10, 100, 10_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_value_unlike_all_others_still_holds_the_mean(images: int, sign: int) -> None:
    """The largest skewness that so many values can have: the slant of the cubic is then 1, its largest."""
    estimate = mean([0.0] * (images - 1) + [sign])
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.high - estimate.value > estimate.value - estimate.low) == (sign > 0)


def test_nothing_measured_is_not_a_number_and_null_in_json() -> None:
    for metric in (Share(), Difference(), Mean()):
        assert math.isnan(metric.estimate().value)
        assert metric.estimate().as_dict() == {"value": None, "low": None, "high": None}


def test_a_difference_of_nothing_is_not_certain() -> None:
    for binary in (True, False):
        metric = Difference(binary=binary)
        metric.add(np.zeros(100), PAIRS)
        estimate = metric.estimate()
        assert estimate.value == 0
        assert -0.05 < estimate.low < 0 < estimate.high < 0.05
