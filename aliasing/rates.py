"""Converting the sampling rate of signals by a ratio of whole numbers, and fitting them into a length.

The conversion is scipy's: zeros between the samples, a low-pass below both Nyquist frequencies (Kaiser, β = 5), and
every n-th sample of that (Crochiere & Rabiner 1983). Sample 0 stays where it is.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from aliasing.errors import InputError

Samples: TypeAlias = NDArray[np.floating[Any]]

LARGEST_RATIO = 100  # of two rates; more is a mistake
LARGEST_TERM = 10_000  # of the fraction: the low-pass has twenty times as many taps


def rate_ratio(before: float, after: float) -> Fraction:
    """The ratio of two rates, after ÷ before, in lowest terms.

    Raises
    ------
    InputError
        One rate is more than a hundred times the other, or their ratio is not one of whole numbers up to 10 000.

    Examples
    --------
    >>> rate_ratio(44100, 8000)
    Fraction(80, 441)
    """
    told = f"a rate of {before:g}, which cannot become {after:g}"
    exact = after / before
    if not 1 / LARGEST_RATIO <= exact <= LARGEST_RATIO:
        raise InputError(f"{told}: that is more than {LARGEST_RATIO} times as {'low' if exact < 1 else 'high'}")
    ratio = Fraction(exact).limit_denominator(LARGEST_TERM)
    if abs(float(ratio) / exact - 1) > 1e-6 or ratio.numerator > LARGEST_TERM:  # a microsecond in a second
        raise InputError(f"{told}: they have no ratio of whole numbers up to {LARGEST_TERM}")
    return ratio


def convert_rate(samples: Samples, before: Sequence[float], after: Sequence[float]) -> Samples:
    """Convert the rates of a signal's last axes.

    Parameters
    ----------
    samples : float array, (…, N, …)
    before, after : sequence of float
        The rate of each axis, now and wanted.

    Returns
    -------
    float array
        With N·after/before samples on each axis, rounded up; itself if the rates are equal.

    Raises
    ------
    InputError
        As for `rate_ratio`.

    Examples
    --------
    >>> convert_rate(np.ones((1, 441)), (44100,), (8000,)).shape
    (1, 80)
    """
    for axis, (old, new) in enumerate(zip(before, after, strict=True), start=samples.ndim - len(before)):
        ratio = rate_ratio(old, new)
        if ratio != 1:
            samples = scipy.signal.resample_poly(samples, ratio.numerator, ratio.denominator, axis=axis)
    return samples


def converter() -> dict[str, str]:
    """What converts rates, for a summary."""
    return {"library": "scipy.signal.resample_poly", "version": scipy.__version__}


def centred(samples: Samples, size: Sequence[int]) -> Samples:
    """The centre of a signal's last axes, filled up with zeros where it is too short, an odd one at the far end.

    Examples
    --------
    >>> centred(np.arange(1.0, 6)[None], (2,)), centred(np.ones((1, 2)), (5,))
    (array([[2., 3.]]), array([[0., 1., 1., 0., 0.]]))
    """
    for axis, length in enumerate(size, start=samples.ndim - len(size)):
        missing = length - samples.shape[axis]
        if missing > 0:
            widths = [(0, 0)] * samples.ndim
            widths[axis] = (missing // 2, missing - missing // 2)
            samples = np.pad(samples, widths)
        else:
            begin = -missing // 2
            kept: list[Any] = [slice(None)] * samples.ndim
            kept[axis] = slice(begin, begin + length)
            samples = samples[tuple(kept)]
    return samples
