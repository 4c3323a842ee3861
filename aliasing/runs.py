"""Sharing a run among processes: a folder belongs to one run, and each block of images to one process.

``torchrun`` starts the processes and tells each its *rank*; there may be many, on many machines, as long as they see
the same folder. Before a network is measured they agree on which blocks of images are missing; with N processes each
takes every N-th of those, and afterwards they wait for one another. Blocks are fixed, and complete or absent on disk,
so the number of processes, their order and interruptions make no difference.
"""

import os
import platform
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pyarrow.compute as pc
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from aliasing.classes import Label
from aliasing.errors import ElsewhereError, InputError, UsageError
from aliasing.images import Entry, ImageSource
from aliasing.images.chosen import LabelOrder, first
from aliasing.progress import watched
from aliasing.provenance import PARTIAL, cannot_write, write_json
from aliasing.records import BLOCK_SIZE, Listing, Part, Records, differing_input, input_of, list_images, written_label
from aliasing.result import claim_folder
from aliasing.state import read_json

T = TypeVar("T")
Blocks: TypeAlias = Iterator[tuple[int, list[Entry]]]
Work: TypeAlias = Callable[[Blocks, Callable[..., Any]], Iterator[tuple[int, Part]]]
"""A function of numbered blocks of images, and of a callback for each finished image, that yields their parts."""

# A machine that loses power closes no connection. Shares are equal: one that takes four times as long counts as lost.
_PATIENCE = 3600.0
_SLOWEST = 4
# What another machine has written may become visible this many seconds late (NFS caches a listing for up to 60).
_SEEN_LATE = 90


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run: this one's rank, and the host of each.

    Examples
    --------
    >>> Ranks(1, ("a", "a", "b")).share(range(10))
    [1, 4, 7]
    """

    rank: int = 0
    hosts: tuple[str, ...] = ("",)
    _group: Any = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """The number of processes."""
        return len(self.hosts)

    def share(self, items: Iterable[T]) -> list[T]:
        """This process's share of a list that all of them have."""
        return list(islice(items, self.rank, None, self.size))

    def wait(self, longest: float = _PATIENCE) -> None:
        """Wait until all processes arrive here.

        Raises InputError, with its rank and host, if one of them died or did not arrive within ``longest`` seconds.
        """
        if self.size == 1:
            return
        from torch import distributed

        try:
            distributed.monitored_barrier(self._group, timedelta(seconds=longest))
        except RuntimeError as error:
            lost = re.search(r"Ranks? (\d+)[\d, ]* failed", str(error))
            rank = int(lost[1]) if lost else 0
            raise InputError(
                f"rank {rank} on {self.hosts[rank]} has died or stopped; what was measured is on disk, and the same"
                " command measures the rest"
            ) from None

    def from_first(self, make: Callable[[], T]) -> T:
        """Make something in the first process and give it to all; if that fails, it fails for all."""
        if self.size == 1:
            return make()
        from torch import distributed

        self.wait()
        made: list[Any] = [None, ""]
        failure = None
        if self.rank == 0:
            try:
                made[0] = make()
            except (InputError, UsageError) as error:
                failure, made[1] = error, str(error)
        try:
            distributed.broadcast_object_list(made, 0, self._group)
        except RuntimeError:
            raise InputError(f"rank 0 on {self.hosts[0]} has died or stopped") from None
        if failure is not None:
            raise failure
        if made[1]:
            raise ElsewhereError(made[1])
        return made[0]  # type: ignore[no-any-return]


ALONE = Ranks()


