"""Detections: moved boxes are matched, lost, renamed or crossed as counted by hand; AP is COCO's."""

import contextlib
import io
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.outputs.average_precision import AveragePrecision, average_precision, hits
from aliasing.outputs.boxes import Boxes, iou, match
from aliasing.outputs.truth import BoxFiles
from aliasing.protocols import View, Views, make_protocol
from experiments import _detectors

SIZE = 64


def network(module: nn.Module, answer: Any = None) -> al.Classifier:
    return al.Classifier(module, "net", SIZE, (0.0,) * 3, (1.0,) * 3, "bilinear", 72, 1.0, answer=answer)


def two_views(
    first: Any, second: Any, shift: tuple[float, float] = (1.0, 2.0), circular: bool = False, drawn: bool = False
) -> Any:
    """The columns of a pair whose content moves by this from the first to the second; or these, and how it is drawn."""
    outputs = [np.array(rows, np.float32).reshape(-1, 6).T for rows in (first, second)]
    views = (View((0.0, 0.0), 0.0, lambda: outputs[0]), View(shift, 1.0, lambda: outputs[1]))
    shown = Views(views, ((0, 1),), circular=circular, size=(SIZE, SIZE))
    boxes = Boxes(network(nn.Identity()))
    columns = boxes.compare(outputs, shown, None)  # type: ignore[arg-type]
    found = {name: values[0] for name, values in columns.items()}
    return (found, boxes.drawing(outputs, (0, 1), shown)) if drawn else found


# --- matching ------------------------------------------------------------------------------------------------------


def test_a_list_that_is_moved_by_hand() -> None:
    first = [
        [10, 10, 20, 20, 0.9, 1],  # kept, a little larger and less sure
        [30, 10, 40, 20, 0.8, 2],  # renamed
        [10, 40, 20, 50, 0.7, 3],  # below the threshold in the second
        [40, 40, 50, 50, 0.6, 4],  # gone
        [50, 20, 64, 30, 0.9, 5],  # reaches the border that only the first shows
        [5, 5, 9, 9, 0.1, 6],  # never sure
    ]
    second = [
        [12, 11, 22, 23, 0.8, 1],
        [32, 11, 42, 21, 0.8, 7],
        [12, 41, 22, 51, 0.3, 3],
        [52, 51, 60, 60, 0.5, 8],  # new
    ]
    found = two_views(first, second)
    assert found["detections"] == 4 + 3
    assert (found["lost"], found["renamed"], found["crossed"], found["at_border"]) == (3, 2, 1, 1)
    assert found["kept_confidence_change"] == pytest.approx([0.1])
    assert found["kept_iou"] == pytest.approx([100 / 120])
    assert found["kept_centre_distance"] == pytest.approx([1.0])
    assert found["kept_scale_error"] == pytest.approx([np.log(120 / 100) / 2])


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_views_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 50, (12, 2))
    rows = np.hstack([corners, corners + random.uniform(4, 14, (12, 2)), random.uniform(0, 1, (12, 1))])
    rows = np.hstack([rows, random.integers(0, 3, (12, 1))])
    noise = random.normal(0, (1, 1, 1, 1, 0.1, 0), (12, 6))
    moved = rows + noise + np.array([2, 1, 2, 1, 0, 0])
    there, back = two_views(rows, moved), two_views(moved, rows, (-1.0, -2.0))
    for name in ("detections", "lost", "renamed", "at_border"):
        assert there[name] == back[name]
    assert sorted(there["kept_iou"]) == pytest.approx(sorted(back["kept_iou"]), abs=1e-5)  # corners in float32


