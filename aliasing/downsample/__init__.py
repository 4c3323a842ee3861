"""Downsampling operators, as functions of torch tensors.

The plain ones are in `aliasing.downsample.plain`, and each cure has its own file: `aliasing.downsample.blur`,
`aliasing.downsample.fourier`, `aliasing.downsample.polyphase`. Each takes N×C×H×W or C×H×W, or another number of
spatial axes with ``dims``, keeps dtype, device and memory format, and can be differentiated, compiled, traced and
exported. Sizes are those of the plain operator: size L becomes ⌈L / s⌉, and for pooling windows ⌊L / s⌋.

An axis of stride 1 is not filtered.
"""

from aliasing.downsample.asap import asap_pool
from aliasing.downsample.blur import PADDINGS, blur_pool, blur_upsample, low_pass, max_blur_pool
from aliasing.downsample.fourier import fourier_low_pass, fourier_pool
from aliasing.downsample.plain import area_resize, average_pool, convolve, linear_resize, max_pool, subsample
from aliasing.downsample.polyphase import largest_phase, polyphase_anchor, polyphase_pool
from aliasing.downsample.polyphase_up import polyphase_upsample

__all__ = [
    "PADDINGS",
    "area_resize",
    "asap_pool",
    "average_pool",
    "blur_pool",
    "blur_upsample",
    "convolve",
    "fourier_low_pass",
    "fourier_pool",
    "largest_phase",
    "linear_resize",
    "low_pass",
    "max_blur_pool",
    "max_pool",
    "polyphase_anchor",
    "polyphase_pool",
    "polyphase_upsample",
    "subsample",
]
