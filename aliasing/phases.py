r"""Estimates from inputs of which all are looked at once and some are drawn for more: two-phase sampling.

The first phase sorts *N* images into strata, the second draws :math:`n_h` of the :math:`N_h` images of stratum *h*
(Neyman 1938; Särndal, Swensson & Wretman 1992, §9). With :math:`x_i` the sum of the values of a drawn image and
:math:`n_i` their number, each of the :math:`N_h` is predicted by the mean of those drawn, so that

.. math:: r = \frac{\sum_h N_h \bar x_h}{\sum_h N_h \bar n_h}, \qquad e_i = x_i - r n_i, \qquad
          z_i = \bar e_h + I_i \frac{N_h}{n_h} (e_i - \bar e_h)

with :math:`I_i` 1 if the image was drawn, else 0. The :math:`z_i` behave as values of independent images: their mean is
0, and their variance is that of both phases, of images among all images and of draws among images. They go into the
intervals of `aliasing.estimates`. If everything is drawn, the estimate and its interval are those of the full design.

A stratum of which fewer than two images were drawn is joined with the one before it; :math:`\bar x_h` is then the mean
weighted by one over the chance of each, and so is :math:`N_h / n_h`. Weights widen what a rare event
says: the effective sample size is at least the number of drawn images, as in the full design it is that of all, or the
number of images divided by the mean weight of those that vary, if that is less.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from aliasing.estimates import Difference, Estimate, Mean, MeanRatio, MeanRatioDifference, Share, beta_estimate

__all__ = ["Drawn", "DrawnDifference", "DrawnTotals"]

_SPREAD_FROM = 2  # drawn images, so that the spread of a stratum shows

Floats = npt.NDArray[np.float64]


class DrawnTotals(NamedTuple):
    """A measure of all images.

    Attributes
    ----------
    strata : int array (images,)
    drawn : bool array (images,)
    weights : array (images,)
        One over the chance with which each was drawn; only ratios within a stratum count.
    totals, counts : array (images,)
        The sum and the number of the values of those that were drawn, 0 of others.
    """

    strata: npt.NDArray[np.int64]
    drawn: npt.NDArray[np.bool_]
    weights: Floats
    totals: Floats
    counts: Floats

    def of(self, chosen: npt.NDArray[np.intp]) -> "DrawnTotals":
        """Those of some images."""
        known = self.strata[chosen], self.drawn[chosen], self.weights[chosen]
        return DrawnTotals(*known, self.totals[chosen], self.counts[chosen])

    @classmethod
    def joined(cls, parts: list["DrawnTotals"]) -> "DrawnTotals":
        """Those of several blocks of images."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class _Influences(NamedTuple):
    """A ratio of sums; what each image adds to it, N values whose mean is 0; and the images' own totals, weighted.

    ``size`` is the least effective number of images, and ``weight`` the mean weight of the images that vary.
    """

    ratio: float
    values: Floats
    weighted: Floats
    missing: Floats
    size: float
    weight: float

    @classmethod
    def of(cls, found: DrawnTotals) -> "_Influences | None":
        """None if no drawn image has a value."""
        drawn = found.drawn
        if not found.counts[drawn].sum():
            return None
        _, place = np.unique(_joined_strata(found.strata, drawn), return_inverse=True)
        sizes = np.bincount(place).astype(np.float64)
        among = np.bincount(place[drawn], minlength=len(sizes))
        stands_for = np.where(drawn, found.weights, 0.0)
        stands_for *= (sizes / np.bincount(place, stands_for))[place]

        def means(values: Floats) -> Floats:
            return np.bincount(place, stands_for * values) / sizes

        x, n = means(found.totals), means(found.counts)
        count = float(sizes @ n)
        ratio = float(sizes @ x) / count
        # The spread of a few drawn images is too small by this; it does not matter where all were drawn.
        spread = np.where(among < sizes, np.sqrt(among / np.maximum(among - 1, 1)), 1.0)
        residuals, predicted = found.totals - ratio * found.counts, (x - ratio * n)[place]
        values = predicted + stands_for * spread[place] * (residuals - predicted)
        rates = np.divide(x, n, out=np.zeros_like(x), where=n > 0)
        varying = sizes * np.maximum(rates * (1 - rates), 0.0)
        size = float(found.counts[drawn].sum() ** 2 / (found.counts[drawn] ** 2).sum())
        weight = len(drawn) / max(int(drawn.sum()), 1)
        if varying.sum() > 0:
            weight = float(varying @ (sizes / among) / varying.sum())
            size = min(size, len(drawn) / weight)
        weighted = stands_for * found.totals
        return cls(ratio, values * len(drawn) / count, weighted, stands_for * found.counts - weighted, size, weight)


