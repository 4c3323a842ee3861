"""Sources of networks: what stands before the first colon of a name, one file a source.

`aliasing.kinds.SOURCES` holds them all.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aliasing.errors import UsageError
from aliasing.kinds import SOURCES
from aliasing.models.classifier import Classifier
from aliasing.registry import did_you_mean

__all__ = ["AvailableModel", "Source", "split"]

_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class AvailableModel:
    """A network that can be loaded by name.

    Parameters
    ----------
    name : str
        What ``load_model`` takes.
    origin : str
        The package or the URL that its weights come from.
    installed : bool
        Whether the weights are on this machine: loading needs no network.
    """

    name: str
    origin: str
    installed: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a source of networks can do. Only ``load`` is needed.

    Parameters
    ----------
    load : callable
        ``load(name, **changes)`` gives the Classifier that ``"SOURCE:name"`` stands for. Its ``name`` is canonical and
        has the source before the colon. Its ``origin`` says where the weights come from, which summaries repeat
        (`aliasing.models.classifier.record_weights` writes it). The changes are those of `aliasing.load_model`;
        `aliasing.models.changes.apply_changes` makes them.
    available : callable, optional
        ``available()`` gives an `AvailableModel` for each network that can be loaded by name alone.
    architectures : callable, optional
        ``architectures()`` gives the names, without weights, that may stand without the source.
    knows : callable, optional
        ``knows(name)`` says whether a name that stands without a source, with or without weights, is one of this
        source's. The first source that says so has it.
    assemble : callable, optional
        ``assemble(name, checkpoint, **changes)`` gives the architecture with the weights of a
        `aliasing.models.checkpoints.Checkpoint`, for ``file:PATH@SOURCE:name``.
    """

    load: Callable[..., Classifier]
    available: Callable[[], Iterable[AvailableModel]] | None = None
    architectures: Callable[[], Iterable[str]] | None = None
    knows: Callable[[str], bool] | None = None
    assemble: Callable[..., Classifier] | None = None


def split(name: str) -> tuple[str, str]:
    """A network's name → its source and the rest. A bare name is of the first source that knows it.

    Raises
    ------
    UsageError
        If there is no such source, or none that knows the bare name; the message has the nearest.

    Examples
    --------
    >>> split("timm:resnet50.a1_in1k"), split("resnet50")
    (('timm', 'resnet50.a1_in1k'), ('torchvision', 'resnet50'))
    """
    source, colon, rest = name.partition(":")
    if colon and source in SOURCES:
        if not rest:
            raise UsageError(f"{name!r} names no model; `aliasing models` lists what can be loaded")
        return source, rest
    if colon:
        nearest = did_you_mean(source, SOURCES) or f"; expected one of {', '.join(SOURCES)}"
        raise UsageError(f"{name!r}: no source {source!r}{nearest}")
    if name.endswith(_CHECKPOINT_SUFFIXES):
        raise UsageError(f"{name!r}: of which architecture? give file:{name}@torchvision:resnet50, for instance")
    for candidate, kind in SOURCES.items():
        if kind.knows and kind.knows(name):
            return candidate, name
    architecture = re.split("[.@]", name)[0]
    nearest = ""
    for candidate, kind in SOURCES.items():
        known = list(kind.architectures()) if kind.architectures else []
        if architecture in known:
            return candidate, name  # to be told which weights it has
        nearest = nearest or did_you_mean(architecture, known)
    raise UsageError(f"no model {name!r} in any source{nearest or '; `aliasing models` lists them'}")
