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
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from aliasing.downsample.nonlinearity import Polynomial
from aliasing.errors import UsageError
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.sites.axes import Axes, spatial_axes
from aliasing.sites.change import axes_of, each, unpadded
from aliasing.sites.find import LocatedSite, Site
from aliasing.sites.flow import ACTIVATIONS, POINTWISE, SUMS, follow
from aliasing.sites.status import Status
from aliasing.sites.tokens import Tokens, tokens
from aliasing.sites.trace import Call, ModuleCall, Recording, Value
from aliasing.surgery import rewrite
from aliasing.surgery.operators import Operator, Pooling, make_operator
from aliasing.surgery.rewrite import TreatedForward
from aliasing.surgery.upsampling import Following, Rejection, Upsampled, obstacle, reach

__all__ = ["SCHEMES", "Plan", "Scheme", "Treatment", "check_treatment", "make_plan", "number_of", "once"]


@dataclass(frozen=True)
class Treatment:
    """The treatment of one site; operator, taps and placement are as for `aliasing.antialias`."""

    operator: str = DEFAULT_OPERATOR
    taps: Any = "binomial4"
    placement: Literal["after", "before"] = "after"
    kept_stride: int = 1  #: the part of the stride that the convolution keeps
    window: int | None = None  #: the kernel that replaces a maximum's, unpadded
    replaces: bool = False  #: whether the operator replaces an average, instead of following it


def check_treatment(treatment: Treatment, padding: str | None = None) -> None:
    """Raise a UsageError unless there is such an operator, filter and placement."""
    make_operator(treatment.operator, treatment.taps, padding)
    placements = OPERATORS[treatment.operator].placements
    if treatment.placement not in placements:
        expected = " or ".join(map(repr, placements))
        raise UsageError(f"{treatment.operator} has no placement {treatment.placement!r}; expected {expected}")


Scheme: TypeAlias = Callable[[Site], "Treatment | None"]


def _zhang2019(place: LocatedSite, treatment: Treatment) -> Treatment | None:
    """The placement in the published networks, with its special cases."""
    site = place.site
    if site.role == "patch embedding" or place.keeps_all:
        return None
    if site.role == "stem":
        # The first convolution costs most and keeps its stride; of AlexNet's stride of 4, a stride of 2 is kept.
        return replace(treatment, kept_stride=2) if set(site.stride) == {4} else None
    if site.kind == "average pooling":
        return replace(treatment, replaces=True)
    if _resamples(site):
        return None
    return replace(treatment, window=2) if _is_pool_of_a_resnet(place.calls[0]) else treatment


def _pool(place: LocatedSite, treatment: Treatment) -> Treatment | None:
    return treatment if place.site.kind in ("max pooling", "average pooling", "adaptive pooling") else None


def _resamples(site: Site) -> bool:
    return site.kind == "adaptive pooling" or site.kind.startswith("interpolation")


SCHEMES: dict[str, Callable[..., Treatment | None]] = {
    "zhang2019": _zhang2019,
    "all": lambda place, treatment: treatment,
    "pool": _pool,
}
"""The named schemes: each maps a located site and the treatment that was asked for to the site's."""


def _is_pool_of_a_resnet(call: Call) -> bool:
    """Whether this is the padded maximum of three of a ResNet, between the stem's activation and the first block.

    Its surroundings show it: the branches of the block, convolutions and the map itself, meet again in a sum. Those of
    DenseNet and ShuffleNet are concatenated, and those of pre-activated networks begin with a batch norm.
    """
    axes = axes_of(call)
    if call.name != f"max_pool{axes}d":
        return False
    given = call.arguments(f"{_ARGUMENTS[call.name]} ceil_mode", stride=0, padding=0, dilation=1, ceil_mode=False)
    form = [each(given[name] or 0, axes) for name in ("kernel_size", "stride", "padding", "dilation")]
    before, pooled = call.signals[0].producer, call.outputs[0]
    if form != [(number,) * axes for number in (3, 2, 1, 1)] or given["ceil_mode"]:
        return False
    if before is None or before.name not in ACTIVATIONS:
        return False
    if not all(b.name in (f"conv{axes}d", "split", "chunk") or b.name in SUMS for b in pooled.consumers):
        return False
    meeting = _meeting(pooled)
    return meeting is not None and meeting.name in SUMS


