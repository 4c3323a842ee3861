"""The first N images, or N drawn by what they hold: whatever their order, their names and their neighbours."""

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import ImageSource, choose_images, open_images
from tests.image_files import write_tree
from tests.small_network import NAME

Picture = tuple[int, int | None]
"""A grey level, which makes a picture, and its label."""
pictures: Any = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=30
)


def opened(these: list[Picture]) -> ImageSource:
    return open_images([(np.full((2, 2), level, np.uint8), label) for level, label in these])


def drawn(these: list[Picture], sample: int, seed: int = 0) -> Counter[tuple[str, Any]]:
    chosen = choose_images(opened(these), sample=sample, seed=seed)
    return Counter((entry.identify(), entry.label) for entry in chosen)


@given(pictures, st.data(), st.integers(1, 12), st.integers(0, 5))
def test_the_order_does_not_matter(these: list[Picture], data: st.DataObject, sample: int, seed: int) -> None:
    other = data.draw(st.permutations(these))
    assert drawn(these, sample, seed) == drawn(other, sample, seed)


@given(pictures, pictures, st.integers(1, 12))
def test_other_images_only_take_places(these: list[Picture], others: list[Picture], sample: int) -> None:
    """Of some images none is drawn beside others that is not drawn without them; and so a sample holds the smaller."""
    known = Counter((entry.identify(), entry.label) for entry in opened(these))
    beside = drawn(these + others, sample)
    assert beside & known <= drawn(these, sample) + Counter((entry.identify(), entry.label) for entry in opened(others))
    assert drawn(these, sample) <= drawn(these, sample + 1)
    assert drawn(these, sample).total() == min(sample, len(these))


def test_each_image_is_drawn_as_often() -> None:
    """Over 400 seeds, 10 of 40: each 100 times ± 8.7, the binomial's deviation; five of those are not due to chance."""
    these: list[Picture] = [(level, None) for level in range(40)]
    counts = Counter(one for seed in range(400) for one in drawn(these, 10, seed))
    assert len(counts) == 40
    assert max(abs(count - 100) for count in counts.values()) < 5 * (400 * 0.25 * 0.75) ** 0.5


def test_a_sample_keeps_the_order_and_the_names() -> None:
    source = opened([(level, None) for level in range(40)])
    chosen = choose_images(source, sample=9)
    names = [entry.name for entry in chosen]
    assert names == sorted(names)
    assert set(names) < {entry.name for entry in source}
    assert [entry.name for entry in chosen] == names  # and again
    assert chosen.sample == {"images": 9, "seed": 0}
    assert chosen.description == "40 items; 9 of 40 drawn at random (seed 0)"


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"limit": 0}, "limit is a number of images, at least 1; got 0"),
        ({"sample": 0}, "sample is a number of images, at least 1; got 0"),
        ({"limit": 2, "sample": 3}, "give one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused(chosen: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        choose_images([np.zeros((2, 2), np.uint8)], **chosen)


def test_an_image_that_cannot_be_read_has_its_chance_and_is_reported(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.png"])
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere")
    assert [entry.name for entry in choose_images(tmp_path, sample=2)] == ["a.png", "b.png"]


def photographs(folder: Path, suffix: str = "") -> Path:
    from PIL import Image

    for level in range(12):
        place = folder / f"class{level // 4}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(level).integers(0, 255, (40, 40, 3), np.uint8)).save(
            place / f"{suffix}{level:02d}.png"
        )
    return folder


def test_folders_archives_and_other_names_give_the_same_sample(tmp_path: Path) -> None:
    folder, renamed = photographs(tmp_path / "a"), photographs(tmp_path / "b", suffix="x")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            archive.add(path, path.relative_to(folder))
    found = [
        {entry.identify() for entry in choose_images(place, sample=5, seed=3)}
        for place in (folder, renamed, tmp_path / "a.tar", [folder / "class1", folder / "class0", folder / "class2"])
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 5


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()


def test_every_measurement_takes_the_same_sample_and_says_so(tmp_path: Path) -> None:
    folder, net = photographs(tmp_path / "a"), network()
    expected = [entry.name for entry in choose_images(folder, sample=3, seed=7)]
    asked: dict[str, Any] = {"sample": 3, "seed": 7}
    jitter = al.measure_jitter(net, folder, **asked)
    depth = al.probe_depth(net, folder, **asked)
    board = al.compare_networks(net, folder, "crop", "crop", **asked)
    features = al.probe_features(net, folder, layers=["0"], **asked)
    for result in (jitter, depth, board, features):
        assert result.summary()["settings"]["sample"] == {"images": 3, "seed": 7}
        assert result.summary()["images"]["source"].endswith("; 3 of 12 drawn at random (seed 7)")
    for records in (jitter.records, depth.records, board.networks["Sequential"].jitter.records):
        assert list(dict.fromkeys(records["name"].to_pylist())) == expected
    assert features.moving is not None
    assert features.moving.image == expected[0]


def test_a_run_resumes_with_its_sample_and_refuses_another(tmp_path: Path) -> None:
    folder, net, out = photographs(tmp_path / "a"), network(), tmp_path / "out"
    before = al.measure_jitter(net, folder, sample=6, out=out).records
    (part,) = (out / "records").rglob("00000.parquet")
    part.unlink()
    assert al.measure_jitter(net, folder, sample=6, out=out).records.equals(before)
    # Drawn by the caller, it is the same run; another sample, or another seed, is another.
    assert al.measure_jitter(net, choose_images(folder, sample=6), out=out).records.equals(before)
    with pytest.raises(InputError, match=r"sample was .* and is now"):
        al.measure_jitter(net, folder, sample=5, out=out)
    with pytest.raises(InputError, match=r"sample was .* and is now"):
        al.measure_jitter(net, choose_images(folder, sample=6, seed=1), out=out)


@pytest.mark.parametrize("command", ["jitter --models", "depth --models", "attribute", "compare --models"])
def test_commands_draw_the_sample(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = photographs(tmp_path / "a"), tmp_path / "out"
    words = [
        *command.split(),
        NAME,
        "--images",
        str(folder),
        "--sample",
        "2",
        "--seed",
        "5",
    ]
    assert main([*words, "--protocol", "crop:span=1", "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["settings"]["sample"] == {"images": 2, "seed": 5}
    assert summary["images"]["found"] == 2
    result = al.open(out)
    records = result.networks[next(iter(summary["models"]))].jitter if command[0] == "c" else result  # type: ignore
    if command != "attribute":
        names = dict.fromkeys(records.records["name"].to_pylist())  # type: ignore[union-attr]
        assert list(names) == [entry.name for entry in choose_images(folder, sample=2, seed=5)]
