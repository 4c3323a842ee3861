r"""Folding filters into the convolutions behind them, for evaluation and for export.

``antialias(…, placement="before")`` puts a low-pass *h* at stride 1 in front of a convolution *w* of stride *s*, which
drops most of what the low-pass computes. Together they are one convolution of stride *s* with the longer kernel

.. math:: w'_t = \sum_{k d + m = t} w_k h_m

along every axis (*d* is the dilation). For a depthwise convolution it costs less than the filter alone; a dense one
would have to add up all channels for each new weight, and keeps its filter.

At the border two paddings meet: the filter reads *x* continued (reflected, say), and the convolution reads zeros beyond
the *filtered* map. One continuation gives both. Sample *j* of the filtered map, with *p* zeros in front of it, is
:math:`u_j = \sum_m h_m x_{j + m - k_0}`. The filter's padding gives :math:`x_{-1}, \dots, x_{-k_0}`, and the samples in
front of those follow from :math:`u_{-1} = \dots = u_{-p} = 0`, one after the other:

.. math:: x_{-i - k_0} = -\frac{1}{h_0} \sum_{m \ge 1} h_m x_{-i - k_0 + m}

and likewise at the end. So what stands beyond the border is a small matrix times the first few samples, at any size.
Large terms that cancel magnify rounding; how much is known beforehand (`_growth`), and where it is too much, as with
wide paddings and long filters, the filter stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aliasing.downsample.blur import Blur
from aliasing.downsample.recording import is_recorded
from aliasing.sites.change import each
from aliasing.sites.trace import ModuleCall, Recording, record_shapes, twin
from aliasing.surgery.operators import Operator, Pooling
from aliasing.surgery.rewrite import PooledConvolution, SmoothedConvolution, TreatedForward

__all__ = ["Front", "fold_filters", "gain_of"]

_Sides: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
_Lines: TypeAlias = list[list[float]]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# How many times larger than the map's largest number the terms may be that cancel in a sum: six bits.
_LARGEST_GROWTH = 64.0


def fold_filters(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a converted network for evaluation, in which filters are part of the convolutions behind them.

    Each fixed filter (of "blur", "kaiser" or "wavelet") in front of a strided convolution is folded into its kernel, if
    that takes fewer multiply–adds than the filter. Other filters in front of convolutions become modules, so that
    `fold_batch_norms` and `fuse_convolutions` see the convolutions.

    Parameters
    ----------
    model : nn.Module
        It stays as it is. The copy shares all weights but the folded ones.
    example : Tensor
        One batch of two or more inputs, with the shape of those that the network will be shown. The copy takes other
        sizes too, unless a padding follows from the size or a map has fewer samples than the filter reaches; then it
        raises ValueError.

    Returns
    -------
    nn.Module
        In evaluation mode; its outputs are equal up to rounding, at the border too. If nothing can be folded, a plain
        copy.

    Examples
    --------
    >>> import aliasing as al
    >>> net, x = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)).eval(), torch.rand(2, 8, 9, 9)
    >>> converted = al.antialias(net, placement="before", scheme="all", example_input=x)
    >>> folded = fold_filters(converted, x)
    >>> folded[0][1]
    Conv2d(8, 8, kernel_size=(6, 6), stride=(2, 2), groups=8)
    >>> bool((folded(x) - converted(x)).abs().max() < 1e-6)
    True
    """
    copied = twin(model)
    if not any(isinstance(vars(module).get("forward"), TreatedForward) for module in model.modules()):
        return copied  # it is not converted
    try:
        record = record_shapes(model, example)
    except Exception:  # it cannot be recorded, or its values decide what is called
        return copied
    names: dict[nn.Module, list[str]] = {}
    for name, module in copied.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    counting = [name for module, (name, *_) in names.items() if _counts_convolutions(module)]
    for module, (name, *others) in names.items():
        site = None if others or any(_is_inside(name, one) for one in counting) else _site_of(module, name, record)
        replacement = site and (site.folded() or site.apart())
        if replacement and not name:
            return replacement.eval()
        if replacement:
            parent, _, last = name.rpartition(".")
            setattr(copied.get_submodule(parent), last, replacement.eval())
    return copied


def _counts_convolutions(module: nn.Module) -> bool:
    """Whether a module's own rewrites count the convolutions or paddings inside it."""
    forward = vars(module).get("forward")
    calls = [call for call, _ in forward.rewrites] if isinstance(forward, TreatedForward) else []
    return any(call.startswith("conv") or call == "pad" for call in calls)


