"""Follow a shift of the image through a network: images in, one row an image and layer out."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn
from tqdm.auto import tqdm

from aliasing.depth.geometry import pads_circularly
from aliasing.depth.layers import Layer, choose_layers
from aliasing.depth.profile import Profile, schema
from aliasing.depth.watch import Pair, Watch
from aliasing.errors import InputError, UsageError
from aliasing.images import BadImage, Clip, Entry, Image, ImageSource, open_images
from aliasing.jitter.engine import blocks, prepare_ahead
from aliasing.memory import keep_freed_memory
from aliasing.models import Classifier, load_model
from aliasing.protocols import Protocol, Views, make_protocol
from aliasing.records import Part, Records
from aliasing.sites.find import probe_of
from aliasing.sites.trace import Trace, trace

__all__ = ["probe_depth"]

BATCH_SIZE = 16
DEFAULT_PROTOCOL = "crop:span=1"
# What these do to an image is no shift, so no layer's map can be moved to follow it.
_NO_SHIFT = ("scale", "rotate", "frames", "consistency-cifar", "consistency")


def probe_depth(
    model: str | nn.Module | Classifier | Sequence[str | nn.Module | Classifier],
    images: Any = "sample",
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    *,
    layers: str | Sequence[str] = "blocks",
    limit: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool = False,
) -> Profile:
    """Follow a small shift of the image through a network, layer by layer.

    Parameters
    ----------
    model : str, nn.Module or Classifier, or a sequence of them
        Networks, by name (see :func:`aliasing.load_model`) or as they are.
    images : str, Path, sequence or ImageSource
        What :func:`aliasing.images.open_images` takes.
    protocol : str or Protocol
        How an image becomes views that differ by a shift (see :mod:`aliasing.protocols`): by default two windows one
        pixel apart, diagonally. ``circular:pixels=1`` rolls the view instead; on a network that pads circularly the
        numbers are then exact, otherwise one cell at each side is left out, and they are marked.
    layers : "blocks", "leaves", or names of modules
        See :func:`aliasing.depth.layers.blocks`.
    limit : int, optional
        Look at the first so many images.
    batch_size : int
        Views that the network sees at once; all views of an image are in one batch.
    seed : int
        For protocols that draw at random.
    out : str or Path, optional
        A folder for the records; a run that was stopped goes on where it stopped. In memory where it is not given.
    progress : bool
        Show a progress bar where standard error is a terminal.

    Returns
    -------
    Profile
        ``.table()`` has a row a layer, ``.summary()`` all that was measured, with intervals.

    Raises
    ------
    UsageError
        An option that makes no sense.
    InputError
        No usable image, a model that cannot be loaded, a folder that holds another run.

    Examples
    --------
    >>> from torch import nn
    >>> import aliasing as al
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> profile = al.probe_depth(network, "sample", limit=2)
    >>> [(layer["name"], layer["cumulative_stride"]) for layer in profile.summary()["models"]["Sequential"]["layers"]]
    [('1', [1.0, 1.0]), ('2', [2.0, 2.0]), ('3', None), ('4', None)]
    """
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}; it must be at least 1")
    if limit is not None and limit < 1:
        raise UsageError(f"limit is {limit}; it must be at least 1")
    protocol = make_protocol(protocol)
    if protocol.name in _NO_SHIFT:
        raise UsageError(f"the protocol {protocol.name} is no small shift of the image; choose crop, circular or pad")
    keep_freed_memory()
    source = images if isinstance(images, ImageSource) else open_images(images)
    records = Records(Path(out) if out is not None else None)
    settings = {
        "images": source.description,
        "limit": limit,
        "protocol": protocol.parameters(),
        "layers": layers if isinstance(layers, str) else list(layers),
        "seed": seed,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
    }
    described: dict[str, dict[str, Any]] = {}
    for given in [model] if isinstance(model, (str, nn.Module, Classifier)) else model:
        network = load_model(given)
        if network.name in described:
            raise UsageError(
                f"{network.name} is given twice; give each network once, and your own under their own names"
            )
        record = trace(*probe_of(network, None))
        seen = choose_layers(record, layers)
        margins = [margin_of(layer, network.input_size, record, protocol) for layer in seen]
        described[network.name] = _describe(network, protocol, seen, margins)
        records.begin(network.name, {**settings, "weights": network.weights})
        _measure(network, seen, margins, source, protocol, records, settings, progress)
    if not described:
        raise UsageError("no network was given")
    return Profile(described, protocol, settings, records)


def margin_of(layer: Layer, input_size: int, record: Trace, protocol: Protocol) -> int | None:
    """How many cells at each side of a layer's map the border of the image or of the padding contaminates at least.

    None where the layer has no map, or one so small that nothing would be left of it; 0 where nothing does: on
    circular shifts, where all padding is circular and the grid closes.
    """
    if not layer.is_map or layer.stride is None:
        return None
    whole = all(cells * step == input_size for cells, step in zip(layer.cells, layer.stride, strict=True))
    if protocol.name == "circular" and whole and pads_circularly(record):
        return 0
    return 1 if min(layer.cells) > 3 else None


def _measure(
    model: Classifier,
    layers: Sequence[Layer],
    margins: Sequence[int | None],
    source: ImageSource,
    protocol: Protocol,
    records: Records,
    settings: dict[str, Any],
    progress: bool,
) -> None:
    """Measure what has not been measured yet of one network."""

    def entries() -> Iterator[Entry]:
        return islice(iter(source), settings["limit"])

    hidden = not (progress and sys.stderr.isatty())
    total = None if hidden else sum(1 for _ in entries())
    with tqdm(total=total, desc=model.name, unit="image", disable=hidden) as bar:
        for index, block in blocks(entries()):
            if not records.has(model.name, index):
                looked = _Block(model, layers, margins, protocol, settings)
                records.write(model.name, index, looked.measure(block, bar.update))
                continue
            if records.read(model.name, index).images != [entry.name for entry in block]:
                raise InputError(f"the images are not those that {records.directory} began with; choose another --out")
            bar.update(len(block))
    if not any(len(part.table) or part.not_finite for part in records.parts(model.name)):
        skipped = {name: reason for part in records.parts(model.name) for name, reason in part.skipped.items()}
        first = next((f"; the first is {name}: {reason}" for name, reason in skipped.items()), "")
        raise InputError(f"no usable image in {source.description}: {len(skipped)} skipped{first}")


@dataclass
class _Block:
    """The measurement of one block of images: full batches, in the source's order."""

    model: Classifier
    layers: Sequence[Layer]
    margins: Sequence[int | None]
    protocol: Protocol
    settings: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, block: Sequence[Entry], seen: Any) -> Part:
        part = Part(schema().empty_table(), images=[entry.name for entry in block])

        def prepare(entry: Entry) -> tuple[Image | Clip, Views] | BadImage:
            try:
                image = entry.load()
                return image, self.protocol.views(image, self.model, self.settings["seed"])
            except BadImage as error:
                return error

        def usable() -> Iterator[tuple[str, Image | Clip, Views]]:
            for entry, prepared in prepare_ahead(block, prepare):
                if isinstance(prepared, BadImage):
                    part.skipped[entry.name] = str(prepared)
                    seen()
                else:
                    yield entry.name, *prepared

        for batch in _batches(usable(), self.settings["batch_size"]):
            part.not_finite.extend(self._look(batch))
            for _ in batch:
                seen()
        return Part(pa.Table.from_pylist(self.rows, schema()), part.images, part.skipped, part.not_finite)

    def _look(self, batch: list[tuple[str, Image | Clip, Views]]) -> list[str]:
        """Show one batch to the network; the names of images on which its features are not finite."""
        pictures: list[npt.NDArray[np.float32]] = []
        pairs = []
        for number, (_, _, views) in enumerate(batch):
            for first, second in views.pairs:
                a, b = views.views[first].shift, views.views[second].shift
                shift = b[0] - a[0], b[1] - a[1]
                pairs.append(Pair(len(pictures) + first, len(pictures) + second, shift, number))
            pictures.extend(view.draw() for view in views.views)
        watch = Watch(self.layers, self.margins, pairs)
        with torch.inference_mode(), watch.on(self.model.module):
            self.model.module(self.model.normalize(np.stack(pictures)))
        bad = {batch[number][0] for number in watch.not_finite}
        means = {key: math.fsum(values) / len(values) for key, values in watch.values.items()}
        for number, (name, image, _) in enumerate(batch):
            if name in bad:
                continue
            for index, layer in enumerate(self.layers):
                row = {"model": self.model.name, "image": image.identity, "name": name, "place": layer.name}
                measures = ("relative_change", "cosine_similarity", "equivariance_error")
                self.rows.append(row | {measure: means.get((index, number, measure)) for measure in measures})
        return [name for name, _, _ in batch if name in bad]


