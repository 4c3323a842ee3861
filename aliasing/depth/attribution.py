r"""Attributing the jitter to downsampling sites.

Each site is treated alone, and each is left out while all others are treated; the change of the output's jitter shows
the effect of the site:

* *only*: jitter with only this site treated − jitter of the network as it is. Negative: the site causes jitter.
* *all but*: jitter with all sites but this one treated − jitter with all treated. Positive: it causes jitter that the
  others' treatment does not remove.

Jitter is what the output's measures say (`aliasing.outputs`): class probabilities, label maps, boxes and the others.
Where more is better, as for the agreement of label maps, the signs are the other way round.

Both are paired differences over the images. The two need not agree: what one site folds, another may fold again.

A filter also disturbs weights that were trained with aliases: accuracy may fall, and an unsure network changes its
answer more easily, however much it aliases. So the accuracy is given beside each difference, and for class
probabilities also the jitter of pairs answered correctly and matched on the margin (see `aliasing.depth.matching`).

The network as it is and the network with all sites treated run once on a batch; the variants run from their own site on
(see `aliasing.depth.replay`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import pyarrow as pa
from torch import nn

from aliasing import remarks, tables
from aliasing.classes import in_classes
from aliasing.depth.matching import MEASURES, SELECTIONS, MatchedJitter
from aliasing.depth.replay import Variant, run_variants, shared_calls
from aliasing.errors import InputError, UsageError
from aliasing.estimates import Estimate
from aliasing.images import Loaded, open_images
from aliasing.jitter import (
    BATCH_SIZE,
    Jitter,
    Subject,
    describe_network,
    dtype_name,
    labels_of,
    output_of_network,
    truth_for,
)
from aliasing.jitter.engine import Shown, answers_to, arrays_in, measure_blocks, stacked, table_of
from aliasing.jitter.faults import Guarded
from aliasing.jitter.network import Array, Execution, device_of, evaluated, rounding_unit
from aliasing.kinds import DEFAULT_OPERATOR, OPERATORS
from aliasing.models import ShownNetwork
from aliasing.outputs import OUTPUTS, output_of
from aliasing.outputs.base import Columns, Measure, Output
from aliasing.protocols import ViewProtocol, Views
from aliasing.provenance import command_line, versions
from aliasing.records import Part, Records
from aliasing.result import FORMER_NAMES, Result, protocol_of, read_summary
from aliasing.runner import load_for, open_run, protocol_for
from aliasing.runs import ALONE, Blocks, Ranks, hold
from aliasing.sites import Site
from aliasing.sites.find import LocatedSite, locate, named_sites, probe_of
from aliasing.sites.trace import Recording, laid_out, record_calls
from aliasing.surgery.convert import conversion_of
from aliasing.surgery.plan import Plan, make_plan
from aliasing.surgery.schemes import Treatment, check_treatment
from aliasing.undisturbed import surroundings_kept

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aliasing.tables import Format


AS_IT_IS = "as it is"
TREATED = "all treated"
_OF_SITE = ("name", "kind", "role", "stride", "cumulative_stride")  # what a summary says of it


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """The jitter of a network with one site treated at a time, and with all but one.

    Attributes
    ----------
    model : the network's name.
    sites : in the order of the run; their notes say how each is treated.
    treatment : operator, taps and placement.
    jitter : of the variants ``"as it is"`` and ``"all treated"``, and for each site ``"only SITE"`` and ``"all but
        SITE"``.
    """

    model: str
    sites: list[Site]
    treatment: dict[str, Any]
    jitter: Jitter
    _kept: dict[str, Any] | None = None  # the summary that a folder holds

    @cached_property
    def measures(self) -> list[Measure]:
        """The measures that were attributed: those that the output shows for it, and that have a value."""
        output = output_of(self.jitter.settings)
        found = self.jitter.difference(AS_IT_IS, TREATED).estimates()
        shown = [] if output is None else [one for one in output.shown_in("attribution") if one.name in found]
        return [one for one in shown if not math.isnan(found[one.name].value)] or shown

    def ranking(self, by: str | None = None) -> list[dict[str, Any]]:
        """The sites, the guiltiest first.

        First stand those whose treatment alone clearly takes jitter away, then those that clearly keep it up while all
        others are treated, then those of which neither can be told; each by how much.

        Parameters
        ----------
        by : str, optional
            The measure of jitter; by default the first that was attributed, "mac" for class probabilities.

        Returns
        -------
        list of dict
            ``name``, ``kind``, ``stride``, …; ``only`` and ``all_but``, each with the paired difference of every
            measure, for ``top1_change`` and ``mac`` over ``all``, ``right`` and ``matched`` pairs; ``rank``;
            ``rank_all_but``, by the jitter that sparing leaves; ``clear`` and ``clear_all_but``: does the
            interval of ``only`` lie on the side of less jitter, that of ``all_but`` on that of more? The four also have
            their names of before, ``alone``, ``spared``, ``rank_spared`` and ``clear_spared``, for one release.
        """
        measure = self._measure_of_rank(by)
        by, better = measure.name, 1 if measure.sign > 0 else -1
        matched = self._matched()
        rows: list[dict[str, Any]] = [
            {
                **{key: getattr(site, key) for key in _OF_SITE},
                "treatment": site.note,
                "only": self._difference(matched, AS_IT_IS, only(site.name)),
                "all_but": self._difference(matched, TREATED, all_but(site.name)),
            }
            for site in self.sites
        ]
        for row in rows:
            row["clear"] = _is_clear(row["only"][by], better)
            row["clear_all_but"] = _is_clear(row["all_but"][by], -better)
        for rank, row in enumerate(sorted(rows, key=lambda row: _value(row["all_but"][by], better)), 1):
            row["rank_all_but"] = rank
        rows.sort(key=lambda row: _guilt(row, by, better))
        for rank, row in enumerate(rows, 1):
            row["rank"] = rank
        return [row | {before: row[now] for before, now in FORMER_NAMES.items()} for row in rows]

    def _measure_of_rank(self, by: str | None) -> Measure:
        """The measure that ranks the sites; UsageError if it was not attributed, or says how right the answers are."""
        usual = "" if self.jitter.output is None else self.jitter.output.movement
        known = {one.name: one for one in self.measures if not one.flatters}
        if by is None:
            return known.get(usual) or next(iter(known.values()))
        if by not in known:
            raise UsageError(f"sites are ranked by {' or '.join(known)}; got {by!r}")
        return known[by]

    def _matched(self) -> MatchedJitter | None:
        """The jitter among pairs with the same margin, for class probabilities."""
        if not any(one in MEASURES.values() for one in self.measures):
            return None
        return MatchedJitter({name: partial(self.jitter.tables, name) for name in self.jitter.models})

    def _difference(self, matched: MatchedJitter | None, before: str, after: str) -> dict[str, Any]:
        whole = self.jitter.difference(before, after).estimates([one.name for one in self.measures])
        found: dict[str, Any] = {}
        for one in self.measures:
            if matched is not None and one in MEASURES.values():
                pairs = {s: matched.contrast({before: -1, after: 1}, one.name, s) for s in SELECTIONS}
                found[one.name] = {selection: estimate.as_dict() for selection, estimate in pairs.items()}
            else:
                found[one.name] = whole.get(one.name, _UNKNOWN).as_dict()
        return found

    def summary(self, by: str | None = None) -> dict[str, Any]:
        """The numbers, as in ``summary.json``; ``verdict`` says in a sentence which sites are guilty."""
        found = self._kept or self._found
        if by not in (None, found["ranked_by"]):
            found = {**found, "ranked_by": by, "sites": self.ranking(by)}
        return {**found, "verdict": tables.verdict(found)}

    @cached_property
    def _found(self) -> dict[str, Any]:
        whole = self.jitter.summary()
        return {
            "model": self.model,
            "treatment": self.treatment,
            "ranked_by": self._measure_of_rank(None).name,
            "sites": self.ranking(),
            "variants": whole["models"],
            "images": whole["images"],
            "settings": whole["settings"],
            "versions": versions(),
            "command": command_line(),
        }

    def table(self) -> pa.Table:
        """One row per site, ranked: the paired differences over all pairs, with the ends of their intervals."""
        return pa.Table.from_pylist(tables.flat(tables.attribution_rows(self.summary())))

    def plot(self, by: str | None = None) -> "Figure":
        """The sites by rank (:func:`aliasing.plots.attribution`)."""
        from aliasing import plots

        return plots.attribution(self, by)

    def readable(self, form: "Format") -> list[str]:
        """The sites, ranked."""
        return [tables.attribution_table(self.summary(), form)]

    def remarks(self, by: str | None = None) -> list[str]:
        """What the differences are, the network untreated and wholly treated, the verdict, and the cautions."""
        return [*remarks.of_attribution(self.summary(by))]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        folder = Path(folder)
        summary = read_summary(folder, "attribution")
        settings, variants = summary["settings"], summary["variants"]
        jitter = Jitter(variants, protocol_of(settings), settings, Records(folder))
        rows = {only(row["name"]): row for row in summary["sites"]}  # ranked; the variants are in the order of the run
        unknown: dict[str, Any] = dict.fromkeys(one.name for one in fields(Site))
        sites = [
            Site(**unknown | {key: row[key] for key in _OF_SITE} | {"note": row["treatment"]})
            for row in (rows[name] for name in variants if name in rows)
        ]
        return cls(summary["model"], sites, summary["treatment"], jitter, summary)

    def _write_records(self, folder: Path) -> None:
        self.jitter._write_records(folder)


_UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def _guilt(row: dict[str, Any], by: str, better: int) -> tuple[int, float]:
    """What sorts a site among others: the kind of evidence against it, then how strong it is.

    ``better`` is 1 if more of the measure is better, otherwise −1.
    """
    if row["clear"] or not row["clear_all_but"]:
        return 0 if row["clear"] else 2, _value(row["only"][by], -better)
    return 1, row["rank_all_but"]


def _value(estimate: dict[str, Any], sign: int) -> float:
    """The estimate over all pairs with this sign, infinite if there is none."""
    value = estimate.get("all", estimate)["value"]
    return math.inf if value is None else sign * value


def _is_clear(estimate: dict[str, Any], sign: int) -> bool:
    """Whether the interval over all pairs lies wholly on the side of 0 that has this sign."""
    end = estimate.get("all", estimate)["low" if sign > 0 else "high"]  # None with a single image
    return end is not None and sign * end > 0


@surroundings_kept()
def attribute(
    model: str | nn.Module | ShownNetwork,
    images: Any = "sample",
    protocol: str | ViewProtocol | None = None,
    *,
    output: str = "probabilities",
    operator: str = DEFAULT_OPERATOR,
    taps: Any = "binomial3",
    placement: Literal["after", "before"] = "after",
    sites: Sequence[str] | None = None,
    limit: int | None = None,
    sample: int | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str | None = None,
    truth: Any = None,
    void: int | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    ranks: Ranks = ALONE,
    timeout: float | None = None,
) -> Attribution:
    """Treat one downsampling site at a time, and all but one, and measure the jitter of an output.

    Parameters
    ----------
    model : str, nn.Module or Classifier
        It stays as it is.
    images, protocol, output, limit, sample, batch_size, seed, device, truth, void, out, progress, ranks, timeout
        As for :func:`aliasing.measure_jitter`.
    operator : str
        As in :func:`aliasing.antialias`; not one whose branches must share a selection ("aps").
    taps : str or sequence of float
        The filter, for an operator that takes one. An odd number of taps has no delay, so a treated branch still lines
        up with an untreated one; an even number moves it by half a sample.
    placement : {"after", "before"}
    sites : sequence of str, optional
        Names of sites (``aliasing sites``), by default all that subsample. The others are never treated.

    Raises
    ------
    UsageError
        An operator, filter, placement, site or output is unknown, or the network never downsamples or is already
        converted.
    InputError
        No image is usable, the model cannot be loaded, or the folder holds another run.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(
    ...     nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ... )
    >>> found = attribute(network, "sample", limit=2)
    >>> sorted(row["name"] for row in found.ranking())
    ['0', '2']
    """
    device = device or device_of(model)
    Execution(device)
    source = open_images(images)
    protocol = protocol_for(protocol, source, model)
    kind = OUTPUTS[output]
    known = truth_for(kind, protocol, truth, void)
    if OPERATORS[operator].shares_choice:
        independent = " or ".join(repr(name) for name in OPERATORS if not OPERATORS[name].shares_choice)
        raise UsageError(f"sites are treated one at a time by {independent}; got {operator!r}")
    treatment = Treatment(operator, taps, placement)
    taps = taps if OPERATORS[operator].takes_taps else None
    own = {
        "output": output,
        "operator": operator,
        "taps": taps,
        "placement": placement,
        "sites": sites,
        "device": device,
    }
    own |= {} if known is None else {"truth": known.settings()}
    run, settings = open_run(source, protocol, limit, sample, batch_size, seed, out, progress, ranks, timeout, own)
    given = load_for(model, source)
    identity, compared = output_of_network(kind, given, timeout)
    protocol.require(compared.model)
    network = evaluated(compared.model, device)
    if network.module is not given.module:  # a network that cannot be copied keeps its memory format
        laid_out(network.module)
    record, treated_sites, families = make_variants(network, treatment, sites)
    names = _names(families)
    with hold(run.records.directory, ranks):
        labels = labels_of(network, run, timeout) if kind.of_classes else None
        subject = Subject(compared, protocol, {**settings, **asdict(identity)}, timeout, labels, known)
        run.measure(network.name, names, subject.settings, partial(_measure_blocks, subject, network, record, families))
    if not any(len(part.table) for part in run.records.parts(AS_IT_IS)):
        raise InputError(f"no usable image in {run.source.description}")
    described = describe_network(network, protocol, identity) | compared.describe()
    described |= {} if labels is None else {"labels": labels.summary()}
    result = Jitter(dict.fromkeys(names, described), protocol, settings, run.records)
    return Attribution(network.name, treated_sites, {k: settings[k] for k in ("operator", "taps", "placement")}, result)


def only(site: str) -> str:
    """The name of the variant in which only this site is treated."""
    return f"only {site}"


def all_but(site: str) -> str:
    """The name of the variant in which all sites but this one are treated."""
    return f"all but {site}"


Families: TypeAlias = list[tuple[Variant, list[Variant]]]


def _names(families: Families) -> list[str]:
    return [variant.name for base, variants in families for variant in (base, *variants)]


def make_variants(
    model: ShownNetwork, treatment: Treatment, sites: Sequence[str] | None = None
) -> tuple[Recording, list[Site], Families]:
    """The record of the network's run, its treated sites, and the variants: two bases, each with one per site.

    A variant shares with its base everything before its site.
    """
    module, example = probe_of(model, None)
    if conversion_of(module) is not None:
        raise UsageError(f"{model.name} is already anti-aliased; give the original network")
    check_treatment(treatment)
    record = record_calls(module, example)
    located = locate(record)
    if not named_sites(model.name, located):
        raise UsageError(f"{model.name} never downsamples by stride: there is no site to treat")
    chosen = named_sites(model.name, located, sites)

    def plan_for(treated: Sequence[LocatedSite]) -> Plan:
        wanted = {place.site for place in treated}
        return make_plan(record, located, lambda place: treatment if place.site in wanted else None, None)

    everything = plan_for([place for place, _ in chosen])
    notes = dict(zip((place.site for place in located), everything.sites, strict=True))
    singly: list[Variant] = []
    spared: list[Variant] = []
    for place, name in chosen:
        plan = plan_for([place])
        begins = _first_difference(record, place, plan)
        singly.append(Variant(only(name), plan.modules, shared_calls(record, plan.modules, begins)))
        rest = plan_for([other for other, _ in chosen if other is not place])
        spared.append(Variant(all_but(name), rest.modules, shared_calls(record, rest.modules, begins)))
    families: Families = [(Variant(AS_IT_IS, {}), singly), (Variant(TREATED, everything.modules), spared)]
    return record, [replace(notes[place.site], name=name) for place, name in chosen], families


def _first_difference(record: Recording, place: LocatedSite, plan: Plan) -> int:
    """The index of the first call that a site's treatment changes."""
    begins = [call.index for call in place.calls]
    for module, forward in plan.modules.items():
        if forward.inputs:
            begins += [call.first for call in record.calls_of(module)]
    return min(begins)


