"""Records of every pair of views, as Parquet parts that are complete or absent.

A run's folder holds::

    records/MODEL/settings.json   the settings and images: a run is only resumed with the same ones. If the network was
                                  measured under another name, the folder that holds its records ("same as")
    records/MODEL/00000.parquet   one row per pair of views, one part per block of images
    gallery/                      for embeddings: a run of its own, on the images among which neighbours are searched
    summary.json                  what follows from the records alone

A part's metadata holds what did not become a row: the block's images, those that were skipped and why, and those for
which the network's output was not finite. The columns have the same types in every part, so that anything that reads
Parquet reads ``records/*/*.parquet`` as one table.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from aliasing.errors import InputError
from aliasing.images import BadImage, Entry
from aliasing.provenance import cannot_write, write_bytes
from aliasing.renamed import renamed
from aliasing.state import (
    check_fits,
    is_sealed,
    parse_json,
    read_bytes,
    read_json,
    seal_parquet,
    unsealed_parquet,
    write_json,
)

# Images per block: the last bits of a network's output depend on what else is in the batch, so blocks are fixed.
BLOCK_SIZE = 32

_MOST_BLOCKS = 10**6  # that a file may claim: more images than ImageNet has

Input: TypeAlias = tuple[str, str, str | None]
"""The name of a picture, its identity, and its label as it was written."""


@dataclass(frozen=True)
class Listing:
    """The images of a run: their number, a hash of their names in order, and how many make a block."""

    images: int
    names: str
    block_size: int = BLOCK_SIZE

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.images // self.block_size)


def list_images(names: Iterable[str], block_size: int = BLOCK_SIZE) -> Listing:
    """List a run's images before any of them is read.

    Examples
    --------
    >>> list_images(f"{k}.png" for k in range(70)).blocks
    3
    """
    digest, images = hashlib.blake2b(digest_size=16), 0
    for name in names:
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
        images += 1
    return Listing(images, digest.hexdigest(), block_size)


@dataclass(frozen=True)
class Part:
    """A block of images, measured.

    Attributes
    ----------
    table : pyarrow.Table
        One row per pair; the rows of an image are consecutive.
    images : list of str
        The names of all images of the block, in order.
    skipped : dict
        The images that could not be shown, and why.
    not_finite : list of str
        The images for which the network's output held a NaN or an infinity; they have no rows.
    turned : list of str
        The images whose EXIF orientation was applied.
    bound : float or None
        In a verified run, the margin in logits below which float32 decided (see `aliasing.jitter.precision`).
    identities : list of str
        The hash of the bytes of each of ``images``, empty if they could not be read.
    labels : list of str or None
        The label of each, as it was written.
    enlarged : dict
        The images that were enlarged by more than a tenth, and how many times.
    adapted : dict
        The signals that were changed so that the network takes them, and how: another rate, the mean of the channels.
    """

    table: pa.Table
    images: list[str]
    skipped: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    bound: float | None = None
    identities: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    enlarged: dict[str, float] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)

    def note_image(self, entry: Entry, identity: str | None) -> None:
        """Append the block's next image; one that did not load has no identity yet and is asked for it."""
        self.images.append(entry.name)
        self.identities.append(identity_of(entry) if identity is None else identity)

    @property
    def inputs(self) -> list[Input]:
        """The name, identity and label of each image."""
        unknown = len(self.images)
        return list(zip(self.images, self.identities or [""] * unknown, self.labels or [None] * unknown, strict=True))


def input_of(entry: Entry, identity: str | None = None) -> Input:
    """The name, identity and label of an entry; its bytes are read if the identity is not known yet."""
    return entry.name, identity_of(entry) if identity is None else identity, written_label(entry)


def identity_of(entry: Entry) -> str:
    """The hash of an entry's bytes; empty if they cannot be read."""
    try:
        return entry.identify()
    except BadImage:
        return ""


def written_label(entry: Entry) -> str | None:
    """An entry's label as text, so that 3 and "3" are the same."""
    return None if entry.label is None else str(entry.label)


def differing_input(before: Sequence[Input], now: Sequence[Input]) -> str | None:
    """Describe the first difference between two lists of pictures; None if there is none.

    Examples
    --------
    >>> differing_input([("cat.png", "1f", "3")], [("cat.png", "1f", "5")])
    "cat.png had the label '3' and now has '5'"
    """
    for (name, identity, label), (name_now, identity_now, label_now) in zip(before, now, strict=False):
        if name != name_now:
            return f"{name_now} is now in the place of {name}"
        if identity != identity_now:
            if not identity_now:
                return f"{name} can no longer be read"
            return f"{name} holds other bytes" if identity else f"{name} could not be read then, and now it can"
        if label != label_now:
            return f"{name} had the label {label!r} and now has {label_now!r}"
    return None if len(before) == len(now) else f"the number of images was {len(before)} and is now {len(now)}"


# What a part notes beside its rows, and of which form each is.
_NOTES: dict[str, Any] = {
    **{name: [str] for name in ("images", "not_finite", "turned", "identities")},
    **{name: {str: str} for name in ("skipped", "adapted")},
    "labels": [(str, None)],
    "enlarged": {str: float},
    "bound": (float, None),
}


