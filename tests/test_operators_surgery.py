"""Every operator of the registry can be put into a network with branches, and keeps there what it guarantees."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.kinds import OPERATORS

# Some layers of some hundred products of order 1, in float64.
ROUNDING = 1e-10
CHOOSING = sorted(name for name in OPERATORS if OPERATORS[name].shares_choice)


class Residual(nn.Module):
    """A maximum, then a block whose shortcut strides as its branch does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2)
        self.branch = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.shortcut, self.head = nn.Conv2d(6, 8, 1, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x).relu())
        return self.head((self.branch(x) + self.shortcut(x)).relu().mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Residual().double().eval()


def picture(size: int = 16) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def learned(network: nn.Module, plain: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in dict(plain.named_parameters()):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    return network


@pytest.mark.parametrize("name", OPERATORS)
def test_a_converted_network_keeps_its_weights_trains_and_travels(name: str, network: nn.Module) -> None:
    x = picture()
    fixed = al.antialias(network, operator=name, scheme="all", example_input=x)
    assert fixed(x).shape == network(x).shape
    assert set(network.state_dict()) <= set(fixed.state_dict())
    fixed.load_state_dict(network.state_dict())  # a checkpoint of the original, strictly
    again = al.antialias(network, operator=name, scheme="all", example_input=x)
    assert torch.equal(again(x), fixed(x))  # nothing of it is drawn by chance
    for copied in (copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed))):
        assert torch.equal(copied(x), fixed(x))
    fixed(picture(15))  # a size that the strides do not divide
    fixed.train()(x).square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in fixed.parameters())
    copy.deepcopy(fixed)  # what a branch follows in training does not hinder it


@torch.no_grad()
@pytest.mark.parametrize("name", CHOOSING)
def test_with_circular_padding_the_answer_stays_under_whole_shifts(name: str, network: nn.Module) -> None:
    x = picture()
    fixed = al.antialias(network, operator=name, scheme="all", padding="circular", example_input=x)
    fixed = learned(fixed, network)
    for by in [(1, 0), (0, 1), (1, 3), (2, 1), (3, 2)]:
        torch.testing.assert_close(fixed(x.roll(by, (-2, -1))), fixed(x), rtol=0, atol=ROUNDING)
    plain = al.antialias(network, operator="blur", taps=[1.0], scheme="all", padding="circular", example_input=x)
    assert not torch.allclose(plain(x.roll(1, -1)), plain(x), rtol=0, atol=1e-6)
