"""Surgery keeps the network itself; what it is told; what it writes."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from networks import build, difference, image, randomise
from torch import Tensor, nn
from torch.nn import functional as F

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.surgery import Treatment, antialias_, from_published, recalibrate_, restore_, save, specification

NAMES = ["torchvision:resnet18", "torchvision:mobilenet_v2", "torchvision:densenet121", "timm:tf_efficientnet_lite0"]


@pytest.mark.parametrize("name", NAMES)
def test_the_network_stays_itself(name: str) -> None:
    network, x = build(name), image(64, dtype=torch.float32)
    parameters, keys = dict(network.named_parameters()), list(network.state_dict())
    types = {name: type(module) for name, module in network.named_modules()}
    antialias_(network, scheme="all", example_input=x)
    assert list(network.state_dict()) == keys
    after = dict(network.named_parameters())
    assert list(after) == list(parameters)
    assert all(after[name] is parameter for name, parameter in parameters.items())
    assert {name: type(module) for name, module in network.named_modules()} == types


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_checkpoints_load_both_ways_and_restore_is_the_original_bit_for_bit(name: str) -> None:
    network, x = build(name), image(65, dtype=torch.float32)
    expected = network(x)
    converted = al.antialias(network, example_input=x)
    assert torch.equal(network(x), expected)
    assert not torch.allclose(converted(x), expected)
    converted.load_state_dict(network.state_dict(), strict=True)
    network.load_state_dict(converted.state_dict(), strict=True)
    assert torch.equal(al.restore(converted)(x), expected)
    assert not torch.allclose(converted(x), expected)  # restore made a copy
    assert torch.equal(restore_(converted)(x), expected)
    assert not any("forward" in vars(module) for module in converted.modules())


def test_an_optimizer_that_exists_goes_on() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.Flatten(1))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x = image(32, batch=4, dtype=torch.float32)
    antialias_(network, scheme="all", example_input=x)
    before = network[0].weight.clone()
    network(x).square().mean().backward()
    optimizer.step()
    assert not torch.equal(network[0].weight, before)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
@pytest.mark.parametrize("operator", ["blur", "flc", "aps"])
@torch.no_grad()
def test_copies_and_pickles_are_converted_too_and_independent(make_copy: Any, operator: Any) -> None:
    x = image(64, dtype=torch.float32)
    network = al.antialias(build("torchvision:resnet18"), operator=operator, scheme="all", example_input=x)
    expected = network(x)
    copied = make_copy(network)
    assert torch.equal(copied(x), expected)
    for parameter in copied.parameters():
        parameter.zero_()
    assert torch.equal(network(x), expected)
    assert [site.note for site in al.find_sites(copied)] == [site.note for site in al.find_sites(network)]


def test_classifier_in_classifier_out() -> None:
    half = (0.5, 0.5, 0.5)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = al.Classifier(module, "tiny", 32, half, half, "bilinear", resize_size=32, crop_share=1.0)
    converted = al.antialias(classifier, scheme="all", taps="binomial3")
    assert isinstance(converted, al.Classifier)
    assert converted.name == "antialiased:binomial3,all:tiny"
    assert al.restore(converted).name == "tiny"
    assert [site.status for site in al.find_sites(converted)][:1] == ["anti-aliased"]


def test_a_scheme_may_name_its_sites(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    plain = al.load_model(network, input_size=16)
    named = al.antialias(plain, taps="binomial3", scheme=["2"])
    assert named.name == "antialiased:binomial3,sites=2:Sequential"
    assert [site.status for site in al.find_sites(named)] == ["subsamples", "anti-aliased"]
    both = al.antialias(plain, taps="binomial3", scheme="sites=0+2")
    assert both.identity == al.antialias(plain, taps="binomial3", scheme="all").identity
    save(named, tmp_path / "named.safetensors")
    assert specification.reapply(plain, tmp_path / "named.safetensors").identity == named.identity
    assert specification.parse("binomial3,sites=2")["scheme"] == "sites=2"
    with pytest.raises(UsageError, match="has no site '1' that subsamples; it has 0, 2"):
        al.antialias(plain, scheme=["1"])


def test_a_scheme_of_ones_own() -> None:
    network, x = build("torchvision:resnet18"), image(64, dtype=torch.float32)

    def deep(site: al.sites.Site) -> Treatment | None:
        return Treatment("blur", (1, 2, 1)) if site.cumulative_stride[0] > 8 else None

    converted = al.antialias(network, scheme=deep, example_input=x)
    treated = [site.name for site in al.find_sites(converted) if site.status == "anti-aliased"]
    assert treated == ["layer3.0.conv1", "layer3.0.downsample.0", "layer4.0.conv1", "layer4.0.downsample.0"]


def test_a_convolution_may_keep_a_part_of_its_stride() -> None:
    def half(site: al.sites.Site) -> Treatment:
        return Treatment("blur", "binomial3", kept_stride=2)

    for kernel in (1, 5):  # without an activation behind it, and 1×1, a convolution without a stride could stand behind
        network, x = nn.Sequential(nn.Conv2d(3, 4, kernel, 4)).double(), image(33)
        converted = al.antialias(network, scheme=half, example_input=x)
        dense = F.conv2d(x, network[0].weight, network[0].bias, 2)
        assert torch.equal(converted(x), al.downsample.blur_pool(dense, 2, "binomial3"))


def test_pool_treats_pooling_only() -> None:
    converted = al.antialias(build("torchvision:resnet18"), scheme="pool", example_input=image(64, dtype=torch.float32))
    assert [site.name for site in al.find_sites(converted) if site.status == "anti-aliased"] == ["maxpool"]


class Block(nn.Module):
    """One ReLU used three times, and the strided convolution behind which several calls read the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(4, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.several = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        y = self.conv3(x)
        return self.relu(y + x if self.several else y)


def test_an_activation_that_is_used_three_times_is_no_obstacle() -> None:
    block, x = Block(), image(32, channels=4, dtype=torch.float32)
    (site,) = al.find_sites(al.antialias(block, scheme="zhang2019", example_input=x))
    assert site.note == "blur in front of conv3"


def test_several_consumers_that_cannot_be_reached_put_it_right_behind_the_convolution_and_it_says_so() -> None:
    block, x = Block(), image(32, channels=4, dtype=torch.float32)
    block.several = True
    converted = al.antialias(block, example_input=x)
    (site,) = al.find_sites(converted)
    assert "right behind it: its activation feeds several modules" in site.note
    assert converted(x).shape == block(x).shape


class ReadInside(nn.Module):
    """Reads its output before it gives it away."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x))
        self.smooth = F.avg_pool2d(y, 3, 1, 1)
        return y


class Product(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y


class Reader(nn.Module):
    """Two calls read the activation, in a way that ``kind`` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.product, self.inside = nn.Conv2d(3, 4, 3, 2, 1), Product(), ReadInside()
        self.positions = nn.Parameter(torch.randn(4, 17, 17))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.kind == "inside its module":
            return self.inside(x) + self.inside.smooth
        if self.kind == "the caller, before the activation":
            y = self.conv(x)
            return y, F.relu(y)
        if self.kind == "with a map of positions":
            return F.relu(self.conv(x) + self.positions)
        y = F.relu(self.conv(x))
        if self.kind == "twice":
            return self.product(y, y)
        return self.product(y, 2.0), y


def test_what_is_resampled_to_a_size_has_no_phases_to_choose_among() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(7)).double()
    converted = al.antialias(network, operator="aps", scheme="all", example_input=image(32))
    first, second = converted.antialiased_sites
    assert (first.status, second.status) == ("anti-aliased", "unsupported")
    assert "aps needs a stride" in second.note
    assert converted(image(32)).shape == (1, 4, 7, 7)


