"""The numbers of a jitter measurement, against networks whose answers are known and against plain Python."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aliasing as al
from aliasing.errors import InputError, UsageError
from aliasing.images import Image
from aliasing.jitter.engine import predict, prepare_ahead
from aliasing.jitter.examples import write_examples
from aliasing.jitter.metrics import PairedMetrics, PairMetrics
from aliasing.models import Classifier
from aliasing.protocols import make_protocol

HALF = (0.5, 0.5, 0.5)


class CornerParity(nn.Module):
    """Answers class 0 or 1 by the parity of the red of the corner pixel, with probability 0.9: known in advance."""

    def forward(self, views: Tensor) -> Tensor:
        red = ((views[:, 0, 0, 0] * 0.5 + 0.5) * 255).round()
        odd = red % 2
        return torch.stack([odd * 0 + (1 - odd) * np.log(9), odd * np.log(9)], dim=1)


def network(module: nn.Module, name: str = "known", size: int = 24) -> Classifier:
    return Classifier(module, name, size, HALF, HALF, "bilinear", resize_size=size + 8, crop_share=0.75)


def photographs(count: int = 40, size: int = 32) -> list[np.ndarray]:
    """Noise of just the canvas's size, so that nothing is resized and every grey level is known."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


def test_a_network_whose_answer_is_known_gives_the_known_numbers() -> None:
    pictures = photographs()
    summary = al.measure_jitter(network(CornerParity()), pictures).summary()["models"]["known"]
    changed = [int(picture[k, k, 0]) % 2 != int(picture[k + 1, k + 1, 0]) % 2 for picture in pictures for k in range(8)]
    assert summary["pairs"] == 320
    assert summary["top1_change"]["value"] == np.mean(changed)
    assert summary["consistency"]["value"] == 1 - np.mean(changed)
    # 0.9 against 0.1 where the answer changes, no change elsewhere; float32's softmax is good to a few 1e-7.
    assert summary["mac"]["value"] == pytest.approx(0.8 * np.mean(changed), abs=1e-6)
    assert summary["total_variation"]["value"] == pytest.approx(0.8 * 8 * np.mean(changed), abs=1e-5)
    assert summary["flip_rate"] == summary["top1_change"]
    assert summary["images_that_change"] == sum(any(changed[8 * i : 8 * i + 8]) for i in range(40))
    for estimate in ("top1_change", "mac", "consistency", "total_variation"):
        assert summary[estimate]["low"] < summary[estimate]["value"] < summary[estimate]["high"]
    assert "accuracy" not in summary


def test_a_network_that_looks_at_nothing_never_jitters_and_is_not_called_certain() -> None:
    class Constant(nn.Module):
        def forward(self, views: Tensor) -> Tensor:
            return torch.tensor([0.0, 1.0]).expand(len(views), 2)

    result = al.measure_jitter(network(Constant()), photographs(20))
    summary = result.summary()["models"]["known"]
    assert "too few for a narrow interval" in str(result).splitlines()[1]
    assert summary["top1_change"] == {"value": 0.0, "low": 0.0, "high": pytest.approx(1 - 0.025 ** (1 / 20))}
    assert "the answer of none of the 20 images changes" in summary["cautions"][0]


