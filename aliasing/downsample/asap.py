r"""The ASAP pool: the Fourier pool behind a √Hamming window over the whole spectrum (Grabinski et al. 2023).

.. math:: y_i = (F^{-1} M W F x)_{si}, \qquad M_k = [\, |f_k| < 1 / (2 s) \,], \quad
          W_k = \sqrt{0.54 + 0.46 \cos 2 \pi f_k}

The window falls from 1 at frequency 0 to √0.08 at ±1/2 along every axis, so the step at the new Nyquist frequency, and
with it the ringing, is smaller. Here it is centred on frequency 0 at every size.

J. Grabinski, J. Keuper, M. Keuper: Fix your downsampling ASAP! Be natively more robust via Aliasing and Spectral
Artifact free Pooling. arXiv 2307.09804, 2023.
"""

import torch
from torch import Tensor

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.fourier import FourierPool, filtered


def asap_pool(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """√Hamming window, ideal low-pass, then subsample: ASAP (Grabinski et al. 2023).

    Arguments and result are those of `aliasing.downsample.fourier_pool`, of which all that is said holds.

    Examples
    --------
    >>> asap_pool(torch.ones(1, 14), dims=1).round(decimals=4)
    tensor([[1., 1., 1., 1., 1., 1., 1.]])
    """
    return filtered(x, per_axis(stride, dims, "stride"), _root_hamming, subsampled=True)


class AsapPool(FourierPool):
    """√Hamming window, ideal low-pass, then subsample, ASAP (Grabinski et al. 2023): `asap_pool` as a module.

    Examples
    --------
    >>> AsapPool2d(2)
    AsapPool2d(stride=2)
    """

    meaning = "√Hamming window, ideal low-pass by a Fourier transform, then subsample (ASAP, Grabinski et al. 2023)"

    title = "ASAP"

    def low_pass(self, x: Tensor) -> Tensor:
        return filtered(x, self.stride, _root_hamming, subsampled=False)

    def forward(self, x: Tensor) -> Tensor:
        return asap_pool(x, self.stride, dims=self.dims)


class AsapPool1d(AsapPool):
    dims = 1


class AsapPool2d(AsapPool):
    dims = 2


class AsapPool3d(AsapPool):
    dims = 3


def _root_hamming(frequency: Tensor, step: int, axis: int) -> Tensor:
    return (0.54 + 0.46 * torch.cos(2 * torch.pi * frequency)).sqrt()
