"""One run of an experiment: where its data is, where its pictures go, and what is written beside them."""

import argparse
import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aliasing.errors import InputError
from aliasing.estimates import Estimate
from aliasing.provenance import versions, write_json

PARTS = ("settings", "data", "weights", "numbers")


@dataclass(frozen=True)
class Run:
    """The settings that an experiment is given.

    Attributes
    ----------
    name : of the experiment.
    out : the folder for pictures and ``summary.json``; it exists.
    quick : measure a small honest version in seconds.
    data : the folder of data sets.
    download : a data set, or a library to measure, that is not there may be downloaded.
    arguments : the command line behind ``python -m experiments``.
    options : the values of the experiment's own options, those of its ``add_options``.
    """

    name: str
    out: Path
    quick: bool
    data: Path
    download: bool = False
    arguments: Sequence[str] = ()
    options: argparse.Namespace = field(default_factory=argparse.Namespace)

    def folder(self, name: str) -> Path:
        """A folder of the data, as ``run.folder("imagenet-sample")``; `InputError` if it is not there."""
        if not (self.data / name).exists():
            raise InputError(f"no {name} in {self.data}; set ALIASING_DATA or --data to the folder that holds it")
        return self.data / name

    def perform(self, experiment: Callable[["Run"], dict[str, Any]]) -> dict[str, Any]:
        """Run the experiment, and write what it found and how as ``summary.json``."""
        self.out.mkdir(parents=True, exist_ok=True)
        found = experiment(self)
        if tuple(found) != PARTS:
            raise TypeError(f"{self.name} returned {', '.join(found)}; expected {', '.join(PARTS)}")
        summary = {
            "experiment": self.name,
            "command": shlex.join(["python", "-m", "experiments", *_without_places(self.arguments)]),
            "quick": self.quick,
            "threads": torch.get_num_threads(),
            "versions": versions(),
            **portable(plain(found), self.data),
        }
        write_json(self.out / "summary.json", summary)
        return summary


def plain(value: Any) -> Any:
    """Estimates, arrays and tensors as JSON takes them."""
    match value:
        case Estimate():
            return value.as_dict()
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case Path():
            return str(value)
        case _ if hasattr(value, "tolist"):
            return value.tolist()
    return value


def portable(value: Any, data: Path) -> Any:
    """What a summary says, with the folder of the data called ``$ALIASING_DATA`` wherever it is on this machine.

    Examples
    --------
    >>> portable({"weights": ["file:/mnt/data/a.pth@net", "/mnt/data2/b.pth"]}, Path("/mnt/data"))
    {'weights': ['file:$ALIASING_DATA/a.pth@net', '/mnt/data2/b.pth']}
    """
    match value:
        case dict():
            return {portable(key, data): portable(item, data) for key, item in value.items()}
        case list():
            return [portable(item, data) for item in value]
        case str():
            folders = "|".join(re.escape(str(folder)) for folder in (data.absolute(), data.resolve(), data))
            return re.sub(rf"(?<![^\s:@=])(?:{folders})/", "$ALIASING_DATA/", value)
    return value


def _without_places(arguments: Sequence[str]) -> list[str]:
    """A command line without ``--data`` and ``--out``: they say where things are on this machine, not what was done."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data")
    parser.add_argument("--out")
    return parser.parse_known_args(arguments)[1]


def hash_files(paths: Sequence[Path]) -> str:
    """One SHA-256 of several files' bytes, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
