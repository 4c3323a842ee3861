"""The check that a network's answer depends on the view alone: not on chance, memory or the rest of the batch.

How an answer changes with the view means nothing if it changes without the view. So a view of the first batch is shown
again: twice in the same batch, and once beside other pictures. In a batch of the same size the same numbers are added
in the same order, so its answer must be the same to the bit. From time to time the first view is shown once more. This
costs a few views in a thousand.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from aliasing.errors import InputError
from aliasing.rounding import rounded
from aliasing.undisturbed import devices_in_use

__all__ = ["Independence"]

Array = npt.NDArray[np.float32]
Answer = Callable[[Array], Array]

# A smaller relative difference of answers counts as rounding: it changes no top class beyond a near tie
# (`aliasing.jitter.metrics`).
_TOLERANCE = 1e-4
# Batches of other sizes are multiplied in another order. Its effect on an answer is that of rounding the input, times
# the root of the number of layers, of which there may be thousands.
_LAYERS = 64
_REMEMBERS = "depends on what it saw before: shown the same picture again"
_REPEATS = 8  # random answers may be equal once
_CALLS = (4, 16, 64)  # after which the first view is shown again; then after every 64
_ADVICE = {
    "chance": "switch off what is random in evaluation (dropout, noise, stochastic depth)",
    "memory": "a network that is measured must not count or remember what it sees",
    "company": "give batch norms running statistics and evaluation mode, or measure with a batch size of 1",
}


class Independence:
    """Shows some views again, and refuses a network whose answers to the same view differ.

    ``network`` gives a batch of views their answers N×…, or a list of answers of different lengths; ``unit`` is the
    rounding unit of the numbers that it multiplies, for batches of other sizes, and ``full_scale`` the largest value of
    a view.
    """

    def __init__(
        self, name: str, network: Answer, unit: float = float(np.finfo(np.float32).eps), full_scale: float = 255.0
    ) -> None:
        self._name, self._unit, self._full_scale = name, unit, full_scale
        self._network: Answer = lambda views: rectangular(network(views))
        self._calls = 0
        self._first: tuple[Array, Array] | None = None  # the views of the first check, and the answer to the last

    def look(self, views: Array, answers: Array) -> None:
        """Check a batch and its answers, after each batch.

        Raises InputError if answers to the same view differ; it says why, by how much, and what to do.
        """
        self._calls += 1
        answers = rectangular(answers)
        if self._calls == 1:
            self._begin(views, answers)
        elif self._calls in _CALLS or self._calls % _CALLS[-1] == 0:
            self._again(views, answers)

    def _begin(self, views: Array, answers: Array) -> None:
        if len(views) == 1:  # each view is shown alone, so there is no batch to depend on
            self._first = views, answers
            self._again(views, answers)
            return
        chosen = _least_sure(answers)
        company = views[chosen]
        shown = self._network(company)
        self._first = company, shown
        if difference(shown, self._network(company)) > _TOLERANCE:
            self._refuse_if_changing(company, shown)
        other = self._network(np.concatenate([company[:1], (self._full_scale - company[1:]) / 2]))  # dark, inverted
        found = difference(shown[0], other[0])
        if found > _TOLERANCE:
            self._refuse_if_changing(company, shown)
            self._refuse("depends on the rest of the batch: beside another picture", "company", found)
        self._compare_sizes(company, shown, answers[chosen])

    def _again(self, views: Array, answers: Array) -> None:
        assert self._first is not None
        company, before = self._first
        now = self._network(company)
        found = difference(before, now)
        if found > _TOLERANCE:
            self._refuse_if_changing(company, now)
            self._refuse(_REMEMBERS, "memory", found)
        if len(views) > 1 and len(company) > 1:
            chosen = _least_sure(answers)
            self._compare_sizes(views[chosen], self._network(views[chosen]), answers[chosen])

    def _compare_sizes(self, company: Array, few: Array, many: Array) -> None:
        """Compare the answers to the same views in batches of different sizes, up to rounding."""
        found = difference(many, few)
        if found <= _TOLERANCE:
            return
        self._refuse_if_changing(company, few)  # otherwise randomness would pass for rounding
        sign = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), company.shape)
        rounded = self._network((company * (1 + self._unit * sign)).astype(np.float32))
        if found > max(_TOLERANCE, _LAYERS * difference(few, rounded)):
            self._refuse("depends on the rest of the batch: in a batch of another size", "company", found)

    def _refuse_if_changing(self, company: Array, before: Array) -> None:
        """Refuse a network that keeps changing its answer to the same batch."""
        found = max(difference(before, self._network(company)) for _ in range(_REPEATS))
        if found <= _TOLERANCE:
            return
        seeded = []
        with torch.random.fork_rng(devices_in_use()):
            for _ in range(2):
                torch.manual_seed(0)
                seeded.append(self._network(company))
        still = max(difference(seeded[1], self._network(company)) for _ in range(_REPEATS))
        if difference(*seeded) <= _TOLERANCE < still:
            self._refuse("draws random numbers: shown the same picture again", "chance", found)
        self._refuse(_REMEMBERS, "memory", found)

    def _refuse(self, what: str, why: str, found: float) -> None:
        raise InputError(
            f"the answer of {self._name} {what}, it changes by {rounded(found, '.2g')} of its size; such an answer has"
            f" no measure: {_ADVICE[why]}"
        )


def rectangular(answers: Array | Sequence[Array]) -> Array:
    """Answers as one array; those of different lengths are filled up with zeros.

    Examples
    --------
    >>> rectangular([np.float32([1, 2]), np.float32([])]).tolist()
    [[1.0, 2.0], [0.0, 0.0]]
    """
    if isinstance(answers, np.ndarray):
        return answers
    if len({answer.shape for answer in answers}) > 1:
        longest = max(answer.shape[-1] for answer in answers)
        answers = [np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, longest - x.shape[-1])]) for x in answers]
    return np.stack(answers)


def _least_sure(answers: Array) -> npt.NDArray[np.intp]:
    """The two views whose answers would show a change most, in another order than in the batch."""
    largest = np.nan_to_num(np.abs(answers).reshape(len(answers), -1), nan=np.inf).max(1)
    found: npt.NDArray[np.intp] = np.sort(np.argsort(largest, kind="stable")[:2])[::-1]
    return found


def difference(first: Array, second: Array) -> float:
    """The largest difference of two answers, relative to the largest number in them; non-finite numbers are equal.

    Examples
    --------
    >>> round(difference(np.float32([0.5, 0.25]), np.float32([0.25, np.nan])), 3)
    0.5
    """
    first, second = rectangular([first, second])
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return 0.0
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    size = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return float(np.abs(a - b).max()) / size if size else 0.0
