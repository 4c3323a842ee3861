"""Results as Vega-Lite charts (Satyanarayan et al. 2017), built with Altair; nothing here computes a result.

Colours are the page's CSS variables, so that a chart follows the page from light to dark without being drawn again. A
chart has one column's width, whatever that is.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

SERIES = 7  # --series-0 … --series-6 in the page's style: Okabe & Ito (2008)
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--ink)",
        "gridColor": "var(--line)",
        "domainColor": "var(--rule)",
        "tickColor": "var(--rule)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "legend": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 260,
        "symbolSize": 70,
        "orient": "top",
        "direction": "vertical",
        "title": None,
        "offset": 6,
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
    "line": {"strokeWidth": 1.8},
    "rule": {"color": "var(--rule)"},
}


def accuracy_against_consistency(
    points: Sequence[dict[str, Any]], front: Sequence[dict[str, Any]], names: Sequence[str]
) -> dict[str, Any]:
    """Networks by accuracy and consistency with their intervals, and the Pareto front.

    Parameters
    ----------
    points : sequence of dict
        ``network``, ``group``, and ``accuracy`` and ``consistency``, each with ``…_low`` and ``…_high``.
    front : sequence of dict
        Those that no other beats in both.
    names : sequence of str
        Of all the networks on the page: a network has the same colour in every chart.
    """
    shown = [point["network"] for point in points]
    few = len(shown) <= SERIES
    x = alt.X("consistency:Q").title("consistency (share of pairs that keep the answer)").scale(zero=False, nice=True)
    y = alt.Y("accuracy:Q").title("accuracy").scale(zero=False, nice=True)
    base = alt.Chart(alt.Data(values=list(points)))
    colour: Any = _colour(names, shown) if few else _groups(points)
    tooltip = [
        alt.Tooltip("network:N", title="network"),
        *(
            alt.Tooltip(f"{measure}{end}:Q", title=f"{measure}{text}", format=".4f")
            for measure in ("accuracy", "consistency")
            for end, text in (("", ""), ("_low", ", low"), ("_high", ", high"))
        ),
    ]
    layers: list[Any] = [
        alt.Chart(alt.Data(values=list(front)))
        .mark_line(interpolate="step-before", strokeDash=[4, 4], color="var(--muted)", strokeWidth=1.2)
        .encode(x=x, y=y, order=alt.Order("consistency:Q")),
        base.mark_rule(strokeWidth=1.3, opacity=0.75).encode(
            x=alt.X("consistency_low:Q"), x2="consistency_high:Q", y=y, color=colour
        ),
        base.mark_rule(strokeWidth=1.3, opacity=0.75).encode(
            y=alt.Y("accuracy_low:Q"), y2="accuracy_high:Q", x=x, color=colour
        ),
        base.mark_point(filled=True, size=95, opacity=1).encode(
            x=x,
            y=y,
            color=colour,
            shape=_shape(names, shown) if few else alt.value("circle"),
            tooltip=tooltip,
        ),
    ]
    if not few:  # the others say their names when they are pointed at, and in the table
        layers.append(
            alt.Chart(alt.Data(values=list(front)))
            .mark_text(align="left", dx=8, dy=-8, fontSize=11, limit=180)
            .encode(x=x, y=y, text="network:N")
        )
    return _spec(alt.layer(*layers), 340)


def intervals(points: Sequence[dict[str, Any]], title: str, names: Sequence[str], zero: bool = True) -> dict[str, Any]:
    """One measure of every network as a point with its interval, a row each.

    Parameters
    ----------
    points : sequence of dict
        ``network``, ``value``, ``low``, ``high``.
    title : str
        The measure's name.
    names : sequence of str
    zero : bool
        Begin the axis at 0.
    """
    order = [point["network"] for point in points]
    y = alt.Y("network:N").title(None).sort(order).axis(labelLimit=190, grid=True, domain=False, ticks=False)
    x = alt.X("value:Q").title(title).scale(zero=zero, nice=True).axis(tickCount=5, labelOverlap=True)
    base = alt.Chart(alt.Data(values=list(points)))
    colour: Any = _colour(names, ()) if len(names) <= SERIES else alt.value("var(--series-0)")
    bars = base.mark_rule(strokeWidth=2, opacity=0.75).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour)
    dots = base.mark_point(filled=True, size=85, opacity=1).encode(x=x, y=y, color=colour, tooltip=_estimate_tooltip())
    return _spec(alt.layer(bars, dots), 26 * len(order))


def path(unit: str, shown: Sequence[str], names: Sequence[str], joined: bool = True) -> dict[str, Any]:
    """The probability of the first view's answer, view by view; a ring where the answer changes, a rule at ``here``.

    Parameters
    ----------
    unit : str
        Of x.
    shown, names : sequence of str
        The networks of the chart, and all on the page.
    joined : bool
        Join the points by a line: the views follow one another along a path.

    Returns
    -------
    dict
        Without data: the page puts those of the chosen photograph into the data set ``points``, each with ``network``,
        ``x``, ``probability``, ``answer``, ``confidence`` and ``jump``.
    """
    base = alt.Chart()
    x = alt.X("x:Q").title(unit).axis(tickMinStep=1, format="~g").scale(nice=False, padding=12)
    y = alt.Y("probability:Q").title("probability of the first answer").scale(domain=[0, 1])
    colour = _colour(names, shown)
    here = alt.param(name="here", value=0)
    is_here = alt.when("datum.x === here")
    tooltip = [
        alt.Tooltip("network:N", title="network"),
        alt.Tooltip("x:Q", title=unit, format="~g"),
        alt.Tooltip("answer:N", title="answer"),
        alt.Tooltip("confidence:Q", title="its probability", format=".3f"),
        alt.Tooltip("probability:Q", title="probability of the first answer", format=".3f"),
    ]
    # No layer is filtered: Vega cannot take the extent of an axis from one in which nothing is left, and says so.
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{}]))
        .transform_calculate(x="here")
        .mark_rule(color="var(--ink)", strokeWidth=1.2)
        .encode(x=x),
        *([base.mark_line().encode(x=x, y=y, color=colour)] if joined else []),
        base.mark_point(size=150, strokeWidth=1.8).encode(
            x=x, y=y, color=colour, opacity=alt.when("datum.jump").then(alt.value(1)).otherwise(alt.value(0))
        ),
        base.mark_point(filled=True, opacity=1, stroke="var(--paper)").encode(
            x=x,
            y=y,
            color=colour,
            tooltip=tooltip,
            size=is_here.then(alt.value(110)).otherwise(alt.value(32 if joined else 50)),
            strokeWidth=is_here.then(alt.value(1.5)).otherwise(alt.value(0)),
        ),
        data=alt.Data(name="points", values=[]),
    ).add_params(here)
    return _spec(chart, 260)


def heat_map(
    cells: Sequence[dict[str, Any]], x: str, y: str | None, measure: str, largest: float, digits: int
) -> dict[str, Any]:
    """A measure by shift: the darker, the larger.

    Parameters
    ----------
    cells : sequence of dict
        ``x``, ``y`` (numbers or names), ``value``, ``low``, ``high``, ``pairs``.
    x, y : str
        What the axes are; without ``y`` the rows are networks.
    measure : str
    largest : float
        The value of the full colour, so that several maps can be compared.
    digits : int
        Of the numbers in the cells.
    """
    columns = sorted({cell["x"] for cell in cells})
    rows = sorted({cell["y"] for cell in cells}) if y else list(dict.fromkeys(cell["y"] for cell in cells))
    base = alt.Chart(alt.Data(values=list(cells))).encode(
        x=alt.X("x:O").title(x).sort(columns).axis(labelAngle=0, domain=False, ticks=False, labelOverlap=True),
        y=alt.Y("y:O" if y else "y:N").title(y).sort(rows).axis(labelLimit=170, domain=False, ticks=False),
    )
    fill = alt.FillOpacity("value:Q").scale(domain=[0, largest or 1], range=[0.04, 0.92]).legend(None)
    tooltip = [alt.Tooltip("x:O", title=x), alt.Tooltip("y:N", title=y or "network"), *_estimate_tooltip(measure)]
    tooltip.append(alt.Tooltip("pairs:Q", title="pairs"))
    chart: Any = base.mark_rect(fill="var(--heat)", stroke="var(--paper)", strokeWidth=2, cornerRadius=3).encode(
        fillOpacity=fill, tooltip=tooltip
    )
    if len(columns) <= 9:
        strong = f"datum.value > {0.55 * largest}"
        chart += base.mark_text(fontSize=11).encode(
            text=alt.Text("value:Q", format=f".{digits}f"),
            color=alt.when(strong).then(alt.value("var(--on-heat)")).otherwise(alt.value("var(--ink)")),
        )
    return _spec(chart, (34 if len(rows) <= 9 else 16) * len(rows))


def depth_lines(
    points: Sequence[dict[str, Any]], sites: Sequence[dict[str, Any]], title: str, names: Sequence[str]
) -> dict[str, Any]:
    """A measure against depth with its interval as a band, and a rule at every downsampling site.

    Parameters
    ----------
    points : sequence of dict
        ``network``, ``depth``, ``layer``, ``value``, ``low``, ``high``.
    sites : sequence of dict
        ``depth``, ``site``, ``network``.
    title : str
    names : sequence of str
    """
    shown = list(dict.fromkeys(point["network"] for point in points))
    colour = _colour(names, shown)
    base = alt.Chart(alt.Data(values=list(points)))
    x = alt.X("depth:Q").title("depth (layers looked at); ⋮ downsampling").axis(tickMinStep=1, grid=False)
    y = alt.Y("value:Q").title(title).scale(zero=True)
    tooltip = [
        alt.Tooltip("network:N", title="network"),
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("shape:N", title="shape"),
        *_estimate_tooltip(title),
    ]
    rules = (
        alt.Chart(alt.Data(values=list(sites)))
        .mark_rule(strokeDash=[2, 3], strokeWidth=1.2)
        .encode(x=x, tooltip=[alt.Tooltip("site:N", title="site")])
    )
    chart = alt.layer(
        *([rules] if sites else []),
        base.mark_area(opacity=0.18).encode(
            x=x,
            y=alt.Y("low:Q").title(title),
            y2="high:Q",
            color=colour,
        ),
        base.mark_line().encode(x=x, y=y, color=colour),
        base.mark_point(filled=True, size=40, opacity=1).encode(
            x=x, y=y, color=colour, shape=_shape(names, shown), tooltip=tooltip
        ),
    )
    return _spec(chart, 240)


def site_intervals(points: Sequence[dict[str, Any]], title: str, order: Sequence[str], key: str) -> dict[str, Any]:
    """A measure of every site as points with their intervals: one row a site, in colours by ``key``.

    Parameters
    ----------
    points : sequence of dict
        ``site``, ``value``, ``low``, ``high`` and the key.
    title : str
    order : sequence of str
        The sites, from top to bottom.
    key : str
        The field that tells the points of a site apart.
    """
    kinds = list(dict.fromkeys(point[key] for point in points))
    y = alt.Y("site:N").title(None).sort(list(order)).axis(labelLimit=190, grid=True, domain=False, ticks=False)
    offset = alt.YOffset(f"{key}:N").sort(kinds).scale(paddingInner=0.35, paddingOuter=0.35)
    colour = alt.Color(f"{key}:N").scale(domain=kinds, range=_range(len(kinds)))
    shape = alt.Shape(f"{key}:N").scale(domain=kinds, range=[_SHAPES[k % len(_SHAPES)] for k in range(len(kinds))])
    base = alt.Chart(alt.Data(values=list(points)))
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{}])).mark_rule().encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=2, opacity=0.75).encode(
            x=alt.X("low:Q"), x2="high:Q", y=y, yOffset=offset, color=colour
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("value:Q").title(title).scale(zero=True),
            y=y,
            yOffset=offset,
            color=colour,
            shape=shape,
            tooltip=[alt.Tooltip("site:N", title="site"), alt.Tooltip(f"{key}:N", title="of"), *_estimate_tooltip()],
        ),
    )
    return _spec(chart, max(30, 15 * len(kinds)) * len(order))


def profile(points: Sequence[dict[str, Any]], edge: float, least: float) -> dict[str, Any]:
    """Power by frequency, a line a part, on a logarithmic axis; beyond ``edge`` it folds.

    Parameters
    ----------
    points : sequence of dict
        ``part``, ``frequency`` (cycles per pixel), ``power``.
    edge : float
        The new Nyquist frequency.
    least : float
        The smallest power that is shown.
    """
    parts = list(dict.fromkeys(point["part"] for point in points))
    colour = alt.Color("part:N").scale(domain=parts, range=_range(len(parts)))
    highest = max((point["power"] for point in points), default=1.0)
    base = alt.Chart(alt.Data(values=[p for p in points if p["power"] > 0]))
    x = alt.X("frequency:Q").title("cycles per pixel of the original")
    y = (
        alt.Y("power:Q")
        .title("mean power")
        .scale(type="log", domain=[least, 2 * highest])
        .axis(format=".0e", tickCount=4)
    )
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{}])).mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(edge)),
        base.mark_line(clip=True).encode(
            x=x,
            y=y,
            color=colour,
            tooltip=[
                alt.Tooltip("part:N", title="part"),
                alt.Tooltip("frequency:Q", title="cycles per pixel", format=".3f"),
                alt.Tooltip("power:Q", title="mean power", format=".2e"),
            ],
        ),
    )
    return _spec(chart, 170)


def _spec(chart: Any, height: int) -> dict[str, Any]:
    """Vega-Lite as a dictionary: as wide as its place on the page, and so many pixels high."""
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict()
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec.pop("config", None)  # the page's own, written once
    spec.pop("$schema", None)
    return spec


def _range(count: int) -> list[str]:
    return [f"var(--series-{index % SERIES})" for index in range(count)]


def _colour(names: Sequence[str], shown: Sequence[str]) -> Any:
    """A network's colour, the same in every chart; the legend has those that are shown, if they are several."""
    return _legend(alt.Color("network:N").scale(domain=list(names), range=_range(len(names))), shown)


def _shape(names: Sequence[str], shown: Sequence[str]) -> Any:
    shapes = [_SHAPES[index % len(_SHAPES)] for index in range(len(names))]
    return _legend(alt.Shape("network:N").scale(domain=list(names), range=shapes), shown)


def _legend(channel: Any, shown: Sequence[str]) -> Any:
    return channel.legend(values=list(shown), symbolOpacity=1) if len(shown) > 1 else channel.legend(None)


def _groups(points: Sequence[dict[str, Any]]) -> Any:
    groups = list(dict.fromkeys(point["group"] for point in points))
    return alt.Color("group:N").scale(domain=groups, range=_range(len(groups)))


def _estimate_tooltip(title: str = "value") -> list[Any]:
    ends = (("value", title), ("low", "low (95 %)"), ("high", "high (95 %)"))
    return [alt.Tooltip(f"{end}:Q", title=text, format=".4f") for end, text in ends]
