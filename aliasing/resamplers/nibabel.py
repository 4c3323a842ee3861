"""nibabel: ``resample_from_to`` a coarser affine of the same extent; its default is a cubic spline, unfiltered."""

from typing import Any

import nibabel
import numpy as np
from nibabel.processing import resample_from_to

from aliasing.resamplers import Resampler, coarser, named


def _resample(volume: Any, shape: tuple[int, ...], _: str) -> Any:
    return resample_from_to(nibabel.Nifti1Image(volume, np.eye(4)), (shape, coarser(volume, shape))).get_fdata()


RESAMPLERS = named(
    Resampler(
        name="nibabel", library="nibabel", version=nibabel.__version__, function=_resample, antialias=False, axes=3
    )
)
