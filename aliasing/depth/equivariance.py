r"""Invariance and equivariance of the maps of two views.

The views differ by a shift *d*; a layer gives maps :math:`F(x)` and :math:`F(T_d x)` on a grid of stride *s*.
Invariance compares their averages over space, equivariance the maps themselves, after moving the first by :math:`d / s`
cells (Simoncelli et al. 1992; Azulay & Weiss 2019):

.. math:: \frac{\lVert F(T_d x) - T_{d/s} F(x) \rVert^2}{\lVert F(T_d x) - \overline{F(T_d x)} \rVert^2}

Maps are moved as in `aliasing.sampling.shift`. Fractional shifts use its matrix, one for each axis: for channels-last
maps a matrix product is faster than a Fourier transform.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from aliasing import sampling


def relative_change(first: Tensor, second: Tensor) -> Tensor:
    """‖second − first‖ ÷ ‖first‖ over the last axis; NaN if the first is zero.

    Examples
    --------
    >>> relative_change(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    tensor(0.1000)
    """
    change: Tensor = torch.linalg.vector_norm(second - first, dim=-1) / torch.linalg.vector_norm(first, dim=-1)
    return change


def cosine_similarity(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of the angle between two vectors, over the last axis; NaN if one is zero.

    It is computed as 1 − ‖a − b‖² / 2 of the unit vectors, which keeps the digits of its difference from 1.

    Examples
    --------
    >>> cosine_similarity(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))
    tensor(0.7071)
    """
    one, other = (x / torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (first, second))
    difference = one - other
    cosine: Tensor = 1 - difference.square().sum(-1) / 2
    return cosine


def follows(first: Tensor, second: Tensor, by: Sequence[float], margin: int = 0) -> tuple[float, float]:
    """The equivariance error and the unexplained change of two maps H×W×C, F(x) and F(T_d x).

    ``by`` is d / s, (down, across) in cells, and ``margin`` the number of cells to leave out on every side; ValueError
    if that leaves nothing. The error is 0 if it is exact, about 2 for unrelated maps of equal energy, and NaN if the
    second is constant. The unexplained change is the same distance ÷ that of the unmoved maps: it distinguishes a map
    that does not move from one that hardly has to, because the shift is a small part of a cell. It is 0 for a map that
    moves with the image, about 1 if moving it explains nothing, and NaN if nothing changes.

    Examples
    --------
    >>> x = torch.rand(8, 8, 2, generator=torch.Generator().manual_seed(0))
    >>> follows(x, x.roll((1, 2), (0, 1)), (1, 2))
    (0.0, 0.0)
    """
    height, width = second.shape[:2]
    if not 0 <= 2 * margin < min(height, width):
        raise ValueError(f"a margin of {margin} leaves nothing of {height}×{width} cells")
    inner = slice(margin, height - margin), slice(margin, width - margin)
    found = second[inner]
    missed, energy = map(float, sampling.residual(found, moved(first, by)[inner], (0, 1)))
    change = float(sampling.squared_norm(first[inner] - found))
    return missed / energy if energy > 0 else math.nan, missed / change if change > 0 else math.nan


def moved(x: Tensor, by: Sequence[float]) -> Tensor:
    """Move the content of a periodic map (H, W, C) by (down, across) cells, like `aliasing.sampling.shift`."""
    height, width, channels = x.shape
    down, across = by
    if down == int(down) and across == int(across):
        return x.roll((int(down), int(across)), (0, 1))
    rows = _matrix(height, down, x.dtype, x.device) @ x.reshape(height, width * channels)
    both: Tensor = _matrix(width, across, x.dtype, x.device) @ rows.view(height, width, channels)
    return both


@lru_cache(maxsize=64)
def _matrix(size: int, by: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix of a shift, whose columns are the shifted unit vectors."""
    identity = torch.eye(size, dtype=torch.float64)
    matrix: Tensor = sampling.shift(identity, (by, 0.0)).to(device, dtype)
    return matrix
