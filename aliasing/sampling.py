r"""What folds when a signal is subsampled?

Keeping every *s*-th sample repeats the spectrum at every multiple of 1/s and adds the repetitions up (Oppenheim &
Schafer 2010, §4.6): a frequency *f* of the signal comes out, in cycles per new pixel, as

.. math:: f' = s f \bmod 1, \qquad -1/2 \le f' < 1/2,

and what lay at or above the new Nyquist frequency 1/(2s) comes out as something else than it was: an alias. Here
are the samples, their exact split into baseband and alias, and the test of what an alias does to a network: shift
the input by one pixel, and the output is not the shifted output (Simoncelli et al. 1992).

NumPy arrays and torch tensors go through the same code and come back as they were: same kind, dtype and device. The
last two axes are the image; whatever stands before them is a batch. Signals are periodic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj
from numpy.typing import ArrayLike, NDArray

from aliasing.spectrum import Array, axis_frequencies, check_shape, check_signal, power, real_dtype

PerAxis: TypeAlias = int | tuple[int, int]


def nyquist(stride: int) -> float:
    """The Nyquist frequency after subsampling, in cycles per pixel of the original: 1 / (2·stride).

    Parameters
    ----------
    stride : int
        Distance between the samples kept, at least 1.

    Returns
    -------
    float
        Frequencies at and above it fold.

    Examples
    --------
    >>> nyquist(4)
    0.125
    """
    return 1 / (2 * _pair(stride, "stride")[0])


def fold(frequency: ArrayLike, stride: int) -> NDArray[np.float64]:
    """Where frequencies come out after subsampling.

    Parameters
    ----------
    frequency : array_like of float
        Cycles per pixel of the original.
    stride : int
        Distance between the samples kept, at least 1.

    Returns
    -------
    numpy.ndarray
        Cycles per pixel of the result, −1/2 ≤ f' < 1/2, of the shape of ``frequency``.

    Examples
    --------
    >>> fold([0.1, 0.3, 0.5], stride=2).round(6)
    array([ 0.2, -0.4,  0. ])
    """
    scaled = np.asarray(frequency, dtype=np.float64) * _pair(stride, "stride")[0]
    return scaled - np.floor(scaled + 0.5)


def folding_map(size: int, stride: int) -> NDArray[np.intp]:
    """Where each bin of a centred spectrum comes out: from input bin to output bin, along one axis.

    Parameters
    ----------
    size : int
        Pixels of the original. The stride must divide it: at other sizes the frequencies of the result fall between
        its bins.
    stride : int
        Distance between the samples kept, at least 1.

    Returns
    -------
    numpy.ndarray
        (size,) of int; entry *k* is the bin of the centred spectrum of ``size // stride`` pixels to which bin *k*
        of the original adds. Each is reached by ``stride`` bins.

    Raises
    ------
    ValueError
        Where the stride does not divide the size.

    Examples
    --------
    >>> folding_map(8, 2)
    array([2, 3, 0, 1, 2, 3, 0, 1])
    """
    step = _pair(stride, "stride")[0]
    _check_divides((size,), (step,))
    length = size // step
    return (np.arange(size) - size // 2 + length // 2) % length


def subsample(x: Array, stride: PerAxis, phase: PerAxis = (0, 0)) -> Array:
    """Every ``stride``-th sample, from ``phase`` on.

    Parameters
    ----------
    x : array (..., H, W)
        Of any dtype.
    stride : int or (int, int)
        Distance between the samples kept, at least 1.
    phase : int or (int, int)
        The first sample, 0 … stride − 1.

    Returns
    -------
    array (..., ⌈(H − phase) / stride⌉, ⌈(W − phase) / stride⌉)
        A view where the library has views.

    Examples
    --------
    >>> subsample(np.arange(8).reshape(2, 4), stride=2, phase=(1, 0))
    array([[4, 6]])
    """
    _check_array(x)
    (s_y, s_x), (p_y, p_x) = _stride_and_phase(stride, phase)
    return x[..., p_y::s_y, p_x::s_x]


def polyphase(x: Array, stride: PerAxis) -> Array:
    """All polyphase components: the signal subsampled at each phase.

    Parameters
    ----------
    x : array (..., H, W)
        Of any dtype; sizes that the stride divides.
    stride : int or (int, int)
        Distance between the samples of a component, at least 1.

    Returns
    -------
    array (..., s, s, H / s, W / s)
        ``polyphase(x, s)[..., p, q, :, :]`` is ``subsample(x, s, (p, q))``.

    Raises
    ------
    ValueError
        Where the stride does not divide the sizes.

    Examples
    --------
    >>> polyphase(np.arange(4).reshape(1, 4), stride=(1, 2))
    array([[[[0, 2]],
            [[1, 3]]]])
    """
    xp = _check_array(x)
    s_y, s_x = _pair(stride, "stride")
    height, width = x.shape[-2:]
    _check_divides((height, width), (s_y, s_x))
    split = xp.reshape(x, (*x.shape[:-2], height // s_y, s_y, width // s_x, s_x))
    return xp.moveaxis(split, (-3, -1), (-4, -3))


def from_polyphase(components: Array) -> Array:
    """The signal of which these are the polyphase components: the inverse of `polyphase`.

    Parameters
    ----------
    components : array (..., s_y, s_x, h, w)
        As `polyphase` returns them.

    Returns
    -------
    array (..., s_y · h, s_x · w)

    Examples
    --------
    >>> x = np.arange(24).reshape(4, 6)
    >>> bool((from_polyphase(polyphase(x, 2)) == x).all())
    True
    """
    xp = _check_array(components)
    if components.ndim < 4:
        raise ValueError(f"components (..., s, s, h, w) are needed; got shape {tuple(components.shape)}")
    s_y, s_x, height, width = components.shape[-4:]
    woven = xp.moveaxis(components, (-4, -3), (-3, -1))
    return xp.reshape(woven, (*components.shape[:-4], s_y * height, s_x * width))


def upsample_zeros(x: Array, stride: PerAxis, phase: PerAxis = (0, 0)) -> Array:
    """Zeros between the samples: the transpose of `subsample`, whose spectrum is that of ``x`` repeated.

    Parameters
    ----------
    x : array (..., H, W)
        Of any dtype.
    stride : int or (int, int)
        Distance between the samples in the result, at least 1.
    phase : int or (int, int)
        The place of the first sample, 0 … stride − 1.

    Returns
    -------
    array (..., H · stride, W · stride)

    Examples
    --------
    >>> upsample_zeros(np.array([[1, 2]]), stride=(1, 2))
    array([[1, 0, 2, 0]])
    """
    xp = _check_array(x)
    (s_y, s_x), (p_y, p_x) = _stride_and_phase(stride, phase)
    shape = (*x.shape[:-2], x.shape[-2] * s_y, x.shape[-1] * s_x)
    y = xp.zeros(shape, dtype=x.dtype, device=device(x))
    y[..., p_y::s_y, p_x::s_x] = x
    return y


def ideal_lowpass(x: Array, stride: PerAxis) -> Array:
    """The part of a signal strictly below the Nyquist frequency of a stride: ``|f_y|`` and ``|f_x|`` < 1 / (2·stride).

    Parameters
    ----------
    x : array (..., H, W)
        Signal, real or complex, of floating point.
    stride : int or (int, int)
        The stride that it is limited for; at stride 1 only the Nyquist frequency itself goes.

    Returns
    -------
    array (..., H, W)
        Like ``x``.

    Examples
    --------
    >>> ideal_lowpass(np.array([[1.0, -1.0, 1.0, -1.0]]) + 3, stride=(1, 2))
    array([[3., 3., 3., 3.]])
    """
    xp = check_signal(x)
    for axis, step in zip((-2, -1), _pair(stride, "stride"), strict=True):
        size = x.shape[axis]
        keep = np.fft.ifftshift(abs(axis_frequencies(size)) < 1 / (2 * step))
        x = _filter(xp, x, axis, keep.astype(np.float64))
    _check_finite(xp, x)
    return x


@dataclass(frozen=True)
class Decomposition:
    """What subsampling makes of a signal: ``baseband + alias`` are its samples.

    Attributes
    ----------
    baseband : array (..., h, w)
        The samples of the part strictly below the new Nyquist frequency: what can be told from the samples.
    alias : array (..., h, w)
        The samples of the rest, which pass for something that they are not.
    alias_fraction : array (...)
        Energy of the signal at and above the new Nyquist frequency ÷ its energy, its mean taken off. It is that of
        the signal: one phase may show more of it than another.
    baseband_kept : array (...)
        Energy below the new Nyquist frequency ÷ that of the signal before an operator, the means taken off.
    """

    baseband: Array
    alias: Array
    alias_fraction: Array
    baseband_kept: Array


def decompose(x: Array, stride: PerAxis, phase: PerAxis = (0, 0), *, before: Array | None = None) -> Decomposition:
    """Split the samples of a signal into baseband and alias, exactly, at any size.

    Of white noise of N×N pixels, with K frequencies below the new Nyquist frequency along each axis, the expected
    ``alias_fraction`` is 1 − (K² − 1) / (N² − 1).

    Parameters
    ----------
    x : array (..., H, W)
        Signal, real or complex, of floating point.
    stride : int or (int, int)
        Distance between the samples kept, at least 1.
    phase : int or (int, int)
        The first sample, 0 … stride − 1.
    before : array (..., H, W), optional
        The signal before the operator that made ``x`` of it: the reference of ``baseband_kept``, which is 1 without.
        An operator that blurs everything away has no alias, so look at both.

    Returns
    -------
    Decomposition
        A constant signal has no alias and keeps its baseband: fractions 0 and 1.

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
    xp = check_signal(x)
    samples = subsample(x, stride, phase)
    baseband = subsample(ideal_lowpass(x, stride), stride, phase)
    inside, total = _energies(x, stride)
    nothing = xp.zeros_like(total)
    alias_fraction = xp.where(total > 0, 1 - inside / xp.where(total > 0, total, nothing + 1), nothing)
    if before is None:
        kept = nothing + 1
    else:
        if array_namespace(before) is not xp or tuple(before.shape) != tuple(x.shape) or before.dtype != x.dtype:
            raise ValueError(
                f"before is like x, {tuple(x.shape)} of {x.dtype}; got {tuple(before.shape)} of {before.dtype}"
            )
        original, _ = _energies(before, stride)
        kept = xp.where(original > 0, inside / xp.where(original > 0, original, nothing + 1), nothing + 1)
    return Decomposition(baseband, samples - baseband, alias_fraction, kept)


