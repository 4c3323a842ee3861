"""The command that stands beside a result is the one that was given."""

import subprocess
import sys
from pathlib import Path

import pytest

SHOW = "from aliasing.provenance import command_line; print(command_line())"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["-m", "package"], "python -m package"),
        (["-m", "package", "two words", "-m"], "python -m package 'two words' -m"),
        (["-X", "utf8", "-mpackage.module", "--out", "x"], "python -m package.module --out x"),
        (["folder/program", "-m", "x"], "program -m x"),
        (["-m", "handing_over", "name"], "python -m handing_over name"),
    ],
)
def test_the_command_is_told_as_it_was_given(given: list[str], told: str, tmp_path: Path) -> None:
    for name in ("package/__init__.py", "package/__main__.py", "package/module.py", "folder/program"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name.endswith("__init__.py") else SHOW)
    (tmp_path / "handing_over.py").write_text(f"import sys; sys.argv = ['other.py']; {SHOW}")
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run([sys.executable, *given], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == (f"{told}\n", "")
