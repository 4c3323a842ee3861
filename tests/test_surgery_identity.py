"""With the one-tap filter [1], a converted network is its original; with three taps, every treated site differs.

A site that is treated at the wrong place or phase fails here.
"""

from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import build, difference, image
from torch import Tensor, nn
from torch.nn import functional as F

import aliasing as al
from aliasing.surgery import antialias_, restore_
from aliasing.surgery.operators import Pooling

# The networks' own sizes are needed by few; small ones see the same sites. Odd sizes have the other phase of TF-"same".
SMALL = [
    ("torchvision:alexnet", 97),
    ("torchvision:convnext_tiny", 64),
    ("torchvision:densenet121", 65),
    ("torchvision:googlenet", 97),
    ("torchvision:inception_v3", 107),
    ("torchvision:mnasnet0_5", 64),
    ("torchvision:mobilenet_v2", 65),
    ("torchvision:mobilenet_v3_small", 64),
    ("torchvision:regnet_x_400mf", 64),
    ("torchvision:resnet18", 65),
    ("torchvision:resnet50", 64),
    ("torchvision:shufflenet_v2_x0_5", 65),
    ("torchvision:squeezenet1_0", 65),
    ("torchvision:squeezenet1_1", 64),
    ("timm:tf_efficientnet_lite0", 64),
    ("timm:tf_efficientnet_lite0", 75),
    ("timm:tf_mixnet_s", 66),
    ("timm:resnetv2_50x1_bit", 64),
    ("timm:nf_resnet26", 64),
    ("timm:dm_nfnet_f0", 64),
    ("timm:levit_128s", 224),
    ("timm:resnet26d", 65),
    ("timm:seresnet18", 64),
    ("timm:ese_vovnet19b_dw", 65),
    ("timm:hrnet_w18_small", 64),
    ("timm:dla46_c", 64),
    ("timm:fasternet_t0", 64),
]

BEFORE = {
    "torchvision:inception_v3",
    "torchvision:mobilenet_v2",
    "torchvision:resnet18",
    "timm:tf_efficientnet_lite0",
    "timm:nf_resnet26",
    "timm:levit_128s",
}

# All are float64, whose rounding is 1e-16. A dense convolution may sum in another order than a strided one (1e-15),
# and a deep random network without skip connections multiplies that by a few orders of magnitude.
ROUNDING = 1e-9


def rounded(network: nn.Module, x: Tensor, seed: int) -> Tensor:
    """The answer when every layer's output is rounded up or down at random (Monte Carlo arithmetic, Parker 1997)."""
    generator = torch.Generator().manual_seed(seed)

    def jittered(layer: nn.Module, inputs: object, output: object) -> object:
        if not isinstance(output, Tensor):
            return output
        signs = torch.randint(0, 2, output.shape, generator=generator).to(output.dtype).mul_(2).sub_(1)
        return output * (1 + signs * torch.finfo(output.dtype).eps)

    layers = [layer for layer in network.modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(jittered) for layer in layers]
    try:
        return network(x)  # type: ignore[no-any-return]
    finally:
        for hook in hooks:
            hook.remove()


def assert_identity(network: nn.Module, x: Any, scheme: str, placement: str, tolerance: float = ROUNDING) -> None:
    expected = network(x)
    converted = antialias_(network, taps=[1.0], scheme=scheme, placement=placement, example_input=x)  # type: ignore[arg-type]
    try:
        found = converted(x)
    finally:
        restore_(network)
    assert found.shape == expected.shape
    change = difference(found, expected)
    if change >= tolerance:
        # A deep random network may magnify any rounding (efficientnet_b5 makes 1e-8 of 1e-15). A sum of thousands of
        # terms in another order is some ten of the roundings that `rounded` makes.
        tolerance = max(tolerance, 10 * max(difference(rounded(network, x, seed), expected) for seed in range(8)))
        assert tolerance < 1e-3  # or the test says nothing
    assert change < tolerance
    assert expected.std() > 0  # or the test can't fail


