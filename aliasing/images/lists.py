"""Images that a list names, one path a line: in a file (``@list.txt``), or on standard input (``-``)."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from aliasing.errors import InputError, UsageError
from aliasing.images.entries import ImageSource, read_file
from aliasing.images.labels import MOST_ROWS, check_length
from aliasing.images.media import is_media
from aliasing.images.opening import open_items
from aliasing.images.pixels import BadImage

_STANDARD_INPUT = "-"


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """The images of a list; a file whose name begins with @ is itself, not a list."""
    if path is not None or not isinstance(spec, str):
        return None
    if spec == _STANDARD_INPUT:
        return _source("standard input", sys.stdin.buffer.read() if sys.stdin is not None else b"", Path())
    if not spec.startswith("@"):
        return None
    file = Path(spec[1:]).expanduser()
    if not file.is_file():
        raise InputError(f"{spec}: there is no file {file}; expected a list of images, one path a line")
    try:
        return _source(f"list {file}", read_file(file), file.parent)
    except BadImage as error:
        raise InputError(f"{file} is no list of images: {error}") from error


def _source(where: str, content: bytes, folder: Path) -> ImageSource:
    check_length(where, len(content))
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not a text in UTF-8, one path a line") from error
    if len(lines) > MOST_ROWS:
        raise InputError(f"{where} has more than {MOST_ROWS:,} lines")
    if not lines:
        raise InputError(f"{where} names no images; expected one path a line")
    rows = [path_and_label(line) for line in lines]
    first = Path(rows[0][0]).expanduser()
    base = folder if (folder / first).exists() or not first.exists() else Path()  # as `find … > /elsewhere/list` writes
    items = list(_items(rows, base))
    if any(item in (_STANDARD_INPUT, f"{base / _STANDARD_INPUT}") or str(item).startswith("@") for item in items):
        raise UsageError(f"{where} names another list; give the lists one beside the other")
    labelled = sum(label is not None for _, label in rows)
    origin = f"{labelled} of them labelled" if 0 < labelled < len(rows) else "labelled" if labelled else "unlabelled"
    found = open_items(items)
    if len(rows) == 1 and not isinstance(items[0], tuple):
        return found
    return replace(found, description=f"{where} of {len(rows)} path{'s' if len(rows) > 1 else ''}, {origin}")


def _items(rows: list[tuple[str, str | None]], base: Path) -> Iterator[Any]:
    """A pair for each media file, which is opened when it is its turn; folders and archives by their paths."""
    for path, label in rows:
        place = path if "://" in path else str(base / Path(path).expanduser())
        yield (place, label) if is_media(path) or label is not None else place


def path_and_label(line: str) -> tuple[str, str | None]:
    r"""The path of a line, and its label behind a tab or, behind the name of an image, a space.

    Examples
    --------
    >>> path_and_label("photos/my cat.jpg")
    ('photos/my cat.jpg', None)
    >>> path_and_label("ILSVRC2012_val_00000001.JPEG 65")
    ('ILSVRC2012_val_00000001.JPEG', '65')
    >>> path_and_label("a.jpg copy.jpg 3")  # the longest path
    ('a.jpg copy.jpg', '3')
    >>> path_and_label("a.jpg Egyptian cat"), path_and_label("scan\tcat")
    (('a.jpg', 'Egyptian cat'), ('scan', 'cat'))
    """
    path, tab, label = line.strip().partition("\t")
    if tab or is_media(path):
        return path, label.strip() or None
    words = path.split(" ")
    for count in range(len(words) - 1, 0, -1):
        if is_media(" ".join(words[:count])):
            return " ".join(words[:count]), " ".join(words[count:]).strip() or None
    return path, None
