"""What a result says of small images, and of the first images of a sorted folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.cli import main
from tests.small_network import NAME

GREY: Any = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()


def images(side: int, number: int = 5) -> list[Any]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (side, side + 3, 3), dtype=np.uint8) for _ in range(number)]


def cautions(model: Any, pictures: Any, protocol: str) -> list[str]:
    summary = al.measure_jitter(model, pictures, protocol).summary()
    (described,) = summary["models"].values()
    return [text for text in described["cautions"] if "enlarged" in text]


def test_small_images_are_said_to_be_enlarged_and_how_they_are_not() -> None:
    own, bare = al.Classifier.of(network(), 32, **GREY), network()
    assert cautions(own, images(32), "crop") == [
        "images of 32 pixels are enlarged to 40 by crop;"
        ' protocol="pad" (--protocol pad) shows them as the network sees them'
    ]
    (caution,) = cautions(bare, images(32), "pad")
    assert caution.startswith(
        "images of 32 pixels are enlarged to 256, and a shift of one pixel is 0.13 pixels of theirs"  # 32/256 = 0.125
    )
    assert caution.endswith("give al.Classifier.of(module, 32, mean=…, std=…)")  # it is pad already
    (caution,) = cautions(bare, images(32), "crop")
    assert caution.endswith('al.Classifier.of(module, 32, mean=…, std=…) with protocol="pad" (--protocol pad)')
    assert cautions(own, images(32), "pad") == []
    assert cautions(own, images(48), "crop") == []  # large enough
    assert cautions(own, [*images(32, 3), *images(48, 2)], "crop")[0].startswith("most images of about 32 pixels")
    assert cautions(own, [*images(32, 2), *images(48, 3)], "crop") == []  # few of them


def test_every_measurement_says_so(tmp_path: Path) -> None:
    own, pictures = al.Classifier.of(network(), 32, **GREY), images(32)
    told = "images of 32 pixels are enlarged to 40 by crop"
    profile = al.probe_depth(own, pictures, "crop:span=8").summary()["models"]["Sequential"]
    assert any(told in caution for caution in profile["cautions"])
    variants = al.attribute(own, pictures, "crop").summary()["variants"]
    assert any(told in caution for caution in variants["as it is"]["cautions"])
    board = al.compare_networks(own, pictures, "crop", "crop").summary()["models"]["Sequential"]
    assert any(told in caution for caution in board["cautions"])
    # What is kept on disk says it again when the run is resumed.
    for _ in range(2):
        result = al.measure_jitter(own, pictures, "crop", out=tmp_path)
        assert any(told in caution for caution in result.summary()["models"]["Sequential"]["cautions"])


def test_a_small_input_is_told_which_protocol_keeps_its_size() -> None:
    for side, told in ((32, True), (96, False)):
        own = al.Classifier.of(network(), side, **GREY)
        (note,) = (text for text in note_of(own, "crop") if text.startswith("evaluated with"))
        assert note.endswith(
            "because the protocol needs more" + ('; protocol="pad" (--protocol pad) does not' if told else "")
        )
        assert not any(text.startswith("evaluated with") for text in note_of(own, "pad"))


def test_a_small_input_is_padded_unless_a_protocol_is_given(tmp_path: Path) -> None:
    """By every command and function alike; and the table says why."""
    own, large = al.Classifier.of(network(), 79, **GREY), al.Classifier.of(network(), 80, **GREY)
    pictures = images(90, 2)
    stated = al.load_model(network(), input_size=79, **GREY)
    assert stated.preprocessing() == own.preprocessing()  # the same default, below the same size
    assert al.load_model(network(), input_size=80).preprocessing()["resize_size"] == 91  # ⌊80 / 0.875⌋
    for model, expected in ((own, "pad"), (stated, "pad"), (large, "crop")):
        found = al.measure_jitter(model, pictures), al.attribute(model, pictures)
        assert [one.summary()["settings"]["protocol"]["name"] for one in found] == [expected] * 2
        settings = al.compare_networks([model], pictures).summary()["settings"]
        names = [settings[key]["name"] for key in ("protocol", "consistency")]
        assert names == (["pad", "pad"] if expected == "pad" else ["grid", "consistency"])
    (described,) = al.measure_jitter(own, pictures).summary()["models"].values()
    # crop's canvas of 79 + 8 pixels
    assert "crop would resize images to 87 pixels instead of the network's own 79" in described["notes"][-1]


def note_of(model: al.Classifier, protocol: str) -> list[str]:
    notes: list[str] = al.measure_jitter(model, images(200, 2), protocol).summary()["models"]["Sequential"]["notes"]
    return notes


def folder(path: Path, labels: str) -> Path:
    random = np.random.default_rng(0)
    lines = ["file,label"]
    for number, label in enumerate(labels):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,{label}")
    (path / "labels.csv").write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("labels", "limit", "classes"),
    [
        ("0000111122", 4, "1 class"),  # sixteen fish
        ("0000111122", 8, "2 classes"),
        ("0123401234", 5, "5 classes"),  # ascending
        ("4440001113", 6, "2 classes"),  # in blocks
        ("3102413024", 5, None),  # in no order
        ("0000111122", 10, None),  # that is all of them
        ("0000111122", None, None),
        ("0000111122", 3, None),  # too few to tell
    ],
)
def test_a_limit_on_sorted_images_is_cautioned(
    labels: str, limit: int | None, classes: str | None, tmp_path: Path
) -> None:
    own = al.Classifier.of(network(), 32, **GREY)
    told = al.measure_jitter(own, folder(tmp_path, labels), "pad", limit=limit).summary()["images"]["cautions"]
    expected = (
        f"the images are sorted by label, and the first {limit} are of {classes}: sample {limit} instead of limit"
    )
    assert [text.startswith(expected) for text in told] == ([] if classes is None else [True])


def test_the_terminal_says_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = folder(tmp_path, "0000111122")
    assert main(["jitter", "--models", NAME, "--images", str(images), "--limit", "4"]) == 0
    printed = capsys.readouterr().out
    assert "the first 4 are of 1 class: sample 4 instead of limit 4 draws them from all" in printed
    assert main(["jitter", "--models", NAME, "--images", str(images), "--sample", "4"]) == 0
    assert "are of 1 class" not in capsys.readouterr().out