def _meeting(value: Value) -> Call | None:
    """The first call that joins two of the branches that begin at a value."""
    branch: dict[Value, Call] = {}
    waiting = list(value.consumers)
    while waiting:
        call = min(waiting, key=lambda call: call.index)
        waiting.remove(call)
        origins = {call if v is value else branch[v] for v in call.signals if v is value or v in branch}
        if len(origins) > 1:
            return call
        branch.update(dict.fromkeys(call.outputs, origins.pop()))
        waiting += [c for output in call.outputs for c in output.consumers if c not in waiting]
    return None


@dataclass(frozen=True)
class Plan:
    """The treated modules, and the sites with a note on what is done at each."""

    modules: dict[nn.Module, TreatedForward]
    sites: list[Site]


@dataclass(frozen=True, eq=False)
class _Step:
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


def make_plan(
    record: Recording,
    located: list[LocatedSite],
    scheme: Callable[[LocatedSite], Any],
    padding: str | None,
    nonlinearity: str | None = None,
    upsampling: bool = False,
    normalization: str | None = None,
    positions: str | None = None,
) -> Plan:
    """Decide on every site, and build the treated modules."""
    sites: list[Site] = []
    steps: list[_Step] = []
    raised: list[_Step] = []  # those that upsample
    windowed: list[_Step] = []  # those that keep every sample where it is
    left: list[_Step] = []  # those whose phase stays as it is
    for place in located:
        call = place.calls[0]
        as_it_is = _Step(place, Treatment(), "call", call.module.module, 0, call.index, place.calls)
        if place.site.status in ("subsamples", "anti-aliased", "unsupported"):
            left.append(as_it_is)
        own_average = place.site.status == "anti-aliased" and place.site.kind == "average pooling"
        rises = upsampling and place.site.status == "upsampling"
        if place.site.status != "subsamples" and not (place.keeps_all or own_average or rises):
            sites.append(place.site)
            continue
        treatment = scheme(place)
        if own_average and not (treatment and OPERATORS[treatment.operator].shares_choice):
            sites.append(place.site)  # it has its low-pass, and lacks no more than a phase that moves
            continue
        if treatment is None:
            sites.append(replace(place.site, note=place.site.note or "the scheme leaves it as it is"))
            continue
        if not isinstance(treatment, Treatment):
            raise UsageError(f"a scheme returns a Treatment or None; got {treatment!r} for {place.site.name}")
        if place.site.status == "upsampling":
            step = replace(as_it_is, treatment=treatment)
            reason = _why_not_raised(step)
            raised += [] if reason else [step]
            note = reason or (_followed(call) if step.chooses else f"{treatment.operator} behind it")
            status = Status.UNSUPPORTED if reason else Status.ANTI_ALIASED
            sites.append(replace(place.site, status=status, note=note))
            continue
        if treatment.kept_stride < 1 or any(s % treatment.kept_stride for s in place.site.stride if s > 1):
            raise UsageError(
                f"{place.site.name} has stride {place.site.stride}, and a convolution cannot keep "
                f"{treatment.kept_stride} of it; kept_stride divides each stride above 1"
            )
        why_not = _not_for(place, treatment.operator)
        if why_not:
            status = place.site.status if place.keeps_all else Status.UNSUPPORTED
            sites.append(replace(place.site, status=status, note=why_not))
            continue
        step, note = _place(record, place, treatment)
        if place.site.status == Status.WINDOWED:
            windowed.append(step)
        else:
            # A module that runs at several depths chooses at each of them, so that the way up can follow each choice.
            apart = upsampling and step.chooses and step.where == "call" and not place.keeps_all
            steps += [replace(step, calls=(one,), when=one.index) for one in place.calls] if apart else [step]
        if not place.keeps_all:
            left.pop()
        sites.append(replace(place.site, status=Status.ANTI_ALIASED, note=note))
    pooled = {call for place in located if place.site.status == "global" for call in place.calls}
    for tied, note in _tied(record, steps, left, pooled, raised).items():
        parts = [step for step in steps if step.located is tied.located]
        steps = [step for step in steps if step not in parts]
        left += [replace(step, treatment=Treatment()) for step in parts]
        sites[located.index(tied.located)] = replace(tied.located.site, status=Status.UNSUPPORTED, note=note)
    ways = _ways(record, [*steps, *left], pooled, raised)
    for step in [step for step in raised if step.chooses and not all(call in ways.partners for call in step.calls)]:
        raised.remove(step)
        note = (
            f"{step.treatment.operator} puts samples back at a phase that was kept, and no pool of its sizes keeps one"
        )
        sites[located.index(step.located)] = replace(step.located.site, status=Status.UNSUPPORTED, note=note)
    filtering = [step for step in raised if not step.chooses]
    # Blocks share the windows of their map, of which every other block's are half a window further.
    shared = {step: step.located.changes[0].window for step in windowed}
    groups = ways.groups | {step: window.leader if window else step for step, window in shared.items()}
    operators = _operators(record, [*steps, *filtering, *windowed], padding, groups)
    modules: dict[nn.Module, TreatedForward] = {}
    rewritten: dict[Call, Any] = {}
    for step in [*steps, *windowed]:
        treatment = step.treatment
        pooling = Pooling(operators[step])
        if step.where == "output":
            _treated(modules, step.module).output = pooling
        elif step.where == "input":
            pool = pooling.smooth if treatment.placement == "before" else pooling
            _treated(modules, step.module).inputs[step.position] = pool
            if treatment.placement == "before":
                continue
        if step.located.keeps_all:
            rewritten |= _in_front(step, pooling)
            continue
        call_rewrite = _rewrite(step, pooling)
        if padding == "circular" and hasattr(call_rewrite, "circular"):
            call_rewrite = replace(call_rewrite, circular=True)
        rewritten |= dict.fromkeys(step.calls, call_rewrite)
    for step in raised:
        for call in step.calls:
            behind: Following | Rejection | None = None
            if not step.chooses:
                behind = Rejection(operators[step])
            elif not _unpools(call):  # the indices of that already know it
                behind = _following(ways.partners[call], operators)
            rewritten[call] = Upsampled(behind, step.stride)
    if padding == "circular":
        rewritten = {**_circular(record, rewritten), **rewritten}
        rewritten |= {call: ring for call in record.calls if (ring := _periodic(call, rewritten))}
    known = spatial_axes(record)
    of_map = tokens(record, known)
    if nonlinearity is not None:
        like = _like(record)
        learned: dict[nn.Module, nn.Module] = {}  # one for each module, however often it runs
        for call in record.calls:
            axes = _axes_of_map(call, known)
            rows = of_map.get(call.signals[0]) if call.name in rewrite.NONLINEARITIES and call.signals else None
            if (axes or rows) and nonlinearity == "polynomial":
                learned.setdefault(call.module.module, Polynomial().to(like.device, like.dtype))
            if axes or rows:
                rewritten[call] = rewrite.AliasFree(axes, learned.get(call.module.module), rows)
    if normalization is not None:
        together = _over_channels(record, known, of_map)
        if not together:
            raise UsageError("no layer normalisation over the channels of a map, so normalization changes nothing")
        rewritten |= together
    if positions is not None:
        rewritten |= _codes(record, known, of_map)
    apart_calls = {call for step in (*steps, *raised) if step.chooses for call in step.calls if upsampling}
    holders = {call: once(record, call) if call in apart_calls else call.module for call in rewritten}
    for call, call_rewrite in rewritten.items():
        number = number_of(record, call, holders)
        _treated(modules, holders[call].module).rewrites[call.name, number] = call_rewrite
    return Plan(modules, sites)


