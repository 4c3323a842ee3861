"""The gallery of a run: the outputs of its images' first views, with which others are compared.

It is a small run of its own, in the folder ``gallery`` of the run: on disk block by block, shared among its processes,
and not computed again when it is resumed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.images import Loaded
from aliasing.jitter.engine import ViewsOf, in_batches, measure_blocks
from aliasing.jitter.faults import Guarded
from aliasing.jitter.network import Array
from aliasing.protocols import Views
from aliasing.records import Part
from aliasing.runs import Blocks, Run, hold

_FIRST_VIEWS = pa.schema([("name", pa.string()), ("vector", pa.list_(pa.float32()))])


def embed_gallery(
    name: str, views_of: ViewsOf, network: Callable[[], Guarded], settings: dict[str, Any], run: Run
) -> tuple[npt.NDArray[np.object_], Array]:
    """The names and outputs of the first views of a run's images, in the source's order, from disk or measured.

    Images that could not be shown, or had no finite output, are left out. ``network`` makes the network, if something
    is missing; ``run`` is that of the gallery's images, in its own folder. Raises InputError if the folder holds
    another gallery, a process has died, or no image is usable.
    """

    def first_view(image: Loaded) -> Views:
        return Views(views_of(image).views[:1], ())

    def tabulate(image_name: str, image: Loaded, views: Views, outputs: Array) -> pa.Table:
        return pa.table({"name": [image_name], "vector": [outputs[0]]}, _FIRST_VIEWS)

    def work(blocks: Blocks, seen: Callable[..., Any]) -> Iterator[tuple[int, Part]]:
        show = in_batches(network(), settings["batch_size"])
        return measure_blocks(blocks, first_view, show, tabulate, _FIRST_VIEWS, seen=seen, device=settings["device"])

    with hold(run.records.directory, run.ranks):
        run.measure(f"{name}, gallery", [name], settings, work)
    table = run.records.table([name])
    names = np.array(table["name"].to_pylist(), dtype=object)
    numbers = table["vector"].combine_chunks().flatten().to_numpy()
    return names, numbers.reshape(len(names), numbers.size // max(len(names), 1))
