"""The same photographs through two resamplers: the numbers are those of a loop, and turn with the order."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.images import Image
from aliasing.protocols import Resamplers, make_protocol
from aliasing.resamplers import measure_skew
from aliasing.result import protocol_of


def photographs() -> list[tuple[np.ndarray, int]]:
    noise = np.random.default_rng(0).integers(0, 256, (12, 60, 70, 3), np.uint8)
    return [(pixels, number % 3) for number, pixels in enumerate(noise)]


def network() -> al.Classifier:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3), nn.LayerNorm(3)
    return al.Classifier.of(nn.Sequential(*layers), 24, mean=(0.5,) * 3, std=(0.25,) * 3, labels=["a", "b", "c"])


def test_skew_is_that_of_a_loop() -> None:
    model, images = network(), photographs()
    found = measure_skew(model, images, ("pil", "opencv-linear")).summary()["models"][model.name]
    answers, distances = [], []
    for pixels, _ in images:
        image = Image(pixels, "noise", "noise", None)
        views = make_protocol("resamplers:pil,opencv-linear").views(image, model)
        assert views.pairs == ((0, 1),)
        one, other = (view.draw() for view in views.views)
        np.testing.assert_array_equal(
            other, make_protocol("crop", resizer="opencv-linear").centre(image, (24, 24), model)
        )
        distances.append(np.abs(one - other).mean())
        answers.append([int(model.module(model.normalize(view[None])).argmax()) for view in (one, other)])
    right = np.array(answers) == np.array([[label] for _, label in images])
    assert found["pixel_difference"]["value"] == pytest.approx(np.mean(distances))
    assert found["top1_change"]["value"] == pytest.approx(np.mean([a != b for a, b in answers]))
    assert (found["accuracy"]["value"], found["second_accuracy"]["value"]) == pytest.approx(tuple(right.mean(0)))
    assert found["accuracy_change"]["value"] == pytest.approx(right[:, 1].mean() - right[:, 0].mean())


def test_the_other_way_round_accuracies_change_places() -> None:
    model, images = network(), photographs()
    there, back = (
        measure_skew(model, images, pair).summary()["models"][model.name]
        for pair in (("pil", "torch-aliased"), ("torch-aliased", "pil"))
    )
    assert there["accuracy"] == back["second_accuracy"]
    assert there["accuracy_change"]["value"] == -back["accuracy_change"]["value"]
    assert there["pixel_difference"] == back["pixel_difference"]


def test_the_protocol_is_made_again_from_what_a_summary_says() -> None:
    made = make_protocol("resamplers:pil,torch,opencv-area")
    assert protocol_of({"protocol": made.parameters()}) == made
    assert [one["name"] for one in made.parameters()["names"]] == ["pil", "torch", "opencv-area"]


@pytest.mark.parametrize("names", [("pil",), ("pil", "pil"), ("pil", "cairo")])
def test_two_resamplers_that_exist_are_needed(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Resamplers(names=names)


def test_the_command_measures_any_number_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["jitter", "--models", "pypi:efficientnet_lite0", "--limit", "2", "--out", str(tmp_path / "out")]
    assert main([*command, "--protocol", "resamplers:pil,opencv-linear,torch-aliased"]) == 0
    opened = al.open(tmp_path / "out")
    assert opened.summary()["models"]["pypi:efficientnet_lite0"]["pairs"] == 4
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "page.html")]) == 0
    capsys.readouterr()


def test_the_command_for_two_says_what_the_other_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["resamplers", "--against", "pil", "opencv-linear", "--limit", "3"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "opencv-linear in the place of pil" in capsys.readouterr().out
    skew = json.loads((tmp_path / "out" / "skew.json").read_text())
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == skew["models"]
    assert main(["resamplers", "--against", "pil", "cairo"]) in (1, 2)
    assert "cairo" in capsys.readouterr().err
