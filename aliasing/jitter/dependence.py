"""Does a network's answer depend on the view alone, or on chance, on what it has seen before, on the rest of its batch?

A number that says how an answer changes with the view means nothing where it changes without. So a view of the first
batch is shown again: twice in one company, and once in another. Beside others the same numbers are added in the same
order, whatever the others show, so that its answer must be the same to the bit; and now and then, as long as the run
lasts, the first view is shown once more. Some views in a thousand are shown for it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from aliasing.errors import InputError
from aliasing.undisturbed import devices_in_use

__all__ = ["Independence"]

Array = npt.NDArray[np.float32]
Answer = Callable[[Array], Array]

# A relative difference of answers that is less than this is left to rounding: it moves no top class whose margin is
# above the one of a near tie (`aliasing.jitter.metrics`).
_TOLERANCE = 1e-4
# Batches of other sizes are multiplied in another order. What that does to an answer is what the rounding of the input
# does, times the root of the number of layers, of which there are up to some thousands.
_LAYERS = 64
_CALLS = (4, 16, 64)  # behind which the first view is shown again; then every 64
_ADVICE = {
    "chance": "switch off what is random in evaluation (dropout, noise, stochastic depth)",
    "memory": "a network that is measured must not count or remember what it sees",
    "company": "give batch norms running statistics and evaluation mode, or measure with a batch size of 1",
}


class Independence:
    """What shows a network's views again, and refuses one whose answers to the same view differ.

    Parameters
    ----------
    name : str
        The network's.
    network : callable
        Views N×H×W×C → answers N×….
    unit : float
        The rounding unit of the numbers that the network multiplies, for batches of other sizes.
    """

    def __init__(self, name: str, network: Answer, unit: float = float(np.finfo(np.float32).eps)) -> None:
        self._name, self._network, self._unit = name, network, unit
        self._calls = 0
        self._first: tuple[Array, Array] | None = None  # the views of the first check, and the answer to the last

    def look(self, views: Array, answers: Array) -> None:
        """Called behind each batch, with the answers that were given to it.

        Raises
        ------
        InputError
            Answers differ that are to the same view: from what, by how much, and what to do.
        """
        self._calls += 1
        if self._calls == 1:
            self._begin(views, answers)
        elif self._calls in _CALLS or self._calls % _CALLS[-1] == 0:
            self._again(views, answers)

    def _begin(self, views: Array, answers: Array) -> None:
        view = views[-1:]
        if len(views) == 1:  # each view is shown alone, and has no company to depend on
            self._first = view, answers[-1]
            self._again(views, answers)
            return
        company = np.concatenate([views[:1], view])
        shown = self._network(company)[-1]
        self._first = company, shown
        other = self._network(np.concatenate([(255 - views[:1]) / 2, view]))[-1]  # darker, and inside out
        if difference(shown, other) > _TOLERANCE:
            again = self._network(company)[-1]
            found = difference(shown, again)
            if found > _TOLERANCE:
                self._refuse_changing(company, shown, found)
            self._refuse(
                "depends on the rest of the batch: beside another picture", "company", difference(shown, other)
            )
        self._compare_sizes(company, shown, answers[-1])

    def _again(self, views: Array, answers: Array) -> None:
        assert self._first is not None
        company, before = self._first
        now = self._network(company)[-1]
        found = difference(before, now)
        if found > _TOLERANCE:
            self._refuse_changing(company, now, found)
        if len(views) > 1 and len(company) > 1:
            both = np.concatenate([company[:1], views[-1:]])
            self._compare_sizes(both, self._network(both)[-1], answers[-1])

    def _compare_sizes(self, company: Array, few: Array, many: Array) -> None:
        """Compare the answers to a view in batches of different sizes, up to rounding."""
        found = difference(many, few)
        if found <= _TOLERANCE:
            return
        sign = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), company.shape)
        rounded = self._network((company * (1 + self._unit * sign)).astype(np.float32))[-1]
        if found > max(_TOLERANCE, _LAYERS * difference(few, rounded)):
            again = self._network(company)[-1]
            changing = difference(few, again)
            if changing > _TOLERANCE:
                self._refuse_changing(company, again, changing)
            self._refuse("depends on the rest of the batch: in a batch of another size", "company", found)

    def _refuse_changing(self, company: Array, before: Array, found: float) -> None:
        """Refuse a network that answers the same pictures otherwise: is it by chance?"""
        answers = []
        with torch.random.fork_rng(devices_in_use()):
            for _ in range(2):
                torch.manual_seed(0)
                answers.append(self._network(company)[-1])
        by_chance = difference(*answers) <= _TOLERANCE
        what = "draws random numbers" if by_chance else "depends on what it saw before"
        self._refuse(f"{what}: shown the same picture again", "chance" if by_chance else "memory", found)

    def _refuse(self, what: str, why: str, found: float) -> None:
        raise InputError(
            f"the answer of {self._name} {what}, it changes by {found:.2g} of its size; such an answer has no"
            f" measure: {_ADVICE[why]}"
        )


def difference(first: Array, second: Array) -> float:
    """The largest difference of two answers, relative to the largest number in them; what is not finite is equal.

    Examples
    --------
    >>> round(difference(np.float32([0.5, 0.25]), np.float32([0.25, np.nan])), 3)
    0.5
    """
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return 0.0
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    size = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return float(np.abs(a - b).max()) / size if size else 0.0
