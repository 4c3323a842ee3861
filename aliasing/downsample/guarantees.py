"""`guarantees`: what operators and networks promise, checked, beside what their publications claim."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.comparison import PLAIN
from aliasing.downsample.laws import LAWS, Cell, Function, Steps, Subject, randomised
from aliasing.downsample.operator import Operator
from aliasing.downsample.plain import subsample
from aliasing.errors import InputError, UsageError, first_line
from aliasing.kinds import OPERATORS
from aliasing.provenance import made_with
from aliasing.registry import did_you_mean
from aliasing.result import Result, read_summary
from aliasing.rounding import rounded
from aliasing.tables import Format, render

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

__all__ = ["Guarantees", "guarantees"]

_EXACT, _MARK = "exact", " !"
_ABREAST = 8  # laws side by side in a terminal


@dataclass(frozen=True, repr=False)
class Guarantees(Result):
    """Operators and networks, and what of each law was found."""

    rows: dict[str, dict[str, dict[str, Any]]]  #: by name and law: `aliasing.downsample.laws.Cell`, claim and differs
    skipped: dict[str, str]  #: what could not be measured, and why
    settings: dict[str, Any]

    @property
    def laws(self) -> list[str]:
        """The laws that apply to something here, in their order."""
        first = next(iter(self.rows.values()), {})
        return [law for law in first if any(cells[law]["applies"] for cells in self.rows.values())]

    def summary(self) -> dict[str, Any]:
        """Every cell: nothing is sampled from a population, so there are no intervals."""
        return {"guarantees": self.rows, "skipped": self.skipped, **made_with(self.settings)}

    def table(self) -> "pa.Table":
        """One row an operator and law."""
        import pyarrow as pa

        return pa.Table.from_pylist(
            [{"name": name, "law": law, **cell} for name, cells in self.rows.items() for law, cell in cells.items()]
        )

    def plot(self) -> "Figure":
        """The figure of `aliasing.plots.guarantees`."""
        from aliasing import plots

        return plots.guarantees(self)

    def readable(self, form: Format) -> list[str]:
        """The table: a row an operator, a column a law."""
        laws = self.laws
        rows = [
            {"operator": name, **{LAWS[law].title: shown(law, cells[law]) for law in laws}}
            for name, cells in self.rows.items()
        ]
        if len(rows) > 3 or form == "csv":
            titles = [LAWS[law].title for law in laws]
            halves = [titles[:_ABREAST], titles[_ABREAST:]] if form == "table" else [titles]
            return [
                render([{title: row[title] for title in ("operator", *half)} for row in rows], form)
                for half in halves
                if half
            ]
        turned = [{"law": LAWS[law].title, **{row["operator"]: row[LAWS[law].title] for row in rows}} for law in laws]
        return [render(turned, form, titles={name: name for name in self.rows})]

    def remarks(self) -> list[str]:
        """What the numbers are, and every claim that was not found to hold."""
        said = [
            "exact: to rounding in float64. Otherwise the worst relative change that was found; of alias, baseband and"
            " images the share of the energy. –: does not apply. Operators that learn have random weights."
        ]
        for name, cells in self.rows.items():
            for law, cell in cells.items():
                if cell["differs"]:
                    found = "" if cell["value"] is None else f"the worst found is {rounded(cell['value'], '.3g')}"
                    where = ", ".join(filter(None, [found, cell["worst"]]))
                    said.append(f"! {name}, {LAWS[law].title}: published as {cell['claim']}; {where}")
        return said + [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]

    @classmethod
    def open(cls, folder: str | Path) -> "Guarantees":
        """Read the results of `aliasing guarantees --out FOLDER`."""
        summary = read_summary(Path(folder), "guarantees")
        return cls(summary["guarantees"], summary["skipped"], summary["settings"])

    def _write_records(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        (folder / "records").mkdir(parents=True, exist_ok=True)
        pq.write_table(self.table(), folder / "records" / "guarantees.parquet")


def shown(law: str, cell: Mapping[str, Any]) -> str:
    """A cell of the table, as text."""
    if not cell["applies"]:
        return "–"
    if law == "cost":
        text = rounded(cell["value"], ".3g")
    elif cell["exact"]:
        text = _EXACT if cell["value"] is not None else "yes"
    elif cell["value"] is None:
        text = "no"
    else:
        text = rounded(cell["value"], "#.2g" if cell["value"] < 0.995 else ".2f")
    return text + (_MARK if cell["differs"] else "")


def guarantees(
    operators: Any = None,
    *,
    stride: PerAxis = 2,
    dims: int = 2,
    laws: Iterable[str] | None = None,
    claims: Mapping[str, Mapping[str, str]] | None = None,
    size: int = 32,
    channels: int = 3,
    seed: int = 0,
) -> Guarantees:
    """Measure what downsampling operators and networks guarantee, in float64, with the worst case found.

    Signals are periodic but for the crop shifts. Weights are random, as a guarantee has to hold whatever is learned.

    Parameters
    ----------
    operators : str, nn.Module, function, mapping by name, or a sequence of these; optional
        Names of `aliasing.kinds.OPERATORS`, or of plain operators ("subsample", "max", "average"); modules and
        functions of a tensor (N, C, ...), which have one stride only. An ``nn.Module`` that is not an
        `aliasing.downsample.operator.Operator`, and a ``Classifier``, is taken for a network. By default all operators.
    stride : int or one int per axis
        Distance between the samples kept.
    dims : int
        Number of spatial axes: 1, 2 or 3.
    laws : iterable of str, optional
        Those of `aliasing.downsample.laws.LAWS` to measure; by default all.
    claims : mapping, optional
        What a publication claims, by name and law, in words; that of the package's operators is known.
    size, channels : int
        Of the input of a network.
    seed : int
        Of the noise, the random weights and the random shifts.

    Returns
    -------
    Guarantees
        Of each operator and law the worst case, whether it is exact, and whether a claim differs from it.

    Raises
    ------
    UsageError
        If there is no such operator or law.

    Examples
    --------
    >>> found = guarantees(["aps", "tips"], laws=["circular integer"])
    >>> print(found.readable("table")[0])
    law           aps    tips
    ------------  -----  ------
    whole shifts  exact  1.13 !
    """
    steps = per_axis(stride, dims, "stride")
    names = list(LAWS if laws is None else laws)
    for name in names:
        if name not in LAWS:
            raise UsageError(f"no law {name!r}{did_you_mean(name, LAWS)}; there are {', '.join(LAWS)}")
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    skipped: dict[str, str] = {}
    for name, thing in _named(operators):
        subject = _subject(name, thing, steps, size, channels, seed)
        subject.claims.update((claims or {}).get(name, {}))  # type: ignore[attr-defined]
        try:
            subject.make(steps)
            rows[name] = {law: _cell(subject, law) for law in names}
        except (InputError, UsageError) as error:
            skipped[name] = first_line(error)
    settings = {"stride": steps, "laws": names, "size": size, "channels": channels, "seed": seed}
    return Guarantees(rows, skipped, settings)


def _cell(subject: Subject, law: str) -> dict[str, Any]:
    try:
        cell = LAWS[law].measure(subject)
    except Exception as error:  # whatever someone's function or network raises
        cell = Cell(None, False, f"{type(error).__name__}: {first_line(error)}"[:120])
    claim = subject.claims.get(law)
    return {**asdict(cell), "claim": claim, "differs": claim is not None and cell.applies and not cell.exact}


def _named(operators: Any) -> list[tuple[str, Any]]:
    """Things to measure, each with its name."""
    if operators is None:
        return [(name, name) for name in (*_plain(), *OPERATORS)]
    if isinstance(operators, Mapping):
        return [(str(name), thing) for name, thing in operators.items()]
    if isinstance(operators, str) or not isinstance(operators, Iterable) or isinstance(operators, nn.Module):
        operators = [operators]
    return [(thing if isinstance(thing, str) else _name_of(thing), thing) for thing in operators]


def _plain() -> list[str]:
    return [name for name in PLAIN if name != "convolution"]  # which is the average with another window


def _name_of(thing: Any) -> str:
    return str(getattr(thing, "name", None) or getattr(thing, "__name__", None) or type(thing).__name__)


def _subject(name: str, thing: Any, steps: Steps, size: int, channels: int, seed: int) -> Subject:
    made: Callable[[Steps], Function | None]
    if isinstance(thing, str) and thing in OPERATORS:
        kind = OPERATORS[thing]

        def made(stride: Steps) -> Function:
            return randomised(kind.at(stride, "binomial4", "circular"), seed)

        return Subject(name, steps, made, dict(kind.claims), seed=seed)
    if isinstance(thing, str) and thing in _plain():
        return Subject(name, steps, partial(_strided, thing), {}, seed=seed)
    if isinstance(thing, str):
        from aliasing.models import load_model

        if ":" not in thing and did_you_mean(thing, (*_plain(), *OPERATORS)):
            raise UsageError(f"no operator {thing!r}{did_you_mean(thing, (*_plain(), *OPERATORS))}")
        thing = load_model(thing)
    network = getattr(thing, "module", thing)
    if isinstance(network, Operator):
        operator = randomised(network, seed)
        return Subject(
            name,
            operator.stride,
            lambda stride: operator if stride == operator.stride else None,
            dict(operator.claims),
            seed=seed,
        )
    if isinstance(network, nn.Module):
        import copy

        double = copy.deepcopy(network).double().eval()
        given = thing.input_size if thing is not network and isinstance(thing.input_size, int) else size
        ones = (1,) * len(steps)
        return Subject(name, ones, lambda stride: double, {}, given, channels, seed)
    if callable(thing):
        return Subject(name, steps, lambda stride: thing if stride == steps else None, {}, seed=seed)
    raise UsageError(f"an operator is a name, an nn.Module or a function of a tensor; got a {type(thing).__name__}")


def _strided(name: str, stride: Steps) -> Function:
    """A plain operator with periodic borders."""

    def function(x: Tensor) -> Tensor:
        dense = torch.stack([PLAIN[name](image, stride, None)[0] for image in x])
        return subsample(dense, stride, dims=len(stride))

    return function
