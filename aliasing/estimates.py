r"""Estimates with their 95 % intervals, from images that each give several values.

The pairs of views of one image are not independent, so the image is the unit of sampling. With :math:`x_i` the sum of
the values of image *i* and :math:`n_i` their number, the estimate is the ratio of sums and its variance is the
linearised one (Cochran 1977, §6.3):

.. math:: r = \sum x_i / \sum n_i, \qquad
          v = \frac{m}{m-1} \frac{\sum (x_i - r n_i)^2}{(\sum n_i)^2}

A value bounded by 0 and 1 gets the beta interval of a proportion on the *effective* sample size
:math:`n^* = r (1 - r) / v`, corrected for the few degrees of freedom of *m* images (Korn & Graubard 1998). It never has
zero width: where no variation was seen, *n\** is the number of images, so that "no change in *m* images" reads as
"at most about 3.7 / m".

Unbounded means, and differences, get Student's t interval corrected for skewness. The mean of skewed values and its
error are dependent: if the few large ones are missing from the sample, both are too small, and the plain t interval
misses a truth above it far too often. With :math:`e_i = x_i - r n_i`, :math:`g` their unbiased skewness and
:math:`a = g / \sqrt m`, a monotone cubic (Hall 1992) makes the statistic :math:`T = (r - \rho) / \sqrt v` symmetric,
and its inverse takes the quantiles of Student's t back:

.. math:: x = T + \frac{a T^2}{3} + \frac{a^2 T^3}{27} + \frac a 6
          \quad\Longleftrightarrow\quad T = \frac{3\,(x - a/6)}{u^2 + u + 1},\quad
          u = \sqrt[3]{1 + a\,(x - a/6)}

The degrees of freedom are those of a variance of skewed values (Satterthwaite 1946): with the kurtosis
:math:`3 + \frac32 g^2` of a gamma distribution of that skewness, :math:`(m - 1) / (1 + \frac34 g^2)`. Without skewness
this is Student's interval. Fewer than ten images get Student's interval too, because their skewness is chance: that of
normal values has a standard error above 0.7, and would make the interval of three up to twice as wide as needed.

Everything is kept as sums, so that estimates can stream and merge in constant memory.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import special

from aliasing.rounding import rounded

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_SKEWNESS_FROM = 10  # images
_CARRYING_FROM = 1.5  # images that carry a class, so that its spread shows


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; ``low`` and ``high`` are NaN if a single value does not show any spread."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """As in ``summary.json``: ``{"value", "low", "high"}``, with null for NaN and infinity."""
        return {name: number if math.isfinite(number) else None for name, number in vars(self).items()}

    @classmethod
    def of(cls, found: Mapping[str, float | None]) -> "Estimate":
        """The estimate in a ``summary.json``, with NaN for null."""
        return cls(**{name: math.nan if number is None else number for name, number in found.items()})

    def scaled(self, factor: float, offset: float = 0.0) -> "Estimate":
        """The estimate of ``offset + factor × x``."""
        value, *ends = (offset + factor * x for x in (self.value, self.low, self.high))
        return Estimate(value, *(ends if factor >= 0 else ends[::-1]))

    def __str__(self) -> str:
        return f"{rounded(self.value, '.4f')} [{rounded(self.low, '.4f')}, {rounded(self.high, '.4f')}]"


@dataclass
class _ImageSums:
    """The sums over images that the ratio of sums and its variance need; accumulates and merges."""

    binary: bool = False
    images: int = 0
    total: float = 0.0
    count: float = 0.0
    total_squared: float = 0.0
    total_count: float = 0.0
    count_squared: float = 0.0

    def add(self, total: npt.ArrayLike, count: npt.ArrayLike) -> None:
        """Add images: the sum and the number of the values of each (or of one)."""
        totals, counts = np.broadcast_arrays(np.asarray(total, np.float64), np.asarray(count, np.float64))
        self.images += totals.size
        self.total += float(totals.sum())
        self.count += float(counts.sum())
        self.total_squared += float((totals * totals).sum())
        self.total_count += float((totals * counts).sum())
        self.count_squared += float((counts * counts).sum())

    def merge(self, other: Self) -> None:
        """Add what another process has accumulated."""
        for name in (one.name for one in fields(_ImageSums) if one.name != "binary"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def variance(self) -> float:
        """The linearised variance of the ratio of sums; 0 if the images do not vary."""
        if self.images < 2:
            return 0.0
        ratio = self.total / self.count
        residual = self.total_squared - 2 * ratio * self.total_count + ratio * ratio * self.count_squared
        # If the images do not vary, the three terms cancel up to rounding: a few 1e-16 of the largest. And shares that
        # differ by less than 1e-9 differ by the rounding of what they were computed from.
        if residual <= max(1e-12 * max(self.total_squared, ratio * ratio * self.count_squared), 1e-18):
            return 0.0
        return self.images / (self.images - 1) * residual / self.count**2


@dataclass
class Share(_ImageSums):
    """The mean of values between 0 and 1, several per image; a metric that accumulates and merges.

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
        """The ratio of sums with its Korn–Graubard beta interval; NaN if there are no values."""
        if not self.count:
            return Estimate(math.nan, math.nan, math.nan)
        value, variance = min(max(self.total / self.count, 0.0), 1.0), self.variance()
        carrying = self._carrying() if variance else 0.0
        most = self.count if self.binary else math.inf
        return beta_estimate(value, variance, carrying, least=self.count**2 / self.count_squared, most=most)

    def per_image(self) -> "Share":
        """The same images as if each had the same number of values: for the mean of totals whose counts vary."""
        if not self.images:
            return Share(self.binary)
        count = self.count / self.images
        return Share(
            self.binary, self.images, self.total, self.count, self.total_squared, self.total * count, self.count * count
        )

    def _carrying(self) -> float:
        """The number of images that carry the total, or what is missing to 1, if that is less (participation ratio)."""
        missing_squared = self.count_squared - 2 * self.total_count + self.total_squared
        return min(self.total**2 / self.total_squared, (self.count - self.total) ** 2 / missing_squared)


