r"""The Lie derivative: a network's equivariance error for an infinitely small shift, layer by layer.

With :math:`X_i` the generator of the shift on the maps :math:`h_i` after layer *i* (minus the derivative along the
shift, per pixel of the image; zero on anything without position), a network *f* of layers :math:`f_1 … f_n` has the
local equivariance error (Gruver, Finzi, Goldblum & Wilson 2022, eq. 4)

.. math:: \mathrm{LEE}(f) = \Big\langle \frac{\lVert \mathcal{L} f(x) \rVert^2}{\dim f(x)} \Big\rangle, \qquad
          \mathcal{L} f(x) = \mathrm{d}f\,(X_0 x) - X_n f(x)

and by the chain rule this is a sum over the layers,

.. math:: \mathcal{L} f(x) = \sum_i c_i, \quad c_i = w_{i-1} - w_i, \quad w_i = \mathrm{d}(f_n … f_{i+1})\,(X_i h_i),

where :math:`c_i` is what layer *i* fails to move, propagated to the output. Maps are differentiated by Fourier
interpolation, so photographs and zero padding, which are not periodic at the border, add to every layer.

Derivatives are computed by forward-mode automatic differentiation or, if an operator does not support it, by a central
difference in double precision.
"""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad as untyped_forward_ad

from aliasing.depth.layers import Layer, choose_layers, layers_seen
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Mean
from aliasing.images import BadImage, Image, ImageSource, choose_images
from aliasing.jitter.faults import at_work
from aliasing.jitter.network import Execution, evaluated, require_independence
from aliasing.models import Classifier, of_pictures
from aliasing.protocols.windowed import Crop
from aliasing.runner import load_for
from aliasing.sites.find import probe_of
from aliasing.sites.trace import record_calls
from aliasing.tables import UNKNOWN, flat
from aliasing.undisturbed import in_evaluation, surroundings_kept

MEASURES = ("contribution", "share", "error", "unexplained")
forward_ad: Any = untyped_forward_ad
_STEP = 1e-3  # pixels, for the central difference: its error is about the square


@dataclass(frozen=True)
class LieProfile:
    """The Lie-derivative error of a network, and what each layer adds to it.

    Attributes
    ----------
    model : str
    method : "forward mode" or "central difference".
    images : the number of images.
    layers : the layers among which the error is divided: those through which everything passes, and the output.
    not_finite : the images whose error is not finite, which are left out.
    """

    model: str
    method: str
    images: int
    layers: tuple[str, ...]
    not_finite: tuple[str, ...]
    _total: Mean = field(repr=False)
    _means: dict[tuple[str, str], Mean] = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """``error`` of the whole network, and for each layer the following, with 95 % intervals over images.

        ``contribution`` is the mean of ‖c‖² ÷ dim f. ``share`` is the mean of ⟨c, ℒf⟩ ÷ ‖ℒf‖²; the shares add up to 1,
        and one is negative if the layer undoes what others did. ``error`` is the LEE of the network up to and including
        the layer. ``unexplained`` is the same ÷ how far the layer's features move at all: 0 if they move with the
        image, 1 if moving them explains nothing.
        """
        return {
            "method": self.method,
            "images": self.images,
            "not_finite": list(self.not_finite),
            "error": self._total.estimate().as_dict(),
            "layers": [
                {"name": name, **{measure: self._of(name, measure) for measure in MEASURES}} for name in self.layers
            ],
        }

    def table(self) -> pa.Table:
        """One row per layer: each measure with the ends of its interval."""
        rows = [
            {
                "model": self.model,
                "layer": layer["name"],
                **{measure: layer[measure] or UNKNOWN for measure in MEASURES},
            }
            for layer in self.summary()["layers"]
        ]
        return pa.Table.from_pylist(flat(rows))

    def _of(self, name: str, measure: str) -> dict[str, float | None] | None:
        mean = self._means.get((name, measure))
        return mean.estimate().as_dict() if mean and mean.images else None


