"""Videos are clips of frames; a damaged one says so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aliasing.images import Clip, open_images
from tests.image_files import PNG, outcome, zip_bytes


def test_video_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_bytes({"a.mp4": b"", "b.png": PNG}))
    assert "unpack" in (outcome(tmp_path / "a.zip")["a.mp4"] or "")


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("bikes.mp4", 250, (272, 640, 3)),
        ("bigbuckbunny.mp4", 132, (720, 1280, 3)),
        ("carphone_pristine.mp4", 120, (144, 176, 3)),
    ],
)
def test_videos(clips: Path, name: str, count: int, shape: tuple[int, int, int]) -> None:
    (clip,) = [entry.load() for entry in open_images(clips / name)]
    assert isinstance(clip, Clip)
    first = next(clip.frames())
    assert first.dtype == np.uint8
    assert first.shape == shape
    np.testing.assert_array_equal(next(clip.frames()), first)  # begins again
    if name == "carphone_pristine.mp4":
        assert sum(1 for _ in clip.frames()) == count


def test_a_folder_of_videos_and_images(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").symlink_to(clips / "carphone_pristine.mp4")
    (tmp_path / "image.png").write_bytes(PNG)
    (tmp_path / "cut.mp4").write_bytes((clips / "carphone_pristine.mp4").read_bytes()[:5000])
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:1/x.ts\n")
    (tmp_path / "header.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
    assert outcome(tmp_path) == {
        "clip.MP4": None,
        "cut.mp4": "damaged video: no frame can be decoded",
        "empty.avi": "not a video: expected MP4, QuickTime, AVI, Matroska or WebM",
        "header.mkv": "damaged video: no frame can be decoded",
        "image.png": None,
        "playlist.mp4": "not a video: expected MP4, QuickTime, AVI, Matroska or WebM",
    }


def test_damaged_videos_say_nothing_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    program = (
        f"from aliasing.images import open_images\nfor entry in open_images({str(tmp_path)!r}):\n"
        "    try: entry.load()\n    except ValueError: pass"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
