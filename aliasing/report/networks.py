"""The section on a run's networks: a table, accuracy against consistency, intervals, and jitter by shift."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from aliasing.called import conversions_of, explained, group_in
from aliasing.errors import InputError
from aliasing.jitter.shifts import by_shift
from aliasing.leaderboard import pareto_front
from aliasing.outputs import measures_in
from aliasing.outputs.base import Measure
from aliasing.plots.differences import MOST_DRAWN, paired
from aliasing.plots.jitter import fit, intervals
from aliasing.plots.leaderboard import WITHIN, against
from aliasing.plots.shifts import heat_map
from aliasing.plots.style import COLOURS, MARKERS, colour_of
from aliasing.plots.svg import panels
from aliasing.protocols import PROTOCOLS
from aliasing.records import Records
from aliasing.remarks import of_design, told_apart
from aliasing.report.blocks import (
    Block,
    Cell,
    Chart,
    Charts,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    ends,
    estimate_cell,
    number_cell,
)
from aliasing.report.runs import Names, Run
from aliasing.rounding import rounded
from aliasing.tables import counted, decimals, measured_under, word_for

_COUNTS = {
    "images": "images",
    "pairs": "pairs",
    "parameters": "parameters",
    "flops": "FLOPs",
    "multiply_adds": "multiply–adds",
    "views_per_second": "views per second",
}
_MOST_TILES = 4
_INTERVALS = "; 95 % intervals where you point, and in the table below"
# The most networks whose jitter by shift is drawn; a leaderboard has more.
_MOST_MAPS = 8


def networks_section(run: Run, number: int, names: Names) -> Section:
    """The comparison of the networks of a run; counts that are the same for all are in the lead, others in the table.

    ``number`` is that of the section among its kind.
    """
    models = run.networks
    title = "Networks compared" if len(models) > 1 else "The network's jitter"
    section = Section(f"networks-{number}", f"{title}{run.title}", _lead(run))
    measures = [
        measure
        for measure in _measures_in(run, "page")
        if any(ends(model.get(measure.name))[0] is not None for model in models.values())
    ]
    # Measures of an output that is not installed here, or of another version.
    known = {measure.name for measure in (run.output.measures if run.output else ())}
    others = {
        key: key.replace("_", " ")
        for model in models.values()
        for key, value in model.items()
        if key not in known and ends(value)[0] is not None
    }
    titles = {measure.name: measure.called for measure in measures} | others
    section.blocks += (Text([f"{text.capitalize()}."]) for text in of_design(run.summary))
    section.blocks += (Text([text]) for text in told_apart(run.summary.get("differences") or [], measures, names))
    section.blocks += cautions(run, names)
    section.blocks += _tiles(models, measures, names)
    flattered = next((measure.called for measure in measures if measure.flatters), "")
    section.blocks.append(_table(models, titles, names, flattered))
    meanings = explained(conversions_of(models))
    if meanings:
        section.blocks.append(Text([f"{meanings}."], "note"))
    section.blocks += _scatter(run, names)
    section.blocks += _interval_charts(models, _measures_in(run, "plot"), names)
    section.blocks += _differences(run, titles, names)
    section.blocks += _shifts(run, names)
    return section


def _measures_in(run: Run, place: str) -> list[Measure]:
    """The measures shown in a place, without the caution on training images if the images are held out."""
    return [measure.on_held_out() if run.held_out else measure for measure in measures_in(run.summary, place)]


def _lead(run: Run) -> str:
    models = list(run.networks.values())
    images, pairs = (max((model.get(count) or 0 for model in models), default=0) for count in ("images", "pairs"))
    source = str(run.shown.get("source", ""))
    shown = counted(images, word_for(run.networks, "photograph"))
    shown += f", {pairs:,} pairs of views" if pairs else ""
    under = f" {measured_under(run.settings)}.".replace("`", "") if "consistency" in run.settings else ""
    return f"{shown}{f' ({source})' if source else ''}. {_how(run)}".strip() + under


def _how(run: Run) -> str:
    """The first sentence of the protocol's description, with the values of its parameters in place of their names."""
    protocol, given = PROTOCOLS.get(run.protocol), run.settings.get("protocol")
    if protocol is None:
        return ""
    defaults = {one.name: one.default for one in fields(protocol)}
    values = defaults | (given if isinstance(given, dict) else {})
    sentence = (inspect.getdoc(protocol) or "").split("\n")[0]
    return re.sub("``(.+?)``", lambda quoted: str(values.get(quoted[1], quoted[1])), sentence)


