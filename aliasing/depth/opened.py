"""The layers of an ONNX file: its inner values, made outputs, so that onnxruntime gives them too.

A file has no modules. Its layers are the values of its graph, by their own names: ``blocks`` are those that everything
from the image to the answer passes through, the last before each convolution, pooling or matrix product; ``leaves`` are
the outputs of all these operators and of activations. Where the cells of a map lie follows from the ratio of the sizes,
rounded to a whole stride, and what they see is not known.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aliasing.blackbox import BlackBox, Program
from aliasing.depth.layers import Form, Layer
from aliasing.errors import InputError, UsageError
from aliasing.models import ShownNetwork
from aliasing.models.from_onnx import open_program
from aliasing.registry import did_you_mean
from aliasing.sites.grid import Extent, Grid

_MIXING = frozenset((
    "Conv", "ConvTranspose", "QLinearConv", "Gemm", "MatMul", "QLinearMatMul", "MaxPool", "AveragePool", "Flatten",
    "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Resize",
))  # fmt: skip
_ACTIVATIONS = frozenset((
    "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Gelu", "PRelu", "Add", "Concat",
    "Softmax",
))  # fmt: skip


class OpenedBox(BlackBox):
    """An ONNX file that shows its inner values, each as the output of a module of its name."""

    def __init__(self, program: Program, layout: str, kinds: dict[str, str]) -> None:
        super().__init__(program, layout)
        self.kinds = kinds
        for value in program.inner:
            self._modules[_module_name(value)] = type(kinds[value], (nn.Identity,), {})()

    def __deepcopy__(self, memo: Any) -> "OpenedBox":
        return OpenedBox(self.program, self.layout, self.kinds)

    def forward(self, batch: Tensor) -> Any:
        """The answer; on the way each inner value passes through its module."""
        answers: Any = super().forward(batch)
        for value in self.program.inner:
            self._modules[_module_name(value)](answers.pop(value))  # type: ignore[misc]
        return answers if len(answers) > 1 else next(iter(answers.values()))


def opened(network: ShownNetwork, wanted: str | Sequence[str]) -> tuple[ShownNetwork, list[Layer]]:
    """A network of an ONNX file with its inner values as layers, and these layers.

    Raises UsageError if another library than onnxruntime runs the file, the graph has no such values, or there is no
    value of a name, and InputError if the file is no longer what was loaded.
    """
    module = network.module
    assert isinstance(module, BlackBox)
    library, path = module.program.runtime["library"], Path(network.origin["source"])
    if not library.startswith("onnxruntime"):
        raise UsageError(
            f"{network.name} is run by {library}, which shows no inner values; give the network as onnx:PATH"
        )
    if module.program.answers_lists:
        raise UsageError(
            f"{network.name} answers with what it finds in each picture, and depth compares answers of one size"
        )
    kinds = _values(path, wanted, network.name)
    program = open_program(path, tuple(kinds))
    if program.digest != module.program.digest:
        raise InputError(f"{path} was changed after it was loaded; load it again")
    box = OpenedBox(program, module.layout, kinds)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, part in box.named_children():
        part.register_forward_hook(lambda _module, _args, output, name=name: shapes.__setitem__(name, output.shape))
    with torch.no_grad():
        box(network.blank(2))
    layers = [
        _layer(_module_name(value), depth, kinds[value], shapes[_module_name(value)], network.view_size)
        for depth, value in enumerate(kinds, 1)
    ]
    return replace(network, module=OpenedBox(program, module.layout, kinds)), layers


def _module_name(value: str) -> str:
    """A value's name as that of a module, which has no dots, and no # because that counts calls."""
    return value.replace(".", "_").replace("#", "_")


def _values(path: Path, wanted: str | Sequence[str], name: str) -> dict[str, str]:
    """The values that are wanted, in the order of the graph, and the operators that make them."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    signal = {value.name for value in graph.input if value.name not in weights}
    nodes = []
    for node in graph.node:
        if signal & {*node.input}:
            signal |= {*node.output}
            nodes.append(node)
    outputs = {value.name for value in graph.output}
    made = {node.output[0]: node.op_type for node in nodes if node.output[0] not in outputs}
    if wanted == "blocks":
        chosen = {*_blocks(nodes, outputs)}
    elif wanted == "leaves":
        chosen = {value for value, kind in made.items() if kind in _MIXING | _ACTIVATIONS}
    else:
        chosen = {wanted} if isinstance(wanted, str) else {*wanted}
        for value in chosen - made.keys():
            hint = did_you_mean(value, made) or "; give blocks, leaves, or names of values in its graph"
            raise UsageError(f"{name} has no inner value {value!r}{hint}")
    found = {value: kind for value, kind in made.items() if value in chosen}
    if not found:
        raise UsageError(f"{name} has no inner value that everything passes through; give --layers leaves, or names")
    return found


def _blocks(nodes: Sequence[Any], outputs: set[str]) -> Iterator[str]:
    """The values that everything passes through, the last before each operator that mixes."""
    last_use = {value: number for number, node in enumerate(nodes) for value in node.input}
    waiting: set[str] = set()  # made before, and still needed
    for number, node in enumerate(nodes):
        waiting |= {value for value in node.output if last_use.get(value, -1) > number or value in outputs}
        waiting = {value for value in waiting if last_use.get(value, -1) > number or value in outputs}
        following = nodes[number + 1] if number + 1 < len(nodes) else None
        if waiting == {node.output[0]} and following is not None and following.op_type in _MIXING:
            yield node.output[0]


def _layer(name: str, depth: int, kind: str, shape: tuple[int, ...], view: tuple[int, ...]) -> Layer:
    """A layer of this shape in a network that sees views of this size."""
    form: Form = "vector" if len(shape) == 2 or math.prod(shape[1:]) == max(shape[1:]) else "other"
    grid = None
    if len(shape) == 3 and form == "other":
        form = "tokens"
    stride = max(1, round(view[0] / shape[2])) if len(shape) == 4 else 0
    if stride and max(shape[2:]) > 1 and all(abs(a / stride - b) <= 1 for a, b in zip(view, shape[2:], strict=True)):
        form = "map"  # of the size of a view divided by a whole number, but for a cell at the border
        grid = Grid((Extent(stride, math.nan, math.nan),) * 2)
    return Layer(name, depth, kind, tuple(shape[1:]), form, grid, depth, True)
