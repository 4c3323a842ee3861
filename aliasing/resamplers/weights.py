r"""The weights with which a linear resampler makes its output samples along one axis, and what follows from them.

An output sample is a weighted sum of input samples, :math:`y_k = \sum_i w_{ki} x_i`. From the matrix *w* follow

.. math:: |H_k(f)| = \Bigl| \sum_i w_{ki} e^{-2 \pi i f i} \Bigr|, \qquad
          \text{offset}_k = \frac{\sum_i i \, w_{ki}}{\sum_i w_{ki}} - p_k,

its gain at *f* cycles per input sample and how far it sits from the place :math:`p_k` where it belongs, in input
samples; and what becomes of constants, of edges and of the ends. Samples of the middle half of the output stand for the
resampler, because those near the ends depend on what it takes to lie beyond them.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["REACH", "SURE", "Weights", "line_through", "middle", "rms"]

Numbers: TypeAlias = NDArray[np.floating[Any]]

_ROUNDING = 2e-6  # of weights in float32
SURE = 6  # standard deviations: by chance one weight in 5e8 is as far out, and a matrix has some 1e5
REACH = 3  # outputs from either end that a kernel of six outputs, a widened Lanczos-3, does not leave


def middle(count: int) -> slice:
    """The middle half of some samples, at least one.

    Examples
    --------
    >>> middle(16), middle(2)
    (slice(4, 12, None), slice(0, 2, None))
    """
    return slice(count // 4, max(count - count // 4, count // 4 + 1))


def line_through(offsets: Numbers, period: int = 1) -> tuple[float, float]:
    """The line through the offsets of the middle half: its value in the centre, and its slope per output sample.

    The slope compares samples of one phase, of which there are ``period``, because those of others may sit elsewhere.

    Examples
    --------
    >>> line_through(np.array([0.0, 1, 0, 1, 0, 1, 0, 1]), period=2)
    (0.5, 0.0)
    """
    inner = offsets[middle(len(offsets))]
    lag = max(len(inner) // 2 // period, 1) * period
    slope = (inner[lag:] - inner[:-lag]).mean() / lag if lag < len(inner) else 0.0
    return float(inner.mean()), float(slope)


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of every output sample along one axis.

    Examples
    --------
    Means of four samples: they fold 7 % of what is above the new Nyquist frequency, and sit in their place.

    >>> means = np.kron(np.eye(16), np.ones(4) / 4)
    >>> found = Weights(means, 4, 4 * np.arange(16) + 1.5)
    >>> found.gain([0, 0.125, 0.25]).round(3), round(found.folded, 4), found.shift, found.shift_invariant
    (array([1.   , 0.653, 0.   ]), 0.0719, 0.0, True)
    """

    matrix: Numbers  #: output × input
    reduction: float  #: that was asked for: input samples an output sample
    places: Numbers  #: where each output sample belongs, in input samples
    #: The standard deviation of a weight, for each output sample; integers have one because they are rounded.
    noise: Numbers | float = 0.0

    @property
    def tolerance(self) -> float:
        """The size of weights that cannot be told from none."""
        return SURE * float(np.max(self.noise)) + _ROUNDING

    @cached_property
    def told(self) -> Numbers:
        """The matrix without weights that noise explains, beyond the outermost of those that it does not."""
        return np.asarray(self.matrix * self._is_told)

    @cached_property
    def sums(self) -> Numbers:
        """What each output sample makes of the constant 1."""
        return np.asarray(self.told.sum(1))

    @cached_property
    def sums_noise(self) -> Numbers:
        """The standard deviation of those."""
        return np.asarray(self.noise * np.sqrt(self._is_told.sum(1)))

    @cached_property
    def offsets(self) -> Numbers:
        """How far each output sample sits from its place, in input samples; NaN where its weights sum to nothing."""
        sums = np.where(abs(self.sums) > 1e-3, self.sums, np.nan)
        if self._is_far:  # its distant weights would swamp the sum; the phase of a slow tone is as good
            turned = (self.matrix * np.exp(1j * self._turn * self._distances)).sum(1)
            return np.asarray(np.where(np.isnan(sums), np.nan, np.angle(turned * np.sign(sums))) / self._turn)
        return np.asarray((self.told * self._distances).sum(1) / sums)

    @cached_property
    def offsets_noise(self) -> Numbers:
        r"""The standard deviation of those: of a weight, times :math:`\sqrt{\sum_i (i - p_k)^2} / \sum_i w_{ki}`."""
        levers = np.sin(self._turn * self._distances) / self._turn if self._is_far else self._is_told * self._distances
        sums = np.where(abs(self.sums) > 1e-3, abs(self.sums), np.nan)
        return np.asarray(self.noise * np.sqrt((levers**2).sum(1)) / sums)

    @property
    def offset(self) -> Numbers:
        """Those of the middle half."""
        return self.offsets[middle(len(self.offsets))]

    def offset_at(self, frequency: float) -> float:
        r"""How far off its place what has a frequency, in cycles per input sample, sits: the mean of the middle half.

        .. math:: \frac{1}{2 \pi f} \arg \sum_i w_{ki} e^{2 \\pi i f (i - p_k)}

        The phase is followed from the frequency 0.
        """
        inner = middle(len(self.matrix))
        inputs = np.arange(self.matrix.shape[1]) - self.places[inner, None]
        turns = 2 * np.pi * frequency * np.linspace(0, 1, 33)[:, None, None] * inputs
        phase = np.unwrap(np.angle((self.matrix[inner] * np.exp(1j * turns)).sum(-1)), axis=0)[-1]
        return float((phase / (2 * np.pi * frequency)).mean())

    @property
    def line(self) -> tuple[float, float]:
        """The line through the offsets of the middle half: in the centre, and its slope per output sample."""
        return line_through(self.offsets, self._step.denominator)

    @property
    def line_noise(self) -> tuple[float, float]:
        """The standard deviations of the line's two numbers, which are linear in the offsets."""
        units = np.eye(len(self.offsets))
        shares = np.array([line_through(unit, self._step.denominator) for unit in units])
        shift, slope = np.sqrt(np.nansum((shares.T * self.offsets_noise) ** 2, 1))
        return float(shift), float(slope)

    @property
    def shift(self) -> float:
        """The offset in the centre, in input samples."""
        return self.line[0]

    @property
    def stretch(self) -> float:
        """By how much the distance of output samples is too long, as a share of it: 0.01 for one per cent."""
        return self.line[1] / self.reduction

    @property
    def drift(self) -> float:
        """How far the content slides from the first output sample to the last, in input samples."""
        return self.stretch * self.reduction * (len(self.offsets) - 1)

    @cached_property
    def shift_invariant(self) -> bool | None:
        """Whether output samples of one phase have the same weights, to a hundredth of the largest.

        None if there are no two of one phase.
        """
        for outputs in (range(len(self.matrix))[middle(len(self.matrix))], self._within_reach):
            several = [rows for rows in self._phases(outputs) if len(rows) > 1]
            if several:
                apart = max(float(abs(rows - rows.mean(0)).max()) for rows in several)
                return apart < self.tolerance + 1e-2 * float(abs(self.matrix).max())
        return None

    @cached_property
    def kernels(self) -> Numbers:
        """The weights of output samples of the middle half: one of each phase if the resampler is shift-invariant.

        Those of one phase are then averaged, which leaves less of the rounding of integers.
        """
        inner = range(len(self.matrix))[middle(len(self.matrix))]
        if not self.shift_invariant:
            return self.matrix[inner.start : inner.stop]
        phases = self._phases(inner)
        means = np.array([rows.mean(0) for rows in phases])
        noise = np.broadcast_to(self.noise, len(self.matrix))[inner.start : inner.stop]
        of_means = [rms(noise[first :: len(phases)]) / math.sqrt(len(rows)) for first, rows in enumerate(phases)]
        return np.asarray(means * _are_told(means, np.array(of_means)))

    def gain(self, frequency: ArrayLike) -> Numbers:
        """The modulus of the weights' Fourier transform, its mean over output samples.

        ``frequency`` is in cycles per input sample, of any shape.
        """
        frequency = np.asarray(frequency, np.float64)
        turns = np.exp(-2j * np.pi * frequency[..., None] * np.arange(self.matrix.shape[1]))
        return np.asarray(abs(turns @ self.kernels.T).mean(-1))

    @cached_property
    def folded(self) -> float:
        r"""The share of white noise's energy above the new Nyquist frequency that passes, and folds.

        .. math:: \frac{2}{1 - 1/r} \int_{1/(2r)}^{1/2} |H(f)|^2 df

        It is 1 if every sample is one of the input, 0 behind an ideal low-pass, and 0 where nothing is reduced.
        """
        if self.reduction <= 1:
            return 0.0
        lags = np.subtract.outer(*2 * [np.arange(self.matrix.shape[1])])
        below = np.sinc(lags / self.reduction) / self.reduction  # ∫ cos(2πkf) over |f| < 1/(2r)
        energy = (self.kernels**2).sum(1) - ((self.kernels @ below) * self.kernels).sum(1)
        return float(max(energy.mean(), 0.0) / (1 - 1 / self.reduction))

    @property
    def constant(self) -> float:
        """What the middle half makes of the constant 1."""
        return float(self.sums[middle(len(self.sums))].mean())

    @property
    def rim(self) -> float:
        """The sum of the weights that is furthest from that of the middle, divided by it."""
        return float(self.sums[abs(self.sums - self.constant).argmax()] / (self.constant or np.nan))

    @property
    def overshoot(self) -> float:
        """How far the answer to a step goes beyond it, as a share of the step."""
        steps = self.kernels.cumsum(1)
        return float(max((steps - steps[:, -1:]).max(), -steps.min(), 0.0))

    @property
    def unseen(self) -> float:
        """The share of the input samples that have no weight in any output sample."""
        return float(self._is_unseen.mean())

    @property
    def unseen_ends(self) -> tuple[int, int]:
        """How many input samples at either end have no weight."""
        seen = np.flatnonzero(~self._is_unseen)
        return (int(seen[0]), int(self.matrix.shape[1] - 1 - seen[-1])) if len(seen) else (self.matrix.shape[1], 0)

    @property
    def wraps(self) -> bool:
        """Whether the first output sample sees the end of the input, or the last its beginning."""
        far = self.matrix.shape[1] // 8
        return bool(max(abs(self.matrix[0, -far:]).max(), abs(self.matrix[-1, :far]).max()) > 1e-3 + self.tolerance)

    @property
    def _is_long(self) -> bool:
        """Whether weights of the middle half reach the ends of the input."""
        ends = self.matrix[middle(len(self.matrix))][:, [0, 1, -2, -1]]
        return bool(abs(ends).max() > self.tolerance + 1e-5 * abs(self.matrix).max())

    @property
    def _is_unseen(self) -> NDArray[np.bool_]:
        return np.asarray(abs(self.matrix).max(0) < self.tolerance)

    @property
    def _is_far(self) -> bool:
        return bool(self.wraps or self._is_long)

    @property
    def _turn(self) -> float:
        """A quarter of the new Nyquist frequency, or near it a whole number of cycles, in radians."""
        length: int = self.matrix.shape[1]
        return 2 * math.pi * max(round(length / (8 * self.reduction)), 1) / length

    @property
    def _distances(self) -> Numbers:
        """Of the input samples from where each output sample belongs: about that place less cancels in a sum."""
        return np.asarray(np.arange(self.matrix.shape[1]) - self.places[:, None])

    @cached_property
    def _is_told(self) -> NDArray[np.bool_]:
        return _are_told(self.matrix, np.broadcast_to(self.noise, len(self.matrix)))

    @property
    def _within_reach(self) -> range:
        return range(REACH, len(self.matrix) - REACH)

    @property
    def _step(self) -> Fraction:
        return Fraction(self.reduction).limit_denominator(64)

    def _phases(self, outputs: range) -> list[Numbers]:
        """The weights of those output samples, by phase, moved so that those of one phase coincide."""
        step, found = self._step, []
        for first in outputs[: step.denominator]:
            rows = range(first, outputs.stop, step.denominator)
            moved = [np.roll(self.matrix[row], -turn * step.numerator) for turn, row in enumerate(rows)]
            found.append(np.array(moved))
        return found


def _are_told(rows: Numbers, noise: Numbers) -> NDArray[np.bool_]:
    """The weights that noise does not explain, with all between the outermost of a row and two beyond."""
    if np.max(noise) < _ROUNDING:
        return np.ones(rows.shape, bool)
    found = np.zeros(rows.shape, bool)
    for row, told, one in zip(rows, found, noise, strict=True):
        sure = np.flatnonzero(abs(row) > SURE * one)
        if len(sure):
            told[max(sure[0] - 2, 0) : sure[-1] + 3] = True
    return found


def rms(values: Numbers) -> float:
    """The root mean square."""
    return float(np.sqrt((values**2).mean()))
