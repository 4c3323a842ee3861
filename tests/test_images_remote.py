"""Images at URLs, in fsspec's memory and on a server of this machine: the bytes, labels and reasons as in files."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet
import pytest

from aliasing.errors import InputError, UsageError
from aliasing.images import open_images, remote
from tests.image_files import loaded, outcome, parquet_table, pixels, tar_bytes, zip_bytes

SECRETS = ("user", "secret", "signature")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "aliasing" / "inputs"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of photographs with class folders, and one of each container."""
    root = tmp_path / "served"
    for name, value in (("photos/eel/a.png", 1), ("photos/eel/b.png", 2), ("photos/ray/c.png", 3)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pixels(value))
    (root / "table").mkdir()
    (root / "table" / "x.png").write_bytes(pixels(4))
    (root / "table" / "labels.csv").write_text("file,label\nx.png,7\ngone.png,8\n")
    (root / "two.zip").write_bytes(zip_bytes({"x.png": pixels(5), "y.png": pixels(6)}))
    for shard in range(2):
        (root / "shards").mkdir(exist_ok=True)
        members = {"0.png": pixels(10 + shard), "0.cls": b"4"}
        (root / "shards" / f"s-{shard:03d}.tar").write_bytes(tar_bytes(members))
    pyarrow.parquet.write_table(parquet_table([pixels(8)], [1], ["eel", "ray"]), root / "test.parquet")
    (root / "nothing").mkdir()
    (root / "nothing" / "readme.txt").write_text("no images")
    return root


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    Handler.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(files))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def memory(files: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.put(f"{files}/", "/bucket/", recursive=True)
    yield "memory://bucket"
    system.store.clear()


@pytest.fixture(params=["memory", "served"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def told(source: Any) -> list[tuple[str, Any, str]]:
    return [(image.name, image.label, image.identity) for image in loaded(source)]


@pytest.mark.parametrize("name", ["photos", "photos/", "two.zip", "shards", "shards/s-{000..001}.tar", "test.parquet"])
def test_what_is_there_is_what_is_here(place: str, files: Path, name: str) -> None:
    away, here = open_images(f"{place}/{name}"), open_images(f"{files}/{name}")
    named_by_braces = "{" in name
    for a, b in zip(told(away), told(here), strict=True):
        assert a[1:] == b[1:]
        assert named_by_braces or a[0] == b[0]
    assert away.class_names == here.class_names
    assert named_by_braces or away.description.replace(place, str(files)) == here.description


def test_one_image_a_pattern_and_a_list(place: str, files: Path, tmp_path: Path) -> None:
    assert told(f"{place}/photos/eel/a.png")[0][2] == told(files / "photos/eel/a.png")[0][2]
    both = [f"{place}/photos/eel/a.png", f"{place}/photos/ray/c.png"]
    assert [int(image.pixels[0, 0, 0]) for image in loaded(both)] == [1, 3]
    (tmp_path / "list.txt").write_text(f"{both[1]} 3\n{both[0]} 5\n")
    images = loaded(f"@{tmp_path}/list.txt")
    assert [(int(image.pixels[0, 0, 0]), image.label) for image in images] == [(3, "3"), (1, "5")]


def test_a_pattern(memory: str) -> None:
    assert [name for name, *_ in told(f"{memory}/photos/eel/*.png")] == ["a.png", "b.png"]
    with pytest.raises(InputError, match=r"no image matches memory://bucket/photos/\*\.gif"):
        open_images(f"{memory}/photos/*.gif")


def test_a_table_of_labels_and_what_it_misses(place: str) -> None:
    source = open_images(f"{place}/table")
    assert [entry.label for entry in source] == ["7", "8"]
    assert list(outcome(source).values()) == [None, "listed in labels.csv, but not there"]


@pytest.mark.parametrize(
    ("name", "says"), [("gone.zip", "does not exist"), ("gone", "does not exist"), ("nothing", "holds no images")]
)
def test_what_is_not_there(place: str, name: str, says: str) -> None:
    with pytest.raises(InputError, match=f"{place}/{name} {says}"):
        open_images(f"{place}/{name}")


def test_an_archive_that_is_none_is_spoken_of_by_its_url(place: str, files: Path) -> None:
    (files / "bad.zip").write_bytes(b"no archive")
    fsspec.filesystem("memory").pipe("/bucket/bad.zip", b"no archive")
    with pytest.raises(InputError, match=f"^{place}/bad.zip is not a readable zip file"):
        open_images(f"{place}/bad.zip")


def test_a_bad_image_is_told_and_the_others_go_on(memory: str) -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/photos/eel/b.png", b"no image")
    source = open_images(f"{memory}/photos")
    system.rm("/bucket/photos/ray/c.png")
    found = outcome(source)
    assert found["eel/a.png"] is None
    assert "not an image" in str(found["eel/b.png"])
    assert "ray/c.png" in str(found["ray/c.png"])


def test_what_is_fetched_is_kept(served: str, cache: Path) -> None:
    first = told(f"{served}/photos")
    gets = [path for path in Handler.asked if path.endswith(".png")]
    assert len(gets) == 3  # one each, although each was loaded and identified
    assert told(f"{served}/photos") == first
    assert [path for path in Handler.asked if path.endswith(".png")] == gets
    assert {path.suffix for path in cache.rglob("*.*")} == {".png"}


def test_what_has_changed_is_fetched_again(memory: str) -> None:
    before = told(f"{memory}/two.zip")
    fsspec.filesystem("memory").pipe("/bucket/two.zip", zip_bytes({"x.png": pixels(7), "y.png": pixels(6)}))
    after = told(f"{memory}/two.zip")
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_an_image_larger_than_any_is_not_kept(memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 50)
    monkeypatch.setattr("aliasing.images.pixels.MAX_BYTES", 50)
    found = outcome(f"{memory}/photos")
    assert all(reason is not None for reason in found.values())
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_no_secret_is_shown(served: str) -> None:
    host = served.partition("://")[2]
    good = f"http://user:secret@{host}/photos/eel/a.png?signature=1"
    gone = good.replace("a.png", "gone.png")
    archive = good.replace("photos/eel/a.png", "two.zip")
    for source in (open_images(good), open_images([good, gone]), open_images(archive)):
        said = [source.description, *outcome(source), *map(str, outcome(source).values())]
        assert not [text for text in said if any(secret in text for secret in SECRETS)]
    with pytest.raises(InputError) as failure:
        open_images(archive.replace("two", "gone"))
    assert not any(secret in str(failure.value) for secret in SECRETS)


def test_a_protocol_that_is_unknown_or_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nowhere://"):
        open_images("nowhere://bucket/a.zip")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(InputError, match=r"s3:// needs a package that is not here: .*s3fs"):
        open_images("s3://bucket/a.zip")


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/a\.zip (cannot be read|does not exist)"):
        open_images("http://127.0.0.1:9/a.zip")


def test_a_bucket_is_asked_anonymously_unless_the_environment_names_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for protocol, (names, anonymous) in remote._CREDENTIALS.items():
        for name in names:
            monkeypatch.delenv(name, raising=False)
        assert remote._options(protocol) == anonymous
        monkeypatch.setenv(names[0], "mine")
        assert remote._options(protocol) == {}


def test_a_file_url_is_that_file(files: Path) -> None:
    assert told(f"file://{files}/two.zip") == told(files / "two.zip")