def _axes_of_map(call: Call, known: Mapping[Value, Axes]) -> Axes:
    """The spatial axes of the map that an activation changes; none for another call, or if they are unknown.

    The call before it that mixes pixels knows them; with channels last, what permuted its axes.
    """
    if call.name not in rewrite.NONLINEARITIES or not call.signals:
        return ()
    value = call.signals[0]
    if _has_channels_last(value, known):
        return known[value]
    while value.producer is not None and value.producer.name in POINTWISE and value.producer.signals:
        if value.producer.name == "batch_norm":
            break
        value = value.producer.signals[0]
    before, axes = value.producer, len(value.shape) - 2
    if before is None or axes not in (1, 2, 3):
        return ()
    known_before = before.name == "batch_norm" or before.name in _ARGUMENTS
    return tuple(range(2, 2 + axes)) if known_before else ()


def _has_channels_last(value: Value, known: Mapping[Value, Axes]) -> bool:
    """Whether a map is known to be (N, ..., C)."""
    return known.get(value) == tuple(range(1, len(value.shape) - 1))


def _over_channels(
    record: Recording, known: Mapping[Value, Axes], of_map: Mapping[Value, Tokens]
) -> dict[Call, rewrite.NormalisedTogether]:
    """Rewrites for what normalises the channels of a map, or of its tokens, position by position."""
    found = {}
    for call in record.calls:
        if call.function not in rewrite.NORMALISATIONS or not call.signals:
            continue
        shape, x = call.arguments("input normalized_shape")["normalized_shape"], call.signals[0]
        if len(tuple(shape)) == 1 and (x in of_map or _has_channels_last(x, known)):
            found[call] = rewrite.NormalisedTogether(of_map.get(x))
    return found


