"""Intervals of every kind that is reported contain the truth as often as they say, by simulation.

==============================  ====================================================  ==================  ============
kind                            where it is reported                                  estimator           simulated in
==============================  ====================================================  ==================  ============
rate of pairs, equal counts     top-1 change, flip rate, accuracy, neighbour change   Share(binary)       test_estimates
its complement                  consistency                                           1 − Share           test_estimates
rate of images                  worst-case change and accuracy; experiments           Share, one each     here
rate of pairs, unequal counts   first view right (across depth, attribution), frames  Share(binary)       here
weighted rate                   matched on the margin (across depth, attribution)     Share, weights      here
upper limit, nothing seen       a rate of 0 (or, mirrored, of 1)                      Share               here
skewed mean in 0…1              MAC, cosine distance                                  Share()             test_estimates
                                                                                                          and cli_jitter
total of an image               total variation along a path                          Share.per_image     here
share of energy                 alias fraction, energy above; experiments             Share(), one each   here
paired difference of rates      top-1 change, accuracy; consistency is its mirror     Difference(binary)  test_estimates
paired difference of images     worst-case change and accuracy                        Difference(binary)  here
paired difference of means      MAC, cosine distance                                  Difference()        here
contrast, slope over networks   across depth (trend, families), attribution           contrast            here
mean, one value an image        layers and sites, spectra, Lie, feature maps          Mean                here
mean difference, one an image   depth: rise; Lie: share                               Mean                here
==============================  ====================================================  ==================  ============


The aim is 0.93 where ten images or more are expected to change. Of means it is held on twenty images by every
population here, and on a dozen by all but the most skewed, whose coverage stands at their test.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from aliasing.estimates import Difference, Estimate, Share, contrast, mean

PAIRS = 8
REPETITIONS = 800  # know a coverage of 0.95 to ±0.008; 0.93 lies 2.6 of that below

Random = np.random.Generator


def coverage(draw: Callable[[], Any], estimate: Callable[[Any], Estimate], truth: float) -> float:
    """How often the interval holds the truth."""
    found = [estimate(draw()) for _ in range(REPETITIONS)]
    assert all(one.low <= one.value <= one.high for one in found)
    assert all(one.low < one.high for one in found)
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def shared(binary: bool) -> Callable[[tuple[Any, Any]], Estimate]:
    def estimate(sample: tuple[Any, Any]) -> Estimate:
        totals, counts = np.broadcast_arrays(*map(np.asarray, sample))
        metric = Share(binary=binary)
        metric.add(totals[counts > 0], counts[counts > 0])
        return metric.estimate()

    return estimate


def differing(binary: bool) -> Callable[[tuple[Any, Any]], Estimate]:
    def estimate(sample: tuple[Any, Any]) -> Estimate:
        metric = Difference(binary=binary)
        metric.add(*sample)
        return metric.estimate()

    return estimate


def rate_of(sample: tuple[Any, Any]) -> float:
    totals, counts = np.broadcast_arrays(*map(np.asarray, sample))
    return float(totals.sum() / counts.sum())


# Populations: each draws that many images


def changed_images(random: Random, images: int) -> tuple[Any, Any]:
    """One answer an image: does any of its shifts change it?"""
    return (random.random(images) < 0.1).astype(float), 1


def of_clips(random: Random, images: int) -> tuple[Any, Any]:
    """Clips of 2 to 39 pairs, of which the short ones change more."""
    counts = random.integers(2, 40, images)
    rate = random.beta(0.5, 4, images) * np.where(counts > 20, 0.5, 1.0)
    return random.binomial(counts, rate), counts


def rightly_answered(random: Random, images: int) -> tuple[Any, Any]:
    """Pairs whose first view is right, which are fewer on images that change more."""
    accuracy = random.beta(2, 1, images)
    right = random.binomial(PAIRS, accuracy)
    return random.binomial(right, 0.3 * (1 - accuracy)), right


def matched(random: Random, images: int) -> tuple[Any, Any]:
    """Pairs weighted by their margin, on which the change depends."""
    margin = 0.7 * random.random((images, 1)) + 0.3 * random.random((images, PAIRS))
    weight = 0.3 + 1.5 * margin
    changed = random.random(margin.shape) < 0.4 * np.exp(-5 * margin)
    return (weight * changed).sum(1), weight.sum(1)


@pytest.mark.parametrize("population", [changed_images, of_clips, rightly_answered, matched])
@pytest.mark.parametrize("images", [100, 300])
def test_rates(population: Callable[[Random, int], Any], images: int) -> None:
    random = np.random.default_rng(images)
    truth = rate_of(population(random, 1_000_000))
    assert coverage(lambda: population(random, images), shared(binary=True), truth) >= 0.93


@pytest.mark.parametrize("images", [13, 100, 500])
def test_the_upper_limit_where_nothing_was_seen(images: int) -> None:
    """A rate so low that nothing changes in one sample of forty: just then the limit may lie below the truth."""
    random = np.random.default_rng(images)
    rate = 1 - 0.025 ** (1 / images)
    samples = random.binomial(PAIRS, np.where(random.random((20_000, images)) < rate, 1.0, 0.0)).sum(1)
    metric = Share(binary=True)
    metric.add(np.zeros(images), PAIRS)
    assert metric.estimate().high == pytest.approx(rate, rel=1e-9)
    # 20,000 samples know 0.025 to ±0.0011.
    assert abs(np.mean(samples == 0) - 0.025) < 0.005


@pytest.mark.parametrize("images", [100, 300])
def test_total_variation_of_paths_of_different_lengths(images: int) -> None:
    random = np.random.default_rng(images)

    def clips(images: int) -> tuple[Any, Any]:
        counts = random.integers(5, 60, images)
        typical = np.minimum(1, np.exp(random.normal(-3, 0.7, images)))
        return counts * typical * random.beta(counts, counts), counts

    def estimate(sample: tuple[Any, Any]) -> Estimate:
        metric = Share()
        metric.add(*sample)
        found, length = metric.per_image().estimate(), sample[1].mean()
        return Estimate(found.value * length, found.low * length, found.high * length)

    truth = float(clips(1_000_000)[0].mean())
    assert coverage(lambda: clips(images), estimate, truth) >= 0.93


@pytest.mark.parametrize(("a", "b"), [(1, 8), (2, 20), (8, 2)])
@pytest.mark.parametrize("images", [13, 50, 200])
def test_shares_of_energy(a: float, b: float, images: int) -> None:
    random = np.random.default_rng([images, int(a)])
    assert coverage(lambda: (random.beta(a, b, images), 1), shared(binary=False), a / (a + b)) >= 0.93


def worst_cases(random: Random, images: int) -> tuple[Any, Any]:
    """Of two networks that agree on most images, the second is steadier."""
    first = random.random(images) < 0.2
    second = np.where(random.random(images) < 0.6, first, random.random(images) < 0.12)
    return second.astype(float) - first, 1


def movements(random: Random, images: int) -> tuple[Any, Any]:
    """Probability changes of two networks, skewed, and alike on an image."""
    image = random.normal(0, 1.2, (images, 1))
    first, second = (
        np.minimum(1, np.exp(level + weight * image + random.normal(0, 0.7, (images, PAIRS))))
        for level, weight in ((-4.0, 1.0), (-4.3, 0.8))
    )
    return (second - first).sum(1), PAIRS


@pytest.mark.parametrize(
    ("population", "binary", "images"),
    [(population, binary, n) for population, binary in ((worst_cases, True), (movements, False)) for n in (100, 300)],
)
def test_paired_differences(population: Callable[[Random, int], Any], binary: bool, images: int) -> None:
    """The movements are so skewed that Student's plain interval covers them 0.90 on 100 images and 0.93 on 300."""
    random = np.random.default_rng(images)
    truth = rate_of(population(random, 500_000))
    assert coverage(lambda: population(random, images), differing(binary), truth) >= 0.93


