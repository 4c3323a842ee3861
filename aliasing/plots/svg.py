"""Figures as SVG for a page: text stays text, and colours are the page's own, so that they follow light and dark.

A page may define the CSS variables ``--ink``, ``--paper`` and ``--series-0`` … ``--series-5`` (those of
:data:`aliasing.plots.style.COLOURS`); else ink and paper are the browser's. Greys are mixtures of ink and paper.
"""

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil
from textwrap import wrap
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import PIL.Image
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from aliasing.plots.style import COLOURS, any_script, style

__all__ = ["HERE", "PHONE", "own_ids", "panel", "panels", "svg", "tell"]

PHONE = 3.2
"""The width in inches of a panel on a phone, where it has some 300 pixels."""
HERE = "here"
"""The ``gid`` of an artist that a script moves: its group has this class."""

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aliasing",  # the same drawing has the same identifiers
    "axes.edgecolor": "0.6",
    "xtick.color": "0.6",
    "ytick.color": "0.6",
    "xtick.labelcolor": "0.3",
    "ytick.labelcolor": "0.3",
    "font.size": 9,
    "axes.labelsize": 9,
}
_ENLARGED = 1.6  # how many pixels a point may become where there is room
_APART = 4  # pixels between two numbers of an axis
_TIP = "tip:"
# A colour of a figure → the drawing's name for it, and what the page calls it.
_SERIES = {colour.lower(): (f"s{number}", f"series-{number}") for number, colour in enumerate(COLOURS[:6])}
_NAMED = {"#000000": ("i", "ink"), "#ffffff": ("p", "paper")} | _SERIES
_ELSE = {"i": "CanvasText", "p": "Canvas"} | {name: colour for colour, (name, _) in _SERIES.items()}
_NAMESPACE = re.compile(r"\{[^}]*\}")
_NOT_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def panel(draw: Callable[[Axes], Any], width: float = 4.6, height: float = 2.6) -> str:
    """One panel of a figure as SVG, in the project's look whatever the user has set.

    Parameters
    ----------
    draw : callable
        Draws on the axes that it is given.
    width, height : float
        In inches; the drawing scales with its place on the page.
    """
    with plt.style.context("default"), style(), plt.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots()
        draw(axes)
        _space_ticks(axes)
        _break_label(axes)
        return svg(figure)


def panels(draw: Callable[[Axes], Any], width: float = 4.6, height: float = 2.6, narrow: float = PHONE) -> str:
    """A panel drawn twice, as HTML, so that its text keeps its size: of that width, and ``narrow``, for phones.

    The page shows the element of the class ``wide`` or that of the class ``narrow``.
    """
    drawn = {name: own_ids(panel(draw, size, height), name) for name, size in (("wide", width), ("narrow", narrow))}
    return "".join(f'<div class="{name}">{drawing}</div>' for name, drawing in drawn.items())


def _space_ticks(axes: Axes) -> None:
    """Take fewer ticks along x until no two numbers touch."""
    for most in (5, 4, 3, 2):
        with any_script():
            axes.figure.draw_without_rendering()  # type: ignore[union-attr]
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        apart = all(left.x1 + _APART < right.x0 for left, right in pairwise(sorted(boxes, key=lambda box: box.x0)))
        if apart or axes.get_xscale() != "linear" or not isinstance(axes.xaxis.get_major_formatter(), ScalarFormatter):
            return
        axes.xaxis.set_major_locator(MaxNLocator(most))


def _break_label(axes: Axes) -> None:
    """Break the lines of the label along x that are longer than its axis, into parts of about one length."""
    label = axes.xaxis.label
    lines = label.get_text().split("\n")
    longest = max(map(len, lines))
    room = longest * axes.bbox.width / max(label.get_window_extent().width, 1)
    if room < longest:
        parts = (wrap(line, max(ceil(len(line) / ceil(len(line) / room) * 1.2), 1)) for line in lines if line)
        label.set_text("\n".join(part for of_line in parts for part in of_line))


def tell(artist: Artist, texts: Sequence[str]) -> None:
    """Give each marker of an artist, or its one shape, the text that the SVG shows when the pointer is on it."""
    artist.set_gid(_TIP + json.dumps(list(texts)))


def svg(figure: Figure) -> str:
    """A figure as an ``<svg>`` element for a page, as wide as its place there.

    Examples
    --------
    >>> figure = Figure(figsize=(2, 1))
    >>> _ = figure.text(0.5, 0.5, "a & b", color="0.5")
    >>> drawn = svg(figure)
    >>> "a &amp; b</text>" in drawn, "--g50:color-mix(in srgb,var(--i) 50%,var(--p))" in drawn
    (True, True)
    """
    content = io.BytesIO()
    with plt.rc_context(_SETTINGS), any_script():
        figure.savefig(content, format="svg", transparent=True)
    root = ElementTree.fromstring(_NOT_XML.sub(b"", content.getvalue()))
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", content.getvalue().decode()))
    _simplify(root, used)
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    width = root.attrib["viewBox"].split()[2]
    drawing = ElementTree.tostring(root, encoding="unicode")
    style = [f"max-width:{round(float(width) * _ENLARGED)}px;fill:var(--i);stroke-linejoin:round"]
    style += [f"--{name}:var(--{known},{_ELSE[name]})" for name, known in _NAMED.values()]
    greys = sorted(set(re.findall(r"var\(--g(\d+)\)", drawing)))
    style += [f"--g{level}:color-mix(in srgb,var(--i) {level}%,var(--p))" for level in greys]
    return drawing.replace("<svg ", f'<svg style="{";".join(style)}" ', 1)


