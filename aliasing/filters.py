r"""Low-pass filters, their frequency responses, and how much they alias.

A filter is a row of taps *h*, applied along every axis before a signal is subsampled. Its frequency response is

.. math:: y_i = \sum_k h_k x_{i + k - k_0}, \qquad
          H(f) = \sum_k h_k e^{2 \pi i f (k - k_0)}, \qquad k_0 = \lfloor (n - 1) / 2 \rfloor,

*f* in cycles per pixel (Oppenheim & Schafer 2010, §5.7, with the sign of a correlation, as in networks). Tap
:math:`k_0` is on the pixel that is kept. All taps here sum to one, so a constant stays that constant.

An *odd* number of taps has its middle on that pixel. An *even* number, such as 4, has it half a pixel further down and
to the right, so the result lies half a pixel further up and to the left (`delay`). The gain :math:`|H(f)|` does not
depend on that. Where a network adds two maps, both need filters with an odd number of taps, or both with an even one.

A *name* ("binomial4") is a filter for stride 2, the most common, and is stretched to other strides, so that its effect
relative to the new Nyquist frequency 1/(2·stride) is the same at every stride. Taps given as *numbers* are taken as
they are. A stretched length is rounded to the nearest whole number, and halfway up: longer names and larger strides
never give fewer taps. A single tap, which does not filter, stays one.
"""

from __future__ import annotations  # signatures in help() are as short as here

import math
import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, cast

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from aliasing.axes import whole
from aliasing.errors import UsageError

Taps: TypeAlias = NDArray[np.float64]
TapsLike: TypeAlias = str | Sequence[float] | Sequence[str | Sequence[float]] | NDArray[Any]

Arguments = ParamSpec("Arguments")

_LONGEST_EXACT = 20_000  # taps of a binomial filter before the outer ones go: in whole numbers, a tenth of a second


def _length_was_taps(family: Callable[Arguments, Taps]) -> Callable[Arguments, Taps]:
    """Take the number of taps under its earlier name, ``taps``, too."""

    @wraps(family)
    def renamed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Taps:
        if "taps" in kwargs:
            warnings.warn(f"{family.__name__}(taps=…) is now {family.__name__}(length=…)", DeprecationWarning, 2)
            kwargs["length"] = kwargs.pop("taps")
        return family(*args, **kwargs)

    return renamed


@_length_was_taps
def box(length: int = 2, stride: int = 2) -> Taps:
    """Equal taps: average pooling's filter.

    Parameters
    ----------
    length : int
        Number of taps at stride 2, at least 1.
    stride : int
        The stride to which the filter is stretched: the length becomes ``length · stride / 2``.

    Returns
    -------
    numpy.ndarray
        Taps, float64, sum one.

    Examples
    --------
    >>> box(4)
    array([0.25, 0.25, 0.25, 0.25])
    """
    count = _stretched(length, stride)
    return np.full(count, 1 / count)


@_length_was_taps
def binomial(length: int = 4, stride: int = 2) -> Taps:
    """A row of Pascal's triangle: the filters of Zhang (2019), zero and flat at the frequency 0.5.

    Arguments and result are those of `box`. The variance is (length − 1) / 4 pixels squared at stride 2. The standard
    deviation grows with the stride, so the length becomes ``(length − 1) · (stride / 2)² + 1``, less the outer taps
    under 1e-100, which no sum in float64 feels. The sum is exact up to 50 taps; a row of more than 20,000 is computed
    in float64, to a relative 1e-11.

    Examples
    --------
    >>> binomial(4)
    array([0.125, 0.375, 0.375, 0.125])
    """
    order = _nearest((_length(length) - 1) * _stride(stride) ** 2, 4)
    if order > _LONGEST_EXACT:
        return _long_row(order)
    row, total, taps = 1, 2**order, []  # in whole numbers, so that nothing is rounded before the division
    for k in range(order + 1):
        taps.append(row / total)
        row = row * (order - k) // (k + 1)
    return np.array([tap for tap in taps if tap >= 1e-100])


