"""What a section of the page can hold. The template ``page.html`` has a macro for each, by its ``kind``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

Number: TypeAlias = float | None


@dataclass(frozen=True)
class Text:
    """Paragraphs; ``tone`` is "plain", "note" or "caution"."""

    kind: ClassVar[str] = "text"
    paragraphs: Sequence[str]
    tone: str = "plain"


@dataclass(frozen=True)
class Command:
    """What is missing, and the command that would bring it."""

    kind: ClassVar[str] = "command"
    why: str
    command: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it says, what it is sorted by, and what stands smaller beside it."""

    text: str
    sort: float | str | None = None
    detail: str = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows. ``numeric`` says which columns hold numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: Sequence[bool]
    sortable: bool = False
    folded: str = ""  # the words that unfold it


@dataclass(frozen=True)
class Chart:
    """A panel of a figure, as `aliasing.plots` draws it.

    Attributes
    ----------
    drawing : str
        An SVG (:func:`aliasing.plots.svg.panel`).
    caption : str
        What it shows, for the eye.
    alternative : str
        What it shows, for the ear: the text that a screen reader says instead.
    legend : sequence of (int, str)
        The number of each colour, and what it stands for; empty where there is one.
    """

    drawing: str
    caption: str
    alternative: str
    legend: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Charts:
    """Charts side by side, or one below the other where the page is narrow."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Tile:
    """One number of a network, large."""

    series: int
    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Tiles:
    """The numbers that the page begins with."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Explorer:
    """A slider that moves a photograph: the view, the answers, the probability along the way.

    ``data`` is what the page's script reads: for each photograph its views (pictures and where they lie) and what every
    network answers. Each photograph has a chart of its own.
    """

    kind: ClassVar[str] = "explorer"
    data: dict[str, Any]
    charts: Sequence[Chart]
    first: str  # the picture that is shown before the script runs


@dataclass(frozen=True)
class Pair:
    """Two views of a photograph, their difference, and what the networks answer to both."""

    title: str
    description: str
    first: str
    second: str
    difference: str
    first_where: str
    second_where: str
    answers: Table


@dataclass(frozen=True)
class Pairs:
    """Photographs, two views of each side by side."""

    kind: ClassVar[str] = "pairs"
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class Look:
    """A picture, and below it its spectrum and its power by frequency."""

    title: str
    numbers: Sequence[str]
    samples: str
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Looks:
    """One photograph before and after each way of downsampling."""

    kind: ClassVar[str] = "looks"
    looks: Sequence[Look]
    height: int
    width: int


@dataclass(frozen=True)
class Figure:
    """A figure that a command drew."""

    kind: ClassVar[str] = "figure"
    picture: str
    caption: str


Block: TypeAlias = Text | Command | Table | Charts | Tiles | Explorer | Pairs | Looks | Figure


@dataclass
class Section:
    """A part of the page with a heading of its own."""

    id: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)


def estimate_cell(estimate: Any, digits: int = 4, sign: bool = False) -> Cell:
    """An estimate ``{"value", "low", "high"}`` with its interval in brackets; a dash where there is none.

    Examples
    --------
    >>> estimate_cell({"value": 0.0345, "low": 0.025, "high": 0.046})
    Cell(text='0.0345', sort=0.0345, detail='[0.025, 0.046]', code=False)
    """
    value, low, high = ends(estimate)
    if value is None:
        return Cell("–")
    interval = ""
    if low is not None and high is not None:
        interval = f"[{_decimal(low, digits - 1, sign)}, {_decimal(high, digits - 1, sign)}]"
    return Cell(_decimal(value, digits, sign), value, interval)


def number_cell(number: Any) -> Cell:
    """A number as it stands in a table: whole numbers whole, others to four digits.

    Examples
    --------
    >>> number_cell(4000).text, number_cell(13.08765).text, number_cell(None).text
    ('4,000', '13.09', '–')
    """
    if not isinstance(number, int | float) or isinstance(number, bool):
        return Cell("–")
    return Cell(f"{number:,}" if isinstance(number, int) else f"{number:,.4g}", number)


def ends(estimate: Any) -> tuple[Number, Number, Number]:
    """Value, low and high of an estimate as it stands in a summary."""
    if not isinstance(estimate, dict):
        return None, None, None
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    return value, low, high


def _decimal(value: float, digits: int, sign: bool) -> str:
    """With a true minus, and without the minus of what rounds to zero."""
    return f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}".replace("-", "−")
