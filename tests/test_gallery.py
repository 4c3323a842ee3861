"""The embeddings among which neighbours are looked for: kept on disk, shared, and whole whatever the images are."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.errors import InputError
from aliasing.models import Classifier
from aliasing.records import Records

HALF = (0.5, 0.5, 0.5)
COUNT = 70  # images: two blocks of 32 and one of 6


class Counts(nn.Module):
    """Its embedding is the mean colour plus a constant; of a white picture NaN. It counts the pictures it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, views: Tensor) -> Tensor:
        # One or two are not of the run: so its layers are found, and whether it answers the same views alike.
        self.seen += len(views) if len(views) > 2 else 0
        white = views.amin((1, 2, 3), keepdim=True) > 0.99
        return (views + 2).masked_fill(white, float("nan"))


def classifier(module: nn.Module) -> Classifier:
    return Classifier(module.eval(), "known", 24, HALF, HALF, "bilinear", resize_size=32, crop_share=0.75)


def shown(module: Counts, images: Path, out: Path) -> int:
    """How many views a measurement shows to the network."""
    before = module.seen
    al.measure_jitter(classifier(module), images, output="embedding", out=out)
    return module.seen - before


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = random.integers(0, 200, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return folder


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """A network that is run itself, and not a copy of it, so that what it has seen can be counted."""
    monkeypatch.setattr("aliasing.jitter.prepare", lambda model, execution: model)
    return Counts()


def test_a_gallery_is_not_embedded_again(module: Counts, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert shown(module, images, out) == COUNT * (1 + 9)
    assert shown(module, images, out) == 0
    (measured,) = out.glob("records/*/00001.parquet")
    (embedded,) = out.glob("gallery/records/*/00002.parquet")
    before = measured.read_bytes(), embedded.read_bytes()
    measured.unlink()
    assert shown(module, images, out) == 32 * 9
    embedded.unlink()
    assert shown(module, images, out) == 6
    assert (measured.read_bytes(), embedded.read_bytes()) == before


def test_a_damaged_part_of_the_gallery_is_embedded_again(module: Counts, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown(module, images, out)
    (embedded,) = out.glob("gallery/records/*/00001.parquet")
    before = embedded.read_bytes()
    embedded.write_bytes(before[: len(before) // 2])
    half_written = embedded.parent / ".00001.parquet.abcdefgh.partial"
    half_written.touch()
    with pytest.warns(UserWarning, match=r"gallery.*00001\.parquet is not a part of a run"):
        assert shown(module, images, out) == 32
    assert embedded.read_bytes() == before
    assert not half_written.exists()


def test_a_gallery_is_of_the_first_images(
    module: Counts, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aliasing.outputs.embedding.Embedding.gallery", 40)
    out = tmp_path / "out"
    assert shown(module, images, out) == 40 + COUNT * 9
    neighbours = set(Records(out).table(["known"])["first_neighbour"].to_pylist())
    assert neighbours <= {f"{index:02d}.png" for index in range(40)}
    assert len(neighbours) > 5


def test_a_gallery_has_no_more_images_than_its_run(module: Counts, images: Path) -> None:
    al.measure_jitter(classifier(module), images, output="embedding", limit=20)
    assert module.seen == 20 * (1 + 9)


def test_what_cannot_be_embedded_is_nobodys_neighbour(module: Counts, images: Path) -> None:
    Image.new("RGB", (40, 40), "white").save(images / "10.png")
    (images / "20.png").write_bytes(b"no image")
    result = al.measure_jitter(classifier(module), images, output="embedding")
    measured = result.summary()["models"]["known"]
    assert measured["images"] == COUNT - 2
    assert measured["not_finite"] == ["10.png"]
    table = result.records
    neighbours = {*table["first_neighbour"].to_pylist(), *table["second_neighbour"].to_pylist()}
    assert not neighbours & {"10.png", "20.png", None}


def test_where_nothing_can_be_embedded_it_is_counted_or_said(module: Counts, tmp_path: Path) -> None:
    white = [np.full((40, 40, 3), 255, np.uint8)] * 3
    measured = al.measure_jitter(classifier(module), white, output="embedding").summary()["models"]["known"]
    assert (measured["images"], len(measured["not_finite"])) == (0, 3)
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"no usable image in .*: 1 skipped; the first is no\.png"):
        al.measure_jitter(classifier(module), tmp_path, output="embedding")


def test_a_single_image_has_no_neighbour(module: Counts) -> None:
    picture = np.random.default_rng(0).integers(0, 200, (40, 40, 3)).astype(np.uint8)
    result = al.measure_jitter(classifier(module), [picture], output="embedding")
    assert result.records["first_neighbour"].null_count == 8
    assert result.summary()["models"]["known"]["cosine_distance"]["value"] > 0


def test_another_run_is_refused_before_its_gallery_is_made(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    al.measure_jitter(classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())), images, limit=2, out=out)
    with pytest.raises(InputError, match="gallery was None and is now 10000; output was 'probab"):
        al.measure_jitter(classifier(Counts()), images, limit=2, output="embedding", out=out)
    assert not (out / "gallery").exists()


def test_the_folder_and_the_records_are_what_the_command_leaves(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gallery lies beside ``records/*/*.parquet``, which reads as one table."""
    out = tmp_path / "out"
    arguments = ["jitter", "--models", "module:tests.small_network:make", "--images", str(images), "--out", str(out)]
    assert main([*arguments, "--output", "embedding", "--limit", "4"]) == 0
    assert capsys.readouterr().out.endswith(f"written to {out}: summary.json, records/, gallery/, figure.png\n")
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "figure.png",
        "gallery",
        "records",
        "summary.json",
    ]
    assert json.loads((out / "summary.json").read_text())["models"]["module:tests.small_network:make"]["pairs"] == 32
