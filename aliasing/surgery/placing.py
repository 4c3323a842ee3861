"""Where in the data flow the operator of a site goes: around its call, behind a module, or in front of one."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from torch import nn

from aliasing.kinds import OPERATORS
from aliasing.sites.find import LocatedSite
from aliasing.sites.flow import follow
from aliasing.sites.status import Status
from aliasing.sites.trace import Call, ModuleCall, Recording, Value
from aliasing.surgery.circular import pads
from aliasing.surgery.schemes import Treatment, resamples

__all__ = ["Step", "pools_first", "step_at"]


@dataclass(frozen=True, eq=False)
class Step:
    """One operator at its place: the calls of the site, and where the operator goes."""

    located: LocatedSite
    treatment: Treatment
    where: Literal["call", "output", "input"]
    module: nn.Module
    position: int  # of the argument, for "input"
    when: int  # its place in the order of the run
    calls: tuple[Call, ...]  # those of the site, or one of them if each has an operator of its own

    @property
    def chooses(self) -> bool:
        """Does the operator choose samples, as its neighbours must?"""
        return OPERATORS[self.treatment.operator].shares_choice

    @property
    def kept(self) -> tuple[int, ...]:
        """The part of the stride that the convolution keeps, per axis."""
        strided = "convolution" in self.located.site.kind and not self.located.site.upsamples
        kept = self.treatment.kept_stride if strided else 1
        return tuple(kept if step > 1 else 1 for step in self.located.site.stride)

    @property
    def stride(self) -> tuple[int, ...]:
        """The stride of the operator."""
        period = self.located.changes[0].period
        if period and OPERATORS[self.treatment.operator].shares_choice:
            return period
        return tuple(step // kept for step, kept in zip(self.located.site.stride, self.kept, strict=True))


def step_at(record: Recording, located: LocatedSite, treatment: Treatment) -> tuple[Step, str]:
    """The operator of a site at its place, and a note on where that is."""
    site, calls = located.site, located.calls
    what = treatment.operator
    here = Step(located, treatment, "call", calls[0].module.module, 0, calls[0].index, calls)
    if "convolution" not in site.kind:
        if treatment.window is not None:
            size = f"the maximum over {treatment.window}×{treatment.window} without padding, as published"
            return here, f"{what} behind {size}: at odd sizes one sample smaller"
        if site.status == Status.WINDOWED:
            across = ", and those across the border are not masked" * any(
                c.window and c.window.masks for c in located.changes
            )
            return here, f"windows begin where {what} chooses, once for all of this map{across}"
        if resamples(site) or located.keeps_all or located.changes[0].grid:
            return here, f"{what} in front, at stride 1"
        return here, f"{what} in its place" if treatment.replaces or site.kind == "slicing" else f"{what} behind it"
    if pools_first(located, treatment):
        return here, f"{what} in front"
    if treatment.placement == "before":
        # The input of a convolution that pads with F.pad is low-passed before the padding, not after.
        padded = {_padded_argument(call) for call in calls}
        if len(padded) == 1 and None not in padded and len(calls) == len(record.calls_of(here.module)):
            here = replace(here, where="input", position=padded.pop() or 0)
        return here, f"{what} in front, at stride 1"
    continuations = [follow(call.outputs[0]) for call in calls]
    activated = [continuation.activated for continuation in continuations]
    if any(value is None for value in activated):
        behind = " and ".join(dict.fromkeys(call.name.strip("_") for c in continuations for call in c.next[:1]))
        return here, f"{what} behind it: no activation before {behind or 'the output'}"
    values = [value for value in activated if value is not None]
    place = _output_place(record, values) or _input_place(record, values)
    if place is None:
        if any(value.is_read_in_place for value in values):
            return here, f"{what} right behind it: its activation works in place, and another call reads the old name"
        return here, (
            f"{what} right behind it: its activation feeds several modules, so there is no single place for the filter"
        )
    where, module_calls, position = place
    first = module_calls[0]
    when = first.last if where == "output" else first.first
    step = Step(located, treatment, where, first.module, position, when, calls)
    return step, f"{what} {'behind' if where == 'output' else 'in front of'} {first.name or 'the whole'}"


_Place: TypeAlias = tuple[Literal["output", "input"], list[ModuleCall], int]


def pools_first(located: LocatedSite, treatment: Treatment) -> bool:
    """Whether this is a 1×1 convolution without padding or activation, which commutes with pooling."""
    if max(located.site.kernel) > 1 or treatment.kept_stride > 1 or "convolution" not in located.site.kind:
        return False
    if located.calls[0].signals[0].shape[-1] != located.site.input_shape[-1]:
        return False
    if pads(located.calls[0]):
        return False
    # After an activation the operator no longer commutes with the convolution.
    return treatment.placement == "before" or all(follow(c.outputs[0]).activated is None for c in located.calls)


def _output_place(record: Recording, values: list[Value]) -> _Place | None:
    """The innermost module whose output is the value at every call, and inside which no call reads it."""
    if any(value.is_read_in_place for value in values):
        return None  # such a reader does not receive the module's output
    for candidate in reversed(record.module_calls):
        producer = values[0].producer
        if candidate.output is values[0] and producer is not None and candidate.contains(producer):
            module_calls = record.calls_of(candidate.module)
            outputs = [call.output for call in module_calls]
            read_inside = any(
                call.contains(c) for call, v in zip(module_calls, values, strict=False) for c in v.consumers
            )
            if outputs == values and not read_inside:
                return "output", module_calls, 0
    return None


def _input_place(record: Recording, values: list[Value]) -> _Place | None:
    """The innermost module that takes the value as an argument and contains all of its consumers."""
    if any(value.is_output for value in values):
        return None
    for candidate in reversed(record.module_calls):
        if values[0] in candidate.inputs:
            module_calls, position = record.calls_of(candidate.module), candidate.inputs.index(values[0])
            if len(module_calls) == len(values) and all(
                len(call.inputs) > position
                and call.inputs.count(value) == 1
                and call.inputs[position] is value
                and all(call.contains(consumer) for consumer in value.consumers)
                for call, value in zip(module_calls, values, strict=True)
            ):
                return "input", module_calls, position
    return None


def _padded_argument(call: Call) -> int | None:
    """The index of the module's argument that is padded inside the module and then convolved, or None."""
    value = call.signals[0]
    while value.producer is not None and value.producer.name == "pad" and value.producer.module is call.module:
        value = value.producer.signals[0]
    if value is call.signals[0] or value not in call.module.inputs or len(value.consumers) > 1:
        return None
    return call.module.inputs.index(value)
