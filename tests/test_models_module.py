"""One's own networks: factories in a module, and objects given as they are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import timm.data
import torchvision
from torch import nn

import aliasing as al
from aliasing.errors import UsageError
from aliasing.models.classifier import fingerprint
from tests.model_files import LITES, tiny

pytestmark = pytest.mark.usefixtures("no_cache")


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
        ("networks", "expected PACKAGE.MODULE:NAME"),
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
