"""Every classification network of torchvision and one of each timm family can be looked at, block by block."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

import aliasing as al
from aliasing.depth import feature_maps
from aliasing.depth.dense import places
from aliasing.depth.layers import choose_layers
from aliasing.sites.find import probe_of
from aliasing.sites.trace import record_calls

TORCHVISION = torchvision.models.list_models(module=torchvision.models)
IN_CI = ["resnet18", "vgg11", "densenet121", "swin_t", "vit_b_32", "efficientnet_b0", "shufflenet_v2_x0_5"]


def families() -> Iterator[str]:
    """The smallest network, by its name's length, of each of timm's modules."""
    for module in timm.list_modules():
        names = [name for name in timm.list_models(module=module) if not re.search("huge|giant|large", name)]
        if names:
            yield min(names, key=lambda name: (len(name), name))


def geometry_of(module: nn.Module) -> None:
    """Layers, sites and the layers to draw, on the meta device: no weights, no arithmetic."""
    module, example = probe_of(module, None)
    record = record_calls(module, example)
    layers = choose_layers(record)
    assert layers[-1].form in ("vector", "tokens", "map")
    assert len(choose_layers(record, "leaves")) >= len(layers) / 2
    for layer in layers:
        if layer.is_map:
            assert layer.stride is not None, layer
            # The grid covers the image, but for what a convolution without padding loses at its border.
            for cells, step, size in zip(layer.cells, layer.stride, example.shape[-2:], strict=True):
                assert 0.5 < cells * step / size <= 1.5, layer
    assert all(place.site.stride != (1, 1) for place in places(module, record))
    assert feature_maps.choose_layers(module, example)


def build(name: str) -> nn.Module:
    """With random weights; on the meta device where it can be built there."""
    try:
        with torch.device("meta"):
            return make(name)
    except (NotImplementedError, RuntimeError):
        return make(name)


def make(name: str) -> nn.Module:
    source, _, architecture = name.partition(":")
    if source == "timm":
        return timm.create_model(architecture).eval()
    options: dict[str, Any] = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(architecture, weights=None, **options).eval()


@pytest.mark.parametrize("name", IN_CI)
def test_the_geometry_of_a_few_networks_of_torchvision(name: str) -> None:
    geometry_of(build(f"torchvision:{name}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_the_geometry_of_every_network_of_torchvision(name: str) -> None:
    geometry_of(build(f"torchvision:{name}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", families())
def test_the_geometry_of_one_network_of_each_timm_family(name: str) -> None:
    geometry_of(build(f"timm:{name}"))


@pytest.mark.parametrize("name", ["torchvision:swin_t", "timm:vit_tiny_patch16_224", "torchvision:mobilenet_v3_small"])
def test_networks_of_every_kind_are_measured(name: str) -> None:
    """Random weights: whether it runs, not what it finds."""
    module = make(name)
    photograph = np.random.default_rng(0).integers(0, 256, (230, 230, 3), dtype=np.uint8)
    (network,) = al.probe_depth(module, [photograph]).summary()["models"].values()
    assert network["images"] == 1
    for layer in network["layers"]:
        assert layer["relative_change"] is not None, layer
        assert (layer["equivariance_error"] is not None) == (layer["margin"] is not None), layer
        assert layer["note"]
    for site in network["sites"]:
        assert site["alias_fraction"] is not None or "not measured" in site["note"], site


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(f"torchvision:{name}" for name in TORCHVISION), *(f"timm:{n}" for n in families())])
def test_every_network_is_measured(name: str) -> None:
    module = make(name)
    if sum(parameter.numel() for parameter in module.parameters()) > 150e6:
        pytest.skip("too large for a test; its geometry is tested")
    photograph = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    (network,) = al.probe_depth(module, [photograph]).summary()["models"].values()
    assert network["images"] + len(network["not_finite"]) == 1
    assert network["layers"]
