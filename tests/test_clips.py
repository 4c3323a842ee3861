"""Videos to networks of frames N×3×T×H×W: the windows that a loop would cut, moved in time or in space."""

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import video

import aliasing as al
from aliasing.cli import main
from aliasing.images import Clip, Entry, ImageSource
from aliasing.models import SignalNetwork
from aliasing.protocols import make_protocol
from tests.networks import randomise

SIZE = (6, 24, 20)  # frames, height, width
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # torchvision's, of Kinetics


def frames(count: int = 20, seed: int = 0) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    return iter(random.integers(0, 256, (count, 40, 30, 3), dtype=np.uint8))


def network(name: str = "r3d_18") -> SignalNetwork:
    """An architecture of torchvision with random weights, for the shapes of its calls alone."""
    torch.manual_seed(0)
    module = randomise(getattr(video, name)(weights=None, num_classes=5))
    found = al.load_model(module, input_size=SIZE, mean=MEAN, std=STD)
    assert isinstance(found, SignalNetwork)
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_video_is_moved_in_time_and_in_space(axis: int) -> None:
    clip = Clip("a", "a", None, frames)
    views = make_protocol(f"samples:steps=2,axis={axis}").views(clip, SignalNetwork(nn.Flatten(), "none", SIZE, 3))
    sizes = [length + 2 * (axis == other) for other, length in enumerate(SIZE)]
    stacked = np.stack(list(islice(frames(), sizes[0]))).transpose(3, 0, 1, 2) / 255
    top, left = (40 - sizes[1]) // 2, (30 - sizes[2]) // 2
    canvas = stacked[:, :, top : top + sizes[1], left : left + sizes[2]]
    assert len(views.views) == 3
    for k, view in enumerate(views.views):
        begin = [k * (axis == other) for other in range(3)]
        inside = tuple(slice(start, start + length) for start, length in zip(begin, SIZE, strict=True))
        np.testing.assert_allclose(view.draw(), canvas[(slice(None), *inside)], atol=1e-7)  # float32
        assert view.shift == tuple(-float(start) for start in begin)
    shown = f"the first {sizes[0]} frames, of their 40×30 pixels the centre {sizes[1]}×{sizes[2]}"
    assert views.adapted == shown


def source(*counts: int) -> ImageSource:
    """Videos with this number of frames."""

    def entry(number: int, count: int) -> Entry:
        clip = Clip(f"{number}", f"{number}", None, lambda: frames(count, number))
        return Entry(clip.name, None, lambda _: clip, lambda _: clip.identity)

    return ImageSource("videos", lambda: (entry(number, count) for number, count in enumerate(counts)))


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_the_numbers_are_those_of_a_loop_over_windows(name: str) -> None:
    """Two videos moved by one frame twice, and one that is too short."""
    model, mean, std = network(name), np.array(MEAN)[:, None, None, None], np.array(STD)[:, None, None, None]
    result = al.measure_jitter(model, source(20, 9, 7), "samples:steps=2,axis=0", output="values")
    assert result.summary()["images"]["skipped"] == {"2": "a video of 7 frames; 8 are needed"}
    moved = []
    with torch.inference_mode():
        for number in range(2):
            pixels = np.stack(list(islice(frames(20, number), 8))).transpose(3, 0, 1, 2)[:, :, 8:32, 5:25] / 255
            scaled = torch.tensor((pixels - mean) / std, dtype=torch.float32)[None]
            answers = [model.module(scaled[:, :, k : k + 6])[0] for k in range(3)]
            moved += [float((after - before).abs().mean()) for before, after in pairwise(answers)]
    assert min(moved) > 0
    # Folded weights, and other products first: a few eps times the root of 18 layers of sums, of the answers.
    answered = float(torch.stack(answers).abs().max())
    assert result.records["absolute_change"].to_pylist() == pytest.approx(moved, abs=1e-5 * answered)


def test_a_whole_circle_in_time_is_no_shift() -> None:
    """Of a network whose only stride is in space, the average over a circle of frames does not see where it begins."""
    torch.manual_seed(0)
    layers = (
        nn.Conv3d(3, 4, 3, (1, 2, 2), padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    model = SignalNetwork(randomise(nn.Sequential(*layers)), "in space", SIZE, 3)
    (clip,) = source(20)
    (rolled,) = make_protocol("circular:pixels=6").views(clip.load(), model).views[6:]
    begin = make_protocol("circular").views(clip.load(), model).views[0].draw()
    assert np.array_equal(rolled.draw(), np.roll(begin, (0, 6, 6), (1, 2, 3)))  # six frames are a whole circle


def of_frames() -> SignalNetwork:
    """The factory of the command line's test."""
    return network("mc3_18")


def test_the_command_on_real_videos(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("bikes.mp4", "carphone_pristine.mp4"):
        (tmp_path / "videos" / name).symlink_to(clips / name)
    (tmp_path / "videos" / "bad.mp4").write_text("words")
    command = ["jitter", "--images", str(tmp_path / "videos"), "--models", "module:tests.test_clips:of_frames"]
    out = tmp_path / "out"
    assert main([*command, "--protocol", "samples:steps=2,axis=2", "--out", str(out)]) == 0
    assert "bad.mp4" in capsys.readouterr().out
    rows = al.open(out).records.to_pydict()
    assert (set(rows["second_dx"]), set(rows["second_dy"]), set(rows["second_dz"])) == ({-1.0, -2.0}, {0.0}, {0.0})
    assert (out / "figure.png").stat().st_size > 10_000
    again = al.measure_jitter(of_frames(), out.parent / "videos")  # without a protocol
    assert (again.protocol.name, again.protocol.axis) == ("samples", None)
    assert main([*command, "--protocol", "crop"]) == 2
    assert "takes volumes or the frames of videos" in capsys.readouterr().err
