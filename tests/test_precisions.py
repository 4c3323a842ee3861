"""Networks in float16, bfloat16 and float64 get views of their own type, and are compared in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.depth import lie_error
from aliasing.depth.attribution import attribute
from aliasing.depth.feature_maps import average_change, follow_maps
from aliasing.errors import UsageError
from aliasing.images import open_images
from aliasing.jitter import trace
from aliasing.leaderboard import cost
from aliasing.models import Classifier, penultimate_features
from tests.networks import build
from tests.test_jitter import photographs
from tests.test_scales import body, classifier, measured

TYPES = (torch.float16, torch.bfloat16, torch.float64)


class TwoTypes(nn.Module):
    """Half of it in float16, the rest in float32, as its first parameter says what it takes."""

    def __init__(self) -> None:
        super().__init__()
        whole = body()
        self.front, self.back = whole[:-1].half(), whole[-1]

    def forward(self, views: Tensor) -> Tensor:
        assert views.dtype == self.front[0].weight.dtype
        answer: Tensor = self.back(self.front(views).float())
        return answer


@pytest.mark.parametrize("dtype", TYPES)
def test_the_answers_are_those_of_float32_to_rounding(dtype: torch.dtype) -> None:
    """Top classes of a network that is sure of itself change with rounding where two are nearly alike, and rarely."""
    exact, found = measured(classifier(body())), measured(classifier(body().to(dtype)))
    tolerance = {torch.float16: 0.02, torch.bfloat16: 0.05, torch.float64: 1e-6}[dtype]
    for measure in ("top1_change", "mac"):
        assert found[measure]["value"] == pytest.approx(exact[measure]["value"], abs=tolerance)
    name = str(dtype).removeprefix("torch.")
    assert f"its weights are {name}, and it ran in that precision" in found["notes"]


def test_double_precision_is_that_of_the_network() -> None:
    """Compared in plain torch, a view at a time."""
    model = classifier(body().double())
    records = al.measure_jitter(model, photographs(2)).records
    pictures = [view.draw() for view in al.protocols.make_protocol("crop").views(first_image(), model).views]
    with torch.no_grad():
        expected = model.module(model.normalize(np.stack(pictures))).softmax(1)
    assert expected.dtype == torch.float64
    top = int(expected[0].argmax())
    # Recorded in float32.
    assert records["first_probability"][0].as_py() == pytest.approx(float(expected[0, top]), rel=1e-6)
    assert set(records["first_precision"].to_pylist()) == {"float64"}


def first_image() -> Any:
    return next(iter(open_images(photographs(2)))).load()


@pytest.mark.parametrize("make", [TwoTypes, *(lambda dtype=dtype: body().to(dtype) for dtype in TYPES)])
def test_all_that_measures_takes_them(make: Any, tmp_path: Path) -> None:
    model = classifier(make())
    pictures = photographs(3)
    assert measured(model, pictures)["images"] == 3
    assert measured(model, pictures, output="embedding")["images"] == 3
    assert al.probe_depth(model, pictures, sites_every=1).summary()["models"]["known"]["images"] == 3
    assert attribute(model, pictures).summary()["variants"]["as it is"]["images"] == 3
    assert lie_error(model, pictures).images == 3
    assert average_change(model, pictures).images == 3
    assert follow_maps(model, first_image()).layers
    assert np.isfinite(trace(model, first_image()).probability).all()
    assert cost(model).classes == 10
    assert penultimate_features(model)(model.normalize(np.zeros((2, 24, 24, 3), np.float32))).shape == (2, 300)
    assert al.find_sites(model)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_bare_module_too(dtype: torch.dtype) -> None:
    network = build("torchvision:shufflenet_v2_x0_5").to(dtype)
    result = al.measure_jitter(network, "sample", "crop:span=1", limit=2)
    assert result.summary()["models"]["ShuffleNetV2"]["images"] == 2


@pytest.mark.parametrize("precision", ["bfloat16", "verified"])
def test_another_precision_is_asked_of_float32_alone(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.jitter.has_fast_bfloat16", lambda device: True)
    with pytest.raises(UsageError, match="known is itself in float16; choose precision float32, which keeps it so"):
        measured(classifier(body().half()), precision=precision)


def test_the_type_is_that_of_the_first_parameter_of_numbers() -> None:
    half = (0.5, 0.5, 0.5)
    network = nn.Sequential(nn.Flatten(), nn.ReLU())
    model = Classifier(network, "none", 4, half, half, "bilinear", 4, 1.0)
    assert model.dtype == torch.float32
    network.append(nn.Linear(48, 2).double())
    assert model.dtype == torch.float64
    assert model.normalize(np.zeros((1, 4, 4, 3), np.float32)).dtype == torch.float64
