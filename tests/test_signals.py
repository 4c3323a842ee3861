"""Networks of signals, of one axis or more: the same runner, records and measures as for pictures."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
from scipy import signal as scipy_signal
from torch import Tensor, nn

import aliasing as al
from aliasing import sampling
from aliasing.cli import main
from aliasing.depth.equivariance import moved
from aliasing.depth.folding import energies, measure_site
from aliasing.errors import InputError, UsageError
from aliasing.images import Signal, open_images
from aliasing.jitter.network import prepare
from aliasing.models import SignalNetwork
from aliasing.outputs.values import Values
from aliasing.protocols import PROTOCOLS, make_protocol
from aliasing.rates import centred, convert_rate, rate_ratio
from aliasing.sounds import Sound
from tests.networks import randomise

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).standard_normal(shape)


def network(axes: int = 1, stride: int = 1, channels: int = 1, **how: Any) -> nn.Module:
    """Two convolutions with circular padding, the second with a stride, and a global average."""
    torch.manual_seed(0)
    convolution, how = CONVOLUTIONS[axes], {"padding": 1, "padding_mode": "circular", **how}
    layers = (
        convolution(channels, 6, 3, **how),
        NORMS[axes](6),
        nn.ReLU(),
        convolution(6, 6, 3, stride, **how),
        nn.ReLU(),
    )
    return randomise(nn.Sequential(*layers, POOLS[axes](1), nn.Flatten(), nn.Linear(6, 5)))


def a_network() -> nn.Module:
    """The factory of the command line's tests."""
    return network(stride=4)


