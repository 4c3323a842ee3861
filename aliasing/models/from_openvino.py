"""Networks in OpenVINO's files, or in ONNX files, run by OpenVINO: ``openvino:net.xml``, ``openvino:net.onnx``."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from aliasing.blackbox import LAST_CALLS, Port, Program
from aliasing.errors import InputError, UsageError, one_line
from aliasing.models.classifier import ShownNetwork
from aliasing.models.onnx_file import read_onnx
from aliasing.models.source import Source, path_of
from aliasing.models.told import KEY, classifier_of, read_told
from aliasing.state import read_bytes

_TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "u8": "uint8", "i8": "int8"}
_LARGEST = 2**34  # bytes of a file of weights


def load(name: str, **changes: Any) -> ShownNetwork:
    """``PATH`` → the network that OpenVINO makes of this .xml (with its .bin beside it) or .onnx file."""
    path = path_of(SOURCE, name, (".xml", ".onnx"))
    return classifier_of(open_program(path), f"openvino:{name}", path, changes)


def open_program(path: Path) -> Program:
    """The file as OpenVINO runs it on the CPU: in float32, where it may take bfloat16 by itself."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    try:
        if path.suffix == ".onnx":
            file = read_onnx(path)
            digest, ends_in, told = file.digest, file.ends_in, file.told
            model = core.read_model(str(path))
        else:
            content, weights = read_bytes(path), path.with_suffix(".bin")
            held = read_bytes(weights, path.parent, _LARGEST) if weights.exists() else b""
            digest = hashlib.sha256(content + held).hexdigest()
            # From the bytes that were hashed: a path in the file would not be followed.
            model = core.read_model(content, held)
            ends_in = LAST_CALLS.get(_last_type(model))
            told = read_told(path, _metadata(model))
        compiled = core.compile_model(model, "CPU", settings)
    except InputError:
        raise
    except Exception as error:  # OpenVINO's errors have no ancestor but RuntimeError
        *_, reason = (type(error).__name__, *filter(None, map(str.strip, str(error).splitlines())))
        raise InputError(f"OpenVINO cannot load {path} ({one_line(reason)[:300]}); export it again") from error
    port = _port(path, compiled.inputs)
    names = [output.any_name if output.names else f"output {number}" for number, output in enumerate(compiled.outputs)]
    return Program(
        digest=digest,
        runtime={
            "library": f"OpenVINO {openvino.__version__.partition('-')[0]}",
            "provider": "CPU",
            "precision": str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
            "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
        },
        port=port,
        outputs=tuple(names),
        run=lambda images: dict(zip(names, map(_copied, compiled(images).values()), strict=True)),
        ends_in=ends_in,
        told=told,
    )


def _copied(answer: Any) -> Any:
    return answer.copy()  # the next call writes to the same memory


def _last_type(model: Any) -> str:
    """ONNX's name for the operator that makes the first output."""
    name = str(model.outputs[0].node.input_value(0).get_node().get_type_name())
    return {"SoftMax": "Softmax", "Convolution": "Conv"}.get(name, name)


def _metadata(model: Any) -> dict[str, str]:
    return {KEY: str(model.get_rt_info([KEY]).value)} if model.has_rt_info([KEY]) else {}


def _port(path: Path, inputs: Any) -> Port:
    """The one input of a compiled model."""
    if len(inputs) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs; expected one, for pictures")
    (given,) = inputs
    kind = given.get_element_type().get_type_name()
    if kind not in _TYPES:
        raise UsageError(f"{path} takes {kind}; expected floats, u8 or i8")
    shape = given.get_partial_shape()
    if shape.rank.is_dynamic:
        raise UsageError(f"{path} does not say how many axes its input has; export it with N×3×H×W")
    sizes = tuple(None if size.is_dynamic else size.get_length() for size in shape)
    return Port(given.any_name if given.names else "the input", sizes, _TYPES[kind])


SOURCE = Source(load=load, library="openvino", extra="openvino", usage="openvino:PATH.xml or openvino:PATH.onnx")
