"""The two-phase design: what is drawn, by what, what the records say of it, and that its numbers are those of all."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aliasing as al
import aliasing.jitter as jitter
from aliasing import leaderboard
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import Image, open_images
from aliasing.jitter import width
from aliasing.jitter.design import LEAST, PAIRS, Draws, depth_of
from aliasing.jitter.examples import choose_examples
from aliasing.jitter.metrics import PairMetrics
from aliasing.jitter.shifts import by_shift
from aliasing.outputs.base import pairs_shown
from tests.conftest import read_summary
from tests.image_files import noise
from tests.killed_runs import records_of
from tests.small_network import NAME, another, make
from tests.test_jitter import photographs

COUNT = 70  # three blocks
EVERYTHING = (1.0,) * 10


def of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything be drawn, and all of it be shown."""
    monkeypatch.setattr(
        Draws, "planned", classmethod(lambda cls, *_: cls(1.0, EVERYTHING, EVERYTHING, 0, is_path=False))
    )


def picture(number: int) -> Image:
    return Image(np.zeros((8, 8, 3), np.uint8), f"{number}", f"{number}", None)


@pytest.mark.parametrize("protocol", ["crop", "grid:radius=1", "consistency"])
def test_if_everything_is_drawn_the_numbers_are_those_of_the_full_design(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all(monkeypatch)
    models, pictures = [make(), another()], photographs(20)
    models[1] = replace(models[1], name="another")
    full, drawn = (
        al.measure_jitter(models, pictures, protocol, design=design).summary() for design in ("full", "two-phase")
    )
    for name, expected in full["models"].items():
        found = drawn["models"][name]
        # Sums are taken in another order, and the batches hold other views: float32's softmax is good to a few 1e-7.
        for measure in ("top1_change", "consistency", "worst_change", "mac"):
            assert found[measure] == pytest.approx(expected[measure], abs=1e-6)
        for count in ("images", "pairs", "images_that_change", "near_ties"):
            assert found[count] == expected[count]
    before, after = (one["differences"][0] for one in (full, drawn))
    for measure in ("top1_change", "mac", "worst_change"):
        assert after[measure] == pytest.approx(before[measure], abs=1e-6)


def test_draws_depend_on_the_seed_and_the_image_and_not_on_the_order(tmp_path: Path) -> None:
    pictures = photographs(COUNT)

    def drawn(images: list[np.ndarray], seed: int = 0, size: int = 16) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        table = al.measure_jitter(make(), images, design="two-phase", seed=seed, batch_size=size).records
        for image, pair, weight in zip(*(table[name].to_pylist() for name in ("image", "pair", "weight")), strict=True):
            found.setdefault(image, []).append((pair, weight))
        return found

    once = drawn(pictures)
    assert once == drawn(pictures[::-1]) == drawn(pictures, size=5)
    assert once != drawn(pictures, seed=1)
    assert {len(rows) for rows in once.values()} == {1, PAIRS, 8}
    assert all((len(rows) > 1) == (weight > 0) for rows in once.values() for _, weight in rows)


def test_a_resumed_run_leaves_the_same_records(tmp_path: Path) -> None:
    pictures = photographs(COUNT)
    options = {"images": pictures, "design": "two-phase"}
    al.measure_jitter(make(), out=tmp_path / "whole", **options)
    whole = records_of(tmp_path / "whole")
    assert len(whole) >= 3
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    lost = sorted((tmp_path / "resumed").rglob("*.parquet"))[1]
    lost.unlink()
    al.measure_jitter(make(), out=tmp_path / "resumed", **options)
    assert records_of(tmp_path / "resumed") == whole
    with pytest.raises(InputError, match="design was 'two-phase' and is now None"):
        al.measure_jitter(make(), pictures, out=tmp_path / "resumed")


def test_the_numbers_of_a_resumed_run_are_read_from_its_folder(tmp_path: Path) -> None:
    result = al.measure_jitter([make(), replace(another(), name="b")], photographs(COUNT), design="two-phase")
    result.write(tmp_path)
    opened = al.open(tmp_path)
    opened = replace(opened, _kept=None)  # made again from the records
    for key in ("models", "differences"):
        assert opened.summary()[key] == result.summary()[key]


def test_weights_stand_for_all_pairs_and_every_image_is_shown_once() -> None:
    """Over many seeds the weights of the pairs that are shown sum to all pairs: the mean is within four errors."""
    draws = Draws.planned(np.linspace(0, 6, 24), np.full(24, 0.5), 8, 0, is_path=True)
    assert min(draws.chances) >= LEAST
    assert list(draws.chances) == sorted(draws.chances, reverse=True)
    margins = np.random.default_rng(0).random(400)
    sums, worst = [], []
    for seed in range(60):
        seeded = replace(draws, seed=seed)
        drawn = [seeded.draw(picture(number), 8, margin) for number, margin in enumerate(margins)]
        sums.append(sum(len(one.pairs) * one.weight for one in drawn))
        worst.append(sum(1 / one.whole_chance for one in drawn if one.whole))
        assert all(len({*one.pairs}) == len(one.pairs) for one in drawn)
    assert abs(np.mean(sums) - 3200) < 4 * np.std(sums) / np.sqrt(60)
    assert abs(np.mean(worst) - 400) < 4 * np.std(worst) / np.sqrt(60)


def test_every_pair_is_as_likely_as_another() -> None:
    for is_path in (True, False):
        draws = Draws(1.0, EVERYTHING, (0.0,) * 10, 0, is_path)
        counts = np.bincount(np.concatenate([draws.draw(picture(n), 8, 0.5).pairs for n in range(800)]), minlength=8)
        # 800 images show 3 of 8 pairs each: 300 of every pair, ± √(800 · 3/8 · 5/8) = 14.
        assert np.abs(counts - 300).max() < 4 * 14
        if is_path:
            assert all(
                np.diff(draws.draw(picture(n), 8, 0.5).pairs).tolist() in ([1, 1], [1, -7], [-7, 1]) for n in range(9)
            )


def test_estimates_are_unbiased_over_seeds() -> None:
    """A measure's mean over 25 seeds lies within three of its standard errors of the full design's value."""
    pictures, model = photographs(COUNT), make()
    full = al.measure_jitter(model, pictures).summary()["models"]["small"]
    found = [al.measure_jitter(model, pictures, design="two-phase", seed=seed) for seed in range(25)]
    summaries = [one.summary()["models"]["small"] for one in found]
    for measure in ("top1_change", "mac", "total_variation"):
        values = np.array([summary[measure]["value"] for summary in summaries])
        assert abs(values.mean() - full[measure]["value"]) < 3 * values.std(ddof=1) / np.sqrt(40)
        assert all(
            summary[measure]["low"] < summary[measure]["value"] < summary[measure]["high"] for summary in summaries
        )


def test_verified_answers_are_those_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitter, "has_fast_bfloat16", lambda device: True)
    pictures = photographs(COUNT)
    exact, verified = (
        al.measure_jitter(make(), pictures, design="two-phase", precision=precision)
        for precision in ("float32", "verified")
    )
    tables = [
        pairs_shown(one.records).select(["image", "pair", "first_top1", "second_top1"]) for one in (exact, verified)
    ]
    # Margins decide what is drawn, and those of bfloat16 are coarser: an image on the edge of a stratum may differ.
    both = {tuple(row.values()) for row in tables[0].to_pylist()} & {
        tuple(row.values()) for row in tables[1].to_pylist()
    }
    assert len(both) > 0.9 * len(tables[0])
    summary = verified.summary()["models"]["small"]
    assert summary["verification"]["disagreements"] == 0
    audited = pairs_shown(verified.records)["audited"].to_numpy()
    assert 0 < audited.sum() < 0.1 * len(audited)


