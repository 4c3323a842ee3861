"""Volumes: reading NIfTI files (.nii, .nii.gz), on their own grid, whose voxels need not be cubes."""

from functools import partial
from pathlib import Path

from aliasing.errors import InputError
from aliasing.images.entries import read_file
from aliasing.images.volume import Volume, volume_entry

__all__ = ["Volume", "read_volume"]


def read_volume(path: str | Path) -> Volume:
    """Read a volume of one or more channels, as float64 with the file's scaling, on its own grid.

    Parameters
    ----------
    path : str or Path
        A NIfTI-1 or NIfTI-2 file, .nii or .nii.gz.

    Raises
    ------
    InputError
        If there is no such file, it is no NIfTI file, is cut off, or has no voxels, more than memory should hold,
        voxels without a size, or NaN.
    """
    path = Path(path)
    try:
        volume = volume_entry(path.name, None, partial(read_file, path)).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    assert isinstance(volume, Volume)
    return volume
