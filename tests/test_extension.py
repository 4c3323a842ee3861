"""A source of networks, a resampler, a protocol and a reader of inputs each in one file, and all know them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

import aliasing as al
from aliasing.cli import completion, main
from aliasing.errors import UsageError
from aliasing.kinds import INPUTS, PROTOCOLS, RESAMPLERS, SOURCES

ROOT = Path(__file__).parents[1]
# The resampler and the protocol of CONTRIBUTING.md, as they are written there.
CONTRIBUTED = re.findall(
    r"^```python\n# (\w+)\.py\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S
)
# All that a third party writes: a name of a file and its text.
FILES = {
    "zoo_source": """
import torch
from torch import nn

from aliasing.models import Classifier
from aliasing.models.changes import apply_changes
from aliasing.models.checkpoints import load_weights
from aliasing.models.classifier import record_weights
from aliasing.models.source import AvailableModel, Source


def build(name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU())
    module.extend((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    half = (0.5, 0.5, 0.5)
    return Classifier(module, f"zoo:{name}", 24, half, half, "bilinear", resize_size=32, crop_share=0.75)


def load(name, **changes):
    return apply_changes(record_weights(build(name), "https://zoo.example"), changes)


def assemble(name, checkpoint, **changes):
    classifier = build(name)
    load_weights(classifier.module, checkpoint)
    return apply_changes(classifier, changes)


def architectures():
    return ["lion", "lioness"]


def available():
    return [AvailableModel(f"zoo:{name}", "https://zoo.example", installed=True) for name in architectures()]


def knows(name):
    return name in architectures()


SOURCE = Source(load=load, available=available, architectures=architectures, knows=knows, assemble=assemble)
""",
    "npy_reader": '''
import numpy as np

from aliasing.images import ImageSource
from aliasing.images.datasets import array_entry


def read(spec, path):
    """A file .npy of pictures, N×H×W×3."""
    if path is None or path.suffix != ".npy":
        return None
    pictures = np.load(path, allow_pickle=False)
    return ImageSource(
        f"NumPy file {path}, unlabelled",
        lambda: (array_entry(f"{index:05d}", None, picture) for index, picture in enumerate(pictures)),
    )
''',
    **dict(CONTRIBUTED),
}
POINTS = """\
[aliasing.sources]
zoo = zoo_source:SOURCE
[aliasing.inputs]
npy = npy_reader:read
[aliasing.resamplers]
nearest = nearest_resampler:NEAREST
[aliasing.protocols]
jump = jump_protocol:Jump
"""
REGISTRIES = (SOURCES, INPUTS, RESAMPLERS, PROTOCOLS)


@pytest.fixture(autouse=True, params=["a script", "another package"])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The four files, where Python finds them, and the kinds in them added."""
    folder = tmp_path / "package"
    (folder / "zoo-1.0.dist-info").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(folder))
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_added", {})
        vars(registry).pop("_entry_points", None)
    if request.param == "a script":
        import jump_protocol  # type: ignore[import-not-found]
        import nearest_resampler  # type: ignore[import-not-found]
        import npy_reader  # type: ignore[import-not-found]
        import zoo_source  # type: ignore[import-not-found]

        SOURCES.add("zoo", zoo_source.SOURCE)
        INPUTS.add("npy", npy_reader.read)
        RESAMPLERS.add("nearest", nearest_resampler.NEAREST)
        PROTOCOLS.add("jump", jump_protocol.Jump)
    else:
        (folder / "zoo-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
        (folder / "zoo-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    yield folder
    for registry in REGISTRIES:
        vars(registry).pop("_entry_points", None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    return tmp_path / "pictures.npy"


@pytest.mark.parametrize("command", ["jitter", "depth", "attribute", "features", "compare"])
def test_help_names_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = "".join(capsys.readouterr().out.split())
    assert ",jump" in text
    assert "tar,npy" in text


def test_completion_names_them(package: Path, request: pytest.FixtureRequest) -> None:
    assert "zoo:" in completion.networks("")
    assert list(completion.networks("zoo:")) == ["zoo:lion", "zoo:lioness"]
    assert "antialiased:flc:zoo:lion" in completion.networks("antialiased:flc:zoo:l")
    if "script" in request.node.name:
        return  # which the shell does not run
    for line, expected in (("aliasing depth --protocol ju", "jump"), ("aliasing jitter --resizer ne", "nearest")):
        answer = package / "answer"
        asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
        here = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"}
        subprocess.run([sys.executable, "-m", "aliasing"], env=os.environ | asked | here, cwd=ROOT, check=True)
        assert answer.read_text().split() == [expected]


def test_networks_are_listed_and_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "zoo:*", "--installed", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["zoo:lion", "zoo:lioness"]
    lion = al.load_model("lion", input_size=20)
    assert (lion.name, lion.input_size, lion.origin["source"]) == ("zoo:lion", 20, "https://zoo.example")
    state = {key: value + 1 for key, value in lion.module.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    changed = al.load_model(f"file:{tmp_path}/weights.safetensors@zoo:lion")
    assert changed.name == f"file:{tmp_path}/weights.safetensors@zoo:lion"
    assert changed.module.state_dict()["7.bias"].equal(state["7.bias"])
    with pytest.raises(UsageError, match=r"no model 'liones' in any source; did you mean lioness or lion\?"):
        al.load_model("liones")
    with pytest.raises(UsageError, match=r"no source 'zo'; did you mean zoo\?"):
        al.load_model("zo:lion")


def test_resamplers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resamplers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[-1]["name"] == "nearest"


def test_every_command_that_measures_takes_them(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ["--images", str(images), "--protocol", "jump:by=2"]
    kept = ["--json", "--out"]
    runs = {name: str(tmp_path / name) for name in ("jitter", "depth", "attribute", "compare", "features")}
    resized = ["--resizer", "nearest"]
    assert main(["jitter", "--models", "zoo:lion", *shown, *resized, *kept, runs["jitter"]]) == 0
    summary = json.loads((tmp_path / "jitter" / "summary.json").read_text())
    assert summary["images"]["found"] == 6
    assert summary["images"]["source"].startswith("NumPy file")
    protocol = summary["settings"]["protocol"]
    assert (protocol["name"], protocol["by"]) == ("jump", 2)
    assert protocol["resizer"] == {"name": "nearest", "library": "NumPy", "version": np.__version__, "antialias": False}
    assert summary["models"]["zoo:lion"]["weights"]["source"] == "https://zoo.example"
    assert main(["depth", "--models", "zoo:lion", *shown, *resized, *kept, runs["depth"]]) == 0
    assert main(["attribute", "zoo:lion", *shown, *kept, runs["attribute"]]) == 0
    assert main(["compare", "--models", "zoo:*", *shown, "--consistency", "jump", *kept, runs["compare"]]) == 0
    board = json.loads((tmp_path / "compare" / "summary.json").read_text())
    assert set(board["models"]) == {"zoo:lion", "zoo:lioness"}
    assert main(["features", "zoo:lion", str(images), "--protocol", "jump", *kept, runs["features"]]) == 0
    page = tmp_path / "page.html"
    assert main(["report", *runs.values(), "--out", str(page)]) == 0
    assert "Two windows, some pixels apart." in page.read_text()


def test_a_name_that_is_near_one_of_theirs_is_told() -> None:
    with pytest.raises(UsageError, match=r"unknown protocol 'jum'; did you mean jump"):
        al.protocols.make_protocol("jum")
    with pytest.raises(UsageError, match=r"unknown resampler 'neares'; did you mean nearest"):
        al.protocols.make_protocol("crop", resizer="neares")
