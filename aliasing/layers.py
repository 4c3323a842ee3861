"""The downsampling operators of `aliasing.downsample`, as modules with the arguments and sizes of the functions.

A layer here has no parameters or buffers: its settings are plain numbers. So it needs no channel count, adds no key to
a state_dict, and can be copied, pickled, exported and moved to another device or dtype like any stateless layer.
"""

from torch import Tensor

from aliasing.downsample.blur import (
    BlurPool1d,
    BlurPool2d,
    BlurPool3d,
    BlurUpsample2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
    MaxBlurPool3d,
)
from aliasing.downsample.fourier import FourierPool1d, FourierPool2d, FourierPool3d
from aliasing.downsample.operator import Operator
from aliasing.downsample.polyphase import PolyphasePool1d, PolyphasePool2d, PolyphasePool3d

__all__ = [
    "BlurPool1d",
    "BlurPool2d",
    "BlurPool3d",
    "BlurUpsample2d",
    "FourierPool1d",
    "FourierPool2d",
    "FourierPool3d",
    "MaxBlurPool1d",
    "MaxBlurPool2d",
    "MaxBlurPool3d",
    "PolyphasePool1d",
    "PolyphasePool2d",
    "PolyphasePool3d",
    "Subsample2d",
]


class Subsample2d(Operator):
    """Keep every ``stride``-th sample: `aliasing.downsample.subsample` as a module.

    Examples
    --------
    >>> Subsample2d(stride=(2, 1))
    Subsample2d(stride=(2, 1))
    """

    guarantees = frozenset(("linear", "constant kept"))
    dims = 2

    @property
    def filters(self) -> bool:
        return False

    def low_pass(self, x: Tensor) -> Tensor:
        return x
