"""What is shown to a resampler to find out what it does: random signs, constants, noise and tones.

The weights along an axis are the least-squares solution for signals of random signs about a mid-grey, constant along
the other axes. Every weight is at work in every signal, so the rounding of integers averages out by the square root of
their number, as it would not with impulses; and whatever is far away is found too. Integers are dithered, by the same
noise in every signal: what is rounded then differs from line to line, and the mean of several lines is known better.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aliasing.errors import UsageError, first_line
from aliasing.resamplers.weights import REACH, Numbers, Weights, middle, rms
from aliasing.rounding import rounded

__all__ = [
    "Places",
    "Probe",
    "Shape",
    "constants",
    "lengths_apart",
    "mixing",
    "nonlinearity",
    "places",
    "predicted",
    "rounding",
    "tone_gains",
    "weights_along",
]

Shape = tuple[int, ...]
Places = Callable[[int, int], Numbers]

_CHANNELS = 3
_DITHER = 8  # grey levels
_MODES: dict[str, Callable[[Numbers], Numbers]] = {
    "to the nearest, half to even": np.rint,
    "to the nearest, half up": lambda values: np.floor(values + 0.5),
    "truncated": np.floor,
    "upwards": np.ceil,
}


@dataclass(frozen=True)
class Probe:
    """A resampler, and how it takes a signal."""

    function: Callable[[Any, Shape], Any]  #: of an array and the shape of the output along the axes
    axes: int
    dtype: np.dtype[Any]
    channels: str | None = None  #: "first" or "last"; None if it takes none
    apart: bool = False  #: whether no channel depends on the others, so that each may hold a signal of its own

    @property
    def is_integer(self) -> bool:
        """Whether signals are whole grey levels from 0 to 255, and not numbers from 0 to 1."""
        return bool(self.dtype.kind in "iu")

    @property
    def pedestal(self) -> float:
        """Mid-grey."""
        return 128 if self.is_integer else 0.5

    @property
    def amplitude(self) -> float:
        """How far signals depart from mid-grey: a kernel may overshoot by as much without being clipped."""
        return 60 if self.is_integer else 0.3

    def __call__(self, signal: NDArray[Any], shape: Shape) -> Numbers:
        """What the resampler makes of a signal, as float64 and without channels; UsageError if it is none."""
        return self._made([signal] * _CHANNELS, shape)[0] if self.channels else self._made([signal], shape)[0]

    def each(self, signals: Iterable[NDArray[Any]], shape: Shape) -> Iterator[Numbers]:
        """What it makes of several signals: three at once if channels are apart, since a call may take long."""
        left = iter(signals)
        while several := tuple(islice(left, _CHANNELS if self.apart else 1)):
            whole = (several * _CHANNELS)[:_CHANNELS] if self.channels else several
            yield from self._made(whole, shape)[: len(several)]

    def _made(self, signals: Sequence[NDArray[Any]], shape: Shape) -> list[Numbers]:
        """What it makes of as many signals as there are channels, or of one."""
        place = 0 if self.channels == "first" else -1
        given = np.stack(signals, place) if self.channels else signals[0]
        given = np.ascontiguousarray((np.rint(given) if self.is_integer else given).astype(self.dtype))
        try:
            answer = np.asarray(self.function(given, shape))
        except UsageError:
            raise
        except Exception as error:  # whatever the caller's function raises
            raise UsageError(
                f"the resampler failed on an array of shape {given.shape}, {self.dtype}, to be {shape}:"
                f" {type(error).__name__}: {first_line(error)}"
            ) from error
        if answer.ndim != given.ndim or 0 in answer.shape:
            layout = f", and channels {self.channels}" if self.channels else ""
            raise UsageError(
                f"the resampler made an array of shape {answer.shape} of one of shape {given.shape}; expected"
                f" {self.axes} axes{layout}"
            )
        return [*np.moveaxis(answer.astype(np.float64), place, 0)] if self.channels else [answer.astype(np.float64)]


def mixing(probe: Probe, lengths: Shape, counts: Shape) -> float | None:
    """How far a channel is changed by what is in the others, at most; None if there are no channels."""
    if not probe.channels:
        return None
    random = np.random.default_rng(6)
    several = [probe.pedestal + probe.amplitude * random.uniform(-1, 1, lengths) for _ in range(_CHANNELS)]
    together, alone = (list(one.each(several, counts)) for one in (replace(probe, apart=True), probe))
    return float(np.abs(np.subtract(together, alone)).max())


def weights_along(probe: Probe, axis: int, lengths: Shape, counts: Shape, reduction: float, belongs: Places) -> Weights:
    """The weights along an axis, from signals that differ along it only."""
    length = lengths[axis]
    unknown = length + 1  # the weights, and what becomes of mid-grey
    random = np.random.default_rng(0)
    grey, rows = np.full(lengths, probe.pedestal), unknown + unknown // 4
    if probe.is_integer:  # only integers have noise to average
        rows = 4 * unknown if probe.axes == 1 else 2 * unknown
        grey = grey + (probe.axes > 1) * random.integers(-_DITHER, _DITHER + 1, lengths)
    signs = random.choice([-1.0, 1.0], (rows, unknown))
    if probe.is_integer:  # of several heights, or the sums of a few would be rounded alike in all signals
        signs = np.rint(probe.amplitude * signs * random.uniform(0.75, 1, signs.shape)) / probe.amplitude
    signs[:, 0] = 1
    signals = (grey + _along(probe.amplitude * row, axis, lengths) for row in signs[:, 1:])
    answers = np.array([_central(answer, axis) for answer in probe.each(signals, counts)])
    if not np.isfinite(answers).all():
        raise UsageError("the resampler makes numbers that are not finite of a signal that is")
    # The normal equations: of random signs they are as good, and an order faster than a singular value decomposition.
    fitted = np.linalg.solve(signs.T @ signs, signs.T @ answers)
    left = np.sqrt(((answers - signs @ fitted) ** 2).sum(0) / (rows - unknown))  # of an answer, for each output sample
    noise = left / np.sqrt(rows - unknown) / rms(signs[:, 1:])
    matrix = fitted[1:].T / probe.amplitude
    return Weights(matrix, reduction, belongs(length, len(matrix)), noise / probe.amplitude)


def places(probe: Probe, axis: int, lengths: Shape, counts: Shape, expected: Places) -> tuple[Numbers, float]:
    """Where output samples sit, by the phase of a tone at a quarter of the new Nyquist frequency, or of 1/2; its gain.

    The gain is the mean of the middle half.
    """
    length = lengths[axis]
    cycles = max(1, round(min(counts[axis], length) / 8))
    turns = 2 * np.pi * cycles / length * np.arange(length)
    answers: list[Numbers] = []
    for wave in (np.cos(turns), np.sin(turns)):
        high, low = (
            _centre(probe(_along(probe.pedestal + sign * probe.amplitude * wave, axis, lengths), counts), axis)
            for sign in (1, -1)
        )
        answers.append(high - low)
    tone = (answers[0] + 1j * answers[1]) / (2 * probe.amplitude)
    period = length / cycles
    found = np.unwrap(np.angle(tone)) / (2 * np.pi) * period
    wanted = expected(length, len(found))
    here = len(found) // 2
    found = found - period * np.round((found[here] - wanted[here]) / period)
    return found, float(abs(tone[middle(len(tone))]).mean())


def lengths_apart(
    probe: Probe, axis: int, lengths: Shape, counts: Sequence[Shape], tried: Sequence[int], expected: Places
) -> list[dict[str, float]]:
    """The shift and the stretch of the content for several lengths of the input."""
    rows = []
    for length, count in zip(tried, counts, strict=True):
        there = tuple(length if index == axis else one for index, one in enumerate(lengths))
        found, _gain = places(probe, axis, there, count, expected)
        wanted = expected(length, len(found))
        inner = max(len(found) // 8, 2)
        off = (found - wanted)[inner:-inner]
        quarter = max(len(off) // 4, 1)  # whose mean forgives that a kernel of few samples jumps by one
        slope = (off[-quarter:].mean() - off[:quarter].mean()) / max(len(off) - quarter, 1)
        shift, step = float(off.mean()), float(wanted[1] - wanted[0]) if len(wanted) > 1 else 1.0
        rows.append(
            {"length": length, "asked": count[axis], "count": len(found), "shift": shift, "stretch": slope / step}
        )
    return rows


def nonlinearity(probe: Probe, lengths: Shape, counts: Shape) -> tuple[float, float]:
    """How far the answer to a sum of two signals is from the sum of the answers: root mean square, and as a share."""
    random = np.random.default_rng(1)
    one, other = (probe.amplitude / 2 * random.uniform(-1, 1, lengths) for _ in range(2))
    if probe.is_integer:
        one, other = np.rint(one), np.rint(other)
    grey = np.full(lengths, probe.pedestal)
    still, first, second, both = (probe(grey + signal, counts) for signal in (0 * one, one, other, one + other))
    error = rms(both - first - second + still)
    return error, error / max(rms(both - still), 1e-12)


def predicted(signal: Numbers, along: Sequence[Weights], order: Sequence[int], each: Any = None) -> Numbers:
    """What separable weights make of a signal, one axis after another; ``each`` is done after every pass."""
    for axis in order:
        signal = np.moveaxis(np.tensordot(along[axis].told, signal, (1, axis)), 0, axis)
        signal = signal if each is None else each(signal)
    return signal


def constants(probe: Probe, lengths: Shape, counts: Shape) -> dict[float, tuple[float, float]]:
    """The least and the greatest output sample for some constants."""
    tried = (0, 1, 2, 5, 100, 255) if probe.is_integer else (0.0, 1.0)
    answers = {value: probe(np.full(lengths, value, float), counts) for value in tried}
    return {value: (float(answer.min()), float(answer.max())) for value, answer in answers.items()}


def rounding(probe: Probe, along: Sequence[Weights], lengths: Shape, counts: Shape) -> tuple[str, float]:
    """How an integer output is rounded, and its mean error in grey levels.

    Noise of eight grey levels is predicted from the weights and rounded in every way: once, or after each pass in each
    order. At eight levels the weights' own noise moves a prediction by some thousandths.
    """
    noise = np.random.default_rng(2).integers(-4, 4, lengths).astype(np.float64)
    answer = probe(probe.pedestal + noise, counts) - probe.pedestal  # which is even, so that halves stay what they are
    orders = list(permutations(range(len(along))))
    unsure = 3 * rms(noise) * math.sqrt(sum(rms(one.sums_noise) ** 2 for one in along))  # standard deviations
    exact = _snapped(predicted(noise, along, orders[0]), unsure)
    error = float((answer - exact).mean())
    if not np.array_equal(answer, np.rint(answer)):
        return "none", error
    shares = {mode: float((way(exact) == answer).mean()) for mode, way in _MODES.items()}
    if len(along) > 1:
        for mode, way in _MODES.items():
            for order in orders:
                guess = predicted(noise, along, order, lambda values, way=way: way(_snapped(values, unsure)))
                first = f"{mode}, after each pass, axis {order[0]} first"
                shares[first] = max(shares.get(first, 0.0), float((guess == answer).mean()))
    # Of ways that tie but for noise the first: halves go up, and not all that is above a whole number.
    best = next(name for name in shares if shares[name] > max(shares.values()) - 0.01)
    if shares[best] < 0.9 or unsure > 0.1:
        return "not told", error
    up, even = best.replace("half to even", "half up"), best.replace("half up", "half to even")
    once = predicted(noise, along, orders[0][:1])
    halves = float((abs(once % 1 - 0.5) < unsure).mean()) - 2 * unsure  # more than near any other number
    told = shares[best] > 0.97 and halves > 0.05 and abs(shares[up] - shares[even]) > 0.005
    but = f", but for {rounded(100 * (1 - shares[best]), '.0f')}%" if shares[best] < 0.95 else ""
    return (best if told else up.replace(", half up", "")) + but, error


def tone_gains(probe: Probe, lengths: Shape, counts: Shape, frequencies: Numbers) -> Numbers:
    """The root mean square of what becomes of tones along the last axis, divided by the tone's, over four phases."""
    found = np.zeros(len(frequencies))
    still = probe(
        np.full(lengths, probe.pedestal), counts
    )  # and not the mean, because a tone may fold to the frequency 0
    for phase in np.arange(4) * np.pi / 4:
        turns = 2 * np.pi * frequencies[:, None] * np.arange(lengths[-1]) + phase
        for index, wave in enumerate(np.cos(turns)):
            answer = probe(_along(probe.pedestal + probe.amplitude * wave, len(lengths) - 1, lengths), counts)
            kept = _centre(answer - still, len(lengths) - 1)[middle(answer.shape[-1])]
            found[index] += (kept**2).mean() / (probe.amplitude**2 / 2) / 4
    return np.sqrt(found)


def _snapped(values: Numbers, unsure: float) -> Numbers:
    """Values at a half or a whole number, which the noise of the weights would move to either side of it."""
    halves = np.round(2 * values) / 2
    return np.where(abs(values - halves) < unsure, halves, values)


def _along(signal: Numbers, axis: int, lengths: Shape) -> Numbers:
    shape = [1] * len(lengths)
    shape[axis] = -1
    return np.broadcast_to(signal.reshape(shape), lengths)


def _centre(answer: Numbers, axis: int) -> Numbers:
    """The samples along an axis, in the middle of the others."""
    return answer[tuple(slice(None) if index == axis else size // 2 for index, size in enumerate(answer.shape))]


def _central(answer: Numbers, axis: int) -> Numbers:
    """The samples along an axis, their mean over the lines from which a kernel of six outputs sees no end."""
    inner = tuple(
        slice(None) if index == axis else slice(min(REACH, size // 2), max(size - REACH, size // 2 + 1))
        for index, size in enumerate(answer.shape)
    )
    return np.asarray(answer[inner].mean(tuple(index for index in range(answer.ndim) if index != axis)))
