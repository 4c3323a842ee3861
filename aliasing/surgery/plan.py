r"""Planning a conversion: which sites are treated, how, and where in the data flow the operator goes.

=============  ====================================================================================================
site           ``placement="after"``
=============  ====================================================================================================
convolution    at stride 1, and the operator after the first activation; right after the convolution if none follows
               before pixels are mixed again
1×1            the operator, then the convolution at stride 1: they commute, and this costs less
max pooling    at stride 1, then the operator
average        at stride 1, then the operator (``zhang2019``: the operator alone)
slicing        the operator
resampling     to a size (interpolation, adaptive pooling): a low-pass in front at stride 1, by operators that have one
patch merging  a low-pass in front at stride 1; "aps" rolls the map there, so that its phase comes first
token pooling  the same, on the map of the tokens
windows        "aps" rolls the map in front and back behind, by one phase for all blocks of a stage; windows across the
               border are then not masked
upsampling     the operator's transposed low-pass behind it, if asked for (`aliasing.surgery.upsampling`)
=============  ====================================================================================================

With ``placement="before"`` a convolution keeps its stride and its cost, its input is low-passed, and the kernel sees
less. Pooling is the same in both, because a maximum itself makes high frequencies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from aliasing.errors import UsageError
from aliasing.kinds import OPERATORS
from aliasing.sites.find import LocatedSite, Site
from aliasing.sites.status import Status
from aliasing.sites.trace import Call, Recording
from aliasing.surgery import rewrite
from aliasing.surgery.between import between
from aliasing.surgery.circular import periodic, with_circular_padding
from aliasing.surgery.numbering import number_of, once
from aliasing.surgery.operators import Operator, Pooling, make_operator
from aliasing.surgery.placing import Step, pools_first, step_at
from aliasing.surgery.raised import followed, following, unpools, why_not_raised
from aliasing.surgery.rewrite import TreatedForward
from aliasing.surgery.schemes import Treatment, resamples
from aliasing.surgery.upsampling import Following, Rejection, Upsampled
from aliasing.surgery.ways import Ways, find_ways, phase_conflicts

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """The treated modules, and the sites with a note on what is done at each."""

    modules: dict[nn.Module, TreatedForward]
    sites: list[Site]


@dataclass
class _Decided:
    """What is to be done at every site, and the sites with a note on it, in the order of ``located``."""

    located: list[LocatedSite]
    sites: list[Site] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    raised: list[Step] = field(default_factory=list)  #: those that upsample
    windowed: list[Step] = field(default_factory=list)  #: those that keep every sample where it is
    left: list[Step] = field(default_factory=list)  #: those whose phase stays as it is

    def refuse(self, place: LocatedSite, note: str) -> None:
        self.sites[self.located.index(place)] = replace(place.site, status=Status.UNSUPPORTED, note=note)


def make_plan(
    record: Recording,
    located: list[LocatedSite],
    scheme: Callable[[LocatedSite], Any],
    padding: str | None,
    *,
    upsampling: bool = False,
    nonlinearity: str | None = None,
    normalization: str | None = None,
    positions: str | None = None,
) -> Plan:
    """Decide on every site, and build the treated modules."""
    decided = _decide(record, located, scheme, upsampling)
    ways = _agree(record, decided)
    filtering = [step for step in decided.raised if not step.chooses]
    # Blocks share the windows of their map, of which every other block's are half a window further.
    shared = {step: step.located.changes[0].window for step in decided.windowed}
    groups = ways.groups | {step: window.leader if window else step for step, window in shared.items()}
    operators = _operators(record, [*decided.steps, *filtering, *decided.windowed], padding, groups)
    modules: dict[nn.Module, TreatedForward] = {}
    rewritten: dict[Call, Any] = {}
    for step in [*decided.steps, *decided.windowed]:
        pooling = Pooling(operators[step])
        if step.where == "output":
            _treated(modules, step.module).output = pooling
        elif step.where == "input":
            pool = pooling.smooth if step.treatment.placement == "before" else pooling
            _treated(modules, step.module).inputs[step.position] = pool
            if step.treatment.placement == "before":
                continue
        if step.located.keeps_all:
            rewritten |= _in_front(step, pooling)
            continue
        call_rewrite = _rewrite(step, pooling)
        if padding == "circular" and hasattr(call_rewrite, "circular"):
            call_rewrite = replace(call_rewrite, circular=True)
        rewritten |= dict.fromkeys(step.calls, call_rewrite)
    for step in decided.raised:
        for call in step.calls:
            behind: Following | Rejection | None = None
            if not step.chooses:
                behind = Rejection(operators[step])
            elif not unpools(call):  # the indices of that already know it
                behind = following(ways.partners[call], operators)
            rewritten[call] = Upsampled(behind, step.stride)
    if padding == "circular":
        rewritten = {**with_circular_padding(record, rewritten), **rewritten}
        rewritten |= {call: ring for call in record.calls if (ring := periodic(call, rewritten))}
    rewritten |= between(record, _like(record), nonlinearity, normalization, positions)
    choosing = [step for step in (*decided.steps, *decided.raised) if step.chooses]
    apart = {call for step in choosing for call in step.calls if upsampling}
    holders = {call: once(record, call) if call in apart else call.module for call in rewritten}
    for call, call_rewrite in rewritten.items():
        number = number_of(record, call, holders)
        _treated(modules, holders[call].module).rewrites[call.name, number] = call_rewrite
    return Plan(modules, decided.sites)


def _decide(
    record: Recording, located: list[LocatedSite], scheme: Callable[[LocatedSite], Any], upsampling: bool
) -> _Decided:
    """What the scheme and the operators make of every site by itself."""
    found = _Decided(located)
    for place in located:
        call = place.calls[0]
        as_it_is = Step(place, Treatment(), "call", call.module.module, 0, call.index, place.calls)
        if place.site.status in ("subsamples", "anti-aliased", "unsupported"):
            found.left.append(as_it_is)
        own_average = place.site.status == "anti-aliased" and place.site.kind == "average pooling"
        rises = upsampling and place.site.status == "upsampling"
        if place.site.status != "subsamples" and not (place.keeps_all or own_average or rises):
            found.sites.append(place.site)
            continue
        treatment = scheme(place)
        if own_average and not (treatment and OPERATORS[treatment.operator].shares_choice):
            found.sites.append(place.site)  # it has its low-pass, and lacks no more than a phase that moves
            continue
        if treatment is None:
            found.sites.append(replace(place.site, note=place.site.note or "the scheme leaves it as it is"))
            continue
        if not isinstance(treatment, Treatment):
            raise UsageError(f"a scheme returns a Treatment or None; got {treatment!r} for {place.site.name}")
        if place.site.status == "upsampling":
            step = replace(as_it_is, treatment=treatment)
            reason = why_not_raised(step)
            found.raised += [] if reason else [step]
            note = reason or (followed(call) if step.chooses else f"{treatment.operator} behind it")
            status = Status.UNSUPPORTED if reason else Status.ANTI_ALIASED
            found.sites.append(replace(place.site, status=status, note=note))
            continue
        if treatment.kept_stride < 1 or any(s % treatment.kept_stride for s in place.site.stride if s > 1):
            raise UsageError(
                f"{place.site.name} has stride {place.site.stride}, and a convolution cannot keep "
                f"{treatment.kept_stride} of it; kept_stride divides each stride above 1"
            )
        why_not = _not_for(place, treatment.operator)
        if why_not:
            status = place.site.status if place.keeps_all else Status.UNSUPPORTED
            found.sites.append(replace(place.site, status=status, note=why_not))
            continue
        step, note = step_at(record, place, treatment)
        if place.site.status == Status.WINDOWED:
            found.windowed.append(step)
        else:
            # A module that runs at several depths chooses at each of them, so that the way up can follow each choice.
            apart = upsampling and step.chooses and step.where == "call" and not place.keeps_all
            found.steps += [replace(step, calls=(one,), when=one.index) for one in place.calls] if apart else [step]
        if not place.keeps_all:
            found.left.pop()
        found.sites.append(replace(place.site, status=Status.ANTI_ALIASED, note=note))
    return found


def _agree(record: Recording, decided: _Decided) -> Ways:
    """Take back what other branches, or a missing partner on the way down, do not allow; the ways of what is left."""
    pooled = {call for place in decided.located if place.site.status == "global" for call in place.calls}
    conflicts = phase_conflicts(record, decided.steps, decided.left, pooled, decided.raised)
    for refused, note in conflicts.items():
        parts = [step for step in decided.steps if step.located is refused.located]
        decided.steps = [step for step in decided.steps if step not in parts]
        decided.left += [replace(step, treatment=Treatment()) for step in parts]
        decided.refuse(refused.located, note)
    ways = find_ways(record, [*decided.steps, *decided.left], pooled, decided.raised)
    for step in [one for one in decided.raised if one.chooses and not all(call in ways.partners for call in one.calls)]:
        decided.raised.remove(step)
        what = f"{step.treatment.operator} puts samples back at a phase that was kept"
        decided.refuse(step.located, f"{what}, and no pool of its sizes keeps one")
    return ways


def _not_for(place: LocatedSite, operator: str) -> str:
    """Why an operator cannot treat a site; empty if it can."""
    kind = OPERATORS[operator]
    if resamples(place.site) and (kind.shares_choice or "before" not in kind.placements):
        return f"{operator} needs a stride, but this resizes to a size"
    if place.site.status == Status.WINDOWED and not kind.shares_choice:
        return f"{place.site.note}; {operator} filters, and what is needed is a choice of where they begin, as by aps"
    if (place.keeps_all or place.changes[0].grid) and "before" not in kind.placements:
        return f"{operator} can't stand in front of a call"
    windows = [change.window for change in place.changes if change.window is not None]
    if any(window.mixes_masks for window in windows):
        return "its mask is part of a fused attention, and windows across the border need none"
    return ""


def _in_front(step: Step, pooling: Pooling) -> dict[Call, Any]:
    """The replacements at a site that keeps every sample."""
    found: dict[Call, Any] = {}
    for change in step.located.changes:
        found |= dict.fromkeys(change.entries, rewrite.InFront(pooling, change.axes))
        if step.chooses:
            found |= dict.fromkeys(change.returns, rewrite.PutBack(pooling, change.axes))
        if change.window is not None:
            found |= {call: rewrite.WithoutMask(place) for call, place in change.window.masks}
    return found


def _treated(modules: dict[nn.Module, TreatedForward], module: nn.Module) -> TreatedForward:
    return modules.setdefault(module, TreatedForward(module))


def _rewrite(step: Step, pooling: Pooling) -> Any:
    """The replacement of the site's call."""
    site, treatment = step.located.site, step.treatment
    here = pooling if step.where == "call" else None
    if "convolution" in site.kind:
        if pools_first(step.located, treatment):
            return rewrite.PooledConvolution(pooling)
        if treatment.placement == "before":
            return rewrite.SmoothedConvolution(pooling)
        return rewrite.DenseConvolution(here, step.kept)
    if site.kind == "max pooling" and "indices" in step.calls[0].name:
        return rewrite.DenseMaximumWithIndices(pooling)
    if site.kind == "max pooling":
        return rewrite.DenseMaximum(pooling, treatment.window)
    if site.kind == "average pooling":
        # Neither one tap nor a polyphase component is a filter: the average is the low-pass, and stays. The same holds
        # for an axis that is averaged and not subsampled, which no operator filters.
        covered = all(step > 1 or window == 1 for step, window in zip(site.stride, site.kernel, strict=True))
        replaces = treatment.replaces and pooling.operator.filters and covered
        return rewrite.ReplacedAverage(pooling) if replaces else rewrite.DenseAverage(pooling)
    if resamples(site):
        return rewrite.SmoothedResampling(pooling)
    if step.located.changes[0].grid:
        return rewrite.InFront(pooling, step.located.axes, step.located.changes[0].grid)
    return rewrite.DenseSlice(pooling, step.located.axes)


def _operators(
    record: Recording, steps: list[Step], padding: str | None, groups: Mapping[Step, Any]
) -> dict[Step, Operator]:
    """The operator of each step, as the network's weights are in type and device; of a group that shares a choice, the
    first to run leads, and the others follow.
    """
    like = _like(record)
    made: dict[Step, Operator] = {}
    leaders: dict[Any, Operator] = {}
    for step in sorted(steps, key=lambda step: step.when):
        operator = make_operator(step.treatment.operator, step.treatment.taps, padding, step.stride)
        made[step] = operator.to(like.device, like.dtype)
        if step.chooses and leaders.setdefault(groups[step], operator) is not operator:
            operator.follow(leaders[groups[step]])
    return made


def _like(record: Recording) -> torch.Tensor:
    """A tensor of the type and on the device of the network's weights."""
    weights = (p for call in record.module_calls[:1] for p in call.module.parameters() if p.is_floating_point())
    return next(weights, torch.empty(0))


# Calls that need a map that closes the ring.
