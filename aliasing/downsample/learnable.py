r"""The learnable polyphase pool, LPS: the polyphase component that a small network prefers (Rojas-Gomez et al. 2022).

.. math:: y_i = x_{si + p}, \qquad p = \arg\max_q \; \overline{w_2 * \max(0, w_1 * x_q + b)}

with the polyphase components :math:`x_q`, two circular convolutions that all of them share, and the mean over space and
channels. In training *y* is the sum of the components weighted by a Gumbel-softmax sample of these logits.

R. A. Rojas-Gomez, T.-Y. Lim, A. G. Schwing, M. N. Do, R. A. Yeh: Learnable Polyphase Sampling for Shift Invariant and
Equivariant Convolutional Networks. NeurIPS 2022.
"""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aliasing.axes import PerAxis, per_axis, whole
from aliasing.downsample.polyphase import Polyphase, polyphase_components
from aliasing.downsample.tensors import convolution

_KERNEL = 3


class LearnablePolyphasePool(Polyphase):
    """The phase that a small network prefers, LPS (Rojas-Gomez et al. 2022), as a module.

    It begins as the phase with the largest sum of absolute values, which draws no random numbers: two of the hidden
    maps are the positive and the negative part, and the others do not count until they have learned.

    Parameters
    ----------
    stride : int or one int per axis
        As for `aliasing.downsample.polyphase_pool`.
    channels : int, optional
        The channels of the input, which the first convolution then mixes, as published. By default it looks at every
        channel alike, and any number of them will do.
    hidden : int
        The maps between the two convolutions, at least 2 for each channel that is mixed.
    temperature : float
        That of the Gumbel-softmax; a smaller one comes closer to a choice.

    Examples
    --------
    >>> LearnablePolyphasePool2d(2).eval()(torch.tensor([[[[0.0, 3.0], [1.0, 2.0]]]]))
    tensor([[[[3.]]]])
    """

    meaning = "keep the phase of the samples that a small network prefers (LPS, Rojas-Gomez et al. 2022)"

    title = "LPS"
    placements = ("after",)  # in training it mixes its phases

    def __init__(
        self, stride: PerAxis = 2, channels: int | None = None, hidden: int | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__(stride)
        mixed = 1 if channels is None else whole(channels, "channels")
        between = max(8, 2 * mixed) if hidden is None else whole(hidden, "hidden", least=2 * mixed)
        self.channels, self.temperature = channels, float(temperature)
        random = torch.Generator().manual_seed(0)  # a network that is converted twice is the same network
        first = torch.randn(between, mixed, *(_KERNEL,) * self.dims, generator=random) / _KERNEL**self.dims
        second = torch.zeros(mixed, between, *(_KERNEL,) * self.dims)
        middle = (_KERNEL // 2,) * self.dims
        first[: 2 * mixed] = 0
        for channel, sign in product(range(mixed), (1, -1)):
            row = 2 * channel + (sign < 0)
            first[(row, channel, *middle)] = sign
            second[(channel, row, *middle)] = 1
        self.first, self.bias, self.second = (nn.Parameter(one) for one in (first, torch.zeros(between), second))

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> "LearnablePolyphasePool":
        return cls(stride)

    def logits(self, x: Tensor) -> Tensor:
        """The logit of every phase (N, phases), the last axis fastest."""
        batch = x if x.ndim == self.dims + 2 else x[None]
        components = polyphase_components(batch, per_axis(self.stride, self.dims, "stride"), self.dims)
        images, phases, channels = components.shape[:3]
        maps = components.reshape(-1, channels if self.channels else 1, *components.shape[3:])
        hidden = F.relu(self._circular(maps, self.first, self.bias))
        # Of a circular convolution only the mean is wanted: the sum of its taps times the mean of its input.
        preferred = hidden.flatten(2).mean(2) @ self.second.flatten(2).sum(2).T
        return preferred.reshape(images, phases, -1).mean(2)

    def choose(self, x: Tensor) -> Tensor:
        logits = self.logits(x)
        if self.training:
            return F.gumbel_softmax(logits, self.temperature)
        phase = logits.argmax(1)
        return phase if x.ndim == self.dims + 2 else phase[0]

    def follow(self, leader: Polyphase) -> None:
        super().follow(leader)
        del self.first, self.bias, self.second  # it does not choose, so it has nothing to learn

    def _circular(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        for axis in range(-self.dims, 0):  # F.pad refuses a circular padding of a map with one sample
            x = torch.cat([x.narrow(axis, x.shape[axis] - 1, 1), x, x.narrow(axis, 0, 1)], axis)
        found: Tensor = convolution(self.dims)(x, weight, bias)
        return found


class LearnablePolyphasePool1d(LearnablePolyphasePool):
    dims = 1


class LearnablePolyphasePool2d(LearnablePolyphasePool):
    dims = 2


class LearnablePolyphasePool3d(LearnablePolyphasePool):
    dims = 3
