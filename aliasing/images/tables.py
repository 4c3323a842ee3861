"""The images in Parquet files as Hugging Face writes them, read row by row.

A row has the image's bytes in a column ``image`` or ``img`` (a struct of ``bytes`` and ``path``, or plain binary), and
its class in ``label``, ``labels`` or ``fine_label``, as a number or a text. The schema's metadata names the classes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aliasing.classes import MAX_LABEL, Label, written
from aliasing.errors import InputError, one_line
from aliasing.images.entries import Entry, ImageSource, bad_entry, image_entry
from aliasing.images.labels import SPLITS
from aliasing.images.pixels import BadImage, check_expansion

_BUFFER = 2**20  # bytes of a column chunk that are read at once; without it, Arrow reads the whole chunk
_UNSUSPECTED = 2**24  # bytes of a row group; images are compressed already, so a small file cannot hold more
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """A Parquet file, or a folder of them."""
    if path is None or not path.is_dir():
        return parquet_source([path]) if path is not None and path.name.lower().endswith(".parquet") else None
    tables = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    return parquet_source(choose_split(tables)) if tables else None


def parquet_source(paths: list[Path]) -> ImageSource:
    """The images of Parquet files with the same schema, row by row."""
    for path in paths:
        _check(path)
    image, label, class_names = _columns(paths[0])
    for path in paths[1:]:
        if _columns(path) != (image, label, class_names):
            raise InputError(
                f"{path} has other columns or names of classes than {paths[0]}; give Parquet files of one data set"
            )
    where = f"Parquet file {paths[0]}" if len(paths) == 1 else f"{len(paths)} Parquet files in {paths[0].parent}"
    origin = f"labels from its column {label}" if label else "unlabelled"
    return ImageSource(
        f"{where}, {origin}", lambda: (entry for path in paths for entry in _entries(path, image, label)), class_names
    )


def choose_split(paths: list[Path]) -> list[Path]:
    """The files of the split that is measured: validation or test before train."""
    for split in SPLITS:
        chosen = [path for path in paths if re.search(rf"(?<![a-z]){split}(?![a-z])", path.name)]
        if chosen:
            return chosen
    return paths


def _open(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)


def _check(path: Path) -> None:
    import pyarrow

    try:
        with _open(path) as file:
            for group in range(file.metadata.num_row_groups):
                check_expansion(file.metadata.row_group(group).total_byte_size, path.stat().st_size, _UNSUSPECTED)
    except BadImage as error:
        raise InputError(f"{path} {error}") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {one_line(str(error))}") from error


def _columns(path: Path) -> tuple[str, str | None, tuple[str, ...] | None]:
    with _open(path) as file:
        schema = file.schema_arrow
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if image is None or schema.names.count(image) > 1 or schema.names.count(label) > 1:
        columns = one_line(", ".join(schema.names))[:300]
        raise InputError(f"{path} has the columns {columns}; expected image and label, once each")
    return image, label, _class_names(schema.metadata or {}, label)


def _class_names(metadata: dict[bytes, bytes], label: str | None) -> tuple[str, ...] | None:
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return tuple(one_line(str(name)) for name in names) if isinstance(names, list) else None


def _entries(path: Path, image: str, label: str | None) -> Iterator[Entry]:
    import pyarrow

    row = 0
    try:
        with _open(path) as file:
            columns = [image] if label is None else [image, label]
            # Reading single rows costs microseconds; several that share one huge value could fill the memory.
            for batch in file.iter_batches(1, columns=columns, use_threads=False):
                cell = batch.column(label)[0].as_py() if label is not None else None
                yield _entry(f"{path.name}/{row:06d}", written(cell), batch.column(image)[0].as_py())
                row += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        yield bad_entry(path.name, None, f"Parquet file cannot be read beyond row {row}: {error}")


def _entry(name: str, label: Label, cell: object) -> Entry:
    if isinstance(label, int) and abs(label) > MAX_LABEL:
        return bad_entry(name, None, f"label {label} is not the index of a class")
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        return bad_entry(name, label, "the row holds no image bytes")
    return image_entry(name, label, lambda: content)
