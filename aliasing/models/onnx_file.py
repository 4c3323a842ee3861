"""Reading ONNX files: what they ask for beyond themselves is refused, or stays in their own folder.

An ONNX file may keep its weights in other files, and call operators that a library of somebody's own brings. The first
are read from the file's folder alone, and nothing is loaded for the second.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aliasing.blackbox import LAST_CALLS
from aliasing.errors import InputError, first_line
from aliasing.models.told import read_told
from aliasing.state import opened, read_bytes

# Operators of ONNX itself and those that onnxruntime brings along.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
_ELSEWHERE = ("EPContext",)  # whose network is in a file of its own, compiled for one device
_LARGEST = 2**31 - 1  # bytes that a protocol buffer can have
_PASSING = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that asks for nothing from elsewhere.

    Attributes
    ----------
    content : its bytes.
    digest : SHA-256 of them, and of the external files' bytes in the order of their names.
    ends_in : the torch function that its last operator is called after, if any.
    told : what its metadata say of the preprocessing.
    """

    content: bytes
    digest: str
    ends_in: str | None
    told: Mapping[str, Any]


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file and check what it asks for.

    Raises InputError if it is not one, if data that it keeps in other files are missing or lead out of its folder, and
    if it calls operators that only a library of somebody's own has.
    """
    import onnx

    content = read_bytes(path, largest=_LARGEST)
    try:
        model = onnx.ModelProto.FromString(content)
        if not model.graph.node or not model.graph.output:
            raise InputError(f"{path} is not an ONNX file of a network: it has no graph; export it again")
        _refuse_custom(path, model)
        digest = hashlib.sha256(content)
        for place in sorted({place for tensor in _tensors(model) if (place := _location(tensor)) is not None}):
            _add_external(digest, path, place)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        return OnnxFile(content, digest.hexdigest(), _last_call(model.graph), read_told(path, metadata))
    except InputError:
        raise
    except Exception as error:  # a reader of damaged bytes may fail in any way
        raise InputError(f"{path} is not a complete ONNX file ({first_line(error)}); export it again") from error


def _refuse_custom(path: Path, model: Any) -> None:
    defined = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        known = node.domain in _DOMAINS and node.op_type not in _ELSEWHERE
        if not known and (node.domain, node.op_type) not in defined:
            name = f"{node.domain}:{node.op_type}"
            raise InputError(
                f"{path} calls the custom operator {name}, which needs a library of its own, and none is loaded;"
                " export the network with ONNX's own operators"
            )


def _add_external(digest: Any, path: Path, place: str) -> None:
    """Hash a file in which an ONNX file keeps tensors; it has to lie in the same folder or below."""
    if place.startswith("*"):  # onnxruntime would take the offset for an address in memory
        raise InputError(f"{path} keeps data at {place!r}, which is not a file; export it again")
    try:
        with opened(path.parent / place, path.parent) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except InputError as error:
        raise InputError(f"{path} keeps its data elsewhere: {error}; put them beside it and export it again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} keeps data in {place!r}, which cannot be read ({first_line(error)})") from error


def _location(tensor: Any) -> str | None:
    if tensor.data_location != tensor.EXTERNAL:
        return None
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, the functions, and the graphs within their nodes."""
    waiting = [model.graph, *model.functions, *(info.algorithm for info in model.training_info)]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _nodes(model: Any) -> Iterator[Any]:
    return (node for graph in _graphs(model) for node in graph.node)


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor that a file holds."""
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from (
                attribute.t,
                *attribute.tensors,
                attribute.sparse_tensor.values,
                attribute.sparse_tensor.indices,
            )


def _last_call(graph: Any) -> str | None:
    """The torch function after which the operator that makes the first output is called."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(graph.output[0].name)
    for _ in graph.node:
        if node is None or node.op_type not in _PASSING or not node.input:
            break
        node = producers.get(node.input[0])
    return None if node is None else LAST_CALLS.get(node.op_type)
