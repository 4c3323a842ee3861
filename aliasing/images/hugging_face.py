"""Hugging Face's data sets, in memory or streaming, by what they look like; and ``hf:NAME``, streamed from the hub.

The column of images is read as bytes, so an image is the same here as in a folder or a Parquet file, and its EXIF
orientation is still there. ``datasets`` is imported for ``hf:NAME`` only.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aliasing.classes import MAX_LABEL, Label, written
from aliasing.errors import InputError, UsageError, first_line, one_line
from aliasing.images import sound
from aliasing.images.entries import Entry, ImageSource, Medium, bad_entry, read_bounded, read_file
from aliasing.images.labels import SPLITS
from aliasing.images.media import PICTURE
from aliasing.images.opening import Normalised, item_entry
from aliasing.images.pixels import BadImage
from aliasing.images.tables import IMAGE_COLUMNS, LABEL_COLUMNS

ANSWER_SECONDS = 10.0
_PREFIX = "hf:"
_MEDIA = {"Image": PICTURE, "Audio": sound.MEDIUM}  # by the name of the feature's class
Found = TypeVar("Found")


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """A data set of Hugging Face, or its name behind ``hf:``."""
    if isinstance(spec, str) and path is None and spec.startswith(_PREFIX) and not spec.startswith(f"{_PREFIX}//"):
        name, data = spec, _load(spec)
    else:
        name, data = type(spec).__name__, spec
    if isinstance(data, Mapping) and isinstance(getattr(data, "column_names", None), Mapping):
        split = next((split for split in SPLITS if split in data), next(iter(data), None))
        if split is None:
            raise InputError(f"{name} has no splits")
        name, data = f"split {split} of {name}", data[split]
    if not all(hasattr(data, needed) for needed in ("features", "column_names", "__iter__")):
        return None
    return _source(data, name)


def _source(data: Any, name: str) -> ImageSource | None:
    features: Mapping[str, Any] = getattr(data, "features", None) or {}
    made_by_user = (getattr(data, "format", None) or {}).get("type") == "custom"  # set_transform
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    media = [column for column, kind in kinds.items() if kind in _MEDIA]
    label, class_names = label_column(features)
    if made_by_user or not media:
        if hasattr(data, "__len__"):
            return None  # one of a kind with torch's data sets
        return ImageSource(f"{name}, streamed", partial(_items, data), class_names)
    column = next((column for column in IMAGE_COLUMNS if column in media), media[0])
    if len(media) > 1 and column not in IMAGE_COLUMNS:
        raise InputError(f"{name} has the columns {', '.join(media)}; expected one of images: data.select_columns([…])")
    bare = data.with_format(None).select_columns([column] if label is None else [column, label])
    bare = bare.cast_column(column, type(features[column])(decode=False))
    rows = f"{len(bare)} rows of " if hasattr(bare, "__len__") else ""
    origin = "unlabelled" if label is None else f"labels from its column {label}"
    entries = partial(_entries, bare, column, label, _MEDIA[kinds[column]])
    return ImageSource(f"{rows}{name}, {origin}", entries, class_names)


def label_column(features: Any) -> tuple[str | None, tuple[str, ...] | None]:
    """The column of a data set's classes, and their names; None without one."""
    if not isinstance(features, Mapping):
        return None, None
    classes = [column for column, feature in features.items() if hasattr(feature, "names")]
    known = next((column for column in LABEL_COLUMNS if column in features), None)
    column = known or (classes[0] if len(classes) == 1 else None)
    names = getattr(features.get(column), "names", None) if column is not None else None
    return column, tuple(one_line(str(name)) for name in names) if names else None


def _entries(data: Any, column: str, label: str | None, medium: Medium) -> Iterator[Entry]:
    row = 0
    try:
        for item in data:
            name, cell = f"{row:06d}", item[column]
            written_label: Label = None if label is None else written(item[label])
            if isinstance(written_label, int) and abs(written_label) > MAX_LABEL:
                yield bad_entry(name, None, f"label {written_label} is not the index of a class")
            elif not isinstance(cell, Mapping) or not (cell.get("bytes") or cell.get("path")):
                yield bad_entry(name, written_label, "the row holds no image")
            else:
                yield medium.entry(name, written_label, partial(_content, cell), None)
            row += 1
    except Exception as error:  # of the network, of the data, of the user's own functions
        yield bad_entry(
            "the rest", None, f"the data set fails on row {row}: {type(error).__name__}: {first_line(error)}"
        )


def _content(cell: Mapping[str, Any]) -> bytes:
    content = cell.get("bytes")
    if isinstance(content, bytes):
        return content
    path = str(cell["path"])
    if "://" not in path:
        return read_file(Path(path))
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            return read_bounded(file.read)
    except BadImage:
        raise
    except Exception as error:  # each file system has its own
        raise BadImage(f"unreadable: {first_line(error)}") from error


def _items(data: Any) -> Iterator[Entry]:
    """The rows of a stream that does not say what they hold."""
    row = 0
    try:
        for item in data:
            yield item_entry(f"{row:06d}", item, Normalised(None))
            row += 1
    except Exception as error:
        yield bad_entry(
            "the rest", None, f"the data set fails on row {row}: {type(error).__name__}: {first_line(error)}"
        )


def _load(spec: str) -> Any:
    """The splits of a data set on the hub, streaming; InputError if the hub does not answer."""
    name, _, options = spec.removeprefix(_PREFIX).partition(":")
    given = dict(option.partition("=")[::2] for option in options.split(",") if option)
    if not name or not {*given} <= {"split", "config"} or not all(given.values()):
        raise UsageError(f"{spec}; expected hf:NAME, hf:NAME:split=test or hf:NAME:config=…,split=…")
    try:
        import datasets
    except ImportError as error:
        raise InputError(f'{spec} needs the package datasets: pip install "aliasing[hf]"') from error
    import huggingface_hub

    api = huggingface_hub.HfApi()
    _ask(spec, partial(api.dataset_info, name, timeout=ANSWER_SECONDS))
    load = partial(datasets.load_dataset, name, given.get("config"), split=given.get("split"), streaming=True)
    return _ask(spec, load, 6 * ANSWER_SECONDS)


def _ask(spec: str, question: Callable[[], Found], seconds: float | None = None) -> Found:
    """The answer of the hub; a thread of its own waits for it, because a look-up of a host's name has no time-out."""
    answers: list[Found] = []
    failures: list[Exception] = [TimeoutError("no answer in time")]

    def ask() -> None:
        try:
            answers.append(question())
        except Exception as error:  # of httpx, of the hub, of datasets
            failures.insert(0, error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds or ANSWER_SECONDS)
    if answers:
        return answers[0]
    why = f"{type(failures[0]).__name__}: {first_line(failures[0])}"
    raise InputError(f"{spec} cannot be had from the hub ({why}); with a copy on this machine, give its files")
