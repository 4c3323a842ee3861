"""Among what is the nearest neighbour of a view looked for? Among the first views of the run's own images.

Their embeddings are a small run of their own, in the folder ``gallery`` of the run: on disk block by block, shared
among its processes, and not computed again by one that goes on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.images import Clip, Image
from aliasing.jitter.engine import Columns, ViewsOf, in_batches, measure_blocks
from aliasing.jitter.faults import Guarded
from aliasing.jitter.network import Array
from aliasing.protocols import Views
from aliasing.records import Part
from aliasing.runs import Blocks, Run, hold

# They stay in memory; this many take about 50 MB.
GALLERY_SIZE = 10_000

_EMBEDDED = pa.schema([("name", pa.string()), ("vector", pa.list_(pa.float32()))])


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embeddings among which neighbours are looked for.

    Attributes
    ----------
    names : array of str, (images,)
        In the source's order; those that could not be shown, or had no finite output, are left out.
    vectors : float32 array, (images, D)
        Of unit length.
    """

    names: npt.NDArray[np.object_]
    vectors: Array

    def compare(self, outputs: Array, views: Views, image: Image | Clip) -> Columns:
        """Cosine distance between the views of each pair, and the nearest neighbour of each among the other images.

        Parameters
        ----------
        outputs : float32 array, views×D
            The embedding of each view, of unit length.
        views : Views
        image : Image or Clip

        Returns
        -------
        dict of str to array
            A column for each field of ``records.EMBEDDINGS`` that depends on the output; without the neighbours where
            there is no other image.
        """
        first, second = np.array(views.pairs, dtype=np.intp).reshape(-1, 2).T
        # ‖a − b‖²/2 = 1 − a·b for unit vectors, without the cancellation of the right side.
        distance = ((outputs[first] - outputs[second]) ** 2).sum(1) / 2
        columns: Columns = {"cosine_distance": distance}
        others = self.names != image.name
        if others.any():
            similarity = np.where(others, outputs @ self.vectors.T, -np.inf)
            neighbour = self.names[similarity.argmax(1)]
            columns |= {"first_neighbour": neighbour[first], "second_neighbour": neighbour[second]}
        return columns


def embed_gallery(
    name: str, views_of: ViewsOf, network: Callable[[], Guarded], settings: dict[str, Any], run: Run
) -> Gallery:
    """The embeddings of the first views of a run's images: what is on disk, and what is measured for the rest.

    Parameters
    ----------
    name : str
        The network's.
    views_of : callable
        The views of an image.
    network : callable
        Gives what embeds a batch of views; asked where something is missing.
    settings : dict
        What was asked for.
    run : Run
        Of the images of the gallery, in a folder of its own.

    Returns
    -------
    Gallery

    Raises
    ------
    InputError
        The folder holds another gallery, a process has died, or no image is usable.
    """

    def first_view(image: Image | Clip) -> Views:
        return Views(views_of(image).views[:1], ())

    def tabulate(image_name: str, image: Image | Clip, views: Views, outputs: Array) -> pa.Table:
        return pa.table({"name": [image_name], "vector": [outputs[0]]}, _EMBEDDED)

    def work(blocks: Blocks, seen: Callable[..., Any]) -> Iterator[tuple[int, Part]]:
        show = in_batches(network(), settings["batch_size"])
        return measure_blocks(blocks, first_view, show, tabulate, _EMBEDDED, seen=seen, device=settings["device"])

    with hold(run.records.directory, run.ranks):
        run.measure(f"{name}, gallery", [name], settings, work)
    table = run.records.table([name])
    names = np.array(table["name"].to_pylist(), dtype=object)
    numbers = table["vector"].combine_chunks().flatten().to_numpy()
    return Gallery(names, numbers.reshape(len(names), numbers.size // max(len(names), 1)))
