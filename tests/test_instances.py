"""Instances: masks that are moved, matched and judged as counted by hand; AP of masks is COCO's."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError
from aliasing.outputs.average_precision import average_precision, hits
from aliasing.outputs.instances import Instances, Mask, Masked, mask_iou
from aliasing.outputs.truth import OutlineFiles, filled
from aliasing.protocols import View, Views, make_protocol

SIZE = 64


def network(module: nn.Module, answer: Any = None) -> al.Classifier:
    return al.Classifier(module, "net", SIZE, (0.0,) * 3, (1.0,) * 3, "bilinear", 72, 1.0, answer=answer)


def blob(random: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """A mask of several parts, away from the border."""
    found = np.zeros((size, size), bool)
    for _ in range(random.integers(1, 4)):
        top, left = random.integers(8, size - 24, 2)
        height, width = random.integers(2, 14, 2)
        found[top : top + height, left : left + width] = True
    return found


def masked(masks: list[np.ndarray], confidences: Any, classes: Any) -> Masked:
    """Detections whose boxes are those of their masks."""
    found = [Mask.of(mask) for mask in masks]
    rows = [
        (one.left, one.top, one.left + one.pixels.shape[1], one.top + one.pixels.shape[0], sure, label)
        for one, sure, label in zip(found, confidences, classes, strict=True)
    ]
    return Masked.of(np.array(rows, np.float32).reshape(-1, 6).T, found)


def compared(first: Masked, second: Masked, shift: tuple[float, float]) -> dict[str, Any]:
    views = (View((0.0, 0.0), 0.0, lambda: None), View(shift, 1.0, lambda: None))  # type: ignore[arg-type,return-value]
    shown = Views(views, ((0, 1),), size=(SIZE, SIZE))
    columns = Instances(network(nn.Identity())).compare([first, second], shown, None)  # type: ignore[arg-type]
    return {name: values[0] for name, values in columns.items()}


# --- masks ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_masks_are_packed_moved_and_cut_like_the_arrays_that_they_are(seed: int) -> None:
    random = np.random.default_rng(seed)
    arrays = [blob(random) for _ in range(3)] + [np.zeros((SIZE, SIZE), bool)]
    packed = masked(arrays, [0.9] * 4, [1] * 4)
    assert packed.bits.nbytes <= sum(mask.pixels.size for mask in packed.masks()) / 8 + 4
    down, right = (int(step) for step in random.integers(-5, 6, 2))
    for array, mask in zip(arrays, packed.masks(), strict=True):
        moved = np.zeros((SIZE, SIZE), bool)
        one = mask.moved(down, right)
        moved[one.top : one.top + one.pixels.shape[0], one.left : one.left + one.pixels.shape[1]] = one.pixels
        assert np.array_equal(moved, np.roll(array, (down, right), (0, 1)))
        assert mask.area == array.sum()
        assert mask.cut((10, 30), (-np.inf, 25)).area == array[10:30, :25].sum()
    expected = [[(a & b).sum() / max((a | b).sum(), 1) for b in arrays] for a in arrays]
    np.testing.assert_allclose(mask_iou(packed.masks(), packed.masks()), expected, atol=1e-15)


def test_by_half_a_pixel_what_covers_half_of_a_pixel_counts() -> None:
    square = Mask(4, 4, np.ones((3, 3), bool))
    moved = square.moved(0, 0.5)  # the first and the last column are covered by a half each
    assert (moved.top, moved.left, moved.pixels.shape) == (4, 4, (3, 4))
    assert square.moved(0, 0.25) == (4, 4, pytest.approx(square.pixels))
    assert square.moved(-0.75, 0)[:2] == (3, 4)


def test_masks_that_are_moved_by_hand() -> None:
    corner, bar, gone, border = (np.zeros((SIZE, SIZE), bool) for _ in range(4))
    corner[10:20, 10:20], corner[15:20, 15:20] = True, False  # 75 pixels of an L
    bar[30:34, 10:30] = True
    gone[40:50, 40:50] = True
    border[20:30, 56:64] = True  # reaches what only the first view shows
    first = masked([corner, bar, gone, border], [0.9, 0.8, 0.6, 0.9], [1, 2, 3, 4])
    fuller = np.zeros((SIZE, SIZE), bool)
    fuller[11:21, 12:22] = True  # its box is the same, its mask is the whole square
    second = masked([fuller, np.roll(bar, (1, 2), (0, 1))], [0.7, 0.8], [1, 5])
    found = compared(first, second, (1.0, 2.0))
    assert (found["detections"], found["lost"], found["renamed"], found["at_border"]) == (5, 1, 2, 1)
    assert found["kept_iou"] == pytest.approx([0.75])
    assert found["kept_confidence_change"] == pytest.approx([0.2])
    assert found["kept_scale_error"] == pytest.approx([np.log(100 / 75) / 2])
    # The whole square's centre is at 15; that of 75 pixels is (100 · 15 − 25 · 17.5) / 75.
    assert found["kept_centre_distance"] == pytest.approx([np.sqrt(2) * (15 - (1500 - 437.5) / 75)])


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_views_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = [blob(random) for _ in range(5)]
    sure, labels = random.uniform(0.2, 1, 5), random.integers(0, 2, 5)
    first = masked(masks, sure, labels)
    others = [np.roll(mask, (1, 2), (0, 1)) & (random.random((SIZE, SIZE)) < 0.9) for mask in masks]
    second = masked(others, random.permutation(sure), labels)
    there, back = compared(first, second, (1.0, 2.0)), compared(second, first, (-1.0, -2.0))
    for name in ("detections", "lost", "renamed", "at_border"):
        assert there[name] == back[name]
    assert sorted(there["kept_iou"]) == pytest.approx(sorted(back["kept_iou"]))


# --- average precision ---------------------------------------------------------------------------------------------


def random_scene(random: np.random.Generator) -> tuple[list[Masked], list[Masked]]:
    """Images of 24 pixels with objects, and detections near some of them."""
    truth, found = [], []
    for _ in range(random.integers(1, 4)):
        objects, near, kinds = [], [], []
        labels = random.integers(0, 2, random.integers(1, 4))
        for label in labels:
            top, left = random.integers(0, 12, 2)
            mask = np.zeros((24, 24), bool)
            mask[top : top + random.integers(3, 10), left : left + random.integers(3, 10)] = True
            objects.append(mask & (random.random(mask.shape) < 0.9))
            for _ in range(2):
                near.append(np.roll(mask, random.integers(-2, 3, 2), (0, 1)) & (random.random(mask.shape) < 0.9))
                kinds.append(label if random.random() < 0.8 else 1 - label)
        sure = random.permutation(np.linspace(0.05, 1, len(near)))
        truth.append(masked(objects, [1.0] * len(objects), labels))
        found.append(masked(near, sure, kinds))
    return truth, found


def by_coco(truth: list[Masked], found: list[Masked]) -> tuple[float, float]:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    encoder = pytest.importorskip("pycocotools.mask")

    def rows(images: list[Masked]) -> list[dict[str, Any]]:
        made = []
        for image, one in enumerate(images):
            for mask, column in zip(one.masks(), one.detections.T, strict=True):
                whole = np.zeros((24, 24), np.uint8, order="F")
                height, width = mask.pixels.shape
                whole[mask.top : mask.top + height, mask.left : mask.left + width] = mask.pixels
                of = {"image_id": image, "category_id": int(column[5]), "score": float(column[4])}
                made.append({**of, "segmentation": encoder.encode(whole), "area": float(mask.area), "iscrowd": 0})
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        right = coco.COCO()
        right.dataset = {
            "images": [{"id": image, "height": 24, "width": 24} for image in range(len(truth))],
            "categories": [{"id": 0}, {"id": 1}],
            "annotations": [{**row, "id": number + 1} for number, row in enumerate(rows(truth))],
        }
        right.createIndex()
        judge = evaluation.COCOeval(right, right.loadRes(rows(found)), "segm")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]
    return tuple(float(p[p > -1].mean()) for p in (precision, precision[0]))  # type: ignore[return-value]


def test_average_precision_is_coco_s() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        truth, found = random_scene(random)
        images = []
        for there, one in zip(truth, found, strict=True):
            labels = there.detections[5].astype(int)
            right = hits(one.detections, labels, mask_iou(one.masks(), there.masks()))
            images.append((one.detections[4], one.detections[5].astype(int), right, labels))
        mine = [average_precision(images, np.ones((1, len(images)), int), thresholds)[0] for thresholds in (10, 1)]
        assert mine == pytest.approx(by_coco(truth, found), abs=1e-6)


# --- ground truth --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
def test_an_outline_holds_the_pixels_whose_centres_are_inside(seed: int, corners: int) -> None:
    """Against matplotlib, which goes by the winding number: the same for a star-shaped outline."""
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    points = random.uniform(3, 12, (corners, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1) + (15.3, 14.2)
    gaps = np.diff([*angles, angles[0] + 2 * np.pi])
    if gaps.max() > 3:  # the middle would be outside
        return
    top, left, pixels = filled(points)
    found = np.zeros((32, 32), bool)
    found[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    centres = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), -1).reshape(-1, 2)
    assert np.array_equal(found, Outline(points).contains_points(centres).reshape(32, 32))


def test_parts_that_are_joined_by_a_line_and_back_are_parts() -> None:
    square = np.array([[2, 2], [6, 2], [6, 6], [2, 6], [2, 2]], float)
    top, left, pixels = filled(np.concatenate([square, square + 10, square[:1]]))
    assert (top, left, pixels.sum()) == (2, 2, 32)


class Bright(nn.Module):
    """Finds the bright part of a picture: equivariant by construction."""

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for picture in x.mean(1):
            mask = picture > 0.5
            rows, columns = torch.nonzero(mask, as_tuple=True)
            some = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
            boxes = torch.tensor(some).reshape(-1, 4).float()
            sure = torch.full((len(boxes),), 0.9)
            found.append(
                {"boxes": boxes, "scores": sure, "labels": torch.ones(len(boxes)), "masks": mask[None][: len(boxes)]}
            )
        return found


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures of 72 pixels, in each a bright square of 16, and their outlines."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "images").mkdir()
    (folder / "outlines").mkdir()
    for number, (left, top) in enumerate(((20, 24), (30, 40), (24, 16), (40, 30))):
        pixels = np.zeros((72, 72, 3), np.uint8)
        pixels[top : top + 16, left : left + 16] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        corners = np.array([[0, 0], [16, 0], [16, 16], [0, 16]]) + np.array([left, top])
        (folder / "outlines" / f"{number}.txt").write_text(f"1 {' '.join(map(str, corners.ravel() / 72))}\n")
    return folder / "images", folder / "outlines"


@pytest.mark.parametrize("protocol", ["crop:span=4", "grid", "circular:pixels=3", "subpixel", "pad"])
def test_what_moves_with_the_content_is_kept_and_right(squares: tuple[Path, Path], protocol: str) -> None:
    result = al.measure_jitter(network(Bright()), squares[0], protocol, output="instances", truth=squares[1])
    found = result.summary()["models"]["net"]
    assert found["lost_or_renamed"]["value"] == found["confidence_change"]["value"] == 0
    if protocol != "subpixel":  # there a threshold decides which pixels are bright
        assert found["matched_iou"]["value"] == found["ap"]["value"] == found["ap_worst"]["value"] == 1
        assert found["centre_distance"]["value"] == 0
        # Of squares of 16 pixels, one pixel off, 0.784 overlap: six thresholds of ten.
        assert found["ap_moved_truth"]["value"] == pytest.approx(0.6)
        change = found["ap_moved_truth_change"]
        assert change["value"] == pytest.approx(-0.4)
        assert change["low"] < change["value"] < change["high"]
    else:
        assert found["matched_iou"]["value"] > 0.9


def test_outlines_are_placed_like_the_picture(tmp_path: Path) -> None:
    """A photograph that is reduced and cropped: 200×120 to 72 on its shorter side, then windows of 64."""
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.45 0.4 0.55 0.4 0.55 0.6 0.45 0.6\n3 0 0.4 0.02 0.4 0.02 0.6\n")
    image = next(iter(al.images.open_images(tmp_path / "a.png"))).load()
    first, second = OutlineFiles.open(tmp_path).of(image, make_protocol("crop:span=1"), network(Bright()), 0)
    left, top = round((200 * 0.6 - 65) / 2), round((72 - 65) / 2)
    by_hand = np.array([90, 48, 110, 72]) * 0.6 - [left, top, left, top]
    assert first.detections.shape == (6, 1)  # what is cut off is not there
    np.testing.assert_allclose(first.detections[:4, 0], by_hand, atol=0.6)  # to the nearest pixel's centre
    np.testing.assert_array_equal(second.detections[:4, 0], first.detections[:4, 0] - 1)


def test_what_cannot_be_used_is_told_in_one_line(squares: tuple[Path, Path], tmp_path: Path) -> None:
    def measure(answer: Any, **more: Any) -> dict[str, Any]:
        how: dict[str, Any] = {"output": "instances", "limit": 2} | more
        return al.measure_jitter(network(Bright(), answer), squares[0], "crop:span=1", **how).summary()

    def changed(**parts: Any) -> Any:
        return lambda module, batch: [one | {k: f(one) for k, f in parts.items()} for one in module(batch)]

    with pytest.raises(InputError, match="with masks of 1×32×32; expected 1×64×64, one for each box"):
        measure(changed(masks=lambda one: one["masks"][:, ::2, ::2]))
    with pytest.raises(InputError, match="expected a mapping with boxes, scores, labels and masks n×H×W"):
        measure(lambda module, batch: [torch.zeros(0, 6) for _ in batch])
    for bad in ({"masks": lambda one: one["masks"] * np.nan}, {"scores": lambda one: one["scores"] * np.nan}):
        found = measure(changed(**bad))["models"]["net"]
        assert (found["images"], found["not_finite"]) == (0, ["0.png", "1.png"])
    empty = measure(changed(masks=lambda one: one["masks"] & False))["models"]["net"]
    assert empty["lost_or_renamed"]["value"] == 1  # a mask without pixels is like no other
    nothing = changed(**{key: lambda one, key=key: one[key][:0] for key in ("boxes", "scores", "labels", "masks")})
    found = measure(nothing, truth=squares[1])["models"]["net"]
    assert found["lost_or_renamed"]["value"] is None
    assert found["ap"]["value"] == 0
    for number, text in enumerate(("1 0.5 0.5 0.1 0.1", "1 0.5 0.5 nan 0.1 0.2 0.3", "cat 0.5", "1 2 0.5 0 0 0 0")):
        (tmp_path / f"{number}.txt").write_text(text)
    with pytest.raises(InputError, match=r"4 skipped; the first is 0\.png: 0\.txt must have lines of a class and the"):
        measure(None, truth=tmp_path, limit=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_torchvision_s_networks_load_by_name(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    torch.save(module.state_dict(), tmp_path / "net.pth")
    loaded = al.load_model(f"file:{tmp_path}/net.pth@torchvision:{name}", input_size=160)
    parts: Any = loaded.module
    parts.transform.min_size, parts.roi_heads.score_thresh = (160,), 0.0  # random weights are sure of nothing
    result = al.measure_jitter(loaded, "sample", "crop:span=1", output="instances", limit=1)
    assert result.summary()["models"][loaded.name]["images"] == 1
    (row,) = result.records.to_pylist()
    assert row["detections"] >= row["lost"] + row["renamed"]
    assert all(0.5 <= overlap <= 1 for overlap in row["kept_iou"])
