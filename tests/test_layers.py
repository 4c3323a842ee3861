"""A layer is its function with the settings that it was given, and nothing more."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aliasing import downsample, layers

SETTINGS = {"taps": "binomial5", "padding": "replicate"}

CASES: list[tuple[nn.Module, Callable[[Tensor], Tensor], int]] = [
    (layers.Subsample2d((3, 2)), lambda x: downsample.subsample(x, (3, 2)), 2),
    (layers.BlurPool2d((3, 2), **SETTINGS), lambda x: downsample.blur_pool(x, (3, 2), **SETTINGS), 2),
    (layers.BlurPool1d(3, **SETTINGS), lambda x: downsample.blur_pool(x, 3, **SETTINGS, dims=1), 1),
    (layers.BlurPool3d(3, **SETTINGS), lambda x: downsample.blur_pool(x, 3, **SETTINGS, dims=3), 3),
    (
        layers.MaxBlurPool2d((3, 2), **SETTINGS, kernel=(2, 4)),
        lambda x: downsample.max_blur_pool(x, (3, 2), **SETTINGS, kernel=(2, 4)),
        2,
    ),
    (layers.MaxBlurPool1d(3, **SETTINGS), lambda x: downsample.max_blur_pool(x, 3, **SETTINGS, dims=1), 1),
    (layers.MaxBlurPool3d(3, **SETTINGS), lambda x: downsample.max_blur_pool(x, 3, **SETTINGS, dims=3), 3),
    (layers.FourierPool2d((3, 2)), lambda x: downsample.fourier_pool(x, (3, 2)), 2),
    (layers.FourierPool1d(3), lambda x: downsample.fourier_pool(x, 3, dims=1), 1),
    (layers.FourierPool3d((3, 2, 1)), lambda x: downsample.fourier_pool(x, (3, 2, 1), dims=3), 3),
    (layers.PolyphasePool2d((3, 2)), lambda x: downsample.polyphase_pool(x, (3, 2)), 2),
    (layers.PolyphasePool1d(3), lambda x: downsample.polyphase_pool(x, 3, dims=1), 1),
    (layers.PolyphasePool3d((3, 2, 1)), lambda x: downsample.polyphase_pool(x, (3, 2, 1), dims=3), 3),
    (layers.BlurUpsample2d((3, 2), **SETTINGS), lambda x: downsample.blur_upsample(x, (3, 2), **SETTINGS), 2),
]
IDS = [type(case[0]).__name__ for case in CASES]


def signal(dims: int) -> Tensor:
    return torch.randn(2, 4, *(9, 10, 11)[:dims], generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("layer", "function", "dims"), CASES, ids=IDS)
def test_a_layer_is_its_function(layer: nn.Module, function: Callable[[Tensor], Tensor], dims: int) -> None:
    x = signal(dims)
    assert torch.equal(layer(x), function(x))
    assert torch.equal(layer(x[0]), function(x[0]))  # without a batch


@pytest.mark.parametrize(("layer", "function", "dims"), CASES, ids=IDS)
def test_it_holds_no_tensor_and_travels(layer: nn.Module, function: Callable[[Tensor], Tensor], dims: int) -> None:
    assert not layer.state_dict()
    assert not list(layer.parameters())
    assert not list(layer.buffers())
    x = signal(dims)
    for traveller in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.double().float()):
        assert torch.equal(traveller(x), function(x))
        assert repr(traveller) == repr(layer)
    assert repr(layer).startswith(f"{type(layer).__name__}(stride=")
    assert layer(x.to("meta")).shape == function(x).shape


@pytest.mark.parametrize(("layer", "function", "dims"), [case for case in CASES if case[2] == 2])
def test_it_exports_with_any_batch(layer: nn.Module, function: Callable[[Tensor], Tensor], dims: int) -> None:
    program = torch.export.export(layer, (signal(dims),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    x = signal(dims).repeat(3, 1, 1, 1)
    # Sums of at most 25 products of order 1, in another order.
    torch.testing.assert_close(program.module()(x), function(x), rtol=0, atol=25 * torch.finfo(x.dtype).eps)


def test_a_shortcut_follows_the_phase_that_it_is_told() -> None:
    x, phase = signal(2), torch.tensor([5, 0])
    layer = layers.PolyphasePool2d((3, 2))
    assert torch.equal(layer(x, phase), downsample.polyphase_pool(x, (3, 2), phase=phase))
    assert not torch.equal(layer(x, phase), layer(x, torch.tensor([1, 1])))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: layers.BlurPool2d(0), "stride is a whole number"),
        (lambda: layers.BlurPool2d(taps="binomal4"), "no filter 'binomal4'"),
        (lambda: layers.BlurPool2d(padding="mirror"), "padding is one of reflect"),
        (lambda: layers.MaxBlurPool2d(kernel=(2, 2, 2)), "kernel is a whole number"),
    ],
)
def test_wrong_settings_are_told_when_it_is_made(make: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
