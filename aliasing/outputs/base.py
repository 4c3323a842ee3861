"""The base class of outputs, and measures: numbers that say how much an output moves, or how right it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aliasing.estimates import Difference, Estimate, Mean, MeanRatio, MeanRatioDifference, Share
from aliasing.phases import Drawn, DrawnDifference

if TYPE_CHECKING:
    from aliasing.images import Loaded
    from aliasing.jitter.network import Execution
    from aliasing.jitter.trace import Followed
    from aliasing.models import ShownNetwork
    from aliasing.protocols import Views
    from aliasing.protocols.base import Draw

__all__ = [
    "FLATTERS",
    "Columns",
    "ImageTotals",
    "Measure",
    "Output",
    "RatioMeasure",
    "column",
    "first_and_second",
    "image_starts",
    "pair_schema",
]

FLATTERS: dict[str, Any] = {"caution": "flattering if trained on these", "flatters": True}
"""What a measure of right answers says to readers."""

Column: TypeAlias = npt.NDArray[Any]
Columns: TypeAlias = dict[str, Any]
Pool: TypeAlias = Share | Mean | MeanRatio
"""What accumulates the totals of a measure."""
Paired: TypeAlias = Difference | Mean | MeanRatioDifference
"""What accumulates the differences of two networks."""


def with_third_axis(schema: pa.Schema) -> pa.Schema:
    """The same, with columns for how far the content has moved along the first of three axes, dz."""
    for view in ("second", "first"):
        schema = schema.insert(schema.get_field_index(f"{view}_dy"), pa.field(f"{view}_dz", pa.float32()))
    return schema


KNOWN_AT_FIRST = ("model", "image", "name", "label", "pair")
"""The columns of records, beside those of the first view, that are known of an image that is shown no other."""

_DRAWN = {
    "stratum": pa.int32(),
    "chance": pa.float32(),
    "whole_chance": pa.float32(),
    "whole": pa.bool_(),
    "weight": pa.float32(),
}


def with_drawn(schema: pa.Schema) -> pa.Schema:
    """The same, with the columns of a two-phase design: the fields of `aliasing.protocols.base.Draw`."""
    for name, kind in _DRAWN.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def columns_of_draw(drawn: "Draw") -> dict[str, Any]:
    """The values of these columns."""
    return {name: getattr(drawn, name) for name in _DRAWN}


def is_drawn(table: pa.Table) -> bool:
    """Whether these are records of a two-phase design."""
    return "weight" in table.column_names


def pairs_shown(table: pa.Table) -> pa.Table:
    """The rows of records whose two views were shown: all, but in a two-phase design."""
    return table.filter(pc.field("weight") > 0) if is_drawn(table) else table


def pair_schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """The columns of an output's records, one row per pair of views: those that identify the pair, and these."""
    views = [(f"{view}_{what}", pa.float32()) for view in ("first", "second") for what in ("dy", "dx", "position")]
    return pa.schema(
        [
            ("model", pa.string()),
            ("image", pa.string()),  # identity: hash of the image's bytes
            ("name", pa.string()),  # name in its source: unique, even if the same image is there twice
            ("label", pa.int32()),  # null if it is not known
            ("pair", pa.int32()),
            *views,
            *columns,
        ]
    )


@dataclass(frozen=True)
class ImageTotals:
    """A measure image by image: the sum of its values, and how many they are (of a ratio, for each class)."""

    names: Column
    totals: Column
    counts: Column


