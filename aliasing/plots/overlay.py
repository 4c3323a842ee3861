"""What a network answers, drawn over its view: label maps, boxes, masks and key points, and what of them differs.

A figure and a film draw it by matplotlib, a page as pictures on top of one another (`layers`).
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
import numpy.typing as npt
import PIL.Image
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from aliasing.outputs.drawn import CHANGED, Drawing, Mark
from aliasing.plots.style import plain
from aliasing.plots.svg import data_address

__all__ = ["draw", "handles", "heat", "heat_key", "heat_layer", "key", "layers"]

CHANGE = "#FFF200"
"""The colour of a pixel whose class changes."""
_OTHER = [matplotlib.colormaps["tab20"](k)[:3] for k in (*range(0, 16, 2), 18, *range(1, 16, 2), 19)]  # no yellow
_MOST_NAMED = 20  # classes
_TINT = 120  # of 255: how much of a class's colour is over the photograph
_DARK = "#111111"
_FILL = 0.25  # how opaque a mask is
_LETTER = 0.55  # the width of one, of the font's height
# Of each fate the colour, the dashes in units of the line's width, the width, the sign of a point, and the word before
# the text: nothing is told by colour alone.
# Those that are drawn last are on top.
_LOOKS: dict[str, tuple[str, tuple[float, ...], float, str, str]] = {
    "apart": ("#FFFFFF", (1, 1.5), 0.8, ".", ""),
    "kept": ("#7FCBF5", (), 1.0, "o", ""),
    "renamed": ("#F29CC8", (5, 1.5, 1, 1.5), 1.8, "s", ""),
    "lost": ("#FF8A3D", (3, 2), 1.6, "x", "lost: "),
    "new": ("#FFF200", (), 2.4, "+", "new: "),
}
_MEANINGS = {
    "kept": "kept",
    "new": "new",
    "lost": "lost",
    "renamed": "another class",
    "apart": "at the border, not compared",
}
_HEAT = "inferno"


def draw(axes: Axes, drawing: Drawing, scale: float = 1.0) -> None:
    """Draw an answer over the view that is shown on the axes, 1 pixel a unit; ``scale`` is that of lines and texts."""
    height, width = drawing.size
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    tint = _tinted(drawing)
    if tint is not None:
        axes.imshow(np.asarray(tint.convert("RGBA")))
    for mark in _ordered(drawing.marks):
        colour, dashes, wide, sign, _ = _LOOKS[mark.fate]
        left, top, right, bottom = np.subtract(mark.corners, 0.5)  # matplotlib's pixels have whole centres
        around: Any = {"path_effects": [withStroke(linewidth=scale * (wide + 1.2), foreground=_DARK)]}
        if mark.is_point:
            axes.plot(left, top, sign, color=colour, markersize=4 * scale, markerfacecolor="none", **around)
            continue
        style: Any = {"linestyle": (0, dashes) if dashes else "-", "edgecolor": colour, "linewidth": scale * wide}
        if mark.outline:
            shape = Path.make_compound_path(
                *(Path(np.array([*line, line[0]]) - 0.5, closed=True) for line in mark.outline)
            )
            axes.add_patch(PathPatch(shape, facecolor="none", **style, **around))
            axes.add_patch(PathPatch(shape, facecolor=colour, edgecolor="none", alpha=_FILL))
        else:
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style, **around))
    pixel = min(axes.bbox.width / width, axes.bbox.height / height)
    points = 6.5 * scale
    halo = [withStroke(linewidth=2.4 * scale, foreground=_DARK)]
    for text in _texts(drawing, points / 72 * axes.figure.dpi / pixel):
        how: Any = {"fontsize": points, "va": "bottom", "ha": text.side, "clip_on": True, "path_effects": halo}
        axes.text(text.x - 0.5, text.bottom - 0.5, plain(text.words), color=text.colour, **how)


def heat_key() -> str:
    """The colours of shares from nothing to all, as the address of a small picture."""
    return _png(PIL.Image.fromarray(heat(np.linspace(0.01, 1, 48, dtype=np.float32)[None])))


def heat_layer(shares: npt.NDArray[np.float32]) -> str:
    """A map of shares as the address of a picture of the view's shape."""
    return _png(PIL.Image.fromarray(heat(shares)))


