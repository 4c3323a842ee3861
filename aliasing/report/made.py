"""The section on how the numbers were made: commands, settings, versions, weights, skipped images, what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aliasing.called import spec_of
from aliasing.jitter.examples import FILE
from aliasing.outputs import measures_in
from aliasing.report.blocks import Block, Cell, Section, Table, Text
from aliasing.report.commands import command_again
from aliasing.report.examples import FOLDER, spectra_places
from aliasing.report.runs import Run
from aliasing.tables import counted

_COMMANDS = {
    "networks": ("networks are compared", "aliasing jitter --models … --images DIR --out jitter"),
    "depth": ("a shift is followed layer by layer", "aliasing depth --models … --images DIR --out depth"),
    "attribution": (
        "the jitter is attributed to downsampling sites",
        "aliasing attribute NETWORK --images DIR --out attribution",
    ),
}
_SPECTRA = "aliasing spectrum PHOTOGRAPH.jpg --operator subsample max average blur fourier --out spectrum"
_MOST_SKIPPED = 200


def version_differences(runs: Sequence[Run]) -> list[str]:
    """Packages of which the runs had different versions, one line each."""
    found = []
    for package in dict.fromkeys(package for run in runs for package in run.versions):
        versions = {str(run.versions.get(package)) for run in runs}
        if len(versions) > 1:
            found.append(f"{package} {' and '.join(sorted(versions))}")
    return found


def other_pictures(runs: Sequence[Run]) -> list[str]:
    """Runs whose images have the same description but are different pictures, one line each."""
    first: dict[tuple[str, int], Run] = {}
    found = []
    for run in runs:
        images = run.shown
        if not images.get("identity"):
            continue
        before = first.setdefault((str(images.get("source")), int(images.get("found") or 0)), run)
        if before.shown["identity"] != images["identity"]:
            found.append(f"{run.folder.name} was measured on different pictures than {before.folder.name}")
    return found


def _missing(runs: Sequence[Run]) -> Iterable[Block]:
    """What is not on the page because no run measured it or kept it, with the command that would."""
    kinds = {run.kind for run in runs}
    rows = [(f"No run in which {what}", command) for kind, (what, command) in _COMMANDS.items() if kind not in kinds]
    for run in runs:
        if run.kind != "networks" or run.output is None:
            continue
        again = command_again(run)
        if run.output.movement and not (run.folder / FOLDER / FILE).is_file():
            keeps = again if again.startswith("aliasing jitter ") else _COMMANDS["networks"][1]  # the others keep none
            rows.append((f"Photographs: {run.folder.name} holds no folder “{FOLDER}”", keeps))
        if measures_in(run.summary, "shift") and not (run.folder / "records").is_dir():
            rows.append((f"Jitter by shift: it follows from records, which are not in {run.folder.name}", again))
    if not spectra_places(runs):
        rows.append(("The spectra of a photograph before and after downsampling", _SPECTRA))
    if rows:
        cells = [[Cell(what), Cell(command, code=True)] for what, command in rows]
        title = "What is not on this page, and the commands that make it"
        yield Table(title, ["not here", "command"], cells, folded=title)


def made_section(called: Sequence[tuple[Run, Mapping[str, str]]]) -> Section:
    """The settings, versions, networks and skipped images of every run, given with its networks' display names."""
    section = Section("made", "How this was made")
    if any(run.networks for run, _ in called):
        section.blocks += _networks(called)
    for run, names in called:
        section.blocks += _run(run, names)
    runs = [run for run, _ in called]
    section.blocks.append(_versions(runs))
    section.blocks += _missing(runs)
    return section


def _networks(called: Sequence[tuple[Run, Mapping[str, str]]]) -> Iterable[Block]:
    """Where each network comes from and what was noted of it; what was noted of all, once; and the hashes, folded."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for run, names in called:
        for name, model in run.networks.items():
            found.setdefault(names[name], (name, model))
    noted = {text: [str(note) for note in model.get("notes") or []] for text, (_, model) in found.items()}
    of_all = [note for note in next(iter(noted.values())) if all(note in notes for notes in noted.values())]
    of_all = of_all if len(found) > 1 else []
    rows, hashes = [], []
    for text, (name, model) in found.items():
        weights, loaded = model.get("weights") or {}, spec_of(name, model)
        network, version = Cell(text, text, loaded if loaded != text else ""), str(weights.get("version") or "")
        source = Cell(str(weights.get("source") or "–"), None, version if version != "unversioned" else "")
        rows.append([network, source, Cell("; ".join(n for n in noted[text] if n not in of_all) or "–")])
        hashed = (weights.get("sha256"), model.get("identity"))
        hashes.append([network, *(Cell(str(value or "–"), code=True) for value in hashed)])
    yield Table("The networks", ["network", "source of the weights", "notes"], rows)
    if of_all:
        yield Text([f"Each of them: {'; '.join(of_all)}."])
    title = "Hashes of the weights, and identities, which include what is computed with them"
    yield Table(title, ["network", "SHA-256", "identity"], hashes, folded=title)


def _run(run: Run, names: Mapping[str, str]) -> Iterable[Block]:
    command = Cell(command_again(run), code=True)
    rows = [[Cell(key, code=True), Cell(_setting(value))] for key, value in run.settings.items()]
    title = f"Command and settings of {run.folder.name}"
    yield Table(title, ["setting", "value"], [[Cell("command"), command], *rows], folded=title)
    unmeasured = run.summary.get("unmeasured")
    if isinstance(unmeasured, dict) and unmeasured:
        rows = [[Cell(str(name)), Cell(str(reason))] for name, reason in unmeasured.items()]
        yield Table("Networks that could not be measured, and why", ["network", "reason"], rows)
    skipped = run.shown.get("skipped")
    if isinstance(skipped, dict) and skipped:
        rows = [[Cell(str(name)), Cell(str(reason))] for name, reason in list(skipped.items())[:_MOST_SKIPPED]]
        more = f"; the first {_MOST_SKIPPED}" if len(skipped) > _MOST_SKIPPED else ""
        yield Table(
            f"Images of {run.folder.name} that could not be shown, and why{more}",
            ["image", "reason"],
            rows,
            folded=f"Skipped in {run.folder.name}: {counted(len(skipped))}",
        )
    for name, model in run.networks.items():
        bad = model.get("not_finite") or []
        if bad:
            yield Text(
                [
                    f"{names[name]}: NaN or infinite output on {counted(len(bad))}, left out of the numbers:"
                    f" {', '.join(map(str, bad[:5]))}{' …' if len(bad) > 5 else ''}."
                ],
                "caution",
            )


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_setting, value))
    return "–" if value is None else str(value)


def _versions(runs: Sequence[Run]) -> Table:
    packages = dict.fromkeys(package for run in runs for package in run.versions)
    found = {package: dict.fromkeys(str(run.versions.get(package) or "–") for run in runs) for package in packages}
    rows = [[Cell(package), Cell(" and ".join(versions))] for package, versions in found.items()]
    return Table("Versions", ["package", "version"], rows, folded="Versions of what the numbers depend on")
