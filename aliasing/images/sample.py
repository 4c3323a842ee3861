"""The sample: photographs that scikit-image bundles, for the word ``sample``."""

import importlib.util
from pathlib import Path
from typing import Any

from aliasing.errors import InputError
from aliasing.images.entries import ImageSource
from aliasing.images.folders import file_entry

# The photographs among scikit-image's pictures, with one of the stereo pair (motorcycle).
SAMPLE = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """The photographs that the word ``sample`` stands for."""
    if not isinstance(spec, str) or spec != "sample":
        return None
    package = importlib.util.find_spec("skimage")
    folder = Path(package.origin).parent / "data" if package is not None and package.origin else None
    paths = [folder / name for name in SAMPLE if (folder / name).is_file()] if folder else []
    if not paths:
        raise InputError('the sample needs scikit-image\'s photographs: pip install "aliasing[offline]"')
    description = f"sample: {len(paths)} photographs bundled with scikit-image, unlabelled"
    return ImageSource(description, lambda: (file_entry(path.name, None, path) for path in paths))
