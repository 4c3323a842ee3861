"""Following a tensor through pointwise calls, up to the next call that mixes pixels.

A convolution is followed by normalisation, activation, dropout: calls that treat every pixel by itself. Subsampling
commutes with all of them, so it can wait until they are done. `follow` walks down the data flow through such calls, and
returns where the first activation is complete and what comes after.
"""

from dataclasses import dataclass
from typing import Any

from aliasing.sites.trace import Call, Value

# fmt: off
ACTIVATIONS = frozenset((
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_", "clip", "threshold", "threshold_",
    "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu", "elu_", "selu", "selu_", "celu", "celu_", "gelu",
    "silu", "mish", "sigmoid", "sigmoid_", "tanh", "tanh_", "hardsigmoid", "hardswish", "softplus", "softsign",
    "logsigmoid", "hardshrink", "softshrink", "tanhshrink", "abs", "square", "exp", "erf",
))
POINTWISE = ACTIVATIONS | frozenset((
    "batch_norm", "mul", "mul_", "multiply", "div", "div_", "true_divide", "add", "add_", "sub", "sub_", "neg", "pow",
    "sqrt", "rsqrt", "addcmul", "addcmul_", "lerp", "maximum", "minimum", "contiguous", "clone", "detach", "to", "type",
    "type_as", "float", "half", "bfloat16", "double", "dropout", "dropout_", "dropout2d", "feature_dropout",
    "alpha_dropout", "__mul__", "__rmul__", "__imul__", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__",
    "__isub__", "__truediv__", "__rtruediv__", "__itruediv__", "__pow__", "__neg__",
))
# fmt: on
SUMS = frozenset(("add", "add_", "__add__", "__radd__", "__iadd__"))
_PER_CHANNEL = frozenset(("batch_norm", "prelu"))
# Reductions over the channels alone, as in a layer normalisation that is written out.
_OVER_CHANNELS = frozenset(["mean", "var", "std", "sum", "norm", "var_mean"])


@dataclass(frozen=True)
class Continuation:
    """What follows a tensor.

    Attributes
    ----------
    passed : the pointwise calls that follow, up to the end of the first activation if there is one.
    activated : the tensor after the activation, through which all of the tensor's influence passes, or None.
    next : the calls after that.
    """

    passed: tuple[Call, ...]
    activated: Value | None
    next: tuple[Call, ...]


def follow(value: Value) -> Continuation:
    """Follow ``value`` through pointwise calls, to the end of its first activation.

    A call is followed if it treats every pixel by itself and does not mix in another spatial tensor, as a residual sum
    does.
    """
    layout: dict[Value, tuple[int, ...]] = {value: tuple(range(len(value.shape)))}
    passed: list[Call] = []
    activated = False
    open_values = [value]
    while True:
        end = open_values[0] if len(open_values) == 1 else None
        if end is not None and activated and layout[end] == layout[value]:
            return Continuation(tuple(passed), end, tuple(end.consumers))
        waiting = sorted({call for v in open_values for call in v.consumers} - set(passed), key=lambda call: call.index)
        is_returned = any(v.is_output for v in open_values)
        outputs = _layout_behind(waiting[0], layout) if waiting and not is_returned else None
        if outputs is None:
            return Continuation(tuple(passed), None, tuple(waiting))
        passed.append(waiting[0])
        layout.update(outputs)
        activated = activated or waiting[0].name in ACTIVATIONS
        open_values = [v for v in layout if not v.consumers or not set(v.consumers) <= set(passed)]


def _layout_behind(call: Call, layout: dict[Value, tuple[int, ...]]) -> dict[Value, tuple[int, ...]] | None:
    """The axes in the outputs of a call; None if it is not pointwise or mixes in another spatial tensor."""
    ours = [value for value in call.inputs if value in layout]
    axes = layout[ours[0]]
    shape = ours[0].shape
    # A tensor with one position applies to all of them, unless there is only one: then it may be another branch's.
    is_single = all(size == 1 for axis, size in zip(axes, shape, strict=True) if axis >= 2)
    others = [value.shape for value in call.inputs if value.is_signal and value not in layout]
    spatial = max(len(shape) - 2, 1)
    if any(is_single or (len(other) > spatial and max(other[-spatial:]) > 1) for other in others):
        return None
    if call.name in POINTWISE and all(layout[value] == axes for value in ours):
        per_channel = call.name in _PER_CHANNEL  # their vectors do not broadcast from the right
        foreign = [value for value in call.inputs if value not in layout and not per_channel]
        if any(_varies_over_space(value, axes) for value in foreign):
            return None
        return dict.fromkeys(call.outputs, axes)
    if call.name == "permute":
        order = _permutation(call)
        return None if order is None else {call.outputs[0]: tuple(axes[axis] for axis in order)}
    if call.name == "layer_norm" and axes[-1] == 1 and call.args[1:2] and len(tuple(call.args[1])) == 1:
        return {call.outputs[0]: axes}
    if call.name in _OVER_CHANNELS and all(len(output.shape) == len(shape) for output in call.outputs):
        changed = {axis for output in call.outputs for axis in range(len(shape)) if output.shape[axis] != shape[axis]}
        return dict.fromkeys(call.outputs, axes) if changed == {axes.index(1)} else None
    return None


def _permutation(call: Call) -> tuple[int, ...] | None:
    order: Any = call.args[1:] or call.kwargs.get("dims", ())
    if len(order) == 1 and not isinstance(order[0], int):
        order = order[0]
    return tuple(order) if len(order) == len(call.outputs[0].shape) else None


def _varies_over_space(value: Value, axes: tuple[int, ...]) -> bool:
    """Whether a broadcast operand has more than one value over the spatial axes."""
    trailing = axes[len(axes) - len(value.shape) :] if len(value.shape) <= len(axes) else axes
    return any(axis >= 2 and size > 1 for axis, size in zip(trailing, value.shape, strict=False))
