"""`probe_features`: a network's feature maps while an image moves, and what their averages do over many images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import nn

from aliasing import remarks
from aliasing.depth.feature_maps import (
    INPUT,
    AverageChange,
    LayerMaps,
    MovingMaps,
    average_change,
    choose_layers,
    convolutions,
    follow_maps,
    layer_outputs,
)
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate
from aliasing.images import choose_images
from aliasing.lineage import describe_lineage
from aliasing.models import ShownNetwork
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.provenance import command_line, versions
from aliasing.result import Result, read_summary
from aliasing.runner import load_for
from aliasing.tables import Format, cell, flat, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Features(Result):
    """A network's feature maps while images move.

    Attributes
    ----------
    change : how much the global averages of each layer change, over the images.
    described : the network, the images, the settings, and what is drawn: image, each layer's channel, filters' layer.
    moving : the maps of the layers for each view of the image that is drawn; None if read from a folder.
    filters : the output, for one view, of the layer whose filters are drawn; None if read from a folder.
    outputs : the same of the layers that were asked for, or of every convolution.
    channel : the channel that is drawn; None for each layer's typical one.
    """

    change: AverageChange
    described: dict[str, Any]
    moving: MovingMaps | None = None
    filters: LayerMaps | None = None
    outputs: Sequence[LayerMaps] = ()
    channel: int | None = None

    def summary(self) -> dict[str, Any]:
        """The change of each layer's averages as ``{"value", "low", "high"}``, settings and versions."""
        return {
            **self.described,
            "layers": {name: estimate.as_dict() for name, estimate in self.change.layers.items()},
            "measure": "relative change of the global averages from one view to the next, mean over images",
            "versions": versions(),
            "command": command_line(),
        }

    def table(self) -> pa.Table:
        """One row per layer: the change of its averages, with the ends of its interval."""
        rows = [{"layer": name, "change": estimate.as_dict()} for name, estimate in self.change.layers.items()]
        return pa.Table.from_pylist(flat(rows))

    def readable(self, form: Format) -> list[str]:
        """The change of each layer as text."""
        title = "change of the global averages per step"
        rows = [{"layer": name, title: cell(found.as_dict())} for name, found in self.change.layers.items()]
        return [render(rows, form)]

    def remarks(self) -> list[str]:
        """What the changes are relative to, and the images that were skipped."""
        return [*remarks.of_means("relative to their size", self.described["images"])]

    def plot(self) -> "Figure":
        """The maps of one image while it moves, and their averages (:func:`aliasing.plots.moving_maps`)."""
        from aliasing import plots

        if self.moving is None:
            raise InputError("this folder holds no maps to draw; run `aliasing features` again with --out")
        return plots.moving_maps(self.moving, self.change, self.channel)

    @classmethod
    def open(cls, folder: str | Path) -> "Features":
        """Read the numbers of `aliasing features --out FOLDER`; the maps are not kept."""
        summary = read_summary(Path(folder), "features")
        layers = {name: Estimate.of(found) for name, found in summary["layers"].items()}
        described = {key: value for key, value in summary.items() if key not in ("layers", "versions", "command")}
        return cls(AverageChange(layers, summary["images"]["used"], summary["images"]["skipped"]), described)

    def _write_records(self, folder: Path) -> None:
        """``filters.png`` and ``layers.png``: what the figure has no room for."""
        from aliasing import plots

        if self.filters is not None:
            plots.save(plots.filters(self.filters, self.described["model"]), folder / "filters.png")
            plots.save(plots.layers(self.outputs, self.described["model"]), folder / "layers.png")


def probe_features(
    model: str | nn.Module | ShownNetwork,
    images: Any = "sample",
    protocol: str | ViewProtocol = "crop",
    layers: Sequence[str] | None = None,
    *,
    filters: str | None = None,
    channel: int | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Features:
    """Probe a network's feature maps: the change of their averages over images, and the maps of the first image.

    Parameters
    ----------
    model, images, protocol, limit, sample, seed : as for :func:`aliasing.measure_jitter`
        The first image is drawn.
    layers : sequence of str, optional
        Modules, or ``input``; by default ``input`` and one layer for each resolution
        (:func:`aliasing.depth.feature_maps.choose_layers`).
    filters : str, optional
        The layer whose filters are drawn; by default the first of the layers.
    channel : int, optional
        The channel that is drawn; by default each layer's typical one.

    Returns
    -------
    Features
        Has ``summary()``, ``table()`` and ``plot()``.

    Raises
    ------
    InputError
        If no image can be used.
    UsageError
        If there is no such layer, channel or protocol.

    Examples
    --------
    >>> from torch import nn
    >>> convolution = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    >>> net = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> found = probe_features(net, "sample", "circular:pixels=2", ["0"], limit=2)
    >>> found.table().column_names, found.moving.layers[0].layer
    (['layer', 'change', 'change_low', 'change_high'], '0')
    """
    if channel is not None and channel < 0:
        raise UsageError(f"channels are numbered from 0; got channel {channel}")
    source = choose_images(images, limit=limit, sample=sample, seed=seed)
    network, moved = load_for(model, source), make_protocol(protocol)
    names = list(layers) if layers else [INPUT, *choose_layers(network)]
    change = average_change(network, source, moved, names, seed=seed)
    first = next(entry for entry in source if entry.name not in change.skipped).load()
    moving = follow_maps(network, first, moved, names, seed=seed)
    every = convolutions(network)
    chosen = filters or next((name for name in (*names, *every) if name != INPUT), INPUT)
    drawn = {
        "image": first.name,
        "channels": {layer.layer: layer.typical_channel() for layer in moving.layers},
        "filters_of": chosen,
    }
    described = {
        "model": network.name,
        "identity": network.identity,
        "weights": network.weights,
        **describe_lineage(network),
        "images": {"source": source.description, "used": change.images, "skipped": change.skipped},
        "settings": {"protocol": moved.parameters(), "limit": source.limit, "sample": source.sample, "seed": seed},
        "drawn": drawn,
    }
    view = moving.pictures[:1]
    of_filters, *outputs = layer_outputs(network, view, [chosen, *(layers or every or names)])
    return Features(change, described, moving, of_filters, outputs, channel)
