"""Networks in TensorFlow Lite's files, run by LiteRT: ``tflite:net.tflite``."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aliasing.blackbox import LAST_CALLS, Port, Program
from aliasing.errors import InputError, UsageError, first_line
from aliasing.models.classifier import ShownNetwork
from aliasing.models.source import Source, path_of
from aliasing.models.told import KEY, classifier_of, read_told
from aliasing.state import read_bytes

_LARGEST = 2**31 - 1  # bytes that a flat buffer can have
_IDENTIFIER = b"TFL3"
_PASSING = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE", "CAST")


def load(name: str, **changes: Any) -> ShownNetwork:
    """``PATH`` → the network that LiteRT makes of this .tflite file."""
    path = path_of(SOURCE, name, (".tflite",))
    return classifier_of(open_program(path), f"tflite:{name}", path, changes)


def open_program(path: Path) -> Program:
    """The file as LiteRT runs it, on the CPU, with as many threads as torch has."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    content = read_bytes(path, largest=_LARGEST)
    ends_in, metadata = _look_through(path, content)
    threads = torch.get_num_threads()
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    except Exception as error:  # LiteRT raises ValueError and RuntimeError
        raise InputError(f"LiteRT cannot load {path} ({first_line(error)}); convert it again") from error
    port = _port(path, interpreter.get_input_details())

    def run(images: Any) -> dict[str, Any]:
        (given,) = interpreter.get_input_details()
        if tuple(given["shape"]) != images.shape:
            interpreter.resize_tensor_input(given["index"], images.shape, strict=True)
            interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return {
            output["name"]: _real(interpreter.get_tensor(output["index"]), output)
            for output in interpreter.get_output_details()
        }

    return Program(
        digest=hashlib.sha256(content).hexdigest(),
        runtime={"library": f"LiteRT {ai_edge_litert.__version__}", "provider": "CPU", "threads": str(threads)},
        port=port,
        outputs=tuple(output["name"] for output in interpreter.get_output_details()),
        run=run,
        ends_in=ends_in,
        told=read_told(path, metadata),
    )


def _look_through(path: Path, content: bytes) -> tuple[str | None, dict[str, str]]:
    """The torch function that the last operator is called after, and the metadata.

    Raises InputError if the file is damaged, calls custom operators, or keeps its weights in other files.
    """
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != _IDENTIFIER:
        raise InputError(f"{path} is not a TensorFlow Lite file; convert the network again")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        custom = [code.customCode for code in model.operatorCodes if code.customCode]
        graph = model.subgraphs[0]
        makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
        names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
        maker = makers.get(int(graph.outputs[0]))
        while maker is not None and names.get(codes[maker.opcodeIndex]) in _PASSING:
            maker = makers.get(int(maker.inputs[0]))
        ends_in = None if maker is None else LAST_CALLS.get(names.get(codes[maker.opcodeIndex], ""))
        metadata = {
            entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode()
            for entry in model.metadata or ()
            if entry.name == KEY.encode()
        }
    except Exception as error:  # a reader of damaged bytes may fail in any way
        raise InputError(
            f"{path} is not a complete TensorFlow Lite file ({first_line(error)}); copy it again"
        ) from error
    if custom or schema.BuiltinOperator.CUSTOM in codes:
        called = ", ".join(one.decode(errors="replace") for one in custom) or "without a name"
        raise InputError(
            f"{path} calls the custom operator {called}, which needs a library of its own, and none is loaded; convert"
            " the network with TensorFlow Lite's own operators"
        )
    if model.externalBuffers or model.externalBufferGroups:
        raise InputError(f"{path} keeps its weights in other files, which are not read; convert it into one file")
    return ends_in, metadata


def _real(answer: Any, about: Any) -> Any:
    """The numbers that an output means."""
    step, zero = about["quantization"]
    return np.float32(step) * (answer.astype(np.float32) - np.float32(zero)) if step else answer


def _port(path: Path, inputs: list[Any]) -> Port:
    """The one input of an interpreter."""
    if len(inputs) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs; expected one, for pictures")
    (given,) = inputs
    signature = given["shape_signature"] if len(given["shape_signature"]) else given["shape"]
    sizes = tuple(int(size) if size > 0 else None for size in signature)
    kind, (step, zero) = np.dtype(given["dtype"]).name, given["quantization"]
    if kind not in ("float16", "float32", "uint8", "int8"):
        raise UsageError(f"{path} takes {kind}; expected floats, uint8 or int8")
    return Port(given["name"], sizes, kind, float(step), int(zero))


SOURCE = Source(load=load, library="ai-edge-litert", extra="tflite", usage="tflite:PATH.tflite")
