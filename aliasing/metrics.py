"""Metrics of pairs of answers for a training loop, as `torchmetrics` has them: update, compute, reset, plot.

Each takes the logits of the same pictures before and after a shift, N×classes, as often as wanted, and merges over the
processes of a distributed run. On the same views they are the numbers of `aliasing.measure_jitter`, which also has
their intervals: pairs of one picture are not independent, so a metric alone does not tell how sure it is.
"""

from typing import Any

import torch
from torch import Tensor

from aliasing.errors import UsageError

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError('al.metrics needs torchmetrics: pip install "aliasing[metrics]"') from error

__all__ = ["Consistency", "MeanAbsoluteChange", "Stability", "TopOneChange"]


class _OfPairs(Metric):
    """A mean over pairs.

    Its total has a name of its own: a `torchmetrics.MetricCollection` lets metrics share a state if their states have
    the same names, and the same values after the first batch, which half the answers changed may bring about by chance.
    """

    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    total: str
    pairs: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state(self.total, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, first_logits: Tensor, second_logits: Tensor, target: Tensor | None = None) -> None:
        """Add pairs.

        Parameters
        ----------
        first_logits, second_logits : Tensor, N×classes
            The answers to N pictures, and to the same pictures moved.
        target : Tensor, N, optional
            The pictures' classes; -1 where it is not known. Only `Stability` needs them.

        Raises
        ------
        UsageError
            The shapes do not fit, or an answer is not finite.
        """
        shapes = tuple(first_logits.shape), tuple(second_logits.shape)
        if shapes[0] != shapes[1] or first_logits.ndim != 2 or first_logits.shape[1] < 2:
            raise UsageError(
                f"logits of shape {shapes[0]} and {shapes[1]}; expected both N×classes, two or more classes"
            )
        if target is not None and tuple(target.shape) != shapes[0][:1]:
            raise UsageError(
                f"target of shape {tuple(target.shape)} for {shapes[0][0]} pairs; expected one class a pair"
            )
        if not bool((first_logits.isfinite() & second_logits.isfinite()).all()):
            raise UsageError("logits with NaN or infinity; expected finite answers")
        values = self._values(first_logits.detach(), second_logits.detach(), target)
        setattr(self, self.total, getattr(self, self.total) + values.double().sum())
        self.pairs += len(values)

    def compute(self) -> Tensor:
        """The mean over all pairs that were added, in any process."""
        mean: Tensor = getattr(self, self.total) / self.pairs
        return mean

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """The value, or a list of values over time, drawn by torchmetrics."""
        return self._plot(val, ax)

    def _values(self, first: Tensor, second: Tensor, target: Tensor | None) -> Tensor:
        raise NotImplementedError


class TopOneChange(_OfPairs):
    """P(top-1 change), the share of pairs whose most probable class is another (Azulay & Weiss 2019).

    Examples
    --------
    >>> metric = TopOneChange()
    >>> metric.update(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    >>> float(metric.compute())
    0.5
    """

    higher_is_better = False
    total = "changed"

    def _values(self, first: Tensor, second: Tensor, target: Tensor | None) -> Tensor:
        return first.argmax(1) != second.argmax(1)


class Consistency(TopOneChange):
    """1 − P(top-1 change), the share of pairs whose most probable class is the same (Zhang 2019).

    Examples
    --------
    >>> metric = Consistency()
    >>> metric.update(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    >>> float(metric.compute())
    0.5
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """1 minus the mean over all pairs that were added."""
        return 1 - super().compute()


class MeanAbsoluteChange(_OfPairs):
    """The mean absolute change of the probability of the first picture's top class (Azulay & Weiss 2019).

    Examples
    --------
    >>> metric = MeanAbsoluteChange()
    >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 3.0]]).log1p())
    >>> round(float(metric.compute()), 6)  # from 1/2 to 1/5
    0.3
    """

    higher_is_better = False
    total = "moved"

    def _values(self, first: Tensor, second: Tensor, target: Tensor | None) -> Tensor:
        if all(bool((x >= 0).all() and (x.sum(1) - 1).abs().max() < _SUMS_TO_ONE) for x in (first, second) if len(x)):
            raise UsageError("the answers are non-negative and sum to 1, so they are probabilities; expected logits")
        top = first.argmax(1, keepdim=True)
        before, after = (x.float().softmax(1).gather(1, top).double() for x in (first, second))
        return (after - before).abs()


_SUMS_TO_ONE = 1e-2  # bfloat16 has eight bits


class Stability(_OfPairs):
    """The share of pairs whose answers are equal and right (Saha & Gokhale 2025); pairs of unknown class do not count.

    Examples
    --------
    >>> metric = Stability()
    >>> logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    >>> metric.update(logits, logits, torch.tensor([0, 0]))
    >>> float(metric.compute())
    0.5
    """

    higher_is_better = True
    total = "stable"

    def _values(self, first: Tensor, second: Tensor, target: Tensor | None) -> Tensor:
        if target is None:
            raise UsageError("stability needs the right answers: update(first_logits, second_logits, target)")
        right = (first.argmax(1) == target) & (second.argmax(1) == target)
        return right[target >= 0]
