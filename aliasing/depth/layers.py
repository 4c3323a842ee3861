"""The layers of a network that are observed, and the form, grid and receptive field of each.

A layer is the output of a call of a module. Its shape alone tells what its axes mean: a map has as many axes as the
input, with sizes that follow from the network's strides; anything else with three axes is tokens, with two a vector.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from aliasing.errors import UsageError
from aliasing.hooks import seen
from aliasing.registry import did_you_mean
from aliasing.sites.grid import Extent, Grid, grids
from aliasing.sites.trace import Recording, Value

Form = Literal["map", "map, channels last", "tokens", "vector", "other"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_KINDS_OF_POOLINGS = ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
_POOLINGS = tuple(getattr(nn, f"{kind}{axes}d") for kind in _KINDS_OF_POOLINGS for axes in (1, 2, 3))
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_MIXING = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.Flatten, *_POOLINGS)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Layer:
    """The output of one call of a module.

    Attributes
    ----------
    name : the module's qualified name; "name#2" for its second call.
    depth : 1 for the first of the observed layers.
    kind : the module's class.
    shape : without the batch.
    form : "map" (C×axes), "map, channels last" (axes×C), "tokens" (L×C), "vector" (C), or "other".
    grid : the positions of its cells in the input, and what they see; None if nothing is known.
    end : the number of the record's calls up to its end.
    is_cut : whether everything from the image to the output passes through it.
    """

    name: str
    depth: int
    kind: str
    shape: tuple[int, ...]
    form: Form
    grid: Grid | None
    end: int
    is_cut: bool

    @property
    def module(self) -> str:
        """The module's qualified name."""
        return self.name.partition("#")[0]

    @property
    def call(self) -> int:
        """Which call of the module it is, from 0."""
        return int(self.name.partition("#")[2] or 1) - 1

    @property
    def is_map(self) -> bool:
        """Whether it has a grid of cells, which can be moved."""
        return self.form.startswith("map")

    @property
    def stride(self) -> tuple[float, ...] | None:
        """Samples of the input per cell of a map along each axis, (down, across) in pictures; None without position."""
        return self.grid.stride if self.is_map and self.grid is not None else None

    @property
    def receptive_field(self) -> tuple[float, ...] | None:
        """Samples of the input along each axis; None if the closed form does not hold, infinite for the whole image."""
        return None if self.grid is None else self.grid.receptive_field

    @property
    def cells(self) -> tuple[int, ...]:
        """The size of a map along each axis."""
        return self.shape[1:] if self.form == "map" else self.shape[:-1]

    def as_dict(self) -> dict[str, Any]:
        """As in ``summary.json``; "whole image" for an infinite receptive field."""
        field: Any = self.receptive_field
        if field is not None:
            field = [size if math.isfinite(size) else "whole image" for size in field]
        return {
            "name": self.name,
            "depth": self.depth,
            "kind": self.kind,
            "shape": list(self.shape),
            "form": self.form,
            "cumulative_stride": None if self.stride is None else list(self.stride),
            "receptive_field": field,
        }


def choose_layers(record: Recording, wanted: str | Sequence[str] = "blocks") -> list[Layer]:
    """The layers of a recorded run, in order: `blocks`, `leaves`, or those that are named.

    Raises UsageError if there is no module of such a name, or it does not return a tensor.
    """
    names = {call.name: call.module for call in record.module_calls}
    if wanted == "blocks":
        chosen = set(blocks(record))
    elif wanted == "leaves":
        chosen = set(leaves(record))
    else:
        chosen = {wanted} if isinstance(wanted, str) else set(wanted)
        for name in chosen - names.keys():
            hint = did_you_mean(name, names) or "; give blocks, leaves, or names of modules"
            raise UsageError(f"no module {name!r} runs in this network{hint}")
    found = list(_layers(record, chosen))
    if not found:
        raise UsageError(f"none of {wanted!r} returns a tensor")
    return found


def layers_seen(
    module: nn.Module, layers: Sequence[Layer], see: Callable[[int, Tensor], Tensor | None]
) -> AbstractContextManager[None]:
    """Show the output of each layer, with its number, to a function while it runs, as `aliasing.hooks.seen` does."""
    numbers = {(layer.module, layer.call): number for number, layer in enumerate(layers)}

    def show(name: str, call: int, args: Any, output: Tensor) -> Tensor | None:
        number = numbers.get((name, call))
        return None if number is None else see(number, output)

    return seen(module, {layer.module for layer in layers}, show)


def _layers(record: Recording, chosen: set[str]) -> Iterator[Layer]:
    image = record.input_shapes[0]
    axes = max(len(image) - 2, 1)
    where = {value: grid.along(axes) for value, grid in grids(record).items()}
    sizes = _map_sizes(record, where, axes)
    number: dict[str, int] = {}
    depth = 0
    # A module ends after those inside it, so its output comes after theirs.
    for call in sorted(record.module_calls, key=lambda call: call.last):
        if call.name not in chosen:
            continue
        number[call.name] = number.get(call.name, 0) + 1
        if call.output is None:
            continue
        depth += 1
        nth = number[call.name]
        form = _form(call.output.shape, sizes, image[0], axes)
        yield Layer(
            call.name if nth == 1 else f"{call.name}#{nth}",
            depth,
            type(call.module).__name__,
            call.output.shape[1:],
            form,
            _grid(where.get(call.output), form, call.output.shape, image[-axes:]),
            call.last,
            _is_cut(record, call.output),
        )