def _measure_blocks(
    subject: Subject,
    running: ShownNetwork,
    record: Recording,
    families: Families,
    blocks: Blocks,
    seen: Callable[..., Any],
) -> Iterator[tuple[int, Part]]:
    """Measure blocks of images, all variants of a block together; the answers of one are in memory at a time."""
    names, output, precision = _names(families), subject.output, dtype_name(running)
    device = subject.settings["device"]
    answer = output.network(running, Execution(device, counts_writes=True))
    batch: list[Shown] = []
    pending: dict[int, dict[str, _Pending]] = {}  # by the views of an image

    def network(views: Array) -> Any:
        """The outputs of the network as it is; those of every variant, to a batch, are compared as they come."""
        shown, batch[:] = [*batch], []
        if not shown:  # some views again, to check that their answers are the same
            return answer(views)
        first = None
        for name, outputs in run_variants(lambda: answer(views), record, families):
            first = outputs if first is None else first
            for one, found in zip(shown, outputs, strict=False):
                of_variants = pending.setdefault(id(one.views), {})
                of_variants.setdefault(name, _Pending(output, one.image, one.views)).held[one.number] = found
            for views_of_image in {id(one.views) for one in shown}:
                pending[views_of_image][name].settle(precision)
        return first

    guarded = Guarded(running, network, subject.timeout, rounding_unit(running, device), output.seen_again)

    def show(pictures: Iterator[Shown]) -> Iterator[Array]:
        """Whether the answers of all variants are numbers: NaN for the last view of an image if one is not."""
        while some := list(islice(pictures, subject.settings["batch_size"])):
            batch[:] = some
            answers_to(guarded, some)
            for one in some:
                is_last = one.number == len(one.views.views) - 1
                finite = not is_last or all(found.finite for found in pending[id(one.views)].values())
                if not finite:
                    del pending[id(one.views)]
                yield np.array([0.0 if finite else np.nan], np.float32)

    def tabulate(name: str, image: Loaded, views: Views, outputs: Any) -> pa.Table:
        found = pending.pop(id(views))
        return pa.concat_tables(
            table_of(variant, name, image, views, found[variant].columns(), subject.schema) for variant in names
        )

    blocks = ((index, in_classes(block, subject.labels)) for index, block in blocks)
    return measure_blocks(blocks, subject.views_of, show, tabulate, subject.schema, seen=seen)