@pytest.mark.parametrize(
    "kind",
    ["inside its module", "twice", "the caller", "the caller, before the activation", "with a map of positions"],
)
@torch.no_grad()
def test_whoever_reads_the_activation_reads_it_subsampled(kind: str) -> None:
    network, x = randomise(Reader(kind)).double(), image(33)
    found, expected = al.antialias(network, scheme="all", taps=[1.0], example_input=x)(x), network(x)
    if isinstance(expected, Tensor):
        found, expected = (found,), (expected,)
    for ours, original in zip(found, expected, strict=True):
        assert difference(ours, original) < 1e-14  # one tap: sums of 27 products, in another order


class Shortcut(nn.Module):
    """Its shortcut holds what the block's first activation has changed in place, or has not."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.block = nn.Sequential(nn.ReLU(inplace), nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.block(x) + x


class Rebound(Shortcut):
    """The same, but that everybody takes what the activation gives back."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.block[0](self.stem(x))
        return self.block[1](x) + x


@pytest.mark.parametrize(
    ("network", "note"),
    [
        (Shortcut(inplace=True), "right behind it: its activation works in place, and another call reads the old name"),
        (Shortcut(inplace=False), "behind it: no activation before conv2d"),
        (Rebound(inplace=True), "behind block.0"),
    ],
    ids=["in place", "not in place", "given back"],
)
@torch.no_grad()
def test_a_shortcut_that_relies_on_an_activation_in_place(network: nn.Module, note: str) -> None:
    randomise(network)
    x = image(32)
    network.double()
    converted = al.antialias(network, scheme="all", taps=[1.0], example_input=x)
    assert note in converted.antialiased_sites[0].note
    assert difference(converted(x), network(x)) < 1e-12  # one tap: the sums are in another order at most
    assert difference(al.antialias(network, scheme="all", example_input=x)(x), network(x)) > 1e-3


