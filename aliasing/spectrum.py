r"""Spectra: magnitude, power, phase, radial and directional profiles, power laws, and windows.

The spectrum of a signal *x* of H×W pixels is its unitary discrete Fourier transform (Oppenheim & Schafer 2010, §8)

.. math:: X(f_y, f_x) = \frac{1}{\sqrt{HW}} \sum_{n, m} x_{nm} e^{-2 \pi i (f_y n + f_x m)},
          \qquad \sum |X|^2 = \sum |x|^2 \quad \text{(Parseval)}

at the frequencies k/H and l/W in cycles per pixel, from −1/2 up to but excluding 1/2 (the Nyquist frequency). It is
centred: zero frequency is at row ⌊H/2⌋, column ⌊W/2⌋.

NumPy arrays and torch tensors share the same code (the array API standard), and results have the kind, dtype and device
of the input. The signal lies along ``axes``: by default the last two, or the only one of a 1-D array; the other axes
are a batch. Frequencies are in cycles per sample, or in hertz with a ``rate`` in samples per second (for a volume, in
cycles per millimetre with a rate in samples per millimetre).
"""

from __future__ import annotations  # signatures in help() are as short as here

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aliasing.axes import LAST_TWO, Axes, Rate, rate_per_axis, signal_axes, whole
from aliasing.errors import InputError, UsageError

Array: TypeAlias = Any  # an array of any library that follows the array API standard


def centred(x: Array, axes: Axes = LAST_TWO) -> Array:
    """The complex spectrum, unitary and centred.

    Parameters
    ----------
    x : array (..., H, W)
        Real or complex floating-point signal.
    axes : int or sequence of int
        The axes of the signal: by default the last two, or the only one of a 1-D array; (0, 1) for a picture with
        its channels last, −1 for a batch of sounds, (−3, −2, −1) for volumes and clips.

    Returns
    -------
    array (..., H, W)
        Complex, with the precision of ``x``.

    Raises
    ------
    TypeError
        If ``x`` is not an array or has an integer dtype.
    UsageError
        If ``x`` has an empty axis or no such axes, or looks like a picture with its channels last and ``axes`` is not
        given.
    InputError
        If ``x`` holds NaN or infinity, or its transform overflows.

    Examples
    --------
    >>> abs(centred(np.ones((2, 2))))
    array([[0., 0.],
           [0., 2.]])
    """
    xp, axes = check_signal(x, axes)
    spectrum = xp.fft.fftn(x, axes=axes, norm="ortho")
    _check_finite(xp, spectrum, axes)
    return xp.fft.fftshift(spectrum, axes=axes)


def magnitude(x: Array, axes: Axes = LAST_TWO) -> Array:
    """``|X|``, the modulus of the spectrum from `centred`, real and in the unit of ``x``.

    Examples
    --------
    >>> magnitude(np.ones((2, 2)))
    array([[0., 0.],
           [0., 2.]])
    """
    spectrum = centred(x, axes)
    return array_namespace(spectrum).abs(spectrum)


def log_magnitude(x: Array, floor: float = -120.0, reference: float | None = None, axes: Axes = LAST_TWO) -> Array:
    """20 log₁₀ of ``|X|`` over a reference: decibels, never below a floor.

    Parameters
    ----------
    x, axes
        As for `centred`.
    floor : float
        The smallest value in dB, also that of zero magnitude. Half of float32's digits are about −70 dB, its rounding
        noise is about −140 dB.
    reference : float, optional
        The magnitude at 0 dB; by default the largest of each signal.

    Examples
    --------
    >>> log_magnitude(np.array([[1.0, 0.0], [1.0, 0.0]]), floor=-60)
    array([[-60., -60.],
           [  0.,   0.]])
    """
    modulus = magnitude(x, axes)
    xp = array_namespace(modulus)
    if reference is None:
        largest = xp.max(modulus, axis=signal_axes(x.shape, axes), keepdims=True)
        scale = xp.where(largest > 0, largest, xp.ones_like(largest))
    elif reference > 0:
        scale = reference
    else:
        raise UsageError(f"reference, the magnitude at 0 dB, is positive; got {reference}")
    least = 10 ** (floor / 20)
    ratio = modulus / scale
    return 20 * xp.log10(xp.where(ratio > least, ratio, xp.full_like(ratio, least)))


