"""Tables of results as text, Markdown, CSV and HTML. Nothing here computes a result.

A row is a dict of cells by column. A cell is text, a number, or an estimate as in a summary, ``{"value", "low",
"high"}``. Columns have the names of the summaries' measures; the measures know the titles for people.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aliasing.called import short_names
from aliasing.outputs import measures_in, output_of
from aliasing.rounding import rounded

if TYPE_CHECKING:
    from aliasing.outputs.base import Measure

__all__ = [
    "FORMATS",
    "Format",
    "Row",
    "above_one",
    "attribution_rows",
    "attribution_table",
    "attribution_totals",
    "by_network",
    "candidate_rows",
    "cell",
    "counted",
    "cure_tables",
    "decimals",
    "depth_rows",
    "depth_tables",
    "difference_rows",
    "flat",
    "jitter_columns",
    "jitter_rows",
    "jitter_tables",
    "leaderboard_columns",
    "leaderboard_differences",
    "leaderboard_rows",
    "leaderboard_tables",
    "measured_under",
    "over_all",
    "pair",
    "render",
    "slide",
    "slide_pairs",
    "slide_rows",
    "verdict",
    "word_for",
]

Row: TypeAlias = dict[str, Any]
Format: TypeAlias = Literal["table", "markdown", "csv", "html"]

FORMATS = ("table", "markdown", "csv")
"""The format of a command's output; ``html`` is for notebooks."""

_TITLES = {
    "multiply_adds": "multiply–adds",
    "megabytes": "MB",
    "agreement": "agrees with the first",
    "views_per_second": "views/s",
    "unexplained_change": "unexplained",
    "cumulative_stride": "stride",
    "form": "",
    "rank": "",
    "origin": "from",
}


_MOST_DECIMALS = 6


def cell(estimate: Mapping[str, float | None] | None, sign: str = "") -> str:
    """An estimate with its interval in brackets, to the decimals that the interval's width leaves meaning (`decimals`).

    ``sign="+"`` shows the sign of a difference, and of its interval's ends.

    Examples
    --------
    >>> cell({"value": 0.25, "low": 0.2, "high": 0.3}), cell({"value": 0.25, "low": 0.248, "high": 0.252})
    ('0.25 [0.20, 0.30]', '0.2500 [0.2480, 0.2520]')
    >>> cell({"value": -0.25, "low": -0.5, "high": -0.001}, "+")
    '−0.250 [−0.500, −0.001]'
    """
    if estimate is None or estimate["value"] is None:
        return "–"
    digits = decimals(estimate)
    ends = (estimate["low"], estimate["high"])
    while sign and digits < _MOST_DECIMALS and any(end and _is_zero(end, digits) for end in ends):
        digits += 1  # an end that is not 0 does not look like 0
    value, low, high = ("" if one is None else rounded(one, f"{sign}.{digits}f") for one in (estimate["value"], *ends))
    return f"{value} [{low}, {high}]" if low else value


def _is_zero(number: float, digits: int) -> bool:
    """Whether a number looks like 0 with this number of decimals."""
    return rounded(number, f".{digits}f") == rounded(0.0, f".{digits}f")


def decimals(estimate: Mapping[str, float | None]) -> int:
    """How many decimals an estimate is written with: two digits of its interval's width, at least 2; 4 without one.

    Examples
    --------
    >>> [decimals({"value": 0.1, "low": 0.1 - half, "high": 0.1 + half}) for half in (0.4, 0.04, 0.004)]
    [2, 3, 4]
    """
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None or not high > low:
        return 4
    digits = 1 - math.floor(math.log10(high - low) + 1e-9)  # 0.3 − 0.2 is a little less than 0.1
    return min(max(digits, 2), _MOST_DECIMALS)


_ABOVE_ONE = {
    "unexplained_change": "an unexplained change above 1: the map that stayed where it was is a better guess than the"
    " moved one",
    "baseband_kept": "baseband kept above 1: what stands before the stride (a ReLU, a maximum) adds energy to the band;"
    " it is a ratio and not a share",
}


