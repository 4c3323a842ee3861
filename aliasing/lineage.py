"""What a network is (plain, converted, recalibrated, fine-tuned, trained anti-aliased), and of which it is a variant.

Both follow from the network itself: from its conversion, from what its origin says was done to its weights, from the
sites that it low-passes by itself, and from what it computes once its conversion is undone. A name decides nothing but
the plain sibling of a network that timm trained anti-aliased.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from aliasing.errors import InputError, UsageError
from aliasing.identity import Identity, identify
from aliasing.models import ShownNetwork
from aliasing.sites import find_sites
from aliasing.surgery.convert import conversion_of, restore

__all__ = [
    "Group",
    "Original",
    "describe_lineage",
    "group_of",
    "is_plain",
    "original_of",
    "plain_sibling",
    "sibling_of",
]

Group: TypeAlias = Literal[
    "plain",
    "converted",
    "recalibrated",
    "trained anti-aliased",
    "fine-tuned",
    "plain, recalibrated",
    "plain, fine-tuned",
]
GROUPS: tuple[str, ...] = get_args(Group)

# How timm names networks that it trained anti-aliased: resnetblur50, resnetaa50d, mobilenetv4_conv_aa_large.
_ANTIALIASED = re.compile(r"_?(?:aa|blur)(?=\d|_)")


def group_of(model: ShownNetwork) -> Group:
    """The group of a network; the last step counts, so one that was recalibrated and then fine-tuned is fine-tuned.

    "recalibrated" and "fine-tuned" are conversions; networks without one are "plain, recalibrated" and "plain,
    fine-tuned". A network counts as trained anti-aliased if it low-passes one of its sites by itself, whatever its
    name: timm's ``tf_efficientnet_b0.aa_in1k`` was trained with AutoAugment and aliases like any other. One whose
    sites cannot be found counts as plain.
    """
    step = model.origin.get("steps", "").rpartition(", ")[2]
    if conversion_of(model.module) is not None:
        group = step or "converted"
    elif _filters_by_itself(model):
        group = "trained anti-aliased"
    else:
        group = f"plain, {step}" if step else "plain"
    return group  # type: ignore[return-value]


def _filters_by_itself(model: ShownNetwork) -> bool:
    try:
        sites = find_sites(model)
    except (InputError, UsageError):
        return False
    return any(site.status == "anti-aliased" and site.note == "by the network itself" for site in sites)


def is_plain(group: str) -> bool:
    """Whether networks of this group low-pass nothing."""
    return group.startswith("plain")


def describe_lineage(model: ShownNetwork) -> dict[str, Any]:
    """What a summary says of a network: its ``group``, and its ``conversion`` if it has one."""
    conversion = conversion_of(model.module)
    return {"group": group_of(model), **({} if conversion is None else {"conversion": str(conversion)})}


@dataclass(frozen=True)
class Original:
    """What a network computes with its conversion undone, and the SHA-256 of the weights with which it began."""

    computation: str
    root: str


def original_of(model: ShownNetwork, identity: Identity | None = None) -> Original:
    """The original of a network, which is itself if nothing was done to it; ``identity`` spares computing it again."""
    if conversion_of(model.module) is not None:
        model, identity = restore(model), None
    found = identity or identify(model)
    return Original(found.computation, model.origin.get("root", found.weights))


def sibling_of(name: str, group: Group, originals: Mapping[str, Original], plain: Iterable[str]) -> str | None:
    """The plain network with which another one is compared; None if it is plain itself or its sibling is absent.

    Its sibling computes the same once a conversion is undone. If several do, it is the one with the weights with which
    this one began; if none has these, it is not known.

    Examples
    --------
    >>> originals = {"net": Original("calls", "a"), "other": Original("calls", "b"), "tuned": Original("calls", "a")}
    >>> sibling_of("tuned", "fine-tuned", originals, ["net", "other"])
    'net'
    >>> sibling_of("net", "plain", originals, ["net", "other"]) is None
    True
    """
    if group == "trained anti-aliased":
        return plain_sibling(name, plain)
    if group == "plain":
        return None
    alike = [other for other in plain if originals[other].computation == originals[name].computation]
    begun = [other for other in alike if originals[other].root == originals[name].root]
    return begun[0] if begun else alike[0] if len(alike) == 1 else None


def plain_sibling(name: str, plain: Iterable[str]) -> str | None:
    """The plain network of which one that timm trained anti-aliased is a variant; None if it is not among those given.

    If there are several sets of weights, it is the one with the same tag, or else the first; the two then also differ
    in their training.

    Examples
    --------
    >>> plain_sibling("timm:resnetblur50.bt_in1k", ["timm:resnet18.a1_in1k", "timm:resnet50.a1_in1k"])
    'timm:resnet50.a1_in1k'
    """
    architecture, _, tag = name.partition(".")
    sibling = _ANTIALIASED.sub("", architecture)
    candidates = [other for other in plain if other.partition(".")[0] == sibling != architecture]
    same_tag = [other for other in candidates if other == f"{sibling}.{tag}"]
    return next(iter(same_tag + candidates), None)
