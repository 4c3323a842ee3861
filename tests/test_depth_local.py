"""Local errors: zero for what commutes with shifts, closed forms for what does not, and every call under its kind."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import resample
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.depth import local_errors
from aliasing.downsample.nonlinearity import Polynomial
from aliasing.errors import InputError
from tests.test_depth import SIZE, Double, classifier, noise


def kinds(module: nn.Module, **given: Any) -> dict[str, float]:
    found = local_errors(classifier(Double(module)), noise(2), **given).summary()
    return {kind: row["error"]["value"] for kind, row in found["kinds"].items()}


def head(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def conv(stride: int = 1, padding: Any = 1, mode: str = "zeros", kernel: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, kernel, stride, padding, padding_mode=mode)


def conv_behind() -> nn.Module:
    return nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")


def test_a_circular_convolution_moves_with_its_input() -> None:
    """In float64 the squares of rounding: (1e-15)² times the gain of 1 sample of output per sample."""
    assert kinds(head(conv(mode="circular"))) == {"padding": pytest.approx(0, abs=1e-25)}
    assert kinds(head(conv()))["padding"] > 1e-3


def test_a_stride_is_told_from_its_padding() -> None:
    circular, zeros = (kinds(head(conv(2, mode=mode))) for mode in ("circular", "zeros"))
    assert circular["stride"] == pytest.approx(zeros["stride"], rel=1e-12)
    assert circular["padding"] == pytest.approx(0, abs=1e-25)
    assert zeros["padding"] > 1e-3
    assert zeros["stride"] > 0.1  # of white noise three quarters fold


def test_the_stride_of_a_subsampling_is_its_equivariance_error() -> None:
    """An independent way: `aliasing.sampling.equivariance_error` of every second sample."""
    network = classifier(Double(head(nn.MaxPool2d(1, 2))))
    found = local_errors(network, noise(1)).summary()["calls"][0]
    view = network.normalize(noise(1)[0][None].astype(np.float32)).double()
    expected = sampling.equivariance_error(lambda x: x[..., ::2, ::2], view[0], [(1, 1)], 2)
    assert found["error"]["value"] == pytest.approx(float(expected[0]), rel=0.05)  # over what moved, not what was there


def test_an_activation_is_free_of_error_if_it_is_alias_free() -> None:
    """A degree-two polynomial between U and M D moves by any fraction; under a whole pixel every activation does."""
    waves = nn.Sequential(conv(2, mode="circular"), nn.ReLU())
    assert kinds(head(*waves))["non-linearity"] > 1e-3
    assert kinds(head(conv(mode="circular"), nn.ReLU()))["non-linearity"] == pytest.approx(0, abs=1e-25)
    assert kinds(head(conv(mode="circular"), nn.ReLU()), pixels=(0.5, 0.5))["non-linearity"] > 1e-3


def test_the_folded_share_of_an_activation_is_that_of_scipys_interpolation() -> None:
    """A wave of seven cycles: softplus of it at 2 samples for each is cut to the band and subsampled by scipy."""
    place = np.arange(SIZE)
    wave = np.round(127 + 100 * np.cos(2 * np.pi * 7 * place / SIZE)).astype(np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(wave[:, None], (SIZE, SIZE, 3)))
    network = classifier(Double(head(nn.Softplus(beta=6))))
    found = local_errors(network, [picture]).summary()["calls"][0]["folded"]["value"]
    x = network.normalize(picture[None].astype(np.float32))[0, 0, 0].double().numpy()
    y, twice = (np.logaddexp(0, 6 * samples) / 6 for samples in (x, resample(x, 2 * SIZE)))
    # scipy keeps half of what lies at the Nyquist frequency itself: little of what folds.
    expected = np.square(y - resample(twice, SIZE)).sum() / np.square(y - y.mean()).sum()
    assert found == pytest.approx(expected, rel=0.02)
    assert found > 1e-3


def test_norms_and_attention_on_tokens_are_measured_on_their_grid() -> None:
    import timm

    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=48, num_classes=10, depth=1).eval()
    found = local_errors(al.Classifier.of(vit, 48), noise(2, 48)).summary()
    assert {kind: row["calls"] for kind, row in found["kinds"].items()} == {
        "stride": 1,
        "non-linearity": 1,
        "normalisation": 3,
        "attention": 1,
    }
    assert not found["not_measured"]
    assert all(math.isfinite(call["error"]["value"]) for call in found["calls"])


def test_an_operator_takes_the_place_of_the_stride() -> None:
    """FLC moves by any fraction; what a plain stride misses is of its own order."""
    plain = Double(head(conv(2, mode="circular"), nn.ReLU(), conv_behind())).eval()
    fixed = al.antialias(plain, operator="flc", scheme="all", example_input=torch.zeros(1, 3, SIZE, SIZE))
    found = [local_errors(classifier(module), noise(2)).summary()["kinds"] for module in (plain, fixed)]
    before, after = ({kind: row["error"]["value"] for kind, row in kinds.items()} for kinds in found)
    assert before["stride"] > 0.1
    assert after["stride"] == pytest.approx(0, abs=1e-25)


def test_polynomials_of_the_package_are_no_activation_that_is_known() -> None:
    assert "non-linearity" not in kinds(head(conv(mode="circular"), Polynomial()))


def test_no_image_is_told(tmp_path: Any) -> None:
    with pytest.raises(InputError):
        local_errors(classifier(Double(head(conv()))), tmp_path)


class Overflowing(nn.Module):
    """Bright pictures leave the range of its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.where(x.mean((1, 2, 3), keepdim=True) > 0, torch.inf, 1.0)
        return (self.conv(x) * scale).relu().mean((2, 3))


def test_an_image_that_is_not_finite_is_left_out_whole_and_named() -> None:
    bright, dark = np.full((SIZE, SIZE, 3), 255, np.uint8), noise(1)[0] // 8
    network = classifier(Overflowing())
    found = local_errors(network, [dark, bright]).summary()
    assert (found["images"], len(found["not_finite"])) == (1, 1)
    alone = local_errors(network, [dark]).summary()
    assert found["kinds"] == alone["kinds"]
    assert found["calls"] == alone["calls"]
    none = local_errors(network, [bright]).summary()
    assert (none["images"], none["kinds"]) == (0, {})


def test_an_interval_of_squares_begins_at_0() -> None:
    found = local_errors(classifier(Double(head(nn.ReLU(), nn.Conv2d(3, 3, 3, 2)))), noise(2)).summary()
    assert all(call["error"]["low"] >= 0 for call in found["calls"])
