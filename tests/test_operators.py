"""Each operator keeps what it guarantees, along one axis, two and three, and says rightly what it is."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.downsample.operator import Operator
from aliasing.kinds import OPERATORS
from aliasing.surgery import operators as pickled

# Sums of at most 7³ products of numbers of order 1, and transforms of as few samples, in float64.
ROUNDING = 1e-12

DIMS = [1, 2, 3]
CHOOSING = {"aps", "lps", "tips-anchored"}
LEARNING = {"adaptive", "lps", "spectral", "tips", "tips-anchored"}
EVERY = [(name, dims) for name in OPERATORS for dims in OPERATORS[name].axes]


def made(name: str, dims: int) -> Operator:
    """The operator as if it had learned something."""
    stride = (2, 4, 2) if name == "wavelet" else (2, 3, 2)  # a wavelet's low band halves
    operator = OPERATORS[name].at(stride[:dims], "binomial3", "circular").double().eval()
    random = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
    return operator


def signal(dims: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, *(8, 12, 14)[:dims], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_it_keeps_what_it_guarantees_and_guarantees_what_it_keeps(name: str, dims: int) -> None:
    operator = made(name, dims)
    assert {law for law, cell in operator.law().items() if cell.exact} == operator.guarantees


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_it_says_rightly_what_it_is(name: str, dims: int) -> None:
    operator, x = made(name, dims), signal(dims)
    assert operator.dims == dims
    y = operator(x)
    assert y.shape[2:] == tuple(-(-size // step) for size, step in zip(x.shape[2:], operator.stride, strict=True))
    assert bool(list(operator.parameters())) == (name in LEARNING)
    if "before" in operator.placements:
        samples = al.downsample.subsample(operator.low_pass(x), operator.stride, dims=dims)
        assert torch.allclose(samples, y, rtol=0, atol=ROUNDING)
    else:
        with pytest.raises(al.errors.UsageError, match="not a low-pass"):
            operator.low_pass(x)
    assert operator.filters == (name not in CHOOSING | {"tips"})
    assert operator.shares_choice == (name in CHOOSING)


@pytest.mark.parametrize(("name", "dims"), [case for case in EVERY if OPERATORS[case[0]].shares_choice])
def test_a_follower_keeps_what_its_leader_chose(name: str, dims: int) -> None:
    leader, follower, x, other = made(name, dims), made(name, dims), signal(dims), signal(dims, 3)
    follower.follow(leader)
    assert pickle.loads(pickle.dumps(follower)).stride == leader.stride
    found = []
    for by in range(2):
        leader(x.roll((by,) * dims, tuple(range(-dims, 0))))
        found.append(follower(other))
    assert not torch.equal(*found)  # the leader was shown something else
    leader(other)
    assert torch.equal(follower(other), made(name, dims)(other))


def test_an_operator_that_says_nothing_of_itself_takes_what_the_class_says() -> None:
    class Kept(Operator):
        """Every other sample."""

    with pytest.raises(al.errors.UsageError, match="Kept is not a low-pass"):
        Kept()(signal(2))
    assert Kept((2, 3, 1)).dims == 3
    assert repr(Kept()) == "Kept(stride=2)"


# --- pickles of networks that were converted when an operator did not know its stride -------------------------------


@pytest.mark.parametrize(
    ("old", "settings", "options"),
    [
        (pickled.Blur, {"taps": ((0.25, 0.5, 0.25), (1.0,)), "padding": "zero"}, {"taps": "binomial3"}),
        (pickled.Fourier, {}, {"operator": "flc"}),
        (pickled.Polyphase, {"choice": pickled.PhaseChoice(), "leads": True}, {"operator": "aps"}),
    ],
)
@torch.no_grad()
def test_an_old_pickle_is_the_network_that_it_was(old: Any, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """What such a pickle holds is put together here: a `Pooling` with its stride, an operator with its settings."""
    operator = old()
    vars(operator).update(settings)
    before = object.__new__(pickled.Pooling)
    vars(before).update(operator=operator, stride=(2, 1))

    found = pickle.loads(pickle.dumps(before))
    x = signal(2)
    expected = pickled.make_operator(options.get("operator", "blur"), options.get("taps", "binomial4"), "zero", (2, 1))
    assert found.stride == (2, 1)
    assert torch.equal(found(x), expected(x))
    if "before" in expected.placements:
        assert torch.equal(found.smooth(x), expected.low_pass(x))
    assert vars(pickle.loads(pickle.dumps(found))).keys() == {"operator"}


# --- where an operator with parameters is registered ------------------------------------------------------------------


class Scaled(Operator):
    """Every other sample, times a number that is learned."""

    def __init__(self, stride: Any) -> None:
        super().__init__(stride)
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("shown", torch.zeros(()))

    def low_pass(self, x: Tensor) -> Tensor:
        return x * self.gain


def test_a_container_does_not_run_what_is_registered_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The activation runs twice, so the operator stands around the containers, which run all that they hold."""
    monkeypatch.setattr(OPERATORS, "_added", {"scaled": Scaled})
    activation = nn.ReLU()
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, padding=1), activation), nn.Sequential(nn.Conv2d(4, 4, 3), activation)
    )
    x = torch.randn(1, 3, 16, 16)
    fixed = al.antialias(network, operator="scaled", scheme="all", example_input=x)
    assert [len(part) for part in fixed] == [2, 2]
    torch.testing.assert_close(fixed(x), network(x))
    (gain,) = (parameter for name, parameter in fixed.named_parameters() if name.endswith(".gain"))
    with torch.no_grad():
        gain.fill_(3.0)
        assert not torch.allclose(fixed(x), network(x))
    assert list(al.restore(fixed).state_dict()) == list(network.state_dict())


def test_an_operator_that_stands_in_for_several_calls_has_one_set_of_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OPERATORS, "_added", {"scaled": Scaled})
    pool = nn.MaxPool2d(2)
    network, x = nn.Sequential(pool, nn.Conv2d(3, 3, 1), pool), torch.randn(1, 3, 16, 16)
    fixed = al.antialias(network, operator="scaled", scheme="pool", example_input=x)
    assert len([name for name, _ in fixed.named_parameters() if name.endswith(".gain")]) == 1
    assert fixed(x).shape == network(x).shape
    assert np.isclose(float(fixed(x).sum()), float(network(x).sum()))
