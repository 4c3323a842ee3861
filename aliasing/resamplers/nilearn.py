"""nilearn: ``resample_img`` to a coarser affine of the same extent: a cubic spline, unfiltered, its answer clipped."""

from typing import Any

import nibabel
import nilearn
import numpy as np
from nilearn.image import resample_img

from aliasing.resamplers import Resampler, coarser, named


def _resample(volume: Any, shape: tuple[int, ...], _: str) -> Any:
    image = nibabel.Nifti1Image(volume, np.eye(4))
    return resample_img(image, coarser(volume, shape), shape, force_resample=True, copy_header=True).get_fdata()


RESAMPLERS = named(
    Resampler(
        name="nilearn", library="nilearn", version=nilearn.__version__, function=_resample, antialias=False, axes=3
    )
)
