"""Shell completion of options, networks and protocols (``argcomplete``).

Completion must not take the seconds that torch takes to load, so the names of torchvision's and timm's networks are
read from the text of their modules, where each follows ``@register_model``.
"""

import argparse
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aliasing.cli.shared import OFFLINE
from aliasing.kinds import OPERATORS, PROTOCOLS, RESAMPLERS, SOURCES

__all__ = ["PrintCompletion", "complete"]

_REGISTERED = re.compile(r"^@register_model(?:\(\))?\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_CHOICES = {
    **dict.fromkeys(("protocol", "consistency"), PROTOCOLS),
    "placement": ("after", "before"),
    "scheme": ("zhang2019", "all", "pool"),
    "padding": ("reflect", "replicate", "zero", "circular"),
    "resizer": RESAMPLERS,
    "outputs": ("boxes,scores,labels", "keypoints,scores,descriptors"),
}


class PrintCompletion(argparse.Action):
    """Print the code for the shell to evaluate, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, option: str | None = None) -> None:
        try:
            from argcomplete.shell_integration import shellcode
        except ModuleNotFoundError:
            parser.exit(2, 'aliasing: completion needs argcomplete; pip install "aliasing[completion]"\n')
        print(shellcode(["aliasing"], shell=shell))
        parser.exit()


def complete(parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser]) -> None:
    """Answer the shell and exit, if the shell is asking for completions."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        parser.exit(1)  # pressing Tab should not print an error
    for command in commands.values():
        for action in command._actions:
            if action.dest in ("model", "models", "pattern"):
                action.completer = networks  # type: ignore[attr-defined]
            elif action.dest in _CHOICES:
                action.completer = argcomplete.ChoicesCompleter(_CHOICES[action.dest])  # type: ignore
    argcomplete.autocomplete(parser)


def networks(prefix: str, **others: Any) -> Iterator[str]:
    """The names that may follow a prefix: sources first, then the networks of the given source.

    Examples
    --------
    >>> list(networks("torchvision:resnet5"))
    ['torchvision:resnet50']
    >>> list(networks("antialiased:binomial4:pypi:efficientnet_lite2"))
    ['antialiased:binomial4:pypi:efficientnet_lite2']
    >>> list(networks("antialiased:f"))
    ['antialiased:flc:']
    >>> list(networks("tuned=pypi:efficientnet_lite2"))
    ['tuned=pypi:efficientnet_lite2']
    """
    label, equals, name = prefix.partition("=")
    if equals and ":" not in label:
        yield from (f"{label}={found}" for found in networks(name))
        return
    source, _, rest = prefix.partition(":")
    head = f"antialiased:{rest.partition(':')[0]}:" if source == "antialiased" and ":" in rest else ""
    inner = prefix.removeprefix(head)
    named, colon, _ = inner.partition(":")
    if source == "antialiased" and not head:
        names = [f"antialiased:{operator}:" for operator in OPERATORS]
    elif colon and named in SOURCES:
        names = [name for name in OFFLINE if name.startswith(inner)]
        names = names or [f"{named}:{name}" for name in architectures(named)] or _listed(named)
    else:
        names = [*OFFLINE, *(f"{source}:" for source in SOURCES)]
        names += [name for source in SOURCES for name in architectures(source)] if inner else []
    yield from (f"{head}{name}" for name in dict.fromkeys(names) if name.startswith(inner))


def _listed(source: str) -> list[str]:
    """The networks that a source lists, which takes the time that it takes to load."""
    available = SOURCES[source].available
    return [model.name for model in available()] if available else []


def architectures(package: str) -> Iterator[str]:
    """The networks that a package's modules register, read from the text of the modules."""
    spec = find_spec(package)
    for folder in spec.submodule_search_locations or [] if spec else []:
        for file in sorted((Path(folder) / "models").glob("*.py")):
            yield from _REGISTERED.findall(file.read_text(encoding="utf-8"))
