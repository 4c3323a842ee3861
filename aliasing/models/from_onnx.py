"""Networks in ONNX files, run by onnxruntime: ``onnx:net.onnx``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from aliasing.blackbox import Port, Program
from aliasing.errors import InputError, UsageError, first_line
from aliasing.models.classifier import ShownNetwork
from aliasing.models.onnx_file import read_onnx
from aliasing.models.source import Source, path_of
from aliasing.models.told import classifier_of

_TYPES = {"float": "float32", "double": "float64"}


def load(name: str, **changes: Any) -> ShownNetwork:
    """``PATH`` → the network that onnxruntime makes of this ONNX file."""
    path = path_of(SOURCE, name, (".onnx",))
    return classifier_of(open_program(path), f"onnx:{name}", path, changes)


def open_program(path: Path, inner: tuple[str, ...] = ()) -> Program:
    """The file as onnxruntime runs it, on the CPU, with as many threads as torch has; some inner values are outputs."""
    import onnxruntime

    file = read_onnx(path)
    content = _showing(file.content, inner) if inner else file.content
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised as well
    # The bytes that were checked are loaded, and their external data from the folder that was checked.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        outputs = [output.name for output in session.get_outputs()]
        port = _port(path, session.get_inputs())
    except UsageError:
        raise
    except Exception as error:  # onnxruntime's errors have no ancestor but Exception
        raise InputError(f"onnxruntime cannot load {path} ({first_line(error)}); export it again") from error
    return Program(
        digest=file.digest,
        runtime={
            "library": f"onnxruntime {onnxruntime.__version__}",
            "provider": ", ".join(session.get_providers()),
            "threads": str(options.intra_op_num_threads),
        },
        port=port,
        outputs=tuple(outputs),
        run=lambda images: dict(zip(outputs, session.run(outputs, {port.name: images}), strict=True)),
        ends_in=file.ends_in,
        told=file.told,
        inner=inner,
    )


def _showing(content: bytes, inner: tuple[str, ...]) -> bytes:
    """The bytes of a file whose inner values are outputs too."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    return bytes(model.SerializeToString())


def _port(path: Path, inputs: list[Any]) -> Port:
    """The one input of a session."""
    if len(inputs) != 1:
        names = ", ".join(given.name for given in inputs) or "none"
        raise UsageError(f"{path} has the inputs {names}; expected one, for pictures")
    (given,) = inputs
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    dtype = _TYPES.get(kind, kind)
    if dtype not in ("float16", "float32", "float64", "uint8", "int8"):
        raise UsageError(f"{path} takes {given.name!r} of {given.type}; expected floats, uint8 or int8")
    sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in given.shape)
    return Port(given.name, sizes, str(np.dtype(dtype)))


SOURCE = Source(load=load, library="onnxruntime", extra="onnx", usage="onnx:PATH.onnx")
