"""Networks against depth: counted layers, matched margins and contrasts whose values are known."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision

import aliasing as al
from aliasing import plots
from aliasing.depth.across import NetworkDepth, compare_depths, family_of, network_depth
from aliasing.depth.matching import MatchedJitter
from aliasing.errors import InputError
from aliasing.estimates import Difference, contrast
from aliasing.provenance import write_json
from tests import cifar_resnet


@pytest.mark.parametrize(
    ("name", "layers", "stride"),
    [("vgg16", 16, 32), ("resnet50", 50, 32), ("densenet201", 201, 32), ("alexnet", 8, 32), ("vit_b_16", 50, 16)],
)
def test_the_layers_are_those_that_the_networks_are_named_for(name: str, layers: int, stride: int) -> None:
    # A transformer's: the patch embedding, four to each of twelve blocks, and the head.
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    depth = network_depth(network)
    assert (depth.layers, depth.cumulative_stride) == (layers, stride)


@pytest.mark.parametrize("layers", [20, 32, 44, 56])
def test_a_converted_network_is_as_deep_as_its_original(layers: int) -> None:
    plain = getattr(cifar_resnet, f"resnet{layers}")()
    assert network_depth(plain) == NetworkDepth(layers, sites=4, cumulative_stride=4.0)
    assert network_depth(al.antialias(plain)) == network_depth(plain)


def test_a_family_is_a_name_without_numbers() -> None:
    names = {
        "torchvision:vgg16.IMAGENET1K_V1": "vgg",
        "file:a/b1.safetensors@module:tests.cifar_resnet:resnet20": "resnet",
        "antialiased:flc:timm:resnet50.a1_in1k": "resnet, anti-aliased",
    }
    assert {name: family_of(name) for name in names} == names


def records(rows: list[tuple[str, float, bool, float, bool]]) -> pa.Table:
    """Rows of (image, margin, changed, movement of the probability, first view right)."""
    names, margins, changed, movement, right = zip(*rows, strict=True)
    return pa.table(
        {
            "name": list(names),
            "label": pa.array([1 if r else 0 for r in right], pa.int32()),
            "first_top1": pa.array([1] * len(rows), pa.int32()),
            "second_top1": pa.array([2 if c else 1 for c in changed], pa.int32()),
            "first_probability": pa.array([0.75] * len(rows), pa.float32()),
            "second_probability": pa.array([0.75 - m for m in movement], pa.float32()),
            "first_margin": pa.array(margins, pa.float32()),
        }
    )


def test_networks_that_jitter_alike_at_equal_margins_are_equal_when_matched() -> None:
    # Half of the pairs change at a small margin and none at a large one; one network is unsure more often.
    unsure = records([(str(k), 0.03 if k < 10 else 0.95, k < 5, 0.25 * (k < 10), True) for k in range(20)])
    sure = records([(str(k), 0.03 if k < 2 else 0.95, k < 1, 0.25 * (k < 2), k < 1) for k in range(20)])
    jitter = MatchedJitter({"unsure": lambda: [unsure], "sure": lambda: [sure.slice(0, 7), sure.slice(7)]})
    assert jitter.estimate("unsure", "top1_change", "all").value == pytest.approx(0.25)
    assert jitter.estimate("sure", "top1_change", "all").value == pytest.approx(0.05)
    # The common distribution has (0.5 + 0.1) / 2 = 0.3 of the pairs at the small margin: 0.3 · 0.5 = 0.15.
    for network in ("unsure", "sure"):
        assert jitter.estimate(network, "top1_change", "matched").value == pytest.approx(0.15)
        assert jitter.estimate(network, "mac", "matched").value == pytest.approx(0.3 * 0.25)
    difference = jitter.contrast({"unsure": -1, "sure": 1}, "top1_change", "matched")
    assert difference.value == pytest.approx(0, abs=1e-12)
    assert difference.low < 0 < difference.high
    assert jitter.contrast({"unsure": -1, "sure": 1}, "top1_change", "all").value == pytest.approx(-0.2)
    assert jitter.estimate("sure", "top1_change", "right").value == 1  # of its one right pair
    assert jitter.left_out == {"unsure": 0, "sure": 0}


def test_margins_without_a_counterpart_are_left_out_for_all() -> None:
    first = records([("a", 0.03, True, 0.2, True), ("b", 0.95, False, 0.0, True)])
    second = records([("a", 0.35, True, 0.2, True), ("b", 0.95, False, 0.0, True)])
    jitter = MatchedJitter({"first": lambda: [first], "second": lambda: [second]})
    assert jitter.left_out == {"first": 0.5, "second": 0.5}
    assert jitter.estimate("first", "top1_change", "matched").value == 0


def test_without_labels_nothing_is_known_of_right_pairs() -> None:
    table = records([("a", 0.5, False, 0.0, True), ("b", 0.5, True, 0.1, True)])
    table = table.set_column(1, "label", pa.nulls(2, pa.int32()))
    jitter = MatchedJitter({"one": lambda: [table], "two": lambda: [table]})
    assert math.isnan(jitter.estimate("one", "mac", "right").value)
    assert math.isnan(jitter.contrast({"one": -1, "two": 1}, "mac", "right").value)
    assert jitter.contrast({"one": -1, "two": 1}, "mac", "all").value == 0


def test_the_contrast_of_two_is_the_paired_difference() -> None:
    random = np.random.default_rng(0)
    totals = random.integers(0, 9, (2, 30)).astype(float)
    for binary in (True, False):
        difference = Difference(binary=binary)
        difference.add(totals[1] - totals[0], 8)
        expected, found = difference.estimate(), contrast(totals, np.full((2, 30), 8), [-1, 1], binary=binary)
        # The same arithmetic in another order: a few roundings of numbers around 1.
        assert (found.value, found.low, found.high) == pytest.approx(
            (expected.value, expected.low, expected.high), abs=1e-12
        )


def test_the_slope_of_a_line_is_its_slope() -> None:
    x = np.log2([20, 32, 44, 56])
    slope = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    rates = 0.3 - 0.05 * x
    found = contrast(np.tile(rates[:, None] * 4, 25), np.full((4, 25), 4), slope)
    assert found.value == pytest.approx(-0.05, abs=1e-12)
    assert found.low < -0.05 < found.high  # never of zero width


def test_a_contrast_covers_the_truth() -> None:
    random = np.random.default_rng(1)
    coefficients, rates, covered = np.array([-0.6, -0.1, 0.7]), np.array([0.12, 0.1, 0.08]), 0
    for _ in range(400):
        shared = random.beta(0.5, 4, 60) * 9  # some images jitter under every network
        totals = random.binomial(8, np.clip(rates[:, None] * shared, 0, 1))
        found = contrast(totals, np.full((3, 60), 8), coefficients, binary=True)
        truth = float(coefficients @ rates) * 9 * (0.5 / 4.5)
        covered += found.low <= truth <= found.high
    # Of 400 intervals that hold 95 % each, 372 (93 %) or more cover in all but 4 % of the runs; the clip moves little.
    assert covered >= 372


def tiny(seed: int) -> al.Classifier:
    torch.manual_seed(seed)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 10),
    )  # fmt: skip
    half = (0.5, 0.5, 0.5)
    return al.Classifier(module, f"tiny{seed}", 32, half, half, "bilinear", 40, 0.8)


def test_runs_are_compared_as_they_are_or_from_their_folders(tmp_path: Path) -> None:
    images = [
        (image, k % 10) for k, image in enumerate(np.random.default_rng(0).integers(0, 256, (9, 48, 48, 3), np.uint8))
    ]
    depths = {"tiny1": NetworkDepth(2, 1, 4.0), "tiny2": NetworkDepth(4, 1, 4.0), "tiny3": NetworkDepth(8, 2, 8.0)}
    kept = al.measure_jitter([tiny(1), tiny(2)], images, out=tmp_path)
    write_json(tmp_path / "summary.json", kept.summary())
    other = al.measure_jitter(tiny(3), images)
    found = compare_depths(
        [tmp_path, other], depths=depths, families={"tiny3": "other"}, unmeasured={"big": "no weights"}
    )
    (group,) = found.groups
    assert [(network["name"], network["layers"]) for network in group["networks"]] == [
        ("tiny1", 2),
        ("tiny2", 4),
        ("tiny3", 8),
    ]
    for network in group["networks"]:
        run = kept if network["name"] in kept.models else other
        whole = run.summary()["models"][network["name"]]
        assert network["top1_change"]["all"]["value"] == pytest.approx(whole["top1_change"]["value"])
        assert network["mac"]["all"]["high"] == pytest.approx(whole["mac"]["high"])
        assert network["accuracy"] == whole["accuracy"]
    (trend,) = group["trends"]
    assert trend["networks"] == ["tiny1", "tiny2"]
    rise = kept.summary()["differences"][0]["mac"]["value"]  # from 2 to 4 layers: one doubling
    assert trend["per_doubling_of_layers"]["mac"]["all"]["value"] == pytest.approx(rise)
    (between,) = group["between_families"]
    assert (between["first"], between["second"]) == ("tiny", "other")
    assert found.summary()["not_measured"] == [{"name": "big", "reason": "no weights"}]
    plots.save(plots.across(found, "sites"), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it holds no summary\.json"):
        al.jitter.Jitter.open(tmp_path)
    result = al.measure_jitter(tiny(1), "sample", limit=1)
    write_json(tmp_path / "summary.json", result.summary())
    with pytest.raises(InputError, match="no records of tiny1"):
        al.jitter.Jitter.open(tmp_path)
    with pytest.raises(InputError, match="tiny1 is in two of the runs"):
        compare_depths([result, result], depths={"tiny1": NetworkDepth(1, 1, 1.0)})