def cautions(run: Run, names: Names) -> Iterable[Block]:
    """What to know before trusting an interval of these networks."""
    texts: dict[str, list[str]] = {}
    for name, model in run.networks.items():
        for caution in model.get("cautions") or []:
            texts.setdefault(str(caution), []).append(names[name])
    told = [f"{text}." for text in run.shown.get("cautions") or []]
    told += [f"{'; '.join(who)}: {text}." for text, who in texts.items()]
    if told:
        yield Text(told, "caution")


def _tiles(models: Mapping[str, dict[str, Any]], measures: Sequence[Measure], names: Names) -> Iterable[Block]:
    tiles = []
    spoken = next((measure for measure in measures if measure.spoken), None)
    if spoken is None:
        return
    word = word_for(models, "photograph")
    for name, model in models.items():
        value, low, high = ends(model.get(spoken.name))
        if value is None:
            continue
        digits = f".{max(decimals(model[spoken.name]) - 2, 0)}f"
        text = spoken.spoken
        if low is not None and high is not None:
            text += f" [{rounded(100 * low, digits)}, {rounded(100 * high, digits)}]"
        changed, images = model.get("images_that_change"), model.get("images")
        if changed is not None and images and any(measure.is_change for measure in measures):
            text += f"; on {changed} of {counted(images, word)}"
        tiles.append(Tile(names.series(name), names[name], f"{rounded(100 * value, digits)} %", text))
    if 0 < len(tiles) <= _MOST_TILES:
        yield Tiles(tiles)


def _table(models: Mapping[str, dict[str, Any]], titles: Mapping[str, str], names: Names, flattered: str) -> Block:
    counts = {
        key: title for key, title in _COUNTS.items() if len({model.get(key) for model in models.values()} - {None}) > 1
    }
    groups = len({group_in(name, model) for name, model in models.items()}) > 1
    rows = [
        [
            Cell(names[name], names[name], name if name != names[name] else ""),
            *([Cell(group_in(name, model))] if groups else []),
            *(estimate_cell(model.get(measure)) for measure in titles),
            *(number_cell(model.get(count)) for count in counts),
        ]
        for name, model in models.items()
    ]
    flattery = f" {flattered.capitalize()} flatters a network that was trained on these images." if flattered else ""
    return Table(
        f"The networks, with 95 % intervals in brackets.{flattery}",
        ["network", *(["group"] if groups else []), *titles.values(), *counts.values()],
        rows,
        words=1 + groups,
    )


