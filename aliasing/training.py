"""A callback for Lightning: how much a network jitters on its validation data, logged with its other metrics."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from aliasing.errors import UsageError
from aliasing.images.opening import pair_of
from aliasing.metrics import Consistency, MeanAbsoluteChange, Stability, TopOneChange

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("al.training needs Lightning: pip install lightning") from error

__all__ = ["JitterCallback", "rolled"]


def rolled(batch: Tensor) -> Tensor:
    """The pictures N×C×H×W one pixel down and right, around their edges; signals N×C×… along all their axes.

    It is the first step of the protocol ``circular``.

    Examples
    --------
    >>> rolled(torch.eye(3)[None, None])[0, 0].equal(torch.eye(3))
    True
    """
    axes = tuple(range(2, batch.ndim))
    return torch.roll(batch, (1,) * len(axes), axes)


class JitterCallback(Callback):
    """Show the module each validation batch a second time, moved, and log what changes.

    It logs ``jitter/TopOneChange``, ``jitter/Consistency``, ``jitter/MeanAbsoluteChange`` and, if batches have labels,
    ``jitter/Stability``, once per validation, over all processes.

    Parameters
    ----------
    move : callable
        Batch N×C×… → the same, moved; :func:`rolled` by default.
    prefix : str

    Raises
    ------
    UsageError
        A batch is neither a tensor nor a tensor with labels.
    """

    def __init__(self, move: Callable[[Tensor], Tensor] = rolled, prefix: str = "jitter/") -> None:
        self.move = move
        self.of_answers = MetricCollection([TopOneChange(), Consistency(), MeanAbsoluteChange()], prefix=prefix)
        self.of_labels = MetricCollection([Stability()], prefix=prefix)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        for metrics in (self.of_answers, self.of_labels):
            metrics.to(pl_module.device).reset()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **more: Any) -> None:
        """Ask the module twice."""
        outputs_and_batch = [*given, *(more[name] for name in ("outputs", "batch") if name in more)]
        pictures, labels = pair_of(outputs_and_batch[1])
        if not isinstance(pictures, Tensor):
            raise UsageError(f"a validation batch holds a {type(pictures).__name__}; expected tensors, or with labels")
        with torch.no_grad():
            first, second = pl_module(pictures), pl_module(self.move(pictures))
        self.of_answers.update(first, second)
        if isinstance(labels, Tensor) and labels.ndim == 1:
            self.of_labels.update(first, second, labels)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers."""
        for metrics in (self.of_answers, self.of_labels):
            if all(metric.update_called for metric in metrics.values()):
                pl_module.log_dict(metrics.compute())