def _not_for(place: LocatedSite, operator: str) -> str:
    """Why an operator cannot treat a site; empty if it can."""
    kind = OPERATORS[operator]
    if _resamples(place.site) and (kind.shares_choice or "before" not in kind.placements):
        return f"{operator} needs a stride, but this resizes to a size"
    if place.site.status == Status.WINDOWED and not kind.shares_choice:
        return f"{place.site.note}; {operator} filters, and what is needed is a choice of where they begin, as by aps"
    if (place.keeps_all or place.changes[0].grid) and "before" not in kind.placements:
        return f"{operator} can't stand in front of a call"
    windows = [change.window for change in place.changes if change.window is not None]
    if any(window.mixes_masks for window in windows):
        return "its mask is part of a fused attention, and windows across the border need none"
    return ""


def _in_front(step: _Step, pooling: Pooling) -> dict[Call, Any]:
    """The replacements at a site that keeps every sample."""
    found: dict[Call, Any] = {}
    for change in step.located.changes:
        found |= dict.fromkeys(change.entries, rewrite.InFront(pooling, change.axes))
        if step.chooses:
            found |= dict.fromkeys(change.returns, rewrite.PutBack(pooling, change.axes))
        if change.window is not None:
            found |= {call: rewrite.WithoutMask(place) for call, place in change.window.masks}
    return found


def _codes(record: Recording, axes: Mapping[Value, Axes], of_map: Mapping[Value, Tokens]) -> dict[Call, Any]:
    """Rewrites for the sums of a map or its tokens with a learned code for each of them."""
    found: dict[Call, Any] = {}
    for call in record.calls:
        if call.name != "add" or len(call.args) != 2 or len(call.signals) != 1:
            continue
        (x,) = call.signals
        if x.shape[0] != record.input_shapes[0][0]:
            continue  # of windows or patches, whose places are not those of the map
        code = next((place for place, one in enumerate(call.args) if isinstance(one, Value) and one.is_learned), None)
        if code is None or call.args[code].shape[-len(x.shape) + 1 :] != x.shape[1:]:
            continue
        if x in axes:
            found[call] = rewrite.Code(code, axes[x])
        elif x in of_map:
            found[call] = rewrite.Code(code, tokens=of_map[x])
    return found


def _treated(modules: dict[nn.Module, TreatedForward], module: nn.Module) -> TreatedForward:
    return modules.setdefault(module, TreatedForward(module))


