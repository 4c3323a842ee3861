"""Reading an evaluation pipeline of torchvision, timm or albumentations into the terms of a `Classifier`.

A pipeline is a list of steps that turn a photograph into a network's input: resize, crop the centre, make a tensor,
normalise. They are read and not called, so that a protocol can move the content between the resize and the crop. What
was read is then held against the pipeline itself on a picture (`require_same`).
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch

from aliasing import own
from aliasing.errors import UsageError, first_line
from aliasing.fitting import Size
from aliasing.models.changes import READ
from aliasing.models.classifier import Classifier, two_numbers
from aliasing.rounding import rounded
from aliasing.tables import pair

# Grey levels by which rounding may differ: one where torchvision's v1 resizes bytes in floats and v2 in integers, one
# and a half where luma is rounded before a resize, and here three channels are resized and rounded before it.
_ROUNDING = 1.5
_CV2 = ("nearest", "linear", "cubic", "area", "lanczos4", "linear-exact", "nearest-exact")  # by OpenCV's numbers
_LIKE = {"linear": "bilinear", "cubic": "bicubic", "area": "box", "lanczos4": "lanczos"}  # kernels of other resizers
_MEND = "leave it out, or give input_size=, mean= and std= instead of preprocess="


@dataclass
class _Reading:
    """What the steps so far do: ``form`` is what the next one is given, ``white`` the number that white has become."""

    form: str = "picture"  # then "bytes" or "floats" of a tensor
    white: float = 255.0
    changes: dict[str, Any] = field(default_factory=dict)

    def resize(self, size: Any, mode: str, interpolation: str, resizer: str) -> None:
        _require("resize_size" not in self.changes, "there is a second resize")
        _require("input_size" not in self.changes, "it comes behind the crop")
        self.changes |= {"resize_size": _size(size), "crop_mode": mode, "interpolation": interpolation}
        self.changes |= {"resizer": resizer}

    def crop(self, size: Any) -> None:
        _require("resize_size" in self.changes, "no resize comes before it, so that photographs keep their sizes")
        _require("input_size" not in self.changes, "there is a second crop")
        self.changes["input_size"] = _size(size)

    def normalise(self, mean: Any, std: Any, unit: float) -> None:
        """(x − mean unit) / (std unit), of numbers of which white is ``self.white``."""
        _require("mean" not in self.changes, "there is a second normalisation")
        for name, numbers in (("mean", mean), ("std", std)):
            values = np.atleast_1d(np.asarray(numbers))
            # The shortest digits, which of a tensor of float32 are those that it was made of.
            self.changes[name] = tuple(float(str(value)) * (unit / self.white) for value in values)


class _Unreadable(Exception):  # noqa: N818 - becomes a UsageError that names the step
    """Why a step cannot be read."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Unreadable(otherwise)


def read_pipeline(pipeline: Any) -> dict[str, Any]:
    """How a pipeline shows photographs: the keywords of `aliasing.load_model` that say the same.

    Parameters
    ----------
    pipeline : callable
        ``torchvision.transforms.Compose``, that of ``transforms.v2``, ``weights.transforms()`` of torchvision's
        classifiers, timm's ``create_transform(…)``, or albumentations' ``Compose``, as they are used at evaluation.

    Returns
    -------
    dict
        ``mean`` and ``std``; with a resize ``input_size``, ``resize_size``, ``crop_mode``, ``interpolation``,
        ``resizer``.

    Raises
    ------
    UsageError
        If it has a step that is not known or depends on chance, or steps in an order that cannot be said so.

    Examples
    --------
    >>> from torchvision import transforms
    >>> read_pipeline(transforms.Compose([transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor()]))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'resize_size': (36, 36), 'crop_mode': 'center', 'interpolation': 'bilinear', 'resizer': 'pil',
     'input_size': (32, 32), 'mean': (0.0, 0.0, 0.0), 'std': (1.0, 1.0, 1.0)}
    """
    reading = _Reading()
    for step in _steps(pipeline):
        name = f"{_library(step)}.{type(step).__name__}"
        if name not in _STEPS:
            what = getattr(step, "__name__", type(step).__name__)
            raise UsageError(
                f"preprocess: {what} cannot be read: it is no step of an evaluation by torchvision, timm or"
                f" albumentations (resize, centre crop, tensor, normalisation); {_MEND}"
            )
        try:
            _STEPS[name](reading, step)
        except _Unreadable as error:
            raise UsageError(f"preprocess: {type(step).__name__} cannot be read: {error}; {_MEND}") from None
    return _whole(reading)


