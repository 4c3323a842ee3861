"""Blur-pools whose taps are computed from the stride: a Kaiser design, and the low band of a wavelet.

J. F. Kaiser: Nonrecursive digital filter design using the I₀-sinh window function. ISCAS 1974.
Q. Li, L. Shen, S. Guo, Z. Lai: Wavelet Integrated CNNs for Noise-Robust Image Classification. CVPR 2020.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy

from aliasing.axes import PerAxis, are_several, per_axis, whole
from aliasing.downsample.blur import Blur
from aliasing.errors import InputError, UsageError
from aliasing.filters import Taps

_SHALLOWEST = 8  # dB: below it `scipy.signal.kaiserord` has no formula


def kaiser_design(stride: int = 2, attenuation: float = 60.0, transition: float = 0.5) -> Taps:
    """The Kaiser-windowed sinc that meets a specification: how much it attenuates above the new Nyquist frequency.

    Parameters
    ----------
    stride : int
        The stop band begins at 1 / (2 · stride) cycles per sample; at stride 1 there is nothing to stop.
    attenuation : float
        Of the stop band, in dB, at least 8.
    transition : float
        The share of the new band, above 0 and below 1, over which the gain falls.

    Returns
    -------
    numpy.ndarray
        An odd number of taps, float64, sum one. Their number is Kaiser's estimate (`scipy.signal.kaiserord`), so the
        specification is met to about two decibels in the stop band and four in the pass band.

    Examples
    --------
    >>> len(kaiser_design(2)), len(kaiser_design(4))
    (31, 61)
    """
    stride = whole(stride, "stride")
    if not attenuation >= _SHALLOWEST or not 0 < transition < 1:
        raise UsageError(
            f"attenuation is at least {_SHALLOWEST} dB and transition between 0 and 1; got {attenuation}, {transition}"
        )
    if stride == 1:
        return np.ones(1)
    length, beta = scipy.signal.kaiserord(attenuation, transition / stride)  # in units of the old Nyquist frequency
    taps = scipy.signal.firwin(length + 1 - length % 2, (1 - transition / 2) / stride, window=("kaiser", beta))
    return np.asarray(taps, dtype=np.float64)


def wavelet_low_band(stride: int = 2, wavelet: str = "db2") -> Taps:
    """The taps of a wavelet transform's low band, by PyWavelets, with sum one.

    Parameters
    ----------
    stride : int
        A power of two: at 4 it is the low band of the low band.
    wavelet : str
        A discrete wavelet of ``pywt.wavelist(kind="discrete")``.

    Raises
    ------
    InputError
        If PyWavelets is not installed.
    UsageError
        If it does not know the wavelet, or the stride is not a power of two.

    Examples
    --------
    >>> wavelet_low_band(4, "haar")
    array([0.25, 0.25, 0.25, 0.25])
    """
    stride = whole(stride, "stride")
    if stride & (stride - 1):
        raise UsageError(f"a wavelet's low band halves a signal again and again: stride 2, 4, 8 …; got {stride}")
    try:
        import pywt
    except ImportError:
        raise InputError("the wavelet pool needs PyWavelets: pip install 'aliasing[wavelet]'") from None
    try:
        row = np.asarray(pywt.Wavelet(wavelet).dec_lo)[::-1]  # a correlation, as everywhere here
    except ValueError:
        raise UsageError(f"no discrete wavelet {wavelet!r}; pywt.wavelist(kind='discrete') lists them") from None
    taps, step = np.ones(1), 1
    while step < stride:
        spread = np.zeros((len(row) - 1) * step + 1)
        spread[::step] = row / row.sum()
        taps, step = np.convolve(taps, spread), 2 * step
    return taps


class _Designed(Blur):
    """A blur-pool that computes its taps from the stride of each axis."""

    takes_taps = False

    def __init__(self, stride: PerAxis, padding: str, design: Callable[[int], Taps]) -> None:
        dims = self.dims or (len(tuple(stride)) if are_several(stride) else 2)  # type: ignore[arg-type]
        rows = (design(step).tolist() for step in per_axis(stride, dims, "stride"))
        super().__init__(stride, tuple(map(tuple, rows)), padding)

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> Self:
        return cls(stride, padding=padding or "reflect")  # type: ignore[call-arg]


class KaiserPool(_Designed):
    """Blur-pool with the taps of `kaiser_design`.

    Parameters
    ----------
    stride, padding
        As for `aliasing.downsample.blur_pool`.
    attenuation, transition
        As for `kaiser_design`.

    Examples
    --------
    >>> len(KaiserPool2d(2, attenuation=40).taps[0])
    19
    """

    meaning = "blur-pool whose taps are a Kaiser design"

    title = "Kaiser design"

    def __init__(
        self, stride: PerAxis = 2, padding: str = "reflect", attenuation: float = 60.0, transition: float = 0.5
    ) -> None:
        super().__init__(stride, padding, lambda step: kaiser_design(step, attenuation, transition))


class WaveletPool(_Designed):
    """Blur-pool with the taps of `wavelet_low_band`, WaveCNet's (Li et al. 2020).

    Parameters
    ----------
    stride, padding
        As for `aliasing.downsample.blur_pool`.
    wavelet
        As for `wavelet_low_band`.

    Examples
    --------
    >>> WaveletPool2d(2, wavelet="haar").taps
    ((0.5, 0.5), (0.5, 0.5))
    """

    meaning = "blur-pool whose taps are a wavelet's low band (WaveCNet, Li et al. 2020)"

    title = "wavelet's low band"

    def __init__(self, stride: PerAxis = 2, padding: str = "reflect", wavelet: str = "db2") -> None:
        super().__init__(stride, padding, lambda step: wavelet_low_band(step, wavelet))


class KaiserPool1d(KaiserPool):
    dims = 1


class KaiserPool2d(KaiserPool):
    dims = 2


class KaiserPool3d(KaiserPool):
    dims = 3


class WaveletPool1d(WaveletPool):
    dims = 1


class WaveletPool2d(WaveletPool):
    dims = 2


class WaveletPool3d(WaveletPool):
    dims = 3
