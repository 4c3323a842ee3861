"""Comparing downsampling operators on one signal: what each aliases, and how much of the baseband it keeps.

Every operator is applied densely, at stride 1 with circular padding, so that its output has the size of the signal and
the subsampling then folds it (`aliasing.sampling.decompose`). The signal is made periodic first
(`aliasing.spectrum.periodic`), because the jump between its opposite ends is not part of it.

An operator that blurs more aliases less. So each is compared with the Gaussian low-pass that keeps the same share of
the baseband: what that aliases is the price of this much blur.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aliasing import downsample, sampling, spectrum
from aliasing.axes import PerAxis, per_axis, whole
from aliasing.downsample.operator import Operator
from aliasing.errors import InputError, UsageError
from aliasing.filters import TapsLike, taps_per_axis
from aliasing.kinds import OPERATORS
from aliasing.tables import pair

# Rec. 709 luma, from the stored values.
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

DEFAULT_TAPS = "binomial4"

# A share of what is not there says nothing: of so little of the signal's energy, none is given.
_LEAST = 1e-4
_ROUNDING = 1e-24  # the squares of float64's rounding, 2^-53, of sums of some hundreds of terms along three axes

Picture = NDArray[np.float64]
Steps: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """What one operator does to one signal; the shares are as in `aliasing.sampling.decompose`, over all channels."""

    operator: str
    label: str  #: in a figure
    dense: Picture  #: the output before subsampling
    samples: Picture
    baseband: Picture  #: the part of the samples strictly below the new Nyquist frequency
    alias: Picture  #: the rest
    alias_fraction: float
    baseband_kept: float  #: NaN if the signal has next to nothing there, such as a single high tone
    gaussian_alias_fraction: float  #: `gaussian_alias_fraction` at this ``baseband_kept``
    above_kept: float  #: energy above the new Nyquist frequency, which folds ÷ that of the signal; NaN if it has none


def prepare(pixels: NDArray[np.uint8], stride: int, channels: str = "luminance") -> Picture:
    """Turn a uint8 RGB picture into a periodic float64 signal (channels, H, W) from 0 to 1, cropped to whole strides.

    ``channels`` is "luminance" for one weighted sum (Rec. 709), or "rgb" for each colour by itself. Raises InputError
    if the picture is smaller than four strides.
    """
    stride = whole(stride, "stride")
    height, width = (size // stride * stride for size in pixels.shape[:2])
    if min(height, width) < 4 * stride:
        raise InputError(f"{pixels.shape[0]}×{pixels.shape[1]} pixels are too few for stride {stride}: take 4 strides")
    colours = pixels[:height, :width].transpose(2, 0, 1) / 255
    if channels == "rgb":
        picture = colours
    elif channels == "luminance":
        picture = np.tensordot(_LUMINANCE, colours, 1)[None]
    else:
        raise UsageError(f"channels is 'luminance' or 'rgb'; got {channels!r}")
    return np.asarray(spectrum.periodic(picture))


def compare(picture: Picture, operator: str, stride: PerAxis = 4, taps: TapsLike | None = None) -> Comparison:
    """Apply an operator and split its output into baseband and alias.

    Parameters
    ----------
    picture : array (channels, H, W), or with another number of axes: a sound (channels, N), a volume
        As `prepare` returns it.
    operator : str
        One of `PLAIN`: nothing, the maximum or the mean of stride×stride windows, a convolution (by default with a
        5×5 box); or a low-pass of `aliasing.kinds.OPERATORS`, such as ``"blur"`` (by default ``"binomial4"``).
    stride : int or one int per axis
        Distance between the samples kept. An axis of stride 1 is not filtered.
    taps : str or sequence of float, optional
        The filter of "convolution", and of an operator that takes one, as for `aliasing.downsample.blur_pool`.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(1, 64, 64))
    >>> result = compare(noise, "average", stride=2)
    >>> result.label
    '2×2 average'
    >>> result.alias_fraction < compare(noise, "subsample", stride=2).alias_fraction
    True
    """
    axes = tuple(range(1, picture.ndim))
    steps = per_axis(stride, len(axes), "stride")
    with torch.no_grad():
        output, label = find_operator(operator)(torch.from_numpy(picture), steps, taps)
    dense = output.numpy()
    parts = sampling.decompose(dense, steps, axes=axes, before=picture)
    # Over all channels: add energies, not fractions.
    inside, total = (float(energy.sum()) for energy in sampling.baseband_energy(dense, steps, axes))
    below, all_of_it = (float(energy.sum()) for energy in sampling.baseband_energy(picture, steps, axes))
    above = all_of_it - below
    kept = 1.0 if not all_of_it else inside / below if below > _LEAST * all_of_it else math.nan
    return Comparison(
        operator,
        label,
        dense,
        sampling.subsample(dense, steps, axes=axes),
        parts.baseband,
        parts.alias,
        1 - inside / total if total > _ROUNDING * all_of_it else 0.0,
        kept,
        gaussian_alias_fraction(picture, steps, kept),
        (total - inside) / above if above > _LEAST * all_of_it else math.nan,
    )


def gaussian_alias_fraction(picture: Picture, stride: PerAxis, baseband_kept: float) -> float:
    """Alias fraction of a signal under the Gaussian that keeps this share of its baseband.

    It is as wide along each axis as the stride there, and leaves an axis of stride 1 alone. NaN if none keeps that
    share: after a maximum it may be above one.
    """
    axes = tuple(range(1, picture.ndim))
    steps = per_axis(stride, len(axes), "stride")
    power = spectrum.power(picture, axes).sum(0)
    along = np.meshgrid(*spectrum.frequencies(picture, axes), indexing="ij", sparse=True)
    squared = np.zeros(())
    for frequency, step in zip(along, steps, strict=True):
        squared = squared + (frequency * (step if step > 1 else 0)) ** 2
    below = sampling.below_nyquist(power.shape, steps)
    power[tuple(size // 2 for size in power.shape)] = 0  # without the mean
    energy = power[below].sum()
    if abs(baseband_kept - 1) < 1e-9:
        return float(1 - energy / power.sum()) if energy else 0.0  # without a filter
    if not 0 < baseband_kept < 1 or not energy:
        return math.nan

    def share_kept(width: float) -> float:
        return float((power * np.exp(-squared * width))[below].sum() / energy)

    widest = 1.0
    while share_kept(widest) > baseband_kept and widest < 1e12:
        widest *= 4
    if share_kept(widest) > baseband_kept:
        return math.nan
    width = scipy.optimize.brentq(lambda width: share_kept(width) - baseband_kept, 0.0, widest)
    blurred = power * np.exp(-squared * width)
    return float(1 - blurred[below].sum() / blurred.sum())


def find_operator(name: str) -> "Densely":
    """The operator of that name in `PLAIN` or `aliasing.kinds.OPERATORS`; UsageError if there is none."""
    if name in PLAIN:
        return PLAIN[name]
    known = "flc" if name == "fourier" else name  # as summaries and figures call it
    if known in OPERATORS:
        return partial(_cure, OPERATORS[known])
    raise UsageError(f"no operator {name!r}; there are {', '.join((*PLAIN, *OPERATORS))}")


def _cure(kind: type[Operator], picture: Tensor, steps: Steps, taps: TapsLike | None) -> tuple[Tensor, str]:
    """The low-pass of an anti-aliased operator."""
    chosen = DEFAULT_TAPS if taps is None else taps
    title = kind.title or kind.__name__
    if kind.takes_taps and isinstance(chosen, str):
        title += f", {chosen} for stride {pair(steps)}"
    operator = kind.at(steps, chosen, "circular").double()
    return operator.low_pass(picture[None])[0], title


def _subsampled(picture: Tensor, steps: Steps, taps: TapsLike | None) -> tuple[Tensor, str]:
    return picture, "subsampled"


def _maximum(picture: Tensor, steps: Steps, taps: TapsLike | None) -> tuple[Tensor, str]:
    beyond = [part for step in reversed(steps) for part in (0, step - 1)]
    padded = F.pad(picture[None], beyond, "circular")
    return downsample.max_pool(padded, 1, steps, dims=len(steps))[0], f"{_window(steps)} maximum"


def _average(picture: Tensor, steps: Steps, taps: TapsLike | None) -> tuple[Tensor, str]:
    boxes = [[1.0] * step for step in steps]
    return downsample.low_pass(picture, steps, boxes, "circular", dims=len(steps)), f"{_window(steps)} average"


def _convolution(picture: Tensor, steps: Steps, taps: TapsLike | None) -> tuple[Tensor, str]:
    kernel = [1.0] * 5 if taps is None else taps
    dims = len(steps)
    window = "×".join(str(len(row)) for row in taps_per_axis(kernel, steps)) + ("-tap" if dims == 1 else "")
    family = kernel.rstrip("0123456789") + " " if isinstance(kernel, str) else "box " if taps is None else ""
    return downsample.low_pass(picture, steps, kernel, "circular", dims=dims), f"{window} {family}convolution"


def _window(steps: Steps) -> str:
    return "×".join(map(str, steps)) if len(steps) > 1 else f"{steps[0]}-sample"


Densely: TypeAlias = Callable[[Tensor, Steps, TapsLike | None], tuple[Tensor, str]]
"""(picture, stride of each axis, taps) → its output at stride 1, and its label in a figure."""

PLAIN: dict[str, Densely] = {
    "subsample": _subsampled,
    "max": _maximum,
    "average": _average,
    "convolution": _convolution,
}
"""The ways in which networks downsample; the remedies are in `aliasing.kinds.OPERATORS`."""