def test_what_it_does_not_suit_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown design 'three-phase'; choose full or two-phase"):
        al.measure_jitter(make(), photographs(2), design="three-phase")
    with pytest.raises(UsageError, match="output embedding has none: use full"):
        al.measure_jitter(make(), photographs(2), design="two-phase", output="embedding")
    with pytest.raises(UsageError, match="protocol frames reads them all: use full"):
        al.measure_jitter(make(), photographs(2), "frames", design="two-phase")


def test_a_full_design_keeps_its_columns_and_is_not_compared_with_another() -> None:
    full = al.measure_jitter(make(), photographs(8))
    drawn = al.measure_jitter(make(), photographs(8), design="two-phase")
    assert "weight" not in full.records.column_names
    assert "design" not in full.settings
    with pytest.raises(InputError, match="measure both alike"):
        jitter.result.paired(full, "small", drawn, "small")


def test_metrics_merge() -> None:
    result = al.measure_jitter(make(), photographs(COUNT), design="two-phase")
    whole, merged = PairMetrics(), PairMetrics()
    for table in result.tables("small"):
        whole.add(table)
        for start in (0, 40):
            names = [f"{number:05d}" for number in range(start, start + (40 if not start else COUNT))]
            part = PairMetrics()
            part.add(table.filter([name in names for name in table["name"].to_pylist()]))
            merged.merge(part)
    assert (merged.images, merged.pairs, merged.drawn, merged.whole) == (COUNT, whole.pairs, whole.drawn, whole.whole)
    assert merged.estimates().keys() == whole.estimates().keys()
    for name, estimate in whole.estimates(is_path=True).items():
        assert vars(merged.estimates(is_path=True)[name]) == pytest.approx(vars(estimate), rel=1e-9)