def join_ranks() -> Ranks:
    """The processes that ``torchrun`` started, or this one alone; InputError if the others cannot be reached."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return ALONE
    from torch import cuda, distributed

    if cuda.is_available():  # so that "cuda" means a different device to each process on a machine
        cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % cuda.device_count())
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=timedelta(seconds=_PATIENCE))
        group: Any = distributed.new_group(backend="gloo", timeout=timedelta(seconds=_PATIENCE))
        hosts: list[str] = [""] * distributed.get_world_size()
        distributed.all_gather_object(hosts, platform.node(), group)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the other processes of this run cannot be reached: {str(error).splitlines()[0]}") from None
    return Ranks(distributed.get_rank(), tuple(hosts), group)


@contextmanager
def hold(directory: Path | None, ranks: Ranks, command: str | None = None) -> Iterator[None]:
    """Lock a run's folder for the processes of one run, and remove what a killed one left half written.

    A ``command`` makes the folder its own; UsageError if it is another's (`aliasing.state.claim`).

    The lock is the operating system's (``flock``), so that it ends with the process that holds it, however that ends;
    a file system without locks gets a file that names its owner (see the library ``filelock``). A process may lock a
    folder several times. Raises InputError if another run holds the folder or it cannot be written to.
    """
    if directory is None:
        yield
        return
    lock = FileLock(directory / ".lock", blocking=False, is_singleton=True)
    holder = directory / ".lock.json"

    def take() -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise InputError(f"{directory} is in use by {_who(holder)}; wait for it, or choose another --out") from None
        except OSError as error:
            raise cannot_write(directory, error) from error
        if command is not None:
            claim_folder(directory, command)
        if lock.lock_counter == 1:
            _clear(directory)
            write_json(
                holder, {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            )

    try:
        ranks.from_first(take)
        yield
    finally:
        if lock.is_locked:
            if lock.lock_counter == 1:
                with suppress(OSError):
                    holder.unlink()
            lock.release()


def _who(holder: Path) -> str:
    """Describe the process that holds a folder."""
    try:
        found = read_json(holder, form={str: (str, int)})
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (InputError, KeyError):
        return "another run"


def _clear(directory: Path) -> None:
    """Remove files that were being written when a run was killed."""
    for folder in ("", "records/*/"):
        for path in directory.glob(f"{folder}.*.????????{PARTIAL}"):
            path.unlink(missing_ok=True)


class Run:
    """One measurement of one network after another on the same images.

    All ``ranks``, the processes that share the run, make the same calls.
    """

    def __init__(self, source: ImageSource, records: Records, ranks: Ranks, progress: bool = False) -> None:
        if ranks.size > 1 and records.directory is None:
            raise UsageError(f"{ranks.size} processes share a run through its folder: add --out DIR")
        keep_apart(source.folders, records.directory)
        self.source, self.records, self.ranks = source, records, ranks
        self._hidden = ranks.rank > 0 or not (progress and watched())
        self._listing: Listing | None = None
        self._labels: Counter[Label] = Counter()
        self._order = LabelOrder()

    @property
    def listing(self) -> Listing:
        """Which images these are."""
        if self._listing is None:
            self._listing = list_images(self._noted(entry) for entry in self.source)
        return self._listing

    @property
    def labels(self) -> Counter[Label]:
        """The number of images with each label, as it is written."""
        self.listing  # noqa: B018 - making it counts them
        return self._labels

    @property
    def cautions(self) -> list[str]:
        """What a reader of the result should know about the images."""
        found, images, whole = list(self.source.cautions), self.listing.images, self.source.whole
        if whole is not None and self._order.is_sorted and next(islice(whole, images, None), None) is not None:
            classes = "1 class" if len(self._order.labels) == 1 else f"{len(self._order.labels)} classes"
            found.append(
                f"the images are sorted by label, and the first {images} are of {classes}: sample {images} instead of"
                f" limit {images} draws them from all"
            )
        return found

    def _noted(self, entry: Entry) -> str:
        self._labels[entry.label] += 1
        self._order.add(entry.label)
        return entry.name

    def within(self, folder: str, limit: int) -> "Run":
        """A run that this one needs, on at most ``limit`` of the same images, in a subfolder."""
        directory = self.records.directory
        records = Records(None if directory is None else directory / folder)
        return Run(first(self.source, limit), records, self.ranks, progress=not self._hidden)

    def begin(self, names: list[str], settings: dict[str, Any]) -> list[int]:
        """Begin or resume the run of these networks: the missing blocks; InputError if the folder holds another run."""
        images = self.listing
        # Images are identified by their bytes, wherever they lie; how they are rotated changes what is measured.
        kept = {name: value for name, value in settings.items() if name not in ("images", "cautions")}
        kept["orientation"] = self.source.orientation

        def begin() -> list[int]:
            for name in names:
                # One alone is known by its settings; variants that are measured together share them.
                self.records.begin(name, kept, images, identified=len(names) == 1)
            return sorted({block for name in names for block in self.records.missing(name)})

        missing = self.ranks.from_first(begin)
        if self.ranks.rank > 0:
            begin()  # has this process the same weights and images?
        return missing

    def measure(self, title: str, names: list[str], settings: dict[str, Any], work: Work) -> None:
        """Measure what has not been measured yet: ``work`` measures blocks of images, ``title`` is the progress bar's.

        ``names`` has the network whose records these are; or several that ``work`` measures together, of which each
        gets the rows in which it is the ``model``. Raises InputError if the folder holds another run, a process has
        died, or no image is usable.
        """
        images, missing = self.listing, self.begin(names, settings)
        mine = {*self.ranks.share(missing), *self._damaged(names, missing)}
        sizes = [min(BLOCK_SIZE, images.images - BLOCK_SIZE * block) for block in range(images.blocks)]
        done = sum(sizes[block] for block in {*range(images.blocks)} - {*missing} - mine)
        total = done + sum(sizes[block] for block in mine)
        if self.ranks.size > 1:
            title = f"{title} (rank 0 of {self.ranks.size})"
        start = time.monotonic()
        with tqdm(total=total, initial=done, desc=title, unit="image", disable=self._hidden) as bar:
            labels: dict[int, list[str | None]] = {}  # as written, whatever they mean to a network

            def todo() -> Blocks:
                for index, entries in blocks(self.source):
                    if index in mine:
                        labels[index] = list(map(written_label, entries))
                        yield index, entries

            for index, part in work(todo(), bar.update) if mine else ():
                part = replace(part, labels=labels.pop(index))
                for name in names:
                    rows = part.table if len(names) == 1 else part.table.filter(pc.field("model") == name)
                    self.records.write(name, index, replace(part, table=rows))
        self.ranks.wait(max(_PATIENCE, _SLOWEST * (time.monotonic() - start)))
        self._check(names)

    def _damaged(self, names: list[str], missing: list[int]) -> Iterator[int]:
        """The unreadable blocks in this process's share; InputError if one was measured on other pictures than now."""
        present = {*self.ranks.share(sorted({*range(self.listing.blocks)} - {*missing}))}
        if self.records.directory is None or not present:
            return
        last = max(present)
        for block, entries in islice(blocks(self.source), last + 1):
            if block not in present:
                continue
            try:
                parts = [self.records.read(name, block) for name in names]
            except InputError as error:
                warnings.warn(f"{error}", stacklevel=4)
                yield block
                continue
            now = [input_of(entry) for entry in entries]
            for part in parts:
                difference = differing_input(part.inputs, now)
                if difference:
                    raise InputError(
                        f"{self.records.directory} was measured on other images: {difference}; choose another --out"
                    )

    def _check(self, names: list[str]) -> None:
        """Check that every block is there and that some image is usable."""
        for name in names:
            deadline = time.monotonic() + (_SEEN_LATE if self.ranks.size > 1 else 0)
            while self.records.missing(name) and time.monotonic() < deadline:
                time.sleep(1)
            skipped: dict[str, str] = {}
            for part in self.records.parts(name):
                if len(part.table) or part.not_finite:
                    break
                skipped |= part.skipped
            else:
                first = next((f"; the first is {image}: {reason}" for image, reason in skipped.items()), "")
                raise InputError(f"no usable image in {self.source.description}: {len(skipped)} skipped{first}")


def keep_apart(folders: Iterable[Path], out: Path | None, option: str = "--out") -> None:
    """Raise UsageError if a folder of results is in one of these, whose files are measured: the next run takes both."""
    for folder in folders:
        if out is not None and out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{option} {out} is inside the inputs' folder {folder}; its files would be measured next")


def blocks(entries: Iterable[T], size: int = BLOCK_SIZE) -> Iterator[tuple[int, list[T]]]:
    """The number and content of each block of a stream."""
    iterator, index = iter(entries), 0
    while block := list(islice(iterator, size)):
        yield index, block
        index += 1
