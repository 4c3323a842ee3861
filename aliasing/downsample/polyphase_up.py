r"""Polyphase upsampling, APS-U and LPU: samples go back to the phase from which they came (Chaman & Dokmanić 2021).

.. math:: x_{si + q} = w_q \, y_i, \qquad w_q = [\, q = p \,] \text{ if one phase } p \text{ was kept}

With the weights of a Gumbel-softmax sample (LPU, Rojas-Gomez et al. 2022) every phase gets its share.

A. Chaman, I. Dokmanić: Truly shift-equivariant convolutional neural networks with adaptive polyphase upsampling.
Asilomar 2021, arXiv 2105.04040.
"""

import math

import torch
from torch import Tensor, nn

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.operator import short
from aliasing.downsample.tensors import checked, laid_out_like
from aliasing.errors import UsageError


def polyphase_upsample(
    x: Tensor, phase: Tensor, stride: PerAxis = 2, size: PerAxis | None = None, *, dims: int = 2
) -> Tensor:
    """Put samples back at the phase that `polyphase_pool` kept, with zeros between them.

    The transpose of that pool. A decoder that uses the phases of its encoder moves with its input under every circular
    shift by whole samples.

    Parameters
    ----------
    x, stride, dims
        As for `aliasing.downsample.polyphase_pool`.
    phase : Tensor (N,), (N, phases) or ()
        What the pool chose: `largest_phase`, or ``choose`` of a module.
    size : int or one int per axis, optional
        The size to reach, if the stride did not divide it; by default L · stride.

    Returns
    -------
    Tensor
        ``size`` samples per axis.

    Raises
    ------
    UsageError
        If the stride does not make x's size of ``size``.

    Examples
    --------
    >>> polyphase_upsample(torch.tensor([[3.0, 2.0]]), torch.tensor(1), dims=1)
    tensor([[0., 3., 0., 2.]])
    """
    checked(x, dims)
    steps = per_axis(stride, dims, "stride")
    batch = x if x.ndim == dims + 2 else x[None]
    small = tuple(batch.shape[-dims:])
    large = tuple(n * step for n, step in zip(small, steps, strict=True))
    large = large if size is None else per_axis(size, dims, "size")
    if any(-(-whole // step) != n for whole, step, n in zip(large, steps, small, strict=True)):
        raise UsageError(f"size is that of the pool's input, which {short(steps)} made into {small}; got {large}")
    weights = phase
    if not phase.is_floating_point():
        weights = torch.nn.functional.one_hot(phase.reshape(-1), math.prod(steps))
    weights = weights.to(x.dtype).reshape(-1, math.prod(steps))
    y = batch.new_zeros(())
    for phase_number, weight in enumerate(weights.unbind(1)):
        number = phase_number
        placed = batch * weight.reshape(-1, *(1,) * (dims + 1))
        for axis in reversed(range(dims)):
            number, first = divmod(number, steps[axis])
            places = (torch.arange(small[axis], device=x.device) * steps[axis] + first) % large[axis]
            shape = list(placed.shape)
            shape[axis - dims] = large[axis]
            placed = placed.new_zeros(shape).index_copy(axis - dims, places, placed)
        y = y + placed
    return laid_out_like(y, x) if x.ndim == dims + 2 else y[0]


class PolyphaseUpsample(nn.Module):
    """Put samples back at the phase that was kept, APS-U and LPU: `polyphase_upsample` with its stride, as a module.

    Examples
    --------
    >>> import aliasing as al
    >>> pool, up, x = al.layers.PolyphasePool2d(2), PolyphaseUpsample2d(2), torch.rand(1, 3, 8, 8)
    >>> phase = pool.choose(x)
    >>> up(pool(x, phase), phase).shape
    torch.Size([1, 3, 8, 8])
    """

    dims = 2

    def __init__(self, stride: PerAxis = 2) -> None:
        super().__init__()
        self.stride = per_axis(stride, self.dims, "stride")

    def forward(self, x: Tensor, phase: Tensor, size: PerAxis | None = None) -> Tensor:
        return polyphase_upsample(x, phase, self.stride, size, dims=self.dims)

    def extra_repr(self) -> str:
        return f"stride={short(self.stride)}"


class PolyphaseUpsample1d(PolyphaseUpsample):
    dims = 1


class PolyphaseUpsample2d(PolyphaseUpsample):
    dims = 2


class PolyphaseUpsample3d(PolyphaseUpsample):
    dims = 3