@surroundings_kept()
def lie_error(
    model: str | nn.Module | Classifier,
    images: Any = "sample",
    *,
    layers: str | Sequence[str] = "blocks",
    direction: tuple[float, float] = (1.0, 1.0),
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = 8,
    device: str = "cpu",
) -> LieProfile:
    """The Lie-derivative error of a network under translation, layer by layer.

    Parameters
    ----------
    model, images, limit, sample : as for :func:`aliasing.measure_jitter`
        The images are shown with the network's own preprocessing.
    layers : "blocks", "leaves", or names of modules
        Only maps and vectors through which everything passes are used; tokens have no generator.
    direction : (float, float)
        (dy, dx) in pixels per unit of the derivative.
    batch_size : int
        Images per batch.
    device : str
        "cpu", "cuda" (or "cuda:1"), "mps". A network in float16 or bfloat16 is differentiated in float32.

    Raises
    ------
    UsageError
        There is no layer through which everything passes.
    InputError
        No image is usable, or the network fails.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> profile = lie_error(network, "sample", limit=2)
    >>> profile.method, profile.layers
    ('forward mode', ('1', '2', '3', 'output'))
    >>> round(sum(layer["share"]["value"] for layer in profile.summary()["layers"]), 5)
    1.0
    """
    Execution(device)
    source = choose_images(images, limit=limit, sample=sample)
    classifier = evaluated(of_pictures(load_for(model, source), "the Lie derivative"), device)
    if classifier.dtype in (torch.float16, torch.bfloat16):
        classifier = replace(classifier, module=copy.deepcopy(classifier.module).float())
    with at_work(classifier.name, ["a picture of zeros"]):
        record = record_calls(*probe_of(classifier, None))
    chosen = [
        layer
        for layer in choose_layers(record, layers)
        if layer.is_cut and (layer.form == "vector" or layer.stride is not None)
    ]
    if not chosen:
        raise UsageError(f"{classifier.name}: no layer through which everything passes; choose others, or blocks")
    network = _Differentiated(classifier.module, chosen, direction)
    means: dict[tuple[str, str], Mean] = {}
    total, not_finite = Mean(), list[str]()
    for names, batch in shown_batches(classifier, source, batch_size):
        with at_work(classifier.name, names):
            if not total.images and not not_finite:
                require_independence(classifier, batch, device)
            error, rows = network.measure(classifier.normalize(batch).to(device))
        usable = error.isfinite()
        not_finite += [name for name, finite in zip(names, usable.tolist(), strict=True) if not finite]
        total.add(error[usable].numpy())
        for key, values in rows.items():
            means.setdefault(key, Mean()).add(values[usable & values.isfinite()].numpy())
    if not total.images and not not_finite:
        raise InputError(f"no usable image in {source.description}")
    layer_names = (*(layer.name for layer in chosen), "output")
    return LieProfile(classifier.name, network.method, total.images, layer_names, tuple(not_finite), total, means)


def shown_batches(classifier: Classifier, source: ImageSource, size: int) -> Iterator[tuple[list[str], Any]]:
    """The names of images and their preprocessed views, N×H×W×3, in batches of at most ``size``."""

    def pictures() -> Iterator[tuple[str, Any]]:
        for entry in source:
            with suppress(BadImage):
                image = entry.load()
                if isinstance(image, Image):
                    yield entry.name, Crop().centre(image, classifier.view_size, classifier)

    shown = pictures()
    while batch := list(islice(shown, size)):
        yield [name for name, _ in batch], np.stack([picture for _, picture in batch])


def generator(x: Tensor, velocity: Sequence[float]) -> Tensor:
    """The rate of change of a periodic map (..., H, W) whose content moves with a velocity (down, across), in cells.

    Examples
    --------
    >>> wave = torch.sin(2 * torch.pi * torch.arange(8, dtype=torch.float64) / 8).expand(1, 8)
    >>> generator(wave, (0, 1))[0, :2]  # −2π/8 · cos
    tensor([-0.7854, -0.5554], dtype=torch.float64)
    """
    down, across = velocity
    rows = _derivative(x.shape[-2], x.dtype).to(x.device) @ x
    columns = x @ _derivative(x.shape[-1], x.dtype).to(x.device).T
    change: Tensor = -(down * rows + across * columns)
    return change


@lru_cache(maxsize=64)
def _derivative(size: int, dtype: torch.dtype) -> Tensor:
    """The matrix that differentiates the Fourier interpolation; the derivative at the Nyquist frequency is zero."""
    frequency = torch.fft.rfftfreq(size, dtype=torch.float64)
    frequency[frequency == 0.5] = 0
    spectrum = torch.fft.rfft(torch.eye(size, dtype=torch.float64), dim=0)
    matrix: Tensor = torch.fft.irfft(2j * torch.pi * frequency[:, None] * spectrum, n=size, dim=0).to(dtype)
    return matrix


