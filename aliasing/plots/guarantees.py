"""The figure of guarantees: a table of operators and laws, coloured by what holds."""

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from aliasing.plots.style import COLOURS, plain, style
from aliasing.tables import pair

if TYPE_CHECKING:
    from aliasing.downsample.guarantees import Guarantees

_HOLDS, _FAILS, _CLAIMED = COLOURS[2], "0.75", COLOURS[1]
_MEASURED = ("alias, natural", "baseband kept", "baseband, natural", "cost")  # numbers that are no law


def guarantees(found: "Guarantees") -> Figure:
    """What operators and networks guarantee, a row each.

    Parameters
    ----------
    found : Guarantees
        From `aliasing.guarantees`.

    Returns
    -------
    matplotlib.figure.Figure
        A table: green where a law is exact, grey where it is not, with the worst relative change, and orange where it
        was published as exact and is not.

    Examples
    --------
    >>> import aliasing as al
    >>> figure = guarantees(al.guarantees(["flc", "aps"], laws=["linear", "circular integer"]))
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['flc', 'aps']
    """
    from aliasing.downsample.guarantees import shown
    from aliasing.downsample.laws import LAWS

    names = list(found.rows)
    laws = list(next(iter(found.rows.values()), {}))
    with style():
        height = 1.9 + 0.3 * len(names)
        figure, axes = plt.subplots(figsize=(2.2 + 0.78 * len(laws), height))
        for row, name in enumerate(names):
            for column, law in enumerate(laws):
                cell = found.rows[name][law]
                axes.add_patch(Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, linewidth=0, **_look(law, cell)))
                text = shown(law, cell)
                axes.text(column, row, text, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, max(len(laws), 1) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), map(plain, names))
        axes.set_xticks(
            range(len(laws)), [LAWS[law].title for law in laws], rotation=35, ha="left", rotation_mode="anchor"
        )
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        kinds = [
            Patch(facecolor=_HOLDS, alpha=0.35, label="exact, to rounding"),
            Patch(facecolor=_FAILS, alpha=0.6, label="not exact: the worst relative change, or share of the energy"),
            Patch(facecolor=_CLAIMED, alpha=0.6, label="!  published as exact"),
        ]
        figure.legend(handles=kinds, loc="outside lower center", ncols=3)
        figure.suptitle(f"What is guaranteed at stride {pair(found.settings['stride'])}, measured in float64")
    return figure


def _look(law: str, cell: dict[str, Any]) -> dict[str, Any]:
    if cell["differs"]:
        return {"facecolor": _CLAIMED, "alpha": 0.6}
    if not cell["applies"] or law in _MEASURED or cell["exact"] is None:
        return {"facecolor": "none"}
    return {"facecolor": _HOLDS, "alpha": 0.35} if cell["exact"] else {"facecolor": _FAILS, "alpha": 0.6}
