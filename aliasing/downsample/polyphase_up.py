r"""Polyphase upsampling, APS-U and LPU: samples go back to the phase from which they came (Chaman & Dokmanić 2021).

.. math:: x_{si + q} = w_q \, y_i, \qquad w_q = [\, q = p \,] \text{ if one phase } p \text{ was kept}

With the weights of a Gumbel-softmax sample (LPU, Rojas-Gomez et al. 2022) every phase gets its share.

A. Chaman, I. Dokmanić: Truly shift-equivariant convolutional neural networks with adaptive polyphase upsampling.
Asilomar 2021, arXiv 2105.04040.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.operator import short
from aliasing.downsample.plain import insert_zeros
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
    y = insert_zeros(batch, steps, dims=dims)
    for axis, whole in zip(range(-dims, 0), large, strict=True):
        y = y.narrow(axis, 0, whole)
    y = rolled_to_phase(y, phase, steps)
    return laid_out_like(y if x.ndim == dims + 2 else y[0], x)


def rolled_to_phase(x: Tensor, phase: Tensor, steps: Sequence[int], unit: Sequence[int] | None = None) -> Tensor:
    """Roll each signal of a batch by its phase: what stands at phase 0 comes to the phase that was kept.

    Parameters
    ----------
    x : Tensor (N, C, ...)
    phase : Tensor (N,), (N, phases) or ()
        As for `polyphase_upsample`; of weights the weighted sum.
    steps : sequence of int
        The stride of the pool that chose, one number per axis.
    unit : sequence of int, optional
        The samples of ``x`` between two neighbouring phases, by default one.
    """
    dims = len(steps)
    distances = unit or (1,) * dims
    if phase.is_floating_point():
        parts = []
        for weight, places in zip(phase.to(x.dtype).unbind(1), product(*map(range, steps)), strict=True):
            by = [place * one for place, one in zip(places, distances, strict=True)]
            parts.append(weight.reshape(-1, *(1,) * (dims + 1)) * x.roll(by, tuple(range(-dims, 0))))
        return torch.stack(parts).sum(0)
    number = phase.reshape(-1)
    for axis, step, one in zip(range(-1, -dims - 1, -1), reversed(steps), reversed(distances), strict=True):
        size, shape = x.shape[axis], [1] * x.ndim
        shape[0], shape[axis] = -1, x.shape[axis]
        sources = (torch.arange(size, device=x.device) - one * (number % step)[:, None]) % size
        x = x.gather(axis, sources.reshape(shape).expand_as(x))
        number = torch.div(number, step, rounding_mode="floor")
    return x


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
