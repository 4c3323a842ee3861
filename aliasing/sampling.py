r"""Subsampling: the samples, their exact split into baseband and alias, shifts, and equivariance.

Keeping every *s*-th sample repeats the spectrum at every multiple of 1/s and adds up the repetitions (Oppenheim &
Schafer 2010, §4.6): a frequency *f* of the signal becomes, in cycles per new pixel,

.. math:: f' = s f \bmod 1, \qquad -1/2 \le f' < 1/2,

so that a frequency at or above the new Nyquist frequency 1/(2s) turns into another one, its alias. What an alias does
to a network shows if the input is shifted by one pixel: the output is not the shifted output (Simoncelli et al. 1992).

NumPy arrays and torch tensors share the same code, and results have the kind, dtype and device of the input. The signal
lies along ``axes``: by default the last two, or the only one of a 1-D array; the other axes are a batch. Strides,
phases and shifts are one number for all axes or one per axis. With a ``rate`` in samples per second, frequencies are in
hertz. Signals are periodic.
"""

from __future__ import annotations  # signatures in help() are as short as here

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import product
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aliasing import spectrum
from aliasing.axes import LAST_TWO, Axes, PerAxis, Rate, are_several, is_real, per_axis, rate_per_axis, whole
from aliasing.errors import InputError, UsageError
from aliasing.spectrum import Array, array_namespace, at, axis_frequencies, check_array, check_signal, last


@overload
def nyquist(stride: int, rate: float = ...) -> float: ...
@overload
def nyquist(stride: Sequence[int], rate: Rate = ...) -> tuple[float, ...]: ...
def nyquist(stride: PerAxis, rate: Rate = 1.0) -> float | tuple[float, ...]:
    """The Nyquist frequency after subsampling: rate / (2·stride).

    Frequencies at and above this fold. It is in hertz with a rate in samples of the original per second, and otherwise
    in cycles per sample of the original; one number, or one per axis for a sequence of strides.

    Examples
    --------
    >>> nyquist(4), nyquist(2, rate=44100)
    (0.125, 11025.0)
    >>> nyquist((2, 4))
    (0.25, 0.125)
    """
    if isinstance(stride, int | np.integer) or not are_several(stride):
        return rate_per_axis(rate, 1)[0] / (2 * whole(stride, "stride"))
    steps = per_axis(stride, len(stride), "stride")
    return tuple(each / (2 * step) for each, step in zip(rate_per_axis(rate, len(steps)), steps, strict=True))


def fold(frequency: ArrayLike, stride: int, rate: float | None = None) -> NDArray[np.float64]:
    r"""The frequencies that frequencies become after subsampling, along one axis.

    .. math:: f' = f - \frac{r}{s} \left\lfloor \frac{s f}{r} + \tfrac12 \right\rfloor,
              \qquad -\tfrac{r}{2s} \le f' < \tfrac{r}{2s}

    with *s* the stride and *r* the rate. The same wave has another number after subsampling if it is counted per sample
    of the *result*, of which there are fewer; without a rate, :math:`s f'` is returned.

    Parameters
    ----------
    frequency : array_like of float
        In hertz with a rate in samples per second, otherwise in cycles per sample of the original.
    stride : int
        Distance between the samples kept, along the axis.
    rate : float, optional
        Samples of the original per second, or per whatever else ``frequency`` counts cycles in; 1 keeps the unit cycles
        per sample of the original.

    Returns
    -------
    numpy.ndarray
        The shape of ``frequency``. With a rate in the unit of ``frequency``; without, in cycles per sample of the
        *result*, −1/2 ≤ f' < 1/2. A wave of negative frequency turns the other way round; a cosine is the same at both.

    Examples
    --------
    >>> float(fold(0.375, stride=2, rate=1))  # cycles per sample of the original
    -0.125
    >>> float(fold(0.375, stride=2))  # the same wave, in cycles per sample of the result
    -0.25
    >>> float(fold(7000, stride=4, rate=48000))  # hertz
    -5000.0
    """
    step, cycles = whole(stride, "stride, along one axis,"), np.asarray(frequency, dtype=np.float64)
    new_rate = None if rate is None else rate_per_axis(rate, 1)[0] / step
    scaled = cycles * step if new_rate is None else cycles / new_rate
    folded: NDArray[np.float64] = (scaled - np.floor(scaled + 0.5)) * (new_rate or 1.0)
    return folded


