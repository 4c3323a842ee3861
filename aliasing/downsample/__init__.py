r"""The operators that make a signal smaller, as functions of torch tensors.

With :math:`x_0` the signal low-passed by the taps *h* (`aliasing.filters`), and *s* the stride,

.. math:: \text{subsample: } y_i = x_{si}, \qquad
          \text{blur-pool: } y_i = \sum_k h_k x_{si + k - k_0}, \quad k_0 = \lfloor (n - 1) / 2 \rfloor

(Zhang 2019); the Fourier pool takes the ideal low-pass (Grabinski et al. 2022), and the polyphase pool the phase
that holds the most energy (Chaman & Dokmanić 2021). Each takes N×C×H×W or C×H×W, or with ``dims`` as many spatial
axes as one says, keeps dtype, device and memory format, and can be differentiated, compiled, traced and exported. Sizes
are those of the plain operator: size L becomes ⌈L / s⌉, and for pooling windows ⌊L / s⌋.

Filters act on the axes that are subsampled: an axis of stride 1 is not filtered.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aliasing.axes import PerAxis, channels_last, per_axis
from aliasing.downsample import unpadded
from aliasing.downsample.recording import constant, is_recorded, is_recorded_for_elsewhere, is_traced
from aliasing.downsample.sliding import dense_maximum
from aliasing.errors import UsageError
from aliasing.filters import Taps, TapsLike, taps_per_axis

# Our names of the paddings -> torch's.
PADDINGS = {"reflect": "reflect", "replicate": "replicate", "circular": "circular", "zero": "constant"}


def subsample(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """Keep every ``stride``-th sample: all that lies above the new Nyquist frequency folds.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        A view with ⌈L / stride⌉ samples an axis.

    Examples
    --------
    >>> subsample(torch.arange(5.0)[None], dims=1)
    tensor([[0., 2., 4.]])
    """
    _check(x, dims)
    for axis, step in zip(range(-dims, 0), per_axis(stride, dims, "stride"), strict=True):
        x = _every(x, axis, step)
    return x


def max_pool(x: Tensor, stride: PerAxis = 2, kernel: PerAxis | None = None, *, dims: int = 2) -> Tensor:
    """The largest value of each window.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between windows.
    kernel : int or one int an axis, optional
        Size of a window; by default the stride.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌊(L − kernel) / stride⌋ + 1 samples an axis.

    Examples
    --------
    >>> max_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), dims=1)
    tensor([[3., 5.]])
    """
    _check(x, dims)
    steps = per_axis(stride, dims, "stride")
    window = steps if kernel is None else per_axis(kernel, dims, "kernel")
    if dims == 2 and max(steps) == 1:
        return dense_maximum(x, (window[0], window[1]))
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    return pool(x, window, steps)


def average_pool(x: Tensor, stride: PerAxis = 2, kernel: PerAxis | None = None, *, dims: int = 2) -> Tensor:
    """The mean of each window: a box filter, then subsampling.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between windows.
    kernel : int or one int an axis, optional
        Size of a window; by default the stride.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌊(L − kernel) / stride⌋ + 1 samples an axis.

    Examples
    --------
    >>> average_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), dims=1)
    tensor([[2.0000, 3.5000]])
    """
    _check(x, dims)
    steps = per_axis(stride, dims, "stride")
    window = steps if kernel is None else per_axis(kernel, dims, "kernel")
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return cast(Tensor, pool(x, window, steps))


def convolve(x: Tensor, weight: Tensor, stride: PerAxis = 1, *, dims: int = 2) -> Tensor:
    """Strided convolution with given weights and no padding (a correlation, as everywhere in networks).

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    weight : Tensor
        One kernel for every channel, with ``dims`` axes; or (channels out, channels in, ...), with ``dims`` + 2.
    stride : int or one int an axis
        Distance between the samples kept.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌊(L − kernel) / stride⌋ + 1 samples an axis.

    Examples
    --------
    >>> convolve(torch.arange(5.0)[None], torch.ones(3) / 3, stride=2, dims=1)
    tensor([[1., 3.]])
    """
    channels = _check(x, dims)
    steps = per_axis(stride, dims, "stride")
    if weight.ndim == dims:
        weight, groups = weight.expand(channels, 1, *weight.shape), channels
    elif weight.ndim == dims + 2:
        groups = 1
    else:
        raise UsageError(f"weight has {dims} axes (one kernel) or {dims + 2}; got shape {tuple(weight.shape)}")
    return cast(Tensor, _convolution(dims)(x, weight.to(x), stride=steps, groups=groups))


def area_resize(x: Tensor, size: PerAxis, *, dims: int = 2) -> Tensor:
    """Each output pixel is the mean of the input pixels under it.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    size : int or one int an axis
        Output size in pixels.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        Of the size asked for.

    Examples
    --------
    >>> area_resize(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), 2, dims=1)
    tensor([[2.0000, 3.5000]])
    """
    _check(x, dims)
    pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
    return cast(Tensor, pool(x, per_axis(size, dims, "size")))


def linear_resize(x: Tensor, size: PerAxis, *, antialias: bool = False, dims: int = 2) -> Tensor:
    """Linear interpolation between the nearest pixels (bilinear in two dimensions), pixel centres at ½, 1½, …

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    size : int or one int an axis
        Output size in pixels.
    antialias : bool
        Widen the triangle with the scale, so that every input pixel counts. Two dimensions only.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        Of the size asked for.

    Examples
    --------
    >>> linear_resize(torch.arange(8.0)[None], 2, dims=1)
    tensor([[1.5000, 5.5000]])
    """
    _check(x, dims)
    mode = ("linear", "bilinear", "trilinear")[dims - 1]
    batch = x if x.ndim == dims + 2 else x[None]
    y = F.interpolate(batch, per_axis(size, dims, "size"), mode=mode, antialias=antialias)
    return y if x.ndim == dims + 2 else y[0]


def blur_pool(
    x: Tensor,
    stride: PerAxis = 2,
    taps: TapsLike = "binomial4",
    padding: str = "reflect",
    *,
    dims: int = 2,
) -> Tensor:
    """Low-pass, then subsample (Zhang 2019): y_i = Σ_k h_k x_{si + k − k₀}, along every axis.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    taps : str, sequence of float, or one of these an axis
        The filter, as `aliasing.filters.taps_per_axis` takes it: a name is stretched to the stride, numbers are
        taken as they are, and an axis of stride 1 is not filtered.
    padding : {"reflect", "replicate", "circular", "zero"}
        What lies beyond the border: ⌊(n − 1) / 2⌋ pixels before, ⌊n / 2⌋ after. Reflection does not repeat the
        border.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples an axis.

    Raises
    ------
    UsageError
        If the filter or padding is unknown, a stride is below 1, or the taps are longer than the padding allows.

    Examples
    --------
    >>> blur_pool(torch.arange(6.0)[None], taps="binomial3", dims=1)
    tensor([[0.5000, 2.0000, 4.0000]])
    """
    return _apply(x, _blur(_hashable(stride), _hashable(taps), padding, dims), padding)


def low_pass(
    x: Tensor,
    stride: PerAxis = 2,
    taps: TapsLike = "binomial4",
    padding: str = "reflect",
    *,
    dims: int = 2,
) -> Tensor:
    """The low-pass of `blur_pool` alone, at every sample.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int an axis
        Of the subsampling that is to come: ``subsample(low_pass(x, stride), stride)`` is ``blur_pool(x, stride)``.
    taps, padding
        As for `blur_pool`.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        Of the size and dtype of ``x``.

    Examples
    --------
    >>> low_pass(torch.arange(6.0)[None], taps="binomial3", dims=1)
    tensor([[0.5000, 1.0000, 2.0000, 3.0000, 4.0000, 4.5000]])
    """
    blur = _blur(_hashable(stride), _hashable(taps), padding, dims)
    return _apply(x, blur._replace(steps=(1,) * dims), padding)


def max_blur_pool(
    x: Tensor,
    stride: PerAxis = 2,
    taps: TapsLike = "binomial4",
    padding: str = "reflect",
    *,
    kernel: PerAxis | None = None,
    dims: int = 2,
) -> Tensor:
    """Max-pool at stride 1, then blur-pool: Zhang's replacement (2019) of a strided max-pool.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    taps, padding
        As for `blur_pool`.
    kernel : int or one int an axis, optional
        Size of the window of the maximum; by default the stride.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        As many samples as `max_pool` gives, ⌊(L − kernel) / stride⌋ + 1 an axis.

    Examples
    --------
    >>> max_blur_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), taps="binomial3", dims=1)
    tensor([[2.5000, 3.5000]])
    """
    window = per_axis(stride if kernel is None else kernel, dims, "kernel")
    return blur_pool(max_pool(x, 1, window, dims=dims), stride, taps, padding, dims=dims)


def fourier_pool(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """Ideal low-pass, then subsample: FrequencyLowCut pooling, FLC (Grabinski et al. 2022).

    Bins at and above the new Nyquist frequency 1/(2·stride) are zero, strictly; the signal is taken to be periodic.
    What remains is a band-limited signal, so that a constant stays that constant, a cosine below the new Nyquist
    frequency keeps its frequency and phase, and the result moves with its input, at any size. An axis of stride 1 is
    not filtered. Computed in float32 at least, under autocast too.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples an axis, of the dtype of ``x``.

    Examples
    --------
    >>> wave = torch.cos(2 * torch.pi * torch.arange(14) / 14)
    >>> torch.allclose(fourier_pool(wave[None], dims=1), wave[None, ::2], atol=1e-6)
    True
    """
    return _ideal(x, per_axis(stride, dims, "stride"), subsampled=True)


def fourier_low_pass(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """The ideal low-pass of `fourier_pool` alone: bins at and above the Nyquist frequency 1/(2·stride) are zero.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int an axis
        Of the subsampling that is to come.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        Of the size and dtype of ``x``; computed in float32 at least.

    Examples
    --------
    >>> fourier_low_pass(torch.tensor([[1.0, -1.0, 1.0, -1.0]]), dims=1).abs().max() < 1e-6
    tensor(True)
    """
    return _ideal(x, per_axis(stride, dims, "stride"), subsampled=False)


def polyphase_pool(x: Tensor, stride: PerAxis = 2, *, phase: Tensor | None = None, dims: int = 2) -> Tensor:
    """Adaptive polyphase sampling, APS: the phase with the largest norm (Chaman & Dokmanić 2021).

    A circular shift of ``x`` permutes its phases and rolls them, so the result holds the same values, rolled,
    wherever the largest norm is unique beyond rounding. A size that the stride does not divide is first continued
    circularly, so that all phases are as long.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    phase : Tensor, optional
        The phase to take, as `largest_phase` gives it: a shortcut must follow the branch that it is added to.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples an axis.

    Examples
    --------
    >>> polyphase_pool(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), dims=1)
    tensor([[3., 2.]])
    """
    components = _components(x, per_axis(stride, dims, "stride"), dims)
    if phase is None:
        phase = _largest(components)
    index = phase.reshape(-1, *(1,) * (dims + 2)).expand(-1, 1, *components.shape[2:])
    y = components.gather(1, index).squeeze(1)
    return _like(y, x) if x.ndim == dims + 2 else y[0]


def largest_phase(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """The phase that `polyphase_pool` takes: that with the largest Euclidean norm over channels and pixels.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes.
    stride : int or one int an axis
        Distance between the samples kept, at least 1.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        (N,) or (), int64: the phases of the axes as one number, the last axis fastest.

    Examples
    --------
    >>> largest_phase(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), dims=1)
    tensor(1)
    """
    phase = _largest(_components(x, per_axis(stride, dims, "stride"), dims))
    return phase if x.ndim == dims + 2 else phase[0]


def blur_upsample(
    x: Tensor,
    stride: PerAxis = 2,
    taps: TapsLike = "binomial4",
    padding: str = "reflect",
    *,
    dims: int = 2,
) -> Tensor:
    """Insert zeros, then low-pass: the dual of `blur_pool`, for decoders.

    Zeros between the samples repeat the spectrum (imaging) and the filter takes the repetitions away; what it
    leaves of white noise is `aliasing.filters.imaging_fraction`, and of a given signal ``decompose(y,
    stride).alias_fraction``. It is the transpose of the blur-pool times the stride along every axis, so that a
    filter of even length puts back the half pixel that the blur-pool moved.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int an axis
        Samples out for each sample in, at least 1.
    taps : str, sequence of float, or one of these an axis
        The filter, as for `blur_pool`. If each of its phases has the same sum (binomial: at least 2 taps at stride 2;
        a box whose length the stride divides), a constant stays that constant.
    padding : {"reflect", "replicate", "circular", "zero"}
        What lies beyond the border of ``x``.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        L · stride samples an axis.

    Examples
    --------
    >>> blur_upsample(torch.tensor([[0.0, 4.0, 8.0]]), taps="binomial3", padding="replicate", dims=1)
    tensor([[0., 2., 4., 6., 8., 8.]])
    """
    channels = _check(x, dims)
    steps = per_axis(stride, dims, "stride")
    filters = taps_per_axis(_hashable(taps), steps)
    # Sample i reaches the outputs s i − k₀ … s i + n − 1 − k₀, so this many samples beyond the border reach inside.
    reach = [-(-(len(row) // 2) // step) for row, step in zip(filters, steps, strict=True)]
    _check_padding(x, [np.ones(2 * far + 1) for far in reach], padding, dims)
    batch = x if x.ndim == dims + 2 else x[None]
    with _full_precision(x):
        padded = F.pad(batch, [far for far in reversed(reach) for _ in range(2)], PADDINGS[padding])
        kernel = torch.as_tensor(_outer(filters) * math.prod(steps), dtype=x.dtype, device=x.device)
        transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
        weight = kernel.expand(channels, 1, *kernel.shape)
        rest = [step - 1 for step in steps]  # zeros after the last sample
        y = transpose(padded, weight, stride=steps, output_padding=rest, groups=channels)
    for axis, row, step, far in zip(range(-dims, 0), filters, steps, reach, strict=True):
        y = y.narrow(axis, step * far + (len(row) - 1) // 2, step * x.shape[axis])
    return _like(y if x.ndim == dims + 2 else y[0], x)


def _check(x: Tensor, dims: int) -> int:
    """Raise unless x is a tensor that an operator can take; return its number of channels."""
    if dims not in (1, 2, 3):
        raise UsageError(f"dims, the number of spatial axes, is 1, 2 or 3; got {dims!r}")
    if not isinstance(x, Tensor):
        raise TypeError(f"a torch tensor is needed; got {type(x).__name__} (torch.as_tensor makes one)")
    if not x.is_floating_point():
        raise TypeError(f"a floating-point tensor is needed; got {x.dtype} (x.float() makes one)")
    axes = ", ".join(("L", "HW", "DHW")[dims - 1])
    if x.ndim not in (dims + 1, dims + 2):
        raise UsageError(f"a tensor (N, C, {axes}) or (C, {axes}) is needed; got {tuple(x.shape)}")
    if is_traced():
        return constant(x.shape[-dims - 1])  # and the others may differ when it runs
    if 0 in x.shape:
        raise UsageError(f"a tensor (N, C, {axes}) with no empty axis is needed; got {tuple(x.shape)}")
    if dims == 2 and not is_recorded() and channels_last(x.shape):
        raise UsageError(
            f"{tuple(x.shape)} looks like a picture with its channels last: x.permute(2, 0, 1) puts them first; "
            f"if these are {x.shape[0]} channels of {x.shape[1]}×{x.shape[2]} pixels, x[None] says so"
        )
    return x.shape[-dims - 1]


class _Blur(NamedTuple):
    """All of a blur-pool that does not depend on what is pooled. Made once, as it takes as long as a small pooling."""

    steps: tuple[int, ...]
    filters: tuple[Taps, ...]
    kernel: NDArray[np.float64]
    margin: tuple[int, ...]  # zeros around the image, for that kernel


@lru_cache(maxsize=64, typed=True)
def _blur(stride: PerAxis, taps: TapsLike, padding: str, dims: int) -> _Blur:
    steps = per_axis(stride, dims, "stride")
    filters = tuple(taps_per_axis(taps, steps))
    # A zero in front makes an even number of taps odd, so that as much is padded before as after.
    odd = [row if len(row) % 2 or padding != "zero" else np.concatenate(([0.0], row)) for row in filters]
    margin = tuple(len(row) // 2 if padding == "zero" else 0 for row in odd)
    return _Blur(steps, filters, _outer(odd), margin)


def _hashable(value: Any) -> Any:
    """Lists, arrays and tensors as tuples."""
    if isinstance(value, np.ndarray | Tensor):
        value = value.tolist()
    return tuple(map(_hashable, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _check_padding(x: Tensor, filters: Sequence[Taps], padding: str, dims: int) -> None:
    if padding not in PADDINGS:
        raise UsageError(f"padding is one of {', '.join(PADDINGS)}; got {padding!r}")
    if padding in ("zero", "replicate") or torch.compiler.is_dynamo_compiling():
        return  # any length will do; and sizes that differ from run to run are left to torch
    for size, row in zip(x.shape[-dims:], filters, strict=True):
        if type(size) is not int:
            continue  # a symbol, in a program that is exported or traced
        longest = 2 * size - 1 if padding == "reflect" else 2 * size + 1
        if len(row) > longest:
            raise UsageError(
                f"{len(row)} taps reach beyond what {padding} padding of {size} pixels allows, {longest} taps; "
                "take fewer, or padding='replicate'"
            )


def _apply(x: Tensor, blur: _Blur, padding: str) -> Tensor:
    dims = len(blur.steps)
    channels = _check(x, dims)
    _check_padding(x, blur.filters, padding, dims)
    if blur.kernel.size == 1:
        return subsample(x, blur.steps, dims=dims)  # one tap is one: the samples themselves, to the bit
    batch = x if x.ndim == dims + 2 else x[None]
    with _full_precision(x):
        y = _filter_and_subsample(batch, channels, blur, padding)
    return y if x.ndim == dims + 2 else y[0]


def _filter_and_subsample(x: Tensor, channels: int, blur: _Blur, padding: str) -> Tensor:
    dims = len(blur.steps)
    if padding != "zero":
        if dims == 2 and not is_recorded() and unpadded.pays(x):
            # What comes after is the definition, for recorded programs and for devices where a padded copy is cheap.
            # In eager mode on a CPU it costs as much as the blur.
            rows, columns = (
                unpadded.Axis(tuple(row.tolist()), step, padding, size)
                for row, step, size in zip(blur.filters, blur.steps, x.shape[2:], strict=True)
            )
            return unpadded.blur(x, rows, columns)
        beyond = [side for row in reversed(blur.filters) for side in ((len(row) - 1) // 2, len(row) // 2)]
        x = F.pad(x, beyond, PADDINGS[padding])
    kernel = torch.as_tensor(blur.kernel, dtype=x.dtype, device=x.device)
    weight = kernel.expand(channels, 1, *kernel.shape)
    return cast(Tensor, _convolution(dims)(x, weight, stride=blur.steps, padding=blur.margin, groups=channels))


def _full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Keep the dtype of x under autocast, as torch's own pooling does."""
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if autocast else nullcontext()


