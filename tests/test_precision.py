"""Answers of bfloat16 that float32 verifies: which views are run again, what the audit counts, and what is recorded."""

import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import aliasing as al
import aliasing.jitter as jitter
from aliasing.errors import InputError, UsageError
from aliasing.images import Image, open_images
from aliasing.jitter.engine import Shown, in_batches
from aliasing.jitter.examples import choose_examples
from aliasing.jitter.faults import Guarded
from aliasing.jitter.metrics import PairMetrics
from aliasing.jitter.network import Execution, probabilities
from aliasing.jitter.precision import (
    AUDITED,
    Verification,
    audited_pairs,
    calibrate,
    log_margin,
    rounding_of_margin,
)
from aliasing.models import Classifier
from aliasing.protocols import View, ViewProtocol, Views, make_protocol
from tests.test_jitter import network, photographs

CLASSES = 5
Array = np.ndarray


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


@dataclass
class Pretended:
    """Logits that are read off the first pixels of a view, and a rounding that is read off those behind."""

    rounding: float
    sizes: list[int]

    def exact(self, views: Array, _: Any = None) -> Array:
        self.sizes.append(len(views))
        return softmax(views[:, 0, :CLASSES, 0] * 1.0)

    def fast(self, views: Array, _: Any = None) -> Array:
        return softmax(views[:, 0, :CLASSES, 0] + self.rounding * views[:, 1, :CLASSES, 0])


def stream(images: int, views: int) -> list[Shown]:
    random = np.random.default_rng(0)
    shown = []
    for index in range(images):
        image = Image(np.zeros((2, 2, 3), np.uint8), f"{index}", f"identity {index}", None)
        pictures = random.normal(size=(views, 2, CLASSES, 3)).astype(np.float32)
        drawn = tuple(View((k, k), k, lambda picture=picture: picture) for k, picture in enumerate(pictures))
        pairs = tuple((k, k + 1) for k in range(views - 1))
        shown += [Shown(picture, image, Views(drawn, pairs), k) for k, picture in enumerate(pictures)]
    return shown


def test_views_with_a_small_margin_and_audited_ones_are_run_again_in_full_batches_and_in_order() -> None:
    pretended = Pretended(0.05, [])
    pictures = stream(60, 9)
    verification = Verification(pretended.fast, pretended.exact, 0.3, 0, 8)
    outputs = np.stack(list(verification.show(iter(pictures))))
    sizes = list(pretended.sizes)
    whole = np.stack([shown.picture for shown in pictures])
    fast, exact = pretended.fast(whole), pretended.exact(whole)
    audited = np.zeros(len(pictures), bool)
    for start in range(0, len(pictures), 9):
        for pair in np.flatnonzero(audited_pairs(pictures[start].image.identity, 0, 8)):
            audited[start + pair : start + pair + 2] = True
    again = (log_margin(fast) < 0.3) | audited
    assert 0.05 < again.mean() < 0.5
    np.testing.assert_array_equal(outputs[:, 0], fast)
    np.testing.assert_array_equal(outputs[:, 1], np.where(again[:, None], exact, fast))
    assert sum(sizes) == again.sum()
    assert set(sizes[:-1]) == {8}


def test_answers_are_float32s_where_the_rounding_is_below_the_bound() -> None:
    pretended = Pretended(0.05, [])
    pictures = stream(200, 9)
    whole = np.stack([shown.picture for shown in pictures])
    fast, exact = pretended.fast(whole), pretended.exact(whole)
    d = rounding_of_margin(fast, exact)
    assert (fast.argmax(1) != exact.argmax(1)).sum() > 5
    # d is what the margin has lost: an answer changes exactly where it has lost more than it had.
    np.testing.assert_array_equal(fast.argmax(1) != exact.argmax(1), d > log_margin(fast))
    verification = Verification(pretended.fast, pretended.exact, float(d.max()) + 1e-6, 0, 16)
    outputs = np.stack(list(verification.show(iter(pictures))))
    np.testing.assert_array_equal(outputs[:, 1].argmax(1), exact.argmax(1))


def test_records_hold_the_verified_answers_and_the_audit_counts_the_others() -> None:
    """A bound far too small, so that the audit has something to find."""
    pretended = Pretended(0.8, [])
    pictures = stream(300, 9)
    bound = 0.2
    verification = Verification(pretended.fast, pretended.exact, bound, 0, 16)
    outputs = np.stack(list(verification.show(iter(pictures)))).reshape(300, 9, 2, CLASSES)
    found = wrong = 0
    for index in range(300):
        first = pictures[9 * index]
        columns = verification.compare(outputs[index], first.views, first.image)
        whole = np.stack([shown.picture for shown in pictures[9 * index : 9 * index + 9]])
        fast, exact = pretended.fast(whole), pretended.exact(whole)
        close = log_margin(fast) < bound
        for pair, audited in enumerate(audited_pairs(first.image.identity, 0, 8)):
            assert columns["audited"][pair] == audited
            for view, name in ((pair, "first"), (pair + 1, "second")):
                right = audited or close[view]
                assert columns[f"{name}_precision"][pair] == ("float32" if right else "bfloat16")
                assert columns[f"{name}_top1"][pair] == (exact if right else fast)[view].argmax()
            if audited:
                top = exact[pair].argmax()
                assert columns["first_probability"][pair] == exact[pair, top]
                assert columns["second_probability"][pair] == exact[pair + 1, top]
                kept = [fast[v].argmax() if not close[v] else exact[v].argmax() for v in (pair, pair + 1)]
                expected = sum(k != exact[v].argmax() for k, v in zip(kept, (pair, pair + 1), strict=True))
                assert columns["disagreements"][pair] == expected
                found, wrong = found + 1, wrong + (expected > 0)
            else:
                assert columns["disagreements"][pair] is None
    assert found > 20
    assert wrong > 3


