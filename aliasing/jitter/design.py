r"""The two-phase design: every input is shown once, and further views are drawn with a chance that falls by its margin.

With *m* the top-1 margin of the view that is shown first, an input's *depth* is :math:`a = -\log(1 - m)`: about the
margin where it is small, and about a difference of logits where it is large. If the depth moves by a Laplace
distribution of mean distance *s* from one view of a pair to the other, the answer changes with probability
:math:`g = \frac12 e^{-a/s}`. A pilot on a few inputs, drawn by the seed and the hashes of their bytes, shows each one
pair and estimates *s* by the mean distance, whether or not an answer changes. Strata are intervals of *a / s*.

The variance times the cost of an estimate is least if an input's chance is

.. math:: \pi = \min\Big(1, \sqrt{\frac{S^2(a)}{c\,V}}\Big)

with :math:`S^2` the variance of what its further views say, *V* the variance of what the first view predicts, and *c*
the number of further views, in units of the first (Neyman 1938). S² is that of the model above, to which a little is
added for the mean absolute change, which also moves where no answer can change. No chance is 0.

An input that is drawn is shown `PAIRS` of its pairs, in a random order or, if they follow one another along a path,
from a random one on; or all, with a part of the chance that is best for the share of inputs that change at all. The
first view is the first of the first such pair, so that accuracy comes from all inputs. All draws depend on the
seed and the input's identity alone, and two networks draw by the same numbers, so that they mostly draw the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.images import BadImage, Entry, Loaded
from aliasing.jitter.engine import Compare, Show, Shown, ViewsOf, prepare_ahead
from aliasing.outputs.base import Columns, Output
from aliasing.protocols import ViewProtocol, Views
from aliasing.protocols.base import Draw, generator
from aliasing.rounding import rounded

DESIGNS = ("full", "two-phase")

PAIRS = 3  # of an input that is drawn
PILOT = 24  # inputs
LEAST, LEAST_WHOLE = 0.05, 0.02  # chances

_EDGES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0)  # of the strata, in units of s
_SPREAD = 1.4  # of s over the pilot's: to draw too few costs more than to draw too many, and depths vary along a path
_BETWEEN = 0.15  # the share of the variance of a pair's change that lies between images of one depth
_FOR_MEANS = 0.1  # the part of S² that is the mean absolute change's
_FOR_WHOLE = 0.25  # of the chance that would be best for the share of inputs that change at all
_LARGEST = 1 - 1e-7  # margin in float32

Floats = npt.NDArray[np.float64]


def require_design(design: str, kind: type[Output], protocol: ViewProtocol) -> None:
    """Raise UsageError if there is no such design, or it does not suit the output or the protocol."""
    if design not in DESIGNS:
        raise UsageError(f"unknown design {design!r}; choose {' or '.join(DESIGNS)}")
    if design == "full":
        return
    if not kind.of_classes:
        raise UsageError(f"design {design} draws by the margin of an answer, and output {kind.name} has none: use full")
    if protocol.in_order:
        raise UsageError(f"design {design} leaves views out, and protocol {protocol.name} reads them all: use full")


def depth_of(margin: npt.ArrayLike) -> Floats:
    """−log(1 − margin).

    Examples
    --------
    >>> depth_of([0.0, 0.5]).round(3).tolist()
    [0.0, 0.693]
    """
    depth: Floats = -np.log1p(-np.minimum(np.asarray(margin, np.float64), _LARGEST))
    return np.abs(depth)


@dataclass(frozen=True)
class Draws:
    """The strata of a run, and the chances of an input in each: to be drawn, and to be shown all of its pairs.

    Attributes
    ----------
    scale : float
        *s*, from the mean distance by which the depth moves within a pair.
    chances, whole_chances : tuple of float
        One for each stratum, from the smallest depth.
    seed : int
    is_path : bool
        The pairs follow one another along a path.
    """

    scale: float
    chances: tuple[float, ...]
    whole_chances: tuple[float, ...]
    seed: int
    is_path: bool

    @classmethod
    def planned(cls, depths: Floats, moves: Floats, pairs: int, seed: int, is_path: bool) -> "Draws":
        """The chances that suit inputs of these depths, which change by ``moves`` in a pair, with ``pairs`` each."""
        scale = max(_SPREAD * float(np.abs(moves).mean()), 1e-3)
        edges = np.array([0.0, *_EDGES, _EDGES[-1] + 4]) * scale
        middle = (edges[:-1] + edges[1:]) / 2
        some = min(PAIRS, pairs)

        def chance(of: Callable[[Floats], Floats], noise: Floats, cost: float) -> Floats:
            """√(S² / c V), of a mean that the first view predicts by ``of``."""
            predicted = max(float(of(depths).var()), 1e-6)
            return np.asarray(np.sqrt(noise / (cost * predicted)), np.float64)

        def changes(depth: Floats) -> Floats:
            return np.exp(-depth / scale) / 2

        def moved(depth: Floats) -> Floats:  # the mean absolute change, but for a factor
            return np.exp(-depth / 2)

        def any_changes(depth: Floats) -> Floats:
            return np.asarray(1 - (1 - changes(depth)) ** (pairs**0.6))  # as many independent pairs

        rate, any_rate = changes(middle), any_changes(middle)
        within = _BETWEEN + (1 - _BETWEEN) / some
        by_rate = chance(changes, rate * (1 - rate) * within, some)
        by_mean = chance(moved, moved(middle) ** 2 * within, some)
        chances = np.sqrt((1 - _FOR_MEANS) * by_rate**2 + _FOR_MEANS * by_mean**2)
        whole = np.clip(_FOR_WHOLE * chance(any_changes, any_rate * (1 - any_rate), pairs), LEAST_WHOLE, 1)
        chances = np.maximum(np.clip(chances, LEAST, 1), whole)
        if some == pairs:
            whole = chances
        # Two digits, so that the last bits of another processor's arithmetic change no draw.
        few = [tuple(float(rounded(value, ".2g")) for value in values.tolist()) for values in (chances, whole)]
        return cls(float(rounded(scale, ".3g")), few[0], few[1], seed, is_path)

    def order(self, image: Loaded, pairs: int) -> list[int]:
        """The numbers of an input's pairs, in the order in which they are shown."""
        return self._random(image, pairs)[1]

    def draw(self, image: Loaded, pairs: int, margin: float) -> Draw:
        """What is shown of an input whose first view has this margin: with weight 0, only that."""
        number, order = self._random(image, pairs)
        stratum = int(np.digitize(depth_of(margin), np.array(_EDGES) * self.scale))
        chance, whole_chance = self.chances[stratum], self.whole_chances[stratum]
        about = stratum, chance, whole_chance
        if number >= chance:
            return Draw(tuple(order[:1]), *about)
        shown = tuple(order[: pairs if number < whole_chance else PAIRS])
        return Draw(shown, *about, len(shown) == pairs, pairs / (len(shown) * chance))

    def _random(self, image: Loaded, pairs: int) -> tuple[float, list[int]]:
        random = generator(self.seed, f"draw of {image.identity}")
        number = float(random.random())
        if self.is_path:
            start = int(random.integers(pairs))
            return number, [(start + step) % pairs for step in range(pairs)]
        return number, random.permutation(pairs).tolist()


