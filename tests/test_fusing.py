"""Convolutions that pad and clamp: the same outputs, the same failures, and nothing fused that may not be."""

import copy
import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_folding import build, shake
from torch import Tensor, nn

from aliasing.surgery import fusing
from aliasing.surgery.folding import fold_batch_norms
from aliasing.surgery.fusing import _FusedConvolution, fuse_convolutions
from tests.networks import Net

# How many convolutions are fused, of how many; how many of them clamp, and pad.
NETWORKS = {
    "torchvision:mobilenet_v2": (52, 52, 35, 0),
    "torchvision:vgg11_bn": (8, 8, 8, 0),
    "torchvision:resnet18": (20, 20, 9, 0),
    "torchvision:shufflenet_v2_x0_5": (56, 56, 37, 0),
    "torchvision:densenet121": (59, 120, 5, 0),
    "timm:resnet10t": (14, 14, 5, 0),
    "timm:tf_efficientnet_lite0": (49, 49, 33, 4),  # the stem is dense: its kernel does not grow
    "pypi:efficientnet_lite0": (49, 49, 33, 4),
    "antialiased:binomial4:pypi:efficientnet_lite0": (45, 49, 29, 0),  # a blur stands behind the strided ones
}


def fused_in(module: nn.Module) -> list[_FusedConvolution]:
    return [part for part in module.modules() if isinstance(part, _FusedConvolution)]


def counts(module: nn.Module) -> tuple[int, int, int]:
    """How many convolutions are fused, how many clamp, and how many pad."""
    fused = fused_in(module)
    return len(fused), sum(part.clamp is not None for part in fused), sum(any(part.widths) for part in fused)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NETWORKS)
def test_fusing_changes_an_output_by_rounding_only(name: str) -> None:
    """Where sums are taken in another order (here they mostly are not), the last bits differ, and some networks magnify
    that: so the fused network is held to be as near to the truth as the folded one. Errors of the same size differ by
    chance; in float32 a factor of four is left for that, in bfloat16, of which there are more, 1.2."""
    torch.manual_seed(0)
    module = shake(build(name))
    images = noise(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.inference_mode():
        exact = copy.deepcopy(module).double()(images.double())
        folded, fused = fold_batch_norms(module, images), fuse_convolutions(module, images)
        for half, factor in ((False, 4), (True, 1.2)):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                error, other = (net(images).double() - exact for net in (folded, fused))
            assert float(other.norm()) < factor * float(error.norm())
    convolutions = sum(isinstance(part, nn.Conv2d) for part in module.modules())
    fused_count, clamps, pads = counts(fused)
    assert (fused_count, convolutions, clamps, pads) == NETWORKS[name]
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())


