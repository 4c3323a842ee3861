"""Measuring jitter: how much a network's answer changes when the image moves by one pixel.

A network is shown views of photographs that differ by a small shift, and its outputs (`aliasing.outputs`) are compared
pair by pair (Azulay & Weiss 2019).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import torch
from torch import nn

from aliasing.classes import MatchedLabels, in_classes, match_labels
from aliasing.errors import UsageError
from aliasing.identity import Identity, identify
from aliasing.images import Loaded, choose_images, open_images
from aliasing.jitter.design import PILOT, DrawnViews, Draws, plan_draws, require_design
from aliasing.jitter.engine import Compare, Show, in_batches, measure_blocks, table_of
from aliasing.jitter.faults import Guarded, at_work
from aliasing.jitter.gallery import embed_gallery
from aliasing.jitter.metrics import PairedMetrics, PairMetrics
from aliasing.jitter.network import Array, Execution, device_of, execution_of, has_fast_bfloat16, prepare, rounding_unit
from aliasing.jitter.precision import Verification, calibrate, output_in
from aliasing.jitter.result import Jitter
from aliasing.jitter.trace import Followed, PlaceTrace, Trace, trace
from aliasing.jitter.width import measure_until, width_of
from aliasing.lineage import describe_lineage
from aliasing.models import ShownNetwork, of_pictures
from aliasing.outputs.base import Output, with_drawn, with_third_axis
from aliasing.protocols import ViewProtocol, Views, enlarged_by_crop
from aliasing.protocols.base import USE_PAD, written
from aliasing.records import Part
from aliasing.runner import each_network, load_for, one_of, open_run, protocol_for
from aliasing.runs import ALONE, Blocks, Ranks, Run, hold
from aliasing.undisturbed import surroundings_kept

__all__ = [
    "Followed",
    "Jitter",
    "PairMetrics",
    "PairedMetrics",
    "PlaceTrace",
    "Trace",
    "measure_jitter",
    "trace",
    "trace_most_jittery",
]

BATCH_SIZE = 16

Margins: TypeAlias = Callable[[Any], Array]


@surroundings_kept()
def measure_jitter(
    model: str | nn.Module | ShownNetwork | Sequence[str | nn.Module | ShownNetwork],
    images: Any = "sample",
    protocol: str | ViewProtocol | None = None,
    *,
    inputs: Any = None,
    output: str = "probabilities",
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    design: str = "full",
    width: float | str | None = None,
    precision: str = "float32",
    device: str | None = None,
    mean: Any = None,
    std: Any = None,
    truth: Any = None,
    void: int | None = None,
    compiled: bool = False,
    out: str | Path | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
    timeout: float | None = None,
) -> Jitter:
    """Measure how much the answers of networks change under a small shift of the image, sound or other signal.

    Parameters
    ----------
    model : str, nn.Module or Classifier, or a sequence of them
        Networks, or their names (see :func:`aliasing.load_model`).
    images : str, Path, sequence or ImageSource
        As for :func:`aliasing.images.open_images`: ``"sample"``, a file, a folder, an archive, a data set; or, as in a
        training loop, a DataLoader, a Dataset or tensors N×C×H×W, which a bare module sees as they are. Sounds and
        other signals too (`aliasing.images.Signal`): a bare module sees them at the rate of the first, in the length of
        the longest of the first eight.
    protocol : str or ViewProtocol, optional
        How an image becomes views (see :mod:`aliasing.protocols`): by default ``"crop"``; ``"pad"`` for tensors, which
        are not resized if they have the network's input size, and for a (first) network of less than 80 pixels, for
        which ``"crop"`` would enlarge images;
        ``"samples"`` for signals, and for videos that a (first) network takes as volumes.
    inputs : Any, optional
        The same as ``images``, where that is not the word.
    output : str
        The output that is compared: one of `aliasing.outputs.OUTPUTS`. ``"embedding"`` measures a network that is not a
        classifier: the cosine distance between the views' embeddings, and whether the nearest neighbour among the other
        images changes. ``"values"`` measures the numbers of a regression.
    limit : int, optional
        Use the first N images only. In a folder with a subfolder for each class they are of the first classes.
    sample : int, optional
        Use N images, drawn at random by the seed and the hashes of their bytes (:mod:`aliasing.images.chosen`).
    batch_size : int
        Views per batch.
    seed : int
        For protocols with random views, for ``sample``, and for what is drawn.
    design : {"full", "two-phase"}
        ``two-phase`` shows every image once, draws further views with a chance that falls with the margin of the first,
        and weights what was drawn (see :mod:`aliasing.jitter.design`): intervals of the same width for a part of the
        views. It is for class probabilities and protocols with more than one pair.
    width : float or str, optional
        Stop as soon as the 95 % interval of P(top-1 change), or of the measure named in ``"mac=0.005"``, is so narrow
        for every network: on a random sample of the images that grows until it is (:mod:`aliasing.jitter.width`).
    precision : {"float32", "bfloat16", "verified"}
        ``verified`` uses bfloat16, repeats in float32 wherever rounding could have changed an answer, audits a random
        part of the rest, and takes the mean absolute change from that part (see :mod:`aliasing.jitter.precision`). On
        a device without fast bfloat16 it is float32, and the notes say so.
    device : str, optional
        "cpu", "cuda" (or "cuda:1"), "mps"; by default where the first network is, for one that is loaded the CPU.
    mean, std : sequence of float, or float, optional
        What normalised the tensors of ``images``; they hold (x − mean) / std, with x in 0…1.
    truth : str or Path, optional
        Ground truth that is no label, for outputs that are measured against one: for ``"masks"`` a folder with a PNG
        label map for each image (:class:`aliasing.outputs.truth.LabelMaps`), for ``"boxes"`` and ``"instances"`` one
        with YOLO's text files (:class:`aliasing.outputs.truth.BoxFiles`, :class:`aliasing.outputs.truth.OutlineFiles`).
    void : int, optional
        The number in these maps that is no class.
    compiled : bool
        Run the networks with torch.compile; this takes about a minute, and pays on long runs.
    out : str or Path, optional
        A folder for the records, in which an interrupted run can be resumed. Without it they stay in memory.
    progress : bool
        Show a progress bar, on a terminal and in a notebook.
    ranks : Ranks
        The processes that share the work and ``out`` (:func:`aliasing.runs.join_ranks`); each measures its share and
        gets the whole result.
    timeout : float, optional
        The longest time for one batch, in seconds; then one line names its images, and the process ends, because a
        network that hangs cannot be stopped from within.

    Returns
    -------
    Jitter
        Has ``.summary()`` and ``.records``.

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
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> result = al.measure_jitter(network, "sample", limit=2)
    >>> result.summary()["models"]["Sequential"]["pairs"]
    16
    """
    kind = output_in(output, precision)
    device = device or device_of(model)
    Execution(device)
    slow = precision == "verified" and not has_fast_bfloat16(device)
    source = open_images(one_of(images, inputs), mean=mean, std=std)
    if width is not None:
        source = choose_images(source, limit=limit, sample=sample, seed=seed, progress=progress)
        same: dict[str, Any] = {
            **{"output": output, "batch_size": batch_size, "seed": seed, "design": design, "precision": precision},
            **{"device": device, "truth": truth, "void": void, "compiled": compiled, "progress": progress},
            **{"ranks": ranks, "timeout": timeout},
        }

        def look(number: int | None, folder: Path | None) -> Jitter:
            return measure_jitter(model, source, protocol, sample=number, out=folder, **same)

        folder = None if out is None else Path(out)
        with hold(folder, ranks):
            return measure_until(look, source, width_of(width, kind), folder, ranks)
    protocol = protocol_for(protocol, source, model)
    known = truth_for(kind, protocol, truth, void)
    require_design(design, kind, protocol)
    own = {
        "output": output,
        "precision": "float32" if slow else precision,
        "device": device,
        "compile": compiled,
        **({} if design == "full" else {"design": design}),
        **({"gallery": kind.gallery} if kind.gallery else {}),
        **({} if known is None else {"truth": known.settings()}),
    }
    run, settings = open_run(source, protocol, limit, sample, batch_size, seed, out, progress, ranks, timeout, own)
    described: dict[str, dict[str, Any]] = {}
    with hold(run.records.directory, ranks):
        for network in each_network(model, source):
            identity, compared = output_of_network(kind, network, timeout)
            network = compared.model
            protocol.require(network)
            described[network.name] = describe_network(network, protocol, identity) | compared.describe()
            if precision == "verified" and not compared.verifiable:
                raise UsageError(
                    f"{network.name} gives {network.scale}, without a single answer to verify; choose precision float32"
                    " or bfloat16"
                )
            if precision != "float32" and network.dtype != torch.float32:
                raise UsageError(
                    f"{network.name} is itself in {dtype_name(network)}; choose precision float32, which keeps it so"
                )
            if slow:
                described[network.name]["notes"].append(f"float32 throughout: {device} is not fast at bfloat16 here")
            labels = None
            if kind.of_classes:
                labels = labels_of(network, run, timeout)
                described[network.name]["labels"] = labels.summary()
            _measure(Subject(compared, protocol, {**settings, **asdict(identity)}, timeout, labels, known), run)
    return Jitter(described, protocol, settings, run.records)


def truth_for(kind: type[Output], protocol: ViewProtocol, truth: Any, void: int | None) -> Any:
    """The ground truth of an output, if any is given; UsageError if they do not go with the protocol."""
    if kind.of_places and not protocol.is_shift:
        raise UsageError(f"output {kind.name} needs a protocol that shifts the content; {protocol.name} does not")
    if truth is None and void is None:
        return None
    if kind.truth is None or truth is None:
        raise UsageError(
            f"output {kind.name} is measured against labels, not against a truth of its own"
            if kind.truth is None
            else f"void {void} is a number in label maps; say where they are: truth"
        )
    known = kind.truth(truth, void)
    if protocol.invents:
        raise UsageError(f"protocol {protocol.name} invents pixels, which have no ground truth; choose black or mean")
    return known


def output_of_network(kind: type[Output], network: ShownNetwork, timeout: float | None) -> tuple[Identity, Output]:
    """A network's identity and output; UsageError if it takes no pictures and the output has places."""
    if kind.of_places:
        of_pictures(network, f"output {kind.name}")
    with at_work(network.name, ["a picture of zeros"], timeout):
        return identify(network), kind.of(network)


