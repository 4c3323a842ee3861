"""Whatever subsamples is found, and known by what it computes: not by the name of an attribute or a class."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import Net, difference, image, randomise
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

import aliasing as al
from aliasing.errors import UsageError
from aliasing.sites import find_sites

IMAGE = torch.zeros(1, 3, 64, 64)


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A function of an image's map of 4 channels."""
    return Net(lambda net, x: function(net.conv(x)), conv=nn.Conv2d(3, 4, 3, padding=1))


def every(y: Tensor) -> Tensor:
    return torch.arange(0, y.shape[-1], 2, device=y.device)


SLICES: dict[str, tuple[Callable[[Tensor], Tensor], list[tuple[int, int]]]] = {
    "rows": (lambda y: y[:, :, ::2, :], [(2, 1)]),
    "rows, the rest left out": (lambda y: y[:, :, ::2], [(2, 1)]),
    "columns": (lambda y: y[..., 1::3], [(1, 3)]),
    "rows, then columns": (lambda y: y[:, :, ::2][:, :, :, ::2], [(2, 1), (1, 2)]),
    "columns, then rows": (lambda y: y[..., ::2][:, :, ::4], [(1, 2), (4, 1)]),
    "channels last": (lambda y: y.permute(0, 2, 3, 1)[:, ::2], [(2, 1)]),
    "transposed": (lambda y: y.transpose(1, 3)[:, ::2], [(1, 2)]),
    "moved": (lambda y: y.movedim(1, -1)[:, :, ::2], [(1, 2)]),
    "with channels too": (lambda y: y[:, ::2, ::2, ::2], [(2, 2)]),
    "behind channels that change places": (
        lambda y: y.view(1, 2, 2, 64, 64).transpose(1, 2).reshape(1, 4, 64, 64)[:, :, ::2],
        [(2, 1)],
    ),
    "behind a sum": (lambda y: (y + y.mean(1, keepdim=True))[:, :, ::2], [(2, 1)]),
}


@pytest.mark.parametrize("name", SLICES)
@torch.no_grad()
def test_slices_along_any_axis_of_space_are_sites_and_are_treated(name: str) -> None:
    function, strides = SLICES[name]
    network, x = between(function).double(), image(64)
    sites = find_sites(network, x)
    assert [(site.kind, site.status, site.stride) for site in sites] == [
        ("slicing", "subsamples", stride) for stride in strides
    ]
    down, across = sites[-1].cumulative_stride
    assert down * across == torch.tensor(strides).prod()
    same = al.antialias(network, taps=[1.0], scheme="all", example_input=x)
    assert torch.equal(same(x), network(x))
    blurred = al.antialias(network, taps="binomial3", scheme="all", example_input=x)
    assert blurred(x).shape == network(x).shape
    assert difference(blurred(x), network(x)) > 0.01


def test_a_list_of_points_is_no_map() -> None:
    """The values at some places, as a detector reads off its key points: nothing is left that could alias."""

    points = Net(lambda _, x: x[:, :, every(x), every(x)].mean(2))
    assert al.find_sites(points, torch.zeros(1, 3, 64, 64)) == []


def test_what_stands_before_the_first_convolution_may_make_channels() -> None:
    """As timm's TResNets do: the probe has the channels of a picture, not of the convolution."""
    network = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3, stride=2), nn.AdaptiveAvgPool2d(1))
    assert "convolution" in [site.kind for site in al.find_sites(network)]


