"""The Lie-derivative error: zero where nothing is lost, a sum over the layers, the same by both ways of deriving."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.depth import lie_error
from aliasing.depth.lie import generator
from aliasing.errors import InputError, UsageError
from tests.networks import Net, randomise
from tests.test_depth import Double, classifier, convolution, noise


def linear() -> nn.Module:
    return Double(convolution(3, 6), convolution(6, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def strided(pool: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), pool or nn.AvgPool2d(2), nn.Conv2d(8, 8, 3, padding=1)]
    return Double(*randomise(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))))


def values(profile: al.depth.LieProfile, measure: str) -> list[float]:
    return [layer[measure]["value"] for layer in profile.summary()["layers"] if layer[measure] is not None]


def test_the_generator_is_the_derivative_of_the_shift() -> None:
    x = torch.randn(2, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = 1e-4
    numerical = (sampling.shift(x, (step, 2 * step)) - sampling.shift(x, (-step, -2 * step))) / (2 * step)
    # The central difference is off by about (π·2)³ step² / 6 of the values.
    torch.testing.assert_close(generator(x, (1, 2)), numerical, rtol=0, atol=1e-5)


def test_a_linear_network_without_stride_has_no_error() -> None:
    """To rounding: what moves is of order 1; the input and its derivative are float32 (1e-7), the rest is double."""
    profile = lie_error(classifier(linear()), noise(3))
    assert profile.method == "forward mode"
    assert max(values(profile, "contribution")) < 1e-12
    assert max(values(profile, "contribution")[1:]) < 1e-24
    assert profile.summary()["layers"][1]["error"]["value"] < 1e-12
    assert profile.summary()["layers"][1]["unexplained"]["value"] < 1e-12


def test_the_layers_add_up_to_the_whole() -> None:
    network = classifier(strided())
    profile = lie_error(network, noise(4))
    assert sum(values(profile, "share")) == pytest.approx(1, abs=1e-10)
    views = network.normalize(np.stack(noise(4)).astype(np.float32)).contiguous()
    _, derivative = torch.func.jvp(network.module, (views,), (generator(views, (1, 1)),))
    expected = derivative.square().mean(1).mean()
    assert profile.summary()["error"]["value"] == pytest.approx(float(expected), rel=1e-5)  # its input is float32
    low, high = (profile.summary()["error"][end] for end in ("low", "high"))
    assert low < profile.summary()["error"]["value"] < high


def test_where_subsampling_alone_is_at_fault_it_has_the_whole_share() -> None:
    """On a ring: a convolution moves with its input, FLC in the place of the stride as well; plain subsampling not."""
    example = torch.zeros(1, 3, 32, 32)
    plain = Double(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1))
    profile = lie_error(classifier(plain), noise(3))
    errors = values(profile, "error")
    assert errors[0] < 1e-12 < 1e-3 < errors[1]
    cured = al.antialias(plain, operator="flc", scheme="all", padding="circular", example_input=example)
    assert max(values(lie_error(classifier(cured), noise(3)), "error")[:-1]) < 1e-12


class Odd(torch.autograd.Function):
    """A function without a forward-mode derivative."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)


class OddPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Odd.apply(x)


def test_an_operator_without_forward_mode_is_differenced_and_says_so() -> None:
    forward, difference = (
        lie_error(classifier(strided(pool)), noise(3), layers="leaves") for pool in (None, OddPool())
    )
    assert (forward.method, difference.method) == ("forward mode", "central difference")
    assert difference.summary()["method"] == "central difference"
    for measure in ("contribution", "share", "error"):
        # The step of 1e-3 pixels is off by about its square, and the input of the one is float32.
        assert values(difference, measure) == pytest.approx(values(forward, measure), rel=1e-3, abs=1e-6)


def test_only_layers_through_which_all_goes_take_part() -> None:
    def residual(net: Any, x: Tensor) -> Any:
        x = net.stem(x)
        return net.pool(x + net.branch(x)).mean((2, 3))

    stem, branch = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    network = classifier(Net(residual, stem=stem, branch=branch, pool=nn.MaxPool2d(2)))
    profile = lie_error(network, noise(2), layers="leaves")
    assert profile.layers == ("stem", "pool", "output")
    assert list(profile.table()["layer"].to_pylist()) == ["stem", "pool", "output"]
    with pytest.raises(UsageError, match="no layer through which everything passes"):
        lie_error(network, noise(2), layers=["branch"])


def test_what_is_nothing_but_rounding_is_not_drawn() -> None:
    """Behind the global average there is no position to lose: contributions of 1e-33, on an axis from 1e-3 to 1."""
    figure = al.plots.lie([lie_error(classifier(strided()), noise(3), layers="leaves")])
    (line,) = figure.axes[0].lines
    heights = np.asarray(line.get_ydata(), dtype=float)
    assert 0 < len(heights) < len(figure.axes[1].lines[0].get_ydata())
    assert heights.min() > 1e-9 * heights.max()


class FailsOnWhite(nn.Module):
    """Answers NaN, or raises, where a view is all white."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.convolution, self.raises = nn.Conv2d(3, 4, 3, 2, padding=1), raises

    def forward(self, x: Tensor) -> Tensor:
        white = x.amin((1, 2, 3), keepdim=True) >= x.amax((1, 2, 3), keepdim=True)
        if self.raises and bool(white.any()) and len(x) > 1:
            raise ValueError("no white\nimages please")
        answer: Tensor = self.convolution(torch.where(white, torch.nan, x)).mean((2, 3))
        return answer


def test_an_image_whose_error_is_not_finite_is_named_and_left_out() -> None:
    white = np.full_like(noise(1)[0], 255)
    network = classifier(FailsOnWhite(raises=False))
    alone = lie_error(network, noise(3), layers="leaves").summary()
    beside = lie_error(network, [*noise(3), white], layers="leaves").summary()
    assert beside.pop("not_finite") == ["00003"]
    assert alone.pop("not_finite") == []
    assert beside["images"] == 3
    # In a batch of another size: float32 in another order.
    assert beside["error"]["value"] == pytest.approx(alone["error"]["value"], rel=1e-5)
    nothing = lie_error(network, [white], layers="leaves")
    assert nothing.summary()["error"] == {"value": None, "low": None, "high": None}
    assert all(layer["error"] is None for layer in nothing.summary()["layers"])
    figure = al.plots.lie([nothing])
    assert "not finite" in figure.legends[0].get_texts()[0].get_text()


def test_a_network_that_raises_ends_in_one_line_that_names_the_images() -> None:
    with pytest.raises(InputError, match=r"network fails on one of 00000, 00001: ValueError: no white$"):
        lie_error(classifier(FailsOnWhite(raises=True)), [*noise(1), np.full_like(noise(1)[0], 255)], layers="leaves")
