r"""Windows: where a map is cut into cells, attended to cell by cell, and put together again.

.. math:: (H, W) \to (H / s, s, W / t, t) \to (H, W)

Window attention keeps every sample, yet only shifts by whole windows commute with it. The cut is one reshape and the
return another, in every library; between them the axes of the cells move, which shows whether a window is one cell
(Swin) or takes one sample from each (the grid attention of MaxViT). A mask that is added in between keeps apart what
the border of the map separates.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from aliasing.sites.axes import Axes
from aliasing.sites.flow import SUMS
from aliasing.sites.trace import Call, Recording, Value

RESHAPES = frozenset(("view", "reshape"))
_PERMUTATIONS = frozenset(("permute", "transpose", "swapaxes", "movedim"))
_MAKES_NEW = frozenset(("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor", "zeros_like", "ones_like"))


@dataclass(eq=False)
class Cut:
    """A map that is cut into cells of ``steps`` samples; ``axes`` are its spatial axes.

    Attributes
    ----------
    returns : the calls that put the cells together.
    masks : the calls that add a mask that differs between windows, with the place of the mask among their arguments.
    mixes_masks : whether an attention takes such a mask along with something else.
    outer : the cut whose cells' samples at one place it cuts once more.
    leader : the first cut, itself perhaps, of a map of this size on the way here with the same period.
    """

    call: Call
    axes: Axes
    steps: tuple[int, int]
    returns: list[Call] = field(default_factory=list)
    masks: list[tuple[Call, int]] = field(default_factory=list)
    mixes_masks: bool = False
    outer: "Cut | None" = None
    leader: "Cut | None" = None

    @property
    def cells(self) -> tuple[int, ...]:
        """The number of cells and the samples of each, down and across."""
        return self.call.outputs[0].shape[self.axes[0] : self.axes[0] + 4]

    @property
    def sizes(self) -> tuple[int, int]:
        """The map's."""
        down, across = (self.call.signals[0].shape[axis] for axis in self.axes)
        return down, across

    @property
    def windows(self) -> int:
        """Their number, in a map."""
        cells = math.prod(size // step for size, step in zip(self.sizes, self.steps, strict=True))
        return math.prod(self.steps) if self.is_dilated else cells

    @property
    def period(self) -> tuple[int, int]:
        """The shifts that commute with it: whole cells, or the whole map if a window has a sample of each cell."""
        return self.sizes if self.is_dilated else self.steps

    @property
    def is_dilated(self) -> bool:
        """Whether a window has one sample of each cell, and not those of one."""
        first, *_ = self.axes
        order = _order(self.call.outputs[0])
        return order is not None and order.index(first + 1) < order.index(first)


def cuts(record: Recording, axes: Mapping[Value, Axes]) -> dict[Call, Cut]:
    """Every cut of a recorded run by its call, with what puts it together, if anything does."""
    found: dict[Call, Cut] = {}
    inside: dict[Value, dict[Call, Cut]] = {}  # the cuts from which a value comes, until they are put together
    leading: dict[
        Value, dict[tuple[tuple[int, int], tuple[int, int]], Cut]
    ] = {}  # by the size of the map and the period
    for call in record.calls:
        around = {made: cut for value in call.signals for made, cut in inside.get(value, {}).items()}
        leaders = {key: cut for value in call.signals for key, cut in leading.get(value, {}).items()}
        closed = next((cut for cut in reversed(around.values()) if _puts_together(call, cut)), None)
        if closed is not None:
            closed.returns.append(call)
            around = {made: cut for made, cut in around.items() if made.index < closed.call.index}
        for outer in around.values():
            _note_mask(call, outer)
        cut = _cut(call, axes)
        # The reshape of windows that puts them together later may look like another cut.
        if cut is not None and not any(sorted(cut.cells) == sorted(open_cut.cells) for open_cut in around.values()):
            cut.leader = leaders.setdefault((cut.sizes, cut.period), cut)
            cut.outer = next((outer for outer in reversed(around.values()) if _unrolls(outer, cut)), None)
            found[call] = around[call] = cut
        in_order = dict(sorted(around.items(), key=lambda one: one[0].index))
        inside.update(dict.fromkeys(call.outputs, in_order))
        leading.update(dict.fromkeys(call.outputs, leaders))
    return found


def _note_mask(call: Call, cut: Cut) -> None:
    if cut.windows < 2:
        return
    if call.name in SUMS:
        masks = [place for place, value in enumerate(call.args) if _is_mask(value, cut.windows)]
        cut.masks += [(call, place) for place in masks[:1]]
    elif call.name == "scaled_dot_product_attention":
        mask = call.arguments("query key value attn_mask").get("attn_mask")
        if isinstance(mask, Value) and not mask.is_signal and len(mask.shape) == len(call.outputs[0].shape):
            cut.mixes_masks |= mask.shape[0] % cut.windows == 0


def _unrolls(outer: Cut, cut: Cut) -> bool:
    """Whether a cut is of the samples that each cell of another has at one place, which are its batch (Hiera)."""
    cells = tuple(size // step for size, step in zip(outer.sizes, outer.steps, strict=True))
    images, batch = outer.call.signals[0].shape[0], cut.call.signals[0].shape[0]
    return cut.sizes == cells and batch == images * math.prod(outer.steps) and outer.is_dilated


def _cut(call: Call, axes: Mapping[Value, Axes]) -> Cut | None:
    """The cut that a reshape makes of both spatial axes of a map; if they are not known, two neighbours."""
    if call.name not in RESHAPES or not call.signals or len(call.signals[0].shape) != 4:
        return None
    before, after = call.signals[0].shape, call.outputs[0].shape
    for pair in ((1, 2), (2, 3)):
        is_cut = len(after) == 6 and axes.get(call.signals[0], pair) == pair and _joined(after, pair[0]) == before
        if is_cut and _order(call.outputs[0]) is not None:
            return Cut(call, pair, (after[pair[0] + 1], after[pair[0] + 3]))
    return None


def _joined(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The shape if the two pairs of axes that begin here are joined."""
    down, across = (shape[place] * shape[place + 1] for place in (axis, axis + 2))
    return (*shape[:axis], down, across, *shape[axis + 4 :])


def _puts_together(call: Call, cut: Cut) -> bool:
    if call.name not in RESHAPES or not call.signals or len(call.signals[0].shape) != 6:
        return False
    first, before, value = cut.axes[0], call.signals[0].shape, call.signals[0]
    while value.producer is not None and value.producer.name in (*_PERMUTATIONS, "contiguous"):
        value = value.producer.signals[0]
    if value is cut.call.outputs[0]:  # the windows themselves
        return False
    return before[first : first + 4] == cut.cells and call.outputs[0].shape == _joined(before, first)


def _order(value: Value) -> list[int] | None:
    """Where the axes go in the permutation of a value that follows, if one does."""
    for call in value.consumers:
        if call.name in _PERMUTATIONS:
            labelled = torch.empty(tuple(range(1, len(value.shape) + 1)), device="meta")
            return [size - 1 for size in call.function(labelled, *call.args[1:], **call.kwargs).shape]
        if call.name in ("contiguous", "linear"):
            return _order(call.outputs[0])
    return None


def _is_mask(value: object, windows: int) -> bool:
    """Whether a value is a constant that differs between windows: it comes from neither the input nor a weight."""
    if not isinstance(value, Value) or windows not in value.shape[:-2]:
        return False
    waiting, seen = [value], {value}
    while waiting:
        source = waiting.pop()
        if source.producer is None and (source.is_signal or source.is_learned):
            return False
        if source.producer is not None and source.producer.name not in _MAKES_NEW:  # which take no more than a size
            waiting += [one for one in source.producer.inputs if one not in seen]
            seen.update(source.producer.inputs)
    return True
