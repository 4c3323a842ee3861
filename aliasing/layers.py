"""The downsampling operators of `aliasing.downsample`, as modules with the arguments and sizes of the functions.

Most layers have no parameters or buffers: their settings are plain numbers. So they need no channel count, add no key
to a state_dict, and can be copied, pickled, exported and moved to another device or dtype like any stateless layer.
Those that learn are the adaptive, learnable polyphase, spectral and TIPS pools.
"""

from torch import Tensor

from aliasing.downsample.adaptive import AdaptivePool1d, AdaptivePool2d, AdaptivePool3d
from aliasing.downsample.asap import AsapPool1d, AsapPool2d, AsapPool3d
from aliasing.downsample.blur import (
    BlurPool1d,
    BlurPool2d,
    BlurPool3d,
    BlurUpsample1d,
    BlurUpsample2d,
    BlurUpsample3d,
    MaxBlurPool1d,
    MaxBlurPool2d,
    MaxBlurPool3d,
)
from aliasing.downsample.designed import (
    KaiserPool1d,
    KaiserPool2d,
    KaiserPool3d,
    WaveletPool1d,
    WaveletPool2d,
    WaveletPool3d,
)
from aliasing.downsample.fourier import FourierPool1d, FourierPool2d, FourierPool3d
from aliasing.downsample.learnable import LearnablePolyphasePool1d, LearnablePolyphasePool2d, LearnablePolyphasePool3d
from aliasing.downsample.nonlinearity import (
    AliasFreeActivation1d,
    AliasFreeActivation2d,
    AliasFreeActivation3d,
    Polynomial,
)
from aliasing.downsample.operator import Operator
from aliasing.downsample.polyphase import PolyphasePool1d, PolyphasePool2d, PolyphasePool3d
from aliasing.downsample.polyphase_up import PolyphaseUpsample1d, PolyphaseUpsample2d, PolyphaseUpsample3d
from aliasing.downsample.rolloff import RolloffPool1d, RolloffPool2d, RolloffPool3d
from aliasing.downsample.spectral import SpectralPool1d, SpectralPool2d, SpectralPool3d
from aliasing.downsample.tips import (
    AnchoredTipsPool1d,
    AnchoredTipsPool2d,
    AnchoredTipsPool3d,
    TipsPool1d,
    TipsPool2d,
    TipsPool3d,
)

__all__ = [
    "AdaptivePool1d",
    "AdaptivePool2d",
    "AdaptivePool3d",
    "AliasFreeActivation1d",
    "AliasFreeActivation2d",
    "AliasFreeActivation3d",
    "AnchoredTipsPool1d",
    "AnchoredTipsPool2d",
    "AnchoredTipsPool3d",
    "AsapPool1d",
    "AsapPool2d",
    "AsapPool3d",
    "BlurPool1d",
    "BlurPool2d",
    "BlurPool3d",
    "BlurUpsample1d",
    "BlurUpsample2d",
    "BlurUpsample3d",
    "FourierPool1d",
    "FourierPool2d",
    "FourierPool3d",
    "KaiserPool1d",
    "KaiserPool2d",
    "KaiserPool3d",
    "LearnablePolyphasePool1d",
    "LearnablePolyphasePool2d",
    "LearnablePolyphasePool3d",
    "MaxBlurPool1d",
    "MaxBlurPool2d",
    "MaxBlurPool3d",
    "Polynomial",
    "PolyphasePool1d",
    "PolyphasePool2d",
    "PolyphasePool3d",
    "PolyphaseUpsample1d",
    "PolyphaseUpsample2d",
    "PolyphaseUpsample3d",
    "RolloffPool1d",
    "RolloffPool2d",
    "RolloffPool3d",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "Subsample2d",
    "TipsPool1d",
    "TipsPool2d",
    "TipsPool3d",
    "WaveletPool1d",
    "WaveletPool2d",
    "WaveletPool3d",
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
