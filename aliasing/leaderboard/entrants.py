"""Which networks are compared, in which group does each stand, and which is its plain sibling?

A network is *trained anti-aliased* if it has a site that is low-passed by the network itself (`aliasing.sites`), and
not by its name: timm's ``tf_efficientnet_b0.aa_in1k`` was trained with AutoAugment, and folds like any other.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from torch import nn

from aliasing.errors import UsageError
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

# How timm names what it trained anti-aliased: resnetblur50, resnetaa50d, mobilenetv4_conv_aa_large.
_ANTIALIASED = re.compile(r"_?(?:aa|blur)(?=\d|_)")
# Paths and names of one's own, in which * and ? are no pattern.
_OWN = ("file:", "module:", "antialiased:")


def choose(models: Sequence[Given], installed: bool = False) -> list[Given]:
    """Every network that is meant, once: a name with ``*``, ``?`` or ``[`` stands for all that match it.

    Parameters
    ----------
    models : sequence of str, nn.Module or Classifier
    installed : bool
        Of those that match a pattern, only the ones whose weights are on this machine.

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
        if not isinstance(given, str) or given.startswith(_OWN) or not set(given) & set("*?["):
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


def group_of(model: Classifier) -> Group:
    """In which group a network stands, as it is given."""
    if conversion_of(model.module) is not None:
        return CONVERTED
    by_itself = any(
        site.status == "anti-aliased" and site.note == "by the network itself" for site in find_sites(model)
    )
    return TRAINED if by_itself else PLAIN


def sibling_of(name: str, group: Group, plain: Sequence[str]) -> str | None:
    """The plain network that another one is compared with; None for one that is plain, or whose sibling is not there.

    A conversion carries its name, however it came to be.

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
    """The plain network that one trained anti-aliased is a variant of; None where it is not among those compared.

    Of several sets of weights the one with the same tag, else the first: then the two differ in their training too.

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
