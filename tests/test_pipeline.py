"""Evaluation pipelines of people's own: what is read from them shows each photograph as they do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.data
import torch
import torchvision
from skimage import data
from torch import nn
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

import aliasing as al
from aliasing.errors import UsageError
from aliasing.models.pipeline import called, read_pipeline
from aliasing.models.told import read_told, write_told
from tests.test_models_classifier import rounding

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALIASED, LEVELS = v1.Resize(128, antialias=False), [120.0] * 3
BICUBIC, NEAREST = InterpolationMode.BICUBIC, InterpolationMode.NEAREST
PHOTOGRAPHS = [
    np.ascontiguousarray(data.astronaut()[:333, :257]),  # tall and odd
    data.coffee(),  # 400×600
    data.rocket(),  # 427×640
]


def network(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def composed(*steps: Any) -> Any:
    return v1.Compose([*steps, v1.Normalize(MEAN, STD)])


def of_v2(*steps: Any) -> Any:
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def of_timm(size: tuple[int, int] = (112, 112), **how: Any) -> Any:
    return timm.data.create_transform((3, *size), crop_pct=0.9, **how)


# Each with the resizer that is read from it, and the grey levels by which it may be rounded otherwise.
PIPELINES: dict[str, tuple[Any, str, float]] = {
    "v1": (composed(v1.Resize(128, BICUBIC), v1.CenterCrop(112), v1.ToTensor()), "pil", 0),
    "v1, squashed": (composed(v1.Resize((112, 80)), v1.ToTensor()), "pil", 0),
    "v1, of floats": (composed(v1.ToTensor(), v1.Resize(128), v1.CenterCrop(112)), "torchvision", 0),
    "v1, nested": (v1.Compose([v1.Compose([v1.Resize(128), v1.CenterCrop(112)]), composed(v1.ToTensor())]), "pil", 0),
    # It resizes bytes in floats and then rounds; v2 does so in integers, whose weights are rounded too.
    "v1, of bytes": (
        composed(v1.PILToTensor(), v1.Resize(128), v1.CenterCrop(112), v1.ConvertImageDtype(torch.float32)),
        "torchvision/uint8",
        1,
    ),
    # The resampler without a low-pass takes floats, and rounds nothing.
    "v1, aliased": (
        composed(v1.PILToTensor(), ALIASED, v1.CenterCrop(112), v1.ConvertImageDtype(torch.float32)),
        "torchvision-aliased",
        0.5,
    ),
    "v2": (of_v2(v2.ToImage(), v2.Resize(128), v2.CenterCrop(112)), "torchvision/uint8", 0),
    "v2, bicubic": (of_v2(v2.ToImage(), v2.Resize(128, BICUBIC), v2.CenterCrop(112)), "torchvision/uint8", 0),
    "v2, of pictures": (of_v2(v2.RGB(), v2.Resize(128), v2.CenterCrop((112, 80)), v2.ToImage()), "pil", 0),
    "v2, levels": (
        v2.Compose([v2.Resize((90, 90)), v2.PILToTensor(), v2.ToDtype(torch.float32), v2.Normalize(LEVELS, LEVELS)]),
        "pil",
        0,
    ),
    "preset": (torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms(), "pil", 0),
    "timm": (of_timm(interpolation="bicubic"), "pil", 0),
    "timm, squashed": (of_timm(crop_mode="squash"), "pil", 0),
    "timm, border": (of_timm((112, 80), crop_mode="border"), "pil", 0),
    "timm, rectangle": (of_timm((112, 80)), "pil", 0),
    "timm, for a prefetcher": (of_timm(use_prefetcher=True), "pil", 0),
}  # fmt: skip


def apart(classifier: Any, pipeline: Any, pixels: Any) -> float:
    """The grey levels between the network's input here and what the pipeline makes of a photograph."""
    ours = classifier.normalize(classifier.preprocess(pixels)[None])[0]
    theirs = called(pipeline, pixels, classifier.channels)
    return float(((theirs - ours).abs() * 255 * torch.tensor(classifier.std)[:, None, None]).max())