def power(x: Array, axes: Axes = LAST_TWO, rate: Rate = 1.0, *, onesided: bool = False) -> Array:
    """``|X|²``, the energy at each frequency: its sum is the energy of the signal (Parseval).

    Parameters
    ----------
    x, axes
        As for `centred`.
    rate
        As for `frequencies`, which it scales. The energies are the same at any rate.
    onesided : bool
        For a real signal, return only the frequencies from 0 to 1/2 cycles per sample along the last axis, each with
        the power of its mirror image added: half the work, the same sum. The other axes are centred as usual.

    Returns
    -------
    array (..., H, W) or (..., H, W // 2 + 1)
        Real, in the square of the unit of ``x``.

    Examples
    --------
    >>> power(np.ones((2, 2)))
    array([[0., 0.],
           [0., 4.]])
    """
    xp, axes = check_signal(x, axes)
    rate_per_axis(rate, len(axes))
    if not onesided:
        spectrum = centred(x, axes)
        return xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2
    if xp.isdtype(x.dtype, "complex floating"):
        raise TypeError(f"a one-sided spectrum needs a real signal; got {x.dtype}")
    spectrum = xp.fft.rfftn(x, axes=axes, norm="ortho")
    _check_finite(xp, spectrum, axes)
    energy = xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2
    energy[at(axes[-1:], [slice(1, (x.shape[axes[-1]] + 1) // 2)])] *= 2
    return xp.fft.fftshift(energy, axes=axes[:-1]) if len(axes) > 1 else energy


def phase(x: Array, axes: Axes = LAST_TWO) -> Array:
    """The argument of the spectrum from `centred`, in radians from −π to π; rounding noise where ``|X|`` is.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(4) / 4)
    >>> phase(np.stack([wave, wave]))[1, [1, 3]].round(6)  # at −1/4 and 1/4 cycles per pixel
    array([ 1.570796, -1.570796])
    """
    spectrum = centred(x, axes)
    xp = array_namespace(spectrum)
    return xp.atan2(xp.imag(spectrum), xp.real(spectrum))


def frequencies(x: Array, axes: Axes = LAST_TWO, rate: Rate = 1.0, *, onesided: bool = False) -> tuple[Array, ...]:
    """The frequencies along each axis of the spectrum of ``x``.

    Parameters
    ----------
    x : array (..., H, W)
        Signal; only its shape, kind, precision and device matter.
    axes, onesided
        As for `power`.
    rate : float, or one per axis
        Samples per second, for frequencies in hertz. By default they are in cycles per sample.

    Returns
    -------
    array (H,), array (W,) or (W // 2 + 1,)
        One array per axis, by default f_y and f_x, in the unit of ``rate``.

    Examples
    --------
    >>> frequencies(np.zeros((2, 5)))[1]
    array([-0.4, -0.2,  0. ,  0.2,  0.4])
    >>> frequencies(np.zeros(4), rate=8000)
    (array([-4000., -2000.,     0.,  2000.]),)
    """
    xp, axes = check_signal(x, axes)
    each = _along_each(_sizes(x, axes), rate_per_axis(rate, len(axes)), onesided)
    return tuple(xp.asarray(one, dtype=real_dtype(xp, x), device=x.device) for one in each)


def radial_profile(x: Array, bins: int = 64, axes: Axes = LAST_TWO, rate: Rate = 1.0) -> tuple[Array, Array]:
    """Mean power in rings of equal width around zero frequency, up to the Nyquist frequency rate / 2.

    Along one axis a ring is a band of frequencies and its mirror image, along three a shell.

    Parameters
    ----------
    x, axes, rate
        As for `frequencies`.
    bins : int
        Number of rings. Zero frequency belongs to the first; the corners of the spectrum, beyond 0.5 cycles per sample
        of the slowest axis, belong to none.

    Returns
    -------
    frequency : array (bins,)
        Middle of each ring, in the unit of ``rate``: cycles per sample by default.
    power : array (..., bins)
        Mean of `power` in each ring; NaN if a small image has no frequency in it.

    Examples
    --------
    >>> frequency, ring_power = radial_profile(np.eye(8), bins=4)
    >>> frequency
    array([0.0625, 0.1875, 0.3125, 0.4375])
    """
    sizes = _sizes(x, axes)
    relative, slowest = _relative(rate, len(sizes))
    edges = np.linspace(0, 0.5, whole(bins, "bins") + 1)
    return _means(x, axes, _rings(sizes, relative, tuple(edges)), (edges[:-1] + edges[1:]) / 2 * slowest)


def directional_profile(x: Array, bins: int = 36, axes: Axes = LAST_TWO, rate: Rate = 1.0) -> tuple[Array, Array]:
    """Mean power in sectors of equal width, by the direction of the waves.

    Parameters
    ----------
    x, axes, rate
        As for `frequencies`, with two axes.
    bins : int
        Number of sectors of the half circle. Zero frequency, and frequencies beyond 0.5 cycles per sample of the slower
        axis, belong to none.

    Returns
    -------
    angle : array (bins,)
        Middle of each sector in radians, 0 ≤ angle < π: 0 is a wave along x (vertical stripes), π/2 one along y.
        The first sector is centred on 0.
    power : array (..., bins)
        Mean of `power` in each sector; NaN if a small image has no frequency in it.

    Examples
    --------
    >>> stripes = np.tile([1.0, -1.0, -1.0, 1.0], (8, 2))
    >>> angle, sector_power = directional_profile(stripes, bins=4)
    >>> sector_power.round(3)
    array([5.818, 0.   , 0.   , 0.   ])
    """
    middles = np.arange(whole(bins, "bins")) * np.pi / bins
    sizes = _sizes(x, axes)
    if len(sizes) != 2:
        raise UsageError(f"a direction needs two axes; got axes={axes!r}")
    return _means(x, axes, _sectors(sizes, _relative(rate, 2)[0], int(bins)), middles)


class PowerLaw(NamedTuple):
    """``power ∝ frequency ** slope``, fitted in logarithms; natural images have a slope of about −2 (Field 1987)."""

    slope: Array
    error: Array  #: standard error of the slope, from the scatter about the line
    log_power: Array  #: natural logarithm of the line's power at 1 cycle per sample, or at 1 Hz with a rate


def power_law(
    x: Array,
    low: float | None = None,
    high: float | None = None,
    bins: int = 16,
    axes: Axes = LAST_TWO,
    rate: Rate = 1.0,
) -> PowerLaw:
    """The power law of an image: a line through the logarithms of its radial profile.

    Rings have equal width in log frequency, so that every octave has the same weight. The edges of an image that does
    not repeat add a cross of high frequencies, which flattens the slope: window it first (`hann`), or take its
    `periodic` part.

    Parameters
    ----------
    x, axes, rate
        As for `frequencies`.
    low, high : float, optional
        The ends of the fit, in the unit of ``rate``; by default two periods in the shorter side, and the largest
        possible, the Nyquist frequency rate / 2 of the slowest axis.
    bins : int
        Number of rings, at least 3; empty ones are left out.

    Returns
    -------
    PowerLaw
        Each part of shape (...).

    Raises
    ------
    UsageError
        If fewer than three rings hold a frequency.

    Examples
    --------
    >>> f = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    >>> f[0, 0] = 1
    >>> image = np.fft.ifft2(1 / f).real
    >>> float(power_law(image).slope.round(1))
    -2.0
    """
    xp, axes = check_signal(x, axes)
    sizes = _sizes(x, axes)
    relative, slowest = _relative(rate, len(sizes))
    lowest = 2 / min(size / each for size, each in zip(sizes, relative, strict=True))
    first, end = (given if f is None else f / slowest for f, given in ((low, lowest), (high, 0.5)))
    if not 0 < first < end <= 0.5:
        unit = "cycles per sample" if slowest == 1 else "times the rate"
        raise UsageError(f"the fit runs from low to high, 0 < low < high <= 0.5 {unit}; got {first:g} and {end:g}")
    groups = _rings(sizes, relative, tuple(np.geomspace(first, end, whole(bins, "bins") + 1)))
    groups = [group for group in groups if group.size]
    if len(groups) < 3:
        raise UsageError(f"a line with an error needs three rings; {sizes} samples hold {len(groups)}")
    # The position of a ring is the mean of its log frequencies, not its middle: small rings are lopsided.
    radius = _radius(sizes, relative).reshape(-1)
    abscissa = np.array([np.log(radius[group]).mean() for group in groups])
    deviation = abscissa - abscissa.mean()
    _, rings = _means(x, axes, groups, abscissa)
    tiny = xp.finfo(rings.dtype).smallest_normal
    ordinate = xp.log(xp.where(rings > tiny, rings, xp.full_like(rings, tiny)))
    weights = xp.asarray(deviation / (deviation @ deviation), dtype=rings.dtype, device=x.device)
    slope = xp.sum(ordinate * weights, axis=-1)
    centre = xp.mean(ordinate, axis=-1)
    line = centre[..., None] + slope[..., None] * xp.asarray(deviation, dtype=rings.dtype, device=x.device)
    variance = xp.sum((ordinate - line) ** 2, axis=-1) / (len(groups) - 2)
    error = xp.sqrt(variance / float(deviation @ deviation))
    return PowerLaw(slope, error, centre - slope * float(abscissa.mean() + np.log(slowest)))


def energy_above(x: Array, cutoff: float, region: str = "square", axes: Axes = LAST_TWO, rate: Rate = 1.0) -> Array:
    """The fraction of the energy at and above a frequency, from 0 to 1; 0 if the signal is zero.

    Parameters
    ----------
    x, axes, rate
        As for `frequencies`. The mean of ``x`` counts as energy at zero frequency; subtract it to leave that out.
    cutoff : float
        In the unit of ``rate``: cycles per sample by default. rate / (2·stride) is the Nyquist frequency after
        subsampling.
    region : {"square", "disc"}
        The region below the cutoff: a square, ``max(|f_y|, |f_x|) < cutoff``, or a disc, √(f_y² + f_x²) < cutoff; with
        three axes, a cube or a ball.

    Examples
    --------
    >>> float(energy_above(np.array([[1.0, -1.0], [1.0, -1.0]]), 0.25))
    1.0
    """
    if region not in ("square", "disc"):
        raise UsageError(f"region is 'square' or 'disc'; got {region!r}")
    if not cutoff >= 0:
        raise UsageError(f"cutoff is a frequency of at least 0; got {cutoff}")
    energy = last(power(x, axes), signal_axes(x.shape, axes))
    xp = array_namespace(energy)
    sizes = _sizes(x, axes)
    relative, slowest = _relative(rate, len(sizes))
    distance = _radius(sizes, relative) if region == "disc" else np.max(_grid(sizes, relative), axis=0)
    # A cutoff in hertz has been rounded twice: itself, and by the division.
    least = cutoff if slowest == 1 else cutoff / slowest * (1 - 2 * np.finfo(np.float64).eps)
    above = xp.asarray(distance >= least, dtype=energy.dtype, device=x.device)
    inner = tuple(range(-len(sizes), 0))
    total = xp.sum(energy, axis=inner)
    return xp.sum(energy * above, axis=inner) / xp.where(total > 0, total, xp.ones_like(total))


def hann(x: Array, axes: Axes = LAST_TWO) -> Array:
    """Multiply a signal, as for `centred`, by a Hann window: the cross of its edges goes from its spectrum.

    The window is the periodic sin²(πn/N) along every axis, scaled to keep the energy of white noise (its mean square is
    one). A constant spreads only to the next frequency on each side.

    Examples
    --------
    >>> hann(np.ones((1, 4))).round(3)
    array([[0.   , 0.816, 1.633, 0.816]])
    """
    xp, axes = check_signal(x, axes)
    for axis in axes:
        size = x.shape[axis]
        if size == 1:
            continue  # an axis of one pixel cannot be tapered
        window = np.sin(np.pi * np.arange(size) / size) ** 2
        window /= np.sqrt(np.mean(window**2))
        x = x * xp.asarray(along(x, axis, window), dtype=real_dtype(xp, x), device=x.device)
    return x


def periodic(x: Array, axes: Axes = LAST_TWO) -> Array:
    """The periodic part of a signal, as for `centred`, without the jump between opposite edges and the cross it causes.

    The signal is the sum of a periodic and a smooth part (Moisan 2011). The smooth part, ``x - periodic(x)``, solves
    Poisson's equation with the jumps across the edges as its source, and has little energy at high frequencies. Both
    parts have the shape of ``x``, and the periodic part has its mean.

    Examples
    --------
    >>> ramp = np.tile(np.arange(8.0), (8, 1))
    >>> periodic(ramp)[0, [0, -1]].round(6)  # the jump from edge to edge was 7
    array([3.0625, 3.9375])
    """
    xp, axes = check_signal(x, axes)
    jumps = xp.zeros_like(x)
    laplacian: Any = 0.0
    for axis in axes:
        first, end = at((axis,), [slice(0, 1)]), at((axis,), [slice(-1, None)])
        jumps[first] += x[end] - x[first]
        jumps[end] -= x[end] - x[first]
        # The eigenvalues of the discrete Laplacian: 2 cos θ − 2 = −4 sin²(θ/2), without cancellation.
        size = x.shape[axis]
        laplacian = laplacian - along(x, axis, 4 * np.sin(np.pi * np.arange(size) / size) ** 2)
    laplacian[laplacian == 0] = -np.inf  # zero frequency: the smooth part has mean zero
    source = xp.fft.fftn(jumps, axes=axes)
    _check_finite(xp, source, axes)
    smooth = xp.fft.ifftn(source * xp.asarray(1 / laplacian, dtype=real_dtype(xp, x), device=x.device), axes=axes)
    return x - (smooth if xp.isdtype(x.dtype, "complex floating") else xp.real(smooth))


def axis_frequencies(size: int, *, onesided: bool = False) -> NDArray[np.float64]:
    """The frequencies k/size of an axis, centred or from 0 to 1/2, each correctly rounded."""
    return np.arange(size // 2 + 1) / size if onesided else (np.arange(size) - size // 2) / size


@lru_cache(maxsize=64)
def ring_of_each(
    sizes: tuple[int, ...], relative: tuple[float, ...], edges: tuple[float, ...], *, onesided: bool = False
) -> NDArray[np.intp]:
    """The index of the ring of each frequency of a spectrum; −1 and ``len(edges) − 1`` below and above all rings.

    A ring includes its lower edge; only the last includes its upper one. ``relative`` holds the rate of each axis ÷
    that of the slowest, and ``edges`` are in cycles per sample of the slowest axis.
    """
    radius = _radius(sizes, relative, onesided=onesided)
    ring = np.searchsorted(edges, radius, side="right") - 1
    ring[radius == edges[-1]] = len(edges) - 2
    return ring


def check_signal(x: Array, axes: Axes = LAST_TWO) -> tuple[Any, tuple[int, ...]]:
    """The array namespace of a signal that can be transformed, and its axes; otherwise a one-line error."""
    xp, axes = check_array(x, axes)
    if not xp.isdtype(x.dtype, (xp.float32, xp.float64, xp.complex64, xp.complex128)):
        raise TypeError(f"a signal is float32, float64 or their complex counterparts; got {x.dtype}: convert it first")
    return xp, axes


def check_array(x: Array, axes: Axes = LAST_TWO) -> tuple[Any, tuple[int, ...]]:
    """The array namespace of samples of any dtype, and the signal's axes counted from the front."""
    try:
        xp = array_namespace(x)
    except TypeError:
        raise TypeError(f"a NumPy array or a torch tensor is needed; got {type(x).__name__}") from None
    return xp, signal_axes(x.shape, axes)


def array_namespace(x: Array) -> Any:
    """The functions of the library that an array belongs to; what finds them is loaded at the first array."""
    import array_api_compat

    return array_api_compat.array_namespace(x)


def at(axes: Sequence[int], places: Sequence[slice | int]) -> tuple[slice | int, ...]:
    """The index that takes these places along these axes, and everything along the others."""
    index: list[slice | int] = [slice(None)] * (max(axes) + 1)
    for axis, place in zip(axes, places, strict=True):
        index[axis] = place
    return tuple(index)


def along(x: Array, axis: int, values: NDArray[Any]) -> NDArray[Any]:
    """A row of numbers laid along one axis of an array."""
    return values.reshape(-1, *(1,) * (x.ndim - axis - 1))


def last(x: Array, axes: Sequence[int]) -> Array:
    """The array with the axes of the signal last, in their order."""
    return array_namespace(x).moveaxis(x, tuple(axes), tuple(range(-len(axes), 0)))


def _check_finite(xp: Any, spectrum: Array, axes: Sequence[int]) -> None:
    # A non-finite sample reaches every frequency, so checking one is enough.
    if not bool(xp.all(xp.isfinite(spectrum[at(axes, [0] * len(axes))]))):
        raise InputError("the signal holds NaN or infinity, or overflows: mask or rescale it first")


def real_dtype(xp: Any, x: Array) -> Any:
    return xp.float32 if x.dtype in (xp.float32, xp.complex64) else xp.float64


def _sizes(x: Array, axes: Axes) -> tuple[int, ...]:
    return tuple(int(x.shape[axis]) for axis in check_signal(x, axes)[1])


def _relative(rate: Rate, count: int) -> tuple[tuple[float, ...], float]:
    """The rate of each axis ÷ that of the slowest, and the slowest, so that edges are exact in hertz too."""
    rates = rate_per_axis(rate, count)
    slowest = min(rates)
    return tuple(each / slowest for each in rates), slowest


def _along_each(sizes: tuple[int, ...], rates: tuple[float, ...], onesided: bool = False) -> list[NDArray[np.float64]]:
    """The frequencies along each axis."""
    final = len(sizes) - 1
    return [
        axis_frequencies(size, onesided=onesided and place == final) * rate
        for place, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    ]


def _grid(sizes: tuple[int, ...], relative: tuple[float, ...], onesided: bool = False) -> list[NDArray[np.float64]]:
    """``|f|`` along each axis, at every frequency of the spectrum."""
    return list(np.meshgrid(*map(abs, _along_each(sizes, relative, onesided)), indexing="ij"))


def _radius(sizes: tuple[int, ...], relative: tuple[float, ...], *, onesided: bool = False) -> NDArray[np.float64]:
    return reduce(np.hypot, _grid(sizes, relative, onesided))


@lru_cache(maxsize=16)
def _rings(sizes: tuple[int, ...], relative: tuple[float, ...], edges: tuple[float, ...]) -> list[NDArray[np.intp]]:
    """For each ring, the frequencies of the flat spectrum in it."""
    ring = ring_of_each(sizes, relative, edges).reshape(-1)
    return [np.flatnonzero(ring == number) for number in range(len(edges) - 1)]


@lru_cache(maxsize=16)
def _sectors(sizes: tuple[int, ...], relative: tuple[float, ...], count: int) -> list[NDArray[np.intp]]:
    """For each sector, the frequencies of the flat spectrum in it."""
    f_y, f_x = _along_each(sizes, relative)
    sector = np.floor(np.arctan2(f_y[:, None], f_x) / np.pi * count + 0.5) % count
    radius = _radius(sizes, relative)
    sector[(radius == 0) | (radius > 0.5)] = -1
    return [np.flatnonzero(sector == number) for number in range(count)]


def _means(x: Array, axes: Axes, groups: list[NDArray[np.intp]], middles: NDArray[np.float64]) -> tuple[Array, Array]:
    """The middle of each group of frequencies, and the mean power of ``x`` in it."""
    axes = signal_axes(x.shape, axes)
    energy = last(power(x, axes), axes)
    xp = array_namespace(energy)
    flat = xp.reshape(energy, (*energy.shape[: -len(axes)], -1))
    means = [
        xp.mean(xp.take(flat, xp.asarray(group, device=x.device), axis=-1), axis=-1)
        if group.size
        else xp.full(flat.shape[:-1], float("nan"), dtype=flat.dtype, device=x.device)
        for group in groups
    ]
    return xp.asarray(middles, dtype=flat.dtype, device=x.device), xp.stack(means, axis=-1)
