"""The style of every figure: colours for the colour-blind, quiet axes, text that is readable at a README's width."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

from aliasing.provenance import write_bytes

# Okabe & Ito (2008), without yellow, which is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

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


@contextmanager
def style() -> Iterator[None]:
    """The project's style, below the user's settings in ``plt.rcParams``, a style sheet or a matplotlibrc.

    A setting that differs from matplotlib's default is the user's and stays. The colours of networks and groups are
    always ours (:data:`COLOURS`), because they mean the same in every figure.
    """
    with plt.rc_context({**_unset(), **_ARRANGEMENT}):
        yield


def plain(text: str) -> str:
    r"""Escape a name: matplotlib reads dollars as mathematics, and omits names with a leading underscore from legends.

    Examples
    --------
    >>> plain("$x^$.png"), plain("_stem")
    ('\\$x^\\$.png', ' _stem')
    """
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, completely or not at all, at the user's ``savefig.dpi`` if set, and close it."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # boxes replace a script that the font lacks
        figure.savefig(content, format="png", dpi=_unset().get("savefig.dpi"))
    plt.close(figure)
    write_bytes(path, content.getvalue())


def _unset() -> Any:
    """The project's settings that the user has left at matplotlib's default."""
    default = matplotlib.rcParamsDefault
    return {key: value for key, value in _SETTINGS.items() if plt.rcParams[key] == default[key]}