def _batches(
    shown: Iterable[tuple[str, Image | Clip, Views]], size: int
) -> Iterator[list[tuple[str, Image | Clip, Views]]]:
    """As many images at once as have no more than ``size`` views together, and one at least."""
    batch: list[tuple[str, Image | Clip, Views]] = []
    for item in shown:
        if batch and sum(len(views.views) for _, _, views in [*batch, item]) > size:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _describe(
    model: Classifier, protocol: Protocol, layers: Sequence[Layer], margins: Sequence[int | None]
) -> dict[str, Any]:
    """What a reader of a summary must know of a network, and the geometry of its layers."""
    return {
        "weights": model.weights,
        "input_size": model.input_size,
        "geometry": protocol.geometry(model),
        "notes": list(model.notes),
        "layers": [
            {**layer.as_dict(), "margin": margin, "note": _note(layer, margin)}
            for layer, margin in zip(layers, margins, strict=True)
        ],
    }


def _note(layer: Layer, margin: int | None) -> str:
    """What there is to know before a layer's numbers are compared with another's."""
    if layer.form == "other":
        return f"neither a map nor tokens nor a vector ({'×'.join(map(str, layer.shape))}): nothing is measured"
    if layer.form == "tokens":
        return "tokens, no map: only their average is compared"
    if layer.form == "vector":
        return "a vector, no map: only the vector itself is compared"
    if margin is None:
        return "a map too small to leave its border out: only its average is compared"
    return "" if margin == 0 else "boundary-contaminated"
