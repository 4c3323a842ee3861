r"""The spectral pool, DiffStride: the Fourier pool with a band whose width is learned (Riad et al. 2022).

.. math:: y_i = (F^{-1} M D F x)_{si}, \qquad M_k = [\, |f_k| < 1 / (2 s) \,], \quad
          D(f) = \min\left(1, \max\left(0, \frac{1 / (2 S) - |f|}{\rho} \right)\right), \quad
          \rho = \min\left(R, \tfrac{1}{2S}\right)

*S* is learned for every axis, at first the stride. As published the output has about L / S samples; here its size is
that of the stride, because the layers behind a place in a pretrained network expect it, and what is learned is how much
of the band passes. For the same reason the ramp lies inside the band and not outside.

R. Riad, O. Teboul, D. Grangier, N. Zeghidour: Learning strides in convolutional neural networks. ICLR 2022.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from aliasing.axes import PerAxis
from aliasing.downsample.fourier import FourierPool, filtered


class SpectralPool(FourierPool):
    """The Fourier pool whose band is learned, DiffStride (Riad et al. 2022).

    Parameters
    ----------
    stride : int or one int per axis
        As for `aliasing.downsample.fourier_pool`, of which all that is said holds.
    ramp : float
        The width of the ramp *R*, in cycles per input sample.

    Attributes
    ----------
    band : Parameter (axes,)
        The learned *S*: what lies at and above 1/(2 *S*) cycles per sample does not pass.

    Examples
    --------
    >>> SpectralPool2d(2).band
    Parameter containing:
    tensor([2., 2.], requires_grad=True)
    """

    meaning = "low-pass by a Fourier transform whose band is learned, then subsample (DiffStride, Riad et al. 2022)"

    title = "DiffStride"
    claims: ClassVar[Mapping[str, str]] = {"alias free": "free of aliases"}

    def __init__(self, stride: PerAxis = 2, ramp: float = 1 / 16) -> None:
        super().__init__(stride)
        self.ramp = float(ramp)
        self.band = nn.Parameter(torch.tensor(self.stride, dtype=torch.get_default_dtype()))

    def low_pass(self, x: Tensor) -> Tensor:
        return filtered(x, self.stride, self._gain, subsampled=False)

    def forward(self, x: Tensor) -> Tensor:
        return filtered(x, self.stride, self._gain, subsampled=True)

    def _gain(self, frequency: Tensor, step: int, axis: int) -> Tensor:
        limit = 0.5 / self.band[axis].to(frequency.dtype).clamp(min=1)
        # A ramp wider than the band would not pass a constant.
        return ((limit - frequency) / limit.clamp(max=self.ramp)).clamp(0, 1)


class SpectralPool1d(SpectralPool):
    dims = 1


class SpectralPool2d(SpectralPool):
    dims = 2


class SpectralPool3d(SpectralPool):
    dims = 3
