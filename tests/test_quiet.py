"""Importing and decoding leave the process as it was: filters of warnings, loggers, the environment, OpenCV's level."""

import io
import logging
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from aliasing.images import BadImage, decode, open_images
from aliasing.images.quiet import WhileAnyone, pillow_is_quiet


def _png() -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(content, "PNG")
    return content.getvalue()


WARNS = _png()
LIMIT = 10  # pixels, above which Pillow warns and above twice of which it refuses


@pytest.fixture(autouse=True)
def pillow_warns_of_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", LIMIT)


def _state() -> tuple[object, ...]:
    return (list(warnings.filters), dict(os.environ), list(logging.getLogger("PIL").handlers))


def test_importing_changes_nothing_of_the_process() -> None:
    program = (
        "import logging, os, warnings\n"
        "import numpy, PIL.Image\n"  # what they do is theirs
        "before = list(warnings.filters), dict(os.environ), list(logging.getLogger('PIL').handlers)\n"
        "import aliasing, aliasing.images, aliasing.images.video\n"
        "aliasing.images.open_images([numpy.zeros((8, 8, 3), numpy.uint8)])\n"
        "after = list(warnings.filters), dict(os.environ), list(logging.getLogger('PIL').handlers)\n"
        "assert before == after, (before, after)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_picture_does_warn() -> None:
    """Else the tests below would show nothing."""
    with pytest.warns(PIL.Image.DecompressionBombWarning):
        PIL.Image.open(io.BytesIO(WARNS))


def test_decoding_is_quiet_and_leaves_no_trace() -> None:
    before = _state()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        decode(WARNS)
        with pytest.raises(BadImage):
            decode(WARNS[:45])
        assert heard == []
        warnings.warn("of the caller's own", stacklevel=1)
        assert len(heard) == 1
    assert _state() == before


def test_a_warning_of_the_callers_is_not_shown_a_second_time() -> None:
    """`filterwarnings` would make Python forget which it has shown already."""
    program = (
        "import io, warnings, PIL.Image\n"
        "from aliasing.images import decode\n"
        "def old(): warnings.warn('once is enough')\n"
        f"PIL.Image.MAX_IMAGE_PIXELS = {LIMIT}\n"
        f"old(); decode({WARNS!r}); old(); decode({WARNS!r}); old()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.count("UserWarning: once is enough") == 1
    assert "Decompression" not in done.stderr


def test_many_threads_decode_while_the_caller_has_filters_of_its_own() -> None:
    before = _state()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(decode, WARNS) for _ in range(400)]
            for _ in range(50):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
            assert all(future.result().shape == (4, 4, 3) for future in done)
    assert not [warning for warning in heard if "bomb" in str(warning.message)]
    assert _state() == before


def test_a_filter_that_went_into_a_list_which_was_swapped_is_taken_away_there_too() -> None:
    before = _state()
    with pillow_is_quiet():
        context = warnings.catch_warnings()
        context.__enter__()
    context.__exit__(None, None, None)
    assert _state() == before
    with warnings.catch_warnings():
        quiet = pillow_is_quiet()
        quiet.__enter__()
    quiet.__exit__(None, None, None)
    assert _state() == before


def test_the_last_to_leave_undoes_it_also_after_an_error() -> None:
    said: list[str] = []

    def begin() -> object:
        said.append("begun")
        return lambda: said.append("undone")

    quiet = WhileAnyone(begin)  # type: ignore[arg-type]
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(ZeroDivisionError), quiet():
        _ = 1 / 0
    assert said == ["begun"]
    leave.set()
    thread.join(30)
    assert said == ["begun", "undone"]


def test_videos_leave_the_environment_and_opencvs_level_as_they_were(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes((clips / "carphone_pristine.mp4").read_bytes())
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    program = (
        "import cv2, os\nbefore = dict(os.environ)\n"  # what its import does is its own
        "from aliasing.images import open_images\n"
        f"for entry in open_images({str(tmp_path)!r}):\n"
        "    try: assert sum(1 for _ in entry.load().frames()) == 120\n"
        "    except ValueError: pass\n"
        "get = getattr(cv2, 'getLogLevel', None) or cv2.utils.logging.getLogLevel\n"
        "assert dict(os.environ) == before\n"
        "print(get())\n"
    )
    plain = "import cv2\nprint((getattr(cv2, 'getLogLevel', None) or cv2.utils.logging.getLogLevel)())\n"
    done, reference = (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        for text in (program, plain)
    )
    assert done.stderr == ""
    assert done.stdout == reference.stdout


def test_entries_identify_what_they_load() -> None:
    for entry in [*open_images([np.zeros((4, 5), np.uint8), PIL.Image.new("L", (3, 3))])]:
        assert entry.identify() == entry.load().identity
