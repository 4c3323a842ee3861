"""Films show what was measured: bars as long as the probabilities, the view of each frame, and files that play."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from matplotlib.animation import AbstractMovieWriter, FuncAnimation
from matplotlib.colors import to_rgb

from aliasing import plots
from aliasing.cli import main
from aliasing.depth.feature_maps import INPUT, LayerMaps, MovingMaps, drawn_channels
from aliasing.errors import UsageError
from aliasing.images import open_images
from aliasing.images.video import read_frames
from aliasing.jitter import Trace, trace
from aliasing.jitter.network import probabilities
from aliasing.models import load_model
from aliasing.plots import film
from aliasing.protocols import make_protocol
from tests.browser import chromium, complaints

VIEWS = 6
NAMES = ("tench, Tinca tinca", "goldfish", "cock", "hen", "a name that is longer than there is room for in a bar")


def made_up(model: str, seed: int = 0, views: int = VIEWS) -> Trace:
    """A trace with numbers of no network: each view is of one grey, and the answer changes at view 2 and back at 4."""
    random = np.random.default_rng(seed)
    found = random.dirichlet(np.ones(len(NAMES)), views).astype(np.float32)
    top1 = np.array([0, 0, 1, 1, 0, 0][:views])
    pictures = np.broadcast_to(20 + 40 * np.arange(views, dtype=np.float32)[:, None, None, None], (views, 32, 32, 3))
    answers = tuple(NAMES[index] for index in top1)
    shifts, pairs = np.zeros((views, 2)), tuple((view, view + 1) for view in range(views - 1))
    return Trace(
        model=model,
        image="fish.jpg",
        unit="pixels",
        positions=np.arange(views) / 2,
        curve=found[:, 0],
        top1=top1,
        answers=answers,
        pictures=pictures.copy(),
        shifts=shifts,
        confidence=found.max(1),
        pairs=pairs,
        leading=NAMES,
        leading_probabilities=found,
    )


class Seen(AbstractMovieWriter):
    """Looks at the figure whenever a frame is drawn."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.look, self.seen = look, []

    def setup(self, fig: Any, outfile: Any, dpi: Any = None) -> None:
        self.fig, self.dpi = fig, dpi

    def grab_frame(self, **options: Any) -> None:
        self.seen.append(self.look(self.fig))

    def finish(self) -> None:
        plt.close(self.fig)


def watch(moving: FuncAnimation, look: Any) -> list[Any]:
    writer = Seen(look)
    moving.save("unused", writer=writer)
    return writer.seen


def drawn(moving: FuncAnimation) -> list[np.ndarray]:
    """The frames as arrays H×W×3."""

    def look(figure: Any) -> np.ndarray:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100)
        return np.array(PIL.Image.open(content).convert("RGB"))

    return watch(moving, look)


