"""Tables from results: for a person, a paper, a spreadsheet and a notebook. Nothing here computes a result.

A row is a dict of cells by column. A cell is text, a number, or an estimate as it stands in a summary, ``{"value",
"low", "high"}``. Columns have the names of the summaries' measures; for people they are given titles.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

__all__ = [
    "FORMATS",
    "Format",
    "Row",
    "attribution_rows",
    "cell",
    "depth_rows",
    "difference_rows",
    "flat",
    "jitter_rows",
    "jitter_tables",
    "leaderboard_columns",
    "leaderboard_differences",
    "leaderboard_rows",
    "leaderboard_tables",
    "pair",
    "render",
]

Row: TypeAlias = dict[str, Any]
Format: TypeAlias = Literal["table", "markdown", "csv", "html"]

FORMATS = ("table", "markdown", "csv")
"""What a command prints; ``html`` is for notebooks."""

_TITLES = {
    "top1_change": "P(top-1 change)",
    "mac": "MAC",
    "any_change": "P(any label changes)",
    "label_mac": "MAC per label",
    "cosine_distance": "cosine distance",
    "neighbour_change": "P(neighbour change)",
    "worst_change": "worst case",
    "worst_accuracy": "worst-case accuracy",
    "multiply_adds": "multiply–adds",
    "views_per_second": "views/s",
    "unexplained_change": "unexplained",
    "cumulative_stride": "stride",
    "alone_top1_change": "alone: P(top-1 change)",
    "alone_mac": "MAC",
    "spared_top1_change": "spared: P(top-1 change)",
    "spared_mac": "MAC",
    "alone_accuracy": "alone: accuracy",
    "form": "",
    "rank": "",
    "origin": "from",
}
_MEASURES = (
    "top1_change",
    "mac",
    "any_change",
    "label_mac",
    "cosine_distance",
    "neighbour_change",
    "accuracy",
    "worst_accuracy",
)
_LEADERBOARD_MEASURES = (
    *("accuracy", "consistency", "top1_change", "any_change"),
    *("worst_change", "worst_accuracy", "mac", "label_mac"),
)


def cell(estimate: Mapping[str, float | None] | None, digits: int = 3, sign: str = "") -> str:
    """An estimate with its interval in brackets; ``sign="+"`` shows the sign of a difference.

    Examples
    --------
    >>> cell({"value": 0.25, "low": 0.2, "high": 0.3})
    '0.2500 [0.200, 0.300]'
    """
    if estimate is None or estimate["value"] is None:
        return "–"
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    interval = "" if low is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return f"{value + 0.0:{sign}.4f}{interval}"  # no minus before zero


def render(rows: Sequence[Row], form: Format = "table", sign: str = "") -> str:
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

    Examples
    --------
    >>> print(render([{"network": "a|b", "mac": {"value": 0.25, "low": 0.2, "high": 0.3}}], "markdown"))
    | network   | MAC                   |
    |:----------|:----------------------|
    | a\\|b      | 0.2500 [0.200, 0.300] |
    """
    if form == "csv":
        return _csv(flat(rows))
    from tabulate import tabulate

    if not rows:
        return ""
    columns = list(rows[0])
    cells = [[_text(row[column], sign) for column in columns] for row in rows]
    if form == "markdown":
        cells = [[_markdown(text) for text in row] for row in cells]
    numbers = [all(isinstance(row[column], (int, float)) for row in rows) for column in columns]
    return str(
        tabulate(
            cells,
            headers=[_TITLES.get(column, column.replace("_", " ")) for column in columns],
            tablefmt={"table": "simple", "markdown": "pipe", "html": "html"}[form],
            disable_numparse=True,  # a layer named 1.10 is no number
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
                estimate = value or dict.fromkeys(("value", "low", "high"))
                yield from ((f"{column}{end}", estimate[key]) for key, end in _ENDS.items())
            else:
                yield column, value

    return [dict(parts(row)) for row in rows]


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def jitter_rows(summary: Mapping[str, Any]) -> list[Row]:
    """A row a network, of the summary of a jitter measurement."""
    models = summary["models"]
    columns = [name for name in _MEASURES if any(name in model for model in models.values())]
    return [
        {"network": name, **{column: model.get(column) for column in columns}}
        | {column: model[column] for column in ("images", "pairs")}
        for name, model in models.items()
    ]


def difference_rows(summary: Mapping[str, Any], measures: Sequence[str] = _MEASURES) -> list[Row]:
    """A row a paired difference, of the summary of a jitter measurement or a leaderboard."""
    differences = summary["differences"]
    columns = [name for name in measures if any(name in difference for difference in differences)]
    return [
        {
            "network": difference["second"],
            "minus": difference["first"],
            **{column: difference.get(column) for column in columns},
        }
        for difference in differences
    ]


def jitter_tables(summary: Mapping[str, Any], form: Format) -> list[str]:
    """The networks, and their paired differences where there are several; all in one as CSV."""
    if form == "csv":
        return [render(_with_differences(jitter_rows(summary), summary), form)]
    return _rendered([(jitter_rows(summary), ""), (difference_rows(summary), "+")], form)


def _with_differences(rows: list[Row], summary: Mapping[str, Any]) -> list[Row]:
    """The rows with the paired differences beside the measures: ``minus``, the other network, and ``…_minus_first``."""
    differences = difference_rows(summary)
    if not differences:
        return rows
    by_network = {row["network"]: row for row in differences}
    columns = [column for column in differences[0] if column not in ("network", "minus")]
    return [
        {**row, "minus": found.get("minus"), **{f"{column}_minus_first": found.get(column) for column in columns}}
        for row in rows
        for found in [by_network.get(row["network"], {})]
    ]


def leaderboard_tables(summary: Mapping[str, Any], speed: Mapping[str, Any], form: Format) -> list[str]:
    """The networks, and each minus its plain sibling; all in one as CSV."""
    if form == "csv":
        return [render(leaderboard_columns(summary, speed), form)]
    return _rendered([(leaderboard_rows(summary, speed), ""), (leaderboard_differences(summary), "+")], form)


def _rendered(tables: Sequence[tuple[Sequence[Row], str]], form: Format) -> list[str]:
    return [render(rows, form, sign) for rows, sign in tables if rows]


def leaderboard_rows(summary: Mapping[str, Any], speed: Mapping[str, Any]) -> list[Row]:
    """A row a network, of the summary of a leaderboard, the most consistent first and its variants under it.

    Parameters
    ----------
    summary : dict
    speed : dict
        ``views_per_second`` of the networks; empty, there is no such column.
    """
    models = summary["models"]
    columns = [name for name in _LEADERBOARD_MEASURES if any(name in model for model in models.values())]
    return [
        {
            "network": name,
            "group": models[name]["group"],
            **{column: models[name].get(column) for column in columns},
            **{column: models[name][column] for column in ("parameters", "multiply_adds")},
        }
        | ({"views_per_second": speed["views_per_second"].get(name)} if speed else {})
        for name in _by_family(models)
    ]


def leaderboard_columns(summary: Mapping[str, Any], speed: Mapping[str, Any]) -> list[Row]:
    """The rows of a leaderboard with all that is known: the plain sibling, and each measure minus the sibling's."""
    differences = {difference["second"]: difference for difference in summary["differences"]}
    models = summary["models"]
    return [
        row
        | {column: models[row["network"]][column] for column in ("sibling", "classes", "images")}
        | {
            f"{column}_minus_sibling": differences.get(row["network"], {}).get(column)
            for column in _LEADERBOARD_MEASURES
            if column in row and differences
        }
        for row in leaderboard_rows(summary, speed)
    ]


def leaderboard_differences(summary: Mapping[str, Any]) -> list[Row]:
    """A row a network that has a plain sibling: each measure minus the sibling's, in the order of the leaderboard."""
    order = {name: place for place, name in enumerate(_by_family(summary["models"]))}
    rows = difference_rows(summary, _LEADERBOARD_MEASURES)
    return sorted(rows, key=lambda row: order[row["network"]])


def _by_family(models: Mapping[str, Any]) -> list[str]:
    """The networks by consistency, and under each those of which it is the plain sibling."""

    def most_consistent(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: -(models[name].get("consistency", {}).get("value") or 0))

    heads = most_consistent(name for name, model in models.items() if model["sibling"] is None)
    return [
        name
        for head in heads
        for name in (head, *most_consistent(other for other, model in models.items() if model["sibling"] == head))
    ]


def depth_rows(summary: Mapping[str, Any]) -> list[Row]:
    """A row a layer, of the summary of a depth profile, network after network."""
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


def attribution_rows(summary: Mapping[str, Any]) -> list[Row]:
    """A row a site, of the summary of an attribution: paired differences."""
    return [
        {
            "rank": site["rank"],
            "site": site["name"],
            **{
                f"{way}_{measure}": site[way][measure]["all"]
                for way in ("alone", "spared")
                for measure in ("top1_change", "mac")
            },
            "alone_accuracy": site["alone"].get("accuracy"),
        }
        for site in summary["sites"]
    ]


def pair(values: Sequence[float] | None) -> str:
    """A stride, down and across."""
    if values is None:
        return "–"
    return f"{values[0]:g}" if values[0] == values[1] else f"{values[0]:g}×{values[1]:g}"


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
                return f"{value / unit:.3g} {name}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown(text: str) -> str:
    """Text that Markdown shows as it is, within a cell."""
    for character in "\\|<*`":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")