@pytest.mark.parametrize(
    ("function", "kind", "stride", "reason"),
    [
        (lambda y: y.index_select(2, every(y)), "indexing", (2, 1), "picked by an index"),
        (lambda y: torch.index_select(y, -1, every(y)), "indexing", (1, 2), "picked by an index"),
        (lambda y: y[:, :, every(y)], "indexing", (2, 1), "picked by an index"),
        (lambda y: y[:, :, every(y)[:, None], every(y)], "indexing", (2, 2), "picked by an index"),
        (lambda y: y[:, :, list(range(0, 64, 2))], "indexing", (2, 1), "picked by an index"),
        (lambda y: y.unfold(3, 1, 2), "unfolding", (1, 2), "gaps"),
        (lambda y: y[0, :, ::2, ::2], "slicing", (2, 2), "single positions"),
        (lambda y: y[:, :, ::2, 0], "slicing", (2, 1), "single positions"),
        (lambda y: y.reshape(1, 4, 32, 2, 32, 2).amax((3, 5)), "amax of cells", (2, 2), "reshape"),
        (lambda y: y.view(1, 4, 32, 2, 32, 2).mean(5).mean(3), "mean of cells", (2, 2), "reshape"),
        (lambda y: y.view(1, 4, 32, 2, 32, 2)[:, :, :, 0, :, 0], "slice of cells", (2, 2), "reshape"),
        (lambda y: F.lp_pool2d(y, 2, 2), "norm pooling", (2, 2), "LPPool"),
        (lambda y: F.lp_pool2d(y, 2, 3, stride=2), "norm pooling", (2, 2), "LPPool"),
        (lambda y: F.max_pool2d(y, 2, return_indices=True)[0], "max pooling", (2, 2), "indices"),
        (lambda y: F.fractional_max_pool2d(y, 2, 32), "fractional_max_pool2d", (2, 2), "dense"),
        (lambda y: F.max_pool1d(y.flatten(2), 2), "max pooling", (2,), "flattened map"),
        (lambda y: F.lp_pool1d(y.flatten(2), 2, 2), "norm pooling", (2,), "LPPool"),
        (lambda y: F.interpolate(y.flatten(2), scale_factor=0.5), "interpolation (nearest)", (2,), "flattened map"),
        (lambda y: F.adaptive_avg_pool1d(y.flatten(2), 512), "adaptive pooling", (8,), "flattened map"),
        (lambda y: F.avg_pool3d(y[None], (2, 4, 4)), "average pooling", (2, 4, 4), "also runs along axes"),
        (lambda y: F.lp_pool3d(y[None], 2, 2), "norm pooling", (2, 2, 2), "LPPool"),
    ],
)
def test_what_is_found_and_not_treated_says_why(
    function: Callable[[Tensor], Tensor], kind: str, stride: tuple[int, ...], reason: str
) -> None:
    network = between(function)
    sites = find_sites(network, IMAGE)
    assert [(site.kind, site.stride, site.status) for site in sites] == [(kind, stride, "unsupported")]
    assert reason in sites[0].note
    with pytest.raises(UsageError, match="downsamples only where antialias does not reach") as caught:
        al.antialias(network, example_input=IMAGE)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y[:, ::2],
        lambda y: y.permute(0, 2, 3, 1)[..., ::2],
        lambda y: y.index_select(1, every(y)[:2]),
        lambda y: y.index_select(2, every(y).repeat(2)),
        lambda y: y[:, :, 8:-8, 8:-8],
        lambda y: torch.cat([y[:, :, ::2], y[:, :, 1::2]], 1),
        lambda y: y.unfold(1, 1, 2),
        lambda y: y.flatten(2).transpose(1, 2)[:, 1:],
    ],
    ids=["channels", "channels, last", "some channels", "a permutation", "a crop", "both phases", "windows", "tokens"],
)
def test_what_keeps_every_position_is_no_site(function: Callable[[Tensor], Tensor]) -> None:
    assert find_sites(between(function), IMAGE) == []


@pytest.mark.parametrize(
    ("network", "example", "reason"),
    [
        (nn.LPPool1d(2, 2), torch.zeros(1, 3, 32), "LPPool"),
        (nn.MaxPool3d(2, return_indices=True), torch.zeros(1, 3, 8, 8, 8), "indices"),
    ],
    ids=["norm pooling of a sound", "maximum of a volume with indices"],
)
def test_a_network_with_nothing_else_is_not_said_to_be_without_sites(
    network: nn.Module, example: Tensor, reason: str
) -> None:
    (site,) = find_sites(network, example)
    assert site.status == "unsupported"
    with pytest.raises(UsageError, match=rf"{reason}.*; see find_sites"):
        al.antialias(network, example_input=example)


# --- known by what is computed ------------------------------------------------------------------------------------


class Named(nn.Module):
    """The same layers, under a name of ``pool``."""

    def __init__(self, pool: str, layer: nn.Module, activation: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.activation, self.pool = nn.Conv2d(3, 4, 3, padding=1), activation or nn.Identity(), pool
        self.add_module(pool, layer)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.pool)(self.activation(self.conv(x)))


@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.SiLU()], ids=str)
@pytest.mark.parametrize("layer", [nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)], ids=str)
def test_a_name_says_nothing(layer: nn.Module, activation: nn.Module | None) -> None:
    statuses, outputs = set(), []
    for name in ("maxpool", "aa", "conv_down", "average"):
        network = Named(name, layer, activation)
        (site,) = find_sites(network, IMAGE)
        statuses.add((site.kind, site.status, site.note))
        if site.status == "subsamples":
            outputs.append(al.antialias(network, example_input=IMAGE)(image(65).float()))
    assert len(statuses) == 1
    assert all(torch.equal(output, outputs[0]) for output in outputs)


class MyResNet(torchvision.models.ResNet):
    """A subclass of one's own."""


class Backbone(nn.Module):
    """A ResNet's layers under other names in a class of one's own."""

    def __init__(self, network: torchvision.models.ResNet) -> None:
        super().__init__()
        self.begin = nn.Sequential(network.conv1, network.bn1, network.relu)
        self.reduce = network.maxpool
        self.blocks = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.reduce(self.begin(x)))
        return y


def resnet(block: Any = torchvision.models.resnet.BasicBlock, kind: Any = torchvision.models.ResNet) -> nn.Module:
    return randomise(kind(block, [1, 1, 1, 1]))


