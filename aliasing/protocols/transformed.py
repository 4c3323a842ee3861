"""Protocols without windows: circular and subpixel shifts, drags, scale, rotation, video frames."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from aliasing import sampling
from aliasing.errors import UsageError
from aliasing.fitting import Size, crop_centre
from aliasing.images import BadImage, Clip, Image, Loaded, Signal
from aliasing.models import Classifier, ShownNetwork, SignalNetwork
from aliasing.protocols.base import Array, View, ViewProtocol, Views, path, whole_steps


@dataclass(frozen=True, kw_only=True)
class Circular(ViewProtocol):
    """The evaluation view rolled around its edges along the diagonal, step by step: nothing enters or leaves.

    A signal is rolled along all its axes together. Steps are whole pixels or samples; fractions are interpolated by
    Fourier (`aliasing.sampling.shift`), and values may then leave 0…255.
    """

    name: ClassVar[str] = "circular"
    is_circular: ClassVar[bool] = True
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"pixels": 1}
    pixels: int = 8
    step: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_steps(self.name, self.pixels, self.step)

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        return self._rolled(self.canvas_of(image, model), (0, 1))

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        return self._rolled(self.canvas_of_signal(signal, model), tuple(range(1, 1 + signal.axes)))

    def _rolled(self, canvas: Array, axes: tuple[int, ...]) -> Views:
        def view(k: int) -> View:
            shift = float(k * self.step)
            return View((shift,) * len(axes), shift, lambda: sampling.shift(canvas, (shift,) * len(axes), axes))

        return path(view, whole_steps(self.name, self.pixels, self.step) + 1)


@dataclass(frozen=True, kw_only=True)
class Subpixel(ViewProtocol):
    """The content moved along the diagonal by ``steps`` steps of ``step`` pixels, each view compared with the next.

    Parameters
    ----------
    interpolation : {"fourier", "bicubic"}
        ``fourier`` is exact below the Nyquist frequency, and periodic, so the canvas is ``margin`` pixels wider than
        the window on each side; values may leave 0…255. ``bicubic`` is OpenCV's.
    """

    name: ClassVar[str] = "subpixel"
    is_path: ClassVar[bool] = True
    margin: ClassVar[int] = 16
    least: ClassVar[Mapping[str, float]] = {"steps": 1}
    step: float = 0.125
    steps: int = 8
    interpolation: str = "fourier"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step * self.steps <= self.margin:
            raise UsageError(
                f"subpixel: {self.steps} steps of {self.step} pixels; together they must lie in 0 … {self.margin}"
            )
        if self.interpolation not in ("fourier", "bicubic"):
            raise UsageError(f"subpixel: unknown interpolation {self.interpolation!r}; choose fourier or bicubic")

    def extra(self) -> int:
        return 2 * self.margin

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = self.canvas_of(image, model)

        def moved(shift: float) -> Array:
            if self.interpolation == "fourier":
                return crop_centre(_shift(canvas, shift, shift), *model.view_size)
            matrix = np.array([[1, 0, shift], [0, 1, shift]], np.float64)
            return crop_centre(_warp(canvas, matrix), *model.view_size)

        def view(k: int) -> View:
            shift = k * self.step
            return View((shift, shift), shift, lambda: moved(shift))

        return path(view, self.steps + 1)


@dataclass(frozen=True, kw_only=True)
class Drag(ViewProtocol):
    """The centre window, and the same with its content moved once: whole pixels, or fractions by Fourier interpolation.

    The content moves by (``down``, ``right``) pixels, at most ``reach`` each way. The canvas is ``reach`` pixels wider
    than the window on each side, so that content enters, and is periodic.

    Examples
    --------
    >>> Drag(down=0.5, right=-3).parameters()["down"]
    0.5
    """

    name: ClassVar[str] = "drag"
    is_path: ClassVar[bool] = True
    reach: ClassVar[int] = 16
    down: float = 0.0
    right: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (abs(self.down) <= self.reach and abs(self.right) <= self.reach):
            raise UsageError(f"drag: by ({self.down}, {self.right}) pixels; at most {self.reach} each way")

    def extra(self) -> int:
        return 2 * self.reach

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        canvas = self.canvas_of(image, model)

        def view(down: float, right: float) -> View:
            distance = max(abs(down), abs(right))
            return View((down, right), distance, lambda: crop_centre(_shift(canvas, down, right), *model.view_size))

        return Views((view(0.0, 0.0), view(self.down, self.right)), ((0, 1),))


@dataclass(frozen=True, kw_only=True)
class Scale(ViewProtocol):
    """The photograph resized so that its shorter side grows by one pixel at a time, the centre window compared."""

    name: ClassVar[str] = "scale"
    is_shift: ClassVar[bool] = False
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"pixels": 1}
    pixels: int = 8

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        smallest = model.room_for(model.view_size)

        def grown(k: int) -> Size:
            shorter = min(smallest)
            return round(smallest[0] * (shorter + k) / shorter), round(smallest[1] * (shorter + k) / shorter)

        def cut(k: int) -> Array:
            return crop_centre(self.resized(image, grown(k), model), *model.view_size, model.border_colour)

        self.resized(image, grown(self.pixels), model)  # refuses an elongated photograph before the first view

        def view(k: int) -> View:
            return View((0.0, 0.0), float(k), lambda: cut(k))

        return path(view, self.pixels + 1)


@dataclass(frozen=True, kw_only=True)
class Rotate(ViewProtocol):
    """The photograph rotated about its centre, counter-clockwise by ``steps`` steps of ``step`` degrees."""

    name: ClassVar[str] = "rotate"
    is_shift: ClassVar[bool] = False
    unit: ClassVar[str] = "degrees"
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"steps": 1}
    step: float = 0.5
    steps: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step * self.steps <= 360:
            raise UsageError(f"rotate: {self.steps} steps of {self.step} degrees; together they must lie in 0 … 360")

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        picture = self.resized(image, model.room_for(model.view_size), model)
        height, width = (max(pair) for pair in zip(picture.shape[:2], model.view_size, strict=True))
        picture = crop_centre(picture, height, width, model.border_colour)  # filled up if smaller than a view
        centre = ((picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2)

        def view(k: int) -> View:
            angle = k * self.step
            matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
            return View((0.0, 0.0), angle, lambda: crop_centre(_warp(picture, matrix), *model.view_size))

        return path(view, self.steps + 1)


@dataclass(frozen=True, kw_only=True)
class Frames(ViewProtocol):
    """The first ``frames`` frames of a video, each compared with the next."""

    name: ClassVar[str] = "frames"
    is_shift: ClassVar[bool] = False
    in_order: ClassVar[bool] = True
    unit: ClassVar[str] = "frames"
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"frames": 2}
    frames: int = 100

    def views(self, image: Loaded, model: ShownNetwork, seed: int = 0) -> Views:
        """The frames, decoded one after the other as they are drawn."""
        if not isinstance(image, Clip) or not isinstance(model, Classifier):
            what = "a photograph" if isinstance(image, Image) else image.what
            raise BadImage(f"{what}; the protocol `frames` takes videos")
        clip = image
        count = sum(1 for _ in islice(clip.frames(), self.frames))
        if count < 2:
            raise BadImage(f"a video of {count} frame; at least 2 are needed")
        frames: Iterator[Array] = (
            self.canvas_of(Image(pixels, clip.name, clip.identity, clip.label), model) for pixels in clip.frames()
        )
        return path(lambda k: View((0.0, 0.0), float(k), lambda: next(frames)), count)

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        raise BadImage("a photograph; the protocol `frames` takes videos")


def _shift(picture: Array, down: float, right: float) -> Array:
    channels_first = np.ascontiguousarray(picture.transpose(2, 0, 1))
    moved: Array = sampling.shift(channels_first, (down, right)).transpose(1, 2, 0)
    return moved


def _warp(picture: Array, matrix: npt.NDArray[Any]) -> Array:
    height, width = picture.shape[:2]
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=border), np.float32)