def shift(x: Array, by: tuple[float, float]) -> Array:
    """Move the content of a periodic signal by whole or fractional pixels; what is real stays real.

    Whole pixels roll. A fraction turns the phase of every frequency, e^(−2πi·f·d): the interpolation that is exact
    for band-limited signals. At an even size the Nyquist frequency ±1/2 has no side to turn to and is multiplied by
    cos(πd), so that shifts add up where the size is odd, where there is no energy at that frequency, or where one
    of them is whole.

    Parameters
    ----------
    x : array (..., H, W)
        Signal; floating point, real or complex, but for whole shifts, which take any dtype.
    by : (float, float)
        (dy, dx) in pixels, positive down and right.

    Returns
    -------
    array (..., H, W)
        Like ``x``.

    Examples
    --------
    >>> x = np.array([[4.0, 0.0, 0.0]])
    >>> shift(x, (0, 1))
    array([[0., 4., 0.]])
    >>> bool(np.allclose(shift(shift(x, (0, 0.5)), (0, 0.5)), shift(x, (0, 1))))
    True
    """
    xp = _check_array(x)
    if len(by) != 2 or not all(np.isfinite(distance) for distance in by):
        raise ValueError(f"a shift is (dy, dx) in pixels, finite; got {by!r}")
    for axis, distance in zip((-2, -1), by, strict=True):
        size = x.shape[axis]
        whole, part = divmod(float(distance), 1)
        if part:
            check_signal(x)
            frequency = np.fft.ifftshift(axis_frequencies(size))
            # Turned by the fraction alone; the roll below does the rest. Its sign at the Nyquist frequency is right:
            # cos(π(w + p)) = (−1)^w cos(πp) for whole w.
            turn = np.where(frequency == -0.5, np.cos(np.pi * part), np.exp(-2j * np.pi * frequency * part))
            x = _filter(xp, x, axis, turn)
            _check_finite(xp, x)
        if whole % size:
            x = xp.roll(x, int(whole) % size, axis=axis)
    return x


