"""Label maps: what moves with the content agrees, ground truth moves along, and ratios have intervals that cover."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.estimates import MeanRatio, MeanRatioDifference
from aliasing.jitter.network import ClassMap
from aliasing.outputs.masks import boundary_band
from aliasing.outputs.overlap import overlap
from aliasing.outputs.truth import LabelMaps
from aliasing.sounds import Sound
from experiments import _scenes

REPETITIONS = 600


# --- estimates ---------------------------------------------------------------------------------------------------


def scenes(images: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersections of two networks, and unions: classes that are rare or frequent, small or large; images vary."""
    classes = 11
    occurs = random.random((images, classes)) < np.linspace(0.15, 1, classes)
    union = np.where(occurs, np.exp(random.normal(6, 1, (images, classes))), 0).round()
    ease = np.log(np.linspace(0.3, 0.9, classes) / (1 - np.linspace(0.3, 0.9, classes)))
    ease = ease + random.normal(0, 0.5, (images, 1)) + random.normal(0, 0.8, (images, classes))
    better = ease + 0.1 + random.normal(0, 0.3, (images, classes))
    first, second = ((union / (1 + np.exp(-x))).round() for x in (ease, better))
    return first, second, union


@pytest.mark.parametrize("images", [20, 59, 200])
def test_intervals_of_mean_ratios_cover(images: int) -> None:
    random = np.random.default_rng(images)
    first, second, union = scenes(300_000, random)
    truth, other = ((x.sum(0) / union.sum(0)).mean() for x in (first, second))
    covered = np.zeros(2)
    for _ in range(REPETITIONS):
        a, b, both = scenes(images, random)
        alone, paired = MeanRatio(), MeanRatioDifference()
        alone.add(a, both)
        paired.add(np.hstack([a, b]), np.hstack([both, both]))
        for place, (metric, right) in enumerate(((alone, truth), (paired, other - truth))):
            found = metric.estimate()
            assert found.low <= found.value <= found.high
            covered[place] += found.low <= right <= found.high
    assert (covered / REPETITIONS >= 0.93).all()  # as for rates (test_estimates)


def test_a_mean_ratio_is_merged_and_never_certain() -> None:
    random = np.random.default_rng(0)
    first, _, union = scenes(30, random)
    whole, parts = MeanRatio(), MeanRatio()
    whole.add(first, union)
    for block in np.array_split(np.arange(30), 7):
        part = MeanRatio()
        part.add(first[block], union[block])
        parts.merge(part)
    for a, b in zip(vars(parts.estimate()).values(), vars(whole.estimate()).values(), strict=True):
        assert a == pytest.approx(b, rel=1e-9)  # the same sums in another order
    perfect = MeanRatio()
    perfect.add(union, union)
    found = perfect.estimate()
    assert found.low < 0.95 < found.value == found.high == 1


# --- what both views show ------------------------------------------------------------------------------------------


@given(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), st.booleans())
def test_overlap_is_the_same_content(shift: tuple[int, int], circular: bool) -> None:
    content = np.arange(30 * 30).reshape(30, 30)
    (dy, dx), size = shift, 12
    first = content[8 : 8 + size, 8 : 8 + size]
    second = np.roll(first, shift, (0, 1)) if circular else content[8 - dy : 8 - dy + size, 8 - dx : 8 - dx + size]
    a, b = overlap(first, second, shift, circular)
    assert np.array_equal(a, b)
    assert a.shape == ((size, size) if circular else (size - abs(dy), size - abs(dx)))


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_plane_is_interpolated_exactly(dy: float, dx: float) -> None:
    y, x = np.mgrid[:9, :11].astype(np.float64)
    a, b = overlap(2 * y + 3 * x, 2 * (y - dy) + 3 * (x - dx), (dy, dx))
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, atol=1e-12)  # numbers up to 60 in float64


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_band_is_what_is_near_another_class(reach: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (12, 14)).repeat(5, 0).repeat(5, 1)
    cross = ndimage.generate_binary_structure(2, 1)
    edges = ndimage.maximum_filter(labels, footprint=cross) != ndimage.minimum_filter(labels, footprint=cross)
    grown = ndimage.maximum_filter(edges, size=2 * reach - 1)
    assert np.array_equal(boundary_band(labels, reach), grown)
    assert not boundary_band(np.zeros((5, 5), int), reach).any()


# --- networks ------------------------------------------------------------------------------------------------------


class Thresholds(nn.Module):
    """Equivariant by construction: the class of a pixel is how bright it is."""

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean(1, keepdim=True)
        return torch.cat([-((brightness - level) ** 2) for level in (0.1, 0.5, 0.9)], 1) * 20


