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
from dataclasses import dataclass
from typing import Self

from scipy import stats

CONFIDENCE = 0.95


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
class Share:
    """The mean of values between 0 and 1, several of them an image; a metric that accumulates and merges.

    Parameters
    ----------
    binary : bool
        True for values that are 0 or 1. Their effective sample size cannot exceed their number.

    Examples
    --------
    >>> share = Share(binary=True)
    >>> for changes in (0, 1, 0, 3):
    ...     share.add(changes, 8)
    >>> print(share.estimate())
    0.1250 [0.0006, 0.6350]
    """

    binary: bool = False
    images: int = 0
    total: float = 0.0
    count: float = 0.0
    total_squared: float = 0.0
    total_count: float = 0.0
    count_squared: float = 0.0

    def add(self, total: float, count: float) -> None:
        """Take in one image: the sum of its values and how many they are."""
        self.images += 1
        self.total += total
        self.count += count
        self.total_squared += total * total
        self.total_count += total * count
        self.count_squared += count * count

    def merge(self, other: Self) -> None:
        """Take in what another process has accumulated."""
        for name in ("images", "total", "count", "total_squared", "total_count", "count_squared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def estimate(self) -> Estimate:
        """The ratio of sums with its Korn–Graubard beta interval; NaN where there is no value."""
        if not self.count:
            return Estimate(math.nan, math.nan, math.nan)
        value = min(max(self.total / self.count, 0.0), 1.0)
        size = self._effective_size(value)
        tail = (1 - CONFIDENCE) / 2
        hits, misses = value * size, (1 - value) * size
        low = float(stats.beta.ppf(tail, hits, misses + 1)) if hits > 0 else 0.0
        high = float(stats.beta.ppf(1 - tail, hits + 1, misses)) if misses > 0 else 1.0
        return Estimate(value, low, high)

    def _effective_size(self, value: float) -> float:
        if self.images < 2:
            return 1.0
        residual = self.total_squared - 2 * value * self.total_count + value * value * self.count_squared
        variance = self.images / (self.images - 1) * residual / self.count**2
        # Rounding leaves about one unit in the last place of the sums where the images do not vary at all.
        if residual <= 1e-12 * max(self.total_squared, self.count_squared):
            return float(self.images)
        size = value * (1 - value) / variance
        if self.binary:
            size = min(size, self.count)
        normal, student = stats.norm.ppf(0.5 + CONFIDENCE / 2), stats.t.ppf(0.5 + CONFIDENCE / 2, self.images - 1)
        return float(size * (normal / student) ** 2)


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
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.images - 1)) * error
        return Estimate(self.average, self.average - half, self.average + half)


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
