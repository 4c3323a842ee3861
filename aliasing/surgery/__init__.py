r"""Putting anti-aliased operators into a pretrained network, which stays itself.

At each downsampling site (`aliasing.sites`) the map is low-passed before it is subsampled by *s*, so that less folds
from above the new Nyquist frequency :math:`1/(2s)` (Zhang 2019). The type of the network, the names of its parameters
and the keys of its state_dict stay the same: a checkpoint of the original loads into the converted network, and back.
"""

from aliasing.surgery.convert import antialias, antialias_, conversion_of, restore, restore_
from aliasing.surgery.export import Exported, export
from aliasing.surgery.published import from_published
from aliasing.surgery.recalibrate import recalibrate, recalibrate_
from aliasing.surgery.schemes import Treatment
from aliasing.surgery.specification import save

__all__ = [
    "Exported",
    "Treatment",
    "antialias",
    "antialias_",
    "conversion_of",
    "export",
    "from_published",
    "recalibrate",
    "recalibrate_",
    "restore",
    "restore_",
    "save",
]
