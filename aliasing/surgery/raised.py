"""The sites that upsample: what is done at each, and why another stays as it is."""

from collections.abc import Mapping
from typing import Any

from aliasing.kinds import OPERATORS
from aliasing.sites.change import axes_of, each
from aliasing.sites.trace import Call
from aliasing.surgery.operators import Operator
from aliasing.surgery.placing import Step
from aliasing.surgery.upsampling import Following, obstacle, reach

__all__ = ["followed", "following", "unpools", "why_not_raised"]


def followed(call: Call) -> str:
    """What is done at an upsampling that follows its pool."""
    if not unpools(call):
        return "its samples at the phase that was kept"
    pool = next((value.producer for value in call.signals[1:] if value.producer is not None), None)
    given = {} if pool is None else pool.arguments("input kernel_size stride", stride=None)
    axes = axes_of(call)
    overlaps = bool(given.get("stride")) and each(given["kernel_size"], axes) != each(given["stride"], axes)
    return "its values where its indices say" + ", and of windows that overlap the last" * overlaps


def why_not_raised(step: Step) -> str:
    """Why an upsampling is not treated; empty if it is."""
    name = step.treatment.operator
    if not step.chooses and "before" not in OPERATORS[name].placements:
        return f"{name} is not a low-pass, and keeps no phase to which samples could go back"
    for call in step.calls:
        reason = obstacle(call)
        if not reason and step.chooses and not unpools(call) and reach(call, step.stride) is None:
            reason = "its sizes are not a whole factor apart, so it does not move with its input"
        if reason:
            return reason
    return ""


def unpools(call: Call) -> bool:
    return call.name.startswith("max_unpool")


def following(partners: tuple[Step, ...], operators: Mapping[Step, Operator]) -> Following | None:
    """What moves an upsampled map to the phases of the sites that it undoes; an unpooling has their indices."""
    choices, unit = [], (1,) * len(partners[0].stride)
    for step in partners:
        if step.chooses:
            operator: Any = operators[step]
            between = tuple(one * kept for one, kept in zip(unit, step.kept, strict=True))
            choices.append((operator.choice, operator.stride, between))
        unit = tuple(one * whole for one, whole in zip(unit, step.located.site.stride, strict=True))
    return Following(tuple(choices)) if choices else None
