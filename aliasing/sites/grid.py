"""The positions of a map's samples in the network's input, and what each of them sees.

A `Grid` has one `Extent` per spatial axis: the distance of the samples, and the window that sample 0 sees. The record
of a run (`aliasing.sites.trace`) is followed call by call: a layer of kernel *k*, stride *s*, padding *p* and dilation
*d* turns a distance *j* and a receptive field *r* into :math:`s j` and :math:`r + d (k - 1) j` (Araujo, Norris & Sim
2019). A value that comes from several maps sees what any of them sees, and its grid is the coarsest.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aliasing.sites.axes import Axes, slice_axes, spatial_axes
from aliasing.sites.change import Change, changes, each
from aliasing.sites.flow import POINTWISE
from aliasing.sites.status import Status
from aliasing.sites.trace import Call, Recording, Value

# Calls that move values, or combine those at one position: neither the grid nor the receptive field changes.
_IN_PLACE = POINTWISE | frozenset((
    "cat", "concat", "chunk", "split", "unbind", "view", "reshape", "permute", "transpose", "flatten", "unflatten",
    "squeeze", "unsqueeze", "expand", "expand_as", "movedim", "swapaxes", "roll", "channel_shuffle", "linear",
    "layer_norm", "stack", "rearrange", "log_softmax", "narrow", "select", "t", "local_response_norm",
))  # fmt: skip
# Calls whose statistics come from the whole map.
_OVER_THE_MAP = frozenset(("group_norm", "instance_norm", "fft", "rfft", "fft2", "rfft2", "softmax"))
_CONVOLUTION = re.compile(r"conv[123]d|_convolution")
_POOLING = re.compile(r"(max|avg)_pool([123])d(_with_indices)?")


@dataclass(frozen=True)
class Extent:
    """What the cells of a map see of the image, along one axis.

    Attributes
    ----------
    stride : pixels from one cell to the next; infinite if no position is left.
    first, last : the first and the last pixel that cell 0 sees, possibly beyond the border; infinite if it sees the
        whole image; NaN if the closed form does not hold.
    """

    stride: float = 1.0
    first: float = 0.0
    last: float = 0.0

    @property
    def size(self) -> float:
        """The receptive field in pixels."""
        return self.last - self.first + 1

    def behind(self, kernel: int, stride: float = 1, padding: float = 0, dilation: int = 1) -> "Extent":
        """What the cells see after one more layer."""
        if math.isinf(self.stride):
            return self
        first = self.first - padding * self.stride
        last = self.last + (dilation * (kernel - 1) - padding) * self.stride
        return Extent(self.stride * stride, first, last)

    def seeing(self, first: float, last: float) -> "Extent":
        """The same distance between cells, with another window."""
        return Extent(self.stride, first, last)


WHOLE = Extent(math.inf, -math.inf, math.inf)
"""The extent of a value without position, such as a global average."""


def join(extents: Iterable[Extent]) -> Extent:
    """What a cell sees that combines several maps; the grid is that of the coarsest map with positions."""
    known = list(extents)
    strides = [extent.stride for extent in known if math.isfinite(extent.stride)]
    if any(math.isnan(extent.size) for extent in known):
        first = last = math.nan
    else:
        first, last = min(extent.first for extent in known), max(extent.last for extent in known)
    return Extent(max(strides, default=math.inf), first, last)


@dataclass(frozen=True)
class Grid:
    """The grid of a map: one extent per spatial axis. That of the network's input fits any number of axes.

    Examples
    --------
    >>> stem = Grid().behind((7, 7), (2, 2), (3, 3))
    >>> stem.stride, stem.receptive_field, stem.cells((1, -3))
    ((2.0, 2.0), (7.0, 7.0), (0.5, -1.5))
    >>> stem.covers((112, 112), (224, 224)), stem.covers((112, 112), (64, 64))
    (True, False)
    """

    extents: tuple[Extent, ...] = ()

    @property
    def stride(self) -> tuple[float, ...] | None:
        """Pixels of the image per cell; None for a value without position."""
        strides = tuple(extent.stride for extent in self.extents)
        return strides if all(map(math.isfinite, strides)) else None

    @property
    def receptive_field(self) -> tuple[float, ...] | None:
        """Pixels that a cell sees; infinite for the whole image; None if the closed form does not hold."""
        sizes = tuple(extent.size for extent in self.extents)
        return None if any(map(math.isnan, sizes)) else sizes

    def cells(self, pixels: Sequence[float]) -> tuple[float, ...]:
        """A shift by pixels of the image, in cells."""
        return tuple(d / extent.stride for d, extent in zip(pixels, self.extents, strict=True))

    def covers(self, cells: Sequence[int], image: Sequence[int]) -> bool:
        """Whether the cells cover the image, apart from what unpadded layers lose at its border."""
        strides = (extent.stride for extent in self.extents)
        return all(0.5 < n * step / size <= 1.5 for n, step, size in zip(cells, strides, image, strict=True))

    def along(self, count: int) -> "Grid":
        """The grid of ``count`` axes; if it had more, such as a picture that is read row by row, it is the coarsest."""
        if len(self.extents) == count:
            return self
        if set(self.extents) <= {Extent()}:
            return Grid((Extent(),) * count)
        return Grid((Extent(max(extent.stride for extent in self.extents), math.nan, math.nan),) * count)

    def behind(
        self,
        kernel: Sequence[int],
        stride: Sequence[float] | None = None,
        padding: Sequence[float] | None = None,
        dilation: Sequence[int] | None = None,
    ) -> "Grid":
        """The grid after a layer with these numbers along the axes."""
        count = len(kernel)
        layer = zip(kernel, stride or (1,) * count, padding or (0,) * count, dilation or (1,) * count, strict=True)
        extents = self.along(count).extents
        return Grid(tuple(extent.behind(*one) for extent, one in zip(extents, layer, strict=True)))

    def seeing(self, first: float, last: float) -> "Grid":
        """The same grid, whose cells see another window."""
        return Grid(tuple(extent.seeing(first, last) for extent in self.extents))

    @staticmethod
    def joined(grids: Iterable["Grid"]) -> "Grid":
        """The grid of a value that combines several maps."""
        known = list(grids)
        count = max(len(grid.extents) for grid in known)
        axes = zip(*(grid.along(count).extents for grid in known), strict=True)
        return Grid(tuple(join(extents) for extents in axes))


def grids(record: Recording, changed: Mapping[Call, Change] | None = None) -> dict[Value, Grid]:
    """The grid of every value of a recorded run that depends on the network's input.

    ``changed`` is the result of `aliasing.sites.change.changes`, if it is already known.
    """
    changed, axes = changes(record) if changed is None else changed, spatial_axes(record)
    found: dict[Value, Grid] = {}
    for call in record.calls:
        if call.signals:
            known = [found.get(value, Grid((Extent(),) * max(len(value.shape) - 2, 1))) for value in call.signals]
            grid = _behind(call, known[0], Grid.joined(known), changed.get(call), axes.get(call.signals[0]))
            found.update(dict.fromkeys(call.outputs, grid))
    return found


def _behind(call: Call, first: Grid, joined: Grid, change: Change | None, axes: Axes | None) -> Grid:
    if _CONVOLUTION.fullmatch(call.name):
        given = call.arguments("input weight bias stride padding dilation", stride=1, padding=0, dilation=1)
        kernel = tuple(given["weight"].shape[2:])
        count, padding = len(kernel), given["padding"]
        dilation = each(given["dilation"], count)
        if padding == "same":
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        padding = each(0 if padding == "valid" else padding, count)
        return first.behind(kernel, each(given["stride"], count), padding, dilation)
    pooling = _POOLING.fullmatch(call.name)
    if pooling is not None:
        count = int(pooling[2])
        given = call.arguments("input kernel_size stride padding dilation", padding=0, dilation=1)
        kernel = each(given["kernel_size"], count)
        dilation = each(1 if pooling[1] == "avg" else given["dilation"], count)
        return first.behind(kernel, each(given.get("stride") or kernel, count), each(given["padding"], count), dilation)
    if call.name == "pad":
        sides = tuple(call.arguments("input pad")["pad"])
        count = len(first.extents)
        before = (*sides[::2], *(0,) * count)[:count]  # last axis first
        return first.behind((1,) * count, padding=before[::-1])
    if call.name == "__getitem__":
        return _sliced(call, first, joined, axes)
    if call.name == "stft" and change is not None:  # frequencies, each of which sees the whole window, and frames
        centre = change.kernel[0] // 2 if call.kwargs.get("center", True) else 0
        frames = first.behind(change.kernel, [float(step) for step in change.stride], [centre])
        return Grid((Extent(1.0, -math.inf, math.inf), *frames.extents))
    if change is not None:
        return _changed(change, first)
    if call.name in _OVER_THE_MAP:
        return joined.seeing(-math.inf, math.inf)
    before, after = call.signals[0].shape, call.outputs[0].shape
    if call.name in _IN_PLACE:  # a map that became a vector has no position
        return Grid((WHOLE,) * len(joined.extents)) if len(after) <= 2 < len(before) else joined
    if call.name.startswith("adaptive_") and before[-2:] == after[-2:]:
        return joined
    return _rescaled(call, joined).seeing(math.nan, math.nan)


def _sliced(call: Call, first: Grid, joined: Grid, axes: Axes | None) -> Grid:
    rank = len(call.signals[0].shape)
    slices = slice_axes(call.args[1], rank) if call.args[0] is call.signals[0] else None
    if slices is None or (axes is None and rank != 4):
        return joined
    space = axes or ((1, 2) if (slices[1].step or 1) > 1 else (2, 3))
    starts = [slices[axis].start or 0 for axis in space]
    steps = [slices[axis].step or 1 for axis in space]
    return first.behind((1,) * len(space), steps, [-start if start >= 0 else 0 for start in starts])


def _changed(change: Change, grid: Grid) -> Grid:
    if change.status == Status.WINDOWED:
        return grid
    grid = grid.along(len(change.stride))
    if change.status == Status.GLOBAL:
        return Grid((WHOLE,) * len(change.stride))
    strides = [float(step) for step in change.stride]
    if change.kind == "space to depth":
        return grid.behind(change.kernel, strides)
    if grid.stride is None:
        return grid
    # The window of an adaptive pooling or an interpolation changes from cell to cell.
    return grid.behind(change.kernel, strides).seeing(math.nan, math.nan)


def _rescaled(call: Call, grid: Grid) -> Grid:
    """The grid after a call with hidden contents, such as an anti-aliased operator, from the sizes of its maps."""
    before, after = call.signals[0].shape, call.outputs[0].shape
    hidden = isinstance(call.function, type) or call.name == "new_empty"
    if not hidden or len(before) != 4 or len(after) != 4 or grid.stride is None:
        return grid
    factors = [max(1, round(size / cells)) for size, cells in zip(before[-2:], after[-2:], strict=True)]
    return grid.behind((1, 1), factors)
