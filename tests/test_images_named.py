"""Images named by a list, by standard input, by braces, and by symbolic links: the same bytes as from their files."""

import io
from pathlib import Path

import pytest

from aliasing.cli import main
from aliasing.errors import InputError, UsageError
from aliasing.images import open_images
from tests.image_files import loaded, noise, outcome, pixels, tar_bytes, zip_bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, value in (("a.png", 1), ("my cat.png", 2), ("sub/b.png", 3)):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(pixels(value))
    return tmp_path / "photos"


def levels(source: object) -> list[int]:
    """The level of each picture, which tells them apart."""
    return [int(image.pixels[0, 0, 0]) for image in loaded(source)]


def test_a_list_in_its_own_order(photos: Path) -> None:
    (photos / "list.txt").write_text("my cat.png\n\nsub/b.png\r\n  a.png\n", "utf-8-sig")
    source = open_images(f"@{photos}/list.txt")
    assert levels(source) == levels(source) == [2, 3, 1]
    assert source.description == f"list {photos}/list.txt of 3 paths, unlabelled"
    by_identity = {image.identity for image in loaded(photos)}
    assert {image.identity for image in loaded(source)} == by_identity


def test_a_list_with_labels(photos: Path) -> None:
    (photos / "list.txt").write_text("my cat.png tiger cat\na.png 65\nsub/b.png\teel\n", "utf-8")
    assert [image.label for image in loaded(f"@{photos}/list.txt")] == ["tiger cat", "65", "eel"]
    (photos / "list.txt").write_text("my cat.png\na.png 65\n", "utf-8")
    assert open_images(f"@{photos}/list.txt").description.endswith("of 2 paths, 1 of them labelled")


def test_a_list_is_relative_to_its_folder_or_else_to_the_current_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "list.txt").write_text("sub/b.png\na.png\n")
    monkeypatch.chdir(photos)
    assert levels("@../elsewhere/list.txt") == [3, 1]


def test_what_a_list_names_may_be_missing_or_an_archive(photos: Path) -> None:
    (photos / "two.zip").write_bytes(zip_bytes({"x.png": pixels(8), "y.png": pixels(9)}))
    (photos / "list.txt").write_text("two.zip\ngone.png\na.png\n")
    found = outcome(f"@{photos}/list.txt")
    assert [reason is None for reason in found.values()] == [True, True, False, True]
    assert "No such file" in str(found[f"{photos}/gone.png"])
    (photos / "list.txt").write_text("a.png\ngone/\n")
    with pytest.raises(InputError, match="gone does not exist"):
        open_images(f"@{photos}/list.txt")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "names no images"), (b"\xff\xfe\x00", "not a text in UTF-8"), (b"@list.txt\n", "names another list")],
)
def test_what_is_no_list(tmp_path: Path, content: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, UsageError), match=says):
        open_images("@list.txt")
    with pytest.raises(InputError, match="there is no file gone"):
        open_images("@gone.txt")


def test_a_file_whose_name_begins_with_an_at_sign_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "@a.png").write_bytes(pixels(5))
    monkeypatch.chdir(tmp_path)
    assert levels("@a.png") == [5]


def test_standard_input(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = f"{photos}/sub/b.png\n{photos}/a.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(paths.encode())))
    source = open_images("-")
    assert levels(source) == levels(source) == [3, 1]
    assert source.description == "standard input of 2 paths, unlabelled"
    with pytest.raises(InputError, match="standard input names no images"):
        open_images("-")


def test_the_command_reads_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(noise(tmp_path / "n", 2).iterdir())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(map(str, files)).encode())))
    command = ["jitter", "--models", "module:tests.small_network:make", "--images", "-", "--protocol", "circular"]
    assert main(command) == 0
    assert "2 images" in capsys.readouterr().out


def test_shards_in_braces_are_those_of_their_folder(tmp_path: Path) -> None:
    for shard in range(8, 12):
        members = {f"{shard}{i}.{end}": body for i in range(2) for end, body in (("png", pixels(shard)), ("cls", b"7"))}
        (tmp_path / f"s-{shard:03d}.tar").write_bytes(tar_bytes(members))
    source = open_images(f"{tmp_path}/s-{{008..011}}.tar")
    assert source.description == f"4 tar files in {tmp_path}/s-{{008..011}}.tar, labels from .cls files"
    whole = [(entry.name, entry.label, entry.identify()) for entry in open_images(tmp_path)]
    assert [(entry.name, entry.label, entry.identify()) for entry in source] == whole
    assert [label for _, label, _ in whole] == ["7"] * 8
    assert levels(f"{tmp_path}/s-{{010,008}}.tar") == [10, 10, 8, 8]
    assert levels(tmp_path / "s-{010..011}.tar") == [10, 10, 11, 11]
    with pytest.raises(InputError, match=r"2 of the 4 files .*\{010\.\.013\}\.tar are not there: .*s-012\.tar"):
        open_images(f"{tmp_path}/s-{{010..013}}.tar")


def test_shards_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.tar").write_bytes(tar_bytes({"x.png": pixels(ord(folder))}))
    assert list(outcome(f"{tmp_path}/{{a,b}}/0.tar")) == ["0.tar/x.png", "0.tar (2)/x.png"]


def test_other_files_in_braces(photos: Path) -> None:
    assert levels(f"{photos}/{{a,sub/b}}.png") == [1, 3]
    (photos / "{a,b}.png").write_bytes(pixels(9))
    assert levels(f"{photos}/{{a,b}}.png") == [9]  # a file of that very name


@pytest.mark.parametrize("pattern", ["x{5..3}.tar", "x{0..100000000}.tar", "x{a..c}.tar", "{0..999}{0..999}.tar"])
def test_braces_that_stand_for_nothing_or_too_much(pattern: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        open_images(pattern)


def test_a_folder_of_links_is_a_folder_of_photographs(photos: Path, tmp_path: Path) -> None:
    """As the cache of Hugging Face's hub has it: names that link to blobs without one."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    for image in loaded(photos):
        (blobs / image.identity).write_bytes((photos / image.name).read_bytes())
        link = snapshot / image.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / image.identity)
    (snapshot / "folder").symlink_to(photos / "sub")  # and a folder that is a link itself
    names = [*(image.name for image in loaded(photos)), "folder/b.png"]
    assert sorted(image.name for image in loaded(snapshot)) == sorted(names)
    (snapshot / "labels.csv").write_text("file,label\na.png,3\n")
    assert {image.name: image.label for image in loaded(snapshot)}["a.png"] == "3"
    assert levels(f"{snapshot}/*.png") == [1, 2]
    (tmp_path / "link").symlink_to(snapshot)
    assert len(loaded(tmp_path / "link")) == 4
