"""The base class of protocols, and the views that they make."""

import hashlib
from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aliasing.errors import InputError, UsageError
from aliasing.fitting import CROP_MODES, Size, crop_centre, fit
from aliasing.images import BadImage, Clip, Image, Loaded, Signal
from aliasing.kinds import PROTOCOLS
from aliasing.models import Classifier, ShownNetwork, SignalNetwork
from aliasing.models.changes import READ
from aliasing.protocols.coding import Coding, coding_of
from aliasing.rates import centred, convert_rate, rate_ratio
from aliasing.resamplers import DEFAULT_RESAMPLER, resampler_of
from aliasing.rounding import rounded
from aliasing.tables import counted

Array = npt.NDArray[np.float32]

# A strip that is one pixel wide, resized to a width of 256 pixels, would not fit into memory.
LARGEST_CANVAS = 50_000_000

ENLARGED = 1.1  # times; less changes little

_OF_CODING = ("jpeg", "webp", "video", "chroma")
USE_PAD = 'protocol="pad" (--protocol pad)'


@dataclass(frozen=True)
class View:
    """One picture or signal that the network is shown.

    ``draw`` makes it: of a picture float32, height×width×3, 0…255; of a signal float32, channels×axes. It is called
    once per view and in order, so that the views of an image are never in memory together.
    """

    #: How the content has moved from the protocol's origin: (dy, dx) in pixels, positive down and right; of a signal in
    #: samples, one number an axis.
    shift: tuple[float, ...]
    position: float  #: on the protocol's path, in its unit (pixels, degrees, frames)
    draw: Callable[[], Array]


@dataclass(frozen=True)
class Draw:
    """Which pairs of an image are shown in a two-phase design, and how they were drawn (`aliasing.jitter.design`).

    Attributes
    ----------
    pairs : tuple of int
        Their numbers among all pairs of the image.
    stratum : int
        The interval of margins in which the first view lies.
    chance, whole_chance : float
        With which an image of this stratum is drawn, and with which all of its pairs are shown.
    whole : bool
        All are.
    weight : float
        How many pairs of all images a pair of this image stands for; 0 if only the first view was shown.
    """

    pairs: tuple[int, ...]
    stratum: int = 0
    chance: float = 1.0
    whole_chance: float = 1.0
    whole: bool = False
    weight: float = 0.0


@dataclass(frozen=True)
class Views:
    """The distinct views of one image, and the pairs (first, second) of their indices that are compared.

    ``size`` is that of a view; ``enlarged`` says how many times as high as the photograph the picture is that the views
    are cut from, ``circular`` whether the content moves around the edges, ``adapted`` what was done to a signal so that
    the network takes it; ``truth`` holds the ground truth of each view, if there is any; ``drawn`` says which pairs of
    the image these are, if others are left out.
    """

    views: tuple[View, ...]
    pairs: tuple[tuple[int, int], ...]
    enlarged: float = 1.0
    circular: bool = False
    truth: tuple[Any, ...] = ()
    adapted: str = ""
    size: tuple[int, ...] = ()
    drawn: Draw | None = None