def _rewrite(step: _Step, pooling: Pooling) -> Any:
    """The replacement of the site's call."""
    site, treatment = step.located.site, step.treatment
    here = pooling if step.where == "call" else None
    if "convolution" in site.kind:
        if _pools_first(step.located, treatment):
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
    if _resamples(site):
        return rewrite.SmoothedResampling(pooling)
    if step.located.changes[0].grid:
        return rewrite.InFront(pooling, step.located.axes, step.located.changes[0].grid)
    return rewrite.DenseSlice(pooling, step.located.axes)


def _pools_first(located: LocatedSite, treatment: Treatment) -> bool:
    """Whether this is a 1×1 convolution without padding or activation, which commutes with pooling."""
    if max(located.site.kernel) > 1 or treatment.kept_stride > 1 or "convolution" not in located.site.kind:
        return False
    if located.calls[0].signals[0].shape[-1] != located.site.input_shape[-1]:
        return False
    if _pads(located.calls[0]):
        return False
    # After an activation the operator no longer commutes with the convolution.
    return treatment.placement == "before" or all(follow(c.outputs[0]).activated is None for c in located.calls)


# --- where the operator goes --------------------------------------------------------------------------------------


def _place(record: Recording, located: LocatedSite, treatment: Treatment) -> tuple[_Step, str]:
    site, calls = located.site, located.calls
    what = treatment.operator
    here = _Step(located, treatment, "call", calls[0].module.module, 0, calls[0].index, calls)
    if "convolution" not in site.kind:
        if treatment.window is not None:
            size = f"the maximum over {treatment.window}×{treatment.window} without padding, as published"
            return here, f"{what} behind {size}: at odd sizes one sample smaller"
        if site.status == Status.WINDOWED:
            across = ", and those across the border are not masked" * any(
                c.window and c.window.masks for c in located.changes
            )
            return here, f"windows begin where {what} chooses, once for all of this map{across}"
        if _resamples(site) or located.keeps_all or located.changes[0].grid:
            return here, f"{what} in front, at stride 1"
        return here, f"{what} in its place" if treatment.replaces or site.kind == "slicing" else f"{what} behind it"
    if _pools_first(located, treatment):
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
    step = _Step(located, treatment, where, first.module, position, when, calls)
    return step, f"{what} {'behind' if where == 'output' else 'in front of'} {first.name or 'the whole'}"


_Place: TypeAlias = tuple[Literal["output", "input"], list[ModuleCall], int]


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


# --- which number a call has ----------------------------------------------------------------------------------------


def number_of(record: Recording, call: Call, holders: Mapping[Call, ModuleCall]) -> int:
    """The number of calls of its function that the mode of its holder sees before it.

    ``holders`` maps each rewritten call to the module call around it whose mode rewrites it. That mode also sees the
    calls of the modules inside, except those that inner modes rewrite and thereby hide.
    """
    holder = holders[call]
    before = record.calls[holder.first : call.index]
    return sum(c.name == call.name and not (c in holders and _is_inside(holders[c], holder)) for c in before)


def _is_inside(module: ModuleCall, outer: ModuleCall) -> bool:
    while module.parent is not None:
        module = module.parent
        if module is outer:
            return True
    return False


# --- one phase for all branches that meet ---------------------------------------------------------------------------


def _tied(
    record: Recording, steps: list[_Step], left: list[_Step], pooled: set[Call], raised: list[_Step]
) -> dict[_Step, str]:
    """The sites that select a phase but cannot share it with a branch that they meet, and why."""
    choosing = [step for step in steps if step.chooses]
    if not choosing:
        return {}
    groups = _ways(record, [*steps, *left], pooled, raised).groups
    fixed = {groups[step]: step.located.site for step in [*steps, *left] if step not in choosing}
    batches: dict[int, set[int]] = {}
    for step in choosing:
        batches.setdefault(groups[step], set()).add(step.located.site.input_shape[0])
    found: dict[_Step, str] = {}
    for step in choosing:
        group, chooser = groups[step], step.treatment.operator
        if group in fixed:
            keeper = fixed[group].name
            found[step] = f"{chooser} could choose another phase than {keeper} keeps, and the two branches meet"
        elif len(batches[group]) > 1:
            found[step] = f"{chooser} chooses once per image, and a branch that it meets has heads in its batch"
    return found


