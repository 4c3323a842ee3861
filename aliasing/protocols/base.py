"""The base class of protocols, and the views that they make."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aliasing.errors import UsageError
from aliasing.fitting import CROP_MODES, Size, crop_centre, fit
from aliasing.images import BadImage, Clip, Image
from aliasing.kinds import RESAMPLERS
from aliasing.models import Classifier

Array = npt.NDArray[np.float32]

# A strip that is one pixel wide, resized to a width of 256 pixels, would not fit into memory.
LARGEST_CANVAS = 50_000_000

ENLARGED = 1.1  # times; less changes little


@dataclass(frozen=True)
class View:
    """One picture that the network is shown.

    ``draw`` makes it, float32, height×width×3, 0…255. It is called once per view and in order, so that the views of an
    image are never in memory together.
    """

    #: How the content has moved from the protocol's origin, (dy, dx) in pixels, positive down and right.
    shift: tuple[float, float]
    position: float  #: on the protocol's path, in its unit (pixels, degrees, frames)
    draw: Callable[[], Array]


@dataclass(frozen=True)
class Views:
    """The distinct views of one image, and the pairs (first, second) of their indices that are compared.

    ``enlarged`` says how many times as high as the photograph the picture is that the views are cut from, ``circular``
    whether the content moves around the edges, and ``truth`` holds the ground truth of each view, if there is any.
    """

    views: tuple[View, ...]
    pairs: tuple[tuple[int, int], ...]
    enlarged: float = 1.0
    circular: bool = False
    truth: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ViewProtocol(ABC):
    """A way to turn an image into views. Its fields are its parameters, which the summary lists."""

    name: ClassVar[str]
    unit: ClassVar[str] = "pixels"
    # Whether the pairs follow one another along a path, so that a flip rate and a total variation make sense.
    is_path: ClassVar[bool] = False
    # Whether the content moves and nothing else happens to it, so that a layer's map can be moved to follow it; and
    # whether it moves around the edges, so that nothing enters or leaves.
    is_shift: ClassVar[bool] = True
    is_circular: ClassVar[bool] = False

    # The smallest value of a parameter that makes sense, where there is one.
    least: ClassVar[Mapping[str, float]] = {}

    resizer: str = "pil"

    def __post_init__(self) -> None:
        RESAMPLERS[self.resizer]  # refuses an unknown one
        for name, smallest in self.least.items():
            value = getattr(self, name)
            if value is not None and not value >= smallest:
                raise UsageError(f"{self.name}: {name} is {value}; it must be at least {smallest}")

    def parameters(self) -> dict[str, Any]:
        """The name and parameters, for the summary."""
        return {"name": self.name, **asdict(self), "resizer": RESAMPLERS[self.resizer].provenance()}

    def views(self, image: Image | Clip, model: Classifier, seed: int = 0) -> Views:
        """The views of an image, by the sizes, interpolation and mean colour of a network.

        Random choices depend only on the seed and the image's identity, not on order, batch or process. Raises
        BadImage, with the reason, if the image cannot be shown in this way.
        """
        if not isinstance(image, Image):
            raise BadImage("a video, which only the protocol `frames` can show")
        views = self.picture_views(image, model, generator(seed, image.identity))
        views = replace(views, circular=self.is_circular)
        sizes = self.geometry(model)
        resized = sizes.get("shorter_side", sizes.get("resized"))
        if resized is None:
            return views
        height, width = image.pixels.shape[:2]
        size = (resized, resized) if isinstance(resized, int) else (resized[0], resized[1])
        return replace(views, enlarged=CROP_MODES[model.crop_mode]((height, width), size)[0] / height)

    @abstractmethod
    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        """The views of a photograph, which each protocol defines."""

    def extra(self) -> int:
        """How many pixels higher and wider than a view the canvas is that the views are cut from."""
        return 0

    def geometry(self, model: Classifier) -> dict[str, Any]:
        """The sizes in pixels that follow from the network, for its summary: one number for a square."""
        return sizes_of(model, larger(model.view_size, self.extra()) if self.extra() else None)

    def resized(self, image: Image, size: Size, model: Classifier, crop_mode: str | None = None) -> Array:
        """The photograph resized by this protocol's resampler, in the network's own crop mode or another."""
        mode = crop_mode or model.crop_mode
        height, width = image.pixels.shape[:2]
        reached = CROP_MODES[mode]((height, width), size)
        if reached[0] * reached[1] > LARGEST_CANVAS:
            raise BadImage(f"{height}×{width} pixels is too elongated to bring its shorter side to {min(reached)}")
        return fit(image.pixels, size, mode, model.interpolation, self.resizer)

    def centre(self, image: Image, size: Size, model: Classifier) -> Array:
        """The centre of the photograph, cropped like the network's own preprocessing for views of this size."""
        return crop_centre(self.resized(image, model.room_for(size), model), *size, model.border_colour)

    def canvas_of(self, image: Image, model: Classifier) -> Array:
        """The canvas that the views are cut from; without `extra`, what the network sees at evaluation."""
        return self.centre(image, larger(model.view_size, self.extra()), model)


