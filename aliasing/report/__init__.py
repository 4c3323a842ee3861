"""One self-contained page from results, to open from disk and send to others.

The page shows what is in the folders of runs, and measures nothing. It holds everything that it needs, including its
script and charts; its content security policy forbids it to load anything else.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aliasing import __version__
from aliasing.called import short_names
from aliasing.errors import InputError, UsageError
from aliasing.provenance import command_line, write_bytes
from aliasing.report.runs import Names, Run, identity_of, parts_of, read_run, with_titles
from aliasing.result import reading
from aliasing.rounding import rounded
from aliasing.state import may_replace

if TYPE_CHECKING:
    from aliasing.report.blocks import Section
    from aliasing.result import Result

__all__ = ["Run", "read_run", "write_report"]

LARGEST = 10_000_000  # bytes of a page that is still pleasant to send and to open


def write_report(
    runs: "str | Path | Result | Sequence[str | Path | Result]", path: str | Path, title: str = ""
) -> list[str]:
    """Write one HTML page from one or several results.

    Parameters
    ----------
    runs : str, Path or Result, or a sequence of them
        Results of measurements, or the ``--out`` folders of ``jitter``, ``compare``, ``depth``, ``attribute``,
        ``cure``, ``spectrum`` or ``features``.
    path : str or Path
        The page; an existing page is replaced, and any other file is refused.
    title : str
        Its heading, by default the networks' names.

    Returns
    -------
    list of str
        What a reader should know: runs of different versions, a page that is very large.

    Raises
    ------
    UsageError
        No run was given, or a package for the page is not installed.
    InputError
        A folder holds no run, or the page cannot be written.
    """
    given = list(runs) if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    if not given:
        raise UsageError("no run was given; give the folder of one or several")
    path = Path(path)
    may_replace(path, b'name="generator" content="aliasing ', "a page")
    with TemporaryDirectory() as folder:
        read = [_read(run, Path(folder) / str(number)) for number, run in enumerate(given)]
        with reading([run.folder for run in read]):
            page, cautions = make_page(read, title)
    content = page.encode()
    if len(content) > LARGEST:
        cautions.append(f"the page has {rounded(len(content) / 1e6, '.0f')} MB; give it fewer runs")
    try:
        write_bytes(path, content)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another --out") from None
    return cautions


def _read(run: "str | Path | Result", folder: Path) -> Run:
    """Read a run from its folder; a result in memory is written to a folder first."""
    if isinstance(run, str | Path):
        return read_run(run)
    run.write(folder)
    return read_run(folder)


def make_page(runs: Sequence[Run], title: str = "") -> tuple[str, list[str]]:
    """The page as text, and what a reader should know before reading it."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise UsageError(f'a report needs {error.name}: pip install "aliasing[report]"') from None
    from aliasing.plots.svg import own_ids
    from aliasing.report.blocks import series_of
    from aliasing.report.made import other_pictures, version_differences
    from aliasing.report.paths import shareable
    from aliasing.report.words import Words, breakable

    runs = with_titles([part for run in runs for part in parts_of(run)])
    names = display_names(runs)
    differences = version_differences(runs)
    cautions = [f"the runs were made with different versions: {', '.join(differences)}"] if differences else []
    cautions += other_pictures(runs)
    sections = shareable(_sections(runs, names, cautions))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aliasing", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    words = Words()
    environment.filters |= {"words": words.linked, "told": words.told}
    environment.filters |= {"json": json_for_script, "breakable": breakable, "series": series_of}
    numbers = count(1)
    environment.filters["own_ids"] = lambda drawing: own_ids(drawing, f"c{next(numbers)}")
    script = _resource("page.js")
    page = environment.get_template("page.html").render(
        title=shareable(title or _title(runs, names)),
        sections=sections,
        words=words,
        cautions=shareable(cautions),
        style=_resource("page.css"),
        script=script,
        hash=_hash(script),
        version=__version__,
        made_by=shareable(command_line()),
    )
    return page, cautions