SLOPE = np.array([-1.5, -0.5, 0.5, 1.5]) / 5


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("vary", [True, False])
def test_slopes_over_networks(binary: bool, vary: bool) -> None:
    random = np.random.default_rng([binary, vary])

    def networks(images: int) -> tuple[Any, Any]:
        counts = random.integers(1, 9, (4, images)) if vary else np.full((4, images), PAIRS)
        image, own = random.normal(0, 1, images), random.normal(0, 0.5, (4, images))
        rates = 1 / (1 + np.exp(2.5 + 0.25 * np.arange(4)[:, None] - image - own))
        return (random.binomial(counts, rates) if binary else counts * rates), counts

    totals, counts = networks(500_000)
    truth = float(SLOPE @ (totals.sum(1) / counts.sum(1)))
    assert coverage(lambda: networks(150), lambda sample: contrast(*sample, SLOPE, binary=binary), truth) >= 0.93


# What means are reported of: layers and sites, the energy in rings of a spectrum, the Lie derivative. Each takes a
# generator and how many images.
LAYERS: dict[str, Callable[[Random, Any], Any]] = {
    "cosine similarity": lambda random, shape: 1 - random.beta(2, 20, shape),
    "unexplained": lambda random, shape: random.beta(3, 2, shape),
    "rise": lambda random, shape: random.beta(4, 2, shape) - random.beta(2, 4, shape),
    "relative change": lambda random, shape: np.exp(random.normal(-2, 0.5, shape)),
    "equivariance error": lambda random, shape: np.exp(random.normal(-1, 0.6, shape)),
    "ring": lambda random, shape: random.exponential(size=shape),
    "ring of one frequency": lambda random, shape: random.gamma(0.5, size=shape),
    "Lie contribution": lambda random, shape: np.exp(random.normal(-3, 0.8, shape)),
    "largest Lie contribution": lambda random, shape: np.exp(random.normal(-3, 1.2, shape)),
    "Lie share": lambda random, shape: random.laplace(0.1, 0.3, shape),
}


