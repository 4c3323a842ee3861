r"""The ideal low-pass with a roll-off: a raised cosine below the new Nyquist frequency, then subsampling.

.. math:: y_i = (F^{-1} R F x)_{si}, \qquad R(f) = \begin{cases} 1 & |f| \le (1 - r) f_N \\
          \cos^2\!\left(\frac{\pi}{2} \, \frac{|f| - (1 - r) f_N}{r f_N}\right) & (1 - r) f_N < |f| < f_N \\
          0 & f_N \le |f| \end{cases}, \qquad f_N = \frac{1}{2 s}

A wider roll-off *r* rings less and keeps less of the baseband; 0 is the Fourier pool.

H. Nyquist: Certain Topics in Telegraph Transmission Theory. Transactions of the AIEE 47, 1928.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from aliasing.axes import PerAxis
from aliasing.downsample.fourier import FourierPool, filtered
from aliasing.errors import UsageError


class RolloffPool(FourierPool):
    """Raised-cosine low-pass that ends at the new Nyquist frequency, then subsample.

    Parameters
    ----------
    stride : int or one int per axis
        As for `aliasing.downsample.fourier_pool`, of which all that is said holds.
    rolloff : float
        The share of the new band, 0 to 1, over which the gain falls from one to zero.

    Raises
    ------
    UsageError
        If the roll-off is not in 0 … 1.

    Examples
    --------
    >>> RolloffPool2d(2, rolloff=0.5)
    RolloffPool2d(stride=2, rolloff=0.5)
    """

    meaning = "low-pass that falls off before the new Nyquist frequency, by a Fourier transform, then subsample"

    title = "ideal low-pass with roll-off"
    claims: ClassVar[Mapping[str, str]] = {}

    def __init__(self, stride: PerAxis = 2, rolloff: float = 0.25) -> None:
        super().__init__(stride)
        if not 0 <= rolloff <= 1:
            raise UsageError(f"rolloff is a share of the new band, 0 to 1; got {rolloff!r}")
        self.rolloff = float(rolloff)

    def low_pass(self, x: Tensor) -> Tensor:
        return filtered(x, self.stride, self._gain, subsampled=False)

    def forward(self, x: Tensor) -> Tensor:
        return filtered(x, self.stride, self._gain, subsampled=True)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rolloff={self.rolloff}"

    def _gain(self, frequency: Tensor, step: int, axis: int) -> Tensor:
        if not self.rolloff:
            return torch.ones_like(frequency)
        fallen = (2 * step * frequency - (1 - self.rolloff)) / self.rolloff
        return torch.cos(torch.pi / 2 * fallen.clamp(0, 1)).square()


class RolloffPool1d(RolloffPool):
    dims = 1


class RolloffPool2d(RolloffPool):
    dims = 2


class RolloffPool3d(RolloffPool):
    dims = 3
