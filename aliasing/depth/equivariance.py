r"""Invariance and equivariance of the maps of two views.

The views differ by a shift *d*; a layer gives maps :math:`F(x)` and :math:`F(T_d x)` on a grid of stride *s*.
Invariance compares their averages over space, equivariance the maps themselves, after moving the first by :math:`d / s`
cells (Simoncelli et al. 1992; Azulay & Weiss 2019):

.. math:: \frac{\lVert F(T_d x) - T_{d/s} F(x) \rVert^2}{\lVert F(T_d x) - \overline{F(T_d x)} \rVert^2}

Maps have any number of axes, and their channels last. They are moved as in `aliasing.sampling.shift`; fractional shifts
use its matrix, one for each axis: for channels-last maps a matrix product is faster than a Fourier transform.
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
    """The equivariance error and the unexplained change of two maps (*axes, C), such as H×W×C, F(x) and F(T_d x).

    ``by`` is d / s in cells, one number an axis, and ``margin`` the number of cells to leave out on every side;
    ValueError if that leaves nothing. The error is 0 if it is exact, about 2 for unrelated maps of equal energy, and
    NaN if the second is constant. The unexplained change is the same distance ÷ that of the unmoved maps: it
    distinguishes a map that does not move from one that hardly has to, because the shift is a small part of a cell. It
    is 0 for a map that moves with the image, about 1 if moving it explains nothing, and NaN if nothing changes.

    Examples
    --------
    >>> x = torch.rand(8, 8, 2, generator=torch.Generator().manual_seed(0))
    >>> follows(x, x.roll((1, 2), (0, 1)), (1, 2))
    (0.0, 0.0)
    """
    sizes = second.shape[:-1]
    if not 0 <= 2 * margin < min(sizes):
        raise ValueError(f"a margin of {margin} leaves nothing of {'×'.join(map(str, sizes))} cells")
    inner = tuple(slice(margin, size - margin) for size in sizes)
    found = second[inner]
    missed, energy = map(float, sampling.residual(found, moved(first, by)[inner], tuple(range(len(sizes)))))
    change = float(sampling.squared_norm(first[inner] - found))
    return missed / energy if energy > 0 else math.nan, missed / change if change > 0 else math.nan


def moved(x: Tensor, by: Sequence[float]) -> Tensor:
    """Move the content of a periodic map (*axes, C) by cells, one number an axis, like `aliasing.sampling.shift`."""
    shape = x.shape
    if all(distance == int(distance) for distance in by):
        return x.roll(tuple(map(int, by)), tuple(range(len(by))))
    for axis, (size, distance) in enumerate(zip(shape[:-1], by, strict=True)):
        x = _matrix(size, distance, x.dtype, x.device) @ x.reshape(*shape[:axis], size, -1)
    return x.reshape(shape)


@lru_cache(maxsize=64)
def _matrix(size: int, by: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix of a shift, whose columns are the shifted unit vectors."""
    identity = torch.eye(size, dtype=torch.float64)
    matrix: Tensor = sampling.shift(identity, (by, 0.0)).to(device, dtype)
    return matrix
