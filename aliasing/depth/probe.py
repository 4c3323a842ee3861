"""Following a shift of the image through a network, with one record per image and layer."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from aliasing.blackbox import BlackBox
from aliasing.depth.dense import Place, places, watching
from aliasing.depth.folding import measure_site
from aliasing.depth.layers import Layer, choose_layers
from aliasing.depth.opened import opened
from aliasing.depth.padding import pads_circularly
from aliasing.depth.profile import Profile, schema
from aliasing.depth.watch import Pair, Watch
from aliasing.errors import UsageError
from aliasing.identity import identify
from aliasing.images import ImageSource, Loaded, open_images
from aliasing.jitter.dependence import Independence
from aliasing.jitter.engine import open_blocks
from aliasing.jitter.faults import at_work
from aliasing.jitter.network import Execution, answers_of, as_array, evaluated, rounding_unit
from aliasing.lineage import describe_lineage
from aliasing.models import ShownNetwork
from aliasing.protocols import ViewProtocol, Views, make_protocol
from aliasing.records import BLOCK_SIZE, Part
from aliasing.runner import Networks, each_network, one_of, open_run, shows_signals
from aliasing.runs import ALONE, Blocks, Ranks, hold
from aliasing.sites.find import probe_of
from aliasing.sites.trace import Recording, record_calls
from aliasing.undisturbed import in_evaluation, surroundings_kept

Array: TypeAlias = npt.NDArray[np.float32]
Shown: TypeAlias = tuple[str, str, Views, bool]
"""An image's name, its identity, its views, and whether the sites are measured on it."""

BATCH_SIZE = 16
SITES_EVERY = 8
_SEEN = ("input_size", "resize_size", "rate")  # of how a network sees images, what its summary says
DEFAULT_PROTOCOL, OF_SIGNALS = "crop:span=1", "samples:steps=1"


@surroundings_kept()
def probe_depth(
    model: str | nn.Module | ShownNetwork | Sequence[str | nn.Module | ShownNetwork],
    images: Any = "sample",
    protocol: str | ViewProtocol | None = None,
    *,
    inputs: Any = None,
    layers: str | Sequence[str] = "blocks",
    sites_every: int = SITES_EVERY,
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
    timeout: float | None = None,
) -> Profile:
    """Follow a small shift of the image through a network, layer by layer.

    Parameters
    ----------
    model, images, inputs, limit, sample, batch_size, seed, out, progress, ranks, timeout
        As for :func:`aliasing.measure_jitter`; all views of an image are in one batch.
    protocol : str or ViewProtocol, optional
        How an image becomes views that differ by a shift (see :mod:`aliasing.protocols`): by default two windows one
        pixel apart, diagonally, or one sample of a signal. ``circular:pixels=1`` rolls the view instead; in a network
        with circular padding the numbers are then exact, otherwise one cell at each side is left out, and they are
        marked.
    layers : "blocks", "leaves", or names of modules
        See :func:`aliasing.depth.layers.blocks`; of an ONNX file :mod:`aliasing.depth.opened`.
    sites_every : int
        Measure the downsampling sites only on every ``sites_every``-th image: a dense map costs stride² times as much.
    device : str
        "cpu", "cuda" (or "cuda:1"), "mps": where the networks run and their maps are compared.

    Returns
    -------
    Profile
        ``.table()`` has a row per layer, ``.summary()`` everything with its intervals.

    Raises
    ------
    UsageError
        An option makes no sense.
    InputError
        No image is usable, a model cannot be loaded, or the folder holds another run.

    Examples
    --------
    >>> from torch import nn
    >>> import aliasing as al
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> profile = al.probe_depth(network, "sample", limit=2)
    >>> [(layer["name"], layer["cumulative_stride"]) for layer in profile.summary()["models"]["Sequential"]["layers"]]
    [('1', [1.0, 1.0]), ('2', [2.0, 2.0]), ('3', None), ('4', None)]
    """
    if sites_every < 1:
        raise UsageError(f"sites_every is at least 1, for every image; got {sites_every}")
    source = open_images(one_of(images, inputs))
    protocol = make_protocol(protocol or default_protocol(model, source))
    if not protocol.is_shift:
        raise UsageError(f"the protocol {protocol.name} is not a small shift; choose crop, circular or pad")
    Execution(device)
    chosen = layers if isinstance(layers, str) else list(layers)
    own = {"layers": chosen, "sites_every": sites_every, "device": device}
    run, settings = open_run(source, protocol, limit, sample, batch_size, seed, out, progress, ranks, timeout, own)
    described: dict[str, dict[str, Any]] = {}
    with hold(run.records.directory, ranks):
        for given in each_network(model, run.source):
            protocol.require(given)
            network = evaluated(given, device)
            sites: Sequence[Place] = ()
            with at_work(network.name, ["a picture of zeros"], timeout):
                identity = identify(network)
                if isinstance(network.module, BlackBox):
                    record = None
                    network, seen = opened(network, layers)
                else:
                    record = record_calls(*probe_of(network, None))
            if record is not None:
                seen, sites = choose_layers(record, layers), places(network.module, record)
            margins = [margin_of(layer, network, record, protocol) for layer in seen]
            subject = Subject(network, seen, margins, sites, protocol, sites_every, timeout, device)
            described[network.name] = {
                "identity": identity.digest,
                "weights": {**network.origin, "sha256": identity.weights},
                **describe_lineage(given),
                **subject.describe(),
            }
            work = partial(_measure_blocks, subject, settings)
            run.measure(network.name, [network.name], {**settings, **asdict(identity)}, work)
    return Profile(described, protocol, settings, run.records)