def enlarged_cautions(
    described: Mapping[str, Any], protocol: ViewProtocol, enlarged: Sequence[float], images: int
) -> list[str]:
    """What to know if most images were enlarged: a shift of one pixel is then less than one of theirs.

    ``described`` is a network in a summary, and ``enlarged`` says how many times its images were enlarged.

    Examples
    --------
    >>> from aliasing.protocols import Crop
    >>> network = {"geometry": {"shorter_side": 40, "window": 32}, "resize_size": 32}
    >>> enlarged_cautions(network, Crop(), [1.25, 1.25], 2)
    ['images of 32 pixels are enlarged to 40 by protocol crop: protocol pad shows them as the network sees them']
    """
    if 2 * len(enlarged) <= images:
        return []
    geometry = described["geometry"]
    resized = _shorter(geometry.get("shorter_side", geometry.get("resized")))
    times = sorted(enlarged)[len(enlarged) // 2]
    small, own = round(resized / times), _shorter(described.get("resize_size", resized))
    which = "" if len(set(enlarged)) == 1 and len(enlarged) == images else "most "
    told = f"{which}images of {'' if not which else 'about '}{small} pixels are enlarged to {resized}"
    if own < resized and own <= small:
        return [f"{told} by protocol {protocol.name}: protocol pad shows them as the network sees them"]
    return [
        f"{told}, and a shift of one pixel is {1 / times:.2g} pixels of theirs: for a network that was trained on such"
        f" images, say so, al.Classifier.of(module, {small}, …), and choose protocol pad"
    ]


def _shorter(size: Any) -> int:
    return int(size if isinstance(size, int) else min(size))


def generator(seed: int, identity: str) -> np.random.Generator:
    """Random numbers that depend only on the seed and the image."""
    digest = hashlib.blake2b(f"{seed}:{identity}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def sizes_of(model: Classifier, canvas: Size | None = None, resized: Size | None = None) -> dict[str, Any]:
    """The `ViewProtocol.geometry` of a canvas, which is cropped like the views in the network's own preprocessing."""
    resized = resized or model.room_for(canvas or model.view_size)
    is_shorter_side = model.crop_mode == "center" and resized[0] == resized[1]
    sizes: dict[str, Any] = {"shorter_side" if is_shorter_side else "resized": written(resized)}
    return sizes | ({} if canvas is None else {"canvas": written(canvas)}) | {"window": written(model.view_size)}


def written(size: Size) -> int | list[int]:
    """A size for a summary: the side of a square, or height and width."""
    return size[0] if size[0] == size[1] else list(size)


def larger(size: Size, margin: int) -> Size:
    """A size with ``margin`` more pixels in height and in width."""
    return size[0] + margin, size[1] + margin


def windows(
    canvas: Array, size: Size, corner_pairs: Iterable[tuple[tuple[int, int], tuple[int, int]]], origin: tuple[int, int]
) -> Views:
    """Windows into one canvas, compared in pairs; windows that coincide are one view.

    A window at corner (y, x) moves the content by (origin − corner), which is the view's shift; its position is the
    larger of the two distances from the origin.
    """
    index: dict[tuple[int, int], int] = {}
    pairs = tuple((index.setdefault(a, len(index)), index.setdefault(b, len(index))) for a, b in corner_pairs)

    def view(corner: tuple[int, int]) -> View:
        y, x = corner
        shift = (float(origin[0] - y), float(origin[1] - x))
        return View(shift, max(map(abs, shift)), lambda: canvas[y : y + size[0], x : x + size[1]])

    return Views(tuple(view(corner) for corner in index), pairs)


def path(view: Callable[[int], View], count: int) -> Views:
    """``count`` views, each compared with the next."""
    return Views(tuple(map(view, range(count))), tuple(pairwise(range(count))))