def _convolution(dims: int) -> Any:
    return (F.conv1d, F.conv2d, F.conv3d)[dims - 1]


def _outer(filters: Sequence[Taps]) -> NDArray[np.float64]:
    kernel = np.ones(())
    for row in filters:
        kernel = kernel[..., None] * row
    return kernel


def _ideal(x: Tensor, steps: Sequence[int], *, subsampled: bool) -> Tensor:
    """The ideal low-pass along every axis that is (to be) subsampled, and its samples."""
    dims = len(steps)
    _check(x, dims)
    with _full_precision(x):
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        for axis, step in zip(range(-dims, 0), steps, strict=True):
            if step == 1:
                continue
            if is_recorded_for_elsewhere():
                y = _low_passed_by_matrix(y, axis, step, step if subsampled else 1)
            else:
                y = _low_passed(y, axis, step)
                y = _every(y, axis, step) if subsampled else y
        return _like(y.to(x.dtype), x)


def _low_passed(x: Tensor, axis: int, step: int) -> Tensor:
    """Along one axis, what lies strictly below 1 / (2 step) cycles per pixel."""
    if step == 1:
        return x  # an axis that is not subsampled is not filtered
    x = x.movedim(axis, -1)
    size = x.shape[-1]
    below = 2 * step * torch.arange(size // 2 + 1, device=x.device) < size  # k / size < 1 / (2 step)
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x) * below, n=size)
    return y.movedim(-1, axis)


