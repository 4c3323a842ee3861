"""Figures as SVG for a page: the page's colours and font, text as text, nothing from elsewhere, whatever names hold."""

import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.plots.svg import HERE, own_ids, panel, svg, tell


def draw(axes: Axes) -> None:
    (line,) = axes.plot([1, 2, 3], [0.1, 0.2, 0.3], "o-", color="#0072B2")
    tell(line, ["first", "<b>second", "third & last"])
    axes.plot([1, 3], [0.3, 0.1], color="0.5")
    axes.axvline(2, color="black", gid=HERE)
    axes.set(xlabel='"><script>', ylabel="Crème\x1b")


def test_a_panel_has_the_pages_colours_and_font_and_nothing_from_elsewhere() -> None:
    drawing = panel(draw)
    root, _, body = drawing.partition(">")
    assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(href="|url\()#\w+', "", body))
    for name, page in (("s0", "var(--series-0,#0072b2)"), ("i", "var(--ink,CanvasText)"), ("g50", "color-mix(")):
        assert f"var(--{name})" in body
        assert f"--{name}:{page}" in root
    assert "font-family" not in drawing
    assert "http" not in drawing
    assert "<style" not in drawing


def test_text_stays_text_and_markers_say_what_they_are() -> None:
    root = ElementTree.fromstring(panel(draw))
    texts = {"".join(text.itertext()) for text in root.iter("text")}
    assert {'"><script>', "Crème", "2.00"} <= texts
    marks = [mark for mark in root.iter("use") if mark.find("title") is not None]
    assert [mark.findtext("title") for mark in marks] == ["first", "<b>second", "third & last"]
    # In the order of the points, from left to right: the script that moves the line counts on it.
    places = [float(mark.attrib["x"]) for mark in marks]
    assert places == sorted(places)
    (here,) = (group for group in root.iter("g") if group.get("class") == HERE)
    assert abs(float(here[0].attrib["d"].split()[1]) - places[1]) < 0.02  # rounded to a hundredth


def test_identifiers_differ_between_drawings_and_lead_somewhere() -> None:
    drawings = [own_ids(panel(draw), f"c{number}") for number in range(2)]
    assert drawings[0] != drawings[1]
    assert panel(draw) == panel(draw)
    identifiers = [set(re.findall(r' id="([^"]+)"', drawing)) for drawing in drawings]
    assert not identifiers[0] & identifiers[1]
    for drawing, known in zip(drawings, identifiers, strict=True):
        assert known == set(re.findall(r'(?:url\(#|href="#)([\w-]+)', drawing))


def test_it_looks_the_same_whatever_the_user_has_set() -> None:
    expected = panel(draw)
    with plt.style.context("dark_background"), plt.rc_context({"font.size": 30, "svg.fonttype": "path"}):
        assert panel(draw) == expected


def test_a_picture_inside_is_smaller_than_matplotlibs_own() -> None:
    noise = np.random.default_rng(0).uniform(size=(200, 200))
    figure = Figure()
    figure.subplots().imshow(noise, cmap="magma")
    plain = io.BytesIO()
    figure.savefig(plain, format="svg")
    drawing = svg(figure)
    assert 'href="data:image/webp;base64,' in drawing
    assert len(drawing) < len(plain.getvalue()) / 1.5