def heat(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A map of shares as a picture with transparency, (H, W, 4): bright where the answer is unstable."""
    coloured = matplotlib.colormaps[_HEAT](0.25 + 0.75 * np.nan_to_num(shares), bytes=True)
    coloured[..., 3] = np.where(np.nan_to_num(shares) > 0, 140 + 115 * np.nan_to_num(shares), 0)
    picture: npt.NDArray[np.uint8] = coloured
    return picture


def layers(drawing: Drawing) -> list[str]:
    """What is on top of the view, from below, as addresses of pictures of the view's shape."""
    tint = _tinted(drawing)
    found = [] if tint is None else [_png(tint)]
    return [*found, data_address(_marks(drawing).encode(), "svg+xml")] if drawing.marks else found


def key(drawings: Sequence[Drawing]) -> list[tuple[str, str]]:
    """What the colours and lines mean, as the address of a small picture, and words."""
    found = [(_swatch(colour, tint), name) for colour, tint, name in _colours(drawings)]
    for mark in _fates(drawings):
        corners = (10.0, 6.0) * 2 if mark.is_point else (1.5, 2.0, 18.5, 10.0)
        sample = Drawing((12, 20), "", 1.0, marks=(replace(mark, corners=corners, text="", outline=()),))
        found.append((data_address(_marks(sample, 1.3).encode(), "svg+xml"), _MEANINGS[mark.fate]))
    return found


def handles(drawings: Sequence[Drawing]) -> list[Artist]:
    """What the colours and lines mean, for a legend of matplotlib."""
    found: list[Artist] = [
        Patch(facecolor=(*matplotlib.colors.to_rgb(colour), tint / 255), label=plain(name))
        for colour, tint, name in _colours(drawings)
    ]
    for mark in _fates(drawings):
        colour, dashes, wide, sign, _ = _LOOKS[mark.fate]
        kind: Any = {"marker": sign, "linestyle": "none"} if mark.is_point else {"linestyle": (0, dashes or ())}
        around = [withStroke(linewidth=wide + 1.2, foreground=_DARK)]
        style: Any = {"color": colour, "linewidth": wide, "markerfacecolor": "none", "path_effects": around, **kind}
        found.append(Line2D([], [], label=_MEANINGS[mark.fate], **style))
    return found


def _colours(drawings: Sequence[Drawing]) -> list[tuple[Any, int, str]]:
    """The colours of the classes, and of the pixels whose class changes; each as opaque, of 255, as over the view."""
    names = {label: name for drawing in drawings for label, name in drawing.names.items()}
    found: list[tuple[Any, int, str]] = [(_OTHER[label % len(_OTHER)], _TINT, name) for label, name in names.items()]
    return [*found[:_MOST_NAMED], (CHANGE, 255, "another class in the view it is compared with")] if found else []


def _fates(drawings: Sequence[Drawing]) -> list[Mark]:
    """A mark of each fate that there is."""
    return list({mark.fate: mark for drawing in drawings for mark in _ordered(drawing.marks)}.values())


def _ordered(marks: Iterable[Mark]) -> list[Mark]:
    order = list(_LOOKS)
    return sorted(marks, key=lambda mark: order.index(mark.fate))


def _tinted(drawing: Drawing) -> PIL.Image.Image | None:
    """The label map in half-transparent colours, and what changed in one that is not."""
    if drawing.labels is None or drawing.changed is None:
        return None
    last = len(_OTHER)
    levels = np.where(drawing.changed == CHANGED, last, drawing.labels % last).astype(np.uint8)
    picture = PIL.Image.fromarray(levels)
    picture.putpalette(_bytes([*_OTHER, matplotlib.colors.to_rgb(CHANGE)]))
    picture.info["transparency"] = bytes([_TINT] * last + [255])
    return picture


def _bytes(colours: Iterable[Sequence[float]]) -> bytes:
    return bytes(round(255 * channel) for colour in colours for channel in colour)


def _png(picture: PIL.Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True, transparency=picture.info.get("transparency"))
    return data_address(content.getvalue(), "png")


def _swatch(colour: Any, tint: int) -> str:
    levels = _bytes([matplotlib.colors.to_rgb(colour)]) + bytes([tint])
    return _png(PIL.Image.fromarray(np.frombuffer(levels, np.uint8).reshape(1, 1, 4)))


def _marks(drawing: Drawing, line: float = 0.0) -> str:
    """Boxes and points as an SVG of the view's size; ``line`` is the width of a line in pixels."""
    height, width = drawing.size
    line = line or max(width, height) / 340
    root = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}")
    root.set("font-family", "system-ui, sans-serif")
    root.set("font-size", f"{10 * line:.1f}")
    for fate, (colour, dashes, wide, sign, _) in _LOOKS.items():
        marks = [mark for mark in drawing.marks if mark.fate == fate]
        points = "".join(_point(mark, sign, 2.5 * line) for mark in marks if mark.is_point)
        shapes = [points] if points else []
        shapes += [_box(mark) for mark in marks if not mark.is_point]
        filled = {_box(mark) for mark in marks if mark.outline}
        for shape in shapes:
            below = {"fill": "none", "stroke": _DARK, "stroke-linecap": "round"}
            above = below | {"stroke": colour, "stroke-width": f"{line * wide:.2f}"}
            below["stroke-width"] = f"{line * (wide + 1.2):.2f}"
            if dashes and shape != points:
                above["stroke-linecap"] = "butt"
                above["stroke-dasharray"] = " ".join(f"{line * wide * part:.2f}" for part in dashes)
            if shape in filled:
                above |= {"fill": colour, "fill-opacity": str(_FILL), "fill-rule": "evenodd"}
            for look in (below, above):  # a dark line below, so that it is seen on any photograph
                ElementTree.SubElement(root, "path", look, d=shape)
    halo = {"stroke": _DARK, "stroke-width": f"{2 * line:.2f}", "paint-order": "stroke", "stroke-linejoin": "round"}
    for text in _texts(drawing, 10 * line):
        anchor = {"left": "start", "right": "end"}[text.side]
        place = {"x": f"{text.x:.1f}", "y": f"{text.bottom - 2 * line:.1f}", "text-anchor": anchor}
        ElementTree.SubElement(root, "text", place, fill=text.colour, **halo).text = text.words
    return ElementTree.tostring(root, encoding="unicode")