def beta_estimate(value: float, variance: float, carrying: float, *, least: float, most: float) -> Estimate:
    """A share with the beta interval of as many independent values as would have this variance.

    How well the variance is known depends on how many images carry the total, which gives the degrees of freedom.
    However dependent the values of an image are, the images are independent, so the effective size is at ``least``
    their number (Kish 1965), and at ``most`` that of the values if these are 0 or 1.
    """
    size = least
    if variance:
        size = value * (1 - value) / variance
        size *= float(special.ndtri(_TAIL) / special.stdtrit(max(carrying - 1, 1), _TAIL)) ** 2
        size = max(min(size, most), least)
    return Estimate(value, *_beta_interval(value * size, (1 - value) * size))


@dataclass
class _Moments:
    """The moments that the ratio of sums, its variance and its skewness need; accumulates and merges.

    ``about[p, q]`` is the sum over the images of (x − mean of x)^p (n − mean of n)^q, with x the sum of an image's
    values and n their number. Sums about the mean do not cancel if the values are large and vary little (Welford 1962).
    Two of them merge by the binomial theorem, once both are about the common mean (Pébay 2008).
    """

    mean_total: float = 0.0
    mean_count: float = 0.0
    about: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((4, 4)))

    @property
    def images(self) -> int:
        """The number of images."""
        return round(float(self.about[0, 0]))

    def _add(self, total: npt.ArrayLike, count: npt.ArrayLike) -> None:
        totals = np.atleast_1d(np.asarray(total, np.float64))
        counts = np.broadcast_to(np.asarray(count, np.float64), totals.shape)
        if not totals.size:
            return
        x, n = totals.mean(), counts.mean()
        # Unlike a matrix product, einsum adds in the same order for any number of threads.
        about = np.einsum("pi,qi->pq", _powers(totals - x), _powers(counts - n))
        self.merge(_Moments(float(x), float(n), about))

    def merge(self, other: "_Moments") -> None:
        """Add what another process has accumulated."""
        if not other.images:
            return
        part = other.images / (self.images + other.images)
        total = self.mean_total + part * (other.mean_total - self.mean_total)
        count = self.mean_count + part * (other.mean_count - self.mean_count)
        self.about = self._moved(total, count) + other._moved(total, count)
        self.mean_total, self.mean_count = total, count

    def _moved(self, total: float, count: float) -> npt.NDArray[np.float64]:
        """The sums about another point."""
        return _shifted_powers(self.mean_total - total) @ self.about @ _shifted_powers(self.mean_count - count).T

    def _residuals(self) -> tuple[float, float]:
        """The sums of the squares and cubes of x − r n, whose mean is 0; (0, 0) if the images do not vary."""
        ratio, s = self.mean_total / self.mean_count, self.about
        squares = s[2, 0] - 2 * ratio * s[1, 1] + ratio**2 * s[0, 2]
        # The three terms cancel up to rounding, and so does the mean: a few 1e-16 of the largest.
        if squares <= 1e-12 * max(s[2, 0], ratio**2 * s[0, 2]) + 1e-24 * self.images * self.mean_total**2:
            return 0.0, 0.0
        return float(squares), float(s[3, 0] - 3 * ratio * s[2, 1] + 3 * ratio**2 * s[1, 2] - ratio**3 * s[0, 3])


