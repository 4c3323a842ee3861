"""Protocols that move the content of a signal of any number of axes: by whole samples, or by fractions of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from aliasing import sampling
from aliasing.errors import UsageError
from aliasing.images import Signal
from aliasing.models import ShownNetwork, SignalNetwork
from aliasing.protocols.base import View, ViewProtocol, Views, path, windows
from aliasing.rates import centred


@dataclass(frozen=True, kw_only=True)
class AlongAxes(ViewProtocol):
    """Signals whose content moves by ``steps`` steps of ``step`` samples, each view compared with the next.

    Parameters
    ----------
    axis : int, optional
        The axis along which it moves, counted from 0; by default all axes together.
    """

    unit: ClassVar[str] = "samples"
    is_path: ClassVar[bool] = True
    least: ClassVar[Mapping[str, float]] = {"steps": 1, "axis": 0}
    steps: int = 8
    axis: int | None = None

    def parameters(self) -> dict[str, Any]:
        """The name and parameters, without a resampler of pictures."""
        return {name: value for name, value in super().parameters().items() if name != "resizer"}

    def require(self, model: ShownNetwork) -> None:
        super().require(model)
        if self.axis is not None and self.axis >= len(model.view_size):
            raise UsageError(
                f"{self.name}: axis is {self.axis}, but {model.name} takes {model.takes}, whose last axis is"
                f" {len(model.view_size) - 1}"
            )

    def along(self, by: float, axes: int) -> tuple[float, ...]:
        """A distance along the axes that move, and 0 along the others."""
        return tuple(by if self.axis in (None, axis) else 0 for axis in range(axes))


@dataclass(frozen=True, kw_only=True)
class Samples(AlongAxes):
    """A window moved over a signal's centre by ``steps`` steps of ``step`` samples, each view compared with the next.

    Content enters at the ends; a signal that is shorter than what the windows cover has zeros around it.
    """

    name: ClassVar[str] = "samples"
    least: ClassVar[Mapping[str, float]] = {**AlongAxes.least, "step": 1}
    step: int = 1

    def extra(self) -> int:
        return self.steps * self.step

    def margins(self, axes: int) -> tuple[int, ...]:
        return tuple(map(int, self.along(self.extra(), axes)))

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        canvas = self.canvas_of_signal(signal, model)
        corners = [tuple(map(int, self.along(k * self.step, signal.axes))) for k in range(self.steps + 1)]
        return windows(canvas, model.view_size, pairwise(corners), origin=corners[0], first_axis=1)


@dataclass(frozen=True, kw_only=True)
class Subsample(AlongAxes):
    """A signal moved by ``steps`` steps of ``step`` samples, each view compared with the next.

    Fractions are interpolated by Fourier (`aliasing.sampling.shift`). That is exact below the Nyquist frequency, and
    periodic, so the signal is ``margin`` samples longer than the window on each side.
    """

    name: ClassVar[str] = "subsample"
    margin: ClassVar[int] = 16
    step: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.step * self.steps <= self.margin:
            raise UsageError(
                f"{self.name}: {self.steps} steps of {self.step} samples; together they must lie in 0 … {self.margin}"
            )

    def extra(self) -> int:
        return 2 * self.margin

    def signal_views(self, signal: Signal, model: SignalNetwork, random: np.random.Generator) -> Views:
        canvas = self.canvas_of_signal(signal, model)
        axes = tuple(range(1, 1 + signal.axes))

        def view(k: int) -> View:
            shift = self.along(k * self.step, signal.axes)
            return View(shift, k * self.step, lambda: centred(sampling.shift(canvas, shift, axes), model.view_size))

        return path(view, self.steps + 1)
