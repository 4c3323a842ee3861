"""The command that measures a run again, made from its settings; what a summary says of its command is not repeated.

A page is read by people who type what it says, and a summary may come from a stranger.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from aliasing.called import spec_of
from aliasing.errors import InputError, UsageError
from aliasing.report.runs import Run
from aliasing.result import command_of, protocol_of

__all__ = ["command_again"]

# What is a position, what names the images, and the options that are settings of the same name.
_IMAGES = {"spectrum": "", "features": "", "cure": "--train TRAINING --images", "resamplers": None}
_ONE = ("attribute", "features", "cure")
_OPTIONS = (
    "limit",
    "sample",
    "output",
    "design",
    "precision",
    "device",
    "operator",
    "taps",
    "placement",
    "sites",
    "stride",
)
_USUAL = {"output": "probabilities", "precision": "float32", "device": "cpu", "seed": 0, "batch_size": 16}
_LONGEST = 300  # characters of a word


def command_again(run: Run) -> str:
    r"""The command with a run's networks and settings, each quoted for a shell; its images are a word in capitals.

    Examples
    --------
    >>> from pathlib import Path
    >>> settings = {"protocol": {"name": "crop", "span": 4}, "device": "cpu; reboot"}
    >>> summary = {"models": {"a b": {}}, "settings": settings, "command": "aliasing jitter; reboot"}
    >>> command_again(Run(Path("jitter"), "networks", summary))
    "aliasing jitter --models 'a b' --images IMAGES --protocol crop:span=4 --device 'cpu; reboot' --out jitter"
    """
    command = command_of(run.summary) or "jitter"
    words = ["aliasing", command]
    networks = [_word(spec_of(name, known)) for name, known in run.networks.items()]
    if run.kind == "cure":
        networks = [_word(run.summary["cure"].get("network"))]
    if networks and command not in _ONE:
        words.append("--models")
    words += networks[:1] if command in _ONE else networks
    images = _IMAGES.get(command, "--images")
    if images is not None:
        words.append(f"{images} IMAGES".strip())
    for name in ("outputs", "preprocess"):
        said = {str((known.get("weights") or {}).get(name) or "") for known in run.networks.values()}
        words += [f"--{name} {_word(one)}" for one in said if one and len(said) == 1]  # an option is of all networks
    words += _protocol(run.settings)
    for name in (*_OPTIONS, "seed", "batch_size"):
        value = run.settings.get(name)
        if value not in (None, _USUAL.get(name)) and isinstance(value, str | int | float | list):
            each = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(_word, each)]
    if isinstance(run.settings.get("operators"), list):
        words += ["--operator", *map(_word, run.settings["operators"])]
    return " ".join([*words, "--out", _word(run.folder.name)])


def _protocol(settings: Mapping[str, Any]) -> Iterator[str]:
    if "protocol" not in settings:
        return
    try:
        protocol = protocol_of(dict(settings))
    except (InputError, UsageError):
        return
    given = {
        field.name: getattr(protocol, field.name)
        for field in fields(protocol)
        if getattr(protocol, field.name) != field.default and field.name != "resizer"
    }
    chosen = ",".join(f"{name}={value}" for name, value in given.items())
    yield from ("--protocol", _word(f"{protocol.name}:{chosen}" if chosen else protocol.name))
    if protocol.resizer != "pil":
        yield from ("--resizer", _word(protocol.resizer))


def _word(value: object) -> str:
    """A value as one word of a shell, on one line; "…" in the place of one that nobody would type."""
    text = str(value)
    sensible = text.isprintable() and len(text) <= _LONGEST and not text.startswith("-")
    return shlex.quote(text) if sensible else "…"
