"""Comparing many networks by accuracy, consistency, worst-case change and cost.

A leaderboard shows every network the same photographs under two protocols (`aliasing.protocols`):

=================== ================================= ==========================================================
column              protocol (default)                what it is
=================== ================================= ==========================================================
accuracy            ``protocol`` (``grid:radius=1``)  the first view, the network's own evaluation view, is right
P(top-1 change)     ``protocol``                      a neighbour one pixel away gets another answer
worst-case change   ``protocol``                      *some* neighbour does; share of the images
worst-case accuracy ``protocol``                      the answers to the view and all its neighbours are right
stability           ``protocol``                      the answers to a pair are equal and right
MAC                 ``protocol``                      mean absolute change of the answer's probability
consistency         ``consistency``                   two random windows, up to 31 pixels apart, agree (Zhang 2019)
                    (``consistency:draws=1``)
multiply–adds       a run on one image                of convolutions, matrix products and attention
=================== ================================= ==========================================================

The nine views of ``grid`` give everything but consistency, the published measure, which takes two more. A protocol
without neighbours on all sides (``pad`` has one) gives the worst case of its pairs. Another output than class
probabilities has its own measures (`aliasing.outputs`).
"""

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import combinations
from operator import ge
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import torch

from aliasing import remarks, tables
from aliasing.called import meant_by
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate
from aliasing.identity import identify
from aliasing.images import open_images
from aliasing.jitter import BATCH_SIZE, Jitter, PairedMetrics, PairMetrics, measure_jitter
from aliasing.jitter.network import Execution, has_fast_bfloat16
from aliasing.jitter.precision import output_in
from aliasing.jitter.result import MOST_PAIRED, paired
from aliasing.leaderboard.cost import Cost, cost, speeds, views_per_second
from aliasing.leaderboard.entrants import Given, choose
from aliasing.lineage import Group, Original, group_of, is_plain, original_of, sibling_of
from aliasing.models import ShownNetwork
from aliasing.outputs import OUTPUTS
from aliasing.outputs.base import Output
from aliasing.protocols import ViewProtocol
from aliasing.provenance import made_with
from aliasing.records import Records
from aliasing.result import Result, protocol_of, read_summary
from aliasing.runner import load_for, open_run, protocol_for
from aliasing.runs import ALONE, Ranks, hold
from aliasing.state import check_fits, read_json, write_json
from aliasing.surgery import antialias, recalibrate
from aliasing.surgery.specification import parse
from aliasing.undisturbed import surroundings_kept

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aliasing.tables import Format

__all__ = ["Cost", "Leaderboard", "Measured", "compare_networks", "cost", "views_per_second"]

PROTOCOL = "grid:radius=1"
CONSISTENCY = "consistency:draws=1"
MANY = 1000
"""Of more images than this not all views are shown, unless that is asked for."""


@dataclass(frozen=True)
class Measured:
    """One network of a leaderboard.

    Attributes
    ----------
    group : str
        What it is; see :func:`aliasing.lineage.group_of`.
    sibling : str or None
        The plain network with which it is compared.
    cost : Cost
    jitter : Jitter
        Under the protocol for everything but consistency.
    shifted : Jitter
        Under the protocol for consistency; the same as ``jitter`` if the output has no such measure.
    """

    group: Group
    sibling: str | None
    cost: Cost
    jitter: Jitter
    shifted: Jitter