def a_network_of_one_second() -> SignalNetwork:
    return SignalNetwork(network(stride=4), "one second", 8000, rate=8000, labels=("a", "b", "c", "d", "e"))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Six recordings of different lengths in two class folders."""
    for number in range(6):
        path = tmp_path / "recordings" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(500 + 20 * number, seed=number), 8000)
    return tmp_path / "recordings"


# --- inputs ---------------------------------------------------------------------------------------------------------


def test_sounds_are_walked_as_pictures_are(recordings: Path, tmp_path: Path) -> None:
    entries = list(open_images(recordings))
    assert [(entry.name, entry.label) for entry in entries][:4] == [
        ("a/0.wav", "a"),
        ("a/2.wav", "a"),
        ("a/4.wav", "a"),
        ("b/1.wav", "b"),
    ]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(recordings.rglob("*.wav")):
            archive.write(path, path.relative_to(recordings))
    (tmp_path / "listed").mkdir()
    for entry in entries:
        (tmp_path / "listed" / entry.name.replace("/", "")).write_bytes((recordings / entry.name).read_bytes())
    rows = [f"{entry.name.replace('/', '')},{entry.label}" for entry in entries]
    (tmp_path / "listed" / "labels.csv").write_text("\n".join(["file,label", *rows]))
    for other in (tmp_path / "all.zip", tmp_path / "listed", [recordings], str(recordings / "*" / "*.wav")):
        found = list(open_images(other))
        assert [entry.identify() for entry in found] == [entry.identify() for entry in entries]
        assert all(isinstance(entry.load(), Signal) and entry.is_signal for entry in found)
        if not isinstance(other, str):
            assert [entry.label for entry in found] == [entry.label for entry in entries]


def test_a_signal_in_memory_is_known_by_its_values_and_its_rate() -> None:
    samples = noise(100)
    sound = Sound(samples, 8000)
    assert isinstance(sound, Signal)
    assert (sound.rate, sound.rates, sound.axes, sound.what) == (8000, (8000,), 1, "a sound")
    assert len({Sound(samples, 8000).identity, Sound(samples, 8001).identity, Sound(samples + 1, 8000).identity}) == 3
    assert Sound(samples, 8000).identity == Signal(samples[None], (8000.0,)).identity
    (entry,) = open_images(sound)
    loaded = entry.load()
    assert loaded.identity == entry.identify() == sound.identity
    pairs = list(open_images([(Signal(noise(2, 5, 6), (1, 1)), 3), Sound(samples, 8000, "tone", label="a")]))
    assert [(entry.name, entry.label, entry.load().axes) for entry in pairs] == [("signal", 3, 2), ("tone", "a", 1)]
    with pytest.raises(UsageError, match="expected channels and 1 axes"):
        Signal(noise(2, 3, 4), (1.0,))


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((0, 1)), "holds no samples"),
        (np.array([0.0, np.nan]), "holds NaN or infinity"),
        (noise(400, 3), ""),
        (noise(400, 8), ""),
    ],
    ids=["empty", "NaN", "3 channels", "8 channels"],
)
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24"])
def test_bad_sounds_are_counted_and_skipped(recordings: Path, samples: np.ndarray, reason: str, subtype: str) -> None:
    if subtype == "PCM_24" and "NaN" in reason:
        samples = samples[:0]
        reason = "holds no samples"
    soundfile.write(recordings / "bad.wav", samples, 8000, subtype)
    summary = al.measure_jitter(network(stride=2), recordings).summary()
    assert summary["images"]["skipped"] == ({"bad.wav": reason} if reason else {})
    told = summary["models"]["Sequential"].get("adapted", {})
    assert told == ({} if reason else {f"mean of {samples.shape[1]} channels": 1})


def test_a_folder_with_both_gives_each_network_its_own(recordings: Path) -> None:
    PIL.Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(recordings / "a" / "z.png")
    sounds, picture = a_network_of_one_second(), al.load_model(network(2, channels=3), input_size=24)
    found = al.measure_jitter(sounds, recordings, "samples").summary()["images"]
    assert found["skipped"] == {"a/z.png": "a picture; one second takes sounds of 8000 Hz"}
    found = al.measure_jitter(picture, recordings, "crop").summary()["images"]
    assert (len(found["skipped"]), {*found["skipped"].values()}) == (
        6,
        {"a sound; Sequential takes pictures of 24×24 pixels"},
    )


# --- rates ----------------------------------------------------------------------------------------------------------


def test_a_tone_stays_the_same_tone_at_another_rate() -> None:
    hertz, before, after = 440, 44100, 8000
    tone = np.cos(2 * np.pi * hertz * np.arange(before) / before)
    found = convert_rate(tone, (before,), (after,))
    expected = np.cos(2 * np.pi * hertz * np.arange(after) / after)
    # scipy's default low-pass has a ripple of some thousandths; its ends see zeros.
    assert abs(found - expected)[200:-200].max() < 5e-3
    assert (rate_ratio(before, after), len(found)) == (Fraction(80, 441), after)
    both = convert_rate(noise(3, 20, 30), (1.0, 2.0), (2.0, 1.0))
    assert both.shape == (3, 40, 15)
    np.testing.assert_allclose(
        both, scipy_signal.resample_poly(scipy_signal.resample_poly(noise(3, 20, 30), 2, 1, axis=1), 1, 2, axis=2)
    )


@pytest.mark.parametrize(("after", "why"), [(10, "more than 100 times as low"), (8000.123456789, "no ratio")])
def test_an_absurd_rate_is_a_reason(recordings: Path, after: float, why: str) -> None:
    with pytest.raises(InputError, match=why):
        rate_ratio(8000, after)
    model = al.load_model(network(), input_size=(64,), rate=after)
    with pytest.raises(InputError, match=f"no usable image .* 6 skipped.*{why}"):
        al.measure_jitter(model, recordings)


@pytest.mark.parametrize("length", [4, 5, 8, 9, 12, 13])
def test_the_centre_is_kept_and_the_rest_is_silence(length: int) -> None:
    found = centred(np.arange(1.0, 10), (length,))
    middle = np.flatnonzero(found)
    assert abs((middle[0] + middle[-1]) - (length - 1)) <= 1
    assert abs((found[middle[0]] + found[middle[-1]]) / 2 - 5) <= 0.5
    assert (np.diff(found[middle]) == 1).all()


def test_what_was_done_to_a_sound_is_in_the_summary() -> None:
    model = al.load_model(network(), input_size=(64,), rate=8000)
    sounds = [Sound(noise(2, 600), 16000, "stereo"), Sound(noise(300), 8000, "own")]
    described = al.measure_jitter(model, sounds).summary()["models"]["Sequential"]
    assert described["adapted"] == {"mean of 2 channels, rate 16000 to 8000 (1/2)": 1}
    assert described["rates_converted_by"]["library"] == "scipy.signal.resample_poly"
    assert (described["rate"], described["input_size"], described["channels"]) == ([8000.0], [64], 1)


# --- networks -------------------------------------------------------------------------------------------------------


def test_a_network_of_sounds_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Conv1d, so it takes signals .* input_size=\(8000,\), rate=8000"):
        al.load_model(network())
    with pytest.raises(UsageError, match=r"Conv3d, so it takes signals .* input_size=\(64, 64, 64\), rate=1"):
        al.load_model(network(3))
    model = al.load_model(network(), input_size=8000, rate=8000.0)
    assert (model.view_size, model.rate, model.channels, model.blank(2).shape) == ((8000,), (8000.0,), 1, (2, 1, 8000))
    assert al.load_model(network(3, channels=2), input_size=8, rate=1).blank().shape == (1, 2, 8, 8, 8)
    assert al.load_model(network(2, channels=5), input_size=(6, 7), rate=(1, 2)).blank().shape == (1, 5, 6, 7)
    for wrong, why in (
        ({"interpolation": "bilinear"}, "have no interpolation"),
        ({"mean": (1, 2)}, "one for each channel"),
        ({"std": 0}, "positive"),
        ({"rate": -1}, "positive number"),
        ({"channels": 3}, "does not take 1×3×8000"),
    ):
        with pytest.raises(UsageError, match=why):
            al.load_model(model, **wrong)
    with pytest.raises(UsageError, match="takes pictures of 224×224 pixels, which have no rate"):
        al.load_model(al.Classifier.of(network(2, channels=3), 224), rate=1)
    pictures = [(np.full((8, 8, 3), 50 * label, np.uint8), label) for label in range(2)]
    with pytest.raises(InputError, match="a picture; Sequential takes sounds of 8000 Hz"):
        al.finetune(model, pictures, tmp_path)


def test_a_bare_network_sees_what_its_inputs_are(recordings: Path) -> None:
    bare = network(stride=2)
    result = al.measure_jitter(bare, recordings)
    described = result.summary()["models"]["Sequential"]
    assert (described["input_size"], described["rate"]) == ([600], [8000.0])
    assert described["notes"] == ["as the first 8 inputs have it: input_size (600,), rate (8000.0,)"]
    assert result.protocol.name == "samples"
    assert described["labels"]  # those of the folders
    stated = al.load_model(bare, input_size=(600,), rate=8000)
    again = al.measure_jitter(stated, recordings)
    assert again.records.equals(result.records)
    assert described["identity"] == stated.identity


def test_inputs_is_another_word_for_images() -> None:
    model, sound = SignalNetwork(network(), "net", 64), Sound(noise(100), 8000)
    found = [al.measure_jitter(model, **{word: sound}).records for word in ("images", "inputs")]
    assert found[0].equals(found[1])
    assert al.probe_depth(model, inputs=sound).summary()["images"]["found"] == 1
    with pytest.raises(UsageError, match="two words for the same"):
        al.measure_jitter(model, sound, inputs=sound)


def test_normalisation_and_identity() -> None:
    plain = al.load_model(network(), input_size=(32,), rate=8000)
    other = al.load_model(plain, mean=0.25, std=0.5)
    views = noise(3, 1, 32).astype(np.float32)
    np.testing.assert_allclose(other.normalize(views), (views - 0.25) / 0.5, rtol=1e-6)
    assert plain.identity != other.identity != al.load_model(other, rate=16000).identity
    fixed = al.antialias(al.load_model(network(stride=2), input_size=(32,), rate=8000), scheme="all")
    assert isinstance(fixed, SignalNetwork)
    assert fixed.rate == (8000.0,)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_copy_that_runs_gives_the_same_answers(axes: int) -> None:
    model = SignalNetwork(network(axes, 2), "net", (9, 8, 7)[:axes])
    views = noise(4, 1, *model.view_size).astype(np.float32)
    with torch.inference_mode():
        ran, own = (one.module(one.normalize(views)) for one in (prepare(model), model))
    torch.testing.assert_close(ran, own, rtol=1e-5, atol=1e-6)  # the folded weights are rounded once more
    assert "folded batch_norm 0" in prepare(model).module[1]._modules  # its work is done by the convolution in front


# --- protocols ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    "protocol",
    ["samples", "samples:step=2,axis=0", "circular", "subsample", "subsample:axis=0", "grid", "consistency"],
)
def test_views_are_the_signal_moved_by_their_shifts(axes: int, protocol: str) -> None:
    """The shift that a record states, applied to the first view, is the view: exactly where nothing enters."""
    made, size = make_protocol(protocol), (60, 48, 40)[:axes]
    model = SignalNetwork(network(axes), "net", size)
    long = noise(1, *(40 + length for length in size))
    views = made.views(Signal(long, (1.0,) * axes), model)
    first = views.views[0].draw()
    assert first.shape == (1, *size)
    assert first.dtype == np.float32
    for view in views.views:
        by = tuple(b - a for a, b in zip(views.views[0].shift, view.shift, strict=True))
        assert len(by) == axes
        if made.name == "subsample":
            continue
        expected = np.roll(first, tuple(map(int, by)), tuple(range(1, axes + 1)))
        margin = max(map(abs, by), default=0) * (not made.is_circular)
        inner = tuple(slice(int(margin), length - int(margin)) for length in size)
        np.testing.assert_array_equal(view.draw()[0][inner], expected[0][inner])
    if made.name == "subsample":  # eight steps of an eighth are one sample, whatever enters at the canvas's ends
        last = tuple(map(int, views.views[-1].shift))
        canvas = centred(long, made.canvas_size(model))
        expected = centred(np.roll(canvas, last, tuple(range(1, axes + 1))), size)
        np.testing.assert_allclose(views.views[-1].draw(), expected, atol=1e-6)


def test_a_protocol_that_does_not_fit_is_refused_before_anything_is_measured(recordings: Path, tmp_path: Path) -> None:
    model = a_network_of_one_second()
    for name, kind in PROTOCOLS.items():
        if name not in ("grid", "consistency", "samples", "circular", "subsample"):
            with pytest.raises(UsageError, match=f"the protocol {name} does not move; choose one of consistency, grid"):
                al.measure_jitter(model, recordings, kind(), out=tmp_path / "out")
    assert not (tmp_path / "out" / "records").exists()
    with pytest.raises(UsageError, match="axis is 1, but one second takes sounds of 8000 Hz, whose last axis is 0"):
        al.measure_jitter(model, recordings, "samples:axis=1")
    with pytest.raises(UsageError, match="takes pictures of 24×24 pixels, which the protocol samples does not move"):
        al.measure_jitter(al.load_model(network(2, channels=3), input_size=24), "sample", "samples")


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_grid_has_all_neighbours_and_a_drawn_pair_depends_on_the_seed(axes: int) -> None:
    model, signal = SignalNetwork(network(axes), "net", (6,) * axes), Signal(noise(1, *(50,) * axes), (1.0,) * axes)
    grid = make_protocol("grid").views(signal, model)
    assert {view.shift for view in grid.views} == {*product((-1.0, 0.0, 1.0), repeat=axes)}
    assert len(grid.pairs) == 3**axes - 1
    drawn = [make_protocol("consistency:draws=3").views(signal, model, seed) for seed in (0, 0, 1)]
    shifts = [[view.shift for view in views.views] for views in drawn]
    assert shifts[0] == shifts[1] != shifts[2]
    assert all(-32 <= d <= 0 for views in shifts for shift in views for d in shift)


def test_a_leaderboard_of_networks_of_sounds() -> None:
    sounds = [Sound(noise(300, seed=seed), 8000, f"{seed}", label=seed % 5) for seed in range(4)]
    model = al.load_model(network(stride=4), input_size=256, rate=8000)
    board = al.compare_networks(model, sounds, antialiased=["binomial3,all"])
    plain, blurred = board.table().to_pylist()
    assert 0 < blurred["mac"] < plain["mac"]
    assert 0 <= plain["consistency"] <= 1


def test_a_data_set_of_signals() -> None:
    class Recordings(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[Sound, int]:
            return Sound(noise(64, seed=index), 8000), index

    result = al.measure_jitter(network(stride=4), Recordings())
    assert result.protocol.name == "samples"
    assert {*result.records["label"].to_pylist()} == {0, 1, 2}
    with pytest.raises(InputError, match=r"or a signal with its rates: aliasing.images.Signal"):
        al.measure_jitter(al.load_model(network(), input_size=64, rate=1), np.zeros((3, 1, 64)), "samples")


def test_records_of_three_axes_have_a_third_shift() -> None:
    columns = {}
    for axes in (1, 3):
        model = SignalNetwork(network(axes), "net", (12,) * axes)
        result = al.measure_jitter(model, Signal(noise(1, *(20,) * axes), (1.0,) * axes), "circular:pixels=2")
        columns[axes] = result.records.column_names
        rows = result.records.to_pydict()
        assert rows["second_dx"] == [1.0, 2.0]
        assert rows["second_dy"] == ([0.0, 0.0] if axes == 1 else [1.0, 2.0])
    assert [name for name in columns[3] if name not in columns[1]] == ["first_dz", "second_dz"]
    assert rows["second_dz"] == [1.0, 2.0]


# --- identities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("how", ["stride 1", "aps"])
def test_a_shift_equivariant_network_does_not_jitter_under_circular_shifts(axes: int, how: str) -> None:
    module, size = network(axes, 1 if how == "stride 1" else 2), (16,) * axes
    if how == "aps":
        example = torch.zeros(1, 1, *size)
        module = al.antialias(module, operator="aps", scheme="all", padding="circular", example_input=example)
    signals = [Signal(noise(1, *size, seed=seed), (1.0,) * axes) for seed in range(3)]
    summary = al.measure_jitter(SignalNetwork(module, "net", size), signals, "circular").summary()["models"]["net"]
    assert summary["top1_change"]["value"] == 0
    # Probabilities of order 1/5 from sums of some hundred products in another order.
    assert summary["mac"]["value"] < 1e-6
    plain = al.measure_jitter(SignalNetwork(network(axes, 2), "net", size), signals, "circular").summary()
    assert plain["models"]["net"]["mac"]["value"] > 1e-4


def test_the_numbers_are_those_of_a_loop_with_roll() -> None:
    module, sounds = network(stride=4), [Sound(noise(64, seed=seed), 8000, f"{seed}") for seed in range(5)]
    found = al.measure_jitter(module, sounds, "circular").summary()["models"]["Sequential"]
    changed, moved = [], []
    with torch.inference_mode():
        for sound in sounds:
            x = torch.tensor(sound.samples, dtype=torch.float32)[None]
            answers = [module(x.roll(k, -1)).softmax(1)[0] for k in range(9)]
            for before, after in pairwise(answers):
                top = before.argmax()
                changed.append(float(after.argmax() != top))
                moved.append(float((after[top] - before[top]).abs()))
    assert found["top1_change"]["value"] == pytest.approx(np.mean(changed))
    assert found["mac"]["value"] == pytest.approx(np.mean(moved), abs=1e-6)  # folded weights, other batches


class _Last(nn.Module):
    """What a map of a network holds, as its answer."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_a_shift_by_the_total_stride_is_a_shift_of_the_output() -> None:
    layers = nn.Conv1d(1, 4, 5, stride=2), nn.ReLU(), nn.Conv1d(4, 3, 3, stride=3)
    module = randomise(nn.Sequential(*layers, _Last()))
    model = SignalNetwork(module, "map", 120)
    views = make_protocol("samples:step=6,steps=1").views(Sound(noise(400), 1), model).views
    with torch.inference_mode():
        maps = [module[:3](torch.from_numpy(view.draw())[None])[0] for view in views]
    torch.testing.assert_close(maps[0][:, 1:], maps[1][:, :-1])
    found = al.measure_jitter(model, Sound(noise(400), 1), "samples:step=6,steps=1", output="values").records
    expected = float((maps[1] - maps[0]).abs().mean())
    assert found["absolute_change"].to_pylist() == [pytest.approx(expected, rel=1e-5)]


