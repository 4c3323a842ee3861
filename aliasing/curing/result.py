"""The result of a cure: four networks on held-out images, what was tried on the way, and three sentences."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from aliasing import remarks, tables
from aliasing.curing.verdict import sentences, succeeded
from aliasing.depth.attribution import Attribution
from aliasing.jitter import Jitter
from aliasing.result import Result, read_summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aliasing.tables import Format

__all__ = ["CONTROL", "CURED", "PLAIN", "Cure"]

PLAIN, CONTROL, CURED = "plain", "control", "cured"
WEIGHTS = "weights.safetensors"
_PROOF = (CONTROL, CURED)  # the difference that shows what the filter is worth
PARTS = {"jitter": "held-out", "attribution": "attribution", "trials": "candidates"}
"""The folders of the runs that a cure consists of."""


@dataclass(frozen=True, repr=False)
class Cure(Result):
    """A network before and after its cure, with the control.

    Attributes
    ----------
    jitter : Jitter
        Of ``plain``, ``control`` (fine-tuned likewise, not converted), ``recalibrated`` (converted, not fine-tuned;
        ``converted`` if it has no batch norm) and ``cured``, on the held-out images.
    attribution : Attribution
        Of the plain network, on training images.
    trials : Jitter
        Of the candidates, each fine-tuned for a try, on other training images.
    facts : dict
        What was found and done on the way: ``network``, ``chosen``, ``candidates``, ``guilty``, ``images``, ``recipe``,
        ``training`` (the epochs of the control and of the cured network) and ``cost``.
    weights : Path
        The file of the cured network's weights, which holds its conversion too.
    """

    jitter: Jitter
    attribution: Attribution
    trials: Jitter
    facts: dict[str, Any]
    weights: Path
    _kept: dict[str, Any] | None = None  # the summary that a folder holds

    @property
    def cured(self) -> bool:
        """Whether it clearly jitters less than plain and than control, and is not clearly less accurate than either."""
        return succeeded(self.summary()["differences"])

    def summary(self) -> dict[str, Any]:
        """The numbers, as in ``summary.json``.

        ``models`` and ``differences`` are those of the held-out images: each network minus plain, and cured minus
        control. ``cure`` holds the rest, and ``verdict`` three sentences.
        """
        if self._kept is not None:
            return self._kept
        whole = self.jitter.summary()
        differences = [
            row for row in whole["differences"] if row["first"] == PLAIN or (row["first"], row["second"]) == _PROOF
        ]
        found = {**self.facts, "cured": succeeded(differences)}
        verdict = sentences(found, whole["models"], differences)
        return {"cure": found, "verdict": verdict, **whole, "differences": differences}

    def table(self) -> pa.Table:
        """One row per network: the measures with the ends of their intervals, and minus plain and minus control."""
        return pa.Table.from_pylist(tables.flat(tables.jitter_columns(self.summary())))

    def plot(self) -> "Figure":
        """The four networks, and the differences that prove the cure (:func:`aliasing.plots.cure`)."""
        from aliasing import plots

        return plots.cure(self)

    def readable(self, form: "Format") -> list[str]:
        """The candidates, the four networks, and their paired differences."""
        return tables.cure_tables(self.summary(), form)

    def remarks(self) -> list[str]:
        """The three sentences, and the cautions."""
        return [*remarks.of_cure(self.summary())]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        folder = Path(folder)
        summary = read_summary(folder, "cure")
        folders = [folder / name for name in PARTS.values()]
        jitter, attribution, trials = Jitter.open(folders[0]), Attribution.open(folders[1]), Jitter.open(folders[2])
        return cls(jitter, attribution, trials, summary["cure"], folder / WEIGHTS, summary)

    def _write_records(self, folder: Path) -> None:
        for attribute, name in PARTS.items():
            getattr(self, attribute).write(folder / name)
        if self.weights.resolve() != (folder / WEIGHTS).resolve():
            shutil.copyfile(self.weights, folder / WEIGHTS)
