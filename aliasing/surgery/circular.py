"""Every padding circular: the rewrites of calls that pad and are not treated sites."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aliasing.sites.change import axes_of, each
from aliasing.sites.trace import Call, Recording
from aliasing.surgery import rewrite
from aliasing.surgery.upsampling import Upsampled, obstacle, reach

__all__ = ["ARGUMENTS", "pads", "periodic", "with_circular_padding"]

# Calls that need a map that closes the ring.
_DENSE = rewrite.DenseConvolution | rewrite.DenseMaximum | rewrite.DenseAverage
ARGUMENTS = {
    f"{name}{axes}d": arguments
    for axes in (1, 2, 3)
    for name, arguments in (
        ("conv", "input weight bias stride padding dilation"),
        ("max_pool", "input kernel_size stride padding dilation"),
        ("avg_pool", "input kernel_size stride padding"),
    )
}


def with_circular_padding(record: Recording, rewritten: dict[Call, Any]) -> dict[Call, Any]:
    """Rewrites for the calls that pad and are not treated sites."""
    found: dict[Call, Any] = {}
    for call in record.calls:
        if call in rewritten or not call.signals:
            continue
        if call.name in ARGUMENTS:
            if pads(call):
                found[call] = rewrite.CircularCall(ARGUMENTS[call.name].split().index("padding"), axes_of(call))
        elif call.name == "pad":
            width = call.arguments("input pad", pad=())["pad"]
            if len(width) == 2 * (len(call.signals[0].shape) - 2) and any(width):
                sites = [c for c in call.outputs[0].consumers if isinstance(rewritten.get(c), _DENSE) and c.signals]
                found[call] = rewrite.CircularPadding(*(_windows(sites[0]) if sites else ()))
    return found


def pads(call: Call) -> bool:
    """Whether a convolution or a pooling has padding of its own."""
    padding = call.arguments(ARGUMENTS[call.name], padding=0)["padding"]
    return padding == "same" or any(each(padding, axes_of(call)))


def _windows(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The span of the windows of a convolution or a pooling in samples, and their steps, along each axis."""
    given, axes = call.arguments(ARGUMENTS[call.name]), axes_of(call)
    kernel = given["weight"].shape[-axes:] if "weight" in given else each(given["kernel_size"], axes)
    steps = each(given.get("stride") or kernel, axes)
    return rewrite.span(kernel, each(given.get("dilation", 1), axes)), steps


def periodic(call: Call, rewritten: Mapping[Call, Any]) -> Upsampled | None:
    """The rewrite of an upsampling that sees beyond the border of its input, if its input is periodic."""
    if not call.signals or (call.name != "interpolate" and not call.name.startswith("conv_transpose")):
        return None
    count = len(call.signals[0].shape) - 2
    before, after = (value.shape[-count:] for value in (call.signals[0], call.outputs[0]))
    factors = tuple(new // old for new, old in zip(after, before, strict=True))
    seen = None if obstacle(call) else reach(call, factors)
    if not seen or max(factors) == 1:
        return None
    known: Upsampled = rewritten.get(call, Upsampled(None, factors))
    return replace(known, reach=seen, circular=True)
