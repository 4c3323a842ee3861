"""``aliasing depth``: what it leaves, what it prints, and how it fails."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from aliasing.cli import main
from tests.image_files import noise

RESNET20 = "module:tests.cifar_resnet:resnet20"  # untrained: for paths and messages, never for numbers


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    return str(noise(tmp_path / "images"))


def test_it_leaves_a_summary_records_and_a_figure(
    photographs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "depth"
    models = [RESNET20, f"antialiased:binomial3:{RESNET20}"]
    assert main(["depth", "--models", *models, "--images", photographs, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "layer3.2" in printed
    assert "boundary-contaminated" in printed
    left = {path.name for path in out.iterdir() if path.name[0] != "."}
    assert left == {"summary.json", "records", "figure.png", "across.png", "answers"}
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    plain, blurred = summary["models"].values()
    assert plain["images"] == blurred["images"] == 3
    for layer in plain["layers"][:-1]:
        for measure in ("relative_change", "equivariance_error", "unexplained_change"):
            assert layer[measure]["low"] <= layer[measure]["value"] <= layer[measure]["high"]
    assert [site["status"] for site in plain["sites"]] == ["subsamples"] * 4
    assert [site["status"] for site in blurred["sites"]] == ["anti-aliased"] * 4
    for before, after in zip(plain["sites"], blurred["sites"], strict=True):
        assert after["alias_fraction"]["value"] < before["alias_fraction"]["value"]
        assert 0 < after["baseband_kept"]["value"] < 1
    with Pillow.open(out / "figure.png") as figure:
        assert figure.width > 1000
    # Of two networks of one depth: their answers, side by side.
    (group,) = summary["across"]["groups"]
    assert [(network["layers"], network["sites"]) for network in group["networks"]] == [(20, 4)] * 2
    assert all(network["mac"]["all"]["low"] <= network["mac"]["all"]["value"] for network in group["networks"])
    assert "rises most at layer" in printed


def test_json_alone_on_standard_output(photographs: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--models", RESNET20, "--images", photographs, "--layers", "layer1.0", "conv1", "--limit", "2"]
    assert main(["depth", *arguments, "--protocol", "circular:pixels=1", "--json"]) == 0
    (network,) = json.loads(capsys.readouterr().out)["models"].values()
    assert [layer["name"] for layer in network["layers"]] == ["conv1", "layer1.0"]


def test_the_local_errors_beside(photographs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "depth"
    arguments = ["--models", RESNET20, "--images", photographs, "--limit", "2", "--local", "2", "--out", str(out)]
    assert main(["depth", *arguments]) == 0
    assert "what its calls fail to move, by kind, 2 images" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    (local,) = summary["local"].values()
    # ResNet-20: two stages begin with a stride, 19 convolutions are padded, 19 activations.
    assert {kind: row["calls"] for kind, row in local["kinds"].items()} == {
        "stride": 2,
        "padding": 19,
        "non-linearity": 19,
    }
    assert (out / "local.png").exists()


def test_the_lie_derivative_beside(photographs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "depth"
    arguments = ["--models", RESNET20, "--images", photographs, "--layers", "layer1.0", "--lie", "2", "--out", str(out)]
    assert main(["depth", *arguments]) == 0
    assert "forward mode" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    (lie,) = summary["lie"].values()
    assert lie["images"] == 2
    assert (out / "lie.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--layers", "layr1.0"], 2, "no module 'layr1.0' runs in this network; did you mean layer1.0"),
        (["--protocol", "scale"], 2, "is not a small shift"),
        (["--limit", "0"], 2, "limit is a number of images, at least 1; got 0"),
        (["--batch-size", "0"], 2, "batch size is a number of views, at least 1; got 0"),
        (["--lie", "0"], 2, "--lie is a number of images, at least 1; got 0"),
        (["--images", "nowhere"], 1, "nowhere does not exist"),
        (["--models", "resnt50"], 2, "did you mean"),
    ],
)
def test_errors_are_one_line(
    photographs: str, complaint: Callable[..., str], arguments: list[str], code: int, message: str
) -> None:
    complaint(["depth", "--models", RESNET20, "--images", photographs, *arguments], code, message)