@dataclass(frozen=True)
class DrawnViews:
    """The views of a run that are shown, in two phases (`aliasing.jitter.engine.TwoPhases`)."""

    draws: Draws
    margins: Callable[[Any], npt.NDArray[np.float32]]

    def first(self, image: Loaded, views: Views) -> Views:
        """The pairs of which the first view is shown."""
        return part_of(views, Draw(tuple(self.draws.order(image, len(views.pairs))[:PAIRS])))

    def then(self, image: Loaded, views: Views, output: Any) -> Views:
        """The pairs that are drawn; if none are, the first view alone, as a pair with itself."""
        drawn = self.draws.draw(image, len(views.pairs), float(self.margins(output[None])[0]))
        some = part_of(views, drawn)
        return some if drawn.weight else replace(some, views=some.views[:1], pairs=((0, 0),))


def part_of(views: Views, drawn: Draw) -> Views:
    """The views of the pairs that were drawn."""
    pairs = [views.pairs[number] for number in drawn.pairs]
    index = {number: place for place, number in enumerate(dict.fromkeys(view for pair in pairs for view in pair))}
    return replace(
        views,
        views=tuple(views.views[number] for number in index),
        pairs=tuple((index[first], index[second]) for first, second in pairs),
        drawn=drawn,
    )


def plan_draws(
    entries: Iterable[Entry],
    views_of: ViewsOf,
    show: Show,
    compare: Compare,
    seed: int,
    is_path: bool,
) -> Draws:
    """The draws that a pilot on these inputs suggests, one pair of each. If none can be shown, everything is drawn."""
    everything = (1.0,) * (len(_EDGES) + 1)
    all_drawn = Draws(1.0, everything, everything, seed, is_path)

    def a_pair(entry: Entry) -> tuple[Loaded, Views, int] | None:
        try:
            image = entry.load()
            views = views_of(image)
        except BadImage:
            return None
        pairs = len(views.pairs)
        return image, part_of(views, Draw(tuple(all_drawn.order(image, pairs)[:1]))), pairs

    shown = [found for _, found in prepare_ahead(entries, a_pair) if found is not None]
    pictures = (
        Shown(view.draw(), image, views, number) for image, views, _ in shown for number, view in enumerate(views.views)
    )
    outputs = iter([*show(pictures)])
    moves: list[tuple[float, float]] = []
    for image, views, _ in shown:
        answers = np.stack([*islice(outputs, len(views.views))])
        if not np.isfinite(answers).all():
            continue
        columns = compare(answers, views, image)
        first, second = (float(depth_of(columns[f"{which}_margin"])[0]) for which in ("first", "second"))
        moves.append((first, (-second if _changed(columns) else second) - first))
    if not moves:
        return all_drawn
    depths, distances = np.array(moves).T
    return Draws.planned(depths, distances, int(np.median([pairs for *_, pairs in shown])), seed, is_path)


def _changed(columns: Columns) -> bool:
    """Whether the answer changes in the first pair."""
    if "labels_changed" in columns:
        return bool(columns["labels_changed"][0] > 0)
    return bool(columns["first_top1"][0] != columns["second_top1"][0])
