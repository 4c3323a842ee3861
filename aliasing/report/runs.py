"""What does this folder hold? The results of a run, read from disk; nothing is measured again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aliasing.outputs import output_of
from aliasing.outputs.base import Output
from aliasing.result import kind_of, read_summary

KINDS = ("networks", "depth", "attribution", "spectrum", "features")


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes
    ----------
    folder : Path
    kind : str
        One of `KINDS`: what its summary has.
    summary : dict
    title : str
        What tells it apart from the others of its kind on a page; empty where it is the only one.
    """

    folder: Path
    kind: str
    summary: dict[str, Any]
    title: str = ""

    @property
    def protocol(self) -> str:
        """The name of the protocol; empty where there is none."""
        protocol = self.settings.get("protocol")
        return str(protocol.get("name", "")) if isinstance(protocol, dict) else str(protocol or "")

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        settings = self.summary.get("settings")
        return settings if isinstance(settings, dict) else {}

    @property
    def output(self) -> type[Output] | None:
        """What of the networks' answers was compared; None where it is an output that is not installed here."""
        return output_of(self.settings)

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """The networks by name, with what the summary says of each; of an attribution the network as it is."""
        if self.kind == "attribution":
            return {self.summary["model"]: self.summary["variants"].get("as it is", {})}
        if self.kind == "features":
            return {self.summary["model"]: self.summary}
        models: dict[str, dict[str, Any]] = self.summary.get("models", {})
        return models


def read_run(folder: str | Path) -> Run:
    """Read what a command with ``--out DIR`` has left in DIR.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Run

    Raises
    ------
    InputError
        There is no such folder, or it holds no run that can be shown.
    """
    folder = Path(folder)
    summary = read_summary(folder)
    return Run(folder, str(kind_of(summary)), summary)


def with_titles(runs: Sequence[Run]) -> list[Run]:
    """The runs with titles: the protocol, or the folder where that does not tell them apart.

    Examples
    --------
    >>> of = {name: {"settings": {"protocol": {"name": name}}} for name in ("crop", "pad")}
    >>> runs = [Run(Path("a"), "depth", of["crop"]), Run(Path("b"), "depth", of["pad"])]
    >>> [run.title for run in with_titles(runs)]
    [': crop', ': pad']
    """
    titled = []
    for run in runs:
        alike = [other for other in runs if other.kind == run.kind]
        protocols = [other.protocol for other in alike]
        if len(alike) == 1:
            titled.append(run)
        elif len(set(protocols)) == len(alike):
            titled.append(replace(run, title=f": {run.protocol}"))
        else:
            titled.append(replace(run, title=f": {run.folder.name}"))
    return titled


def identity_of(model: dict[str, Any]) -> str:
    """What a summary says of which network it is; the hash of its weights where it says no more."""
    weights = model.get("weights")
    return str(model.get("identity") or (weights.get("sha256") if isinstance(weights, dict) else "") or "")
