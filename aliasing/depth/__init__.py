"""The depth at which a one-pixel shift becomes a different answer.

`probe_depth` follows a shift layer by layer: how far the globally averaged features move (invariance), how far the
feature map is from the moved feature map (equivariance, Azulay & Weiss 2019), and what each downsampling site folds.
`receptive_field` and `output_size` are the arithmetic of stacked layers.
"""

from aliasing.depth.layers import Layer
from aliasing.depth.lie import LieProfile, lie_error
from aliasing.depth.local import LocalErrors, local_errors
from aliasing.depth.probe import probe_depth
from aliasing.depth.profile import Profile
from aliasing.depth.receptive_field import extent, output_size, output_sizes, receptive_field

__all__ = [
    "Layer",
    "LieProfile",
    "LocalErrors",
    "Profile",
    "extent",
    "lie_error",
    "local_errors",
    "output_size",
    "output_sizes",
    "probe_depth",
    "receptive_field",
]