def _is_inside(name: str, outer: str) -> bool:
    return name != outer and name.startswith(f"{outer}." if outer else "")


# --- what is folded -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Site:
    """A convolution and the filter in front of it."""

    module: Any  #: the convolution
    pool: Pooling
    subsamples: bool  #: whether ``pool`` takes the stride, in front of a 1×1 convolution
    shape: tuple[int, ...]  #: of the input
    pads: tuple[tuple[int, int], ...]  #: the zeros before and after that the convolution sees, along each axis
    pads_itself: bool  #: whether these are the convolution's own; otherwise a call pads, as by the size

    def folded(self) -> nn.Module | None:
        """The convolution with the filter folded in; None if that is not possible, or costs more."""
        operator, conv = self.pool.operator, self.module
        if self.subsamples or not isinstance(operator, Blur) or operator.padding == "circular":
            return None
        rows = [np.asarray(row) for row in operator.taps]
        sides = [_sides(row, operator.padding, *pads) for row, pads in zip(rows, self.pads, strict=True)]
        growth = math.prod(_growth(row, *pair) for row, pair in zip(rows, sides, strict=True))
        fits = all(size >= pair[0].shape[1] for size, pair in zip(self.shape[2:], sides, strict=True))
        if not fits or not growth <= _LARGEST_GROWTH:  # it is NaN where the outer tap is zero
            return None
        weight = _longer(conv.weight.detach().double(), rows, conv.dilation)
        more = math.prod(weight.shape) - math.prod(conv.weight.shape)
        if more / math.prod(conv.stride) > conv.in_channels * math.prod(map(len, rows)):
            return None
        weight = weight.to(conv.weight.dtype)
        continuation = Continuation(sides, None if self.pads_itself else self.shape)
        return nn.Sequential(continuation, _like(conv, nn.Parameter(weight, False), conv.stride, 0, 1))

    def apart(self) -> nn.Module | None:
        """The filter as a module, and then the convolution; None if the module has calls of its own."""
        if not self.pads_itself:
            return None
        conv = self.module
        stride = 1 if self.subsamples else conv.stride
        front = Filter(self.pool, self.subsamples)
        return nn.Sequential(front, _like(conv, conv.weight, stride, conv.padding, conv.dilation))


def _site_of(module: nn.Module, name: str, record: Recording) -> _Site | None:
    """The site if the module is a convolution behind a filter, and nothing else."""
    runs = [call for call in record.module_calls if call.name == name]
    forward = vars(module).get("forward")
    if not isinstance(forward, TreatedForward) or not isinstance(module, _CONVOLUTIONS) or len(runs) != 1:
        return None
    hooks = module._forward_hooks, module._forward_pre_hooks
    if forward.original or forward.output or any(hooks) or "weight" not in module._parameters:
        return None
    if forward.inputs:
        return None if forward.rewrites else _padded_by_call(module, forward.inputs, runs[0], record)
    (rewrite, *others) = forward.rewrites.values()
    kind = next(kind for kind in _CONVOLUTIONS if isinstance(module, kind))
    if others or type(module).forward is not kind.forward or module.padding_mode != "zeros":
        return None
    if not isinstance(rewrite, SmoothedConvolution | PooledConvolution) or isinstance(module.padding, str):
        return None
    if isinstance(rewrite, SmoothedConvolution) and rewrite.circular:
        return None
    shape = _shape_of(runs[0])
    pads = tuple((width, width) for width in module.padding)
    return (
        None
        if shape is None
        else _Site(module, rewrite.pool, isinstance(rewrite, PooledConvolution), shape, pads, True)
    )