@dataclass(frozen=True, repr=False)
class Leaderboard(Result):
    """Many networks, measured in the same way.

    Attributes
    ----------
    networks : dict of str to Measured
        By name, in the order in which they were measured.
    unmeasured : dict of str to str
        Networks that could not be loaded, converted or measured, and why.
    settings : dict
        What was asked for.
    speed : dict
        ``views_per_second`` of each network (the median of five batches), its ``range`` (the slowest and the fastest),
        and the machine; it differs from run to run, so it is not in the summary.
    """

    networks: Mapping[str, Measured]
    unmeasured: Mapping[str, str]
    settings: dict[str, Any]
    speed: dict[str, Any]
    _kept: dict[str, Any] | None = None  # the summary that a folder holds

    @property
    def output(self) -> type[Output]:
        """The output that was compared."""
        return OUTPUTS[self.settings.get("output", "probabilities")]

    def summary(self) -> dict[str, Any]:
        """Every estimate as ``{"value", "low", "high"}`` with its 95 % interval.

        ``models`` has for each network its measures (see the table above), ``group``, ``sibling``, ``parameters``,
        ``multiply_adds`` and ``classes``; ``differences`` has each network minus its plain sibling, or without one
        minus the first network, on the same images, with the paired interval, then the other pairs of up to five
        variants of a network and of up to five networks that are no variants; ``pareto`` lists the networks that no
        other beats in both accuracy and consistency; ``unmeasured`` those that could not be measured, and why; then
        follow ``images``, ``settings``, ``versions``.
        """
        if self._kept is not None:
            return self._kept
        models: dict[str, Any] = {}
        images: dict[str, Any] = {"source": self.settings["images"], "identity": "", "found": 0, "turned": 0}
        skipped: dict[str, str] = {}
        for name, measured in self.networks.items():
            whole = measured.jitter.summary()
            images |= {key: max(images[key], whole["images"][key]) for key in ("found", "turned")}
            images["identity"] = whole["images"]["identity"]
            skipped |= whole["images"]["skipped"]
            models[name] = {
                **whole["models"][name],
                **_as_dicts(self._consistency(measured.shifted.metrics(name))),
                "group": measured.group,
                "sibling": measured.sibling,
                **asdict(measured.cost),
            }
        _compare_labels(models, self.output)
        return {
            "models": models,
            "differences": [
                {"first": first, "second": second, "images": images, **_as_dicts(found)}
                for first, second in self._pairs()
                for images, found in [self._difference(first, second, models)]
            ],
            "pareto": pareto_front(models, self.output.front),
            "unmeasured": dict(self.unmeasured),
            "images": {**images, "skipped": skipped, "cautions": self.settings.get("cautions", [])},
            **made_with(self.settings),
        }

    def difference(self, first: str, second: str) -> dict[str, Estimate]:
        """Second minus first on the same images: each measure that both have, under its own protocol, by its name.

        Networks are given by their names or their short names; UsageError for one that was not measured.
        """
        models = self.summary()["models"]
        return self._difference(self._named(first, models), self._named(second, models), models)[1]

    def _named(self, given: str, models: Mapping[str, Any]) -> str:
        found = meant_by(given, models, models)
        if found is None:
            raise UsageError(f"{given!r} was not measured; choose one of {', '.join(models)}")
        return found

    def table(self) -> pa.Table:
        """One row per network: each measure with its interval (``…_low``, ``…_high``), also minus the plain sibling or
        the first network, and minus others of its pairs; and the costs with ``views_per_second`` on this machine."""
        return pa.Table.from_pylist(tables.flat(tables.leaderboard_columns(self.summary(), self.speed)))

    def plot(self) -> "Figure":
        """Accuracy against consistency (:func:`aliasing.plots.leaderboard`)."""
        from aliasing import plots

        return plots.leaderboard(self)

    def readable(self, form: "Format") -> list[str]:
        """The networks, and their paired differences."""
        return tables.leaderboard_tables(self.summary(), self.speed, form)

    def remarks(self) -> list[str]:
        """The protocols, the networks that no other beats, cautions, and what could not be measured."""
        return [*remarks.of_leaderboard(self.summary())]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        folder = Path(folder)
        summary, speed = read_summary(folder, "networks"), folder / "speed.json"
        settings = summary["settings"]
        protocol = consistency = protocol_of(settings)
        if "consistency" in settings:
            consistency = protocol_of(settings, "consistency")
        networks = {}
        for name, model in summary["models"].items():
            jitter = shifted = Jitter({name: model}, protocol, settings, Records(folder))
            if consistency != protocol:
                shifted = Jitter({name: model}, consistency, settings, Records(folder / "consistency"))
            costs = Cost(*(model[one.name] for one in fields(Cost)))
            networks[name] = Measured(model["group"], model["sibling"], costs, jitter, shifted)
        measured = read_json(speed) if speed.is_file() else {}
        return cls(networks, summary["unmeasured"], settings, measured, summary)

    def _write_records(self, folder: Path) -> None:
        for measured in self.networks.values():
            measured.jitter._write_records(folder)
            if measured.shifted is not measured.jitter:
                measured.shifted._write_records(folder / "consistency")
        write_json(folder / "speed.json", self.speed)

    def _pairs(self) -> list[tuple[str, str]]:
        """Each network with the one that it is compared with, its plain sibling or else the first network; then others.

        Others are all of up to five variants of one network, and all of up to five networks that are none. The best
        network would be chosen by the numbers that are compared, which no interval takes into account.
        """
        reference = next(iter(self.networks))
        no_second_time = reference, self.networks[reference].sibling
        pairs = [
            (measured.sibling or reference, name)
            for name, measured in self.networks.items()
            if measured.sibling is not None or name not in no_second_time
        ]
        heads = [name for name, measured in self.networks.items() if measured.sibling is None]
        families = ([head, *self._variants(head)] for head in heads)
        among = [pair for names in (heads, *families) if len(names) <= MOST_PAIRED for pair in combinations(names, 2)]
        known = {frozenset(pair) for pair in pairs}
        return [*pairs, *(pair for pair in among if frozenset(pair) not in known)]

    def _variants(self, head: str) -> list[str]:
        return [name for name, measured in self.networks.items() if measured.sibling == head]

    def _difference(self, first: str, second: str, models: Mapping[str, Any]) -> tuple[int, dict[str, Estimate]]:
        """How many images both saw, and second minus first on them, each measure that both have."""
        a, b = self.networks[first], self.networks[second]
        metrics, shifted = paired(a.jitter, first, b.jitter, second), paired(a.shifted, first, b.shifted, second)
        estimates = metrics.estimates() | self._consistency(shifted)
        both = models[first].keys() & models[second].keys()
        return metrics.images, {name: found for name, found in estimates.items() if name in both}

    def _consistency(self, metrics: PairMetrics | PairedMetrics) -> dict[str, Estimate]:
        """The measure of the second protocol, if the output has one and some image has finite answers."""
        return {key: found for key, found in metrics.estimates().items() if key in self.output.front[1:]}