def labels_of(network: ShownNetwork, run: Run, timeout: float | None) -> MatchedLabels:
    """The labels of a run's images as classes of a network."""
    with at_work(network.name, ["a picture of zeros"], timeout):
        told = run.source.class_names, run.source.description
        return match_labels(network, run.labels, defined=told[0], source=told[1])


def trace_most_jittery(
    result: Jitter, models: Sequence[str | nn.Module | ShownNetwork], images: Any = "sample"
) -> list[Followed]:
    """Follow the image on which the first network's answer moves most along the protocol's path, with every network.

    Parameters
    ----------
    result : Jitter
        Measured with these networks on these images, by a protocol whose pairs follow one another.
    models : sequence of str, nn.Module or Classifier
    images : as in :func:`measure_jitter`

    Returns
    -------
    list of Trace or PlaceTrace
        One per network; empty if the protocol is not a path, or no answer moved at all.
    """
    name = result.most_jittery(next(iter(result.models)))
    if not result.protocol.is_path or name is None:
        return []
    source = open_images(images)
    image = next(entry for entry in source if entry.name == name).load()
    asked = {name: result.settings[name] for name in ("seed", "batch_size", "output")}
    execution = execution_of(result.settings)
    return [trace(load_for(model, source), image, result.protocol, execution=execution, **asked) for model in models]


