r"""Convolutions that pad, convolve and clamp in one step on a CPU, for evaluation only.

On a CPU a network spends up to a third of its time in steps that compute almost nothing and move whole maps through
memory. oneDNN's convolution applies a clamp (ReLU, ReLU6, hard tanh) to each sum before writing it, so that the map is
not read and written again; the result is the same. Zero padding in front is fused too. If both sides have the same
width, it becomes the convolution's own padding. If they differ, as in TensorFlow's "same" padding of a strided
convolution, the kernel grows by zeros: with *l* zeros before and *r > l* after, sample *i* of a convolution of stride
*s* is

.. math:: y_i = \sum_k w_k \, x_{s i - l + k} = \sum_k w'_k \, x_{s i - r + k},
          \qquad w' = (\underbrace{0, \dots, 0}_{r - l}, w_0, w_1, \dots)

so that both sides are *r* wide and the number of samples, (n + l + r − |w|) / s + 1, stays the same. This is done where
it costs almost nothing: in depthwise convolutions.

Two results differ if a map is not finite: oneDNN's clamp turns NaN into 0, and 0 × ∞ is NaN. If a network fails on an
image, that must stay visible. So each of these convolutions has a bound on its input: that of the clamp in front of it,
or of the convolution in front, by

.. math:: |w * x + b| \le \|w\|_1 \max |x| + |b|

or, with another step in front, it checks the map if that is small compared with its output (otherwise the clamp is not
fused). Once a map exceeds its bound, the rest of that run takes the steps one by one, as the network itself does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aliasing.sites.change import each
from aliasing.sites.flow import SUMS
from aliasing.sites.trace import Call, Recording, Value
from aliasing.surgery.filtering import Front, gain_of
from aliasing.surgery.folding import (
    Folding,
    Nothing,
    Rewrites,
    Step,
    Weights,
    fold_batch_norms,
    foldings,
    rewritten_copy,
)
from aliasing.surgery.rewrite import DenseMaximum, TreatedForward

__all__ = ["fuse_convolutions"]

_RELUS = (F.relu, torch.relu, Tensor.relu)
# The assumed bound of a map, which is checked if it is not known; and the bound of a sum, below the largest float32 and
# bfloat16 (3.4e38).
_LARGEST_INPUT = 1e6
_LARGEST_SUM = 1e38
# What gives numbers that were there before, or means of them.
_PASSING_ON = frozenset((
    "max_pool2d", "adaptive_avg_pool2d", "relu", "relu6", "cat", "__getitem__", "chunk", "split", "flip", "view",
    "reshape", "flatten", "transpose", "permute", "contiguous",
))  # fmt: skip

Clamp: TypeAlias = tuple[float, float]
Pair: TypeAlias = tuple[int, int]


def fuse_convolutions(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a network for evaluation on a CPU, with batch norms, clamps and zero padding fused into convolutions.

    The arguments are those of `fold_batch_norms`; the model is in float32, and the example has the height and width of
    every input that the copy will be shown. The copy is for float32 and for autocast to bfloat16, without gradients.
    Its outputs equal those of `fold_batch_norms` up to rounding; without oneDNN it is the same as that.

    References
    ----------
    PyTorch's own compiler does the same: ``torch/_inductor/fx_passes/mkldnn_fusion.py``.

    Examples
    --------
    >>> net = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
    >>> x = torch.rand(2, 3, 8, 8)
    >>> with torch.inference_mode():
    ...     bool((fuse_convolutions(net, x)(x) - net.eval()(x)).abs().max() < 1e-6)
    True
    """
    if not fused_types():
        return fold_batch_norms(model, example)
    watch = _Watch()
    fused = rewritten_copy(model, example, partial(_rewrites, watch=watch))
    fused.register_forward_pre_hook(watch.begin)
    return fused


@lru_cache(maxsize=1)
def fused_types() -> frozenset[torch.dtype]:
    """The dtypes for which oneDNN has fused convolutions on this machine, found by trying each."""
    one, how = torch.ones(1, 1, 1, 1), ((1, 1), (0, 0), (1, 1), 1)

    def has(dtype: torch.dtype) -> bool:
        try:
            kernel = _pack(-one.to(dtype), *how, one.shape)
            return float(_convolve(one.to(dtype), kernel, one[0, 0, 0] / 2, *how, (0.0, math.inf))) == 0
        except (AttributeError, RuntimeError):  # torch without oneDNN, a CPU without bfloat16
            return False

    return frozenset(dtype for dtype in (torch.float32, torch.bfloat16) if has(dtype))


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int, clamp: Any
) -> Tensor:
    """``F.conv2d`` and a clamp in one step."""
    name = "none" if clamp is None else "relu" if clamp == (0, math.inf) else "hardtanh"
    bounds = clamp if name == "hardtanh" else ()
    output: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, dilation, groups, name, bounds, ""
    )
    return output


