"""Folders, files and patterns: what is read, in which order, and what is passed over with a reason."""

import gc
import os
import socket
import sys
import tarfile
import threading
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from aliasing.errors import InputError
from aliasing.images import BadImage, open_images
from aliasing.images.entries import shown
from tests.image_files import PHOTO, PNG, encode, loaded, outcome, parquet_table, pixels, write_tree


def test_folder_is_sorted_recursive_and_of_any_name(tmp_path: Path) -> None:
    names = [
        "z.png",
        "a b/é/日本語.PNG",
        "a b/new\nline.png",
        "b/1/2/3/4/deep.jpeg",
        "back\\slash.png",
        "<b>.png",
        "%s.png",
    ]
    for index, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(pixels(index))
    source = open_images(tmp_path)
    found = [entry.name for entry in source]
    order = sorted(names, key=lambda name: name.split("/"))
    assert found == [shown(name) for name in order]
    assert "a b/new\\nline.png" in found
    assert all(name.isprintable() for name in found)
    assert [image.pixels[0, 0, 0] for image in loaded(tmp_path)] == [names.index(name) for name in order]
    assert {image.label for image in loaded(tmp_path)} == {None}  # images at the root: no class folders
    assert source.description.isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:  # noqa: PTH123 - Path takes no bytes
        file.write(PNG)
    (name,) = [image.name for image in loaded(tmp_path)]
    assert name.encode() == b"\\udcff\\udcfe.png"


def test_what_is_plainly_something_else_is_no_bad_image(tmp_path: Path) -> None:
    for name in ("readme.txt", "meta.json", ".hidden.png", ".git/x.png", "Thumbs.db", "__MACOSX/a.png", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "one.png").write_bytes(PNG)
    assert outcome(tmp_path) == {"one.png": None}


def test_streams_start_again_in_the_same_order(tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(pixels(index))
    source = open_images(tmp_path)
    first = iter(source)
    next(first)
    assert [entry.name for entry in source] == [entry.name for entry in source] == sorted(f"{i}.png" for i in range(20))
    assert next(first).name == "1.png"  # an iterator that was begun is not disturbed


def test_entries_are_not_held(tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"{index}.png").write_bytes(PNG)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for index in range(8):
            archive.add(tmp_path / f"{index}.png", f"{index}.png")
    pq.write_table(parquet_table([PNG] * 8), tmp_path / "a.parquet")
    for spec in (tmp_path, tmp_path / "*.png", tmp_path / "a.tar.gz", tmp_path / "a.parquet"):
        if spec == tmp_path:
            (tmp_path / "a.parquet").rename(tmp_path / "elsewhere")
        references = []
        for entry in open_images(spec):
            references.append(weakref.ref(entry))
            del entry
        gc.collect()
        assert len(references) == 8
        assert not any(reference() for reference in references)
        if spec == tmp_path:
            (tmp_path / "elsewhere").rename(tmp_path / "a.parquet")


def test_entries_load_in_threads(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(64):
            archive.writestr(f"{index:02d}.png", pixels(index))
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda entry: entry.load(), open_images(tmp_path / "a.zip")))
    assert [int(image.pixels[0, 0, 0]) for image in images] == list(range(64))


