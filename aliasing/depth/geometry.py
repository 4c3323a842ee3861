"""Which part of the image does each value of a network see, and on which grid does it lie?

The record of a run (`aliasing.sites.trace`) is followed call by call with the arithmetic of
`aliasing.depth.receptive_field`. Where a value comes from several maps, it sees what any of them sees.
"""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from aliasing.depth.receptive_field import WHOLE, Extent, join
from aliasing.operators import OPERATORS
from aliasing.sites.find import LocatedSite, arguments, slice_axes, two
from aliasing.sites.flow import POINTWISE
from aliasing.sites.trace import Call, Trace, Value
from aliasing.surgery import conversion_of

__all__ = ["Grid", "grids", "pads_circularly"]

# Move values about, or combine those of one place: neither the grid nor the receptive field changes.
_IN_PLACE = POINTWISE | frozenset(
    (
        "cat", "concat", "chunk", "split", "unbind", "view", "reshape", "permute", "transpose", "flatten", "unflatten",
        "squeeze", "unsqueeze", "expand", "expand_as", "movedim", "swapaxes", "roll", "channel_shuffle", "linear",
        "layer_norm", "stack", "rearrange", "log_softmax", "narrow", "select", "t", "local_response_norm",
    )
)  # fmt: skip
_POOLINGS = frozenset(("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"))
# Take their statistics from the whole map.
_OVER_THE_MAP = frozenset(("group_norm", "instance_norm", "fft", "rfft", "fft2", "rfft2", "softmax"))


@dataclass(frozen=True)
class Grid:
    """The grid of a value: what its cells see, down and across."""

    down: Extent
    across: Extent

    @property
    def stride(self) -> tuple[float, float] | None:
        """Pixels of the image per cell; None for a value without position."""
        strides = self.down.stride, self.across.stride
        return strides if math.isfinite(max(strides)) else None

    @property
    def receptive_field(self) -> tuple[float, float] | None:
        """Pixels that a cell sees; infinite for the whole image; None where the closed form does not hold."""
        sizes = self.down.size, self.across.size
        return None if math.isnan(max(sizes)) or math.isnan(min(sizes)) else sizes

    def behind(self, kernel: Any, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)) -> "Grid":
        """The grid behind a layer that has these along (down, across)."""
        down, across = zip(kernel, stride, padding, dilation, strict=True)
        return Grid(self.down.behind(*down), self.across.behind(*across))


def grids(record: Trace, sites: list[LocatedSite]) -> dict[Value, Grid]:
    """The grid of every value of a recorded run that depends on the image."""
    start = Grid(Extent(), Extent())
    of_call = {call: located for located in sites for call in located.calls}
    found: dict[Value, Grid] = {}
    for call in record.calls:
        if not call.signals:
            continue
        inputs = [found.get(value, start) for value in call.signals]
        joined = Grid(join(grid.down for grid in inputs), join(grid.across for grid in inputs))
        grid = _behind(call, found.get(call.signals[0], start), joined, of_call.get(call))
        found.update(dict.fromkeys(call.outputs, grid))
    return found