def matched(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    return match(first, second, iou(first[:4].T, second[:4].T))


def test_matches_add_up_to_the_most_and_empty_lists_have_none() -> None:
    # The first overlaps both; to take its best would leave the second alone.
    first = np.array([[0, 0, 10, 10, 1, 0], [0, 0, 10, 5, 1, 0]], np.float32).T
    second = np.array([[0, 0, 10, 8, 1, 0], [0, 0, 10, 15, 1, 0]], np.float32).T
    assert sorted(matched(first, second)) == [(0, 1), (1, 0)]
    nothing = np.zeros((6, 0), np.float32)
    assert matched(nothing, second) == matched(first, nothing) == []
    assert two_views([], [])["detections"] == 0
    assert iou(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 0]])).tolist() == [[0.0]]
    found = two_views([[-20, -20, 30, 30, 0.9, 1]], [[-18, -19, 32, 31, 0.9, 1]])  # outside the picture
    assert (found["detections"], found["at_border"]) == (0, 2)


# --- average precision ---------------------------------------------------------------------------------------------


def random_scene(random: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images with objects, and detections near some of them; few confidences, so that there are ties."""
    truth, found = [], []
    for _ in range(random.integers(1, 5)):
        corners = random.uniform(0, 80, (random.integers(0, 6), 2))
        objects = np.hstack([corners, corners + random.uniform(5, 40, corners.shape)])
        labels = random.integers(0, 3, (len(objects), 1)).astype(float)
        near = np.repeat(objects, 2, 0) + random.normal(0, 3, (2 * len(objects), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        kinds = np.where(
            random.random((len(near), 1)) < 0.8, np.repeat(labels, 2, 0), random.integers(0, 3, (len(near), 1))
        )
        sure = random.permutation(np.linspace(0.05, 1, max(len(near), 1)))[: len(near), None]
        truth.append(np.hstack([objects, labels]))
        found.append(np.hstack([near, sure, kinds]).T.astype(np.float32))
    return truth, found


def by_coco(truth: list[np.ndarray], found: list[np.ndarray]) -> tuple[float, float]:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    boxes = [(image, row) for image, rows in enumerate(truth) for row in rows]
    with contextlib.redirect_stdout(io.StringIO()):
        right = coco.COCO()
        right.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": label} for label in range(3)],
            "annotations": [
                {
                    **{"id": number + 1, "image_id": image, "category_id": int(row[4]), "iscrowd": 0},
                    **{"bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]], "area": 100.0},
                }
                for number, (image, row) in enumerate(boxes)
            ],
        }
        right.createIndex()
        answers = [
            {
                **{"image_id": image, "category_id": int(row[5]), "score": float(row[4])},
                "bbox": [float(row[0]), float(row[1]), float(row[2]) - float(row[0]), float(row[3]) - float(row[1])],
            }
            for image, columns in enumerate(found)
            for row in columns.T
        ]
        judge = evaluation.COCOeval(right, right.loadRes(answers), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]
    return tuple(float(p[p > -1].mean()) for p in (precision, precision[0]))  # type: ignore[return-value]


def judged(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, ...]:
    """An image for `average_precision`."""
    labels = truth[:, 4].astype(int)
    return found[4], found[5].astype(int), hits(found, labels, iou(found[:4].T, truth[:, :4])), labels


def test_average_precision_is_coco_s() -> None:
    random = np.random.default_rng(0)
    compared = 0
    while compared < 200:
        truth, found = random_scene(random)
        if not sum(map(len, truth)):
            continue
        images = [judged(t, f) for t, f in zip(truth, found, strict=True)]
        mine = [average_precision(images, np.ones((1, len(images)), int), thresholds)[0] for thresholds in (10, 1)]
        assert mine == pytest.approx(by_coco(truth, found), abs=1e-6)
        compared += 1


def test_a_sample_of_images_is_that_many_copies() -> None:
    truth, found = random_scene(np.random.default_rng(3))
    images = [judged(t, f) for t, f in zip(truth, found, strict=True)]
    weights = np.array([[2, 0, 1, 3][: len(images)]])
    copies = [one for one, times in zip(images, weights[0], strict=True) for _ in range(times)]
    assert average_precision(images, weights)[0] == pytest.approx(
        average_precision(copies, np.ones((1, len(copies)), int))[0], abs=1e-12
    )
    assert np.isnan(AveragePrecision().estimate().value)


# --- whole path ----------------------------------------------------------------------------------------------------


class Bright(nn.Module):
    """Finds the bright square of a picture: equivariant by construction."""

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for picture in x.mean(1):
            rows, columns = torch.nonzero(picture > 0.5, as_tuple=True)
            some = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1] if len(rows) else []
            boxes = torch.tensor([[some[1], some[0], some[3], some[2]]] if some else []).reshape(-1, 4).float()
            found.append({"boxes": boxes, "scores": torch.full((len(boxes),), 0.9), "labels": torch.ones(len(boxes))})
        return found


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures of 72 pixels, in each a bright square of 16, and the boxes that say where."""
    folder = tmp_path_factory.mktemp("squares")
    (folder / "images").mkdir()
    (folder / "boxes").mkdir()
    for number, (left, top) in enumerate(((20, 24), (30, 40), (24, 16), (40, 30))):
        pixels = np.zeros((72, 72, 3), np.uint8)
        pixels[top : top + 16, left : left + 16] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        shares = [(left + 8) / 72, (top + 8) / 72, 16 / 72, 16 / 72]
        (folder / "boxes" / f"{number}.txt").write_text(f"1 {' '.join(map(str, shares))}\n")
    return folder / "images", folder / "boxes"


@pytest.mark.parametrize("protocol", ["crop:span=4", "grid", "circular:pixels=3", "horizontal:pixels=4", "pad"])
def test_what_moves_with_the_content_is_kept_and_right(squares: tuple[Path, Path], protocol: str) -> None:
    result = al.measure_jitter(network(Bright()), squares[0], protocol, output="boxes", truth=squares[1])
    found = result.summary()["models"]["net"]
    assert found["lost_or_renamed"]["value"] == found["confidence_change"]["value"] == 0
    assert found["matched_iou"]["value"] == found["ap"]["value"] == found["ap_worst"]["value"] == 1
    assert found["lost_or_renamed"]["high"] > 0
    assert 0 < found["ap"]["low"] <= 1
    assert "lost or renamed" in str(result)


def test_a_truth_that_is_one_pixel_off_costs_what_the_overlap_says(squares: tuple[Path, Path]) -> None:
    result = al.measure_jitter(network(Bright()), squares[0], "crop:span=2", output="boxes", truth=squares[1])
    found = result.summary()["models"]["net"]
    assert found["ap"]["value"] == 1
    # Of squares of 16 pixels, 15² of 2·16² − 15² overlap, 0.784: enough for 0.5, 0.55 … 0.75, six thresholds of ten.
    assert found["ap_moved_truth"]["value"] == pytest.approx(0.6)


def test_duckdb_makes_a_row_of_each_match(squares: tuple[Path, Path], tmp_path: Path) -> None:
    """As the documentation says, which needs no second table."""
    al.measure_jitter(network(Bright()), squares[0], "crop:span=2", output="boxes", truth=squares[1], out=tmp_path)
    records = f"from '{tmp_path}/records/*/*.parquet'"
    kept = "unnest(kept_confidence_change) as change, unnest(kept_iou) as overlap, unnest(kept_centre_distance) as off"
    rows = duckdb.sql(f"select name, pair, {kept} {records} order by name, pair").fetchall()
    assert rows == [(f"{image}.png", pair, 0.0, 1.0, 0.0) for image in range(4) for pair in range(2)]
    detections = (
        "unnest(first_confidences) as confidence, unnest(first_classes) as class, unnest(first_hits) & 1 as hit"
    )
    rows = duckdb.sql(f"select count(*), min(class), sum(hit) from (select {detections} {records} where pair = 0)")
    assert rows.fetchall() == [(4, 1, 4)]


def test_boxes_are_placed_like_the_picture(tmp_path: Path) -> None:
    """A photograph that is reduced and cropped: 200×120 to 72 on its shorter side, then windows of 64."""
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.2\n3 0.01 0.5 0.02 0.2\n")
    image = next(iter(al.images.open_images(tmp_path / "a.png"))).load()
    first, second = BoxFiles.open(tmp_path).of(image, make_protocol("crop:span=1"), network(Bright()), 0)
    scale = 72 / 120
    left, top = round((200 * scale - 65) / 2), round((72 - 65) / 2)
    by_hand = np.array([90, 48, 110, 72]) * scale - [left, top, left, top]
    assert first.shape == second.shape == (1, 5)  # what is cut off is not there
    # The places are fitted to nearest pixels, which are known to a fraction of a pixel.
    np.testing.assert_allclose(first[0], [*by_hand, 0], atol=0.1)
    np.testing.assert_allclose(second[0], first[0] - [1, 1, 1, 1, 0], atol=1e-9)


def test_a_function_of_one_s_own_says_what_the_answer_is(squares: tuple[Path, Path]) -> None:
    def answer(module: nn.Module, batch: Tensor) -> list[Tensor]:
        return [torch.tensor([[10.0, 10, 20, 20, 0.9, 2]]) for _ in module(batch)]

    found = al.measure_jitter(network(nn.Identity(), answer), squares[0], output="boxes").summary()["models"]["net"]
    assert found["lost_or_renamed"]["value"] == 0  # one pixel of ten overlaps by more than a half
    assert found["centre_distance"]["value"] == pytest.approx(np.sqrt(2))
    other = al.load_model(network(nn.Identity()), answer=answer)
    assert other.identity != network(nn.Identity()).identity


def test_what_cannot_be_used_is_told_in_one_line(squares: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="n×6"):
        al.measure_jitter(
            network(nn.Identity(), lambda m, x: [torch.zeros(3, 4) for _ in x]), squares[0], output="boxes"
        )
    logits = torch.tensor([[1.0, 1, 5, 5, 3.2, 0]])
    with pytest.raises(InputError, match=r"confidences of 3\.2 to 3\.2"):
        al.measure_jitter(network(nn.Identity(), lambda m, x: [logits for _ in x]), squares[0], output="boxes")
    with pytest.raises(UsageError, match="boxes have none"):
        al.measure_jitter(network(Bright()), squares[0], output="boxes", truth=squares[1], void=3)
    for number, text in enumerate(("1 0.5 0.5 0.1", "1 0.5 0.5 nan 0.1", "cat 0.5 0.5 0.1 0.1", "1 2 0.5 0.1 0.1")):
        (tmp_path / f"{number}.txt").write_text(text)
    with pytest.raises(InputError, match=r"4 skipped; the first is 0\.png: 0\.txt must have lines of a class and four"):
        al.measure_jitter(network(Bright()), squares[0], output="boxes", truth=tmp_path)


def test_real_detections_are_as_measured_elsewhere(coco: Path, weights: Path) -> None:
    """On these and 64 more photographs: AP50 0.357, overlap 0.844, change of confidence 0.045."""
    detector = _detectors.fastestdet(weights / "fastestdet.safetensors")
    result = al.measure_jitter(
        detector, coco / "images", "crop:span=1", output="boxes", truth=coco / "boxes", sample=32
    )
    found = result.summary()["models"]["fastestdet"]
    for name, value in (("ap50", 0.357), ("matched_iou", 0.844), ("confidence_change", 0.045)):
        assert found[name]["low"] <= value <= found[name]["high"]
    assert found["ap"]["value"] < found["ap50"]["value"]
    assert found["threshold_crossed"]["value"] > 0.3 * found["lost_or_renamed"]["value"]


def test_a_detector_of_torchvision_loads_by_name_and_is_converted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(module.state_dict(), tmp_path / "net.pth")
    loaded = al.load_model(f"file:{tmp_path}/net.pth@torchvision:ssdlite320_mobilenet_v3_large")
    assert loaded.input_size == 320
    assert loaded.labels is not None
    assert loaded.labels[1] == "person"
    converted = al.antialias(loaded, taps="binomial3")
    result = al.measure_jitter([loaded, converted], "sample", "crop:span=1", output="boxes", limit=1)
    # Random weights are sure of nothing: no detection, and no difference, but no traceback either.
    (difference,) = result.summary()["differences"]
    assert difference["lost_or_renamed"]["value"] is None
