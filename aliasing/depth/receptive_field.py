r"""Receptive fields: the part of the image that a cell of a feature map sees.

Cell *i* of a layer of kernel *k*, stride *s*, padding *p* and dilation *d* sees the cells :math:`s i - p` to
:math:`s i - p + d (k - 1)` of the layer before. Followed back to the image (Araujo, Norris & Sim 2019), this gives

.. math:: j' = s j, \qquad r' = r + d (k - 1) j, \qquad W' = \lfloor (W - F + 2 P) / S \rfloor + 1

with *j* the cumulative stride (pixels per cell), *r* the receptive field, *W* the size, and *F* the extent
:math:`d (k - 1) + 1` of the kernel.
"""

from collections.abc import Sequence
from typing import TypeAlias

from aliasing.sites.grid import WHOLE, Extent, join

__all__ = ["WHOLE", "Extent", "Layer", "extent", "join", "output_size", "output_sizes", "receptive_field"]

Layer: TypeAlias = tuple[int, ...]
"""(kernel, stride, padding, dilation) along one axis; the last three may be left out and are then 1, 0 and 1."""


def extent(layers: Sequence[Layer]) -> Extent:
    """What a cell sees after a stack of layers, along one axis.

    Parameters
    ----------
    layers : sequence of (kernel, stride, padding, dilation)
        From the image on; see `Layer`.

    Raises
    ------
    ValueError
        If a number makes no sense.

    Examples
    --------
    >>> extent([(7, 2, 3), (3, 2, 1)])
    Extent(stride=4.0, first=-5.0, last=5.0)
    """
    found = Extent()
    for layer in layers:
        found = found.behind(*_checked(layer))
    return found


def receptive_field(layers: Sequence[Layer]) -> int:
    """The receptive field of a stack of layers, in pixels, along one axis: :math:`1 + \\sum d (k - 1) j`.

    ``layers`` and errors are as for :func:`extent`; the padding does not matter.

    Examples
    --------
    >>> receptive_field([(3, 1), (3, 1), (3, 1)]), receptive_field([(7, 1)])
    (7, 7)
    >>> receptive_field([(3, 1, 1, 2)])  # dilated
    5
    """
    return int(extent(layers).size)


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """The number of cells after a convolution or a pooling, :math:`\\lfloor (W - F + 2P) / S \\rfloor + 1`.

    Parameters
    ----------
    size : int
        W, the number of cells before it.
    kernel, stride, padding, dilation : int
        F is ``dilation * (kernel - 1) + 1``.

    Raises
    ------
    ValueError
        If a number makes no sense, or the kernel does not fit into the padded map.

    Examples
    --------
    >>> output_size(28, kernel=5, padding=2), output_size(28, kernel=2, stride=2)
    (28, 14)
    >>> output_size(224, 7, 2, 3)
    112
    """
    kernel, stride, padding, dilation = _checked((kernel, stride, padding, dilation))
    room = size + 2 * padding - (dilation * (kernel - 1) + 1)
    if size < 1 or room < 0:
        raise ValueError(f"a kernel of {kernel} (dilation {dilation}) does not fit into {size} + 2·{padding} cells")
    return room // stride + 1


def output_sizes(size: int, layers: Sequence[Layer]) -> list[int]:
    """The number of cells after each layer of a stack.

    Examples
    --------
    >>> output_sizes(32, [(3, 1, 1), (2, 2), (3, 2, 1)])
    [32, 16, 8]
    """
    sizes = []
    for layer in layers:
        size = output_size(size, *layer)
        sizes.append(size)
    return sizes


def _checked(layer: Layer) -> tuple[int, int, int, int]:
    least = (1, 1, 0, 1)
    given = (*layer, *least[len(layer) :])
    if len(given) != 4 or not layer or any(number < low for number, low in zip(given, least, strict=True)):
        raise ValueError(f"a layer is (kernel, stride, padding, dilation) of at least (1, 1, 0, 1); got {layer!r}")
    kernel, stride, padding, dilation = given
    return kernel, stride, padding, dilation