class PadsItself(nn.Conv2d):
    """Pads by a call of its own, as TF-"same" convolutions do."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_what_a_convolution_pads_itself_is_low_passed_before_the_padding(kernel: int) -> None:
    network, x = nn.Sequential(PadsItself(3, 4, kernel, 2)).double(), image(32)
    before = al.antialias(network, taps="binomial3", scheme="all", placement="before", example_input=x)
    assert torch.equal(before(x), network(al.downsample.low_pass(x, 2, "binomial3")))


class ReadsTwice(PadsItself):
    """Its input is padded and convolved, and read by another call too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.amax()


@torch.no_grad()
def test_what_else_a_convolution_does_with_its_input_is_left_alone() -> None:
    network, x = ReadsTwice(3, 4, 3, 2).double(), image(32)
    before = al.antialias(network, taps="binomial3", scheme="all", placement="before", example_input=x)
    smooth = al.downsample.low_pass(F.pad(x, (0, 1, 0, 1)), 2, "binomial3")
    assert torch.equal(before(x), F.conv2d(smooth, network.weight, network.bias, 2) + x.amax())


@pytest.mark.parametrize("placement", ["after", "before"])
@torch.no_grad()
def test_a_padded_pointwise_convolution_does_not_commute(placement: Any) -> None:
    network, x = nn.Sequential(nn.Conv2d(3, 4, 1, 2, padding=1)).double(), image(9)
    converted = al.antialias(network, taps=[1.0], scheme="all", placement=placement, example_input=x)
    assert difference(converted(x), network(x)) < 1e-15


@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_blur_stands_behind_the_activation_or_before_the_convolution(kernel: int) -> None:
    pad, taps = kernel // 2, "binomial3"
    network, x = nn.Sequential(nn.Conv2d(3, 4, kernel, 2, pad), nn.ReLU(), nn.Conv2d(4, 4, 1)).double(), image(32)
    after = al.antialias(network, taps=taps, scheme="all", example_input=x)
    before = al.antialias(network, taps=taps, scheme="all", placement="before", example_input=x)
    weight, bias = network[0].weight, network[0].bias
    dense = F.relu(F.conv2d(x, weight, bias, 1, pad))
    smooth = al.downsample.low_pass(x, 2, taps)
    assert torch.equal(after(x), network[2](al.downsample.blur_pool(dense, 2, taps)))
    # A 1×1 convolution reads the samples that it keeps only, so that no others are low-passed.
    assert difference(before(x), network[2](F.relu(F.conv2d(smooth, weight, bias, 2, pad)))) < 1e-14


@torch.no_grad()
def test_features_are_those_of_the_converted_network() -> None:
    """timm collects features by hooks or by order; the sizes must be the subsampled ones."""
    for name in ("timm:resnet18", "timm:tf_efficientnet_lite0", "timm:convnext_atto"):
        network, x = build(name, features_only=True), image(64, dtype=torch.float32)
        expected = [feature.shape for feature in network(x)]
        converted = al.antialias(network, scheme="all", taps=[1.0], example_input=x)
        found = converted(x)
        assert [feature.shape for feature in found] == expected
        for feature, plain in zip(found, network(x), strict=True):
            assert difference(feature, plain) < 1e-4  # float32