def display_names(runs: Sequence[Run]) -> list[Names]:
    """The display names of each run's networks, and the numbers of their colours, which all runs share.

    This is a network's short name (`aliasing.called`), with its run's folder if two networks have the same name, and
    without the folders of this machine. The networks of other runs have keys that are not names.
    """
    from aliasing.report.paths import without_folders

    networks: dict[tuple[str, str], Run] = {}
    known: dict[tuple[str, str], tuple[str, int]] = {}
    for run in runs:
        met: list[str] = []  # copies of a network in one run have colours of their own
        for name, model in run.networks.items():
            identity = identity_of(model)
            networks.setdefault((name, identity), run)
            known.setdefault((name, identity), (identity or name, met.count(identity or name)))
            met.append(identity or name)
    order = list(dict.fromkeys(known.values()))
    described = {name: run.networks[name] for (name, _), run in networks.items()}
    short = short_names(described, described)
    given = [name for name, _ in networks]
    called: dict[tuple[str, str], str] = {}
    for (name, identity), run in networks.items():
        text = without_folders(short[name] if given.count(name) == 1 else f"{short[name]} ({run.folder.name})")
        alike = sum(other.startswith(text) for other in called.values())
        called[name, identity] = f"{text} ({alike + 1})" if text in called.values() else text
    numbers = {text: order.index(known[key]) for key, text in called.items()}
    return [
        Names(
            {
                (name if identity == identity_of(run.networks.get(name, {})) else f"{name} {identity}"): text
                for (name, identity), text in called.items()
            },
            numbers,
        )
        for run in runs
    ]


def _title(runs: Sequence[Run], names: Sequence[Names]) -> str:
    if runs[0].kind == "cure":
        from aliasing.report.cures import called

        return called(runs[0])
    shown = list(names[0].values())
    if not shown:
        return "Aliasing in downsampling"
    return " · ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _sections(runs: Sequence[Run], names: Sequence[Names], cautions: list[str]) -> "list[Section]":
    """The page from top to bottom; what a folder holds but cannot be shown is added to the cautions."""
    from aliasing.report.cures import cure_section
    from aliasing.report.depths import attribution_section, depth_section, features_section, spectrum_section
    from aliasing.report.examples import example_sections, spectra_section
    from aliasing.report.made import made_section
    from aliasing.report.networks import networks_section

    called = list(zip(runs, names, strict=True))
    of_kind = {kind: [pair for pair in called if pair[0].kind == kind] for kind in dict.fromkeys(r.kind for r in runs)}
    sections = [cure_section(run, number, its) for number, (run, its) in enumerate(of_kind.get("cure", []), 1)]
    for number, (run, its_names) in enumerate(of_kind.get("networks", []), 1):
        sections.append(networks_section(run, number, its_names))
        try:
            sections += example_sections(run, number, its_names)
        except InputError as error:
            cautions.append(str(error))
    for kind, make in (("depth", depth_section), ("attribution", attribution_section), ("features", features_section)):
        sections += [make(run, number, its) for number, (run, its) in enumerate(of_kind.get(kind, []), 1)]
    try:
        sections += spectra_section(runs)
    except InputError as error:
        cautions.append(str(error))
    for number, (run, _) in enumerate(of_kind.get("spectrum", []), 1):
        sections.append(spectrum_section(run, number))
    return [*sections, made_section(called)]


def json_for_script(value: Any) -> Any:
    """JSON for the inside of a ``<script>`` element: no character of it begins markup.

    Examples
    --------
    >>> print(json_for_script({"name": "</script>&"}))
    {"name":"\\u003c/script\\u003e\\u0026"}
    """
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # the rest contains nothing that HTML would interpret


def _resource(name: str) -> str:
    return resources.files("aliasing.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The hash by which a content security policy allows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
