r"""Feature maps while the image moves, and the change of their global averages.

A map that is *shiftable* (Simoncelli et al. 1992) moves with the image and keeps its global average; a map that was
subsampled below its Nyquist rate changes instead (Azulay & Weiss 2019). How much the averages of a layer change from
one view to the next, relative to their size, is

.. math:: \frac{\sum_{(t, t')} \sum_c |\bar a_c(t') - \bar a_c(t)|}
               {\text{pairs} \cdot \sum_c \langle |\bar a_c(t)| \rangle_t}

with :math:`\bar a_c(t)` the global average of channel *c* for view *t*. Some change does not come from the network:
under every protocol but ``circular`` the views show different content at their border. The average of the picture
itself, the layer ``input``, shows how much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate, Mean
from aliasing.fitting import Size
from aliasing.hooks import seen
from aliasing.images import BadImage, Loaded, choose_images
from aliasing.jitter.network import Execution, evaluated, require_independence
from aliasing.models import ShownNetwork, load_model
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.registry import did_you_mean
from aliasing.sites.find import probe_of
from aliasing.sites.trace import record_calls
from aliasing.undisturbed import in_evaluation, surroundings_kept

Array: TypeAlias = npt.NDArray[np.float32]
Kind: TypeAlias = Literal["map", "tokens", "sequence", "vector"]

INPUT = "input"
_CHOSEN = 6


@dataclass(frozen=True)
class LayerMaps:
    """The output of one layer for each view.

    Attributes
    ----------
    layer : the module's qualified name; ``input`` for the view itself, in 0…1.
    kind : "map"; "tokens" arranged as the rectangle that they come from, without class tokens; "sequence", tokens that
        do not form a square; or "vector", which has no positions.
    maps : float32 array, (views, channels, H, W)
    """

    layer: str
    kind: Kind
    maps: Array

    @property
    def averages(self) -> Array:
        """The global average of each channel for each view, (views, channels)."""
        averages: Array = self.maps.mean((2, 3))
        return averages

    def typical_channel(self) -> int:
        """The active channel whose average has the median change along the views.

        A channel is active if the magnitude of its average is at least the mean over the channels.
        """
        averages = self.averages.astype(np.float64)
        size = np.abs(averages).mean(0)
        active = np.flatnonzero(size >= size.mean())
        change = np.abs(np.diff(averages[:, active], axis=0)).sum(0) / np.maximum(size[active], 1e-30)
        return int(active[np.argsort(change, kind="stable")[len(active) // 2]])


@dataclass(frozen=True)
class MovingMaps:
    """The maps of chosen layers while one image moves.

    Attributes
    ----------
    model, image, unit : names, and the unit of the positions.
    positions : float array, (views,)
    pictures : float32 array, (views, H, W, 3), 0…255
    layers : in the requested order.
    """

    model: str
    image: str
    unit: str
    positions: npt.NDArray[np.float64]
    pictures: Array
    layers: tuple[LayerMaps, ...]

    def numbers(self, channels: Sequence[int]) -> dict[str, Any]:
        """The global average of one channel of each layer along the path, for JSON."""
        return {
            "model": self.model,
            "image": self.image,
            "unit": self.unit,
            "positions": self.positions.tolist(),
            "layers": [
                {
                    "layer": layer.layer,
                    "kind": layer.kind,
                    "size": list(layer.maps.shape[2:]),
                    "channel": channel,
                    "average": layer.averages[:, channel].tolist(),
                }
                for layer, channel in zip(self.layers, channels, strict=True)
            ],
        }


def drawn_channels(results: Sequence[MovingMaps]) -> list[tuple[int, ...]]:
    """A typical channel for each network and layer.

    If an earlier network has a layer of the same name with the same number of channels, it is that network's channel,
    so that the two can be compared.
    """
    known: dict[tuple[str, int], int] = {}
    return [
        tuple(known.setdefault((layer.layer, layer.maps.shape[1]), layer.typical_channel()) for layer in result.layers)
        for result in results
    ]


@dataclass(frozen=True)
class AverageChange:
    """How much the global averages of each layer change from view to view, over images.

    Attributes
    ----------
    layers : the mean over images of the relative change, by layer.
    images : the number of images.
    skipped : images that could not be shown, and why.
    """

    layers: dict[str, Estimate]
    images: int
    skipped: dict[str, str]


def choose_layers(model: str | nn.Module | ShownNetwork, example_input: Any = None) -> list[str]:
    """One layer for each resolution: the last module with maps of that size among the least nested ones.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 1), nn.ReLU())
    >>> choose_layers(net, torch.zeros(1, 3, 8, 8))
    ['1', '4']
    """
    network = load_model(model) if isinstance(model, str) else model
    found: dict[tuple[int, ...], tuple[int, int, str]] = {}
    record = record_calls(*probe_of(network, example_input))
    for call in record.module_calls:
        if call.output is None or not call.name or not call.output.is_signal:
            continue
        positions = _positions(call.output.shape, record.input_shapes[0][-2:])
        if positions is None or math.prod(positions) == 1:
            continue
        candidate = (-call.name.count("."), call.last, call.name)
        found[positions] = max(found.get(positions, candidate), candidate)
    names = [name for _, _, name in sorted(found.values(), key=lambda chosen: chosen[1])]
    return names if len(names) <= _CHOSEN else [names[round(k)] for k in np.linspace(0, len(names) - 1, _CHOSEN)]


def convolutions(model: ShownNetwork) -> list[str]:
    """The names of the network's convolutions, in the order of a run."""
    record = record_calls(*probe_of(model, None))
    return list(dict.fromkeys(call.name for call in record.module_calls if isinstance(call.module, nn.Conv2d)))