@pytest.mark.parametrize("name", PIPELINES)
def test_a_photograph_is_shown_as_the_pipeline_shows_it(name: str) -> None:
    pipeline, resizer, levels = PIPELINES[name]
    classifier = al.load_model(network(), preprocess=pipeline)
    assert classifier.resizer == resizer
    # The input is rounded to float32, of up to max(1, mean) / std there, and a level is 255 std of it.
    exact = 255 * max(classifier.std) * rounding(classifier.std)
    for pixels in PHOTOGRAPHS:
        assert apart(classifier, pipeline, pixels) <= levels + exact


def test_grey_is_rounded_once_more() -> None:
    """Pillow's luma is rounded, before or after the resize, which rounds too: half a level, three times."""
    steps = [v1.Resize(40), v1.CenterCrop(32), v1.Grayscale(), v1.ToTensor(), v1.Normalize((0.13,), (0.3,))]
    classifier = al.load_model(network(1), preprocess=v1.Compose(steps))
    assert (classifier.channels, classifier.mean, classifier.std) == (1, (0.13,), (0.3,))
    assert all(apart(classifier, v1.Compose(steps), pixels) <= 1.5 for pixels in PHOTOGRAPHS)


def test_the_first_view_of_a_run_is_what_the_pipeline_makes() -> None:
    """Black is where the windows of `crop` begin: the network's own view is the first at the pipeline's own crop."""
    pipeline = PIPELINES["v2"][0]
    classifier = al.load_model(network(), preprocess=pipeline, name="mine")
    image = next(iter(al.images.open_images([PHOTOGRAPHS[1]]))).load()
    first = al.protocols.make_protocol("pad").views(image, classifier).views[0].draw()
    assert torch.equal(
        classifier.normalize(first[None]), classifier.normalize(classifier.preprocess(image.pixels)[None])
    )
    summary = al.measure_jitter(classifier, [image.pixels], "crop:span=1").summary()["models"]["mine"]
    assert summary["resizer"]["name"] == "torchvision/uint8"
    note = "views are moved between its resize to 128 (torchvision/uint8) and its crop of the centre, 112"
    assert note in str(summary["notes"])
    assert "assumed" not in str(summary["notes"])


def test_the_protocol_s_resizer_goes_first_and_the_default_does_not() -> None:
    image = next(iter(al.images.open_images([PHOTOGRAPHS[1]]))).load()
    own = al.load_model(network(), input_size=64, resize_size=72, resizer="opencv-linear")
    plain = al.load_model(network(), input_size=64, resize_size=72)

    def first(protocol: str, shown: Any) -> Any:
        return al.protocols.make_protocol(protocol).views(image, shown).views[0].draw()

    assert np.array_equal(first("crop", own), first("crop:resizer=opencv-linear", plain))
    assert np.array_equal(first("crop:resizer=torch", own), first("crop:resizer=torch", plain))
    assert not np.array_equal(first("crop", own), first("crop", plain))
    both = al.protocols.make_protocol("resamplers:pil,torch")
    for shown in zip(both.views(image, own).views, both.views(image, plain).views, strict=True):
        assert np.array_equal(*(view.draw() for view in shown))
    assert own.identity != plain.identity


def test_pictures_that_are_not_resized_need_their_size() -> None:
    pipeline = composed(v1.ToTensor())
    with pytest.raises(UsageError, match="it resizes nothing, so say the size"):
        al.load_model(network(), preprocess=pipeline)
    classifier = al.load_model(network(), preprocess=pipeline, input_size=(40, 32))
    assert (classifier.input_size, classifier.resize_size) == ((40, 32), (40, 32))
    assert apart(classifier, pipeline, PHOTOGRAPHS[0][:40, :32]) <= 255 * max(STD) * rounding(STD)


def test_what_a_file_tells_of_its_preprocessing_has_the_resizer(tmp_path: Path) -> None:
    pipeline = PIPELINES["v2"][0]
    told = read_told(tmp_path / "net.onnx", write_told(al.load_model(network(), preprocess=pipeline)))
    assert told["resizer"] == "torchvision/uint8"
    assert "resizer" not in read_told(tmp_path / "net.onnx", write_told(al.load_model(network(), input_size=32)))