def test_identity_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    (tmp_path / "c.png").write_bytes(encode(PHOTO, compress_level=1))
    a, b, c = loaded(tmp_path)
    assert a.identity == b.identity == hashlib.blake2b(PNG, digest_size=16).hexdigest()
    assert c.identity != a.identity


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_loops_pipes_sockets_devices_and_broken_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.png").write_bytes(PNG)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "sub" / "here").symlink_to(tmp_path / "sub")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    monkeypatch.chdir(tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket.png")
    (tmp_path / "folder.png").mkdir()
    found: dict[str, str | None] = {}
    worker = threading.Thread(target=lambda: found.update(outcome(tmp_path)), daemon=True)
    worker.start()
    worker.join(30)
    listener.close()
    assert not worker.is_alive(), "hangs"
    assert found.pop("good.png") is None
    assert set(found) == {"self.png", "broken.png", "zero.png", "pipe.png", "pipe.mp4", "socket.png"}
    assert found["zero.png"] == "character device, not a regular file"
    assert found["pipe.png"] == found["pipe.mp4"] == "named pipe, not a regular file"
    assert "No such file" in (found["broken.png"] or "")
    assert "symbolic links" in (found["self.png"] or "")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(InputError, match="not a regular file"):
            open_images(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be read|does not exist"):
        open_images(tmp_path / "self.png")
    with pytest.raises(InputError):
        open_images(tmp_path / "broken.png")


def test_many_links_do_not_multiply(tmp_path: Path) -> None:
    """A chain of folders with two links each to the next has 2^30 paths, but 31 folders."""
    for index in range(31):
        (tmp_path / f"{index:02d}").mkdir()
        (tmp_path / f"{index:02d}" / "x.png").write_bytes(PNG)
    for index in range(30):
        for link in ("left", "right"):
            (tmp_path / f"{index:02d}" / link).symlink_to(tmp_path / f"{index + 1:02d}")
    assert len(list(open_images(tmp_path))) == 31


def test_very_deep_folders(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1200):  # deeper than Python's recursion limit
        folder = folder / "d"
        folder.mkdir()
    (folder / "x.png").write_bytes(PNG)
    try:
        assert [image.name.count("/") for image in loaded(tmp_path)] == [1200]
    finally:  # pytest's own cleaning recurses
        (folder / "x.png").unlink()
        while folder != tmp_path:
            folder.rmdir()
            folder = folder.parent


def test_unreadable_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, who may be running the tests: the refusal is played."""
    (tmp_path / "secret").mkdir()
    for name in ("a.png", "b.png", "secret/c.png"):
        (tmp_path / name).write_bytes(PNG)
    real_open, real_scandir = os.open, os.scandir

    def guarded_open(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("b.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)

    def guarded_scandir(path: Any) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "open", guarded_open)
    monkeypatch.setattr(os, "scandir", guarded_scandir)
    assert outcome(tmp_path) == {
        "a.png": None,
        "b.png": "unreadable: permission denied",
        "secret": "folder cannot be read: Permission denied",
    }
    with pytest.raises(InputError, match="Permission denied"):
        open_images(tmp_path / "secret")


def test_a_file_that_vanishes_is_a_bad_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    entry = next(iter(open_images(tmp_path)))
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadImage, match="No such file"):
        entry.load()


def test_a_file_of_absurd_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    assert outcome(tmp_path) == {"sparse.png": "file of more than 256 MiB"}


def test_one_file_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "no_ending").write_bytes(PNG)
    assert outcome(str(tmp_path / "no_ending")) == {"no_ending": None}
    (tmp_path / "text.txt").write_bytes(b"no image")
    assert outcome(tmp_path / "text.txt") == {"text.txt": "not an image that Pillow can read"}


def test_patterns(tmp_path: Path) -> None:
    write_tree(tmp_path, ["x/b.png", "x/a.png", "y/c.jpg", "x/n.txt", "x/deep/d.png"])
    assert [entry.name for entry in open_images(str(tmp_path / "*" / "*"))] == ["x/a.png", "x/b.png", "y/c.jpg"]
    assert [entry.name for entry in open_images(tmp_path / "**" / "*.png")] == ["x/a.png", "x/b.png", "x/deep/d.png"]
    assert [entry.name for entry in open_images(tmp_path / "x" / "[a]*")] == ["a.png"]


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "[1].png").write_bytes(PNG)
    assert outcome(tmp_path / "[1].png") == {"[1].png": None}


@pytest.mark.parametrize(
    "name", ["nowhere", "no*where", "nowhere.zip", "a\nb", "**a", "nul\0l", "~nobody-of-this-name/x"]
)
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_images(name if name.startswith("~") else str(tmp_path / name))
    assert str(caught.value).isprintable()


def test_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path)
    with pytest.raises(InputError, match="empty list"):
        open_images([])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InputError, match="holds no images"):
        open_images(tmp_path / "a.zip")
