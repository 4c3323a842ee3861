"""The style of every figure: colours for the colour-blind, quiet axes, text that is readable at a README's width."""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.provenance import write_bytes
from aliasing.rounding import rounded

# Okabe & Ito (2008), without yellow, which is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

MARKERS = ("o", "s", "^", "D", "P", "v", ">")

_SETTINGS: Any = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "font.size": 10,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "legend.frameon": False,
}


# Settings that the figures' layout needs, whatever the user has set.
_ARRANGEMENT: Any = {"figure.constrained_layout.use": True}

_LINES = ("-", "--", ":", "-.")


def line_of(index: int) -> str:
    """The line style of a network, by its number; it changes each time the colours repeat.

    Examples
    --------
    >>> line_of(0), line_of(6), line_of(7)
    ('-', '-', '--')
    """
    return _LINES[index // len(COLOURS) % len(_LINES)]


def spans(estimates: Iterable[Mapping[str, Any]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Values, and the distances of the ends of their intervals, for error bars; NaN if not known.

    Examples
    --------
    >>> spans([{"value": 2.0, "low": 1.5, "high": 3.0}, {"value": 1.0, "low": None, "high": None}])[1].tolist()
    [[0.5, nan], [1.0, nan]]
    """
    ends = [[estimate[end] for end in ("value", "low", "high")] for estimate in estimates]
    value, low, high = np.array(ends, np.float64).reshape(-1, 3).T
    return value, np.array([value - low, high - value])


def colour_of(index: int) -> str:
    """The colour of a network, by its number."""
    return COLOURS[index % len(COLOURS)]


def band(axes: Axes, places: Sequence[float], estimates: Sequence[Mapping[str, Any]], **look: Any) -> None:
    """Shade the intervals of estimates along a curve; one that is not known is left out."""
    bounded = [(place, found) for place, found in zip(places, estimates, strict=True) if found["low"] is not None]
    low, high = ([found[end] for _, found in bounded] for end in ("low", "high"))
    axes.fill_between([place for place, _ in bounded], low, high, linewidth=0, **look)


def same_spread(panels: Iterable[Axes]) -> None:
    """Use one scale around 1 for several panels, so that they can be compared."""
    panels = list(panels)
    spread = max(abs(limit - 1) for axes in panels for limit in axes.get_ylim())
    for axes in panels:
        axes.set_ylim(1 - spread, 1 + spread)


@contextmanager
def style() -> Iterator[None]:
    """The project's style, below the user's settings in ``plt.rcParams``, a style sheet or a matplotlibrc.

    A setting that differs from matplotlib's default is the user's and stays. The colours of networks and groups are
    always ours (:data:`COLOURS`), because they mean the same in every figure.
    """
    with plt.rc_context({**_unset(), **_ARRANGEMENT}):
        try:
            yield
        finally:
            # A notebook turns this on with its first figure; turned off again, it would not show the later ones.
            is_interactive = matplotlib.is_interactive()
    matplotlib.interactive(is_interactive)


def plain(text: str) -> str:
    r"""Escape a name: matplotlib reads dollars as mathematics, and omits names with a leading underscore from legends.

    Examples
    --------
    >>> plain("$x^$.png"), plain("_stem")
    ('\\$x^\\$.png', ' _stem')
    """
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def percent(share: float) -> str:
    """A share of a hundred, in two digits or all that stand before the point.

    Examples
    --------
    >>> percent(1.0), percent(0.0208), percent(0.000143)
    ('100 %', '2.1 %', '0.014 %')
    """
    return f"{rounded(100 * share, '.2g')} %" if 100 * share < 99.5 else f"{rounded(100 * share, '.0f')} %"


def baseband_kept(ratio: float) -> str:
    """How much of the baseband an operator keeps; a maximum, which is no filter, may add to it.

    Examples
    --------
    >>> baseband_kept(0.9805), baseband_kept(981.33)
    ('baseband kept 98.1 %', 'baseband: 981 times the original’s')
    """
    return (
        f"baseband kept {rounded(100 * ratio, '.1f')} %"
        if ratio <= 1
        else f"baseband: {rounded(ratio, '.3g')} times the original’s"
    )


def input_name(name: str, what: str = "image", length: int = 40) -> str:
    """What a photograph or another input is called in a title; a number, in a data set without names, says of what.

    Examples
    --------
    >>> input_name("holiday.jpg"), input_name("00007"), input_name("", "volume")
    ('holiday.jpg', 'image 7', 'a volume')
    """
    return f"{what} {int(name)}" if name.isdecimal() else plain(both_ends(name, length)) or f"a {what}"


def both_ends(text: str, length: int) -> str:
    """A name that fits: what tells two of them apart stands at either end, so the middle goes.

    Examples
    --------
    >>> both_ends("resnet20, binomial3, all, recalibrated", 28)
    'resnet20, bino…recalibrated'
    """
    kept = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - 1 - kept].rstrip()}…{text[-kept:].lstrip(' ,')}"


def in_two_lines(text: str, width: int = 34) -> str:
    r"""A name in at most two lines, broken behind a space, a comma, a plus or a slash; what is left out is the middle.

    Examples
    --------
    >>> in_two_lines("resnet20, binomial3, all, recalibrated"), in_two_lines("binomial3,sites=layer2.0+layer3.0", 28)
    ('resnet20, binomial3, all,\nrecalibrated', 'binomial3,sites=layer2.0+\nlayer3.0')
    """
    words = [both_ends(word, width) for word in re.findall(r"[^ ,+/]*[ ,+/]+|[^ ,+/]+", text)]
    lines = _filled(words, width)
    if len(lines) > 2:
        last = _filled([word[::-1] for word in reversed(words)], width)[0][::-1]
        lines = [f"{lines[0][: width - 1].rstrip(' ,')}…", last.lstrip(" ,")]
    return "\n".join(line.strip() for line in lines)


def _filled(words: Sequence[str], width: int) -> list[str]:
    """The words in lines, each as full as it can be."""
    lines = [""]
    for word in words:
        if lines[-1] and len((lines[-1] + word).strip()) > width:
            lines.append("")
        lines[-1] += word
    return lines


def columns_in(width: float, labels: Sequence[str], size: float = 9.0) -> int:
    """How many columns a legend may have in a width in inches, by its longest label.

    Examples
    --------
    >>> columns_in(10, ["plain", "cured"]), columns_in(10, ["a" * 60, "plain", "cured"])
    (2, 1)
    """
    em = size / 72
    widest = (4.5 + 0.6 * max(map(len, labels), default=0)) * em  # the handle, and letters of 0.6 em on average
    return max(1, min(len(labels), int(width / widest)))


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], size: float = 9.0) -> None:
    """A legend under a figure, in as many columns as there is room for; of long labels both ends."""
    width = figure.get_figwidth()
    shown = [both_ends(label, int(width * 72 / size / 0.6) - 8) for label in labels]
    columns = columns_in(width, shown, size)
    figure.legend(handles, shown, loc="outside lower center", ncols=columns, fontsize=size)


def nested(number: int, count: int) -> float:
    """The width of a network's line: the first is the widest, so that each shows where several are equal."""
    return 1.4 + 1.1 * min(count - 1 - number, 4)


def later_alike(values: Sequence[Any]) -> list[int]:
    """How many of the values behind each are equal to it: marks at one place, the first the largest, show each.

    Examples
    --------
    >>> later_alike([0.5, 0.7, 0.5, 0.5])
    [2, 0, 1, 0]
    """
    return [sum(later == value for later in values[place + 1 :]) for place, value in enumerate(values)]


def placed(position: float, unit: str) -> str:
    """A position on a path, with its unit.

    Examples
    --------
    >>> placed(1.0, "pixels"), placed(1.5, "pixels")
    ('1 pixel', '1.5 pixels')
    """
    return f"{position:g} {unit.removesuffix('s') if abs(position) == 1 else unit}"


def high_and_wide(height: int, width: int) -> str:
    """A size that says which number is which.

    Examples
    --------
    >>> high_and_wide(416, 500)
    '416 high × 500 wide'
    """
    return f"{height} high × {width} wide"


@contextmanager
def any_script() -> Iterator[None]:
    """Draw names in any script without a warning; boxes replace what the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, completely or not at all, at the user's ``savefig.dpi`` if set, and close it."""
    content = io.BytesIO()
    with any_script():
        figure.savefig(content, format="png", dpi=_unset().get("savefig.dpi"))
    plt.close(figure)
    write_bytes(path, content.getvalue())


def _unset() -> Any:
    """The project's settings that the user has left at matplotlib's default."""
    default = matplotlib.rcParamsDefault
    return {key: value for key, value in _SETTINGS.items() if plt.rcParams[key] == default[key]}