@surroundings_kept()
def compare_networks(
    models: Given | Sequence[Given],
    images: Any = "sample",
    protocol: str | ViewProtocol | None = None,
    consistency: str | ViewProtocol | None = None,
    *,
    output: str = "probabilities",
    antialiased: Sequence[str] = (),
    recalibrate_on: Any = None,
    installed: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    design: str | None = None,
    precision: str = "float32",
    device: str = "cpu",
    compiled: bool = False,
    out: str | Path | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
    timeout: float | None = None,
) -> Leaderboard:
    """Measure many networks in the same way: accuracy, consistency, the worst-case change within a pixel, and cost.

    Parameters
    ----------
    models : str, nn.Module or Classifier, or a sequence of them
        Names as for :func:`aliasing.load_model`; one with ``*``, ``?`` or ``[`` means all networks that
        :func:`aliasing.models.available_models` finds for it (``"timm:*lite*"``). Networks without a plain sibling
        are compared with the first one.
    images, limit, sample, batch_size, seed, precision, device, compiled, progress, ranks, timeout
        As in :func:`aliasing.measure_jitter`. Views per second are those of ``device``, in bfloat16 if most answers
        come from it.
    design : {"full", "two-phase"}, optional
        As in :func:`aliasing.measure_jitter`; by default ``"two-phase"`` for more than 1,000 images, if it suits the
        output and the protocols.
    protocol, consistency : str or ViewProtocol, optional
        The protocols of the columns; see the table in :mod:`aliasing.leaderboard`. By default both are ``"pad"`` where
        :func:`aliasing.measure_jitter` chooses it, for small inputs and tensors. The second is for class
        probabilities, and other outputs that have such a measure (:attr:`aliasing.outputs.base.Output.front`).
    output : str
        The output that is compared, as in :func:`aliasing.measure_jitter`; the columns are its measures.
    antialiased : sequence of str
        Conversions of every plain network, measured beside it (see :mod:`aliasing.surgery.specification`:
        ``"binomial4"``, ``"flc"``).
    recalibrate_on : as images, optional
        Also measure each conversion with its batch-norm statistics re-estimated on these images, which should differ
        from the measured ones (see :func:`aliasing.recalibrate`).
    installed : bool
        Of the networks that match a pattern, use only those that load without internet access.
    out : str or Path, optional
        A folder for the records, in which an interrupted run can be resumed and networks can be added.

    Returns
    -------
    Leaderboard
        Has ``.summary()`` and ``.table()``. A network that cannot be loaded, converted or measured is in
        ``.unmeasured`` with the reason, and the run continues.

    Raises
    ------
    UsageError
        No network matches a pattern, or an option makes no sense.
    InputError
        There are no images, or no network could be measured.

    Examples
    --------
    >>> from torch import nn
    >>> pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 9)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), *pooled)
    >>> board = compare_networks(network, "sample", antialiased=["binomial3,all"], limit=2)
    >>> board.table().select(["network", "group", "parameters"]).to_pylist()[1]
    {'network': 'antialiased:binomial3,all:Sequential', 'group': 'converted', 'parameters': 817}
    """
    kind = output_in(output, precision)
    execution = Execution(device, compiled)
    if precision == "bfloat16" or (precision == "verified" and has_fast_bfloat16(device)):
        execution = replace(execution, half=True)
    single = isinstance(models, (str, torch.nn.Module, ShownNetwork))
    chosen = choose([models] if single else models, installed)  # type: ignore[list-item,arg-type]
    images = open_images(images)
    protocol = protocol_for(protocol, images, chosen, PROTOCOL)
    consistency = protocol_for(consistency, images, chosen, CONSISTENCY) if kind.front else protocol
    conversions = {text: parse(text) for text in antialiased}
    if recalibrate_on is not None and not conversions:
        raise UsageError("--recalibrate needs a conversion to recalibrate: give --antialias too")
    # Opened once: the first conversion would exhaust an iterator.
    calibration = None if recalibrate_on is None else open_images(recalibrate_on)
    own = {
        **({} if output == "probabilities" else {"output": output}),
        **({"consistency": consistency.parameters()} if kind.front else {}),
        "antialiased": list(conversions),
        "recalibrated_on": None if calibration is None else calibration.description,
        "seed": seed,
        "batch_size": batch_size,
        "precision": precision,
        "device": device,
        "compile": compiled,
    }
    run, settings = open_run(images, protocol, limit, sample, batch_size, seed, out, progress, ranks, timeout, own)
    if design is None:
        suits = kind.of_classes and not (protocol.in_order or consistency.in_order)
        design = "two-phase" if suits and run.listing.images > MANY else "full"
    settings |= {} if design == "full" else {"design": design}
    source, folder = run.source, run.records.directory
    speed = _Speed(folder, batch_size, execution, ranks, output)
    options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": progress}
    options |= {"output": output, "design": design}
    options |= {"precision": precision, "device": device, "compiled": compiled, "ranks": ranks, "timeout": timeout}
    networks: dict[str, Measured] = {}
    originals: dict[str, Original] = {}
    unmeasured: dict[str, str] = {}
    noting = partial(_noting, unmeasured)

    def measure(model: ShownNetwork, group: Group, sibling: str | None = None) -> None:
        whole = identify(model)
        identity = whole.digest
        if model.name in networks:
            if networks[model.name].jitter.models[model.name]["identity"] != identity:
                raise UsageError(f"two networks are called {model.name}; give each its own name")
            return
        costs = cost(model, kind.of_classes)
        speed.measure(model, identity)
        _keep_step(model.name, ranks)
        jitter = measure_jitter(model, source, protocol, out=folder, **options)
        shifted = jitter
        if consistency != protocol:
            other = None if folder is None else folder / "consistency"
            shifted = measure_jitter(model, source, consistency, out=other, **options)
        for measured in (jitter, shifted):
            if not measured.metrics(model.name).images:
                raise InputError("its output is NaN or infinite on every image")
        networks[model.name] = Measured(group, sibling, costs, jitter, shifted)
        if sibling is None:
            originals[model.name] = original_of(model, whole)

    with hold(folder, ranks):
        for given in chosen:
            with noting(given):
                network = load_for(given, source)
                group = group_of(network)
                measure(network, group)
                for text, conversion in conversions.items() if is_plain(group) else ():
                    with noting(f"antialiased:{text}:{network.name}"):
                        converted = antialias(network, **conversion)
                        measure(converted, group_of(converted), network.name)
                        if calibration is not None:
                            with noting(f"{converted.name}, recalibrated"):
                                recalibrated = recalibrate(converted, calibration)
                                measure(recalibrated, group_of(recalibrated), network.name)
    if not networks:
        reasons = [f"{name}: {reason}" for name, reason in unmeasured.items()]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise InputError(f"no network could be measured: {reasons[0]}{more}" if reasons else "no network was given")

    plain = [name for name, measured in networks.items() if measured.group == "plain"]
    for name, measured in networks.items():
        if measured.sibling is None:
            networks[name] = replace(measured, sibling=sibling_of(name, measured.group, originals, plain))
    return Leaderboard(networks, unmeasured, settings, speed.found)


