"""Reading the results of runs from their folders; nothing is measured again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aliasing.outputs import output_of
from aliasing.outputs.base import Output
from aliasing.result import kind_of, read_summary

KINDS = ("networks", "depth", "attribution", "spectrum", "features")


@dataclass(frozen=True)
class Run:
    """A run's folder."""

    folder: Path
    kind: str  # one of `KINDS`
    summary: dict[str, Any]
    title: str = ""  # what distinguishes it on a page from others of its kind, if there are any
    held_out: bool = False  # none of its images is one that its networks were trained on, as a cure has checked

    @property
    def protocol(self) -> str:
        """The name of the protocol, or an empty string."""
        protocol = self.settings.get("protocol")
        return str(protocol.get("name", "")) if isinstance(protocol, dict) else str(protocol or "")

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        settings = self.summary.get("settings")
        return settings if isinstance(settings, dict) else {}

    @property
    def shown(self) -> dict[str, Any]:
        """Which images were shown."""
        return self.summary.get("images") or {}

    @property
    def versions(self) -> dict[str, Any]:
        """The versions of what the numbers depend on."""
        return self.summary.get("versions") or {}

    @property
    def output(self) -> type[Output] | None:
        """The output that was compared; None if it is not installed here."""
        return output_of(self.settings)

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """The networks by name, with each one's part of the summary; for an attribution, the network as it is."""
        if self.kind == "attribution":
            return {self.summary["model"]: self.summary["variants"].get("as it is", {})}
        if self.kind == "features":
            return {self.summary["model"]: self.summary}
        models: dict[str, dict[str, Any]] = self.summary.get("models", {})
        return models


class Names(dict[str, str]):
    """The display names of the networks of a page, by the names that one run gives them.

    ``numbers`` has each display name's number, for its colour. A network that runs call differently has one number.
    """

    def __init__(self, texts: Mapping[str, str], numbers: Mapping[str, int]) -> None:
        super().__init__(texts)
        self.numbers = numbers

    def series(self, name: str) -> int:
        """The number of the colour of a network, by the run's name."""
        return self.numbers[self[name]]

    def also_called(self, name: str) -> list[str]:
        """A sentence with what other runs call this network, if they do."""
        text = self[name]
        others = [
            f"“{other}”" for other, number in self.numbers.items() if (number == self.numbers[text]) > (other == text)
        ]
        said = f"“{text}” is the network that other parts of this page call {' and '.join(others)}"
        return [f"{said}: its weights are the same, by their identity."] if others else []


def read_run(folder: str | Path) -> Run:
    """Read the ``--out`` folder of a command; InputError if it does not exist or holds no run that can be shown."""
    folder = Path(folder)
    summary = read_summary(folder)
    return Run(folder, str(kind_of(summary)), summary)


def parts_of(run: Run) -> list[Run]:
    """A run and those that it consists of: a cure's are shown with it."""
    if run.kind != "cure":
        return [run]
    from aliasing.curing.result import PARTS

    measured, attribution = (read_run(run.folder / PARTS[name]) for name in ("jitter", "attribution"))
    return [run, replace(measured, held_out=True), attribution]


def with_titles(runs: Sequence[Run]) -> list[Run]:
    """The runs with titles: the protocol, or the folder if the protocols are the same.

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
    """The identity of a network in a summary, or otherwise the hash of its weights."""
    weights = model.get("weights")
    return str(model.get("identity") or (weights.get("sha256") if isinstance(weights, dict) else "") or "")
