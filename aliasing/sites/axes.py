"""The spatial axes of every tensor in a run.

A slice ``x[..., ::2]`` halves the width of a map N×C×H×W, but takes every second channel of the same map in the layout
N×H×W×C. So the spatial axes are followed from the network's input through the run: convolutions and poolings put them
last, permutations move them, and any other call that keeps the sizes keeps the axes.
"""

import re
from typing import Any

import torch
from torch import Tensor

from aliasing.sites.trace import Call, Recording, Value

Axes = tuple[int, ...]

_DIMENSIONS = re.compile(r"(?:conv|conv_transpose|pool|max_pool|max_unpool|avg_pool)(\d)d")
_CHANNELS_FIRST = frozenset(
    ("interpolate", "upsample", "grid_sample", "pixel_shuffle", "pixel_unshuffle", "group_norm", "instance_norm")
)
PERMUTATIONS = frozenset(("permute", "transpose", "swapaxes", "movedim"))
_RESHAPES = frozenset(("view", "reshape", "flatten", "unflatten"))


def spatial_axes(record: Recording) -> dict[Value, Axes]:
    """The spatial axes, counted from 0, of every value for which they are known; the last is across.

    Inputs with four and five axes are N×C×H×W and N×C×D×H×W, but one with four is C×D×H×W if a layer of three axes
    takes it. One with three is N×C×L if the network has layers of one axis and none of two; it could be tokens
    otherwise. The axes of others are not known.
    """
    known: dict[Value, Axes] = {}
    layers = {found[1] for call in record.calls if (found := _DIMENSIONS.search(call.name)) is not None}
    ranks = (3, 4, 5) if layers == {"1"} else (4, 5)
    for call in record.calls:
        layer = _DIMENSIONS.search(call.name)
        for value in call.signals:
            rank = len(value.shape)
            if value.producer is None and rank in ranks:
                known.setdefault(value, tuple(range(rank - int(layer[1]) if layer else 2, rank)))
        for output in call.outputs:
            axes = _behind(call, output, known)
            if axes is not None:
                known[output] = axes
    return known


def _behind(call: Call, output: Value, known: dict[Value, Axes]) -> Axes | None:
    rank = len(output.shape)
    dimensions = _DIMENSIONS.search(call.name)
    if dimensions is not None or call.name in _CHANNELS_FIRST:
        count = int(dimensions[1]) if dimensions else rank - 2
        return tuple(range(rank - count, rank)) if count < rank else None
    sources = [value for value in call.signals if value in known]
    if not sources:
        return None
    source = sources[0]
    axes = known[source]
    if call.name in PERMUTATIONS:
        return _moved(call, len(source.shape), axes)
    if call.name in _RESHAPES:
        sizes = tuple(source.shape[axis] for axis in axes)
        is_last = axes == tuple(range(len(source.shape) - len(axes), len(source.shape)))
        if is_last and rank > len(axes) and output.shape[rank - len(axes) :] == sizes:
            return tuple(range(rank - len(axes), rank))  # only the axes before have changed
        return axes if output.shape == source.shape else None
    if call.name == "__getitem__":
        return _indexed(call, source, axes)
    if call.function is Tensor.unfold:
        return axes  # the window is a new axis, the last
    for source in sources:  # a call that keeps the sizes keeps the axes; a sum takes them from its larger part
        axes = known[source]
        same_rank = len(source.shape) == rank
        if same_rank and all(source.shape[axis] == output.shape[axis] for axis in axes):
            return axes
    return None


def _moved(call: Call, rank: int, axes: Axes) -> Axes:
    """Where a permutation puts the axes, tried on a meta tensor whose sizes all differ."""
    labelled = torch.empty(tuple(range(1, rank + 1)), device="meta")
    order = tuple(call.function(labelled, *call.args[1:], **call.kwargs).shape)
    return tuple(order.index(axis + 1) for axis in axes)


def _indexed(call: Call, source: Value, axes: Axes) -> Axes | None:
    items = index_items(call.args[1], len(source.shape))
    if items is None:
        return None
    after: dict[int, int] = {}
    axis = place = 0
    for item in items:
        if item is None:
            place += 1
        elif isinstance(item, slice):
            after[axis] = place
            axis, place = axis + 1, place + 1
        elif isinstance(item, int):
            axis += 1
        else:
            return None  # advanced indexing has its own rules
    kept = tuple(after[axis] for axis in axes if axis in after)
    return kept if len(kept) == len(axes) else None


def slice_axes(index: Any, rank: int) -> list[slice] | None:
    """One slice for each axis, with ``...`` written out; None for an index that holds anything but slices."""
    items = index_items(index, rank)
    return items if items is not None and all(isinstance(item, slice) for item in items) else None


def index_items(index: Any, rank: int) -> list[Any] | None:
    """The items of an index, one for each axis and None for each new one, with ``...`` written out.

    None if there are more items than axes, because a mask covers several.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    missing = rank - sum(item is not None and item is not Ellipsis for item in items)
    if missing < 0:
        return None
    where = next((place for place, item in enumerate(items) if item is Ellipsis), None)
    if where is None:
        return items + [slice(None)] * missing
    return items[:where] + [slice(None)] * missing + items[where + 1 :]
