r"""The picture or map that a network makes of an image: restoration, super-resolution, encoders, decoders.

The second view's answer is moved back and compared with the first's, by the peak signal-to-noise ratio in decibels that
StyleGAN3 calls EQ-T for whole cells and EQ-T_frac for fractions of a cell (Karras et al. 2021):

.. math:: \mathrm{EQ{\text -}T} = -10 \log_{10} \big\langle (g_1 - T^{-1} g_2)^2 / \mathrm{range}^2 \big\rangle

The range is that of the first view's answer, and the answer may be of another size than the view: the shift is scaled.
Fractions are interpolated by Lanczos's kernel of six cells; one cell at each side is left out besides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aliasing.estimates import Estimate
from aliasing.outputs.base import Column, Columns, ImageTotals, Measure, Output, column, pair_schema
from aliasing.outputs.overlap import lanczos, overlap

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution, Network
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views

__all__ = ["IMAGES", "Images", "LevelMeasure"]

Array = npt.NDArray[np.float32]

IMAGES = pair_schema(
    # The mean of the squared differences over that of the range; null if no cell is in both.
    ("squared_error", pa.float64()),
    ("whole_cells", pa.bool_()),  # whether the shift is one of whole cells of the answer
)
"""The columns of the records."""

_EXACT = float(np.finfo(np.float32).eps) ** 2  # less than the rounding of the answers themselves is not told apart


@dataclass(frozen=True)
class LevelMeasure(Measure):
    """A mean on a logarithmic scale: minus ten times its logarithm, in decibels."""

    def estimate(self, pool: Any, pairs_an_image: float) -> Estimate:
        level: Estimate = pool.level(_EXACT)
        return level

    def paired(self, first: ImageTotals, second: ImageTotals) -> tuple[Column, Column]:
        """The difference of an image's levels."""
        levels = [-10 * np.log10(np.maximum(one.totals / one.counts, _EXACT)) for one in (first, second)]
        return levels[1] - levels[0], np.ones(len(levels[0]))


def _level(name: str, title: str, whole: bool) -> Measure:
    def errors(table: pa.Table) -> Column:
        return np.where(column(table, "whole_cells") == whole, column(table, "squared_error"), np.nan)

    return LevelMeasure(name, title, IMAGES.names[-2:], errors, range=(0.0, np.inf), unit="dB", sign=1)


@dataclass(frozen=True)
class Images(Output):
    """The picture or map that a network makes of an image, N×C×h×w."""

    name: ClassVar[str] = "images"
    of_places: ClassVar[bool] = True
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {"shift": ()}
    measures: ClassVar[tuple[Measure, ...]] = (
        _level("eq_t", "EQ-T", True),
        _level("eq_t_frac", "EQ-T_frac", False),
    )

    @property
    def schema(self) -> pa.Schema:
        return IMAGES

    def network(self, running: "ShownNetwork", execution: "Execution") -> "Network":
        """Views N×H×W×3 → the answer's maps N×C×h×w."""
        from aliasing.jitter.network import maps_of

        return maps_of(running, execution)

    def compare(self, outputs: Array, views: "Views", image: "Loaded", precision: str = "float32") -> Columns:
        """How far the second answer, moved back, is from the first: the columns of `IMAGES`."""
        found = [self._compare(outputs, pair, views) for pair in views.pairs]
        return {"squared_error": [error for error, _ in found], "whole_cells": [whole for _, whole in found]}

    @staticmethod
    def _compare(outputs: Array, pair: tuple[int, int], views: "Views") -> tuple[float | None, bool]:
        a, b = pair
        before, after = views.views[a].shift, views.views[b].shift
        cells = [size / pixels for size, pixels in zip(outputs.shape[2:], views.size, strict=True)]
        shift = tuple((y - x) * cell for x, y, cell in zip(before, after, cells, strict=True))
        whole = all(float(step).is_integer() for step in shift)
        first, second = overlap(outputs[a].astype(np.float64), outputs[b], shift, views.circular, lanczos)
        if not views.circular:
            first, second = first[:, 1:-1, 1:-1], second[:, 1:-1, 1:-1]
        extent = float(np.ptp(outputs[a]))
        if not first.size or not extent:
            return None, whole
        return float(((first - second) ** 2).mean()) / extent**2, whole
