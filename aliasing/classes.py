"""Matching labels, however they are written, to a network's classes.

A label is written in many ways: a number ("7", "007", 7.0), a WordNet id ("n02111889"), the name of a class or one of
its synonyms ("Samoyed", "samoyede"), or not at all (empty, −1, null). Only the network can say which class is meant, by
its ``labels`` and its number of classes. No label is numbered by its place in a list: one that means no class of this
network is unmatched, and is counted as such.

ImageNet's WordNet ids and synonyms are timm's tables, read without importing timm.
"""

import importlib.util
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aliasing.errors import InputError, one_line

if TYPE_CHECKING:
    from aliasing.images import Entry
    from aliasing.models import ShownNetwork

Label: TypeAlias = int | str | None
"""A label as it is written: an integer of a data set, a text, or None if there is none."""

Spellings: TypeAlias = defaultdict[str, set[int]]
"""The indices of the classes that have each spelling."""

MAX_LABEL = 2**31 - 1  # as records hold them
HOWS = ("number", "wnid", "name", "unknown", "unmatched")
EXAMPLES = 3  # of each way in which labels were matched, in a summary
_SHOWN = 60  # characters of a label in a message
_LONGEST_NUMBER = 18  # digits; a longer number is not a class
_AGREEING = 0.9  # share of names that must fit a list of WordNet ids for the list to be the network's
_UNKNOWN = frozenset({"", "-1", "-1.0", "\u22121", "null", "none", "nan", "n/a", "na", "<na>", "unknown"})
_IMAGENET = 1000
_NUMBER = re.compile(r"(?:(?:class|label)[ _-]?)?([+-]?)([0-9]+)(\.0*)?", re.IGNORECASE)
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]+(e[+-]?[0-9]+)?")


def written(value: Any) -> Label:
    """Convert a label from a file, a table or a data set to an int, a text or None.

    ``value`` is a number of Python, NumPy or torch (also an array or a tensor of one element), a text, bytes or None.
    None, NaN, −1 and an empty text become None; anything that is not a label (a list, a fraction) becomes text.

    Examples
    --------
    >>> import numpy as np
    >>> [written(value) for value in (7, np.int64(7), 7.0, " 007 ", np.array(7), -1, float("nan"), b"cat", 0.5)]
    [7, 7, 7, '007', 7, None, None, 'cat', '0.5']
    """
    if getattr(value, "shape", None) is not None and hasattr(value, "item") and math.prod(value.shape) == 1:
        value = value.item()
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip() or None
    if value is None or (isinstance(value, int | float) and (value == -1 or value != value)):  # NaN
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    return str(value)[:_SHOWN]