def jittered(picture: Any) -> Any:
    return picture


class Blurred(v1.CenterCrop):
    """It has a known base and does something else."""


TENSOR = v1.ToTensor()
REFUSED: list[tuple[Callable[[], Any], dict[str, Any], str]] = [
    (lambda: composed(v1.RandomResizedCrop(112), TENSOR), {}, "RandomResizedCrop cannot be read"),
    (lambda: composed(v1.Resize(128), v1.CenterCrop(112), jittered, TENSOR), {}, "jittered cannot be read"),
    (lambda: composed(v1.Resize(128), Blurred(112), TENSOR), {}, "Blurred cannot be read"),
    (lambda: composed(v1.Resize(128), TENSOR), {}, "add a CenterCrop"),
    (lambda: composed(v1.CenterCrop(112), TENSOR), {}, "no resize comes before it"),
    (lambda: composed(v1.Resize(128, max_size=200), v1.CenterCrop(112), TENSOR), {}, "max_size=200"),
    (lambda: composed(v1.Resize(128), v1.Resize(64), v1.CenterCrop(32), TENSOR), {}, "a second resize"),
    (lambda: v1.Compose([v1.Resize(128), v1.CenterCrop(112)]), {}, "ends with a picture"),
    (lambda: composed(v1.Resize(128), v1.CenterCrop(112), v1.PILToTensor()), {}, "before a step that makes floats"),
    (lambda: of_v2(v2.ToImage(), v2.Resize(128, NEAREST), v2.CenterCrop(112)), {}, "cannot resize with"),
    # torch's cubic kernel of floats overshoots black and white, which views do not.
    (lambda: composed(TENSOR, v1.Resize(128, BICUBIC), v1.CenterCrop(112)), {}, "otherwise than was read"),
    (lambda: PIPELINES["v1"][0], {"input_size": 32}, "tells input_size too"),
    (lambda: PIPELINES["v1"][0], {"crop_share": 0.5}, "tells crop_share too"),
    (lambda: PIPELINES["v1"][0], {"mean": (0.5,) * 3}, "tells mean too"),
    (lambda: 3, {}, "int cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("pipeline", "more", "message"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(pipeline: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        al.load_model(network(), preprocess=pipeline(), **more)
    assert "\n" not in str(caught.value)


def test_a_step_that_is_read_wrongly_is_found_out() -> None:
    """A transform that lies about its own size."""
    crop = v1.CenterCrop(112)
    pipeline = composed(v1.Resize(128), crop, TENSOR)
    crop.forward = lambda picture: picture.crop((0, 0, 112, 112))  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="otherwise than was read"):
        al.load_model(network(), preprocess=pipeline)


@pytest.mark.parametrize("number", range(7))
def test_albumentations_resizes_with_opencv(number: int) -> None:
    """To the bit, where both round the longer side alike: 400×600 to 128×192."""
    albumentations = pytest.importorskip("albumentations")
    from albumentations.pytorch import ToTensorV2

    shortest = albumentations.SmallestMaxSize(128, interpolation=number)
    crop, normal = albumentations.CenterCrop(112, 112), albumentations.Normalize(MEAN, STD)
    pipeline = albumentations.Compose([shortest, crop, normal, ToTensorV2()])
    classifier = al.load_model(network(), preprocess=pipeline)
    assert classifier.resizer.startswith("opencv-")
    assert "may lie up to a pixel beside" in str(classifier.notes)
    exact = 255 * max(STD) * rounding(STD)
    assert apart(classifier, pipeline, PHOTOGRAPHS[1]) <= exact
    squashed = albumentations.Compose([albumentations.Resize(112, 80, interpolation=number), normal])
    classifier = al.load_model(network(), preprocess=squashed)
    assert all(apart(classifier, squashed, pixels) <= exact for pixels in PHOTOGRAPHS)
    chance = albumentations.Compose([albumentations.CenterCrop(112, 112, p=0.5)])
    with pytest.raises(UsageError, match=r"p=0.5 leaves it to chance"):
        read_pipeline(chance)