def _pack(
    kernel: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int, input_shape: Sequence[int]
) -> Tensor:
    """A kernel in the fastest layout for :func:`_convolve`, for inputs of this shape."""
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        kernel, padding, stride, dilation, groups, input_shape
    )
    return packed


# --- what is fused --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """A convolution with its batch norm, and the calls around it that are fused with it."""

    folding: Folding
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    pad: Call | None = None  # pads with zeros in front
    widths: tuple[int, int, int, int] = (0, 0, 0, 0)  # of that padding: left, right, top, bottom
    activation: Call | None = None  # clamps the result
    clamp: Clamp | None = None  # the bounds of that

    @property
    def input(self) -> Value:
        return (self.pad or self.folding.map).inputs[0]

    @property
    def output(self) -> Value:
        return (self.activation or self.folding.last).outputs[0]

    @property
    def is_alone(self) -> bool:
        return self.folding.batch_norm is None and self.pad is None and self.activation is None

    @property
    def grows(self) -> bool:
        """Whether the kernel grows by zeros."""
        left, right, top, bottom = self.widths
        return left != right or top != bottom

    @property
    def must_be_finite(self) -> bool:
        """Whether the group would hide a NaN, or make one from an infinity."""
        return self.grows or self.clamp is not None

    def is_safe(self, largest_input: float | None) -> bool:
        return largest_input is not None and self.largest_sum(largest_input) <= _LARGEST_SUM

    @property
    def is_cheap_to_look_at(self) -> bool:
        """Whether checking the input costs less than fusing saves at the output."""
        return math.prod(self.input.shape) <= math.prod(self.output.shape)

    def largest_sum(self, largest_input: float) -> float:
        """A bound on every sum of the convolution for inputs up to this."""
        sums = self.folding.weight.double().abs().sum((1, 2, 3)) * largest_input
        return float((sums if self.folding.bias is None else sums + self.folding.bias.double().abs()).max())

    def largest_output(self, largest_input: float) -> float:
        largest = self.largest_sum(largest_input)
        return largest if self.clamp is None else min(largest, max(map(abs, self.clamp)))


def _rewrites(record: Recording, weights: Weights, watch: "_Watch") -> Rewrites:
    """The replacements of calls."""
    found: Rewrites = {}
    bounds: dict[Value, float | None] = {}  # None where none is known
    for folding in foldings(record, weights):
        found |= folding.rewrites()
        group = _group_around(folding)
        if group is None:
            continue
        largest, looks = _bound_of(group.input, bounds), False
        if group.must_be_finite and not group.is_safe(largest):
            if group.is_safe(_LARGEST_INPUT) and group.is_cheap_to_look_at:
                largest, looks = _LARGEST_INPUT, True
            else:
                group = replace(group, activation=None, clamp=None)
                if group.grows:
                    group = replace(group, pad=None, widths=(0, 0, 0, 0))
        if group.is_alone:
            continue
        if largest is not None:
            bounds[group.output] = group.largest_output(largest)
        found[folding.map] = _FusedConvolution(group, watch, looks)
        found |= {call: Nothing() for call in (group.pad, group.activation) if call is not None}
    return found


def _bound_of(value: Value, bounds: dict[Value, float | None]) -> float | None:
    """A bound on a map that passes on, or adds up, maps that have one; None for another."""
    call = value.producer
    if value not in bounds and call is not None:
        gain = _gain_of(call.module.module)
        if gain is not None:
            before = _bound_of(call.inputs[0], bounds)
            bounds[value] = None if before is None else before * gain
            return bounds[value]
        is_sum = call.name in SUMS and len(call.inputs) == len(call.args) and not call.kwargs
        found = [_bound_of(one, bounds) for one in call.inputs] if is_sum or call.name in _PASSING_ON else []
        known = [bound for bound in found if bound is not None]
        bounds[value] = (sum if is_sum else max)(known) if found and len(known) == len(found) else None
    return bounds.get(value)


def _gain_of(module: nn.Module) -> float | None:
    """How much larger than its input the output of a module that surgery made can be; None for another."""
    if isinstance(module, Front):
        return module.gain
    forward = vars(module).get("forward")
    rewrites = list(forward.rewrites.values()) if isinstance(forward, TreatedForward) else []
    if isinstance(module, nn.MaxPool2d) and len(rewrites) == 1 and isinstance(rewrites[0], DenseMaximum):
        return gain_of(rewrites[0].pool.operator)
    return None


def _pair(value: Any) -> Pair:
    down, across = each(value, 2)
    return down, across


