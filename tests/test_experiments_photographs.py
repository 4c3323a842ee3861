"""Experiments on photographs and pretrained networks: each with --quick, and the numbers that are known in advance."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aliasing.images import open_images
from aliasing.jitter import measure_jitter
from aliasing.models import load_model
from experiments.__main__ import main
from experiments._boxes import read_coco, read_imagenet, read_voc
from experiments._places import BlackPath, Places
from experiments.dataset_bias import SIZE, centroid, saliency
from experiments.location import _maps
from experiments.remedies import Averaged, ChosenCrop, without_training

NAMES = (
    "spectrum",
    "one_pixel",
    "crop_size",
    "table1",
    "location",
    "dataset_bias",
    "resamplers",
    "filters",
    "remedies",
    "leaderboard",
)


@pytest.fixture
def summary(quick: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    return quick


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_leaves_its_figure_and_its_numbers(name: str, summary: Any) -> None:
    found = summary(name)
    assert found["quick"]
    assert found["pictures"]["figure.png"] > 10_000
    assert found["numbers"]
    for estimate in _estimates(found["numbers"]):
        assert estimate["low"] <= estimate["value"] <= estimate["high"]


def _estimates(tree: Any) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {"value", "low", "high"} and None not in tree.values():
            yield tree
        for item in tree.values():
            yield from _estimates(item)
    elif isinstance(tree, list):
        for item in tree:
            yield from _estimates(item)


def test_without_photographs_the_sample_is_measured(tmp_path: Path) -> None:
    assert main(["table1", "--quick", "--out", str(tmp_path), "--data", str(tmp_path / "nowhere")]) == 0
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["data"]["name"] == "sample"
    assert found["numbers"]["measured"]["accuracy"] == {}  # it has no labels


def test_a_full_run_without_photographs_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table1", "--out", str(tmp_path), "--data", str(tmp_path / "nowhere")]) == 1
    assert "imagenet-sample" in capsys.readouterr().err


def test_maximum_aliases_more_than_blur_at_no_less_baseband(summary: Any) -> None:
    numbers = summary("spectrum")["numbers"]
    for stride in ("stride 2", "stride 4"):
        operators = numbers["operators"][stride]
        alias = {name: row["alias_fraction"]["value"] for name, row in operators.items()}
        assert alias["max"] > alias["blur"]
        assert alias["subsample"] > alias["average"] > alias["blur"]
        # One minus a ratio of energies, each a sum with a relative rounding of a few 2e-16.
        assert alias["fourier"] < 1e-14
        assert operators["fourier"]["baseband_kept"]["value"] == pytest.approx(1, abs=1e-12)
    fair = numbers["maximum against blur-pool"]["stride 4"]
    kept, more = "photographs where the blur keeps at least as much", "of these where the maximum aliases more"
    assert fair[kept] >= 1
    assert fair[more] == fair[kept]


def test_natural_spectra_fall_about_as_the_square(summary: Any) -> None:
    # Field's 2 is a mean over photographs, whose exponents spread by about 0.5.
    assert -3.2 < summary("spectrum")["numbers"]["power_law_slope"]["value"] < -1.5


def test_resizers_that_filter_alias_less(summary: Any) -> None:
    numbers = summary("resamplers")["numbers"]
    alias = {name: row["alias_fraction"]["value"] for name, row in numbers["alias"].items()}
    assert max(alias["pil"], alias["torch"]) < alias["opencv-area"] < alias["opencv-linear"]
    # Reduced by 4, both take the same two pixels with the same weights; float32 against float32.
    assert alias["torch-aliased"] == pytest.approx(alias["opencv-linear"], rel=1e-4)
    (skew,) = numbers["skew"].values()
    assert skew["torch"]["pixel_difference"]["value"] < skew["opencv-linear"]["pixel_difference"]["value"]


def test_filters_pass_less_of_the_stop_band_the_longer_they_are(summary: Any) -> None:
    shares = [row["stopband_share"] for row in summary("filters")["numbers"]["filters"].values()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(0.5)  # no filter: half of the band lies above 1/4


def test_unmeasured_cells_are_marked(summary: Any) -> None:
    cells = summary("table1")["numbers"]["measured"]["top1_change"]["crop"]
    assert {"VGG16", "ResNet50", "DenseNet121", "EfficientNet-Lite0"} == set(cells)
    assert all(isinstance(cell, dict) or "no weights" in cell for cell in cells.values())


def test_averaging_costs_nine_passes_and_choosing_one(summary: Any) -> None:
    cost = summary("remedies")["numbers"]["cost"]["EfficientNet-Lite0"]
    assert cost["averaged over ±1 pixel"]["multiplications, relative"] == 9
    assert cost["chosen crop"]["multiplications, relative"] == 1
    assert cost["converted"]["multiplications, relative"] > 1


def test_averaged_probabilities_are_the_mean() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    x = torch.randn(2, 3, 6, 6)
    crops = [x[:, :, y : y + 4, z : z + 4] for y in range(3) for z in range(3)]
    expected = torch.stack([module(crop).softmax(1) for crop in crops]).mean(0)
    # log and softmax of float32 probabilities: a few units of 6e-8.
    torch.testing.assert_close(Averaged(module, 4)(x).softmax(1), expected, rtol=1e-5, atol=1e-6)


def test_a_shifted_picture_chooses_the_same_crop() -> None:
    """One strong point inside the candidates of both windows: the same content is shown, to the last bit."""
    canvas = 0.1 * torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    canvas[..., 7, 6] += 10
    chosen = ChosenCrop(nn.Flatten(), 8)
    views = [chosen(canvas[..., y : y + 13, x : x + 13]) for y in (0, 1) for x in (0, 1)]
    assert all(torch.equal(view, views[0]) for view in views)
    shown = views[0].reshape(3, 8, 8)
    assert torch.equal(shown[:, 4, 4], canvas[0, :, 7, 6])  # the point stands at the crop's centre


def test_a_chosen_crop_is_one_of_the_candidates_even_at_the_border() -> None:
    picture = torch.zeros(2, 3, 12, 12)
    picture[0, :, 4, 4], picture[1, :, 8, 8] = 1, 1  # the centres of the first and the last candidate
    shown = ChosenCrop(nn.Identity(), 8)(picture)
    assert torch.equal(shown[0], picture[0, :, :8, :8])
    assert torch.equal(shown[1], picture[1, :, 4:, 4:])


def test_remedies_without_training_keep_the_geometry() -> None:
    plain = load_model("pypi:efficientnet_lite0")
    for remedy in without_training(plain, room=15).values():
        assert remedy.input_size <= remedy.resize_size == plain.resize_size
        assert remedy.module(torch.zeros(1, 3, remedy.input_size, remedy.input_size)).shape == (1, 1000)


def test_places_move_the_photograph_and_nothing_else() -> None:
    model = load_model("pypi:efficientnet_lite0")
    image = next(iter(open_images([np.full((300, 400, 3), 200, np.uint8)]))).load()
    views = Places(step=45, count=3).views(image, model).views
    for view in views:
        picture = view.draw()
        rows, columns = (np.flatnonzero(picture.sum((axis, 2))) for axis in (1, 0))
        assert (len(rows), len(columns)) == (100, 100)
        assert (rows[0], columns[0]) == (62 + view.shift[0], 62 + view.shift[1])
    assert {view.shift for view in views} == {(y, x) for y in (-45, 0, 45) for x in (-45, 0, 45)}


def test_a_path_on_black_moves_down_and_right() -> None:
    model = load_model("pypi:efficientnet_lite0")
    image = next(iter(open_images([np.full((300, 400, 3), 200, np.uint8)]))).load()
    pictures = [view.draw() for view in BlackPath(pixels=3).views(image, model).views]
    assert len(pictures) == 4
    for before, after in pairwise(pictures):
        np.testing.assert_array_equal(before[:-1, :-1], after[1:, 1:])


def test_saliency_finds_the_object() -> None:
    """A textured patch on a smooth ground; the most salient point lies on it, and the map is a distribution."""
    random = np.random.default_rng(0)
    pixels = np.full((128, 128, 3), 120, np.uint8)
    pixels[80:100, 20:40] = random.integers(0, 255, (20, 20, 1))
    found = saliency(pixels)
    assert found.sum() == pytest.approx(1)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 80 / 128 <= (y + 0.5) / SIZE <= 100 / 128
    assert 20 / 128 <= (x + 0.5) / SIZE <= 40 / 128
    assert centroid(np.full((SIZE, SIZE), 1 / SIZE**2)) == pytest.approx((0.5, 0.5))


def test_uniform_maps_are_the_reference(summary: Any) -> None:
    uniform = summary("dataset_bias")["numbers"]["saliency"]["uniform"]
    points = np.random.default_rng(0).random((100_000, 2)) - 0.5
    # The standard error of this mean is 0.142 / √100,000 = 0.0005.
    assert uniform["distance of the most salient point"] == pytest.approx(np.hypot(*points.T).mean(), abs=0.002)


VOC = """<annotation><filename>{name}.jpg</filename><size><width>200</width><height>100</height><depth>3</depth></size>
<object><name>dog</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>
</object></annotation>"""


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC.format(name="a", left=1, top=1, right=200, bottom=100))
    (tmp_path / "b.xml").write_text(VOC.format(name="b", left=51, top=26, right=100, bottom=50))
    whole, part = read_voc(tmp_path)
    assert (whole.left, whole.top, whole.right, whole.bottom) == (0, 0, 1, 1)
    assert (part.image, part.category) == ("b", "dog")
    assert (part.left, part.top, part.right, part.bottom) == (0.25, 0.25, 0.5, 0.5)
    assert part.centre == (0.375, 0.375)
    assert part.area == 0.0625


def test_imagenet_counts_pixels_from_zero_in_class_folders(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    (tmp_path / "n01440764" / "n01440764_1.xml").write_text(VOC.format(name="x", left=0, top=0, right=99, bottom=49))
    (box,) = read_imagenet(tmp_path)
    assert (box.image, box.left, box.right, box.bottom) == ("n01440764_1", 0, 0.5, 0.5)


def test_coco_boxes_are_corner_and_size_and_crowds_are_left_out(tmp_path: Path) -> None:
    note = {"image_id": 7, "category_id": 3, "iscrowd": 0, "bbox": [50, 25, 100, 50]}
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [note, {**note, "iscrowd": 1}, {**note, "bbox": [150, 50, 100, 100]}],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    box, cut = read_coco(tmp_path / "c.json")
    assert (box.image, box.category) == ("a.jpg", "cat")
    assert (box.left, box.top, box.right, box.bottom) == (0.25, 0.25, 0.75, 0.75)
    assert (cut.right, cut.bottom) == (1, 1)  # what lies outside is cut off


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.xml", "<annotation>", read_voc),
        ("a.xml", "<annotation><size><width>1</width></size></annotation>", read_voc),
        ("a.json", "{}", read_coco),
        ("a.json", "nonsense", read_coco),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path: Path, name: str, content: str, read: Any) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"a\.(xml|json) is no"):
        list(read(tmp_path if name.endswith("xml") else tmp_path / name))


def test_boxes_are_measured_where_they_are_found(tmp_path: Path) -> None:
    (tmp_path / "VOC2012" / "Annotations").mkdir(parents=True)
    for number in range(3):
        text = VOC.format(name=number, left=81 + number, top=41, right=120 + number, bottom=60)
        (tmp_path / "VOC2012" / "Annotations" / f"{number}.xml").write_text(text)
    assert main(["dataset_bias", "--quick", "--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())["numbers"]
    assert numbers["boxes"]["VOC 2012"]["images"] == 3
    assert numbers["boxes"]["VOC 2012"]["largest box's centre in the middle quarter"]["value"] == 1
    assert numbers["boxes"]["VOC 2012"]["its share of the picture"]["value"] == pytest.approx(0.04)
    assert "VOC 2012" not in numbers["could not be measured here (no annotations)"]


class _Where(nn.Module):
    """Answers 0, 1, 2, 3: is the light above or below the middle, left or right of it?"""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        light = (x - x.amin()).mean(1)
        upper, left = light[:, :112].sum((1, 2)), light[:, :, :112].sum((1, 2))
        lower, right = light[:, 112:].sum((1, 2)), light[:, :, 112:].sum((1, 2))
        return torch.stack([upper + left, upper + right, lower + left, lower + right], 1)


def test_the_map_shows_the_place_of_the_content() -> None:
    """Above the middle stands what was measured with the photograph above the middle."""
    source = open_images([np.full((300, 400, 3), 200, np.uint8)])
    result = measure_jitter(_Where(), source, Places(step=45, count=3))
    (found,) = _maps(result, *result.models, 3).values()
    assert found["top1"][[0, 0, 2, 2], [0, 2, 0, 2]].tolist() == [0, 1, 2, 3]
