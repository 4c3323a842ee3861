"""The figure of guarantees: a table of operators and laws, coloured by what holds."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from aliasing.plots.style import COLOURS, in_two_lines, legend_below, plain, style
from aliasing.tables import pair

if TYPE_CHECKING:
    from aliasing.downsample.guarantees import Guarantees

_HOLDS, _FAILS, _CLAIMED = COLOURS[2], "0.75", COLOURS[1]
_LETTERS = 12  # that fit side by side above a column
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
    laws = found.laws
    with style():
        labels = [plain(in_two_lines(name)) for name in names]
        longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
        width = max(0.1 * longest + 0.4 + 0.8 * len(laws), 5.5)
        figure, axes = plt.subplots(figsize=(width, 2.1 + 0.3 * sum(label.count("\n") + 1 for label in labels)))
        for row, name in enumerate(names):
            for column, law in enumerate(laws):
                cell = found.rows[name][law]
                axes.add_patch(Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, linewidth=0, **_look(law, cell)))
                text = shown(law, cell)
                axes.text(column, row, text, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, max(len(laws), 1) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), labels)
        axes.set_xticks(range(len(laws)), [fill(LAWS[law].title, _LETTERS) for law in laws], fontsize=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        kinds = [
            Patch(facecolor=_HOLDS, alpha=0.35, label="exact, to rounding"),
            Patch(facecolor=_FAILS, alpha=0.6, label="not exact: the worst relative change, or share of the energy"),
            Patch(facecolor=_CLAIMED, alpha=0.6, label="!  published as exact"),
        ]
        legend_below(figure, kinds, [str(kind.get_label()) for kind in kinds])
        figure.suptitle(f"What is guaranteed at stride {pair(found.settings['stride'])}, measured in float64")
    return figure


def _look(law: str, cell: dict[str, Any]) -> dict[str, Any]:
    if cell["differs"]:
        return {"facecolor": _CLAIMED, "alpha": 0.6}
    if not cell["applies"] or law in _MEASURED or cell["exact"] is None:
        return {"facecolor": "none"}
    return {"facecolor": _HOLDS, "alpha": 0.35} if cell["exact"] else {"facecolor": _FAILS, "alpha": 0.6}