def _low_passed_by_matrix(x: Tensor, axis: int, step: int, every: int) -> Tensor:
    """The same, of every n-th of its samples, as a product with a matrix.

    ONNX and Core ML have a Fourier transform in name only. The waves below the limit, cosines and sines, are an
    orthonormal basis *B*, so that the low-pass is BᵀB, and its samples are those columns of *B*.
    """
    size = x.shape[axis]
    pixels = torch.arange(size, device=x.device)
    waves = torch.arange(size // 2 + 1, device=x.device)[:, None]
    # Whole periods are taken off while the numbers are whole, as k·n is past what a float32 angle can hold.
    turns = waves * pixels
    turns = turns - torch.div(turns, size, rounding_mode="floor") * size
    angle = (2 * torch.pi / size) * turns.to(x.dtype)
    energy = torch.where(waves == 0, 1.0, 2.0) * (2 * step * waves < size)  # k / size < 1 / (2 step)
    amplitude = energy.to(x.dtype).div(size).sqrt()
    basis = torch.cat([amplitude * angle.cos(), amplitude * angle.sin()])
    y = x.transpose(axis, -1) @ (basis.transpose(0, 1) @ basis[:, ::every])
    return y.transpose(axis, -1)


def _every(x: Tensor, axis: int, step: int) -> Tensor:
    index: list[Any] = [..., slice(None, None, step), *[slice(None)] * (-axis - 1)]
    return x[tuple(index)]


def _like(y: Tensor, x: Tensor) -> Tensor:
    """y in the memory format of x: channels_last stays channels_last."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return y.contiguous(memory_format=torch.channels_last)
    return y.contiguous()


def _components(x: Tensor, steps: Sequence[int], dims: int) -> Tensor:
    """Polyphase components, (N, phases, C, ...): all of ⌈L / s⌉ samples, the phase of the last axis fastest."""
    _check(x, dims)
    components = [x if x.ndim == dims + 2 else x[None]]
    for axis, step in zip(range(-dims, 0), steps, strict=True):
        size = x.shape[axis]
        # Rounded up without a negative number, which ONNX rounds the other way, and continued circularly without a
        # remainder by a size, which it has none for. (Splitting the axis instead ends the older exporter's process.)
        places = step * torch.arange((size + step - 1) // step, device=x.device)
        phases = [places + phase for phase in range(step)]
        phases = [place - torch.div(place, size, rounding_mode="floor") * size for place in phases]
        components = [one.index_select(axis, place) for one in components for place in phases]
    return torch.stack(components, 1)


def _largest(components: Tensor) -> Tensor:
    exact = components.to(torch.promote_types(components.dtype, torch.float32))
    return exact.square().flatten(2).sum(-1).argmax(1)
