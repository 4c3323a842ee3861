"""The inner values of ONNX files as layers: the numbers of the same layers of the network itself."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from tests.deployed_files import SIDE, Small, onnx_model, write_onnx, write_tflite

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SAID = {"input_size": SIDE, "resize_size": SIDE, "mean": (0.5,) * 3, "std": (0.25,) * 3}


def pictures(count: int = 4) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (8, 9, 3)).astype(np.uint8).repeat(6, 0).repeat(6, 1) for _ in range(count)]


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), (1, SIDE, SIDE, 3)], ids=str)
def test_an_inner_value_gives_the_numbers_of_its_layer(shape: tuple[Any, ...], tmp_path: Path) -> None:
    """The convolution's maps, whichever layout the input has and in batches of one; float32 in another order."""
    own = al.Classifier.of(Small(), SIDE, mean=SAID["mean"], std=SAID["std"], name="own")
    file = al.load_model(f"onnx:{write_onnx(tmp_path / 'net.onnx', shape=shape)}", **SAID)
    profile = al.probe_depth([own, file], pictures(), layers="leaves")
    models = profile.summary()["models"]
    expected = next(layer for layer in models["own"]["layers"] if layer["name"] == "convolution")
    (found,) = (layer for layer in models[file.name]["layers"] if layer["name"] == "maps")
    assert (found["kind"], found["shape"], found["form"]) == ("Conv", expected["shape"], "map")
    assert found["cumulative_stride"] == expected["cumulative_stride"] == [2.0, 2.0]
    assert found["margin"] == expected["margin"]
    measures = [name for name, value in expected.items() if isinstance(value, dict) and "value" in value]
    assert {"relative_change", "equivariance_error", "unexplained_change"} <= {*measures}
    for name in measures:
        assert found[name]["value"] == pytest.approx(expected[name]["value"], rel=1e-4)
    assert [layer["name"] for layer in models[file.name]["layers"]] == ["maps", "positive", "mean", "flat"]
    assert [layer["form"] for layer in models[file.name]["layers"]][2:] == ["vector", "vector"]
    assert models[file.name]["sites"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that there is no room for the axes
        profile.plot().canvas.draw()


def test_blocks_are_what_everything_passes_through(tmp_path: Path) -> None:
    """Beside a shortcut no value is one; their sum is, if a convolution or pooling follows."""
    model = onnx_model(Small())
    nodes = {node.output[0]: node for node in model.graph.node}
    sum_ = onnx.helper.make_node("Add", ["positive", "maps"], ["sum"])
    nodes["mean"].input[0] = "sum"
    model.graph.node.insert([*nodes].index("mean"), sum_)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    file = al.load_model(f"onnx:{path}", **SAID)
    profile = al.probe_depth(file, pictures())
    layers = profile.summary()["models"][file.name]["layers"]
    # planes before Conv, sum before the pooling, mean before Flatten, flat before Gemm
    assert [layer["name"] for layer in layers] == ["planes", "sum", "mean", "flat"]
    named = al.probe_depth(file, pictures(), layers=["positive"]).summary()["models"][file.name]["layers"]
    assert [(layer["name"], layer["kind"]) for layer in named] == [("positive", "Relu")]
    with pytest.raises(UsageError, match="has no inner value 'positiv'; did you mean positive"):
        al.probe_depth(file, pictures(), layers=["positiv"])


def test_the_answers_stay_those_of_the_file(tmp_path: Path) -> None:
    from aliasing.depth.opened import opened

    file = al.load_model(f"onnx:{write_onnx(tmp_path / 'net.onnx')}", **SAID)
    box, _ = opened(file, "leaves")
    batch = torch.rand(3, 3, SIDE, SIDE)
    assert torch.allclose(box.module(batch), file.module(batch), rtol=0, atol=1e-5)  # other fusions of 27 products
    assert box.identity == file.identity
    write_onnx(tmp_path / "net.onnx", Small(softmax=True))
    with pytest.raises(InputError, match="was changed after it was loaded"):
        opened(file, "leaves")


def test_other_libraries_show_no_inner_values(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    file = al.load_model(f"tflite:{write_tflite(tmp_path / 'net.tflite')}", **SAID)
    with pytest.raises(UsageError, match=r"is run by LiteRT .*, which shows no inner values; give the network as onnx"):
        al.probe_depth(file, pictures())


def test_the_command_follows_a_shift_through_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], complaint: Callable[..., str]
) -> None:
    name = f"onnx:{write_onnx(tmp_path / 'net.onnx')}"
    words = ["depth", "--models", name, "--limit", "2", "--input-size", str(SIDE), "--input-mean", "0.5,0.5,0.5"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "Conv" not in capsys.readouterr().err
    assert (tmp_path / "out" / "figure.png").is_file()
    complaint([*words, "--lie", "1"], 2, "run by onnxruntime")


def test_beside_a_network_its_depth_is_not_measured(tmp_path: Path) -> None:
    from aliasing.depth.across import compare_depths

    own = al.Classifier.of(Small(), SIDE, mean=SAID["mean"], std=SAID["std"], name="own")
    file = al.load_model(f"onnx:{write_onnx(tmp_path / 'net.onnx')}", **SAID)
    depth = al.depth.across.network_depth(own)
    found = compare_depths([al.measure_jitter([own, file], pictures(), "pad")], depths={"own": depth}).summary()
    assert [row["name"] for row in found["groups"][0]["networks"]] == ["own"]
    assert [(row["name"], row["reason"].partition(" 1.")[0]) for row in found["not_measured"]] == [
        (file.name, "it is run by onnxruntime")
    ]
