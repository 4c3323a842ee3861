"""What answers with places look like: drawings are what was measured, on the page, in the figure and in the film."""

import base64
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

import aliasing as al
from aliasing import plots
from aliasing.cli import main
from aliasing.errors import InputError
from aliasing.images.video import read_frames
from aliasing.jitter import trace
from aliasing.jitter.drawings import read_drawing, read_heat, write_drawing, write_heat
from aliasing.jitter.examples import write_examples
from aliasing.jitter.network import ClassMap
from aliasing.outputs import OUTPUTS
from aliasing.outputs.drawn import CHANGED, FATES, SAME, UNSEEN, Drawing, Mark, heat_map
from aliasing.outputs.masks import Masks
from aliasing.plots import overlay
from aliasing.protocols import View, Views
from aliasing.provenance import write_json
from aliasing.report import write_report
from tests.browser import chromium, unreadable
from tests.report_runs import HOSTILE
from tests.test_boxes import two_views

LABELS = ("dark", HOSTILE, "bright")


class Halved(nn.Module):
    """Three classes by brightness, from every ``stride``-th pixel."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean(1, keepdim=True)[..., :: self.stride, :: self.stride]
        return torch.cat([-20 * (brightness - level) ** 2 for level in (0.1, 0.5, 0.9)], 1)


def squares(module: nn.Module, batch: Tensor) -> list[Tensor]:
    """A box around the brightest cells, one that stays, and one whose confidence crosses the threshold."""
    found = []
    for classes, picture in zip(module(batch).argmax(1), batch, strict=True):
        odd = int((picture[0, ::7, ::7] > 0.3).sum()) % 2
        boxes = [[4.0, 4, 20, 20, 0.9, 0], [20.0, 20, 40, 40, 0.3 + 0.2 * odd, 1]]
        rows, columns = torch.nonzero(classes == 2, as_tuple=True)
        if len(rows):
            boxes.append([float(k) for k in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)] + [0.6, 2])
        found.append(torch.tensor(boxes))
    return found


def corners(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
    """The left upper pixels of the cells of the brightest class."""
    found = []
    for classes in module(batch).argmax(1):
        places = torch.nonzero(classes == 2).flip(1)[::5] * 2.0
        found.append(
            {"keypoints": places, "scores": torch.ones(len(places)), "descriptors": torch.ones(len(places), 4)}
        )
    return found


def patches(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
    """The pixels of two of the classes, of which the second crosses the threshold."""
    found = []
    for answer, picture in zip(nn.functional.interpolate(module(batch), batch.shape[2:]), batch, strict=True):
        masks = torch.stack([answer.argmax(0) == 1, answer.argmax(0) == 2])
        masks[:, :4] = masks[:, -4:] = masks[..., :4] = masks[..., -4:] = False
        boxes, labels = torch.tensor([[4.0, 4, 60, 44]] * 2), torch.tensor([1, 2])
        sure = torch.tensor([0.9, 0.3 + 0.2 * (int((picture[0, ::7, ::7] > 0.3).sum()) % 2)])
        found.append({"boxes": boxes, "scores": sure, "labels": labels, "masks": masks})
    return found


ANSWERS: dict[str, Any] = {"masks": None, "boxes": squares, "keypoints": corners, "instances": patches}


def network(output: str = "masks", stride: int = 2, name: str = "halved") -> al.Classifier:
    made = al.Classifier.of(Halved(stride), (48, 64), mean=(0.0,) * 3, std=(1.0,) * 3, name=name)
    return replace(made, answer=ANSWERS[output], labels=LABELS)


def scenes(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.choice([26, 128, 230], (10, 12)).astype(np.uint8).repeat(7, 0).repeat(7, 1) for _ in range(count)]


# --- a drawing is what was measured ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["crop:span=3", "circular:pixels=3", "grid:radius=1"])
@pytest.mark.parametrize("output", ANSWERS)
def test_what_is_drawn_is_what_is_counted(output: str, protocol: str) -> None:
    """The share of a pair that stays, as its records have it; whole pixels, so that both views are the same places."""
    result = al.measure_jitter(network(output), scenes(1), protocol, output=output)
    measure = OUTPUTS[output].measure(OUTPUTS[output].movement)
    followed = trace(network(output), next(iter(al.images.open_images(scenes(1)))).load(), protocol, output=output)
    table = result.records
    rows = measure.movements(table.set_column(2, "name", [list(range(len(table)))]))
    assert [1 - step.kept for step in followed.steps] == pytest.approx([rows[k] for k in range(len(table))], abs=1e-6)
    assert followed.drawings[0].kept == 1
    assert min(followed.curve) < 1


@pytest.mark.parametrize("circular", [False, True])
def test_a_pixel_is_compared_with_where_its_content_was(circular: bool) -> None:
    """By a loop over the pixels."""
    maps, (down, right) = np.random.default_rng(0).integers(0, 3, (2, 6, 8)), (2, -1)
    outputs = [ClassMap.of(one) for one in np.moveaxis(np.eye(3, dtype=np.float32)[maps], -1, 1)]
    shown = (View((0.0, 0.0), 0.0, scenes), View((float(down), float(right)), 2.0, scenes))
    drawing = Masks(network()).drawing(outputs, (0, 1), Views(shown, ((0, 1),), circular=circular, size=(6, 8)))
    for y in range(6):
        for x in range(8):
            place = y - down, x - right
            seen = circular or (0 <= place[0] < 6 and 0 <= place[1] < 8)
            differs = maps[0, place[0] % 6, place[1] % 8] != maps[1, y, x]
            assert drawing.changed[y, x] == (UNSEEN if not seen else CHANGED if differs else SAME)
    assert np.array_equal(drawing.labels, maps[1])
    assert set(drawing.names.values()) == set(LABELS)


def test_boxes_that_are_moved_by_hand_have_the_fates_that_are_counted() -> None:
    first = [
        [10, 10, 20, 20, 0.9, 1],
        [30, 10, 40, 20, 0.8, 2],
        [10, 40, 20, 50, 0.7, 3],
        [40, 40, 50, 50, 0.6, 4],
        [50, 20, 64, 30, 0.9, 5],
    ]
    second = [
        [12, 11, 22, 23, 0.8, 1],
        [32, 11, 42, 21, 0.8, 7],
        [12, 41, 22, 51, 0.3, 3],
        [52, 51, 60, 60, 0.5, 8],
        [55, 2, 64, 12, 0.5, 9],
    ]
    columns, drawing = two_views(first, second, drawn=True)
    by = {fate: [mark.text for mark in drawing.marks if mark.fate == fate] for fate in FATES}
    assert by["kept"] == ["1 0.80"]
    assert by["renamed"] == ["2 0.80 → 7 0.80"]
    assert by["lost"] == ["3 0.70 → 0.30", "4 0.60"]  # the first of them only fell below the threshold
    assert by["new"] == ["8 0.50"]
    assert by["apart"] == ["9 0.50"]  # reaches the border that only the second shows
    assert drawing.said == "4 detections: 2 lost, 1 new, 1 renamed"
    assert columns["lost"] == len(by["lost"]) + len(by["new"])
    assert columns["renamed"] == 2 * len(by["renamed"])
    lost = next(mark for mark in drawing.marks if mark.text == "4 0.60")
    assert lost.corners == (42, 41, 52, 51)  # where it would be in the second view
    assert drawing.kept == pytest.approx(1 - (columns["lost"] + columns["renamed"]) / columns["detections"])


@pytest.mark.parametrize("output", ["masks", "boxes"])
def test_an_answer_that_moves_with_its_input_is_nowhere_unstable(output: str) -> None:
    image = next(iter(al.images.open_images(scenes(1)))).load()
    answer = replace(
        network(output, 1), answer=None if output == "masks" else lambda module, x: [torch.zeros(0, 6)] * len(x)
    )
    followed = trace(answer, image, "crop:span=2", output=output)
    assert np.nanmax(followed.heat) == 0
    assert not any((drawing.changed == CHANGED).any() for drawing in followed.drawings if drawing.changed is not None)
    if output == "boxes":  # nothing to compare is no share
        assert np.isnan(followed.curve).all()
        assert followed.numbers()["kept"] == [None] * 3


def test_a_heat_map_counts_the_pairs_in_the_places_of_the_first_view() -> None:
    """By a loop over the pixels."""
    random = np.random.default_rng(0)
    shifts = [(0, 0), (-1, 2), (3, -1), (0.6, 0.4)]
    drawings = [Drawing((6, 7), "", 1.0, changed=random.integers(0, 3, (6, 7), np.uint8)) for _ in shifts]
    expected = np.zeros((2, 6, 7))
    for drawing, (down, right) in zip(drawings, shifts, strict=True):
        for y in range(6):
            for x in range(7):
                place = y + round(down), x + round(right)
                if 0 <= place[0] < 6 and 0 <= place[1] < 7 and drawing.changed[place] != UNSEEN:
                    expected[:, y, x] += 1, drawing.changed[place] == CHANGED
    found = heat_map(drawings, shifts)
    assert np.array_equal(np.isnan(found), expected[0] == 0)
    assert np.nan_to_num(found) == pytest.approx(expected[1] / np.maximum(expected[0], 1))
    box = Drawing((6, 7), "", 0.0, marks=(Mark((1, 2, 3, 4), "", "lost"), Mark((0, 0, 7, 6), "", "kept")))
    assert np.argwhere(heat_map([box], [(0, 0)])).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]


# --- what a run keeps ------------------------------------------------------------------------------------------------


def drawings() -> list[Drawing]:
    random = np.random.default_rng(0)
    labels, changed = random.integers(0, 200, (9, 12), np.uint8), random.integers(0, 3, (9, 12), np.uint8)
    marks = (Mark((1.5, 2.5, 8.0, 7.25), f"{HOSTILE} 0.50", "lost"), Mark((3.0, 4.0, 3.0, 4.0), "", "new"))
    triangle = Mark(
        (1.0, 1.0, 5.0, 5.0), "ring", "kept", (((1.0, 1.0), (5.0, 1.0), (5.0, 5.0)), ((4.0, 2.0), (3.0, 2.0)))
    )
    return [
        Drawing((9, 12), "3 % changed", 0.97, labels, changed, {3: "car", 199: HOSTILE}),
        Drawing((9, 12), "nothing", np.nan, marks=marks),
        Drawing((9, 12), "1 instance", 1.0, marks=(triangle, marks[1])),
    ]


def test_drawings_are_read_as_they_were_written(tmp_path: Path) -> None:
    for number, drawing in enumerate(drawings()):
        stored = json.loads(json.dumps(write_drawing(drawing, tmp_path, str(number))))
        found = read_drawing(stored, tmp_path)
        assert (found.said, found.size, found.names) == (drawing.said, drawing.size, drawing.names)
        assert [(mark.text, mark.fate) for mark in found.marks] == [(mark.text, mark.fate) for mark in drawing.marks]
        for one, other in zip(found.marks, drawing.marks, strict=True):
            assert one.corners == pytest.approx(other.corners, abs=0.05)  # a tenth of a pixel
            assert (one.is_point, one.outline) == (other.is_point, other.outline)
        for kind in ("labels", "changed"):
            assert np.array_equal(getattr(found, kind), getattr(drawing, kind))
    heat = np.array([[np.nan, 0, 0.5, 1]], np.float32)
    write_heat(heat, tmp_path / "heat.png")
    assert read_heat(tmp_path, "heat.png") == pytest.approx(heat, abs=0.003, nan_ok=True)  # 253 levels


@pytest.mark.parametrize(
    "spoil",
    [
        {"size": [9]},
        {"size": [9, 10**9]},
        {"size": [0, 0], "labels": None},
        {"labels": "../secret.png"},
        {"labels": "../colours.png"},
        {"changed": "nowhere.png"},
        {"marks": ["lost nan 0 0 0 a"]},
        {"marks": ["stolen 0 0 0 0 a"]},
        {"marks": [3]},
        {"marks": ["lost 0 0 1 1 a"], "outlines": [[[1, 2, 3]]]},
        {"marks": ["lost 0 0 1 1 a"], "outlines": [[[1, float("nan")]]]},
        {"marks": ["lost 0 0 1 1 a"], "outlines": [[[]]]},
        {"marks": ["lost 0 0 1 1 a"], "outlines": []},
        {"names": 3},
        {"kept": "much"},
    ],
)
def test_a_drawing_that_is_none_is_refused(spoil: dict[str, Any], tmp_path: Path) -> None:
    PIL.Image.new("RGB", (12, 9)).save(tmp_path / "colours.png")
    PIL.Image.new("L", (12, 9)).save(tmp_path / "secret.png")
    folder = tmp_path / "run"
    folder.mkdir()
    stored = write_drawing(drawings()[0], folder, "a") | spoil
    with pytest.raises((InputError, KeyError, TypeError, ValueError)):
        read_drawing(stored, folder)


def test_a_broken_drawing_is_told_and_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    next((tmp_path / "run" / "examples").glob("*/*.labels.png")).write_bytes(b"no picture")
    (caution,) = write_report(tmp_path / "run", tmp_path / "page.html")
    assert "was changed after it was written" in caution
    assert caution.isprintable()
    assert "Networks compared" in (tmp_path / "page.html").read_text("utf-8")


# --- how it is drawn -------------------------------------------------------------------------------------------------


def test_a_changed_pixel_is_yellow_and_no_other() -> None:
    drawing = drawings()[0]
    (address,) = overlay.layers(drawing)
    assert address.startswith("data:image/png;base64,")
    axes = Figure().subplots()
    overlay.draw(axes, drawing)
    picture = np.asarray(axes.images[0].get_array())
    yellow = (picture == (255, 242, 0, 255)).all(-1)
    assert np.array_equal(yellow, drawing.changed == CHANGED)
    assert (picture[~yellow][:, 3] < 255).all()
    assert [text for _, text in overlay.key([drawing])] == [
        "car",
        HOSTILE,
        "another class in the view it is compared with",
    ]


def test_what_is_written_beside_a_mark_is_text() -> None:
    root = ElementTree.fromstring(overlay._marks(drawings()[1]))
    assert {element.tag.partition("}")[2] for element in root.iter()} == {"svg", "path", "text"}
    (text,) = (element.text for element in root.iter() if element.text)
    assert text == f"lost: {HOSTILE} 0.50"
    assert root.get("viewBox") == "0 0 12 9"


def test_words_lie_within_the_view_and_not_over_one_another() -> None:
    """Of a mark at the upper edge, of two in the same place, of which the lost one keeps its place, and in a corner."""
    corners = (
        (5.0, 0.0, 60.0, 40.0),
        (20.0, 90.0, 90.0, 130.0),
        (22.0, 91.0, 90.0, 130.0),
        (180.0, 195.0, 220.0, 220.0),
    )
    fates = ("new", "kept", "lost", "kept")
    marks = tuple(Mark(place, "car 0.51", fate) for place, fate in zip(corners, fates, strict=True))  # type: ignore[arg-type]
    figure = Figure(figsize=(4, 4))
    axes = figure.add_axes((0, 0, 1, 1))
    overlay.draw(axes, Drawing((200, 200), "4 detections", 0.5, marks=marks))
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= 400 and box.y0 >= -1 and box.y1 <= 400 for box in boxes)  # to rounding
    texts = {text.words: text for text in overlay._texts(Drawing((200, 200), "", 0.5, marks=marks), 9.0)}
    assert texts["lost: car 0.51"].bottom == 91


def test_a_key_s_sample_is_a_box_and_not_the_outline() -> None:
    box, point = (base64.b64decode(sample.partition(",")[2]).decode() for sample, _ in overlay.key(drawings()[2:]))
    assert "M1.5 2.0H18.5V10.0H1.5z" in box
    assert "M10.0 6.0" in point


def test_no_fate_is_told_by_colour_alone() -> None:
    looks = [(dashes, width, word) for _, dashes, width, _, word in overlay._LOOKS.values()]
    signs = {sign for *_, sign, _ in overlay._LOOKS.values()}
    assert len(set(looks)) == len(signs) == len(overlay._LOOKS) == len(FATES)


# --- the command, the page and the film ------------------------------------------------------------------------------


def measured(output: str, folder: Path, protocol: str = "crop:span=2") -> Path:
    networks = [network(output), network(output, 3, f"third {HOSTILE}")]
    result = al.measure_jitter(networks, scenes(), protocol, output=output, out=folder)
    write_json(folder / "summary.json", result.summary())
    traces = write_examples(result, networks, scenes(), folder / "examples")
    assert len(traces) == (2 if protocol.startswith("crop") else 0)
    plots.save(plots.jitter(result, traces), folder / "figure.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured("masks", tmp_path_factory.mktemp("masks"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("output", ANSWERS)
def test_the_slider_moves_what_is_drawn_with_the_photograph(
    output: str, run: Path, tmp_path: Path, browser: Any
) -> None:
    folder = run if output == "masks" else measured(output, tmp_path / "run", "grid:radius=1")
    assert write_report(folder, tmp_path / "page.html") == []
    for width in (390, 1280):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((tmp_path / "page.html").as_uri())
        assert unreadable(browser) == []
    shown = """return [...document.querySelectorAll('#move-1 .view')].map(view => {
        const pictures = [...view.querySelectorAll('.layers img')];
        const boxes = pictures.map(picture => picture.getBoundingClientRect());
        const apart = boxes.map(box => Math.abs(box.top - boxes[0].top) + Math.abs(box.bottom - boxes[0].bottom)
            + Math.abs(box.left - boxes[0].left) + Math.abs(box.right - boxes[0].right));
        return [pictures.map(picture => picture.src), Math.max(...apart),
            pictures.every(picture => picture.complete && picture.naturalWidth)]})"""
    data = json.loads(browser.execute_script("return document.querySelector('#move-1 .data').textContent"))
    photograph = data["photographs"][0]
    slider = browser.find_element("css selector", "#move-1 input[type=range]")
    for view in range(3):
        for number, (sources, apart, whole) in enumerate(browser.execute_script(shown)):
            assert sources == [photograph["views"][view]["picture"], *photograph["layers"][number][view]]
            assert len(sources) == 2
            assert apart < 1  # pixels: they lie on one another
            assert whole
        rows = [row.text for row in browser.find_elements("css selector", "#move-1 .answers tbody tr")]
        assert all(
            text in row for row, one in zip(rows, photograph["networks"], strict=True) for text in one["cells"][view]
        )
        slider.send_keys("\ue014")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('img[src=x], [onerror]').length") == 0


def test_a_network_that_is_not_drawn_is_told(tmp_path: Path) -> None:
    networks = [network(), replace(network(name="smaller"), input_size=(40, 56))]
    result = al.measure_jitter(networks, scenes(1), "crop:span=2", output="masks", out=tmp_path / "run")
    write_json(tmp_path / "run" / "summary.json", result.summary())
    write_examples(result, networks, scenes(1), tmp_path / "run" / "examples")
    assert write_report(tmp_path / "run", tmp_path / "page.html") == []
    page = " ".join((tmp_path / "page.html").read_text("utf-8").split())
    assert "smaller is not shown: its views have 40×56 pixels, and those of the first network 48×64." in page


def test_the_command_writes_figure_film_and_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for number, scene in enumerate(scenes()):
        PIL.Image.fromarray(scene).save(tmp_path / "images" / f"{number}.png")
    arguments = ["--output", "masks", "--protocol", "crop:span=2", "--animate", "--out", str(tmp_path / "run")]
    names = ["one=module:tests.test_look:network", "two=module:tests.test_look:third"]
    assert main(["jitter", "--models", *names, "--images", str(tmp_path / "images"), *arguments]) == 0
    assert len(list(read_frames(tmp_path / "run" / "animation.mp4"))) == 3
    numbers = json.loads((tmp_path / "run" / "animation.json").read_text("utf-8"))["networks"]
    assert [one["model"] for one in numbers] == ["one", "two"]
    assert numbers[0]["kept"][0] == 1 > min(numbers[0]["kept"])


def third() -> al.Classifier:
    return network(stride=3)


def test_each_frame_shows_its_view_and_what_is_drawn_over_it() -> None:
    image = next(iter(al.images.open_images(scenes(1)))).load()
    networks = [replace(network(stride=stride, name=str(stride)), labels=None) for stride in (2, 3)]
    traces = [trace(one, image, "crop:span=2", output="masks") for one in networks]
    film = plots.animation(traces)
    figure = film._fig
    for view in range(3):
        film._func(view)
        shown = [axes for axes in figure.axes if axes.images]
        assert len(shown) == 2
        for axes, one in zip(shown, traces, strict=True):
            photograph, tint = (np.asarray(picture.get_array()) for picture in axes.images)
            assert np.array_equal(photograph, one.pictures[view].astype(np.uint8))
            yellow = (tint == (255, 242, 0, 255)).all(-1)
            assert np.array_equal(yellow, one.drawings[view].changed == CHANGED)
            assert one.answers[view] in axes.get_xlabel()
    film._draw_was_started = True  # or matplotlib warns of a film that nobody has seen