@dataclass
class _Pending:
    """The answers of a variant to an image's views, each held until its pairs are compared."""

    output: Output
    image: Loaded
    views: Views
    held: dict[int, Any] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    finite: bool = True

    def settle(self, precision: str) -> None:
        """Compare the pairs of which both answers are there, and let go of those that no other pair needs."""
        self.finite = self.finite and all(np.isfinite(array).all() for array in arrays_in([*self.held.values()]))
        pairs = dict(enumerate(self.views.pairs)) if self.finite else {}
        ready = [k for k, pair in pairs.items() if k not in self.rows and self.held.keys() >= {*pair}]
        if ready:
            shown = sorted({view for k in ready for view in pairs[k]})
            place = {view: number for number, view in enumerate(shown)}
            some = replace(
                self.views,
                views=tuple(self.views.views[view] for view in shown),
                pairs=tuple((place[pairs[k][0]], place[pairs[k][1]]) for k in ready),
                truth=tuple(self.views.truth[view] for view in shown) if self.views.truth else (),
            )
            columns = self.output.compare(stacked([self.held[view] for view in shown]), some, self.image, precision)
            for number, k in enumerate(ready):
                self.rows[k] = {name: values[number] for name, values in columns.items()}
        needed = {view for k, pair in pairs.items() if k not in self.rows for view in pair}
        self.held = {view: found for view, found in self.held.items() if view in needed}

    def columns(self) -> Columns:
        """The columns of all pairs."""
        return {name: [self.rows[k][name] for k in range(len(self.rows))] for name in self.rows[0]} if self.rows else {}