@torch.no_grad()
def test_detection_network() -> None:
    torch.manual_seed(0)
    network = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    images = [torch.rand(3, 100, 120), torch.rand(3, 80, 60)]
    converted = al.antialias(network, scheme="zhang2019", taps=[1.0], example_input=images)
    assert any(site.status == "anti-aliased" for site in al.find_sites(converted))
    for found, expected in zip(converted(images), network(images), strict=True):
        assert difference(found["boxes"], expected["boxes"]) < 1e-4  # float32


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "zhang"}, "no scheme 'zhang'"),
        ({"operator": "blurr"}, "unknown operator 'blurr'; did you mean blur"),
        ({"taps": "binomal3"}, "no filter 'binomal3'"),
        ({"taps": [1, -1]}, "sum of the taps is zero"),
        ({"placement": "behind"}, "no placement 'behind'"),
        ({"padding": "mirror"}, "no padding 'mirror'"),
        ({"operator": "lps", "placement": "before"}, "no placement 'before'"),
    ],
)
def test_wrong_use_is_told_in_one_line(options: dict[str, Any], message: str) -> None:
    network = nn.Sequential(nn.MaxPool2d(2))
    with pytest.raises(UsageError, match=message) as caught:
        al.antialias(network, example_input=image(16), **options)
    assert "\n" not in str(caught.value)


def test_networks_that_cannot_be_converted_are_told() -> None:
    x = image(16, dtype=torch.float32)
    with pytest.raises(UsageError, match="never downsamples"):
        al.antialias(nn.Sequential(nn.Conv2d(3, 3, 3)), example_input=x)
    with pytest.raises(UsageError, match="scripted"):
        al.antialias(torch.jit.script(nn.Sequential(nn.MaxPool2d(2))), example_input=x)
    converted = al.antialias(nn.Sequential(nn.MaxPool2d(2)), example_input=x)
    with pytest.raises(UsageError, match="already"):
        al.antialias(converted, example_input=x)
    with pytest.raises(UsageError, match="already"):
        al.antialias(nn.Sequential(converted), example_input=x)
    with pytest.raises(UsageError, match="nothing to restore"):
        al.restore(nn.Sequential(nn.MaxPool2d(2)))
    with pytest.raises(InputError, match="fails on a probe"):
        al.antialias(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 2)), example_input=x)
    with pytest.raises(UsageError, match="expected a Classifier"):
        al.antialias("resnet18")  # type: ignore[type-var]


# --- recalibration --------------------------------------------------------------------------------------------------


def test_recalibration_finds_the_statistics_of_the_images_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm2d(4)
    ).eval()
    antialias_(network, scheme="all", example_input=image(16, dtype=torch.float32))
    batches = [5 * torch.randn(8, 3, 16, 16) + 2 for _ in range(3)]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    recalibrated = al.recalibrate(network, batches)
    first = torch.cat([network[:1](batch) for batch in batches])
    assert torch.allclose(recalibrated[1].running_mean, first.mean((0, 2, 3)), rtol=1e-5)
    assert torch.allclose(recalibrated[1].running_var, first.var((0, 2, 3)), rtol=1e-5)
    changed = {key for key, value in recalibrated.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"{i}.running_{what}" for i in (1, 4) for what in ("mean", "var")}
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [module.momentum for module in recalibrated.modules() if isinstance(module, nn.BatchNorm2d)] == [0.1, 0.1]
    assert not any(module.training for module in recalibrated.modules())


def test_recalibration_of_a_classifier_from_images() -> None:
    half = (0.5, 0.5, 0.5)
    module = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = al.Classifier(module, "tiny", 8, half, half, "bilinear", resize_size=8, crop_share=1.0)
    grey = [np.full((8, 8, 3), value, np.uint8) for value in (0, 255, 255)]
    found = al.recalibrate(classifier, grey, batch_size=2)  # the one left over joins the last batch
    assert torch.allclose(found.module[0].running_mean, torch.full((3,), 1 / 3), atol=1e-6)
    assert torch.allclose(found.module[0].running_var, torch.full((3,), 8 / 9 * 192 / 191))


def test_recalibration_adds_up_exactly_and_takes_so_many_batches() -> None:
    batches = [1000 + torch.randn(8, 3, 16, 16) for _ in range(3)]
    network = nn.Sequential(nn.BatchNorm2d(3))
    network[0].never_run = nn.BatchNorm2d(5)
    network[0].never_run.running_mean += 7
    found = al.recalibrate(network, batches, limit=2)
    assert found[0].never_run.running_mean.eq(7).all()  # it has seen nothing to take another from
    # ⟨x²⟩ − μ² is 1 of 10⁶: it would keep one digit in float32.
    expected = torch.cat(batches[:2]).double().var((0, 2, 3)).float()
    assert torch.allclose(found[0].running_var, expected, rtol=1e-5)