def _powers(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squared = x * x
    return np.stack([np.ones_like(x), x, squared, squared * x])


def _shifted_powers(step: float) -> npt.NDArray[np.float64]:
    """The matrix that takes the powers 0 to 3 of d to those of d + step."""
    return np.array([[1, 0, 0, 0], [step, 1, 0, 0], [step**2, 2 * step, 1, 0], [step**3, 3 * step**2, 3 * step, 1]])


def _beta_interval(hits: float, misses: float) -> tuple[float, float]:
    """The exact interval of a share (Clopper & Pearson 1934), for numbers that need not be whole."""
    # The functions behind scipy.stats' beta and t: to import scipy.stats takes half as long as torch.
    low = float(special.betaincinv(hits, misses + 1, _TAIL)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, misses, 1 - _TAIL)) if misses > 0 else 1.0
    return low, high


def _t_interval(value: float, scale: float, images: int, squares: float, cubes: float) -> tuple[float, float]:
    """Student's interval corrected for skewness; the value's standard error is √(m/(m − 1) · squares) · scale."""
    skewness = 0.0
    if images >= _SKEWNESS_FROM and squares:
        largest = (images - 2) / math.sqrt(images - 1)  # of any such values; rounding must not exceed it
        plain = cubes / images / (squares / images) ** 1.5
        skewness = min(max(plain, -largest), largest) * math.sqrt(images * (images - 1)) / (images - 2)
    freedom = max((images - 1) / (1 + 0.75 * skewness**2), 1)
    quantile = float(special.stdtrit(freedom, 1 - _TAIL))
    error = math.sqrt(images / (images - 1) * squares) * scale
    slant = skewness / math.sqrt(images)

    def statistic(x: float) -> float:
        root = float(np.cbrt(1 + slant * (x - slant / 6)))
        return 3 * (x - slant / 6) / (root * root + root + 1)

    return value - error * statistic(quantile), value - error * statistic(-quantile)


@dataclass
class Difference(_Moments):
    """The difference of two means of values between 0 and 1 on the same images: a paired metric.

    The interval is Student's t on the linearised variance, corrected for skewness. For binary values two images are
    added instead, one wholly one way and one wholly the other (Bonett & Price 2012): this keeps the level if changes
    are rare, and gives the interval a width if no difference was seen.

    Examples
    --------
    >>> difference = Difference(binary=True)
    >>> difference.add([0, 1, 2, 0, 0], 8)
    >>> print(difference.estimate())
    0.0750 [−0.4881, 0.5952]
    """

    binary: bool = field(default=False, kw_only=True)

    def add(self, total: npt.ArrayLike, count: npt.ArrayLike) -> None:
        """Add images: the second's sum of values minus the first's, and the number of values of each."""
        self._add(total, count)

    def estimate(self, weight: float = 1.0) -> Estimate:
        """The difference with its paired interval; NaN if there are no values.

        ``weight`` is that of the two images that are added.
        """
        if not self.mean_count:
            return Estimate(math.nan, math.nan, math.nan)
        value = self.mean_total / self.mean_count
        squares, cubes = self._residuals()
        used: _Moments = self
        if self.binary or not squares:
            used = _Moments(self.mean_total, self.mean_count, self.about)
            used._add([-self.mean_count * weight, self.mean_count * weight], self.mean_count)
            squares, cubes = used._residuals()[0], 0.0
        centre = used.mean_total / used.mean_count
        low, high = _t_interval(centre, 1 / (used.images * used.mean_count), used.images, squares, cubes)
        return Estimate(value, max(-1.0, min(value, low)), min(1.0, max(value, high)))


@dataclass
class Mean(_Moments):
    """The mean of unbounded values, one or several of them an image, with Student's t interval corrected for skewness.

    A metric that accumulates and merges. With two to nine values the interval is Student's; if the values do not vary,
    it has no width.

    Examples
    --------
    >>> print(mean([1.9, 2.0, 2.1]))
    2.0000 [1.7516, 2.2484]
    """

    def add(self, total: npt.ArrayLike, count: npt.ArrayLike = 1.0) -> None:
        """Add images: the sum and the number of the values of each (or of one)."""
        self._add(total, count)

    def estimate(self) -> Estimate:
        """The mean with its interval; that of a single image is NaN."""
        value = self.mean_total / self.mean_count if self.mean_count else math.nan
        if self.images < 2 or not self.mean_count:
            return Estimate(value, math.nan, math.nan)
        low, high = _t_interval(value, 1 / (self.images * self.mean_count), self.images, *self._residuals())
        return Estimate(value, low, high)

    def level(self, least: float) -> Estimate:
        """The mean in decibels below 1, with Student's interval of its logarithm; a mean counts as at least this."""
        value = max(self.mean_total / self.mean_count, least) if self.mean_count else math.nan
        if self.images < 2 or not self.mean_count:
            return Estimate(-10 * math.log10(value), math.nan, math.nan)
        error = math.sqrt(self.images / (self.images - 1) * self._residuals()[0]) / (self.images * self.mean_count)
        reach = 10 / math.log(10) * float(special.stdtrit(self.images - 1, 1 - _TAIL)) * error / value
        level = -10 * math.log10(value)
        return Estimate(level, level - reach, level + reach)


