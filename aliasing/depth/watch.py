"""Observing the outputs of layers while a network runs, without keeping them.

A batch holds all views of some images; a hook on each layer compares the views of each image and keeps only numbers.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from aliasing.depth.equivariance import cosine_similarity, follows, relative_change
from aliasing.depth.layers import Layer, layers_seen


@dataclass(frozen=True)
class Pair:
    """Two views in a batch: their rows, how the content moves between them along each axis, and their image."""

    first: int
    second: int
    shift: tuple[float, ...]
    image: int


@dataclass
class Watch:
    """The measures of one batch.

    Attributes
    ----------
    layers : the layers to observe.
    margins : cells of each layer's map to leave out on every side; None if nothing would be left.
    pairs : the pairs of views in the batch.
    values : (layer, image, measure) → the values of the image's pairs.
    not_finite : images for which a layer's output held a NaN or an infinity.
    """

    layers: Sequence[Layer]
    margins: Sequence[int | None]
    pairs: Sequence[Pair]
    values: dict[tuple[int, int, str], list[float]] = field(default_factory=dict)
    not_finite: set[int] = field(default_factory=set)

    def on(self, module: nn.Module) -> AbstractContextManager[None]:
        """Watch the module while it runs."""

        def see(number: int, output: Tensor) -> None:
            with torch._C.DisableTorchFunction():  # modes that count the network's calls must not count these
                self.look(number, output)

        return layers_seen(module, self.layers, see)

    def look(self, number: int, output: Tensor) -> None:
        """Compare the views of each image in the output of one layer."""
        layer = self.layers[number]
        if layer.form == "other":
            return
        if output.dtype in (torch.float16, torch.bfloat16):  # too few bits for differences
            output = output.float()
        means = averages(output, layer)
        finite = means.isfinite().all(1)
        first = means[[pair.first for pair in self.pairs]]
        second = means[[pair.second for pair in self.pairs]]
        changes = relative_change(first, second).tolist()
        cosines = cosine_similarity(first, second).tolist()
        maps = maps_of(output, layer) if layer.is_map else None
        margin = self.margins[number]
        for pair, change, cosine in zip(self.pairs, changes, cosines, strict=True):
            if not (finite[pair.first] and finite[pair.second]):
                self.not_finite.add(pair.image)
                continue
            self._note(number, pair.image, "relative_change", change)
            self._note(number, pair.image, "cosine_similarity", cosine)
            if maps is not None and margin is not None:
                assert layer.grid is not None
                by = layer.grid.cells(pair.shift)
                error, unexplained = follows(maps[pair.first], maps[pair.second], by, margin)
                self._note(number, pair.image, "equivariance_error", error)
                self._note(number, pair.image, "unexplained_change", unexplained)

    def averages(self, number: int, image: int) -> dict[str, float]:
        """The mean of each measure of a layer over the pairs of an image."""
        measures = (measure for n, i, measure in self.values if (n, i) == (number, image))
        return {m: math.fsum(v) / len(v) for m in measures for v in [self.values[number, image, m]]}

    def _note(self, number: int, image: int, measure: str, value: float) -> None:
        if math.isfinite(value):  # a layer that is constant or zero on this image tells nothing
            self.values.setdefault((number, image, measure), []).append(value)


def averages(output: Tensor, layer: Layer) -> Tensor:
    """The average of each view's features over its positions (or tokens), N×C; a vector stays the same."""
    if layer.is_map:
        output = maps_of(output, layer).flatten(1, -2)
    elif layer.form != "tokens":
        return output.flatten(1)
    # A product with ones is several times as fast as a reduction if the channels are last.
    ones = output.new_full((output.shape[1],), 1 / output.shape[1])
    means: Tensor = ones @ output
    return means


def maps_of(output: Tensor, layer: Layer) -> Tensor:
    """The maps of a batch with their channels last, such as N×H×W×C."""
    return output.movedim(1, -1) if layer.form == "map" else output
