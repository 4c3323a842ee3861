"""What is this network, and how was it meant to see a photograph?

``load_model`` turns a name, or a network of one's own, into a ``Classifier``: the network together with its input
size, mean, std, interpolation, resize size, crop mode, labels and where its weights come from.

==================================== ======================================================================
``torchvision:resnet50``             torchvision's first weights (V1); ``….IMAGENET1K_V2`` for others
``timm:resnet50.a1_in1k``            timm's, with its data configuration; ``…@test`` at its size for testing
``pypi:efficientnet_lite0``          weights installed by pip
``file:PATH@torchvision:resnet50``   a local .pth, .pt or .safetensors for an architecture
``module:package.path:factory``      one's own network, or its architecture in ``file:PATH@module:…``
``antialiased:binomial4:resnet50``   any of these, anti-aliased (see `aliasing.surgery.specification`)
``resnet50``                         looked up in torchvision, then in timm
==================================== ======================================================================

Nothing else in the project knows where weights come from.
"""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from aliasing.errors import UsageError
from aliasing.models.catalogue import AvailableModel
from aliasing.models.changes import apply_changes, require_known, size_of
from aliasing.models.checkpoints import read_checkpoint
from aliasing.models.classifier import Classifier, record_weights
from aliasing.models.embedding import penultimate_features, penultimate_layer
from aliasing.registry import did_you_mean

__all__ = [
    "AvailableModel",
    "Classifier",
    "available_models",
    "load_model",
    "penultimate_features",
    "penultimate_layer",
]

_SOURCES = ("pypi", "torchvision", "timm")
_ARCHITECTURES = ("torchvision", "timm", "pypi", "module")
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")
_VARIANT = "@test"


def load_model(model: str | nn.Module | Classifier, **changes: Any) -> Classifier:
    """Load a network with its weights and its preprocessing.

    Parameters
    ----------
    model : str, torch.nn.Module or Classifier
        A name as in the table above, which is loaded in evaluation mode; or a network of one's own, which is left in
        the mode that it is in (measuring puts a copy into evaluation mode) and, unless timm built it, taken to want
        ImageNet's preprocessing (the classifier's notes say so); or a Classifier, returned as it is where nothing is
        changed.
    **changes
        What is other than the model says: ``input_size``, ``mean``, ``std``, ``interpolation``, ``resize_size``,
        ``crop_mode``, ``crop_share``, ``labels``, ``scale`` and ``name``, each as in `Classifier`. A network of timm's
        that is built for one size is built for the ``input_size`` that is given. Where ``resize_size`` is not given,
        the share of the photograph that is seen stays what it was.

    Returns
    -------
    Classifier

    Raises
    ------
    UsageError
        If there is no such name (the message has the nearest), or the network does not answer what it would be shown.
    InputError
        If the weights cannot be had, be read, or be loaded into the architecture.

    Examples
    --------
    >>> classifier = load_model("pypi:efficientnet_lite0")
    >>> classifier.input_size, classifier.resize_size, classifier.interpolation, classifier.labels[258]
    (224, 256, 'bicubic', 'Samoyed, Samoyede')
    >>> own = nn.Sequential(nn.Conv2d(1, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> classifier = load_model(own, input_size=(32, 48), mean=(0.5,), std=(0.5,))
    >>> classifier.input_size, classifier.resize_size, classifier.channels
    ((32, 48), (36, 54), 1)
    """
    require_known(changes)
    if isinstance(model, Classifier):
        classifier = model if model.origin else record_weights(model, f"the object {model.name}")
        return apply_changes(classifier, changes) if changes else classifier
    if isinstance(model, nn.Module):
        kind = type(model)
        adopted: Classifier = _source("module").adopt(model, kind.__name__)
        return apply_changes(record_weights(adopted, f"an object of {kind.__module__}.{kind.__qualname__}"), changes)
    if not isinstance(model, str):
        raise UsageError(f"got a {type(model).__name__}; expected a model's name, an nn.Module or a Classifier")
    source, name = _split(model)
    loaded: Classifier
    if source == "file":
        loaded = _load_file(name, changes)
    elif source == "antialiased":
        loaded = _source(source).load(name, **changes)
    else:
        loaded = _source(source).load(name, size_of(changes))
        loaded = apply_changes(loaded, changes) if changes or source == "module" else loaded
    loaded.module.eval()
    return loaded


