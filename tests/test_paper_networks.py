"""The three networks of the paper, trained here: their depth, what they see, and rows that a run adds to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from aliasing.depth.across import network_depth
from aliasing.errors import UsageError
from aliasing.resamplers import resize
from experiments import paper_networks
from experiments.__main__ import main
from experiments._data import Labelled
from experiments._trained import ARCHITECTURES, MEAN, STD, Budget, Network, Workshop
from tests.conftest import DATA, read_summary, skip_without_needs

NOISE = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
IMAGES = Labelled("noise", NOISE, np.arange(50) % 10)


def workshop(out: Path, epochs: int = 1) -> Workshop:
    return Workshop(out, Budget(50, epochs, 50), IMAGES, IMAGES)


@pytest.mark.parametrize(("name", "layers"), [("vgg16", 16), ("resnet50", 50), ("densenet201", 201)])
def test_the_networks_have_the_depth_of_their_names_and_five_strides(name: str, layers: int) -> None:
    found = network_depth(ARCHITECTURES[name](), torch.zeros(1, 3, 64, 64))
    assert (found.layers, found.cumulative_stride) == (layers, 32)


def test_a_network_is_trained_on_what_it_is_measured_on(tmp_path: Path) -> None:
    shown = workshop(tmp_path).show(NOISE[:4]).permute(0, 2, 3, 1).numpy() * STD + MEAN
    expected = np.stack([resize(pixels, 72, 72, "bicubic")[4:68, 4:68] for pixels in NOISE[:4]])
    # Pillow and torch round their weights to different fixed points: at most one grey level apart.
    assert np.abs(255 * shown - expected).max() < 1.01


@pytest.mark.parametrize("crops", [False, True])
def test_only_a_network_of_crops_sees_shifts(crops: bool, tmp_path: Path) -> None:
    made = workshop(tmp_path)
    prepare = made.cropped if crops else made.mirrored
    same: npt.NDArray[np.uint8] = np.repeat(NOISE[:1], 64, axis=0)
    seen = {view.tobytes() for view in prepare(same, np.random.default_rng(0)).numpy()}
    # Of 2 · 9² views, 64 draws repeat few.
    assert len(seen) > 40 if crops else len(seen) == 2


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 1.0])
def test_fine_tuning_shows_its_share_of_the_images_that_training_shows(share: float, tmp_path: Path) -> None:
    made, network = workshop(tmp_path, epochs=6), Network("vgg16", "blur", share=share)
    recipe, images = made.recipe(network), made.shown(network)
    # At most half an image is rounded in each epoch.
    assert abs(recipe.epochs * len(images) - share * 6 * 50) <= recipe.epochs / 2


def test_every_comparison_is_of_networks_that_are_to_be_trained() -> None:
    networks = paper_networks.networks()
    assert len({network.name for network in networks}) == len(networks)
    titles = {network.title for network in networks}
    assert all({*pair} <= titles for pairs in paper_networks.CONTRASTS.values() for pair in pairs)
    order = [network.name for network in networks]
    starts = [(network.name, network.origin.name) for network in networks if network.origin is not None]
    assert all(order.index(origin) < order.index(name) for name, origin in starts)


def test_without_time_nothing_is_trained_and_what_is_missing_is_named(tmp_path: Path) -> None:
    skip_without_needs("paper_networks")
    words = ["--out", str(tmp_path), "--data", str(DATA), "--images", "50", "--tests", "10", "--minutes", "0"]
    assert main(["paper_networks", *words]) == 0
    missing = read_summary(tmp_path)["numbers"]["not trained yet"]
    assert list(missing) == [network.name for network in paper_networks.networks()]
    assert not (tmp_path / "training").exists()


def test_a_wrong_option_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["paper_networks", "--out", str(tmp_path), "--images", "0"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("expected a whole number of at least 1; got 0")
    assert main(["paper_networks", "--out", str(tmp_path), "--device", "abacus"]) == 2
    assert "abacus" in capsys.readouterr().err.splitlines()[-1]


def test_differences_are_those_of_the_rows(quick: Callable[[str], dict[str, Any]]) -> None:
    numbers = quick("paper_networks")["numbers"]
    (cure,) = numbers["differences"]["subsampling"]
    assert (cure["first"], cure["second"]) == ("vgg16", "vgg16-blur")
    for protocol in ("pad", "crop", "black"):
        for measure in ("top1_change", "mac"):
            first, second = (numbers["networks"][f"{cure[side]}-seed0"]["jitter"] for side in ("first", "second"))
            difference = second[protocol][measure]["value"] - first[protocol][measure]["value"]
            assert cure[protocol][measure]["all"]["value"] == pytest.approx(difference)


def test_a_run_trains_only_the_rows_that_are_missing(
    quick: Callable[[str], dict[str, Any]], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    whole = quick("paper_networks")
    out = tmp_path / "on_another_machine"
    out.mkdir()
    root = next(folder for folder in (tmp_path_factory.getbasetemp(), *tmp_path.parents) if (folder / "quick").exists())
    shutil.copytree(root / "quick" / "paper_networks" / "networks", out / "networks")  # weights do not travel
    tuned = next((out / "networks").glob("*tuned*.json"))
    tuned.unlink()
    words = ["paper_networks", "--quick", "--out", str(out), "--data", str(DATA)]
    assert main(words) == 0
    assert "on another machine" in read_summary(out)["numbers"]["not trained yet"][tuned.stem]
    shutil.copytree(root / "quick" / "paper_networks" / "training", out / "training")
    made: list[str] = []
    make = Workshop.make
    monkeypatch.setattr(Workshop, "make", lambda self, network: made.append(network.name) or make(self, network))
    assert main(words) == 0
    assert made == [tuned.stem]
    again = read_summary(out)
    for part in ("settings", "data", "weights", "numbers"):
        assert again[part] == whole[part]


def test_a_row_of_another_budget_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    settings = workshop(tmp_path, epochs=2)._settings(Network("vgg16"))
    (tmp_path / "networks" / "vgg16-seed0.json").write_text(json.dumps({"settings": settings}))
    with pytest.raises(
        UsageError, match=r"50 images, 2 epochs.* this run has another budget and recipe: give its --images"
    ):
        workshop(tmp_path).row(Network("vgg16"))