def _map_sizes(record: Recording, where: dict[Value, Grid], axes: int) -> set[tuple[int, ...]]:
    """The sizes of this network's maps: those of its input, and of the outputs of its convolutions and poolings."""
    sizes = {shape[-axes:] for shape in record.input_shapes}
    for value, grid in where.items():
        producer = value.producer
        if producer is None or grid.stride is None or len(value.shape) != axes + 2:
            continue
        if "conv" in producer.name.lower() or "pool" in producer.name or producer.name == "new_empty":
            sizes.add(value.shape[-axes:])
        image = record.input_shapes[0][-axes:]
        sizes.add(tuple(round(side / step) for side, step in zip(image, grid.stride, strict=True)))
    return {size for size in sizes if max(size) > 1}


def _is_cut(record: Recording, value: Value) -> bool:
    """Whether every path from the image to the output passes through this value."""
    made = -1 if value.producer is None else value.producer.index
    calls = [call for call in record.calls if call.index <= made]
    others = {v for call in calls for v in (*call.signals, *call.outputs) if v is not value}
    return not any(v.is_output or any(call.index > made for call in v.consumers) for v in others if v.is_signal)


def _grid(grid: Grid | None, form: Form, shape: tuple[int, ...], image: tuple[int, ...]) -> Grid | None:
    """The grid of a layer's output; if the record has lost that of a map, one from the ratio of the sizes.

    It is lost if its cells do not cover the image, because the record has followed a branch with another grid, such as
    the coarser keys of an attention.
    """
    cells = shape[2:] if form == "map" else shape[1:-1]
    if not form.startswith("map") or (grid is not None and (grid.stride is None or grid.covers(cells, image))):
        return grid
    ratios = (size / count for size, count in zip(image, cells, strict=True))
    return Grid(tuple(Extent(ratio, math.nan, math.nan) for ratio in ratios))


def _form(shape: tuple[int, ...], sizes: set[tuple[int, ...]], images: int, axes: int) -> Form:
    if shape[0] != images:
        return "other"
    if len(shape) == axes + 2:
        if shape[2:] in sizes:
            return "map"
        if shape[1:-1] in sizes:
            return "map, channels last"
        if math.prod(shape[1:]) == max(shape[1:]):
            return "vector"
    if len(shape) == 3:
        return "tokens"
    return "vector" if len(shape) == 2 else "other"


def leaves(record: Recording) -> Iterator[str]:
    """The names of the modules that contain no others."""
    yield from dict.fromkeys(call.name for call in record.module_calls if not any(call.module.children()))


def blocks(record: Recording) -> list[str]:
    """The names of the blocks of a network.

    Going down from the network through modules that only chain others (containers, and stages with a row of similar
    blocks), a block is the first module with a structure of its own. In a row of single layers, each convolution,
    pooling or linear layer forms a block with what follows it up to the next.
    """
    root = record.module_calls[0].module
    outputs = {call.name: call.output for call in record.module_calls}
    made_by: dict[Any, str] = {}  # of several blocks with the same output, the first
    for name in _inside(root, ""):
        if name in outputs:
            made_by.setdefault(outputs[name] or name, name)
    return list(made_by.values()) or [record.module_calls[0].name]


def _inside(module: nn.Module, prefix: str) -> Iterator[str]:
    children = [(f"{prefix}.{name}" if prefix else name, child) for name, child in module.named_children()]
    for index, (name, child) in enumerate(children):
        following = children[index + 1][1] if index + 1 < len(children) else None
        if _is_single(child):
            if following is None or not _is_single(following) or _mixes(following):
                yield name
        elif isinstance(child, _CONTAINERS):
            inside = list(_inside(child, name))
            if len(inside) > 1:
                yield from inside
                if type(child).forward is not nn.Sequential.forward:
                    yield name
            else:
                yield name
        elif _is_stage(child):
            yield from _inside(child, name)
            yield name
        else:
            yield name


def _is_single(module: nn.Module) -> bool:
    """Whether it is one layer, or a module without its own weights, such as a norm with its activation."""
    return not any(module.children()) or not _weighted(module)


def _mixes(module: nn.Module) -> bool:
    return any(isinstance(inside, _MIXING) for inside in module.modules())


def _is_stage(module: nn.Module) -> bool:
    """Whether it holds a row of blocks of one class, each with two or more layers with weights."""
    for container in module.modules():
        if not isinstance(container, _CONTAINERS):
            continue
        kinds = [
            type(child)
            for child in container.children()
            if not isinstance(child, _CONTAINERS) and _weighted(child) >= 2 and any(child.children())
        ]
        if any(kinds.count(kind) >= 2 for kind in set(kinds)):
            return True
    return False


def _weighted(module: nn.Module) -> int:
    return sum(isinstance(inside, (*_CONVOLUTIONS, nn.Linear)) for inside in module.modules())
