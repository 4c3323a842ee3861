"""The embedding is what the last layer sees."""

import pytest
import torch
from torch import nn

import aliasing as al
from aliasing.models import penultimate_features, penultimate_layer
from tests.model_files import LITES, tiny


def test_the_embedding_is_what_the_last_layer_sees(lites: dict[str, al.Classifier]) -> None:
    classifier = lites[LITES[0]]
    name = penultimate_layer(classifier)
    assert name == "classifier"
    batch = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = penultimate_features(classifier)(batch)
        assert features.shape == (2, 1280)
        assert torch.equal(classifier.module.get_submodule(name)(features), classifier.module(batch))
    assert not classifier.module.get_submodule(name)._forward_pre_hooks


@pytest.mark.parametrize(
    ("module", "layer", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 4)), "3", (5, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Linear(6, 4), nn.Identity(), nn.Dropout()), "2", (5, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU()), None, (5, 6)),  # its output is not the network's
        (nn.Conv2d(3, 7, 3), None, (5, 7)),  # a map: averaged over space
        (nn.Sequential(nn.Conv2d(3, 7, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), None, (5, 7)),
    ],
)
def test_where_the_embedding_is_taken(module: nn.Module, layer: str | None, shape: tuple[int, int]) -> None:
    classifier = tiny(module)
    assert penultimate_layer(classifier) == layer
    batch = torch.randn(5, 3, 8, 8)
    features = penultimate_features(classifier)(batch)
    assert features.shape == shape
    if isinstance(module, nn.Conv2d):
        torch.testing.assert_close(features, module(batch).mean((2, 3)))