@dataclass(frozen=True)
class Match:
    """What a label means to a network: how it was matched, the index of the class, or why it is unmatched."""

    how: str
    index: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Classes:
    """The classes of one network, and how they may be written.

    Examples
    --------
    >>> animals = Classes(3, ["cat, house cat", "dog", "great_white-shark"])
    >>> [animals.match(label).index for label in (2, "002", "House Cat", "dog", "Great White Shark", "-1", "cow", 3)]
    [2, 2, 0, 1, 2, None, None, None]
    """

    count: int
    names: Sequence[str] | None = None  #: synonyms are separated by commas, as in ImageNet's ("Samoyed, Samoyede")

    def match(self, label: Label) -> Match:
        """What a label means to this network."""
        if label is None or label == -1:
            return Match("unknown")
        if isinstance(label, int):
            return self._by_number(label)
        whole = self._only(self._spellings[0], label.strip())
        found = whole or self._by_numeral(label) or self._by_wnid(label) or self._by_name(label)
        if found is not None:
            return found
        if label.strip().casefold() in _UNKNOWN:
            return Match("unknown")
        return Match("unmatched", reason="no class of that name")

    @property
    def described(self) -> str:
        """The first classes, in words."""
        if self.names is None:
            return f"{self.count} classes without names"
        first = ", ".join(repr(_shown(name)) for name in self.names[:3])
        return f"{self.count} classes, {first}{' …' if self.count > 3 else ''}"

    def _by_number(self, number: int) -> Match:
        if 0 <= number < self.count:
            return Match("number", number)
        return Match("unmatched", reason=f"no number from 0 to {self.count - 1}")

    def _by_numeral(self, label: str) -> Match | None:
        number = as_number(label)
        return None if number is None or number == -1 else self._by_number(number)

    def _by_name(self, label: str) -> Match | None:
        _, exact, plain = self._spellings
        return self._only(exact, label.strip()) or self._only(plain, _plain(label))

    def _only(self, classes: Mapping[str, set[int]], spelling: str) -> Match | None:
        indices = classes.get(spelling)
        if indices is None:
            return None
        if len(indices) > 1:
            several = " and ".join(map(str, sorted(indices)[:2]))
            return Match("unmatched", reason=f"the name of several classes, {several}")
        return Match("name", next(iter(indices)))

    def _by_wnid(self, label: str) -> Match | None:
        wnid = wnid_of(label)
        if wnid is None:
            return None
        index = self._index_of_wnid.get(wnid)
        if index is None:
            return Match("unmatched", reason="a WordNet id that is not one of its classes")
        return Match("wnid", index)

    @cached_property
    def wnids(self) -> tuple[str | None, ...]:
        """The WordNet id of each class, or None if it is not known."""
        if self.names is None:
            return imagenet_synsets() if self.count == _IMAGENET else ()
        given = tuple(map(wnid_of, self.names))
        if any(given):
            return given
        parts = [_parts(name, plain=True) for name in self.names]
        for wnids in _wordnet_lists():
            if len(wnids) == len(parts):
                agreeing = [own & _synonyms().get(wnid, frozenset()) for own, wnid in zip(parts, wnids, strict=True)]
                if sum(map(bool, agreeing)) >= _AGREEING * len(wnids):
                    return wnids
        # Some of ImageNet's classes in another order: find each by a name that only one of the thousand has.
        found = [{wnid for part in own for wnid in _imagenet_wnids().get(part, ())} for own in parts]
        return tuple(next(iter(wnids)) if len(wnids) == 1 else None for wnids in found)

    @cached_property
    def _index_of_wnid(self) -> dict[str, int]:
        counts = Counter(self.wnids)
        return {wnid: index for index, wnid in enumerate(self.wnids) if wnid is not None and counts[wnid] == 1}

    @cached_property
    def _spellings(self) -> tuple[Spellings, Spellings, Spellings]:
        """The classes by their whole label, by a part of it as written, and by any part or synonym in plain letters."""
        whole, exact, plain = Spellings(set), Spellings(set), Spellings(set)
        for index, name in enumerate(self.names or ()):
            whole[name.strip()].add(index)
            for part in _parts(name):
                exact[part].add(index)
            for part in _parts(name, plain=True):
                plain[part].add(index)
            wnid = self.wnids[index]
            for part in () if wnid is None else _synonyms().get(wnid, ()):
                plain[part].add(index)
        return whole, exact, plain