@given(
    widths=st.tuples(*[st.integers(0, 3)] * 4),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    own=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    spread=st.sampled_from([1, 1, 2]),
    size=st.tuples(st.integers(9, 12), st.integers(9, 12)),
    has_bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_padding_of_any_widths_goes_into_a_depthwise_convolution(
    widths: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    own: tuple[int, int],
    spread: int,
    size: tuple[int, int],
    has_bias: bool,
) -> None:
    """At most 25 products of order one: 25 roundings of 6e-8 of sums up to some 10."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 16, kernel, stride, own, spread, groups=16, bias=has_bias)
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Hardtanh(), nn.ZeroPad2d(widths), convolution, nn.ReLU6()).eval()
    left, right, top, bottom = widths
    images = noise(2, 3, *size)
    with torch.inference_mode():
        fused = fuse_convolutions(net, images)
        torch.testing.assert_close(fused(images), net(images), atol=2e-5, rtol=1e-5)
    is_one_step = spread == 1 or (left == right and top == bottom)
    assert counts(fused) == ((2, 2, any(widths)) if is_one_step else (1, 1, 0))


def clamped_twice(net: Any, x: Tensor) -> Any:
    return net.relu(net.second(net.relu(net.first(x))))


def chain(way: Callable[[Any, Tensor], Any] = clamped_twice) -> Any:
    """Two convolutions with a clamp behind each, or joined in a way of their own."""
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    return Net(way, first=first, second=second, relu=nn.ReLU(inplace=True)).eval()


def six(net: Any, x: Tensor) -> Tensor:
    return F.relu6(50 * net.second(F.hardtanh(F.relu6(net.first(30 * x)) - 1, max_val=0.5, min_val=-0.25)))


def read_before(net: Any, x: Tensor) -> Any:
    """What the first convolution gives is read without the clamp too."""
    maps = net.first(x)
    return net.relu(net.second(F.relu(maps))) + maps


def read_in_place(net: Any, x: Tensor) -> Any:
    """The same in place: what is read is clamped."""
    maps = net.first(x)
    return net.second(net.relu(maps)) + maps


def returned(net: Any, x: Tensor) -> tuple[Tensor, ...]:
    maps = net.second(net.relu(net.first(x)))
    return F.relu(maps), maps


def many_clamps(net: Any, x: Tensor) -> Any:
    """One module clamps everything, in between what is not fused."""
    x = net.relu(net.first(net.relu(x - 0.3)))
    x = net.relu(F.avg_pool2d(x, 2) - 0.1)
    return net.relu(net.relu(net.second(x)) - 0.2)


def padded(net: Any, x: Tensor) -> Any:
    """Dense, so its kernel does not grow; and one whose padding is as wide on all sides."""
    return net.second(F.pad(net.relu(net.first(F.pad(x, (0, 1, 0, 1)))), (1, 1, 2, 2)))


def padded_otherwise(net: Any, x: Tensor) -> Any:
    """With ones, with the border's values, and cut off."""
    x = net.relu(net.first(F.pad(x, (1, 1, 1, 1), value=1.0)))
    x = net.relu(net.second(F.pad(x, (1, 1, 1, 1), mode="replicate")))
    return net.relu(net.third(F.pad(x, (-1, -1, -1, -1))))


def joined(net: Any, x: Tensor) -> Any:
    """What is added up, pooled, cut and joined has the bound of its parts."""
    maps = net.relu(net.first(x))
    return net.relu(net.third(torch.cat([F.max_pool2d(maps + maps, 2), maps[..., ::2, ::2].flip(1)], 1)))


def made_larger(net: Any, x: Tensor) -> Any:
    """As joined, but what is joined has no bound of its own."""
    maps = 9 * net.relu(net.first(x))
    return net.relu(net.third(torch.cat([maps, torch.add(maps, maps, alpha=9)], 1)))


def padding_read_twice(net: Any, x: Tensor) -> Any:
    maps = F.pad(net.relu(net.first(x)), (1, 1, 1, 1))
    return net.second(maps)[..., :3, :3] + maps[..., :3, :3]


# How many convolutions are fused, how many clamp, and how many pad.
CHAINS: dict[str, tuple[Callable[[Any, Tensor], Any], tuple[int, int, int]]] = {
    "modules": (clamped_twice, (2, 2, 0)),
    "functions": (lambda net, x: torch.relu(net.second(net.first(x).relu())), (2, 2, 0)),
    "six": (six, (1, 1, 0)),
    "clamped": (lambda net, x: F.hardtanh(net.second(F.relu6(net.first(x))), max_val=0.5, min_val=-7.0), (2, 2, 0)),
    "smooth": (lambda net, x: F.silu(net.second(F.leaky_relu(net.first(x)))), (0, 0, 0)),
    "read before": (read_before, (1, 1, 0)),
    "read in place": (read_in_place, (1, 1, 0)),
    "returned": (returned, (1, 1, 0)),
    "twice": (lambda net, x: net.relu(net.second(net.relu(net.second(net.relu(net.first(x)))))), (1, 1, 0)),
    "many clamps": (many_clamps, (2, 2, 0)),
    "padded": (padded, (2, 1, 1)),
    "padded otherwise": (padded_otherwise, (3, 3, 0)),
    "joined": (joined, (2, 2, 0)),  # its bound is known, and a look at it would cost more than the clamp
    "made larger": (made_larger, (1, 1, 0)),
    "padding read twice": (padding_read_twice, (1, 1, 0)),
    "padding in a word": (clamped_twice, (1, 1, 0)),  # left to torch
}


@pytest.mark.parametrize("kind", CHAINS)
def test_only_what_is_provably_the_same_is_fused(kind: str) -> None:
    torch.manual_seed(0)
    way, expected = CHAINS[kind]
    module, images = chain(way), noise(2, 3, 8, 8)
    if kind == "clamped":  # sums beyond the bounds
        module.first.weight.data.mul_(30)
        module.second.weight.data.mul_(30)
    if kind == "padded otherwise":
        module.third = nn.Conv2d(8, 8, 1, bias=False)
    if kind in ("joined", "made larger"):
        module.third = nn.Conv2d(16, 4, 1)
    if kind == "padding in a word":
        module.second.padding = "same"  # type: ignore[assignment]
    with torch.inference_mode():
        fused = fuse_convolutions(module, images)
        for before, after in zip(module(images.clone()), fused(images.clone()), strict=True):
            # Sums of order one, and of a thousand where they are clamped far beyond the bounds: roundings of 6e-8.
            torch.testing.assert_close(after, before, atol=6e-5 if kind == "clamped" else 2e-6, rtol=1e-5)
    assert counts(fused) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_network_of_another_type_stays_as_it_is(dtype: torch.dtype) -> None:
    images = noise(2, 3, 8, 8).to(dtype)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU()).to(dtype).eval()
    fused = fuse_convolutions(net, images)
    assert torch.equal(fused(images), net(images))
    assert counts(fused) == (0, 0, 0)


