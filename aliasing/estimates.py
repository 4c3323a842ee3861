r"""How sure are we? Estimates with 95 % intervals, from images that each give several values.

The pairs of views of one image are not independent, so the image is the unit of sampling. With :math:`x_i` the sum of
the values of image *i* and :math:`n_i` their number, the estimate is the ratio of sums and its variance is the
linearised one (Cochran 1977, §6.3):

.. math:: r = \sum x_i / \sum n_i, \qquad
          v = \frac{m}{m-1} \frac{\sum (x_i - r n_i)^2}{(\sum n_i)^2}

A value bounded by 0 and 1 gets the beta interval of a proportion on the *effective* sample size
:math:`n^* = r (1 - r) / v`, corrected for the few degrees of freedom of *m* images (Korn & Graubard 1998). It never has
zero width: where no variation was seen, *n\** is the number of images, so that "no change in *m* images" reads as
"at most about 3.7 / m".

Everything is kept as sums, so that estimates stream, merge, and need no memory.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval. ``low`` and ``high`` are NaN where one value cannot tell its spread."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """As it stands in ``summary.json``: ``{"value", "low", "high"}``, null for what is not a number."""
        return {name: _finite(getattr(self, name)) for name in ("value", "low", "high")}

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass
class _ImageSums:
    """What the ratio of sums and its variance need, image by image; accumulates and merges."""

    binary: bool = False
    images: int = 0
    total: float = 0.0
    count: float = 0.0
    total_squared: float = 0.0
    total_count: float = 0.0
    count_squared: float = 0.0

    def add(self, total: npt.ArrayLike, count: npt.ArrayLike) -> None:
        """Take in images: for each (or for one) the sum of its values, and how many they are."""
        totals, counts = np.broadcast_arrays(np.asarray(total, np.float64), np.asarray(count, np.float64))
        self.images += totals.size
        self.total += float(totals.sum())
        self.count += float(counts.sum())
        self.total_squared += float((totals * totals).sum())
        self.total_count += float((totals * counts).sum())
        self.count_squared += float((counts * counts).sum())

    def merge(self, other: Self) -> None:
        """Take in what another process has accumulated."""
        for field in fields(_ImageSums):
            if field.name != "binary":
                setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def variance(self) -> float:
        """The linearised variance of the ratio of sums; 0 where the images do not vary."""
        if self.images < 2:
            return 0.0
        ratio = self.total / self.count
        residual = self.total_squared - 2 * ratio * self.total_count + ratio * ratio * self.count_squared
        # Where the images do not vary at all, the three terms cancel to their rounding: a few 1e-16 of the largest.
        if residual <= 1e-12 * max(self.total_squared, ratio * ratio * self.count_squared):
            return 0.0
        return self.images / (self.images - 1) * residual / self.count**2


@dataclass
class Share(_ImageSums):
    """The mean of values between 0 and 1, several of them an image; a metric that accumulates and merges.

    Parameters
    ----------
    binary : bool
        True for values that are 0 or 1. Their effective sample size cannot exceed their number.

    Examples
    --------
    >>> share = Share(binary=True)
    >>> share.add([0, 1, 0, 3], 8)
    >>> print(share.estimate())
    0.1250 [0.0001, 0.7162]
    """

    def estimate(self) -> Estimate:
        """The ratio of sums with its Korn–Graubard beta interval; NaN where there is no value."""
        if not self.count:
            return Estimate(math.nan, math.nan, math.nan)
        value = min(max(self.total / self.count, 0.0), 1.0)
        size = self._effective_size(value)
        hits, misses = value * size, (1 - value) * size
        low = float(stats.beta.ppf(_TAIL, hits, misses + 1)) if hits > 0 else 0.0
        high = float(stats.beta.ppf(1 - _TAIL, hits + 1, misses)) if misses > 0 else 1.0
        return Estimate(value, low, high)

    def per_image(self) -> "Share":
        """The same images as if each had equally many values: for the mean of their totals, where their counts vary."""
        if not self.images:
            return Share(self.binary)
        count = self.count / self.images
        return Share(
            self.binary, self.images, self.total, self.count, self.total_squared, self.total * count, self.count * count
        )

    def _effective_size(self, value: float) -> float:
        """The number of independent values that would have this variance.

        The variance is known only as well as the images that carry the total (or what is missing to 1, if that is
        less) are many: their participation ratio gives the degrees of freedom. And however dependent the values of an
        image are, the images are independent, so the size is at least their number (Kish 1965).
        """
        images = self.count**2 / self.count_squared
        variance = self.variance()
        if not variance:
            return images
        size = value * (1 - value) / variance
        carrying = self.total**2 / self.total_squared
        missing_squared = self.count_squared - 2 * self.total_count + self.total_squared
        missing = (self.count - self.total) ** 2 / missing_squared
        freedom = max(min(carrying, missing) - 1, 1)
        size *= float(stats.norm.ppf(_TAIL) / stats.t.ppf(_TAIL, freedom)) ** 2
        return max(min(size, self.count) if self.binary else size, images)


@dataclass
class Difference(_ImageSums):
    """The difference of two means of values between 0 and 1 on the same images: a paired metric.

    ``add`` takes, image by image, the second's sum of values minus the first's, and how many values each has. The
    interval is Student's t on the linearised variance. For binary values one image is added that goes wholly one way
    and one that goes wholly the other (Bonett & Price 2012): this holds the level where changes are rare, and gives
    the interval a width where no difference was seen.

    Examples
    --------
    >>> difference = Difference(binary=True)
    >>> difference.add([0, 1, 2, 0, 0], 8)
    >>> print(difference.estimate())
    0.0750 [-0.4881, 0.5952]
    """

    def estimate(self) -> Estimate:
        """The difference with its paired interval; NaN where there is no value."""
        if not self.count:
            return Estimate(math.nan, math.nan, math.nan)
        value = self.total / self.count
        padded = Difference()
        padded.merge(self)
        if self.binary or not self.variance():
            typical = self.count / self.images
            padded.add([-typical, typical], typical)
        centre = padded.total / padded.count
        half = float(stats.t.ppf(1 - _TAIL, padded.images - 1)) * math.sqrt(padded.variance())
        return Estimate(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


@dataclass
class Mean:
    """The mean of one unbounded value an image, with Student's t interval; accumulates and merges.

    Examples
    --------
    >>> print(mean([1.9, 2.0, 2.1]))
    2.0000 [1.7516, 2.2484]
    """

    images: int = 0
    average: float = 0.0
    squares: float = 0.0  # sum of squared deviations from the average (Welford 1962): no cancellation

    def add(self, value: float) -> None:
        """Take in the value of one image."""
        self.merge(type(self)(1, value, 0.0))

    def merge(self, other: Self) -> None:
        """Take in what another process has accumulated (Chan, Golub & LeVeque 1983)."""
        if not other.images:
            return
        images = self.images + other.images
        step = other.average - self.average
        self.squares += other.squares + step * step * self.images * other.images / images
        self.average += step * other.images / images
        self.images = images

    def estimate(self) -> Estimate:
        """The mean with its t interval; the interval of a single value is NaN."""
        if self.images < 2:
            return Estimate(self.average if self.images else math.nan, math.nan, math.nan)
        error = math.sqrt(self.squares / (self.images - 1) / self.images)
        half = float(stats.t.ppf(1 - _TAIL, self.images - 1)) * error
        return Estimate(self.average, self.average - half, self.average + half)


def contrast(
    totals: npt.ArrayLike, counts: npt.ArrayLike, coefficients: npt.ArrayLike, *, binary: bool = False
) -> Estimate:
    r"""A weighted sum of several networks' means on the same images, with its paired interval.

    With :math:`r_k = \sum_i x_{ki} / \sum_i n_{ki}` the mean of network *k*, the contrast is :math:`\sum_k c_k r_k` and
    its variance, linearised as above, keeps what the networks share on an image:

    .. math:: v = \frac{m}{m-1} \sum_i \Big(\sum_k c_k \frac{x_{ki} - r_k n_{ki}}{\sum_j n_{kj}}\Big)^2

    Coefficients (−1, 1) are the difference of two networks; those of a regression are its slope. The interval is
    Student's t; as in :class:`Difference`, two images that go wholly one way and the other are added for binary values,
    and where no variation was seen.

    Parameters
    ----------
    totals, counts : array (networks, images)
        For each image the sum of a network's values between 0 and 1, and how many (or how heavy) they are; 0 where an
        image has none.
    coefficients : array (networks,)
    binary : bool
        True for values that are 0 or 1.

    Returns
    -------
    Estimate
        NaN where a network has no value.

    Examples
    --------
    >>> print(contrast([[0, 0, 0, 0, 0], [0, 1, 2, 0, 0]], [[8] * 5] * 2, [-1, 1], binary=True))
    0.0750 [-0.4881, 0.5952]
    """
    sums, sizes = np.asarray(totals, np.float64), np.asarray(counts, np.float64)
    weights = np.asarray(coefficients, np.float64)
    if not sizes.sum(1).all():
        return Estimate(math.nan, math.nan, math.nan)
    ratios = sums.sum(1) / sizes.sum(1)
    value = float(weights @ ratios)
    images = sums.shape[1]
    if images < 2:
        return Estimate(value, math.nan, math.nan)
    influence = weights @ ((sums - ratios[:, None] * sizes) / sizes.sum(1)[:, None])
    largest, smallest = float(np.maximum(weights, 0).sum()), float(np.minimum(weights, 0).sum())
    values = value + images * influence  # one an image, whose mean is the contrast
    if binary or float(influence @ influence) < 1e-24:
        values = np.append(values, [largest, smallest])
    centre = float(values.mean())
    half = float(stats.t.ppf(1 - _TAIL, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(value, max(smallest, min(value, centre - half)), min(largest, max(value, centre + half)))


def mean(values: Iterable[float]) -> Estimate:
    """The mean of one value an image, with Student's t interval."""
    accumulator = Mean()
    for value in values:
        accumulator.add(value)
    return accumulator.estimate()


def share(values: Iterable[float], *, binary: bool = False) -> Estimate:
    """The mean of one value between 0 and 1 an image, with the beta interval of a proportion."""
    accumulator = Share(binary=binary)
    for value in values:
        accumulator.add(value, 1)
    return accumulator.estimate()


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
