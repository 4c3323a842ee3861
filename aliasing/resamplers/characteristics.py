"""`characterise`: what any resampler does, found by showing it signals."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from aliasing.axes import are_several, is_real
from aliasing.errors import UsageError
from aliasing.resamplers import probing
from aliasing.resamplers.probing import Places, Probe, Shape
from aliasing.resamplers.weights import SURE, Numbers, Weights, line_through, middle
from aliasing.rounding import rounded
from aliasing.tables import pair, render

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

__all__ = ["CONVENTIONS", "FREQUENCIES", "Characteristics", "characterise"]

CONVENTIONS = ("areas", "blocks", "starts", "steps", "corners")
"""Where an output sample belongs: see `characterise`."""
FREQUENCIES = (0.0625, 0.125, 0.25, 0.375)
"""Those of the table, in cycles per input sample."""
TONES = np.linspace(0, 0.5, 34)[1:-1]
_COUNTS = {1: 100, 2: 24, 3: 12}  # output samples along an axis: a long filter of sounds needs many
_BESIDE = {1: 0, 2: 12, 3: 8}  # output samples along the axes that are not being measured
_ENLARGED = 32  # input samples
_DISPERSED = 0.25  # input samples
_DULL = 0.85  # of a slow tone: linear interpolation keeps 0.94 of it
_BIAS = 0.2  # grey levels; halves that go up are an eighth where quarters occur
_ZONE = 64  # output samples along the sides of a zone plate
_FAULTS = {  # how a caveat begins, and a table's word for it
    "not linear": "not linear",
    "not shift-invariant": "not shift-invariant",
    "not separable": "not separable",
    "mixes the channels": "mixes channels",
    "slides": "slides",
    "sits": "off its place",
    "delays": "delay depends on the frequency",
    "wraps around": "wraps around",
    "keeps": "changes constants",
    "darkens the rim": "darkens the rim",
    "fades at the ends": "fades at the ends",
    "brightens the rim": "brightens the rim",
    "swells at the ends": "swells at the ends",
    "constants become NaN": "NaN",
    "truncates": "truncates",
    "rounds up": "brightens",
    "changes a signal": "changes what stays",
    "of ": "depends on the length",
}
_AXES = {1: ("",), 2: (" down", " across"), 3: (" along D", " along H", " along W")}


@dataclass(frozen=True, repr=False, eq=False)
class Characteristics:
    """What a resampler does, from `characterise`.

    What has one number an axis is told of the axis where it is worst; ``along`` has those of each.
    """

    name: str
    reduction: tuple[float, ...]  #: that was asked for, for each axis
    dtype: str
    lengths: Shape  #: of the signals along each axis
    asked: Shape  #: the numbers of output samples that were asked for
    along: tuple[Weights, ...]  #: the weights along each axis
    linear: bool
    separable: bool | None  #: None along one axis, and where it is not linear
    nonlinearity: float  #: how far the answer to a sum is from the sum of the answers, as a share of it
    mixed: float | None  #: how far a channel changes with what is in the others; None if it does not, or has none
    transposed: float | None  #: the share of output samples that change if the axes are exchanged before and after
    rounding: str  #: of integers: how, and whether after each pass
    mean_error: float  #: in grey levels of integers, otherwise between 0 and 1
    constants: dict[float, tuple[float, float]]  #: the least and greatest output sample for some constants
    unresized: float | None  #: the greatest change of noise where the size stays; None if it cannot stay
    #: Where the size is doubled: shift and drift, in input samples, and the gain at a quarter of the Nyquist frequency.
    enlarging: tuple[float, float, float] | None
    several: tuple[dict[str, float], ...]  #: shift and stretch for several lengths
    zone: Numbers | None = None  #: its picture of a zone plate, or of a rising tone
    tones: Numbers | None = None  #: the gain of tones at `TONES`, where it is not linear

    @property
    def folded(self) -> float:
        """The share of white noise's energy above the new Nyquist frequency that folds (`Weights.folded`).

        Where the resampler is not linear, that of tones, equally many at each frequency.
        """
        if self.tones is not None:
            return float((self.tones[2 * self.reduction[-1] * TONES > 1] ** 2).mean())
        return max(weights.folded for weights in self.along)

    @property
    def worst(self) -> Weights:
        """The weights along the axis that folds most."""
        return max(self.along, key=lambda weights: weights.folded)

    def gain(self, frequency: ArrayLike, axis: int | None = None) -> Numbers:
        """The gain at frequencies in cycles per input sample, along an axis or the one that folds most."""
        if self.tones is not None:
            return np.asarray(np.interp(np.asarray(frequency, np.float64), TONES, self.tones))
        return (self.worst if axis is None else self.along[axis]).gain(frequency)

    @property
    def offset(self) -> Numbers:
        """How far each output sample of the middle half sits from its place, in input samples."""
        return max((weights.offset for weights in self.along), key=lambda offset: float(abs(offset).max()))

    @property
    def shift(self) -> float:
        """The offset in the centre, in input samples."""
        return max((weights.shift for weights in self.along), key=abs)

    @property
    def drift(self) -> float:
        """How far the content slides from the first output sample to the last, in input samples."""
        return max((weights.drift for weights in self.along), key=abs)

    @property
    def shift_invariant(self) -> bool | None:
        """Whether output samples of one phase have the same weights; None if it cannot be told."""
        found = [weights.shift_invariant for weights in self.along]
        return False if False in found else None if None in found else True

    @property
    def alike(self) -> bool | None:
        """Whether the axes have the same weights, to a hundredth of the largest; None if they are not asked alike."""
        if len(set(self.reduction)) > 1 or len(self.along) == 1:
            return None
        return all(
            one.matrix.shape == other.matrix.shape
            and float(abs(one.matrix - other.matrix).max())
            < max(one.tolerance, other.tolerance) + 0.01 * float(abs(one.matrix).max())
            for one, other in pairwise(self.along)
        )

    @property
    def constant(self) -> float:
        """What the middle half makes of the constant 1."""
        return max((weights.constant for weights in self.along), key=lambda constant: abs(constant - 1))

    @property
    def constant_error(self) -> float:
        """The greatest error of a constant as a share of it, at the ends too; NaN if a constant becomes NaN."""
        if any(math.isnan(least) for least, _ in self.constants.values()):
            return math.nan
        largest = max(self.constants)
        return max(abs(end - largest) for end in self.constants[largest]) / largest

    @property
    def overshoot(self) -> float:
        """How far the answer to a step goes beyond it, as a share of the step."""
        return max(weights.overshoot for weights in self.along)

    @property
    def caveats(self) -> list[str]:
        """What the numbers do not say, or what a user of the resampler should know, a sentence each."""
        weighed = [*self._of_places(), *self._of_weights()] if self.linear else []
        return [*self._of_kind(), *weighed, *self._of_constants(), *self._of_sizes()]

    @property
    def faults(self) -> list[str]:
        """The caveats in a word or two each, for a table."""
        said = self.caveats
        return [word for start, word in _FAULTS.items() if any(text.startswith(start) for text in said)]

    def row(self) -> dict[str, Any]:
        """The numbers in one row, by the names of a summary."""
        offset = self.offset
        return {
            "name": self.name,
            "reduction": pair(self.reduction),
            "dtype": self.dtype,
            "folded": self.folded,
            **{f"gain_{frequency:g}": float(self.gain(frequency)) for frequency in FREQUENCIES},
            "offset_low": float(offset.min()) if self.linear else None,
            "offset_high": float(offset.max()) if self.linear else None,
            "shift": self.shift if self.linear else None,
            "drift": self.drift if self.linear else None,
            "constant": self.constant,
            "constant_error": self.constant_error,
            "overshoot": self.overshoot,
            "rounding": self.rounding,
            "mean_error": self.mean_error,
            "linear": self.linear,
            "shift_invariant": self.shift_invariant,
            "separable": self.separable,
            "alike": self.alike,
        }

    def table(self) -> "pa.Table":
        """One row an output sample of each axis: its place, offset and the sum of its weights."""
        import pyarrow as pa

        rows = [
            {"axis": axis, "output": k, "place": place, "offset": offset, "sum": total}
            for axis, weights in enumerate(self.along)
            for k, (place, offset, total) in enumerate(zip(weights.places, weights.offsets, weights.sums, strict=True))
        ]
        return pa.Table.from_pylist([{key: _plain(value) for key, value in row.items()} for row in rows])

    def plot(self) -> "Figure":
        """The figure of `aliasing.plots.resampler`."""
        from aliasing import plots

        return plots.resampler(self)

    def __repr__(self) -> str:
        shown = {key: value for key, value in self.row().items() if value is not None}
        shown |= {key: round(value, 6) + 0.0 for key, value in shown.items() if isinstance(value, float)}
        lines = render([{"": key.replace("_", " "), " ": value} for key, value in shown.items()])
        return "\n".join([lines, *self.caveats])

    @property
    def _is_integer(self) -> bool:
        return np.dtype(self.dtype).kind in "iu"

    @property
    def _moved(self) -> float:
        """The least offset that is worth a word, in input samples, beyond what the noise of the weights explains."""
        return 0.05 if self._is_integer else 0.005

    def _of_kind(self) -> Iterator[str]:
        if not self.linear:
            yield (
                f"not linear: the answer to a sum is {rounded(self.nonlinearity, '.1%')} off the sum of the answers;"
                " its gain is that of tones"
            )
        if self.linear and self.shift_invariant is False:
            yield "not shift-invariant: output samples of one phase have different weights; the gain is their mean"
        if self.separable is False:
            yield "not separable: a picture is not what the weights along each axis make of it"
        if self.mixed:
            yield f"mixes the channels: one changes by up to {rounded(self.mixed, '.3g')} with what is in the others"
        if self.alike is False:
            yield "the axes are not treated alike"
        if self.transposed and "pass" in self.rounding:
            yield (
                f"{self.rounding}: if the axes are exchanged before and after, {rounded(self.transposed, '.0%')} of the"
                " samples change"
            )

    def _of_places(self) -> Iterator[str]:
        axes = zip(self.along, _AXES[len(self.along)], strict=True)
        for weights, along in [(self.along[0], "")] if self.alike else axes:
            shift, slope = weights.line
            of_shift, of_slope = (SURE * noise for noise in weights.line_noise)
            inner, last = middle(len(weights.offsets)), len(weights.offsets) - 1
            beside = (weights.offsets - shift - slope * (np.arange(last + 1) - last / 2))[inner]
            if abs(weights.drift) > 3 * self._moved + of_slope * last:
                yield (
                    f"slides{along} by {rounded(weights.drift, '.2g')} samples from end to end: the distance of output"
                    f" samples is {rounded(abs(weights.stretch), '.2%')} too {'long' if slope > 0 else 'short'}"
                )
            if abs(shift) > self._moved + of_shift:
                yield f"sits {rounded(shift, '+.3g')} samples off its place{along}"
            if np.ptp(beside) / 2 > self._moved + SURE * weights.offsets_noise[inner].max():
                half = rounded(np.ptp(beside) / 2, ".2g")
                yield f"offsets vary{along} by ±{half} samples from one output to the next"
            for end, unseen in zip(("beginning", "end"), weights.unseen_ends, strict=True):
                if unseen > weights.reduction:
                    yield f"the {unseen} samples at the {end}{along} are seen by no output"
            slow, fast = (share / (2 * weights.reduction) for share in (0.25, 0.75))
            late = weights.offset_at(fast) - weights.offset_at(slow)
            if abs(late) > _DISPERSED and weights.gain(fast) > 0.1:
                yield (
                    f"delays{along} fast content otherwise than slow: what has 3/4 of the new Nyquist frequency sits"
                    f" {rounded(late, '+.2g')} samples from what has 1/4 of it"
                )
            if weights.wraps:
                yield f"wraps around{along}: output samples at one end see the other"

    def _of_weights(self) -> Iterator[str]:
        if abs(self.constant - 1) > 0.004:
            yield f"keeps {rounded(self.constant, '.5g')} of a constant"
        rim = min(self.along, key=lambda weights: weights.rim)
        if rim.rim < 0.99:
            fades = "darkens the rim" if len(self.along) > 1 else "fades at the ends"
            yield f"{fades} to {rounded(max(rim.rim, 0), '.2f')} of a constant"
        elif max(weights.rim for weights in self.along) > 1.01:
            grows = "brightens the rim" if len(self.along) > 1 else "swells at the ends"
            yield f"{grows} to {rounded(max(weights.rim for weights in self.along), '.2f')} of a constant"

    def _of_constants(self) -> Iterator[str]:
        if any(math.isnan(least) for least, _ in self.constants.values()):
            yield "constants become NaN"
        if self.rounding.startswith("truncated") or self.mean_error < -_BIAS:
            yield f"truncates: it is darker by {rounded(-self.mean_error, '.2f')} grey levels on average"
        elif self.mean_error > _BIAS:
            yield f"rounds up: it is brighter by {rounded(self.mean_error, '.2f')} grey levels on average"
        if self._is_integer:
            for value, (least, greatest) in self.constants.items():
                if (least, greatest) != (value, value) and value <= 5:
                    yield f"a constant of {value:g} becomes {least:g}" + f" … {greatest:g}" * (least != greatest)

    def _of_sizes(self) -> Iterator[str]:
        for weights, asked, along in zip(self.along, self.asked, _AXES[len(self.along)], strict=True):
            if len(weights.matrix) != asked:
                yield f"makes {len(weights.matrix)} samples{along} where {asked} were asked for"
        if self.unresized is not None and self.unresized > (0 if self._is_integer else 1e-4):
            yield f"changes a signal whose size stays, by up to {rounded(self.unresized, '.3g')}"
        if self.enlarging is not None:
            shift, drift, gain = self.enlarging
            if max(abs(shift), abs(drift)) > 0.1:
                at, by = (rounded(one, "+.2f") for one in (shift, drift))
                yield f"when it enlarges by 2 it sits {at} samples off, and drifts by {by}"
            if gain < _DULL:
                kept = rounded(gain, ".2f")
                yield f"when it enlarges by 2 it keeps {kept} of a tone of a quarter of the Nyquist frequency"
        if self.linear:
            yield from self._of_lengths()

    def _of_lengths(self) -> Iterator[str]:
        """The length of the input at which the content sits and slides least as at the first."""
        usual, *others = self.several or [{}]
        off = {row["length"]: row["shift"] - usual["shift"] for row in others}
        slid = {row["length"]: (row["stretch"] - usual["stretch"]) * row["length"] for row in others}
        for length in sorted(off, key=lambda length: -abs(off[length]) - abs(slid[length]))[:1]:
            if abs(off[length]) > 0.3 or abs(slid[length]) > 1.5:
                yield (
                    f"of {length:g} samples instead of {usual['length']:g} it sits {rounded(off[length], '+.2f')}"
                    f" further off, and drifts by {rounded(slid[length], '+.1f')} more"
                )
        for row in [row for row in others if row["count"] != row["asked"] and usual["count"] == usual["asked"]][:1]:
            yield f"makes {row['count']:g} of {row['length']:g} samples where {row['asked']:g} were asked for"


def characterise(
    function: Callable[[Any, Shape], Any],
    reduction: float | Sequence[float],
    axes: int = 2,
    dtype: str = "uint8",
    *,
    channels: str | None = None,
    positions: str | Places = "areas",
    size: int | None = None,
    name: str = "",
) -> Characteristics:
    """Find what a resampler does: its gain, what it folds, where it puts its samples, and what becomes of constants.

    Parameters
    ----------
    function : callable
        ``function(array, shape)`` makes of an array another, of ``shape`` along its axes: wrap a library's call as
        ``lambda array, shape: cv2.resize(array, shape[::-1])``. A call that chooses the size itself ignores the shape:
        ``lambda array, shape: cv2.pyrDown(array)``.
    reduction : float or one for each axis
        By how much it reduces, above 1: input samples an output sample.
    axes : {2, 1, 3}
        Of the signals: 1 for sounds, 2 for pictures, 3 for volumes.
    dtype : str
        Of the signals: ``"uint8"``, of 0 to 255, or ``"float32"`` or ``"float64"``, of 0 to 1.
    channels : {None, "first", "last"}
        If given, the signals have three channels, which are equal, before or after the axes.
    positions : {"areas", "starts", "corners", "blocks", "steps"} or callable
        Where output sample *k* belongs, in input samples. ``"areas"``: samples are areas of equal extent,
        ``r·k + (r − 1)/2`` with *r* the ratio of the lengths. ``"starts"``: the first samples coincide, ``r·k``.
        ``"corners"``: the first coincide, and the last. ``"blocks"`` and ``"steps"``: as areas and starts, but *r* is
        the reduction whatever the lengths. Or the library's own places, ``positions(length, count)``.
    size : int, optional
        Samples of a signal along each axis; by default as many as the reduction divides and a wide kernel needs.
    name : str, optional
        What it is called; by default the name of the function.

    Returns
    -------
    Characteristics

    Raises
    ------
    UsageError
        If an argument makes no sense, or the function fails or gives no array of as many axes.

    Examples
    --------
    >>> found = characterise(lambda x, shape: x.reshape(shape[0], -1).mean(1), 4, axes=1, dtype="float64")
    >>> found.gain([0.125, 0.25]).round(3), round(abs(found.shift), 6), found.linear, found.shift_invariant
    (array([0.653, 0.   ]), 0.0, True, True)
    >>> found = characterise(lambda x, shape: x[::4, ::4], 4)
    >>> round(found.folded, 2), found.caveats[0]
    (1.0, 'sits −1.5 samples off its place')
    """
    if axes not in _COUNTS:
        raise UsageError(f"axes is {axes!r}; expected 1, 2 or 3")
    given: Any = reduction
    several: tuple[Any, ...] = tuple(given) if are_several(given) else (given,) * axes
    if len(several) != axes or not all(is_real(one) and 1 < one <= 64 for one in several):
        raise UsageError(f"reduction is a number above 1 and up to 64, or one for each axis; got {reduction!r}")
    if channels not in (None, "first", "last"):
        raise UsageError(f"channels is {channels!r}; expected None, 'first' or 'last'")
    if dtype not in ("uint8", "float32", "float64"):
        raise UsageError(f"dtype is {dtype!r}; expected 'uint8', 'float32' or 'float64'")
    probe = Probe(function, axes, np.dtype(dtype), channels)
    reductions = tuple(float(one) for one in several)
    belongs = [_convention(positions, one) for one in reductions]
    counts, lengths = _sizes(reductions, _COUNTS[axes], size)
    mixed = probing.mixing(probe, lengths, counts)
    probe = replace(probe, apart=mixed is not None and mixed <= (0 if probe.is_integer else 1e-5))
    few, short = (_BESIDE[axes],) * axes, tuple(round(_BESIDE[axes] * one) for one in reductions)
    along = [
        probing.weights_along(probe, axis, _at(axis, lengths, short), _at(axis, counts, few), reductions[axis], places)
        for axis, places in enumerate(belongs)
    ]
    error, share = probing.nonlinearity(probe, lengths, counts)
    linear = error < 1.0 if probe.is_integer else share < 1e-3
    told, mean_error = ("not told" if probe.is_integer else "none"), 0.0
    if probe.is_integer and linear:
        told, mean_error = probing.rounding(probe, along, lengths, counts)
    return Characteristics(
        name=name or getattr(function, "__name__", type(function).__name__),
        reduction=reductions,
        dtype=dtype,
        lengths=lengths,
        asked=counts,
        along=tuple(along),
        linear=linear,
        separable=_is_separable(probe, along, lengths, counts) if linear and axes > 1 else None,
        nonlinearity=share,
        mixed=None if mixed is None or probe.apart else mixed,
        transposed=_transposed(probe, lengths, counts),
        rounding=told,
        mean_error=mean_error,
        constants=probing.constants(probe, lengths, counts),
        unresized=_unresized(probe, _at(-1, lengths, short)),
        enlarging=_enlarging(probe, positions),
        several=tuple(_several(probe, _at(-1, lengths, short), _at(-1, counts, few), reductions[-1], belongs[-1])),
        zone=_zone(probe, reductions),
        tones=None if linear else probing.tone_gains(probe, lengths, counts, TONES),
    )


def _at(axis: int, there: Shape, elsewhere: Shape) -> Shape:
    """Sizes: those of ``there`` along an axis, and those of ``elsewhere`` along the others."""
    axis %= len(there)
    return (*elsewhere[:axis], there[axis], *elsewhere[axis + 1 :])


def _sizes(reductions: Sequence[float], count: int, size: int | None) -> tuple[Shape, Shape]:
    """Numbers of output samples along each axis, and lengths of the input that the reductions divide if they can."""
    if size is not None:
        counts = tuple(round(size / one) for one in reductions)
        if min(counts) < 4:
            raise UsageError(f"size is {size}; expected at least four times the reduction")
        return counts, (size,) * len(reductions)
    phases = [Fraction(one).limit_denominator(64).denominator for one in reductions]
    counts = tuple(-(-count // phase) * phase if phase <= 2 * count else count for phase in phases)
    return counts, tuple(round(one * reduction) for one, reduction in zip(counts, reductions, strict=True))


def _convention(positions: str | Places, reduction: float | None = None) -> Places:
    """Where output samples belong, as a function of the numbers of input and output samples."""
    ways: dict[Any, Places] = {
        "areas": lambda length, count: (np.arange(count) + 0.5) * (length / count) - 0.5,
        "blocks": lambda length, count: (np.arange(count) + 0.5) * (reduction or length / count) - 0.5,
        "starts": lambda length, count: np.arange(count) * (length / count),
        "steps": lambda length, count: np.arange(count) * (reduction or length / count),
        "corners": lambda length, count: np.arange(count) * ((length - 1) / max(count - 1, 1)),
    }
    if callable(positions):
        return positions
    if positions not in ways:
        raise UsageError(f"positions is {positions!r}; expected one of {', '.join(CONVENTIONS)}, or a function")
    return ways[positions]


def _is_separable(probe: Probe, along: Sequence[Weights], lengths: Shape, counts: Shape) -> bool | None:
    """Whether noise becomes what the weights along each axis make of it."""
    noise = np.random.default_rng(3).uniform(-1, 1, lengths) * probe.amplitude / 2
    noise = np.rint(noise) if probe.is_integer else noise
    grey = np.full(lengths, probe.pedestal)
    answer = probe(grey + noise, counts) - probe(grey, counts)
    expected = probing.predicted(noise, along, range(len(along)))
    if answer.shape != expected.shape:
        return None
    off = float(np.sqrt(((answer - expected) ** 2).mean()))
    return off < (1.0 if probe.is_integer else 1e-3 * max(float(answer.std()), 1e-12))


def _transposed(probe: Probe, lengths: Shape, counts: Shape) -> float | None:
    if len(lengths) == 1 or lengths[-1] != lengths[-2] or counts[-1] != counts[-2]:
        return None
    noise = probe.pedestal + probe.amplitude * np.random.default_rng(4).uniform(-1, 1, lengths)
    exchanged = probe(np.rint(noise).swapaxes(-1, -2) if probe.is_integer else noise.swapaxes(-1, -2), counts)
    answer = probe(noise, counts)
    if answer.shape != exchanged.swapaxes(-1, -2).shape:
        return None
    return float((abs(answer - exchanged.swapaxes(-1, -2)) > (0 if probe.is_integer else 1e-5)).mean())


def _unresized(probe: Probe, lengths: Shape) -> float | None:
    """The greatest change of noise where the size stays; None if the resampler cannot be asked that."""
    noise = probe.pedestal + probe.amplitude * np.random.default_rng(5).uniform(-1, 1, lengths)
    noise = np.rint(noise) if probe.is_integer else noise
    with suppress(UsageError):
        answer = probe(noise, lengths)
        return float(abs(answer - noise).max()) if answer.shape == noise.shape else None
    return None


def _enlarging(probe: Probe, positions: str | Places) -> tuple[float, float, float] | None:
    """Where the size is doubled the shift and the drift, in input samples, and the gain; None if it cannot be."""
    lengths = (*(_BESIDE[probe.axes],) * (probe.axes - 1), _ENLARGED)
    counts = tuple(2 * one for one in lengths)
    with suppress(UsageError):
        if probe(np.full(lengths, probe.pedestal), counts).shape != counts:
            return None
        belongs = _convention(positions)
        found, gain = probing.places(probe, probe.axes - 1, lengths, counts, belongs)
        shift, slope = line_through(found - belongs(lengths[-1], counts[-1]))
        return shift, slope * counts[-1], gain
    return None


def _several(probe: Probe, lengths: Shape, counts: Shape, reduction: float, belongs: Places) -> list[dict[str, float]]:
    """Shift and stretch along the last axis for lengths that the reduction divides and lengths that it does not."""
    tried = [lengths[-1] + more for more in (0, 1, 2, 3)]
    asked = [(*counts[:-1], round(length / reduction)) for length in tried]
    with suppress(UsageError):
        return probing.lengths_apart(probe, probe.axes - 1, lengths, asked, tried, belongs)
    return []


def _zone(probe: Probe, reductions: Sequence[float]) -> Numbers | None:
    """A zone plate, or a tone that rises, to the Nyquist frequency at the edge; None for volumes."""
    if probe.axes == 3:
        return None
    lengths = tuple(round(_ZONE * one) for one in reductions)
    radius = [length / 2 for length in lengths] if probe.axes == 2 else [float(lengths[0])]
    squares = [
        ((np.arange(length) + 0.5 - (length / 2 if probe.axes == 2 else 0)) ** 2) / half
        for length, half in zip(lengths, radius, strict=True)
    ]
    turns = np.pi / 2 * (squares[0] if probe.axes == 1 else np.add.outer(*squares))
    with suppress(UsageError):
        return (probe(probe.pedestal + probe.amplitude * np.cos(turns), (_ZONE,) * probe.axes) - probe.pedestal) / (
            probe.amplitude
        )
    return None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value if isinstance(value, int) else float(value)