@dataclass(frozen=True)
class Measure:
    """A number that follows from records, with everything that is needed to compute, print and draw it.

    Attributes
    ----------
    name, title, label : str
        Its key in a summary and column in CSV; its heading in a table; its name on an axis and in a sentence (the title
        if empty).
    columns : tuple of str
        The columns of the records that its values need; without them it is not measured.
    values : callable
        Records → one number per pair of views: NaN if the pair does not count, None if no pair does.
    within : {"mean", "sum", "max", "min"}
        How the pairs of an image are pooled. With the mean the unit is the pair, otherwise the image.
    range : (float, float)
        The least and greatest value. If both are finite the interval is the beta interval of a proportion
        (:class:`aliasing.estimates.Share`), otherwise Student's t (:class:`aliasing.estimates.Mean`).
    binary : bool
        True if only the ends of the range occur.
    unit : str
        Empty for a share or a probability.
    sign : {1, -1, 0}
        1 if more is better, −1 if less is.
    is_change : bool
        True if a pair counts 1 when its answer changes; readers are warned if few images change.
    along_path : bool
        True if it makes sense only for pairs that follow one another along a path.
    of_first : bool
        True if the first view of a pair tells it.
    of, factor, offset : tuple of str, float, float
        It is ``offset + factor × x`` of the first of these measures that was measured.
    under, otherwise : str
        If not empty, it has its title only under protocols whose name begins so, and where the settings name a protocol
        for it; elsewhere it is listed nowhere, and an axis calls it by the other.
    caution, spoken : str
        A remark for readers, in brackets on an axis; the words after a percentage, which say what it is the share of.
    flatters : bool
        True if it says how right the answers are, and so flatters a network that was trained on the images.
    """

    name: str
    title: str
    columns: tuple[str, ...] = ()
    values: Callable[[pa.Table], Column | None] | None = None
    _: KW_ONLY
    label: str = ""
    within: Literal["mean", "sum", "max", "min"] = "mean"
    range: tuple[float, float] = (0.0, 1.0)
    binary: bool = False
    unit: str = ""
    sign: Literal[1, -1, 0] = -1
    is_change: bool = False
    along_path: bool = False
    of_first: bool = False
    of: tuple[str, ...] = ()
    factor: float = 1.0
    offset: float = 0.0
    under: str = ""
    otherwise: str = ""
    caution: str = ""
    spoken: str = ""
    flatters: bool = False

    @property
    def axis(self) -> str:
        """The label of an axis, with the unit and the caution."""
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.called}{unit}{f' ({self.caution})' if self.caution else ''}"

    def on_held_out(self) -> "Measure":
        """The measure of images on which no network was trained: without a caution that it flatters."""
        return replace(self, caution="", flatters=False) if self.flatters else self

    @property
    def called(self) -> str:
        """Its name in a sentence."""
        return self.label or self.title

    def is_called_so(self, settings: Mapping[str, Any]) -> bool:
        """Whether it has its name under the protocol of these settings."""
        protocol = settings.get("protocol")
        name = protocol.get("name", "") if isinstance(protocol, Mapping) else str(protocol or "")
        return not self.under or self.under in settings or name.startswith(self.under)

    def under_protocol(self, settings: Mapping[str, Any]) -> "Measure":
        """The measure with the title that it has under the protocol of these settings."""
        return self if self.is_called_so(settings) else replace(self, title=self.otherwise, label="")

    def is_told_by(self, table: pa.Table) -> bool:
        """Whether these records have the columns that it needs."""
        return self.values is not None and {*self.columns} <= {*table.column_names}

    def pairs(self, table: pa.Table) -> npt.NDArray[np.float64] | None:
        """The value of each pair, NaN if it does not count; None if the records do not have it."""
        values = self.values(table) if self.values is not None and self.is_told_by(table) else None
        return None if values is None else values.astype(np.float64)

    def totals(self, table: pa.Table) -> ImageTotals | None:
        """The values image by image, as shares of a bounded range; None if the records do not have them."""
        values = self.pairs(table)
        if values is None:
            return None
        starts = image_starts(table)
        low, width = self._span
        values = (values - low) / width
        counted = ~np.isnan(values)
        if self.within in ("mean", "sum"):
            totals = np.add.reduceat(np.where(counted, values, 0), starts)
            counts = np.add.reduceat(counted.astype(np.int64), starts)
        else:
            totals = (np.fmax if self.within == "max" else np.fmin).reduceat(values, starts)
            counts = np.logical_or.reduceat(counted, starts).astype(np.int64)
        some = counts > 0
        return ImageTotals(column(table, "name")[starts][some], totals[some], counts[some])

    def movements(self, table: pa.Table) -> dict[Any, float]:
        """How much each image moves by this measure, 0…1: its mean, or what 1 has more if more is better."""
        found = self.totals(table)
        if found is None:
            return {}
        shares = found.totals / found.counts
        return dict(zip(found.names, (1 - shares if self.sign > 0 else shares).tolist(), strict=True))

    def paired(self, first: ImageTotals, second: ImageTotals) -> tuple[Column, Column]:
        """What `difference` accumulates of two networks' totals on the same images."""
        return second.totals - first.totals, first.counts

    def pool(self) -> Pool:
        """The accumulator of its totals over the images."""
        return Share(self.binary) if np.isfinite(self.range).all() else Mean()

    def difference(self) -> Paired:
        """The accumulator of the differences of two networks' totals on the same images."""
        return Difference(binary=self.binary) if np.isfinite(self.range).all() else Mean()

    def estimate(self, pool: Pool | Drawn, pairs_an_image: float) -> Estimate:
        """The estimate from a pool, in the measure's own range and with its 95 % interval."""
        low, width = self._span
        if self.within == "sum" and isinstance(pool, Drawn):
            return pool.estimate().scaled(width * pairs_an_image, low * pairs_an_image)
        if self.within == "sum" and isinstance(pool, Share):
            return pool.per_image().estimate().scaled(width * pairs_an_image, low * pairs_an_image)
        found = pool.estimate().scaled(width, low)
        if np.isfinite(self.range).all():
            return found
        return Estimate(found.value, max(found.low, self.range[0]), min(found.high, self.range[1]))

    def by_class(self, pool: Pool | Drawn) -> dict[int, Estimate]:
        """The estimate of each class alone, if it is a mean over classes."""
        return {}

    def estimated_difference(self, difference: Paired | DrawnDifference) -> Estimate:
        """The estimate from the differences, with its paired 95 % interval."""
        return difference.estimate().scaled(self._span[1])

    @property
    def _span(self) -> tuple[float, float]:
        """The low end and the width of a bounded range."""
        low, high = self.range
        return (low, high - low) if np.isfinite(self.range).all() else (0.0, 1.0)


