r"""The plain downsampling operators: subsampling, maxima, averages, strided convolution, resizing.

.. math:: \text{subsample: } y_i = x_{si}

Nothing removes frequencies above the new Nyquist frequency here, except as far as a mean or a kernel does.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.sliding import dense_maximum
from aliasing.downsample.tensors import checked, convolution, every
from aliasing.errors import UsageError


def subsample(x: torch.Tensor, stride: PerAxis = 2, *, dims: int = 2) -> torch.Tensor:
    """Keep every ``stride``-th sample: everything above the new Nyquist frequency folds.

    Parameters
    ----------
    x : Tensor
        (N, C, ...) or (C, ...), with ``dims`` spatial axes; floating point.
    stride : int or one int per axis
        Distance between the samples kept, at least 1.
    dims : int
        Number of spatial axes: 1, 2 or 3.

    Returns
    -------
    Tensor
        A view with ⌈L / stride⌉ samples per axis.

    Examples
    --------
    >>> subsample(torch.arange(5.0)[None], dims=1)
    tensor([[0., 2., 4.]])
    """
    checked(x, dims)
    for axis, step in zip(range(-dims, 0), per_axis(stride, dims, "stride"), strict=True):
        x = every(x, axis, step)
    return x


def insert_zeros(x: torch.Tensor, stride: PerAxis = 2, *, dims: int = 2) -> torch.Tensor:
    """Zeros between the samples, the transpose of `subsample`: they repeat the spectrum at every multiple of 1/stride.

    The arguments are those of `subsample`; each axis L becomes L · stride.

    Examples
    --------
    >>> insert_zeros(torch.tensor([[1.0, 2.0]]), dims=1)
    tensor([[1., 0., 2., 0.]])
    """
    checked(x, dims)
    for axis, step in zip(range(-dims, 0), per_axis(stride, dims, "stride"), strict=True):
        place = x.ndim + axis
        x = torch.stack([x, *[torch.zeros_like(x)] * (step - 1)], place + 1).flatten(place, place + 1)
    return x


def max_pool(x: torch.Tensor, stride: PerAxis = 2, kernel: PerAxis | None = None, *, dims: int = 2) -> torch.Tensor:
    """The largest value of each window.

    Parameters
    ----------
    x, stride, dims
        As for `subsample`.
    kernel : int or one int per axis, optional
        Size of a window; by default the stride.

    Returns
    -------
    Tensor
        ⌊(L − kernel) / stride⌋ + 1 samples per axis.

    Examples
    --------
    >>> max_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), dims=1)
    tensor([[3., 5.]])
    """
    checked(x, dims)
    steps = per_axis(stride, dims, "stride")
    window = steps if kernel is None else per_axis(kernel, dims, "kernel")
    if max(steps) == 1:
        return dense_maximum(x, window)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    return pool(x, window, steps)


def average_pool(x: torch.Tensor, stride: PerAxis = 2, kernel: PerAxis | None = None, *, dims: int = 2) -> torch.Tensor:
    """The mean of each window of `max_pool`: a box filter, then subsampling.

    Examples
    --------
    >>> average_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), dims=1)
    tensor([[2.0000, 3.5000]])
    """
    checked(x, dims)
    steps = per_axis(stride, dims, "stride")
    window = steps if kernel is None else per_axis(kernel, dims, "kernel")
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return cast(torch.Tensor, pool(x, window, steps))


def convolve(x: torch.Tensor, weight: torch.Tensor, stride: PerAxis = 1, *, dims: int = 2) -> torch.Tensor:
    """Strided convolution with given weights and no padding (a correlation, as everywhere in networks).

    Parameters
    ----------
    x, stride, dims
        As for `subsample`; the result has the sizes of `max_pool`.
    weight : Tensor
        One kernel for every channel, with ``dims`` axes; or (channels out, channels in, ...), with ``dims`` + 2.

    Examples
    --------
    >>> convolve(torch.arange(5.0)[None], torch.ones(3) / 3, stride=2, dims=1)
    tensor([[1., 3.]])
    """
    channels = checked(x, dims)
    steps = per_axis(stride, dims, "stride")
    if weight.ndim == dims:
        weight, groups = weight.expand(channels, 1, *weight.shape), channels
    elif weight.ndim == dims + 2:
        groups = 1
    else:
        raise UsageError(f"weight has {dims} axes (one kernel) or {dims + 2}; got shape {tuple(weight.shape)}")
    return cast(torch.Tensor, convolution(dims)(x, weight.to(x), stride=steps, groups=groups))


def area_resize(x: torch.Tensor, size: PerAxis, *, dims: int = 2) -> torch.Tensor:
    """Resize to ``size`` pixels per axis, each the mean of the input pixels that it touches: adaptive average pooling.

    Where the size does not divide, a pixel touched in part counts as much as the others: from 5 to 2 the weights are
    ⅓ ⅓ ⅓, and not the 0.4 0.4 0.2 of the areas.

    Examples
    --------
    >>> area_resize(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), 2, dims=1)
    tensor([[2.0000, 3.5000]])
    """
    checked(x, dims)
    pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
    return cast(torch.Tensor, pool(x, per_axis(size, dims, "size")))


def linear_resize(x: torch.Tensor, size: PerAxis, *, antialias: bool = False, dims: int = 2) -> torch.Tensor:
    """Resize to ``size`` pixels per axis, interpolating linearly between the nearest, with pixel centres at ½, 1½, …

    ``antialias``, in two dimensions only, widens the triangle with the scale, so that every input pixel counts.

    Examples
    --------
    >>> linear_resize(torch.arange(8.0)[None], 2, dims=1)
    tensor([[1.5000, 5.5000]])
    """
    checked(x, dims)
    mode = ("linear", "bilinear", "trilinear")[dims - 1]
    batch = x if x.ndim == dims + 2 else x[None]
    y = F.interpolate(batch, per_axis(size, dims, "size"), mode=mode, antialias=antialias)
    return y if x.ndim == dims + 2 else y[0]
