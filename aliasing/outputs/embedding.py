"""The embedding of an image: the input of the network's last layer, of unit length.

Its measures are the cosine distance between the embeddings of two views, and whether the nearest neighbour changes
among the embeddings of the other images' first views, the gallery.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.outputs.base import Column, Columns, Measure, Output, column, first_and_second, pair_schema

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution, Network
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["EMBEDDINGS", "Embedding"]

Array = npt.NDArray[np.float32]

EMBEDDINGS = pair_schema(
    ("cosine_distance", pa.float32()),
    # The name of the other image whose embedding is nearest.
    ("first_neighbour", pa.string()),
    ("second_neighbour", pa.string()),
)
"""The columns of the records."""
# The gallery's vectors stay in memory; this many take about 50 MB.
GALLERY_SIZE = 10_000


_NEIGHBOURS = ("first_neighbour", "second_neighbour")


def _neighbour_changed(table: pa.Table) -> Column | None:
    if table["first_neighbour"].null_count:
        return None
    changed: Column = np.not_equal(*(column(table, name) for name in _NEIGHBOURS))
    return changed


@dataclass(frozen=True, eq=False)
class Embedding(Output):
    """The embedding of an image.

    Attributes
    ----------
    names : array of str, (images,), optional
        The images of the gallery, without those that could not be shown or had no finite output.
    vectors : float32 array, (images, D), optional
        Their embeddings, of unit length.
    """

    name: ClassVar[str] = "embedding"
    gallery: ClassVar[int] = GALLERY_SIZE
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {"shift": ()}
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "cosine_distance",
            "cosine distance",
            ("cosine_distance",),
            lambda table: column(table, "cosine_distance"),
            range=(0.0, 2.0),
        ),
        Measure(
            "neighbour_change", "P(neighbour change)", _NEIGHBOURS, _neighbour_changed, binary=True, is_change=True
        ),
    )

    names: npt.NDArray[np.object_] | None = None
    vectors: Array | None = None

    @property
    def schema(self) -> pa.Schema:
        return EMBEDDINGS

    def beside(self, names: npt.NDArray[np.object_], outputs: Array) -> Self:
        return replace(self, names=names, vectors=outputs)

    def network(self, running: "ShownNetwork", execution: "Execution") -> "Network":
        """Views N×H×W×3 → embeddings N×D of unit length."""
        from aliasing.jitter.network import embeddings_of

        return embeddings_of(running, execution)

    def compare(self, outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """The cosine distance between the views of each pair, and the nearest neighbour of each view, if any."""
        first, second = first_and_second(views)
        # ‖a − b‖²/2 = 1 − a·b for unit vectors, without the cancellation of the right side.
        distance = ((outputs[first] - outputs[second]) ** 2).sum(1) / 2
        columns: Columns = {"cosine_distance": distance}
        others = self.names != image.name
        if self.names is not None and self.vectors is not None and np.any(others):
            similarity = np.where(others, outputs @ self.vectors.T, -np.inf)
            neighbour = self.names[similarity.argmax(1)]
            columns |= {"first_neighbour": neighbour[first], "second_neighbour": neighbour[second]}
        return columns
