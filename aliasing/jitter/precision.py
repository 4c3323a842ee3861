r"""Answers at the speed of bfloat16, verified by float32.

bfloat16 has 8 bits of precision and is about twice as fast on a CPU or GPU that multiplies it in hardware. Most answers
are the same. With *k* the top class in bfloat16, its rounding takes

.. math:: d = \Big(\log p_k - \max_{j \ne k} \log p_j\Big)_{16} - \Big(\log p_k - \max_{j \ne k} \log p_j\Big)_{32}

from the margin in logits between *k* and the next class, and the answer changes if *d* exceeds the margin. The size of
*d* depends little on the margin or the image, so it is estimated from the first views of the run's first images: every
view whose margin is below 4.5 times the root mean square of *d* (or below the largest *d*, if that is more) runs again
in float32 and keeps float32's answer. Every process of a run, and a resumed run, computes the same bound by itself.

An audit checks this: pairs drawn at random from the seed and the image's identity run in float32 whatever their margin,
and answers that differ are counted. The same pairs give the measures that need probabilities. Pairs are drawn and not
images, because one pair from each of forty images says more about the mean than all pairs of five, at the same cost.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.images import BadImage, Entry, Loaded
from aliasing.jitter.design import PAIRS
from aliasing.jitter.engine import Shown, answers_to, in_batches, prepare_ahead
from aliasing.jitter.faults import Guarded
from aliasing.jitter.network import Array
from aliasing.models import ShownNetwork
from aliasing.outputs import OUTPUTS
from aliasing.outputs.base import Columns, Output, first_and_second
from aliasing.outputs.probabilities import compare_classes, margin_of_class
from aliasing.protocols import ViewProtocol, Views
from aliasing.protocols.base import generator

PRECISIONS = ("float32", "bfloat16", "verified")

# The share of pairs that are audited: about 5 % of the views, since a pair has two.
AUDITED = 1 / 40
# The number of views from which d is estimated, and the multiple of its root mean square that bounds it.
CALIBRATION_VIEWS = 64
SAFETY = 4.5
# The views that may wait for a float32 batch to fill, in batches.
_WAITING = 32


def output_in(output: str, precision: str) -> type[Output]:
    """The output of this name; UsageError if it does not exist or cannot be measured in this precision."""
    kind = OUTPUTS[output]
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; choose {', '.join(PRECISIONS)}")
    if precision == "verified" and not kind.of_classes:
        raise UsageError(f"output {output!r} cannot be verified; choose precision float32 or bfloat16")
    return kind


@dataclass(frozen=True)
class Verification:
    """A network's probabilities in bfloat16 and in float32, and the margin in logits below which float32 decides.

    ``seed`` is that of the audit.
    """

    fast: Guarded
    exact: Guarded
    bound: float
    seed: int
    batch_size: int

    def show(self, pictures: Iterator[Shown]) -> Iterator[Array]:
        """The probabilities of each view, 2×classes: bfloat16's, then float32's if it ran, else the same."""
        waiting: deque[_View] = deque()
        again: list[_View] = []

        def run_again() -> None:
            batch, again[: self.batch_size] = again[: self.batch_size], []
            outputs = answers_to(self.exact, [view.shown for view in batch if view.shown is not None])
            for view, exact in zip(batch, outputs, strict=True):
                view.exact, view.shown = exact, None

        while batch := list(islice(pictures, self.batch_size)):
            fast = answers_to(self.fast, batch)
            for shown, probabilities, close in zip(batch, fast, self._is_close(fast), strict=True):
                view = _View(probabilities, probabilities)
                waiting.append(view)
                if close or self._is_audited(shown):
                    view.shown = shown
                    again.append(view)
            while len(again) >= self.batch_size or (again and len(waiting) > _WAITING * self.batch_size):
                run_again()
            while waiting and waiting[0].shown is None:
                yield waiting.popleft().both
        while again:
            run_again()
        yield from (view.both for view in waiting)

    def compare(self, outputs: Array, views: Views, image: Loaded) -> Columns:
        """Like ``compare_classes``, with the precision of each answer and the result of the audit."""
        fast, exact = outputs[:, 0], outputs[:, 1]
        close = self._is_close(fast)
        first, second = first_and_second(views)
        audited = _audited(image, views, self.seed)
        kept = compare_classes(np.where(close[:, None], exact, fast), views, image)
        checked = compare_classes(exact, views, image)
        columns = {name: np.where(audited, checked[name], kept[name]) for name in kept if "precision" not in name}
        differ = sum((kept[name] != checked[name]).astype(int) for name in ("first_top1", "second_top1"))
        return {
            **columns,
            "first_precision": np.where(audited | close[first], "float32", "bfloat16"),
            "second_precision": np.where(audited | close[second], "float32", "bfloat16"),
            "audited": audited,
            "disagreements": [int(count) if seen else None for count, seen in zip(differ, audited, strict=True)],
        }

    def margins(self, outputs: Array) -> Array:
        """The margin of the answer to each view, which float32 gives where rounding could have changed it."""
        fast, exact = outputs[:, 0], outputs[:, 1]
        return margin_of_class(np.where(self._is_close(fast)[:, None], exact, fast))

    def _is_close(self, probabilities: Array) -> npt.NDArray[np.bool_]:
        close: npt.NDArray[np.bool_] = log_margin(probabilities) < self.bound
        return close

    def _is_audited(self, shown: Shown) -> bool:
        pairs = _audited(shown.image, shown.views, self.seed)
        return any(shown.number in shown.views.pairs[pair] for pair in np.flatnonzero(pairs))


@dataclass(eq=False)
class _View:
    """The outputs of a view, and the view itself while it waits for float32."""

    fast: Array
    exact: Array
    shown: Shown | None = None

    @property
    def both(self) -> Array:
        return np.stack([self.fast, self.exact])


@lru_cache(maxsize=64)
def audited_pairs(identity: str, seed: int, count: int) -> npt.NDArray[np.bool_]:
    """Which of an image's pairs are audited: each with the same probability, whatever the network, order or process."""
    return generator(seed, f"audit of {identity}").random(count) < AUDITED


