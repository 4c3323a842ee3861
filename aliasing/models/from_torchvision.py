"""torchvision's classifiers, segmentation networks and detectors: ``torchvision:resnet50.IMAGENET1K_V1``.

Without a suffix they have the V1 weights, which the papers measured. Segmentation networks and detectors are made for
photographs of any shape, and are shown the centre square here; a detector's own resizing, which has no low-pass, then
has nothing to do.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import torchvision
from torch import nn

from aliasing.errors import UsageError
from aliasing.models.changes import apply_changes
from aliasing.models.checkpoints import (
    Checkpoint,
    classes_in,
    load_weights,
    read_checkpoint,
    rename,
    strip_prefix,
    with_notes,
)
from aliasing.models.classifier import Classifier, record_weights
from aliasing.models.downloads import cached_file, fetch
from aliasing.models.source import AvailableModel, Source
from aliasing.registry import did_you_mean

_FIRST = "IMAGENET1K_V1"
# These two rescale their inputs themselves and have auxiliary heads that only training uses.
_WITHOUT_HEADS = {"transform_input": True, "aux_logits": False, "init_weights": False}
_BUILD_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": _WITHOUT_HEADS, "inception_v3": _WITHOUT_HEADS}
# Their auxiliary heads are in the files.
_SEGMENTATION = {
    name: {"weights_backbone": None, **({} if name.startswith("lraspp") else {"aux_loss": True})}
    for name in torchvision.models.list_models(module=torchvision.models.segmentation)
}
_DETECTION: dict[str, dict[str, Any]] = {
    name: {"weights_backbone": None} for name in torchvision.models.list_models(module=torchvision.models.detection)
}
_BUILD_OPTIONS |= _SEGMENTATION | _DETECTION
_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
# The published DenseNets still use the names of an older torch, "denselayer1.norm.1.weight".
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$")


@cache
def architectures() -> tuple[str, ...]:
    """The names of torchvision's classifiers, segmentation networks and detectors."""
    return (*torchvision.models.list_models(module=torchvision.models), *_SEGMENTATION, *_DETECTION)


def knows(name: str) -> bool:
    """Whether torchvision has this architecture, and weights under this suffix if one is given."""
    architecture, _, suffix = name.partition(".")
    if architecture not in architectures():
        return False
    return not suffix or suffix in torchvision.models.get_model_weights(architecture).__members__


def available() -> Iterator[AvailableModel]:
    """Every set of weights of every network."""
    for architecture in architectures():
        for weights in torchvision.models.get_model_weights(architecture):
            name = f"torchvision:{architecture}.{weights.name}"
            yield AvailableModel(name, weights.url, cached_file(weights.url) is not None)


def load(name: str, **changes: Any) -> Classifier:
    """Load a network with its published weights, from torch.hub's cache or a download."""
    architecture, weights = _resolve(name)
    path = fetch(weights.url, f"torchvision:{architecture}.{weights.name}")
    classifier = _load_state(architecture, weights, read_checkpoint(path))
    return apply_changes(record_weights(classifier, weights.url, weights.name), changes)


def assemble(name: str, checkpoint: Checkpoint, **changes: Any) -> Classifier:
    """Build the architecture with these weights, and the preprocessing of the published ones of that name."""
    return apply_changes(_load_state(*_resolve(name), checkpoint), changes)


def _resolve(name: str) -> tuple[str, Any]:
    """``resnet50.IMAGENET1K_V2`` → the architecture and the member of its weights enum."""
    architecture, _, suffix = name.partition(".")
    if architecture not in architectures():
        nearest = did_you_mean(architecture, architectures()) or "; `aliasing models torchvision:` lists them"
        raise UsageError(f"torchvision has no network {architecture!r}{nearest}")
    weights = torchvision.models.get_model_weights(architecture)
    if not suffix:
        # Two networks have no V1: their default is the only one, or there is also a linear probe.
        suffix = _FIRST if _FIRST in weights.__members__ else weights.DEFAULT.name
    if suffix not in weights.__members__:
        known = ", ".join(weights.__members__)
        raise UsageError(f"torchvision:{architecture} has no weights {suffix!r}; it has {known}")
    return architecture, weights[suffix]


def _load_state(architecture: str, weights: Any, checkpoint: Checkpoint) -> Classifier:
    options = _BUILD_OPTIONS.get(architecture, {})
    module: nn.Module = torchvision.models.get_model(architecture, weights=None, **options)
    checkpoint = _modernise(architecture, strip_prefix(checkpoint, module.state_dict()))
    classes = classes_in(checkpoint, module.state_dict())
    if classes is not None:
        module = torchvision.models.get_model(architecture, weights=None, num_classes=classes, **options)
    load_weights(module, checkpoint)
    return with_notes(describe(module.eval(), architecture, weights), checkpoint, classes)


def describe(module: nn.Module, architecture: str, weights: Any) -> Classifier:
    """Read the preprocessing of published weights from torchvision's transform for them."""
    preset = weights.transforms()
    categories = weights.meta.get("categories")
    name = f"torchvision:{architecture}.{weights.name}"
    if architecture in _DETECTION:  # it normalises and resizes by itself
        transform: Any = module.transform
        side, labels = transform.min_size[-1], tuple(categories) if categories else None
        notes = (f"it resizes a view that is not {side} pixels by itself, bilinearly and without a low-pass",)
        return Classifier(module, name, side, (0.0,) * 3, (1.0,) * 3, "bilinear", side, 1.0, labels, notes=notes)
    (resize_size,) = preset.resize_size
    (input_size,) = getattr(preset, "crop_size", [resize_size])
    return Classifier(
        module,
        name,
        input_size=input_size,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
        resize_size=resize_size,
        crop_share=input_size / resize_size,
        labels=tuple(categories) if categories else None,
    )


def _modernise(architecture: str, checkpoint: Checkpoint) -> Checkpoint:
    """Published names → current ones, without the heads that only training uses."""
    if _BUILD_OPTIONS.get(architecture) is _WITHOUT_HEADS:
        return rename(checkpoint, lambda key: None if key.startswith(_AUXILIARY_HEADS) else key)
    if architecture.startswith("densenet"):
        return rename(checkpoint, lambda key: _OLD_DENSENET_NAME.sub(r"\1\2", key))
    return checkpoint


SOURCE = Source(load=load, available=available, architectures=architectures, knows=knows, assemble=assemble)
