"""Can every text of a figure be read?

None may be cut by the figure's edge, no two may lie on each other or touch in a line, and no legend on what is drawn.
"""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

EDGE = 1.0  # pixels: glyphs are antialiased beyond their box
DEPTH = 1.5  # pixels that two boxes may share: a box holds room for descenders that a text may lack
GAP = 2.0  # pixels between two texts in a line, which would otherwise read as one


def complaints(figure: Figure) -> list[str]:
    """What cannot be read in a figure, in words. The figure is drawn."""
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
    touching = [
        f"{one!r} and {other!r} touch"
        for (one, a), (other, b) in combinations(boxes, 2)
        if -DEPTH <= max(a.x0, b.x0) - min(a.x1, b.x1) < GAP
        and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5 * min(a.height, b.height)
    ]
    return cut + overlapping + touching + [found for axes in figure.findobj(Axes) for found in _hidden(axes)]


def _hidden(axes: Axes) -> list[str]:
    """The lines and error bars of axes that pass below their legend."""
    legend = axes.get_legend()
    if legend is None:
        return []
    box = legend.get_window_extent()
    lines = [line.get_transform().transform_path(line.get_path()) for line in axes.lines]
    bars = [
        collection.get_transform().transform_path(path)
        for collection in axes.collections
        if isinstance(collection, LineCollection)
        for path in collection.get_paths()
    ]
    below = sum(path.intersects_bbox(box, filled=False) for path in [*lines, *bars] if len(path.vertices))
    return [f"a legend lies on {below} lines"] if below else []


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