class InputsDigest:
    """The identity of a run's inputs, from their names, bytes and labels in order; accumulates."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, inputs: Iterable[Input]) -> None:
        """Add the next pictures."""
        for one in inputs:
            self._digest.update(json.dumps(one).encode() + b"\n")

    def __str__(self) -> str:
        return self._digest.hexdigest()


class Records:
    """The parts of a run, in a folder or, without one, in memory.

    Parameters
    ----------
    directory : Path, optional
        The run's folder.

    Examples
    --------
    >>> import pyarrow as pa
    >>> records = Records()
    >>> records.begin("a network", {}, list_images(["cat.jpg"]))
    >>> records.write("a network", 0, Part(pa.table({"pair": [0, 1]}), images=["cat.jpg"]))
    >>> [len(part.table) for part in records.parts("a network")]
    [2]
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self._memory: dict[tuple[str, int], Part] = {}
        self._listings: dict[str, Listing] = {}
        self._runs: dict[str, str] = {}
        self._places: dict[str, tuple[Path, str]] = {}

    def begin(self, model: str, settings: dict[str, Any], images: Listing, identified: bool = False) -> None:
        """Begin a network's run with these settings on these images, or resume one that has the same.

        ``identified`` says that the settings identify one network: its run is then resumed whatever it was called, and
        two names of one network share its records.

        Raises
        ------
        InputError
            The folder holds a run with other settings or of other images; the message names the difference.
        """
        self._listings[model] = images
        if self.directory is None:
            return
        settings = json.loads(json.dumps(settings))  # tuples are lists in JSON
        path = self._folder(model) / "settings.json"
        if not _exists(path):
            same = self._under_another_name({**settings, "found": asdict(images)}) if identified else None
            own = {**settings, "found": asdict(images)} if same is None else {"same as": same}
            write_json(path, {"records of": model, **own})
            return
        before = self._settings(path)
        if not is_sealed(path):
            write_json(path, before)  # of a version before
        found = before.pop("found", None)
        for name in ("records of", "model"):  # what it was called
            before.pop(name, None)
        differences = [
            f"{name} was {before.get(name)!r} and is now {settings.get(name)!r}"
            for name in sorted({*before, *settings})
            if before.get(name) != settings.get(name)
        ]
        if differences:
            hint = "choose another --out, or delete it"
            if {name for name in {*before, *settings} if before.get(name) != settings.get(name)} == {"threads"}:
                hint = f"set OMP_NUM_THREADS={before.get('threads')}, or choose another --out"
            raise InputError(
                f"{self.directory} holds a run of {model} with other settings: {'; '.join(differences)}; {hint}"
            )
        if found != asdict(images):
            count = found.get("images") if isinstance(found, dict) else None
            how = "their names or their order" if count == images.images else f"{count} then, {images.images} now"
            raise InputError(f"{how}: the images are not those that {self.directory} began with; choose another --out")

    def _under_another_name(self, wanted: dict[str, Any]) -> str | None:
        """The name of the folder that holds a run with these settings, if there is one."""
        assert self.directory is not None
        wanted = {name: value for name, value in wanted.items() if value is not None}
        for path in sorted((self.directory / "records").glob("*/settings.json")):
            found = self._settings(path)
            if {name: value for name, value in found.items() if value is not None and name != "records of"} == wanted:
                return path.parent.name
        return None

    def blocks(self, model: str) -> list[int]:
        """The numbers of the measured blocks, in order."""
        if self.directory is None:
            return sorted(block for name, block in self._memory if name == model)
        try:
            parts = [path.stem for path in self._folder(model).glob("*.parquet")]
        except OSError as error:
            raise InputError(f"{self._folder(model)} cannot be read ({error.strerror})") from error
        return sorted(int(name) for name in parts if name.isdecimal())

    def missing(self, model: str) -> list[int]:
        """The numbers of the blocks that have not been measured yet; InputError if the network has no run here."""
        return sorted({*range(self._listing(model).blocks)} - {*self.blocks(model)})

    def _listing(self, model: str) -> Listing:
        if model not in self._listings:
            path = self._folder(model) / "settings.json" if self.directory else None
            if path is None or not _exists(path):
                raise InputError(f"{self.directory or 'this run'} has no records of {model}")
            try:
                listing = Listing(**self._settings(path)["found"])
                check_fits([listing.images, listing.block_size], [int], path)
                if listing.images < 0 or listing.block_size < 1 or listing.blocks > _MOST_BLOCKS:
                    raise KeyError
            except (KeyError, TypeError):
                raise InputError(f"{path} does not say which images it is about; measure again") from None
            self._listings[model] = listing
        return self._listings[model]

    def write(self, model: str, block: int, part: Part) -> None:
        """Store a measured block."""
        if self.directory is None:
            # A table that is concatenated from each image's rows takes many times the memory of its numbers.
            self._memory[model, block] = replace(part, table=part.table.combine_chunks())
            return
        left_out = {"table"} if part.adapted else {"table", "adapted"}  # which only signals have
        notes = {field.name: getattr(part, field.name) for field in fields(part) if field.name not in left_out}
        notes |= {"run": self._run(model), "block": block}
        table = _called(self._place(model)[1], part.table).replace_schema_metadata({"aliasing": json.dumps(notes)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        write_bytes(self._path(model, block), seal_parquet(sink.getvalue().to_pybytes()))

    def read(self, model: str, block: int, needed: Collection[str] | None = None) -> Part:
        """A block that has been measured, with the columns that are needed, or all."""
        if self.directory is None:
            part = self._memory[model, block]
            return part if needed is None else replace(part, table=part.table.select(_of(part.table.schema, needed)))
        path = self._path(model, block)
        try:
            content = pa.BufferReader(unsealed_parquet(read_bytes(path, self.directory)))
            with pq.ParquetFile(content, page_checksum_verification=True) as file:
                table = file.read(_of(file.schema_arrow, needed), use_threads=False)
            notes = parse_json(table.schema.metadata[b"aliasing"])
            if (notes.pop("run"), notes.pop("block")) != (self._run(model), block):
                raise ValueError("it belongs to another run or another block")
            for name, value in notes.items():
                check_fits(value, _NOTES[name], name)
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} is not a part of a run ({reason}); delete it and it is measured again") from None
        if self._place(model)[1] != model:
            table = _called(model, table)
        return Part(table.replace_schema_metadata(None), **notes)

    def _run(self, model: str) -> str:
        """The hash of a network's settings, by which its parts name the run that they belong to."""
        if model not in self._runs:
            path = self._folder(model) / "settings.json"
            settings = self._settings(path) if _exists(path) else {}
            text = json.dumps(settings, sort_keys=True)
            self._runs[model] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._runs[model]

    def parts(self, model: str, needed: Collection[str] | None = None) -> Iterator[Part]:
        """The blocks of a network, in order, one in memory at a time, with the columns that are needed, or all.

        Raises
        ------
        InputError
            Not all of its blocks have been measured, or one is damaged.
        """
        blocks = self._listing(model).blocks  # any number, in a file that was edited
        if missing := blocks - sum(block < blocks for block in self.blocks(model)):
            raise InputError(
                f"{self.directory or 'this run'} is not finished: {missing} of {blocks}"
                f" blocks of {model} are missing; the same command measures them"
            )
        return (self.read(model, block, needed) for block in range(blocks))

    def table(self, models: list[str]) -> pa.Table:
        """All rows of these networks as one table, with null if a network does not have a column."""
        parts = [part.table for model in models for part in self.parts(model)]
        return pa.concat_tables(parts, promote_options="default")

    def write_to(self, directory: Path, models: Iterable[str]) -> None:
        """Write the records of these networks to another folder, or the same."""
        if self.directory is None:
            other = Records(directory)
            for model in models:
                other.begin(model, {}, self._listings[model])
                for block in self.blocks(model):
                    other.write(model, block, self.read(model, block))
        elif self.directory.resolve() != directory.resolve():
            for model in models:
                shutil.copytree(self._folder(model), directory / "records" / folder_name(model), dirs_exist_ok=True)

    def _folder(self, model: str) -> Path:
        return self._place(model)[0]

    def _place(self, model: str) -> tuple[Path, str]:
        """The folder that holds a network's records, and what the network is called in them."""
        assert self.directory is not None
        if model in self._places:
            return self._places[model]
        folder = self.directory / "records" / folder_name(model)
        if not _exists(folder / "settings.json"):
            return folder, model
        settings = self._settings(folder / "settings.json")
        if "same as" in settings:
            folder = folder.parent / Path(str(settings["same as"])).name
            settings = self._settings(folder / "settings.json")
        self._places[model] = folder, str(settings.get("records of", model))
        return self._places[model]

    def _settings(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = read_json(path, self.directory, mend="choose another --out")
        return found

    def _path(self, model: str, block: int) -> Path:
        return self._folder(model) / f"{block:05d}.parquet"


def _of(schema: pa.Schema, needed: Collection[str] | None) -> list[str]:
    return [name for name in schema.names if needed is None or name in needed]


def _called(model: str, table: pa.Table) -> pa.Table:
    """The rows under this name."""
    if "model" not in table.column_names:
        return table
    place = table.column_names.index("model")
    return table.set_column(place, table.schema.field(place), pa.array([model] * len(table), pa.string()))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise cannot_write(path, error) from error


def folder_name(model: str) -> str:
    """A network's name as the name of a folder: unique, without characters that could be a path or markup.

    Examples
    --------
    >>> folder_name("pypi:efficientnet_lite0")
    'pypi-efficientnet_lite0-9dcf669dbe788a4e4fae'
    """
    digest = hashlib.blake2b(model.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', model).strip('-')[-60:]}-{digest}"


__getattr__ = renamed(
    __name__,
    {
        "PROBABILITIES": "aliasing.outputs.probabilities:PROBABILITIES",
        "LABELS": "aliasing.outputs.probabilities:LABELS",
        "EMBEDDINGS": "aliasing.outputs.embedding:EMBEDDINGS",
    },
)