@dataclass(frozen=True)
class ImageMeasure(Measure):
    """A ratio of sums over images, each of which counts as much as it holds: detections, for example.

    Attributes
    ----------
    of_images : callable
        Records → the numerator and denominator of each image; None if no image has any.
    """

    of_images: Callable[[pa.Table], ImageTotals | None] = field(kw_only=True)

    def is_told_by(self, table: pa.Table) -> bool:
        return {*self.columns} <= {*table.column_names}

    def totals(self, table: pa.Table) -> ImageTotals | None:
        found = self.of_images(table) if self.is_told_by(table) else None
        if found is None:
            return None
        low, width = self._span
        return ImageTotals(found.names, (found.totals - low * found.counts) / width, found.counts)

    def paired(self, first: ImageTotals, second: ImageTotals) -> tuple[Column, Column]:
        # One class if there are no classes; there may be no image that both have. A class that only one has counts 0.
        most = max(one.totals[0].size if len(one.totals) else 1 for one in (first, second))
        both = [[_with_classes(x, most) for x in (one.totals, one.counts)] for one in (first, second)]
        totals, counts = (np.hstack(columns) for columns in zip(*both, strict=True))
        return totals, counts

    def difference(self) -> MeanRatioDifference:
        return MeanRatioDifference(bound=self.range[1])


def _with_classes(values: Column, classes: int) -> Column:
    """The values of images×classes, with as many classes as another network has."""
    columns = values.reshape(len(values), -1) if len(values) else np.zeros((0, classes))
    return np.pad(columns, ((0, 0), (0, classes - columns.shape[1])))


@dataclass(frozen=True)
class RatioMeasure(ImageMeasure):
    """A mean over classes of ratios of sums, such as a mean IoU; `of_images` gives images×classes."""

    def pool(self) -> MeanRatio:
        return MeanRatio()

    def by_class(self, pool: Pool | Drawn) -> dict[int, Estimate]:
        assert isinstance(pool, MeanRatio)
        return {
            number: pool.of_class(number).estimate() for number in np.flatnonzero(~np.isnan(pool.ratios())).tolist()
        }


