"""The package as a whole: cheap to import, lazy, and honest about what it lacks."""

import subprocess
import sys

import pytest

import aliasing

HEAVY = ("torch", "torchvision", "timm", "matplotlib", "scipy", "cv2", "pyarrow", "numpy")


@pytest.mark.parametrize("statement", ["import aliasing", "import aliasing.cli; aliasing.cli.make_parser()"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", aliasing.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(aliasing, name) is not None
    assert name in dir(aliasing)


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
