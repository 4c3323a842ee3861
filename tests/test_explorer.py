"""The explorer: a drag moves the content as it says, and the page works in a real browser and asks nobody else."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from torch import nn

from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.explorer import FILTERS, REACH, depth_profile, follow, spectra
from aliasing.images import Image, open_images
from aliasing.models import Classifier
from aliasing.protocols import Drag, make_protocol
from tests.browser import asked_outside, chromium, complaints

ROOT = Path(__file__).parents[1]
PATIENCE = 500  # seconds, where many share a machine; a second is usual


def network(size: int = 32) -> Classifier:
    half = (0.5, 0.5, 0.5)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return Classifier(module, "small", size, half, half, "bilinear", size, 1.0)


def wave(rows: float = 0.0, columns: float = 0.0) -> np.ndarray:
    """A picture of the canvas's size, of one wave each way that fits into it, displaced: closed form in any place."""
    side = 32 + 2 * REACH
    y, x = np.mgrid[:side, :side]
    return 128 + 50 * np.cos(2 * np.pi * (y - rows) / 16) + 50 * np.cos(2 * np.pi * (x - columns) / 8)


def picture(pixels: np.ndarray) -> Image:
    return next(iter(open_images([np.repeat(pixels[..., None], 3, axis=2).round().astype(np.uint8)]))).load()


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (3.0, -2.0), (REACH, REACH), (0.5, 0.125), (-7.375, 2.5)])
def test_a_drag_moves_the_content_down_and_right(down: float, right: float) -> None:
    views = Drag(down=down, right=right).views(picture(wave()), network())
    first, second = (view.draw() for view in views.views)
    inside = slice(REACH, REACH + 32)
    # Half a grey level from the picture's rounding; its error is moved like the rest, so that at fractions it may ring.
    assert np.abs(first[..., 0] - wave()[inside, inside]).max() <= 0.5
    assert np.abs(second[..., 0] - wave(down, right)[inside, inside]).max() <= 1.5
    assert views.views[1].shift == (down, right)
    assert views.pairs == ((0, 1),)


def test_a_whole_drag_is_a_window_of_the_same_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(float)
    _, moved = Drag(down=5, right=-4).views(picture(noise), network()).views
    top, left = REACH - 5, REACH + 4
    assert np.array_equal(moved.draw()[..., 0], noise[top : top + 32, left : left + 32])


def test_a_drag_has_an_end() -> None:
    with pytest.raises(UsageError, match="at most 16 each way"):
        Drag(down=REACH + 0.5)
    assert make_protocol("drag:down=0.5,right=-3") == Drag(down=0.5, right=-3)


def test_answers_and_depth_follow_the_same_drag() -> None:
    image = picture(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(float))
    still, moved = (follow([network()], image, Drag(right=right))[0] for right in (0.0, 2.0))
    assert np.array_equal(still.leading_probabilities[0], still.leading_probabilities[1])
    assert not np.array_equal(moved.leading_probabilities[0], moved.leading_probabilities[1])
    # An even shift of a stride of two moves the map: nothing is left unexplained but rounding.
    layers = depth_profile([network()], image, Drag(right=2.0)).summary()["models"]["small"]["layers"]
    assert layers[0]["unexplained_change"]["value"] < 1e-6
    layers = depth_profile([network()], image, Drag(right=1.0)).summary()["models"]["small"]["layers"]
    assert layers[0]["unexplained_change"]["value"] > 1e-2


@pytest.mark.parametrize("anti_aliasing", ["binomial3", "flc", "aps"])
def test_the_spectrum_of_the_view_with_and_without_the_filter(anti_aliasing: str) -> None:
    assert anti_aliasing in FILTERS
    view = np.random.default_rng(0).uniform(-5, 260, (64, 64, 3)).astype(np.float32)  # Fourier may leave 0…255
    figure = spectra(view, anti_aliasing)
    titles = [axes.get_title() for axes in figure.axes]
    assert "subsampled" in titles
    assert len([title for title in titles if title.startswith("aliased")]) == (1 if anti_aliasing == "aps" else 2)
    plt.close(figure)