def _whole(reading: _Reading) -> dict[str, Any]:
    changes = reading.changes
    if reading.form == "picture":
        raise UsageError("preprocess: it ends with a picture; add a step that makes a tensor, such as ToTensor()")
    if "mean" not in changes:
        reading.normalise((0.0,) * 3, (1.0,) * 3, 1.0)
    if "resize_size" in changes and "input_size" not in changes:
        if changes["crop_mode"] != "squash":
            raise UsageError(
                "preprocess: after its resize photographs have any shape; add a CenterCrop, or give both sides,"
                " Resize((224, 224))"
            )
        changes["input_size"] = changes["resize_size"]
    return changes


def pipeline_at(place: str) -> Any:
    """The transform at ``PACKAGE.MODULE:NAME``, or that which a function without arguments there makes."""
    asked = f"preprocess={place}"
    found = own.find(place, asked)
    is_factory = inspect.isroutine(found) or inspect.isclass(found) or isinstance(found, partial)
    return own.make(found, asked) if is_factory else found


def agreed(said: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, Any]:
    """What is said beside a pipeline, and what the pipeline says; UsageError if they contradict one another.

    Examples
    --------
    >>> agreed({"input_size": 32}, {"mean": (0.5,), "std": (0.25,)})
    {'input_size': 32, 'resize_size': 32, 'mean': (0.5,), 'std': (0.25,)}
    """
    for name, given in said.items():
        told = read.get("resize_size" if name == "crop_share" else name)
        if told is not None and told != (two_numbers(given) if name in ("input_size", "resize_size") else given):
            raise UsageError(f"preprocess tells {name} too, and {name}={given} is given; leave one of them out")
    if "input_size" in read:
        return {**said, **read}
    if "input_size" not in said:
        raise UsageError("preprocess: it resizes nothing, so say the size of the pictures: input_size=32, for instance")
    # Pictures of that size, as data sets of small ones have them, are shown as they are.
    return {"input_size": said["input_size"], "resize_size": said["input_size"], **said, **read}


def with_pipeline(classifier: Classifier, pipeline: Any, place: str = "") -> Classifier:
    """The classifier, which sees pictures as the pipeline shows them, with a note on where in it the content moves.

    ``place`` is where the pipeline was found, for the note and the summary.
    """
    require_same(classifier, pipeline)
    size, resized = pair(classifier.view_size), pair(classifier.resized_size)
    if "resize_size" in read_pipeline(pipeline):
        crop = "its normalisation" if size == resized else f"its crop of the centre, {size}"
        where = f"between its resize to {resized} ({classifier.resizer}) and {crop}"
        if classifier.crop_mode == "center" and _library(pipeline) == "albumentations":
            where += (
                "; albumentations rounds the longer side to the nearest pixel and the corner of its crop down, where"
                " here the side is cut off and the corner rounded to even: its view may lie up to a pixel beside"
            )
    else:
        where = f"before it is normalised; it resizes nothing, and pictures of another size are brought to {size}"
    notes = (*classifier.notes, f"{READ}{place} was read: views are moved {where}")
    origin = {**classifier.origin, "preprocess": place} if place else classifier.origin
    return replace(classifier, notes=notes, origin=origin)