def _long_row(order: int) -> Taps:
    """A row of Pascal's triangle from its middle outwards: each tap from the one before, by their ratio."""
    reach = math.ceil(11 * math.sqrt(order))  # 22 standard deviations, where taps are under 1e-100 of the middle
    places = np.arange(order // 2, order // 2 + reach, dtype=np.float64)
    right = np.concatenate([[1.0], np.cumprod((order - places) / (places + 1))])  # from the middle
    row = np.concatenate([right[: order % 2 : -1], right])
    row = row / row.sum()
    return np.asarray(row[row >= 1e-100], dtype=np.float64)


@_length_was_taps
def gaussian(length: int = 5, stride: int = 2, sigma: float | None = None) -> Taps:
    """A sampled Gaussian.

    Parameters
    ----------
    length, stride
        As for `box`; the standard deviation is stretched as well.
    sigma : float, optional
        Standard deviation at stride 2 in pixels; by default the binomial filter's, √(length − 1) / 2.

    Examples
    --------
    >>> gaussian(3, sigma=0.5).round(4)
    array([0.1065, 0.787 , 0.1065])
    """
    count = _stretched(length, stride)
    deviation = (math.sqrt(length - 1) / 2 if sigma is None else sigma) * stride / 2
    if count == 1:
        return np.ones(1)
    if not deviation > 0:
        raise UsageError(f"sigma is a positive number of pixels; got {sigma}")
    return _normalised(scipy.signal.windows.gaussian(count, deviation))


@_length_was_taps
def kaiser(length: int = 8, stride: int = 2, beta: float = 3.0) -> Taps:
    """A sinc that cuts at the new Nyquist frequency, under a Kaiser window (Kaiser 1974).

    Parameters
    ----------
    length, stride
        As for `box`, but the stretched length is ``(length − 1) · stride / 2 + 1``; some taps are negative.
    beta : float
        Shape of the window: 0 is no window; a larger value gives a wider transition and a deeper stop band
        (`scipy.signal.kaiser_beta` computes it from an attenuation in dB).

    Examples
    --------
    >>> kaiser(5).round(3)
    array([0.   , 0.24 , 0.519, 0.24 , 0.   ])
    """
    return _windowed(length, stride, ("kaiser", beta))


@_length_was_taps
def lanczos(length: int = 12, stride: int = 2) -> Taps:
    """A sinc that cuts at the new Nyquist frequency, under the central lobe of a wider sinc (Duchon 1979).

    Arguments and result are those of `box`; some taps are negative. 12 taps at stride 2 are "Lanczos 3", and a
    stretched filter has the same number of lobes.

    Examples
    --------
    >>> lanczos(4).round(4)
    array([0.05, 0.45, 0.45, 0.05])
    """
    count = _stretched(length, stride)
    position = np.arange(count) - (count - 1) / 2
    # The window reaches zero half a pixel beyond the last tap, so that every tap counts.
    return _normalised(np.sinc(position / stride) * np.sinc(2 * position / count))


@_length_was_taps
def sinc(length: int = 9, stride: int = 2, window: str = "hamming") -> Taps:
    """A sinc that cuts at the new Nyquist frequency, under a named window.

    Parameters
    ----------
    length, stride
        As for `kaiser`.
    window : str
        Any name for `scipy.signal.get_window`; ``"boxcar"`` is no window.

    Examples
    --------
    >>> sinc(7).round(3)
    array([-0.009,  0.   ,  0.252,  0.514,  0.252,  0.   , -0.009])
    """
    return _windowed(length, stride, window)


FAMILIES: dict[str, Callable[..., Taps]] = {
    "box": box,
    "binomial": binomial,
    "gaussian": gaussian,
    "kaiser": kaiser,
    "lanczos": lanczos,
    "sinc": sinc,
}


def get_taps(taps: str | ArrayLike, stride: int = 2) -> Taps:
    """Taps by name, stretched to a stride, or as given.

    Parameters
    ----------
    taps : str or array_like of float
        A family and its length at stride 2, such as ``"binomial4"``, ``"box5"``, ``"gaussian7"``, ``"kaiser8"``,
        ``"lanczos12"``, ``"sinc9"``; or the taps themselves, which are divided by their sum.
    stride : int
        The stride to which a *named* filter is stretched; at stride 1, where nothing folds, it is a single tap.

    Returns
    -------
    numpy.ndarray
        Taps, float64, sum one.

    Raises
    ------
    UsageError
        If the name does not exist, or there are no taps, or they are not finite, or their sum is zero.

    Examples
    --------
    >>> get_taps("binomial3")
    array([0.25, 0.5 , 0.25])
    >>> get_taps("box3", stride=4)
    array([0.16666667, 0.16666667, 0.16666667, 0.16666667, 0.16666667,
           0.16666667])
    >>> get_taps((1, 3, 3, 1))
    array([0.125, 0.375, 0.375, 0.125])
    """
    if isinstance(taps, str):
        match = re.fullmatch(r"([a-z]+)([1-9]\d*)", taps)
        if match is None or match[1] not in FAMILIES:
            raise UsageError(f"no filter {taps!r}; give a family and a length, like 'binomial4': {', '.join(FAMILIES)}")
        return FAMILIES[match[1]](int(match[2]), stride) if _stride(stride) > 1 else np.ones(1)
    if isinstance(taps, tuple) and taps and all(isinstance(tap, float) and math.isfinite(tap) for tap in taps):
        total = sum(taps)  # plain numbers, which torch.compile can trace
        if abs(total) > 1e-12 * sum(map(abs, taps)):
            return np.asarray([tap / total for tap in taps])
    given = np.asarray(taps, dtype=np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite(given).all():
        raise UsageError(f"taps are finite numbers, such as (1, 2, 1), or a name, such as 'binomial4'; got {taps!r}")
    return _normalised(given)


def taps_per_axis(taps: TapsLike, strides: Sequence[int]) -> list[Taps]:
    """The filter of every axis, from one filter for all axes or one for each (as for `get_taps`), and their strides.

    An axis of stride 1 is not filtered: its filter is a single tap. UsageError if there are more or fewer filters than
    axes, or one of them is not a filter.

    Examples
    --------
    >>> taps_per_axis("binomial3", (2, 1))
    [array([0.25, 0.5 , 0.25]), array([1.])]
    """
    if isinstance(taps, str) or all(isinstance(tap, int | float | np.number) for tap in taps):
        rows = [cast("str | Sequence[float]", taps)] * len(strides)
    else:
        rows = list(cast("Sequence[str | Sequence[float]]", taps))
    if len(rows) != len(strides):
        raise UsageError(f"taps are one filter, or {len(strides)} of them, one per axis; got {len(rows)}: {taps!r}")
    filters = [get_taps(row, step) for row, step in zip(rows, strides, strict=True)]
    return [row if step > 1 else np.ones(1) for row, step in zip(filters, strides, strict=True)]


def is_one_filter(taps: Any) -> bool:
    """Whether one filter is given for all axes, and not one for each.

    Examples
    --------
    >>> is_one_filter("binomial3"), is_one_filter([1, 2, 1]), is_one_filter(["binomial3", [1, 2, 1]])
    (True, True, False)
    """
    return isinstance(taps, str) or all(not isinstance(tap, str) and not hasattr(tap, "__len__") for tap in taps)


def one_filter_per_axis(taps: Any, count: int = 2) -> tuple[str | tuple[float, ...], ...]:
    """The filters as they were given, neither stretched nor normalised, from one for all axes or one for each.

    UsageError if one of them is not a filter for `get_taps`.

    Examples
    --------
    >>> one_filter_per_axis("binomial3"), one_filter_per_axis(["binomial3", [1, 2, 1]])
    (('binomial3', 'binomial3'), ('binomial3', (1.0, 2.0, 1.0)))
    """
    try:
        rows = [taps] * count if is_one_filter(taps) else list(taps)
        if len(rows) != count:
            each = "two of them, down and across" if count == 2 else f"{count} of them, one per axis"
            raise UsageError(f"taps are one filter, or {each}; got {len(rows)}: {taps!r}")
        for row in rows:
            get_taps(row)  # refuses a wrong name or filter
        return tuple(row if isinstance(row, str) else tuple(float(tap) for tap in row) for row in rows)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def response(taps: str | ArrayLike, frequency: ArrayLike) -> NDArray[np.complex128]:
    """The frequency response, relative to the pixel that is kept.

    Parameters
    ----------
    taps
        As for `get_taps`.
    frequency : array_like of float
        Cycles per pixel, any shape.

    Returns
    -------
    numpy.ndarray
        H(f), complex, in the shape of ``frequency``; real for a symmetric filter of odd length.

    Examples
    --------
    >>> abs(response("binomial3", [0, 0.25, 0.5])).round(6)
    array([1. , 0.5, 0. ])
    """
    weights = get_taps(taps)
    frequency = np.asarray(frequency, dtype=np.float64)
    convolution = scipy.signal.freqz(weights, worN=2 * np.pi * frequency.reshape(-1))[1].reshape(frequency.shape)
    answer: NDArray[np.complex128] = convolution.conj() * np.exp(-2j * np.pi * frequency * ((len(weights) - 1) // 2))
    return answer


def half_amplitude(taps: str | ArrayLike) -> float:
    """The −6 dB point: the lowest frequency whose amplitude is halved.

    In cycles per pixel, at most 0.5; NaN if no frequency is halved, as with one tap. ``taps`` is as for `get_taps`.

    Examples
    --------
    >>> round(half_amplitude("binomial3"), 12)  # cos²(πf) = 1/2
    0.25
    """
    weights = get_taps(taps)

    def excess(frequency: float) -> float:
        return float(abs(response(weights, frequency))) - 0.5

    # |H| is smooth at the scale of 1 / length, so 16 points per 1 / length bracket the first crossing.
    grid = np.linspace(0, 0.5, 16 * len(weights) + 1)
    halved = np.flatnonzero(abs(response(weights, grid)) <= 0.5)
    if not halved.size:
        return math.nan
    return float(scipy.optimize.brentq(excess, grid[halved[0] - 1], grid[halved[0]], xtol=1e-14))


def stopband_share(taps: str | ArrayLike, stride: int = 2) -> float:
    r"""The share of white noise's energy above the new Nyquist frequency that passes the filter, and folds.

    .. math:: 2 \int_{1/(2s)}^{1/2} |H(f)|^2 df = r_0 (1 - 1/s) - 2 \sum_{k \ge 1} r_k \frac{\sin(\pi k / s)}{\pi k}

    with :math:`r_k` the autocorrelation of the taps: exact, without quadrature, in one dimension.

    Parameters
    ----------
    taps
        As for `get_taps`: a name is stretched to the stride.
    stride : int
        Distance between the samples kept, at least 1.

    Returns
    -------
    float
        Between 0 and 1 − 1/stride for taps that amplify no frequency.

    Examples
    --------
    >>> round(stopband_share((1,)), 12)  # no filter: all that lies above 1/4
    0.5
    >>> round(stopband_share("binomial4"), 4)
    0.0104
    """
    weights = get_taps(taps, stride)
    return float(weights @ weights) - passband_share(weights, stride)


def passband_share(taps: str | ArrayLike, stride: int = 2) -> float:
    r"""The share of white noise's energy below the new Nyquist frequency that passes the filter, and is kept.

    .. math:: 2 \int_0^{1/(2s)} |H(f)|^2 df

    The arguments are those of `stopband_share`. It is 1/stride if nothing below the new Nyquist frequency is lost.

    Examples
    --------
    >>> round(passband_share((1,), stride=4), 12)
    0.25
    """
    weights = get_taps(taps, stride)
    lag = np.arange(1 - len(weights), len(weights))
    # ∫ cos(2πkf) over |f| < 1/(2s) is sin(πk/s) / (πk) = sinc(k/s) / s.
    return float(np.correlate(weights, weights, "full") @ np.sinc(lag / _stride(stride)) / stride)


def imaging_fraction(taps: str | ArrayLike, stride: int = 2) -> float:
    """The share of images in the energy of upsampled white noise (zeros inserted, then filtered; one dimension).

    Zeros between the samples repeat the spectrum; the repetitions above 1 / (2·stride) that pass the filter are images.
    The arguments are those of `stopband_share`, with ``stride`` samples out for each sample in. The share is 0 for an
    ideal low-pass and 1 − 1/stride with one tap.

    Examples
    --------
    >>> round(imaging_fraction("binomial4"), 4)
    0.0331
    """
    weights = get_taps(taps, stride)
    return stopband_share(weights, stride) / float(weights @ weights)


def delay(taps: str | ArrayLike, frequency: float = 0.0) -> float:
    """The group delay: how far to the right of the kept pixel the filter looks, at a frequency.

    ``taps`` is as for `get_taps`, and ``frequency`` in cycles per pixel, which matters only for asymmetric taps. The
    delay is in pixels of the original: 0 for symmetric taps of odd length, 0.5 for even length, whose middle is between
    two pixels.

    Examples
    --------
    >>> round(delay("binomial4"), 12), round(delay("binomial5"), 12)
    (0.5, 0.0)
    """
    weights = get_taps(taps)
    shift = scipy.signal.group_delay((weights, 1), w=[2 * np.pi * frequency])[1][0]
    return float(shift) - (len(weights) - 1) // 2


def _windowed(length: int, stride: int, window: Any) -> Taps:
    count = _nearest((_length(length) - 1) * _stride(stride), 2) + 1
    # Like `scipy.signal.firwin`, which refuses to cut at the Nyquist frequency itself (stride 1).
    position = np.arange(count) - (count - 1) / 2
    return _normalised(np.sinc(position / stride) * scipy.signal.get_window(window, count, fftbins=False))


def _normalised(taps: NDArray[Any]) -> Taps:
    total = taps.sum()
    if not abs(total) > 1e-12 * abs(taps).sum():
        raise UsageError(f"the sum of the taps is zero, so they are not a low-pass filter; got {taps.tolist()}")
    return np.asarray(taps / total, dtype=np.float64)


def _stretched(length: int, stride: int) -> int:
    """A length at stride 2 in proportion to the stride; a single tap stays one."""
    return _nearest(length * _stride(stride), 2) if _length(length) > 1 else 1


def _nearest(numerator: int, denominator: int) -> int:
    """The nearest whole number, rounding half up: `round` takes the even one, which is not monotone."""
    return (2 * numerator + denominator) // (2 * denominator)


def _length(length: int) -> int:
    return whole(length, "length, the number of taps,")


def _stride(stride: int) -> int:
    return whole(stride, "stride")
