"""Which class does an image belong to? From a table beside the images, or from the folder that it lies in."""

import csv
import importlib.util
import io
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aliasing.errors import InputError, one_line

TABLE = "labels.csv"
MAX_LABEL = 2**31 - 1  # as records hold them
# Which share of a data set is measured where it holds several: ImageNet's "test" has no labels, so "val" goes first.
SPLITS = ("val", "valid", "validation", "test", "train")
_MAX_WRAPPERS = 8  # folders that hold nothing but one other folder; nobody has more on purpose


class Tree(Protocol):
    """What a folder and an archive have in common. A prefix is "" or ends in "/"."""

    def children(self, prefix: str) -> tuple[bool, list[str]]:
        """Whether images lie directly below the prefix, and the sorted names of the folders there that hold images."""
        ...

    def table(self, prefix: str) -> bytes | None:
        """The content of labels.csv below the prefix, if there is one."""
        ...


@dataclass(frozen=True)
class Labels:
    """The labels of a tree: where its images begin, and a label by path (table) or by class folder."""

    origin: str
    prefix: str = ""
    by_path: Mapping[str, int | None] | None = None
    by_folder: Mapping[str, int] | None = None
    class_names: tuple[str, ...] | None = None

    def of(self, path: str) -> int | None:
        """The label of the image at this path of the tree, which begins with the prefix."""
        if self.by_path is not None:
            return self.by_path.get(path)
        if self.by_folder is not None:
            return self.by_folder.get(path[len(self.prefix) :].partition("/")[0])
        return None


def find_labels(tree: Tree) -> Labels:
    """Look for labels.csv or class folders, below folders that hold nothing but one other folder, or splits."""
    prefix = ""
    for _ in range(_MAX_WRAPPERS):
        table = tree.table(prefix)
        if table is not None:
            by_path, class_names = read_table(table, prefix)
            return Labels(f"labels from {TABLE}", prefix, by_path=by_path, class_names=class_names)
        images_here, folders = tree.children(prefix)
        if images_here or not folders:
            return Labels("unlabelled", prefix)
        split = next((split for split in SPLITS if split in folders), None)
        if split is not None and set(folders) <= set(SPLITS):
            prefix += f"{split}/"
        elif len(folders) > 1 or is_wnid(folders[0]):
            by_folder, class_names = index_classes(folders)
            origin = f"labels from {len(folders)} class folder{'s' if len(folders) > 1 else ''}"
            return Labels(origin, prefix, by_folder=by_folder, class_names=class_names)
        else:
            prefix += f"{folders[0]}/"
    return Labels("unlabelled", prefix)


def read_table(content: bytes, prefix: str = "") -> tuple[dict[str, int | None], tuple[str, ...] | None]:
    """Read labels.csv: columns ``file`` (relative to the table) and ``label`` (an index, or the name of a class).

    Returns the label by path (with the prefix before it; None where the cell is empty) and the names of the classes.
    """
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        columns = rows.fieldnames or []
        if "file" not in columns or "label" not in columns:
            raise InputError(f"{TABLE} has the columns {one_line(str(columns))}; expected file,label")
        cells: dict[str, str] = {}
        for row in rows:
            path = prefix + posixpath.normpath((row["file"] or "").strip())
            label = (row["label"] or "").strip()
            if cells.setdefault(path, label) != label:
                raise InputError(f"{TABLE} gives {one_line(path)} two labels, {cells[path]} and {one_line(label)}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{TABLE} is no CSV file in UTF-8: {one_line(str(error))}") from error
    named = {label for label in cells.values() if label}
    if all(re.fullmatch(r"[0-9]{1,9}", label) for label in named):
        return {path: int(label) if label else None for path, label in cells.items()}, None
    index, class_names = index_classes(named)
    return {path: index[label] if label else None for path, label in cells.items()}, class_names


def index_classes(names: Collection[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number classes: as ImageNet-1k does where every name is one of its WordNet ids, else in sorted order.

    Examples
    --------
    >>> index_classes(["dog", "cat"])
    ({'cat': 0, 'dog': 1}, ('cat', 'dog'))
    >>> index_classes(["n01484850", "n01440764"])[0]
    {'n01440764': 0, 'n01484850': 2}
    """
    class_names = tuple(sorted(names))
    if all(is_wnid(name) for name in class_names):
        synsets = imagenet_synsets()
        if set(class_names) <= set(synsets):
            return {name: index for index, name in enumerate(synsets) if name in names}, synsets
    return {name: index for index, name in enumerate(class_names)}, tuple(map(one_line, class_names))


def is_wnid(name: str) -> bool:
    """Whether this is the form of a WordNet id, as ImageNet's folders are named."""
    return re.fullmatch(r"n[0-9]{8}", name) is not None


def imagenet_synsets() -> tuple[str, ...]:
    """ImageNet-1k's WordNet ids in the order of its labels, from timm's list (read without importing timm)."""
    package = importlib.util.find_spec("timm")
    if package is None or package.origin is None:
        raise InputError("class folders named by WordNet ids need timm's list of them: pip install timm")
    listing = Path(package.origin).parent / "data" / "_info" / "imagenet_synsets.txt"
    return tuple(listing.read_text(encoding="utf-8").split())
