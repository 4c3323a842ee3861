"""Everything that measures a network measures one of a rectangle, and one of a single channel."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

import aliasing as al
from aliasing import plots
from aliasing.cli import main
from aliasing.depth.attribution import attribute
from aliasing.depth.feature_maps import average_change, follow_maps
from aliasing.depth.lie import lie_error
from aliasing.images import Image
from aliasing.leaderboard.cost import cost
from aliasing.protocols import PROTOCOLS, Drag
from aliasing.surgery.finetune import Recipe, finetune

MEASURED = [name for name in PROTOCOLS if name not in ("frames", "consistency-cifar", "samples", "subsample")]


def network(channels: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(channels, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
        module.extend((nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        module.append(nn.Linear(8, 4))
    with torch.no_grad():
        module[-1].weight *= 40  # sure enough of itself to change its answer
    return module.eval()


HALF = (0.5, 0.5, 0.5)
NETWORKS = {
    "wide": al.Classifier(network(), "wide", (32, 48), HALF, HALF, "bilinear", (36, 54), 8 / 9),
    "tall, squashed": al.Classifier(
        network(), "tall", (48, 32), HALF, HALF, "bicubic", (48, 32), 1.0, crop_mode="squash"
    ),
    "one channel": al.Classifier(network(1), "grey", 32, (0.4,), (0.3,), "bilinear", 40, 0.8),
    "wide, one channel, in a border": al.Classifier(
        network(1), "all", (32, 48), (0.4,), (0.3,), "box", (32, 48), 1.0, crop_mode="border"
    ),
}
EACH = pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)


def photographs(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    coarse = [random.integers(0, 256, (9, 12, 3), dtype=np.uint8) for _ in range(count)]
    return [np.kron(picture, np.ones((8, 8, 1), np.uint8)) for picture in coarse]


@EACH
@pytest.mark.parametrize("protocol", MEASURED)
def test_jitter(protocol: str, model: al.Classifier) -> None:
    result = al.measure_jitter(model, photographs(2), protocol=protocol)
    summary = result.summary()["models"][model.name]
    assert summary["images"] == 2
    assert summary["mac"]["value"] > 0
    height, width = model.view_size
    assert summary["input_size"] == (height if height == width else [height, width])


def wide() -> al.Classifier:
    return NETWORKS["wide"]


def grey() -> al.Classifier:
    return NETWORKS["one channel"]


def test_the_command_and_its_page(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(photographs()):
        Pillow.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
    names = [f"module:tests.test_other_inputs:{name}" for name in ("wide", "grey")]
    images, out = ["--images", str(tmp_path / "images")], ["--out", str(tmp_path / "out")]
    assert main(["jitter", "--models", *names, *images, *out, "--protocol", "crop"]) == 0
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "page.html")]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert [model["input_size"] for model in summary["models"].values()] == [[32, 48], 32]
    geometry = summary["models"][names[0]]["geometry"]
    assert geometry == {"resized": [40, 56], "canvas": [40, 56], "window": [32, 48]}
    notes = summary["models"][names[0]]["notes"]
    assert any("resized to [40, 56] pixels instead of the network's own [36, 54]" in note for note in notes)


@EACH
def test_jitter_is_drawn(model: al.Classifier) -> None:
    plots.jitter(al.measure_jitter(model, photographs(), protocol="grid"))
    assert al.measure_jitter(model, photographs(), output="embedding").summary()["models"][model.name]["images"] == 3


@EACH
def test_depth(model: al.Classifier) -> None:
    profile = al.probe_depth(model, photographs())
    layers = profile.summary()["models"][model.name]["layers"]
    strides = [layer["cumulative_stride"] for layer in layers if layer["cumulative_stride"] is not None]
    assert [4.0, 4.0] in strides
    plots.depth(profile)
    circular = al.probe_depth(model, photographs(), "circular:pixels=1")
    assert circular.summary()["models"][model.name]["layers"]


def test_the_sides_of_a_ring_are_not_exchanged() -> None:
    """On a ring a convolution without stride moves with its input exactly, on a rectangle too."""
    ring = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    ring.append(nn.Flatten())
    model = replace(NETWORKS["wide"], module=ring.eval())
    layer = al.probe_depth(model, photographs(), "circular:pixels=1").summary()["models"]["wide"]["layers"][0]
    assert layer["margin"] == 0
    assert layer["unexplained_change"]["value"] < 1e-9  # float32: the square of its rounding


@EACH
def test_lie_attribution_features_and_cost(model: al.Classifier) -> None:
    assert lie_error(model, photographs()).images == 3
    result = attribute(model, photographs())
    plots.attribution(result)
    maps = follow_maps(model, Image(photographs()[0], "it", "0", None))
    assert maps.pictures.shape[1:] == (*model.view_size, 3)
    assert average_change(model, photographs()).images == 3
    assert cost(model).classes == 4


@EACH
def test_sites_conversion_and_statistics(model: al.Classifier) -> None:
    assert al.find_sites(model)[0].input_shape[1:] == (model.channels, *model.view_size)
    converted = al.antialias(model, scheme="all")
    assert converted.module(converted.blank()).shape == (1, 4)
    assert (converted.input_size, converted.mean, converted.crop_mode) == (
        model.input_size,
        model.mean,
        model.crop_mode,
    )
    al.recalibrate(converted, photographs())


@EACH
def test_leaderboard(model: al.Classifier, tmp_path: Path) -> None:
    board = al.compare_networks(model, photographs(), antialiased=["binomial3"], out=tmp_path)
    assert len(board.summary()["models"]) == 2


@EACH
def test_fine_tuning(model: al.Classifier, tmp_path: Path) -> None:
    images = [(picture, index % 2) for index, picture in enumerate(photographs(8))]
    trained = finetune(model, images, tmp_path, Recipe(epochs=1, batch_size=4))
    assert trained.view_size == model.view_size
    assert not trained.module.training


def test_tokens_and_channels_last_are_laid_out_as_the_view_is() -> None:
    """Of 4×6 patches each mean: as tokens behind two others, and as N×H×W×C."""

    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.last, self.pool = nn.Identity(), nn.Identity(), nn.AvgPool2d(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pool(x)
            tokens = x.flatten(2).transpose(1, 2)
            tokens = self.tokens(torch.cat([torch.full_like(tokens[:, :2], 9.0), tokens], 1))
            return tokens.mean(1) + self.last(x.permute(0, 2, 3, 1)).mean((1, 2))

    model = replace(NETWORKS["wide"], module=Patches().eval())
    pool, tokens, last = follow_maps(
        model, Image(photographs()[0], "it", "0", None), layers=["pool", "tokens", "last"]
    ).layers
    assert pool.maps.shape[1:] == (3, 4, 6)
    np.testing.assert_array_equal(tokens.maps, pool.maps)
    np.testing.assert_array_equal(last.maps, pool.maps)


@EACH
def test_a_drag(model: al.Classifier) -> None:
    views = Drag(down=2, right=-3).views(Image(photographs()[0], "it", "0", None), model)
    before, after = (view.draw() for view in views.views)
    assert before.shape == (*model.view_size, 3)
    # Fourier interpolation by whole pixels is a roll, but for float32's rounding of a transform of 5,000 numbers.
    np.testing.assert_allclose(after[2:, :-3], before[:-2, 3:], atol=2e-3)
