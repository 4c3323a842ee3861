"""The package as a whole: cheap to import, lazy, and honest about what it lacks."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aliasing

HEAVY = ("torch", "torchvision", "timm", "matplotlib", "scipy", "cv2", "pyarrow", "numpy")
IMPORTED_AS = {"opencv-python-headless": "cv2", "pillow": "PIL"}
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("statement", ["import aliasing", "import aliasing.cli; aliasing.cli.make_parser()"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["spectrum", "sampling", "filters", "downsample", "layers"])
def test_signals_need_numpy_scipy_and_torch_alone(module: str) -> None:
    """Of what the package depends on they load these, and what these load themselves (torch loads tqdm).

    Of scipy they load what they call: its signal and stats take as long as torch itself.
    """
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}
    assert len(names) >= 14
    names = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names} - {"numpy", "scipy", "torch"}
    names |= {"scipy.signal", "scipy.stats"}
    code = (
        "import sys, numpy, scipy, torch\n"
        f"before = set(sys.modules)\nimport aliasing.{module}\nprint(*({names!r} & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("name", aliasing.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(aliasing, name) is not None
    assert name in dir(aliasing)


def test_the_reference_lists_every_public_name() -> None:
    listed = re.findall(r"^   aliasing\.(\w+)$", (ROOT / "docs" / "api.rst").read_text("utf-8"), re.MULTILINE)
    assert {*aliasing.__all__} - {"__version__"} <= {*listed}


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'spectra'; it has spectrum, sampling"):
        _ = aliasing.spectra


def test_every_command_has_help_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    from aliasing.cli import COMMANDS, main

    for command in COMMANDS:
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        assert done.value.code == 0
        assert "example" in capsys.readouterr().out, command