def _scatter(run: Run, names: Names) -> Iterable[Block]:
    output = run.output
    measures = [output.measure(name).under_protocol(run.settings) for name in output.front] if output else []
    points: dict[str, dict[str, Any]] = {}
    for name, model in run.networks.items():
        found = {measure.name: model.get(measure.name) for measure in measures}
        if all(ends(estimate)[0] is not None for estimate in found.values()):
            points[name] = {"network": names[name], "group": group_in(name, model), **found}
    if len(points) < 2 or not measures:
        return
    y, x = measures = [measure.on_held_out() if run.held_out else measure for measure in measures]
    front = [points[name] for name in pareto_front(points, [y.name, x.name])]
    front.sort(key=lambda point: point[x.name]["value"])
    best = "; ".join(point["network"] for point in front)
    alternative = (
        f"Scatter plot of {y.called} against {x.called} of {len(points)} networks. On the Pareto front of the"
        f" estimates: {best}. The numbers, with intervals, are in the table above."
    )
    if len({(point[x.name]["value"], point[y.name]["value"]) for point in front}) > 1:
        which = "the dashed line is"
    else:
        which = f"{best}, of equal values, are alone on" if len(front) > 1 else f"{best} is alone on"
    caption = (
        f"{y.called.capitalize()} against {x.called}, with 95 % intervals;"
        f" {which} the Pareto front of the points, without regard to the intervals."
    )
    if len({(point[x.name]["value"], point[y.name]["value"]) for point in points.values()}) < len(points):
        caption += f" {WITHIN.capitalize()}."
    few = len(points) <= len(COLOURS)
    series: dict[str, dict[str, Any]] = {}
    for point in points.values():
        series.setdefault(str(point["network" if few else "group"]), {})[str(point["network"])] = point
    numbers = names.numbers if few else {name: number for number, name in enumerate(series)}
    laps = {name: number + number // len(COLOURS) for name, number in numbers.items()}  # another mark of one colour
    looks = {name: (MARKERS[laps[name] % len(MARKERS)], colour_of(number)) for name, number in numbers.items()}

    def draw(axes: Axes) -> None:
        against(axes, measures, series, looks, front)
        if not few:  # the tooltips and the table name the others
            for point in front:
                place = point[x.name]["value"], point[y.name]["value"]
                axes.annotate(fit(point["network"], 24), place, (4, 4), textcoords="offset points", fontsize=7.5)

    drawing = panels(draw, height=3.4)
    legend = [(numbers[name], name) for name in series]
    yield Charts([Chart(drawing, caption, alternative, legend)])


def _interval_charts(
    models: Mapping[str, dict[str, Any]], measures: Sequence[Measure], names: Names
) -> Iterable[Block]:
    if len(models) < 2:
        return
    shown = []
    for measure in measures:
        rows = [
            (names[name], names.series(name), model.get(measure.name))
            for name, model in models.items()
            if ends(model.get(measure.name))[0] is not None
        ]
        if rows:
            drawing = panels(partial(intervals, rows=rows, measure=measure), height=0.7 + 0.3 * len(rows))
            caption = f"{measure.called}, 95 % intervals"
            said = "; ".join(f"{name} {estimate_text(estimate or {})}" for name, _, estimate in rows[:12])
            shown.append(Chart(drawing, caption, f"{caption}: {said}"))
    yield Charts(shown)


def estimate_text(estimate: Mapping[str, Any], sign: bool = False) -> str:
    """An estimate in a sentence."""
    found = estimate_cell(estimate, sign)
    return f"{found.text} {found.detail}".strip()


def _differences(run: Run, titles: Mapping[str, str], names: Names) -> Iterable[Block]:
    differences = [
        difference
        for difference in run.summary.get("differences") or []
        if difference.get("first") in names and difference.get("second") in names
    ]
    if not differences:
        return
    shown = [measure for measure in titles if any(ends(d.get(measure))[0] is not None for d in differences)]
    firsts = {difference["first"] for difference in differences}
    first = names[next(iter(firsts))] if len(firsts) == 1 else ""
    rows = []
    for difference in differences:
        label = names[difference["second"]]
        if not first:
            label += f" minus {names[difference['first']]}"
        rows.append([Cell(label, label), *(estimate_cell(difference.get(m), sign=True) for m in shown)])
    word = word_for(run.networks, "photograph")
    drawn = [measure for measure in _measures_in(run, "plot") if measure.name in shown]
    yield from difference_charts(differences, drawn, names, f"on the same {word}s")
    yield Table(
        f"{f'Minus {first}, paired' if first else 'Paired differences'} on the same {word}s: an interval without 0 is a"
        " clear difference.",
        ["network", *(titles[measure] for measure in shown)],
        rows,
        words=1,
    )


def difference_charts(
    rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure], names: Names, where: str
) -> Iterable[Charts]:
    """The paired differences of each measure, with the line of no difference."""
    rows = rows[:MOST_DRAWN]
    numbers, height = {name: names.series(name) for name in names}, 1.2 + 0.34 * len(rows)
    draw = partial(paired, rows=rows, numbers=numbers, names=names)
    charts = [
        Chart(
            panels(partial(draw, measure=measure), height=height),
            f"Difference of {measure.called} {where}, paired, 95 % intervals",
            f"Difference of {measure.called}; the numbers are in the table below.",
        )
        for measure in measures
    ]
    if charts:
        yield Charts(charts)