class Halved(Thresholds):
    """The same at half the resolution, which depends on the phase of the grid."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., ::2, ::2]


class Constant(nn.Module):
    """Always the same class."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) + torch.tensor([0.0, 2.0, 1.0])[:, None, None]


def network(module: nn.Module, name: str = "net", size: tuple[int, int] = (24, 32)) -> al.Classifier:
    return al.Classifier(module, name, size, (0.0,) * 3, (1.0,) * 3, "bilinear", (40, 48), 1.0)


@pytest.fixture(scope="module")
def scene_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures in three levels, and the label maps that they show."""
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(6):
        labels = random.integers(0, 3, (10, 12)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
        levels = np.array([26, 128, 230], np.uint8)[labels]
        Image.fromarray(levels[..., None].repeat(3, 2)).save(folder / "images" / f"{number}.png")
        labels[:14] = 7  # nothing is known of the upper rows
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
    return folder / "images", folder / "labels"


def measured(module: nn.Module, folders: tuple[Path, Path], protocol: str, **more: Any) -> dict[str, Any]:
    given = {"truth": folders[1], "void": 7} | more
    return al.measure_jitter(network(module), folders[0], protocol, output="masks", **given).summary()["models"]["net"]


@pytest.mark.parametrize("protocol", ["crop:span=3", "circular:pixels=3", "pad", "subpixel", "black:side=16"])
def test_what_moves_with_the_content_agrees(scene_folders: tuple[Path, Path], protocol: str) -> None:
    found = measured(Thresholds(), scene_folders, protocol)
    if protocol != "subpixel":  # there probabilities are interpolated between pixels
        assert found["pixel_agreement"]["value"] == found["miou_between"]["value"] == 1
        assert found["boundary_agreement"]["value"] == found["worst_agreement"]["value"] == 1
        assert found["total_variation"]["value"] == pytest.approx(0, abs=1e-6)  # a softmax in float32
    else:
        assert found["interior_agreement"]["value"] > 0.9
    if protocol == "crop:span=3":  # at the photograph's own size, so that both are cut alike
        assert found["miou"]["value"] == found["miou_worst"]["value"] == 1


def test_the_truth_moves_like_the_picture(scene_folders: tuple[Path, Path]) -> None:
    """Against a loop by hand over the windows of protocol crop."""
    found = measured(Halved(), scene_folders, "crop:span=1")
    intersection, union = np.zeros((3, 6)), np.zeros((3, 6))
    agreement = []
    for number in range(6):
        picture = np.asarray(Image.open(scene_folders[0] / f"{number}.png"), np.float32) / 255
        labels = np.asarray(Image.open(scene_folders[1] / f"{number}.png"))
        maps = {}
        top, left = round((40 - 25) / 2), round((48 - 33) / 2)
        for corner in ((0, 0), (1, 1)):
            y, x = top + corner[0], left + corner[1]
            window = torch.tensor(picture[y : y + 24, x : x + 32]).permute(2, 0, 1)[None]
            answer = nn.functional.interpolate(Halved()(window), (24, 32), mode="bilinear")
            maps[corner] = answer[0].argmax(0).numpy(), labels[y : y + 24, x : x + 32]
        first, second = maps[0, 0][0], maps[1, 1][0]
        agreement.append((first[1:, 1:] == second[:-1, :-1]).mean())
        guess, right = maps[0, 0]
        for label in range(3):
            intersection[label, number] += ((guess == label) & (right == label)).sum()
            union[label, number] += (((guess == label) | (right == label)) & (right != 7)).sum()
    assert found["pixel_agreement"]["value"] == pytest.approx(np.mean(agreement), abs=1e-6)
    by_hand = (intersection.sum(1) / union.sum(1)).mean()
    assert found["miou"]["value"] == pytest.approx(by_hand, abs=1e-9)


def test_a_constant_answer_agrees_and_is_right_by_chance(scene_folders: tuple[Path, Path]) -> None:
    found = measured(Constant(), scene_folders, "crop:span=2")
    assert found["pixel_agreement"]["value"] == 1
    assert found["boundary_agreement"]["value"] is None
    assert found["miou"]["value"] == pytest.approx(1 / 9, abs=0.04)  # a third of the pixels, of three classes


def test_a_network_of_one_logit_has_two_classes(scene_folders: tuple[Path, Path]) -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": 9 * (x.mean(1, keepdim=True) - 0.3)}

    found = measured(One(), scene_folders, "crop:span=1", truth=None, void=None)
    assert found["pixel_agreement"]["value"] == 1
    assert "miou" not in found or found["miou"]["value"] is None


def test_swapping_the_views_changes_nothing() -> None:
    from aliasing.outputs.masks import Masks
    from aliasing.protocols import View, Views

    random = np.random.default_rng(0)
    coarse = random.dirichlet(np.ones(4), (2, 3, 4)).transpose(0, 3, 1, 2).astype(np.float32)
    outputs = [ClassMap.of(one) for one in coarse.repeat(9, 2).repeat(9, 3)]
    views = (View((0.0, 0.0), 0.0, lambda: coarse), View((2.0, -1.0), 2.0, lambda: coarse))
    masks = Masks(network(Constant()))
    there = masks.compare(outputs, Views(views, ((0, 1),)), None)  # type: ignore[arg-type]
    back = masks.compare(outputs, Views(views, ((1, 0),)), None)  # type: ignore[arg-type]
    assert there.keys() == back.keys()
    for name in ("pixel_agreement", "boundary_agreement", "interior_agreement", "soft_change"):
        assert there[name] == pytest.approx(back[name], rel=1e-6)  # sums in float32 in another order
    assert there["between_union"] == back["between_union"]


# --- ground truth --------------------------------------------------------------------------------------------------


def test_truth_that_cannot_be_used_is_told_in_one_line(scene_folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = scene_folders
    net = network(Thresholds())
    with pytest.raises(InputError, match="class 7, and the network has 3 classes; say which number is no class: void"):
        al.measure_jitter(net, images, output="masks", truth=labels)
    with pytest.raises(UsageError, match="void 7 is a number in label maps; say where they are: truth"):
        al.measure_jitter(net, images, output="masks", void=7)
    with pytest.raises(UsageError, match="output masks needs a protocol that shifts the content; rotate does not"):
        al.measure_jitter(net, images, "rotate", output="masks")
    with pytest.raises(InputError, match="no PNG label maps"):
        al.measure_jitter(net, images, output="masks", truth=tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        al.measure_jitter(net, images, output="masks", truth=tmp_path / "nowhere")
    sounds = al.load_model(nn.Conv1d(1, 3, 3), input_size=(64,), rate=8000, channels=1)
    with pytest.raises(UsageError, match="output masks is for networks of pictures; Conv1d takes sounds"):
        al.measure_jitter(sounds, [Sound(np.zeros(99), 8000)], output="masks", truth=labels)
    with pytest.raises(UsageError, match="measured against labels"):
        al.measure_jitter("pypi:efficientnet_lite0", images, truth=labels)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(tmp_path / "1.png")
    skipped = al.measure_jitter(net, images, output="masks", truth=tmp_path).summary()["images"]["skipped"]
    assert skipped["0.png"] == "its label map has 5×5 pixels, and the picture has 40×48"
    assert skipped["2.png"] == f"no label map in {tmp_path}"
    assert "1.png" not in skipped


def test_coloured_maps_need_a_table(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 0]], np.uint8)
    Image.fromarray(colours[[[0, 1, 2]]]).save(tmp_path / "a.png")
    maps = LabelMaps.open(tmp_path, 255)
    with pytest.raises(InputError, match=r"colours\.csv must say which colour is which class"):
        maps._read(tmp_path / "a.png")
    (tmp_path / "colours.csv").write_text("class,red,green,blue\n0,255,0,0\n1,0,255,0\n255,0,0,0\n")
    from aliasing.outputs import truth

    truth._table.cache_clear()
    assert maps._read(tmp_path / "a.png").tolist() == [[1, 2, 0]]
    assert LabelMaps.open(tmp_path, 255).digest != maps.digest


# --- real networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_real_scenes_agree_as_was_measured_elsewhere(camvid: Path, weights: Path, sample: int | None) -> None:
    """On all 233 scenes: mIoU and pixel agreement of ESPNet 0.570 and 0.958, of ENet 0.533 and 0.933."""
    networks = [_scenes.espnet(weights / "espnet.safetensors"), _scenes.enet(weights / "enet.safetensors")]
    truth = {"truth": camvid / "labels", "void": _scenes.VOID}
    summary = al.measure_jitter(
        networks, camvid / "images", "crop:span=1", output="masks", sample=sample, **truth
    ).summary()
    for name, miou, agreement in (("espnet", 0.570, 0.958), ("enet", 0.533, 0.933)):
        found = summary["models"][name]
        assert found["pixel_agreement"]["value"] == pytest.approx(agreement, abs=0.02 if sample else 0.004)
        if not sample:  # of a few scenes it depends on which
            assert found["miou"]["low"] <= miou <= found["miou"]["high"]
    assert summary["differences"][0]["pixel_agreement"]["high"] < 0


def test_a_network_of_torchvision_loads_by_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(module.state_dict(), tmp_path / "net.pth")
    loaded = al.load_model(f"file:{tmp_path}/net.pth@torchvision:lraspp_mobilenet_v3_large", input_size=96)
    assert loaded.labels is not None
    assert loaded.labels[0] == "__background__"
    found = al.measure_jitter(loaded, "sample", "crop:span=1", output="masks", limit=1).summary()["models"]
    assert 0 < found[loaded.name]["pixel_agreement"]["value"] <= 1


def test_probabilities_are_not_flattened_by_a_second_softmax() -> None:
    from aliasing.jitter.network import _class_map, _scale_of

    def probable(answer: Tensor) -> np.ndarray:
        return np.stack([_class_map(one, _scale_of(answer), (6, 7)).probable for one in answer])

    logits = torch.randn(2, 5, 6, 7) * 3
    rows = logits.contiguous(memory_format=torch.channels_last)
    for answer in (logits, rows, logits.softmax(1)):
        # OpenCV's exponential is right to 1.2e-7 of its value, as are five terms of a sum in float32.
        np.testing.assert_allclose(probable(answer), logits.softmax(1), rtol=1e-6)
    one = logits[:, :1]
    both = torch.cat([(-one).sigmoid(), one.sigmoid()], 1)
    for single in (one, one.sigmoid()):
        # 1 − σ(x) is σ(−x) but for float32's rounding.
        np.testing.assert_allclose(probable(single), both, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_the_most_probable_class_is_the_first_of_the_greatest(classes: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (classes, 3, 5)).astype(np.float32)  # with ties
    for made in (ClassMap.of, ClassMap.of_logits):
        assert np.array_equal(made(scores.copy()).labels, scores.argmax(0))


def test_logits_that_are_not_numbers_give_no_probabilities() -> None:
    for bad in (np.nan, np.inf):
        logits = np.zeros((3, 2, 2), np.float32)
        logits[1, 0, 0] = bad
        assert np.isnan(ClassMap.of_logits(logits).probable).sum() == 3  # of this pixel alone
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1, 0, 0] = -np.inf
    assert ClassMap.of_logits(logits).probable[:, 0, 0].tolist() == [0.5, 0, 0.5]


def test_a_protocol_that_invents_pixels_has_no_truth(scene_folders: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="protocol inpaint invents pixels"):
        measured(Thresholds(), scene_folders, "inpaint")


def test_networks_with_different_numbers_of_classes_differ_by_the_classes_of_both(
    scene_folders: tuple[Path, Path],
) -> None:
    def fourth(module: nn.Module, pictures: Tensor) -> Tensor:
        """A class more, which is never the answer."""
        answer = module(pictures)
        return torch.cat([answer, torch.full_like(answer[:, :1], -99.0)], 1)

    networks = [network(Halved(), "three"), al.Classifier(**{**vars(network(Halved(), "four")), "answer": fourth})]
    found = al.measure_jitter(networks, scene_folders[0], "crop:span=2", output="masks").summary()
    assert found["differences"][0]["miou_between"]["value"] == 0
    three, four = (found["models"][name]["miou_between"] for name in ("three", "four"))
    assert three == pytest.approx(four, rel=1e-9)  # the same sums in another order


def test_each_class_has_its_own_ratio(scene_folders: tuple[Path, Path]) -> None:
    """Moved by whole pixels of a label map, as counted by hand from the records."""
    named = al.Classifier(**{**vars(network(Halved())), "labels": ("dark", "grey", "bright")})
    result = al.measure_jitter(named, scene_folders[0], "crop:span=2", output="masks", truth=scene_folders[1], void=7)
    found = result.summary()["models"]["net"]
    for measure, view in (("miou_between", "between"), ("miou", "first")):
        records = result.records
        if view == "first":  # of an image's first views
            records = records.filter(pc.equal(records["pair"], 0))
        counts = [np.array(records[f"{view}_{what}"].to_pylist()).sum(0) for what in ("intersection", "union")]
        for name, intersection, union in zip(named.labels or (), *counts, strict=True):
            estimate = found["by_class"][measure][name]
            assert estimate["low"] < estimate["value"] < estimate["high"]
            assert measure == "miou" or estimate["value"] == pytest.approx(intersection / union)
        mean = np.mean([estimate["value"] for estimate in found["by_class"][measure].values()])
        assert mean == pytest.approx(found[measure]["value"])