@pytest.mark.parametrize("networks", [1, 4])
def test_every_bar_is_as_long_as_the_probability_and_the_answer_is_marked(networks: int) -> None:
    traces = [made_up(f"network {number}", number) for number in range(networks)]

    def look(figure: Any) -> list[Any]:
        panels = [axes for axes in figure.axes if len(axes.patches) == len(NAMES)]
        return [
            (
                [bar.get_width() for bar in axes.patches],
                [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"],
                axes.title.get_bbox_patch().get_facecolor()[3] > 0,
            )
            for axes in panels
        ]

    frames = watch(plots.animation(traces), look)
    assert len(frames) == VIEWS
    for view, panels in enumerate(frames):
        assert len(panels) == networks
        for followed, (widths, bold, highlighted) in zip(traces, panels, strict=True):
            assert widths == pytest.approx(followed.leading_probabilities[view], abs=1e-7)
            assert bold == [followed.answers[view].split(",")[0]]
            assert highlighted == (view in (2, 4))


def test_the_curve_is_the_probability_of_the_first_answer_with_a_ring_at_each_jump() -> None:
    followed = made_up("network")

    def look(figure: Any) -> Any:
        (axes,) = (axes for axes in figure.axes if axes.get_ylabel().startswith("probability"))
        curve, rings, point, here = axes.lines
        return [np.array(line.get_data()) for line in (curve, rings, point)], here.get_xdata()[0]

    for view, ((curve, rings, point), here) in enumerate(watch(plots.animation([followed]), look)):
        assert np.array_equal(curve, [followed.positions, followed.probability])
        assert np.array_equal(rings[0], [1.0, 2.0])  # the positions of views 2 and 4
        assert point[:, 0] == pytest.approx([followed.positions[view], followed.probability[view]])
        assert here == followed.positions[view]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """The film of two networks, as it is drawn."""
    return drawn(plots.animation([made_up("first"), made_up("second", 1)]))


def test_each_frame_shows_its_own_view(frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    for view, frame in enumerate(frames):
        inside = frame[height // 5 : height // 3, width // 8 : width // 5]
        assert (inside == 20 + 40 * view).all()


def test_a_frame_with_a_jump_has_yellow_and_no_other(frames: list[np.ndarray]) -> None:
    yellow = np.round(255 * np.array(to_rgb("#F0E442")))
    shown = [bool((np.abs(frame - yellow).max(-1) <= 2).any()) for frame in frames]
    assert shown == [False, False, True, False, True, False]


def test_networks_along_different_paths_have_no_film() -> None:
    with pytest.raises(UsageError, match="different paths"):
        plots.animation([made_up("first"), made_up("second", views=4)])


def test_networks_of_one_architecture_are_told_apart_by_their_files() -> None:
    models = ["pypi:net", "file:a/sharp.safetensors@pypi:net", "file:blurred.safetensors@pypi:net", "pypi:other"]
    assert plots.moving._names(models) == [
        "net (pypi)",
        "net (sharp.safetensors)",
        "net (blurred.safetensors)",
        "other",
    ]


def maps(model: str, seed: int, channels: int = 8) -> MovingMaps:
    """Maps with numbers of no network."""
    views = np.arange(VIEWS, dtype=np.float32)
    values = np.random.default_rng(seed).uniform(1, 2, (VIEWS, channels, 4, 4)).astype(np.float32)
    pictures = np.full((VIEWS, 32, 32, 3), 128, np.float32)
    layers = (LayerMaps(INPUT, "map", pictures.transpose(0, 3, 1, 2) / 255), LayerMaps("layer1", "map", values))
    return MovingMaps(model, "fish.jpg", "pixels", views.astype(np.float64), pictures, layers)


def test_the_maps_and_averages_of_a_film_are_those_of_the_layer() -> None:
    results = [maps("first", 0), maps("second", 1)]
    channel = results[0].layers[1].typical_channel()
    assert results[1].layers[1].typical_channel() != channel
    assert [channels[1] for channels in drawn_channels(results)] == [channel, channel]

    def look(figure: Any) -> Any:
        shown = [np.array(axes.images[0].get_array()) for axes in figure.axes if axes.images]
        points = [np.array(axes.lines[1].get_data())[:, 0] for axes in figure.axes if axes.lines]
        return shown, points

    seen = watch(plots.animated_maps(results), look)
    assert len(seen) == VIEWS
    for view, (shown, points) in enumerate(seen):
        assert len(shown) == len(points) == 4  # of each network the input and the layer
        for result, picture, point in zip(results, shown[1::2], points[1::2], strict=True):
            assert np.array_equal(picture, result.layers[1].maps[view, channel])
            averages = result.layers[1].averages[:, channel]
            # float32 averages of values near 1; matplotlib keeps float64
            assert point == pytest.approx([view, averages[view] / averages.mean()], rel=1e-6)


def test_a_network_with_other_layers_has_channels_of_its_own() -> None:
    first, second = maps("first", 0), maps("second", 1, channels=9)
    (_, of_first), (_, of_second) = drawn_channels([first, second])
    assert of_first == first.layers[1].typical_channel()
    assert of_second == second.layers[1].typical_channel()
    numbers = second.numbers((0, of_second))["layers"][1]
    assert numbers["average"] == pytest.approx(second.layers[1].averages[:, of_second])
    assert (numbers["layer"], numbers["size"], numbers["channel"]) == ("layer1", [4, 4], of_second)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("film") / "deeper" / "animation.of.v1"  # a dot is no ending
    plots.save_film(plots.animation([made_up("first"), made_up("second", 1)]), out)
    return out


def test_the_film_decodes_to_the_frames_that_were_drawn(written: Path, frames: list[np.ndarray]) -> None:
    decoded = list(read_frames(Path(f"{written}.mp4")))
    assert len(decoded) == len(frames) == VIEWS
    for found, expected in zip(decoded, frames, strict=True):
        assert found.shape == expected.shape
        # Lossy, and colour at half the resolution: text has coloured fringes. A neighbouring frame differs by 40 grey
        # levels in the view alone.
        assert np.abs(found.astype(float) - expected).mean() < 3


def test_the_mp4_is_h264_for_browsers_with_its_index_in_front(written: Path) -> None:
    import av

    content = Path(f"{written}.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(io.BytesIO(content)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", VIEWS)
        assert float(stream.average_rate) == plots.moving.FRAMES_PER_SECOND


def test_an_odd_size_loses_its_last_row_and_column() -> None:
    frames = [np.full((33, 47, 3), value, np.uint8) for value in (0, 255)]
    import av

    with av.open(io.BytesIO(film.mp4(frames, 4))) as container:
        assert [(picture.height, picture.width) for picture in container.decode(video=0)] == [(32, 46)] * 2


def test_the_gif_loops_for_ever(written: Path, frames: list[np.ndarray]) -> None:
    with PIL.Image.open(f"{written}.gif") as picture:
        assert picture.n_frames == VIEWS
        assert picture.info["loop"] == 0
        assert picture.info["duration"] == 1000 / plots.moving.FRAMES_PER_SECOND
        picture.seek(3)
        # 256 colours for some thousand of anti-aliased text
        assert np.abs(np.array(picture.convert("RGB")).astype(float) - frames[3]).mean() < 2


def test_a_browser_plays_the_film(written: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<link rel="icon" href="data:,"><video src="{written.as_uri()}.mp4" muted></video>')
    with chromium(tmp_path / "profile") as browser:
        browser.get(page.as_uri())
        played = browser.execute_async_script(
            """const done = arguments[0], video = document.querySelector("video");
            video.onerror = () => done({error: video.error.message});
            video.onended = () => done({width: video.videoWidth, seconds: video.duration, at: video.currentTime});
            video.playbackRate = 8; video.play().catch(error => done({error: String(error)}));"""
        )
        assert complaints(browser) == []
    frames = VIEWS / plots.moving.FRAMES_PER_SECOND
    assert played == {"width": 900, "seconds": pytest.approx(frames), "at": pytest.approx(frames)}


def test_nothing_is_written_where_encoding_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "animation.mp4").write_text("of an earlier run")

    def fail(*arguments: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(film, "gif", fail)
    with pytest.raises(KeyboardInterrupt):
        plots.save_film(plots.animation([made_up("network", views=2)]), tmp_path / "animation")
    assert [path.name for path in tmp_path.iterdir()] == ["animation.mp4"]
    assert (tmp_path / "animation.mp4").read_text() == "of an earlier run"


def test_the_leading_classes_of_a_trace_are_those_that_become_most_probable() -> None:
    model, image = load_model("pypi:efficientnet_lite0"), next(iter(open_images("sample"))).load()
    followed = trace(model, image, "crop:span=3")
    found = probabilities(model)(followed.pictures)
    order = np.argsort(-found.max(0))[:5]
    assert followed.leading == tuple(model.labels[index] for index in order)
    assert np.allclose(followed.leading_probabilities, found[:, order], atol=1e-6)  # another batch, other last bits
    assert followed.numbers()["leading"][0]["answer"] == followed.leading[0]
    assert json.loads(json.dumps(followed.numbers()))["positions"] == [0, 1, 2, 3]


def test_jumps_are_the_views_whose_answer_is_new() -> None:
    assert made_up("network").jumps.tolist() == [2, 4]
    assert made_up("network").numbers()["jumps"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--protocol", "grid", "--out", "OUT"], 2, "grid does not have one; choose one of crop,"),
        (["--protocol", "crop"], 2, "give it --out DIR"),
        (
            ["--output", "embedding", "--out", "OUT"],
            2,
            "no film of --output embedding; choose one of probabilities",
        ),
    ],
)
def test_a_film_that_cannot_be_made_is_refused_before_anything_is_measured(
    arguments: list[str], code: int, message: str, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    arguments = [str(tmp_path / "out") if word == "OUT" else word for word in arguments]
    complaint(["jitter", "--animate", *arguments], code, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["jitter", "depth"])
def test_without_the_encoder_one_line_says_what_to_install(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    assert main([command, "--animate", "--out", str(tmp_path / "out")]) == 1
    assert 'pip install "aliasing[film]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def photograph(imagenet_sample: Path) -> Path:
    return imagenet_sample / "n01440764_tench.JPEG"


def test_the_command_leaves_a_film_of_the_networks_side_by_side(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = ["pypi:efficientnet_lite0", "antialiased:binomial3:pypi:efficientnet_lite0"]
    arguments = ["--images", str(photograph), "--protocol", "horizontal:pixels=4", "--animate", "--out", str(tmp_path)]
    assert main(["jitter", "--models", *networks, *arguments]) == 0
    assert "figure.png, differences.png, animation.mp4, .gif and .json" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "animation.json").read_text(encoding="utf-8"))
    assert [network["model"] for network in numbers["networks"]] == networks
    assert numbers["settings"]["protocol"]["pixels"] == 4
    for network in numbers["networks"]:
        assert network["positions"] == [0, 1, 2, 3, 4]
        assert len(network["leading"]) == 5
    records = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["models"][networks[0]]
    curve = np.array(numbers["networks"][0]["probability_of_first_answer"])
    assert records["mac"]["value"] == pytest.approx(np.abs(np.diff(curve)).mean(), abs=0.02)  # of another first answer
    assert len(list(read_frames(tmp_path / "animation.mp4"))) == 5
    with PIL.Image.open(tmp_path / "animation.gif") as picture:
        assert picture.n_frames == 5


def test_the_film_of_depth_shows_the_maps_of_the_photograph(photograph: Path, tmp_path: Path) -> None:
    arguments = ["--images", str(photograph), "--protocol", "crop:span=2", "--animate", "--json"]
    assert main(["depth", *arguments, "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "animation.json").read_text(encoding="utf-8"))
    (network,) = numbers["networks"]
    assert network["layers"][0]["layer"] == INPUT
    sizes = [layer["size"][0] for layer in network["layers"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(list(read_frames(tmp_path / "animation.mp4"))) == len(network["positions"]) == 3


def test_every_path_has_a_film_and_nothing_else(photograph: Path) -> None:
    """One frame a view, for each protocol that is a path and shows photographs."""
    model, image = load_model("pypi:efficientnet_lite0"), next(iter(open_images(photograph))).load()
    for name in ("black", "pad", "subpixel:steps=1", "scale:pixels=1", "rotate:steps=1", "circular:pixels=1"):
        protocol = make_protocol(name)
        assert protocol.is_path
        followed = trace(model, image, protocol)
        assert len(watch(plots.animation([followed]), lambda figure: None)) == len(followed.positions) == 2