# --- outputs --------------------------------------------------------------------------------------------------------


class _Pitch(nn.Module):
    """Numbers that are known functions of the view."""

    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(x)


def test_values_are_those_of_their_formulas() -> None:
    ramp = np.arange(1.0, 41)  # a window moved by one sample later begins one higher
    net = SignalNetwork(_Pitch(lambda x: torch.stack([x[:, 0, 0], 2 * x[:, 0, 0]], 1)), "pitch", 8)
    result = al.measure_jitter(net, Sound(ramp, 1), "samples:steps=2", output="values")
    begin = ramp[(40 - 10) // 2]
    pairs = [(begin, begin + 1), (begin + 1, begin + 2)]
    rows = result.records.to_pydict()
    assert rows["absolute_change"] == [pytest.approx(1.5)] * 2
    assert rows["relative_change"] == [pytest.approx((b - a) / a) for a, b in pairs]
    assert rows["cents"] == [pytest.approx(1200 * np.log2(b / a)) for a, b in pairs]
    assert rows["numbers"] == [2, 2]
    summary = result.summary()["models"]["pitch"]
    assert summary["cents"]["value"] == pytest.approx(np.mean(rows["cents"]))
    pool = Values.measure("cents").pool()
    pool.add([0, 0, 0, 1], [1, 1, 1, 1])
    assert Values.measure("cents").estimate(pool, 1).low == 0  # Student's interval begins below
    assert pool.estimate().low < 0
    assert "change in cents" in str(result)
    minus = SignalNetwork(_Pitch(lambda x: -x[:, 0, :1]), "minus", 8)
    told = al.measure_jitter(minus, Sound(ramp, 1), output="values").summary()["models"]["minus"]
    assert "cents" not in told
    nothing = SignalNetwork(_Pitch(lambda x: 0 * x[:, 0, :1]), "nothing", 8)
    told = al.measure_jitter(nothing, Sound(ramp, 1), output="values").summary()["models"]["nothing"]
    assert "relative_change" not in told
    assert told["absolute_change"]["value"] == 0
    with pytest.raises(UsageError, match="output 'values' cannot be verified"):
        al.measure_jitter(net, Sound(ramp, 1), output="values", precision="verified")


def test_the_embedding_of_a_map_is_its_mean_along_the_axis(recordings: Path) -> None:
    module = network(stride=2)[:5]
    model = al.load_model(module, input_size=(64,), rate=8000)
    x = torch.from_numpy(noise(3, 1, 64).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(al.models.penultimate_features(model)(x), module(x).mean(2))
    summary = al.measure_jitter(model, recordings, output="embedding").summary()["models"]["Sequential"]
    assert 0 < summary["cosine_distance"]["value"] < 1


def test_other_precisions(recordings: Path) -> None:
    exact, half, verified = (
        al.measure_jitter(network(stride=4), recordings, precision=precision).records
        for precision in ("float32", "bfloat16", "verified")
    )
    difference = np.subtract(*(records["first_probability"].to_numpy() for records in (exact, half)))
    assert 0 < abs(difference).max() < 0.02  # logits of about 1, rounded to 8 bits
    assert verified["first_top1"].equals(exact["first_top1"])


# --- depth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [1, 3])
def test_depth_of_any_axes_is_exact_where_a_network_is(axes: int) -> None:
    """Maps before the stride move with the input; behind it whole cells do, and parts of a cell do not."""
    size = (16,) * axes
    model, signals = SignalNetwork(network(axes, 2), "net", size), [Signal(noise(1, *size), (1.0,) * axes)]
    errors = {}
    for pixels in (1, 2):
        moves = Circular2(pixels=1) if pixels == 2 else "circular:pixels=1"
        profile = al.probe_depth(model, signals, moves, layers="leaves", sites_every=1)
        layers = {layer["name"]: layer for layer in profile.summary()["models"]["net"]["layers"]}
        assert layers["0"]["cumulative_stride"] == [1.0] * axes
        assert layers["3"]["cumulative_stride"] == [2.0] * axes
        assert [layers[name]["form"] for name in ("0", "4", "5", "6")] == ["map", "map", "vector", "vector"]
        assert layers["0"]["margin"] == 0
        errors[pixels] = {name: layers[name]["equivariance_error"]["value"] for name in ("0", "4")}
    assert errors[1]["0"] == pytest.approx(0, abs=1e-10)
    assert errors[1]["4"] > 0.01
    assert errors[2]["4"] == pytest.approx(0, abs=1e-10)
    (site,) = profile.summary()["models"]["net"]["sites"]
    assert (site["stride"], site["status"]) == ([2] * axes, "subsamples")
    assert 0 < site["alias_fraction"]["value"] < 1


@dataclass(frozen=True, kw_only=True)
class Circular2(type(make_protocol("circular"))):  # type: ignore[misc]
    """The signal rolled by two samples."""

    def _rolled(self, canvas: Any, axes: Any) -> Any:
        views = super()._rolled(canvas, axes)
        twice = [replace(view, shift=tuple(2 * d for d in view.shift)) for view in views.views]
        last = np.roll(canvas, (2,) * len(axes), axes)
        return replace(views, views=(twice[0], replace(twice[1], draw=lambda: last)))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_maps_of_any_axes_are_moved_as_signals_are(axes: int) -> None:
    x = torch.from_numpy(noise(*(7, 6, 5)[:axes], 4))
    for by in ((1.0, -2.0, 3.0)[:axes], (0.5, -0.25, 1.75)[:axes]):
        expected = sampling.shift(x, by, tuple(range(axes)))
        # Both sum some tens of products of doubles.
        torch.testing.assert_close(moved(x, by), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [(64,), (16, 12), (12, 10, 8)])
def test_the_spectrum_of_an_impulse_is_white(size: tuple[int, ...]) -> None:
    impulse = torch.zeros(*size, 1, dtype=torch.float64)
    impulse[(0,) * len(size)] = 1
    rings = [ring for ring in energies(impulse).radial() if ring is not None]
    assert len(rings) > 4
    np.testing.assert_allclose(rings, 1, rtol=1e-12)


def test_what_a_site_folds_is_that_of_the_closed_form() -> None:
    """A tone of frequency 3/8 folds at stride 2; one of 1/8 does not, and a mean is no energy."""
    place = torch.arange(64.0)
    tones = [torch.cos(2 * torch.pi * f * place + 0.3)[:, None] for f in (1 / 8, 3 / 8)]
    found = measure_site(3 * tones[0] + tones[1] + 5, tones[1], (2,), compares=True)
    assert found["energy_above"] == pytest.approx(1 / 10, abs=1e-6)
    assert found["alias_fraction"] == pytest.approx(1, abs=1e-6)
    volume = tones[1][:, None, None] + tones[0][:48][None, :, None] * 2 + torch.zeros(64, 48, 8, 1)
    found = measure_site(volume, volume, (2, 2, 2), compares=True)
    assert found["energy_above"] == pytest.approx(1 / 5, abs=1e-6)
    assert found["baseband_kept"] == pytest.approx(1)


def test_the_cascade_of_an_antialiased_network_of_sounds_is_observed(recordings: Path) -> None:
    model = al.load_model(network(stride=4), input_size=(512,), rate=8000)
    blurred = al.antialias(model, scheme="all")
    for one in (model, blurred):
        profile = al.probe_depth(one, recordings, sites_every=1)
        described = profile.summary()["models"][one.name]
        assert profile.protocol.name == "samples"
        (site,) = described["sites"]
        assert site["images"] == 6
        share = site["alias_fraction"]["value"]
        assert (share > 0.3) if one is model else (share < 0.1)


# --- whole runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = [Sound(noise(64, seed=seed), 8000, f"{seed:02d}") for seed in range(40)]
    module = network(stride=4)
    al.measure_jitter(module, sounds, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        write = al.records.Records.write

        def stops(self: Any, model: str, block: int, part: Any) -> None:
            if block:
                raise KeyboardInterrupt
            write(self, model, block, part)

        patch.setattr(al.records.Records, "write", stops)
        with pytest.raises(KeyboardInterrupt):
            al.measure_jitter(module, sounds, out=tmp_path / "stopped")
    al.measure_jitter(module, sounds, out=tmp_path / "stopped")
    whole, stopped = (
        {path.name: path.read_bytes() for path in (tmp_path / which).rglob("*.parquet")}
        for which in ("whole", "stopped")
    )
    assert len(whole) == 2
    assert whole == stopped
    other = [Sound(sound.samples, 16000, sound.name) for sound in sounds]
    with pytest.raises(InputError, match="choose another --out"):
        al.measure_jitter(al.load_model(module, input_size=(64,), rate=8000), other, out=tmp_path / "whole")


@pytest.mark.parametrize("factory", ["a_network", "a_network_of_one_second"])
def test_the_command_line(recordings: Path, tmp_path: Path, factory: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"module:tests.test_signals:{factory}"
    out = tmp_path / "out"
    assert main(["jitter", "--models", name, "--inputs", str(recordings), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "P(top-1 change)" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["models"][name]["input_size"] == [600 if factory == "a_network" else 8000]
    assert summary["settings"]["protocol"]["name"] == "samples"
    assert (out / "figure.png").is_file()
    assert main(["report", str(out), "--out", str(tmp_path / "report.html")]) == 0
    capsys.readouterr()
    assert main(["jitter", "--models", name, "--inputs", str(recordings), "--protocol", "crop"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "choose one of consistency, grid, circular, samples, subsample" in error


def test_fractions_add_up_to_samples() -> None:
    """Fourier shifts add up on an odd canvas, so the last view of eight eighths is the first of the next path."""
    x = noise(1, 41)
    np.testing.assert_allclose(sampling.shift(sampling.shift(x, (0.5,), -1), (0.5,), -1), np.roll(x, 1, -1), atol=1e-12)


def test_spoken_digits(spoken_digits: Path) -> None:
    """Real recordings of one rate and of many lengths."""
    paths = sorted(spoken_digits.glob("*.wav"))[::30]
    summary = al.measure_jitter(network(stride=4), paths, "circular:pixels=4").summary()
    assert summary["images"]["skipped"] == {}
    assert summary["models"]["Sequential"]["pairs"] == 4 * len(paths)
