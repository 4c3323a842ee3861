"""Sources of networks: the part before the first colon of a name, one file per source.

`aliasing.kinds.SOURCES` holds them all.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aliasing.errors import InputError, UsageError
from aliasing.kinds import SOURCES
from aliasing.models.classifier import ShownNetwork
from aliasing.registry import did_you_mean

_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class AvailableModel:
    """A network that can be loaded by name.

    Attributes
    ----------
    name : the name for ``load_model``.
    origin : the package or the URL of its weights.
    installed : whether the weights are on this machine, so that loading needs no internet access.
    """

    name: str
    origin: str
    installed: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """The functions of a source of networks. Only ``load`` is required.

    Attributes
    ----------
    load : ``load(name, **changes)`` returns the Classifier (or SignalNetwork) that ``"SOURCE:name"`` means. Its
        ``name`` is canonical and begins with the source and a colon. Its ``origin`` says where the weights come from,
        for summaries (`aliasing.models.classifier.record_weights` sets it). The changes are those of
        `aliasing.load_model`, applied by `aliasing.models.changes.apply_changes`.
    available : ``available()`` yields an `AvailableModel` for each network that can be loaded by name alone.
    architectures : ``architectures()`` returns the names, without weights, that can be used without the source.
    knows : ``knows(name)`` says whether a name without a source, with or without weights, belongs to this source. The
        first source that knows it gets it.
    assemble : ``assemble(name, checkpoint, **changes)`` returns the architecture with the weights of an
        `aliasing.models.checkpoints.Checkpoint`, for ``file:PATH@SOURCE:name``.
    usage : how a name is written, for a source of files that cannot be listed.
    library, extra : the distribution that such a source needs, and the extra of this package that brings it.
    """

    load: Callable[..., ShownNetwork]
    available: Callable[[], Iterable[AvailableModel]] | None = None
    architectures: Callable[[], Iterable[str]] | None = None
    knows: Callable[[str], bool] | None = None
    assemble: Callable[..., ShownNetwork] | None = None
    usage: str = ""
    library: str = ""
    extra: str = ""

    @property
    def installed(self) -> str | None:
        """The version of its library; None if it is not installed."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            return None


def path_of(source: Source, name: str, suffixes: tuple[str, ...]) -> Path:
    """The regular file that a name is the path of.

    Raises InputError if the source's library is not installed or there is no such file, UsageError if its name ends
    otherwise.
    """
    path = Path(name).expanduser()
    if path.suffix not in suffixes:
        raise UsageError(f"{name!r}; expected {source.usage}")
    if source.installed is None:
        raise InputError(
            f"{name} needs {source.library}, which is not installed; pip install 'aliasing[{source.extra}]'"
        )
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file" if path.exists() else "not there"
        raise InputError(f"{path} is {what}; expected {source.usage}")
    return path


def label_of(given: str) -> tuple[str, str]:
    """``LABEL=NAME`` → the label and the name; without a label it is empty.

    A label has no colon, so what follows a source may contain ``=``. Raises UsageError if one side is empty.

    Examples
    --------
    >>> label_of("tuned=file:a=b.pt@torchvision:resnet18"), label_of("file:a=b.pt@torchvision:resnet18")
    (('tuned', 'file:a=b.pt@torchvision:resnet18'), ('', 'file:a=b.pt@torchvision:resnet18'))
    """
    label, equals, name = given.partition("=")
    if not equals or ":" in label:
        return "", given
    label = " ".join(label.split())
    if not label or not name:
        raise UsageError(f"{given!r}; expected LABEL=NAME, as in tuned=file:net.pth@torchvision:resnet18")
    return label, name


def split(name: str) -> tuple[str, str]:
    """A network's name → its source and the rest. A bare name belongs to the first source that knows it.

    Raises UsageError, with the nearest name, if there is no such source or none knows the bare name.

    Examples
    --------
    >>> split("timm:resnet50.a1_in1k"), split("resnet50")
    (('timm', 'resnet50.a1_in1k'), ('torchvision', 'resnet50'))
    """
    source, colon, rest = name.partition(":")
    if colon and source in SOURCES:
        if not rest:
            raise UsageError(f"{name!r} does not name a model; `aliasing models` lists what can be loaded")
        return source, rest
    if colon:
        nearest = did_you_mean(source, SOURCES) or f"; expected one of {', '.join(SOURCES)}"
        raise UsageError(f"{name!r}: no source {source!r}{nearest}")
    for candidate, kind in SOURCES.items():
        if kind.usage and Path(name).suffix and Path(name).suffix in kind.usage:
            raise UsageError(f"{name!r}: run by which library? give {candidate}:{name}")
    if name.endswith(_CHECKPOINT_SUFFIXES):
        raise UsageError(f"{name!r}: of which architecture? give file:{name}@torchvision:resnet50, for instance")
    for candidate, kind in SOURCES.items():
        if kind.knows and kind.knows(name):
            return candidate, name
    architecture = re.split("[.@]", name)[0]
    nearest = installed_as(name)
    for candidate, kind in SOURCES.items():
        known = list(kind.architectures()) if kind.architectures else []
        if architecture in known and not nearest:
            return candidate, name  # to be told which weights it has
        nearest = nearest or did_you_mean(architecture, known)
    raise UsageError(f"no model {name!r} in any source{nearest or '; `aliasing models` lists them'}")


def installed_as(name: str) -> str:
    """The end of a message if an installed network has this name in its source, perhaps with other dashes."""
    for kind in SOURCES.values():
        for model in kind.available() if kind.available else ():
            if model.installed and model.name.partition(":")[2] == name.replace("-", "_"):
                return f"; did you mean {model.name}?"
    return ""