def _shifts(run: Run, names: Names) -> Iterable[Block]:
    """Jitter by shift, from the records."""
    measures = measures_in(run.summary, "shift")
    if not measures or run.output is None:
        return
    if not (run.folder / "records").is_dir():
        return
    protocol = PROTOCOLS.get(run.protocol)
    along_path = protocol is not None and protocol.is_path
    records = Records(run.folder)
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for name in list(run.networks)[:_MOST_MAPS]:
            rows = by_shift((part.table for part in records.parts(name)), along_path, run.output).rows
            if len(rows) > 1:
                found[name] = rows
    except (InputError, KeyError) as error:
        yield Text([f"Jitter by shift cannot be shown: {error}."], "note")
        return
    if not found:
        return
    unit = protocol.unit if protocol else "pixels"
    maps = list(_path_maps(found, measures, names, unit) if along_path else _grid_maps(found, measures, names))
    if len(run.networks) > _MOST_MAPS:
        of = f"the first {_MOST_MAPS} of {len(run.networks)} networks"
        yield Text([f"Jitter by shift is shown for {of}; the records have all."])
    yield Charts(maps)
    yield from _shift_tables(found, measures, names, unit if along_path else "")


def _shift_tables(found: Mapping[str, Any], measures: Sequence[Measure], names: Names, unit: str) -> Iterable[Table]:
    """The cells of the maps with their intervals, a table a network; ``unit`` is that of a path's positions."""
    heads = [f"step, up to position ({unit})"] if unit else ["dy, dx (pixels)"]
    for name, rows in found.items():
        title = f"{names[name]}: jitter by {'step' if unit else 'shift'}, with 95 % intervals"
        yield Table(
            title,
            [*heads, "pairs", *(measure.called for measure in measures)],
            [
                [
                    Cell(", ".join(rounded(along, ".6g") for along in row["shift"][bool(unit) :]), place),
                    number_cell(row["pairs"]),
                    *(estimate_cell(row[measure.name]) for measure in measures),
                ]
                for place, row in enumerate(rows)
            ],
            words=1,
            folded=title,
        )


def _path_maps(found: Mapping[str, Any], measures: Sequence[Measure], names: Names, unit: str) -> Iterable[Chart]:
    for measure in measures:
        cells = [
            {"x": row["shift"][1], "y": names[name], "pairs": row["pairs"], **row[measure.name]}
            for name, rows in found.items()
            for row in rows
        ]
        most = max(cells, key=lambda cell: cell["value"])
        drawing = _heat_map(cells, most["value"], f"step, up to position ({unit})", "")
        caption = f"{measure.called} by step along the path{_INTERVALS}"
        said = f"{caption}. The largest estimate is {estimate_text(most)}: {most['y']}, up to position {most['x']:g}."
        yield Chart(drawing, caption, said)


def _grid_maps(found: Mapping[str, Any], measures: Sequence[Measure], names: Names) -> Iterable[Chart]:
    largest = {m: max(row[m.name]["value"] for rows in found.values() for row in rows) for m in measures}
    for name, rows in found.items():
        for measure in measures:
            cells = [
                {"y": row["shift"][0], "x": row["shift"][1], "pairs": row["pairs"], **row[measure.name]} for row in rows
            ]
            drawing = _heat_map(cells, largest[measure], "dx (pixels, right)", "dy (pixels, down)")
            caption = f"{names[name]}: {measure.called} by shift of the content{_INTERVALS}"
            most = max(cells, key=lambda cell: cell["value"])
            at = f"dy {rounded(most['y'], '.6g')}, dx {rounded(most['x'], '.6g')}"
            said = f"{caption}. The largest estimate is {estimate_text(most)}, at {at}."
            yield Chart(drawing, caption, said)


def _heat_map(cells: Sequence[dict[str, Any]], largest: float, x: str, y: str) -> str:
    def draw(axes: Axes) -> None:
        heat_map(axes, cells, largest)
        axes.set(xlabel=x, ylabel=y)

    rows = len({cell["y"] for cell in cells})
    return panels(draw, height=max(0.7 + (0.34 if rows <= 9 else 0.18) * rows, 1.9))  # room for the label of y
