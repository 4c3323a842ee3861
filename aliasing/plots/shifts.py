"""A measure by shift as a heat map: the darker, the larger."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from aliasing.plots.style import COLOURS, in_two_lines, plain
from aliasing.plots.svg import tell
from aliasing.rounding import rounded
from aliasing.tables import cell as written
from aliasing.tables import decimals

_WRITTEN = 8.5  # points: numbers in cells, where there is room for them


def heat_map(axes: Axes, cells: Sequence[dict[str, Any]], largest: float) -> None:
    """Draw a measure by shift; ``largest`` is the value of the full colour, so that several maps can be compared.

    Each cell has ``x`` and ``y`` (numbers or names), ``value``, ``low``, ``high`` and ``pairs``.
    """
    columns = sorted({cell["x"] for cell in cells})
    rows = list(dict.fromkeys(cell["y"] for cell in cells))
    rows = rows if isinstance(rows[0], str) else sorted(rows)
    digits = decimals({"value": largest, "low": 0, "high": largest})
    room = 0.8 * axes.figure.bbox.width / axes.figure.dpi * 72 / len(columns)  # points
    has_room = room > _WRITTEN * 0.62 * (digits + 2)
    for cell in cells:
        x, y, strength = columns.index(cell["x"]), rows.index(cell["y"]), cell["value"] / (largest or 1)
        # Never so dark that black on it, or on a dark page white, is hard to read.
        look: Any = {"color": COLOURS[0], "alpha": 0.04 + 0.51 * strength, "linewidth": 0}
        square = axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, **look))
        place = f"{cell['y']}, position" if isinstance(cell["y"], str) else f"dy {rounded(cell['y'], '.6g')}, dx"
        tell(square, [f"{place} {rounded(cell['x'], '.6g')}: {written(cell)}, {cell['pairs']} pairs"])
        if has_room:
            axes.text(x, y, rounded(cell["value"], f".{digits}f"), ha="center", va="center", fontsize=_WRITTEN)
    each = -(-len(columns) // 12)  # so that labels do not overlap
    axes.set_xticks(range(0, len(columns), each), [rounded(column, ".6g") for column in columns[::each]])
    axes.set_yticks(
        range(len(rows)),
        [in_two_lines(plain(row), 24) if isinstance(row, str) else rounded(row, ".6g") for row in rows],
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