@pytest.mark.parametrize(("name", "size"), SMALL)
@torch.no_grad()
def test_one_tap_is_the_identity(name: str, size: int) -> None:
    assert_identity(build(name).double(), image(size), "all", "after")


@pytest.mark.parametrize(("name", "size"), [pair for pair in SMALL if pair[0] in BEFORE])
@torch.no_grad()
def test_one_tap_before_the_convolution_is_the_identity(name: str, size: int) -> None:
    assert_identity(build(name).double(), image(size), "all", "before")


@pytest.mark.parametrize(("name", "size"), SMALL)
@torch.no_grad()
def test_three_taps_change_the_output_of_every_treated_site(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[float] = []
    pool = Pooling.__call__

    def watched(pooling: Pooling, x: Tensor) -> Tensor:
        pooled = pool(pooling, x)
        subsampled = x[..., :: pooling.stride[0], :: pooling.stride[1]]
        changes.append(float((pooled - subsampled).abs().max()))
        return pooled

    monkeypatch.setattr(Pooling, "__call__", watched)
    network, x = build(name).double(), image(max(size, 96))
    converted = antialias_(network, taps="binomial3", scheme="all", example_input=x)
    treated = [site for site in al.find_sites(converted) if site.status == "anti-aliased"]
    changes.clear()
    converted(x)
    assert len(changes) == sum(site.uses for site in treated)
    assert min(changes) > 1e-6


TORCHVISION = [f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)]


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
@torch.no_grad()
def test_one_tap_is_the_identity_on_all_of_torchvision(name: str) -> None:
    network = build(name)
    large = sum(p.numel() for p in network.parameters()) > 150e6
    sites = al.find_sites(network, image(224).float())
    patches = all(site.role == "patch embedding" for site in sites if site.status == "subsamples")
    # The largest transformers take one size only, and would not fit into memory in float64: their rounding is 1e-7.
    # The largest convolutional networks need float64 (regnet_y_128gf magnifies a rounding of 1e-7 to 0.3); they see the
    # same sites in a small image.
    if large and patches:
        x, tolerance = image(224).float(), 1e-3
    else:
        x, tolerance = image(96 if large else 224), ROUNDING
        network.double()
    for placement in ("after", "before"):
        if patches and large and placement == "after":
            continue  # a dense patch embedding of the largest transformers takes minutes, and the smaller ones have it
        assert_identity(network, x, "all", placement, tolerance)
    if type(network).__name__ != "ResNet":  # whose published pool is another one
        assert_identity(network, x, "zhang2019", "after", tolerance)


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2", "alexnet", "googlenet"])
@torch.no_grad()
def test_one_tap_is_the_identity_in_the_published_placement(name: str) -> None:
    assert_identity(build(f"torchvision:{name}").double(), image(97), "zhang2019", "after")


@torch.no_grad()
def test_heads_that_run_in_training_only_are_left_alone() -> None:
    """They were not there when the sites were found, and their calls must not be taken for others.

    Batch norm keeps its statistics here: those of a dense map are not those of every other sample of it.
    """
    network, x = build("torchvision:googlenet").double(), image(97)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()

    def outputs() -> Any:
        torch.manual_seed(0)  # dropout
        return network(x)

    expected = outputs()
    antialias_(network, taps=[1.0], scheme="all", example_input=x)
    assert network.training
    for found, wanted in zip(outputs(), expected, strict=True):
        assert difference(found, wanted) < ROUNDING
    assert len(expected) == 3  # the answer, and two heads


def _timm_families() -> list[str]:
    """A small network of each of timm's families."""
    small = ("atto", "femto", "pico", "nano", "_xxs", "_xs", "_t0", "_s0", "_b0", "tiny", "mini", "small", "_s")
    return [
        min(timm.list_models(module=module), key=lambda name: (not any(s in name for s in small), len(name), name))
        for module in timm.list_modules()
        if timm.list_models(module=module)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", _timm_families())
@torch.no_grad()
def test_one_tap_is_the_identity_on_each_family_of_timm(name: str) -> None:
    network = build(f"timm:{name}").double()
    sites = [site for site in al.find_sites(network) if site.status == "subsamples"]
    if all(site.role == "patch embedding" for site in sites):
        pytest.skip("downsamples by its patch embedding alone")
    channels, height, width = network.pretrained_cfg["input_size"]
    x = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(1)).double()
    assert_identity(network, x, "all", "after")