def test_maps_of_other_dimensions_are_folded_only() -> None:
    images = noise(2, 3, 8, 8)
    net = nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(496, 2)
    )
    shake(net)
    fused = fuse_convolutions(net, images)
    torch.testing.assert_close(fused(images), net(images))
    assert counts(fused) == (0, 0, 0)


class Faulty(nn.Module):
    """Fused from end to end, with something in between that makes of some inputs what is no number."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.first, self.wide, self.deep, self.last = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.Conv2d(16, 16, 3, stride=2, groups=16),
            nn.Conv2d(16, 8, 1),
        )
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        with torch.no_grad():
            if fault == "NaN weight":
                self.scale[3] = math.nan
            if fault == "largest weights":
                self.first.weight.copy_(3e38 * self.first.weight.sign())

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x)) * self.scale
        bright = (x.mean((1, 2, 3), keepdim=True) > 1).float()  # the first image
        if self.fault == "NaN":
            x = x + (0.5 - bright).log() * 0
        if self.fault == "infinity":
            x = x + 1 / (1 - bright) - 1
        if self.fault == "negative infinity":
            x = x - 1 / (1 - bright) + 1
        if self.fault == "large":
            x = x * (1 + 3.4e38 * bright)
        x = F.relu6(self.deep(F.pad(F.relu6(self.wide(x)), (0, 1, 0, 1))))
        return F.relu(self.last(x)).mean((2, 3))


FAULTS = ("NaN", "infinity", "negative infinity", "large", "largest weights", "NaN weight")


@pytest.mark.parametrize(("fault", "half"), list(itertools.product(FAULTS, (False, True))))
def test_a_network_that_fails_is_seen_to_fail(fault: str, half: bool) -> None:
    """oneDNN's clamp would make a number of what is none. The other images have the answers that they always have."""
    torch.manual_seed(0)
    module, images = Faulty(fault).eval(), noise(3, 3, 8, 8)
    images[0] += 20 * module.first.weight[0, :, :, :1].sign()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        fused = fuse_convolutions(module, images)
        expected, found = module(images), fused(images)
        assert expected[0].isnan().any()
        assert expected[1:].isfinite().all() or "weight" in fault
        torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-5, rtol=1e-2 if half else 1e-5)
    assert counts(fused)[1] >= 2


class Growing(nn.Module):
    """Each convolution makes what it is shown up to ``factor`` times larger, or as much by its bias."""

    def __init__(self, factor: float, bias: float) -> None:
        super().__init__()
        layers = [nn.Conv2d(16, 16, 1) for _ in range(6)]
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 1), nn.ReLU(), *[part for layer in layers for part in (layer, nn.ReLU())]
        )
        with torch.no_grad():
            for layer in layers:
                layer.weight.copy_(factor * torch.randn(16, 16, 1, 1).sign())
                layer.bias.fill_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize(("factor", "bias"), [(1e9, 0.0), (1.0, 3e38), (1e5, 1e33)])
