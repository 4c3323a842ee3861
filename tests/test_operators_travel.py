"""Every operator of the registry can be saved, copied, moved, recorded, differentiated, and put on tiny maps."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from aliasing.downsample.operator import Operator
from aliasing.kinds import OPERATORS
from tests.test_operators import LEARNING, made

# Sums of a hundred products of order 1 in float32, in another order.
CLOSE = {"rtol": 0, "atol": 1e-5}


def picture(*shape: int) -> Tensor:
    return torch.randn(shape or (2, 4, 6, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=OPERATORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def operator(name: str) -> Operator:
    return made(name, 2).float()


@torch.no_grad()
def test_copies_answer_the_same_and_a_checkpoint_holds_what_it_learned(name: str, operator: Operator) -> None:
    x = picture()
    expected = operator(x)
    fresh = OPERATORS[name].at(operator.stride, "binomial3", "circular").eval()
    fresh.load_state_dict(operator.state_dict())
    for copied in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator)), fresh):
        assert torch.equal(copied(x), expected)
        assert repr(copied) == repr(operator)
    assert bool(operator.state_dict()) == (name in LEARNING)


@torch.no_grad()
def test_it_keeps_dtype_layout_and_device(operator: Operator) -> None:
    x = picture()
    expected = operator(x)
    last = operator(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, expected, **CLOSE)
    with torch.autocast("cpu", torch.bfloat16):
        assert operator(x).isfinite().all()
    assert operator.double()(x.double()).dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (3, 2), (7, 5)])
def test_it_takes_the_smallest_maps_and_sizes_that_its_strides_do_not_divide(
    operator: Operator, sizes: tuple[int, int]
) -> None:
    y = operator(picture(2, 4, *sizes))
    assert y.shape[2:] == tuple(-(-size // step) for size, step in zip(sizes, operator.stride, strict=True))
    assert y.isfinite().all()


def test_gradients_of_gradients_are_finite_and_reach_what_it_learns(operator: Operator) -> None:
    operator.train()
    x = picture().requires_grad_()
    torch.manual_seed(0)
    (first,) = torch.autograd.grad(operator(x).pow(3).sum(), x, create_graph=True)
    first.square().sum().backward()
    found = [tensor.grad for tensor in (x, *operator.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in found)


@torch.no_grad()
def test_the_exported_program_answers_the_same(operator: Operator) -> None:
    x = picture()
    program = torch.export.export(operator, (x,)).module()
    torch.testing.assert_close(program(x), operator(x), **CLOSE)


@pytest.mark.slow
@torch.no_grad()
def test_the_compiled_operator_answers_the_same(operator: Operator) -> None:
    x = picture()
    torch.testing.assert_close(torch.compile(operator)(x), operator(x), **CLOSE)


@pytest.mark.slow
def test_one_process_can_train_it_with_others_in_mind(name: str) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        network = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), made(name, 2).float().train())
        parallel = torch.nn.parallel.DistributedDataParallel(network)
        parallel(picture()).square().sum().backward()
        assert network[0].weight.grad is not None
    finally:
        torch.distributed.destroy_process_group()