def _group_around(folding: Folding) -> _Group | None:
    """A convolution and what can be fused with it; None for another linear map."""
    call = folding.map
    names = "input weight bias stride padding dilation groups"
    given = call.arguments(names, stride=1, padding=0, dilation=1, groups=1)
    if call.function is not torch.conv2d or folding.weight.dtype != torch.float32:
        return None
    if isinstance(given["padding"], str) or len(given["input"].shape) != 4:
        return None
    stride, padding, dilation = (_pair(given[name]) for name in ("stride", "padding", "dilation"))
    group = _Group(folding, stride, padding, dilation, given["groups"])
    activation = _only_consumer(folding.last.outputs[0])
    clamp = None if activation is None else _clamp_of(activation)
    if clamp is not None:
        group = replace(group, activation=activation, clamp=clamp)
    pad = given["input"].producer
    if pad is not None and _only_consumer(given["input"]) is call:
        widths = _widths_of(pad)
        padded = None if widths is None else replace(group, pad=pad, widths=widths)
        if padded is not None and (not padded.grows or (_is_depthwise(group) and dilation == (1, 1))):
            group = padded
    return group


def _only_consumer(value: Value) -> Call | None:
    """The call that takes a value, if no other does."""
    return value.consumers[0] if len(value.consumers) == 1 and not value.is_output else None


def _clamp_of(call: Call) -> Clamp | None:
    """The bounds of an activation that is a clamp, otherwise None."""
    if call.function in _RELUS:
        return 0.0, math.inf
    if call.function is F.relu6:
        return 0.0, 6.0
    if call.function is F.hardtanh:
        given = call.arguments("input min_val max_val", min_val=-1.0, max_val=1.0)
        return float(given["min_val"]), float(given["max_val"])
    return None


def _widths_of(call: Call) -> tuple[int, int, int, int] | None:
    """How wide a call pads a map with zeros; None for any other call."""
    if call.function is not F.pad:
        return None
    given = call.arguments("input pad mode value", mode="constant", value=None)
    widths = tuple(given["pad"])
    is_zero = given["mode"] == "constant" and not given["value"]
    return widths if is_zero and len(widths) == 4 and min(widths) >= 0 else None


def _is_depthwise(group: _Group) -> bool:
    return group.folding.weight.shape[1] == 1 and group.groups == group.folding.weight.shape[0]


# --- how it runs ----------------------------------------------------------------------------------------------------


class _Watch:
    """Whether all maps of this run have been within their bounds so far."""

    def __init__(self) -> None:
        self.is_bounded = True

    def begin(self, *_: Any) -> None:
        """Begin a new run of the network."""
        self.is_bounded = True

    def look(self, x: Tensor) -> None:
        self.is_bounded &= float(x.amin()) >= -_LARGEST_INPUT and float(x.amax()) <= _LARGEST_INPUT  # not so for NaN


class _FusedConvolution(Step):
    """Replaces the call of a convolution, and does the work of the calls fused with it."""

    def __init__(self, group: _Group, watch: _Watch, looks: bool) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", group.folding.weight)
        self.register_buffer("bias", group.folding.bias)
        self.widths, self.clamp = group.widths, group.clamp
        left, right, top, bottom = group.widths
        rows, columns = group.padding
        padding = rows + max(top, bottom), columns + max(left, right)
        self.own = group.stride, group.padding, group.dilation, group.groups
        self.fused = group.stride, padding, group.dilation, group.groups
        self.shape = group.input.shape
        self.watch, self.looks = watch, looks
        self._kernels: dict[torch.dtype, Tensor] = {}

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        if any(self.widths) and input.shape[2:] != self.shape[2:]:
            shown, known = tuple(input.shape[2:]), tuple(self.shape[2:])
            raise ValueError(f"got a map of {shown}; the copy was made for one of {known}")
        if self.looks:
            self.watch.look(input)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        if not self.watch.is_bounded or dtype not in fused_types():
            return self._step_by_step(input)
        if dtype not in self._kernels:
            self._kernels[dtype] = self._kernel_of(dtype)
        # The bias stays in float32 like the sums: its rounding is a quarter of the variance of bfloat16's margins.
        return _convolve(input.to(dtype), self._kernels[dtype], self.bias, *self.fused, self.clamp)

    def _kernel_of(self, dtype: torch.dtype) -> Tensor:
        """The kernel, with zeros if it grows, in oneDNN's layout for the example's shape, the same in every run."""
        left, right, top, bottom = self.widths
        zeros = max(right - left, 0), max(left - right, 0), max(bottom - top, 0), max(top - bottom, 0)
        kernel = F.pad(self.weight, zeros).to(dtype, memory_format=torch.channels_last)
        return _pack(kernel, *self.fused, self.shape)

    def _step_by_step(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.pad(x, self.widths), self.weight, self.bias, *self.own)
        return x if self.clamp is None else x.clamp(*self.clamp)
