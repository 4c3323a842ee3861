"""Batch norms folded for evaluation: the same outputs, an untouched network, and nothing folded that may not be."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import aliasing as al
from aliasing.surgery.folding import Nothing, fold_batch_norms
from tests.networks import Net

# How many batch norms are folded, of how many: those that follow something else than a convolution stay.
NETWORKS = {
    "torchvision:resnet18": (20, 20),
    "torchvision:densenet121": (59, 121),
    "torchvision:mobilenet_v2": (52, 52),
    "torchvision:vgg11_bn": (8, 8),
    "torchvision:shufflenet_v2_x0_5": (56, 56),
    "torchvision:regnet_y_400mf": (53, 53),
    "torchvision:mnasnet0_5": (52, 52),
    "torchvision:efficientnet_b0": (49, 49),
    "timm:resnet10t": (14, 14),
    "timm:resnetv2_50": (32, 49),  # its weights are standardised in some: those stay
    "timm:repvgg_a0": (44, 61),
    "timm:levit_128s": (4, 52),  # linear layers over tokens: the batch norm's axis is not theirs
    "timm:hrnet_w18_small": (91, 91),
    "pypi:efficientnet_lite0": (49, 49),
    "pypi:efficientnet_lite1": (64, 64),
    "pypi:efficientnet_lite2": (64, 64),
    "antialiased:binomial4:pypi:efficientnet_lite0": (45, 49),  # a blur stands behind the others
}


def build(name: str) -> nn.Module:
    source, _, architecture = name.partition(":")
    if source == "torchvision":
        return torchvision.models.get_model(architecture, weights=None)
    if source == "timm":
        return timm.create_model(architecture, pretrained=False)
    return copy.deepcopy(al.load_model(name).module)


def shake(module: nn.Module) -> nn.Module:
    """Statistics and affine maps that are far from doing nothing."""
    random = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.copy_(0.3 * torch.randn(norm.num_features, generator=random))
            norm.running_var.copy_(0.5 + torch.rand(norm.num_features, generator=random))
            with torch.no_grad():
                norm.weight.copy_(0.5 + torch.rand(norm.num_features, generator=random))
                norm.bias.copy_(0.3 * torch.randn(norm.num_features, generator=random))
    return module.eval()


def folded_in(module: nn.Module) -> int:
    return sum(isinstance(part, Nothing) for part in module.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_changes_an_output_by_rounding_only(name: str) -> None:
    """In double precision, where a wrong formula cannot hide: float32 differs by some 20 units of 6e-8 in the output's
    own scale in these networks, so double differs by about 20 of 1e-16; 1e-12 leaves three digits for chance."""
    module = shake(build(name)).double()
    size = 224 if "levit" in name else 64
    images = torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        before = module(images)
        folded = fold_batch_norms(module, images)
        after = folded(images)
        assert torch.equal(module(images), before)
    assert float((after - before).abs().max() / before.std()) < 1e-12
    total = sum(isinstance(part, _BatchNorm) for part in module.modules())
    assert (folded_in(folded), total) == NETWORKS[name]
    # The network itself is what it was: modules, weights, and nothing that stands in place of its forward.
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())
    assert not any("forward" in vars(part) for part in module.modules()) or name.startswith("antialiased")


def test_float32_is_as_near_to_the_truth_folded_as_not() -> None:
    module = shake(build("torchvision:resnet18"))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        folded = fold_batch_norms(module, images)(images)
        plain = module(images)
        exact = module.double()(images.double())
    assert float((folded - exact).abs().max()) < 4 * float((plain - exact).abs().max())


def both(net: Any, x: Tensor) -> Any:
    return net.norm(net.conv(x))


def pair(way: Callable[[Any, Tensor], Any] = both) -> Any:
    """A convolution and its batch norm, both run once or in a way of their own."""
    return Net(way, conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))


def read_twice(net: Any, x: Tensor) -> Any:
    maps = net.conv(x)
    return net.norm(maps) + maps


def standardised(net: Any, x: Tensor) -> Any:
    weight = net.conv.weight / net.conv.weight.std((1, 2, 3), keepdim=True)
    return net.norm(F.conv2d(x, weight, net.conv.bias))


def returned(net: Any, x: Tensor) -> Any:
    maps = net.conv(x)
    return net.norm(maps), maps


def direct(net: Any, x: Tensor) -> Any:
    """No call of a module: only of functions, on its own weights."""
    maps = F.conv2d(x, net.conv.weight, bias=net.conv.bias, stride=2)
    return F.batch_norm(maps, net.norm.running_mean, net.norm.running_var, weight=net.norm.weight)


PAIRS: dict[str, Callable[[Any, Tensor], Any]] = {
    "both": both,
    "direct": direct,
    "read twice": read_twice,
    "norm twice": lambda net, x: net.norm(net.norm(net.conv(x))),
    "convolution twice": lambda net, x: net.norm(net.conv(x)) + net.conv(x),
    "standardised": standardised,
    "by value": lambda net, x: both(net, x) if float(x.mean()) < 100 else x[:, :1].expand(-1, 4, -1, -1),
    "returned": returned,
    "something between": lambda net, x: net.norm(net.conv(x).relu()),
    "by batch": both,
    "huge": both,
    # Over as many tokens as the linear layer has features.
    "over tokens": lambda net, x: net.norm(net.conv(x.flatten(2)[..., :16].transpose(1, 2))),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_only_what_is_provably_the_same_is_folded(kind: str) -> None:
    torch.manual_seed(0)
    module = pair(PAIRS[kind])
    if kind == "by batch":
        module.norm = nn.BatchNorm2d(4, track_running_stats=False)
    elif kind == "over tokens":
        module.conv, module.norm = nn.Linear(3, 16), nn.BatchNorm1d(16)  # type: ignore[assignment]
    elif kind == "huge":
        module.norm.running_var.fill_(1e-30)
        module.norm.weight.data.fill_(1e30)
        module.norm.eps = 0.0
    if module.norm.running_mean is not None:
        module.norm.running_mean.normal_()
    module.eval()
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(module, images)
    assert folded_in(folded) == (kind in ("both", "direct"))
    with torch.no_grad():
        for before, after in zip(module(images), folded(images), strict=True):
            # Values of order one, a few roundings of 6e-8 each.
            torch.testing.assert_close(after, before, atol=2e-6, rtol=1e-5, equal_nan=True)


def test_linear_layers_and_one_dimensional_convolutions_are_folded_too() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5), nn.Flatten(), nn.Linear(310, 7), nn.BatchNorm1d(7)
    )
    images = torch.randn(4, 3, 8, 8)
    shake(module)
    folded = fold_batch_norms(module, images)
    assert folded_in(folded) == 2
    torch.testing.assert_close(folded(images), module(images), atol=1e-5, rtol=1e-5)


def test_the_copy_moves_to_another_type_with_all_its_weights() -> None:
    module = shake(pair())
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(module, images).double()
    torch.testing.assert_close(folded(images.double()).float(), module(images), atol=1e-5, rtol=1e-5)
    assert {weight.dtype for weight in folded.state_dict().values()} >= {torch.float64}
    assert module.conv.weight.dtype == torch.float32
