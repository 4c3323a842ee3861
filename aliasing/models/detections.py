"""The answers of detectors that Ultralytics exports, or that are laid out in the same way: boxes of each picture."""

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_convert

from aliasing.errors import InputError
from aliasing.models.changes import tensor_of

LEAST, OVERLAP, MOST = 0.001, 0.7, 300
"""Ultralytics' own numbers: the least confidence, the IoU of two boxes of a class of which one stays, and how many."""


def of_yolo(module: nn.Module, batch: Tensor) -> list[Tensor]:
    """What a YOLO network answers to a batch as boxes: the ``answer`` of a `Classifier`.

    Parameters
    ----------
    module : torch.nn.Module
        It answers with N×n×6, boxes that it has chosen itself (left, top, right, bottom, confidence, class); or with
        N×(4 + classes)×A, all its boxes (centre x, centre y, width, height and the confidence of each class), of which
        the non-maximum suppression chooses here: each has its surest class, and of two of a class whose IoU is
        above 0.7 the surer one stays. Places are in pixels of the input.
    batch : Tensor, N×C×H×W

    Returns
    -------
    list of Tensor
        Of each picture n×6: left, top, right, bottom, confidence, class.

    Raises
    ------
    InputError
        If it answers with another shape.

    Examples
    --------
    >>> places = [[50.0, 51, 20], [40, 40, 30], [20, 20, 10], [20, 20, 10]]
    >>> raw = torch.tensor([*places, [0.75, 0.5, 0.125], [0.25, 0.125, 0.5]])  # the second box overlaps the first
    >>> module = nn.Module()
    >>> module.forward = lambda batch: nn.functional.pad(raw[None], (0, 4))  # seven boxes, of which the last are empty
    >>> of_yolo(module, torch.zeros(1, 3, 64, 64))[0].tolist()
    [[40.0, 30.0, 60.0, 50.0, 0.75, 0.0], [15.0, 25.0, 25.0, 35.0, 0.5, 1.0]]
    """
    answer = tensor_of(module(batch), type(module).__name__).float()
    if answer.ndim == 3 and answer.shape[2] == 6:
        return list(answer)
    if answer.ndim != 3 or not 5 <= answer.shape[1] < answer.shape[2]:
        shape = "×".join(map(str, answer.shape))
        raise InputError(
            f"a YOLO network answers with {shape}; expected N×n×6 (corners, confidence, class) or N×(4 + classes)×A;"
            " export it without a mask or a pose, or give answer=, a function of module and batch"
        )
    return [_chosen(one) for one in answer]


def _chosen(answer: Tensor) -> Tensor:
    """The boxes of one picture that stay, n×6, of all, (4 + classes)×A."""
    confidences, classes = answer[4:].max(0)
    sure = confidences >= LEAST
    boxes = box_convert(answer[:4, sure].T, "cxcywh", "xyxy")
    kept = batched_nms(boxes, confidences[sure], classes[sure], OVERLAP)[:MOST]
    numbers = (confidences[sure][kept, None], classes[sure][kept, None].float())
    return torch.cat([boxes[kept], *numbers], 1)