def available_models(pattern: str = "*") -> Iterator[AvailableModel]:
    """List the networks that can be loaded by name alone: PyPI's, torchvision's, timm's.

    Parameters
    ----------
    pattern : str
        A shell pattern for the name, with or without its source and tag ("timm:resnet*", "vgg1?"); or a part of the
        name, where it holds no ``*`` or ``?``.

    Yields
    ------
    AvailableModel

    Examples
    --------
    >>> [model.name for model in available_models("pypi:*lite2")]
    ['pypi:efficientnet_lite2']
    >>> [model.name for model in available_models("torchvision:vgg1[69]")]
    ['torchvision:vgg16.IMAGENET1K_V1', 'torchvision:vgg16.IMAGENET1K_FEATURES', 'torchvision:vgg19.IMAGENET1K_V1']
    """
    if not set(pattern) & set("*?["):
        pattern = f"*{pattern}*"
    prefix = pattern.partition(":")[0]
    for source in [prefix] if prefix in _SOURCES else _SOURCES:
        for model in _source(source).available():
            if _matches(model.name, pattern):
                yield model


def _matches(name: str, pattern: str) -> bool:
    """Whether a name matches, with or without its source and its tag."""
    untagged = name.partition(".")[0]
    forms = (name, untagged, name.partition(":")[2], untagged.partition(":")[2])
    return any(fnmatchcase(form, pattern) for form in forms)


def _load_file(name: str, changes: dict[str, Any]) -> Classifier:
    """``PATH@ARCHITECTURE`` → the architecture with the weights in that file."""
    path, _, architecture = name.removesuffix(_VARIANT).rpartition("@")
    if not path or not architecture:
        raise UsageError(f"file:{name}; expected file:PATH@ARCHITECTURE, as in file:weights.pth@torchvision:resnet50")
    source, architecture_name = _split(architecture + (_VARIANT if name.endswith(_VARIANT) else ""))
    if source not in _ARCHITECTURES:
        raise UsageError(f"file:{name}: {source}: is no source of architectures; expected {', '.join(_ARCHITECTURES)}")
    checkpoint = read_checkpoint(Path(path).expanduser())
    loaded: Classifier = _source(source).assemble(architecture_name, checkpoint, size_of(changes))
    loaded = record_weights(replace(loaded, name=f"file:{path}@{loaded.name}"), path)
    loaded = apply_changes(loaded, changes) if changes or source == "module" else loaded
    converted: Classifier = _source("antialiased").reapply(loaded, Path(path).expanduser())
    return converted


def _split(name: str) -> tuple[str, str]:
    """A model's name → its source and the rest; a bare name is torchvision's if it is there, else timm's."""
    source, colon, rest = name.partition(":")
    if colon and source in (*_SOURCES, "antialiased", "file", "module"):
        if not rest:
            raise UsageError(f"{name!r} names no model; `aliasing models` lists what can be loaded")
        return source, rest
    if colon:
        known = "torchvision, timm, pypi, file or module, or antialiased:FILTER:MODEL"
        raise UsageError(f"{name!r}: no source {source!r}; expected {known}")
    if name.endswith(_CHECKPOINT_SUFFIXES):
        raise UsageError(f"{name!r}: of which architecture? give file:{name}@torchvision:resnet50, for instance")
    architecture = name.partition(".")[0].removesuffix(_VARIANT)
    for candidate in ("torchvision", "timm"):
        if _source(candidate).knows(name):
            return candidate, name
    for candidate in ("torchvision", "timm"):
        if architecture in _source(candidate).architectures():
            return candidate, name  # to be told which weights it has
    names = [*_source("torchvision").architectures(), *(model.name for model in _source("pypi").available())]
    nearest = did_you_mean(architecture, names) or did_you_mean(architecture, _source("timm").architectures())
    raise UsageError(f"no model {name!r} in torchvision or timm{nearest or '; `aliasing models` lists them'}")


def _source(name: str) -> Any:
    """The module for a source, loaded when it is first needed: timm alone takes seconds."""
    return import_module(f"aliasing.models.from_{name}")