def test_the_audit_is_drawn_by_the_image_and_the_seed() -> None:
    drawn = np.stack([audited_pairs(f"{index}", 0, 100) for index in range(400)])
    # 40,000 draws of chance 1/40: the share is known to 0.0008 (one standard error), four of them here.
    assert abs(drawn.mean() - AUDITED) < 0.0032
    assert np.array_equal(audited_pairs("7", 0, 100), drawn[7])
    assert not np.array_equal(audited_pairs("7", 1, 100), drawn[7])


def test_the_bound_is_a_multiple_of_the_rounding_of_this_network() -> None:
    torch.manual_seed(0)
    model = network(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 10)))
    source, protocol = open_images(photographs(12)), make_protocol("crop")
    networks = probabilities(model, Execution(half=True)), probabilities(model)
    fast, exact = networks
    guarded = (Guarded(model, network) for network in networks)
    bound = calibrate(model, *guarded, iter(source), protocol, seed=0, batch_size=16)
    pictures = [view.draw() for entry in source for view in protocol.views(entry.load(), model, 0).views[:6]]
    d = rounding_of_margin(fast(np.stack(pictures)), exact(np.stack(pictures)))
    # Other batches round otherwise, in the last digit.
    assert bound == pytest.approx(max(4.5 * np.sqrt((d.astype(float) ** 2).mean()), abs(d).max()), rel=1e-2)
    assert calibrate(model, *networks, iter(()), protocol, seed=0, batch_size=16) == np.inf


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitter, "has_fast_bfloat16", lambda device: True)


def small_network() -> Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 11 * 11, 10)
    )
    return network(module)


@pytest.mark.usefixtures("fast_bfloat16")
def test_a_verified_run_has_float32s_answers_and_says_what_it_did(tmp_path: Path) -> None:
    pictures, model = photographs(70), small_network()
    whole = al.measure_jitter(model, pictures, precision="verified", out=tmp_path / "whole")
    exact, half = (al.measure_jitter(model, pictures, precision=name) for name in ("float32", "bfloat16"))
    tables = {name: run.records.to_pandas() for name, run in (("f", exact), ("b", half), ("v", whole))}
    for view in ("first", "second"):
        assert (tables["v"][f"{view}_top1"] == tables["f"][f"{view}_top1"]).all()
        assert set(tables["f"][f"{view}_precision"]) == {"float32"}
        assert set(tables["b"][f"{view}_precision"]) == {"bfloat16"}
    assert (tables["b"].first_top1 != tables["f"].first_top1).any()
    assert tables["f"].audited.isna().all()
    summary = whole.summary()["models"]["known"]
    rows = tables["v"]
    audited = rows[rows.audited.astype(bool)]
    verification = summary["verification"]
    assert 0 < verification["bound"] < 1
    assert verification["audited_pairs"] == len(audited) > 3
    assert verification["disagreements"] == 0
    # Nothing found in n: the limit is where (1 − p)ⁿ = 0.05.
    assert verification["disagreement_limit"] == pytest.approx(1 - 0.05 ** (1 / len(audited)))
    others = rows[~rows.audited.astype(bool)]
    again = (others[["first_precision", "second_precision"]] == "float32").to_numpy().mean()
    assert verification["run_again"] == again
    assert summary["top1_change"] == exact.summary()["models"]["known"]["top1_change"]
    change = (audited.first_probability.astype(float) - audited.second_probability.astype(float)).abs()
    assert summary["mac"]["value"] == pytest.approx(change.mean(), abs=1e-9)
    assert summary["images"] == 70
    assert "audited: too few" in " ".join(summary["cautions"])
    # A run that goes on comes to the same bytes: the bound is that of the first images, whatever is left to do.
    (folder,) = (tmp_path / "whole" / "records").iterdir()
    parts = sorted(folder.glob("*.parquet"))
    before = [part.read_bytes() for part in parts]
    parts[1].unlink()
    al.measure_jitter(model, pictures, precision="verified", out=tmp_path / "whole")
    assert [part.read_bytes() for part in parts] == before
    with pytest.raises(InputError, match="precision was 'verified' and is now 'float32'"):
        al.measure_jitter(model, pictures, out=tmp_path / "whole")