def folding_map(size: int, stride: int) -> NDArray[np.intp]:
    """The output bin to which each bin of a centred spectrum folds, along one axis.

    Bin *k* of the original's ``size`` adds to bin ``result[k]`` of the centred spectrum of ``size // stride`` samples;
    ``stride`` bins add to each. UsageError if the stride does not divide the size, because the frequencies of the
    result then fall between its bins.

    Examples
    --------
    >>> folding_map(8, 2)
    array([2, 3, 0, 1, 2, 3, 0, 1])
    """
    size, step = whole(size, "size"), whole(stride, "stride, along one axis,")
    _check_divides((size,), (step,))
    length = size // step
    return (np.arange(size) - size // 2 + length // 2) % length


def subsample(x: Array, stride: PerAxis, phase: PerAxis = 0, axes: Axes = LAST_TWO) -> Array:
    """Every ``stride``-th sample, from ``phase`` on.

    Parameters
    ----------
    x : array (..., H, W)
        Of any dtype.
    stride : int or one int per axis
        Distance between the samples kept, at least 1.
    phase : int or one int per axis
        The first sample, 0 … stride − 1.
    axes : int or sequence of int
        The axes of the signal: by default the last two, or the only one of a 1-D array; (0, 1) for a picture with
        its channels last, −1 for a batch of sounds, (−3, −2, −1) for volumes and clips.

    Returns
    -------
    array (..., ⌈(H − phase) / stride⌉, ⌈(W − phase) / stride⌉)
        A view if the library has views.

    Examples
    --------
    >>> subsample(np.arange(8).reshape(2, 4), stride=2, phase=(1, 0))
    array([[4, 6]])
    """
    _, axes = check_array(x, axes)
    return x[at(axes, _kept(stride, phase, len(axes)))]


def polyphase(x: Array, stride: PerAxis, axes: Axes = LAST_TWO) -> Array:
    """All polyphase components, the signal subsampled at each phase: ``polyphase(x, s)[..., p, q, :, :]`` is at (p, q).

    Parameters
    ----------
    x, stride, axes
        As for `subsample`; the stride must divide the sizes. In the result the axes are last, in their order, after the
        phases.

    Examples
    --------
    >>> polyphase(np.arange(4).reshape(1, 4), stride=(1, 2))
    array([[[[0, 2]],
            [[1, 3]]]])
    """
    xp, axes = check_array(x, axes)
    count = len(axes)
    steps, sizes = per_axis(stride, count, "stride"), tuple(x.shape[axis] for axis in axes)
    _check_divides(sizes, steps)
    x = last(x, axes)
    pairs = [part for size, step in zip(sizes, steps, strict=True) for part in (size // step, step)]
    split = xp.reshape(x, (*x.shape[:-count], *pairs))
    return xp.moveaxis(split, tuple(range(1 - 2 * count, 0, 2)), tuple(range(-2 * count, -count)))


def from_polyphase(components: Array, dims: int | None = None) -> Array:
    """Rebuild the signal from its polyphase components: the inverse of `polyphase`.

    ``components`` are (..., s_y, s_x, h, w), and ``dims`` is the number of axes of the signal: by default 2, or 1 for
    an array with two axes.

    Examples
    --------
    >>> x = np.arange(24).reshape(4, 6)
    >>> bool((from_polyphase(polyphase(x, 2)) == x).all())
    True
    """
    xp, _ = check_array(components, -1)
    count = whole(dims, "dims") if dims is not None else 1 if components.ndim == 2 else 2
    if components.ndim < 2 * count:
        raise UsageError(f"{count} axes of phases before {count} of samples are needed; got {tuple(components.shape)}")
    steps, sizes = components.shape[-2 * count : -count], components.shape[-count:]
    woven = xp.moveaxis(components, tuple(range(-2 * count, -count)), tuple(range(1 - 2 * count, 0, 2)))
    whole_sizes = [step * size for step, size in zip(steps, sizes, strict=True)]
    return xp.reshape(woven, (*components.shape[: -2 * count], *whole_sizes))


def upsample_zeros(x: Array, stride: PerAxis, phase: PerAxis = 0, axes: Axes = LAST_TWO) -> Array:
    """Insert zeros between the samples: the transpose of `subsample`, which repeats the spectrum of ``x``.

    The arguments are those of `subsample`, which takes the samples of ``x`` from the result again.

    Examples
    --------
    >>> upsample_zeros(np.array([[1, 2]]), stride=(1, 2))
    array([[1, 0, 2, 0]])
    """
    xp, axes = check_array(x, axes)
    kept = _kept(stride, phase, len(axes))
    shape = list(x.shape)
    for axis, samples in zip(axes, kept, strict=True):
        shape[axis] *= samples.step
    y = xp.zeros(tuple(shape), dtype=x.dtype, device=x.device)
    y[at(axes, kept)] = x
    return y


def ideal_lowpass(x: Array, stride: PerAxis, axes: Axes = LAST_TWO) -> Array:
    """The part of a signal strictly below the Nyquist frequency of a stride: ``|f|`` < 1 / (2·stride) on every axis.

    The arguments are those of the subsampling to come (`subsample`), for a real or complex floating-point signal.
    Stride 1 removes only the Nyquist frequency itself.

    Examples
    --------
    >>> ideal_lowpass(np.array([[1.0, -1.0, 1.0, -1.0]]) + 3, stride=(1, 2))
    array([[3., 3., 3., 3.]])
    """
    xp, axes = check_signal(x, axes)
    for axis, step in zip(axes, per_axis(stride, len(axes), "stride"), strict=True):
        size = x.shape[axis]
        keep = np.fft.ifftshift(abs(axis_frequencies(size)) < 1 / (2 * step))
        x = _filter(xp, x, axis, keep.astype(np.float64))
    _check_finite(xp, x)
    return x


@dataclass(frozen=True)
class Decomposition:
    """The samples of a signal (..., h, w), split into ``baseband + alias``, and its fractions (...)."""

    #: The samples of the part strictly below the new Nyquist frequency.
    baseband: Array
    #: The samples of the rest, which appear at false frequencies.
    alias: Array
    #: Energy of the signal at and above the new Nyquist frequency ÷ its energy, without the mean. This is a property of
    #: the signal: one phase may show more of it than another.
    alias_fraction: Array
    #: Energy below the new Nyquist frequency ÷ that of the signal before an operator, without the means.
    baseband_kept: Array

    def __repr__(self) -> str:
        """The fractions; of the samples only how many."""
        fractions = f"alias_fraction={self.alias_fraction}, baseband_kept={self.baseband_kept}"
        return f"Decomposition({fractions}, baseband and alias of shape {tuple(self.baseband.shape)})"


def decompose(
    x: Array, stride: PerAxis, phase: PerAxis = 0, axes: Axes = LAST_TWO, *, before: Array | None = None
) -> Decomposition:
    """Split the samples of a signal into baseband and alias, exactly, at any size.

    Along an axis of stride 1 nothing folds, so there all of it is baseband.

    The expected ``alias_fraction`` of white noise of N×N pixels, with K frequencies below the new Nyquist frequency
    along each axis, is 1 − (K² − 1) / (N² − 1).

    Parameters
    ----------
    x : array (..., H, W)
        Real or complex floating-point signal.
    stride, phase, axes
        As for `subsample`: a photograph H×W×3 needs the axes (0, 1), and gets one fraction per channel.
    before : array (..., H, W), optional
        The signal before the operator that gave ``x``: the reference of ``baseband_kept``, which is otherwise 1. An
        operator that blurs everything away has no alias, so look at both numbers.

    Returns
    -------
    Decomposition
        A constant signal has no alias and keeps its baseband: fractions 0 and 1.

    Raises
    ------
    UsageError
        If ``x`` looks like a picture with its channels last (three axes, the last of 3 or 4) and ``axes`` is not given.

    Examples
    --------
    >>> n = np.arange(8)
    >>> x = np.cos(2 * np.pi * n / 8) + np.cos(2 * np.pi * 3 * n / 8)  # 1/8 stays, 3/8 folds onto −1/8
    >>> parts = decompose(x[None], stride=(1, 2))
    >>> round(float(parts.alias_fraction), 6)
    0.5
    >>> bool(np.allclose(parts.baseband + parts.alias, x[None, ::2]))
    True
    """
    xp, axes = check_signal(x, axes)
    samples = x[at(axes, _kept(stride, phase, len(axes)))]
    folding = [(axis, step) for axis, step in zip(axes, per_axis(stride, len(axes), "stride"), strict=True) if step > 1]
    below = ideal_lowpass(x, [step for _, step in folding], [axis for axis, _ in folding]) if folding else x
    baseband = subsample(below, stride, phase, axes)
    inside, total = baseband_energy(x, stride, axes)
    nothing = xp.zeros_like(total)
    alias_fraction = xp.where(total > 0, 1 - inside / xp.where(total > 0, total, nothing + 1), nothing)
    if before is None:
        kept = nothing + 1
    else:
        if array_namespace(before) is not xp or tuple(before.shape) != tuple(x.shape) or before.dtype != x.dtype:
            raise UsageError(
                f"before is like x, {tuple(x.shape)} of {x.dtype}; got {tuple(before.shape)} of {before.dtype}"
            )
        original, _ = baseband_energy(before, stride, axes)
        kept = xp.where(original > 0, inside / xp.where(original > 0, original, nothing + 1), nothing + 1)
    return Decomposition(baseband, samples - baseband, alias_fraction, kept)


@dataclass(frozen=True)
class Imaging:
    """What upsampling has left at and above the old Nyquist frequency of a signal (..., H, W), as fractions (...)."""

    #: Energy at and above the old Nyquist frequency ÷ the signal's, without the mean.
    imaging_fraction: Array
    #: Energy at the images of the mean, the multiples of 1/s other than 0 ÷ the signal's, without the mean.
    checkerboard: Array


def imaging(x: Array, stride: PerAxis, axes: Axes = LAST_TWO) -> Imaging:
    r"""The images in a signal that was upsampled by ``stride``, and the checkerboard among them.

    Samples with zeros between them repeat their spectrum at every multiple of 1/s, and what an interpolation leaves of
    the repetitions are images: at and above the Nyquist frequency 1/(2s) of the samples there should be nothing. The
    images of the mean, at the multiples of 1/s themselves, are the checkerboard that decoders draw (Odena et al. 2016);
    at a stride of two they lie at the Nyquist frequency.

    .. math:: \frac{\sum_{f \,:\, \max_a s_a |f_a| \ge 1/2} |X(f)|^2}{\sum_{f \ne 0} |X(f)|^2}, \qquad
              \frac{\sum_{f \ne 0 \,:\, s_a f_a \in \mathbb{Z}} |X(f)|^2}{\sum_{f \ne 0} |X(f)|^2}

    Of white noise that was repeated s times (nearest neighbours), the expected imaging fraction along one axis is
    ``aliasing.filters.imaging_fraction([1 / s] * s, s)``, where the gain is
    :math:`\sin^2(\pi s f) / \sin^2(\pi f) / s^2`; over several axes, what is left of each multiplies.

    Parameters
    ----------
    x : array (..., H, W)
        Real or complex floating-point signal after upsampling.
    stride : int or one int per axis
        Samples after upsampling for each sample before, of which the sizes are multiples.
    axes
        As for `subsample`.

    Returns
    -------
    Imaging
        A constant has neither.

    Raises
    ------
    UsageError
        If a stride does not divide its axis.

    Examples
    --------
    >>> found = imaging(np.array([3.0, 1.0, 3.0, 1.0, 3.0, 1.0]), stride=2)
    >>> round(float(found.imaging_fraction), 6), round(float(found.checkerboard), 6)
    (1.0, 1.0)
    """
    xp, axes = check_signal(x, axes)
    steps = per_axis(stride, len(axes), "stride")
    sizes = tuple(x.shape[axis] for axis in axes)
    if any(size % step for size, step in zip(sizes, steps, strict=True)):
        raise UsageError(f"a signal upsampled by {steps} has multiples of that as its sizes; got {sizes}")
    inside, total = baseband_energy(x, steps, axes)
    energy, zero = last(spectrum.power(x, axes), axes), tuple(size // 2 for size in sizes)
    lattice = zip(sizes, zero, steps, strict=True)
    images = xp.zeros_like(total)
    for bins in product(*(range(middle % (size // step), size, size // step) for size, middle, step in lattice)):
        if bins != zero:
            images = images + energy[(..., *bins)]
    divisor = xp.where(total > 0, total, xp.zeros_like(total) + 1)
    share = xp.where(total > 0, 1 - inside / divisor, xp.zeros_like(total))
    return Imaging(share, xp.where(total > 0, images / divisor, xp.zeros_like(total)))


def baseband_energy(x: Array, stride: PerAxis, axes: Axes = LAST_TWO) -> tuple[Array, Array]:
    """The energy of a signal below the Nyquist frequency of a stride, and its total energy; both without the mean.

    The arguments are those of `decompose`. Both are arrays (...), and zero if only rounding noise is left of a
    constant.

    Examples
    --------
    >>> inside, total = baseband_energy(np.array([1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0]), stride=2)
    >>> round(float(inside), 6), round(float(total), 6)  # 1/4 is the Nyquist frequency itself, and folds
    (0.0, 4.0)
    """
    xp, axes = check_signal(x, axes)
    energy, count = last(spectrum.power(x, axes), axes), len(axes)
    sizes = tuple(energy.shape[-count:])
    below = below_nyquist(sizes, per_axis(stride, count, "stride"))
    inside = below.copy()
    zero_frequency = tuple(size // 2 for size in sizes)
    inside[zero_frequency] = False
    mean_energy = energy[(..., *zero_frequency)]
    sums = [
        xp.sum(energy * xp.asarray(part, dtype=energy.dtype, device=x.device), axis=tuple(range(-count, 0)))
        for part in (inside, ~below)
    ]
    real = sums[0] + sums[1] > mean_energy * rounding_share(float(xp.finfo(energy.dtype).eps), sizes)
    zero = xp.zeros_like(mean_energy)
    return xp.where(real, sums[0], zero), xp.where(real, sums[0] + sums[1], zero)


@lru_cache(maxsize=64)
def below_nyquist(sizes: tuple[int, ...], steps: tuple[int, ...], *, onesided: bool = False) -> NDArray[np.bool_]:
    """Which frequencies of a spectrum (`aliasing.spectrum.power`) a stride does not fold: those below its Nyquist
    frequency, and all of them along an axis of stride 1.
    """
    final = len(sizes) - 1
    each = [
        abs(axis_frequencies(size, onesided=onesided and place == final)) < (nyquist(step) if step > 1 else 1)
        for place, (size, step) in enumerate(zip(sizes, steps, strict=True))
    ]
    return np.asarray(reduce(np.logical_and.outer, each))


def rounding_share(eps: float, sizes: tuple[int, ...]) -> float:
    """The share of the mean's energy that rounding leaves elsewhere: about (eps · log₂ N)² after N values."""
    return float((eps * (2 + np.log2(math.prod(sizes)))) ** 2)


def shift(x: Array, by: float | Sequence[float], axes: Axes = LAST_TWO) -> Array:
    """Move the content of a periodic signal by whole or fractional samples; a real signal stays real.

    Whole samples roll. A fraction rotates the phase of every frequency by e^(−2πi·f·d), the exact interpolation of
    band-limited signals. The Nyquist frequency ±1/2 of an even size is multiplied by cos(πd) instead, so shifts add up
    if the size is odd, if there is no energy at that frequency, or if one of them is whole.

    Parameters
    ----------
    x : array (..., H, W)
        Real or complex floating-point signal; for whole shifts, of any dtype.
    by : (float, float), or one float per axis
        (dy, dx) in samples, positive down and right; one number for one axis.
    axes
        As for `subsample`.

    Examples
    --------
    >>> x = np.array([[4.0, 0.0, 0.0]])
    >>> shift(x, (0, 1))
    array([[0., 4., 0.]])
    >>> bool(np.allclose(shift(shift(x, (0, 0.5)), (0, 0.5)), shift(x, (0, 1))))
    True
    """
    xp, axes = check_array(x, axes)
    for axis, distance in zip(axes, _distances(by, len(axes)), strict=True):
        size = x.shape[axis]
        pixels, part = divmod(distance, 1)
        if part:
            check_signal(x, axes)
            frequency = np.fft.ifftshift(axis_frequencies(size))
            # Rotate by the fraction alone; the roll below does the rest, with the right sign at the Nyquist frequency:
            # cos(π(w + p)) = (−1)^w cos(πp) for whole w.
            turn = np.where(frequency == -0.5, np.cos(np.pi * part), np.exp(-2j * np.pi * frequency * part))
            x = _filter(xp, x, axis, turn)
            _check_finite(xp, x)
        if pixels % size:
            x = xp.roll(x, int(pixels) % size, axis=axis)
    return x


def equivariance_error(
    operator: Callable[[Array], Array],
    x: Array,
    shifts: Sequence[float | Sequence[float]],
    stride: PerAxis | None = None,
    *,
    margin: int = 0,
    axes: Axes = LAST_TWO,
) -> Array:
    r"""How far an operator is from moving its output with its input, for each of some shifts.

    .. math:: \frac{\lVert F(T_d x) - T_{d/s} F(x) \rVert^2}{\lVert F(T_d x) - \overline{F(T_d x)} \rVert^2}

    for an operator or network *F* that subsamples by *s* and shifts *T* of a periodic signal. 0 is exact; two
    unrelated outputs of equal energy have about 2.

    Parameters
    ----------
    operator : callable
        Maps (..., H, W) to (..., h, w), arrays of the kind of ``x``.
    x : array (..., H, W)
        Floating-point signal.
    shifts : sequence of (float, float), or of one float per axis
        (dy, dx) in samples of the input.
    stride : int or one int per axis, optional
        The operator's stride; by default the ratio of its sizes in and out, if it is whole.
    margin : int
        Cells of the output to leave out on every side. Without circular padding leave out at least one; the number is
        still contaminated by the boundary.
    axes
        As for `subsample`, for input and output.

    Returns
    -------
    array (len(shifts),)
        The error of each shift, over all axes of the output; the mean is over the signal's axes. NaN if the output is
        constant.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(16, 16))
    >>> equivariance_error(lambda x: subsample(x, 2), x, [(2, 4)])
    array([0.])
    """
    xp, axes = check_signal(x, axes)
    original = operator(x)
    steps = _ratio(x, original, axes) if stride is None else per_axis(stride, len(axes), "stride")
    sizes = [original.shape[axis] for axis in axes]
    if 2 * whole(margin, "margin", least=0) >= min(sizes):
        raise UsageError(f"a margin of {margin} leaves nothing of {'×'.join(map(str, sizes))} cells")
    inner = at(axes, [slice(margin, size - margin) for size in sizes])
    errors = []
    for by in (_distances(each, len(axes)) for each in shifts):
        moved = operator(shift(x, by, axes))[inner]
        expected = shift(original, [d / step for d, step in zip(by, steps, strict=True)], axes)[inner]
        missed, energy = residual(moved, expected, axes)
        errors.append(missed / energy)
    return xp.stack(errors)


def residual(found: Array, expected: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The two energies of an equivariance error, over all axes: ‖found − expected‖², and ‖found − its mean‖².

    The mean is taken over ``axes``, which are counted from the front.
    """
    return squared_norm(found - expected), squared_norm(found - _mean(found, axes))


def squared_norm(x: Array) -> Array:
    """‖x‖², over all axes."""
    xp = array_namespace(x)
    flat = xp.reshape(x, (-1,))
    return xp.real(xp.vecdot(flat, flat)) if xp.isdtype(x.dtype, "complex floating") else flat @ flat


def shiftability(
    operator: Callable[[Array], Array], x: Array, stride: PerAxis | None = None, axes: Axes = LAST_TWO
) -> float:
    """Simoncelli's test: how well the samples of an operator predict those in between.

    A representation is shiftable (Simoncelli et al. 1992) if its values for a shifted input follow from its values for
    the input by a fixed interpolation. Here the interpolation is the ideal one (`shift` by a fraction of an output
    pixel), and the test runs over all shifts within one stride.
    The arguments are those of `equivariance_error`, and the result is 1 − its mean over those shifts: 1 for a shiftable
    operator. Subsampled white noise has about −0.5 at stride 2: unrelated samples predict three of four shifts.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(18, 18))
    >>> round(shiftability(lambda x: subsample(ideal_lowpass(x, 2), 2), x), 9)
    1.0
    """
    _, axes = check_signal(x, axes)
    steps = _ratio(x, operator(x), axes) if stride is None else per_axis(stride, len(axes), "stride")
    errors = equivariance_error(operator, x, list(product(*map(range, steps))), steps, axes=axes)
    return 1 - float(array_namespace(errors).mean(errors))


def _filter(xp: Any, x: Array, axis: int, gain: NDArray[Any]) -> Array:
    """Multiply the spectrum along one axis, zero frequency first."""
    size = x.shape[axis]
    real = not xp.isdtype(x.dtype, "complex floating")
    if real:
        gain = gain[: size // 2 + 1]  # the other half mirrors this one
    complex_dtype = xp.complex64 if spectrum.real_dtype(xp, x) == xp.float32 else xp.complex128
    factor = xp.asarray(spectrum.along(x, axis, gain), dtype=complex_dtype, device=x.device)
    if real:
        return xp.fft.irfft(xp.fft.rfft(x, axis=axis) * factor, n=size, axis=axis)
    return xp.fft.ifft(xp.fft.fft(x, axis=axis) * factor, axis=axis)


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    xp = array_namespace(x)
    if axes != tuple(range(len(axes))):
        return xp.mean(x, axis=axes, keepdims=True)
    # Over the first axes, a product with ones is several times as fast as a reduction.
    samples = math.prod(x.shape[: len(axes)])
    ones = xp.full((samples,), 1 / samples, dtype=x.dtype, device=x.device)
    return xp.reshape(ones @ xp.reshape(x, (samples, -1)), x.shape[len(axes) :])


def _check_finite(xp: Any, x: Array) -> None:
    # The transform spreads a non-finite value only over its row and column, so checking the first pixel is not enough.
    if not bool(xp.isfinite(xp.sum(xp.abs(x)))):
        raise InputError("the signal holds NaN or infinity, or overflows: mask or rescale it first")


def _check_divides(sizes: tuple[int, ...], steps: tuple[int, ...]) -> None:
    if any(size % step for size, step in zip(sizes, steps, strict=True)):
        raise UsageError(f"the stride must divide the size: {sizes} is not a multiple of {steps}; crop or pad first")


def _kept(stride: PerAxis, phase: PerAxis, count: int) -> list[slice]:
    """The samples kept along each axis."""
    steps, starts = per_axis(stride, count, "stride"), per_axis(phase, count, "phase", least=0)
    if any(start >= step for start, step in zip(starts, steps, strict=True)):
        raise UsageError(f"a phase lies in 0 … stride − 1; got phase {phase} for stride {stride}")
    return [slice(start, None, step) for start, step in zip(starts, steps, strict=True)]


def _distances(by: float | Sequence[float], count: int) -> list[float]:
    distances: list[Any] = list(by) if isinstance(by, Sequence | np.ndarray) and are_several(by) else [by]
    if len(distances) != count or not all(map(is_real, distances)):
        what = "(dy, dx)" if count == 2 else "one distance" if count == 1 else f"{count} distances"
        raise UsageError(f"a shift is {what} in samples, finite; got {by!r}")
    return [float(distance) for distance in distances]


def _ratio(x: Array, y: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The stride that the sizes of an operator's input and output show."""
    sizes_in, sizes_out = (tuple(one.shape[axis] for axis in axes) for one in (x, y))
    if any(size % out for size, out in zip(sizes_in, sizes_out, strict=True)):
        raise UsageError(f"sizes {sizes_in} in and {sizes_out} out have no whole ratio: give the stride")
    return tuple(size // out for size, out in zip(sizes_in, sizes_out, strict=True))
