"""nilearn: ``resample_img`` to a coarser affine of the same extent; its default is a cubic spline, unfiltered."""

from typing import Any

import nibabel
import nilearn
import numpy as np
from nilearn.image import resample_img

from aliasing.resamplers import Resampler, named


def _resample(volume: Any, shape: tuple[int, ...], _: str) -> Any:
    """Voxels are areas: the first new one lies in the middle of those that it stands for."""
    steps = np.array(volume.shape) / shape
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = (steps - 1) / 2
    image = nibabel.Nifti1Image(volume, np.eye(4))
    return resample_img(image, affine, shape, force_resample=True, copy_header=True).get_fdata()


RESAMPLERS = named(
    Resampler(
        name="nilearn", library="nilearn", version=nilearn.__version__, function=_resample, antialias=False, axes=3
    )
)
