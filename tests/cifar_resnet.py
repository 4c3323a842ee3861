"""The CIFAR-10 residual networks of He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.

6n + 2 layers: a 3×3 convolution, then three stages of n blocks with 16, 32 and 64 channels; the second and third begin
with stride 2. Shortcut A, without parameters: keep every second pixel and fill the new channels with zeros.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from aliasing import Classifier
from aliasing.models.classifier import IMAGENET_MEAN, IMAGENET_STD

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + shortcut)


class CifarResNet(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = Block(channels_in, channels, stride)
        return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class Float64ResNet(CifarResNet):
    """What computes a network in another order (batch norms folded, a batch mixed otherwise) moves it by some 1e-14."""

    def __init__(self, blocks: int) -> None:
        super().__init__(blocks)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


def _classifier(layers: int, network: type[CifarResNet] = CifarResNet) -> Classifier:
    return Classifier(
        network((layers - 2) // 6),
        f"cifar_resnet{layers}",
        input_size=32,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bilinear",
        resize_size=32,
        crop_share=1.0,
        labels=LABELS,
    )


def resnet20_float64() -> Classifier:
    return _classifier(20, Float64ResNet)


def resnet20() -> Classifier:
    return _classifier(20)


def resnet32() -> Classifier:
    return _classifier(32)


def resnet44() -> Classifier:
    return _classifier(44)


def resnet56() -> Classifier:
    return _classifier(56)