@dataclass
class MeanRatio:
    r"""The mean over classes of a ratio of sums, such as a mean IoU; a metric that accumulates and merges.

    With :math:`x_{ik}` and :math:`n_{ik}` the intersection and the union of class *k* in image *i*, the estimate is
    the mean of :math:`r_k = \sum_i x_{ik} / \sum_i n_{ik}` over the :math:`K` classes that occur. Its variance is the
    linearised one, with each class corrected for the images that carry it, the participation
    ratio :math:`m_k = (\sum_i n_{ik})^2 / \sum_i n_{ik}^2`:

    .. math:: v = \sum_i \Big( \frac1K \sum_k \frac{m_k}{m_k - 1}
              \frac{x_{ik} - r_k n_{ik}}{\sum_j n_{jk}} \Big)^2

    A class that little more than one image carries shows no spread; it counts as if it could be anything between 0 and
    ``bound``, :math:`1 / (4 K^2)`. The interval is the beta interval of :class:`Share`, with Satterthwaite's degrees of
    freedom (1946) over the classes.

    Examples
    --------
    >>> ratio = MeanRatio()
    >>> ratio.add([[8, 1], [9, 2], [7, 3], [8, 2]], [[10, 2], [10, 3], [10, 4], [10, 4]])
    >>> print(ratio.estimate())
    0.7077 [0.5923, 0.8063]
    """

    sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    products: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    images: int = 0
    bound: float = field(default=1.0, kw_only=True)

    def add(self, totals: npt.ArrayLike, counts: npt.ArrayLike) -> None:
        """Add images: intersections and unions, images×classes each."""
        x, n = np.atleast_2d(np.asarray(totals, np.float64)), np.atleast_2d(np.asarray(counts, np.float64))
        both = np.hstack([x, n])
        # Unlike a matrix product, einsum adds in the same order for any number of threads.
        self.merge(type(self)(both.sum(0), np.einsum("ip,iq->pq", both, both), len(x)))

    def merge(self, other: "MeanRatio") -> None:
        """Add what another process has accumulated."""
        if not self.images:
            self.sums, self.products = np.zeros_like(other.sums), np.zeros_like(other.products)
        self.sums = self.sums + other.sums
        self.products = self.products + other.products
        self.images += other.images

    def ratios(self) -> npt.NDArray[np.float64]:
        """The ratio of each class; NaN if it does not occur."""
        total, count = np.split(self.sums, 2)
        found: npt.NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return found

    def of_class(self, number: int) -> "MeanRatio":
        """The ratio of one class alone."""
        chosen = [number, len(self.sums) // 2 + number]
        return MeanRatio(self.sums[chosen], self.products[np.ix_(chosen, chosen)], self.images, bound=self.bound)

    def estimate(self) -> Estimate:
        """The mean ratio with its interval; NaN if there are no values."""
        ratios = self.ratios()
        if np.isnan(ratios).all():
            return Estimate(math.nan, math.nan, math.nan)
        value = float(np.nanmean(ratios))
        variance, freedom = self._spread(np.where(np.isnan(ratios), 0.0, 1 / np.count_nonzero(~np.isnan(ratios))))
        if not variance:
            size = float(self.images)
        else:
            size = value * (1 - value) / variance
            size *= float(special.ndtri(_TAIL) / special.stdtrit(freedom, _TAIL)) ** 2
        return Estimate(value, *_beta_interval(value * size, (1 - value) * size))

    def _spread(self, weights: npt.NDArray[np.float64]) -> tuple[float, float]:
        """The variance of a weighted sum of the ratios, and its degrees of freedom."""
        ratios, counts = np.nan_to_num(self.ratios()), np.split(self.sums, 2)[1]
        classes, squares = len(ratios), np.diagonal(self.products)[len(ratios) :]
        carrying = np.divide(counts**2, squares, out=np.zeros(classes), where=squares > 0)
        few = carrying < _CARRYING_FROM
        correction = carrying / np.maximum(carrying - 1, _CARRYING_FROM - 1)
        slope = np.where(few, 0.0, weights * correction / np.maximum(counts, 1e-300))
        gradient = np.concatenate([slope, -slope * ratios])
        terms = gradient[:, None] * self.products * gradient
        variance = float(terms.sum())
        if variance <= 1e-12 * float(np.abs(terms).sum()):
            variance = 0.0  # what is left of the cancellation is rounding
        blocks = terms.reshape(2, classes, 2, classes)
        own = np.einsum("akbk->k", blocks)
        unknown = np.zeros(classes)
        unknown[few & (weights != 0)] = (weights * self.bound)[few & (weights != 0)] ** 2 / 4
        uncertain = float((own**2 / np.maximum(carrying - 1, _CARRYING_FROM - 1)).sum())
        freedom = (own.sum() + unknown.sum()) ** 2 / max(uncertain, 1e-300)
        return variance + float(unknown.sum()), max(float(freedom), 1.0)


@dataclass
class MeanRatioDifference(MeanRatio):
    """The difference of two mean ratios on the same images: a paired metric.

    The classes of the first network come before those of the second. The interval is Student's t on the linearised
    variance of :class:`MeanRatio`, which keeps what the networks have in common on an image.
    """

    def estimate(self) -> Estimate:
        """The second's mean ratio minus the first's; NaN if there are no values."""
        first, second = np.split(self.ratios(), 2)
        occurs = ~np.isnan(first) & ~np.isnan(second)
        if not occurs.any():
            return Estimate(math.nan, math.nan, math.nan)
        value = float((second - first)[occurs].mean())
        weights = occurs / occurs.sum()
        variance, freedom = self._spread(np.concatenate([-weights, weights]))
        if not variance:  # as if one image had gone wholly one way, and one the other
            variance, freedom = 2.0 * (self.bound / (self.images + 2)) ** 2, max(self.images - 1.0, 1.0)
        reach = float(special.stdtrit(freedom, 1 - _TAIL)) * math.sqrt(variance)
        return Estimate(value, max(-self.bound, value - reach), min(self.bound, value + reach))


def contrast(
    totals: npt.ArrayLike, counts: npt.ArrayLike, coefficients: npt.ArrayLike, *, binary: bool = False
) -> Estimate:
    r"""A weighted sum of several networks' means on the same images, with its paired interval.

    With :math:`r_k = \sum_i x_{ki} / \sum_i n_{ki}` the mean of network *k*, the contrast is :math:`\sum_k c_k r_k` and
    its linearised variance keeps what the networks have in common on an image:

    .. math:: v = \frac{m}{m-1} \sum_i \Big(\sum_k c_k \frac{x_{ki} - r_k n_{ki}}{\sum_j n_{kj}}\Big)^2

    Coefficients (−1, 1) give the difference of two networks; those of a regression give its slope. The interval is
    that of :class:`Difference`, with the two added images for binary values and if no variation was seen.

    Parameters
    ----------
    totals, counts : array (networks, images)
        For each image the sum of a network's values between 0 and 1, and their number (or weight); 0 if it has none.
    coefficients : array (networks,)
    binary : bool
        True for values that are 0 or 1.

    Returns
    -------
    Estimate
        NaN if a network has no values.

    Examples
    --------
    >>> print(contrast([[0, 0, 0, 0, 0], [0, 1, 2, 0, 0]], [[8] * 5] * 2, [-1, 1], binary=True))
    0.0750 [−0.4881, 0.5952]
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
    values = value + images * influence  # one per image; their mean is the contrast
    padded = binary or float(influence @ influence) < 1e-24
    if padded:
        values = np.append(values, [largest, smallest])
    centre = float(values.mean())
    deviations = values - centre
    squares, cubes = float((deviations**2).sum()), 0.0 if padded else float((deviations**3).sum())
    low, high = _t_interval(centre, 1 / len(values), len(values), squares, cubes)
    return Estimate(value, max(smallest, min(value, low)), min(largest, max(value, high)))


def mean(values: Iterable[float]) -> Estimate:
    """The mean of one value per image, with Student's t interval corrected for skewness."""
    accumulator = Mean()
    accumulator.add(list(values))
    return accumulator.estimate()


def share(values: Iterable[float], *, binary: bool = False) -> Estimate:
    """The mean of one value between 0 and 1 per image, with the beta interval of a proportion."""
    accumulator = Share(binary=binary)
    for value in values:
        accumulator.add(value, 1)
    return accumulator.estimate()
