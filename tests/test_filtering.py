"""Filters folded into convolutions: the same outputs, at the border too, and nothing folded that may not be."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import UsageError
from aliasing.surgery.filtering import Continuation, Filter, fold_filters
from aliasing.surgery.fusing import _FusedConvolution, fuse_convolutions
from aliasing.surgery.rewrite import TreatedForward
from tests.networks import Net, build

exporting: Any = importlib.import_module("aliasing.surgery.export")  # the package has a function of that name
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TAPS = ("binomial2", "binomial3", "binomial4", "binomial5", "binomial6", "binomial7", "kaiser8", [1.0, 2, 5, 2])
# Sums of up to some thousand products of order one, of terms that cancel from up to 64 times as much, in units of
# 1e-16; three digits are left for chance. float32 has units of 6e-8.
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def kinds(module: nn.Module) -> tuple[int, int]:
    """How many filters are folded, and how many stand apart."""
    parts = list(module.modules())
    return sum(isinstance(part, Continuation) for part in parts), sum(isinstance(part, Filter) for part in parts)


def difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


def before(module: nn.Module, x: Tensor, **how: Any) -> nn.Module:
    return al.antialias(module, placement="before", **{"scheme": "all", "example_input": x, **how})


@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_folded_filter_gives_the_same_map_up_to_its_border(data: Any) -> None:
    """Whatever the filter, both paddings, kernel, stride, dilation, groups, size and number of axes; the reference is
    the network itself, which pads, filters, pads and convolves."""
    axes = data.draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, dilation = each(1, 5 if axes < 3 else 3), each(1, 3), each(1, 2)
    padding = tuple(data.draw(st.integers(0, size)) for size in kernel)
    stride = (2, *stride[1:])
    groups, dtype = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.sampled_from(list(ROUNDING)))
    net: Any = CONVOLUTIONS[axes - 1](4, 4, kernel, stride, padding, dilation, groups, bias=data.draw(st.booleans()))
    reach = [spread * (size - 1) + 1 for size, spread in zip(kernel, dilation, strict=True)]
    least = [span + step - 2 * width for span, step, width in zip(reach, stride, padding, strict=True)]  # two outputs
    x = noise(2, 4, *(data.draw(st.integers(max(size, 2), max(size, 14))) for size in least), dtype=dtype)
    module = nn.Sequential(net, nn.ReLU()).to(dtype).eval()
    taps = data.draw(st.sampled_from(TAPS))
    try:
        converted = before(module, x, taps=taps, padding=data.draw(st.sampled_from(["reflect", "replicate", "zero"])))
    except UsageError:  # the kernel covers the map: there is nothing to treat
        reject()
    with torch.no_grad():
        folded = fold_filters(converted, x)
        assert kinds(folded) in ((1, 0), (0, 1))
        found, expected = folded[0](x), converted[0](x)  # type: ignore[index]
    assert float((found - expected).abs().max()) <= ROUNDING[dtype] * float(expected.abs().max() + 1)


@pytest.mark.parametrize(
    ("taps", "kernel", "groups", "folds"),
    [
        ("binomial4", 3, 32, True),
        ("binomial7", 3, 32, True),
        ("binomial4", 5, 32, True),
        ("binomial4", 3, 16, True),  # two inputs for each output: twice (36 − 9) / 4 multiply–adds against 16
        ("binomial4", 3, 8, False),
        ("binomial4", 3, 1, False),
        ("binomial7", 7, 32, False),  # three zeros in front: terms of a thousand times the map would cancel
    ],
)
def test_folded_is_what_costs_less_and_keeps_its_digits(taps: str, kernel: int, groups: int, folds: bool) -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, kernel, 2, kernel // 2, groups=groups), nn.ReLU()).eval()
    x = noise(2, 32, 15, 16, dtype=torch.float32)
    assert kinds(fold_filters(before(net, x, taps=taps), x)) == (int(folds), int(not folds))


# How many filters are folded and how many stand apart; how many convolutions are fused, and how many clamp.
NETWORKS = {
    "torchvision:mobilenet_v2": (4, 1, 52, 35),
    "torchvision:resnet18": (0, 7, 20, 9),
    "pypi:efficientnet_lite0": (4, 0, 49, 33),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_the_same(name: str) -> None:
    network = al.load_model(name).module if name.startswith("pypi") else build(name)
    x = noise(2, 3, 96, 96, dtype=torch.float32)
    converted = before(network, x)
    state = {key: value.clone() for key, value in converted.state_dict().items()}
    folded = fold_filters(converted, x)
    with torch.inference_mode():
        fused = fuse_convolutions(folded, x)
        assert difference(fused(x), converted(x)) < ROUNDING[torch.float32]
        double = converted.double()
        assert difference(fold_filters(double, x.double())(x.double()), double(x.double())) < 1e-11  # some 50 layers
    steps = [part for part in fused.modules() if isinstance(part, _FusedConvolution)]
    assert (*kinds(folded), len(steps), sum(step.clamp is not None for step in steps)) == NETWORKS[name]
    assert all(
        torch.equal(state[key], value.float()) for key, value in converted.state_dict().items() if "num" not in key
    )
    assert any(isinstance(vars(part).get("forward"), TreatedForward) for part in converted.modules())


def test_kaiser_and_wavelet_filters_fold_and_filters_that_learn_or_choose_do_not() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, 2, groups=8), nn.ReLU()).eval()
    x = noise(2, 8, 80, 81, dtype=torch.float32)
    pytest.importorskip("pywt")
    for operator, folded in (("kaiser", 1), ("wavelet", 1), ("flc", 0), ("adaptive", 0)):
        converted = before(net, x, operator=operator)
        copied = fold_filters(converted, x)
        assert kinds(copied) == (folded, 1 - folded), operator
        with torch.no_grad():
            assert difference(copied(x), converted(x)) < ROUNDING[torch.float32]


def twice(net: Any, x: Tensor) -> Tensor:
    return net.conv(x) + net.conv(x.flip(-1))


def functional(net: Any, x: Tensor) -> Tensor:
    """A convolution of its own is counted among those of the modules inside."""
    maps: Tensor = torch.nn.functional.conv2d(net.conv(x), net.conv.weight, stride=2, groups=4)
    return maps


@pytest.mark.parametrize("kind", ["twice", "functional", "hook", "padding mode", "circular"])
def test_only_what_is_provably_the_same_is_folded(kind: str) -> None:
    conv = nn.Conv2d(4, 4, 3, 2, 1, groups=4, padding_mode="reflect" if kind == "padding mode" else "zeros")
    ways: dict[str, Any] = {"twice": twice, "functional": functional}
    net = Net(ways.get(kind, lambda net, x: net.conv(x)), conv=conv).eval()
    x = noise(2, 4, 17, 18, dtype=torch.float32)
    converted = before(net, x, padding="circular" if kind == "circular" else None)
    if kind == "hook":
        converted.conv.register_forward_hook(lambda module, given, output: 2 * output)  # type: ignore[union-attr, operator]
    folded = fold_filters(converted, x)
    assert kinds(folded) == (0, 0)
    with torch.no_grad():
        assert torch.equal(folded(x), converted(x))


def test_a_map_that_is_too_small_or_padded_for_another_size_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1, groups=4)).eval()
    x = noise(2, 4, 9, 9, dtype=torch.float32)
    folded = fold_filters(before(net, x), x)
    with pytest.raises(ValueError, match=r"got a map of 2×9; a filter .* needs 3×3 or more"):
        folded(noise(2, 4, 2, 9, dtype=torch.float32))
    timm = pytest.importorskip("timm")
    same = nn.Sequential(timm.layers.Conv2dSame(4, 4, 3, 2, groups=4)).eval()
    x = noise(2, 4, 10, 10, dtype=torch.float32)
    folded = fold_filters(before(same, x), x)
    assert kinds(folded) == (1, 0)
    with pytest.raises(ValueError, match="got a map of 10×11; the copy was made for one of 10×10"):
        folded(noise(2, 4, 10, 11, dtype=torch.float32))


def small() -> nn.Module:
    """A stem, whose filter stays, and a depthwise convolution, whose filter is folded."""
    torch.manual_seed(0)
    depthwise = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU6(), depthwise, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()


@pytest.mark.parametrize("suffix", exporting.SUFFIXES)
@pytest.mark.parametrize("folds", [True, False])
def test_a_program_answers_as_its_network_at_any_size(
    suffix: str, folds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export` itself compares at two sizes; here odd ones follow, at which the last outputs see other samples."""
    programs(small(), 32, (33, 46), suffix, folds, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_whole_network_answers_as_an_onnx_program(
    name: str, folds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(build(f"torchvision:{name}"), 64, (65, 111), ".onnx", folds, tmp_path, monkeypatch)


def programs(
    network: nn.Module,
    side: int,
    others: tuple[int, ...],
    suffix: str,
    folds: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    if not folds:
        monkeypatch.setattr(exporting, "fold_filters", lambda module, example: module)
    model = before(al.Classifier.of(network, side), None)  # type: ignore[arg-type]
    made = exporting.export(model, folder / f"net{suffix}")  # type: ignore[arg-type]
    assert made.any_size
    assert made.difference < 1e-5
    _, program = exporting._RUNTIMES[suffix](made.path)
    for size in others:
        x = noise(3, 3, size, size + 1, dtype=torch.float32)
        assert exporting._difference(program(x), model.module(x)) < 1e-5