@surroundings_kept()
def layer_outputs(model: ShownNetwork, views: Array, layers: Sequence[str]) -> list[LayerMaps]:
    """The outputs of layers, at their first use, for a batch of views N×H×W×3 in 0…255; ``input`` is the view.

    Raises UsageError if there is no such layer, it does not run, or its output is not a tensor with a value per view.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> half = (0.5, 0.5, 0.5)
    >>> net = Classifier(nn.Sequential(nn.Conv2d(3, 10, 8)), "tiny", 8, half, half, "bilinear", 8, 1.0)
    >>> [(found.layer, found.kind, found.maps.shape) for found in layer_outputs(net, np.zeros((2, 8, 8, 3)), ["0"])]
    [('0', 'map', (2, 10, 1, 1))]
    """
    model = evaluated(model, model.device.type)
    modules = [name for name, _ in model.module.named_modules()]
    outputs: dict[str, Any] = {}
    for name in layers:
        if name not in (INPUT, *modules):
            hint = did_you_mean(name, modules) or "; its layers are modules"
            raise UsageError(f"{model.name} has no layer {name!r}{hint}")

    def keep(name: str, call: int, args: Any, output: Any) -> None:
        if name not in outputs:  # the first use
            # Copied, because the next module may work in place.
            outputs[name] = output.clone() if isinstance(output, Tensor) else output

    with seen(model.module, layers, keep), torch.inference_mode(), in_evaluation(model.module):
        model.module(model.normalize(views).to(model.device))
    outputs[INPUT] = torch.from_numpy(np.asarray(views, np.float32) / 255).permute(0, 3, 1, 2)
    found = []
    for name in layers:
        output = outputs.get(name)
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != len(views):
            what = "does not run" if name not in outputs else "does not return a tensor with a value for each view"
            raise UsageError(f"layer {name!r} of {model.name} {what}; choose another")
        kind, maps = _as_map(output, views.shape[1:3])
        found.append(LayerMaps(name, kind, maps.float().cpu().numpy()))
    return found