def default_protocol(models: Networks, source: ImageSource) -> str:
    """The name of the protocol for these networks and inputs: two windows, one pixel or one sample apart."""
    return OF_SIGNALS if shows_signals(models, source) else DEFAULT_PROTOCOL


def margin_of(layer: Layer, model: ShownNetwork, record: Recording | None, protocol: ViewProtocol) -> int | None:
    """The least number of cells at each side of a layer's map that the border of the image or padding contaminates.

    None if the layer has no map, or one so small that nothing would be left; 0 under circular shifts, if all padding is
    circular and the grid closes.
    """
    if not layer.is_map or layer.stride is None:
        return None
    covered = tuple(cells * step for cells, step in zip(layer.cells, layer.stride, strict=True))
    whole = covered == model.view_size
    if protocol.is_circular and whole and record is not None and pads_circularly(model.module, record):
        return 0
    return 1 if min(layer.cells) > 3 else None


@dataclass(frozen=True)
class Subject:
    """A network, its observed layers and sites, and how it sees images."""

    model: ShownNetwork
    layers: Sequence[Layer]
    margins: Sequence[int | None]
    places: Sequence[Place]
    protocol: ViewProtocol
    sites_every: int
    timeout: float | None = None
    device: str = "cpu"

    @cached_property
    def independence(self) -> Independence:
        """The check that the network's answers depend on its views alone."""
        unit = rounding_unit(self.model, self.device)
        return Independence(self.model.name, answers_of(self.model, self.device), unit, self.model.full_scale)

    def describe(self) -> dict[str, Any]:
        """The description of the network, its layers and its sites in a summary."""
        return {
            **{name: value for name, value in self.model.preprocessing().items() if name in _SEEN},
            "geometry": self.protocol.sizes(self.model),
            "notes": [*self.model.notes, *self.protocol.resized_otherwise(self.model)],
            "layers": [
                {**layer.as_dict(), "margin": margin, "note": _note(layer, margin)}
                for layer, margin in zip(self.layers, self.margins, strict=True)
            ],
            "sites": [
                {
                    **{key: getattr(place.site, key) for key in ("name", "kind", "role")},
                    **{key: list(getattr(place.site, key)) for key in ("stride", "cumulative_stride")},
                    "status": place.site.status,
                    "depth": sum(layer.end <= place.index for layer in self.layers),
                    "note": place.site.note if place.is_met else "its dense map cannot be observed: not measured",
                }
                for place in self.places
            ],
        }


