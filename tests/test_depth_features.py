"""Feature maps: what is kept of which layer, and averages that a shift cannot change."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.depth.feature_maps import INPUT, average_change, choose_layers, convolutions, follow_maps, layer_outputs
from aliasing.errors import InputError, UsageError
from aliasing.models import Classifier
from aliasing.plots.jitter import short_name
from tests import cifar_resnet, networks

HALF = (0.5, 0.5, 0.5)


def classifier(module: nn.Module, size: int) -> Classifier:
    return Classifier(module.eval(), "mine", size, HALF, HALF, "bilinear", size, 1.0)


class Square(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.square()


class Subsample(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::2, ::2]


def test_the_averages_of_a_shiftable_layer_do_not_change() -> None:
    # The mean of the squares of the samples is the energy, which a shift keeps unless something folds.
    noise = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    change = {}
    for name, pool in (("folds", Subsample()), ("ideal", al.layers.FourierPool2d(2))):
        network = nn.Sequential(pool, Square(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        change[name] = average_change(classifier(network, 32), noise, "circular:pixels=3", ["1"])
    assert change["ideal"].layers["1"].value < 1e-5  # float32 rounding of a mean of 256 values
    assert change["folds"].layers["1"].value > 1e-2
    assert change["ideal"].images == 4


def test_what_is_kept_is_not_changed_by_what_comes_after() -> None:
    network = classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 2)), 8)
    views = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    convolved, rectified = layer_outputs(network, views, ["0", "1"])
    with torch.no_grad():
        expected = network.module[0](network.normalize(views)).numpy()  # type: ignore[index]
    assert np.array_equal(convolved.maps, expected)
    assert np.array_equal(rectified.maps, expected.clip(0))
    assert np.allclose(layer_outputs(network, views, [INPUT])[0].maps, views.transpose(0, 3, 1, 2) / 255)


@pytest.mark.parametrize(
    ("name", "layer", "kind", "shape"),
    [
        ("vit_tiny_patch16_224", "blocks.3", "tokens", (192, 14, 14)),
        ("swin_tiny_patch4_window7_224", "layers.1", "map", (192, 28, 28)),
        ("resnet18", "layer3", "map", (256, 14, 14)),
        ("resnet18", "fc", "vector", (1000, 1, 1)),
    ],
)
def test_whatever_a_layer_gives_is_shown_as_what_it_is(
    name: str, layer: str, kind: str, shape: tuple[int, int, int]
) -> None:
    network = classifier(networks.randomise(timm.create_model(name)), 224)
    (found,) = layer_outputs(network, np.zeros((1, 224, 224, 3), np.float32), [layer])
    assert (found.kind, found.maps.shape[1:]) == (kind, shape)


def test_one_layer_for_each_resolution_is_chosen() -> None:
    assert choose_layers(cifar_resnet.resnet20()) == ["layer1", "layer2", "layer3"]
    with torch.device("meta"):
        assert choose_layers(torchvision.models.resnet50()) == ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert len(convolutions(cifar_resnet.resnet20())) == 19


def test_the_typical_channel_is_active_and_moves_as_the_median() -> None:
    network = classifier(nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)), 8)
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = next(iter(al.images.open_images([picture]))).load()
    moving = follow_maps(network, image, "crop:span=4", ["1"])
    (layer,) = moving.layers
    assert layer.maps.shape == (5, 8, 3, 3)
    size = np.abs(layer.averages).mean(0)
    assert size[layer.typical_channel()] >= size.mean()


RESNET20 = "module:tests.cifar_resnet:resnet20"  # untrained: for paths and messages, never for numbers


def test_the_command(cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [str(cifar10 / "test.parquet"), "--limit", "2", "--protocol", "horizontal:pixels=4"]
    assert main(["features", RESNET20, *images, "--filters", "linear", "--out", str(tmp_path)]) == 0
    assert "layer3" in capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["layers"]) == ["input", "layer1", "layer2", "layer3"]
    assert summary["drawn"]["filters_of"] == "linear"
    for name in ("figure", "layers", "filters"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
    assert main(["features", RESNET20, *images, "--layers", "layer2", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["layers"]) == ["layer2"]


def test_the_library_does_what_the_command_does(cifar10: Path, tmp_path: Path) -> None:
    network = cifar_resnet.resnet20()
    found = al.probe_features(network, cifar10 / "test.parquet", "horizontal:pixels=4", filters="linear", limit=2)
    alone = average_change(network, cifar10 / "test.parquet", "horizontal:pixels=4", limit=2)
    assert found.summary()["layers"] == {name: estimate.as_dict() for name, estimate in alone.layers.items()}
    assert found.table()["change"].to_pylist() == [estimate.value for estimate in alone.layers.values()]
    assert [layer.layer for layer in found.outputs] == convolutions(network)
    assert found.filters is not None
    assert found.filters.layer == found.summary()["drawn"]["filters_of"] == "linear"
    assert "layer3" in repr(found)
    assert "feature maps while test.parquet/000000 moves" in found.plot().get_suptitle()
    found.write(tmp_path)
    again = al.open(tmp_path)
    assert again.summary()["layers"] == found.summary()["layers"]
    assert repr(again) == repr(found)
    with pytest.raises(InputError, match="holds no maps"):
        again.plot()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sample", "--layers", "layer9"], 2, "has no layer 'layer9'"),
        (["sample", "--limit", "0"], 2, "limit is a number of images, at least 1; got 0"),
        (["sample", "--channel", "-1"], 2, "got channel -1"),
        (["/no/such/folder"], 1, "/no/such/folder"),
    ],
)
def test_errors_of_the_command(arguments: list[str], code: int, message: str, complaint: Callable[..., str]) -> None:
    complaint(["features", RESNET20, *arguments], code, message)


def test_a_layer_that_is_not_run_and_images_that_cannot_be_used(tmp_path: Path) -> None:
    network = cifar_resnet.resnet20()
    network.module.unused = nn.ReLU()
    with pytest.raises(UsageError, match="'unused' of cifar_resnet20 does not run"):
        layer_outputs(network, np.zeros((1, 32, 32, 3), np.float32), ["unused"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no usable image"):
        average_change(network, tmp_path, "pad")


def test_a_converted_network_is_told_from_its_original_in_a_picture():
    names = [
        "pypi:efficientnet_lite0",
        "antialiased:binomial4:pypi:efficientnet_lite0",
        "file:a/b.pth@torchvision:vgg11",
    ]
    assert [short_name(name) for name in names] == ["efficientnet_lite0", "efficientnet_lite0, binomial4", "vgg11"]
