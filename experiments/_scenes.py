"""Two segmentation networks for CamVid's street scenes, ESPNet (Mehta et al. 2018) and ENet (Paszke et al. 2016).

Written from the papers, with the parameter names of the published weights.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from aliasing import Classifier
from aliasing.models.checkpoints import load_weights, read_checkpoint

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist", "void"),
)
VOID = CLASSES.index("void")
_DILATIONS = (1, 2, 4, 8, 16)
_WEIGHTED = dict[str, nn.Module]


def _normalised(channels: int, activated: bool = True) -> nn.Sequential:
    parts: _WEIGHTED = {"bn": nn.BatchNorm2d(channels, eps=1e-3)}
    return _named(parts | ({"act": nn.PReLU(channels)} if activated else {}))


def _named(parts: _WEIGHTED) -> nn.Sequential:
    made = nn.Sequential()
    for name, part in parts.items():
        made.add_module(name, part)
    return made


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = (kernel - 1) // 2 * dilation
    conv = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, bias=False)
    return _named({"conv": conv})


def _activated(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv: _WEIGHTED = dict(_conv(inside, outside, kernel, stride).named_children())
    return _named(conv | dict(_normalised(outside).named_children()))


class _Pyramid(nn.Module):
    """ESPNet's module: one reduced map, seen by five dilated convolutions whose sums are joined."""

    def __init__(self, inside: int, outside: int, stride: int = 1, adds: bool = True) -> None:
        super().__init__()
        narrow = outside // len(_DILATIONS)
        self.c1 = _conv(inside, narrow, 3, 2) if stride > 1 else _conv(inside, narrow, 1)
        for dilation in _DILATIONS:
            wide = outside - 4 * narrow if dilation == 1 else narrow
            self.add_module(f"d{dilation}", _conv(narrow, wide, 3, dilation=dilation))
        if stride > 1:
            self.bn, self.act, self.adds = nn.BatchNorm2d(outside, eps=1e-3), nn.PReLU(outside), False
        else:
            self.bn, self.act, self.adds = _normalised(outside), nn.Identity(), adds

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.c1(x)
        first, *others = (self.get_submodule(f"d{dilation}")(reduced) for dilation in _DILATIONS)
        joined = [first]
        for other in others:
            joined.append(other if len(joined) == 1 else joined[-1] + other)
        y = torch.cat(joined, 1)
        activated: Tensor = self.act(self.bn(x + y if self.adds else y))
        return activated


class _Encoder(nn.Module):
    def __init__(self, classes: int, p: int, q: int) -> None:
        super().__init__()
        self.level1 = _activated(3, 16, 3, 2)
        self.smaller = nn.AvgPool2d(3, 2, 1)
        self.b1 = _normalised(19)
        self.level2_0 = _Pyramid(19, 64, 2)
        self.level2 = nn.ModuleList(_Pyramid(64, 64) for _ in range(p))
        self.b2 = _normalised(131)
        self.level3_0 = _Pyramid(131, 128, 2)
        self.level3 = nn.ModuleList(_Pyramid(128, 128) for _ in range(q))
        self.b3 = _normalised(256)
        self.classifier = _conv(256, classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.smaller(x)
        first = self.b1(torch.cat([self.level1(x), half], 1))
        start = second = self.level2_0(first)
        for block in self.level2:
            second = block(second)
        second = self.b2(torch.cat([second, start, self.smaller(half)], 1))
        start = third = self.level3_0(second)
        for block in self.level3:
            third = block(third)
        return first, second, self.classifier(self.b3(torch.cat([start, third], 1)))


class ESPNet(nn.Module):
    """ESPNet: pictures in RGB, N×3×H×W, H and W multiples of 8 → logits N×classes×H×W."""

    def __init__(self, classes: int = len(CLASSES), p: int = 2, q: int = 8) -> None:
        super().__init__()
        self.encoder = _Encoder(classes, p, q)
        self.level3_C = _conv(131, classes, 1)
        self.br = nn.BatchNorm2d(classes, eps=1e-3)
        self.up_l3 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, 2, bias=False))
        self.combine_l2_l3 = nn.Sequential(_normalised(2 * classes), _Pyramid(2 * classes, classes, adds=False))
        self.up_l2 = nn.Sequential(nn.ConvTranspose2d(classes, classes, 2, 2, bias=False), _normalised(classes))
        self.conv = _activated(19 + classes, classes, 3)
        self.classifier = nn.ConvTranspose2d(classes, classes, 2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.encoder(x.flip(1))  # it was trained on OpenCV's order, BGR
        deep = self.up_l3(self.br(third))
        deep = self.up_l2(self.combine_l2_l3(torch.cat([self.level3_C(second), deep], 1)))
        answer: Tensor = self.classifier(self.conv(torch.cat([deep, first], 1)))
        return answer


def _stage(*parts: nn.Module) -> nn.Sequential:
    """A convolution or two, each with batch norm and PReLU."""
    return nn.Sequential(*(layer for conv in parts for layer in (conv, nn.BatchNorm2d(_width(conv)), nn.PReLU())))


def _width(conv: nn.Module) -> int:
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    return conv.out_channels


class _Bottleneck(nn.Module):
    """ENet's module: a narrow branch of three convolutions beside the identity."""

    def __init__(self, channels: int, *, dilation: int = 1, asymmetric: bool = False) -> None:
        super().__init__()
        narrow = channels // 4
        self.ext_conv1 = _stage(nn.Conv2d(channels, narrow, 1, bias=False))
        if asymmetric:
            tall = nn.Conv2d(narrow, narrow, (5, 1), padding=(2, 0), bias=False)
            self.ext_conv2 = _stage(tall, nn.Conv2d(narrow, narrow, (1, 5), padding=(0, 2), bias=False))
        else:
            self.ext_conv2 = _stage(nn.Conv2d(narrow, narrow, 3, padding=dilation, dilation=dilation, bias=False))
        self.ext_conv3 = _stage(nn.Conv2d(narrow, channels, 1, bias=False))
        self.out_prelu = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.out_prelu(x + self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))
        return activated