def _joined_strata(strata: npt.NDArray[np.int64], drawn: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The strata, each with two drawn images or wholly drawn: one that has fewer is joined with the one before it."""
    joined = strata.copy()
    for stratum in np.unique(strata)[::-1]:
        inside = joined == stratum
        others = joined[~inside]
        if not len(others) or drawn[inside].all() or drawn[inside].sum() >= _SPREAD_FROM:
            continue
        before = others[others < stratum]
        joined[inside] = before.max() if len(before) else others.min()
    return joined


@dataclass
class Drawn:
    """The mean of the values of images of which some were drawn; a metric that accumulates and merges.

    Parameters
    ----------
    like : `aliasing.estimates.Share`, `aliasing.estimates.Mean` or `aliasing.estimates.MeanRatio`
        Says which interval the mean has.

    Examples
    --------
    >>> drawn = Drawn(Share(binary=True))
    >>> strata, seen = np.array([0, 0, 1, 1, 1, 1]), np.array([True] * 4 + [False] * 2)
    >>> totals = np.array([3.0, 1, 0, 1, 0, 0])
    >>> drawn.add(DrawnTotals(strata, seen, np.array([1.0, 1, 2, 2, 2, 2]), totals, 8.0 * seen))
    >>> print(drawn.estimate())
    0.1250 [0.0001, 0.7162]
    """

    like: Share | Mean | MeanRatio
    parts: list[DrawnTotals] = field(default_factory=list)

    def add(self, found: DrawnTotals) -> None:
        """Add images."""
        self.parts.append(found)

    def merge(self, other: Self) -> None:
        """Add what another process has accumulated."""
        self.parts = [*self.parts, *other.parts]

    def estimate(self) -> Estimate:
        """The ratio of sums with its interval; NaN if there are no values."""
        joined = DrawnTotals.joined(self.parts)
        found = _Influences.of(joined)
        if found is None:
            return Estimate(math.nan, math.nan, math.nan)
        images = len(found.values)
        if isinstance(self.like, Mean):
            mean = Mean()
            mean.add(found.ratio + found.values)
            return mean.estimate()
        assert isinstance(self.like, Share)
        squares = float(found.values @ found.values)
        variance = squares / (images * (images - 1)) if images > 1 and squares > 1e-18 * images else 0.0
        totals = found.weighted, found.missing
        # As many as all images have, since the strata tell of those that were not drawn.
        most = float(sum(one.sum() for one in totals)) if self.like.binary else math.inf
        carrying, missing = (float(one.sum() ** 2 / (one @ one)) if one.any() else 0.0 for one in totals)
        return beta_estimate(found.ratio, variance, min(carrying, missing), least=found.size, most=most)


@dataclass
class DrawnDifference:
    """The difference of two networks' means on the same images, of which each network's were drawn by its own strata.

    A paired metric that accumulates and merges. ``like`` says which interval the difference has. The influence of an
    image is the second network's minus the first's, so that what the networks have in common on an image cancels.
    """

    like: Difference | Mean | MeanRatioDifference
    parts: list[tuple[DrawnTotals, DrawnTotals]] = field(default_factory=list)

    def add(self, first: DrawnTotals, second: DrawnTotals) -> None:
        """Add the same images, as both networks have them."""
        self.parts.append((first, second))

    def merge(self, other: Self) -> None:
        """Add what another process has accumulated."""
        self.parts = [*self.parts, *other.parts]

    def estimate(self) -> Estimate:
        """The second's mean minus the first's; NaN if one has no values."""
        first, second = (_Influences.of(DrawnTotals.joined(list(parts))) for parts in zip(*self.parts, strict=True))
        if first is None or second is None:
            return Estimate(math.nan, math.nan, math.nan)
        value = second.ratio - first.ratio
        values = value + second.values - first.values
        if isinstance(self.like, Mean):
            mean = Mean()
            mean.add(values)
            return mean.estimate()
        assert isinstance(self.like, Difference)
        difference = Difference(binary=self.like.binary)
        difference.add(values, 1)
        return difference.estimate(weight=max(first.weight, second.weight))
