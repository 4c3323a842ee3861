r"""Re-estimating the batch-norm statistics of a converted network from images without labels.

Low-passed maps have less variance than those from which the statistics were estimated. The mean and variance of every
batch-normalised channel are estimated again over all images, pooled over the batches (precise statistics: Wu & Johnson
2021, arXiv 2105.07576):

.. math:: \mu = \langle x \rangle, \qquad \sigma^2 = \frac{n}{n - 1} \left(\langle x^2 \rangle - \mu^2\right)

while every layer is normalised by its batch, as in training. Nothing else changes, in particular no parameter.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from aliasing.errors import InputError, UsageError
from aliasing.hooks import seen
from aliasing.images import BadImage, choose_images, open_images
from aliasing.models import Classifier, ShownNetwork
from aliasing.models.classifier import retrained
from aliasing.progress import watched
from aliasing.protocols import Circular
from aliasing.sites.trace import copied
from aliasing.undisturbed import surroundings_kept

__all__ = ["recalibrate", "recalibrate_"]

Network = TypeVar("Network", Classifier, ShownNetwork, nn.Module)


@surroundings_kept()
def recalibrate(
    model: Network, images: Any, *, batch_size: int = 64, limit: int | None = None, sample: int | None = None
) -> Network:
    """Re-estimate the batch-norm statistics of a network from unlabelled images, and change nothing else.

    Parameters
    ----------
    model : Classifier or nn.Module
        It is copied; see `recalibrate_` for the network itself.
    images : Any
        For a Classifier, what `aliasing.images.open_images` takes. For a bare module, batches N×C×H×W, normalised, or
        a DataLoader of such batches, with or without labels beside them.
    batch_size : int
        Images per batch, for a Classifier; it should be large, because each layer is normalised by its batch.
    limit : int, optional
        Use the first N images only (batches, for a bare module).
    sample : int, optional
        Use N images drawn at random, for a Classifier, as ``aliasing antialias --recalibrate-limit`` does.

    Returns
    -------
    Classifier or nn.Module
        A Classifier's name, origin and notes say that it was recalibrated, and on how many images.

    Raises
    ------
    UsageError
        If the network has no batch-norm statistics, or a sample of batches is asked for.
    InputError
        If there are fewer than two images.

    Examples
    --------
    >>> net = nn.Sequential(nn.BatchNorm2d(1))
    >>> batches = [torch.full((2, 1, 4, 4), 3.0), torch.full((2, 1, 4, 4), 5.0)]
    >>> float(recalibrate(net, batches)[0].running_mean)
    4.0
    """
    if not isinstance(model, ShownNetwork):
        if sample is not None:
            raise UsageError(f"sample {sample}: batches are not drawn from; give a Classifier, or limit")
        return recalibrate_(copied(model), images if limit is None else islice(images, limit))
    views = Views(model, images if sample is None else choose_images(images, limit=limit, sample=sample), limit)
    module = recalibrate_(copied(model.module), in_batches(views, batch_size))
    named: Any = retrained(model, module, "recalibrated", f"batch-norm statistics from {views.told()}")
    return named  # type: ignore[no-any-return]


def recalibrate_(module: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """Recalibrate the network itself; see `recalibrate`."""
    norms = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    named = {name: layer for name, layer in norms.items() if layer.running_mean is not None}
    if not named:
        raise UsageError(f"{type(module).__name__} has no batch-norm statistics: there is nothing to re-estimate")
    modes = {inside: inside.training for inside in module.modules()}
    kept = [(layer, layer.momentum, deepcopy(layer.num_batches_tracked)) for layer in named.values()]
    sums = {name: _Moments() for name in named}
    module.eval()
    for layer in named.values():
        layer.training, layer.momentum = True, 0.0  # normalise by the batch, and keep the running statistics
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), seen(module, sums, lambda name, call, args, output: sums[name].add(args[0])):
            count = 0
            for batch in batches:
                pictures = batch[0] if isinstance(batch, (tuple, list)) else batch  # without a DataLoader's labels
                module(pictures.to(device))
                count += 1
            if not count:
                raise InputError("there are no images from which to estimate the batch-norm statistics")
            for name, layer in named.items():
                if sums[name].count > 1:  # a layer that never ran keeps its statistics
                    mean, variance = sums[name].result()
                    layer.running_mean.copy_(mean)  # type: ignore[union-attr]
                    layer.running_var.copy_(variance)  # type: ignore[union-attr]
    finally:
        for layer, momentum, tracked in kept:
            layer.momentum = momentum
            if tracked is not None and layer.num_batches_tracked is not None:
                layer.num_batches_tracked.copy_(tracked)
        for inside, training in modes.items():
            inside.training = training
    return module


class _Moments:
    """The count, sum and sum of squares of every channel, in float64, so that the order of batches does not matter."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        self.count += x.numel() // x.shape[1]
        exact = x.double()
        self.total = self.total + exact.sum(axes)
        self.squares = self.squares + exact.square().sum(axes)

    def result(self) -> tuple[Tensor, Tensor]:
        mean = torch.as_tensor(self.total) / self.count
        variance = (torch.as_tensor(self.squares) / self.count - mean.square()).clamp(min=0)
        return mean, variance * self.count / (self.count - 1)


_EVALUATION = Circular(pixels=1)  # whose first view is what a network sees at evaluation


class Views:
    """The preprocessed images or signals, one after the other; counts those that are skipped."""

    def __init__(self, model: ShownNetwork, images: Any, limit: int | None) -> None:
        self.model, self.source, self.limit = model, open_images(images), limit
        self.used = 0
        self.unusable: dict[str, str] = {}

    def __iter__(self) -> Iterator[Tensor]:
        entries = islice(self.source, self.limit)
        for entry in tqdm(entries, desc="batch-norm statistics", unit="image", disable=not watched(), leave=False):
            try:
                view = _EVALUATION.views(entry.load(), self.model).views[0].draw()
            except BadImage as error:
                self.unusable[entry.name] = str(error)
                continue
            self.used += 1
            yield self.model.normalize(view[None])

    def told(self) -> str:
        """How many images were used, and why others were not."""
        return told(self.used, self.unusable)


def told(used: int, unusable: dict[str, str]) -> str:
    """Say how many images were used, and why others were not.

    Examples
    --------
    >>> told(15, {"a.png": "empty file"})
    '15 of 16 images; 1 could not be used, a.png first: empty file'
    """
    if not unusable:
        return f"{used} image" if used == 1 else f"{used} images"
    name, reason = next(iter(unusable.items()))
    return f"{used} of {used + len(unusable)} images; {len(unusable)} could not be used, {name} first: {reason}"


def in_batches(views: Views, size: int) -> Iterator[Tensor]:
    """The views in batches of at least two, because a single map of one pixel has no variance.

    Raises InputError if there are fewer than two images.
    """
    waiting: list[Tensor] = []
    for view in views:
        if len(waiting) > size:
            yield torch.cat(waiting[:size])
            waiting = waiting[size:]
        waiting.append(view)
    if len(waiting) < 2:
        raise InputError(f"batch-norm statistics need at least two images; {views.source.description}: {views.told()}")
    yield torch.cat(waiting)
