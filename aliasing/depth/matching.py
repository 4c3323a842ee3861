r"""The jitter of several networks among pairs on which they are equally sure.

A network that is right more often is also surer, and a sure answer is hard to change, so depth, accuracy and jitter are
confounded. Therefore the measures of a pair (whether the top-1 answer changes, and how far its probability moves) are
averaged over three selections of the pairs of views:

``all``      every pair.
``right``    pairs whose first view is answered correctly.
``matched``  every pair, reweighted so that all networks have the same distribution of the first view's *margin*, its
             top-1 probability minus its top-2. With the margins in bins *b*, :math:`s_{kb}` the share of network *k*'s
             pairs in bin *b* and :math:`w_b = \langle s_{kb} \rangle_k` its mean over the networks, a pair of network
             *k* in bin *b* counts :math:`w_b / s_{kb}` times (direct standardisation, as in epidemiology),

             .. math:: \tilde r_k = \sum_b w_b r_{kb} \Big/ \sum_b w_b ,

             with :math:`r_{kb}` the mean in the bin. Bins in which some network has no pair are left out for all.

The weights are treated as known, which makes the intervals of ``matched`` a little too wide, never too narrow.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.estimates import Estimate, Share, contrast
from aliasing.outputs.base import ImageTotals, image_starts
from aliasing.outputs.probabilities import MAC, TOP1_CHANGE

Array: TypeAlias = npt.NDArray[np.float64]
Parts: TypeAlias = Callable[[], Iterable[pa.Table]]
"""A function that yields the records of one network block by block, called once for each pass."""
Selection: TypeAlias = Literal["all", "right", "matched"]

MEASURES = {measure.name: measure for measure in (TOP1_CHANGE, MAC)}
SELECTIONS: tuple[Selection, ...] = ("all", "right", "matched")
# Finer where answers change: almost all changes have a margin below 0.3.
MARGIN_EDGES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class MatchedJitter:
    """The jitter of several networks on the same images, over all pairs, correctly answered ones, and matched ones.

    ``networks`` holds for each a function that yields its records (``outputs.probabilities.PROBABILITIES``) block by
    block. ``edges`` are those of the margin bins, ``shares`` (networks × bins) the shares of each network's pairs in
    them, and ``common`` says in which every network has pairs.

    Examples
    --------
    >>> import aliasing as al
    >>> from torch import nn
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> records = al.measure_jitter(network, "sample", limit=4).records
    >>> jitter = MatchedJitter({"mine": lambda: [records], "the same": lambda: [records]})
    >>> jitter.estimate("mine", "mac", "matched").value == jitter.estimate("mine", "mac", "all").value
    True
    >>> jitter.contrast({"mine": -1, "the same": 1}, "mac", "matched").value
    0.0
    """

    def __init__(self, networks: Mapping[str, Parts]) -> None:
        self.networks = list(networks)
        self.edges = MARGIN_EDGES
        counts = np.array([_margin_counts(parts) for parts in networks.values()], np.float64)
        self.common = (counts > 0).all(0)
        self.shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        weight = np.where(self.common, self.shares.mean(0), 0.0)
        weights = weight / np.where(self.shares > 0, self.shares, 1.0)
        self._totals = {
            (name, selection): _totals(parts, selection, weights[row])
            for row, (name, parts) in enumerate(networks.items())
            for selection in SELECTIONS
        }

    @property
    def left_out(self) -> dict[str, float]:
        """For each network the share of its pairs in bins where another network has none."""
        return dict(zip(self.networks, self.shares[:, ~self.common].sum(1).tolist(), strict=True))

    def estimate(self, network: str, measure: str, selection: Selection) -> Estimate:
        """The mean of the measure over a selection of the network's pairs, with its interval."""
        totals = self._totals[network, selection].get(measure)
        share = Share(MEASURES[measure].binary)
        if totals is not None:
            seen = totals.counts > 0
            share.add(totals.totals[seen], totals.counts[seen])
        return share.estimate()

    def contrast(self, coefficients: Mapping[str, float], measure: str, selection: Selection) -> Estimate:
        """A weighted sum of several networks' means, with its interval, paired over their common images.

        ``{a: -1, b: 1}`` is the difference *b* − *a*.
        """
        found = [self._totals[name, selection].get(measure) for name in coefficients]
        measured = [network for network in found if network is not None]
        if len(measured) < len(found):
            return Estimate(np.nan, np.nan, np.nan)
        common = reduce(np.intersect1d, (totals.names for totals in measured))
        totals, counts = [], []
        for network in measured:
            rows = np.flatnonzero(np.isin(network.names, common))
            rows = rows[np.argsort(network.names[rows])]
            totals.append(network.totals[rows])
            counts.append(network.counts[rows])
        return contrast(totals, counts, list(coefficients.values()), binary=MEASURES[measure].binary)


def margin_bins(table: pa.Table) -> npt.NDArray[np.intp]:
    """The margin bin of each pair's first view."""
    margin = table["first_margin"].to_numpy()
    bins: npt.NDArray[np.intp] = np.clip(np.digitize(margin, MARGIN_EDGES) - 1, 0, len(MARGIN_EDGES) - 2)
    return bins


def _margin_counts(parts: Parts) -> Array:
    counts = np.zeros(len(MARGIN_EDGES) - 1)
    for table in parts():
        counts += np.bincount(margin_bins(table), minlength=len(counts))
    return counts


def _totals(parts: Parts, selection: Selection, weights: Array) -> dict[str, ImageTotals]:
    """For each measure and image, the weighted sum of the values and the sum of the weights."""
    found: dict[str, list[tuple[Any, Array, Array]]] = {measure: [] for measure in MEASURES}
    for table in parts():
        if not len(table):
            continue
        starts = image_starts(table)
        names = table["name"].to_numpy()[starts]
        weight = _weight(table, selection, weights)
        for name, measure in MEASURES.items():
            values = measure.pairs(table)
            assert values is not None
            counts = np.where(np.isnan(values), 0, weight)
            totals = counts * np.nan_to_num(values)
            found[name].append((names, *(np.add.reduceat(x, starts) for x in (totals, counts))))
    return {name: ImageTotals(*map(np.concatenate, zip(*parts, strict=True))) for name, parts in found.items() if parts}


def _weight(table: pa.Table, selection: Selection, weights: Array) -> Array:
    """The weight of each pair."""
    if selection == "right":
        right: Array = (table["first_top1"].to_numpy() == table["label"].fill_null(-1).to_numpy()).astype(np.float64)
        return right
    if selection == "matched":
        return weights[margin_bins(table)]
    return np.ones(len(table))
