r"""Running variants of a network that differ from a certain call on, without recomputing what comes before it.

A *base* runs once on a batch, and the outputs of the outermost modules that end before the call are kept. In the
variant these modules return the kept outputs, and everything else is computed: the torch calls between modules, and
everything from the call on. The kept tensors are copies, so the variant's output is the same bit for bit. A module that
changes an argument in place, or returns one of them, does so again when it is replayed. Of an output that only replayed
modules take, nothing but its shape is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aliasing.sites.trace import ModuleCall, Recording
from aliasing.surgery.rewrite import TreatedForward

Treated: TypeAlias = Mapping[nn.Module, TreatedForward]
Forward: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Variant:
    """A network with some of its modules treated; its base has made the ``shared`` calls, which it need not repeat."""

    name: str
    modules: Treated
    shared: Sequence[ModuleCall] = ()


def shared_calls(record: Recording, modules: Treated, first_difference: int) -> list[ModuleCall]:
    """The outermost module calls that end before a variant differs from its base.

    ``record`` is that of the untreated network, and ``first_difference`` the index of the first call that differs.
    """
    kept: list[ModuleCall] = []
    covered: set[int] = set()
    for call in record.module_calls:
        if call.parent is not None and id(call.parent) in covered:
            covered.add(id(call))
        elif call.first < call.last <= first_difference and not _is_counted(record, modules, call):
            covered.add(id(call))
            kept.append(call)
    return kept


def _is_counted(record: Recording, modules: Treated, call: ModuleCall) -> bool:
    """Whether a treated module around this one counts the calls made in here among its own."""
    inside = {made.name for made in record.calls[call.first : call.last]}
    around = call.parent
    while around is not None:
        forward = modules.get(around.module)
        if forward is not None and any(name in inside for name, _ in forward.rewrites):
            return True
        around = around.parent
    return False


@contextmanager
def treated(modules: Treated) -> Iterator[None]:
    """Treat these modules, and restore the network afterwards."""
    for forward in modules.values():
        forward.attach()
    try:
        yield
    finally:
        for forward in reversed(list(modules.values())):
            forward.detach()


def run_variants(
    network: Forward, record: Recording, families: Sequence[tuple[Variant, Sequence[Variant]]]
) -> Iterator[tuple[str, Any]]:
    """The name and output of each base and of its variants, which reuse the base's; one is computed at a time.

    ``network`` runs on one batch without gradients, but not in inference mode, which hides in-place changes; ``record``
    is that of the untreated network.
    """
    for base, variants in families:
        memory: dict[int, _Kept] = {}
        wanted = {id(call): False for variant in variants for call in variant.shared}
        wanted |= {key: True for variant in variants for key in _read_again(variant.shared)}
        with treated(base.modules), _instead(record, [], wanted, memory):
            output = network()
        yield base.name, output
        for variant in variants:
            with treated(variant.modules), _instead(record, variant.shared, {}, memory):
                output = network()
            yield variant.name, output


def _read_again(replayed: Sequence[ModuleCall]) -> Iterator[int]:
    """The replayed calls whose output is read by something that runs again, or may be."""
    inside = {index for call in replayed for index in range(call.first, call.last)}
    for call in replayed:
        value = call.output
        if value is None or value.is_output or any(reader.index not in inside for reader in value.consumers):
            yield id(call)


@dataclass(frozen=True)
class _Kept:
    """The effect of a module call: its output, or how to make one like it, and the arguments that it changed."""

    output: Any  # in place of each tensor stands a function that makes it
    returned: int | None  # the number of the argument that it returned
    changed: dict[int, Tensor]

    def again(self, args: tuple[Any, ...]) -> Any:
        for number, content in self.changed.items():
            args[number].copy_(content)
        if self.returned is not None:
            return args[self.returned]
        return pytree.tree_map_only(partial, lambda make: make(), self.output)


def _copy_of(tensor: Tensor) -> partial[Tensor]:
    return partial(torch.clone, tensor.clone())


def _shape_of(tensor: Tensor) -> partial[Tensor]:
    return partial(torch.empty_strided, tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)


@contextmanager
def _instead(
    record: Recording, replayed: Sequence[ModuleCall], kept: Mapping[int, bool], memory: dict[int, _Kept]
) -> Iterator[None]:
    """Return the outputs of the replayed calls, and keep those of the requested ones, or their shapes."""
    inside = {id(call) for call in replayed}
    covered: set[int] = set()
    made: dict[nn.Module, list[ModuleCall]] = {}
    for call in record.module_calls:
        within = call.parent is not None and id(call.parent) in covered
        if within or id(call) in inside:
            covered.add(id(call))
        if not within:
            made.setdefault(call.module, []).append(call)
    watched = [module for module, calls in made.items() if any(id(c) in inside or id(c) in kept for c in calls)]
    before = {module: vars(module).get("forward") for module in watched}
    for module in watched:
        own = before[module] or partial(type(module).forward, module)
        module.forward = _Watched(iter(made[module]), own, inside, kept, memory)
    try:
        yield
    finally:
        for module, forward in before.items():
            del module.forward
            if forward is not None:
                module.forward = forward


@dataclass(frozen=True)
class _Watched:
    """The ``forward`` of a module whose calls are replayed or kept."""

    calls: Iterator[ModuleCall]
    forward: Forward
    replayed: set[int]
    kept: Mapping[int, bool]  # the calls to keep, and whether their outputs are read
    memory: dict[int, _Kept]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = id(next(self.calls, None))  # none for a call that the record does not have: it is made
        if key in self.replayed:
            return self.memory[key].again(args)
        if key not in self.kept:
            return self.forward(*args, **kwargs)
        versions = [arg._version if isinstance(arg, Tensor) else 0 for arg in args]
        output, is_read = self.forward(*args, **kwargs), self.kept[key]
        returned = next((number for number, arg in enumerate(args) if arg is output), None)
        changed = {
            number: arg.clone()
            for number, arg in enumerate(args)
            if isinstance(arg, Tensor) and arg._version != versions[number] and (is_read or number != returned)
        }
        made = None if returned is not None else output
        self.memory[key] = _Kept(
            pytree.tree_map_only(Tensor, _copy_of if is_read else _shape_of, made), returned, changed
        )
        return output
