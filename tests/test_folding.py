"""Batch norms folded for evaluation: the same outputs, an untouched network, and nothing folded that may not be."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import aliasing as al
from aliasing.surgery.folding import Nothing, fold_batch_norms

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


class Pair(nn.Module):
    """A convolution and its batch norm, both run once, and what a subclass makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ReadTwice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        return self.norm(maps) + maps


class NormTwice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(self.conv(x)))


class ConvTwice(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x)


class Standardised(Pair):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight / self.conv.weight.std((1, 2, 3), keepdim=True)
        return self.norm(F.conv2d(x, weight, self.conv.bias))


class ByValue(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.mean()) < 100 else x[:, :1].expand(-1, 4, -1, -1)


class Returned(Pair):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.conv(x)
        return self.norm(maps), maps


class Between(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu())


class ByBatch(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)


class Huge(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.norm.running_var.fill_(1e-30)
        self.norm.eps = 0.0
        with torch.no_grad():
            self.norm.weight.fill_(1e30)


class OverTokens(nn.Module):
    """A batch norm over as many tokens as the linear layer has features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 16), nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x.flatten(2)[..., :16].transpose(1, 2)))


class Direct(Pair):
    """No call of a module: only of functions, on its own weights."""

    def forward(self, x: Tensor) -> Tensor:
        maps = F.conv2d(x, self.conv.weight, bias=self.conv.bias, stride=2)
        return F.batch_norm(maps, self.norm.running_mean, self.norm.running_var, weight=self.norm.weight)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(Pair, 1), (Direct, 1)]
    + [
        (kind, 0)
        for kind in (
            ReadTwice,
            NormTwice,
            ConvTwice,
            Standardised,
            ByValue,
            Returned,
            Between,
            ByBatch,
            Huge,
            OverTokens,
        )
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_only_what_is_provably_the_same_is_folded(kind: type[nn.Module], count: int) -> None:
    torch.manual_seed(0)
    module = kind()
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            norm.running_mean.normal_()
    module.eval()
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(module, images)
    assert folded_in(folded) == count
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
    module = shake(Pair())
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(module, images).double()
    torch.testing.assert_close(folded(images.double()).float(), module(images), atol=1e-5, rtol=1e-5)
    assert {weight.dtype for weight in folded.state_dict().values()} >= {torch.float64}
    assert module.conv.weight.dtype == torch.float32