def above_one(places: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a number above 1 means for each measure that looks like a share and has one, of layers, sites or operators.

    Examples
    --------
    >>> above_one([{"baseband_kept": {"value": 1.517, "low": 1.4, "high": 1.6}}])[0][:24]
    'baseband kept above 1: w'
    """
    places = list(places)
    found = {name: [place.get(name) for place in places] for name in _ABOVE_ONE}
    return [
        text
        for name, text in _ABOVE_ONE.items()
        if any(isinstance(one, Mapping) and (one["value"] or 0) > 1 for one in found[name])
    ]


def counted(count: int, what: str = "image") -> str:
    """A number of things, in English.

    Examples
    --------
    >>> counted(1), counted(1200, "photograph")
    ('1 image', '1,200 photographs')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def are_different(names: Sequence[str]) -> str:
    """That settings, sorted, are not what they were, in English.

    Examples
    --------
    >>> are_different(["recipe"]), are_different(["images"]), are_different(["recipe", "seed"])
    ('recipe differs', 'images differ', 'recipe, seed differ')
    """
    return f"{', '.join(names)} {'differ' if len(names) > 1 or names[0].endswith('s') else 'differs'}"


def word_for(networks: Mapping[str, Mapping[str, Any]], picture: str = "image") -> str:
    """What the networks of a summary were shown: a sound, a volume or another signal, or a picture by this name.

    Examples
    --------
    >>> word_for({"net": {"input_size": [8000], "rate": [8000.0]}}), word_for({"net": {"input_size": 224}})
    ('sound', 'image')
    """
    axes = {len(network["input_size"]) for network in networks.values() if "rate" in network}
    return {(): picture, (1,): "sound", (3,): "volume"}.get(tuple(axes), "signal")


def render(rows: Sequence[Row], form: Format = "table", sign: str = "", titles: Mapping[str, str] | None = None) -> str:
    """Rows as text: aligned for a terminal, Markdown, CSV, or an HTML table.

    Markup in a cell stays text in Markdown and HTML. In CSV an estimate takes three columns, ``…``, ``…_low`` and
    ``…_high``, and nothing is rounded.

    Parameters
    ----------
    rows : sequence of dict
        All with the same columns.
    form : {"table", "markdown", "csv", "html"}
    sign : {"", "+"}
        "+" for a table of differences.
    titles : mapping of str to str, optional
        What columns are called, those whose title is not their name.

    Examples
    --------
    >>> rows = [{"network": "a|b", "mac": {"value": 0.25, "low": 0.2, "high": 0.3}}]
    >>> print(render(rows, "markdown", titles={"mac": "MAC"}))
    | network   | MAC               |
    |:----------|:------------------|
    | a\\|b      | 0.25 [0.20, 0.30] |
    """
    if form == "csv":
        return _csv(flat(rows))
    from tabulate import tabulate

    if not rows:
        return ""
    columns, called = list(rows[0]), {**_TITLES, **(titles or {})}
    cells = [[_text(row[column], sign) for column in columns] for row in rows]
    if form == "markdown":
        cells = [[_markdown(text) for text in row] for row in cells]
    numbers = [all(isinstance(row[column], (int, float)) for row in rows) for column in columns]
    return str(
        tabulate(
            cells,
            headers=[called.get(column, column.replace("_", " ")) for column in columns],
            tablefmt={"table": "simple", "markdown": "pipe", "html": "html"}[form],
            disable_numparse=True,  # a layer named 1.10 is not a number
            colalign=["right" if number else "left" for number in numbers],
        )
    )


def flat(rows: Iterable[Row]) -> list[Row]:
    """Rows of single values: an estimate becomes three, ``…``, ``…_low`` and ``…_high``.

    Examples
    --------
    >>> flat([{"mac": {"value": 0.25, "low": 0.2, "high": 0.3}}])
    [{'mac': 0.25, 'mac_low': 0.2, 'mac_high': 0.3}]
    """
    rows = list(rows)
    estimates = {column for row in rows for column, value in row.items() if isinstance(value, Mapping)}

    def parts(row: Row) -> Iterator[tuple[str, Any]]:
        for column, value in row.items():
            if column in estimates:
                estimate = value or UNKNOWN
                yield from ((f"{column}{end}", estimate[key]) for key, end in _ENDS.items())
            else:
                yield column, value

    return [dict(parts(row)) for row in rows]


_ENDS = {"value": "", "low": "_low", "high": "_high"}
UNKNOWN = dict.fromkeys(_ENDS)
"""An estimate without a value."""


def jitter_rows(summary: Mapping[str, Any]) -> list[Row]:
    """One row per network, from the summary of a jitter measurement."""
    models = summary["models"]
    columns = [measure.name for measure in measures_in(summary, "table")]
    return [
        {"network": name, **{column: model.get(column) for column in columns}}
        | {column: model[column] for column in ("images", "pairs")}
        for name, model in models.items()
    ]


def difference_rows(summary: Mapping[str, Any], place: str = "table") -> list[Row]:
    """One row per paired difference, from the summary of a jitter measurement or a leaderboard (and its ``place``)."""
    differences = summary["differences"]
    names = [measure.name for measure in measures_in(summary, place)]
    columns = [name for name in names if any(name in difference for difference in differences)]
    return [
        {
            "network": difference["second"],
            "minus": difference["first"],
            **{column: difference.get(column) for column in columns},
        }
        for difference in differences
    ]


def by_network(differences: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Each network's difference from its plain sibling or the first network, among all that a summary holds."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in differences:
        found.setdefault(row["second"], row)  # the others come later
    return found


def _other_pairs(differences: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The differences that `by_network` leaves out."""
    kept = by_network(differences)
    return [row for row in differences if row is not kept[row["second"]]]


def jitter_tables(summary: Mapping[str, Any], form: Format) -> list[str]:
    """The networks, and their paired differences if there are several; as CSV, all in one table."""
    if form == "csv":
        return [render(jitter_columns(summary), form)]
    return _rendered([(jitter_rows(summary), ""), (difference_rows(summary), "+")], form, summary, "table")


def jitter_columns(summary: Mapping[str, Any]) -> list[Row]:
    """The rows with the paired differences beside the measures: ``minus``, the other network, and ``…_minus_first``.

    If differences from a second network are there too, they are called ``…_minus_`` and its name.
    """
    rows, differences = jitter_rows(summary), difference_rows(summary)
    for number, first in enumerate(dict.fromkeys(row["minus"] for row in differences)):
        by_network = {row["network"]: row for row in differences if row["minus"] == first}
        columns = [column for column in differences[0] if column not in ("network", "minus")]
        for row in rows:
            found = by_network.get(row["network"], {})
            row |= {} if number else {"minus": found.get("minus")}
            row |= {f"{column}_minus_{first if number else 'first'}": found.get(column) for column in columns}
    return rows


def cure_tables(summary: Mapping[str, Any], form: Format) -> list[str]:
    """The candidates of a cure, its networks, and their paired differences; as CSV, the networks with differences."""
    if form == "csv":
        return [render(jitter_columns(summary), form)]
    return _rendered([(candidate_rows(summary), "")], form, summary, "table") + jitter_tables(summary, form)


def candidate_rows(summary: Mapping[str, Any]) -> list[Row]:
    """One row per candidate of a cure, on the training images that compared them, and why it was not chosen."""
    candidates = summary["cure"]["candidates"]
    columns = [measure.name for measure in measures_in(summary, "table") if measure.name in candidates[0]]
    return [
        {
            "candidate": row["candidate"],
            **{column: row.get(column) for column in columns},
            "chosen": row["why_not"] or "chosen",
        }
        for row in candidates
    ]


def leaderboard_tables(summary: Mapping[str, Any], speed: Mapping[str, Any], form: Format) -> list[str]:
    """The networks, and their paired differences; as CSV, all in one table."""
    if form == "csv":
        return [render(leaderboard_columns(summary, speed), form)]
    networks = leaderboard_rows(summary, speed)
    for row in networks if speed else ():
        low, high = speed.get("range", {}).get(row["network"], (None, None))
        between = "" if low is None else f" ({_rate(low)}–{_rate(high)})"
        row["views_per_second"] = f"{_rate(row['views_per_second'])}{between}"
    if len({row["group"] for row in networks}) == 1:
        networks = [{column: value for column, value in row.items() if column != "group"} for row in networks]
    return _rendered([(networks, ""), (leaderboard_differences(summary), "+")], form, summary, "leaderboard")


def deployed_tables(summary: Mapping[str, Any], form: Format) -> list[str]:
    """What the forms of a deployed network have beside the measures of a leaderboard; no table without forms."""
    rows = summary.get("deployed")
    if not rows:
        return []
    return _rendered([(rows, "")], form, summary, "leaderboard")


def slide(summary: Mapping[str, Any]) -> list[str]:
    """A leaderboard for a slide, in Markdown: a short table, what it is, and the differences that it does not have."""
    first, *others = _rendered(
        [(slide_rows(summary), ""), (slide_pairs(summary), "")], "markdown", summary, "leaderboard"
    )
    return [first, _slide_line(summary), *others]


def called_protocol(parameters: Mapping[str, Any]) -> str:
    """A protocol of a summary in words: its name, and the code of its views if they were coded.

    Examples
    --------
    >>> called_protocol({"name": "crop", "span": 8, "jpeg": 75}), called_protocol({"name": "pad"})
    ('crop:jpeg=75', 'pad')
    """
    coded = ",".join(
        f"{key}={parameters[key]}" for key in ("jpeg", "webp", "video", "chroma") if parameters.get(key) is not None
    )
    return f"{parameters['name']}:{coded}" if coded else str(parameters["name"])


def _slide_line(summary: Mapping[str, Any]) -> str:
    """Of how many images the short table is, under which protocols, and by what it is sorted."""
    models, settings = summary["models"], summary["settings"]
    protocol, other = (called_protocol(settings.get(key, settings["protocol"])) for key in ("protocol", "consistency"))
    by, shown = _sorting(summary), measures_in(summary, "leaderboard")[:3]
    output = output_of(settings)
    second = [m.title for m in shown if protocol != other and output is not None and m.name in output.front[1:]]
    under = f"protocol `{protocol}`" + (f", {second[0]} `{other}`" if second else "")
    order = f"; sorted by {by.title}" if by else ""
    if any(model["sibling"] for model in models.values()):
        order += ", a network's variants below it"
    images = max(model["images"] for model in models.values())
    return f"({counted(images, word_for(models))}, 95 % intervals in brackets; {under}{order})"


def slide_rows(summary: Mapping[str, Any]) -> list[Row]:
    """A leaderboard in few columns: short names, the first three measures, and the paired differences of two of them.

    Each difference is from the network in the column ``minus``: the plain sibling, or the first network.
    """
    models, measures = summary["models"], measures_in(summary, "leaderboard")[:3]
    names, differences = short_names(models, models), by_network(summary["differences"])
    rows = []
    for name in _by_family(summary):
        row = {"network": names[name], **{measure.name: models[name].get(measure.name) for measure in measures}}
        if differences:
            found = differences.get(name, {})
            row["minus"] = names[found["first"]] if found else "–"
            row |= _slide_difference(found, summary)
        rows.append(row)
    return rows


def slide_pairs(summary: Mapping[str, Any]) -> list[Row]:
    """The other paired differences of a leaderboard, in the columns of `slide_rows`."""
    names = short_names(summary["models"], summary["models"])
    return [
        {"network": names[row["second"]], "minus": names[row["first"]], **_slide_difference(row, summary)}
        for row in _other_pairs(summary["differences"])
    ]


def _slide_difference(difference: Mapping[str, Any], summary: Mapping[str, Any]) -> Row:
    output, measures = output_of(summary["settings"]), measures_in(summary, "leaderboard")[:3]
    compared = [measure for measure in measures if output is None or measure.name not in output.front[1:]][:2]
    return {f"{measure.name}_minus": cell(difference.get(measure.name), "+") for measure in compared}


def _rate(number: float | None) -> str:
    """A rate in the two digits that another run would give again.

    Examples
    --------
    >>> _rate(35.62), _rate(1234.5), _rate(0.0412)
    ('36', '1,200', '0.041')
    """
    return "–" if number is None else rounded(float(rounded(number, ".2g")), ",.6g")


def measured_under(settings: Mapping[str, Any]) -> str:
    """Under which protocol each column of a leaderboard was measured, in a sentence.

    Examples
    --------
    >>> measured_under({"protocol": {"name": "pad"}})[:65]
    'All columns are measured under `pad`, accuracy over its first vie'
    """
    protocol, other = (called_protocol(settings.get(key, settings["protocol"])) for key in ("protocol", "consistency"))
    output = output_of(settings)
    columns, also = "All columns are", ""
    usual = ", as in `aliasing jitter`," if protocol == "grid" else ""
    if protocol != other and output is not None and output.front:
        second = output.measure(output.front[1]).called
        columns = f"{second.capitalize()} is measured under `{other}`, all other columns are"
    if output is not None and output.of_classes:
        also = ", accuracy over its first views"
    return f"{columns} measured under `{protocol}`{also}; under another protocol{usual} they differ"


def _rendered(
    tables: Sequence[tuple[Sequence[Row], str]], form: Format, summary: Mapping[str, Any], place: str
) -> list[str]:
    titles = {measure.name: measure.title for measure in measures_in(summary, place)}
    titles |= {f"{name}_minus": f"difference of {title}" for name, title in titles.items()}
    return [render(rows, form, sign, titles) for rows, sign in tables if rows]


def leaderboard_rows(summary: Mapping[str, Any], speed: Mapping[str, Any]) -> list[Row]:
    """One row per network, from the summary of a leaderboard, the most consistent first and its variants under it.

    ``speed`` holds the networks' ``views_per_second``; if it is empty, there is no such column.
    """
    models = summary["models"]
    columns = [measure.name for measure in measures_in(summary, "leaderboard")]
    return [
        {
            "network": name,
            "group": models[name]["group"],
            **{column: models[name].get(column) for column in columns},
            **{column: models[name][column] for column in ("parameters", "multiply_adds")},
        }
        | ({"views_per_second": speed["views_per_second"].get(name)} if speed else {})
        for name in _by_family(summary)
    ]


def leaderboard_columns(summary: Mapping[str, Any], speed: Mapping[str, Any]) -> list[Row]:
    """The rows of a leaderboard with everything: the plain sibling, and each measure minus the sibling's.

    Networks without one have the measures minus those of the first, which the column ``minus`` names; the columns of
    other pairs are called ``…_minus_`` and the name of the network that is subtracted.
    """
    differences = by_network(summary["differences"])
    models = summary["models"]
    has_classes = any(model["classes"] is not None for model in models.values())
    columns = ("sibling", *(("classes",) if has_classes else ()), "images")
    rows = [
        row | {column: models[row["network"]][column] for column in columns} for row in leaderboard_rows(summary, speed)
    ]
    for end, siblings in (("sibling", True), ("first", False)):
        those = {name: row for name, row in differences.items() if (models[name]["sibling"] is not None) == siblings}
        for row in rows if those else ():
            found = those.get(row["network"], {})
            row |= {} if siblings else {"minus": found.get("first")}
            row |= {f"{m.name}_minus_{end}": found.get(m.name) for m in measures_in(summary, "leaderboard")}
    others = _other_pairs(summary["differences"])
    for first in dict.fromkeys(row["first"] for row in others):
        those = {row["second"]: row for row in others if row["first"] == first}
        for row in rows:
            found = those.get(row["network"], {})
            row |= {f"{m.name}_minus_{first}": found.get(m.name) for m in measures_in(summary, "leaderboard")}
    return rows


def leaderboard_differences(summary: Mapping[str, Any]) -> list[Row]:
    """One row per network: each measure minus the plain sibling's or the first's, in the order of the leaderboard."""
    order = {name: place for place, name in enumerate(_by_family(summary))}
    rows = difference_rows(summary, "leaderboard")
    return sorted(rows, key=lambda row: order[row["network"]])


def _sorting(summary: Mapping[str, Any]) -> "Measure | None":
    """The measure that sorts a leaderboard."""
    output, measures = output_of(summary["settings"]), measures_in(summary, "leaderboard")
    return next((m for m in measures if output is not None and m.name in output.front[1:]), next(iter(measures), None))


def _by_family(summary: Mapping[str, Any]) -> list[str]:
    """The networks by consistency (or the output's first measure), each followed by its variants."""
    models, by = summary["models"], _sorting(summary)

    def place(name: str) -> float:
        value = models[name].get(by.name, {}).get("value") if by else None
        return math.inf if by is None or value is None else -by.sign * value

    heads = sorted((name for name, model in models.items() if model["sibling"] is None), key=place)
    return [
        name
        for head in heads
        for name in (head, *sorted((other for other, model in models.items() if model["sibling"] == head), key=place))
    ]


def depth_rows(summary: Mapping[str, Any]) -> list[Row]:
    """One row per layer, from the summary of a depth profile, network after network."""
    measures = ("relative_change", "equivariance_error", "unexplained_change")
    return [
        {
            "network": name,
            "layer": layer["name"],
            "shape": "×".join(map(str, layer["shape"])),
            "cumulative_stride": pair(layer["cumulative_stride"]),
            "receptive_field": _field(layer["receptive_field"]),
            **{measure: layer[measure] for measure in measures},
            "form": "" if layer["form"] == "map" else layer["form"],
        }
        for name, model in summary["models"].items()
        for layer in model["layers"]
    ]


def depth_tables(summary: Mapping[str, Any], form: Format) -> list[str]:
    """The layers of each network and its downsampling sites; for a program, the layers of all in one table."""
    if form != "table":
        return [render(depth_rows(summary), form)]
    word, found = word_for(summary["models"]), []
    for name, model in summary["models"].items():
        rows = depth_rows({"models": {name: model}})
        layers = render([{column: value for column, value in row.items() if column != "network"} for row in rows])
        found.append(f"{name}: {counted(model['images'], word)}\n{layers}")
        if model["sites"]:
            seen = counted(max(site["images"] for site in model["sites"]), word)
            found.append(f"its downsampling sites, on {seen}:\n{render([_site_row(site) for site in model['sites']])}")
    return found


def _site_row(site: Mapping[str, Any]) -> Row:
    measures = ("energy_above", "alias_fraction", "baseband_kept", "rise")
    return {
        "site": site["name"],
        "kind": site["kind"],
        "stride": pair(site["stride"]),
        **{measure: site[measure] for measure in measures},
        "status": f"{site['status']}: {site['note']}" if site["note"] else site["status"],
    }


def attribution_table(summary: Mapping[str, Any], form: Format) -> str:
    """The sites of an attribution, ranked, with paired differences."""
    titles = {}
    for way in _WAYS:
        for number, measure in enumerate(_attributed(summary)):
            said_already = number > 0 and not measure.flatters
            titles[f"{way}_{measure.name}"] = (
                measure.title if said_already else f"{way.replace('_', ' ')}: {measure.title}"
            )
    return render(attribution_rows(summary), form, "+", titles)


def attribution_totals(summary: Mapping[str, Any]) -> list[str]:
    """The measures of an attribution's network, untreated and wholly treated."""
    said = []
    for name in ("as it is", "all treated"):
        variant = summary["variants"][name]
        shown = [(m.title, variant[m.name]["value"]) for m in _attributed(summary) if m.name in variant]
        numbers = ", ".join(
            f"{title} –" if value is None else f"{title} {rounded(value, '.4f')}" for title, value in shown
        )
        said.append(f"{name}: {numbers}")
    return said


def verdict(summary: Mapping[str, Any]) -> str:
    """Which sites of an attribution are guilty, in one sentence, or that none can be told.

    A site is guilty if treating it alone clearly improves the measure that ranks the sites, or if all others are
    treated and it clearly keeps the measure worse: the interval of the paired difference does not contain 0.
    """
    by = next((one.title for one in _attributed(summary) if one.name == summary["ranked_by"]), summary["ranked_by"])
    said: list[str] = []
    guilty: list[str] = []
    for way, rank, clear in (("only", "rank", "clear"), ("all_but", "rank_all_but", "clear_all_but")):
        found = [site for site in summary["sites"] if site.get(clear) and site["name"] not in guilty]
        if not found:
            continue
        found.sort(key=lambda site: int(site.get(rank) or 0))
        first = str(found[0]["name"])
        by_how_much = _moved(over_all(found[0][way][summary["ranked_by"]]) or UNKNOWN, by)
        if way == "only":
            said.append(f"filtering {first} alone {by_how_much}")
        else:
            said.append(f"with every other site filtered, leaving {first} as it is {by_how_much}")
        guilty += [str(site["name"]) for site in found]
    if said:
        return f"The jitter comes from {_listed(guilty)}: {'; '.join(said)}"
    images = (summary["variants"].get("as it is") or {}).get("images", 0)
    return (
        f"No site can be told guilty by {by} on {counted(images)}: filtering one alone does not clearly improve it, and"
        " leaving one as it is, with every other filtered, does not clearly worsen it"
    )


def _moved(difference: Mapping[str, Any], what: str) -> str:
    """A difference in words: it raises or lowers a measure by so much, without a sign."""
    verb = "lowers" if difference["value"] < 0 else "raises"
    ends = sorted(abs(difference[end]) for end in ("low", "high"))
    return f"{verb} {what} by {cell({'value': abs(difference['value']), 'low': ends[0], 'high': ends[1]})}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def attribution_rows(summary: Mapping[str, Any]) -> list[Row]:
    """One row per site, from the summary of an attribution: paired differences; one of right answers stands once."""
    measures = _attributed(summary)
    return [
        {
            "rank": site["rank"],
            "site": site["name"],
            **{f"{way}_{m.name}": over_all(site[way].get(m.name)) for way in _WAYS for m in measures if not m.flatters},
            **{f"only_{m.name}": over_all(site["only"].get(m.name)) for m in measures if m.flatters},
        }
        for site in summary["sites"]
    ]


_WAYS = ("only", "all_but")


def _attributed(summary: Mapping[str, Any]) -> list["Measure"]:
    return measures_in(summary, "attribution")


def over_all(estimate: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The estimate over all pairs, among an attribution's by selection; one without selections stays itself."""
    return estimate.get("all", estimate) if isinstance(estimate, Mapping) else None


def pair(values: float | Sequence[float] | None) -> str:
    """A stride or a kernel: one number if all axes are equal, else one per axis."""
    if values is None:
        return "–"
    numbers = [f"{value:g}" for value in (values if isinstance(values, Sequence) else [values])]
    return numbers[0] if len(set(numbers)) == 1 else "×".join(numbers)


def _field(field: Sequence[Any] | None) -> str:
    if field is None:
        return "?"
    return str(field[0]) if isinstance(field[0], str) else f"{field[0]:g}"


def _text(value: Any, sign: str) -> str:
    """A cell for a person."""
    if value is None or isinstance(value, Mapping):
        return cell(value, sign=sign)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 100_000:
        for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= unit:
                return f"{rounded(value / unit, '.3g')} {name}"
    if isinstance(value, float):
        return rounded(value, ",.0f") if abs(value) >= 1000 else rounded(value, ".3g")
    return str(value)


def _markdown(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    for character in "\\|<*`":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return re.sub(r"−(?=[\d.])", "-", text.getvalue().rstrip("\n"))  # the minus that programs read