def _padded_by_call(module: Any, inputs: dict[int, Any], run: ModuleCall, record: Recording) -> _Site | None:
    """The site of a module that low-passes its input, pads it with zeros by a call, and convolves it."""
    calls = [call for call in record.calls[run.first : run.last] if call.name != "empty_like"]  # the filter's
    pool = getattr(inputs.get(0), "__self__", None)
    shape, axes = _shape_of(run), len(module.stride)
    if [call.name for call in calls] != ["pad", f"conv{axes}d"] or len(inputs) != 1 or shape is None:
        return None
    pad, conv = calls
    padded = pad.arguments("input pad mode value", mode="constant", value=None)
    given = conv.arguments(
        "input weight bias stride padding dilation groups", stride=1, padding=0, dilation=1, groups=1
    )
    own = [each(given[key], axes) for key in ("stride", "dilation")] + [given["groups"]]
    widths = tuple(padded["pad"])
    is_plain = (
        padded["mode"] == "constant"
        and not padded["value"]
        and len(widths) == 2 * axes
        and min(widths) >= 0
        and conv.inputs[0] is pad.outputs[0]
        and given["weight"].weight == f"{run.name}.weight"
        and run.output is conv.outputs[0]
        and own == [tuple(module.stride), tuple(module.dilation), module.groups]
    )
    if not is_plain or not isinstance(pool, Pooling):
        return None
    both = zip(widths[-2::-2], widths[::-2], each(given["padding"], axes), strict=True)
    return _Site(module, pool, False, shape, tuple((one + width, two + width) for one, two, width in both), False)


def _shape_of(run: ModuleCall) -> tuple[int, ...] | None:
    """The shape of a batch of maps, if that alone goes into a module."""
    (value, *others) = run.inputs or [None]
    return None if others or value is None or len(value.shape) < 3 else value.shape


def _like(conv: Any, weight: nn.Parameter, stride: Any, padding: Any, dilation: Any) -> nn.Module:
    """A convolution with another kernel, and the bias of this one."""
    kind = next(kind for kind in _CONVOLUTIONS if isinstance(conv, kind))
    size: Any = tuple(weight.shape[2:])
    made = kind(
        conv.in_channels, conv.out_channels, size, stride, padding, dilation, conv.groups, bias=False, device="meta"
    )
    made.weight, made.bias = weight, conv.bias
    return made


# --- the numbers ----------------------------------------------------------------------------------------------------


def _longer(weight: Tensor, rows: Sequence[NDArray[np.float64]], dilation: tuple[int, ...]) -> Tensor:
    """The kernel of a filter and then a convolution: w'[k d + m] = Σ w[k] h[m] along every axis."""
    for axis, (row, spread) in enumerate(zip(rows, dilation, strict=True), 2):
        taps = torch.from_numpy(row).to(weight)
        count, span = weight.shape[axis], spread * (weight.shape[axis] - 1)
        longer = weight.new_zeros(*weight.shape[:axis], span + len(row), *weight.shape[axis + 1 :])
        for k in range(count):
            one = weight.narrow(axis, k, 1)
            longer.narrow(axis, k * spread, len(row)).add_(one * taps.reshape(-1, *(1,) * (weight.ndim - axis - 1)))
        weight = longer
    return weight


def _sides(row: NDArray[np.float64], padding: str, before: int, after: int) -> _Sides:
    """What stands beyond both ends of a line: matrices that take its first samples, and its last."""
    centre = (len(row) - 1) // 2
    front = _beyond(row, centre, padding, before)
    back = _beyond(row[::-1], len(row) - 1 - centre, padding, after)
    return front, back[::-1, ::-1]


