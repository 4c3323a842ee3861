"""``aliasing sites``, ``antialias`` and ``finetune``, as a person calls them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.surgery import save


def network() -> al.Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    module.extend((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    half = (0.5, 0.5, 0.5)
    return al.Classifier(module, "tiny", 16, half, half, "bilinear", resize_size=16, crop_share=1.0)


NAME = "module:test_cli_surgery:network"


def test_sites_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sites", NAME]) == 0
    table = capsys.readouterr().out
    assert "convolution (stem)" in table
    assert "and 1 global pooling, which keeps no position" in table
    assert main(["sites", f"antialiased:binomial3,all:{NAME}", "--json"]) == 0
    sites = json.loads(capsys.readouterr().out)
    assert [site["status"] for site in sites] == ["anti-aliased", "anti-aliased", "global"]


@torch.no_grad()
def test_antialias_writes_a_file_that_brings_the_conversion_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.safetensors"
    assert main(["antialias", NAME, "--scheme", "all", "--taps", "binomial3", "--out", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "blur behind" in printed
    assert f"file:{file}@{NAME}" in printed
    loaded = al.load_model(f"file:{file}@{NAME}")
    expected = al.antialias(network(), scheme="all", taps="binomial3")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded.module(x), expected.module.eval()(x))


@pytest.mark.parametrize("name", ["pypi:efficientnet_lite0", "file:{folder}/lite0.safetensors@pypi:efficientnet_lite0"])
def test_what_antialias_says_can_be_loaded(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(al.load_model("pypi:efficientnet_lite0"), tmp_path / "lite0.safetensors")
    file = tmp_path / "net.safetensors"
    assert main(["antialias", name.format(folder=tmp_path), "--taps", "binomial3", "--out", str(file)]) == 0
    loaded = al.load_model(capsys.readouterr().out.rpartition("load it as ")[2].strip())
    expected = al.load_model("antialiased:binomial3:pypi:efficientnet_lite0")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded.module(x), expected.module(x))
    assert (loaded.mean, loaded.input_size) == (expected.mean, expected.input_size)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["antialias", NAME, "--scheme", "zhang"], 2, "no scheme 'zhang'"),
        (["antialias", NAME, "--taps", "binomial"], 2, "no filter 'binomial'"),
        (["antialias", NAME, "--out", "net.pth"], 2, "use that suffix"),
        (["sites", NAME, "--size", "0"], 2, "--size is a number of pixels, at least 1; got 0"),
        (["sites", NAME, "--size", "1"], 1, "fails on a probe of shape (1, 3, 1, 1)"),
        (["sites", "antialiased:binomial4"], 2, "expected antialiased:FILTER:MODEL"),
    ],
)
def test_wrong_use_is_one_line(
    command: list[str], code: int, message: str, complaint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    complaint(command, code, message)


def test_finetune_leaves_a_converted_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(8):
        folder = tmp_path / "data" / f"class{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 60 + 120 * (i % 2) + i, np.uint8)).save(folder / f"{i}.png")
    command = ["finetune", f"antialiased:binomial3,all:{NAME}", "--data", str(tmp_path / "data"), "--epochs", "1"]
    command += ["--batch-size", "4", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "epoch 1 of 1: loss " in printed
    (following,) = (line for line in printed.splitlines() if "aliasing jitter" in line)
    assert f"file:{tmp_path}/run/weights.safetensors@{NAME}" in following
    loaded = al.load_model(f"file:{tmp_path}/run/weights.safetensors@{NAME}")
    assert [site.status for site in al.find_sites(loaded)][:2] == ["anti-aliased"] * 2


def test_antialias_recalibrates_on_some_hundreds_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    command = ["antialias", NAME, "--scheme", "all", "--recalibrate", str(tmp_path)]
    assert main([*command, "--recalibrate-limit", "4"]) == 0
    assert "batch-norm statistics from 4 images (" in capsys.readouterr().out
    assert main(command) == 0
    assert "batch-norm statistics from 6 images (" in capsys.readouterr().out


def test_finetune_with_a_wrong_path_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", NAME, "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_jitter_of_a_network_and_its_conversion_stands_in_one_table_with_the_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["jitter", "--models", NAME, f"antialiased:binomial3,all:{NAME}", "--limit", "3", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary["models"]) == [NAME, f"antialiased:binomial3,all:{NAME}"]
    assert len(summary["differences"]) == 1
