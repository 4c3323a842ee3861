"""Can every text of a figure be read? None may be cut by the figure's edge, and no two may lie on each other."""

from itertools import combinations

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

EDGE = 1.0  # pixels: glyphs are antialiased beyond their box
DEPTH = 1.5  # pixels that two boxes may share: a box holds room for descenders that a text may lack


def complaints(figure: Figure) -> list[str]:
    """The texts of a figure that are cut off or overlap, in words. The figure is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in _shown(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    cut = [
        f"{name!r} is cut by the edge of the figure"
        for name, box in boxes
        if min(box.x0, box.y0) < -EDGE or box.x1 > width + EDGE or box.y1 > height + EDGE
    ]
    overlapping = [
        f"{one!r} and {other!r} overlap"
        for (one, a), (other, b) in combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > DEPTH and min(a.y1, b.y1) - max(a.y0, b.y0) > DEPTH
    ]
    return cut + overlapping


def _shown(figure: Figure) -> list[Text]:
    """The texts that are drawn: of ticks, only those within the limits of their axis."""
    hidden: set[int] = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        drawn = axis.axes.get_visible() and axis.axes.axison and axis.get_visible()
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not (drawn and low <= tick.get_loc() <= high and tick.get_visible()):
                hidden.update(map(id, tick.findobj(Text)))
        if not drawn:
            hidden.update(map(id, axis.findobj(Text)))
    return [
        text for text in figure.findobj(Text) if text.get_text().strip() and _visible(text) and id(text) not in hidden
    ]


def _visible(text: Text) -> bool:
    axes = text.axes
    return text.get_visible() and (axes is None or axes.get_visible())
