"""At every size at which a network runs, so does the converted one, with answers of the same shape.

Small maps are where branches differ most easily: a padded 3×3 convolution of 2×2 pixels gives one, and so does the 1×1
convolution beside it.
"""

from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import build, difference, image, randomise, settle
from test_surgery_identity import _timm_families, assert_identity
from torch import Tensor, nn
from torch.nn import functional

import aliasing as al
from aliasing.errors import UsageError

SIZES = (32, 33, 48, 63, 64, 65, 96)
# One of each of torchvision's families, the smallest.
TORCHVISION = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11"),
    *("vit_b_16", "wide_resnet50_2"),
)
SAMPLE = {"torchvision:resnet18": (32, 33), "torchvision:mobilenet_v2": (32,)}


def assert_same_shapes_and_one_tap_identity(name: str, sizes: tuple[int, ...]) -> None:
    network = build(name).double()
    run = [size for size in sizes if _runs(network, image(size))]
    treated = [size for size in run if _subsamples(network, image(size))]
    assert treated == [*sizes] or sizes == SIZES  # the sample is treated at each of its sizes
    if treated:
        settle(network, image(run[-1], batch=4))
    for size in treated:
        for placement in ("after", "before"):
            assert_identity(network, image(size), "all", placement)


def _runs(network: nn.Module, x: Tensor) -> bool:
    try:
        network(x)
    except Exception:  # its own minimum, or its windows
        return False
    return True


def _subsamples(network: nn.Module, x: Tensor) -> bool:
    return any(site.status == "subsamples" for site in al.find_sites(network, x))


@pytest.mark.parametrize("name", SAMPLE)
@torch.no_grad()
def test_small_sizes(name: str) -> None:
    assert_same_shapes_and_one_tap_identity(name, SAMPLE[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(f"torchvision:{name}" for name in TORCHVISION)])
@torch.no_grad()
def test_every_family_of_torchvision_at_every_size(name: str) -> None:
    assert_same_shapes_and_one_tap_identity(name, SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"timm:{name}" for name in _timm_families()])
@torch.no_grad()
def test_every_family_of_timm_at_every_size(name: str) -> None:
    assert_same_shapes_and_one_tap_identity(name, SIZES)


OPERATORS = [("blur", "after"), ("blur", "before"), ("flc", "after"), ("flc", "before"), ("aps", "after")]


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return build("torchvision:resnet18")


@pytest.mark.parametrize("scheme", ["zhang2019", "all", "pool"])
@pytest.mark.parametrize(("operator", "placement"), OPERATORS)
@torch.no_grad()
def test_every_operator_and_scheme_at_the_smallest_size(
    resnet18: nn.Module, operator: Any, placement: Any, scheme: str
) -> None:
    network, x = resnet18, torch.randn(2, 3, 32, 32)
    converted = al.antialias(network, operator=operator, placement=placement, scheme=scheme, example_input=x)
    for size in (32, 64):  # the size that it was converted at, and another
        y = torch.randn(2, 3, size, size)
        assert converted(y).shape == network(y).shape
    statuses = {site.name: site.status for site in converted.antialiased_sites}
    assert statuses["layer4.0.conv1"] == statuses["layer4.0.downsample.0"]


@torch.no_grad()
def test_the_sites_of_a_network_do_not_depend_on_the_size_of_the_probe() -> None:
    network = build("torchvision:resnet18")
    small, large = (al.find_sites(network, torch.zeros(1, 3, size, size)) for size in (32, 224))
    small, large = ([site for site in sites if site.status == "subsamples"] for sites in (small, large))
    assert [(site.name, site.kind, site.stride) for site in small] == [
        (site.name, site.kind, site.stride) for site in large
    ]


class Meeting(nn.Module):
    """A block whose last map is one pixel, and a gate of one pixel, that is no branch."""

    def __init__(self, kernel: int, padding: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(3, 4, kernel, 2, padding), nn.BatchNorm2d(4))
        self.shortcut = nn.Conv2d(3, 4, 1, 2)
        self.gate = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        y = self.main(x)
        y += self.shortcut(x)
        return functional.leaky_relu(y, 0.1) * gate  # a rectified pixel may be 0 in every channel


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (1, 5), (3, 3), (4, 4)], ids=str)
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (4, 1), (2, 0), (5, 2)])
@torch.no_grad()
def test_branches_that_meet_in_a_few_pixels(kernel: int, padding: int, size: tuple[int, int]) -> None:
    network = randomise(Meeting(kernel, padding)).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    try:
        expected = network(x)
    except RuntimeError:
        pytest.skip("not enough pixels, or branches of different sizes")
    if max(size) == 1 or (kernel > max(size) and padding == 0):
        with pytest.raises(UsageError, match="never downsamples"):
            al.antialias(network, example_input=x)
        return
    converted = al.antialias(network, taps=[1.0], scheme="all", example_input=x)
    assert difference(converted(x), expected) < 1e-14  # sums of up to 75 products in another order
    for operator in ("blur", "flc", "aps"):
        other = al.antialias(network, operator=operator, scheme="all", example_input=x)
        assert other(x).shape == expected.shape


@torch.no_grad()
def test_the_branches_of_the_last_block_keep_one_phase_at_one_pixel() -> None:
    network, x = build("torchvision:resnet18").double(), image(32)
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    rolled = torch.cat([x.roll(shift, (2, 3)) for shift in ((1, 0), (5, 9), (16, 31))])
    # Float64 sums in another order, magnified by some twenty layers.
    assert difference(converted(rolled), converted(x).expand(3, -1)) < 1e-10
    assert difference(network(rolled), network(x).expand(3, -1)) > 1e-4


def test_no_phase_is_chosen_where_a_branch_keeps_its_own() -> None:
    example = torch.zeros(1, 3, 64, 64)
    converted = al.antialias(timm.create_model("resnet26d"), operator="aps", scheme="pool", example_input=example)
    shortcuts = [site for site in converted.antialiased_sites if "downsample" in site.name]
    assert {site.status for site in shortcuts} == {"unsupported"}
    assert all("the two branches meet" in site.note for site in shortcuts)


def test_averages_of_the_network_itself_follow_the_phase_of_their_branch() -> None:
    network = timm.create_model("resnetaa50").double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    converted = al.antialias(network, operator="aps", scheme="all", padding="circular", example_input=x)
    assert {site.status for site in converted.antialiased_sites if "downsample" in site.name} == {"anti-aliased"}
    # Float64 sums in another order, magnified by some fifty layers.
    assert difference(converted(x.roll((1, 3), (2, 3))), converted(x)) < 1e-9


def test_one_member_of_each_family_is_there() -> None:
    families = {name.partition("_")[0].rstrip("0123456789") for name in TORCHVISION}
    names = torchvision.models.list_models(module=torchvision.models)
    assert {name.partition("_")[0].rstrip("0123456789") for name in names} <= families