@pytest.mark.usefixtures("fast_bfloat16")
def test_audits_merge_and_two_networks_are_compared_on_the_same_pairs() -> None:
    pictures = photographs(70)
    models = [small_network(), replace(small_network(), name="another")]
    result = al.measure_jitter(models, pictures, precision="verified")
    (difference,) = result.summary()["differences"]
    assert difference["mac"]["value"] == 0
    table = next(iter(result.tables("known")))
    halves = [PairMetrics(), PairMetrics(), PairMetrics()]
    halves[0].add(table)
    halves[1].add(table[:80])
    halves[2].add(table[80:])
    halves[1].merge(halves[2])
    assert halves[0].audit == halves[1].audit


@pytest.mark.usefixtures("fast_bfloat16")
def test_an_example_of_a_verified_run_has_its_own_pair_and_label() -> None:
    """The measure skips images without an audited pair; what is said of an image is read from its own rows."""
    result = al.measure_jitter(small_network(), photographs(70), precision="verified")
    rows = result.records.to_pandas()
    labels = rows.groupby("name", sort=False).ngroup() % 7
    rows["label"] = labels
    table = result.records.set_column(3, "label", pa.array(labels, pa.int32()))
    shown = SimpleNamespace(models=result.models, tables=lambda name: [table], output=result.output)
    found = choose_examples(cast(al.jitter.Jitter, shown), 70)
    assert {example.name for example in found} == {*rows.name[rows.audited.astype(bool)]}
    assert len(found) < 70
    for example in found:
        own = rows[rows.name == example.name]
        jumps = (own.first_probability.astype(float) - own.second_probability.astype(float)).abs().to_numpy()
        audited = own.audited.astype(bool).to_numpy()
        assert example.movement == pytest.approx(jumps[audited].mean())
        assert example.pair == np.where(audited, jumps, -1).argmax()
        assert example.label == own.label.iloc[0]


def test_where_bfloat16_is_not_fast_float32_is_used_and_the_notes_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitter, "has_fast_bfloat16", lambda device: False)
    result = al.measure_jitter(small_network(), photographs(2), precision="verified")
    summary = result.summary()
    assert summary["settings"]["precision"] == "float32"
    assert summary["models"]["known"]["notes"][-1] == "float32 throughout: cpu is not fast at bfloat16 here"
    assert "verification" not in summary["models"]["known"]


@pytest.mark.parametrize("precision", ["float32", "verified"])
@pytest.mark.usefixtures("fast_bfloat16")
def test_pictures_in_memory_are_as_many_for_many_views_as_for_few(precision: str) -> None:
    """Peak number of pictures that are alive, counted: two batches and what waits for float32, however many views."""
    alive: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Noise(ViewProtocol):
        name: ClassVar[str] = "noise"
        count: int = 10

        def geometry(self, model: Classifier) -> dict[str, float]:
            return {}

        def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
            def draw() -> Array:
                picture = random.uniform(0, 255, (24, 24, 3)).astype(np.float32)
                living.add(id(picture))
                weakref.finalize(picture, living.discard, id(picture))
                alive.append(len(living))
                return picture

            drawn = tuple(View((0, k), k, draw) for k in range(self.count))
            return Views(drawn, tuple((k, k + 1) for k in range(self.count - 1)))

    peaks = {}
    for images, views in ((10, 10), (40, 10), (10, 200)):
        living: set[int] = set()
        alive.clear()
        al.measure_jitter(small_network(), photographs(images), Noise(count=views), batch_size=8, precision=precision)
        peaks[images, views] = max(alive)
    # The calibration of a verified run draws 64 views beforehand.
    assert max(peaks.values()) <= (3 * 8 if precision == "float32" else 64 + 7 + 3 * 8), peaks


def test_a_finished_run_is_not_calibrated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = small_network(), photographs(3)
    monkeypatch.setattr("aliasing.jitter.has_fast_bfloat16", lambda device: True)
    first = al.measure_jitter(model, images, precision="verified", out=tmp_path).summary()

    def unexpected(*_: Any, **__: Any) -> float:
        raise AssertionError("calibrated again")

    monkeypatch.setattr("aliasing.jitter.calibrate", unexpected)
    second = al.measure_jitter(model, images, precision="verified", out=tmp_path).summary()
    assert second["models"] == first["models"]
    next(tmp_path.glob("records/*/*.parquet")).unlink()
    with pytest.raises(AssertionError, match="calibrated again"):  # so would this one be, which lacks a block
        al.measure_jitter(model, images, precision="verified", out=tmp_path)


def test_wrong_calls_are_one_line() -> None:
    model = small_network()
    for options, message in [
        ({"precision": "float16"}, "unknown precision 'float16'; choose float32, bfloat16, verified"),
        ({"precision": "verified", "output": "embedding"}, "'embedding' cannot be verified"),
    ]:
        with pytest.raises(UsageError, match=message):
            al.measure_jitter(model, photographs(1), **options)


def test_a_network_in_batches_ignores_which_view_it_is() -> None:
    show: Any = in_batches(lambda views, names: views.sum((1, 2, 3), keepdims=False)[:, None], 4)
    pictures = stream(2, 5)
    expected = [float(shown.picture.sum()) for shown in pictures]
    np.testing.assert_allclose([float(row[0]) for row in show(iter(pictures))], expected, rtol=1e-5)