@dataclass(frozen=True)
class MatchedLabels:
    """The labels of a stream of images, as one network's classes.

    All labels are judged together: if the network has no class for one of the numbers, then the numbers are not this
    network's and none of them counts. The same holds for names if it does not know most of them.

    Examples
    --------
    >>> labels = MatchedLabels("pets", Classes(2, ["cat", "dog"]), {"dog": 3, "Cat": 2, None: 1})
    >>> labels("dog"), labels("Cat"), labels(None), labels.cautions
    (1, 0, None, ())
    >>> labels = MatchedLabels("pets", Classes(2), {0: 3, 2: 1}, source="a folder")
    >>> labels(0), labels.cautions[0]
    (None, 'no accuracy: labels from 0 to 2 in a folder; pets has 2 classes, 0 to 1')
    """

    network: str  #: its name, for messages
    classes: Classes
    images: Mapping[Label, int]  #: the number of images with each label, as it is written
    defined: Sequence[str] | None = None  #: the names that the data set itself gives to its integers
    source: str = "these images"  #: where they come from, for messages
    unused_names: int = 0  #: of a network whose names are not as many as its classes
    _matches: dict[Label, Match] = field(init=False, repr=False, compare=False, default_factory=dict)
    _cautions: list[str] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        self._matches.update({label: self._match(label) for label in self.images})
        if self.unused_names:
            self._cautions.append(
                f"has {self.classes.count} classes and {self.unused_names} labels, which are not used: give it as"
                " many labels as classes"
            )
        reason = self._refusal()
        if reason:
            for label, match in self._matches.items():
                if match.how != "unknown":
                    self._matches[label] = replace(match, how="unmatched", index=None)
            self._cautions.append(f"no accuracy: {reason}")
        else:
            self._cautions.extend(self._doubts())

    def __call__(self, label: Label) -> int | None:
        """The network's class, or None if the label does not mean one."""
        match = self._matches.get(label)
        return None if match is None else match.index

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to know about the accuracy, or why there is none."""
        return tuple(self._cautions)

    @property
    def labelled(self) -> int:
        """The number of images that have a label, whatever it means."""
        return sum(self.images[label] for label in self._said())

    @property
    def matched(self) -> int:
        """The number of images whose label means a class of this network."""
        return sum(count for label, count in self.images.items() if self(label) is not None)

    def summary(self) -> dict[str, Any]:
        """The number of images matched in each way, with a few examples."""
        counts = dict.fromkeys(HOWS, 0)
        examples: list[dict[str, Any]] = []
        shown: Counter[str] = Counter()
        for label, match in self._matches.items():
            counts[match.how] += self.images[label]
            if match.how != "unknown" and shown[match.how] < EXAMPLES:
                shown[match.how] += 1
                example: dict[str, Any] = {"written": _written_in_json(label), "how": match.how, "class": match.index}
                if match.index is not None and self.classes.names is not None:
                    example["name"] = _shown(self.classes.names[match.index])
                if match.how == "unmatched" and match.reason:
                    example["reason"] = match.reason
                examples.append(example)
        return {**counts, "examples": examples, "cautions": list(self.cautions)}

    def _match(self, label: Label) -> Match:
        if not isinstance(label, int) or label == -1 or self.defined is None:
            return self.classes.match(label)
        # An integer to which the data set itself gives a name.
        if not 0 <= label < len(self.defined):
            return Match("unmatched", reason=f"the data set names {len(self.defined)} classes only")
        if self.classes.names is not None and not self._same_numbering:
            return self.classes.match(self.defined[label])
        if len(self.defined) != self.classes.count:
            return Match("unmatched", reason=f"the data set has {len(self.defined)} classes")
        return self.classes.match(label)

    @cached_property
    def _same_numbering(self) -> bool:
        """Whether the data set numbers its classes as the network does: most shared names have the same number."""
        if self.defined is None or len(self.defined) != self.classes.count:
            return False
        found = [self.classes.match(name).index for name in self.defined]
        agreeing = sum(index == place for place, index in enumerate(found))
        known = sum(index is not None for index in found)
        return agreeing == known and 2 * agreeing > len(found)

    def _refusal(self) -> str:
        """Why no label counts; empty if they do."""
        numbers = [number for number in map(_number_of, self._unnamed()) if number is not None and number != -1]
        count = self.classes.count
        if not self.labelled:
            return ""
        if not count:
            return f"{self.network} fails on a plain picture, so its number of classes is not known"
        fractions = [label for label in self._unnamed() if _is_fraction(label)]
        if fractions:
            return f"labels such as {_quoted(fractions[:1])} in {self.source} are not numbers of classes"
        if numbers and not 0 <= min(numbers) <= max(numbers) < count:
            hint = "; they seem to begin at 1" if min(numbers) == 1 and max(numbers) == count else ""
            return (
                f"labels from {min(numbers)} to {max(numbers)} in {self.source}; {self.network} has {count} classes,"
                f" 0 to {count - 1}{hint}"
            )
        if self.labelled and 2 * self.matched < self.labelled:
            return (
                f"{self._unmatched_words()} in {self.source} mean no class of {self.network}"
                f" ({self.classes.described}); {self._mend()}"
            )
        return ""

    def _unnamed(self) -> Iterator[Label]:
        """The labels that are numbers and not the names of classes."""
        for label, match in self._matches.items():
            is_defined = self.defined is not None and not isinstance(label, str)
            if match.how not in ("name", "wnid", "unknown") and not is_defined:
                yield label

    def _doubts(self) -> Iterator[str]:
        """What to know about labels that count."""
        if self.matched < self.labelled:
            yield (
                f"accuracy over {self.matched} of {self.labelled} labelled images: {self._unmatched_words()} mean no"
                f" class of it; {self._mend()}"
            )
        both = [
            label
            for label, match in self._matches.items()
            if match.how == "name" and isinstance(label, str) and as_number(label) not in (None, match.index)
        ]
        if both:
            yield f"label {_quoted(both[:1])} is the name of one class and the number of another: read as the name"
        if self.classes.names is None and any(match.how == "wnid" for match in self._matches.values()):
            yield f"{self.classes.count} classes without names, taken for ImageNet's in the order of their WordNet ids"
        numbers = {match.index for match in self._matches.values() if match.how == "number"}
        used = len(numbers)
        if numbers == set(range(used)) and 1 < used <= min(self.classes.count, self.labelled) / 2:
            yield (
                f"the labels are 0 to {used - 1}, and the network has {self.classes.count} classes: the accuracy means"
                " nothing if they number the classes of another data set"
            )

    def _unmatched_words(self) -> str:
        labels = [label for label, match in self._matches.items() if match.how == "unmatched"]
        names = [f"{self.defined[label]}" if self._is_defined(label) else label for label in labels]  # type: ignore
        return f"{len(labels)} of {len(self._said())} labels ({_quoted(names)})"

    def _is_defined(self, label: Label) -> bool:
        return self.defined is not None and isinstance(label, int) and 0 <= label < len(self.defined)

    def _said(self) -> list[Label]:
        return [label for label, match in self._matches.items() if match.how != "unknown"]

    def _mend(self) -> str:
        if self.classes.names is None:
            return "name its classes in their order: al.load_model(network, labels=[…]), or --labels FILE"
        return "write its own names, WordNet ids or numbers, or give it other names: labels=[…], or --labels FILE"


def match_labels(
    model: "ShownNetwork",
    images: Mapping[Label, int],
    *,
    defined: Sequence[str] | None = None,
    source: str = "these images",
) -> MatchedLabels:
    """Match the labels of a stream of images to the classes of a network.

    ``images`` comes from :func:`count_labels`, and ``defined`` from ``ImageSource.class_names``; see `MatchedLabels`.
    """
    names = model.labels
    count = _count_classes(model) if any(label is not None for label in images) else None
    if count is None:  # it fails on any picture, which measuring it will report
        count = len(names or ())
    unused = 0 if names is None or len(names) == count else len(names)
    return MatchedLabels(model.name, Classes(count, None if unused else names), images, defined, source, unused)


def count_labels(entries: Iterable["Entry"]) -> Counter[Label]:
    """Count the entries with each label, as it is written."""
    return Counter(entry.label for entry in entries)


def in_classes(entries: Iterable["Entry"], labels: MatchedLabels | None) -> list["Entry"]:
    """The entries with a network's classes in place of what is written; without labels if it has no classes."""
    return [replace(entry, label=None if labels is None else labels(entry.label)) for entry in entries]


