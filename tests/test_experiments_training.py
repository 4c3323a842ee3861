"""The experiments' frame; those that train, in their quick versions; and training that is stopped and goes on."""

import gzip
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate
from experiments import _data
from experiments.__main__ import claims, main
from experiments._data import Labelled, cifar10, fashion_mnist
from experiments._run import Run, plain
from experiments._training import Recipe, crop_and_mirror, normalise, train
from tests.conftest import run_quickly
from tests.image_files import idx

PICTURES = {
    "mlp_vs_cnn": {"figure.png", "heat_maps.png"},
    "cnn_by_hand": {"figure.png", "kernels.png"},
    "cifar_cnn": {"figure.png", "layers.png", "filters.png", "kernels.png"},
    "augmentation": {"figure.png"},
    "cures": {"figure.png"},
    "paper_networks": {"figure.png", "layers.png", "tuned.png"},
    "guarantees": {"figure.png"},
    "upsampling": {"figure.png"},
    "vit": {"figure.png"},
    "digits": {"figure.png"},
    "pitch": {"figure.png"},
}


@pytest.fixture
def summary(quick: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    return quick


def test_the_list_gives_each_experiment_with_its_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, claim in claims().items():
        assert claim
        assert any(line.split() == [name, *claim.split()] for line in lines)
    assert set(PICTURES) <= set(claims())


def test_wrong_names_and_missing_data_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["no_such"])
    assert stopped.value.code == 2
    capsys.readouterr()
    assert main(["cifar_cnn", "--quick", "--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 1
    message = capsys.readouterr().err.strip()
    assert "ALIASING_DATA" in message
    assert "\n" not in message


@pytest.mark.parametrize("given", ["{root}/data", "{root}/data/", "data", "link"])
def test_a_summary_names_no_folder_of_this_machine(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    data = Path(given.format(root=tmp_path))
    words = ["cure", "--quick", "--out", str(tmp_path / "out"), f"--data={data}"]
    seen = Run("cure", tmp_path / "out", True, data, arguments=words)
    names = [f"file:{data}/a.pth@module:net", str(data.absolute() / "b"), str(tmp_path / "data" / "b"), data / "c.csv"]
    summary = seen.perform(lambda run: {"settings": {}, "data": {"data": names}, "weights": {}, "numbers": {}})
    assert summary["command"] == "python -m experiments cure --quick"
    place = "$ALIASING_DATA"
    assert summary["data"] == {"data": [f"file:{place}/a.pth@module:net", f"{place}/b", f"{place}/b", f"{place}/c.csv"]}
    assert str(tmp_path) not in (tmp_path / "out" / "summary.json").read_text()


def test_an_experiment_with_options_of_its_own_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import depth_across

    seen: list[list[str]] = []
    monkeypatch.setattr(depth_across, "main", lambda: seen.append(sys.argv))
    assert main(["depth_across", "--out", "depth", "--other"]) == 0
    assert seen == [["depth_across.py", "--out", "depth", "--other"]]


@pytest.mark.parametrize("name", PICTURES)
def test_a_summary_says_how_it_was_made(name: str, summary: Callable[[str], dict[str, Any]]) -> None:
    found = summary(name)
    assert set(found["pictures"]) == PICTURES[name]
    assert found["experiment"] == name
    assert found["command"].startswith(f"python -m experiments {name} --quick")
    assert found["versions"]["torch"]
    assert found["settings"]
    assert all(len(weights["sha256"]) == 64 for weights in found["weights"].values())
    data = [found["data"]] if "name" in found["data"] else list(found["data"].values())
    assert all(part["name"] for part in data)
    assert found["numbers"]


def test_by_hand_is_what_torch_and_scipy_compute(summary: Callable[[str], dict[str, Any]]) -> None:
    numbers = summary("cnn_by_hand")["numbers"]
    assert numbers["parameters"] == 12
    assert [row["parameters"] for row in numbers["summary"]] == [10, 0, 0, 0, 2, 0]
    assert [row["output"] for row in numbers["summary"]] == [[1, 2, 2], [1, 1, 1], [1, 1, 1], [1], [1], [1]]
    # A dozen float64 operations on numbers below 10, and a sigmoid that does not amplify.
    np.testing.assert_allclose(numbers["by_hand"], numbers["torch"], atol=1e-14)
    # Sums of at most 100 products of numbers of magnitude 6 or less: 100 · 6 · 2⁻⁵³.
    assert all(apart < 1e-13 for apart in numbers["convolutions"].values())
    assert (numbers["dense_parameters"], numbers["convolution_parameters"]) == (77_070_336, 1728)
    assert list(numbers["receptive_fields"].values()) == [7, 7, 10]
    assert list(numbers["output_sizes"].values()) == [[28, 14]]
    assert numbers["checkerboard"]["horizontal edges"] == {"inside": 0, "border": 0.5}


def test_the_network_of_seed_003(summary: Callable[[str], dict[str, Any]]) -> None:
    numbers = summary("cifar_cnn")["numbers"]
    assert numbers["parameters"] == 5_852_170
    assert round(numbers["megabytes"], 2) == 22.33
    shapes = {tuple(layer["shape"]) for layer in numbers["layers"]}
    assert {(64, 16, 16), (128, 8, 8), (256, 4, 4), (4096,), (10,)} <= shapes
    confusion = np.array(list(numbers["confusion"].values()))
    assert confusion.sum() == summary("cifar_cnn")["data"]["test"]["images"]
    assert numbers["accuracy"]["value"] == pytest.approx(confusion.trace() / confusion.sum())
    assert numbers["history"][0]["test_accuracy"] == numbers["accuracy"]["value"]


def test_the_mlp_loses_more_by_a_shift_than_the_cnn(summary: Callable[[str], dict[str, Any]]) -> None:
    numbers = summary("mlp_vs_cnn")["numbers"]
    fall = numbers["fall of the MLP minus fall of the CNN"]
    for shift in ("-3", "-2", "2", "3"):
        assert fall[shift]["low"] > 0
    for shift in ("-3", "3"):
        accuracies = [numbers["accuracy"][name][part]["value"] for name in ("MLP", "CNN") for part in ("0", shift)]
        assert fall[shift]["value"] == pytest.approx(accuracies[0] - accuracies[1] - accuracies[2] + accuracies[3])
    assert np.shape(numbers["probabilities"]["MLP"]["Trouser"]) == (11, 10)
    assert numbers["answers"]["CNN"]["Trouser"][5] == "Trouser"


def test_augmentation_compares_both_networks_in_every_condition(summary: Callable[[str], dict[str, Any]]) -> None:
    for table in summary("augmentation")["numbers"].values():
        assert list(table) == ["as in training", "placed otherwise", "sized otherwise"]
        for rows in table.values():
            without, with_shifts, difference = (row["top1_change"]["mean"]["value"] for row in rows.values())
            assert difference == pytest.approx(with_shifts - without)


def test_every_cure_is_trained_alike_and_keeps_what_it_promises(summary: Callable[[str], dict[str, Any]]) -> None:
    numbers = summary("cures")["numbers"]
    laws = {name: rows[0] for name, rows in numbers["laws of the trained networks in float64"].items()}
    exact = {law: {name for name, row in laws.items() if row[law]["exact"]} for law in laws["plain"]}
    assert exact["circular integer"] == {"AFC", "APS", "LPS", "TIPS anchored"}
    assert exact["circular fractional"] == {"AFC"}
    assert numbers["multiply-adds of plain's"]["plain"] == 1
    first, second = (numbers["variants"][name]["whole"]["mean"]["value"] for name in ("APS", "plain"))
    assert numbers["minus plain"]["APS"]["whole"]["value"] == pytest.approx(first - second)


def test_anchored_transformers_are_exact_and_others_are_not(summary: Callable[[str], dict[str, Any]]) -> None:
    numbers = summary("vit")["numbers"]
    laws = {name: rows[0] for name, rows in numbers["laws of the trained networks in float64"].items()}
    assert {name for name, row in laws.items() if row["circular integer"]["exact"]} == {
        "ViT, anchored",
        "Swin, anchored",
    }
    assert set(numbers["minus plain"]) == set(laws) - {"ViT, plain", "Swin, plain"}
    first, second = (numbers["variants"][f"Swin, {cure}"]["half"]["mean"]["value"] for cure in ("low-pass", "plain"))
    assert numbers["minus plain"]["Swin, low-pass"]["half"]["value"] == pytest.approx(first - second)


def test_a_trained_decoder_that_follows_its_encoder_moves_with_its_scene(
    summary: Callable[[str], dict[str, Any]],
) -> None:
    numbers = summary("upsampling")["numbers"]
    circular = {name: row["circular"]["mean"]["value"] for name, row in numbers["pairs"].items()}
    # In float32 a pixel between two classes may still turn: one in ten thousand.
    assert min(circular["APS, APS"], circular["LPS, LPS"]) > 1 - 1e-4
    assert circular["maximum, unpooling"] < 1 - 1e-3
    first, second = (numbers["pairs"][name]["miou"]["mean"]["value"] for name in ("FLC, FLC", "maximum, nearest"))
    assert numbers["minus plain"]["FLC, FLC"]["miou"]["value"] == pytest.approx(first - second)


def test_every_operator_is_trained_on_sounds(summary: Callable[[str], dict[str, Any]]) -> None:
    found = summary("digits")
    assert list(found["numbers"]) == ["plain", "blur-pool", "FLC", "APS"]
    plain, ours = found["numbers"]["plain"], found["numbers"]["blur-pool"]
    assert plain["mac_minus_plain"] is None
    difference = ours["mac"]["value"] - plain["mac"]["value"]
    assert ours["mac_minus_plain"]["value"] == pytest.approx(difference)
    assert len({weights["sha256"] for weights in found["weights"].values()}) == 4


def test_a_filter_changes_how_far_one_sample_moves_the_pitch(summary: Callable[[str], dict[str, Any]]) -> None:
    found = summary("pitch")
    plain, blurred = (found["numbers"]["variants"][name] for name in ("plain", "blur-pool, 3 taps"))
    difference = blurred["cents"]["value"] - plain["cents"]["value"]
    assert blurred["cents_minus_plain"]["value"] == pytest.approx(difference)
    # The deepest map changes forty times as much as it could without aliasing.
    deepest = found["numbers"]["layers"]["plain"]["maximum6"]
    assert deepest["change"]["low"] > 10 * deepest["most"]


def test_what_is_trained_is_not_trained_again(tmp_path: Path, quick: Callable[[str], dict[str, Any]]) -> None:
    """And trained from nothing, it is the same as in another folder."""
    first = run_quickly("mlp_vs_cnn", tmp_path)
    for part in ("settings", "data", "weights", "numbers", "threads"):
        assert first[part] == quick("mlp_vs_cnn")[part]
    checkpoint = tmp_path / "training" / "MLP-seed0.checkpoint.safetensors"
    begun = checkpoint.stat().st_mtime_ns
    assert run_quickly("mlp_vs_cnn", tmp_path)["numbers"] == first["numbers"]
    assert checkpoint.stat().st_mtime_ns == begun


def test_polyphase_sampling_keeps_its_promise_and_no_more(quick: Callable[[str], dict[str, Any]]) -> None:
    numbers = quick("shift_guarantees")["numbers"]
    # float32 probabilities through 20 layers; the same windows of the same numbers, in another order.
    assert numbers["circular"]["APS"]["top1_change"]["value"] == 0
    assert numbers["circular"]["APS"]["mac"]["value"] < 1e-5 < numbers["pad"]["APS"]["mac"]["value"]
    assert numbers["circular"]["plain"]["mac"]["value"] > 1e-2


def test_nothing_of_the_quick_coverage_falls_short(quick: Callable[[str], dict[str, Any]]) -> None:
    numbers = quick("coverage")["numbers"]
    assert numbers["torchvision"]["every site treated, shapes and keys kept"] == numbers["torchvision"]["networks"] == 4
    assert numbers["timm"]["networks"] == 4
    assert numbers["timm"]["that downsample by more than a patch embedding"] == 3  # not the plain transformer
    assert not numbers["timm"]["short"]  # NextViT's pooled tokens are treated too
    # The stride 2 of AlexNet's three poolings, and the 4 of its first convolution.
    assert numbers["torchvision"]["treated"] == numbers["torchvision"]["sites"] == 4 + 8 + 5 + 5


CLASSES = np.arange(64) % 2
NOISE = np.random.default_rng(0).integers(0, 99, (64, 8, 8, 3), np.uint8)
IMAGES = Labelled("dark and light", NOISE + 150 * CLASSES[:, None, None, None].astype(np.uint8), CLASSES)


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    features = (nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(36, 2))


def show(pixels: Any) -> Tensor:
    return normalise(pixels, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def augment(pixels: Any, random: np.random.Generator) -> Tensor:
    return show(crop_and_mirror(pixels, random, 1))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("cosine", [False, True])
def test_training_that_is_stopped_goes_on_to_the_same_weights(optimizer: str, cosine: bool, tmp_path: Path) -> None:
    recipe = Recipe(4, optimizer, 0.01, 16, cosine=cosine, weight_decay=1e-3, bf16=True, warm_up=0.1)
    whole = tiny()
    history = train(whole, IMAGES, IMAGES, augment, show, recipe, tmp_path / "whole.safetensors")
    assert history[-1]["test_accuracy"] > 0.9
    left = iter(range(9))

    def stopping(pixels: Any, random: np.random.Generator) -> Tensor:
        if next(left, None) is None:  # in the third epoch of four steps
            raise KeyboardInterrupt
        return augment(pixels, random)

    stopped = tmp_path / "stopped.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), IMAGES, IMAGES, stopping, show, recipe, stopped)
    assert not stopped.exists()
    resumed = tiny()
    assert train(resumed, IMAGES, IMAGES, augment, show, recipe, stopped) == history
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value)
    assert stopped.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert set(safetensors.torch.load_file(stopped)) == set(whole.state_dict())


def test_one_cycle_of_the_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def noting(self: torch.optim.SGD) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    recipe = Recipe(2, "sgd", 0.01, 16, cosine=True, warm_up=0.5)
    train(tiny(), IMAGES, IMAGES, augment, show, recipe, tmp_path / "cycle.safetensors")
    k = np.arange(8)
    expected = 0.01 * np.minimum((k + 1) / 4, 1) * np.cos(np.pi * k / 16) ** 2
    np.testing.assert_allclose(rates, expected, rtol=1e-12)  # a few roundings of float64


def test_training_that_is_killed_goes_on(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from tests.test_experiments_training import *
left = iter(range(6))
def prepare(pixels, random):
    if sys.argv[1] == "kill" and next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return augment(pixels, random)
file = Path({str(tmp_path)!r}) / "killed.safetensors"
train(tiny(), IMAGES, IMAGES, prepare, show, Recipe(3, "adam", 0.01, 16), file)
"""

    def start(word: str) -> int:
        return subprocess.run([sys.executable, "-c", script, word], cwd=Path(__file__).parents[1]).returncode

    assert start("kill") == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["killed.checkpoint.safetensors"]
    assert start("go on") == 0
    train(tiny(), IMAGES, IMAGES, augment, show, Recipe(3, "adam", 0.01, 16), tmp_path / "whole.safetensors")
    assert (tmp_path / "killed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_longer_run_at_a_constant_rate_begins_with_the_shorter_one(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    short = train(tiny(), IMAGES, IMAGES, augment, show, Recipe(1, "adam", 0.01, 16), file)
    assert train(tiny(), IMAGES, IMAGES, augment, show, Recipe(2, "adam", 0.01, 16), file)[:1] == short
    with pytest.raises(UsageError, match="other settings"):
        train(tiny(), IMAGES, IMAGES, augment, show, Recipe(2, "adam", 0.02, 16), file)
    broken = tiny()
    broken[-1].weight.data.fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is"):
        train(broken, IMAGES, IMAGES, augment, show, Recipe(1, "adam", 0.01, 16), tmp_path / "broken.safetensors")


def test_crops_are_windows_of_the_image_with_a_black_margin() -> None:
    pixels = np.arange(1, 193, dtype=np.uint8).reshape(1, 8, 8, 3).repeat(300, 0)
    crops = crop_and_mirror(pixels, np.random.default_rng(0), 2)
    padded = np.pad(pixels[0], [(2, 2), (2, 2), (0, 0)])
    windows = [padded[top : top + 8, left : left + 8] for top in range(5) for left in range(5)]
    known = {window.tobytes() for window in windows} | {window[:, ::-1].tobytes() for window in windows}
    found = {crop.tobytes() for crop in crops}
    assert found <= known
    assert len(found) > 40  # of 50


def test_a_torchvision_data_set_stands_in_where_the_folder_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole:
        """As torchvision's CIFAR10 looks."""

        def __init__(self, root: Path, train: bool, download: bool) -> None:
            if not download:
                raise RuntimeError("not found")
            self.data: Any = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
            self.targets: Any = list(range(10))

    run = Run("name", tmp_path, True, tmp_path, download=True)
    monkeypatch.setattr(_data.torchvision.datasets, "CIFAR10", Whole)
    found = cifar10(run, "train", 5)
    assert found.labels.tolist() == [0, 2, 4, 6, 8]
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 8]
    assert "5 of 10" in found.name
    with pytest.raises(InputError, match="--download"):
        cifar10(Run("name", tmp_path, True, tmp_path), "train")


def test_fashion_mnist_is_found_packed_in_any_of_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tmp_path / "packaged"
    monkeypatch.setattr(_data, "PACKAGED_FASHION_MNIST", packaged)
    quick, full = Run("name", tmp_path, True, tmp_path), Run("name", tmp_path, False, tmp_path)
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist(full, "test")

    def fill(folder: Path, label: int) -> None:
        folder.mkdir(parents=True)
        images, labels = idx(0x803, (1, 28, 28), bytes([label]) * 784), idx(0x801, (1,), bytes([label]))
        (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))

    places = packaged, tmp_path / "fashion-mnist", tmp_path / "FashionMNIST" / "raw"
    for label, place in enumerate(places):
        fill(place, label)
        found = fashion_mnist(full, "test")
        assert (found.labels.tolist(), found.pixels.shape) == ([label], (1, 28, 28))
    fill(tmp_path / "fashion-mnist-sample", 9)
    assert fashion_mnist(quick, "test").labels.tolist() == [9]
    assert fashion_mnist(full, "test").labels.tolist() == [2]


def test_a_run_refuses_missing_folders_and_odd_results(tmp_path: Path) -> None:
    run = Run("name", tmp_path / "out", True, tmp_path)
    with pytest.raises(InputError, match="no photographs in"):
        run.folder("photographs")
    with pytest.raises(TypeError, match="expected settings, data, weights, numbers"):
        run.perform(lambda _: {"numbers": {}})
    estimate = Estimate(0.5, 0.25, float("nan"))
    values = {1: (estimate, np.float32(2)), "array": np.eye(1), "path": Path("a")}
    assert plain(values) == {
        "1": [{"value": 0.5, "low": 0.25, "high": None}, 2.0],
        "array": [[1.0]],
        "path": "a",
    }