def test_sums_that_overflow_are_not_made_numbers_again(factor: float, bias: float) -> None:
    """By steps there is NaN: infinities of both signs are added. It is there in the fused network as well."""
    torch.manual_seed(2)
    module, images = Growing(factor, bias).eval(), noise(2, 3, 8, 8)
    with torch.inference_mode():
        expected = module(images)
        fused = fuse_convolutions(module, images)
        found = fused(images)
    assert counts(fused)[1] >= 1
    assert expected.isnan().any()
    assert found.isnan().any()


def test_an_infinity_beyond_the_kernel_is_not_seen_by_zeros() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 16, 3, stride=2, groups=4), nn.Flatten()).eval()
    depthwise = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 3, stride=1, groups=4)).eval()
    images = noise(2, 4, 8, 8)
    with torch.inference_mode():
        for module in (net, depthwise):
            fused = fuse_convolutions(module, images)
            broken = images.clone()
            broken[0, 1, 3, 3] = math.inf
            torch.testing.assert_close(fused(broken), module(broken), equal_nan=True)


def test_a_failure_does_not_stay_with_the_network() -> None:
    torch.manual_seed(0)
    module, images = chain(), noise(2, 3, 8, 8)
    broken = images.clone()
    broken[1, 0, 4, 4] = math.nan
    with torch.inference_mode():
        fused = fuse_convolutions(module, images)
        before, watch = fused(images), fused_in(fused)[0].watch
        assert fused(broken).isnan().equal(module(broken).isnan())
        assert not watch.is_bounded
        assert fused(images).equal(before)
        assert watch.is_bounded


def test_an_input_of_another_size_is_refused_where_the_padding_would_differ() -> None:
    module = build("pypi:efficientnet_lite0").eval()
    fused = fuse_convolutions(module, torch.zeros(2, 3, 64, 64))
    reason = r"got a map of \(33, 33\); the copy was made for one of \(32, 32\)"
    with torch.inference_mode(), pytest.raises(ValueError, match=reason):
        fused(torch.zeros(2, 3, 65, 65))


def missing_for(types: set[torch.dtype], monkeypatch: pytest.MonkeyPatch) -> None:
    convolve = fusing._convolve

    def without(input: Tensor, *rest: Any) -> Tensor:  # noqa: A002
        if input.dtype in types:
            raise NotImplementedError("no kernel")
        return convolve(input, *rest)

    monkeypatch.setattr(fusing, "_convolve", without)
    monkeypatch.setattr(fusing, "fused_types", lru_cache(fusing.fused_types.__wrapped__))


def test_without_onednn_batch_norms_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    missing_for({torch.float32, torch.bfloat16}, monkeypatch)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    images = noise(2, 3, 8, 8)
    fused = fuse_convolutions(module, images)
    torch.testing.assert_close(fused(images), module(images))
    assert counts(fused) == (0, 0, 0)


def test_on_a_processor_without_bfloat16_its_convolutions_are_taken_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing_for({torch.bfloat16}, monkeypatch)
    module, images = shake(build("pypi:efficientnet_lite0")), noise(2, 3, 64, 64)
    with torch.inference_mode():
        fused, folded = fuse_convolutions(module, images), fold_batch_norms(module, images)
        assert counts(fused) == (49, 33, 4)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(fused(images), folded(images))  # the very same calls
        torch.testing.assert_close(fused(images), folded(images), rtol=1e-4, atol=1e-4)


def test_a_container_does_not_run_what_is_registered_in_it() -> None:
    """The activation runs twice, so that its clamp is rewritten in the container, which runs all that it holds."""
    activation = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 16, 3), activation, nn.MaxPool2d(2), nn.Conv2d(16, 4, 3), activation)
    x = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        fused = fuse_convolutions(network, x)
        # Float32 sums of up to 144 products of order 1, in another order.
        torch.testing.assert_close(fused(x), network.eval()(x), rtol=0, atol=1e-6)
    assert len(fused) == 5
