"""The labels of a folder or an archive, from a table beside the images or from the folders' names.

A label is kept as it is written; :mod:`aliasing.classes` decides which class of a network it means.
"""

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aliasing.classes import Label, wnid_of, written
from aliasing.errors import InputError, one_line

# The tables of labels, by name, and the column that names the file: the package's own, and Hugging Face's two.
TABLES = {"labels.csv": "file", "metadata.csv": "file_name", "metadata.jsonl": "file_name"}
# The split that is measured if a data set holds several: ImageNet's "test" has no labels, so "val" comes first.
SPLITS = ("val", "valid", "validation", "test", "train")
# A table of two million rows takes ten seconds to read, and half a gigabyte. More images than that have class folders.
MOST_BYTES, MOST_ROWS = 2**27, 2**21
_MAX_WRAPPERS = 8  # folders that hold nothing but one other folder; nobody has more on purpose


class Tree(Protocol):
    """What a folder and an archive have in common. A prefix is "" or ends in "/"."""

    def children(self, prefix: str) -> tuple[bool, list[str]]:
        """Whether there are images directly below the prefix, and the sorted names of the folders there with images."""
        ...

    def read(self, path: str) -> bytes | None:
        """The content of a file that may hold labels, if there is one."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is a file of that name."""
        ...


@dataclass(frozen=True)
class Labels:
    """The labels of a tree: the prefix of its images, and a label by path (from a table) or by class folder."""

    origin: str
    prefix: str = ""
    by_path: Mapping[str, Label] | None = None
    by_folder: bool = False

    def of(self, path: str) -> Label:
        """The label of the image at this path of the tree, which begins with the prefix."""
        if self.by_path is not None:
            return self.by_path.get(path)
        return path[len(self.prefix) :].partition("/")[0] if self.by_folder else None

    @property
    def listed(self) -> Mapping[str, Label]:
        """The images that the table names, whatever their suffixes; empty without a table."""
        return self.by_path or {}

    @property
    def missing(self) -> str:
        """The reason for an image that is missing."""
        return f"listed in {self.origin.removeprefix('labels from ')}, but not there"


def find_labels(tree: Tree) -> Labels:
    """Look for a table or class folders, inside splits and folders that hold only one other folder."""
    prefix = ""
    for _ in range(_MAX_WRAPPERS):
        for table in TABLES:
            content = tree.read(prefix + table)
            by_path = None if content is None else read_table(table, content, tree, prefix)
            if by_path is not None:
                return Labels(f"labels from {table}", prefix, by_path=by_path)
        images_here, folders = tree.children(prefix)
        if images_here or not folders:
            return Labels("unlabelled", prefix)
        split = next((split for split in SPLITS if split in folders), None)
        if split is not None and set(folders) <= set(SPLITS):
            prefix += f"{split}/"
        elif len(folders) > 1 or wnid_of(folders[0]):
            origin = f"labels from {len(folders)} class folder{'s' if len(folders) > 1 else ''}"
            return Labels(origin, prefix, by_folder=True)
        else:
            prefix += f"{folders[0]}/"
    return Labels("unlabelled", prefix)


def read_table(name: str, content: bytes, tree: Tree, prefix: str = "") -> dict[str, Label] | None:
    """Read a table of labels: one row per file, with its path relative to the table and its ``label``.

    Returns the label by path, including the prefix (None if it is empty); None for a table of Hugging Face, which may
    be about anything, without labels.
    """
    file_column = TABLES[name]
    labels: dict[str, Label] = {}
    labelled = False
    for number, row in enumerate(_rows(name, content)):
        if number == MOST_ROWS:
            raise InputError(f"{name} has more than {MOST_ROWS:,} rows; give it those of the images that are there")
        if name == "labels.csv" and not {file_column, "label"} <= {*row}:
            raise InputError(f"{name} has the columns {one_line(str(list(row)))}; expected {file_column},label")
        if file_column not in row:
            continue
        labelled |= "label" in row
        path, label = _path(str(row[file_column] or ""), tree, prefix), written(row.get("label"))
        if labels.setdefault(path, label) != label:
            raise InputError(f"{name} gives {one_line(path)} two labels, {_shown(labels[path])} and {_shown(label)}")
    return labels if labelled or name == "labels.csv" else None


def check_length(name: str, length: int) -> None:
    """Raise InputError if a table is longer than one can be read in a reasonable time."""
    if length > MOST_BYTES:
        raise InputError(f"{name} has more than {MOST_BYTES >> 20} MB; give it the rows of the images that are there")


def _rows(name: str, content: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a table; for a CSV table without rows, one empty row with its columns."""
    check_length(name, len(content))
    try:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
        if name.endswith(".jsonl"):
            for line in filter(str.strip, text):
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}
            return
        rows = csv.DictReader(text)
        if rows.fieldnames is None or not {TABLES[name], "label"} <= {*rows.fieldnames}:
            yield dict.fromkeys(rows.fieldnames or ())
        else:
            yield from rows
    except (ValueError, RecursionError, csv.Error) as error:
        told = "does not hold one JSON object per line" if name.endswith(".jsonl") else "is not a CSV file in UTF-8"
        raise InputError(f"{name} {told}: {one_line(str(error))}") from error


def _path(text: str, tree: Tree, prefix: str) -> str:
    """The path of a file that a table names; a backslash may be Windows's separator or part of the name."""
    path = prefix + posixpath.normpath(text.strip())
    if "\\" in path and not tree.has(path):
        return prefix + posixpath.normpath(text.strip().replace("\\", "/"))
    return path


def _shown(label: Label) -> str:
    return one_line(str(label))[:100]