def _measure_blocks(
    subject: Subject, settings: dict[str, Any], blocks: Blocks, seen: Callable[..., Any]
) -> Iterator[tuple[int, Part]]:
    """Measure blocks of images, in full batches and in the source's order."""

    def views_of(image: Loaded) -> Views:
        return subject.protocol.views(image, subject.model, settings["seed"])

    for index, part, usable in open_blocks(blocks, views_of, schema(), seen, subject.device):
        start = index * BLOCK_SIZE - 1  # the part has noted the image that comes, too
        shown = (
            (name, image.identity, views, (start + len(part.images)) % subject.sites_every == 0)
            for name, image, views in usable
        )
        rows: list[dict[str, Any]] = []
        for batch in _batches(shown, settings["batch_size"]):
            with at_work(subject.model.name, [name for name, *_ in batch], subject.timeout):
                looked = look(subject, batch)
            for (name, identity, *_), found in zip(batch, looked, strict=True):
                known = {"model": subject.model.name, "image": identity, "name": name}
                rows.extend(known | row for row in found)
                if not found:
                    part.not_finite.append(name)
                seen()
        yield index, replace(part, table=pa.Table.from_pylist(rows, schema()))


def look(subject: Subject, batch: Sequence[Shown]) -> list[list[dict[str, Any]]]:
    """Show one batch to the network, and return the rows of each image, or none if its features are not finite."""
    pictures: list[npt.NDArray[np.float32]] = []
    pairs: list[Pair] = []
    image_of_first: dict[int, int] = {}  # the first views of the images on which the sites are measured
    for number, (_, _, views, sites) in enumerate(batch):
        if sites:
            image_of_first[len(pictures)] = number
        for first, second in views.pairs:
            ends = zip(views.views[first].shift, views.views[second].shift, strict=True)
            moved = tuple(after - before for before, after in ends)
            pairs.append(Pair(len(pictures) + first, len(pictures) + second, moved, number))
        pictures.extend(view.draw() for view in views.views)
    watch = Watch(subject.layers, subject.margins, pairs)
    met = [place for place in subject.places if place.is_met]
    folded: dict[tuple[int, int], dict[str, Any]] = {}

    def note(place: int, view: int, before: Tensor, dense: Tensor, compares: bool) -> None:
        number = image_of_first[view]
        if not bool(dense.sum().isfinite() & before.sum().isfinite()):
            watch.not_finite.add(number)
        elif (place, number) not in folded:  # only the first use of a place counts
            before, dense = (x if x.dtype == torch.float64 else x.float() for x in (before, dense))
            values = measure_site(before, dense, met[place].site.stride, compares)
            finite = {key: value for key, value in values.items() if isinstance(value, list) or math.isfinite(value)}
            folded[place, number] = finite

    module, drawn = subject.model.module, np.stack(pictures)
    shown = subject.model.normalize(torch.from_numpy(drawn).to(subject.device))
    watched = watching(module, met if image_of_first else [], list(image_of_first), note)
    with torch.inference_mode(), in_evaluation(module), watch.on(module), watched:
        answer = module(shown)
    if isinstance(answer, Tensor):
        subject.independence.look(drawn, as_array(answer))

    def rows(number: int) -> list[dict[str, Any]]:
        layers = [
            {"what": "layer", "place": layer.name, **watch.averages(index, number)}
            for index, layer in enumerate(subject.layers)
        ]
        sites = [
            {"what": "site", "place": place.site.name, **folded[index, number]}
            for index, place in enumerate(met)
            if (index, number) in folded
        ]
        return layers + sites

    return [[] if number in watch.not_finite else rows(number) for number in range(len(batch))]


def _batches(shown: Iterable[Shown], size: int) -> Iterator[list[Shown]]:
    """Batches of images with at most ``size`` views together, and at least one image."""
    batch: list[Shown] = []
    for item in shown:
        if batch and sum(len(views.views) for _, _, views, _ in [*batch, item]) > size:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _note(layer: Layer, margin: int | None) -> str:
    """A note on comparing a layer's numbers with those of other layers."""
    if layer.form == "other":
        return f"neither a map nor tokens nor a vector ({'×'.join(map(str, layer.shape))}): nothing is measured"
    if layer.form == "tokens":
        return "tokens, not a map: only their average is compared"
    if layer.form == "vector":
        return "a vector, not a map: only the vector itself is compared"
    if margin is None:
        return "a map too small to leave out its border: only its average is compared"
    return "" if margin == 0 else "boundary-contaminated"