class _OutOfStepError(InputError):
    """The processes of a run do not measure the same network, so it cannot continue."""


def _keep_step(name: str, ranks: Ranks) -> None:
    """Check that all processes measure the same network; one that loads on one machine may be missing on another."""
    first = ranks.from_first(lambda: name)
    if first != name:
        raise _OutOfStepError(
            f"this process measures {name}, and the first one {first}; every process needs the same networks"
        )


@contextmanager
def _noting(unmeasured: dict[str, str], given: Given) -> Iterator[None]:
    """Note whatever goes wrong with one network, and continue with the next."""
    try:
        yield
    except _OutOfStepError:
        raise
    except Exception as error:  # networks fail in their own ways; our own errors explain themselves
        known = isinstance(error, (InputError, UsageError))
        name = given if isinstance(given, str) else getattr(given, "name", type(given).__name__)
        text = " ".join(str(error).split())
        unmeasured[str(name)] = text if known else f"{type(error).__name__}: {text[:200]}"


class _Speed:
    """The speeds of a run, kept beside its records, so that a resumed run keeps them."""

    def __init__(self, folder: Path | None, batch_size: int, execution: Execution, ranks: Ranks, output: str) -> None:
        self.execution, self.output = execution, output
        self.path = None if folder is None or ranks.rank > 0 else folder / "speed.json"
        self.found: dict[str, Any] = {
            "batch_size": batch_size,
            "device": execution.device,
            "precision": "bfloat16" if execution.half else "float32",
            "threads": torch.get_num_threads(),
            "processors": os.cpu_count(),
            "identities": {},
            "views_per_second": {},
            "range": {},
        }
        if self.path is not None and self.path.exists():
            with suppress(InputError, KeyError):  # it is measured again
                kept = read_json(self.path)
                forms = {"identities": {str: str}, "views_per_second": {str: float}, "range": {str: [float]}}
                for key, form in forms.items():
                    check_fits(kept[key], form, key)
                self.found |= {key: kept[key] for key in forms}

    def measure(self, model: ShownNetwork, identity: str) -> None:
        """Time a network that this run has not timed yet."""
        if self.found["identities"].get(model.name) == identity:
            return
        self.found["identities"][model.name] = identity
        found = speeds(model, self.found["batch_size"], self.execution, self.output)
        self.found["views_per_second"][model.name] = round(statistics.median(found), 2)
        self.found["range"][model.name] = [round(end, 2) for end in (min(found), max(found))]
        if self.path is not None:
            write_json(self.path, self.found)