def own_ids(drawing: str, prefix: str) -> str:
    """A drawing whose identifiers begin with a prefix, so that several can stand on one page.

    Examples
    --------
    >>> own_ids('<path id="a"/><use href="#a"/><g clip-path="url(#b)"/>', "s1")
    '<path id="s1-a"/><use href="#s1-a"/><g clip-path="url(#s1-b)"/>'
    """
    return re.sub(r'( id="|url\(#|href="#)', rf"\1{prefix}-", drawing)


def _simplify(element: Any, used: set[str]) -> None:
    """Reduce an element and its children to what a page needs."""
    element.tag = _NAMESPACE.sub("", element.tag)
    attributes = {_NAMESPACE.sub("", name): value for name, value in element.attrib.items()}
    name = attributes.pop("id", "")
    if name in used:
        attributes["id"] = name
    elif name == HERE:
        attributes["class"] = HERE
    for key in ("d", "x", "y", "transform", "width", "height"):
        if key in attributes:
            attributes[key] = _rounded(attributes[key])
    if "style" in attributes:
        attributes["style"] = _styled(attributes["style"])
    if element.tag == "image":
        picture = base64.b64decode(attributes["href"].partition(",")[2])
        attributes["href"] = webp(PIL.Image.open(io.BytesIO(picture)))
    element.attrib = attributes
    children = [child for child in element if _NAMESPACE.sub("", child.tag) not in ("metadata", "style")]
    for child in children:
        _simplify(child, used)
        child.tail = None
    # A group without attributes adds nothing to its children.
    element[:] = [inner for child in children for inner in (child if _is_bare(child) else [child])]
    if element.tag != "tspan" and (element.tag != "text" or children):
        element.text = None
    if name.startswith(_TIP):
        _add_titles(element, json.loads(name.removeprefix(_TIP)))


def _is_bare(element: Any) -> bool:
    return element.tag in ("g", "defs") and not element.attrib and (element.tag == "g" or not len(element))


def _add_titles(group: Any, texts: Sequence[str]) -> None:
    marks = list(group.iter("use")) or [group]
    for mark, text in zip(marks, texts, strict=False):
        title = ElementTree.Element("title")
        title.text = text
        mark.insert(0, title)


def _rounded(numbers: str) -> str:
    """Round the numbers of an attribute to a hundredth of a point."""
    numbers = re.sub(r"rotate\(-0 [^)]*\)", "", numbers)
    shorter = re.sub(r"-?\d+\.\d+", lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), numbers)
    return " ".join(shorter.split())


def _styled(text: str) -> str:
    """A style with the page's colours and the page's font."""
    text = re.sub(r"font: ([^;]*?)([\d.]+px) [^;]*", r"font-size: \2", text)  # as matplotlib before 3.10 has it
    text = re.sub(r"font-family: [^;]*;?", "", text)
    text = re.sub(r"#[0-9a-f]{6}\b", lambda match: _page_colour(match[0]), text)
    return re.sub(r"\s*([:;])\s*", r"\1", text).strip("; ")


def _page_colour(colour: str) -> str:
    if colour in _NAMED:
        return f"var(--{_NAMED[colour][0]})"
    channels = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    if len(set(channels)) == 1:
        return f"var(--g{round(100 - channels[0] / 2.55)})"
    if max(channels) - min(channels) == 1:  # white or black, as it is: what a picture needs around it
        return colour
    light, dark = (_with_luminance(channels, *limits) for limits in ((0, 0.28), (0.14, 1)))
    return colour if light == dark else f"light-dark({light},{dark})"


def _with_luminance(channels: Sequence[int], least: float, most: float) -> str:
    """A colour as light as a page needs for a contrast of at least 3 (WCAG 2): darker, or mixed with white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (c / 255 for c in channels)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    white = max(0.0, (least - luminance) / (1 - luminance))
    mixed = [(c * min(1.0, most / luminance) if luminance else c) * (1 - white) + white for c in linear]
    encoded = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in mixed]
    return "#" + "".join(f"{round(255 * c):02x}" for c in encoded)


def webp(picture: PIL.Image.Image) -> str:
    """A picture as the ``data:`` address of a small WebP."""
    content = io.BytesIO()
    picture.convert("RGB").save(content, "WEBP", quality=80, method=4)
    return data_address(content.getvalue(), "webp")


def data_address(content: bytes, kind: str) -> str:
    """The content of a picture's file as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
