"""FastestDet (dog-qiuqiu 2022), a detector of COCO's 80 classes, with ShuffleNet V2 (Ma et al. 2018) as its trunk.

Written from the papers, with the parameter names of the published weights.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from aliasing import Classifier
from aliasing.models.checkpoints import load_weights, read_checkpoint

SIZE = 352
_CLASSES = 80
_LEAST = 0.001  # confidence, as in COCO's evaluation
_OVERLAP = 0.4  # of boxes of the same class, above which only the surer one stays


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outside)]


class _Shuffle(nn.Module):
    """A block of ShuffleNet V2: half of the channels pass, the others are filtered."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        half = outside // 2
        self.branch_main = nn.Sequential(
            *_conv(inside, half, 1), nn.ReLU(), *_conv(half, half, 3, stride, half), *_conv(half, half, 1), nn.ReLU()
        )
        if stride > 1:
            passing = [*_conv(inside, inside, 3, stride, inside), *_conv(inside, half, 1)]
            self.branch_proj = nn.Sequential(*passing, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "branch_proj"):
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        return torch.cat([x[:, ::2], self.branch_main(x[:, 1::2])], 1)


class _Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_conv(3, 24, 3, 2), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside = 24
        for stage, outside, blocks in ((2, 48, 4), (3, 96, 8), (4, 192, 4)):
            later = [_Shuffle(outside // 2, outside, 1) for _ in range(blocks - 1)]
            self.add_module(f"stage{stage}", nn.Sequential(_Shuffle(inside, outside, 2), *later))
            inside = outside

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.first_conv(x))
        maps = []
        for stage in (2, 3, 4):
            x = self.get_submodule(f"stage{stage}")(x)
            maps.append(x)
        return maps


class _Narrow(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_conv(inside, outside, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        narrow: Tensor = self.conv1x1(x)
        return narrow


class _Pooled(nn.Module):
    """One, two and three depthwise convolutions beside one another."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.Conv1x1 = _Narrow(inside, outside)
        for number in (1, 2, 3):
            steps = [layer for _ in range(number) for layer in (*_conv(outside, outside, 5, 1, outside), nn.ReLU())]
            self.add_module(f"S{number}", nn.Sequential(*steps))
        self.output = nn.Sequential(*_conv(3 * outside, outside, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv1x1(x)
        return torch.relu(x + self.output(torch.cat([self.get_submodule(f"S{k}")(x) for k in (1, 2, 3)], 1)))


class _Layers(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        depthwise = [*_conv(inside, inside, 5, 1, inside), nn.ReLU()]
        self.conv5x5 = nn.Sequential(*depthwise, *_conv(inside, outside, 1))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.conv5x5(x)
        return answer


class _Head(nn.Module):
    def __init__(self, inside: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Narrow(inside, inside)
        self.obj_layers, self.reg_layers = _Layers(inside, 1), _Layers(inside, 4)
        self.cls_layers = _Layers(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        return torch.cat([self.obj_layers(x).sigmoid(), self.reg_layers(x), self.cls_layers(x).softmax(1)], 1)


class FastestDet(nn.Module):
    """FastestDet: pictures in RGB, N×3×352×352 → N×(1 + 4 + classes)×22×22, presence, box and classes of each cell."""

    def __init__(self, classes: int = _CLASSES) -> None:
        super().__init__()
        self.backbone = _Trunk()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.avg_pool = nn.AvgPool2d(3, 2, 1)
        self.SPP = _Pooled(48 + 96 + 192, 96)
        self.detect_head = _Head(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        fine, middle, coarse = self.backbone(x.flip(1))  # it was trained on OpenCV's order, BGR
        answer: Tensor = self.detect_head(self.SPP(torch.cat([self.avg_pool(fine), middle, self.upsample(coarse)], 1)))
        return answer


def detections(module: nn.Module, pictures: Tensor) -> list[Tensor]:
    """The detections of each picture, n×6: corners in pixels, confidence, class."""
    answer = module(pictures).float()
    height, width = answer.shape[2:]
    presence, (x, y, wide, high), (likely, label) = answer[:, 0], answer[:, 1:5].unbind(1), answer[:, 5:].max(1)
    columns, rows = torch.arange(width, device=x.device), torch.arange(height, device=x.device)[:, None]
    centre = torch.stack([(x.tanh() + columns) / width, (y.tanh() + rows) / height], -1)
    side = torch.stack([wide.sigmoid(), high.sigmoid()], -1)
    size = torch.tensor([pictures.shape[3], pictures.shape[2]], device=x.device)
    boxes = (torch.cat([centre - side / 2, centre + side / 2], -1) * size.repeat(2)).flatten(1, 2)
    confidence = (presence**0.6 * likely**0.4).flatten(1)
    found = []
    for corners, sure, kind in zip(boxes, confidence, label.flatten(1), strict=True):
        enough = sure >= _LEAST
        corners, sure, kind = corners[enough], sure[enough], kind[enough]
        kept = batched_nms(corners, sure, kind, _OVERLAP)
        found.append(torch.cat([corners, sure[:, None], kind[:, None].float()], 1)[kept])
    return found


def fastestdet(weights: Path) -> Classifier:
    """FastestDet with its COCO weights; pictures are squashed to 352×352, as in its training."""
    module = FastestDet()
    load_weights(module, read_checkpoint(weights))
    origin = {"source": "fastestdet.safetensors", "version": "COCO"}
    return Classifier(
        module.eval(), "fastestdet", SIZE, (0.0,) * 3, (1.0,) * 3, "bilinear", SIZE, 1.0,
        origin=origin, crop_mode="squash", answer=detections,
    )  # fmt: skip
