"""Running a network on the views of a stream of images, block by block, and comparing its outputs pair by pair.

Blocks are fixed (32 images, in the source's order), because the last bits of a network's output depend on what else is
in the batch. Within a block the batches mix images, so that the network always sees full ones. The images are decoded a
few at a time by all cores, or beside a network that runs on another device. Nothing is kept longer than its block.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import torch

from aliasing.images import BadImage, Entry, Loaded
from aliasing.jitter.faults import Guarded, staying
from aliasing.jitter.network import Array, Network
from aliasing.memory import return_freed_memory
from aliasing.outputs.base import KNOWN_AT_FIRST, Columns, columns_of_draw
from aliasing.protocols import Views
from aliasing.protocols.base import ENLARGED
from aliasing.records import Part

Compare: TypeAlias = Callable[[Any, Views, Loaded], Columns]
Usable: TypeAlias = tuple[str, Loaded, Views]
"""An image that can be shown: its name, itself, and its views."""
ViewsOf: TypeAlias = Callable[[Loaded], Views]
# The last argument holds the outputs of an image's views: an array, or a list of arrays of different lengths, or of
# tuples: of the arrays of an output that has several, or of the outputs of several networks.
Tabulate: TypeAlias = Callable[[str, Loaded, Views, Any], pa.Table]
T = TypeVar("T")
R = TypeVar("R")

_VIEWS_BETWEEN_RETURNS = 2048  # of freed memory: a few hundred megabytes at most, and about 1 % of the time
_AHEAD = 8  # images that are prepared before the network asks for them


class Shown(NamedTuple):
    """A picture or signal that the network sees, and which view of which image it is."""

    picture: Array
    image: Loaded
    views: Views
    number: int


Show: TypeAlias = Callable[[Iterator[Shown]], Iterator[Array]]
"""A function that yields the output of each picture, in order."""


class TwoPhases(Protocol):
    """Which view of an image is shown first, and which others once its output is known."""

    def first(self, image: Loaded, views: Views) -> Views:
        """Views of which the first is shown."""
        ...

    def then(self, image: Loaded, views: Views, output: Array) -> Views:
        """The same view, and those that are shown after it."""
        ...


def measure_blocks(
    numbered_blocks: Iterable[tuple[int, list[Entry]]],
    views_of: ViewsOf,
    show: Show,
    tabulate: Tabulate,
    schema: pa.Schema,
    *,
    seen: Callable[[], Any],
    device: str = "cpu",
    phases: TwoPhases | None = None,
) -> Iterator[tuple[int, Part]]:
    """Measure blocks of images, and yield one numbered part at a time.

    ``views_of`` gives an image's views, or raises BadImage; ``show`` gives the outputs of pictures, such as
    ``in_batches(network, batch_size)``; ``tabulate`` makes an image's rows of ``schema`` from its name, itself, its
    views and their outputs; ``seen`` is called when an image is done; ``device`` is where the network runs;
    ``phases`` draws the views that are shown, if not all are.
    """
    show = _returning_memory(show)
    for index, part, usable in open_blocks(numbered_blocks, views_of, schema, seen, device):
        if phases is None:
            yield index, _measure_block(part, usable, show, tabulate, seen)
        else:
            yield index, _measure_block_twice(part, usable, show, tabulate, seen, phases)


def open_blocks(
    numbered_blocks: Iterable[tuple[int, list[Entry]]],
    views_of: ViewsOf,
    schema: pa.Schema,
    seen: Callable[[], Any],
    device: str = "cpu",
) -> Iterator[tuple[int, Part, Iterator[Usable]]]:
    """The number of each block, its part, and its images that can be shown.

    The part notes every image when it is its turn, and those that cannot be shown with the reason. The parameters are
    those of `measure_blocks`.
    """

    def prepare(item: tuple[int, Entry]) -> tuple[Loaded, Views] | BadImage:
        try:
            with staying():
                image = item[1].load()
                views = views_of(image)
            # The views hold what they show, so a large photograph need not wait in memory.
            return image.emptied(), views
        except BadImage as error:
            return error

    def usable(block: Iterable[Any], part: Part) -> Iterator[Usable]:
        for (_, entry), prepared in block:
            part.note_image(entry, None if isinstance(prepared, BadImage) else prepared[0].identity)
            if isinstance(prepared, BadImage):
                part.skipped[entry.name] = str(prepared)
                seen()
                continue
            if getattr(prepared[0], "turned", False):
                part.turned.append(entry.name)
            if prepared[1].adapted:
                part.adapted[entry.name] = prepared[1].adapted
            if prepared[1].enlarged > ENLARGED:
                part.enlarged[entry.name] = round(prepared[1].enlarged, 3)
            yield entry.name, *prepared

    entries = ((index, entry) for index, block in numbered_blocks for entry in block)
    for index, group in groupby(prepare_ahead(entries, prepare, device), key=lambda item: item[0][0]):
        part = Part(schema.empty_table(), images=[])
        yield index, part, usable(group, part)


def _returning_memory(show: Show) -> Show:
    """The same, but freed memory is returned to the system every `_VIEWS_BETWEEN_RETURNS` views."""
    number = 0

    def show_and_return(pictures: Iterator[Shown]) -> Iterator[Array]:
        nonlocal number
        for output in show(pictures):
            yield output
            number += 1
            if number % _VIEWS_BETWEEN_RETURNS == 0:
                return_freed_memory()

    return show_and_return


def _measure_block(
    part: Part, usable: Iterator[Usable], show: Show, tabulate: Tabulate, seen: Callable[[], Any]
) -> Part:
    shown: deque[Usable] = deque()  # images whose outputs are not complete yet

    def pictures() -> Iterator[Shown]:
        for name, image, views in usable:
            shown.append((name, image, views))
            yield from (Shown(view.draw(), image, views, number) for number, view in enumerate(views.views))

    rows = [part.table]
    collected: list[Array] = []
    for output in show(pictures()):
        collected.append(output)
        name, image, views = shown[0]
        if len(collected) < len(views.views):
            continue
        shown.popleft()
        rows += _rows_of(part, name, image, views, collected, tabulate)
        collected = []
        seen()
    return replace(part, table=pa.concat_tables(rows))


def _measure_block_twice(
    part: Part,
    usable: Iterator[Usable],
    show: Show,
    tabulate: Tabulate,
    seen: Callable[[], Any],
    phases: TwoPhases,
) -> Part:
    """Show one view of every image, and then those that are drawn by its output."""
    held = list(usable)
    before = [phases.first(image, views) for _, image, views in held]
    firsts = [*show(Shown(one.views[0].draw(), image, one, 0) for one, (_, image, _) in zip(before, held, strict=True))]
    drawn = [phases.then(image, views, output) for (_, image, views), output in zip(held, firsts, strict=True)]
    others = show(
        Shown(view.draw(), image, some, number)
        for some, (_, image, _) in zip(drawn, held, strict=True)
        for number, view in enumerate(some.views)
        if number > 0
    )
    rows = [part.table]
    for (name, image, _), some, first in zip(held, drawn, firsts, strict=True):
        outputs = [first, *islice(others, len(some.views) - 1)]
        rows += _rows_of(part, name, image, some, outputs, tabulate)
        seen()
    return replace(part, table=pa.concat_tables(rows))


def _rows_of(
    part: Part, name: str, image: Loaded, views: Views, outputs: list[Array], tabulate: Tabulate
) -> list[pa.Table]:
    """The rows of an image; none, and a note, if an output is not finite."""
    if all(np.isfinite(array).all() for array in arrays_in(outputs)):
        return [tabulate(name, image, views, stacked(outputs))]
    part.not_finite.append(name)
    return []


def arrays_in(outputs: Any) -> Iterator[Array]:
    """The arrays of outputs, each an array or a tuple of outputs."""
    if isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from arrays_in(output)
    else:
        yield outputs


def stacked(rows: list[Any]) -> Any:
    """Arrays of one shape as one array; anything else stays a list."""
    shapes = {getattr(row, "shape", None) for row in rows}
    return np.stack(rows) if len(shapes) == 1 and None not in shapes else rows


def in_batches(network: Guarded, batch_size: int) -> Show:
    """Show a network all pictures, in full batches."""

    def show(pictures: Iterator[Shown]) -> Iterator[Array]:
        while batch := list(islice(pictures, batch_size)):
            yield from answers_to(network, batch)

    return show


def answers_to(network: Guarded, batch: Sequence[Shown]) -> Array:
    """The outputs of a network for one batch."""
    return network(np.stack([shown.picture for shown in batch]), list(dict.fromkeys(s.image.name for s in batch)))


def predict(network: Network, pictures: Iterable[Array], batch_size: int) -> Iterator[Array]:
    """The output of each picture, in order, computed in full batches."""
    iterator = iter(pictures)
    while batch := list(islice(iterator, batch_size)):
        yield from network(np.stack(batch))


def prepare_ahead(items: Iterable[T], prepare: Callable[[T], R], device: str = "cpu") -> Iterator[tuple[T, R]]:
    """Each item with its ``prepare(item)``, in order: in turns with a network on the CPU, in parallel to one elsewhere.

    A network on the CPU uses all cores. A thread that prepared the next images meanwhile would take one away from a
    layer, and the layer's other threads would wait for it. So the network and the images take turns (1.15 times as fast
    on two cores, in bfloat16).
    """
    return _prepare_by_turns(items, prepare) if device == "cpu" else _prepare_beside(items, prepare)


def _prepare_by_turns(items: Iterable[T], prepare: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """A few at a time, by as many threads as torch has."""
    iterator, threads = iter(items), torch.get_num_threads()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        while some := list(islice(iterator, max(_AHEAD, threads))):
            futures = [pool.submit(prepare, item) for item in some]
            wait(futures)
            yield from zip(some, (future.result() for future in futures), strict=True)


def _prepare_beside(items: Iterable[T], prepare: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Ahead, in another thread."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(prepare, item)))
            if len(waiting) > _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def table_of(model: str, name: str, image: Loaded, views: Views, columns: Columns, schema: pa.Schema) -> pa.Table:
    """The rows of one image, one per pair, with the columns that depend on the network's outputs."""
    count = len(views.pairs)
    columns = {
        "model": [model] * count,
        "image": [image.identity] * count,
        "name": [name] * count,
        "label": [image.label] * count,
        "pair": np.arange(count) if views.drawn is None else views.drawn.pairs,
        **columns,
    }
    for which, end in (("first", 0), ("second", 1)):
        shown = [views.views[pair[end]] for pair in views.pairs]
        for axis, place in zip(("dx", "dy", "dz"), range(3), strict=True):  # from the last axis
            columns[f"{which}_{axis}"] = [view.shift[-1 - place] if place < len(view.shift) else 0 for view in shown]
        columns[f"{which}_position"] = [view.position for view in shown]
    if views.drawn is not None:
        drawn = columns_of_draw(views.drawn)
        if not views.drawn.weight:  # there is no second view
            columns = {name: values for name, values in columns.items() if name in KNOWN_AT_FIRST or "first_" in name}
        columns |= {name: [value] * count for name, value in drawn.items()}
    arrays = [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