def _audited(image: Loaded, views: Views, seed: int) -> npt.NDArray[np.bool_]:
    """Which of these pairs are audited; of a two-phase design, only those that are drawn first may be.

    Their views must be known before the first is shown, and whether all pairs follow is not.
    """
    if views.drawn is None:
        return audited_pairs(image.identity, seed, len(views.pairs))
    numbers = np.array(views.drawn.pairs)
    audited: npt.NDArray[np.bool_] = audited_pairs(image.identity, seed, int(numbers.max()) + 1)[numbers]
    return audited & (np.arange(len(numbers)) < PAIRS)


def log_margin(probabilities: Array) -> Array:
    """log p of the top class minus that of the next, the margin in logits: (views, classes) → (views,)."""
    two_largest = np.partition(probabilities, -2, axis=1)[:, -2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        margin: Array = np.log(two_largest[:, 1]) - np.log(two_largest[:, 0])
    return np.nan_to_num(margin, nan=0.0)  # NaN runs again


def rounding_of_margin(fast: Array, exact: Array) -> Array:
    """*d* of each view: what the rounding of ``fast`` took from the margin of its answer; NaN if it is not finite."""
    views = np.arange(len(fast))
    answers = fast.argmax(1)
    others = exact.copy()
    others[views, answers] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.log(exact[views, answers]) - np.log(others.max(1))
        difference: Array = log_margin(fast) - margin
    return difference


def calibrate(
    model: ShownNetwork,
    fast: Guarded,
    exact: Guarded,
    entries: Iterable[Entry],
    protocol: ViewProtocol,
    *,
    seed: int,
    batch_size: int,
) -> float:
    """The margin in logits below which float32 decides, from views of the first images in both precisions.

    It is infinite if no view of these images gives a finite number.
    """
    first = list(islice(entries, CALIBRATION_VIEWS))
    each = -(-CALIBRATION_VIEWS // max(1, len(first)))

    def some_views(entry: Entry) -> list[Shown]:
        try:
            image = entry.load()
            views = protocol.views(image, model, seed)
        except BadImage:
            return []
        return [Shown(view.draw(), image, views, number) for number, view in enumerate(views.views[:each])]

    pictures = [picture for _, drawn in prepare_ahead(first, some_views) for picture in drawn]
    if not pictures:
        return float("inf")
    rounded, right = (np.stack([*in_batches(network, batch_size)(iter(pictures))]) for network in (fast, exact))
    d = rounding_of_margin(rounded, right)
    d = d[np.isfinite(d)]
    if not len(d):
        return float("inf")
    return float(max(SAFETY * np.sqrt(np.mean(d.astype(np.float64) ** 2)), np.abs(d).max()))
