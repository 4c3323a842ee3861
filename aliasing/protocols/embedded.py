"""Protocols with a small photograph on a background: the content moves, and nothing enters or leaves the view."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.fitting import Size, crop_centre
from aliasing.images import Image
from aliasing.models import Classifier
from aliasing.protocols.base import Array, ViewProtocol, Views, larger, windows, written
from aliasing.protocols.windowed import aspect_of, centre_box
from aliasing.resamplers import resize


@dataclass(frozen=True, kw_only=True)
class Embedded(ViewProtocol):
    """A photograph on a background, and the same moved one pixel down and right (Azulay & Weiss 2019).

    Parameters
    ----------
    side : int, optional
        The photograph's shorter side; 100 for a view of 224, as published, and in proportion to the view's shorter side
        for other sizes. Its place is random. A longer side that does not fit is cropped around its middle.
    crop_size : float, optional
        Follow the authors' script instead: the photograph, cropped to an aspect between 3/4 and 4/3 of the input's own,
        shrinks to input_size / crop_size in the middle of the view, and takes nine places along the diagonal. Above 1.
    """

    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"side": 1}
    side: int | None = None
    crop_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_size is not None and not self.crop_size > 1:
            raise UsageError(
                f"{self.name}: crop_size is a number above 1, which shrinks the photograph; got {self.crop_size}"
                " (crop-random crops it with a crop_size up to 1)"
            )
        if self.crop_size is not None and self.side is not None:
            raise UsageError(f"{self.name}: give side or crop_size, not both")

    @abstractmethod
    def embed(self, photograph: Array, canvas_size: Size, corner: tuple[int, int], model: Classifier) -> Array:
        """A canvas with the photograph at a corner and this protocol's background around it."""

    def geometry(self, model: Classifier) -> dict[str, Any]:
        window = {"window": written(model.view_size)}
        if self.crop_size is None:
            return {"photograph": self.shorter_side(model), **window}
        photograph, first = self._shrunk(model, self.crop_size)
        return {"photograph": written(photograph), **window, "first_offset": written(first)}

    def shorter_side(self, model: Classifier) -> int:
        """The photograph's shorter side in pixels."""
        size = min(model.view_size)
        side = self.side or round(100 * size / 224)
        if side >= size:
            raise UsageError(f"{self.name}: side is {side}; it must be below {model.name}'s input of {size} pixels")
        return side

    def _shrunk(self, model: Classifier, crop_size: float) -> tuple[Size, Size]:
        """The photograph's size in the authors' script, and its first corner."""
        height, width = (round(side / crop_size) for side in model.view_size)
        top, left = ((view - side - 1) // 2 - 4 for view, side in zip(model.view_size, (height, width), strict=True))
        fits = top + 8 + height <= model.view_size[0] and left + 8 + width <= model.view_size[1]
        if min(height, width) < 1 or min(top, left) < 0 or not fits:
            raise UsageError(
                f"{self.name}: at crop_size {crop_size} the photograph of {written((height, width))} pixels cannot move"
                f" by 8 pixels within {written(model.view_size)}; choose a larger one"
            )
        return (height, width), (top, left)

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        size = model.view_size
        if self.crop_size is None:
            side = self.shorter_side(model)
            photograph = self.resized(image, (side, side), model, "center")
            height, width = (min(length, view - 1) for length, view in zip(photograph.shape[:2], size, strict=True))
            photograph = crop_centre(photograph, height, width)
            first = (
                int(random.integers(0, size[0] - 1 - height, endpoint=True)),
                int(random.integers(0, size[1] - 1 - width, endpoint=True)),
            )
            count = 1
        else:
            shrunk, first = self._shrunk(model, self.crop_size)
            own, count = aspect_of(model), 8
            box = centre_box(image, (3 / 4 * own, 4 / 3 * own))
            photograph = resize(image.pixels[box], *shrunk, model.interpolation, self.resizer_for(model))
        # One canvas for all views: the photograph stays, and the window moves up and left.
        canvas = self.embed(photograph, larger(size, count), (first[0] + count, first[1] + count), model)
        pairs = [((count - k, count - k), (count - k - 1, count - k - 1)) for k in range(count)]
        return windows(canvas, size, pairs, origin=(count, count))


@dataclass(frozen=True, kw_only=True)
class Black(Embedded):
    """The photograph on black."""

    name: ClassVar[str] = "black"

    def embed(self, photograph: Array, canvas_size: Size, corner: tuple[int, int], model: Classifier) -> Array:
        return _on_colour(photograph, canvas_size, corner, np.zeros(3, np.float32))


@dataclass(frozen=True, kw_only=True)
class Mean(Embedded):
    """The photograph on the mean colour, which is zero after normalisation: the authors' script."""

    name: ClassVar[str] = "mean"

    def embed(self, photograph: Array, canvas_size: Size, corner: tuple[int, int], model: Classifier) -> Array:
        return _on_colour(photograph, canvas_size, corner, model.mean_colour)


@dataclass(frozen=True, kw_only=True)
class Inpaint(Embedded):
    """The photograph on a background that grows outward from it.

    The fill ``blur`` is the paper's: blur the known pixels, count those that the blur reaches as known, and repeat
    until all are. ``telea`` and ``navier-stokes`` are OpenCV's inpainting (Telea 2004; Bertalmio, Bertozzi & Sapiro
    2001).
    """

    name: ClassVar[str] = "inpaint"
    invents: ClassVar[bool] = True
    fill: str = "blur"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fill not in ("blur", *_OPENCV_FILLS):
            raise UsageError(f"inpaint: unknown fill {self.fill!r}; choose one of blur, {', '.join(_OPENCV_FILLS)}")

    def embed(self, photograph: Array, canvas_size: Size, corner: tuple[int, int], model: Classifier) -> Array:
        canvas = _on_colour(photograph, canvas_size, corner, np.zeros(3, np.float32))
        known = np.zeros(canvas_size, np.float32)
        height, width = photograph.shape[:2]
        known[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = 1
        if self.fill == "blur":
            return grow_outward(canvas, known)
        unknown = (1 - known).astype(np.uint8)
        filled = cv2.inpaint(np.rint(canvas).astype(np.uint8), unknown, 3, _OPENCV_FILLS[self.fill])
        return np.where(known[..., None] > 0, canvas, filled.astype(np.float32))


_OPENCV_FILLS = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}

# The paper's blur: twelve taps of Pascal's triangle. It reaches five and six pixels, so each round grows that far.
_BLUR = np.poly1d([0.5, 0.5]) ** 11


def grow_outward(picture: Array, known: npt.NDArray[np.float32]) -> Array:
    """Fill unknown pixels with blurred known ones, round by round from the border outward (Azulay & Weiss 2019).

    ``picture`` (H×W×3) is zero where it is not known; ``known`` (H×W) is 1 where it is, and 0 elsewhere.
    """
    taps = np.asarray(_BLUR.coeffs, np.float32)
    picture, known = picture.copy(), known.copy()
    while not known.all():
        blurred = cv2.sepFilter2D(picture * known[..., None], -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
        weight = cv2.sepFilter2D(known, -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
        reached = (known == 0) & (weight > 0)
        picture[reached] = blurred[reached] / weight[reached][:, None]
        known[reached] = 1
    return picture


def _on_colour(photograph: Array, canvas_size: Size, corner: tuple[int, int], colour: Array) -> Array:
    canvas = np.empty((*canvas_size, 3), np.float32)
    canvas[:] = colour
    height, width = photograph.shape[:2]
    canvas[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = photograph
    return canvas