def _box(mark: Mark) -> str:
    """A box as a path, or the outline that stands in its place."""
    if mark.outline:
        return "".join(f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in line)}z" for line in mark.outline)
    left, top, right, bottom = mark.corners
    return f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}z"


def _point(mark: Mark, sign: str, r: float) -> str:
    """The sign of a point as a path."""
    x, y = mark.corners[:2]
    paths = {
        "o": f"m{-r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0",
        ".": "h.1",
        "+": f"m{-r:.1f} 0h{2 * r:.1f}m{-r:.1f} {-r:.1f}v{2 * r:.1f}",
        "x": f"m{-r:.1f} {-r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}",
        "s": f"m{-r:.1f} {-r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}z",
    }
    return f"M{x:.1f} {y:.1f}{paths[sign]}"


class _Text(NamedTuple):
    """The words of a mark in its colour, the side at which they begin or end, and their lower edge."""

    words: str
    colour: str
    x: float
    bottom: float
    side: Literal["left", "right"]


def _texts(drawing: Drawing, font: float) -> list[_Text]:
    """The texts above the marks, within the view; ``font`` is their height.

    One ends with its mark where that begins in the right third. Where two would lie over one another, what is drawn
    below moves down.
    """
    height, width = drawing.size
    found: list[_Text] = []
    taken: list[tuple[float, float, float]] = []  # left, right and lower edge
    for mark in reversed(_ordered(drawing.marks)):
        if not mark.text:
            continue
        colour, *_, word = _LOOKS[mark.fate]
        left, top, right, _ = mark.corners
        long = _LETTER * font * len(word + mark.text)
        ends = 3 * left > 2 * width
        x = min(right, width) if ends else max(left, 0.0)
        span = (x - long, x) if ends else (x, x + long)
        bottom = min(max(top, 1.2 * font), height)
        while bottom < height and any(
            span[0] < end and start < span[1] and abs(bottom - other) < font for start, end, other in taken
        ):
            bottom += font / 4
        taken.append((*span, bottom))
        found.append(_Text(word + mark.text, colour, x, bottom, "right" if ends else "left"))
    return found[::-1]
