"""Keeping Pillow and OpenCV quiet while they decode for us, and only then.

``BadImage`` says what is wrong with a file; what the libraries print besides would tear up a progress bar. Warning
filters, log handlers and OpenCV's log level belong to the whole process, so they are set only while a thread decodes,
and the last thread removes them.
"""

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

Undo = Callable[[], None]


class WhileAnyone:
    """A setting of the process that holds while any thread is inside, and is undone when the last one leaves.

    ``begin`` makes the setting, and returns the function that undoes it.

    Examples
    --------
    >>> said = []
    >>> quiet = WhileAnyone(lambda: said.append("on") or (lambda: said.append("off")))
    >>> with quiet(), quiet():
    ...     pass
    >>> said
    ['on', 'off']
    """

    def __init__(self, begin: Callable[[], Undo]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._inside = 0
        self._undo: Undo = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._undo = self._begin()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._undo()


def _silence_pillow() -> Undo:
    # Change the list itself: `filterwarnings` would make Python forget which of the caller's warnings it has shown.
    # `catch_warnings` swaps the list, so ours is also removed from the list where it was put.
    ours = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, ours)
    logger, handler = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(handler)

    def undo() -> None:
        places: list[Any] = [filters, warnings.filters]
        for place in places:
            for index, found in enumerate(place):
                if found is ours:
                    del place[index]
                    break
        logger.removeHandler(handler)

    return undo


def _silence_opencv() -> Undo:
    cv2: Any = import_module("cv2")
    if hasattr(cv2, "setLogLevel"):  # OpenCV 4
        get, put, silent = cv2.getLogLevel, cv2.setLogLevel, 0
    else:
        log = cv2.utils.logging
        get, put, silent = log.getLogLevel, log.setLogLevel, log.LOG_LEVEL_SILENT
    level, ours = get(), _FFMPEG_LEVEL not in os.environ
    if ours:
        os.environ[_FFMPEG_LEVEL] = "-8"  # read by FFmpeg when it opens its first file
    put(silent)

    def undo() -> None:
        put(level)
        if ours:
            os.environ.pop(_FFMPEG_LEVEL, None)

    return undo


_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"

pillow_is_quiet = WhileAnyone(_silence_pillow)
opencv_is_quiet = WhileAnyone(_silence_opencv)
