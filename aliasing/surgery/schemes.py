"""The treatment of a site, and the named schemes, which decide on one for every site of a network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from aliasing.errors import UsageError
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.sites.change import axes_of, each
from aliasing.sites.find import LocatedSite, Site
from aliasing.sites.flow import ACTIVATIONS, SUMS
from aliasing.sites.trace import Call, Value
from aliasing.surgery.circular import ARGUMENTS
from aliasing.surgery.operators import make_operator

__all__ = ["SCHEMES", "Scheme", "Treatment", "check_treatment", "resamples"]


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
    if resamples(site):
        return None
    return replace(treatment, window=2) if _is_pool_of_a_resnet(place.calls[0]) else treatment


def _pool(place: LocatedSite, treatment: Treatment) -> Treatment | None:
    return treatment if place.site.kind in ("max pooling", "average pooling", "adaptive pooling") else None


def resamples(site: Site) -> bool:
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
    given = call.arguments(f"{ARGUMENTS[call.name]} ceil_mode", stride=0, padding=0, dilation=1, ceil_mode=False)
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
