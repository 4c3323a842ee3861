r"""The adaptive pool, DDAC: a low-pass that is predicted for every place and group of channels (Zou et al. 2020).

.. math:: y_i = \sum_{o} w_{g, o}(si) \, x_{si + o}, \qquad w_g(n) = \operatorname{softmax}_o (v_{g, o} * x + b_o)(n)

The softmax makes every filter non-negative with sum one.

X. Zou, F. Xiao, Z. Yu, Y. J. Lee: Delving Deeper into Anti-aliasing in ConvNets. BMVC 2020.
"""

from functools import reduce
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from aliasing.axes import PerAxis, whole
from aliasing.downsample.blur import known_padding
from aliasing.downsample.operator import Operator
from aliasing.downsample.tensors import convolution, laid_out_like
from aliasing.errors import UsageError
from aliasing.filters import binomial


class AdaptivePool(Operator):
    """A low-pass predicted for every place, then subsampling, DDAC (Zou et al. 2020).

    It begins as the blur-pool with binomial taps at every place, without random numbers: the kernels that predict are
    zero, and the bias holds the logarithms of the taps. (As published, batch normalisation stands between the
    convolution and the softmax.)

    Parameters
    ----------
    stride : int or one int per axis
        As for `aliasing.downsample.subsample`; an axis of stride 1 is not filtered.
    channels : int, optional
        The channels of the input, which the prediction then mixes, as published. By default it looks at the mean over
        channels, and any number of them will do.
    groups : int
        Groups of channels with a filter of their own, of which ``channels`` is a multiple.
    kernel : int
        Taps along each axis, odd.

    Raises
    ------
    UsageError
        If the kernel is even, or the groups do not divide the channels.

    Examples
    --------
    >>> AdaptivePool2d(2, channels=16, groups=8)(torch.ones(1, 16, 7, 8)).shape
    torch.Size([1, 16, 4, 4])
    """

    meaning = "low-pass predicted for every place, then subsample (DDAC, Zou et al. 2020)"

    title = "DDAC"
    guarantees = frozenset(("constant kept",))
    paddings = ("circular", "replicate")

    def __init__(
        self,
        stride: PerAxis = 2,
        channels: int | None = None,
        groups: int = 1,
        kernel: int = 3,
        padding: str = "replicate",
    ) -> None:
        super().__init__(stride)
        mixed = 1 if channels is None else whole(channels, "channels")
        if whole(kernel, "kernel") % 2 == 0 or mixed % whole(groups, "groups"):
            expected = "kernel is odd, and groups divide the channels"
            raise UsageError(f"{expected}; got {kernel}, and {groups} of {channels}")
        if known_padding(padding) not in self.paddings:
            raise UsageError(f"padding is one of {', '.join(self.paddings)}; got {padding!r}")
        self.channels, self.groups, self.padding = channels, groups, padding
        rows = [binomial(kernel) if step > 1 else np.ones(1) for step in self.stride]
        self.kernel = tuple(map(len, rows))
        taps = np.log(reduce(np.multiply.outer, rows)).ravel()
        self.weight = nn.Parameter(torch.zeros(groups * len(taps), mixed, *self.kernel))
        self.bias = nn.Parameter(torch.as_tensor(taps, dtype=self.weight.dtype).repeat(groups))

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: object, padding: str | None) -> "AdaptivePool":
        return cls(stride, padding="circular" if padding == "circular" else "replicate")

    def low_pass(self, x: Tensor) -> Tensor:
        batch = x if x.ndim == self.dims + 2 else x[None]
        images, channels = batch.shape[:2]
        sizes = batch.shape[2:]
        around = self._padded(batch)
        seen = around if self.channels else around.mean(1, keepdim=True)
        logits = convolution(self.dims)(seen, self.weight, self.bias)
        weights = logits.reshape(images, self.groups, -1, *sizes).softmax(2).to(x.dtype)
        grouped = around.reshape(images, self.groups, channels // self.groups, *around.shape[2:])
        y = torch.zeros_like(batch).reshape(images, self.groups, -1, *sizes)
        for tap, offsets in enumerate(product(*map(range, self.kernel))):
            part = grouped
            for axis, offset, size in zip(range(-self.dims, 0), offsets, sizes, strict=True):
                part = part.narrow(axis, offset, size)
            y = y + weights[:, :, tap, None] * part
        y = laid_out_like(y.reshape(batch.shape), batch)
        return y if x.ndim == self.dims + 2 else y[0]

    def _padded(self, x: Tensor) -> Tensor:
        """Every axis continued by half of the kernel, by indices, as torch's circular padding stops at the size."""
        for axis, taps in zip(range(-self.dims, 0), self.kernel, strict=True):
            reach, size = taps // 2, x.shape[axis]
            places = torch.arange(-reach, size + reach, device=x.device)
            places = places % size if self.padding == "circular" else places.clamp(0, size - 1)
            x = x.index_select(axis, places)
        return x

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, channels={self.channels}, groups={self.groups}, padding={self.padding!r}"


class AdaptivePool1d(AdaptivePool):
    dims = 1


class AdaptivePool2d(AdaptivePool):
    dims = 2


class AdaptivePool3d(AdaptivePool):
    dims = 3