class _Differentiated:
    """A network, and the derivatives of its output along shifts of its input and of its layers."""

    def __init__(self, module: nn.Module, layers: Sequence[Layer], direction: tuple[float, float]) -> None:
        self.module, self.layers, self.direction = module, layers, direction
        self.method = "forward mode"

    def measure(self, x: Tensor) -> tuple[Tensor, dict[tuple[str, str], Tensor]]:
        """The error of the whole network on each image, and the measures of each layer by name."""
        if self.method == "forward mode":
            try:
                return self._measure(x, self._forward_mode)
            except (NotImplementedError, RuntimeError) as error:
                if not re.search("forward|jvp", str(error), re.IGNORECASE):
                    raise
                self.method = "central difference"
                self.module = copy.deepcopy(self.module).double()
        return self._measure(x.double(), self._central_difference)

    def _measure(self, x: Tensor, push: Callable[..., Tensor]) -> tuple[Tensor, dict[tuple[str, str], Tensor]]:
        found: dict[tuple[str, str], Tensor] = {}

        def look(layer: Layer, primal: Tensor, tangent: Tensor) -> None:
            missed = (tangent - self._generator(layer, primal)).flatten(1).double().square()
            found[layer.name, "error"] = missed.mean(1)
            found[layer.name, "unexplained"] = missed.sum(1) / tangent.flatten(1).double().square().sum(1)

        with torch.no_grad(), in_evaluation(self.module):
            whole = push(x, None, look)
            error = whole.square().mean(1)
            found["output", "error"] = error
            before = whole
            for layer in self.layers:
                behind = push(x, layer, None)
                self._share(found, layer.name, before - behind, whole)
                before = behind
            self._share(found, "output", before, whole)
        return error.cpu(), {key: values.cpu() for key, values in found.items()}

    @staticmethod
    def _share(found: dict[tuple[str, str], Tensor], name: str, added: Tensor, whole: Tensor) -> None:
        found[name, "contribution"] = added.square().mean(1)
        found[name, "share"] = (added * whole).sum(1) / whole.square().sum(1)

    def _generator(self, layer: Layer, features: Tensor) -> Tensor:
        if layer.grid is None or layer.stride is None:
            return torch.zeros_like(features)
        velocity = layer.grid.cells(self.direction)
        if layer.form == "map":
            return generator(features, velocity)
        return generator(features.permute(0, 3, 1, 2), velocity).permute(0, 2, 3, 1)

    def _forward_mode(self, x: Tensor, start: Layer | None, look: Callable[..., None] | None) -> Tensor:
        """The derivative of the output along the shift of the input, or of the output of a layer."""

        def hook(layer: Layer, output: Tensor) -> Tensor | None:
            primal, tangent = forward_ad.unpack_dual(output)
            if start is layer:
                dual: Tensor = forward_ad.make_dual(primal, self._generator(layer, primal))
                return dual
            if look is not None:
                look(layer, primal, torch.zeros_like(primal) if tangent is None else tangent)
            return None

        with forward_ad.dual_level(), self._hooked(hook):
            given = forward_ad.make_dual(x, generator(x, self.direction)) if start is None else x
            primal, tangent = forward_ad.unpack_dual(self.module(given))
        return (torch.zeros_like(primal) if tangent is None else tangent).flatten(1).double()

    def _central_difference(self, x: Tensor, start: Layer | None, look: Callable[..., None] | None) -> Tensor:
        """The same from two runs in one batch, a small step before and after."""

        def around(features: Tensor, change: Tensor) -> Tensor:
            return torch.cat([features + _STEP * change, features - _STEP * change])

        def hook(layer: Layer, output: Tensor) -> Tensor | None:
            ahead, behind = output.chunk(2)
            if start is layer:
                return around(ahead, self._generator(layer, ahead))
            if look is not None:
                look(layer, (ahead + behind) / 2, (ahead - behind) / (2 * _STEP))
            return None

        with self._hooked(hook):
            given = around(x, generator(x, self.direction)) if start is None else torch.cat([x, x])
            ahead, behind = self.module(given).chunk(2)
        change: Tensor = ((ahead - behind) / (2 * _STEP)).flatten(1)
        return change

    def _hooked(self, hook: Callable[[Layer, Tensor], Tensor | None]) -> AbstractContextManager[None]:
        return layers_seen(self.module, self.layers, lambda number, output: hook(self.layers[number], output))
