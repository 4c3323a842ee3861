"""The maximum at every position is torch's, values and gradients, ties and all."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from aliasing.downsample.sliding import dense_maximum


def example(shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    """Whole numbers from 0 to 4, as many ties as behind a ReLU."""
    x = torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(0)).double()
    return x.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (1, 3), (2, 3), (4, 2), (1, 1)])
def test_values_and_gradients_are_torchs(
    kernel: tuple[int, int], padding: tuple[int, int], layout: torch.memory_format
) -> None:
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        pytest.skip("torch pads by half a window at most")
    x = example((2, 3, 9, 8), layout).requires_grad_()
    found, expected = dense_maximum(x, kernel, padding), F.max_pool2d(x, kernel, 1, padding)
    assert torch.equal(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    assert found.is_contiguous(memory_format=layout)
    given, wanted = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected))
    # Sums of up to nine numbers of order 1, in another order.
    assert torch.allclose(given, wanted, rtol=0, atol=1e-14)
    with torch.no_grad():
        assert torch.equal(dense_maximum(x, kernel, padding), expected)


def test_of_equal_values_the_first_in_the_first_row_gets_the_gradient() -> None:
    x = torch.tensor([[[[0.0, 7.0], [7.0, 7.0]]]], requires_grad=True)
    dense_maximum(x, (2, 2)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[[0.0, 1.0], [0.0, 0.0]]]]


def test_infinity_and_no_number() -> None:
    x = torch.tensor([[-torch.inf, -torch.inf, torch.nan, 1.0, torch.inf]])[None]
    found, expected = dense_maximum(x, (1, 2)), F.max_pool2d(x, (1, 2), 1)
    assert torch.equal(found.nan_to_num(nan=99.0), expected.nan_to_num(nan=99.0))


def test_gradients_of_second_order_and_in_forward_mode() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: dense_maximum(x, (3, 2)).square(), x)
    tangent = torch.randn_like(x)
    for primal in (x, x.detach()):
        _, found = torch.func.jvp(lambda x: dense_maximum(x, (3, 2)), (primal,), (tangent,))
        _, expected = torch.func.jvp(lambda x: F.max_pool2d(x, (3, 2), 1), (primal,), (tangent,))
        assert torch.equal(found, expected)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        assert torch.equal(torch.autograd.forward_ad.unpack_dual(dense_maximum(dual, (3, 2))).tangent, expected)


def test_gradients_image_by_image() -> None:
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    weight = torch.randn(2, dtype=torch.float64)

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return dense_maximum(x * weight[:, None, None], (2, 2)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weight, x)
    assert torch.allclose(each.sum(0), torch.func.grad(loss)(weight, x), rtol=1e-12)  # sums in another order


def test_unbatched_and_low_precision() -> None:
    x = torch.randn(3, 7, 7, dtype=torch.bfloat16)
    assert torch.equal(dense_maximum(x, (3, 3), (1, 1)), F.max_pool2d(x, 3, 1, 1))


@pytest.mark.parametrize("kernel", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_what_comes_behind_may_work_in_place(kernel):
    x = torch.randn(2, 3, 8, 8)
    leaf = x.clone().requires_grad_()
    y = F.relu(dense_maximum(leaf, kernel), inplace=True)
    assert torch.equal(y, F.max_pool2d(x, kernel, 1).relu())
    y.sum().backward()
    assert leaf.grad is not None
