"""Detectors and key point networks in files: the answers of the network that was exported, laid out in three ways."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import aliasing as al
from aliasing.blackbox import Port, Program
from aliasing.errors import InputError, UsageError
from aliasing.models.detections import LEAST, OVERLAP, of_yolo
from aliasing.models.told import classifier_of
from experiments import _detectors

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SCALED: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
BOXES = np.array([[1, 2, 30, 40], [5, 6, 7, 8]], np.float32)


def export(module: nn.Module, given: Any, path: Path, outputs: list[str], **metadata: str) -> str:
    """Write a network with torch's exporter, and metadata as Ultralytics has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter by tracing
        free = {name: [0] for name in outputs} if len(outputs) > 1 else {}
        torch.onnx.export(
            module, (given,), str(path), input_names=["images"], output_names=outputs, dynamic_axes=free, dynamo=False
        )
    model = onnx.load(path)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return f"onnx:{path}"


def program(shape: tuple[int | None, ...], found: dict[str, Any]) -> Program:
    """A library that finds the same in each picture."""
    port = Port("x", shape, "float32")
    return Program(
        digest="0", runtime={"library": "none 1"}, port=port, outputs=tuple(found), run=lambda images: dict(found)
    )


def test_a_detector_of_torchvision_answers_from_its_file(tmp_path: Path) -> None:
    """It takes a picture without a batch. Its norms have seen noise, so that its confidences differ."""
    torch.manual_seed(0)
    module = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4, score_thresh=0.0, detections_per_img=20
    )
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None  # the mean of what is seen
        for part in module.head.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)
        module.head(list(module.backbone(torch.rand(2, 3, 320, 320)).values()))
    module.eval()
    name = export(module, [torch.rand(3, 320, 320)], tmp_path / "net.onnx", ["boxes", "scores", "labels"])
    loaded = al.load_model(name, **SCALED)
    assert loaded.input_size == 320
    pictures = torch.rand(3, 3, 320, 320)
    for ours, theirs in zip(loaded.ask(pictures), module(pictures), strict=True):
        rows = [
            torch.cat([one["boxes"], *(one[key][:, None] for key in ("scores", "labels"))], 1) for one in (ours, theirs)
        ]
        # Float32 in another order, of boxes up to 320; equal confidences may change places.
        apart = (rows[0][:, None] - rows[1][None]).abs().amax(2)
        assert apart.shape == (20, 20)
        assert max(apart.amin(0).max(), apart.amin(1).max()) < 0.05
    measured = al.measure_jitter(loaded, "sample", "crop:span=1", output="boxes", limit=2)
    assert measured.summary()["models"][name]["pairs"] == 2


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (None, 3, 32, 32), (3, 32, 32)])
@pytest.mark.parametrize("batch", [False, True])
def test_what_is_found_has_the_axis_of_a_batch_or_not(shape: tuple[int | None, ...], batch: bool) -> None:
    found = {"labels": np.array([3, 1]), "scores": np.array([0.9, 0.8], np.float32), "boxes": BOXES}
    if batch:
        found = {name: part[None] for name, part in found.items()}
    loaded = classifier_of(program(shape, found), "net", Path("net.onnx"), {"input_size": 32})
    first, second = loaded.ask(torch.zeros(2, 3, 32, 32))
    assert first["boxes"].tolist() == second["boxes"].tolist() == BOXES.tolist()
    assert first["labels"].tolist() == [3, 1]


def test_outputs_of_other_names_are_told() -> None:
    found = {"a": BOXES, "b": np.array([3, 1]), "c": np.array([0.9, 0.8], np.float32)}
    opened = program((1, 3, 32, 32), found)
    loaded = classifier_of(opened, "net", Path("net.onnx"), {"outputs": ("boxes", "labels", "scores")})
    (only,) = loaded.ask(torch.zeros(1, 3, 32, 32))
    assert only["labels"].tolist() == [3, 1]
    with pytest.raises(UsageError, match="the file has 3: a, b, c"):
        classifier_of(opened, "net", Path("net.onnx"), {"outputs": ("boxes", "labels")})
    with pytest.raises(UsageError, match="no outputs to be said"):
        al.load_model(nn.Conv2d(3, 4, 3), outputs=("boxes",))
    several = program((4, 3, 32, 32), dict(zip(("boxes", "labels", "scores"), found.values(), strict=True)))
    with pytest.raises(UsageError, match="export it for one picture"):
        classifier_of(several, "net", Path("net.onnx"), {})


def test_key_points_of_a_file() -> None:
    """Key points that stay where they are while the content moves by a pixel each way: repeated within 2, not 1."""
    places = np.array([[10, 10], [20, 12]], np.float32)
    found = {"keypoints": places, "scores": np.ones(2, np.float32), "descriptors": np.eye(2, dtype=np.float32)}
    loaded = classifier_of(program((1, 3, 32, 32), found), "net", Path("net.onnx"), {"resize_size": 40})
    told = al.measure_jitter(loaded, "sample", "crop:span=1", output="keypoints", limit=2).summary()["models"]["net"]
    assert told["repeatability_1"]["value"] == 0
    assert told["repeatability_2"]["value"] == 1
    assert told["descriptor_similarity"]["value"] == 1


