"""Upsampling: the duals of the operators, what they leave of the images, and networks whose decoders are treated."""

import math

import numpy as np
import pytest
import torch
from scipy import signal as scipy_signal
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.filters import imaging_fraction
from aliasing.kinds import OPERATORS
from aliasing.layers import BlurPool1d, FourierPool1d, FourierPool2d, KaiserPool1d

# Sums of some hundred products of order 1, in float64.
ROUNDING = 1e-12


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the dual of an operator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("taps", ["binomial4", "binomial5", [1.0, 2.0, 4.0], "kaiser"])
def test_zeros_and_a_filter_are_scipys_upfirdn(taps: str | list[float], stride: int) -> None:
    pool = KaiserPool1d(stride, "circular") if taps == "kaiser" else BlurPool1d(stride, taps, "circular")
    row = np.array(pool.taps[0]) if taps == "kaiser" else al.filters.get_taps(taps, stride)
    x = noise(40)
    period = scipy_signal.upfirdn(stride * row, np.tile(x, 5), up=stride)  # the third of five periods is periodic
    first = 2 * stride * len(x) + (len(row) - 1) // 2  # it filters by a convolution, whose first tap is at zero
    expected = period[first : first + stride * len(x)]
    np.testing.assert_allclose(pool.upsample(x[None])[0], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in OPERATORS if "linear" in OPERATORS[name].guarantees])
def test_it_is_the_transpose_of_the_pool(name: str, dims: int) -> None:
    """Their inner products are equal: ⟨pool(x), y⟩ · s = ⟨x, up(y)⟩."""
    stride = (2, 4, 2)[:dims]
    pool = OPERATORS[name].at(stride, "binomial4", "circular").double()
    pool.requires_grad_(False)
    x = noise(1, 2, *(4 * step for step in stride))
    y = noise(*pool(x).shape, seed=1)
    up = pool.upsample(y)
    found, expected = float((x * up).sum()), float((pool(x) * y).sum()) * math.prod(stride)
    assert math.isclose(found, expected, rel_tol=0, abs_tol=100 * ROUNDING)
    assert torch.allclose(pool.upsample(torch.ones_like(y)), torch.ones_like(x), rtol=0, atol=0.1)  # the gain is s


def test_the_dual_of_the_ideal_low_pass_is_scipys_interpolation() -> None:
    x = noise(3, 9)  # an odd size, so that there is nothing at the Nyquist frequency
    expected = scipy_signal.resample(x, 18, axis=-1)
    np.testing.assert_allclose(FourierPool1d(2).upsample(x[None])[0], expected, rtol=0, atol=ROUNDING)


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_nearest_neighbours_leave_the_images_of_their_closed_form(stride: int) -> None:
    x = noise(3, 64, 64).numpy()
    along = sampling.imaging(np.repeat(x, stride, -1), stride, axes=-1).imaging_fraction
    share = imaging_fraction([1 / stride] * stride, stride)
    # A bin holds χ² energy with two degrees of freedom; 3·64 lines of 32 bins: four standard deviations.
    assert abs(along.mean() - share) < 4 * share / math.sqrt(3 * 64 * 32) + 1 / 64  # and the edge of the band is a bin
    both = sampling.imaging(x.repeat(stride, -1).repeat(stride, -2), stride).imaging_fraction
    assert abs(both.mean() - (1 - (1 - share) ** 2)) < 3 / 64


def test_the_measure_is_what_subsampling_would_fold_and_the_checkerboard_is_the_images_of_the_mean() -> None:
    y = noise(2, 12, 18).numpy()
    found = sampling.imaging(y, (2, 3))
    np.testing.assert_allclose(found.imaging_fraction, sampling.decompose(y, (2, 3)).alias_fraction, atol=ROUNDING)
    means = sampling.polyphase(y, (2, 3)).mean((-2, -1)).reshape(2, -1)  # by the definition, of the phases
    np.testing.assert_allclose(found.checkerboard, means.var(1) / y.reshape(2, -1).var(1), atol=ROUNDING)
    raised = FourierPool2d(2).upsample(noise(1, 3, 7, 8) + 5).numpy()
    nothing = sampling.imaging(raised, 2)
    assert nothing.imaging_fraction.max() < ROUNDING
    assert nothing.checkerboard.max() < ROUNDING
    constant = sampling.imaging(np.full((4, 4), 3.0), 2)
    assert constant.imaging_fraction == constant.checkerboard == 0
    with pytest.raises(al.errors.UsageError, match="multiples of that as its sizes"):
        sampling.imaging(y, 5)


def test_guarantees_tell_the_images_of_operators_and_of_networks() -> None:
    laws = ["image free", "checkerboard"]
    found = al.guarantees(["blur", "flc", "aps"], laws=laws, dims=1).rows
    assert math.isclose(found["blur"]["image free"]["value"], imaging_fraction("binomial4"), abs_tol=0.01)
    assert found["flc"]["image free"]["exact"]
    assert not found["aps"]["image free"]["applies"]
    torch.manual_seed(0)
    # The phases of a transposed convolution whose stride does not divide its kernel see unequal numbers of taps.
    decoders = {"uneven": nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), "nearest": nn.Upsample(scale_factor=2)}
    networks = al.guarantees(decoders, laws=laws, size=15).rows  # odd, so that no bin is on the edge
    assert networks["uneven"]["checkerboard"]["value"] > 0.1
    assert networks["nearest"]["checkerboard"]["exact"]
    share = 1 - (1 - imaging_fraction([0.5, 0.5])) ** 2
    assert math.isclose(networks["nearest"]["image free"]["value"], share, abs_tol=0.1)
    assert not al.guarantees(nn.Conv2d(3, 3, 1), laws=laws).rows["Conv2d"]["image free"]["applies"]
