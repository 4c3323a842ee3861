"""The small things: completion, the bar, the user's own settings, and errors that name the next command."""

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import timm
import torchvision
from matplotlib.figure import Figure
from PIL import Image as Pillow
from torch import nn

import aliasing as al
from aliasing import progress
from aliasing.cli import COMMANDS, completion, main, make_parser
from aliasing.plots.style import save, style

ROOT = Path(__file__).parents[1]


# --- completion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("aliasing ", set(COMMANDS)),
        ("aliasing compare --anti", {"--antialias "}),
        ("aliasing jitter --protocol cons", {"consistency", "consistency-cifar"}),
        (
            "aliasing sites torchvision:resnet1",
            {"torchvision:resnet18", "torchvision:resnet101", "torchvision:resnet152"},
        ),
        ("aliasing antialias vgg16 --placement ", {"after", "before"}),
    ],
)
def test_the_shell_is_answered(line: str, completions: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    environment = os.environ | asked | {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_TYPE": "9"}
    subprocess.run([sys.executable, "-m", "aliasing"], cwd=ROOT, env=environment, check=True)
    assert completions <= {*answer.read_text().split("\n")}


def test_completing_loads_nothing_heavy() -> None:
    code = (
        "import sys; from aliasing.cli.completion import networks\n"
        "assert 'timm:resnet50' in networks('timm:')\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_names_read_are_the_names_registered() -> None:
    assert set(completion.architectures("timm")) == set(timm.list_models())
    known = torchvision.models.list_models(module=torchvision.models)
    assert set(completion.architectures("torchvision")) == set(known)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_something_to_evaluate(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", shell])
    assert exit_.value.code == 0
    assert "aliasing" in capsys.readouterr().out


def test_completion_is_an_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)  # not installed
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", "bash"])
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed == ("", 'aliasing: completion needs argcomplete; pip install "aliasing[completion]"\n')
    monkeypatch.setenv("_ARGCOMPLETE", "1")  # the shell asks all the same
    with pytest.raises(SystemExit) as exit_:
        make_parser()
    assert exit_.value.code == 1
    assert capsys.readouterr() == ("", "")


# --- the progress bar ---------------------------------------------------------------------------------------------


class _Stream(io.StringIO):
    """A standard error; a Jupyter kernel's is known by where its class comes from."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class _Kernel(_Stream):
    __module__ = "ipykernel.iostream"


class _Terminal(_Stream):
    terminal = True


@pytest.mark.parametrize(("stream", "shown"), [(_Kernel, True), (_Terminal, True), (_Stream, False)])
def test_a_bar_is_for_a_person(stream: Any, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    assert progress.watched() == shown
    network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    al.measure_jitter(network, "sample", limit=1, progress=True)
    assert ("1/1" in sys.stderr.getvalue()) == shown


# --- matplotlib ---------------------------------------------------------------------------------------------------


def test_the_users_own_settings_stay(tmp_path: Path) -> None:
    with plt.rc_context({"font.size": 17, "axes.spines.top": True, "savefig.dpi": 50, "figure.facecolor": "0.9"}):
        with style():
            figure = plt.figure(figsize=(2, 1))
            axes = figure.add_subplot()
            assert plt.rcParams["font.size"] == 17
        # A setting at matplotlib's default is nobody's, so that ours holds: spines.top is True by default.
        assert not axes.spines["top"].get_visible()
        assert figure.get_facecolor()[:3] == (0.9, 0.9, 0.9)
        save(figure, tmp_path / "own.png")
        assert plt.rcParams["font.size"] == 17
    with Pillow.open(tmp_path / "own.png") as picture:
        assert picture.size == (100, 50)


def test_ours_hold_where_the_user_has_none(tmp_path: Path) -> None:
    with style():
        assert plt.rcParams["legend.frameon"] is False
        save(Figure(figsize=(2, 1)), tmp_path / "ours.png")
    with Pillow.open(tmp_path / "ours.png") as picture:
        assert picture.size == (320, 160)


def test_a_notebook_shows_every_figure_and_not_the_first_alone() -> None:
    """A notebook's backend is loaded with the first figure, within our style, and turns interactive drawing on."""
    was = matplotlib.is_interactive()
    try:
        with style():
            matplotlib.interactive(True)
        assert matplotlib.is_interactive()
    finally:
        matplotlib.interactive(was)


# --- help ---------------------------------------------------------------------------------------------------------


def test_every_example_of_every_help_can_be_parsed() -> None:
    parser, found = make_parser(), 0
    for command in COMMANDS:
        text = str(import_module(f"aliasing.cli.{command}").__doc__)
        for line in re.findall(r"^  (aliasing .*?)(?:   .*)?$", text, re.MULTILINE):
            assert parser.parse_args(shlex.split(line)[1:]).command == command
            found += 1
    assert found >= 3 * len(COMMANDS) - 2


# --- errors name the next command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "advice"),
    [
        ("jitter --models resnet5O", 2, "did you mean resnet50"),
        ("jitter --models timm:quark", 2, "`aliasing models timm:` lists them"),
        ("jitter --models torchvision:quark", 2, "`aliasing models torchvision:` lists them"),
        ("jitter --models net.pth", 2, "give file:net.pth@torchvision:resnet50"),
        ("jitter --images nowhere --models pypi:efficientnet_lite0", 1, "expected an image, a folder"),
        ("compare --models pypi:*quark", 2, "`aliasing models PATTERN`"),
        ("compare --recalibrate sample", 2, "give --antialias too"),
        ("compare --models torchvision:alexnet* --installed", 2, "`aliasing models --installed` lists those that are"),
        ("models quark", 2, "`aliasing models` lists them"),
        ("antialias resnet50 --out net.pth", 2, "use that suffix"),
        ("spectrum sample --operator median", 2, "there are subsample, max"),
        ("sites quark", 2, "`aliasing models` lists them"),
    ],
)
def test_an_error_names_what_to_do_next(
    command: str,
    code: int,
    advice: str,
    complaint: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing is cached there
    complaint(command.split(), code, advice)
