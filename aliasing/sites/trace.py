r"""Recording the calls of a network: their order, and the data flow between them.

Module hooks say which module is running, and a torch-function mode sees every call that is made meanwhile (``conv2d``,
``max_pool2d``, ``x[:, :, ::2, ::2]``, …), however the network is written. Tensors are followed by identity, so that the
record is a data-flow graph:

* a `Value` is one version of one tensor (an in-place call makes a new version),
* a `Call` is one call of a torch function, with the values that go in and come out,
* a `ModuleCall` is one call of a module, with the calls and module calls inside it.

A twin of the network runs, which shares its weights or, if possible, has them on the meta device, which only computes
shapes. So the network itself stays as it was, whatever it keeps from a run.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from aliasing.blackbox import BlackBox
from aliasing.errors import InputError, UsageError, first_line
from aliasing.renamed import renamed
from aliasing.undisturbed import in_evaluation, surroundings_kept

# Calls of these functions are recorded whether or not they handle the signal, so that each has a number.
_PER_DIMENSION = (
    "conv", "conv_transpose", "max_pool", "max_unpool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool",
)  # fmt: skip
COUNTED = frozenset(f"{name}{axes}d" for name in _PER_DIMENSION for axes in (1, 2, 3)) | frozenset((
    "interpolate", "pixel_shuffle", "pixel_unshuffle", "__getitem__", "pad", "linear", "batch_norm", "relu", "relu6",
    "hardtanh", "view", "reshape", "add", "unfold", "fold", *(f"max_pool{axes}d_with_indices" for axes in (1, 2, 3)),
))  # fmt: skip


# A field that leads on to the rest of the graph is not shown: the text of one value would hold all of it many times.


@dataclass(eq=False)
class Value:
    """One version of one tensor.

    Attributes
    ----------
    shape : its size.
    producer : the call that made it; None for an input, a parameter, or anything made of parameters alone.
    is_signal : whether it depends on the network's input.
    is_learned : whether it depends on a parameter, and not on the input.
    consumers : the calls that take it, in order.
    is_output : whether the network returns it.
    is_read_in_place : whether it is read through the tensor that a module changed in place.
    weight : the name of the parameter or buffer that it is, in its last version; otherwise None.
    """

    shape: tuple[int, ...]
    producer: "Call | None" = field(default=None, repr=False)
    is_signal: bool = False
    is_learned: bool = False
    consumers: "list[Call]" = field(default_factory=list, repr=False)
    is_output: bool = False
    is_read_in_place: bool = False
    weight: str | None = None


@dataclass(eq=False)
class ModuleCall:
    """One call of one module. ``first`` and ``last`` bound the indices of the calls made inside it."""

    name: str
    module: nn.Module = field(repr=False)
    parent: "ModuleCall | None" = field(repr=False)
    inputs: list[Value | None]
    first: int
    last: int = 0
    output: Value | None = None

    def contains(self, call: "Call") -> bool:
        """Whether ``call`` is made while this module runs."""
        return self.first <= call.index < self.last


@dataclass(eq=False)
class Call:
    """One call of one torch function; ``args`` and ``kwargs`` hold a `Value` for each tensor."""

    function: Any
    name: str
    module: ModuleCall = field(repr=False)
    index: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)

    @property
    def signals(self) -> list[Value]:
        """The inputs that depend on the network's input."""
        return [value for value in self.inputs if value.is_signal]

    def arguments(self, names: str, **defaults: Any) -> dict[str, Any]:
        """Its arguments, by their names in order."""
        return {**defaults, **dict(zip(names.split(), self.args, strict=False)), **self.kwargs}


@dataclass(eq=False)
class Recording:
    """The record of one run: calls and module calls, each in order."""

    calls: list[Call]
    module_calls: list[ModuleCall]
    input_shapes: list[tuple[int, ...]]
    output_shapes: list[tuple[int, ...]]

    def calls_of(self, module: nn.Module) -> list[ModuleCall]:
        """Every call of ``module``."""
        return [call for call in self.module_calls if call.module is module]


