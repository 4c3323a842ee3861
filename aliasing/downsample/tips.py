r"""Translation-invariant polyphase sampling, TIPS: a mixture of the polyphase components (Saha & Gokhale 2025).

.. math:: y_i = \sum_q \tau_q x_{si + q}, \qquad
          \tau = \operatorname{softmax}_q \left( v \cdot \overline{\max(0, w * x)}^{\,(q)} \right)

for every channel. As published the mean :math:`\overline{\,\cdot\,}^{(q)}` is over the *q*-th part of an s × s division
of the map, so the weights say where in the picture something is, and not at which phase. `AnchoredTipsPool` takes the
mean over the *q*-th polyphase component. That alone would not do: a circular shift permutes the weights with the
components, but rolls some of the components by a sample and others not, so of their sum only the mean over space would
stay. Therefore the phases are counted from the one with the largest weight over all channels:

.. math:: y_i = \sum_q \tau_{p + q} x_{si + p + q}, \qquad p = \arg\max_q \sum_c \tau_{c, q}

S. Saha, T. Gokhale: Improving Shift Invariance in Convolutional Neural Networks with Translation Invariant Polyphase
Sampling. WACV 2025, arXiv 2404.07410.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aliasing.axes import PerAxis, whole
from aliasing.downsample.operator import Operator
from aliasing.downsample.polyphase import Polyphase, phases_of, polyphase_components, roll_each
from aliasing.downsample.tensors import convolution, laid_out_like

_KERNEL = 3


class _Mixture(Operator):
    """What both have: the convolution of every channel, and the number by which its means are weighted."""

    placements = ("after",)

    def _make(self, channels: int | None) -> None:
        self.channels = channels
        rows = 1 if channels is None else whole(channels, "channels")
        taps = torch.zeros(rows, 1, *(_KERNEL,) * self.dims)
        taps.flatten(1)[:, _KERNEL**self.dims // 2] = 1
        self.taps = nn.Parameter(taps)  # the map itself, until it has learned: no random numbers
        self.scale = nn.Parameter(torch.ones(rows))

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> "_Mixture":
        return cls(stride)

    @property
    def filters(self) -> bool:
        return False

    def _positive(self, x: Tensor, mode: str) -> Tensor:
        """max(0, w * x): every channel by itself."""
        around = x
        if mode == "circular":
            for axis in range(-self.dims, 0):
                around = torch.cat([around.narrow(axis, -1, 1), around, around.narrow(axis, 0, 1)], axis)
        channels = x.shape[1]
        weight = self.taps.to(x.dtype).expand(channels, *self.taps.shape[1:])
        reach = 0 if mode == "circular" else _KERNEL // 2
        return F.relu(convolution(self.dims)(around, weight, padding=reach, groups=channels))


class TipsPool(_Mixture):
    """A mixture of the phases, weighted by the parts of the map, TIPS as published (Saha & Gokhale 2025).

    Parameters
    ----------
    stride : int or one int per axis
        As for `aliasing.downsample.subsample`.
    channels : int, optional
        The channels of the input, each of which then has a convolution of its own, as published. By default all have
        the same, and any number of them will do.

    Examples
    --------
    >>> TipsPool2d(2)(torch.ones(1, 3, 7, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    meaning = "mixture of the phases, weighted by the parts of the map (TIPS, Saha & Gokhale 2025)"

    title = "TIPS"
    guarantees = frozenset(("constant kept",))
    claims: ClassVar[Mapping[str, str]] = {"circular integer": "100 % consistent"}

    def __init__(self, stride: PerAxis = 2, channels: int | None = None) -> None:
        super().__init__(stride)
        self._make(channels)

    def forward(self, x: Tensor) -> Tensor:
        batch = x if x.ndim == self.dims + 2 else x[None]
        components = polyphase_components(batch, self.stride, self.dims)
        pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[self.dims - 1]
        means = pool(self._positive(batch, "zero"), self.stride).flatten(2)  # (N, C, parts)
        weights = (self.scale.to(x.dtype)[:, None] * means).softmax(2).transpose(1, 2)
        y = (components * weights.reshape(*weights.shape, *(1,) * self.dims)).sum(1)
        return laid_out_like(y, x) if x.ndim == self.dims + 2 else y[0]


class TipsPool1d(TipsPool):
    dims = 1


class TipsPool2d(TipsPool):
    dims = 2


class TipsPool3d(TipsPool):
    dims = 3


class AnchoredTipsPool(_Mixture, Polyphase):
    """A mixture of the phases that moves with its input: TIPS with weights of the phases, counted from the largest.

    Branches that meet again must count from the same phase, as those of a polyphase pool must keep it.

    Parameters
    ----------
    stride, channels
        As for `TipsPool`.

    Examples
    --------
    >>> x = torch.rand(1, 3, 8, 8)
    >>> pool = AnchoredTipsPool2d(2)
    >>> torch.allclose(pool(x.roll(2, -1)), pool(x).roll(1, -1))
    True
    """

    meaning = "mixture of the phases, counted from the largest, that moves with its input (after TIPS)"

    title = "TIPS, anchored"
    claims: ClassVar[Mapping[str, str]] = {}

    def __init__(self, stride: PerAxis = 2, channels: int | None = None) -> None:
        super().__init__(stride)
        self._make(channels)

    def choose(self, x: Tensor) -> Tensor:
        batch = x if x.ndim == self.dims + 2 else x[None]
        return self._weights(batch).sum(2).argmax(1)

    def forward(self, x: Tensor, phase: Tensor | None = None) -> Tensor:
        batch = x if x.ndim == self.dims + 2 else x[None]
        if phase is None and self.leads:
            self.choice.phase = self.choose(batch)
        anchor = self.choice.phase if phase is None else phase
        assert anchor is not None
        first = phases_of(anchor.reshape(-1), self.stride)
        components = polyphase_components(roll_each(batch, first), self.stride, self.dims)
        behind = phases_of(torch.arange(components.shape[1], device=x.device), self.stride)
        order = torch.zeros_like(anchor.reshape(-1, 1))
        for start, number, step in zip(first, behind, self.stride, strict=True):
            order = order * step + (start[:, None] + number) % step
        weights = self._weights(batch)
        shares = weights.gather(1, order[:, :, None].expand_as(weights))
        found = (components * shares.reshape(*shares.shape, *(1,) * self.dims)).sum(1)
        return laid_out_like(found, x) if x.ndim == self.dims + 2 else found[0]

    def _weights(self, x: Tensor) -> Tensor:
        """(N, phases, C)"""
        means = polyphase_components(self._positive(x, "circular"), self.stride, self.dims).flatten(3).mean(3)
        return (self.scale.to(x.dtype) * means).softmax(1)


class AnchoredTipsPool1d(AnchoredTipsPool):
    dims = 1


class AnchoredTipsPool2d(AnchoredTipsPool):
    dims = 2


class AnchoredTipsPool3d(AnchoredTipsPool):
    dims = 3