def test_accuracy_is_over_first_views_and_the_worst_case_over_all(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    pictures = photographs(10)
    rows = ["file,label"]
    for index, picture in enumerate(pictures):
        Pillow.fromarray(picture).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{index % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    summary = al.measure_jitter(network(CornerParity()), tmp_path).summary()["models"]["known"]
    parity = np.array([[picture[k, k, 0] % 2 for k in range(9)] for picture in pictures])
    right = parity == np.arange(10)[:, None] % 2
    assert summary["accuracy"]["value"] == right[:, :8].mean()
    assert summary["worst_accuracy"]["value"] == right.all(1).mean()
    assert summary["stability"]["value"] == (right[:, :-1] & right[:, 1:]).mean()


@pytest.mark.parametrize("change", ["batch size", "order"])
def test_batch_size_and_order_leave_the_summary_as_it_was(change: str) -> None:
    """Counts are equal but for near ties, means agree to 1e-5 (principle 5 of the design)."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    ).eval()
    module(torch.zeros(1, 3, 24, 24))
    with torch.no_grad():
        module[-1].weight *= 30  # sure of itself, so that no margin is near a tie
    pictures = photographs()
    before = al.measure_jitter(network(module), pictures, "consistency:canvas=32,largest_shift=8")
    if change == "order":
        after = al.measure_jitter(network(module), pictures[::-1], "consistency:canvas=32,largest_shift=8")
    else:
        after = al.measure_jitter(network(module), pictures, "consistency:canvas=32,largest_shift=8", batch_size=7)
    a, b = (result.summary()["models"]["known"] for result in (before, after))
    assert a["near_ties"] == 0
    assert a["top1_change"]["value"] == b["top1_change"]["value"] > 0
    for measure in ("mac", "top1_change"):
        for end in ("value", "low", "high"):
            assert a[measure][end] == pytest.approx(b[measure][end], abs=1e-5)


def test_nan_is_reported_and_not_averaged_away() -> None:
    class Fails(CornerParity):
        def forward(self, views: Tensor) -> Tensor:
            outputs = super().forward(views)
            return torch.where(views[:, :1, 0, 0] > 0.9, torch.nan, outputs)

    pictures = photographs()
    bad = [any(picture[k, k, 0] > 0.95 * 255 for k in range(9)) for picture in pictures]
    summary = al.measure_jitter(network(Fails()), pictures).summary()["models"]["known"]
    assert len(summary["not_finite"]) == sum(bad) > 0
    assert summary["images"] == len(pictures) - sum(bad)
    assert np.isfinite(summary["mac"]["value"])


def test_two_networks_get_a_paired_difference() -> None:
    class Steady(nn.Module):
        def forward(self, views: Tensor) -> Tensor:
            return torch.stack([views.mean((1, 2, 3)), views[:, 0].amax((1, 2))], 1)

    result = al.measure_jitter([network(CornerParity(), "parity"), network(Steady(), "steady")], photographs())
    summary = result.summary()
    (difference,) = summary["differences"]
    values = [summary["models"][name]["top1_change"]["value"] for name in ("parity", "steady")]
    assert (difference["first"], difference["second"]) == ("parity", "steady")
    assert difference["images"] == 40
    assert difference["top1_change"]["value"] == pytest.approx(values[1] - values[0])
    assert difference["top1_change"]["high"] < 0
    assert difference["consistency"]["low"] == -difference["top1_change"]["high"]


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = photographs(100)
    whole = al.measure_jitter(network(CornerParity()), pictures, out=tmp_path / "whole")
    write = al.records.Records.write
    written = []

    def stop_at_the_third(self: al.records.Records, model: str, block: int, part: al.records.Part) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(block)
        write(self, model, block, part)

    monkeypatch.setattr(al.records.Records, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        al.measure_jitter(network(CornerParity()), pictures, out=tmp_path / "stopped")
    monkeypatch.setattr(al.records.Records, "write", write)
    loaded = []
    load = al.images.Entry.load
    monkeypatch.setattr(al.images.Entry, "load", lambda self: loaded.append(self.name) or load(self))
    resumed = al.measure_jitter(network(CornerParity()), pictures, out=tmp_path / "stopped")
    assert len(loaded) == 100 - 2 * 32  # what was on disk was not measured again
    assert resumed.records.equals(whole.records)
    for path in (tmp_path / "whole").rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "stopped" / path.relative_to(tmp_path / "whole")).read_bytes()
    with pytest.raises(InputError, match="other settings: batch_size was 16 and is now 4"):
        al.measure_jitter(network(CornerParity()), pictures, out=tmp_path / "stopped", batch_size=4)


def test_embeddings_are_measured_by_distance_and_neighbour() -> None:
    class Means(nn.Module):
        """A map whose average is the mean colour plus a constant, so that the embedding is known."""

        def forward(self, views: Tensor) -> Tensor:
            return views + 2

    pictures = photographs(12)
    summary = al.measure_jitter(network(Means()), pictures, output="embedding").summary()["models"]["known"]
    vectors = np.stack([[p[k : k + 24, k : k + 24].mean((0, 1)) / 127.5 + 1 for k in range(9)] for p in pictures])
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    distance = [1 - a @ b for views in vectors for a, b in pairwise(views)]
    # The average of 576 float32 values, twice; distances of some 1e-5 are known to 1e-9 or so.
    assert summary["cosine_distance"]["value"] == pytest.approx(np.mean(distance), abs=1e-8)
    nearest = []
    for index, views in enumerate(vectors):
        similarity = views @ vectors[:, 0].T
        similarity[:, index] = -1
        nearest += [a != b for a, b in pairwise(similarity.argmax(1))]
    assert summary["neighbour_change"]["value"] == pytest.approx(np.mean(nearest), abs=1 / 96)


def test_a_grid_says_how_often_the_worst_of_the_shifts_changes_the_answer() -> None:
    pictures = photographs()
    summary = al.measure_jitter(network(CornerParity()), pictures, "grid").summary()["models"]["known"]
    canvases = [picture[3:29, 3:29, 0] % 2 for picture in pictures]
    worst = [(canvas[:3, :3] != canvas[1, 1]).any() for canvas in canvases]
    assert summary["pairs"] == 320
    assert summary["worst_change"]["value"] == np.mean(worst)
    assert "flip_rate" not in summary


def test_a_trace_follows_one_image() -> None:
    (picture,) = photographs(1)
    trace = al.jitter.trace(network(CornerParity()), Image(picture, "noise", "0", None))
    odd = np.array([picture[k, k, 0] % 2 for k in range(9)])
    np.testing.assert_array_equal(trace.top1, odd)
    np.testing.assert_allclose(trace.probability, np.where(odd == odd[0], 0.9, 0.1), atol=1e-6)
    np.testing.assert_array_equal(trace.positions, np.arange(9))
    assert trace.answers == tuple(map(str, odd))


def test_merged_halves_are_the_whole() -> None:
    table = al.measure_jitter(network(CornerParity()), [(p, i % 2) for i, p in enumerate(photographs())]).records
    whole, first, second, same = PairMetrics(), PairMetrics(), PairMetrics(), PairedMetrics()
    for metrics, rows in ((whole, table), (first, table[:160]), (second, table[160:])):
        metrics.add(rows)
    first.merge(second)
    assert (whole.images, first.images) == (40, 40)
    expected, found = whole.estimates(), first.estimates()
    assert {"accuracy", "worst_accuracy", "mac", "top1_change"} <= found.keys() == expected.keys()
    for name, estimate in expected.items():
        assert found[name].as_dict() == pytest.approx(estimate.as_dict(), rel=1e-12)  # sums in another order
    same.add(table, table)
    assert same.estimates()["mac"].value == 0


def test_views_are_predicted_in_full_batches_and_in_order() -> None:
    sizes = []

    def network(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch.sum((1, 2, 3), keepdims=False)[:, None]

    pictures = [np.full((2, 2, 3), k, np.float32) for k in range(11)]
    assert [float(row[0]) for row in predict(network, iter(pictures), 4)] == [12.0 * k for k in range(11)]
    assert sizes == [4, 4, 3]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_preparing_ahead_keeps_the_order_and_the_errors(device: str) -> None:
    assert list(prepare_ahead(range(30), lambda k: k * k, device)) == [(k, k * k) for k in range(30)]
    with pytest.raises(ZeroDivisionError):
        list(prepare_ahead([1, 0], lambda k: 1 / k, device))


@pytest.mark.parametrize(("device", "most"), [("cpu", max(8, torch.get_num_threads())), ("cuda", 9)])
def test_preparing_ahead_holds_a_few_items_only(device: str, most: int) -> None:
    """However many there are: those that are prepared and not yet taken are counted."""
    prepared: list[int] = []
    for taken, _ in enumerate(prepare_ahead(range(200), prepared.append, device)):
        assert len(prepared) - taken <= most


def test_wrong_calls_are_one_line() -> None:
    net = network(CornerParity())
    for call, error, message in [
        (
            lambda: al.measure_jitter(net, photographs(1), batch_size=0),
            UsageError,
            "batch size is a number of views, at least 1; got 0",
        ),
        (
            lambda: al.measure_jitter(net, photographs(1), limit=0),
            UsageError,
            "limit is a number of images, at least 1; got 0",
        ),
        (
            lambda: al.measure_jitter(net, photographs(1), output="logits"),
            UsageError,
            "choose one of probabilities, embedding",
        ),
        (
            lambda: al.measure_jitter([net, net], photographs(1)),
            UsageError,
            r"known is given twice; .*name=\"epoch 3\"",
        ),
        (lambda: al.measure_jitter([], photographs(1)), UsageError, "no network"),
        (lambda: al.measure_jitter(network(nn.Identity()), photographs(1)), InputError, "gives 9×3×24×24"),
        (lambda: al.measure_jitter(net, "/no/such/folder"), InputError, "/no/such/folder"),
    ]:
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_label_beyond_the_networks_classes_gives_no_accuracy(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(photographs(1)[0]).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,7\n")
    summary = al.measure_jitter(network(CornerParity()), tmp_path).summary()["models"]["known"]
    assert "accuracy" not in summary
    assert summary["labels"]["unmatched"] == 1
    assert any("no accuracy: labels from 7 to 7" in caution for caution in summary["cautions"])


def test_protocols_note_when_the_networks_own_size_is_too_small() -> None:
    roomy = network(CornerParity())
    tight = replace(roomy, resize_size=24, name="tight")
    summary = al.measure_jitter([roomy, tight], photographs(2), make_protocol("crop")).summary()["models"]
    assert summary["known"]["notes"] == []
    assert "shorter side of 32 pixels instead of the network's own 24" in summary["tight"]["notes"][0]


def test_of_many_networks_that_follow_a_photograph_one_keeps_its_pictures(tmp_path: Path) -> None:
    """An empty slice of the others' would keep them too."""
    models = [network(CornerParity(), name) for name in ("one", "two", "three")]
    result = al.measure_jitter(models, photographs(4))
    first, *others = write_examples(result, models, photographs(4), tmp_path)
    assert first.pictures.shape == (9, 24, 24, 3)
    assert [(len(other.pictures), other.pictures.base) for other in others] == [(0, None)] * 2