@pytest.mark.parametrize("block", [torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck])
@torch.no_grad()
def test_a_resnet_is_one_whatever_its_class_is_called(block: Any) -> None:
    x = image(65, dtype=torch.float32)
    plain, own = resnet(block), resnet(block, MyResNet)
    own.load_state_dict(plain.state_dict())
    backbone = Backbone(plain)
    expected = al.antialias(plain, example_input=x)
    found = al.antialias(own, example_input=x)
    assert torch.equal(found(x), expected(x))
    notes = [
        [site.note for site in al.antialias(network, example_input=x).antialiased_sites if site.kind == "max pooling"]
        for network in (plain, own, backbone)
    ]
    assert notes[0] == notes[1] == notes[2]
    assert "2×2 without padding" in notes[0][0]


class Concatenated(nn.Module):
    """The same stem and pool as a ResNet's, in front of branches that are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.branch = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.cat([x, self.branch(x)], 1)


def test_the_pool_of_another_network_keeps_its_window() -> None:
    class ResNet(Concatenated):
        """Called so, and none."""

    for network in (Concatenated(), ResNet()):
        converted = al.antialias(network, example_input=IMAGE)
        assert [site.note for site in converted.antialiased_sites if site.kind == "max pooling"] == ["blur behind it"]
        assert converted(image(65).float()).shape[-1] == 17


# The names that said so before: what timm builds with `aa_layer`, and ResNets by their class.
@pytest.mark.parametrize(
    ("name", "averages", "is_resnet"),
    [
        ("resnetaa50", 4, False),  # an average stands for its maximum too
        ("resnetaa34d", 4, False),
        ("darknetaa53", 5, False),
        ("mobilenetv4_conv_aa_medium", 4, False),
        ("resnet50_clip", 4, False),  # "antialiased rect-2 blur pooling" (Radford et al. 2021)
        ("resnet26d", 0, True),
        ("seresnet18", 0, True),
        ("skresnet18", 0, True),
        ("resnest14d", 0, True),
        pytest.param("res2net50_14w_8s", 0, True, marks=pytest.mark.slow),
        pytest.param("seresnextaa101d_32x8d", 4, False, marks=pytest.mark.slow),
        pytest.param("densenet121", 0, False, marks=pytest.mark.slow),
        pytest.param("ghostnet_100", 0, False, marks=pytest.mark.slow),
        ("botnet26t_256", 0, True),
        ("dpn68", 0, False),
        ("hgnet_tiny", 0, False),
        ("resnetv2_18", 0, False),
        ("legacy_seresnet18", 0, False),
        ("ese_vovnet19b_dw", 0, False),
        ("legacy_xception", 0, False),
    ],
)
def test_the_rules_find_what_the_names_of_timm_say(name: str, averages: int, is_resnet: bool) -> None:
    with torch.device("meta"):
        network = timm.create_model(name)
    x = torch.zeros(1, 3, 96, 96, device="meta") if name != "botnet26t_256" else None
    sites = find_sites(network, x)
    own = [site for site in sites if site.kind == "average pooling" and site.status == "anti-aliased"]
    assert len(own) == averages
    if not any(site.status == "subsamples" for site in sites):
        return  # darknetaa53 has nothing left to treat
    notes = [site.note for site in al.antialias(network, example_input=x).antialiased_sites]
    assert any("2×2 without padding" in note for note in notes) == is_resnet


# --- what is copied -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "hook",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
    ],
    ids=["weight_norm", "spectral_norm", "prune", "parametrized weight_norm", "parametrized spectral_norm"],
)
def test_networks_whose_weights_are_computed_by_hooks(hook: Callable[..., Any]) -> None:
    network = nn.Sequential(hook(nn.Conv2d(3, 4, 3, stride=2)), nn.ReLU())
    x = image(32, dtype=torch.float32)
    network(x).sum().backward()  # so that the weight has a history
    network.eval()
    assert [site.status for site in find_sites(network, x)] == ["subsamples"]
    converted = al.antialias(network, taps=[1.0], scheme="all", example_input=x)
    assert list(converted.state_dict()) == list(network.state_dict())
    assert torch.allclose(converted(x), network(x), atol=1e-6)
    assert torch.allclose(al.restore(converted)(x), network(x), atol=1e-6)
    converted.train()(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in converted.parameters())


def test_what_cannot_be_copied_is_told_and_the_probe_is_not_blamed() -> None:
    network = nn.Sequential(nn.MaxPool2d(2))
    network[0].stream = (number for number in range(3))
    for call in (lambda: find_sites(network, IMAGE), lambda: al.antialias(network, example_input=IMAGE)):
        with pytest.raises(UsageError, match=r"holds something that can't be copied \(.*generator") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "probe" not in str(caught.value)


@pytest.mark.parametrize("scheme", [None, 3, {"all"}], ids=str)
def test_a_scheme_that_is_none_is_told_in_one_line(scheme: Any) -> None:
    with pytest.raises(UsageError, match=r"expected 'zhang2019', 'all', 'pool', names of sites, or a func") as caught:
        al.antialias(nn.MaxPool2d(2), scheme=scheme, example_input=IMAGE)
    assert "\n" not in str(caught.value)
