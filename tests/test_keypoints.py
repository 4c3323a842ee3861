"""Key points: what is repeated, and how far descriptors and scores move, as counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError
from aliasing.models import from_torchvision
from aliasing.outputs.keypoints import Keypoints
from aliasing.protocols import View, Views
from experiments import _features


def network(module: nn.Module, answer: Any = None) -> al.Classifier:
    return al.Classifier(module, "net", 64, (0.0,) * 3, (1.0,) * 3, "bilinear", 72, 1.0, answer=answer)


def two_views(first: Any, second: Any, shift: tuple[float, float]) -> dict[str, Any]:
    outputs = [np.array(rows, np.float32).reshape(-1, 5).T for rows in (first, second)]
    views = (View((0.0, 0.0), 0.0, lambda: outputs[0]), View(shift, 1.0, lambda: outputs[1]))
    shown = Views(views, ((0, 1),), size=(64, 64))
    columns = Keypoints(network(nn.Identity())).compare(outputs, shown, None)  # type: ignore[arg-type]
    return {name: values[0] for name, values in columns.items()}


def test_points_that_are_moved_by_hand() -> None:
    first = [
        [10, 10, 0.9, 1, 0],  # half a pixel off, the same descriptor
        [30, 10, 0.8, 1, 0],  # 2.5 pixels off, another descriptor
        [10, 40, 0.7, 1, 0],  # gone
        [63, 20, 0.9, 1, 0],  # where only the first looks
    ]
    second = [[12.5, 11, 0.8, 1, 0], [34.5, 11, 0.8, 0, 1], [50, 50, 0.6, 1, 0], [0.5, 5, 0.6, 1, 0]]
    found = two_views(first, second, (1.0, 2.0))
    assert found["keypoints"] == 3 + 3
    assert [found[f"repeated_{reach}"] for reach in (1, 2, 3)] == [2, 2, 4]
    assert found["matched"] == 2
    assert found["similarity"] == pytest.approx(1.0)
    assert found["score_change"] == pytest.approx(0.1, abs=1e-6)


def test_none_is_no_traceback() -> None:
    for first, second in (([], []), ([[10, 10, 0.9, 1, 0]], []), ([], [[10, 10, 0.9, 1, 0]])):
        found = two_views(first, second, (1.0, 1.0))
        assert found["keypoints"] == len(first) + len(second)
        assert found["matched"] == found["repeated_3"] == 0


class Peaks(nn.Module):
    """The brightest places of a filtered picture: a stride of 1 over circular padding."""

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        smooth = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="circular"), 5, 1)
        grey = smooth.mean(1, keepdim=True)
        high = F.max_pool2d(F.pad(grey, (3, 3, 3, 3), mode="circular"), 7, 1) == grey
        found = []
        for picture, peaks, score in zip(smooth, high[:, 0], grey[:, 0], strict=True):
            rows, columns = torch.nonzero(peaks, as_tuple=True)
            places = torch.stack([columns, rows], 1) + 0.5
            found.append({"keypoints": places, "scores": score[peaks], "descriptors": picture[:, peaks].T})
        return found


@pytest.mark.parametrize("protocol", ["circular:pixels=3", "crop:span=3"])
def test_what_moves_with_the_content_is_repeated(protocol: str) -> None:
    found = al.measure_jitter(network(Peaks()), "sample", protocol, output="keypoints", limit=4).summary()["models"][
        "net"
    ]
    if protocol.startswith("circular"):
        assert found["repeatability_1"]["value"] == 1
        assert found["descriptor_similarity"]["value"] == pytest.approx(1, abs=1e-6)  # unit vectors in float32
        assert found["score_change"]["value"] == pytest.approx(0, abs=1e-6)
    else:  # windows: only what is near the border changes
        assert 0.8 < found["repeatability_1"]["value"] <= found["repeatability"]["value"] <= 1


def test_another_answer_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match="expected keypoints n×2, scores n, descriptors n×D"):
        al.measure_jitter(network(nn.Identity(), lambda m, x: [torch.zeros(1)] * len(x)), "sample", output="keypoints")


def test_real_key_points_are_repeated_more_often_nearby_than_exactly(imagenet_sample: Path, weights: Path) -> None:
    detector = _features.alike(weights / "alike-t.safetensors", 224)
    result = al.measure_jitter(detector, imagenet_sample, "crop:span=1", output="keypoints", sample=4)
    found = result.summary()["models"]["alike-t"]
    assert 0.7 < found["repeatability_1"]["value"] < found["repeatability"]["value"] < 1
    assert found["descriptor_similarity"]["value"] > 0.95


def test_the_joints_of_sure_persons_are_key_points() -> None:
    """As torchvision's keypointrcnn answers: joints n×K×3 of persons with a score."""

    def answer(module: nn.Module, pictures: Tensor) -> list[dict[str, Tensor]]:
        joints = torch.tensor([[[20.0, 30.0, 1.0], [40.0, 30.0, 1.0]], [[5.0, 5.0, 1.0], [6.0, 6.0, 1.0]]])
        person = {"boxes": torch.zeros(2, 4), "scores": torch.tensor([0.9, 0.1]), "labels": torch.ones(2)}
        return [person | {"keypoints": joints, "keypoints_scores": torch.full((2, 2), 7.0)} for _ in pictures]

    found = al.measure_jitter(network(nn.Identity(), answer), "sample", "crop:span=1", output="keypoints", limit=2)
    measured = found.summary()["models"]["net"]
    assert found.records["keypoints"].to_pylist() == [4, 4]  # of the sure person alone, in two views
    # They stay where they are while the picture moves diagonally by a pixel.
    assert (measured["repeatability_1"]["value"], measured["repeatability_2"]["value"]) == (0, 1)
    assert measured["descriptor_similarity"]["value"] == 1
    assert "keypointrcnn_resnet50_fpn" in from_torchvision.architectures()
