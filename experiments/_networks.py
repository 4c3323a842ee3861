"""A small residual network for CIFAR-10 that trains in minutes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

# Takes the number of channels; gives the non-linearity.
Activation = Callable[[int], nn.Module]


def relu(channels: int) -> nn.Module:
    return nn.ReLU()


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int, conv: Any, activation: Activation) -> None:
        super().__init__()
        self.conv1 = conv(channels_in, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.activation1 = activation(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.activation2 = activation(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.shortcut.extend((projection, nn.BatchNorm2d(channels)))

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation1(self.bn1(self.conv1(x)))
        activated: Tensor = self.activation2(self.bn2(self.conv2(out)) + self.shortcut(x))
        return activated


def resnet8(activation: Activation = relu, padding: str = "zeros") -> nn.Sequential:
    """Three residual blocks of 16, 32 and 64 channels, the second and third with stride 2 (He et al. 2016, n = 1).

    ``padding`` is the ``padding_mode`` of its convolutions.
    """
    conv = partial(nn.Conv2d, padding=1, bias=False, padding_mode=padding)
    return nn.Sequential(
        *(conv(3, 16, 3), nn.BatchNorm2d(16), activation(16)),
        *(
            _Block(before, after, step, conv, activation)
            for before, after, step in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )
