"""`probe_features`: a network's feature maps while an image moves, and the change of their averages over images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import nn

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
from aliasing.errors import UsageError
from aliasing.images import Clip, Image, ImageSource, open_images
from aliasing.models import Classifier, load_model
from aliasing.protocols import ViewProtocol, make_protocol
from aliasing.provenance import command_line, versions, write_json
from aliasing.tables import cell, flat, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Features", "probe_features"]


@dataclass(frozen=True, repr=False)
class Features:
    """A network's feature maps while images move.

    Attributes
    ----------
    model : Classifier
    change : AverageChange
        How much the global averages of each layer change, over the images.
    protocol : ViewProtocol
    settings, images : dict
        The settings; the number of images used, and those that were skipped.
    first : Image or Clip
        The image that is drawn.
    asked : sequence of str or None
        The requested layers.
    filters_of : str or None
        The layer whose filters are drawn.
    channel : int or None
        The channel that is drawn; by default each layer's typical one.
    """

    model: Classifier
    change: AverageChange
    protocol: ViewProtocol
    settings: dict[str, Any]
    images: dict[str, Any]
    first: Image | Clip
    asked: Sequence[str] | None = None
    filters_of: str | None = None
    channel: int | None = None

    def summary(self) -> dict[str, Any]:
        """The change of each layer's averages as ``{"value", "low", "high"}``, settings and versions."""
        return {
            "model": self.model.name,
            "identity": self.model.identity,
            "weights": self.model.weights,
            "layers": {name: estimate.as_dict() for name, estimate in self.change.layers.items()},
            "measure": "relative change of the global averages from one view to the next, mean over images",
            "images": self.images,
            "settings": self.settings,
            "versions": versions(),
            "command": command_line(),
        }

    def table(self) -> pa.Table:
        """One row per layer: the change of its averages, with the ends of its interval."""
        return pa.Table.from_pylist(flat(self._rows()))

    @cached_property
    def moving(self) -> MovingMaps:
        """The maps of the layers for each view of the first image."""
        return follow_maps(self.model, self.first, self.protocol, list(self.change.layers), seed=self.settings["seed"])

    @cached_property
    def outputs(self) -> list[LayerMaps]:
        """The output for one view of the requested layers, or of every convolution."""
        layers = self.asked or convolutions(self.model) or list(self.change.layers)
        return layer_outputs(self.model, self.moving.pictures[:1], layers)

    @cached_property
    def filters(self) -> LayerMaps:
        """The output for one view of the layer whose filters are drawn."""
        inner = [name for name in (*self.change.layers, *convolutions(self.model)) if name != INPUT]
        chosen = self.filters_of or next(iter(inner), INPUT)
        return layer_outputs(self.model, self.moving.pictures[:1], [chosen])[0]

    def plot(self) -> "Figure":
        """The maps of the first image while it moves, and their averages (:func:`aliasing.plots.moving_maps`)."""
        from aliasing import plots

        return plots.moving_maps(self.moving, self.change, self.channel)

    def write(self, folder: str | Path) -> None:
        """Write ``summary.json`` (with what is ``drawn``), ``figure.png``, ``layers.png`` and ``filters.png``."""
        from aliasing import plots

        folder = Path(folder)
        plots.save(self.plot(), folder / "figure.png")
        plots.save(plots.filters(self.filters, self.model.name), folder / "filters.png")
        plots.save(plots.layers(self.outputs, self.model.name), folder / "layers.png")
        write_json(folder / "summary.json", self.summary() | {"drawn": self.drawn})

    @property
    def drawn(self) -> dict[str, Any]:
        """The contents of the figures: the image, the channel of each layer, the layer whose filters are drawn."""
        channels = {layer.layer: layer.typical_channel() for layer in self.moving.layers}
        return {"image": self.first.name, "channels": channels, "filters_of": self.filters.layer}

    def __repr__(self) -> str:
        return render(self._readable())

    def _repr_html_(self) -> str:
        return render(self._readable(), "html")

    def _rows(self) -> list[dict[str, Any]]:
        return [{"layer": name, "change": estimate.as_dict()} for name, estimate in self.change.layers.items()]

    def _readable(self) -> list[dict[str, Any]]:
        title = "change of the global averages per step"
        return [{"layer": row["layer"], title: cell(row["change"], 4)} for row in self._rows()]


def probe_features(
    model: str | nn.Module | Classifier,
    images: Any = "sample",
    protocol: str | ViewProtocol = "crop",
    layers: Sequence[str] | None = None,
    *,
    filters: str | None = None,
    channel: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Features:
    """Probe a network's feature maps: the change of their averages over images, and the maps of the first image.

    Parameters
    ----------
    model : str, nn.Module or Classifier
    images : as in :func:`aliasing.images.open_images`
        The first is drawn.
    protocol : str or ViewProtocol
        How the images move.
    layers : sequence of str, optional
        Modules, or ``input``; by default ``input`` and one layer for each resolution
        (:func:`aliasing.depth.feature_maps.choose_layers`).
    filters : str, optional
        The layer whose filters are drawn; by default the first of the layers.
    channel : int, optional
        The channel that is drawn; by default each layer's typical one.
    limit : int, optional
        Use the first N images only.
    seed : int
        For protocols that draw at random.

    Returns
    -------
    Features
        Has ``summary()``, ``table()`` and ``plot()``; the maps are computed when they are first needed.

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
    network, moved = load_model(model), make_protocol(protocol)
    source = images if isinstance(images, ImageSource) else open_images(images)
    names = list(layers) if layers else [INPUT, *choose_layers(network)]
    change = average_change(network, source, moved, names, limit=limit, seed=seed)
    first = next(entry for entry in source if entry.name not in change.skipped).load()
    used = {"source": source.description, "used": change.images, "skipped": change.skipped}
    settings = {"protocol": moved.parameters(), "limit": limit, "seed": seed}
    return Features(network, change, moved, settings, used, first, layers, filters, channel)
