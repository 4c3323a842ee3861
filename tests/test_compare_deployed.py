"""One network in the forms in which it is deployed, measured side by side."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.leaderboard.deployed import agreement, compare_deployed
from tests.deployed_files import CLASSES, SIDE, Small
from tests.small_network import make
from tests.test_jitter import photographs

HALF = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def pictures(count: int, seed: int) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (8, 9, 3)).astype(np.uint8).repeat(6, 0).repeat(6, 1) for _ in range(count)]


def network(name: str = "own") -> al.Classifier:
    return al.Classifier.of(Small(), SIDE, **HALF, name=name)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("deployed") / "out"
    return out, *compare_deployed(network(), pictures(8, 0), calibrate=pictures(5, 1), out=out, protocol="pad")


def test_each_form_is_what_its_name_says(board: Any) -> None:
    import onnx

    out, found, rows = board
    assert not found.unmeasured
    assert list(found.networks) == ["own", "own, onnx", "own, bfloat16", "own, int8"]
    models = found.summary()["models"]
    # The same sums in another order; 8 bits of precision; steps of 1/255 of a map's range. Means of 8 images.
    for form, least in (("onnx", 1e-5), ("bfloat16", 2**-5), ("int8", 0.05)):
        assert models[f"own, {form}"]["mac"]["value"] == pytest.approx(models["own"]["mac"]["value"], abs=least)
    assert "its weights are bfloat16, and it ran in that precision" in models["own, bfloat16"]["notes"]
    assert any("calibrated on 5 images of" in note for note in models["own, int8"]["notes"])
    assert models["own"]["parameters"] == sum(p.numel() for p in Small().parameters())
    assert models["own, int8"]["parameters"] is None  # which a file does not tell
    (path,) = out.glob("programs/*/int8-*.onnx")
    quantised = onnx.load(path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in quantised.graph.node}
    int8 = [tensor for tensor in quantised.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert {8 * 3 * 3 * 3, CLASSES * 8} <= {int(np.prod(tensor.dims)) for tensor in int8}
    by_name = {row["network"]: row for row in rows}
    assert by_name["own"]["agreement"] is None
    assert by_name["own, onnx"]["agreement"]["value"] == 1
    assert 0.5 < by_name["own, int8"]["agreement"]["value"] <= 1
    assert by_name["own, int8"]["megabytes"] == round(path.stat().st_size / 1e6, 2)
    assert by_name["own, int8"]["run_by"].startswith("onnxruntime")


def test_the_same_command_goes_on_with_the_same_programs(board: Any) -> None:
    out, found, _ = board
    times = {path: path.stat().st_mtime_ns for path in out.glob("programs/*/*")}
    again, _ = compare_deployed(network(), pictures(8, 0), calibrate=pictures(5, 1), out=out, protocol="pad")
    assert {path: path.stat().st_mtime_ns for path in out.glob("programs/*/*")} == times
    assert again.summary()["models"] == found.summary()["models"]


def test_agreement_counts_each_view_once() -> None:
    """Against a count by hand, of networks that agree on some views."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small = Small()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = self.small(x)
            return torch.where(x[:, 0, :1, 0] > 0, answer.roll(1, 1), answer)  # by the first pixel of a view

    models = network(), al.Classifier.of(Other(), SIDE, **HALF, name="other")
    shown = pictures(12, 2)
    one, other = (al.measure_jitter(model, shown, "grid:radius=1") for model in models)
    found = agreement(one, "own", other, "other")
    shares = []
    protocol = al.protocols.make_protocol("grid:radius=1")
    for entry in al.images.open_images(shown):
        views = np.stack([view.draw() for view in protocol.views(entry.load(), models[0]).views])
        tops = [model.module(model.normalize(views)).argmax(1) for model in models]
        shares.append(float((tops[0] == tops[1]).double().mean()))
    assert found is not None
    assert found.value == pytest.approx(np.mean(shares), abs=1e-12)
    assert 0.05 < found.value < 0.95
    assert found.low < found.value < found.high
    values = al.measure_jitter(models[0], shown, "pad", output="values")
    assert agreement(values, "own", values, "own") is None


def test_views_that_the_design_did_not_draw_are_no_agreement() -> None:
    """A network whose every answer is another agrees on nothing, though neither has an answer where none was asked."""

    own = make()

    class Contrary(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = own.module(x)
            return answer.roll(1, 1)

    models = own, replace(own, module=Contrary().eval(), name="contrary")
    one, other = (al.measure_jitter(model, photographs(70), design="two-phase") for model in models)
    undrawn = sum(part.table["second_top1"].null_count for part in one._records.parts(own.name))
    assert undrawn > 0
    found = agreement(one, own.name, other, "contrary")
    assert found is not None
    assert found.value == 0


def test_what_cannot_be_compared_is_refused(complaint: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="int8 is calibrated on images: say which"):
        compare_deployed(network(), pictures(1, 0), forms=["int8"])
    with pytest.raises(UsageError, match="no form 'int4'; choose some of onnx, bfloat16, float16, int8"):
        compare_deployed(network(), pictures(1, 0), forms=["int4"])
    complaint(["compare", "--deployed"], 2, "--deployed is of one network")


def factory() -> al.Classifier:
    """A network for the command line."""
    return network()


def test_the_command_prints_the_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, pixels in enumerate(pictures(3, 4)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    name, out = "module:tests.test_compare_deployed:factory", tmp_path / "out"
    words = ["compare", "--models", name, "--deployed", "bfloat16", "--protocol", "pad", "--consistency", "pad"]
    assert main([*words, "--images", str(tmp_path / "*.png"), "--out", str(out)]) == 0
    assert "agrees with the first" in capsys.readouterr().out
    told = json.loads((out / "summary.json").read_text())["deployed"]
    assert [row["network"] for row in told] == [name, f"{name}, bfloat16"]
    assert told[1]["megabytes"] <= told[0]["megabytes"]
    assert "agrees with the first" in (out / "leaderboard.md").read_text()