def _behind(call: Call, first: Grid, joined: Grid, located: LocatedSite | None) -> Grid:
    if call.name in ("conv2d", "_convolution"):
        given = arguments(call, "input weight bias stride padding dilation", stride=1, padding=0, dilation=1)
        kernel, dilation = tuple(given["weight"].shape[-2:]), two(given["dilation"])
        padding = given["padding"]
        if padding == "same":
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        return first.behind(kernel, two(given["stride"]), two(0 if padding == "valid" else padding), dilation)
    if call.name in _POOLINGS:
        given = arguments(call, "input kernel_size stride padding dilation", padding=0, dilation=1)
        kernel = two(given["kernel_size"])
        dilation = (1, 1) if call.name == "avg_pool2d" else two(given["dilation"])
        return first.behind(kernel, two(given.get("stride") or kernel), two(given["padding"]), dilation)
    if call.name == "pad":
        sides = tuple(arguments(call, "input pad")["pad"])
        left, top = sides[0], sides[2] if len(sides) > 2 else 0
        return first.behind((1, 1), (1, 1), (top, left))
    if call.name == "__getitem__":
        axes = slice_axes(call.args[1], len(call.signals[0].shape)) if call.args[0] is call.signals[0] else None
        if axes is None or len(axes) != 4:
            return joined
        where = slice(1, 3) if any((axis.step or 1) > 1 for axis in axes[1:2]) else slice(2, 4)
        steps = [axis.step or 1 for axis in axes[where]]
        starts = [axis.start or 0 for axis in axes[where]]
        return first.behind((1, 1), steps, [-start if start >= 0 else 0 for start in starts])
    if located is not None:
        return _behind_site(located, first)
    if call.name in _OVER_THE_MAP:
        return _seeing(joined, -math.inf, math.inf)
    before, after = call.signals[0].shape, call.outputs[0].shape
    if call.name in _IN_PLACE:
        return Grid(WHOLE, WHOLE) if len(after) <= 2 < len(before) else joined  # a map that became one vector
    if call.name.startswith("adaptive_") and before[-2:] == after[-2:]:
        return joined
    return _seeing(_rescaled(call, joined), math.nan, math.nan)


def _behind_site(located: LocatedSite, grid: Grid) -> Grid:
    site = located.site
    if site.status == "keeps no position":
        return Grid(WHOLE, WHOLE)
    if site.status == "keeps every sample" and site.kind == "space to depth":
        return grid.behind(site.kernel, site.stride)
    if grid.stride is None:
        return grid
    down, across = site.cumulative_stride
    if min(down, across) <= 0:  # a pooling of tokens in a row, whose stride is along neither axis
        return Grid(Extent(math.inf, math.nan, math.nan), Extent(math.inf, math.nan, math.nan))
    # The window of an adaptive pooling or an interpolation changes from cell to cell.
    return Grid(Extent(down, math.nan, math.nan), Extent(across, math.nan, math.nan))


def _seeing(grid: Grid, first: float, last: float) -> Grid:
    return Grid(Extent(grid.down.stride, first, last), Extent(grid.across.stride, first, last))


def _rescaled(call: Call, grid: Grid) -> Grid:
    """The grid behind a call that can't be seen into, such as an anti-aliased operator: by the sizes of its maps."""
    before, after = call.signals[0].shape, call.outputs[0].shape
    hidden = isinstance(call.function, type) or call.name == "new_empty"
    if not hidden or len(before) != 4 or len(after) != 4 or grid.stride is None:
        return grid
    factors = [max(1, round(size / cells)) for size, cells in zip(before[-2:], after[-2:], strict=True)]
    return grid.behind((1, 1), factors)


def pads_circularly(module: nn.Module, record: Trace) -> bool:
    """Is whatever this network pads padded with the other side of the map?

    The calls of an anti-aliased operator are hidden from the record; there the conversion says how it pads.
    """
    conversion = conversion_of(module)
    if conversion is not None and conversion.padding == "circular":
        return True
    if conversion is not None and OPERATORS[conversion.operator].paddings:
        return False
    if any(_pads_with_zeros(module_call.module) for module_call in record.module_calls):
        return False
    for call in record.calls:
        if call.name == "pad" and call.signals:
            given = arguments(call, "input pad mode", mode="constant")
            if given["mode"] != "circular" and any(tuple(given["pad"])[:4]):
                return False
        elif call.name in ("conv2d", "_convolution", *_POOLINGS) and call.signals:
            names = "input kernel_size stride padding" if call.name in _POOLINGS else "input weight bias stride padding"
            padding = arguments(call, names, padding=0)["padding"]
            if padding != "valid" and (isinstance(padding, str) or max(two(padding)) > 0):
                return False
    return True


def _pads_with_zeros(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) or isinstance(module.padding, str):
        return False
    return any(two(module.padding)) and getattr(module, "padding_mode", "zeros") != "circular"