def equivariance_error(
    operator: Callable[[Array], Array],
    x: Array,
    shifts: Sequence[tuple[float, float]],
    stride: PerAxis | None = None,
    *,
    margin: int = 0,
) -> Array:
    r"""How far an operator is from moving its output with its input.

    .. math:: \frac{\lVert F(T_d x) - T_{d/s} F(x) \rVert^2}{\lVert F(T_d x) - \overline{F(T_d x)} \rVert^2}

    for an operator or network *F* that subsamples by *s* and shifts *T* of a periodic signal. 0 is exact; two
    unrelated outputs of equal energy have about 2.

    Parameters
    ----------
    operator : callable
        From (..., H, W) to (..., h, w), of the kind of ``x``.
    x : array (..., H, W)
        Signal of floating point.
    shifts : sequence of (float, float)
        (dy, dx) in pixels of the input.
    stride : int or (int, int), optional
        The operator's; by default the ratio of its sizes in and out, where it is whole.
    margin : int
        Cells of the output to leave out on every side. With paddings other than circular one cell is the least, and
        the number is still contaminated by the boundary.

    Returns
    -------
    array (len(shifts),)
        The error of each shift, over all axes of the output; the mean is that of the last two axes. NaN where the
        output is constant.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(16, 16))
    >>> equivariance_error(lambda x: subsample(x, 2), x, [(2, 4)])
    array([0.])
    """
    xp = check_signal(x)
    original = operator(x)
    steps = _ratio(x, original) if stride is None else _pair(stride, "stride")
    height, width = original.shape[-2:]
    if margin < 0 or 2 * margin >= min(height, width):
        raise ValueError(f"a margin of {margin} leaves nothing of {height}×{width} cells")
    inner = (..., slice(margin, height - margin), slice(margin, width - margin))
    errors = []
    for d_y, d_x in shifts:
        moved = operator(shift(x, (d_y, d_x)))[inner]
        expected = shift(original, (d_y / steps[0], d_x / steps[1]))[inner]
        energy = xp.sum((moved - xp.mean(moved, axis=(-2, -1), keepdims=True)) ** 2)
        errors.append(xp.sum((moved - expected) ** 2) / energy)
    return xp.stack(errors)


