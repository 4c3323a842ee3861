"""A network together with everything that is needed to show it a photograph and to read its answer.

Preprocessing at evaluation, as torchvision's and timm's own transforms do it: shorter side to ``resize_size`` pixels by
Pillow (antialiased), then the centre square of ``input_size`` pixels, then (x / 255 − mean) / std.
"""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from aliasing.errors import UsageError
from aliasing.resizers import INTERPOLATIONS, crop_centre, resize_shorter_side

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network, and how it was meant to see images. It is measured in evaluation mode, and left in its own.

    Make a changed copy with ``dataclasses.replace(classifier, module=..., name=...)``.

    Parameters
    ----------
    module : torch.nn.Module
        Takes N×3×S×S, gives N×classes.
    name : str
        The canonical name, with its source: ``"torchvision:resnet50.IMAGENET1K_V1"``.
    input_size : int
        S, the side of the square input in pixels.
    mean, std : tuple of three floats
        Of inputs scaled to 0…1.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
    resize_size : int
        The shorter side at evaluation, in pixels, before the centre crop; at least ``input_size``.
    crop_share : float
        input_size / resize_size as published (timm's ``crop_pct``).
    labels : tuple of str, or None
        The name of each class.
    origin : dict of str
        ``source`` and ``version`` of the weights: where they come from.
    notes : tuple of str
        What whoever reads a result should know ("no preprocessing was given: ImageNet's was assumed").
    scale : str, optional
        Of the answer, one of :data:`aliasing.jitter.scales.SCALES` (``"logits"``, ``"probabilities"``, …); recognised
        where it is None.

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

    module: nn.Module
    name: str
    input_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_size: int
    crop_share: float
    labels: tuple[str, ...] | None = None
    origin: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scale: str | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(f"{self.name}: interpolation {self.interpolation!r}; expected {', '.join(INTERPOLATIONS)}")
        if not 1 <= self.input_size <= self.resize_size:
            raise UsageError(
                f"{self.name}: input_size {self.input_size} and resize_size {self.resize_size}; "
                "expected 1 <= input_size <= resize_size"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(f"{self.name}: mean {self.mean} and std {self.std}; expected three each, std positive")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers that the network takes: that of its first floating-point parameter."""
        parameters = (p.dtype for p in self.module.parameters() if p.dtype.is_floating_point)
        return next(parameters, torch.float32)

    @property
    def weights(self) -> dict[str, str]:
        """The weights' ``source`` and ``version``, and the ``sha256`` of the state_dict as it is now."""
        return {**self.origin, "sha256": fingerprint(self.module)}

    @property
    def identity(self) -> str:
        """What it is as it is now, whatever it is called: one word for :class:`aliasing.identity.Identity`.

        It is computed at every access, by one run on one picture.
        """
        from aliasing.identity import identify  # identity looks at recorded calls, which stand behind models

        return identify(self).digest

    @property
    def mean_colour(self) -> npt.NDArray[np.float32]:
        """The colour in 0…255 that normalisation turns into exactly zero, shape (3,)."""
        return 255 * np.asarray(self.mean, np.float32)

    def preprocess(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn a photograph into the view that the network was meant to see.

        Parameters
        ----------
        pixels : uint8 array, H×W×3, RGB

        Returns
        -------
        float32 array, input_size×input_size×3
            In 0…255; whole numbers, since Pillow's resize rounds.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"got {pixels.dtype} of shape {pixels.shape}; expected a uint8 image H×W×3")
        resized = resize_shorter_side(pixels, self.resize_size, self.interpolation)
        return crop_centre(resized, self.input_size, self.input_size)

    def normalize(self, views: npt.NDArray[np.float32] | Tensor) -> Tensor:
        """Turn views in 0…255 into the network's input, (x − 255 mean) / (255 std).

        Parameters
        ----------
        views : float32, N×H×W×3, in 0…255

        Returns
        -------
        Tensor, N×3×H×W
            Of the network's ``dtype``, in channels_last memory: the layout of the views is kept, so that nothing is
            transposed.
        """
        batch = torch.as_tensor(views, dtype=torch.float32)
        if batch.ndim != 4 or batch.shape[3] != 3:
            raise ValueError(f"got views of shape {tuple(batch.shape)}; expected N×H×W×3")
        # Row by row and not pixel by pixel: three numbers at a time are too few for a processor's wide registers.
        rows = batch.flatten(2)
        mean = torch.from_numpy(self.mean_colour).to(batch.device).repeat(batch.shape[2])
        scale = (1 / (255 * torch.tensor(self.std, device=batch.device))).repeat(batch.shape[2])
        return (rows - mean).mul_(scale).view(batch.shape).permute(0, 3, 1, 2).to(self.dtype)


def fingerprint(module: nn.Module) -> str:
    """Hash the weights: SHA-256 over key, dtype, shape and bytes of the state_dict, in the order of the keys.

    Examples
    --------
    >>> fingerprint(nn.ReLU())[:8]  # of nothing
    'e3b0c442'
    """
    digest = hashlib.sha256()
    for key, entry in sorted(module.state_dict().items()):
        for value in pytree.tree_leaves(entry):  # quantised layers keep pairs of tensors, others what they like
            if not isinstance(value, Tensor):
                digest.update(f"{key} {value!r}\n".encode() if isinstance(value, (int, float, str, bytes)) else b"")
                continue
            tensor = value.detach().cpu()
            tensor = tensor.dequantize() if tensor.is_quantized else tensor
            tensor = (tensor if tensor.layout == torch.strided else tensor.to_dense()).contiguous()
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weight_notes(module: nn.Module) -> tuple[str, ...]:
    """What is wrong with the weights, if anything: values that are NaN or infinite."""
    tensors = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    bad = [key for key, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    return (f"NaN or infinite weights in {len(bad)} of {len(tensors)} tensors, {bad[0]} first",) if bad else ()


def require_weights(module: nn.Module, name: str) -> None:
    """Refuse a network whose weights do not exist yet (lazy layers, the meta device)."""
    for key, value in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(value) or value.is_meta:
            raise UsageError(f"{name}: {key} has no values yet (a lazy layer or the meta device); run or load it first")


def record_weights(classifier: Classifier, source: str, release: str = "unversioned") -> Classifier:
    """Say in the classifier where its weights are from; note what is wrong with them."""
    origin = {"source": source, "version": release}
    return replace(classifier, origin=origin, notes=classifier.notes + weight_notes(classifier.module))


def retrained(classifier: Classifier, module: nn.Module, how: str, note: str) -> Classifier:
    """The classifier around weights that were changed: its name and its origin say how, and a note on what."""
    name = classifier.name if classifier.name.endswith(f", {how}") else f"{classifier.name}, {how}"
    origin = {"source": f"{classifier.name}, {how}", "version": "unversioned"}
    return replace(classifier, module=module, name=name, origin=origin, notes=(*classifier.notes, note))