def _as_dicts(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def _compare_labels(models: dict[str, Any], output: type[Output]) -> None:
    """Remove the accuracy of networks with another number of classes than most, whose labels mean other classes."""
    counts = [model["classes"] for model in models.values()]
    usual = max(counts, key=counts.count)
    for model in models.values():
        if model["classes"] != usual and not (model["labels"]["name"] or model["labels"]["wnid"]):
            model["cautions"] = [
                *model["cautions"],
                f"answers with {model['classes']} classes, most of these networks with {usual}: labels and accuracies"
                " are not comparable",
            ]
            for measure in output.measures:
                if "label" in measure.columns:
                    model.pop(measure.name, None)


def pareto_front(models: Mapping[str, Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    """The networks that no other beats: none is as good in all of these measures, of which more is better.

    Examples
    --------
    >>> pairs = {"a": (0.7, 0.9), "b": (0.8, 0.8), "c": (0.7, 0.8)}
    >>> models = {name: {"x": {"value": x}, "y": {"value": y}} for name, (x, y) in pairs.items()}
    >>> pareto_front(models, ("x", "y"))
    ['a', 'b']
    """
    points = {
        name: [model[measure]["value"] for measure in measures]
        for name, model in models.items()
        if measures and all(measure in model for measure in measures)
    }

    def beaten(point: list[float]) -> bool:
        return any(other != point and all(map(ge, other, point)) for other in points.values())

    return [name for name, point in points.items() if not beaten(point)]
