r"""Blur-pool and max-blur-pool (Zhang 2019), and the blur-upsampling that is their dual.

With the taps *h* (`aliasing.filters`) along every axis, and *s* the stride,

.. math:: y_i = \sum_k h_k x_{si + k - k_0}, \quad k_0 = \lfloor (n - 1) / 2 \rfloor

R. Zhang: Making Convolutional Networks Shift-Invariant Again. ICML 2019.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import Any, NamedTuple, cast

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample import unpadded
from aliasing.downsample.operator import Operator, short
from aliasing.downsample.plain import convolve, max_pool, subsample
from aliasing.downsample.recording import is_recorded, is_recorded_for_elsewhere
from aliasing.downsample.tensors import checked, convolution, full_precision, laid_out_like
from aliasing.errors import UsageError
from aliasing.filters import Taps, TapsLike, one_filter_per_axis, taps_per_axis

_LONGEST_DIRECT = 1024  # taps along one line

# Our names of the paddings -> torch's.
PADDINGS = {"reflect": "reflect", "replicate": "replicate", "circular": "circular", "zero": "constant"}


def blur_pool(
    x: Tensor, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect", *, dims: int = 2
) -> Tensor:
    """Low-pass, then subsample (Zhang 2019), along every axis.

    An odd number of taps has its middle on the sample that is kept. An even number, such as the 4 of ``"binomial4"``,
    has it half a sample behind, so the result lies half a sample of ``x`` further up and to the left, which is
    1 / (2·stride) of a sample of the result. The gain at each frequency does not depend on that.

    Parameters
    ----------
    x, stride, dims
        As for `aliasing.downsample.subsample`.
    taps : str, sequence of float, or one of these per axis
        The filter, as for `aliasing.filters.taps_per_axis`: a name is stretched to the stride, numbers are taken as
        they are, and an axis of stride 1 is not filtered.
    padding : {"reflect", "replicate", "circular", "zero"}
        The continuation beyond the border: ⌊(n − 1) / 2⌋ pixels before, ⌊n / 2⌋ after. Reflection does not repeat the
        border.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples per axis.

    Raises
    ------
    UsageError
        If the filter or padding is unknown, a stride is below 1, or the taps are longer than the padding allows.

    Examples
    --------
    >>> blur_pool(torch.arange(6.0)[None], taps="binomial3", dims=1)
    tensor([[0.5000, 2.0000, 4.0000]])
    >>> blur_pool(torch.arange(8.0)[None], taps="binomial4", dims=1)[:, 1:-1]  # of places 2 and 4, half a sample on
    tensor([[2.5000, 4.5000]])
    """
    return _apply(x, _blur(_hashable(stride), _hashable(taps), padding, dims), padding)


def low_pass(
    x: Tensor, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect", *, dims: int = 2
) -> Tensor:
    """The low-pass of `blur_pool` alone, at every sample.

    It takes the arguments of the `blur_pool` to come, which is ``subsample(low_pass(x, stride), stride)``.

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
    x, stride, taps, padding, dims
        As for `blur_pool`.
    kernel
        The window of the maximum. It and the sizes are those of `max_pool`.

    Examples
    --------
    >>> max_blur_pool(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), taps="binomial3", dims=1)
    tensor([[2.5000, 3.5000]])
    """
    window = per_axis(stride if kernel is None else kernel, dims, "kernel")
    return blur_pool(max_pool(x, 1, window, dims=dims), stride, taps, padding, dims=dims)


def blur_upsample(
    x: Tensor, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect", *, dims: int = 2
) -> Tensor:
    """Insert zeros, then low-pass: the dual of `blur_pool`, for decoders.

    Zeros between the samples repeat the spectrum (imaging), and the filter removes the repetitions; the share that it
    leaves is `aliasing.filters.imaging_fraction` for white noise, and ``decompose(y, stride).alias_fraction`` for a
    given signal. This is the transpose of the blur-pool times the stride along every axis, so a filter of even length
    undoes the half-pixel shift of the blur-pool.

    Parameters
    ----------
    x, padding, dims
        As for `blur_pool`.
    stride : int or one int per axis
        Samples out for each sample in, at least 1.
    taps
        As for `blur_pool`. If their phases have equal sums (binomial: at least 2 taps at stride 2; a box whose length
        the stride divides), a constant stays that constant.

    Returns
    -------
    Tensor
        L · stride samples per axis.

    Examples
    --------
    >>> blur_upsample(torch.tensor([[0.0, 4.0, 8.0]]), taps="binomial3", padding="replicate", dims=1)
    tensor([[0., 2., 4., 6., 8., 8.]])
    """
    checked(x, dims)
    steps = per_axis(stride, dims, "stride")
    filters = taps_per_axis(_hashable(taps), steps)
    # Sample i affects the outputs s i − k₀ … s i + n − 1 − k₀, so this many samples beyond the border reach inside.
    reach = [-(-(len(row) // 2) // step) for row, step in zip(filters, steps, strict=True)]
    _check_padding(x, [np.ones(2 * far + 1) for far in reach], padding, dims)
    batch = x if x.ndim == dims + 2 else x[None]
    with full_precision(x):
        y = F.pad(batch, [far for far in reversed(reach) for _ in range(2)], PADDINGS[padding])
        # Axis by axis: a filter of 80 taps along each of three axes would have half a million weights. The axes are
        # counted from 0: the older ONNX exporter writes a movedim to or from -1 as a permutation with a negative axis.
        last = batch.ndim - 1
        for axis, row, step in zip(range(2, batch.ndim), filters, steps, strict=True):
            kernel = torch.as_tensor(np.asarray(row) * step, dtype=x.dtype, device=x.device)[None, None]
            lines = y.movedim(axis, last)
            # Zeros after the last sample, so that there are ``step`` samples for each.
            longer = F.conv_transpose1d(
                lines.reshape(-1, 1, lines.shape[-1]), kernel, stride=step, output_padding=step - 1
            )
            y = longer.reshape(*lines.shape[:-1], -1).movedim(last, axis)
    for axis, row, step, far in zip(range(-dims, 0), filters, steps, reach, strict=True):
        y = y.narrow(axis, step * far + (len(row) - 1) // 2, step * x.shape[axis])
    return laid_out_like(y if x.ndim == dims + 2 else y[0], x)


class _WithTaps(Operator):
    """The common part of the modules in this file: a filter and a padding."""

    takes_taps = True
    paddings = tuple(PADDINGS)

    def __init__(self, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect") -> None:
        super().__init__(stride)
        taps_per_axis(taps, self.stride)  # refuses a wrong filter here, not in the first forward pass
        self.taps, self.padding = taps, known_padding(padding)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, taps={self.taps!r}, padding={self.padding!r}"


class BlurPool(_WithTaps):
    """Low-pass, then subsample (Zhang 2019): `blur_pool` with its settings, as a module.

    Examples
    --------
    >>> BlurPool2d(stride=2, taps="binomial4")
    BlurPool2d(stride=2, taps='binomial4', padding='reflect')
    >>> BlurPool2d()(torch.ones(1, 3, 7, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    title = "blur-pool"
    meaning = "low-pass filter, then subsample (blur-pool, Zhang 2019)"
    guarantees = frozenset(("linear", "constant kept"))

    @property
    def filters(self) -> bool:
        return max(map(len, taps_per_axis(self.taps, self.stride))) > 1

    def low_pass(self, x: Tensor) -> Tensor:
        return low_pass(x, self.stride, self.taps, self.padding, dims=self.dims)

    def upsample(self, x: Tensor) -> Tensor:
        return blur_upsample(x, self.stride, self.taps, self.padding, dims=self.dims)

    def forward(self, x: Tensor) -> Tensor:
        return blur_pool(x, self.stride, self.taps, self.padding, dims=self.dims)


class BlurPool1d(BlurPool):
    dims = 1


class BlurPool2d(BlurPool):
    dims = 2


class BlurPool3d(BlurPool):
    dims = 3


class MaxBlurPool(_WithTaps):
    """Max-pool at stride 1, then blur-pool (Zhang 2019): `max_blur_pool` with its settings, as a module.

    Examples
    --------
    >>> MaxBlurPool2d(stride=2)
    MaxBlurPool2d(stride=2, taps='binomial4', padding='reflect', kernel=2)
    """

    guarantees = frozenset(("constant kept",))

    def __init__(
        self, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect", kernel: PerAxis | None = None
    ) -> None:
        super().__init__(stride, taps, padding)
        self.kernel = self.stride if kernel is None else per_axis(kernel, self.dims, "kernel")

    def forward(self, x: Tensor) -> Tensor:
        return max_blur_pool(x, self.stride, self.taps, self.padding, kernel=self.kernel, dims=self.dims)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kernel={short(self.kernel)}"


class MaxBlurPool1d(MaxBlurPool):
    dims = 1


class MaxBlurPool2d(MaxBlurPool):
    dims = 2


class MaxBlurPool3d(MaxBlurPool):
    dims = 3


class BlurUpsample(_WithTaps):
    """Insert zeros, then low-pass, the dual of `BlurPool`: `blur_upsample` with its settings, as a module.

    Examples
    --------
    >>> BlurUpsample2d(2)
    BlurUpsample2d(stride=2, taps='binomial4', padding='reflect')
    """

    def forward(self, x: Tensor) -> Tensor:
        return blur_upsample(x, self.stride, self.taps, self.padding, dims=self.dims)


class BlurUpsample1d(BlurUpsample):
    dims = 1


class BlurUpsample2d(BlurUpsample):
    dims = 2


class BlurUpsample3d(BlurUpsample):
    dims = 3


class Blur(BlurPool):
    """The blur-pool that `aliasing.antialias` puts into a network, whose maps may be smaller than its taps reach.

    Such a map has nothing to reflect, so its border is repeated instead.
    """

    taps: tuple[tuple[float, ...], ...]

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> "Blur":
        rows = taps_per_axis(one_filter_per_axis(taps, len(stride)), stride)
        return cls(stride, tuple(tuple(row.tolist()) for row in rows), padding or "reflect")

    def low_pass(self, x: Tensor) -> Tensor:
        if self._needs_any_size():
            return self._at_any_size(x, (1,) * self.dims)
        if self.padding == "circular":
            return self._around(x)
        return low_pass(x, self.stride, self.taps, self._padding_for(x), dims=self.dims)

    def upsample(self, x: Tensor) -> Tensor:
        if self.padding == "circular":
            return Operator.upsample(self, x)
        return blur_upsample(x, self.stride, self.taps, self._padding_for(x), dims=self.dims)

    def forward(self, x: Tensor) -> Tensor:
        if self._needs_any_size():
            return self._at_any_size(x, self.stride)
        if self.padding == "circular" and self._goes_around(x):
            return laid_out_like(subsample(self._around(x), self.stride, dims=self.dims), x)
        return blur_pool(x, self.stride, self.taps, self._padding_for(x), dims=self.dims)

    def _goes_around(self, x: Tensor) -> bool:
        """Whether taps reach around a periodic map more than once, as a padding does not."""
        return any(len(row) > 2 * size for size, row in zip(x.shape[-self.dims :], self.taps, strict=True))

    def _around(self, x: Tensor) -> Tensor:
        """The low-pass of a periodic map: of as many of its periods as the taps reach over."""
        sizes = x.shape[-self.dims :]
        periods = [-(-len(row) // (2 * size)) for size, row in zip(sizes, self.taps, strict=True)]
        if max(periods) > 1:
            x = x.repeat(*(1,) * (x.ndim - self.dims), *periods)
        y = low_pass(x, self.stride, self.taps, self.padding, dims=self.dims)
        for axis, size in zip(range(-self.dims, 0), sizes, strict=True):
            y = y.narrow(axis, 0, size)
        return laid_out_like(y, x)

    def _needs_any_size(self) -> bool:
        """Whether a program is recorded that may run at other sizes, with the choice of a padding frozen."""
        return self.padding == "reflect" and is_recorded_for_elsewhere() and self.filters

    def _at_any_size(self, x: Tensor, stride: tuple[int, ...]) -> Tensor:
        """The blur by its definition, with a padding that the program chooses when it runs."""
        axes = range(-self.dims, 0)
        pixels = [torch.arange(x.shape[axis], device=x.device) for axis in axes]
        # Like `_padding_for`, with tensors.
        reaches = reduce(or_, (inside[-1:] < len(row) // 2 for inside, row in zip(pixels, self.taps, strict=True)))
        for axis, inside, row in zip(axes, pixels, self.taps, strict=True):
            before, after = (torch.arange(n, device=x.device) for n in ((len(row) - 1) // 2, len(row) // 2))
            last = inside[-1:]
            places = torch.cat([before - len(before), inside, last + 1 + after])
            reflected = (last - (last - places.abs()).abs()).clamp(min=0)
            repeated = places.clamp(min=0).minimum(last)
            x = x.index_select(axis, torch.where(reaches, repeated, reflected))
        kernel = torch.as_tensor(_outer([np.array(row) for row in self.taps]))
        return convolve(x, kernel, stride, dims=self.dims)

    def _padding_for(self, x: Tensor) -> str:
        """The padding of a map; one with fewer pixels than the taps reach repeats its border instead of reflecting."""
        reaches = any(size <= len(row) // 2 for size, row in zip(x.shape[-self.dims :], self.taps, strict=True))
        return "replicate" if self.padding == "reflect" and reaches else self.padding


class _Blur(NamedTuple):
    """The parts of a blur-pool that do not depend on the input, cached because they cost as much as a small pooling."""

    steps: tuple[int, ...]
    filters: tuple[Taps, ...]
    kernel: NDArray[np.float64]
    single: NDArray[np.float32]  # the same: to convert it takes a tenth of the time of a small pooling
    margin: tuple[int, ...]  # zeros around the image, for that kernel
    beyond: list[int]  # the samples before and after that any other padding makes, the last axis first
    longest: int  # filter


@lru_cache(maxsize=64, typed=True)
def _blur(stride: PerAxis, taps: TapsLike, padding: str, dims: int) -> _Blur:
    known_padding(padding)
    steps = per_axis(stride, dims, "stride")
    filters = tuple(taps_per_axis(taps, steps))
    # A zero in front makes an even number of taps odd, so that the padding before and after is equal.
    odd = [row if len(row) % 2 or padding != "zero" else np.concatenate(([0.0], row)) for row in filters]
    margin = tuple(len(row) // 2 if padding == "zero" else 0 for row in odd)
    beyond = [side for row in reversed(filters) for side in ((len(row) - 1) // 2, len(row) // 2)]
    kernel = _outer(odd)
    return _Blur(steps, filters, kernel, kernel.astype(np.float32), margin, beyond, max(map(len, filters)))


def _hashable(value: Any) -> Any:
    """Lists, arrays and tensors as tuples."""
    if isinstance(value, str | int):  # first, because asking for a tensor takes ten times as long
        return value
    if isinstance(value, np.ndarray | Tensor):
        value = value.tolist()
    return tuple(map(_hashable, value)) if isinstance(value, Sequence) else value


def known_padding(padding: str) -> str:
    """The padding, if it is one of `PADDINGS`; otherwise UsageError."""
    if padding not in PADDINGS:
        raise UsageError(f"padding is one of {', '.join(PADDINGS)}; got {padding!r}")
    return padding


def _check_padding(x: Tensor, filters: Sequence[Taps], padding: str, dims: int) -> None:
    if known_padding(padding) in ("zero", "replicate") or torch.compiler.is_dynamo_compiling():
        return  # any length is allowed, and torch checks sizes that differ from run to run
    for size, row in zip(x.shape[-dims:], filters, strict=True):
        if type(size) is not int:
            continue  # a symbolic size, in a program that is exported or traced
        longest = 2 * size - 1 if padding == "reflect" else 2 * size + 1
        if len(row) > longest:
            fewer = f"; a signal of fewer axes than {dims} needs dims" if size == 1 and dims > 1 else ""
            raise UsageError(
                f"{padding} padding of {size} pixels allows at most {longest} taps; got {len(row)}: "
                f"use fewer, or padding='replicate'{fewer}"
            )


def _apply(x: Tensor, blur: _Blur, padding: str) -> Tensor:
    dims = len(blur.steps)
    channels = checked(x, dims)
    if is_recorded() or blur.longest > min(x.shape[-dims:]):  # any padding of a longer signal is allowed
        _check_padding(x, blur.filters, padding, dims)
    if blur.kernel.size == 1:
        return subsample(x, blur.steps, dims=dims)  # a single tap is one: the samples themselves, to the bit
    batch = x if x.ndim == dims + 2 else x[None]
    with full_precision(x):
        y = _filter_and_subsample(batch, channels, blur, padding)
    return y if x.ndim == dims + 2 else y[0]


def _filter_and_subsample(x: Tensor, channels: int, blur: _Blur, padding: str) -> Tensor:
    dims = len(blur.steps)
    eager = x.is_cpu and not is_recorded()
    if padding != "zero":
        if eager and unpadded.may_pay(x, blur.kernel.size):
            # The code below is the definition, for recorded programs and for devices where a padded copy is cheap. In
            # eager mode on a CPU the copy costs as much as the blur.
            axes = [
                unpadded.Axis(tuple(row.tolist()), step, padding, size)
                for row, step, size in zip(blur.filters, blur.steps, x.shape[2:], strict=True)
            ]
            if unpadded.pays(x, axes[0]):
                return (unpadded.blur_line, unpadded.blur, unpadded.blur_volume)[dims - 1](x, *axes)
        x = F.pad(x, blur.beyond, PADDINGS[padding])
    if dims == 1 and len(blur.kernel) > _LONGEST_DIRECT and not is_recorded():
        return _by_spectra(F.pad(x, 2 * blur.margin), blur)
    if eager and x.dtype == torch.float32:
        kernel = torch.from_numpy(blur.single)
    else:
        kernel = torch.as_tensor(blur.kernel, dtype=x.dtype, device=x.device)
    weight = kernel.expand(channels, 1, *kernel.shape)
    return cast(Tensor, convolution(dims)(x, weight, stride=blur.steps, padding=blur.margin, groups=channels))


def _by_spectra(x: Tensor, blur: _Blur) -> Tensor:
    """A long filter along one line by its Fourier transform: torch would copy the line once for each tap."""
    row = torch.as_tensor(blur.kernel, dtype=torch.float64, device=x.device).flip(0)
    size = scipy.fft.next_fast_len(x.shape[-1] + len(row) - 1, real=True)
    whole = torch.fft.irfft(torch.fft.rfft(x.double(), size) * torch.fft.rfft(row, size), size)
    return cast(Tensor, whole[..., len(row) - 1 : x.shape[-1] : blur.steps[0]].to(x.dtype))


def _outer(filters: Sequence[Taps]) -> NDArray[np.float64]:
    kernel = np.ones(())
    for row in filters:
        kernel = kernel[..., None] * row
    return kernel