@surroundings_kept()
def record_calls(model: nn.Module, example: Any) -> Recording:
    """Run a twin of ``model`` once on ``example`` in eval mode, and record it; the model stays as it is.

    The example is as for :func:`aliasing.find_sites`. Raises InputError if the network fails on it, and UsageError if
    the network is scripted, so that its calls can't be seen, or can't be copied.

    Examples
    --------
    >>> record = record_calls(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()), torch.zeros(1, 3, 9, 9))
    >>> [(call.name, call.module.name, call.outputs[0].shape) for call in record.calls]
    [('conv2d', '0', (1, 8, 4, 4)), ('relu', '1', (1, 8, 4, 4))]
    """
    for name, module in model.named_modules():
        if isinstance(module, BlackBox):
            library = module.program.runtime["library"]
            raise UsageError(
                f"it is run by {library}, so its layers can't be seen or changed; give the original network"
            )
        if isinstance(module, torch.jit.ScriptModule):
            where = f"its module {name} is" if name else "it is"
            raise UsageError(f"{where} scripted, so its calls can't be seen or changed; give the original nn.Module")
    with suppress(Exception, SystemExit):  # what fails on the meta device may work for real
        return record_shapes(model, example)
    arguments = example if isinstance(example, tuple) else (example,)
    for_real = twin(model)
    with torch.no_grad():
        try:
            return _record(model, for_real, arguments)
        except (Exception, SystemExit) as error:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in _tensors(arguments))
            reason = first_line(error)
            if isinstance(error, SystemExit):
                reason = f"it calls sys.exit({reason})"
            raise InputError(
                f"{type(model).__name__} fails on a probe of shape {shapes}: {reason}; give an example_input that it "
                "accepts"
            ) from error


def record_shapes(model: nn.Module, example: Any) -> Recording:
    """Like `record_calls`, but only on the meta device, so that no value of the input can decide what is called."""
    arguments = example if isinstance(example, tuple) else (example,)
    on_meta = pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), arguments)
    with torch.no_grad():
        return _record(model, twin(model, lambda tensor: tensor.to("meta")), on_meta)


def twin(model: nn.Module, place: Callable[[Tensor], Tensor] = Tensor.detach) -> nn.Module:
    """A copy in eval mode that shares the weights."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        placed = place(parameter.detach())
        memo[id(parameter)] = nn.Parameter(placed, parameter.requires_grad and placed.is_floating_point())
    for buffer in model.buffers():
        placed = place(buffer)
        shared = not placed.is_meta and placed.data_ptr() == buffer.data_ptr()
        memo[id(buffer)] = placed.clone() if shared else placed  # a network may write to its buffers
    made = copied(model, memo, place)
    with suppress(NotImplementedError):  # an exported network: its mode is part of its graph
        made.eval()
    return made


@contextmanager
def on_trial(model: nn.Module, place: Callable[[Tensor], Tensor] = Tensor.detach) -> Iterator[nn.Module]:
    """A network for one trial run: its twin, or itself if it cannot be copied; the run leaves no trace."""
    try:
        module = twin(model, place)
    except Exception:  # whatever its parts raise
        module = model
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()] if module is model else []
    with surroundings_kept(), torch.no_grad(), in_evaluation(module):
        try:
            yield module
        finally:
            for buffer, before in kept:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def runs(model: nn.Module, example: Any) -> bool:
    """Whether a network runs on an example."""
    try:
        with on_trial(model) as module:
            module(example)
    except Exception:  # whatever the network raises
        return False
    return True


def laid_out(module: nn.Module) -> nn.Module:
    """The network itself in channels_last, the faster layout; a network with weights of five axes stays as it is."""
    if all(weight.ndim < 5 for weight in (*module.parameters(), *module.buffers())):
        module.to(memory_format=torch.channels_last)
    return module


def copied(
    model: nn.Module, memo: dict[int, Any] | None = None, place: Callable[[Tensor], Tensor] = torch.clone
) -> nn.Module:
    """A deep copy of a network, even if it holds tensors that it has computed.

    ``copy.deepcopy`` refuses a tensor with a history, and hooks leave such tensors as attributes: ``weight_norm``,
    ``spectral_norm`` and pruning compute the weight before every run. Here the copy gets ``place`` of its value.
    ``memo`` is that of ``copy.deepcopy``. Raises UsageError if the network holds anything else that can't be copied.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        for leaf in pytree.tree_leaves(vars(module)):
            if isinstance(leaf, Tensor) and not leaf.is_leaf and id(leaf) not in memo:
                memo[id(leaf)] = place(leaf.detach())
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UsageError(
            f"{type(model).__name__} holds something that can't be copied ({first_line(error)}); take it out of the "
            "modules' attributes, or give a network for which copy.deepcopy works"
        ) from error


