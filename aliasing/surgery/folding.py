r"""The same network with fewer steps: batch norms folded into the convolutions in front of them, for evaluation only.

In evaluation a batch norm is an affine map of each channel, so behind a convolution (or a linear layer) with weight *W*
and bias *b* it needs no step of its own (Jacob et al. 2018, §3.2):

.. math:: \gamma \frac{W x + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
          = \Big(\frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W\Big) x
          + \Big(\gamma \frac{b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta\Big)

What is folded is read from a run on the meta device (`aliasing.sites.trace`), by the functions that are called and not
by the names of classes: the weights and the statistics are parameters and buffers as they stand, the convolution's
output goes to the batch norm and nowhere else, and both are called once. A network in which values decide what is
called cannot run on the meta device and stays as it is; so does a convolution that an anti-aliased operator stands
behind, since its calls are hidden from the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from aliasing.sites.trace import Call, Trace, Value, trace_shapes, twin
from aliasing.surgery.plan import number_of
from aliasing.surgery.rewrite import TreatedForward

__all__ = ["fold_batch_norms"]

# The linear maps, and the rank of the output whose axis 1 is that of their channels.
_RANKS = {torch.conv1d: 3, torch.conv2d: 4, torch.conv3d: 5, F.linear: 2}
_MAP = ("input", "weight", "bias")
_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def fold_batch_norms(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a network for evaluation, in which batch norms are folded into what stands in front of them.

    Parameters
    ----------
    model : nn.Module
        Left as it is. The copy shares its weights; those that are folded it has once more.
    example : Tensor
        One batch of two or more inputs, of the shape that the network will be shown.

    Returns
    -------
    nn.Module
        In evaluation mode; its outputs are equal to rounding. Where nothing can be folded, the copy of what there is.

    Raises
    ------
    Exception
        Whatever a network raises that cannot be copied.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> x = torch.rand(2, 3, 9, 9)
    >>> bool((fold_batch_norms(net, x)(x) - net(x)).abs().max() < 1e-6)
    True
    """
    evaluated = twin(model)
    try:
        record = trace_shapes(model, example)
    except Exception:  # it cannot be watched, or its values decide what is called
        return evaluated
    weights = {**dict(evaluated.named_parameters()), **dict(evaluated.named_buffers())}
    rewrites: dict[Call, nn.Module] = {}
    for folded in _foldable(record):
        fused = _fuse(folded, weights)
        if fused is not None:
            rewrites |= {folded.map: fused, folded.batch_norm: _Nothing()}
    treated: dict[str, TreatedForward] = {}
    for call, rewrite in rewrites.items():
        module, number = evaluated.get_submodule(call.module.name), number_of(record, call, rewrites)
        forward = treated.setdefault(call.module.name, TreatedForward(module))
        forward.rewrites[call.name, number] = rewrite
        module.add_module(f"folded {call.name} {number}", rewrite)  # so that it moves with the network
    for forward in treated.values():
        forward.attach()
    return evaluated


@dataclass(frozen=True)
class _Foldable:
    """A batch norm, and the call of a convolution or linear layer that it follows."""

    map: Call
    batch_norm: Call


def _foldable(record: Trace) -> Iterator[_Foldable]:
    for call in record.calls:
        if call.function is not F.batch_norm or not _is_once(record, call):
            continue
        given = _arguments(call, _BATCH_NORM)
        value = given["input"]
        source = value.producer
        if (
            source is not None
            and len(value.shape) == _RANKS.get(source.function)
            and _is_once(record, source)
            and value.consumers == [call]
            and not (value.is_output or value.is_read_in_place or given.get("training"))
            and all(_is_weight(given.get(name)) for name in ("running_mean", "running_var"))
            and all(given.get(name) is None or _is_weight(given[name]) for name in ("weight", "bias"))
            and _is_weight(_arguments(source, _MAP)["weight"])
            and (_arguments(source, _MAP).get("bias") is None or _is_weight(_arguments(source, _MAP)["bias"]))
        ):
            yield _Foldable(source, call)


def _fuse(folded: _Foldable, weights: dict[str, Tensor]) -> "_Fused | None":
    """The map with the batch norm in it; None where its weights are no numbers, or too large for their type."""

    def value_of(argument: Value | None) -> Tensor | None:
        # In double precision, so that each folded weight is rounded once.
        return None if argument is None else weights[str(argument.weight)].detach().double()

    linear, norm = _arguments(folded.map, _MAP), _arguments(folded.batch_norm, _BATCH_NORM)
    original = weights[linear["weight"].weight]
    mean: Any = value_of(norm["running_mean"])
    variance: Any = value_of(norm["running_var"])
    epsilon = norm.get("eps", 1e-5)
    affine = value_of(norm.get("weight")), value_of(norm.get("bias"))
    double: Any = value_of(linear["weight"])
    weight, bias = fuse_conv_bn_weights(double, value_of(linear.get("bias")), mean, variance, epsilon, *affine)
    fused = _Fused(weight.detach().to(original.dtype), bias.detach().to(original.dtype))
    return fused if all(bool(part.isfinite().all()) for part in fused.buffers()) else None


class _Fused(nn.Module):
    """Stands in place of the call of a convolution or linear layer: the same call with other weights."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        options = {name: value for name, value in options.items() if name not in _MAP}
        output: Tensor = function(input, self.weight, self.bias, *given[2:], **options)
        return output


class _Nothing(nn.Module):
    """Stands in place of the call of a batch norm that is folded."""

    def forward(self, function: Any, input: Tensor, *given: Any, **options: Any) -> Tensor:  # noqa: A002
        return input


def _arguments(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, call.args, strict=False)) | call.kwargs


def _is_weight(argument: Any) -> bool:
    return isinstance(argument, Value) and argument.weight is not None


def _is_once(record: Trace, call: Call) -> bool:
    """Does the module run once, so that what stands for the call stands for this one only?"""
    return len(record.calls_of(call.module.module)) == 1
