"""Compression between the shift and the network: what a view is after it, and that a run says so."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import aliasing as al
from aliasing.errors import InputError, UsageError
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


def through_a_file(pixels: np.ndarray[Any, Any], factor: int, pixel_format: str) -> np.ndarray[Any, Any]:
    """Pixels of even sides as the only frame of an MP4 file."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": str(factor)})
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], pixel_format
        film.mux([*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *stream.encode(None)])
    file.seek(0)
    with av.open(file) as film:
        (frame,) = film.decode(video=0)
        decoded: np.ndarray[Any, Any] = frame.to_ndarray(format="rgb24")
    return decoded


@pytest.mark.parametrize(("chroma", "pixel_format"), [("4:2:0", "yuv420p"), ("4:2:2", "yuv422p"), ("4:4:4", "yuv444p")])
@pytest.mark.parametrize("factor", [0, 23, 40])
def test_a_view_of_a_video_is_what_a_file_of_one_frame_shows(chroma: str, pixel_format: str, factor: int) -> None:
    view = picture().astype(np.float32)[:48, :64]
    found = Coding("H.264", factor, chroma).through(view)
    assert np.array_equal(found, through_a_file(view.astype(np.uint8), factor, pixel_format))
    assert np.array_equal(found, Coding("H.264", factor, chroma).through(view))


def test_a_video_loses_more_at_a_higher_factor_and_takes_any_size() -> None:
    """At 0 only the conversion of colours loses: three whole numbers of 219 or 224 levels for three of 256."""
    pytest.importorskip("av")
    view = picture().astype(np.float32)[:33, :57]
    lost = [np.abs(Coding("H.264", factor, "4:4:4").through(view) - view).mean() for factor in (0, 23, 35, 51)]
    assert lost == sorted(lost)
    assert lost[0] < 1 < lost[1]
    assert Coding("H.264", 23).through(view[:1, :1]).shape == (1, 1, 3)


def test_videos_need_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = make_protocol("crop:span=1,video=23")
    assert "each view was coded as H.264 of one key frame and CRF 23, chroma 4:2:0" in str(
        al.measure_jitter(network(), [picture()], protocol).summary()["models"]["small"]["notes"]
    )
    monkeypatch.setattr("aliasing.protocols.coding.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "aliasing\[film\]"'):
        al.measure_jitter(network(), [picture()], protocol)


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
    assert not {"jpeg", "webp", "video", "chroma"} & set(plain.summary()["settings"]["protocol"])  # as in runs before


@pytest.mark.parametrize(("text", "message"), [
    ("crop:jpeg=101", "a quality is 0 to 100"),
    ("crop:jpeg=-1", "a quality is 0 to 100"),
    ("crop:jpeg=75,webp=75", "a view is coded once"),
    ("crop:jpeg=75,video=23", "jpeg=75 and video=23; a view is coded once"),
    ("crop:video=52", "a CRF is 0 to 51"),
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
