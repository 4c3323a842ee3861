"""Protocols with windows into one canvas: the content moves by whole pixels, and new content enters at the border."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, ClassVar

import numpy as np

from aliasing import sampling
from aliasing.errors import UsageError
from aliasing.fitting import Size, crop_centre
from aliasing.images import Image, Signal
from aliasing.models import Classifier, SignalNetwork
from aliasing.protocols.base import Array, View, ViewProtocol, Views, larger, sizes_of, whole_steps, windows, written
from aliasing.resamplers import resize


@dataclass(frozen=True, kw_only=True)
class Crop(ViewProtocol):
    """A window moved along the diagonal of the centre by ``span`` pixels, each view compared with the next.

    Nothing is random. The photograph is resized to the network's own evaluation size, or to ``input_size + span`` if
    that is larger. One that does not fill the view keeps its size, and the view moves over the colour around it.
    """

    name: ClassVar[str] = "crop"
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"span": 1}
    span: int = 8

    def extra(self) -> int:
        return self.span

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = self.canvas_of(image, model)
        pairs = [((k, k), (k + 1, k + 1)) for k in range(self.span)]
        return windows(canvas, model.view_size, pairs, origin=(0, 0))


@dataclass(frozen=True, kw_only=True)
class Grid(ViewProtocol):
    """All shifts within ±``radius`` pixels of the centre window, each compared with it: worst case, and heat maps.

    Of a signal they are samples, along all its axes. With a ``step`` below 1 there are fractions among them,
    interpolated by Fourier (`aliasing.sampling.shift`) on a canvas that is ``margin`` pixels wider on each side, since
    the interpolation is periodic.
    """

    name: ClassVar[str] = "grid"
    margin: ClassVar[int] = 16
    least: ClassVar[Mapping[str, float]] = {"radius": 1}
    radius: int = 1
    step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_steps(self.name, self.radius, self.step)

    def extra(self) -> int:
        return 2 * (self.radius if self.step == 1 else self.radius + self.margin)

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = self.canvas_of(image, model)
        return self._around(canvas, model.view_size, 0)

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        return self._around(self.canvas_of_signal(signal, model), model.view_size, 1)

    def _around(self, canvas: Array, size: tuple[int, ...], first_axis: int) -> Views:
        most = whole_steps(self.name, self.radius, self.step)
        centre = (0,) * len(size)
        places = [centre, *(place for place in product(range(-most, most + 1), repeat=len(size)) if place != centre)]
        axes = tuple(range(first_axis, first_axis + len(size)))
        margin = self.extra() // 2
        inside = (slice(None),) * first_axis + tuple(slice(margin, margin + length) for length in size)

        def view(place: tuple[int, ...]) -> View:
            shift = tuple(-steps * self.step for steps in place)
            return View(shift, max(map(abs, shift)), lambda: sampling.shift(canvas, shift, axes)[inside])

        return Views(tuple(map(view, places)), tuple((0, k) for k in range(1, len(places))))


@dataclass(frozen=True, kw_only=True)
class Horizontal(ViewProtocol):
    """A sweep of the window over ``pixels`` pixels from left to right, each view compared with the next."""

    name: ClassVar[str] = "horizontal"
    is_path: ClassVar[bool] = True
    direction: ClassVar[tuple[int, int]] = (0, 1)
    least: ClassVar[Mapping[str, float]] = {"pixels": 1}
    pixels: int = 32

    def extra(self) -> int:
        return self.pixels

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = self.canvas_of(image, model)
        down, right = self.direction
        start = (self.pixels // 2 * right, self.pixels // 2 * down)  # the other axis stays in the middle
        corners = [(start[0] + k * down, start[1] + k * right) for k in range(self.pixels + 1)]
        return windows(canvas, model.view_size, pairwise(corners), origin=corners[0])


@dataclass(frozen=True, kw_only=True)
class Vertical(Horizontal):
    """A sweep of the window over ``pixels`` pixels from top to bottom, each view compared with the next."""

    name: ClassVar[str] = "vertical"
    direction: ClassVar[tuple[int, int]] = (1, 0)


@dataclass(frozen=True, kw_only=True)
class CropRandom(ViewProtocol):
    """A random part of the photograph, resized, and the same part moved one pixel diagonally in the resized picture.

    Without ``crop_size`` this is the paper's protocol: a square whose area is uniform between 8 % and 100 % of the
    photograph, at a random place (the distribution of Szegedy et al. 2015, at aspect 1), and two windows.

    With ``crop_size`` it is the authors' script: a crop of that share of the area with a random aspect between 3/4 and
    4/3, resized to input_size + 10, and the nine windows at its corners (0, 0) … (8, 8) (Azulay & Weiss 2019).

    If a network's input is not square, aspects are relative to the input's own.
    """

    name: ClassVar[str] = "crop-random"
    is_path: ClassVar[bool] = True
    crop_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_size is not None and not 0 < self.crop_size <= 1:
            raise UsageError(
                f"crop-random: crop_size is a share of the area, above 0 and at most 1; got {self.crop_size}"
                " (black, mean and inpaint shrink the photograph with a crop_size above 1)"
            )

    def geometry(self, model: Classifier) -> dict[str, Any]:
        margin = 1 if self.crop_size is None else 10
        canvas = written(larger(model.view_size, margin))
        return {"canvas": canvas, "window": written(model.view_size), "pairs": 1 if margin == 1 else 8}

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        own = aspect_of(model)
        if self.crop_size is None:
            box, margin, pairs = random_box(image, random, (0.08, 1.0), (own, own)), 1, 1
        else:
            box, margin, pairs = random_box(image, random, (self.crop_size,) * 2, (3 / 4 * own, 4 / 3 * own)), 10, 8
        canvas = resize(
            image.pixels[box], *larger(model.view_size, margin), model.interpolation, self.resizer_for(model)
        )
        return windows(canvas, model.view_size, [((k, k), (k + 1, k + 1)) for k in range(pairs)], origin=(0, 0))


@dataclass(frozen=True, kw_only=True)
class Consistency(ViewProtocol):
    """Two random windows in the centre crop, drawn several times (Zhang 2019)."""

    name: ClassVar[str] = "consistency"
    is_shift: ClassVar[bool] = False
    least: ClassVar[Mapping[str, float]] = {"canvas": 1, "window": 1, "draws": 1, "largest_shift": 0, "border": 0}
    canvas: int | None = None  #: side of the centre square with the windows; by default input_size + 32, each way
    window: int | None = None  #: side of a window: the network's input size, which is also the default
    largest_shift: int = 31  #: the corners are uniform in 0 … largest_shift, each way; 31, as published
    border: int = 0  #: pixels of the mean colour around the photograph, within the canvas
    draws: int = 5  #: pairs per image

    def geometry(self, model: Classifier) -> dict[str, Any]:
        resized, canvas = self._resized_and_canvas(model)
        return sizes_of(model, canvas, resized)

    def _resized_and_canvas(self, model: Classifier) -> tuple[Size, Size]:
        """The size of the photograph, and that of the canvas with its border."""
        window = model.view_size
        if self.window and window != (self.window, self.window):
            raise UsageError(f"{self.name}: window is {self.window}, but {model.name} takes {model.input_size} pixels")
        canvas = (self.canvas, self.canvas) if self.canvas else larger(window, 32)
        inner = larger(canvas, -2 * self.border)
        if any(side + self.largest_shift > room for side, room in zip(window, canvas, strict=True)) or min(inner) < 1:
            raise UsageError(
                f"{self.name}: a window of {written(window)} moved by up to {self.largest_shift} pixels does not fit"
                f" into a canvas of {written(canvas)} with a border of {self.border}; make canvas larger or"
                " largest_shift smaller"
            )
        # The evaluation size, if it leaves room for the canvas: 256 at 224 pixels, as published.
        return inner if self.canvas else model.room_for(inner), canvas

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        resized, canvas_size = self._resized_and_canvas(model)
        inner = larger(canvas_size, -2 * self.border)
        photograph = crop_centre(self.resized(image, resized, model), *inner, model.border_colour)
        canvas = with_border(photograph, self.border, model)
        return self._drawn(canvas, model.view_size, random, 0)

    def margins(self, axes: int) -> tuple[int, ...]:
        return (self.largest_shift,) * axes

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        """Two windows at random places, up to ``largest_shift`` samples apart along each axis."""
        return self._drawn(self.canvas_of_signal(signal, model), model.view_size, random, 1)

    def _drawn(self, canvas: Array, size: tuple[int, ...], random: np.random.Generator, first_axis: int) -> Views:
        corners = random.integers(0, self.largest_shift, size=(self.draws, 2, len(size)), endpoint=True)
        pairs = [(tuple(map(int, a)), tuple(map(int, b))) for a, b in corners]
        return windows(canvas, size, pairs, (0,) * len(size), first_axis)


@dataclass(frozen=True, kw_only=True)
class ConsistencyCifar(Consistency):
    """As in ``consistency``, at 32 pixels: the image upsampled to ``canvas``, corners 0 … ``largest_shift``."""

    name: ClassVar[str] = "consistency-cifar"
    canvas: int | None = 36
    largest_shift: int = 3
    signal_views = ViewProtocol.signal_views  # it is for pictures of 32 pixels


@dataclass(frozen=True, kw_only=True)
class Pad(ViewProtocol):
    """The evaluation view with ``border`` zeros after normalisation on each side, and the window moved by one pixel.

    The windows are at (border, border) and (border − 1, border − 1).
    """

    name: ClassVar[str] = "pad"
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"border": 1}
    border: int = 4

    def geometry(self, model: Classifier) -> dict[str, Any]:
        return {**sizes_of(model), "canvas": written(larger(model.view_size, 2 * self.border))}

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = with_border(self.canvas_of(image, model), self.border, model)
        first, second = (self.border, self.border), (self.border - 1, self.border - 1)
        return windows(canvas, model.view_size, [(first, second)], origin=first)


def with_border(picture: Array, border: int, model: Classifier) -> Array:
    """The picture with a border of the network's mean colour, which is zero after normalisation."""
    height, width = picture.shape[:2]
    return crop_centre(picture, height + 2 * border, width + 2 * border, model.mean_colour)