def _operators(
    record: Recording, steps: list[_Step], padding: str | None, groups: Mapping[_Step, Any]
) -> dict[_Step, Operator]:
    """The operator of each step, as the network's weights are in type and device; of a group that shares a choice, the
    first to run leads, and the others follow.
    """
    like = _like(record)
    made: dict[_Step, Operator] = {}
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


@dataclass(frozen=True)
class _Ways:
    """The sites on the ways through a network."""

    groups: dict[_Step, int]  #: those on branches that meet again, which must use the same phase, have one number
    partners: dict[Call, tuple[_Step, ...]]  #: what an upsampling undoes, the finest first


def _ways(record: Recording, steps: list[_Step], pooled: set[Call], raised: list[_Step]) -> _Ways:
    """Group the sites on branches that meet again, and pair those that upsample with those before.

    Every value knows the sites before it. When an addition or a concatenation joins two branches, the sites of one are
    matched to those of the other in order. An upsampling undoes the last of them, if that had its sizes. A globally
    pooled map no longer has a phase; a map with one position does.
    """
    of_call = {call: step for step in steps for call in step.calls}
    upwards = {call: step for step in raised for call in step.calls}
    partners: dict[Call, tuple[_Step, ...]] = {}
    parent = {step: step for step in steps}

    def root(step: _Step) -> _Step:
        while parent[step] is not step:
            step = parent[step]
        return step

    ways: dict[Value, tuple[_Step, ...]] = {}
    for call in record.calls:
        known = [ways[value] for value in call.signals if value in ways and call not in pooled]
        way = max(known, key=len, default=())
        for other in known:
            for ours, theirs in zip(way, other, strict=False):
                if root(ours) is not root(theirs) and ours.located.site.stride == theirs.located.site.stride:
                    later, earlier = sorted((root(ours), root(theirs)), key=lambda step: step.when, reverse=True)
                    parent[later] = earlier
        step = of_call.get(call)
        if step is not None:
            way = (*way, step)
        elif call in upwards:
            way, undone = _undone(call, way, upwards[call].stride)
            if undone:
                partners[call] = undone
        ways.update({output: way for output in call.outputs if len(output.shape) >= 3})
    return _Ways({step: steps.index(root(step)) for step in steps}, partners)


def _undone(
    call: Call, way: tuple[_Step, ...], factors: tuple[int, ...]
) -> tuple[tuple[_Step, ...], tuple[_Step, ...]]:
    """The sites still on the way behind an upsampling, and those that it undoes; none if their sizes differ."""
    count, product = 0, (1,) * len(factors)
    while product != factors and count < len(way):
        count += 1
        stride = way[-count].located.site.stride
        if len(stride) != len(factors):
            return way, ()
        product = tuple(one * step for one, step in zip(product, stride, strict=True))
    rest, undone = way[: len(way) - count], way[len(way) - count :]
    if product != factors or not undone:
        return way, ()
    before, after = undone[0].calls[0].signals[0], call.outputs[0]
    same = unpadded(before).shape[-len(factors) :] == after.shape[-len(factors) :]
    return (rest, undone) if same and before.shape[0] == after.shape[0] else (way, ())


# --- upsampling -----------------------------------------------------------------------------------------------------


def _followed(call: Call) -> str:
    """What is done at an upsampling that follows its pool."""
    if not _unpools(call):
        return "its samples at the phase that was kept"
    pool = next((value.producer for value in call.signals[1:] if value.producer is not None), None)
    given = {} if pool is None else pool.arguments("input kernel_size stride", stride=None)
    axes = axes_of(call)
    overlaps = bool(given.get("stride")) and each(given["kernel_size"], axes) != each(given["stride"], axes)
    return "its values where its indices say" + ", and of windows that overlap the last" * overlaps