@pytest.mark.parametrize("number", [None, 99_999])
def test_a_port_that_cannot_be_used_is_one_line(number: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nicegui", exc_type=ImportError)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = number or taken.getsockname()[1]
        assert main(["explore", "--no-browser", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"port {port} cannot be used" in error
    assert error.count("\n") == 1


def test_without_nicegui_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["explore", "--no-browser"]) == 1
    assert 'pip install "aliasing[explore]"' in capsys.readouterr().err


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The explorer, served by a process of its own; it ends with code 0 and leaves no file behind."""
    pytest.importorskip("nicegui", exc_type=ImportError)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "aliasing", "explore", "--no-browser", "--port", str(number)]
    command += ["--models", "pypi:efficientnet_lite0"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            wait_for(lambda: answers(number) or server.poll() is not None)
            assert server.poll() is None
            yield number
        finally:
            server.send_signal(signal.SIGINT)
            try:
                error = server.communicate(timeout=PATIENCE)[1]
            finally:
                server.kill()
    assert (server.returncode, error) == (0, "")
    assert list(folder.iterdir()) == []


def wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition gives, once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def test_it_is_served_to_this_machine_only(port: int) -> None:
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("no /proc/net/tcp")
    listening = [line.split()[1] for line in table.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    assert [place for place in listening if place.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_page_under_another_name_is_refused(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/", headers={"Host": "rebound.example"})
    assert connection.getresponse().status == 400


def test_in_a_browser(port: int, tmp_path: Path, imagenet_sample: Path) -> None:
    """As a newcomer would: open, upload, drag, look; then a file that is no photograph."""
    bad = tmp_path / "<b>bad.jpg"
    bad.write_text("no photograph")
    with chromium(tmp_path / "profile") as browser:

        def texts(selector: str) -> list[str]:
            found = browser.execute_script(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector
            )
            return [text for text in found if text.strip()]

        browser.get(f"http://127.0.0.1:{port}/")
        wait_for(lambda: "coffee.png: 0 down, 0 right" in texts(".place"))
        wait_for(lambda: texts(".answer")[:1] == ["espresso"])

        chooser = browser.find_element("css selector", "input[type=file]")
        chooser.send_keys(str(imagenet_sample / "n01440764_tench.JPEG"))
        wait_for(lambda: texts(".place") == ["n01440764_tench.JPEG: 0 down, 0 right"])
        still = wait_for(lambda: texts(".answer")[:1] == ["tench"] and texts(".plain .value"))
        assert all(len(set(value.split(" → "))) == 1 for value in still)

        thumb = browser.find_element("css selector", ".q-slider.right [tabindex='0']")
        thumb.send_keys("\ue014")  # arrow right: an eighth of a pixel
        wait_for(lambda: texts(".place") == ["n01440764_tench.JPEG: 0 down, 0.125 right"])
        wait_for(lambda: texts(".plain .value") != still)
        assert len(texts(".anti-aliased .value")) == 5
        wait_for(lambda: browser.find_elements("css selector", ".depth canvas, .depth svg"))
        drawn = "const i = document.querySelector('.spectrum img'); return i && i.complete && i.naturalWidth"
        assert wait_for(lambda: browser.execute_script(drawn)) > 300

        browser.save_screenshot(str(tmp_path / "page.png"))  # to be looked at

        chooser = browser.find_element("css selector", "input[type=file]")
        chooser.send_keys(str(bad))
        wait_for(lambda: texts(".message") == ["<b>bad.jpg: not an image that Pillow can read"])
        assert texts(".place") == ["n01440764_tench.JPEG: 0 down, 0.125 right"]

        assert complaints(browser) == []
        assert asked_outside(browser) == []
