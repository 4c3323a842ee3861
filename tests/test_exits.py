"""A person's own code that calls ``sys.exit`` ends nothing: the error names who did it, and the exit code is not 0."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.depth import lie_error
from aliasing.depth.attribution import attribute
from aliasing.errors import InputError, UsageError
from aliasing.images import Image
from aliasing.models import Classifier
from aliasing.protocols import ViewProtocol
from aliasing.protocols.windowed import Crop
from tests.test_faults import environment
from tests.test_jitter import photographs
from tests.test_scales import body, classifier

FACTORIES = """
import sys
import torch
from torch import nn
from aliasing.models import Classifier

def net(leave=()):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 5, 3, 2)
        def forward(self, x):
            if "forward" in leave or ("picture" in leave and len(x) > 8):
                sys.exit(0)
            return self.layer(x).mean((2, 3))
    return Classifier(Net(), "net", 24, (0.5,) * 3, (0.5,) * 3, "bilinear", 32, 0.75)

def factory():
    sys.exit(0)

def forward():
    return net(("forward",))

def picture():
    return net(("picture",))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "leaving.py").write_text(FACTORIES)
    (tmp_path / "leaving_at_once.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = (
    ["jitter", "--models"],
    ["jitter", "--output", "embedding", "--models"],
    ["depth", "--models"],
    ["compare", "--models"],
    ["attribute"],
    ["sites"],
    ["features"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", ["leaving:factory", "leaving:forward", "leaving:picture", "leaving_at_once:net"])
def test_no_command_ends_well(command: list[str], name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["sample", "--limit", "2"] if command[0] == "features" else ["--limit", "2"] * (command[0] != "sites")
    if name == "leaving:picture" and command[0] in ("sites", "features", "depth"):
        pytest.skip("it shows fewer pictures at once than the network needs to leave")
    assert main([*command, f"module:{name}", *more]) in (1, 2)
    printed = capsys.readouterr()
    assert name.partition(":")[0] in printed.err
    assert "exit" in printed.err.lower()
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err


def test_a_process_of_its_own_ends_with_an_error(here: Path) -> None:
    command = [sys.executable, "-m", "aliasing", "jitter", "--models", "module:leaving:factory", "--limit", "1"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 2
    assert done.stderr == "aliasing jitter: module:leaving:factory: factory() calls sys.exit(0) instead of returning\n"


class Leaves(nn.Module):
    def __init__(self, code: Any = 0) -> None:
        super().__init__()
        self.body, self.code = body(), code

    def forward(self, views: Tensor) -> Tensor:
        if views.device.type != "meta" and float(views.amax()) > 0.99:
            sys.exit(self.code)
        answer: Tensor = self.body(views)
        return answer


@pytest.mark.parametrize("code", [0, 1, None, "bye"])
def test_whatever_the_code(code: Any) -> None:
    with pytest.raises(InputError, match=rf"known calls sys\.exit\({'' if code is None else code}\) on"):
        al.measure_jitter(classifier(Leaves(code)), photographs(2))


@pytest.mark.parametrize("measure", [al.measure_jitter, al.probe_depth, attribute, lie_error])
def test_whoever_measures(measure: Any) -> None:
    with pytest.raises(InputError, match=r"calls sys\.exit\(0\)"):
        measure(classifier(Leaves()), photographs(2))


def test_in_a_leaderboard_the_others_go_on() -> None:
    board = al.compare_networks([classifier(Leaves(), "leaves"), classifier(body(), "stays")], photographs(3))
    assert [*board.networks] == ["stays"]
    assert "calls sys.exit(0)" in board.unmeasured["leaves"]


@dataclass(frozen=True, kw_only=True)
class Ends(Crop):
    name: ClassVar[str] = "ends"

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Any:
        sys.exit(0)


@pytest.mark.parametrize("measure", [al.measure_jitter, al.probe_depth])
def test_a_protocol_of_ones_own(measure: Any) -> None:
    protocol: ViewProtocol = Ends(span=1)
    with pytest.raises(InputError, match=r"^picture_views in .*test_exits\.py calls sys\.exit\(0\)$"):
        measure(classifier(body()), photographs(2), protocol)


def test_images_of_ones_own() -> None:
    class Pictures:
        def __iter__(self) -> Any:
            yield photographs(1)[0]
            sys.exit(0)

    with pytest.raises(InputError, match=r"__iter__ in .*test_exits\.py calls sys\.exit\(0\)"):
        al.measure_jitter(classifier(body()), Pictures())


def test_an_interruption_still_interrupts() -> None:
    class Interrupted(Leaves):
        def forward(self, views: Tensor) -> Tensor:
            raise KeyboardInterrupt

    for measure in (al.measure_jitter, al.probe_depth):
        with pytest.raises(KeyboardInterrupt):
            measure(classifier(Interrupted()), photographs(2))


def test_what_has_no_network_is_told_so(here: Path) -> None:
    with pytest.raises(UsageError, match=r"calls sys\.exit"):
        al.load_model("module:leaving:factory")

    class LeavesAlways(Leaves):
        def forward(self, views: Tensor) -> Tensor:
            sys.exit(0)

    with pytest.raises(InputError, match=r"calls sys\.exit\(0\)"):
        al.find_sites(LeavesAlways(), example_input=torch.ones(1, 3, 24, 24))
