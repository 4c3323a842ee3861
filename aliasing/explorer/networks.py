"""The networks of the page: one as it is, and its anti-aliased conversion, recalibrated."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.errors import InputError, UsageError
from aliasing.images import Image, choose_images, open_images
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.models import Classifier, load_model, of_pictures
from aliasing.surgery import antialias, recalibrate
from aliasing.surgery.specification import parse
from aliasing.tables import counted

# As a converted network's name has them: filters of the blur-pool, and the other operators.
FILTERS = ("binomial3", "binomial4", "binomial5", "box3", *(name for name in OPERATORS if name != DEFAULT_OPERATOR))
LARGEST_SAMPLE = 128  # images for the statistics

Pixels = npt.NDArray[np.uint8]


@lru_cache(maxsize=8)
def load(name: str) -> Classifier:
    """A network, loaded once."""
    return of_pictures(load_model(name), "the explorer")


@lru_cache(maxsize=8)
def convert(name: str, anti_aliasing: str, images: str) -> tuple[Classifier, str]:
    """A network, anti-aliased and recalibrated on images, and a sentence that says what was done to it.

    ``images`` is what :func:`aliasing.images.open_images` takes. The few that scikit-image bundles (``"sample"``) are
    shown whole and by their quarters.
    """
    converted = antialias(load(name), **parse(anti_aliasing))
    try:
        seen, count = _material(images)
    except InputError:
        if images != "sample":
            raise
        return converted, f"Converted ({anti_aliasing}) and not trained; recalibrating needs --recalibrate IMAGES."
    try:
        recalibrated = recalibrate(converted, seen)
    except UsageError:
        return (
            converted,
            f"Converted ({anti_aliasing}) and not trained; it has no batch-norm statistics to re-estimate.",
        )
    done = f"batch-norm statistics re-estimated on {counted(count, 'photograph')}"
    if images == "sample":
        done += " (few: --recalibrate takes more)"
    return recalibrated, f"Converted ({anti_aliasing}), {done}, not trained."


def _material(images: str) -> tuple[Any, int]:
    """What the statistics are estimated from, and the number of photographs."""
    if images != "sample":
        chosen = choose_images(images, sample=LARGEST_SAMPLE)
        return chosen, sum(1 for _ in chosen)
    photographs = [image.pixels for entry in open_images(images) if isinstance(image := entry.load(), Image)]
    return [part for pixels in photographs for part in (pixels, *_quarters(pixels))], len(photographs)


def _quarters(pixels: Pixels) -> list[Pixels]:
    """Four windows of two thirds of each side, at the corners."""
    height, width = (2 * side // 3 for side in pixels.shape[:2])
    return [
        pixels[down, right]
        for down in (slice(height), slice(-height, None))
        for right in (slice(width), slice(-width, None))
    ]
