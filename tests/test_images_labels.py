"""Labels: from folders' names, from tables beside the images, and as ImageNet has them."""

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from aliasing.classes import imagenet_synsets
from aliasing.errors import InputError
from aliasing.images import Image, open_images
from tests.image_files import outcome, write_tree


def test_class_folders_are_labels(tmp_path: Path) -> None:
    write_tree(tmp_path, ["dog/1.png", "cat/deep/er/2.png", "bird/3.png", "dog/4.png"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("no class")
    source = open_images(tmp_path)
    assert source.class_names is None
    assert {entry.name: entry.label for entry in source} == {
        "bird/3.png": "bird",
        "cat/deep/er/2.png": "cat",
        "dog/1.png": "dog",
        "dog/4.png": "dog",
    }


def test_synsets_are_timms() -> None:
    from timm.data import ImageNetInfo

    assert imagenet_synsets() == tuple(ImageNetInfo().label_names())


def test_imagenet_on_disk_as_torchvision_has_it(tmp_path: Path) -> None:
    write_tree(tmp_path, ["train/n01440764/a.JPEG", "val/n01443537/b.JPEG", "val/n01440764/c.JPEG"])
    (tmp_path / "meta.bin").write_bytes(b"torch pickle that nobody opens")
    assert {entry.name: entry.label for entry in open_images(tmp_path)} == {
        "val/n01440764/c.JPEG": "n01440764",
        "val/n01443537/b.JPEG": "n01443537",
    }
    assert [entry.label for entry in open_images(tmp_path / "train")] == ["n01440764"]


def test_labels_table(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.png", "sub/b.png", "c.png", "no_ending"])
    rows = "\ufefffile,label,name\na.png,7,x\n./sub/b.png,3,y\nno_ending,,z\ngone.png,1,w\n"
    (tmp_path / "labels.csv").write_text(rows, encoding="utf-8")
    source = open_images(tmp_path)
    assert {entry.name: entry.label for entry in source} == {
        "a.png": "7",
        "sub/b.png": "3",
        "c.png": None,
        "no_ending": None,
        "gone.png": "1",
    }
    assert outcome(tmp_path)["gone.png"] == "listed in labels.csv, but not there"
    assert outcome(tmp_path)["no_ending"] is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "expected file,label"),
        (b"name,class\na.png,1\n", "expected file,label"),
        (b"file,label\na.png,1\na.png,2\n", "two labels"),
        (b"file,label\n\xff\xfe,1\n", "UTF-8"),
        (b'file,label\n"' + b"x" * 200_000 + b'",1\n', "not a CSV"),
        (bytes(1000), "expected file,label"),
        (b"\xff\xfef\0i\0l\0e\0", "UTF-8"),
        (b"file;label\na.png;1\n", "expected file,label"),
        (b'file,label\n"' + b"\x1b" * 200_000, "not a CSV"),
    ],
)
def test_bad_labels_tables(tmp_path: Path, table: bytes, message: str) -> None:
    write_tree(tmp_path, ["a.png"])
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(InputError, match=message) as caught:
        open_images(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 10_000


def test_the_imagenet_sample(imagenet_sample: Path) -> None:
    with (imagenet_sample / "labels.csv").open(encoding="utf-8") as file:
        expected = {row["file"]: row["label"] for row in csv.DictReader(file)}
    source = open_images(imagenet_sample)
    assert {entry.name: entry.label for entry in source} == expected
    assert len(expected) == 500
    for entry in list(source)[::50]:
        image = entry.load()
        assert isinstance(image, Image)
        reference = PIL.Image.open(imagenet_sample / entry.name).convert("RGB")
        np.testing.assert_array_equal(image.pixels, np.asarray(reference))