def _record(model: nn.Module, copied: nn.Module, arguments: tuple[Any, ...]) -> Recording:
    """Run the twin, and record the calls of its modules as calls of the model's."""
    recorder = _Recorder()
    for parameter in copied.parameters():
        recorder.add(parameter, is_learned=True)
    inputs = _tensors(arguments)
    for tensor in inputs:
        recorder.add(tensor, is_signal=True)
    originals = dict(model.named_modules())
    for name, module in copied.named_modules():
        module.register_forward_pre_hook(recorder.enter(name, originals[name]), with_kwargs=True, prepend=True)
        module.register_forward_hook(recorder.leave)
    with recorder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network's warnings about the probe are not for the user
        output = copied(*arguments)
    for name, weight in [*copied.named_parameters(), *copied.named_buffers()]:
        recorder.value(weight).weight = name
    outputs = _tensors(output)
    for tensor in outputs:
        recorder.value(tensor).is_output = True
    shapes = ([tuple(tensor.shape) for tensor in tensors] for tensors in (inputs, outputs))
    return Recording(recorder.calls, recorder.module_calls, *shapes)


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.module_calls: list[ModuleCall] = []
        self._running: list[ModuleCall] = []
        self._values: dict[int, Value] = {}
        self._kept: list[Tensor] = []  # an id is unique only while its tensor lives
        # If a module returns an argument that it changed in place, the result gets a new name, so that readers of the
        # argument itself can be told apart.
        self._first_names: dict[int, int] = {}
        self._old_names: set[int] = set()

    def add(self, tensor: Tensor, **about: Any) -> Value:
        value = Value(tuple(tensor.shape), **about)
        self._values[self._name(tensor)] = value
        self._kept.append(tensor)
        return value

    def value(self, tensor: Tensor) -> Value:
        return self._values.get(self._name(tensor)) or self.add(tensor)

    def _name(self, tensor: Tensor) -> int:
        return self._first_names.get(id(tensor), id(tensor))

    def enter(self, name: str, original: nn.Module) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs = [self.value(arg) if isinstance(arg, Tensor) else None for arg in args]
            parent = self._running[-1] if self._running else None
            call = ModuleCall(name, original, parent, inputs, first=len(self.calls))
            self.module_calls.append(call)
            self._running.append(call)

        return hook

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        call = self._running.pop()
        for tensor in _tensors(output):
            known = self._values.get(self._name(tensor))
            signals = [value for value in call.inputs if value is not None and value.is_signal]
            if known is None and signals:  # made by something that no mode sees, such as a custom autograd function
                made = Call(type(module), type(module).__name__, call, len(self.calls), (), {}, signals)
                known = self._append(made, [tensor])
            if tensor is output:
                call.output = known
        call.last = len(self.calls)
        changed = any(arg is output for arg in args) and call.output not in call.inputs
        return self._renamed(output) if changed else output

    def _renamed(self, tensor: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            renamed = tensor.detach()
        self._kept.append(renamed)
        self._first_names[id(renamed)] = self._name(tensor)
        self._old_names.add(id(tensor))
        return renamed

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        values = {id(tensor): self.value(tensor) for tensor in given}
        inputs = [values[id(tensor)] for tensor in given]
        for identity, value in values.items():
            value.is_read_in_place |= identity in self._old_names
        result = func(*args, **kwargs)
        name = name_of(func)
        # These change their first argument, and may return nothing.
        outputs = [args[0]] if name in ("__setitem__", "copy_") else _tensors(result)
        if outputs and self._running and (name in COUNTED or any(value.is_signal for value in inputs)):
            args, kwargs = pytree.tree_map_only(Tensor, lambda tensor: _known(tensor, values), (args, kwargs))
            self._append(Call(func, name, self._running[-1], len(self.calls), args, kwargs, inputs), outputs)
        else:
            for tensor in outputs:
                self.add(tensor, is_learned=any(value.is_learned for value in inputs))
        return result

    def _append(self, call: Call, outputs: list[Tensor]) -> Value:
        self.calls.append(call)
        for value in dict.fromkeys(call.inputs):
            value.consumers.append(call)
        is_signal = bool(call.signals)
        is_learned = not is_signal and any(value.is_learned for value in call.inputs)
        for tensor in outputs:
            call.outputs.append(self.add(tensor, producer=call, is_signal=is_signal, is_learned=is_learned))
        return call.outputs[0]


def _known(tensor: Tensor, values: dict[int, Value]) -> Any:
    """What is recorded of a tensor argument: its number if it is a whole one that the network keeps, as a padding."""
    value = values[id(tensor)]
    is_number = tensor.ndim == 0 and not (value.is_signal or tensor.is_meta or tensor.is_floating_point())
    return tensor.item() if is_number and not tensor.is_complex() else value


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


# F.max_pool2d and its relatives are closures with the same name.
_CLOSURES = {
    getattr(torch.nn.functional, name): name
    for name in (*(f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)), "fractional_max_pool2d")
}


def name_of(function: Any) -> str:
    with suppress(TypeError):  # not hashable
        if function in _CLOSURES:
            return _CLOSURES[function]
    return str(getattr(function, "__name__", function))


__getattr__ = renamed(
    __name__, {"trace": "aliasing.sites.trace:record_calls", "Trace": "aliasing.sites.trace:Recording"}
)
