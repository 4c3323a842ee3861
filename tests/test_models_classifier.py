"""Preprocessing is the publisher's own, and views become exactly the tensors that it makes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import timm.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import nn

import aliasing as al
from aliasing.errors import UsageError
from tests.model_files import LITES, tiny

PHOTOGRAPHS = {
    "square": data.astronaut(),  # 512×512
    "wide": data.coffee(),  # 400×600
    "tall": np.ascontiguousarray(data.coffee()[:, 100:401]),  # 400×301
    "odd": np.ascontiguousarray(data.astronaut()[:333, :257]),
    "smaller than the network": np.ascontiguousarray(data.astronaut()[100:201, 150:300]),
}


def rounding(std: Any) -> float:
    """What float32 may differ by, when both sides take the same uint8 pixels from Pillow.

    The published presets compute x / 255, − mean, / std; ours − 255 mean, · 1 / (255 std): with the roundings of mean
    and std themselves at most eight, each of 2⁻²⁴ of a result below 1 / std.
    """
    return 8 * 2.0**-24 / min(std)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize("name", LITES)
def test_preprocessing_is_timms(name: str, photograph: str, lites: dict[str, al.Classifier]) -> None:
    classifier = lites[name]
    config = timm.data.resolve_data_config(model=classifier.module)
    theirs = timm.data.create_transform(**config, is_training=False)
    pixels = PHOTOGRAPHS[photograph]
    ours = classifier.normalize(classifier.preprocess(pixels)[None])[0]
    torch.testing.assert_close(ours, theirs(Image.fromarray(pixels)), rtol=0, atol=rounding(classifier.std))


def test_sizes_and_interpolation_of_the_lites(lites: dict[str, al.Classifier]) -> None:
    """As in the published table: shorter side 256, 272, 292 for 224, 240, 260 pixels, bicubic."""
    found = [(c.input_size, c.resize_size, c.interpolation) for c in lites.values()]
    assert found == [(224, 256, "bicubic"), (240, 272, "bicubic"), (260, 292, "bicubic")]


def test_views_are_whole_numbers_in_range() -> None:
    view = tiny(nn.Identity(), 100).preprocess(PHOTOGRAPHS["wide"])
    assert view.dtype == np.float32
    assert view.shape == (100, 100, 3)
    assert view.min() >= 0
    assert view.max() <= 255
    assert np.array_equal(view, np.round(view))


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(tiny(nn.Identity(), 32).preprocess(pixels), pixels)


@given(st.tuples(*[st.floats(0.05, 0.95)] * 3), st.tuples(*[st.floats(0.05, 1)] * 3))
def test_the_mean_colour_normalises_to_exactly_zero(mean: Any, std: Any) -> None:
    classifier = replace(tiny(nn.Identity()), mean=mean, std=std)
    views = np.broadcast_to(classifier.mean_colour, (2, 4, 5, 3)).copy()
    assert not classifier.normalize(views).any()


def test_normalised_views_are_channels_last_and_views_are_left_alone() -> None:
    views = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype(np.float32)
    before = views.copy()
    batch = tiny(nn.Identity()).normalize(views)
    assert batch.shape == (4, 3, 8, 8)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(views, before)
    assert torch.equal(batch, tiny(nn.Identity()).normalize(torch.from_numpy(views)))


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 3, 8, 8), (1, 8, 8, 4)])
def test_views_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected N×H×W×3"):
        tiny(nn.Identity()).normalize(np.zeros(shape, np.float32))


@pytest.mark.parametrize("pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_pixels_of_another_kind_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="expected a uint8 image H×W×3"):
        tiny(nn.Identity()).preprocess(pixels)


@pytest.mark.parametrize(
    "change",
    [
        {"interpolation": "area"},
        {"input_size": 0},
        {"input_size": 9},  # larger than resize_size
        {"mean": (0.5,)},
        {"std": (1.0, 1.0, 0.0)},
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        replace(tiny(nn.Identity()), **change)