@dataclass(frozen=True)
class Subject:
    """An output of a network, and how the network sees images."""

    output: Output
    protocol: ViewProtocol
    settings: dict[str, Any]
    timeout: float | None
    labels: MatchedLabels | None = None  # if the output has no classes
    truth: Any = None

    @property
    def model(self) -> ShownNetwork:
        return self.output.model

    @property
    def execution(self) -> Execution:
        return Execution(
            self.settings["device"], self.settings["compile"], half=self.settings["precision"] == "bfloat16"
        )

    @cached_property  # not needed if everything is on disk
    def running(self) -> ShownNetwork:
        """The copy that runs."""
        with at_work(self.model.name, ["a picture of zeros"], self.timeout):
            return prepare(self.model, self.execution)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its records."""
        schema = self.output.schema if len(self.model.view_size) < 3 else with_third_axis(self.output.schema)
        return with_drawn(schema) if self.draws_views else schema

    @property
    def draws_views(self) -> bool:
        """Whether not all views are shown."""
        return self.settings.get("design") == "two-phase"

    def views_of(self, image: Loaded) -> Views:
        views = self.protocol.views(image, self.model, self.settings["seed"])
        if self.truth is None:
            return views
        return replace(views, truth=self.truth.of(image, self.protocol, self.model, self.settings["seed"]))

    def network(self, execution: Execution) -> Guarded:
        unit = rounding_unit(self.running, execution.device, execution.half)
        network = self.output.network(self.running, execution)
        return Guarded(self.running, network, self.timeout, unit, self.output.seen_again)


def _measure(subject: Subject, run: Run) -> None:
    """Measure what is missing for one network."""
    name, settings = subject.model.name, subject.settings
    if subject.output.gallery:
        run.begin([name], settings)  # refuses another run before making a gallery
        within, first = run.within("gallery", settings["gallery"]), partial(subject.network, subject.execution)
        gallery = embed_gallery(name, subject.views_of, first, settings, within)
        subject = replace(subject, output=subject.output.beside(*gallery))
    way = cache(partial(_way_of, subject, run))
    draws = None
    if subject.draws_views and run.begin([name], settings):
        draws = run.ranks.from_first(lambda: _draws_of(subject, run, *way()[:2]))

    def work(blocks: Blocks, seen: Callable[..., Any]) -> Iterator[tuple[int, Part]]:
        show, compare, margins, bound = way()
        numbered = ((index, in_classes(block, subject.labels)) for index, block in blocks)

        def tabulate(image_name: str, image: Loaded, views: Views, outputs: Array) -> pa.Table:
            return table_of(name, image_name, image, views, compare(outputs, views, image), subject.schema)

        device, phases = settings["device"], None if draws is None else DrawnViews(draws, margins)
        for index, part in measure_blocks(
            numbered, subject.views_of, show, tabulate, subject.schema, seen=seen, device=device, phases=phases
        ):
            yield index, replace(part, bound=bound)

    run.measure(name, [name], settings, work)


def _draws_of(subject: Subject, run: Run, show: Show, compare: Compare) -> Draws:
    """The draws of a run, from a pilot on a few of its images, which are drawn at random by their identities."""
    seed = subject.settings["seed"]
    pilot = in_classes(list(choose_images(run.source, sample=PILOT, seed=seed)), subject.labels)
    return plan_draws(pilot, subject.views_of, show, compare, seed, subject.protocol.is_path)


def _way_of(subject: Subject, run: Run) -> tuple[Show, Compare, Margins, float | None]:
    """The functions that show views, compare outputs and tell their margins, and the bound of a verified run."""
    precision, seed, batch_size = (subject.settings[name] for name in ("precision", "seed", "batch_size"))
    if precision != "verified":
        of = "bfloat16" if subject.execution.half else dtype_name(subject.model)
        compare = partial(subject.output.compare, precision=of)
        return in_batches(subject.network(subject.execution), batch_size), compare, subject.output.margins, None
    fast, exact = (subject.network(replace(subject.execution, half=half)) for half in (True, False))
    model, protocol = subject.model, subject.protocol
    bound = calibrate(model, fast, exact, iter(run.source), protocol, seed=seed, batch_size=batch_size)
    verification = Verification(fast, exact, bound, seed, batch_size)
    return verification.show, verification.compare, verification.margins, bound


def dtype_name(model: ShownNetwork) -> str:
    """The dtype of a network, such as ``"float32"``."""
    return str(model.dtype).removeprefix("torch.")


def describe_network(model: ShownNetwork, protocol: ViewProtocol, identity: Identity) -> dict[str, Any]:
    """The description of a network in a summary."""
    return {
        "identity": identity.digest,
        "weights": {**model.origin, "sha256": identity.weights},
        **describe_lineage(model),
        **model.preprocessing(),
        "geometry": protocol.sizes(model),
        "notes": notes_on(model, protocol),
    }


def notes_on(model: ShownNetwork, protocol: ViewProtocol) -> list[str]:
    """What to know of a network under a protocol: its own notes, its precision, and the size of its pictures."""
    geometry, own = protocol.sizes(model), model.preprocessing().get("resize_size")
    notes = list(model.notes)
    if protocol.coding is not None:
        notes.append(f"each view was coded as {protocol.coding}, and decoded, before the network saw it")
    notes += protocol.resized_otherwise(model)
    if model.dtype != torch.float32:
        notes.append(f"its weights are {dtype_name(model)}, and it ran in that precision")
    enlarged = enlarged_by_crop(model)
    why = "the protocol needs more" + (f"; {USE_PAD} does not" if enlarged else "")
    if enlarged and protocol.name == "pad":
        notes.append(
            "moved within zeros (protocol pad), because its input is small: crop would resize images to"
            f" {written(enlarged)} pixels instead of the network's own {own}"
        )
    if geometry.get("shorter_side", own) != own and geometry["shorter_side"] > own:
        notes.append(
            f"evaluated with a shorter side of {geometry['shorter_side']} pixels instead of the network's own"
            f" {own}, because {why}"
        )
    elif geometry.get("resized", own) != own:
        notes.append(
            f"evaluated with the photograph resized to {geometry['resized']} pixels instead of the network's own"
            f" {own}, because {why}"
        )
    return notes