@pytest.mark.parametrize("size", [12, 13, 14, 15, 16, 17])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [2, 3, 4, (2, 1), (1, 3)])
@pytest.mark.parametrize(
    "kind", ["same", "padded", "dilated", "max", "max ceil", "average", "average ceil", "average same"]
)
def test_every_form_at_every_size(kind: str, stride: Any, kernel: int, size: int) -> None:
    from timm.layers import create_conv2d, create_pool2d

    pad = kernel // 2
    layers: dict[str, Any] = {
        "same": lambda: create_conv2d(4, 4, kernel, stride=stride, padding="same"),
        "padded": lambda: nn.Conv2d(4, 4, kernel, stride, padding=pad),
        "dilated": lambda: nn.Conv2d(4, 4, kernel, stride, padding=1, dilation=2),
        "max": lambda: nn.MaxPool2d(kernel, stride, padding=pad),
        "max ceil": lambda: nn.MaxPool2d(kernel, stride, padding=pad, ceil_mode=True),
        "average": lambda: nn.AvgPool2d(kernel, stride, padding=pad, count_include_pad=False),
        "average ceil": lambda: nn.AvgPool2d(kernel, stride, padding=pad, ceil_mode=True),
        "average same": lambda: create_pool2d("avg", kernel, stride, padding="same"),
    }
    if kind.endswith("same") and isinstance(stride, tuple):
        pytest.skip("timm has no such layer")
    network, x = nn.Sequential(layers[kind]().double()), image(size, channels=4)
    with torch.no_grad():
        for placement in ("after", "before"):
            # Sums of at most 100 products of numbers of order 1, in two orders: 100 · 1.1e-16.
            assert_identity(network, x, "all", placement, 1e-13)


def test_slices_however_they_are_written() -> None:
    class Slices(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            channels_last = x.permute(0, 2, 3, 1)[:, 1::2, :-1:3]
            start = (x.sum() < torch.inf).long()  # 1, by what the network computes
            return x[:, :, ::2, ::2].sum() + x[..., 1::2, 2::3].sum() + x[:, :, start::2, ::2].sum() + channels_last

    network, x = Slices(), image(17)
    assert_identity(network, x, "all", "after")
    converted = al.antialias(network, taps="binomial3", scheme="all", example_input=x)
    assert [site.stride for site in converted.antialiased_sites] == [(2, 3), (2, 2), (2, 3), (2, 2)]
    assert {site.status for site in converted.antialiased_sites} == {"anti-aliased"}


def test_calls_are_counted_past_modules_that_make_the_same_call() -> None:
    class Block(nn.Module):
        """The second pooling of its own stands behind one of a child that is treated, and one that is not."""

        def __init__(self) -> None:
            super().__init__()
            self.treated = nn.MaxPool2d(2)
            self.dense = nn.MaxPool2d(3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(self.dense(self.treated(x)), 3, 1, 1)
            return F.max_pool2d(self.dense(x), 3, 2) + x[:, :, 1::2, 1::2][:, :, :7, :7]

    network, x = Block(), image(32)
    assert_identity(network, x, "all", "after")
    converted = al.antialias(network, taps="binomial3", scheme="all", example_input=x)

    def blurred(dense: Tensor) -> Tensor:
        return al.downsample.blur_pool(dense, 2, "binomial3")

    y = F.max_pool2d(network.dense(blurred(F.max_pool2d(x, 2, 1))), 3, 1, 1)
    expected = blurred(F.max_pool2d(network.dense(y), 3, 1)) + blurred(y[:, :, 1:, 1:])[:, :, :7, :7]
    assert torch.allclose(converted(x), expected)