class Says(nn.Module):
    """It answers anything with the same."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, batch: Tensor) -> Tensor:
        return self.answer


def suppressed(raw: Any) -> list[list[float]]:
    """Non-maximum suppression, box by box."""
    boxes = []
    for x, y, width, height, *confidences in raw.T.tolist():
        best = int(np.argmax(confidences))
        if confidences[best] >= LEAST:
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            boxes.append([*corners, confidences[best], best])
    kept: list[list[float]] = []
    for box in sorted(boxes, key=lambda box: -box[4]):
        overlaps = [0.0]
        for other in kept:
            wide = min(box[2], other[2]) - max(box[0], other[0])
            high = min(box[3], other[3]) - max(box[1], other[1])
            shared = max(wide, 0) * max(high, 0)
            areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, other)]
            overlaps.append(shared / (sum(areas) - shared) if box[5] == other[5] else 0)
        if max(overlaps) <= OVERLAP:
            kept.append(box)
    return kept


@pytest.mark.parametrize("seed", range(4))
def test_all_boxes_are_suppressed_as_by_hand(seed: int) -> None:
    random = np.random.default_rng(seed)
    raw = np.concatenate([random.uniform(20, 30, (2, 200)), random.uniform(10, 20, (2, 200)), random.random((3, 200))])
    raw[4:, ::3] *= 1e-3  # some of no confidence
    (found,) = of_yolo(Says(torch.tensor(raw, dtype=torch.float32)[None]), torch.zeros(1))
    expected = suppressed(raw.astype(np.float32))
    assert 10 < len(expected) < 150
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)  # float32 of numbers up to 40


def test_boxes_that_were_chosen_are_taken_as_they_are() -> None:
    chosen = torch.rand(2, 300, 6)
    assert all(torch.equal(*both) for both in zip(of_yolo(Says(chosen), torch.zeros(2)), chosen, strict=True))
    for other in (torch.zeros(1, 25200, 85), torch.zeros(1, 10), torch.zeros(1, 4, 300)):
        with pytest.raises(InputError, match="expected N×n×6") as caught:
            of_yolo(Says(other), torch.zeros(1))
        assert "\n" not in str(caught.value)


def test_ultralytics_metadata_tell_a_detector(tmp_path: Path) -> None:
    class Detector(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, :6].flatten(2).reshape(len(x), 6, 192)

    told = {"author": "Ultralytics", "task": "detect", "imgsz": "[32, 64]", "names": "{0: 'cat', 1: 'dog'}"}
    name = export(Detector(), torch.rand(1, 3, 32, 64), tmp_path / "net.onnx", ["output0"], **told)
    loaded = al.load_model(name)
    assert (loaded.input_size, loaded.resize_size, loaded.labels) == ((32, 64), (32, 64), ("cat", "dog"))
    assert (loaded.mean, loaded.std, loaded.answer) == ((0.0,) * 3, (1.0,) * 3, of_yolo)
    assert "non-maximum suppression: of two boxes of a class whose IoU is above 0.7" in str(loaded.notes)
    assert "their centre was cropped" in str(loaded.notes)
    assert "assumed" not in str(loaded.notes)
    assert "centre was cropped" not in str(al.load_model(name, crop_mode="squash").notes)
    other = al.load_model(export(Detector(), torch.rand(1, 3, 32, 64), tmp_path / "a.onnx", ["output0"], task="detect"))
    assert other.answer is None  # it does not say whose detector it is


def test_a_real_detector_detects_the_same_from_its_file(coco: Path, weights: Path, tmp_path: Path) -> None:
    """FastestDet with all its boxes and the confidence of each class, as a YOLO network exports them."""
    side = _detectors.SIZE

    class Raw(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, pictures: Tensor) -> Tensor:
            answer = self.module(pictures)
            rows, columns = torch.arange(answer.shape[2]), torch.arange(answer.shape[3])
            x, y, wide, high = answer[:, 1:5].unbind(1)
            centre = (x.tanh() + columns) / len(columns), (y.tanh() + rows[:, None]) / len(rows)
            places = torch.stack([*centre, wide.sigmoid(), high.sigmoid()], 1) * side
            return torch.cat([places, answer[:, :1] ** 0.6 * answer[:, 5:] ** 0.4], 1).flatten(2)

    own = _detectors.fastestdet(weights / "fastestdet.safetensors")
    raw = Raw(own.module).eval()
    told = {"author": "Ultralytics", "task": "detect", "imgsz": f"[{side}, {side}]"}
    name = export(raw, torch.rand(1, 3, side, side), tmp_path / "net.onnx", ["output0"], **told)
    deployed = al.load_model(name, crop_mode="squash", name="deployed")
    module = replace(own, module=raw, name="module", answer=of_yolo)
    shown = {"output": "boxes", "truth": coco / "boxes", "limit": 6}
    found = al.measure_jitter([module, deployed, own], coco / "images", "crop:span=1", **shown).summary()["models"]
    for measure in ("lost_or_renamed", "matched_iou", "ap50"):
        assert found["deployed"][measure]["value"] == pytest.approx(found["module"][measure]["value"], abs=1e-4)
    assert found["deployed"]["ap50"]["value"] == pytest.approx(found["fastestdet"]["ap50"]["value"], abs=0.1)
