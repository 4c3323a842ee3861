r"""Run variants of a network that differ from a certain call on, without computing again what comes before it.

A *base* is run once on a batch, and the outputs of the outermost modules that end before the call are kept. In the
variant these modules give back what was kept, and everything else is computed: the torch calls that stand between
modules, and all from the call on. Kept are the very tensors, copied, so that the variant's output is the same bit for
bit. A module that changes an argument in place, or returns one of them, does so again when it is replayed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aliasing.sites.trace import ModuleCall, Trace
from aliasing.surgery.rewrite import TreatedForward

__all__ = ["Variant", "run_variants", "shared_calls", "treated"]

Treated: TypeAlias = Mapping[nn.Module, TreatedForward]
Forward: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Variant:
    """A network with some of its modules treated.

    Attributes
    ----------
    name : str
    modules : mapping of module to TreatedForward
        The treated modules.
    shared : sequence of ModuleCall
        The module calls that it need not make again, because the base that it deviates from has made them.
    """

    name: str
    modules: Treated
    shared: Sequence[ModuleCall] = ()


def shared_calls(record: Trace, modules: Treated, first_difference: int) -> list[ModuleCall]:
    """The outermost module calls that are over before a variant differs from its base.

    Parameters
    ----------
    record : Trace
        Of the network as it is.
    modules : mapping of module to TreatedForward
        The variant's treated modules.
    first_difference : int
        The index of the first call that differs.
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


def _is_counted(record: Trace, modules: Treated, call: ModuleCall) -> bool:
    """Does a treated module around this one tell its own calls by their number, and count those made in here?"""
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
    """The network with these modules treated, and as it was afterwards."""
    for forward in modules.values():
        forward.attach()
    try:
        yield
    finally:
        for forward in reversed(list(modules.values())):
            forward.detach()


def run_variants(
    network: Forward, record: Trace, families: Sequence[tuple[Variant, Sequence[Variant]]]
) -> dict[str, Any]:
    """The output of each base and of the variants that deviate from it, by name.

    Parameters
    ----------
    network : callable
        Runs the network on one batch, gradients off (not in inference mode, where changes in place leave no trace).
    record : Trace
        Of the network as it is.
    families : sequence of (base, variants)
        What a variant shares is kept from its base's run.
    """
    outputs: dict[str, Any] = {}
    for base, variants in families:
        memory: dict[int, _Kept] = {}
        wanted = {id(call): call for variant in variants for call in variant.shared}
        with treated(base.modules), _instead(record, [], wanted.keys(), memory):
            outputs[base.name] = network()
        for variant in variants:
            with treated(variant.modules), _instead(record, variant.shared, (), memory):
                outputs[variant.name] = network()
    return outputs


@dataclass(frozen=True)
class _Kept:
    """What a module call did: its output, and the arguments that it changed, as it left them."""

    output: Any
    returned: int | None  # the number of the argument that it returned
    changed: dict[int, Tensor]

    def again(self, args: tuple[Any, ...]) -> Any:
        for number, content in self.changed.items():
            args[number].copy_(content)
        return args[self.returned] if self.returned is not None else _copied(self.output)


@contextmanager
def _instead(record: Trace, replayed: Sequence[ModuleCall], kept: Any, memory: dict[int, _Kept]) -> Iterator[None]:
    """Give back the replayed calls' outputs, and keep those of the calls that are wanted."""
    inside = {id(call) for call in replayed}
    covered: set[int] = set()
    made: dict[nn.Module, list[ModuleCall]] = {}
    for call in record.module_calls:
        if call.parent is not None and id(call.parent) in covered:
            covered.add(id(call))  # inside a call that is not made
            continue
        if id(call) in inside:
            covered.add(id(call))
        made.setdefault(call.module, []).append(call)
    watched = [module for module, calls in made.items() if any(id(c) in inside or id(c) in kept for c in calls)]
    before = {module: vars(module).get("forward") for module in watched}
    for module in watched:
        own = before[module] or _forward_of(module)
        module.forward = _Watched(iter(made[module]), own, inside, kept, memory)
    try:
        yield
    finally:
        for module, forward in before.items():
            del module.forward
            if forward is not None:
                module.forward = forward


def _forward_of(module: nn.Module) -> Forward:
    return lambda *args, **kwargs: type(module).forward(module, *args, **kwargs)


@dataclass(frozen=True)
class _Watched:
    """The ``forward`` of a module whose calls are replayed or kept."""

    calls: Iterator[ModuleCall]
    forward: Forward
    replayed: set[int]
    kept: Any
    memory: dict[int, _Kept]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        key = id(next(self.calls))
        if key in self.replayed:
            return self.memory[key].again(args)
        if key not in self.kept:
            return self.forward(*args, **kwargs)
        versions = [arg._version if isinstance(arg, Tensor) else 0 for arg in args]
        output = self.forward(*args, **kwargs)
        changed = {
            number: arg.clone()
            for number, arg in enumerate(args)
            if isinstance(arg, Tensor) and arg._version != versions[number]
        }
        returned = next((number for number, arg in enumerate(args) if arg is output), None)
        self.memory[key] = _Kept(None if returned is not None else _copied(output), returned, changed)
        return output


def _copied(tree: Any) -> Any:
    return pytree.tree_map_only(Tensor, torch.clone, tree)
