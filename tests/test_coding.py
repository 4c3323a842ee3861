"""Compression between the shift and the network: what a view is after it, and that a run says so."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.errors import UsageError
from aliasing.protocols import make_protocol
from aliasing.protocols.coding import Coding
from aliasing.result import protocol_of

SIDE = 64


def network() -> al.Classifier:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    for weight in layers.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    return al.Classifier.of(layers, SIDE, mean=(0.5,) * 3, std=(0.2,) * 3, name="small")


def picture(seed: int = 0) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (12, 15, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize(("text", "how"), [
    ("crop:jpeg=50", {"format": "JPEG", "quality": 50, "subsampling": "4:2:0"}),
    ("crop:jpeg=75,chroma=4:4:4", {"format": "JPEG", "quality": 75, "subsampling": "4:4:4"}),
    ("grid:radius=1,webp=30", {"format": "WEBP", "quality": 30}),
])  # fmt: skip
def test_each_view_is_what_pillow_makes_of_the_shifted_one(text: str, how: dict[str, Any]) -> None:
    """The shift comes first and the code second: an encoder that is called by hand gives the same pixels."""
    image = next(iter(al.images.open_images([picture()]))).load()
    plain = text.partition(":")[0] + (":radius=1" if "radius" in text else "")
    coded, shown = (make_protocol(name).views(image, network()) for name in (text, plain))
    assert coded.pairs == shown.pairs
    for first, second in zip(coded.views, shown.views, strict=True):
        file = io.BytesIO()
        Image.fromarray(np.rint(second.draw()).astype(np.uint8)).save(file, **how)
        assert (first.shift, first.position) == (second.shift, second.position)
        assert np.array_equal(first.draw(), np.asarray(Image.open(file).convert("RGB"), np.float32))
        assert not np.array_equal(first.draw(), second.draw())
        assert np.array_equal(first.draw(), first.draw())


def test_chroma_that_is_subsampled_folds_stripes_of_colour() -> None:
    """Columns of two colours of the same luma: at 4:4:4 they stay apart, at 4:2:0 each pair becomes one colour."""
    view = np.zeros((16, 16, 3), np.float32)
    view[:, ::2], view[:, 1::2] = (150, 100, 100), (83, 134, 100)
    apart = {chroma: np.ptp(Coding("JPEG", 95, chroma).through(view)[..., 0]) for chroma in ("4:4:4", "4:2:0")}
    assert apart["4:4:4"] > 60  # of 67 levels
    assert apart["4:2:0"] < 10


def test_a_run_names_the_code_and_can_be_made_again() -> None:
    protocol = make_protocol("crop:span=2,jpeg=20")
    pictures = [picture(seed) for seed in range(4)]
    coded, again, plain = (al.measure_jitter(network(), pictures, how) for how in (protocol, protocol, "crop:span=2"))
    assert coded.table().equals(again.table())
    assert not coded.table().equals(plain.table())
    summary = coded.summary()
    assert protocol_of(summary["settings"]) == protocol
    assert "each view was coded as JPEG of quality 20, chroma 4:2:0, and decoded" in str(
        summary["models"]["small"]["notes"]
    )
    assert "crop:jpeg=20)" in str(coded)
    assert not {"jpeg", "webp", "chroma"} & set(plain.summary()["settings"]["protocol"])  # as in runs before


@pytest.mark.parametrize(("text", "message"), [
    ("crop:jpeg=101", "a quality is 0 to 100"),
    ("crop:jpeg=-1", "a quality is 0 to 100"),
    ("crop:jpeg=75,webp=75", "a view is coded once"),
    ("crop:chroma=4:2:0", "of which code"),
    ("crop:jpeg=75,chroma=4:1:0", "JPEG has 4:4:4, 4:2:2, 4:2:0"),
    ("crop:webp=75,chroma=4:4:4", "WebP has 4:2:0"),
    ("crop:jpeg=good", "not a valid int"),
])  # fmt: skip
def test_a_code_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_protocol(text)


def test_sounds_have_no_jpeg() -> None:
    sounds = al.load_model(
        nn.Sequential(nn.Conv1d(1, 4, 9, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten()), input_size=(99,), rate=99
    )
    with pytest.raises(UsageError, match="which have no JPEG"):
        make_protocol("circular:jpeg=75").require(sounds)