def random_box(
    image: Image, random: np.random.Generator, area_share: tuple[float, float], aspect: tuple[float, float]
) -> tuple[slice, slice]:
    """A random part of the photograph: uniform in its share of the area and its place, log-uniform in its aspect.

    If ten draws do not fit, it is the centre, cropped to the range of aspects (Szegedy et al. 2015, as in torchvision).
    """
    height, width = image.pixels.shape[:2]
    for _ in range(10):
        area = height * width * random.uniform(*area_share)
        ratio = np.exp(random.uniform(*np.log(aspect)))
        box_width, box_height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(random.integers(0, height - box_height, endpoint=True))
            left = int(random.integers(0, width - box_width, endpoint=True))
            return slice(top, top + box_height), slice(left, left + box_width)
    return centre_box(image, aspect)


def centre_box(image: Image, aspect: tuple[float, float]) -> tuple[slice, slice]:
    """The largest centred part of the photograph whose aspect (width ÷ height) lies in the range."""
    height, width = image.pixels.shape[:2]
    box_width = min(width, max(1, round(height * aspect[1])))
    box_height = min(height, max(1, round(width / aspect[0])))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return slice(top, top + box_height), slice(left, left + box_width)


def aspect_of(model: Classifier) -> float:
    """Width ÷ height of the network's input."""
    height, width = model.view_size
    return width / height