@surroundings_kept()
def follow_maps(
    model: str | nn.Module | ShownNetwork,
    image: Loaded,
    protocol: str | ViewProtocol = "crop",
    layers: Sequence[str] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> MovingMaps:
    """The maps of chosen layers for each view of one image.

    Parameters
    ----------
    model, protocol, seed, device : as for :func:`aliasing.measure_jitter`
    image : Image or Clip
    layers : sequence of str, optional
        As for :func:`layer_outputs`; by default ``input`` and :func:`choose_layers`.

    Raises BadImage if it cannot be shown in this way.
    """
    Execution(device)
    network, protocol = evaluated(load_model(model), device), make_protocol(protocol)
    views = protocol.views(image, network, seed).views
    pictures = np.stack([view.draw() for view in views])
    positions = np.array([view.position for view in views])
    found = layer_outputs(network, pictures, layers if layers is not None else [INPUT, *choose_layers(network)])
    return MovingMaps(network.name, image.name, protocol.unit, positions, pictures, tuple(found))


@surroundings_kept()
def average_change(
    model: str | nn.Module | ShownNetwork,
    images: Any = "sample",
    protocol: str | ViewProtocol = "crop",
    layers: Sequence[str] | None = None,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> AverageChange:
    """How much the global averages of chosen layers change from view to view: the mean over images, with its interval.

    The parameters are those of :func:`follow_maps`; ``images``, ``limit`` and
    ``sample`` as in :func:`aliasing.measure_jitter`.

    Raises InputError if no image can be used.

    Examples
    --------
    >>> convolution = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    >>> net = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> found = average_change(net, "sample", "circular:pixels=2", ["0"], limit=2)
    >>> found.layers["0"].value < 1e-4
    True
    """
    network, protocol = evaluated(load_model(model)), make_protocol(protocol)
    source = choose_images(images, limit=limit, sample=sample, seed=seed)
    names = layers if layers is not None else [INPUT, *choose_layers(network)]
    means = {name: Mean() for name in names}
    skipped: dict[str, str] = {}
    count = 0
    for entry in source:
        try:
            views = protocol.views(entry.load(), network, seed)
        except BadImage as error:
            skipped[entry.name] = str(error)
            continue
        pictures = np.stack([view.draw() for view in views.views])
        if not count:
            require_independence(network, pictures)
        count += 1
        for output in layer_outputs(network, pictures, names):
            change = _relative_change(output.averages.astype(np.float64), views.pairs)
            if math.isfinite(change):
                means[output.layer].add(change)
    if not count:
        first = "; the first is {}: {}".format(*next(iter(skipped.items()))) if skipped else ""
        raise InputError(f"no usable image in {source.description}: {len(skipped)} skipped{first}")
    return AverageChange({name: mean.estimate() for name, mean in means.items()}, count, skipped)


def _relative_change(averages: npt.NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> float:
    first, second = np.array(pairs, dtype=np.intp).T
    size = np.abs(averages).mean(0).sum()
    change = np.abs(averages[second] - averages[first]).sum(1).mean()
    return float(change / size) if size else math.nan


def _as_map(output: Tensor, view: tuple[int, ...]) -> tuple[Kind, Tensor]:
    """An output as N×C×H×W, and its kind."""
    if output.ndim == 2:
        return "vector", output[:, :, None, None]
    if output.ndim == 3:
        for first in range(6):  # class, distillation and register tokens come first
            cells = _grid_of(output.shape[1] - first, view)
            if cells is not None:
                return "tokens", output[:, first:].transpose(1, 2).reshape(len(output), output.shape[2], *cells)
        return "sequence", output.transpose(1, 2)[:, :, None, :]
    if output.ndim > 4:
        return "sequence", output.flatten(2)[:, :, None, :]
    return "map", output.permute(0, 3, 1, 2) if _channels_are_last(tuple(output.shape), view) else output


def _grid_of(tokens: int, view: tuple[int, ...]) -> Size | None:
    """The rows and columns, with the view's aspect, that this number of tokens fills, or None."""
    rows = math.isqrt(max(tokens, 0) * view[0] // view[1])
    columns = rows * view[1] // view[0]
    return (rows, columns) if rows * columns == tokens > 1 and rows * view[1] == columns * view[0] else None


def _channels_are_last(shape: tuple[int, ...], view: tuple[int, ...]) -> bool:
    """Whether this is N×H×W×C, as in Swin: two axes with the view's aspect are the positions."""
    return shape[1] * view[1] == shape[2] * view[0] and shape[2] * view[1] != shape[3] * view[0]


def _positions(shape: tuple[int, ...], view: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes of the positions of an output, or None."""
    if len(shape) == 4:
        return shape[1:3] if _channels_are_last(shape, view) else shape[2:]
    return shape[1:2] if len(shape) == 3 else None