@pytest.mark.parametrize("images", [13, 20, 50, 200])
@pytest.mark.parametrize("name", LAYERS)
def test_means_of_layers(name: str, images: int) -> None:
    """Student's plain interval covers the largest contributions 0.81 on 13 images, 0.83 on 20, 0.87 on 50, 0.91 on 200.

    Corrected, it covers them 0.930 on 13 images by 6,000 repetitions: just the aim, which 800 know to 0.009, so that
    there two of those less are asked.
    """
    random = np.random.default_rng(images)
    truth = float(LAYERS[name](random, 2_000_000).mean())
    aim = 0.91 if (name, images) == ("largest Lie contribution", 13) else 0.93
    assert coverage(lambda: LAYERS[name](random, images).tolist(), mean, truth) >= aim


@pytest.mark.parametrize("images", [20, 100, 500])
@pytest.mark.parametrize("draw", ["normal", "random"])
def test_the_correction_costs_symmetric_values_nothing(draw: str, images: int) -> None:
    """Normal and uniform values: neither covered more often than 0.97 nor, on average, by more than 4 % wider.

    On a dozen uniform values it is 0.977, and 7 % wider.
    """
    random = np.random.default_rng(images)
    samples = getattr(random, draw)(size=(REPETITIONS * 2, images))
    found = [mean(sample) for sample in samples]
    truth = 0.0 if draw == "normal" else 0.5
    # 1,600 repetitions know a coverage of 0.965 to ±0.0046.
    assert 0.935 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.975
    plain = 2 * stats.t.ppf(0.975, images - 1) * samples.std(1, ddof=1) / np.sqrt(images)
    assert np.mean([one.high - one.low for one in found]) <= 1.04 * plain.mean()
