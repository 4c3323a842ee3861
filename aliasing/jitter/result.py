"""The result of a jitter measurement: the networks, and the records from which every number follows."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from aliasing import remarks, tables
from aliasing.errors import InputError, UsageError
from aliasing.jitter.metrics import PairedMetrics, PairMetrics
from aliasing.outputs import OUTPUTS, measures_in, output_of_table
from aliasing.outputs.base import Output, pairs_shown
from aliasing.protocols.base import enlarged_cautions
from aliasing.provenance import made_with
from aliasing.records import InputsDigest, Part, differing_input
from aliasing.result import Recorded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aliasing.tables import Format

__all__ = ["Jitter", "paired"]

MOST_PAIRED = 5
"""Up to this number of networks every pair has a difference; of more, each network has one from the reference."""
# The blocks of records that are summarised at a time; 16 blocks of 32 images with 8 pairs are 4096 rows.
_BLOCKS_AT_ONCE = 16


@dataclass
class _Measured:
    """The measures from the records of one network."""

    metrics: PairMetrics
    images: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    turned: int = 0
    bounds: list[float] = field(default_factory=list)
    enlarged: list[float] = field(default_factory=list)
    adapted: Counter[str] = field(default_factory=Counter)
    inputs: InputsDigest = field(default_factory=InputsDigest)


@dataclass(frozen=True, repr=False)
class Jitter(Recorded):
    """A jitter measurement; its records have a row per pair of views (see :mod:`aliasing.outputs`).

    ``models`` has each network's weights, input size, geometry and notes, by name.
    """

    kind = "networks"

    @property
    def output(self) -> type[Output] | None:
        """The output that was compared; None if the settings do not say, so that the records must."""
        return OUTPUTS[self.settings["output"]] if "output" in self.settings else None

    def tables(self, model: str) -> Iterator[pa.Table]:
        """The records of a network, a few blocks at a time."""
        return map(_table, self._parts(model))

    def _parts(self, model: str) -> Iterator[list[Part]]:
        parts = self._records.parts(model, None if self.output is None else self.output.needed())
        return iter(lambda: list(islice(parts, _BLOCKS_AT_ONCE)), [])

    def metrics(self, model: str) -> PairMetrics:
        """The measures of a network, accumulated from its records a few blocks at a time."""
        metrics = PairMetrics(output=self.output)
        for table in self.tables(model):
            metrics.add(table)
        return metrics

    def difference(self, first: str, second: str) -> PairedMetrics:
        """Second minus first on the same images, accumulated a few blocks at a time."""
        return paired(self, first, self, second)

    def pairs(self, against: str | None = None) -> list[tuple[str, str]]:
        """Which networks are compared: each with the first (or ``against``), and up to five each with each other."""
        reference, *others = self.models if against is None else [against, *(n for n in self.models if n != against)]
        among = combinations(others, 2) if against is None and len(self.models) <= MOST_PAIRED else ()
        return [*((reference, name) for name in others), *among]

    @cached_property
    def _measured(self) -> tuple[dict[str, _Measured], dict[tuple[str, str], PairedMetrics]]:
        return self._measured_by(self.pairs())

    def _measured_by(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[dict[str, _Measured], dict[tuple[str, str], PairedMetrics]]:
        """The measures of each network and of each pair, from one pass over the records of all of them side by side."""
        measured = {name: _Measured(PairMetrics(output=self.output)) for name in self.models}
        differences = {pair: PairedMetrics(output=self.output) for pair in pairs}
        firsts = {first for first, _ in pairs}
        for parts_of_all in zip(*(self._parts(name) for name in self.models), strict=True):
            side_by_side = dict(zip(self.models, parts_of_all, strict=True))
            held = {first: _table(side_by_side[first]) for first in firsts}
            for name, parts in side_by_side.items():
                found = measured[name]
                _require_same_inputs(parts_of_all[0], parts)
                table = held.get(name) or _table(parts)
                found.metrics.add(table)
                for part in parts:
                    found.images += len(part.images)
                    found.skipped |= part.skipped
                    found.not_finite += part.not_finite
                    found.turned += len(part.turned)
                    found.enlarged += part.enlarged.values()
                    found.adapted.update(part.adapted.values())
                    found.bounds += [] if part.bound is None else [part.bound]
                    found.inputs.add(part.inputs)
                for first, second in pairs:
                    if second == name:
                        differences[first, second].add(held[first], table)
        return measured, differences

    def most_jittery(self, model: str) -> str | None:
        """The name of the image on which the output moves most; None if it never moves, or has no such measure."""
        found: tuple[float, str | None] = (0.0, None)
        for table in self.tables(model):
            output = self.output or output_of_table(table)
            movements = output.measure(output.movement).movements(pairs_shown(table)) if output.movement else {}
            most = max(movements, key=movements.__getitem__, default=None)
            if most is not None and movements[most] > found[0]:
                found = movements[most], str(most)
        return found[1]

    def summary(self, against: str | None = None) -> dict[str, Any]:
        """Every estimate as ``{"value", "low", "high"}`` with its 95 % interval, from the records alone.

        The keys are ``models`` (each network's measures), ``differences`` (each network minus the first, then all other
        pairs of up to five networks; or each minus ``against``; on the same images, with the paired interval),
        ``images`` (how many, which were skipped and why), ``settings`` and ``versions``. UsageError if ``against`` was
        not measured.
        """
        if against is not None and against not in self.models:
            raise UsageError(f"differences against {against!r}: it was not measured, but {', '.join(self.models)}")
        if self._kept is not None and against is None:
            return self._kept
        measured, minus = self._measured if against is None else self._measured_by(self.pairs(against))
        differences = [
            {
                **{"first": first, "second": second, "images": found.images},
                **{key: value.as_dict() for key, value in found.estimates().items()},
            }
            for (first, second), found in minus.items()
        ]
        networks: dict[str, Any] = {}
        skipped: dict[str, str] = {}
        images, turned, inputs = 0, 0, ""
        for name, found in measured.items():
            metrics, images, turned, inputs = found.metrics, found.images, found.turned, str(found.inputs)
            skipped |= found.skipped
            estimates = {key: value.as_dict() for key, value in metrics.estimates(self.protocol.is_path).items()}
            networks[name] = {
                **estimates,
                "images": metrics.images,
                "pairs": metrics.pairs,
                "images_that_change": metrics.changed_images,
                "near_ties": metrics.near_ties,
                **({"drawn": metrics.drawn, "wholly_drawn": metrics.whole} if "design" in self.settings else {}),
                "not_finite": list(found.not_finite),
                "cautions": [
                    *metrics.cautions(tables.word_for(self.models)),
                    *_doubts(self.models[name]),
                    *enlarged_cautions(self.models[name], self.protocol, found.enlarged, metrics.images),
                ],
                **({"adapted": dict(found.adapted)} if found.adapted else {}),
                **({"verification": verification_of(metrics, found.bounds)} if found.bounds else {}),
                **_by_class(metrics, self.models[name].get("classes", ())),
                **self.models[name],
            }
        if self._kept is not None:
            return {**self._kept, "differences": differences}
        return {
            "models": networks,
            "differences": differences,
            "images": {
                "source": self.settings["images"],
                "identity": inputs,
                "found": images,
                "turned": turned,
                "skipped": skipped,
                "cautions": self.settings.get("cautions", []),
            },
            **made_with(self.settings),
        }

    def __str__(self) -> str:
        """A line a network: its measures with their intervals, the images and the protocol; below it, its cautions.

        Then a line for each paired difference, and for each caution about the images.
        """
        summary = self.summary()
        measures, word = measures_in(summary, "table"), tables.word_for(summary["models"])
        lines = []
        for name, model in summary["models"].items():
            found = ", ".join(f"{m.title} {tables.cell(model[m.name])}" for m in measures if m.name in model)
            under = tables.called_protocol(self.settings["protocol"])
            lines.append(f"{name}: {found} ({tables.counted(model['images'], word)}, {under})")
            lines += [f"  caution: {text}" for text in model["cautions"]]
        for row in summary["differences"]:
            found = ", ".join(f"{m.title} {tables.cell(row[m.name], '+')}" for m in measures if m.name in row)
            lines.append(f"{row['second']} minus {row['first']}, paired: {found}")
        lines += [f"caution: {text}" for text in summary["images"]["cautions"]]
        return "\n".join(lines)

    def table(self, against: str | None = None) -> pa.Table:
        """One row per network: each measure with the ends of its interval, and the same minus the first network's.

        ``against`` names another network to subtract; the column ``minus`` says which it is.
        """
        return pa.Table.from_pylist(tables.flat(tables.jitter_columns(self.summary(against))))

    def plot(self) -> "Figure":
        """The networks by measure (:func:`aliasing.plots.jitter`)."""
        from aliasing import plots

        return plots.jitter(self)

    def readable(self, form: "Format") -> list[str]:
        """The networks, and their paired differences."""
        return tables.jitter_tables(self.summary(), form)

    def remarks(self) -> list[str]:
        """Cautions and notes, network by network, and the images that were skipped."""
        return [*remarks.of_jitter(self.summary())]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        opened = super().open(folder)
        for name in opened.models:
            if opened._records.missing(name):
                raise InputError(f"{folder} is not finished: records of {name} are missing; run the same command again")
        return opened


def _table(parts: Sequence[Part]) -> pa.Table:
    return pa.concat_tables([part.table for part in parts])


def paired(before: Jitter, first: str, after: Jitter, second: str) -> PairedMetrics:
    """Second minus first on the same images; InputError if they were shown different ones."""
    metrics = PairedMetrics(output=before.output)
    for a, b in zip(before._parts(first), after._parts(second), strict=True):
        _require_same_inputs(a, b)
        metrics.add(_table(a), _table(b))
    return metrics


def _require_same_inputs(some: Sequence[Part], others: Sequence[Part]) -> None:
    for one, other in zip(some, others, strict=True):
        difference = differing_input(one.inputs, other.inputs)
        if difference:
            raise InputError(f"these networks were shown different images: {difference}; measure them again, together")


def verification_of(metrics: PairMetrics, bounds: list[float]) -> dict[str, Any]:
    """The summary of a verification; ``bound`` is the margin in logits, null if float32 decided everything."""
    return {"bound": max(bounds) if math.isfinite(max(bounds)) else None, **metrics.audit.summary()}


def _by_class(metrics: PairMetrics, called: Sequence[str]) -> dict[str, Any]:
    """For the summary, the measures that are means over classes, by the name or the number of each class."""
    found = {
        measure: {called[k] if k < len(called) else str(k): estimate.as_dict() for k, estimate in classes.items()}
        for measure, classes in metrics.by_class().items()
    }
    return {"by_class": found} if found else {}


def _doubts(described: dict[str, Any]) -> list[str]:
    """What was uncertain about the scale of the network's answers and the meaning of the labels."""
    caution = described.get("scale", {}).get("caution")
    return [*([] if caution is None else [caution]), *described.get("labels", {}).get("cautions", ())]
