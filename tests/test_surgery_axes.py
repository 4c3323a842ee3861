"""Filters act on the axes that are subsampled; a name is stretched to the stride, and numbers are taken as they are."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Net, difference, image, randomise, signal
from torch import Tensor, nn
from torch.nn import functional as F

import aliasing as al
from aliasing.errors import UsageError
from aliasing.surgery import specification

# Sums of up to some hundred products of numbers of order 1 in float64, in another order.
ROUNDING = 1e-13


def low_passed(x: Tensor, stride: tuple[int, ...], taps: Any) -> Tensor:
    """As NumPy writes it: pad by reflection and correlate, along each axis that is to be subsampled."""
    y = x.numpy()
    for axis, step, row in zip(range(-len(stride), 0), stride, taps, strict=True):
        if step > 1:
            weights = al.filters.get_taps(row, step)
            widths = [(0, 0)] * y.ndim
            widths[axis] = (len(weights) - 1) // 2, len(weights) // 2
            padded, size = np.pad(y, widths, mode="reflect"), y.shape[axis]
            y = sum(w * np.take(padded, np.arange(k, k + size), axis) for k, w in enumerate(weights))
    return torch.from_numpy(y)


def reference(dense: Tensor, stride: tuple[int, ...], taps: Any) -> Tensor:
    return low_passed(dense, stride, taps)[(..., *(slice(None, None, step) for step in stride))]


STRIDES = [(2, 1), (1, 2), (2, 2), (3, 1), (4, 2), (4, 4)]
SOUNDS_AND_VOLUMES = [(2,), (5,), (2, 2, 2), (1, 2, 2), (3, 1, 2)]
FILTERS = ["binomial4", "box2", [1, 2, 1], ["binomial3", [1, 3, 3, 1]]]


def every(stride: tuple[int, ...]) -> nn.Module:
    """A network that keeps every n-th sample. A layer shows that three axes are those of a sound, not of tokens."""
    steps = tuple(slice(None, None, step) for step in stride)
    return Net(lambda _, x: x[(..., *steps)] if len(steps) > 1 else F.avg_pool1d(x[(..., *steps)], 1))


def sites_of(kind: str, stride: tuple[int, ...]) -> tuple[nn.Module, Any]:
    """A network of one site, and the dense map that its operator is given."""
    dims = len(stride)
    if kind in ("max pooling", "average pooling"):
        name = kind.partition(" ")[0].replace("average", "avg")
        layer = getattr(nn, f"{name.title()}Pool{dims}d")(stride)
        return layer, lambda x, _: getattr(F, f"{name}_pool{dims}d")(x, stride, 1)
    if kind == "slicing":
        return every(stride), lambda x, _: x
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](3, 4, 5, stride, 2)
    function = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return randomise(convolution).double(), lambda x, layer: function(x, layer.weight, layer.bias, 1, 2)


@pytest.mark.parametrize("taps", FILTERS, ids=str)
@pytest.mark.parametrize("stride", STRIDES + SOUNDS_AND_VOLUMES, ids=str)
@pytest.mark.parametrize("kind", ["max pooling", "average pooling", "slicing", "convolution"])
@torch.no_grad()
def test_every_kind_of_site_is_filtered_along_its_own_axes(kind: str, stride: tuple[int, ...], taps: Any) -> None:
    network, dense = sites_of(kind, stride)
    x = signal((67, 33, 21)[len(stride) - 1], len(stride))
    if isinstance(taps, list) and isinstance(taps[0], str):
        taps = rows = (taps * 2)[: len(stride)]  # one filter per axis
    else:
        rows = [taps] * len(stride)
    converted = al.antialias(network, taps=taps, scheme="all", example_input=x)
    assert difference(converted(x), reference(dense(x, network), stride, rows)) < ROUNDING
    assert converted(x).shape == network(x).shape
    one = al.antialias(network, taps=[1], scheme="all", example_input=x)
    assert difference(one(x), network(x)) < ROUNDING
    assert difference(al.surgery.restore(converted)(x), network(x)) == 0


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@torch.no_grad()
def test_before_a_convolution_too(stride: tuple[int, int]) -> None:
    layer, x = randomise(nn.Conv2d(3, 4, 5, stride, 2)).double(), image(33)
    converted = al.antialias(layer, taps="binomial4", placement="before", scheme="all", example_input=x)
    smooth = low_passed(x, stride, ["binomial4"] * 2)
    expected = F.conv2d(smooth, layer.weight, layer.bias, stride, 2)
    assert difference(converted(x), expected) < ROUNDING


@pytest.mark.parametrize("operator", ["blur", "flc", "aps"])
@pytest.mark.parametrize(("stride", "axis"), [((2, 1), 3), ((1, 2), 2)])
def test_detail_along_an_axis_that_is_not_subsampled_stays(operator: Any, stride: Any, axis: int) -> None:
    """The finest stripes there are, along the other axis, and nothing else: nothing can alias."""
    x = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    x.index_fill_(axis, torch.arange(1, 8, 2), -1)
    network = nn.MaxPool2d(stride)
    converted = al.antialias(network, operator=operator, scheme="all", example_input=x)
    assert torch.allclose(converted(x), network(x), rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 7), st.integers(2, 7))
def test_a_named_filter_leaves_as_little_at_every_stride_as_it_is_stretched_to(down: int, across: int) -> None:
    """White noise through the converted network keeps the energy of the stretched taps: their sum of squares."""
    x = torch.zeros(1, 1, 101, 101, dtype=torch.float64)
    x[..., 50 - 50 % down, 50 - 50 % across] = 1  # an impulse at a sample that is kept
    converted = al.antialias(every((down, across)), taps="binomial4", scheme="all", example_input=x)
    rows = [al.filters.get_taps("binomial4", step) for step in (down, across)]
    kept = [row[(len(row) - 1) // 2 % step :: step] for row, step in zip(rows, (down, across), strict=True)]
    expected = torch.from_numpy(np.outer(*kept))
    found = converted(x)[0, 0]
    assert torch.allclose(found[found != 0].sort().values, expected.flatten().sort().values, atol=1e-15)


@torch.no_grad()
def test_slices_one_after_the_other_are_the_same_as_at_once() -> None:
    x, twice = image(32), Net(lambda _, x: x[:, :, ::2][:, :, :, ::2])
    found = al.antialias(twice, scheme="all", example_input=x)(x)
    assert difference(found, al.antialias(every((2, 2)), scheme="all", example_input=x)(x)) < ROUNDING


@torch.no_grad()
def test_an_average_along_an_axis_that_is_not_subsampled_stays() -> None:
    """The published placement puts the operator in the place of an average, but it filters one axis here."""
    network, x = nn.AvgPool2d(2, stride=(2, 1)), image(17)
    found = al.antialias(network, taps="binomial3", example_input=x)(x)
    assert difference(found, reference(F.avg_pool2d(x, 2, 1), (2, 1), ["binomial3", "binomial3"])) < ROUNDING


def test_taps_of_two_axes_are_written_and_read() -> None:
    network = nn.MaxPool2d(2)
    converted = al.antialias(network, taps=["binomial3", (1, 2, 1)], example_input=image(16))
    text = specification.describe(al.surgery.conversion_of(converted))
    assert text == "binomial3/1-2-1"
    again = al.antialias(network, **specification.parse(text), example_input=image(16))
    assert torch.equal(again(image(16)), converted(image(16)))


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (["binomial3"], "down and across; got 1"),
        (["binomial3"] * 3, "down and across; got 3"),
        (["binomial3", [1, -1]], "sum of the taps is zero"),
        (["binomial3", "nothing"], "no filter 'nothing'"),
        (7, "not iterable"),
    ],
    ids=str,
)
def test_wrong_taps_are_told_in_one_line(taps: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        al.antialias(nn.MaxPool2d(2), taps=taps, example_input=image(16))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_a_part_of_a_stride_that_cannot_be_kept_is_refused(kept: int) -> None:
    network = nn.Conv2d(3, 4, 7, 5, 3)
    with pytest.raises(UsageError, match="kept_stride divides each stride"):
        al.antialias(
            network, scheme=lambda site: al.surgery.Treatment(kept_stride=kept), example_input=image(32).float()
        )