def _count_classes(model: "ShownNetwork") -> int | None:
    """The number of classes in a network's answer to a picture of its mean colour; None if it fails on that."""
    import torch

    from aliasing.sites.trace import on_trial

    try:
        with on_trial(model.module) as module:
            answer = module(model.blank())
    except (Exception, SystemExit):  # measuring it reports what is wrong
        return None
    if not isinstance(answer, torch.Tensor) or answer.ndim not in (1, 2):
        return None
    return max(2, answer.reshape(1, -1).shape[1])  # a single logit tells two classes apart


def as_number(label: str) -> int | None:
    """The number that a text stands for ("7", "007", "7.0", "class 7", "LABEL_7"), or None if it is not a number.

    Examples
    --------
    >>> as_number("007"), as_number("7.0"), as_number("LABEL_7"), as_number("7.5"), as_number("n7")
    (7, 7, 7, None, None)
    """
    found = _NUMBER.fullmatch(label.strip().replace("\u2212", "-"))
    if found is None:
        return None
    digits = found[2].lstrip("0") or "0"
    number = int(digits[:_LONGEST_NUMBER])
    return -number if found[1] == "-" else number


def wnid_of(label: str) -> str | None:
    """The WordNet id that a text is or begins with, as the names of ImageNet's folders do; None if there is none.

    Examples
    --------
    >>> wnid_of("n02111889"), wnid_of("n02111889-Samoyed"), wnid_of("Samoyed")
    ('n02111889', 'n02111889', None)
    """
    found = re.match(r"([nN][0-9]{8})(?![0-9A-Za-z])", label.strip())
    return found[1].lower() if found else None