def _why_not_raised(step: _Step) -> str:
    """Why an upsampling is not treated; empty if it is."""
    name = step.treatment.operator
    if not step.chooses and "before" not in OPERATORS[name].placements:
        return f"{name} is not a low-pass, and keeps no phase to which samples could go back"
    for call in step.calls:
        reason = obstacle(call)
        if not reason and step.chooses and not _unpools(call) and reach(call, step.stride) is None:
            reason = "its sizes are not a whole factor apart, so it does not move with its input"
        if reason:
            return reason
    return ""


def _unpools(call: Call) -> bool:
    return call.name.startswith("max_unpool")


def _following(partners: tuple[_Step, ...], operators: Mapping[_Step, Operator]) -> Following | None:
    """What moves an upsampled map to the phases of the sites that it undoes; an unpooling has their indices."""
    choices, unit = [], (1,) * len(partners[0].stride)
    for step in partners:
        if step.chooses:
            operator: Any = operators[step]
            between = tuple(one * kept for one, kept in zip(unit, step.kept, strict=True))
            choices.append((operator.choice, operator.stride, between))
        unit = tuple(one * whole for one, whole in zip(unit, step.located.site.stride, strict=True))
    return Following(tuple(choices)) if choices else None


def _periodic(call: Call, rewritten: Mapping[Call, Any]) -> Upsampled | None:
    """The rewrite of an upsampling that sees beyond the border of its input, if its input is periodic."""
    if not call.signals or (call.name != "interpolate" and not call.name.startswith("conv_transpose")):
        return None
    count = len(call.signals[0].shape) - 2
    before, after = (value.shape[-count:] for value in (call.signals[0], call.outputs[0]))
    factors = tuple(new // old for new, old in zip(after, before, strict=True))
    seen = None if obstacle(call) else reach(call, factors)
    if not seen or max(factors) == 1:
        return None
    known: Upsampled = rewritten.get(call, Upsampled(None, factors))
    return replace(known, reach=seen, circular=True)


def once(record: Recording, call: Call) -> ModuleCall:
    """The innermost module around a call that runs once; one ReLU may serve many layers."""
    module = call.module
    while module.parent is not None and len(record.calls_of(module.module)) > 1:
        module = module.parent
    return module


# --- every padding circular -----------------------------------------------------------------------------------------

# Calls that need a map that closes the ring.
_DENSE = rewrite.DenseConvolution | rewrite.DenseMaximum | rewrite.DenseAverage
_ARGUMENTS = {
    f"{name}{axes}d": arguments
    for axes in (1, 2, 3)
    for name, arguments in (
        ("conv", "input weight bias stride padding dilation"),
        ("max_pool", "input kernel_size stride padding dilation"),
        ("avg_pool", "input kernel_size stride padding"),
    )
}


def _circular(record: Recording, rewritten: dict[Call, Any]) -> dict[Call, Any]:
    """Rewrites for the calls that pad and are not treated sites."""
    found: dict[Call, Any] = {}
    for call in record.calls:
        if call in rewritten or not call.signals:
            continue
        if call.name in _ARGUMENTS:
            if _pads(call):
                found[call] = rewrite.CircularCall(_ARGUMENTS[call.name].split().index("padding"), axes_of(call))
        elif call.name == "pad":
            width = call.arguments("input pad", pad=())["pad"]
            if len(width) == 2 * (len(call.signals[0].shape) - 2) and any(width):
                sites = [c for c in call.outputs[0].consumers if isinstance(rewritten.get(c), _DENSE) and c.signals]
                found[call] = rewrite.CircularPadding(*(_windows(sites[0]) if sites else ()))
    return found


def _pads(call: Call) -> bool:
    """Whether a convolution or a pooling has padding of its own."""
    padding = call.arguments(_ARGUMENTS[call.name], padding=0)["padding"]
    return padding == "same" or any(each(padding, axes_of(call)))


def _windows(call: Call) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The span of the windows of a convolution or a pooling in samples, and their steps, along each axis."""
    given, axes = call.arguments(_ARGUMENTS[call.name]), axes_of(call)
    kernel = given["weight"].shape[-axes:] if "weight" in given else each(given["kernel_size"], axes)
    steps = each(given.get("stride") or kernel, axes)
    return rewrite.span(kernel, each(given.get("dilation", 1), axes)), steps
