r"""`measure_pyramid`: what each level of an image pyramid makes of brightness and of places, beside its label pyramid.

A level is made from the one before it, so small errors add up: an average that cuts fractions loses up to half a grey
level at each, and a picker of every second sample moves the content by half a sample at each.

With :math:`y_k(x)` the sample at the place :math:`k` of a level made from an image whose value at each place is the
place itself, :math:`y_k` is the place that the sample stands for: the centroid of its weights. Of a rising and of a
falling ramp half the difference is taken, which a rounding to one side leaves unchanged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aliasing.errors import UsageError
from aliasing.rounding import rounded

__all__ = ["Level", "Pyramid", "measure_pyramid"]

CONSTANTS = (1, 2, 5, 100)
"""Small ones show cuts that 100 hides."""
_SPREAD = 12.0  # grey levels of the noise, one standard deviation
_GREY = 100.0  # its mean: noise reaches neither 0 nor 255
_OFF = 0.05  # samples of the image; a ramp in integers tells a place to half a sample
_DARKER = 0.2  # grey levels

Levels = Sequence[NDArray[Any]]
#: Of a level and an axis: the place in input samples of its first sample, and the distance of two.
Coordinates = Callable[[int, int], tuple[float, float]]


@dataclass(frozen=True)
class Level:
    """A level of a pyramid; places are in samples of the image, brightness in its grey levels."""

    level: int
    size: tuple[int, ...]
    step: float  #: the distance between two of its samples, along the axis where the places are worst
    offset: float  #: how far its samples lie from where they belong, in the centre
    drift: float  #: how much more at its last sample than at its first
    unseen: int  #: how many of the image's last samples none of its samples sees, at least
    noise: float  #: the mean of a noisy image minus that of the level: below 0 it is darker
    constants: dict[int, float]  #: what is left of each constant minus the constant; NaN if that is NaN
    zeros: int  #: samples that are 0 or NaN where the image is a constant
    label_offset: float | None = None  #: the same as ``offset``, of the labels

    @property
    def apart(self) -> float | None:
        """How far the labels lie from the image that they name."""
        return None if self.label_offset is None else self.label_offset - self.offset


@dataclass(frozen=True, repr=False)
class Pyramid:
    """What a pyramid does, level by level, from `measure_pyramid`."""

    levels: tuple[Level, ...]
    dtype: str

    def table(self) -> list[dict[str, Any]]:
        """A row a level."""
        rows = []
        for one in self.levels:
            row: dict[str, Any] = {"level": one.level, "size": "×".join(map(str, one.size))}
            row |= {"offset": rounded(one.offset, "+.2f"), "drift": rounded(one.drift, "+.2f"), "unseen": one.unseen}
            if one.apart is not None:
                row |= {"labels apart": rounded(one.apart, "+.2f")}
            row |= {"noise": rounded(one.noise, "+.2f")}
            rows.append(row | {f"of {value}": rounded(error, "+.2f") for value, error in one.constants.items()})
        return rows

    @property
    def caveats(self) -> list[str]:
        """What a user of the pyramid should know, a sentence each, of the lowest level."""
        last, found = self.levels[-1], []
        least = 0.5 if np.issubdtype(self.dtype, np.integer) else _OFF
        if abs(last.offset) > least:
            found.append(f"level {last.level} lies {rounded(last.offset, '+.2f')} samples of the image from its place")
        if abs(last.drift) > least:
            found.append(f"its content slides by {rounded(last.drift, '+.2f')} samples from the first to the last")
        if last.apart is not None and abs(last.apart) > least:
            found.append(f"its labels lie {rounded(last.apart, '+.2f')} samples beside the image")
        if last.unseen:
            found.append(f"the last {last.unseen} samples of the image are in none of its samples")
        worst = min([last.noise, *last.constants.values()], key=lambda error: -abs(error))
        if abs(worst) > _DARKER:
            found.append(f"brightness is off by up to {rounded(worst, '+.2f')} grey levels")
        if last.zeros:
            found.append(f"{last.zeros} of its samples are 0 or NaN where the image is a constant")
        return found

    def __repr__(self) -> str:
        from aliasing.tables import render

        caveats = "".join(f"\n- {caveat}" for caveat in self.caveats)
        return f"a pyramid of {len(self.levels)} levels\n{render(self.table())}{caveats}"


def measure_pyramid(
    build: Callable[[NDArray[Any], int], Levels],
    levels: int = 6,
    size: int = 256,
    *,
    axes: int = 2,
    dtype: str = "uint8",
    labels: Callable[[NDArray[Any], int], Levels] | None = None,
    coordinates: Coordinates | None = None,
) -> Pyramid:
    """Measure the levels of an image pyramid: brightness, places, and those of its labels beside them.

    Parameters
    ----------
    build : callable
        ``build(image, levels)`` gives the levels below the image, one after another, each with the image's axes.
    levels : int
        The number of levels, at least 1.
    size : int
        The image's length along each axis. Measure 255 beside 256: what does not divide is dropped, or shifts.
    axes : {1, 2, 3}
        The number of axes.
    dtype : str
        The type of the image: ``"uint8"``, ``"uint16"``, ``"float32"`` … Integers show what rounding does to
        brightness, floats where the samples lie, which integers tell to half a sample.
    labels : callable, optional
        The same as ``build``, for the labels of the image; it is given int32 and must pick.
    coordinates : callable, optional
        The library's own: ``coordinates(level, axis)`` gives the place of the level's first sample and the distance
        between two, in samples of the image. Otherwise a sample belongs in the middle of those that it covers,
        :math:`rk + (r - 1)/2` with *r* = 2 to the power of the level.

    Returns
    -------
    Pyramid

    Raises
    ------
    UsageError
        The callable gives another number of levels, or levels with other axes.

    Examples
    --------
    >>> def every_second(image, levels):
    ...     return [image[:: 2**k, :: 2**k] for k in range(1, levels + 1)]
    >>> print(f"{measure_pyramid(every_second, levels=4).levels[-1].offset:.2f}")  # −(2⁴ − 1)/2
    -7.50
    """
    answers = {end: _built(build, _ramp(end, size, axes, dtype), levels) for end in _ramps(axes)}
    picked = {} if labels is None else {
        end: _built(labels, _ramp(end, size, axes, "int32"), levels) for end in _ramps(axes)
    }  # fmt: skip
    noise = np.random.default_rng(0).normal(_GREY, _SPREAD, (size,) * axes).round().astype(dtype)
    below = _built(build, noise, levels)
    unseen = _unseen(build, levels, size, axes, dtype)
    flat = {value: _built(build, np.full((size,) * axes, value, dtype), levels) for value in CONSTANTS}
    found = []
    for index in range(levels):
        places = [_placed(answers, index, axis, size, coordinates) for axis in range(axes)]
        worst = max(range(axes), key=lambda axis: abs(places[axis][1]) + abs(places[axis][2]))
        step, offset, drift = places[worst]
        found.append(
            Level(
                level=index + 1,
                size=below[index].shape,
                step=step,
                offset=offset,
                drift=drift,
                unseen=unseen[index],
                noise=float(_inner(below[index]).mean() - noise.mean()),
                constants={value: float(made[index].mean(dtype=np.float64) - value) for value, made in flat.items()},
                zeros=sum(int((~(made[index] != 0) | np.isnan(made[index])).sum()) for made in flat.values()),
                label_offset=_placed(picked, index, worst, size, coordinates)[1] if picked else None,
            )
        )
    return Pyramid(tuple(found), dtype)


End = tuple[int, bool]  # of a ramp: along which axis, and whether it falls


def _ramps(axes: int) -> list[End]:
    return [(axis, falls) for axis in range(axes) for falls in (False, True)]


def _ramp(end: End, size: int, axes: int, dtype: str) -> NDArray[Any]:
    """An image whose value is its place along an axis, or the distance from its last."""
    axis, falls = end
    if np.issubdtype(dtype, np.integer) and size - 1 > np.iinfo(dtype).max:
        raise UsageError(f"{dtype} does not hold the places of {size} samples; give size={np.iinfo(dtype).max + 1}")
    places = np.arange(size)[::-1] if falls else np.arange(size)
    shape = [1] * axes
    shape[axis] = size
    return np.broadcast_to(places.reshape(shape), (size,) * axes).astype(dtype)


def _built(build: Callable[[NDArray[Any], int], Levels], image: NDArray[Any], levels: int) -> list[NDArray[Any]]:
    made = [np.asarray(level) for level in build(image, levels)]
    if len(made) != levels or any(level.ndim != image.ndim or not level.size for level in made):
        shapes = ", ".join("×".join(map(str, level.shape)) for level in made)
        raise UsageError(f"{levels} levels of {image.ndim} axes are wanted below the image; the pyramid gives {shapes}")
    return made


def _placed(
    answers: dict[End, list[NDArray[Any]]], index: int, axis: int, size: int, coordinates: Coordinates | None
) -> tuple[float, float, float]:
    """Of a level along an axis: the step, the offset in the centre, and the drift."""
    others = tuple(other for other in range(answers[axis, False][index].ndim) if other != axis)
    rising, falling = (answers[axis, falls][index].mean(others, dtype=np.float64) for falls in (False, True))
    places = (rising - falling + size - 1) / 2
    number = np.arange(len(places))
    ratio = 2.0 ** (index + 1)
    start, distance = ((ratio - 1) / 2, ratio) if coordinates is None else coordinates(index + 1, axis)
    middle = slice(len(places) // 4, len(places) - len(places) // 4)
    slope, first = np.polyfit(number[middle], places[middle], 1) if len(number[middle]) > 1 else (ratio, places[0])
    errors = first + slope * number - (start + distance * number)
    return float(slope), float(errors.mean()), float(errors[-1] - errors[0])


def _unseen(build: Callable[[NDArray[Any], int], Levels], levels: int, size: int, axes: int, dtype: str) -> list[int]:
    """For each level the largest of 1, 3, 7, … last samples, along any axis, that it does not depend on."""
    found = [0] * levels
    for axis in range(axes):
        for number in (2**index - 1 for index in range(1, levels + 1)):
            image = np.zeros((size,) * axes, dtype)
            np.moveaxis(image, axis, 0)[-number:] = _GREY
            for index, level in enumerate(_built(build, image, levels)):
                found[index] = found[index] if level.any() else max(found[index], number)
    return found


def _inner(level: NDArray[Any]) -> NDArray[np.float64]:
    """The level without its rim, where the border's treatment shows."""
    inside = tuple(slice(1, -1) if length > 4 else slice(None) for length in level.shape)
    return np.asarray(level[inside], np.float64)
