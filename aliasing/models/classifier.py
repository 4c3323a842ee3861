"""A network with everything that is needed to show it a photograph and to read its answer.

Preprocessing is that of torchvision's and timm's own transforms at evaluation: Pillow, or the resampler that is named,
resizes the photograph (antialiased) according to the crop mode, the centre of ``input_size`` pixels is cropped, and
(x / 255 − mean) / std normalises it. A network with one channel sees the luma (ITU-R BT.601, as in Pillow's conversion
to grey).
"""

import hashlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from aliasing.blackbox import BlackBox
from aliasing.errors import UsageError
from aliasing.fitting import CROP_MODES, Size, crop_centre, fit
from aliasing.resamplers import DEFAULT_RESAMPLER, INTERPOLATIONS, resampler_of

IMAGENET_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
IMAGENET_STD: tuple[float, ...] = (0.229, 0.224, 0.225)
# The weights of red and blue in luma; green has the rest.
_LUMA_RED, _LUMA_BLUE = 0.299, 0.114
_TRIAL = 64  # pixels of a picture on which a network is tried


class ShownNetwork(ABC):
    """A network, and how it was meant to see what it is shown: pictures (`Classifier`) or signals (`SignalNetwork`).

    What measures a network asks it only for what is here. A view is what it is shown before its own normalisation.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    full_scale: ClassVar[float]  #: the largest value of a view

    module: nn.Module
    name: str
    labels: tuple[str, ...] | None
    origin: dict[str, str]
    notes: tuple[str, ...]
    scale: str | None
    answer: Callable[[nn.Module, Tensor], Any] | None = None

    @property
    @abstractmethod
    def view_size(self) -> tuple[int, ...]:
        """The samples of a view along each axis."""

    @property
    @abstractmethod
    def takes(self) -> str:
        """What it takes, in words."""

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """How it sees what it is shown, for a summary."""

    @abstractmethod
    def trial_views(self) -> npt.NDArray[np.float32]:
        """A few views to which its answers differ."""

    @abstractmethod
    def normalize(self, views: npt.NDArray[np.float32] | Tensor) -> Tensor:
        """Turn a batch of views into the network's input."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's input: that of its first floating-point parameter."""
        parameters = (p.dtype for p in self.module.parameters() if p.dtype.is_floating_point)
        return next(parameters, torch.float32)

    @property
    def device(self) -> torch.device:
        """The device of the network's first parameter."""
        return next(self.module.parameters(), torch.zeros(())).device

    @property
    def weights(self) -> dict[str, str]:
        """The weights' ``source`` and ``version``, and the current ``sha256`` of the state_dict."""
        return {**self.origin, "sha256": fingerprint(self.module)}

    @property
    def identity(self) -> str:
        """The hash of the network as it is now (:class:`aliasing.identity.Identity`); each access runs it once."""
        from aliasing.identity import identify  # which imports recorded calls, and those import models

        return identify(self).digest

    def ask(self, batch: Tensor) -> Any:
        """What it answers to its input: the module's answer, or what the function ``answer`` makes of both."""
        return self.module(batch) if self.answer is None else self.answer(self.module, batch)

    def blank(self, count: int = 1) -> Tensor:
        """Zeros N×C×axes with the dtype and on the device of the network's weights."""
        channels: int = self.channels  # type: ignore[attr-defined]
        return torch.zeros(count, channels, *self.view_size, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class Classifier(ShownNetwork):
    """A network, and how it was meant to see images. It is measured in evaluation mode, and keeps its own mode.

    Make a changed copy with ``dataclasses.replace(classifier, module=..., name=...)``, and one that sees images
    differently with ``load_model(classifier, input_size=..., mean=...)``, which tries it.

    Parameters
    ----------
    module : torch.nn.Module
        Maps N×C×H×W to N×classes.
    name : str
        The canonical name, with its source: ``"torchvision:resnet50.IMAGENET1K_V1"``.
    input_size : int or (int, int)
        The side of the square input in pixels, or its height and width.
    mean, std : tuple of three floats, or of one
        Of inputs scaled to 0…1. A single number means that the network has one channel and is shown the luma.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}
    resize_size : int or (int, int)
        The size of the photograph before the centre is cropped; for a square input, its shorter side in pixels. At
        least ``input_size``, unless ``crop_share`` is above 1: what is missing is then black.
    crop_share : float
        input_size / resize_size as published (timm's ``crop_pct``).
    labels : tuple of str, or None
        The name of each class.
    origin : dict of str
        ``source`` and ``version`` of the weights. Also, where there is something to say: ``loaded_as``, the name
        behind a label; ``name``, what the factory of a module calls it; ``steps``, what was done to the weights since
        ("recalibrated, fine-tuned"), and ``root``, the SHA-256 of those with which it began.
    notes : tuple of str
        What a reader of a result should know ("no preprocessing was given: ImageNet's was assumed").
    crop_mode : {"center", "squash", "border"}
        What is resized to ``resize_size``, in timm's terms. "center": the shorter side, at the same aspect ratio.
        "squash": both sides. "border": the longer side, and the rest of the input gets the mean colour.
    scale : str, optional
        The scale of the answer, one of :data:`aliasing.scales.SCALES` (``"logits"``, ``"probabilities"``, …);
        recognised if None.
    answer : callable, optional
        (module, batch N×C×H×W) → label maps or detections, if the module does not answer with them itself (see
        :mod:`aliasing.outputs.masks` and :mod:`aliasing.outputs.boxes`).
    resizer : str
        What resizes the photograph, as in :func:`aliasing.resamplers.resize`. A protocol's own goes before it.

    Raises
    ------
    UsageError
        If the sizes or the preprocessing make no sense.

    Examples
    --------
    >>> half = (0.5, 0.5, 0.5)
    >>> tiny = Classifier(nn.Conv2d(3, 10, 8), "tiny", 8, half, half, "bilinear", resize_size=8, crop_share=1.0)
    >>> photograph = np.full((20, 30, 3), 255, np.uint8)
    >>> view = tiny.preprocess(photograph)
    >>> view.shape, view.dtype, float(view.max())
    ((8, 8, 3), dtype('float32'), 255.0)
    >>> tiny.normalize(view[None]).shape
    torch.Size([1, 3, 8, 8])
    """

    full_scale: ClassVar[float] = 255.0

    module: nn.Module
    name: str
    input_size: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_size: int | tuple[int, int]
    crop_share: float
    labels: tuple[str, ...] | None = None
    origin: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    crop_mode: str = "center"
    scale: str | None = None
    answer: Callable[[nn.Module, Tensor], Any] | None = None
    resizer: str = DEFAULT_RESAMPLER

    def __post_init__(self) -> None:
        resampler_of(self.resizer)  # refuses an unknown one
        for choice, known in (("interpolation", INTERPOLATIONS), ("crop_mode", tuple(CROP_MODES))):
            if getattr(self, choice) not in known:
                raise UsageError(f"{self.name}: {choice} {getattr(self, choice)!r}; expected {', '.join(known)}")
        for side in ("input_size", "resize_size"):
            object.__setattr__(self, side, one_number(read_size(self.name, side, getattr(self, side))))
        for view, resized in zip(self.view_size, self.resized_size, strict=True):
            if view < 1 or resized < 1 or (view > resized and self.crop_share <= 1):
                raise UsageError(
                    f"{self.name}: input_size {self.input_size} and resize_size {self.resize_size}; "
                    "expected 1 <= input_size <= resize_size (a crop_share above 1 leaves a black border)"
                )
        for numbers in ("mean", "std"):
            object.__setattr__(self, numbers, _read_channels(self.name, numbers, getattr(self, numbers)))
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            told = f"mean {self.mean} and std {self.std}"
            raise UsageError(f"{self.name}: {told}; expected as many of each, std positive")

    @classmethod
    def of(
        cls,
        module: nn.Module,
        input_size: int | tuple[int, int],
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        **more: Any,
    ) -> "Classifier":
        """Your own network, which sees images of its input size as they are, and others resized to it.

        Parameters
        ----------
        module : torch.nn.Module
        input_size : int or (int, int)
        mean, std : sequence of float, optional
            Of inputs scaled to 0…1, one number for each channel; ImageNet's, with a note, if they are not given.
        name : str, optional
            By default that of its class.
        labels : sequence of str, optional
            The name of each class, in order.
        **more
            As in :func:`aliasing.load_model`; ``resize_size`` is ``input_size`` if it is not given.

        Raises
        ------
        UsageError
            If a value makes no sense, or the network does not answer an image of that size.

        Examples
        --------
        >>> net = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> own = Classifier.of(net, 32, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26), name="mine")
        >>> own.name, own.input_size, own.resize_size, own.crop_share
        ('mine', 32, 32, 1.0)
        """
        from aliasing.models import load_model

        given = {"mean": mean, "std": std, "name": name, "labels": labels}
        sized = {"crop_share", "preprocess"} & set(more)
        changes: dict[str, Any] = {} if sized else {"resize_size": input_size, "interpolation": "bilinear"}
        changes |= {key: value for key, value in given.items() if value is not None} | more
        return of_pictures(load_model(module, input_size=input_size, **changes), "Classifier.of")

    @property
    def view_size(self) -> Size:
        """The height and width of a view in pixels."""
        return two_numbers(self.input_size)

    @property
    def resized_size(self) -> Size:
        """The height and width to which the photograph is resized, according to the crop mode."""
        return two_numbers(self.resize_size)

    @property
    def channels(self) -> int:
        """The number of channels of the network's input: three or one."""
        return len(self.mean)

    @property
    def mean_colour(self) -> npt.NDArray[np.float32]:
        """The colour in 0…255 that normalisation turns into exactly zero, shape (3,)."""
        return np.broadcast_to(255 * np.asarray(self.mean, np.float32), 3)

    @property
    def border_colour(self) -> npt.NDArray[np.float32]:
        """The colour in 0…255 around a photograph that does not fill the view, shape (3,); whole levels, as in timm."""
        return np.rint(self.mean_colour) if self.crop_mode == "border" else np.zeros(3, np.float32)

    def room_for(self, canvas: Size) -> Size:
        """The size to which the photograph is resized if windows are cut from a canvas larger than a view.

        It is the network's own size, or the canvas if that is larger; but a photograph that does not fill the view
        keeps its size, and the canvas is filled up like the view.
        """
        if self.crop_mode == "border" or self.crop_share > 1:
            return self.resized_size
        height, width = (max(pair) for pair in zip(self.resized_size, canvas, strict=True))
        return height, width

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return f"pictures of {'×'.join(map(str, self.view_size))} pixels"

    def preprocessing(self) -> dict[str, Any]:
        """How it sees pictures, for a summary."""
        return {
            "input_size": self.input_size if isinstance(self.input_size, int) else list(self.input_size),
            "resize_size": self.resize_size if isinstance(self.resize_size, int) else list(self.resize_size),
            "crop_mode": self.crop_mode,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            **({} if self.resizer == DEFAULT_RESAMPLER else {"resizer": resampler_of(self.resizer).provenance()}),
        }

    def trial_views(self) -> npt.NDArray[np.float32]:
        """Black, a ramp and noise, preprocessed for the network: its answers to them differ."""
        pictures = np.zeros((4, _TRIAL, _TRIAL, 3), np.uint8)
        pictures[1] = np.random.default_rng(1).integers(0, 128, pictures.shape[1:], np.uint8)
        pictures[2] = np.linspace(0, 255, _TRIAL).astype(np.uint8)[:, None, None]
        pictures[2, ..., 1] = pictures[2, ..., 0].T
        pictures[3] = np.random.default_rng(0).integers(0, 256, pictures.shape[1:], np.uint8)
        return np.stack([self.preprocess(picture) for picture in pictures])

    def preprocess(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn a photograph into the view that the network was meant to see.

        Parameters
        ----------
        pixels : uint8 array, H×W×3, RGB

        Returns
        -------
        float32 array, height×width×3
            In 0…255; whole numbers if Pillow resizes, which rounds.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"got {pixels.dtype} of shape {pixels.shape}; expected a uint8 image H×W×3")
        resized = fit(pixels, self.resized_size, self.crop_mode, self.interpolation, self.resizer)
        return crop_centre(resized, *self.view_size, self.border_colour)

    def normalize(self, views: npt.NDArray[np.float32] | Tensor) -> Tensor:
        """Turn views in 0…255 into the network's input, (x − 255 mean) / (255 std); with one channel, x is the luma.

        Parameters
        ----------
        views : float32, N×H×W×3, in 0…255

        Returns
        -------
        Tensor, N×3×H×W, or N×1×H×W
            In the network's ``dtype``, and in channels_last memory like the views, so that nothing is transposed.
        """
        batch = torch.as_tensor(views, dtype=torch.float32)
        if batch.ndim != 4 or batch.shape[3] != 3:
            raise ValueError(f"got views of shape {tuple(batch.shape)}; expected N×H×W×3")
        if self.channels == 1:
            batch = _luma(batch)
        # Row by row and not pixel by pixel: three numbers at a time are too few for wide registers.
        rows = batch.flatten(2)
        colour = torch.tensor(self.mean_colour[: self.channels])
        mean = colour.to(batch.device).repeat(batch.shape[2])
        scale = (1 / (255 * torch.tensor(self.std, device=batch.device))).repeat(batch.shape[2])
        return (rows - mean).mul_(scale).view(batch.shape).permute(0, 3, 1, 2).to(self.dtype)


AnyNetwork = TypeVar("AnyNetwork", bound=ShownNetwork)


def of_pictures(network: ShownNetwork, what: str) -> Classifier:
    """A network of pictures, which only ``what`` takes; UsageError for another one."""
    if not isinstance(network, Classifier):
        raise UsageError(f"{what} is for networks of pictures; {network.name} takes {network.takes}")
    return network


def one_number(size: Size) -> int | Size:
    """The side of a square, or height and width."""
    return size[0] if size[0] == size[1] else size


def two_numbers(size: int | Size) -> Size:
    """The height and width, which for a square are its side."""
    return size if isinstance(size, tuple) else (size, size)


def read_size(name: str, what: str, given: Any) -> Size:
    """Read a size: a whole number, or two in a tuple or list."""
    sides = given if isinstance(given, Sequence) and not isinstance(given, str) else (given, given)
    with suppress(TypeError, ValueError):
        height, width = map(operator.index, sides)
        return height, width
    expected = "the side of a square in pixels or (height, width)"
    raise UsageError(f"{name}: {what} {given!r}; expected {expected}")


def _read_channels(name: str, what: str, given: Any) -> tuple[float, ...]:
    """One number for each channel."""
    with suppress(TypeError, ValueError):
        numbers = tuple(map(float, given))
        if len(numbers) in (1, 3):
            return numbers
    expected = "a tuple of three numbers, or of one for a network of one channel"
    raise UsageError(f"{name}: {what} {given!r}; expected {expected}")


def _luma(views: Tensor) -> Tensor:
    """ITU-R BT.601 luma, N×H×W×1, computed so that grey stays exactly the same."""
    red, green, blue = views[..., :1], views[..., 1:2], views[..., 2:]
    return green + _LUMA_RED * (red - green) + _LUMA_BLUE * (blue - green)


def fingerprint(module: nn.Module) -> str:
    """Hash the weights: SHA-256 over key, dtype, shape and bytes of the state_dict, in the order of the keys.

    That of a file which another library runs is the SHA-256 of the file.

    Examples
    --------
    >>> fingerprint(nn.ReLU())[:8]  # of nothing
    'e3b0c442'
    """
    if isinstance(module, BlackBox):
        return module.program.digest
    digest = hashlib.sha256()
    for key, entry in sorted(module.state_dict().items()):
        for value in pytree.tree_leaves(entry):  # quantised layers keep pairs of tensors, others anything
            if not isinstance(value, Tensor):
                digest.update(f"{key} {value!r}\n".encode() if isinstance(value, (int, float, str, bytes)) else b"")
                continue
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(plain_bytes(value))
    return digest.hexdigest()


def plain_bytes(tensor: Tensor) -> memoryview:
    """The values of a tensor, row by row, whatever its device and layout."""
    with torch.no_grad():
        plain = tensor.detach().cpu()
        plain = plain.dequantize() if plain.is_quantized else plain
        plain = (plain if plain.layout == torch.strided else plain.to_dense()).resolve_conj().resolve_neg()
        flat = plain.contiguous().reshape(-1)
        if flat.stride(0) != 1:  # a single number keeps the stride of what it was cut from
            flat = flat.clone(memory_format=torch.contiguous_format)
        return flat.view(torch.uint8).numpy().data


def require_weights(module: nn.Module, name: str) -> None:
    """Refuse a network whose weights do not exist yet (lazy layers, the meta device)."""
    for key, value in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(value) or value.is_meta:
            raise UsageError(f"{name}: {key} has no values yet (a lazy layer or the meta device); run or load it first")


def record_weights(classifier: AnyNetwork, source: str, release: str = "unversioned") -> AnyNetwork:
    """Record in the classifier where its weights come from, and a note if any of them are NaN or infinite."""
    tensors = {key: value for key, value in classifier.module.state_dict().items() if isinstance(value, Tensor)}
    bad = [key for key, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    notes = (f"NaN or infinite weights in {len(bad)} of {len(tensors)} tensors, {bad[0]} first",) if bad else ()
    kept = {key: value for key, value in classifier.origin.items() if key in ("name", "steps", "root")}
    origin = {"source": source, "version": release, **kept}
    return replace(classifier, origin=origin, notes=classifier.notes + notes)


def retrained(classifier: AnyNetwork, module: nn.Module, how: str, note: str) -> AnyNetwork:
    """The classifier with changed weights: its name and its origin say how, and a note from which images."""
    name = classifier.name if classifier.name.endswith(f", {how}") else f"{classifier.name}, {how}"
    before = classifier.origin.get("steps", "")
    steps = f"{before}, {how}" if before and not before.endswith(how) else how
    root = classifier.origin.get("root") or fingerprint(classifier.module)
    origin = {"source": f"{classifier.name}, {how}", "version": "unversioned", "steps": steps, "root": root}
    if "name" in classifier.origin:
        origin["name"] = classifier.origin["name"]
    return replace(classifier, module=module, name=name, origin=origin, notes=(*classifier.notes, note))
