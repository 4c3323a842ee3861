r"""Folding batch norms into the convolutions in front of them, for evaluation only.

In evaluation a batch norm is an affine map of each channel, so after a convolution (or a linear layer) with weight *W*
and bias *b* it does not need its own step (Jacob et al. 2018, §3.2):

.. math:: \gamma \frac{W x + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
          = \Big(\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W\Big) x
          + \Big(\gamma \frac{b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta\Big)

A run on the meta device (`aliasing.sites.trace`) shows what can be folded, by the functions that are called and not by
the names of classes: the weights and the statistics are unmodified parameters and buffers, the convolution's output
goes only to the batch norm, and both are called once. A network in which values decide what is called cannot run on the
meta device and stays as it is; so does a convolution followed by an anti-aliased operator, whose calls are hidden.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from aliasing.sites.trace import Call, ModuleCall, Recording, Value, record_shapes, twin
from aliasing.surgery.numbering import number_of, once
from aliasing.surgery.rewrite import TreatedForward, register

__all__ = ["Folding", "Nothing", "Step", "fold_batch_norms", "foldings", "rewritten_copy"]

# The linear maps, and the rank of the output whose axis 1 holds the channels.
_RANKS = {torch.conv1d: 3, torch.conv2d: 4, torch.conv3d: 5, F.linear: 2}
_MAP = "input weight bias"
_BATCH_NORM = "input running_mean running_var weight bias training momentum eps"

Weights: TypeAlias = dict[str, Tensor]
Rewrites: TypeAlias = dict[Call, nn.Module]
"""The replacement of each call."""


def fold_batch_norms(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a network for evaluation, in which batch norms are folded into the layers in front of them.

    Parameters
    ----------
    model : nn.Module
        It stays as it is. The copy shares all weights but the folded ones.
    example : Tensor
        One batch of two or more inputs, with the shape of those that the network will be shown.

    Returns
    -------
    nn.Module
        In evaluation mode; its outputs are equal up to rounding. If nothing can be folded, a plain copy.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> x = torch.rand(2, 3, 9, 9)
    >>> bool((fold_batch_norms(net, x)(x) - net(x)).abs().max() < 1e-6)
    True
    """

    def rewrites(record: Recording, weights: Weights) -> Rewrites:
        return {call: step for folding in foldings(record, weights) for call, step in folding.rewrites().items()}

    return rewritten_copy(model, example, rewrites)


def rewritten_copy(model: nn.Module, example: Tensor, rewrites: Callable[[Recording, Weights], Rewrites]) -> nn.Module:
    """A copy for evaluation with some calls replaced, or with none if its run cannot be recorded.

    ``rewrites`` maps the record of a run, and the parameters and buffers by name, to the replacements.
    """
    copied = twin(model)
    try:
        record = record_shapes(model, example)
    except Exception:  # it cannot be recorded, or its values decide what is called
        return copied
    found = rewrites(record, {**dict(copied.named_parameters()), **dict(copied.named_buffers())})
    holders = {call: once(record, call) for call in found}
    chains = list(_chains(record, found))
    for module_call in chains:
        holders |= dict.fromkeys(_calls_in(record, module_call), module_call)
    treated: dict[str, TreatedForward] = {}
    for call, rewrite in found.items():
        holder, number = holders[call], number_of(record, call, holders)
        module = copied.get_submodule(holder.name)
        register(module, f"folded {call.name} {number}", rewrite)
        if holder not in chains:
            treated.setdefault(holder.name, TreatedForward(module)).rewrites[call.name, number] = rewrite
    for forward in treated.values():
        forward.attach()
    for module_call in chains:
        steps = [found[call] for call in _calls_in(record, module_call)]
        copied.get_submodule(module_call.name).forward = Chain([s for s in steps if not isinstance(s, Nothing)])
    return copied


@dataclass(frozen=True)
class Folding:
    """A convolution or linear layer, the batch norm after it if any, and the weight and bias of both in one."""

    map: Call
    batch_norm: Call | None
    weight: Tensor
    bias: Tensor | None

    @property
    def last(self) -> Call:
        """The call that gives the output."""
        return self.batch_norm or self.map

    def rewrites(self) -> Rewrites:
        """The replacements of the calls if the batch norm is folded."""
        if self.batch_norm is None:
            return {}
        return {self.map: _Folded(self.weight, self.bias), self.batch_norm: Nothing()}