def test_a_recalibration_that_is_broken_off_changes_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    before = {key: value.clone() for key, value in network.state_dict().items()}

    def batches() -> Iterator[Tensor]:
        yield 5 + torch.randn(8, 3, 4, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recalibrate_(network, batches())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network[0].momentum == 0.1


def test_recalibration_needs_statistics_and_images() -> None:
    with pytest.raises(UsageError, match="no batch-norm statistics"):
        recalibrate_(nn.Sequential(nn.Conv2d(3, 3, 1)), [torch.zeros(2, 3, 8, 8)])
    with pytest.raises(InputError, match="no images"):
        recalibrate_(nn.Sequential(nn.BatchNorm2d(3)), [])


# --- names and files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "binomial4",
        "binomial3,before",
        "flc",
        "aps,all,circular",
        "1-2-1,pool",
        "-1-9-9--1",
        "0.123456789-0.25-1e-07",
        "binomial5,before,all,replicate",
    ],
)
def test_a_specification_says_everything(text: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(2))
    converted = al.antialias(network, **specification.parse(text), example_input=image(32, dtype=torch.float32))
    assert specification.describe(al.surgery.conversion_of(converted)) == text


def test_a_specification_that_says_something_twice_is_refused() -> None:
    for text in ("binomial4,flc", "flc,binomial4", "after,before", "all,pool,flc"):
        with pytest.raises(UsageError, match="twice"):
            specification.parse(text)


@pytest.mark.parametrize("text", ["binomial0", "1-1e", "1--", "", "before,fancy", "1--1"])
def test_a_specification_of_no_filter_is_refused_before_the_network_is_loaded(text: str) -> None:
    with pytest.raises(UsageError, match=r"filter|sum"):
        specification.load(f"{text}:torchvision:vgg16")


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@torch.no_grad()
def test_names_and_files_bring_the_conversion_back(tmp_path: Path) -> None:
    x = image(224, dtype=torch.float32)
    plain = al.load_model("module:test_surgery:tiny")
    named = al.load_model("antialiased:binomial3,all:module:test_surgery:tiny")
    assert not torch.equal(named.module(x), plain.module(x))
    save(named, tmp_path / "tiny.safetensors")
    loaded = al.load_model(f"file:{tmp_path}/tiny.safetensors@module:test_surgery:tiny")
    assert torch.equal(loaded.module(x), named.module(x))
    assert type(loaded.module) is nn.Sequential
    assert loaded.name.startswith("file:")  # which is how it can be loaded again
    with pytest.raises(UsageError, match="expected antialiased:FILTER:MODEL"):
        al.load_model("antialiased:binomial4")


def test_a_note_that_is_no_conversion_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    safetensors.torch.save_file(tiny().state_dict(), path, {specification.METADATA_KEY: "binomial4"})
    with pytest.raises(InputError, match="its metadata says 'binomial4', which is not a conversion"):
        al.load_model(f"file:{path}@module:test_surgery:tiny")


def test_what_a_file_cannot_keep_is_refused(tmp_path: Path) -> None:
    plain = al.load_model("module:test_surgery:tiny")
    with pytest.raises(UsageError, match=r"use that suffix"):
        save(al.antialias(plain, scheme="all"), tmp_path / "tiny.pth")
    with pytest.raises(UsageError, match="name a scheme"):
        save(al.antialias(plain, scheme=lambda site: Treatment()), tmp_path / "tiny.safetensors")
    assert not list(tmp_path.iterdir())


# --- the published checkpoints --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet18", "densenet121", "mobilenet_v2"])
def test_a_published_checkpoint_loads(name: str) -> None:
    peers = pytest.importorskip("antialiased_cnns")
    with torch.device("meta"):
        theirs = getattr(peers, name)().state_dict()
        network = torchvision.models.get_model(name, weights=None)
    # Every tensor gets a value of its own, so that two that change places are seen.
    marked = {key: torch.full(value.shape, float(i)) for i, (key, value) in enumerate(theirs.items())}
    network = network.to_empty(device="cpu")
    antialias_(network, example_input=image(224, dtype=torch.float32))
    network.load_state_dict(from_published(marked, network), strict=True)
    values = [float(value.flatten()[0]) for value in network.state_dict().values()]
    kept = [float(i) for i, key in enumerate(theirs) if not key.endswith("filt")]
    assert values == kept


def test_a_checkpoint_of_another_network_is_refused() -> None:
    with pytest.raises(InputError, match="tensors"):
        from_published({"a.weight": torch.zeros(1)}, torchvision.models.resnet18())
