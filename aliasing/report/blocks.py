"""The blocks of a section of the page. The template ``page.html`` has a macro for each, by its ``kind``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from aliasing.plots.style import COLOURS
from aliasing.rounding import rounded
from aliasing.tables import cell

Number: TypeAlias = float | None

_MOST_STACKED = 8  # rows: a longer table is easier to read by columns


@dataclass(frozen=True)
class Text:
    """Paragraphs; ``tone`` is "plain", "note" or "caution"."""

    kind: ClassVar[str] = "text"
    paragraphs: Sequence[str]
    tone: str = "plain"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, its sort key, and the smaller text beside it."""

    text: str
    sort: float | str | None = None
    detail: str = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the rows.

    ``words`` is the number of columns with words, from the left; all others hold numbers, and the reader can sort by
    any column. By default all columns hold words. ``folded`` are the words that unfold it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int | None = None
    folded: str = ""

    @property
    def stacked(self) -> bool:
        """Whether a narrow page shows its rows one below the other instead of scrolling it."""
        return len(self.rows) <= _MOST_STACKED

    @property
    def sortable(self) -> bool:
        """Whether it has columns of numbers."""
        return self.words is not None

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""
        return [self.words is not None and place >= self.words for place in range(len(self.columns))]


@dataclass(frozen=True)
class Chart:
    """A panel of a figure, as `aliasing.plots` draws it."""

    drawing: str  # an SVG (:func:`aliasing.plots.svg.panel`)
    caption: str
    alternative: str  # for screen readers
    legend: Sequence[tuple[int, str]] = ()  # the number and the meaning of each colour, if there are several


@dataclass(frozen=True)
class Charts:
    """Charts side by side, or one below the other if the page is narrow."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


def series_of(number: int) -> str:
    """The style sheet's classes for a network's number: its colour, and how often the colours were used before.

    Examples
    --------
    >>> series_of(1), series_of(8)
    ('series-1', 'series-1 lap-1')
    """
    lap, colour = divmod(number, len(COLOURS))
    return f"series-{colour}" + f" lap-{min(lap, 3)}" * (lap > 0)


@dataclass(frozen=True)
class Tile:
    """One number of a network, large."""

    series: int
    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Tiles:
    """The numbers at the top of the page."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Explorer:
    """A slider that moves a photograph: the view, the answers, and how much of the first is left along the path.

    ``data`` is for the page's script: for each photograph its views (pictures and positions), every network's answers,
    and what is drawn over the views. Each photograph has its own chart.
    """

    kind: ClassVar[str] = "explorer"
    data: dict[str, Any]
    charts: Sequence[Chart]
    first: str  # the picture that is shown before the script runs
    columns: Sequence[tuple[str, bool]]  # the heads of the answers' table, and whether they are of numbers
    drawn: Sequence[str] = ()  # the networks whose answers are drawn, each over a view of its own
    key: Sequence[tuple[str, str]] = ()  # small pictures, and what they mean


@dataclass(frozen=True)
class Shown:
    """Pictures of one shape on top of one another."""

    layers: Sequence[str]  # from below
    alternative: str
    caption: str


@dataclass(frozen=True)
class Pair:
    """Two views of a photograph, and the networks' answers to both."""

    title: str
    description: str
    pictures: Sequence[Shown]
    answers: Table


@dataclass(frozen=True)
class Pairs:
    """Photographs, pictures of each side by side."""

    kind: ClassVar[str] = "pairs"
    pairs: Sequence[Pair]
    key: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Look:
    """A picture, and below it its spectrum and its power by frequency."""

    title: str
    numbers: Sequence[str]
    samples: str
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Looks:
    """One photograph before and after each downsampling operator."""

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


Block: TypeAlias = Text | Table | Charts | Tiles | Explorer | Pairs | Looks | Figure


@dataclass
class Section:
    """A part of the page with its own heading."""

    id: str
    title: str
    lead: str = ""
    blocks: list[Block] = field(default_factory=list)


def estimate_cell(estimate: Any, sign: bool = False) -> Cell:
    """An estimate ``{"value", "low", "high"}`` with its interval in brackets; a dash if there is none.

    Examples
    --------
    >>> estimate_cell({"value": -0.0345, "low": -0.046, "high": -0.025})
    Cell(text='−0.035', sort=-0.0345, detail='[−0.046, −0.025]', code=False)
    """
    value, low, high = ends(estimate)
    if value is None:
        return Cell("–")
    text, _, interval = cell({"value": value, "low": low, "high": high}, "+" if sign else "").partition(" ")
    return Cell(text, value, interval)


def number_cell(number: Any) -> Cell:
    """A number for a table: whole numbers whole, others to four digits.

    Examples
    --------
    >>> number_cell(4000).text, number_cell(13.08765).text, number_cell(None).text
    ('4,000', '13.09', '–')
    """
    if not isinstance(number, int | float) or isinstance(number, bool):
        return Cell("–")
    return Cell(f"{number:,}" if isinstance(number, int) else rounded(number, ",.4g"), number)


def ends(estimate: Any) -> tuple[Number, Number, Number]:
    """The value, low and high of an estimate in a summary."""
    if not isinstance(estimate, dict):
        return None, None, None
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    return value, low, high
