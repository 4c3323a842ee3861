"""A network sees a photograph as its publisher meant it: every published transform and size, one channel or three."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import timm
import timm.data
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.fitting import CROP_MODES
from aliasing.models import from_timm, from_torchvision
from aliasing.models.declared import built_for
from aliasing.resamplers import INTERPOLATIONS
from tests.model_files import hub_cache
from tests.test_models_classifier import PHOTOGRAPHS as OF_EVERY_SHAPE
from tests.test_models_classifier import rounding

HALF = (0.5, 0.5, 0.5)
PHOTOGRAPHS = {
    "tall and odd": np.ascontiguousarray(data.astronaut()[:333, :257]),
    "wide": np.ascontiguousarray(data.coffee()[::2, ::2]),  # 200×300
}


# --- as published ----------------------------------------------------------------------------------------------------


def published_by_timm() -> Iterator[tuple[dict[str, Any], bool]]:
    """Every distinct way in which timm evaluates one of its published weights, each with a network's configuration."""
    seen = set()
    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name).to_dict()
        for is_test in (False, True):
            way = timm.data.resolve_data_config(pretrained_cfg=config, use_test_size=is_test)
            is_filled = way["crop_mode"] == "border"  # with the mean; elsewhere the pixels do not depend on it
            key = tuple(value for key, value in way.items() if is_filled or key not in ("mean", "std"))
            if key not in seen:
                seen.add(key)
                yield config, is_test


def described(config: dict[str, Any], is_test: bool = False) -> al.Classifier:
    """The preprocessing that is read from a configuration, around a network that does nothing."""
    module = nn.Identity()
    module.pretrained_cfg = config  # type: ignore[assignment]
    return from_timm.describe(module, f"timm:it{'@test' if is_test else ''}")


def timms_pixels(config: dict[str, Any], picture: Image.Image, is_test: bool = False, **given: Any) -> Any:
    """What timm's own evaluation transform makes of a photograph before it normalises: uint8, H×W×C."""
    way = timm.data.resolve_data_config(given, pretrained_cfg=config, use_test_size=is_test)
    transform = timm.data.create_transform(**way, is_training=False, use_prefetcher=True)
    return transform(picture).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("turn", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_published_preprocessing_of_timm_is_timms_to_the_bit(turn: int) -> None:
    """On one photograph each, in turn; the slow test takes the other ones."""
    ways, photographs = list(published_by_timm()), list(PHOTOGRAPHS.values())
    assert len(ways) > 90
    for number, (config, is_test) in enumerate(ways, turn):
        pixels = photographs[number % len(photographs)]
        ours = described(config, is_test).preprocess(pixels)
        theirs = timms_pixels(config, Image.fromarray(pixels), is_test)
        assert np.array_equal(ours, theirs), (config["architecture"], config.get("tag"), is_test)


@pytest.mark.parametrize("mode", CROP_MODES)
def test_timms_normalisation_is_timms(mode: str) -> None:
    """The colour of a border too: timm rounds it to whole levels, so that it is nearly zero, and not exactly."""
    config = {"input_size": (3, 60, 90), "crop_pct": 0.9, "crop_mode": mode, "mean": (0.1, 0.5, 0.7), "std": HALF}
    way = timm.data.resolve_data_config(pretrained_cfg=config)
    pixels, classifier = PHOTOGRAPHS["wide"], described(config)
    ours = classifier.normalize(classifier.preprocess(pixels)[None])[0]
    theirs = timm.data.create_transform(**way)(Image.fromarray(pixels))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=rounding(HALF))


sides = st.integers(1, 70)