@dataclass(frozen=True, kw_only=True)
class ViewProtocol(ABC):
    """A way to turn an image or a signal into views. Its fields are its parameters, which the summary lists.

    A protocol defines `picture_views`, `signal_views` or both. ``resizer`` names the resampler; the default gives way
    to that of a network whose own pipeline resizes otherwise (`Classifier.resizer`). With ``jpeg`` or ``webp``, a
    quality, or ``video``, a constant rate factor, each view of a picture is coded and decoded before the network sees
    it (`Coding`).
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "pixels"
    # Whether the pairs follow one another along a path, so that a flip rate and a total variation make sense.
    is_path: ClassVar[bool] = False
    # Whether the content moves and nothing else happens to it, so that a layer's map can be moved to follow it; and
    # whether it moves around the edges, so that nothing enters or leaves.
    is_shift: ClassVar[bool] = True
    is_circular: ClassVar[bool] = False
    # Whether it fills the view with pixels of its own making, of which no ground truth is known.
    invents: ClassVar[bool] = False
    # Whether its views must be drawn one after the other, and all of them.
    in_order: ClassVar[bool] = False

    # The parameter, if any, that takes what stands without a name in a specification: a,b of ``resamplers:a,b``.
    listed: ClassVar[str] = ""
    # The smallest value of a parameter that makes sense, where there is one.
    least: ClassVar[Mapping[str, float]] = {}

    resizer: str = DEFAULT_RESAMPLER
    jpeg: int | None = None
    webp: int | None = None
    video: int | None = None
    chroma: str | None = None

    def __post_init__(self) -> None:
        resampler_of(self.resizer)  # refuses an unknown one
        _ = self.coding  # refuses one that makes no sense
        for name, smallest in self.least.items():
            value = getattr(self, name)
            if value is not None and not value >= smallest:
                raise UsageError(f"{self.name}: {name} is {value}; it must be at least {smallest}")

    def parameters(self) -> dict[str, Any]:
        """The name and parameters, for the summary."""
        own = {key: value for key, value in asdict(self).items() if key not in _OF_CODING or value is not None}
        return {"name": self.name, **own, "resizer": resampler_of(self.resizer).provenance()}

    @property
    def coding(self) -> Coding | None:
        """How each view of a picture is coded and decoded, if it is."""
        return coding_of(self.jpeg, self.webp, self.video, self.chroma)

    @classmethod
    def recorded(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that make a protocol again of its `parameters` without the name."""
        resizer = {"resizer": parameters["resizer"]["name"]} if "resizer" in parameters else {}  # signals have none
        return {**parameters, **resizer}

    def views(self, image: Loaded, model: ShownNetwork, seed: int = 0) -> Views:
        """The views of an image or signal, by the sizes and the preprocessing of a network.

        Random choices depend only on the seed and the image's identity, not on order, batch or process. Raises
        BadImage, with the reason, if the image cannot be shown in this way.
        """
        random = generator(seed, image.identity)
        if isinstance(image, Image) and isinstance(model, Classifier):
            return replace(self._of_picture(image, model, random), size=model.view_size)
        if isinstance(image, Signal) and isinstance(model, SignalNetwork):
            adapted = adaptation(image, model)  # refuses one that the network does not take
            return replace(self.signal_views(image, model, random), adapted=adapted, circular=self.is_circular)
        if isinstance(image, Clip) and isinstance(model, SignalNetwork) and takes_frames(model):
            frames, shown = first_frames(image, self.canvas_size(model), model.rates)
            return replace(self.signal_views(frames, model, random), adapted=shown, circular=self.is_circular)
        if isinstance(image, Clip) and isinstance(model, Classifier):
            raise BadImage("a video, which only the protocol `frames` can show")
        raise BadImage(f"{image.what}; {model.name} takes {model.takes}")

    def _of_picture(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        views = replace(self.picture_views(image, model, random), circular=self.is_circular)
        if self.coding is not None:
            views = replace(views, views=tuple(_coded(view, self.coding) for view in views.views))
        size = self.resized_size(model)
        if size is None:
            return views
        height, width = image.pixels.shape[:2]
        return replace(views, enlarged=CROP_MODES[model.crop_mode]((height, width), size)[0] / height)

    def resized_size(self, model: Classifier) -> Size | None:
        """The size to which all pictures are resized, if there is one."""
        sizes = self.geometry(model)
        resized = sizes.get("shorter_side", sizes.get("resized"))
        if resized is None or not isinstance(resized, int):
            return resized and (resized[0], resized[1])
        return resized, resized

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        """The views of a photograph."""
        raise BadImage(f"a picture, which the protocol {self.name} cannot show")

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        """The views of a signal."""
        raise BadImage(f"{signal.what}, which the protocol {self.name} cannot show")

    def require(self, model: ShownNetwork) -> None:
        """Raise UsageError if a network takes what this protocol does not move, or cannot code."""
        if self.coding is not None and isinstance(model, SignalNetwork):
            raise UsageError(f"{model.name} takes {model.takes}, which have no {self.coding.format}; leave it out")
        if self.coding is not None:
            self.coding.require()
        method = "signal_views" if isinstance(model, SignalNetwork) else "picture_views"
        if not _defines(type(self), method):
            others = [name for name, kind in PROTOCOLS.items() if _defines(kind, method)]
            raise UsageError(
                f"{model.name} takes {model.takes}, which the protocol {self.name} does not move; choose one of"
                f" {', '.join(others)}"
            )

    def sizes(self, model: ShownNetwork) -> dict[str, Any]:
        """The sizes that follow from the network, for its summary: `geometry` for pictures, samples for signals."""
        if isinstance(model, Classifier):
            return self.geometry(model)
        return {"canvas": written(self.canvas_size(model)), "window": written(model.view_size)}

    def margins(self, axes: int) -> tuple[int, ...]:
        """How many samples longer than a view the signal is that the views are cut from, along each axis."""
        return (self.extra(),) * axes

    def canvas_size(self, model: ShownNetwork) -> tuple[int, ...]:
        """The size that the views of a signal are cut from."""
        size = model.view_size
        return tuple(length + more for length, more in zip(size, self.margins(len(size)), strict=True))

    def canvas_of_signal(self, signal: Signal, model: SignalNetwork) -> Array:
        """The centre of a signal as the network takes it, channels first, from which the views are cut."""
        return as_taken(signal, model, self.canvas_size(model))

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
        return fit(image.pixels, size, mode, model.interpolation, self.resizer_for(model))

    def resizer_for(self, model: Classifier) -> str:
        """The resampler of the photographs that this network is shown: this protocol's, or its own."""
        return model.resizer if self.resizer == DEFAULT_RESAMPLER else self.resizer

    def resized_otherwise(self, model: ShownNetwork) -> list[str]:
        """What to note if this protocol resizes otherwise than a pipeline that was read for the network."""
        if not isinstance(model, Classifier) or not any(note.startswith(READ) for note in model.notes):
            return []
        used = self.resizer_for(model)
        said = f"photographs were resized by {used}, as the protocol says, not by the pipeline's {model.resizer}"
        return [] if used == model.resizer else [said]

    def centre(self, image: Image, size: Size, model: Classifier) -> Array:
        """The centre of the photograph, cropped like the network's own preprocessing for views of this size."""
        return crop_centre(self.resized(image, model.room_for(size), model), *size, model.border_colour)

    def canvas_of(self, image: Image, model: Classifier) -> Array:
        """The canvas that the views are cut from; without `extra`, what the network sees at evaluation."""
        return self.centre(image, larger(model.view_size, self.extra()), model)


def _coded(view: View, coding: Coding) -> View:
    return replace(view, draw=lambda: coding.through(view.draw()))


def _defines(kind: type[ViewProtocol], method: str) -> bool:
    return getattr(kind, method) is not getattr(ViewProtocol, method)


def takes_frames(model: SignalNetwork) -> bool:
    """Whether a network takes the frames of a video, N×3×T×H×W."""
    return (model.channels, len(model.view_size)) == (3, 3)


def first_frames(clip: Clip, size: Sequence[int], rates: Sequence[float] | None) -> tuple[Signal, str]:
    """The centre of a video's first frames as a signal, (3, T, H, W) in 0…1, and what of it that is, in words.

    Nothing is resized, and the frames are taken to have the rates of the network. Raises BadImage if they are too few.
    """
    length, height, width = size
    frames: list[Array] = []
    for pixels in islice(clip.frames(), length):
        frames.append(centred(pixels.transpose(2, 0, 1).astype(np.float32) / 255, (height, width)))
    if len(frames) < length:
        raise BadImage(f"a video of {counted(len(frames), 'frame')}; {length} are needed")
    own = "×".join(map(str, pixels.shape[:2]))
    shown = f"the first {length} frames, of their {own} pixels the centre {height}×{width}"
    return Signal(np.stack(frames, 1), tuple(rates or (1.0,) * 3), clip.name, clip.identity, clip.label), shown


def as_taken(signal: Signal, model: SignalNetwork, size: Sequence[int]) -> Array:
    """The centre of a signal with a network's channels and rates, channels first, in this size."""
    samples = signal.samples
    if len(samples) > model.channels:
        samples = samples.mean(0, keepdims=True)
    samples = convert_rate(samples, signal.rates, model.rates or signal.rates)
    return np.ascontiguousarray(centred(samples, size), np.float32)


def adaptation(signal: Signal, model: SignalNetwork) -> str:
    """What is done to a signal so that a network takes it; empty if nothing is.

    Raises BadImage if the network does not take it: another number of axes, too few channels, a rate that cannot be
    converted.
    """
    if signal.axes != len(model.view_size):
        raise BadImage(f"{signal.what}; {model.name} takes {model.takes}")
    channels = len(signal.samples)
    if channels < model.channels or (channels > model.channels > 1):
        raise BadImage(f"{counted(channels, 'channel')}; {model.name} takes {model.channels}")
    done = [] if channels == model.channels else [f"mean of {channels} channels"]
    for before, after in zip(signal.rates, model.rates or signal.rates, strict=True):
        try:
            ratio = rate_ratio(before, after)
        except InputError as error:
            raise BadImage(str(error)) from error
        if ratio != 1:
            done.append(f"rate {before:g} to {after:g} ({ratio.numerator}/{ratio.denominator})")
    done += signal.assumed if model.rates else ()
    return ", ".join(dict.fromkeys(done))


def enlarged_cautions(
    described: Mapping[str, Any], protocol: ViewProtocol, enlarged: Sequence[float], images: int
) -> list[str]:
    """What to know if most images were enlarged: a shift of one pixel is then less than one of theirs.

    ``described`` is a network in a summary, and ``enlarged`` says how many times its images were enlarged.

    Examples
    --------
    >>> from aliasing.protocols import Crop
    >>> network = {"geometry": {"shorter_side": 40, "window": 32}, "resize_size": 32}
    >>> enlarged_cautions(network, Crop(), [1.25, 1.25], 2)[0].partition("; ")[0]
    'images of 32 pixels are enlarged to 40 by crop'
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
        return [f"{told} by {protocol.name}; {USE_PAD} shows them as the network sees them"]
    padded = "" if protocol.name == "pad" else f" with {USE_PAD}"
    return [
        f"{told}, and a shift of one pixel is {rounded(1 / times, '.2g')} pixels of theirs: for a network that"
        f" was trained on such images, give al.Classifier.of(module, {small}, mean=…, std=…){padded}"
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


def written(size: Sequence[int]) -> int | list[int]:
    """A size for a summary: the side of a square, or height and width; one number if all axes have the same."""
    return size[0] if len({*size}) == 1 else list(size)


def larger(size: Size, margin: int) -> Size:
    """A size with ``margin`` more pixels in height and in width."""
    return size[0] + margin, size[1] + margin


def windows(
    canvas: Array,
    size: Sequence[int],
    corner_pairs: Iterable[tuple[tuple[int, ...], tuple[int, ...]]],
    origin: Sequence[int],
    first_axis: int = 0,
) -> Views:
    """Windows into one canvas, compared in pairs; windows that coincide are one view.

    A window at a corner, (y, x) in a picture, moves the content by (origin − corner), which is the view's shift; its
    position is the largest of the distances from the origin along the axes. These begin at the canvas's first in a
    picture, and behind the channels, ``first_axis`` 1, in a signal.
    """
    index: dict[tuple[int, ...], int] = {}
    pairs = tuple((index.setdefault(a, len(index)), index.setdefault(b, len(index))) for a, b in corner_pairs)

    def view(corner: tuple[int, ...]) -> View:
        shift = tuple(float(start - place) for start, place in zip(origin, corner, strict=True))
        inside = [slice(place, place + length) for place, length in zip(corner, size, strict=True)]
        window = (slice(None),) * first_axis + tuple(inside)
        return View(shift, max(map(abs, shift)), lambda: canvas[window])

    return Views(tuple(view(corner) for corner in index), pairs)


def path(view: Callable[[int], View], count: int) -> Views:
    """``count`` views, each compared with the next."""
    return Views(tuple(map(view, range(count))), tuple(pairwise(range(count))))


def whole_steps(name: str, distance: float, step: float) -> int:
    """The number of steps in a distance; UsageError if it is not whole.

    Examples
    --------
    >>> whole_steps("circular", 8, 0.5)
    16
    """
    count = round(distance / step) if 0 < step <= distance else 0
    if count == 0 or abs(count * step - distance) > 1e-9 * distance:
        raise UsageError(
            f"{name}: steps of {step:g} do not make {distance:g}; give a step that divides it, such as 0.5"
        )
    return count
