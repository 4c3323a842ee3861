"""Paths with braces, as WebDataset writes its shards: ``shards-{000..127}.tar``, ``{train,val}.tar``."""

import itertools
import re
from pathlib import Path
from typing import Any

from aliasing.errors import InputError, UsageError
from aliasing.images.archives import is_tar, shards_source
from aliasing.images.entries import ImageSource
from aliasing.images.opening import open_items

_MOST = 100_000  # paths
_BRACE = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """The files that a path with braces stands for, in its order; all of them must be there."""
    if path is not None or not isinstance(spec, str | Path) or not _BRACE.search(str(spec)):
        return None
    places = expand(str(spec))
    if any("://" in place for place in places):
        return open_items(list(places))
    paths = [Path(place).expanduser() for place in places]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(f"{len(missing)} of the {len(paths)} files {spec} are not there: {missing[0]}, to begin with")
    return shards_source(paths, str(spec)) if all(map(is_tar, paths)) else open_items(list(map(str, paths)))


def expand(pattern: str) -> list[str]:
    """The paths that a pattern stands for; a number keeps the zeros with which the first of a range is written.

    Examples
    --------
    >>> expand("shard-{008..010}.tar")
    ['shard-008.tar', 'shard-009.tar', 'shard-010.tar']
    >>> expand("{a,b}/{0..1}.jpg")
    ['a/0.jpg', 'a/1.jpg', 'b/0.jpg', 'b/1.jpg']
    """
    parts = _BRACE.split(pattern)
    choices = [[part] if index % 2 == 0 else _choices(part, pattern) for index, part in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST:
        raise UsageError(f"{pattern} stands for {count:,} paths; expected at most {_MOST:,}")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str, pattern: str) -> list[str]:
    span = re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", inside)
    if span is None:
        if "," not in inside:
            raise UsageError(f"{pattern}: {{{inside}}}; expected a range such as {{000..127}}")
        return inside.split(",")
    first, last = int(span[1]), int(span[2])
    if not first <= last < first + _MOST:
        raise UsageError(f"{pattern}: {{{inside}}}; expected the smaller number first, at most {_MOST:,} of them")
    return [f"{number:0{len(span[1])}}" for number in range(first, last + 1)]
