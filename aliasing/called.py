"""What networks are called where there is little room: in a figure, a tile, a heading.

A name is for loading a network again and may be long. Its short name is the label, or what its factory calls it, or the
architecture, followed by what was done to it. If that does not tell two networks apart, what differs is added: the
weights' file, the folder, at last the whole name. So short names are as unique as names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import comb
from pathlib import PurePath
from typing import Any

from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS, SOURCES

__all__ = ["conversions_of", "explained", "group_in", "meant_by", "short_names", "spec_of"]

_STEPS = ("recalibrated", "fine-tuned")
_NOTHING: Mapping[str, Any] = {}
# The words of a conversion beside its operator or filter.
_WORDS = {
    "after": "behind the layer that subsamples, at stride 1 now",
    "before": "in front of the layer that subsamples",
    "all": "at every downsampling site",
    "pool": "at the poolings alone",
    "zhang2019": "at the sites that Zhang (2019) treats",
    "circular": "as if the map were periodic",
    "reflect": "with the map reflected at its border",
    "replicate": "with the map's border repeated",
    "zero": "with zeros around the map",
}


def short_names(names: Iterable[str], described: Mapping[str, Mapping[str, Any]] = _NOTHING) -> dict[str, str]:
    """Name → short name, each unique.

    Parameters
    ----------
    names : iterable of str
    described : mapping of str to mapping
        What a summary says of the networks, by name; without it a name tells less.

    Examples
    --------
    >>> short_names(["pypi:efficientnet_lite0", "antialiased:binomial3,all:pypi:efficientnet_lite0", "my net: 2"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'pypi:efficientnet_lite0': 'efficientnet_lite0',
     'antialiased:binomial3,all:pypi:efficientnet_lite0': 'efficientnet_lite0, binomial3, all',
     'my net: 2': 'my net: 2'}
    >>> list(short_names(["file:a/1.pth@module:nets:cifar", "file:a/2.pth@module:nets:cifar"]).values())
    ['cifar (1.pth)', 'cifar (2.pth)']
    """
    forms = {name: _read(name, described.get(name, _NOTHING)).forms for name in names}
    levels = dict.fromkeys(forms, 0)
    while True:
        texts = {name: of[min(levels[name], len(of) - 1)] for name, of in forms.items()}
        counts = Counter(texts.values())
        longer = [name for name, text in texts.items() if counts[text] > 1 and levels[name] < len(forms[name]) - 1]
        if not longer:
            return texts
        for name in longer:
            levels[name] += 1


def meant_by(text: str, names: Iterable[str], described: Mapping[str, Mapping[str, Any]] = _NOTHING) -> str | None:
    """The name that a person means, who gives it whole or short, as tables and figures show it; None if none is so.

    Examples
    --------
    >>> meant_by("efficientnet_lite1", ["pypi:efficientnet_lite0", "pypi:efficientnet_lite1"])
    'pypi:efficientnet_lite1'
    """
    names = list(names)
    short = short_names(names, described)
    return text if text in names else next((name for name in names if short[name] == text), None)


def explained(conversions: Iterable[str]) -> str:
    """What the short words of conversions mean, each once, in one line; empty if there is none to explain.

    Parameters
    ----------
    conversions : iterable of str
        As in the names of converted networks: ``"binomial3,before,all"``.

    Examples
    --------
    >>> explained(["binomial3,all", "flc,all"])[:97]
    'binomial3: low-pass filter, then subsample (blur-pool, Zhang 2019), taps 1-2-1; all: at every dow'
    """
    words = dict.fromkeys(word for text in conversions for word in text.split(",") if word)
    found = {word: _meaning(word) for word in words}
    return "; ".join(f"{word}: {meaning}" for word, meaning in found.items() if meaning)


def conversions_of(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The conversions of the networks of a summary, as in their names, each once."""
    found = (str(one.get("conversion") or "") or _read(name, one).conversion for name, one in models.items())
    return list(dict.fromkeys(filter(None, found)))


def _meaning(word: str) -> str:
    if word in OPERATORS:
        return OPERATORS[word].meaning
    if word in _WORDS:
        return _WORDS[word]
    if word == "1":
        return "a filter of one tap, which changes nothing"
    blur, binomial = OPERATORS[DEFAULT_OPERATOR].meaning, re.fullmatch(r"binomial(\d)", word)
    if binomial:
        return f"{blur}, taps {'-'.join(str(comb(int(binomial[1]) - 1, k)) for k in range(int(binomial[1])))}"
    return blur if re.fullmatch(r"[a-z]+\d+", word) else ""


def group_in(name: str, described: Mapping[str, Any]) -> str:
    """The group of a network in a summary (`aliasing.lineage.group_of`); an older summary tells it by the name alone.

    Examples
    --------
    >>> group_in("antialiased:binomial4:resnet50", {}), group_in("tuned", {"group": "fine-tuned"})
    ('converted', 'fine-tuned')
    """
    if "group" in described:
        return str(described["group"])
    found = _read(name, described)
    step = found.steps[-1] if found.steps else ""
    if found.conversion:
        return step or "converted"
    return f"plain, {step}" if step else "plain"


def spec_of(name: str, described: Mapping[str, Any]) -> str:
    """The name by which a network in a summary can be loaded again, without its label."""
    return str((described.get("weights") or _NOTHING).get("loaded_as") or name)


@dataclass(frozen=True)
class _Called:
    """A name, taken apart: what the network is at first, and what was done to it."""

    name: str
    base: str
    conversion: str
    steps: tuple[str, ...]
    details: tuple[str, ...]

    @property
    def forms(self) -> tuple[str, ...]:
        """From the shortest to the whole name."""
        text = ", ".join([self.base, *([self.conversion.replace(",", ", ")] if self.conversion else []), *self.steps])
        return (text, *(f"{text} ({detail})" for detail in self.details), self.name)


def _read(name: str, described: Mapping[str, Any]) -> _Called:
    weights = described.get("weights") or _NOTHING
    if "loaded_as" in weights and not name.startswith("antialiased:"):
        return _Called(name, name, "", (), ())  # a label says everything that it should
    rest, steps = name, list[str]()
    while rest.endswith(tuple(f", {step}" for step in _STEPS)):
        rest, _, step = rest.rpartition(", ")
        steps.insert(0, step)
    conversion = ""
    source, colon, inner = rest.partition(":")
    if source == "antialiased" and ":" in inner:
        conversion, _, rest = inner.partition(":")
        source, colon, inner = rest.partition(":")
    if not colon or source not in SOURCES:
        return _Called(name, rest, conversion, tuple(steps), ())
    details: tuple[str, ...] = (source,)
    if source == "file" and "@" in inner:
        path, _, architecture = inner.removesuffix("@test").rpartition("@")
        file = PurePath(path)
        details = (file.name, str(PurePath(file.parent.name, file.name)))
        inner = architecture.partition(":")[2]
        if not architecture.startswith("module:"):
            inner = inner.partition(".")[0]  # the weights are not the official ones
    own = weights.get("name")
    base = str(own or inner.rpartition(":")[2] or name)
    if own and source == "module":
        details = (inner.rpartition(":")[2], inner)
    conversion = conversion or str(described.get("conversion") or "")
    if not steps and weights.get("steps"):
        steps = str(weights["steps"]).split(", ")
    return _Called(name, base, conversion, tuple(steps), details)