@dataclass(frozen=True)
class Output(ABC):
    """An output of one network: what of its answer is compared, and how.

    Attributes
    ----------
    model : Classifier
        The network, prepared for this output.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    shown: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The names of the measures that are shown in a place, in order: ``"table"`` and ``"plot"`` of a jitter
    measurement, ``"leaderboard"``, ``"page"`` of a report, ``"shift"`` by shift, ``"attribution"`` to sites. A place
    that is not mentioned shows all."""
    of_classes: ClassVar[bool] = False
    """Whether it holds class probabilities: labels are then matched to the classes, float32 can verify bfloat16, and a
    photograph's answer can be followed along a path."""
    of_places: ClassVar[bool] = False
    """Whether it has places that move with the content, so that the protocol must be a shift."""
    truth: ClassVar[Callable[..., Any] | None] = None
    """Opens ground truth that is no label of the image (see `aliasing.outputs.truth`), if it is measured against it."""
    movement: ClassVar[str] = ""
    """The measure that selects the photographs to follow, those that move most; empty if `follow` is not defined."""
    front: ClassVar[tuple[str, ...]] = ()
    """The two measures of a leaderboard's figure and Pareto front, of which the second is measured under the protocol
    for consistency. Without them one protocol is measured, the first measure shown orders the networks, and the figure
    has intervals."""
    gallery: ClassVar[int] = 0
    """The number of images whose first view's output is kept for comparison with others (`beside`)."""

    model: "ShownNetwork"

    @classmethod
    def of(cls, model: "ShownNetwork") -> Self:
        """This output of a network; may show it a picture."""
        return cls(model)

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns of its records, one row per pair of views (:func:`pair_schema`)."""

    @abstractmethod
    def network(self, running: "ShownNetwork", execution: "Execution") -> Callable[[npt.NDArray[np.float32]], Any]:
        """Views N×H×W×3 → N outputs: an array, or a list of arrays of different lengths.

        ``running`` is the copy of ``model`` that runs; ``execution`` says where, and in which precision.
        """

    @abstractmethod
    def compare(self, outputs: Any, views: "Views", image: "Loaded", precision: str) -> Columns:
        """What changes from the first to the second view of each pair: one value per pair for each of its columns.

        ``outputs`` holds the output of each view of the image, computed in ``precision``. For an output of classes, the
        image's label is the number of a class.
        """

    def follow(self, outputs: Any, views: "Views", common: dict[str, Any]) -> "Followed":
        """What is shown of the outputs of an image's views, one after the other.

        ``common`` holds the attributes that all that is followed has.
        """
        raise NotImplementedError(f"output {self.name} is not followed")

    def seen_again(self, outputs: Any) -> Any:
        """What must be the same if the same views are shown again: numbers for each view that move with its output."""
        return outputs

    def beside(self, names: npt.NDArray[np.object_], outputs: npt.NDArray[np.float32]) -> Self:
        """The same, compared with the outputs of the first views of these images, its gallery."""
        return self

    def describe(self) -> dict[str, Any]:
        """The description of this output of the network in a summary."""
        return {}

    def margins(self, outputs: Any) -> npt.NDArray[np.float32]:
        """By how much the answer to each view is ahead of the next, in 0…1; only of an output of classes."""
        raise NotImplementedError(f"output {self.name} has no margin")

    @property
    def verifiable(self) -> bool:
        """Whether float32 can verify bfloat16's answers: the one most probable class of each view."""
        return False

    @classmethod
    def shown_in(cls, place: str) -> list[Measure]:
        """The measures that are shown in a place, in order; only a value per pair can be shown by shift."""
        if place in cls.shown:
            return [cls.measure(name) for name in cls.shown[place]]
        return [one for one in cls.measures if place != "shift" or (one.values is not None and one.within == "mean")]

    @classmethod
    def measure(cls, name: str) -> Measure:
        """A measure by its name."""
        return next(measure for measure in cls.measures if measure.name == name)

    @classmethod
    def totals(cls, table: pa.Table) -> dict[str, ImageTotals]:
        """Every measure of a table of records, image by image, by name; the rows of an image are consecutive."""
        found = [(measure.name, measure.totals(table)) for measure in cls.measures] if len(table) else []
        return {name: totals for name, totals in found if totals is not None}

    @classmethod
    def needed(cls) -> set[str]:
        """The columns of the records that its numbers need."""
        return {"name", "pair", *_DRAWN}.union(*(measure.columns for measure in cls.measures))

    @classmethod
    def near_ties(cls, table: pa.Table) -> int:
        """The number of pairs with a view whose answer rounding may decide."""
        return 0


def share_of(counted: str | tuple[str, ...], per: str, table: pa.Table) -> ImageTotals:
    """The sum of one or several columns over the rows of an image, and that of another: for an `ImageMeasure`."""
    starts = image_starts(table)
    kinds = (counted,) if isinstance(counted, str) else counted
    columns = np.stack([column(table, kind).astype(np.float64) for kind in kinds]).sum(0), column(table, per)
    return totals_of(column(table, "name")[starts], *(np.add.reduceat(x.astype(np.float64), starts) for x in columns))


def totals_of(names: Column, totals: Column, counts: Column) -> ImageTotals:
    """The totals of the images that have any."""
    some = counts > 0
    return ImageTotals(names[some], totals[some], counts[some])


def image_starts(table: pa.Table) -> npt.NDArray[np.intp]:
    """The first row of each image in a table of records, in which the rows of an image are consecutive."""
    names = column(table, "name")
    return np.flatnonzero(np.concatenate([[len(names) > 0], names[1:] != names[:-1]]))


def first_and_second(views: "Views") -> npt.NDArray[np.intp]:
    """The numbers of the first and of the second view of each pair, (2, pairs)."""
    pairs: npt.NDArray[np.intp] = np.array(views.pairs, dtype=np.intp).reshape(-1, 2).T
    return pairs


def column(table: pa.Table, name: str) -> Column:
    """A column of records as an array."""
    values: Column = table[name].to_numpy()
    return values
