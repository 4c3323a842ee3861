"""Weights from files: every good checkpoint is unwrapped, and every bad one refused in one line."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError
from aliasing.models.classifier import fingerprint
from tests.model_files import BAD_CHECKPOINTS, SQUEEZENET, CreatesFile, same_weights, saved

pytestmark = pytest.mark.usefixtures("no_cache")


GOOD_CHECKPOINTS: dict[str, Callable[[OrderedDict[str, Tensor]], Any]] = {
    "state_dict": lambda weights: weights,
    "plain dict": dict,
    "wrapped in state_dict": lambda weights: {"epoch": 3, "state_dict": weights},
    "wrapped in model": lambda weights: {"model": weights, "optimizer": {"state": {}}},
    "wrapped twice": lambda weights: {"model": {"state_dict": weights}},
    "DataParallel": lambda weights: {f"module.{key}": value for key, value in weights.items()},
    "Lightning": lambda weights: {"state_dict": {f"model.{key}": value for key, value in weights.items()}},
    "DataParallel of a compiled one": lambda weights: {
        f"module._orig_mod.{key}": value for key, value in weights.items()
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
    # As it was given: the name of official weights is that of others.
    assert classifier.name == f"file:{path}@torchvision:{architecture.removeprefix('torchvision:')}"
    assert (classifier.input_size, classifier.resize_size, classifier.interpolation) == (224, 256, "bilinear")
    assert classifier.weights == {
        "source": str(path),
        "version": "unversioned",
        "sha256": fingerprint(squeezenet),
    }
    batch = torch.randn(2, 3, 64, 64)
    assert torch.equal(classifier.module(batch), squeezenet(batch))


@pytest.mark.parametrize("with_auxiliary_heads", [True, False])
def test_googlenet_is_loaded_as_published(with_auxiliary_heads: bool, tmp_path: Path) -> None:
    """Its inputs are rescaled inside; the heads that only training uses may be in the file or not."""
    network = torchvision.models.googlenet(
        weights=None, transform_input=True, aux_logits=with_auxiliary_heads, init_weights=False
    ).eval()
    path = saved(network.state_dict(), tmp_path / "googlenet.pth")
    batch = torch.randn(1, 3, 64, 64)
    assert torch.equal(al.load_model(f"file:{path}@googlenet").module(batch), network(batch))


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