def _beyond(row: NDArray[np.float64], centre: int, padding: str, zeros: int) -> NDArray[np.float64]:
    """What stands in front of a line, the farthest first, so that ``zeros`` samples in front of its low-pass are zero.

    ``row[centre]`` is the tap on the sample itself. One row for each sample in front, one column for each of the line.
    """
    reads = max(len(row) // 2 + 1, len(row) - 1 - centre)  # a shorter line is not reflected
    line = np.eye(reads)
    beyond = {"reflect": line[centre:0:-1], "replicate": line[[0] * centre], "zero": np.zeros((centre, reads))}[padding]
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(zeros):
            ahead = row[1:] @ np.concatenate([beyond, line])[: len(row) - 1]
            beyond = np.concatenate([[-ahead / row[0]], beyond])
    return beyond


def _growth(row: NDArray[np.float64], front: NDArray[np.float64], back: NDArray[np.float64]) -> float:
    """The largest sum of the magnitudes that the low-pass adds up, over that of the line."""
    inside = np.ones(len(row))
    magnitudes = np.concatenate([np.abs(front).sum(1), inside, np.abs(back).sum(1)])
    return float(np.convolve(magnitudes, np.abs(row[::-1]), "valid").max())


# --- how it runs ----------------------------------------------------------------------------------------------------


class Front(nn.Module):
    """Stands in front of a convolution. Its own calls are not the network's, so they are hidden from who records those.

    ``gain`` bounds how much larger than its input its output is; None if that is unknown.
    """

    gain: float | None


def gain_of(operator: Operator) -> float | None:
    """How much larger than its input the output of an operator can be; None if that is unknown."""
    return math.prod(sum(map(abs, row)) for row in operator.taps) if isinstance(operator, Blur) else None


class Filter(Front):
    """An operator, or only its low-pass."""

    def __init__(self, pool: Pooling, subsamples: bool) -> None:
        super().__init__()
        self.operator, self.subsamples = pool.operator, subsamples
        self.gain = gain_of(pool.operator)

    def forward(self, x: Tensor) -> Tensor:
        """Low-pass, and subsample if it does."""
        pool = Pooling(self.operator)
        with torch._C.DisableTorchFunction():
            return pool(x) if self.subsamples else pool.smooth(x)


class Continuation(Front):
    """A map, continued beyond its border such that a longer convolution without padding gives what two calls gave."""

    def __init__(self, sides: Sequence[_Sides], shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.sides: list[tuple[_Lines, _Lines]] = [(front.tolist(), back.tolist()) for front, back in sides]
        self.least = tuple(front.shape[1] for front, _ in sides)
        self.shape = shape
        self.gain = math.prod(max(1.0, *(float(np.abs(m).sum(1).max(initial=0)) for m in pair)) for pair in sides)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×… → the same with more samples along each axis."""
        with torch._C.DisableTorchFunction():
            if is_recorded():
                return self._joined(x)
            self._check(x.shape[2:])
            return self._filled_in(x)

    def _joined(self, x: Tensor) -> Tensor:
        """The definition, for programs that are recorded and run at other sizes: axis by axis."""
        for axis, (front, back) in enumerate(self.sides, 2):
            before = [_line(x, axis, weights, 0) for weights in front]
            after = [_line(x, axis, weights, -len(weights)) for weights in back]
            x = torch.cat([*before, x, *after], axis)
        return x

    def _filled_in(self, x: Tensor) -> Tensor:
        """The same, with one copy of the map for all axes."""
        sizes = [size + sum(map(len, pair)) for size, pair in zip(x.shape[2:], self.sides, strict=True)]
        has_channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if has_channels_last else torch.contiguous_format
        y = torch.empty(*x.shape[:2], *sizes, dtype=x.dtype, device=x.device, memory_format=layout)
        inner = [(len(front), size) for (front, _), size in zip(self.sides, x.shape[2:], strict=True)]
        _narrowed(y, inner, 2).copy_(x)
        for axis, (front, back) in enumerate(self.sides, 2):
            whole = _narrowed(y, inner[axis - 1 :], axis + 1)  # this axis and those before it, and the rest as it was
            known = whole.narrow(axis, *inner[axis - 2])
            for place, weights in enumerate(front):
                whole.narrow(axis, place, 1).copy_(_line(known, axis, weights, 0))
            for place, weights in enumerate(back, -len(back)):
                whole.narrow(axis, place, 1).copy_(_line(known, axis, weights, -len(weights)))
        return y

    def _check(self, sizes: tuple[int, ...]) -> None:
        shown = "×".join(map(str, sizes))
        if self.shape and self.shape[2:] != sizes:
            raise ValueError(f"got a map of {shown}; the copy was made for one of {'×'.join(map(str, self.shape[2:]))}")
        if any(size < least for size, least in zip(sizes, self.least, strict=True)):
            least = "×".join(map(str, self.least))
            raise ValueError(f"got a map of {shown}; a filter that is folded into a convolution needs {least} or more")


def _line(x: Tensor, axis: int, weights: list[float], first: int) -> Tensor:
    """The weighted sum of the lines of a map along one axis, from the ``first`` on."""
    line: Tensor | None = None
    for place, weight in enumerate(weights, first):
        if weight:
            one = x.select(axis, place)  # which fails where a slice would be shorter
            scaled = one if weight == 1 else one * weight
            line = scaled if line is None else torch.add(line, one, alpha=weight)
    return (torch.zeros_like(x.select(axis, 0)) if line is None else line).unsqueeze(axis)


def _narrowed(y: Tensor, spans: Sequence[tuple[int, int]], first: int) -> Tensor:
    """A map between these places along its axes, from the axis ``first`` on."""
    for axis, (start, length) in enumerate(spans, first):
        y = y.narrow(axis, start, length)
    return y
