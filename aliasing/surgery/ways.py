"""The sites on the ways through a network: those on branches that meet again share one phase."""

from dataclasses import dataclass

from aliasing.sites.change import unpadded
from aliasing.sites.trace import Call, Recording, Value
from aliasing.surgery.placing import Step

__all__ = ["Ways", "find_ways", "phase_conflicts"]


@dataclass(frozen=True)
class Ways:
    """The sites on the ways through a network."""

    groups: dict[Step, int]  #: those on branches that meet again, which must use the same phase, have one number
    partners: dict[Call, tuple[Step, ...]]  #: what an upsampling undoes, the finest first


def find_ways(record: Recording, steps: list[Step], pooled: set[Call], raised: list[Step]) -> Ways:
    """Group the sites on branches that meet again, and pair those that upsample with those before.

    Every value knows the sites before it. When an addition or a concatenation joins two branches, the sites of one are
    matched to those of the other in order. An upsampling undoes the last of them, if that had its sizes. A globally
    pooled map no longer has a phase; a map with one position does.
    """
    of_call = {call: step for step in steps for call in step.calls}
    upwards = {call: step for step in raised for call in step.calls}
    partners: dict[Call, tuple[Step, ...]] = {}
    parent = {step: step for step in steps}

    def root(step: Step) -> Step:
        while parent[step] is not step:
            step = parent[step]
        return step

    ways: dict[Value, tuple[Step, ...]] = {}
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
    return Ways({step: steps.index(root(step)) for step in steps}, partners)


def _undone(call: Call, way: tuple[Step, ...], factors: tuple[int, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
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


def phase_conflicts(
    record: Recording, steps: list[Step], left: list[Step], pooled: set[Call], raised: list[Step]
) -> dict[Step, str]:
    """The sites that select a phase but cannot share it with a branch that they meet, and why."""
    choosing = [step for step in steps if step.chooses]
    if not choosing:
        return {}
    groups = find_ways(record, [*steps, *left], pooled, raised).groups
    fixed = {groups[step]: step.located.site for step in [*steps, *left] if step not in choosing}
    batches: dict[int, set[int]] = {}
    for step in choosing:
        batches.setdefault(groups[step], set()).add(step.located.site.input_shape[0])
    found: dict[Step, str] = {}
    for step in choosing:
        group, chooser = groups[step], step.treatment.operator
        if group in fixed:
            keeper = fixed[group].name
            found[step] = f"{chooser} could choose another phase than {keeper} keeps, and the two branches meet"
        elif len(batches[group]) > 1:
            found[step] = f"{chooser} chooses once per image, and a branch that it meets has heads in its batch"
    return found
