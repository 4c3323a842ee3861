r"""The Fourier pool: the ideal low-pass, then subsampling. FrequencyLowCut pooling, FLC (Grabinski et al. 2022).

.. math:: y_i = (F^{-1} M F x)_{si}, \qquad M_k = [\, |f_k| < 1 / (2 s) \,]

J. Grabinski, S. Jung, J. Keuper, M. Keuper: FrequencyLowCut Pooling – Plug & Play against Catastrophic Overfitting.
ECCV 2022.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.operator import GUARANTEES, Operator
from aliasing.downsample.products import product, suits
from aliasing.downsample.recording import is_recorded_for_elsewhere
from aliasing.downsample.tensors import checked, every, full_precision, laid_out_like

Gain: TypeAlias = Callable[[Tensor, int, int], Tensor]
"""(frequencies in cycles per sample, stride, the axis from the end) → the factor of each, for `filtered`."""


def fourier_pool(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """Ideal low-pass, then subsample: FrequencyLowCut pooling, FLC (Grabinski et al. 2022).

    Bins at and above the new Nyquist frequency 1/(2·stride) become zero; the signal is taken to be periodic. The result
    is band-limited, so a constant stays that constant, a cosine below the new Nyquist frequency keeps its frequency and
    phase, and the result moves with its input, at any size. An axis of stride 1 is not filtered. It is computed at
    least in float32, even under autocast.

    Parameters
    ----------
    x, stride, dims
        As for `aliasing.downsample.subsample`.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples per axis, of the dtype of ``x``.

    Examples
    --------
    >>> wave = torch.cos(2 * torch.pi * torch.arange(14) / 14)
    >>> torch.allclose(fourier_pool(wave[None], dims=1), wave[None, ::2], atol=1e-6)
    True
    """
    return filtered(x, per_axis(stride, dims, "stride"), subsampled=True)


def fourier_low_pass(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """The ideal low-pass of `fourier_pool` alone: bins at and above the Nyquist frequency 1/(2·stride) are zero.

    The arguments are those of the subsampling to come (`fourier_pool`), and the result has the size and dtype of ``x``.

    Examples
    --------
    >>> fourier_low_pass(torch.tensor([[1.0, -1.0, 1.0, -1.0]]), dims=1).abs().max() < 1e-6
    tensor(True)
    """
    return filtered(x, per_axis(stride, dims, "stride"), subsampled=False)


class FourierPool(Operator):
    """Ideal low-pass, then subsample, FLC (Grabinski et al. 2022): `fourier_pool` with its stride, as a module.

    Examples
    --------
    >>> FourierPool2d(2)
    FourierPool2d(stride=2)
    """

    title = "ideal low-pass"
    meaning = "ideal low-pass by a Fourier transform, then subsample (frequency low-cut, Grabinski et al. 2022)"
    guarantees = frozenset(GUARANTEES)
    claims: ClassVar[Mapping[str, str]] = {"alias free": "free of aliases"}

    def low_pass(self, x: Tensor) -> Tensor:
        return fourier_low_pass(x, self.stride, dims=self.dims)

    def transposed(self, x: Tensor) -> Tensor:
        return self.low_pass(x)  # its gains are real

    def forward(self, x: Tensor) -> Tensor:
        return fourier_pool(x, self.stride, dims=self.dims)


class FourierPool1d(FourierPool):
    dims = 1


class FourierPool2d(FourierPool):
    dims = 2


class FourierPool3d(FourierPool):
    dims = 3


def filtered(x: Tensor, steps: Sequence[int], gain: Gain | None = None, *, subsampled: bool) -> Tensor:
    """The ideal low-pass times a gain, along every axis that is (to be) subsampled, and its samples.

    Nothing at or above the new Nyquist frequency is left, whatever the gain.
    """
    dims = len(steps)
    checked(x, dims)
    with full_precision(x):
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        for axis, step in zip(range(-dims, 0), steps, strict=True):
            if step == 1:
                continue  # an axis that is not subsampled is not filtered
            kept = step if subsampled else 1
            if is_recorded_for_elsewhere():
                y = _low_passed_by_matrix(y, axis, step, kept, gain)
            elif suits(y, axis) and isinstance(gain, FunctionType | None):  # another may have parameters
                place = axis if gain else -1  # a gain may depend on the axis
                y = product(y, axis, _matrix(y.shape[axis], place, step, kept, gain, y.dtype, y.device))
            else:
                y = _low_passed(y, axis, step, gain)
                y = every(y, axis, step) if subsampled else y
        return laid_out_like(y.to(x.dtype), x)


@lru_cache(maxsize=128)
def _matrix(
    size: int, axis: int, step: int, kept: int, gain: Gain | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """`_low_passed` at every n-th sample as a matrix: what it makes of each impulse."""
    with torch.inference_mode(False), torch.no_grad():
        impulses = torch.eye(size, dtype=torch.float64).reshape(size, size, *(1,) * (-axis - 1))
        found = every(_low_passed(impulses, axis, step, gain), axis, kept)
        return found.flatten(1).to(device, dtype)


def _low_passed(x: Tensor, axis: int, step: int, gain: Gain | None) -> Tensor:
    """The frequencies strictly below 1 / (2 step) cycles per pixel, along one axis."""
    x = x.movedim(axis, -1)
    size = x.shape[-1]
    waves = torch.arange(size // 2 + 1, device=x.device)
    below = 2 * step * waves < size  # k / size < 1 / (2 step)
    if gain is not None:
        below = below * gain(waves.to(x.dtype) / size, step, axis)
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x) * below, n=size)
    return y.movedim(-1, axis)


def _low_passed_by_matrix(x: Tensor, axis: int, step: int, every: int, gain: Gain | None) -> Tensor:
    """The same at every n-th sample, as a product with a matrix, for ONNX and Core ML.

    The cosines and sines below the limit are an orthonormal basis *B*, so the low-pass is BᵀB, and its samples need
    only those columns of *B*.
    """
    size = x.shape[axis]
    pixels = torch.arange(size, device=x.device)
    waves = torch.arange(size // 2 + 1, device=x.device)[:, None]
    # Remove whole periods while the numbers are integers, because k·n exceeds what a float32 angle can hold.
    turns = waves * pixels
    turns = turns - torch.div(turns, size, rounding_mode="floor") * size
    angle = (2 * torch.pi / size) * turns.to(x.dtype)
    energy = torch.where(waves == 0, 1.0, 2.0) * (2 * step * waves < size)  # k / size < 1 / (2 step)
    amplitude = energy.to(x.dtype).div(size).sqrt()
    basis = torch.cat([amplitude * angle.cos(), amplitude * angle.sin()])
    weighted = basis
    if gain is not None:
        factor = gain(waves.to(x.dtype) / size, step, axis)
        weighted = torch.cat([factor, factor]) * basis
    y = x.transpose(axis, -1) @ (weighted.transpose(0, 1) @ basis[:, ::every])
    return y.transpose(axis, -1)