def imagenet_synsets() -> tuple[str, ...]:
    """ImageNet-1k's WordNet ids in the order of its labels, from timm's list, read without importing timm."""
    return _wordnet_list("imagenet_synsets.txt")


def _is_fraction(label: Label) -> bool:
    return isinstance(label, str) and as_number(label) is None and _FRACTION.fullmatch(label) is not None


def _number_of(label: Label) -> int | None:
    return as_number(label) if isinstance(label, str) else label


def _parts(name: str, plain: bool = False) -> frozenset[str]:
    """A class's label and its synonyms: the parts between commas, and the whole."""
    parts = {name.strip(), *(part.strip() for part in name.split(","))} - {""}
    return frozenset(map(_plain, parts)) if plain else frozenset(parts)


def _plain(name: str) -> str:
    """A name without what may be written in several ways: case, the form of accents, spaces and dashes."""
    return " ".join(re.sub(r"[\s_\-\u2010-\u2015]+", " ", unicodedata.normalize("NFKC", name)).casefold().split())


def _shown(label: object) -> str:
    text = one_line(str(label))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _quoted(labels: Sequence[Label]) -> str:
    some = ", ".join(f"'{_shown(label)}'" if isinstance(label, str) else _shown(label) for label in labels[:EXAMPLES])
    return some + (", …" if len(labels) > EXAMPLES else "")


def _written_in_json(label: Label) -> Label:
    return _shown(label) if isinstance(label, str) or (label is not None and abs(label) >= 2**53) else label


def _tables() -> Path:
    package = importlib.util.find_spec("timm")
    if package is None or package.origin is None:
        raise InputError("labels that are WordNet ids need timm's list of them: pip install timm")
    return Path(package.origin).parent / "data" / "_info"


@cache
def _wordnet_list(name: str) -> tuple[str, ...]:
    return tuple((_tables() / name).read_text(encoding="utf-8").split())


@cache
def _wordnet_lists() -> tuple[tuple[str, ...], ...]:
    """ImageNet's classes in every selection and order that networks are trained on; the thousand first."""
    others = sorted(path.name for path in _tables().glob("*_synsets.txt") if path.name != "imagenet_synsets.txt")
    return tuple(_wordnet_list(name) for name in ("imagenet_synsets.txt", *others))


@cache
def _synonyms() -> dict[str, frozenset[str]]:
    """The names of each WordNet id, in plain letters."""
    rows = (_tables() / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    pairs = (row.split("\t", 1) for row in rows if "\t" in row)
    return {wnid: _parts(lemmas.strip('"'), plain=True) for wnid, lemmas in pairs}


@cache
def _imagenet_wnids() -> dict[str, set[str]]:
    """The WordNet ids of ImageNet's thousand classes, by each of their names."""
    found: dict[str, set[str]] = {}
    for wnid in imagenet_synsets():
        for part in _synonyms()[wnid]:
            found.setdefault(part, set()).add(wnid)
    return found
