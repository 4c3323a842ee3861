"""The result of every measurement: a summary, a table and a figure, in memory or read from a folder."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from aliasing.errors import InputError, UsageError, first_line
from aliasing.state import check_fits, claim, is_sealed, read_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from aliasing.protocols import ViewProtocol
    from aliasing.records import Records
    from aliasing.tables import Format

__all__ = ["Recorded", "Result", "kind_of", "open", "read_summary"]

FORMER_NAMES = {"alone": "only", "spared": "all_but", "rank_spared": "rank_all_but", "clear_spared": "clear_all_but"}
"""What the sites of an attribution had before, and what it is called now; a summary has both for one release."""


class Result(ABC):
    """The result of a measurement, which `aliasing.open` also reads from a folder."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Every estimate with its 95 % interval, and how it was made, as in ``summary.json``."""

    @abstractmethod
    def table(self) -> "pa.Table":
        """The estimates, each with the ends of its interval (``…_low``, ``…_high``)."""

    @abstractmethod
    def plot(self) -> "Figure":
        """The figure of `aliasing.plots`."""

    @abstractmethod
    def readable(self, form: "Format") -> list[str]:
        """The tables that a command prints."""

    def remarks(self) -> list[str]:
        """The sentences below the tables."""
        return []

    @classmethod
    @abstractmethod
    def open(cls, folder: str | Path) -> Self:
        """Read the folder of a command or a measurement; InputError if it holds no finished result."""

    def write(self, folder: str | Path) -> None:
        """Write ``summary.json``, ``records/`` and ``figure.png`` to a folder."""
        from aliasing import plots

        folder, summary = Path(folder), self.summary()
        claim_folder(folder, command_of(summary))
        self._write_records(folder)
        plots.save(self.plot(), folder / "figure.png")
        write_json(folder / "summary.json", summary)

    @abstractmethod
    def _write_records(self, folder: Path) -> None: ...

    def __repr__(self) -> str:
        return "\n\n".join(filter(None, [*self.readable("table"), "\n".join(self.remarks())]))

    def _repr_html_(self) -> str:
        return "\n".join([*self.readable("html"), *(f"<p>{escape(text)}</p>" for text in self.remarks())])


@dataclass(frozen=True, repr=False)
class Recorded(Result):
    """A result whose every number follows from the records of its networks.

    Attributes
    ----------
    models : dict of str to dict
        What is known of each network before it is measured, by name.
    protocol : ViewProtocol
    settings : dict
        What was asked for.
    """

    kind: ClassVar[str]
    models: dict[str, dict[str, Any]]
    protocol: "ViewProtocol"
    settings: dict[str, Any]
    _records: "Records"
    _kept: dict[str, Any] | None = None  # the summary that a folder holds

    @property
    def records(self) -> "pa.Table":
        """The rows of all networks, as the module that measures describes them."""
        return self._records.table(list(self.models))

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        from aliasing.records import Records

        summary = read_summary(Path(folder), cls.kind)
        settings = summary["settings"]
        return cls(summary["models"], protocol_of(settings), settings, Records(Path(folder)), summary)

    def _write_records(self, folder: Path) -> None:
        self._records.write_to(folder, self.models)


def open(folder: str | Path) -> Result:  # noqa: A001 - al.open
    """Open the folder of a finished run.

    Parameters
    ----------
    folder : str or Path
        The ``--out`` of ``aliasing jitter``, ``compare``, ``depth``, ``attribute``, ``cure``, ``spectrum``,
        ``features``, ``resamplers`` or ``guarantees``, or a folder to which `Result.write` wrote.

    Returns
    -------
    Result
        The same as from the function: it can be summarised, plotted, compared and put on a page.

    Raises
    ------
    InputError
        If the folder holds no result.

    Examples
    --------
    >>> import tempfile, aliasing as al
    >>> from torch import nn
    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     al.measure_jitter(network, "sample", limit=2).write(folder)
    ...     al.open(folder).summary()["models"]["Sequential"]["pairs"]
    16
    """
    from aliasing.curing import Cure
    from aliasing.depth.attribution import Attribution
    from aliasing.depth.features import Features
    from aliasing.depth.profile import Profile
    from aliasing.downsample.guarantees import Guarantees
    from aliasing.downsample.survey import OperatorSurvey
    from aliasing.jitter import Jitter
    from aliasing.leaderboard import Leaderboard
    from aliasing.resamplers.survey import ResamplerSurvey

    folder = Path(folder)
    summary = read_summary(folder)
    networks: type[Result] = Leaderboard if "pareto" in summary else Jitter
    classes: dict[str | None, type[Result]] = {
        "networks": networks,
        "depth": Profile,
        "attribution": Attribution,
        "cure": Cure,
        "spectrum": OperatorSurvey,
        "features": Features,
        "resamplers": ResamplerSurvey,
        "guarantees": Guarantees,
    }
    with reading([folder]):
        opened = classes[kind_of(summary)].open(folder)
        if not is_sealed(folder / "summary.json"):
            repr(opened), opened.table()
    return opened


