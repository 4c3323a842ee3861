"""Users' own networks: an object, or ``module:package.path:factory``.

A factory takes no arguments and returns an nn.Module, or a Classifier if the preprocessing is not ImageNet's.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import nn

from aliasing import own
from aliasing.errors import UsageError
from aliasing.models import from_timm
from aliasing.models.changes import ASSUMED, OF_SIGNALS, apply_changes, assumed_share, for_one_channel, try_out
from aliasing.models.checkpoints import Checkpoint, load_weights, strip_prefix
from aliasing.models.classifier import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AnyNetwork,
    Classifier,
    ShownNetwork,
    record_weights,
    require_weights,
)
from aliasing.models.declared import built_for, channels_of, first_convolution
from aliasing.models.signals import SignalNetwork
from aliasing.models.source import Source
from aliasing.sites.trace import runs
from aliasing.tables import pair

_SIDE = 224


def load(name: str, **changes: Any) -> ShownNetwork:
    """Call the factory and take its network with the weights that it has."""
    classifier = _build(name, changes)
    module_path = name.partition(":")[0]
    release = getattr(sys.modules.get(module_path.partition(".")[0]), "__version__", "unversioned")
    return _tried(record_weights(classifier, f"module:{name}", str(release)), changes)


def assemble(name: str, checkpoint: Checkpoint, **changes: Any) -> ShownNetwork:
    """Call the factory and load these weights into what it returns."""
    classifier = _build(name, changes)
    classifier = replace(classifier, origin={k: v for k, v in classifier.origin.items() if k == "name"})
    checkpoint = strip_prefix(checkpoint, classifier.module.state_dict())
    load_weights(classifier.module, checkpoint)
    return _tried(replace(classifier, notes=classifier.notes + checkpoint.notes), changes)


def from_object(module: nn.Module, **changes: Any) -> ShownNetwork:
    """Take a network that is there already."""
    kind = type(module)
    adopted = adopt(module, kind.__name__, changes)
    return _tried(record_weights(adopted, f"an object of {kind.__module__}.{kind.__qualname__}"), changes)


def _tried(classifier: AnyNetwork, changes: dict[str, Any]) -> AnyNetwork:
    """Somebody's own network has to answer one view, changed or not."""
    return apply_changes(classifier, changes) if changes else try_out(classifier)


def adopt(module: nn.Module, name: str, changes: Mapping[str, Any] = MappingProxyType({})) -> ShownNetwork:
    """Wrap a network with timm's preprocessing if timm built it, otherwise with ImageNet's, noted as assumed.

    One for which the changes state a rate, channels, or a size of one axis or three is a network of signals. Raises
    UsageError if it has no weights yet, or seems to be one and nothing is stated.
    """
    require_weights(module, name)
    size = changes.get("input_size")
    first = first_convolution(module)
    of_a_picture = isinstance(first, nn.Conv2d) and isinstance(size, Sequence) and [*size[:1]] == [first.in_channels]
    stated = isinstance(size, Sequence) and len(size) != 2 and not of_a_picture  # (channels, height, width) is refused
    begins = isinstance(first, nn.Conv1d | nn.Conv3d) and not from_timm.config_of(module)
    if stated or OF_SIGNALS & {*changes} or (begins and size is not None):
        return _of_signals(module, name, changes, first)
    if begins and not runs(module, assume(module, name, 3).blank()):
        like = "input_size=(8000,), rate=8000" if isinstance(first, nn.Conv1d) else "input_size=(64, 64, 64), rate=1"
        raise UsageError(
            f"{name} begins with a {type(first).__name__}, so it takes signals and not pictures: say which,"
            f" al.load_model(network, {like}), or measure it on such inputs, whose size and rate it then gets"
        )
    describe = from_timm.describe if from_timm.config_of(module) else assume
    classifier = describe(module, name, channels=3)
    if channels_of(module) == 1 and not runs(module, classifier.blank()):
        return describe(module, name, channels=1)
    return classifier


def _of_signals(
    module: nn.Module, name: str, changes: Mapping[str, Any], first: nn.Conv1d | nn.Conv2d | nn.Conv3d | None
) -> SignalNetwork:
    """A network of signals of the stated size and rate, with as many channels as its first convolution takes."""
    size, rate = changes.get("input_size"), changes.get("rate")
    if size is None:
        raise UsageError(f"{name} takes signals, of which size? give load_model input_size=(8000,), in samples")
    axes = len(rate) if isinstance(rate, Sequence) else len(first.kernel_size) if first is not None else 1
    if isinstance(size, Sequence) or isinstance(first, nn.Conv2d):
        sizes = tuple(size) if isinstance(size, Sequence) else (size,)
    else:
        sizes = (size,) * axes
    of_axes = first is not None and len(first.kernel_size) == len(sizes)
    channels = changes.get("channels", first.in_channels if first is not None and of_axes else 1)
    return SignalNetwork(module, name, sizes, channels, rate)


def assume(module: nn.Module, name: str, channels: int) -> Classifier:
    """ImageNet's preprocessing, at the size for which the network says it was built, otherwise at 224 pixels."""
    size = built_for(module) or (_SIDE, _SIDE)
    share = assumed_share(size)
    resized = math.floor(size[0] / share), math.floor(size[1] / share)
    notes = [f"{ASSUMED}: ImageNet's was assumed ({pair(resized)}, centre {pair(size)}, bilinear)"]
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if channels == 1:
        mean, std, note = for_one_channel(mean, std)
        notes.append(note)
    return Classifier(module, name, size, mean, std, "bilinear", resized, share, notes=tuple(notes))


def _build(name: str, changes: Mapping[str, Any]) -> ShownNetwork:
    asked = f"module:{name}"
    made = own.make(own.find(name, asked), asked)
    if isinstance(made, Classifier | SignalNetwork):
        require_weights(made.module, f"module:{name}")
        return replace(made, name=f"module:{name}", origin={**made.origin, "name": made.name})
    if isinstance(made, nn.Module):
        return adopt(made, f"module:{name}", changes)
    raise UsageError(f"module:{name} returned a {type(made).__name__}; expected an nn.Module or a Classifier")


SOURCE = Source(load=load, assemble=assemble)
