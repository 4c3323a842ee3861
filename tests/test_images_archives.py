"""Zip and tar: the same images as in a folder, and every hostile archive with its reason."""

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aliasing.errors import InputError
from aliasing.images import open_images
from tests.image_files import PNG, RNG, loaded, outcome, pixels, tar_bytes, zip_bytes

ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a.zip": zip_bytes,
    "stored.ZIP": lambda members: zip_bytes(members, zipfile.ZIP_STORED),
    "lzma.zip": lambda members: zip_bytes(members, zipfile.ZIP_LZMA),
    "a.tar": tar_bytes,
    "a.tar.gz": lambda members: gzip.compress(tar_bytes(members)),
    "a.tgz": lambda members: gzip.compress(tar_bytes(members)),
    "a.tar.bz2": lambda members: bz2.compress(tar_bytes(members)),
    "a.tar.xz": lambda members: lzma.compress(tar_bytes(members)),
    "xz in truth.tar": lambda members: lzma.compress(tar_bytes(members)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(tmp_path: Path, name: str) -> None:
    members = {
        "b/日本\n.png": pixels(1),
        "a/2.png": pixels(2),
        "a/deep/3.png": pixels(3),
        "a/x.txt": b"-",
        ".h.png": b"",
    }
    (tmp_path / name).write_bytes(ARCHIVES[name](members))
    before = sorted(tmp_path.iterdir())
    source = open_images(tmp_path / name)
    for _ in range(2):
        found = {entry.name: (int(entry.load().pixels[0, 0, 0]), entry.label) for entry in source}  # type: ignore[union-attr]
        assert found == {"a/2.png": (2, "a"), "a/deep/3.png": (3, "a"), "b/日本\\n.png": (1, "b")}
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpacked


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_archive_of_one_folder_with_a_table(tmp_path: Path, name: str) -> None:
    members = {
        "top/b.png": pixels(1),
        "top/a.png": pixels(2),
        "top/labels.csv": b"file,label\na.png,5\nb.png,6\ngone.png,1\n",
    }
    (tmp_path / name).write_bytes(ARCHIVES[name](members))
    source = open_images(tmp_path / name)
    assert {entry.name: entry.label for entry in source} == {"top/a.png": "5", "top/b.png": "6", "top/gone.png": "1"}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz"])
def test_a_truncated_tar_loses_only_what_is_cut_off(tmp_path: Path, name: str) -> None:
    whole = ARCHIVES[name]({f"{i}.png": RNG.bytes(2000) if i == 9 else PNG for i in range(10)})
    (tmp_path / name).write_bytes(whole[: int(len(whole) * (0.5 if name == "a.tar" else 0.9))])
    found = outcome(tmp_path / name)
    assert found["0.png"] is None
    assert "cannot be read beyond" in (found.get(name) or "")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize(
    "content", [b"", b"not an archive" * 100, b"PK\x03\x04", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0"]
)
def test_what_is_no_archive(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable|holds no images"):
        open_images(tmp_path / name)


def test_members_of_the_same_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", pixels(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", pixels(2))
    images = loaded(tmp_path / "a.zip")
    assert [(image.name, image.pixels[0, 0, 0]) for image in images] == [("a.png", 1), ("a.png (2)", 2)]


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aliasing.images.pixels.MAX_BYTES", 2**20)  # a bomb of a MiB is a bomb, and cheaper to make
    zeros = bytes(2**20)
    (tmp_path / "a.zip").write_bytes(zip_bytes({"bomb.png": zeros + b"!", "good.png": PNG}))
    assert outcome(tmp_path / "a.zip") == {"bomb.png": "file of more than 1 MiB", "good.png": None}
    for name, compress in (("a.tar.gz", gzip.compress), ("a.tar.bz2", bz2.compress), ("a.tar.xz", lzma.compress)):
        many = {"0.png": PNG, **{f"{i}.bin": zeros for i in range(1, 40)}}
        (tmp_path / name).write_bytes(compress(tar_bytes(many)))
        found = outcome(tmp_path / name)
        assert found.pop("0.png") is None
        assert "decompression bomb" in (found[name] or "")
