"""ALIKE-tiny, a network of key points and descriptors (Zhao et al. 2022).

Written from the paper, with the parameter names of the published weights.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aliasing import Classifier
from aliasing.models.checkpoints import load_weights, read_checkpoint

_SCORE = 0.2  # the least of a key point
_APART = 2  # pixels, within which only the highest score stays
_MOST = 1000
_TEMPERATURE = 0.1


class _Block(nn.Module):
    """Two convolutions, with a shortcut if it has one."""

    def __init__(self, inside: int, outside: int, shortcut: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside)
        if shortcut:
            self.downsample = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x) if hasattr(self, "downsample") else y)


class Alike(nn.Module):
    """ALIKE-tiny: pictures N×3×H×W, H and W multiples of 32 → N×65×H×W, 64 of a descriptor and the score's logit."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 32, 64)
        for number in range(1, 5):
            self.add_module(f"block{number}", _Block(widths[number - 1], widths[number], number > 1))
            self.add_module(f"conv{number}", nn.Conv2d(widths[number], 16, 1, bias=False))
        self.pool2, self.pool4 = nn.MaxPool2d(2), nn.MaxPool2d(4)
        self.convhead2 = nn.Conv2d(64, 65, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        size, joined = x.shape[2:], []
        for number in range(1, 5):
            x = x if number == 1 else (self.pool2 if number == 2 else self.pool4)(x)
            x = self.get_submodule(f"block{number}")(x)
            narrow = F.relu(self.get_submodule(f"conv{number}")(x))
            joined.append(F.interpolate(narrow, size, mode="bilinear", align_corners=True))
        answer: Tensor = self.convhead2(torch.cat(joined, 1))
        return answer


def keypoints(module: nn.Module, pictures: Tensor) -> list[dict[str, Tensor]]:
    """The key points of each picture: highest scores of their surroundings, placed between pixels by a soft maximum."""
    answer = module(pictures).float()
    descriptors, scores = F.normalize(answer[:, :-1], dim=1), answer[:, -1:].sigmoid()
    around = 2 * _APART + 1
    highest = (F.max_pool2d(scores, around, 1, _APART) == scores) & (scores > _SCORE)
    border = torch.zeros_like(highest)
    border[..., _APART + 1 : -_APART - 1, _APART + 1 : -_APART - 1] = True
    steps = torch.arange(-_APART, _APART + 1, dtype=scores.dtype, device=scores.device)
    size = torch.tensor([pictures.shape[3], pictures.shape[2]], device=scores.device)
    found = []
    for score, high, descriptor in zip(scores[:, 0], (highest & border)[:, 0], descriptors, strict=True):
        rows, columns = torch.nonzero(high, as_tuple=True)
        order = score[rows, columns].argsort(descending=True, stable=True)[:_MOST]
        rows, columns = rows[order], columns[order]
        patches = F.unfold(score[None, None], around, padding=_APART)[0].T[rows * score.shape[1] + columns]
        weights = ((patches - patches.amax(1, keepdim=True)) / _TEMPERATURE).exp()
        weights = (weights / weights.sum(1, keepdim=True)).view(-1, around, around)
        moved = torch.stack([(weights.sum(1) * steps).sum(1), (weights.sum(2) * steps).sum(1)], 1)
        places = torch.stack([columns, rows], 1) + 0.5 + moved
        grid = (2 * places / size - 1)[None, None]
        sampled = F.grid_sample(descriptor[None], grid, mode="bilinear", align_corners=False)[0, :, 0].T
        found.append({"keypoints": places, "scores": score[rows, columns], "descriptors": sampled})
    return found


def alike(weights: Path, size: int = 320) -> Classifier:
    """ALIKE-tiny with its weights, for windows of this size."""
    module = Alike()
    load_weights(module, read_checkpoint(weights))
    origin = {"source": "alike-t.safetensors", "version": "tiny"}
    return Classifier(
        module.eval(), "alike-t", size, (0.0,) * 3, (1.0,) * 3, "bilinear", size + 32, size / (size + 32),
        origin=origin, answer=keypoints,
    )  # fmt: skip