@settings(max_examples=200)
@given(
    image=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    share=st.sampled_from((0.7, 0.875, 0.9, 0.95, 0.96, 1.0, 1.15, 2.0)),
    mode=st.sampled_from(tuple(CROP_MODES)),
    interpolation=st.sampled_from(INTERPOLATIONS),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_any_preprocessing_that_timm_can_say_is_timms_to_the_bit(
    image: tuple[int, int], size: tuple[int, int], share: float, mode: str, interpolation: str, mean: Any
) -> None:
    config = {
        "input_size": (3, *size),
        "crop_pct": share,
        "crop_mode": mode,
        "interpolation": interpolation,
        "mean": mean,
    }
    pixels = np.random.default_rng(sum(image)).integers(0, 256, (*image, 3), np.uint8)
    with contextlib.suppress(ValueError):  # Pillow has no picture without a row, to which timm rounds slivers
        theirs = timms_pixels(config, Image.fromarray(pixels))
        assert np.array_equal(described(config).preprocess(pixels), theirs)


def test_every_published_preprocessing_of_torchvision_is_torchvisions() -> None:
    seen, count = set(), 0
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            preset, count = weights.transforms(), count + 1
            classifier = from_torchvision.describe(nn.Identity(), name, weights)
            given = (preset.crop_size, preset.resize_size, preset.mean, preset.std, preset.interpolation.value)
            ours = ([classifier.input_size], [classifier.resize_size], list(classifier.mean), list(classifier.std))
            assert (*map(list, given[:4]), given[4]) == (*ours, classifier.interpolation)
            assert classifier.crop_mode == "center"
            if str(given) in seen:
                continue
            seen.add(str(given))
            for pixels in OF_EVERY_SHAPE.values():
                shown = classifier.normalize(classifier.preprocess(pixels)[None])[0]
                torch.testing.assert_close(shown, preset(Image.fromarray(pixels)), rtol=0, atol=rounding(preset.std))
    assert count >= 115


def test_a_segmentation_network_sees_its_own_size_without_a_crop() -> None:
    for name in torchvision.models.list_models(module=torchvision.models.segmentation):
        for weights in torchvision.models.get_model_weights(name):
            preset, ours = weights.transforms(), from_torchvision.describe(nn.Identity(), name, weights)
            assert [ours.input_size] == [ours.resize_size] == list(preset.resize_size)
            assert (ours.mean, ours.std) == (tuple(preset.mean), tuple(preset.std))
            square = np.random.default_rng(0).integers(0, 256, (520, 520, 3), np.uint8)
            shown = ours.normalize(ours.preprocess(square)[None])[0]
            torch.testing.assert_close(shown, preset(Image.fromarray(square)), rtol=0, atol=rounding(preset.std))


def test_a_border_is_said() -> None:
    config = {"input_size": (3, 64, 64), "crop_pct": 1.15, "crop_mode": "center"}
    assert any("black border: a crop share of 1.15" in note for note in described(config).notes)
    assert described(config).resize_size == 55
    assert described({**config, "crop_mode": "squash", "crop_pct": 1.0}).notes == ()


# --- the input size of testing ---------------------------------------------------------------------------------------

TWO_SIZES = "mobilenetv4_conv_small_050.e3000_r224_in1k"  # 224 at 0.875; for testing 256 at 0.95


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A network of random weights, in the cache as if it had been downloaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    network = timm.create_model(TWO_SIZES, pretrained=False).eval()
    return hub_cache(tmp_path, TWO_SIZES, network)


@pytest.mark.usefixtures("downloaded")
@pytest.mark.parametrize("prefix", ["timm:", ""])
def test_the_input_size_of_testing_has_a_name(prefix: str) -> None:
    trained = al.load_model(f"{prefix}{TWO_SIZES}")
    tested = al.load_model(f"{prefix}{TWO_SIZES}@test")
    assert (trained.name, trained.input_size, trained.crop_share) == (f"timm:{TWO_SIZES}", 224, 0.875)
    assert (tested.name, tested.input_size, tested.crop_share) == (f"timm:{TWO_SIZES}@test", 256, 0.95)
    assert f"for testing timm has 256×256 pixels (crop share 0.95): timm:{TWO_SIZES}@test" in trained.notes[0]
    assert "evaluated at the input size that timm publishes for testing, 256×256 pixels" in tested.notes[0]
    assert "trained at 224×224" in tested.notes[0]


def test_the_input_size_of_testing_holds_for_a_file_too(downloaded: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a @ b.safetensors"
    safetensors.torch.save_file(downloaded.state_dict(), path)
    classifier = al.load_model(f"file:{path}@timm:{TWO_SIZES}@test")
    assert classifier.input_size == 256
    assert al.load_model(classifier.name).input_size == 256
    converted = al.load_model(f"antialiased:binomial4:timm:{TWO_SIZES}@test")
    assert converted.input_size == 256


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet18.tv_in1k@test", "has no input size 'test', only that of its training"),
        (f"timm:{TWO_SIZES}@train", "has no input size 'train'"),
        ("torchvision:resnet18@test", "no network 'resnet18@test'"),
        ("pypi:efficientnet_lite0@test", "no network pypi:efficientnet_lite0@test"),
        ("resnet5@test", "did you mean resnet50"),
        ("file:weights.pth@test", "expected file:PATH@ARCHITECTURE"),
    ],
)
def test_a_size_of_testing_that_there_is_not(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        al.load_model(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- built for another size ------------------------------------------------------------------------------------------

OTHER_SIZES = [
    ("vit_tiny_patch16_224", 96),
    ("visformer_tiny", 96),
    ("efficientvit_m0", 128),
    *(
        pytest.param(name, size, marks=pytest.mark.slow)
        for name, size in {
            "mixer_s32_224": 64,
            "xcit_nano_12_p8_224": 64,
            "swin_s3_tiny_224": 112,
            "crossvit_tiny_240": 120,
            "maxvit_rmlp_pico_rw_256": 64,
        }.items()
    ),
]


@pytest.mark.parametrize(("name", "size"), OTHER_SIZES)
def test_a_network_built_for_another_size_says_so_itself(name: str, size: int) -> None:
    network = timm.create_model(name, img_size=size, num_classes=3).eval()
    classifier = al.load_model(network)
    assert classifier.input_size == size
    assert any(f"built for an input of {size}×{size} pixels" in note for note in classifier.notes)
    pixels = PHOTOGRAPHS["wide"]
    theirs = timms_pixels(network.pretrained_cfg, Image.fromarray(pixels), img_size=size)
    assert np.array_equal(classifier.preprocess(pixels), theirs)
    assert al.find_sites(network)  # is tried at that size too


def test_a_rectangle_that_a_network_was_built_for() -> None:
    network = timm.create_model("vit_tiny_patch16_224", img_size=(64, 96), num_classes=3).eval()
    classifier = al.load_model(network)
    assert (classifier.input_size, classifier.view_size) == ((64, 96), (64, 96))
    assert classifier.module(classifier.blank()).shape == (1, 3)


def test_torchvisions_transformer_says_its_size() -> None:
    network = torchvision.models.VisionTransformer(64, 16, 1, 2, 32, 64, num_classes=3).eval()
    assert al.load_model(network).input_size == 64


def test_an_attribute_of_another_meaning_is_no_size() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    for value in ("large", True, (1, 2, 3), None):
        network.img_size = value  # type: ignore[assignment]
        assert built_for(network) is None


@pytest.mark.slow
def test_what_timms_networks_say_of_themselves_is_what_is_published() -> None:
    """All architectures, without weights: where one keeps the size that it was built for, it is the published one."""
    for name in timm.list_models():
        try:
            with torch.device("meta"):
                network = timm.create_model(name, pretrained=False)
        except Exception:
            continue
        config = timm.get_pretrained_cfg(name)  # vitamin_xlarge_336 itself carries that of vitamin_xlarge_256
        published = config.input_size if config else network.pretrained_cfg["input_size"]
        assert built_for(network) in (None, tuple(published[1:])), name


# --- changed in one call ---------------------------------------------------------------------------------------------


class Small(nn.Module):
    """Any size and number of channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.stem(x).relu().mean((2, 3)))
        return answer


def test_preprocessing_is_said_in_one_call() -> None:
    network = Small().eval()
    classifier = al.load_model(
        network,
        name="mine",
        input_size=(48, 64),
        mean=[0.1, 0.2, 0.3],
        std=HALF,
        interpolation="box",
        resize_size=(60, 80),
        crop_mode="squash",
        labels=["a", "b", "c", "d"],
        scale="logits",
    )
    assert classifier.module is network
    assert (classifier.name, classifier.input_size, classifier.resize_size) == ("mine", (48, 64), (60, 80))
    assert (classifier.mean, classifier.std, classifier.labels) == ((0.1, 0.2, 0.3), HALF, ("a", "b", "c", "d"))
    assert (classifier.interpolation, classifier.crop_mode, classifier.scale) == ("box", "squash", "logits")
    assert classifier.crop_share == 0.8
    assert not any("assumed" in note for note in classifier.notes)
    assert any(note.startswith("as given: input_size (48, 64)") for note in classifier.notes)


def test_what_is_not_said_is_kept_or_noted_as_assumed() -> None:
    classifier = al.load_model(Small(), input_size=96)
    assert (classifier.input_size, classifier.resize_size) == (96, 109)  # ⌊96 / 0.875⌋
    assert [note for note in classifier.notes if "assumed" in note] == [
        "no preprocessing was given of mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), interpolation bilinear:"
        " ImageNet's was assumed"
    ]
    again = al.load_model(classifier, input_size=64, mean=HALF, std=HALF, interpolation="bicubic")
    assert (again.input_size, again.resize_size, again.interpolation) == (64, 64, "bicubic")  # small: as it is
    assert al.load_model(classifier) is classifier


def test_labels_of_another_number_than_the_answers_are_left_out() -> None:
    """As after ``network.fc = nn.Linear(512, 10)``, which leaves the configuration as it was."""
    network = timm.create_model("resnet18").eval()
    network.fc = nn.Linear(512, 10)
    classifier = al.load_model(network)
    assert classifier.labels is None
    assert "ResNet answers with 10 numbers and has 1000 labels, which are not used" in classifier.notes
    assert al.load_model(network, labels="abcdefghij").labels == tuple("abcdefghij")


@pytest.mark.parametrize("side", [64, 160, 224, 288, 299])
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "efficientnet_b0", "tf_efficientnet_lite1"])
def test_another_size_is_resized_to_as_timm_does(name: str, side: int) -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    module.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()  # type: ignore[assignment]
    classifier = al.load_model(module, input_size=side)
    theirs = timms_pixels(module.pretrained_cfg, Image.fromarray(PHOTOGRAPHS["wide"]), img_size=side)  # type: ignore[arg-type]
    assert np.array_equal(classifier.preprocess(PHOTOGRAPHS["wide"]), theirs)
    assert not any("for testing" in note for note in classifier.notes)


def test_torchvisions_share_of_the_photograph_is_kept_at_another_size() -> None:
    """232 → 224 in whole numbers: the share is no decimal."""
    classifier = al.Classifier(Small(), "it", 224, HALF, HALF, "bilinear", 232, 224 / 232)
    assert [al.load_model(classifier, input_size=side).resize_size for side in (112, 224, 448)] == [116, 232, 464]


def test_a_network_of_a_fixed_size_is_built_for_the_size_that_is_given(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    path = tmp_path / "vit.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    name = f"file:{path}@timm:vit_tiny_patch16_224"
    classifier = al.load_model(name, input_size=96)
    assert (classifier.input_size, classifier.resize_size) == (96, 106)  # ⌊96 / 0.9⌋
    loaded = classifier.module.state_dict()
    assert loaded["pos_embed"].shape == (1, 1 + 6**2, 192)  # resampled by timm
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items() if key != "pos_embed")
    with pytest.raises(InputError, match=r"does not fit .*pos_embed: 1×197×192, expected 1×1×192"):
        al.load_model(name, input_size=7)  # less than a patch
    with pytest.raises(UsageError, match="does not take 1×3×96×96"):
        al.load_model(network, input_size=96)  # it is built, and stays as it is


def test_a_converted_network_is_changed_before_it_is_converted() -> None:
    classifier = al.load_model("antialiased:binomial4:pypi:efficientnet_lite0", input_size=(96, 128))
    assert classifier.input_size == (96, 128)
    assert al.find_sites(classifier)[0].input_shape[2:] == (96, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imput_size": 64}, "load_model has no 'imput_size'; did you mean input_size?"),
        ({"colour": 64}, "load_model has no 'colour'; it has input_size, mean"),
        ({"input_size": "64"}, "input_size '64'; expected the side of a square in pixels or (height, width)"),
        ({"input_size": (3, 64, 64)}, "expected the side of a square in pixels or (height, width)"),
        ({"input_size": 64.5}, "expected the side of a square in pixels or (height, width)"),
        ({"input_size": 0}, "expected 1 <= input_size <= resize_size"),
        ({"mean": 0.5}, "mean 0.5; expected a tuple of three numbers"),
        ({"mean": (0.5, 0.5)}, "expected a tuple of three numbers, or of one"),
        ({"mean": (0.5,)}, "expected as many of each"),
        ({"mean": (0.5,), "std": (0.5,)}, "does not take 1×1×224×224"),
        ({"std": (0.5, 0.5, 0.0)}, "std positive"),
        ({"interpolation": "cubic"}, "interpolation 'cubic'; expected nearest, bilinear"),
        ({"crop_mode": "centre"}, "crop_mode 'centre'; expected center, squash, border"),
        ({"labels": ["a", "b"]}, "answers with 4 numbers and has 2 labels"),
        ({"resize_size": 256, "crop_share": 0.9}, "mean the same"),
    ],
)
def test_a_change_that_makes_no_sense_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        al.load_model(Small(), **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [np.int64(64), [64, 64], (np.int32(64), 64), torch.tensor(64).item()])
def test_a_size_in_any_spelling(size: Any) -> None:
    classifier = al.load_model(Small(), input_size=size)
    assert classifier.input_size == 64
    assert type(classifier.input_size) is int


# --- one channel -----------------------------------------------------------------------------------------------------


def grey_network() -> al.Classifier:
    return al.Classifier(Small(1), "grey", 24, (0.3,), (0.6,), "bilinear", 32, 0.75)


def test_one_channel_is_the_luma() -> None:
    views = np.random.default_rng(0).uniform(0, 255, (3, 24, 24, 3)).astype(np.float32)
    shown = grey_network().normalize(views)
    assert shown.shape == (3, 1, 24, 24)
    expected = (views.astype(float) @ (0.299, 0.587, 0.114) / 255 - 0.3) / 0.6
    # Six float32 operations on numbers up to 255, 2⁻²⁴ of them each, divided by 255 · 0.6.
    np.testing.assert_allclose(shown[:, 0].numpy(), expected, atol=6 * 2.0**-24 / 0.6 * 2)


def test_one_channel_is_pillows_grey_but_for_its_rounding() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    shown = grey_network().normalize(pixels[None].astype(np.float32))[0, 0] * 0.6 * 255 + 0.3 * 255
    # Pillow rounds to whole levels, and its weights to 2⁻¹⁶ each: half a level and 3 · 255 · 2⁻¹⁷.
    assert float((shown - torch.from_numpy(np.array(Image.fromarray(pixels).convert("L")))).abs().max()) <= 0.506


def test_a_grey_photograph_is_shown_as_timm_shows_it() -> None:
    """timm resizes the one channel; we resize three that are equal, and their luma is exactly what they are."""
    grey = np.ascontiguousarray(PHOTOGRAPHS["wide"][..., 1])
    network = timm.create_model("resnet18", in_chans=1, num_classes=3).eval()
    classifier = al.load_model(network)
    assert (classifier.channels, classifier.input_size) == (1, 224)
    assert any("one channel" in note for note in classifier.notes)
    way = timm.data.resolve_data_config({"in_chans": 1, "mean": classifier.mean, "std": classifier.std}, model=network)
    theirs = timm.data.create_transform(**way)(Image.fromarray(grey))
    view = classifier.preprocess(np.repeat(grey[..., None], 3, axis=2))
    torch.testing.assert_close(classifier.normalize(view[None])[0], theirs, rtol=0, atol=rounding(classifier.std))


@given(st.floats(0.05, 0.95), st.floats(0.05, 1))
def test_the_mean_grey_normalises_to_exactly_zero(mean: float, std: float) -> None:
    classifier = replace(grey_network(), mean=(mean,), std=(std,))
    views = np.broadcast_to(classifier.mean_colour, (2, 4, 5, 3)).copy()
    assert not classifier.normalize(views).any()


def test_a_network_of_one_channel_is_recognised() -> None:
    classifier = al.load_model(Small(1))
    assert classifier.channels == 1
    assert classifier.mean == pytest.approx((0.449,))
    assert len([note for note in classifier.notes if "luma" in note]) == 1
    own = al.load_model(Small(1), mean=(0.5,), std=(0.25,))
    assert (own.mean, own.std) == ((0.5,), (0.25,))
    assert not [note for note in own.notes if "average" in note]


def test_a_network_that_makes_grey_itself_is_shown_colours() -> None:
    class Greying(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:, 0:1] * 0.5 + x[:, 2:3] * 0.5)

    assert al.load_model(Greying(1)).channels == 3


# --- left as it was --------------------------------------------------------------------------------------------------


def test_a_classifier_is_the_network_itself_and_leaves_it_in_its_mode() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    module[1].eval()
    before = [buffer.clone() for buffer in module.buffers()]
    classifier = al.load_model(al.Classifier(module, "it", 8, HALF, HALF, "bilinear", 8, 1.0), mean=(0.4, 0.4, 0.4))
    assert classifier.module is module
    assert (module.training, module[0].training, module[1].training) == (True, True, False)
    assert all(map(torch.equal, module.buffers(), before))


def test_a_network_in_training_mode_that_cannot_be_copied_is_measured_where_it_is() -> None:
    class Uncopyable(Small):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("holds an open\nfile")

    network = Uncopyable()
    evaluated = al.measure_jitter(al.Classifier(network, "it", 24, HALF, HALF, "bilinear", 32, 0.75), "sample", limit=2)
    assert network.training
    network.eval()
    again = al.measure_jitter(al.Classifier(network, "it", 24, HALF, HALF, "bilinear", 32, 0.75), "sample", limit=2)
    assert again.records.equals(evaluated.records)


# --- exported programs -----------------------------------------------------------------------------------------------


def exported(count: Any) -> nn.Module:
    module = Small().eval()
    shapes = None if count is None else ({0: count},)
    program: nn.Module = torch.export.export(module, (torch.randn(2, 3, 24, 24),), dynamic_shapes=shapes).module()
    return program


def test_an_exported_program_is_a_network() -> None:
    program = exported(torch.export.Dim.AUTO)
    classifier = al.load_model(program, input_size=24, resize_size=32, mean=HALF, std=HALF, interpolation="bilinear")
    result = al.measure_jitter(classifier, "sample", limit=2)
    plain = replace(classifier, module=_weights_of(program), name="plain")
    expected = al.measure_jitter(plain, "sample", limit=2).summary()["models"]["plain"]["mac"]["value"]
    # The same operations in another order of fusing: float32's rounding of probabilities.
    assert result.summary()["models"][classifier.name]["mac"]["value"] == pytest.approx(expected, abs=1e-6)


def _weights_of(program: nn.Module) -> nn.Module:
    module = Small()
    module.load_state_dict(program.state_dict())
    return module.eval()


def test_an_exported_program_for_batches_of_one_size_is_told_how_to_be_exported() -> None:
    with pytest.raises(UsageError, match=r"does not take 1×3×24×24 .*dynamic_shapes=\(\{0: torch.export.Dim.AUTO\},\)"):
        al.load_model(exported(None), input_size=24)
