"""Estimates from a part of the images, drawn at random: against all of them, over every draw, and by simulation."""

from itertools import product

import numpy as np
import pytest

from aliasing.estimates import Difference, Mean, Share
from aliasing.phases import Drawn, DrawnDifference, DrawnTotals

PAIRS = 8
Random = np.random.Generator


def population(random: Random, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stratum, the chance and the number of changes of images that change the less the higher their stratum is."""
    strata = random.integers(0, 4, images)
    rate = random.beta(1, 3, images) * np.array([1.0, 0.5, 0.15, 0.02])[strata]
    return strata, np.array([1.0, 0.8, 0.3, 0.1])[strata], random.binomial(PAIRS, rate).astype(float)


def drawn_of(random: Random, strata: np.ndarray, chances: np.ndarray, changes: np.ndarray) -> DrawnTotals:
    drawn = random.random(len(strata)) < chances
    return DrawnTotals(strata, drawn, 1 / chances, changes * drawn, float(PAIRS) * drawn)


def estimate(like: Share | Mean, totals: DrawnTotals):  # type: ignore[no-untyped-def]
    metric = Drawn(like)
    metric.add(totals)
    return metric.estimate()


@pytest.mark.parametrize("like", [Share(binary=True), Share(), Mean()])
def test_if_all_are_drawn_it_is_the_estimate_of_the_full_design(like: Share | Mean) -> None:
    random = np.random.default_rng(0)
    strata, _, changes = population(random, 60)
    counts = random.integers(PAIRS, 2 * PAIRS, 60).astype(float)
    found = estimate(like, DrawnTotals(strata, np.ones(60, bool), np.ones(60), changes, counts))
    like.add(changes, counts)
    expected = like.estimate()
    if isinstance(like, Mean):  # its skewness there is of the residuals, about which the values here are made
        assert found.value == pytest.approx(expected.value, rel=1e-12)
    # Sums are taken in another order: a few 1e-16 of each, and the beta quantiles are good to about 1e-12.
    assert vars(found) == pytest.approx(vars(expected), rel=1e-9)


def test_a_difference_of_which_all_is_drawn_is_that_of_the_full_design() -> None:
    random = np.random.default_rng(1)
    strata, _, before = population(random, 80)
    after = random.binomial(PAIRS, 0.3 * before / PAIRS + 0.1).astype(float)
    every, weights, counts = np.ones(80, bool), np.ones(80), np.full(80, float(PAIRS))
    metric, full = DrawnDifference(Difference(binary=True)), Difference(binary=True)
    metric.add(DrawnTotals(strata, every, weights, before, counts), DrawnTotals(strata, every, weights, after, counts))
    full.add(after - before, PAIRS)
    assert vars(metric.estimate()) == pytest.approx(vars(full.estimate()), rel=1e-9)


def test_the_mean_over_all_draws_is_the_full_value() -> None:
    """Two strata of four images, two drawn of the second: every draw of that size is as probable as any other."""
    strata, changes = np.repeat([0, 1], 4), np.array([5.0, 2, 8, 0, 3, 0, 0, 1])
    values = []
    for inside in product([False, True], repeat=4):
        if sum(inside) == 2:
            drawn = np.array([True] * 4 + list(inside))
            totals = DrawnTotals(strata, drawn, np.where(strata, 2.0, 1.0), changes * drawn, PAIRS * drawn * 1.0)
            values.append(estimate(Share(), totals).value)
    assert len(values) == 6
    assert np.mean(values) == pytest.approx(changes.sum() / (8 * PAIRS), rel=1e-12)


def test_a_stratum_of_which_one_image_was_drawn_is_joined_by_the_chances() -> None:
    """Of the second stratum one image with weight 4, of the first four with weight 1: the mean is weighted so."""
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    drawn = np.array([True] * 5 + [False] * 3)
    totals = np.array([4.0, 0, 0, 4, 8, 0, 0, 0])
    found = estimate(Share(), DrawnTotals(strata, drawn, np.where(strata, 4.0, 1.0), totals, PAIRS * drawn * 1.0))
    assert found.value == pytest.approx((8 + 4 * 8) / (8 * PAIRS), rel=1e-12)


@pytest.mark.parametrize("images", [150, 600])
@pytest.mark.parametrize("like", [Share(binary=True), Mean()])
def test_intervals_cover(images: int, like: Share | Mean) -> None:
    """400 repetitions know a coverage of 0.95 to ±0.011, and 0.92 lies 2.7 of that below."""
    random = np.random.default_rng(images)
    truth = population(random, 1_000_000)[2].mean() / PAIRS
    found = [estimate(type(like)(), drawn_of(random, *population(random, images))) for _ in range(400)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.92
    values = np.array([one.value for one in found])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))


def test_intervals_of_differences_cover_and_are_narrower_if_the_draws_are_the_same() -> None:
    random = np.random.default_rng(3)
    found = {}
    for together in (True, False):
        covered, widths = [], []
        for _ in range(300):
            strata, chances, before = population(random, 400)
            after = random.binomial(before.astype(int), 0.7).astype(float)  # three changes of ten are cured
            numbers = random.random((2, 400))
            drawn = [numbers[0] < chances, numbers[0 if together else 1] < chances]
            metric = DrawnDifference(Difference(binary=True))
            sides = [
                DrawnTotals(strata, seen, 1 / chances, values * seen, seen * float(PAIRS))
                for seen, values in zip(drawn, (before, after), strict=True)
            ]
            metric.add(*sides)
            one = metric.estimate()
            truth = -0.3 * 0.25 * (1 + 0.5 + 0.15 + 0.02) / 4  # beta(1, 3) has the mean 0.25
            covered.append(one.low <= truth <= one.high)
            widths.append(one.high - one.low)
        assert np.mean(covered) >= 0.91  # 300 repetitions: 0.95 ± 0.0126, of which 0.91 lies 3.2 below
        found[together] = np.mean(widths)
    assert found[True] < 0.9 * found[False]


def test_nothing_seen_is_never_certain() -> None:
    """No change in 30 drawn of 100 images: about 3 / 30, as if the others had not been there."""
    drawn = np.arange(100) < 30
    strata, weights = np.repeat([0, 1], 50), np.ones(100)
    found = estimate(Share(binary=True), DrawnTotals(strata, drawn, weights, np.zeros(100), PAIRS * drawn * 1.0))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 30))
    metric = DrawnDifference(Difference(binary=True))
    same = DrawnTotals(strata, drawn, weights, np.zeros(100), PAIRS * drawn * 1.0)
    metric.add(same, same)
    assert metric.estimate().low < 0 < metric.estimate().high


def test_merging_is_adding() -> None:
    random = np.random.default_rng(5)
    parts = [drawn_of(random, *population(random, 50)) for _ in range(2)]
    first, second, both = Drawn(Share()), Drawn(Share()), Drawn(Share())
    first.add(parts[0])
    second.add(parts[1])
    first.merge(second)
    for part in parts:
        both.add(part)
    assert first.estimate() == both.estimate()


def test_without_values_it_is_not_a_number() -> None:
    nothing = DrawnTotals(np.zeros(3, int), np.zeros(3, bool), np.ones(3), np.zeros(3), np.zeros(3))
    assert np.isnan(estimate(Share(), nothing).value)
