"""The frames of a video, decoded one at a time by OpenCV.

Only files that begin like MP4/QuickTime, AVI or Matroska/WebM reach the decoder: its library would also follow
playlists, which can name hosts.
"""

import hashlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from aliasing.classes import Label
from aliasing.images.entries import Clip, Entry, Medium, Read, bad_entry, check_regular, shown
from aliasing.images.pixels import MAX_PIXELS, BadImage, Pixels
from aliasing.images.quiet import opencv_is_quiet
from aliasing.rounding import rounded


def clip_entry(name: str, label: Label, read: Read, path: Path | None = None) -> Entry:
    """An entry for a video file."""
    if path is None:
        return bad_entry(name, label, "video in an archive; unpack it to measure it")

    def identify(_: Entry) -> str:
        check_regular(path.stat())
        with path.open("rb") as file:
            if not _is_video(file.read(12)):
                raise BadImage("not a video: expected MP4, QuickTime, AVI, Matroska or WebM")
            file.seek(0)
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    def load(entry: Entry) -> Clip:
        identity = identify(entry)
        if next(read_frames(path), None) is None:
            raise BadImage("damaged video: no frame can be decoded")
        return Clip(entry.name, identity, entry.label, lambda: read_frames(path))

    return Entry(shown(name), label, load, identify)


MEDIUM = Medium(frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}), clip_entry)


def read_frames(path: Path) -> Iterator[Pixels]:
    """The frames of a video file, uint8 H×W×3 RGB, as far as they can be decoded."""
    with opencv_is_quiet():
        cv2: Any = import_module("cv2")
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > MAX_PIXELS:
            raise BadImage(f"frames of more than {rounded(MAX_PIXELS / 1e6, '.0f')} megapixels")
        while True:
            with opencv_is_quiet():
                success, frame = capture.read()
            if not success:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        raise BadImage(f"damaged video: {error}") from error
    finally:
        capture.release()


def _is_video(head: bytes) -> bool:
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:4] == b"\x1a\x45\xdf\xa3"
    )
