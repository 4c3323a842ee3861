"""Where the evaluation data is, and how the tests find it."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Timing varies on shared machines; an example that is slow once is no failure.
settings.register_profile("aliasing", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("aliasing")

DATA = Path(os.environ.get("ALIASING_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_configure() -> None:
    torch.manual_seed(0)


def _folder(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}; set ALIASING_DATA")
    return DATA / name


@pytest.fixture(scope="session")
def imagenet_sample() -> Path:
    """500 ImageNet photographs with ``labels.csv``."""
    return _folder("imagenet-sample")


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder of each command: ``crop``, ``grid``, ``depth``, ``attribution``, ``spectrum``, ``features``."""
    from tests.report_runs import measure_everything

    return measure_everything(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """CIFAR-10 as ``train.parquet`` and ``test.parquet``."""
    return _folder("cifar10")


@pytest.fixture(scope="session")
def cifar10_resnets() -> Path:
    """``resnet{20,32,44,56}.safetensors``."""
    return _folder("cifar10-resnets")


@pytest.fixture(scope="session")
def fashion_mnist_sample() -> Path:
    """900 Fashion-MNIST images in IDX files."""
    return _folder("fashion-mnist-sample")
