"""The downsampling operators of `aliasing.downsample`, as modules.

A layer here has no parameters and no buffers: it holds its settings as plain numbers. So it needs no channel count,
adds no key to a state_dict, and copies, pickles, exports and changes device and dtype like any stateless layer.
"""

from torch import Tensor, nn

from aliasing import downsample
from aliasing.axes import PerAxis, per_axis
from aliasing.downsample import PADDINGS
from aliasing.errors import UsageError
from aliasing.filters import TapsLike, taps_per_axis


class _Layer(nn.Module):
    """What the layers share: a stride, a number of spatial axes, and a line that says what they are."""

    dims = 2

    def __init__(self, stride: PerAxis = 2) -> None:
        super().__init__()
        self.stride = per_axis(stride, self.dims, "stride")

    def extra_repr(self) -> str:
        return f"stride={_short(self.stride)}"


class _TapsLayer(_Layer):
    def __init__(self, stride: PerAxis = 2, taps: TapsLike = "binomial4", padding: str = "reflect") -> None:
        super().__init__(stride)
        taps_per_axis(taps, self.stride)  # a wrong filter is told here, not in the first forward pass
        if padding not in PADDINGS:
            raise UsageError(f"padding is one of {', '.join(PADDINGS)}; got {padding!r}")
        self.taps, self.padding = taps, padding

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, taps={self.taps!r}, padding={self.padding!r}"


class Subsample2d(_Layer):
    """Keep every ``stride``-th sample.

    Parameters
    ----------
    stride : int or (int, int)
        Distance between the samples kept.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., ⌈H / stride⌉, ⌈W / stride⌉)

    Examples
    --------
    >>> Subsample2d(stride=(2, 1))
    Subsample2d(stride=(2, 1))
    """

    def forward(self, x: Tensor) -> Tensor:
        return downsample.subsample(x, self.stride, dims=self.dims)


class BlurPool2d(_TapsLayer):
    """Low-pass, then subsample (Zhang 2019); see `aliasing.downsample.blur_pool`.

    Parameters
    ----------
    stride : int or (int, int)
        Distance between the samples kept.
    taps : str, sequence of float, or two of these
        The filter: a name, which is stretched to the stride, or its taps, which are taken as they are. An axis of
        stride 1 is not filtered.
    padding : {"reflect", "replicate", "circular", "zero"}
        What lies beyond the border.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., ⌈H / stride⌉, ⌈W / stride⌉)

    Examples
    --------
    >>> import torch
    >>> layer = BlurPool2d(stride=2, taps="binomial4")
    >>> layer
    BlurPool2d(stride=2, taps='binomial4', padding='reflect')
    >>> layer(torch.ones(1, 3, 7, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        return downsample.blur_pool(x, self.stride, self.taps, self.padding, dims=self.dims)


class BlurPool1d(BlurPool2d):
    """`BlurPool2d` of signals: (N, C, L) or (C, L) → (..., ⌈L / stride⌉)."""

    dims = 1


class BlurPool3d(BlurPool2d):
    """`BlurPool2d` of volumes: (N, C, D, H, W) or (C, D, H, W), each axis L → ⌈L / stride⌉."""

    dims = 3


class MaxBlurPool2d(_TapsLayer):
    """Max-pool at stride 1, then blur-pool (Zhang 2019); see `aliasing.downsample.max_blur_pool`.

    Parameters
    ----------
    stride : int or (int, int)
        Distance between the samples kept.
    taps, padding
        As for `BlurPool2d`.
    kernel : int or (int, int), optional
        Size of the window of the maximum; by default the stride.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., ⌊(H − kernel) / stride⌋ + 1, ⌊(W − kernel) / stride⌋ + 1)

    Examples
    --------
    >>> MaxBlurPool2d(stride=2)
    MaxBlurPool2d(stride=2, taps='binomial4', padding='reflect', kernel=2)
    """

    def __init__(
        self,
        stride: PerAxis = 2,
        taps: TapsLike = "binomial4",
        padding: str = "reflect",
        kernel: PerAxis | None = None,
    ) -> None:
        super().__init__(stride, taps, padding)
        self.kernel = self.stride if kernel is None else per_axis(kernel, self.dims, "kernel")

    def forward(self, x: Tensor) -> Tensor:
        return downsample.max_blur_pool(x, self.stride, self.taps, self.padding, kernel=self.kernel, dims=self.dims)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kernel={_short(self.kernel)}"


class FourierPool2d(_Layer):
    """Ideal low-pass, then subsample: FLC (Grabinski et al. 2022); see `aliasing.downsample.fourier_pool`.

    Parameters
    ----------
    stride : int or (int, int)
        Distance between the samples kept.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., ⌈H / stride⌉, ⌈W / stride⌉)

    Examples
    --------
    >>> FourierPool2d(2)
    FourierPool2d(stride=2)
    """

    def forward(self, x: Tensor) -> Tensor:
        return downsample.fourier_pool(x, self.stride, dims=self.dims)


class PolyphasePool2d(_Layer):
    """The polyphase component with the largest norm: APS (Chaman & Dokmanić 2021).

    See `aliasing.downsample.polyphase_pool`.

    Parameters
    ----------
    stride : int or (int, int)
        Distance between the samples kept.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., ⌈H / stride⌉, ⌈W / stride⌉)

    Examples
    --------
    >>> PolyphasePool2d(2)
    PolyphasePool2d(stride=2)
    """

    def forward(self, x: Tensor, phase: Tensor | None = None) -> Tensor:
        return downsample.polyphase_pool(x, self.stride, phase=phase, dims=self.dims)


class BlurUpsample2d(_TapsLayer):
    """Insert zeros, then low-pass: the dual of `BlurPool2d`; see `aliasing.downsample.blur_upsample`.

    Parameters
    ----------
    stride : int or (int, int)
        Samples out for each sample in.
    taps, padding
        As for `BlurPool2d`.

    Shape
    -----
    (N, C, H, W) or (C, H, W) → (..., H · stride, W · stride)

    Examples
    --------
    >>> BlurUpsample2d(2)
    BlurUpsample2d(stride=2, taps='binomial4', padding='reflect')
    """

    def forward(self, x: Tensor) -> Tensor:
        return downsample.blur_upsample(x, self.stride, self.taps, self.padding, dims=self.dims)


def _short(values: tuple[int, ...]) -> int | tuple[int, ...]:
    return values[0] if len(set(values)) == 1 else values