def shiftability(operator: Callable[[Array], Array], x: Array, stride: PerAxis | None = None) -> float:
    """Simoncelli's test: how well do the samples of an operator predict its samples in between?

    A representation is shiftable (Simoncelli et al. 1992) where its values for a shifted input follow, by one and
    the same interpolation, from its values for the input itself. Here the interpolation is the ideal one (`shift`
    by a fraction of an output pixel), and the test runs over all shifts within one stride.

    Parameters
    ----------
    operator : callable
        From (..., H, W) to (..., h, w), of the kind of ``x``.
    x : array (..., H, W)
        Signal of floating point.
    stride : int or (int, int), optional
        The operator's; by default the ratio of its sizes in and out, where it is whole.

    Returns
    -------
    float
        1 − the mean `equivariance_error` over the stride² shifts: 1 for a shiftable operator. Subsampled white
        noise has about −0.5 at stride 2: three of four shifts are predicted by unrelated samples.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(18, 18))
    >>> round(shiftability(lambda x: subsample(ideal_lowpass(x, 2), 2), x), 9)
    1.0
    """
    check_signal(x)
    steps = _ratio(x, operator(x)) if stride is None else _pair(stride, "stride")
    shifts = [(float(d_y), float(d_x)) for d_y in range(steps[0]) for d_x in range(steps[1])]
    errors = equivariance_error(operator, x, shifts, steps)
    return 1 - float(array_namespace(errors).mean(errors))


