"""`--preprocess` and `--outputs`: what they say is what `load_model` is told, and what is said stays with the run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import aliasing as al
from aliasing.cli import main
from aliasing.errors import UsageError
from tests.deployed_files import tflite_bytes

LITE0 = "pypi:efficientnet_lite0"
STEPS = """
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

def published(side=256, *more):
    steps = [Resize(side, InterpolationMode.BICUBIC), CenterCrop(224), ToTensor()]
    return Compose([*steps, Normalize((0.5,) * 3, (0.5,) * 3)])

made = published()

class held:
    bigger = published(288)

def failing():
    raise RuntimeError("no such thing")

def needing(image):
    return image

number = 3
"""
SIDE = 32
# Two boxes in a picture of 32 pixels, the surer one first.
FOUND = {
    "a": np.array([[1, 2, 30, 28], [5, 6, 17, 18]], np.float32),
    "b": np.array([0.9, 0.8], np.float32),
    "c": np.array([3, 1], np.int64),
}


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current one, with a module of transforms."""
    (tmp_path / "own_steps_of_the_tests.py").write_text(STEPS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(images: Path, *more: str) -> list[str]:
    return ["jitter", "--models", LITE0, "--images", str(images), "--limit", "4", "--protocol", "crop:span=1", *more]


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in sorted((out / "records").rglob("*.parquet")):
        found += pq.read_table(file).to_pylist()
    return found


def told(out: Path) -> dict[str, Any]:
    (model,) = json.loads((out / "summary.json").read_text("utf-8"))["models"].values()
    return dict(model)


def test_the_published_transform_gives_the_very_same_records(
    steps: Path, imagenet_sample: Path, complaint: Callable[..., str]
) -> None:
    assert main(words(imagenet_sample, "--out", "without")) == 0
    place = "own_steps_of_the_tests:published"
    assert main(words(imagenet_sample, "--out", "with", "--preprocess", place)) == 0
    without, with_it = rows(steps / "without"), rows(steps / "with")
    assert len(without) == 4
    assert without == with_it
    assert main(words(imagenet_sample, "--out", "without", "--preprocess", place)) == 0  # it is the same run
    note = f"preprocess={place} was read: views are moved between its resize to 256 (pil) and its crop of the centre"
    assert any(text.startswith(note) for text in told(steps / "with")["notes"])
    # Another transform is another run; the same again, and by its attribute, is this one.
    again = words(imagenet_sample, "--out", "with", "--preprocess")
    complaint([*again, "own_steps_of_the_tests:held.bigger"], 1, "preprocessing")
    assert main([*again, "own_steps_of_the_tests:made"]) == 0
    assert main(["report", "with", "--out", "page.html"]) == 0
    page = (steps / "page.html").read_text("utf-8").replace("<wbr>", "")
    assert "preprocess=own_steps_of_the_tests:made was read" in page
    assert "--preprocess own_steps_of_the_tests:made" in page  # in the command that makes it again


def test_another_resizer_is_told(steps: Path, imagenet_sample: Path) -> None:
    place = "own_steps_of_the_tests:published"
    assert main(words(imagenet_sample, "--out", "with", "--preprocess", place, "--resizer", "torch")) == 0
    note = "photographs were resized by torch, as the protocol says, not by the pipeline's pil"
    assert note in told(steps / "with")["notes"]
    # Where one thing is then resized otherwise, what was read no longer holds.
    network = al.load_model(LITE0, preprocess=place)
    changed = al.load_model(network, resizer="torch")
    assert not [text for text in changed.notes if text.startswith("preprocess=")]


def test_what_contradicts_or_cannot_be_found_is_refused(
    steps: Path, imagenet_sample: Path, complaint: Callable[..., str]
) -> None:
    asked = words(imagenet_sample, "--preprocess")
    module = "own_steps_of_the_tests"
    for place, *more in (
        ("published", "expected PACKAGE.MODULE:NAME"),
        ("nowhere_at_all:x", "cannot import nowhere_at_all"),
        (f"{module}:held.none", "has no function 'held.none'"),
        (f"{module}:number", "has no function 'number'"),
        (f"{module}:failing", "failing() failed (RuntimeError: no such thing)"),
        (f"{module}:needing", "needing() failed (TypeError"),
    ):
        complaint([*asked, place], 2, f"preprocess={place}", *more)
    place = f"{module}:published"
    complaint([*asked, place, "--input-mean", "0.4,0.4,0.4"], 2, "preprocess tells mean too")
    complaint([*asked, place, "--input-size", "192"], 2, "preprocess tells input_size too")
    complaint([*asked, place, "--resize-size", "240"], 2, "preprocess tells resize_size too")
    assert al.load_model(LITE0, preprocess=place, input_size=224, resize_size=256).resize_size == 256
    with pytest.raises(UsageError, match="preprocess tells resizer too"):
        al.load_model(LITE0, preprocess=place, resizer="torch")
    complaint(words(imagenet_sample, "--outputs", "boxes,scores,labels"), 2, "no outputs to be said: only a file has")


def onnx_detector() -> bytes:
    """A file that finds the same two boxes in each picture; the picture is added to them a millionth of a millionth."""
    from onnx import TensorProto, helper, numpy_helper

    small = numpy_helper.from_array(np.float32(1e-12), "small")
    constants = [small, *(numpy_helper.from_array(found, f"{name}0") for name, found in FOUND.items())]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "small"], ["nearly"]),
        helper.make_node("Add", ["a0", "nearly"], ["a"]),
        helper.make_node("Add", ["b0", "nearly"], ["b"]),
        helper.make_node("Identity", ["c0"], ["c"]),
    ]
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    outputs = [helper.make_tensor_value_info(n, kinds[str(f.dtype)], f.shape) for n, f in FOUND.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    graph = helper.make_graph(nodes, "detector", [given], outputs, constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def tflite_detector() -> bytes:
    """The same: a mean of the picture, which is added to constants after a product with nearly nothing."""
    from ai_edge_litert import schema_py_generated as schema

    buffers, tensors, operators, codes = [schema.BufferT()], [], [], []

    def tensor(name: str, shape: tuple[int, ...], values: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, list(shape), 0
        whole = values is not None and values.dtype == np.int32
        made.type = schema.TensorType.INT32 if whole else schema.TensorType.FLOAT32
        if values is not None:
            buffers.append(schema.BufferT())
            buffers[-1].data, made.buffer = np.frombuffer(values.tobytes(), np.uint8), len(buffers) - 1
        tensors.append(made)
        return len(tensors) - 1

    def operate(name: str, inputs: list[int], output: int, options: str) -> None:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        codes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(codes) - 1, inputs, [output]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        made.builtinOptions = getattr(schema, f"{options}T")()
        operators.append(made)

    picture = tensor("x", (1, SIDE, SIDE, 3))
    mean, nearly = tensor("mean", ()), tensor("nearly", ())
    operate("MEAN", [picture, tensor("axes", (4,), np.arange(4, dtype=np.int32))], mean, "ReducerOptions")
    operate("MUL", [mean, tensor("small", (), np.float32(1e-12))], nearly, "MulOptions")
    outputs = []
    for name, found in FOUND.items():
        values = found.astype(np.float32)  # labels are floats, as in LiteRT's own detectors
        outputs.append(tensor(name, values.shape))
        operate("ADD", [tensor(f"{name}0", values.shape, values), nearly], outputs[-1], "AddOptions")
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, [picture], outputs
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, codes, [graph], buffers
    return tflite_bytes(model)


def detector(source: str, folder: Path) -> str:
    """The name of a file of the detector for this source; skips if what runs or writes it is not installed."""
    if source == "tflite":
        pytest.importorskip("ai_edge_litert")
        pytest.importorskip("flatbuffers")
        (folder / "net.tflite").write_bytes(tflite_detector())
        return f"tflite:{folder / 'net.tflite'}"
    pytest.importorskip("onnx")
    (folder / "net.onnx").write_bytes(onnx_detector())
    if source == "onnx":
        pytest.importorskip("onnxruntime")
        return f"onnx:{folder / 'net.onnx'}"
    openvino = pytest.importorskip("openvino")
    openvino.save_model(openvino.Core().read_model(str(folder / "net.onnx")), str(folder / "net.xml"), False)
    return f"openvino:{folder / 'net.xml'}"


@pytest.mark.parametrize("source", ["onnx", "openvino", "tflite"])
def test_the_outputs_of_a_file_are_said(source: str, tmp_path: Path, complaint: Callable[..., str]) -> None:
    """A detector that finds the same boxes wherever the picture lies: a moved picture's are a pixel off."""
    name, out = detector(source, tmp_path), tmp_path / "out"
    asked = ["jitter", "--models", name, "--output", "boxes", "--limit", "2", "--protocol", "crop:span=1"]
    asked += ["--input-mean", "0,0,0", "--input-std", "1,1,1", "--input-size", str(SIDE), "--resize-size", "40"]
    complaint([*asked, "--outputs", "boxes,scores"], 2, "the file has 3: ")
    complaint([*asked, "--outputs", "boxes,scores,scores"], 2, "a name is there twice")
    complaint(asked, 2, "answers one image with a dict of ")
    said = ["boxes", "scores", "labels"]
    assert main([*asked, "--outputs", ",".join(said), "--out", str(out)]) == 0
    model = told(out)
    assert model["pairs"] == 2
    assert model["weights"]["outputs"] == ", ".join(said)
    assert any(f"outputs {', '.join(said)}" in note for note in model["notes"])
    network = al.load_model(name, input_size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, outputs=said)
    (found,) = network.ask(network.blank())
    assert found["boxes"].tolist() == FOUND["a"].tolist()
    assert found["labels"].tolist() == FOUND["c"].tolist()
    # The same numbers by other names are another network.
    swapped = [{"scores": "labels", "labels": "scores"}.get(one, one) for one in said]
    complaint([*asked, "--outputs", ",".join(swapped), "--out", str(out)], 1, "computation")
