"""Equivariance of maps in decibels: what moves with the content has none to lose; noise has as much as there is."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aliasing as al
from aliasing.outputs.overlap import lanczos, overlap


class Blur(nn.Module):
    """A filter over circular padding: equivariant by construction."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, 1)


class Strided(nn.Module):
    """Every second sample of it: a shift of one pixel is half a cell."""

    def forward(self, x: Tensor) -> Tensor:
        return Blur()(x)[..., ::2, ::2]


class Enlarged(nn.Module):
    """Twice the size: a shift of one pixel is two cells."""

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Place(nn.Module):
    """An answer that does not move at all."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linspace(0, 1, x.shape[-1]).expand_as(x) + 0 * x


def measured(module: nn.Module, protocol: str) -> dict[str, Any]:
    network = al.Classifier(module, "net", 48, (0.0,) * 3, (1.0,) * 3, "bilinear", 56, 1.0)
    return al.measure_jitter(network, "sample", protocol, output="images", limit=10).summary()["models"]["net"]


@pytest.mark.parametrize("protocol", ["circular:pixels=3", "crop:span=3"])
def test_what_moves_with_the_content_loses_nothing_to_rounding(protocol: str) -> None:
    for module in (Blur(), Enlarged()):
        found = measured(module, protocol)
        # The mean of nine values in float32 is off by less than 1e-6 of the range: 120 dB.
        assert found["eq_t"]["value"] > 120
        assert found["eq_t_frac"]["value"] is None


def test_half_a_cell_is_a_fraction_and_folds() -> None:
    found = measured(Strided(), "circular:pixels=3")
    assert found["eq_t"]["value"] is None
    assert 15 < found["eq_t_frac"]["low"] < found["eq_t_frac"]["value"] < found["eq_t_frac"]["high"] < 60


def test_an_answer_that_stands_still_is_off_by_its_slope() -> None:
    found = measured(Place(), "crop:span=1")
    assert found["eq_t"]["value"] == pytest.approx(
        20 * np.log10(47), abs=1e-3
    )  # a step of 1/47 of the range, in float32


def test_a_sampled_wave_is_interpolated_as_far_as_lanczos_goes() -> None:
    """Below a quarter of the sampling rate, the kernel of six cells is off by less than 2 %."""
    places = np.arange(64)
    for frequency in (0.02, 0.1, 0.2):
        wave = np.cos(2 * np.pi * frequency * places)[None].repeat(9, 0)
        moved = np.cos(2 * np.pi * frequency * (places - 0.3))[None].repeat(9, 0)
        first, second = overlap(wave, moved, (0, 0.3), kernel=lanczos)
        assert first.shape[1] == 64 - 5
        assert np.abs(first - second).max() < 0.02
    assert lanczos(0.0) == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-15)


def test_two_networks_differ_by_a_level() -> None:
    networks = [
        al.Classifier(module, name, 48, (0.0,) * 3, (1.0,) * 3, "bilinear", 56, 1.0)
        for name, module in (("still", Place()), ("blur", Blur()))
    ]
    (difference,) = al.measure_jitter(networks, "sample", output="images", limit=4).summary()["differences"]
    assert difference["eq_t"]["low"] > 60