def foldings(record: Recording, weights: Weights) -> Iterator[Folding]:
    """The linear maps whose weights are unmodified and which are called once, in the order of their calls."""
    for call in record.calls:
        if call.function not in _RANKS or not _is_once(record, call):
            continue
        given = call.arguments(_MAP)
        if not (_is_weight(given["weight"]) and (given.get("bias") is None or _is_weight(given["bias"]))):
            continue
        batch_norm = _batch_norm_behind(record, call)
        folding = None if batch_norm is None else _fold(call, batch_norm, weights)
        if folding is None:
            weight, bias = weights[given["weight"].weight].detach(), given.get("bias")
            folding = Folding(call, None, weight, None if bias is None else weights[bias.weight].detach())
        yield folding


def _batch_norm_behind(record: Recording, call: Call) -> Call | None:
    """The batch norm that alone takes the call's output, if its statistics and weights are unmodified."""
    value = call.outputs[0]
    if len(value.consumers) != 1 or value.is_output or value.is_read_in_place:
        return None
    norm = value.consumers[0]
    if norm.function is not F.batch_norm or not _is_once(record, norm) or len(value.shape) != _RANKS[call.function]:
        return None
    given = norm.arguments(_BATCH_NORM)
    is_fixed = (
        not given.get("training")
        and all(_is_weight(given.get(name)) for name in ("running_mean", "running_var"))
        and all(given.get(name) is None or _is_weight(given[name]) for name in ("weight", "bias"))
    )
    return norm if is_fixed else None


def _fold(linear: Call, batch_norm: Call, weights: Weights) -> Folding | None:
    """The map with the batch norm folded in; None if its weights would not be finite in their dtype."""

    def value_of(argument: Value | None) -> Tensor | None:
        # In double precision, so that each folded weight is rounded once.
        return None if argument is None else weights[str(argument.weight)].detach().double()

    given, norm = linear.arguments(_MAP), batch_norm.arguments(_BATCH_NORM)
    dtype = weights[given["weight"].weight].dtype
    double: Any = value_of(given["weight"])
    mean: Any = value_of(norm["running_mean"])
    variance: Any = value_of(norm["running_var"])
    affine = value_of(norm.get("weight")), value_of(norm.get("bias"))
    fused = fuse_conv_bn_weights(double, value_of(given.get("bias")), mean, variance, norm.get("eps", 1e-5), *affine)
    weight, bias = (part.detach().to(dtype) for part in fused)
    return Folding(linear, batch_norm, weight, bias) if all(bool(p.isfinite().all()) for p in (weight, bias)) else None


class _Folded(nn.Module):
    """Replaces the call of a convolution or linear layer: the same call with other weights."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        options = {name: value for name, value in options.items() if name not in _MAP.split()}
        output: Tensor = function(input, self.weight, self.bias, *given[2:], **options)
        return output


class Step(nn.Module):
    """Replaces a call, and needs only its input."""

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        raise NotImplementedError


class Nothing(Step):
    """Replaces a call whose work another one does."""

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        return input


class Chain:
    """The ``forward`` of a module that consists only of steps, which run without recording the module's calls."""

    def __init__(self, steps: list[nn.Module]) -> None:
        self.steps = steps

    def __call__(self, x: Tensor, **_: Any) -> Tensor:
        # Outer modes count the calls of their own modules; these here are already replaced.
        with torch._C.DisableTorchFunction():
            for step in self.steps:
                x = step.forward(None, x)
        return x


def _is_once(record: Recording, call: Call) -> bool:
    """Whether the module runs once, so that a replacement of the call replaces only this one."""
    return len(record.calls_of(call.module.module)) == 1


def _is_weight(argument: Any) -> bool:
    return isinstance(argument, Value) and argument.weight is not None


def _chains(record: Recording, rewrites: Rewrites) -> Iterator[ModuleCall]:
    """The outermost modules that run once and consist of steps, each applied to the output of the one before."""
    end = 0
    for module_call in record.module_calls:  # outermost first
        if module_call.first >= end and _is_chain(record, module_call, rewrites):
            end = module_call.last
            yield module_call


def _is_chain(record: Recording, module_call: ModuleCall, rewrites: Rewrites) -> bool:
    calls = _calls_in(record, module_call)
    if not calls or len(module_call.inputs) != 1 or len(record.calls_of(module_call.module)) > 1:
        return False
    value = module_call.inputs[0]
    for call in calls:
        if not isinstance(rewrites.get(call), Step) or call.signals != [value]:
            return False
        value = call.outputs[0]
    within = [call.outputs[0] for call in calls[:-1]]
    return value is module_call.output and all(len(v.consumers) == 1 and not v.is_output for v in within)


def _calls_in(record: Recording, module_call: ModuleCall) -> list[Call]:
    return record.calls[module_call.first : module_call.last]