def _filter(xp: Any, x: Array, axis: int, gain: NDArray[Any]) -> Array:
    """Multiply the spectrum along one axis, zero frequency first."""
    size = x.shape[axis]
    real = not xp.isdtype(x.dtype, "complex floating")
    if real:
        gain = gain[: size // 2 + 1]  # the other half mirrors this one
    complex_dtype = xp.complex64 if real_dtype(xp, x) == xp.float32 else xp.complex128
    factor = xp.asarray(gain[:, None] if axis == -2 else gain, dtype=complex_dtype, device=device(x))
    if real:
        return xp.fft.irfft(xp.fft.rfft(x, axis=axis) * factor, n=size, axis=axis)
    return xp.fft.ifft(xp.fft.fft(x, axis=axis) * factor, axis=axis)


def _energies(x: Array, stride: PerAxis) -> tuple[Array, Array]:
    """Energy below the new Nyquist frequency, and in all; without the mean, and zero where it is rounding noise."""
    energy = power(x)
    xp = array_namespace(energy)
    height, width = x.shape[-2:]
    below = [
        abs(axis_frequencies(size)) < 1 / (2 * step)
        for size, step in zip((height, width), _pair(stride, "stride"), strict=True)
    ]
    inside = np.outer(*below)
    inside[height // 2, width // 2] = False  # zero frequency
    mean_energy = energy[..., height // 2, width // 2]
    outside = ~np.outer(*below)
    sums = [
        xp.sum(energy * xp.asarray(part, dtype=energy.dtype, device=device(x)), axis=(-2, -1))
        for part in (inside, outside)
    ]
    # Rounding of the transform leaves about eps · log₂(N) of the mean's magnitude in other frequencies.
    rounding = mean_energy * (float(xp.finfo(energy.dtype).eps) * (2 + np.log2(height * width))) ** 2
    real = sums[0] + sums[1] > rounding
    zero = xp.zeros_like(mean_energy)
    return xp.where(real, sums[0], zero), xp.where(real, sums[0] + sums[1], zero)


def _check_array(x: Array) -> Any:
    if not is_array_api_obj(x):
        raise TypeError(f"a NumPy array or a torch tensor is needed; got {type(x).__name__}")
    check_shape(x)
    return array_namespace(x)


def _check_finite(xp: Any, x: Array) -> None:
    # The transform spreads what is not finite over its whole row and column, so the first pixel does not do.
    if not bool(xp.isfinite(xp.sum(xp.abs(x)))):
        raise ValueError("the signal holds NaN or infinity, or overflows: mask or rescale it first")


def _check_divides(sizes: tuple[int, ...], steps: tuple[int, ...]) -> None:
    if any(size % step for size, step in zip(sizes, steps, strict=True)):
        raise ValueError(f"the stride must divide the size: {sizes} is no multiple of {steps}; crop or pad first")


def _pair(value: PerAxis, name: str, least: int = 1) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(pair) != 2 or not all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= least for v in pair
    ):
        raise ValueError(f"{name} is a whole number of at least {least}, or two of them; got {value!r}")
    return int(pair[0]), int(pair[1])


def _stride_and_phase(stride: PerAxis, phase: PerAxis) -> tuple[tuple[int, int], tuple[int, int]]:
    steps, starts = _pair(stride, "stride"), _pair(phase, "phase", least=0)
    if starts[0] >= steps[0] or starts[1] >= steps[1]:
        raise ValueError(f"a phase lies in 0 … stride − 1; got phase {phase} for stride {stride}")
    return steps, starts


def _ratio(x: Array, y: Array) -> tuple[int, int]:
    sizes_in, sizes_out = tuple(x.shape[-2:]), tuple(y.shape[-2:])
    if any(size % out for size, out in zip(sizes_in, sizes_out, strict=True)):
        raise ValueError(f"sizes {sizes_in} in and {sizes_out} out have no whole ratio: say the stride")
    return sizes_in[0] // sizes_out[0], sizes_in[1] // sizes_out[1]
