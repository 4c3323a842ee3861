"""Whether all padding in a network is circular."""

import re

from torch import nn

from aliasing.kinds import OPERATORS
from aliasing.sites.change import each
from aliasing.sites.trace import Recording
from aliasing.surgery import conversion_of

_POOLING = re.compile(r"(?:max|avg)_pool[123]d(?:_with_indices)?")
_CONVOLUTION = re.compile(r"conv[123]d|_convolution")
_PADDED = tuple(getattr(nn, f"{kind}{axes}d") for kind in ("Conv", "MaxPool", "AvgPool") for axes in (1, 2, 3))


def pads_circularly(module: nn.Module, record: Recording) -> bool:
    """Whether all padding in this network is circular.

    The calls of an anti-aliased operator are hidden from the record; the conversion says how it pads.
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
            given = call.arguments("input pad mode", mode="constant")
            axes = len(record.input_shapes[0]) - 2
            if given["mode"] != "circular" and any(tuple(given["pad"])[: 2 * axes]):
                return False
        elif call.signals and (_CONVOLUTION.fullmatch(call.name) or _POOLING.fullmatch(call.name)):
            pools = _POOLING.fullmatch(call.name)
            names = "input kernel_size stride padding" if pools else "input weight bias stride padding"
            padding = call.arguments(names, padding=0)["padding"]
            if padding != "valid" and (isinstance(padding, str) or any(each(padding, 1))):
                return False
    return True


def _pads_with_zeros(module: nn.Module) -> bool:
    if not isinstance(module, _PADDED) or isinstance(module.padding, str):
        return False
    return any(each(module.padding, 1)) and getattr(module, "padding_mode", "zeros") != "circular"
