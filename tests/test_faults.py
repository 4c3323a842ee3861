"""Networks that fail: each fault ends the run in one line that names the images, or is counted; nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError
from aliasing.jitter.faults import at_work
from tests.test_jitter import HALF, CornerParity, network

ROOT = Path(__file__).parents[1]


def photographs(folder: Path, count: int = 40, mark: int = 35) -> Path:
    """Noise, all of it dark but for one image, which is white."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.integers(0, 200, (32, 32, 3), dtype=np.uint8)
        Pillow.fromarray(pixels if index != mark else np.full_like(pixels, 255)).save(folder / f"{index:02d}.png")
    return folder


def white(views: Tensor) -> Tensor:
    """Which views are of the marked image."""
    return views.amin((1, 2, 3)) > 0.99


class Raises(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        if white(views).any():
            raise ValueError("no white\nimages \x1b[2J please")
        return super().forward(views)


class OutOfMemory(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        if white(views).any():
            raise MemoryError
        return super().forward(views)


class OtherClasses(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        answers = super().forward(views)
        return torch.cat([answers, answers], 1) if white(views).any() else answers


class FewerRows(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        answers = super().forward(views)
        return answers[:-1] if white(views).any() else answers


class ADict(CornerParity):
    def forward(self, views: Tensor) -> Any:
        answers = super().forward(views)
        return {"logits": answers} if white(views).any() else answers


class AMap(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        return views if white(views).any() else super().forward(views)


class NeedsAnotherDevice(CornerParity):
    def forward(self, views: Tensor) -> Tensor:
        return super().forward(views) + torch.zeros(2, device="meta")


class Adapts(CornerParity):
    """Normalises by what it has seen, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, views: Tensor) -> Tensor:
        self.seen.mul_(0.9).add_(views.mean())
        return super().forward(views)


# What must be said. Views are shown 16 at a time and there are nine an image: three images are in a batch, and image
# 35 is in the second block.
AMONG = r"one of 33\.png, 34\.png, 35\.png"
FAULTS = {
    Raises: rf"known fails on {AMONG}: ValueError: no white$",
    OutOfMemory: rf"known fails on {AMONG}: MemoryError: no reason given$",
    OtherClasses: rf"known gives 4 numbers per view for {AMONG}, and gave 2 before$",
    FewerRows: rf"known gives 15 answers to 16 views of {AMONG}$",
    ADict: r"known gives a dict, not N×classes",
    AMap: r"known gives 16×3×24×24, not N×classes",
    NeedsAnotherDevice: r"known fails on one of 00\.png, 01\.png: \w+Error: ",
    Adapts: r"known changes its own state \(seen\)",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_one_line_and_what_was_measured_stays(kind: type[nn.Module], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=FAULTS[kind]) as caught:
        al.measure_jitter(network(kind()), photographs(tmp_path / "images"), out=tmp_path / "out")
    assert str(caught.value).isprintable()
    written = [path.name for path in (tmp_path / "out").rglob("*.parquet")]
    assert written == ([] if kind in (NeedsAnotherDevice, Adapts) else ["00000.parquet"])


def test_at_most_so_many_images_are_named() -> None:
    with pytest.raises(InputError, match=r"^x fails on one of 0, .*, 15 and 4 more: KeyError: 'a'$"), _twenty():
        raise KeyError("a")


def _twenty() -> AbstractContextManager[None]:
    return at_work("x", [str(index) for index in range(20)])


def test_depth_says_so_too(tmp_path: Path) -> None:
    class Convolves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

        def forward(self, views: Tensor) -> Tensor:
            if white(views).any():
                raise ValueError("no white images")
            return self.body(views)

    with pytest.raises(InputError, match=r"fails on .*35\.png.*: ValueError: no white images"):
        al.probe_depth(network(Convolves()), photographs(tmp_path))


def test_embeddings_say_so_too(tmp_path: Path) -> None:
    class Fails(nn.Module):
        def forward(self, views: Tensor) -> Tensor:
            if white(views).any():
                raise ValueError("no white images")
            return views

    with pytest.raises(InputError, match=r"fails on .*35\.png.*: ValueError: no white images"):
        al.measure_jitter(network(Fails()), photographs(tmp_path), output="embedding")


def test_a_network_that_answers_nothing_finite_at_all_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = (
        "import torch\nfrom torch import nn\nfrom aliasing.models import Classifier\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        print('seen', flush=True)\n"
        "        return torch.full((len(x), 5), float('nan'))\n"
        "def net(): return Classifier(Net(), 'net', 24, (0.5,) * 3, (0.5,) * 3, 'bilinear', 32, 0.75)\n"
    )
    (tmp_path / "nothing_finite.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    folder = photographs(tmp_path / "images", 3)
    arguments = ["jitter", "--models", "module:nothing_finite:net", "--images", str(folder), "--out", "out"]
    assert main(arguments) == 0
    assert "NaN or infinite output on 3 images: 00.png, 01.png, 02.png" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (measured,) = summary["models"].values()
    assert measured["not_finite"] == ["00.png", "01.png", "02.png"]
    assert (tmp_path / "out" / "figure.png").exists()
    # What the network prints does not spoil what is printed.
    assert main([*arguments[:-1], "again", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["models"]["module:nothing_finite:net"]["images"] == 0
    assert "seen" in printed.err


HANGS = """
import time
import torch
from torch import nn
from aliasing.models import Classifier

class Net(nn.Module):
    def forward(self, x):
        if (x.amin((1, 2, 3)) > 0.99).any():
            time.sleep(600)
        return x.mean((2, 3))

def net():
    return Classifier(Net(), "net", 24, (0.5,) * 3, (0.5,) * 3, "bilinear", 32, 0.75)
"""


def hanging(folder: Path, *more: str) -> list[str]:
    (folder / "hanging_net.py").write_text(HANGS)
    command = [sys.executable, "-m", "aliasing", "jitter", "--models", "module:hanging_net:net"]
    return [*command, "--images", str(folder / "images"), "--out", str(folder / "out"), *more]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_a_network_that_hangs_ends_with_the_images_named_and_the_rest_on_disk(tmp_path: Path) -> None:
    photographs(tmp_path / "images")
    command = hanging(tmp_path, "--timeout", "3")
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "module:hanging_net:net hangs on" in done.stderr
    assert "35.png" in done.stderr
    assert "no answer in 3 s" in done.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*.parquet")] == ["00000.parquet"]
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.parametrize("measure", ["measure_jitter", "probe_depth"])
def test_a_network_that_hangs_on_anything_is_named_before_it_has_seen_an_image(tmp_path: Path, measure: str) -> None:
    """Its run is recorded first, on numbers that have a shape and no values."""
    always = HANGS.replace("if (x.amin((1, 2, 3)) > 0.99).any():", "if True:")
    assert always != HANGS
    script = f"{always}\nimport aliasing as al\nal.{measure}(net(), 'images', timeout=2)\n"
    photographs(tmp_path / "images", 1)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr == "aliasing: net hangs on a picture of zeros: no answer in 2 s\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_network_that_hangs_can_be_interrupted(tmp_path: Path) -> None:
    photographs(tmp_path / "images")
    with subprocess.Popen(
        hanging(tmp_path),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            while not list((tmp_path / "out").rglob("*.parquet")):
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error == "aliasing jitter: interrupted; the same command continues where it stopped\n"


def test_a_timeout_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jitter", "--timeout", "0"]) == 2
    assert "timeout is a number of seconds above 0; got 0.0" in capsys.readouterr().err


def test_a_network_that_keeps_to_its_word_is_left_alone(tmp_path: Path) -> None:
    """With buffers and batch normalisation, whose statistics stand still in evaluation mode."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    classifier = al.models.Classifier(module, "net", 24, HALF, HALF, "bilinear", 32, 0.75)
    assert al.measure_jitter(classifier, photographs(tmp_path), timeout=600).summary()["models"]["net"]["images"] == 40