class _Down(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        narrow = inside // 4
        self.main_max1 = nn.MaxPool2d(3, 2, 1, return_indices=True)
        self.ext_conv1 = _stage(nn.Conv2d(inside, narrow, 2, 2, bias=False))
        self.ext_conv2 = _stage(nn.Conv2d(narrow, narrow, 3, padding=1, bias=False))
        self.ext_conv3 = _stage(nn.Conv2d(narrow, outside, 1, bias=False))
        self.out_prelu = nn.PReLU(outside)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        largest, places = self.main_max1(x)
        y = self.ext_conv3(self.ext_conv2(self.ext_conv1(x)))
        largest = torch.cat([largest, largest.new_zeros(len(y), y.shape[1] - largest.shape[1], *y.shape[2:])], 1)
        return self.out_prelu(largest + y), places


class _Up(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        narrow = inside // 4
        self.main_conv1 = nn.Sequential(nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside))
        self.main_unpool1 = nn.MaxUnpool2d(2)
        self.ext_conv1 = _stage(nn.Conv2d(inside, narrow, 1, bias=False))
        self.ext_conv2 = _stage(nn.ConvTranspose2d(narrow, narrow, 3, 2, 1, 1, bias=False))
        self.ext_conv3 = _stage(nn.Conv2d(narrow, outside, 1, bias=False))
        self.out_prelu = nn.PReLU(outside)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        main = self.main_unpool1(self.main_conv1(x), places)
        activated: Tensor = self.out_prelu(main + self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))
        return activated


class _Initial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main_branch = nn.Conv2d(3, 13, 3, 2, 1, bias=False)
        self.ext_branch = nn.MaxPool2d(3, 2, 1)
        self.batch_norm, self.out_prelu = nn.BatchNorm2d(16), nn.PReLU(16)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.out_prelu(self.batch_norm(torch.cat([self.main_branch(x), self.ext_branch(x)], 1)))
        return activated


class ENet(nn.Module):
    """ENet: pictures N×3×H×W, H and W multiples of 8 → logits N×classes×H×W; its poolings hand their places on."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.initial_block = _Initial()
        self.downsample1_0 = _Down(16, 64)
        self._wide = [f"regular1_{number}" for number in range(1, 5)]
        for name in self._wide:
            self.add_module(name, _Bottleneck(64))
        self.downsample2_0 = _Down(64, 128)
        self._deep = []
        for stage, first in ((2, 1), (3, 0)):
            kinds = ("regular", 1), ("dilated", 2), ("asymmetric", 1), ("dilated", 4)
            kinds += ("regular", 1), ("dilated", 8), ("asymmetric", 1), ("dilated", 16)
            for number, (kind, dilation) in enumerate(kinds, first):
                self._deep.append(f"{kind}{stage}_{number}")
                block = _Bottleneck(128, dilation=dilation, asymmetric=kind == "asymmetric")
                self.add_module(self._deep[-1], block)
        self.upsample4_0, self.regular4_1, self.regular4_2 = _Up(128, 64), _Bottleneck(64), _Bottleneck(64)
        self.upsample5_0, self.regular5_1 = _Up(64, 16), _Bottleneck(16)
        self.transposed_conv = nn.ConvTranspose2d(16, classes, 3, 2, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, wide = self.downsample1_0(self.initial_block(x))
        for name in self._wide:
            x = self.get_submodule(name)(x)
        x, deep = self.downsample2_0(x)
        for name in self._deep:
            x = self.get_submodule(name)(x)
        x = self.regular4_2(self.regular4_1(self.upsample4_0(x, deep)))
        answer: Tensor = self.transposed_conv(self.regular5_1(self.upsample5_0(x, wide)))
        return answer


def espnet(weights: Path, size: tuple[int, int] = (352, 472)) -> Classifier:
    """ESPNet with its CamVid weights, for windows of this size."""
    mean = tuple(level / 255 for level in (105.87, 109.03, 110.80))
    return _scene_network(ESPNet(), "espnet", weights, size, mean, (70.11, 72.80, 72.20))


def enet(weights: Path, size: tuple[int, int] = (352, 472)) -> Classifier:
    """ENet with its CamVid weights, for windows of this size."""
    return _scene_network(ENet(), "enet", weights, size, (0.0,) * 3, (1.0,) * 3)


def _scene_network(
    module: nn.Module, name: str, weights: Path, size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> Classifier:
    load_weights(module, read_checkpoint(weights))
    origin = {"source": f"{name}.safetensors", "version": "CamVid"}
    made = Classifier(module.eval(), name, size, mean, std, "bilinear", (360, 480), 1.0, CLASSES, origin)
    return made
