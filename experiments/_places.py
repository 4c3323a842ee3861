"""A small photograph on a background, at many places of the frame: views that the library's protocols do not have."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from aliasing.fitting import crop_centre
from aliasing.images import Image
from aliasing.models import Classifier
from aliasing.protocols.base import Array, Views, larger, windows
from aliasing.protocols.embedded import Black, Embedded, Inpaint


def square(protocol: Embedded, image: Image, model: Classifier) -> Array:
    """The photograph's centre square, as small as in the paper (100 pixels in a view of 224)."""
    side = protocol.shorter_side(model)
    return crop_centre(protocol.resized(image, (side, side), model, "center"), side, side)


@dataclass(frozen=True, kw_only=True)
class Places(Black):
    """The centre square on black at count × count places around the middle, each compared with the middle.

    Parameters
    ----------
    step : int
        Pixels between one place and the next.
    count : int
        Places along each axis; an odd number, so that one is the middle.
    """

    name: ClassVar[str] = "places"
    is_path: ClassVar[bool] = False
    step: int = 20
    count: int = 7

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        photograph, size = square(self, image, model), model.view_size
        reach = self.step * (self.count // 2)
        middle = (min(size) - len(photograph)) // 2
        # One canvas: the photograph stands still in it, and the window's corner is where it is not.
        canvas = self.embed(photograph, larger(size, 2 * reach), (middle + reach, middle + reach), model)
        corners = [(y, x) for y in range(0, 2 * reach + 1, self.step) for x in range(0, 2 * reach + 1, self.step)]
        return windows(canvas, size, [((reach, reach), corner) for corner in corners], origin=(reach, reach))


@dataclass(frozen=True, kw_only=True)
class _Along:
    """The centre square moved through the middle of the frame along the diagonal, pixel by pixel."""

    pixels: int = 24

    def picture_views(self: "BlackPath | InpaintPath", image: Image, model: Classifier, _: object) -> Views:
        photograph, size = square(self, image, model), model.view_size
        first = (min(size) - len(photograph) - self.pixels) // 2
        corner = first + self.pixels
        canvas = self.embed(photograph, larger(size, self.pixels), (corner, corner), model)
        corners = [(self.pixels - k, self.pixels - k) for k in range(self.pixels + 1)]
        return windows(canvas, size, pairwise(corners), origin=corners[0])


@dataclass(frozen=True, kw_only=True)
class BlackPath(_Along, Black):
    """On black."""


@dataclass(frozen=True, kw_only=True)
class InpaintPath(_Along, Inpaint):
    """On a background grown outward from it, which moves with it."""
