r"""The numbers that a network gives for an image, as they are: regression.

With :math:`a` and :math:`b` the *K* numbers for the two views of a pair, its measures are

.. math:: \text{absolute change} = \frac1K \sum_k |b_k - a_k|, \qquad
          \text{relative change} = \frac{\lVert b - a \rVert_2}{\lVert a \rVert_2}, \qquad
          \text{cents} = \frac{1200}{K} \sum_k \left|\log_2 \frac{b_k}{a_k}\right|

The last is an interval of pitch (Ellis 1885), a hundredth of a semitone, for networks that give frequencies; it is
measured only where all numbers are positive.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.errors import InputError
from aliasing.outputs.base import Column, Columns, Measure, Output, column, first_and_second, pair_schema

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution, Network
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["VALUES", "Values"]

Array = npt.NDArray[np.float32]

_CHANGES = ("absolute_change", "relative_change", "cents")

VALUES = pair_schema(
    # The first number for each view, and how many there are.
    ("first_value", pa.float32()),
    ("second_value", pa.float32()),
    ("numbers", pa.int32()),
    *((name, pa.float64()) for name in _CHANGES),
    ("precision", pa.string()),
)
"""The columns of the records; a change is NaN where it does not exist."""


def _measure(name: str, title: str, label: str = "", unit: str = "") -> Measure:
    def values(table: pa.Table) -> Column | None:
        found = column(table, name)
        return None if np.isnan(found).all() else found

    return Measure(name, title, (name,), values, range=(0.0, float("inf")), label=label, unit=unit)


@dataclass(frozen=True)
class Values(Output):
    """The numbers of a network's answer, N×K."""

    name: ClassVar[str] = "values"
    measures: ClassVar[tuple[Measure, ...]] = (
        _measure("absolute_change", "absolute change"),
        _measure("relative_change", "relative change"),
        _measure("cents", "change in cents", "change of pitch", "cents"),
    )

    @property
    def schema(self) -> pa.Schema:
        return VALUES

    def network(self, running: "ShownNetwork", execution: "Execution") -> "Network":
        """A batch of views → N×K numbers."""
        from aliasing.jitter.network import values_of

        return values_of(running, execution)

    def compare(self, outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """How far the numbers move from the first to the second view of each pair."""
        if not outputs.shape[1]:
            raise InputError(f"{self.model.name} gives no numbers for {image.name}")
        first, second = first_and_second(views)
        a, b = (outputs[ends].astype(np.float64) for ends in (first, second))
        size, positive = np.linalg.norm(a, axis=1), (np.minimum(a, b) > 0).all(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(size > 0, np.linalg.norm(b - a, axis=1) / size, np.nan)
            cents = np.where(positive, 1200 * np.abs(np.log2(b / a)).mean(1), np.nan)
        return {
            "first_value": a[:, 0],
            "second_value": b[:, 0],
            "numbers": [outputs.shape[1]] * len(a),
            "absolute_change": np.abs(b - a).mean(1),
            "relative_change": relative,
            "cents": cents,
            "precision": [precision] * len(a),
        }
