"""The checks that every operator makes of its input, and the memory format of its output."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aliasing.axes import channels_last
from aliasing.downsample.recording import constant, is_recorded, is_traced
from aliasing.errors import UsageError


def checked(x: Tensor, dims: int) -> int:
    """Raise unless ``x`` is a tensor that an operator accepts; return its number of channels."""
    if dims not in (1, 2, 3):
        raise UsageError(f"dims, the number of spatial axes, is 1, 2 or 3; got {dims!r}")
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a torch tensor; got {type(x).__name__} (torch.as_tensor makes one)")
    if not x.is_floating_point():
        raise TypeError(f"expected a floating-point tensor; got {x.dtype} (x.float() makes one)")
    if x.ndim not in (dims + 1, dims + 2):
        axes = _named(dims)
        raise UsageError(f"expected a tensor (N, C, {axes}) or (C, {axes}); got {tuple(x.shape)}")
    if is_traced():
        return constant(x.shape[-dims - 1])  # the other sizes may differ when the trace runs
    if 0 in x.shape:
        raise UsageError(f"expected a tensor (N, C, {_named(dims)}) without an empty axis; got {tuple(x.shape)}")
    if dims == 2 and not is_recorded() and channels_last(x.shape):
        raise UsageError(
            f"{tuple(x.shape)} looks like a picture with its channels last: x.permute(2, 0, 1) puts them first; "
            f"if these are {x.shape[0]} channels of {x.shape[1]}×{x.shape[2]} pixels, x[None] says so"
        )
    return x.shape[-dims - 1]


def _named(dims: int) -> str:
    return ", ".join(("L", "HW", "DHW")[dims - 1])


def every(x: Tensor, axis: int, step: int) -> Tensor:
    index: list[Any] = [..., slice(None, None, step), *[slice(None)] * (-axis - 1)]
    return x[tuple(index)]


def laid_out_like(y: Tensor, x: Tensor) -> Tensor:
    """``y`` in the memory format of ``x``, so that channels_last stays channels_last."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return y.contiguous(memory_format=torch.channels_last)
    return y.contiguous()


_AS_IT_IS = nullcontext()


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Keep the dtype of x under autocast, as torch's own pooling does."""
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if autocast else _AS_IT_IS


def convolution(dims: int) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
