r"""The alias-free non-linearity, AFC: between an interpolation by two and an ideal low-pass (Michaeli et al. 2023).

.. math:: y = D \, M \, \varphi(U x)

*U* interpolates by two in the Fourier domain, :math:`\varphi` acts on every sample, and *M* removes what it adds at and
above the Nyquist frequency of *x* before *D* keeps every second sample. A polynomial of degree two only doubles the
band, so with it a shift of *x* by any fraction shifts *y*; another function adds frequencies beyond that, and part of
them folds. (Half a sample is a whole one between the interpolated samples, so under that shift any function is exact.)

H. Michaeli, T. Michaeli, D. Soudry: Alias-Free Convnets: Fractional Shift Invariance via Polynomial Activations.
CVPR 2023.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from aliasing.axes import whole
from aliasing.downsample.fourier import fourier_pool
from aliasing.downsample.operator import Added
from aliasing.downsample.products import product, suits
from aliasing.downsample.tensors import checked, full_precision, laid_out_like


def alias_free(function: Callable[[Tensor], Tensor], x: Tensor, *, dims: int = 2) -> Tensor:
    """A function of every sample, without the frequencies that it adds above the Nyquist frequency.

    Parameters
    ----------
    function : callable
        Maps a tensor to one of the same shape, every sample by itself.
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; taken to be periodic. What it has at the Nyquist frequency
        of an even size is left out, because a shift by a fraction does not define it.

    Returns
    -------
    Tensor
        Of the shape and dtype of ``x``.

    Examples
    --------
    >>> wave = torch.cos(2 * torch.pi * 3 * torch.arange(8) / 8)  # its square has 0 and 6/8, which would fold onto 2/8
    >>> alias_free(torch.square, wave[None], dims=1).round(decimals=4)
    tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000]])
    """
    checked(x, dims)
    with full_precision(x):
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        for axis in range(-dims, 0):
            if suits(y, axis):
                y = product(y, axis, _matrix(y.shape[axis], y.dtype, y.device))
            else:
                y = _interpolated(y, axis)
        return laid_out_like(fourier_pool(function(y), 2, dims=dims).to(x.dtype), x)


class Polynomial(Added):
    """a₀ + a₁x + a₂x², learned for every channel.

    It begins as the start of GELU's Taylor series at zero, x/2 + x²/√(2π).

    Parameters
    ----------
    channels : int, optional
        By default all channels share the three numbers.

    Examples
    --------
    >>> Polynomial()(torch.tensor([[0.0, 1.0, 2.0]]))
    tensor([[0.0000, 0.8989, 2.5958]], grad_fn=<AddBackward0>)
    """

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        rows = 1 if channels is None else whole(channels, "channels")
        start = torch.tensor([0.0, 0.5, 1 / math.sqrt(2 * math.pi)])
        self.channels = channels
        self.weight = nn.Parameter(start[:, None].repeat(1, rows))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.channels:
            weight = weight.reshape(3, -1, *(1,) * (x.ndim - 2))
        return weight[0] + weight[1] * x + weight[2] * x * x


class AliasFreeActivation(nn.Module):
    """The alias-free non-linearity, AFC (Michaeli et al. 2023): `alias_free` with its function, as a module.

    Parameters
    ----------
    function : callable, optional
        Such as ``torch.relu`` or an ``nn.Module``; by default a `Polynomial` that all channels share.

    Examples
    --------
    >>> AliasFreeActivation2d(nn.GELU())(torch.rand(1, 3, 7, 8)).shape
    torch.Size([1, 3, 7, 8])
    """

    dims = 2

    def __init__(self, function: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.function = Polynomial() if function is None else function

    def forward(self, x: Tensor) -> Tensor:
        return alias_free(self.function, x, dims=self.dims)


class AliasFreeActivation1d(AliasFreeActivation):
    dims = 1


class AliasFreeActivation2d(AliasFreeActivation):
    dims = 2


class AliasFreeActivation3d(AliasFreeActivation):
    dims = 3


@lru_cache(maxsize=128)
def _matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`_interpolated` as a matrix: what it makes of each impulse."""
    with torch.inference_mode(False), torch.no_grad():
        return _interpolated(torch.eye(size, dtype=torch.float64), -1).to(device, dtype)


def _interpolated(x: Tensor, axis: int) -> Tensor:
    """Twice the samples along one axis, by a spectrum with zeros above."""
    x = x.movedim(axis, -1)
    size = x.shape[-1]
    below = 2 * torch.arange(size // 2 + 1, device=x.device) < size
    y: Tensor = 2 * torch.fft.irfft(torch.fft.rfft(x) * below, n=2 * size)
    return y.movedim(-1, axis)