def require_same(classifier: Classifier, pipeline: Any) -> None:
    """Raise UsageError if a classifier shows a picture otherwise than the pipeline, by more than rounding.

    Half of it is noise, in which every weight of a resize counts, and half black and white blocks, at which kernels
    overshoot. It is a square: albumentations rounds the longer side of others to the nearest pixel, and torchvision and
    timm to the next below.
    """
    side = 2 * max(classifier.resized_size) + 1 if "resize_size" in read_pipeline(pipeline) else 0
    shape = (side, side) if side else classifier.view_size
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (*shape, 3), np.uint8)
    blocks = 255 * random.integers(0, 2, (shape[0] // 32 + 1, shape[1] // 16 + 1, 3), np.uint8)
    pixels[: shape[0] // 2] = blocks.repeat(16, 0).repeat(16, 1)[: shape[0] // 2, : shape[1]]
    ours = classifier.normalize(classifier.preprocess(pixels)[None])[0].float().cpu()
    try:
        theirs = called(pipeline, pixels, classifier.channels)
    except Exception as error:  # whatever a pipeline raises
        raise UsageError(
            f"preprocess: it fails on a picture of {pair(shape)} ({first_line(error)}); mend it"
        ) from error
    if theirs.shape != ours.shape:
        made = "×".join(map(str, theirs.shape))
        raise UsageError(f"preprocess: it makes {made} of a picture of {pair(shape)}; expected {tuple(ours.shape)}")
    apart = float(((theirs - ours).abs() * 255 * torch.tensor(classifier.std)[:, None, None]).max())
    if not apart <= _ROUNDING:
        raise UsageError(
            f"preprocess: it shows a picture otherwise than was read from it, by up to {rounded(apart, '.3g')} grey"
            " levels; give input_size=, resize_size=, mean= and std= instead"
        )


def called(pipeline: Any, pixels: Any, channels: int = 3) -> torch.Tensor:
    """What a pipeline makes of a photograph, uint8 H×W×3: float32, C×H×W."""
    if _library(pipeline) == "albumentations":
        found = pipeline(image=pixels)["image"]
        found = found if isinstance(found, torch.Tensor) else np.moveaxis(np.asarray(found), -1, 0)
    else:
        picture = PIL.Image.fromarray(pixels)
        found = pipeline(picture.convert("L") if channels == 1 else picture)
    return torch.as_tensor(found).as_subclass(torch.Tensor).float()


def _library(step: Any) -> str:
    return type(step).__module__.partition(".")[0]


def _steps(pipeline: Any) -> Iterator[Any]:
    """The steps of a pipeline, those of pipelines within it too."""
    inner = getattr(pipeline, "transforms", None)
    inner = list(pipeline) if inner is None and isinstance(pipeline, torch.nn.Sequential) else inner
    if isinstance(inner, list | tuple):
        for step in inner:
            yield from _steps(step)
    else:
        yield pipeline


def _size(size: Any) -> Size:
    """A number, one in a sequence, or two."""
    sides = [int(side) for side in np.atleast_1d(size)]
    return sides[0], sides[-1]


def _resize(reading: _Reading, step: Any) -> None:
    """torchvision's: of a Pillow image with a low-pass; of a tensor with one if ``antialias``."""
    _require(getattr(step, "max_size", None) is None, f"max_size={step.max_size} makes pictures of any size")
    resizer = "pil"
    if reading.form != "picture":
        resizer = "torchvision-aliased" if not step.antialias else "torchvision"
        resizer += "/uint8" if reading.form == "bytes" and step.antialias else ""
    sides = np.atleast_1d(step.size)
    interpolation = getattr(step.interpolation, "value", step.interpolation)
    reading.resize(sides, "center" if len(sides) == 1 else "squash", str(interpolation), resizer)


def _keep_ratio(reading: _Reading, step: Any) -> None:
    _require(step.random_scale_prob == step.random_aspect_prob == 0, "it resizes at random")
    _require(step.longest in (0, 1), f"longest={step.longest} is neither the shorter side nor the longer one")
    _require(reading.form == "picture", "it is given a tensor; put it before ToTensor")
    mode = "border" if step.longest else "center"
    reading.resize(step.size, mode, str(getattr(step.interpolation, "value", "random")), "pil")


def _preset(reading: _Reading, step: Any) -> None:
    """torchvision's ``weights.transforms()``, which is all of it."""
    reading.resize(step.resize_size, "center", step.interpolation.value, "pil")
    reading.crop(step.crop_size)
    _to_floats(reading)
    reading.normalise(step.mean, step.std, 1.0)


def _to_bytes(reading: _Reading, _: Any = None) -> None:
    reading.form = "bytes" if reading.form == "picture" else reading.form


def _to_levels(reading: _Reading, _: Any) -> None:
    """Floats, of which white is 255."""
    reading.form = "floats"


def _to_floats(reading: _Reading, _: Any = None) -> None:
    if reading.form != "floats":
        reading.form, reading.white = "floats", 1.0


def _to_dtype(reading: _Reading, step: Any) -> None:
    _require(step.dtype is torch.float32, f"it makes {step.dtype}; expected torch.float32")
    _require(reading.form != "picture", "it is given a picture; put ToImage() or PILToTensor() before it")
    if getattr(step, "scale", True):
        _to_floats(reading)
    reading.form = "floats"


def _grey(reading: _Reading, step: Any) -> None:
    _require(step.num_output_channels == 1, "three equal channels are not those of a photograph")
    reading.changes |= {"mean": (0.0,), "std": (1.0,)}


def _normalise(reading: _Reading, step: Any) -> None:
    _require(reading.form == "floats", "it comes before a step that makes floats, such as ToTensor()")
    grey = len(reading.changes.pop("mean", (0.0,) * 3)) == 1
    reading.changes.pop("std", None)
    _require(not grey or len(np.atleast_1d(step.mean)) == 1, "after Grayscale there is one channel")
    reading.normalise(step.mean, step.std, 1.0)


def _certain(step: Any) -> None:
    _require(step.p == 1, f"p={step.p} leaves it to chance")


def _by_opencv(reading: _Reading, step: Any, size: Any, mode: str) -> None:
    _certain(step)
    _require(not getattr(step, "area_for_downscale", None), "area_for_downscale chooses the kernel by the picture")
    _require(step.interpolation in range(len(_CV2)), f"interpolation={step.interpolation} is not known")
    _require(reading.form == "picture", "it comes behind the normalisation")
    kernel = _CV2[step.interpolation]
    reading.resize(size, mode, _LIKE.get(kernel.removesuffix("-exact"), "nearest"), f"opencv-{kernel}/uint8")


def _shorter_side(reading: _Reading, step: Any) -> None:
    sizes = np.atleast_1d(step.max_size)
    _require(len(sizes) == 1 and sizes[0] is not None, f"max_size={step.max_size} is not one size")
    _by_opencv(reading, step, sizes, "center")


def _crop_of_albumentations(reading: _Reading, step: Any) -> None:
    _certain(step)
    reading.crop((step.height, step.width))


def _normalise_by_level(reading: _Reading, step: Any) -> None:
    """albumentations': (x − mean · max_pixel_value) / (std · max_pixel_value)."""
    _certain(step)
    _require(getattr(step, "normalization", "standard") == "standard", f"{step.normalization} is of each picture")
    reading.normalise(step.mean, step.std, float(step.max_pixel_value))
    reading.form = "floats"


def _nothing(reading: _Reading, step: Any) -> None:
    """A step that keeps a photograph or a tensor as it is."""


_STEPS: dict[str, Callable[[_Reading, Any], None]] = {
    "torchvision.Resize": _resize,
    "torchvision.CenterCrop": lambda reading, step: reading.crop(step.size),
    "torchvision.ToTensor": _to_floats,
    "torchvision.PILToTensor": _to_bytes,
    "torchvision.ToImage": _to_bytes,
    "torchvision.ToPureTensor": _nothing,
    "torchvision.RGB": _nothing,
    "torchvision.Identity": _nothing,
    "torchvision.ToDtype": _to_dtype,
    "torchvision.ConvertImageDtype": _to_dtype,
    "torchvision.Grayscale": _grey,
    "torchvision.Normalize": _normalise,
    "torchvision.ImageClassification": _preset,
    "timm.ResizeKeepRatio": _keep_ratio,
    "timm.CenterCropOrPad": lambda reading, step: reading.crop(step.size),
    "timm.MaybeToTensor": _to_floats,
    "timm.ToTensor": _to_levels,
    "timm.MaybePILToTensor": _to_bytes,
    "timm.ToNumpy": _to_bytes,
    "albumentations.Resize": lambda reading, step: _by_opencv(reading, step, (step.height, step.width), "squash"),
    "albumentations.SmallestMaxSize": _shorter_side,
    "albumentations.CenterCrop": _crop_of_albumentations,
    "albumentations.Normalize": _normalise_by_level,
    "albumentations.ToTensorV2": _to_bytes,
}
"""What each step says, by its library and class."""