def test_the_depth_is_the_margin_where_it_is_small_and_grows_without_end() -> None:
    assert depth_of([0.0, 1e-3]) == pytest.approx([0.0, 1e-3], rel=1e-3)
    assert depth_of(1.0) == pytest.approx(np.log(1e7), rel=1e-3)


def test_images_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    folder = noise(tmp_path / "photographs", 8, (32, 32))
    (folder / "003.png").write_bytes(b"no picture")
    found = al.measure_jitter(make(), open_images(folder), design="two-phase").summary()
    assert [*found["images"]["skipped"]] == ["003.png"]
    assert found["models"]["small"]["images"] == 7


def test_by_shift_each_pair_is_weighted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If everything is drawn it is the full design's; otherwise every step's interval overlaps with that."""
    pictures = photographs(COUNT)
    full = al.measure_jitter(make(), pictures)
    expected = by_shift([full.records], along_path=True).rows
    drawn = al.measure_jitter(make(), pictures, design="two-phase")
    rows = by_shift([drawn.records], along_path=True).rows
    assert [row["shift"] for row in rows] == [row["shift"] for row in expected]
    assert sum(row["pairs"] for row in rows) == drawn.summary()["models"]["small"]["pairs"]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["top1_change"]["low"] <= wanted["top1_change"]["high"]
        assert row["top1_change"]["high"] >= wanted["top1_change"]["low"]
    of_all(monkeypatch)
    rows = by_shift([al.measure_jitter(make(), pictures, design="two-phase").records], along_path=True).rows
    for row, wanted in zip(rows, expected, strict=True):
        assert row["mac"] == pytest.approx(wanted["mac"], abs=1e-6)


def test_examples_name_the_pair_of_all_that_moves_most() -> None:
    result = al.measure_jitter(make(), photographs(COUNT), design="two-phase")
    rows = pairs_shown(result.records).to_pylist()
    for example in choose_examples(result):
        own = [row for row in rows if row["name"] == example.name]
        moves = {row["pair"]: abs(row["first_probability"] - row["second_probability"]) for row in own}
        assert moves[example.pair] == max(moves.values())
    assert result.most_jittery("small") == choose_examples(result)[0].name


def test_a_result_says_what_was_drawn() -> None:
    result = al.measure_jitter(make(), photographs(COUNT), design="two-phase")
    summary = result.summary()["models"]["small"]
    assert 0 < summary["wholly_drawn"] < summary["drawn"] < COUNT
    said = f"two-phase design: every image is shown once, and {summary['drawn']} of {COUNT} more often"
    assert said in repr(result)


def test_the_command_compares_in_two_phases_if_there_are_many_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many is here 40; records, summary, table, and the page that is made of them."""
    monkeypatch.setattr(leaderboard, "MANY", 40)
    folder = noise(tmp_path / "photographs", COUNT, (32, 32))
    words = ["compare", "--models", NAME, "--images", str(folder), "--protocol", "crop", "--consistency", "crop"]
    assert main([*words, "--out", str(tmp_path / "board")]) == 0
    assert "two-phase design: every image is shown once" in capsys.readouterr().out
    summary = read_summary(tmp_path / "board")
    assert summary["settings"]["design"] == "two-phase"
    (model,) = summary["models"].values()
    assert model["drawn"] <= COUNT
    assert model["pairs"] < 8 * COUNT
    assert main([*words, "--design", "full", "--out", str(tmp_path / "full")]) == 0
    assert "design" not in read_summary(tmp_path / "full")["settings"]
    opened = al.open(tmp_path / "board")
    assert opened.summary()["models"] == summary["models"]
    assert main(["report", str(tmp_path / "board"), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "wo-phase design" in page
    assert "--design two-phase" in page


def test_it_stops_where_the_interval_is_narrow_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at 16 images is too wide, the next is large enough, and the third would have been all."""
    monkeypatch.setattr(width, "_FIRST_LOOK", 16)
    pictures = photographs(COUNT)
    every = al.measure_jitter(make(), pictures).summary()["models"]["small"]["mac"]
    asked = 1.4 * (every["high"] - every["low"])
    options = {"out": tmp_path, "width": f"mac={asked}", "design": "two-phase"}
    for design in ("full", "two-phase"):
        options |= {"design": design, "out": tmp_path / design}
        result = al.measure_jitter([make(), replace(another(), name="b")], pictures, **options)
        found = result.summary()
        images = found["models"]["small"]["images"]
        assert 16 < images <= COUNT
        widths = [model["mac"]["high"] - model["mac"]["low"] for model in found["models"].values()]
        assert images == COUNT or max(widths) <= asked
        result.write(tmp_path / design)
        assert al.open(tmp_path / design).table().num_rows == 2
        again = al.measure_jitter([make(), replace(another(), name="b")], pictures, **options)
        assert again.summary() == found
    narrow = al.measure_jitter(make(), pictures, width=1e-3).summary()
    assert narrow["models"]["small"]["images"] == COUNT
    assert "wider than the 0.001 asked for" in narrow["images"]["cautions"][-1]
    for wrong in ("mac=", "nothing=0.1", -1, 0):
        with pytest.raises(UsageError, match="width is a number above 0"):
            al.measure_jitter(make(), pictures, width=wrong)
    al.measure_jitter(make(), pictures, out=tmp_path / "plain")
    with pytest.raises(InputError, match="holds a run without a width"):
        al.measure_jitter(make(), pictures, width=0.1, out=tmp_path / "plain")


def test_worst_case_accuracy_is_known_where_the_first_view_is_wrong(tmp_path: Path) -> None:
    """None of the images whose first view is wrong has all views right, so that it stays below accuracy."""
    folder = noise(tmp_path / "photographs", COUNT, (32, 32))
    rows = "".join(f"{path.name},{number % 2 * 3}\n" for number, path in enumerate(sorted(folder.iterdir())))
    (folder / "labels.csv").write_text(f"file,label\n{rows}")
    found = [
        al.measure_jitter(make(), folder, design="two-phase", seed=seed).summary()["models"]["small"]
        for seed in range(3)
    ]
    for model in found:
        assert model["worst_accuracy"]["value"] <= model["accuracy"]["value"]
        assert any("too few for the worst case" in caution for caution in model["cautions"])