@contextmanager
def reading(folders: Iterable[Path]) -> Iterator[None]:
    """Tell in one line that one of these folders does not hold what a run writes, if its summary has no digest.

    With one it holds what was written, so that an error is not its fault.
    """
    try:
        yield
    except (InputError, UsageError):
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        for folder in folders:
            if not is_sealed(folder / "summary.json"):
                reason = f"{type(error).__name__}: {first_line(error)}"
                raise InputError(f"{folder} does not hold what a run writes ({reason}); measure again") from error
        raise


def read_summary(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """The ``summary.json`` of a folder, of the expected kind; InputError if there is none."""
    path = folder / "summary.json"
    if not path.is_file():
        what = "no such folder" if not folder.exists() else "it holds no summary.json"
        raise InputError(
            f"{folder}: {what}; give the --out folder of a run of jitter, compare, depth, attribute, cure, spectrum,"
            " features, resamplers or guarantees"
        )
    summary = read_json(path, form=object)
    found = kind_of(summary)
    if found is None:
        raise InputError(
            f"{folder}: its summary.json is not that of a run; there are runs of jitter, depth, attribute, cure,"
            " spectrum, features, resamplers and guarantees"
        )
    check_fits([summary.get(name, {}) for name in ("settings", "versions", "images")], [{str: object}], path)
    check_fits(summary.get("versions", {}), {str: (str, None)}, path)
    if kind not in (None, found):
        raise InputError(f"{folder}: its summary.json is that of {found}, not of {kind}")
    if found == "attribution":
        for site in (site for site in summary["sites"] if isinstance(site, dict)):
            site |= {now: site[before] for before, now in FORMER_NAMES.items() if before in site and now not in site}
    known: dict[str, Any] = summary
    return known


def command_of(summary: Any) -> str | None:
    """The command that makes such a summary, None if unknown."""
    kind = kind_of(summary)
    if kind == "networks":
        return "compare" if "pareto" in summary else "jitter"
    return {"depth": "depth", "attribution": "attribute"}.get(kind or "", kind)


def claim_folder(folder: Path, command: str | None) -> None:
    """Say that a folder is this command's; UsageError if it is another's (see `aliasing.state.claim`)."""
    path, owner = folder / "summary.json", None
    if path.is_file():
        with suppress(InputError):
            owner = command_of(read_json(path))
    claim(folder, command or "a measurement", owner)


def kind_of(summary: Any) -> str | None:
    """The kind of a summary, None if unknown.

    "networks", "depth", "attribution", "cure", "spectrum", "features", "resamplers" or "guarantees".
    """
    if not isinstance(summary, dict):
        return None
    if _mapping(summary, "cure") and _mapping(summary, "models"):
        return "cure"
    if _mapping(summary, "variants") and isinstance(summary.get("sites"), list) and "model" in summary:
        return "attribution"
    if _mapping(summary, "models"):
        models = list(summary["models"].values())
        if not all(isinstance(model, dict) for model in models):
            return None
        return "depth" if all("layers" in model and "sites" in model for model in models) else "networks"
    if isinstance(summary.get("resamplers"), list):
        return "resamplers"
    if isinstance(summary.get("guarantees"), dict):
        return "guarantees"
    if _mapping(summary, "operators"):
        return "spectrum"
    if _mapping(summary, "layers") and "model" in summary:
        return "features"
    return None


def _mapping(summary: dict[str, Any], key: str) -> bool:
    return isinstance(summary.get(key), dict) and bool(summary[key])


def protocol_of(settings: dict[str, Any], key: str = "protocol") -> "ViewProtocol":
    """The protocol that a summary's settings describe."""
    from aliasing.protocols import PROTOCOLS, make_protocol

    try:
        given = dict(settings[key])
        name = given.pop("name")
        return make_protocol(name, **PROTOCOLS[name].recorded(given))
    except (KeyError, TypeError, UsageError) as error:
        raise InputError(f"the summary's {key} cannot be made again ({error}); measure again") from None
