"""Every command of the README does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from aliasing.cli import main as aliasing
from aliasing.images import open_images
from experiments.__main__ import main as experiments
from tests.test_cure import NAME, write_images

pytest.importorskip("skimage", reason="the README's photographs come with scikit-image")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAIN_JOB = re.search(r"<!-- main job -->\n```sh\n(.*?)```", README, re.DOTALL)[1].strip()
TESTS = re.search(r"<!-- tests -->\n```sh\n(.*?)```", README, re.DOTALL)[1].strip()
COMMANDS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(command: str) -> None:
    """A command of the README in this process, which spares the seconds that torch takes to load."""
    program, *arguments = shlex.split(command)
    if program == "aliasing":
        assert aliasing(arguments) == 0
    else:
        assert [program, *arguments[:2]] == ["python", "-m", "experiments"]
        assert experiments(arguments[2:]) == 0


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that scikit-image bundles, as somebody's own folder."""
    folder = tmp_path_factory.mktemp("photographs")
    for entry in open_images("sample"):
        if Path(entry.name).stem in ("chelsea", "coffee", "rocket"):
            Image.fromarray(entry.load().pixels).save(folder / f"{Path(entry.name).stem}.jpg", quality=95)
    return folder


def test_the_main_job_leaves_all_that_it_promises(tmp_path: Path) -> None:
    install, command = MAIN_JOB.split(" && ")
    assert install == 'pip install ".[offline]"'
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    words = [sys.executable, "-m", *shlex.split(command)]  # a process of its own, as a newcomer starts it
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        assert f"pypi:{name}" in printed
    assert "too few for a narrow interval" in printed
    assert {path.name for path in (tmp_path / "jitter").iterdir()} == {
        ".lock",
        ".run.json",
        "summary.json",
        "records",
        "examples",
        "figure.png",
        "differences.png",
    }


def test_the_test_command_is_this_one() -> None:
    assert TESTS == 'pip install -e ".[test]" && pytest'


def test_commands(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In their order and in one folder: the report shows what those before it have left."""
    monkeypatch.chdir(tmp_path)
    names = {"PHOTOGRAPH.jpg": str(photographs / "coffee.jpg"), "FOLDER": str(photographs)}
    training, held_out = write_images(tmp_path / "own")
    names |= {"NETWORK": NAME, "TRAINING": training, "HELD-OUT": held_out}
    for line in "".join(COMMANDS).splitlines():
        words = [names.get(word, word) for word in shlex.split(line)]
        run(shlex.join(words))
        assert capsys.readouterr().out, line
        out = tmp_path / words[words.index("--out") + 1] if "--out" in words else None
        if out is not None and out.name == "cure.html":
            assert "cured − control" in out.read_text(encoding="utf-8")
        elif out is not None and out.suffix == ".html":
            page = out.read_text(encoding="utf-8")
            assert "Move a photograph" in page
            assert "Layer by layer" in page
        elif out is not None:
            assert (out / "summary.json").exists()
            assert (out / "figure.png").exists()


def test_every_command_is_run() -> None:
    run_here = [MAIN_JOB, TESTS, *(block.strip() for block in COMMANDS)]
    assert [block.strip() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)] == run_here


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_print_what_their_comments_say(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    printed = capsys.readouterr().out.splitlines()
    promised = [
        line.split("  # ")[1].split(": ")[0] for line in snippet.splitlines() if "print" in line and "  # " in line
    ]
    assert printed[: len(promised)] == promised
