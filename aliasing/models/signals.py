"""A network with everything that is needed to show it a signal: a sound, a time series, a volume.

A signal of another rate is converted (`aliasing.rates`), one of more channels than a network of one channel takes is
averaged over them, and its centre of ``input_size`` samples, with zeros around it if it is shorter, is normalised by
(x − mean) / std.
"""

import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aliasing.axes import rate_per_axis
from aliasing.errors import UsageError
from aliasing.models.classifier import ShownNetwork
from aliasing.rates import converter


@dataclass(frozen=True, eq=False)
class SignalNetwork(ShownNetwork):
    """A network, and how it was meant to see signals of one or more axes. It keeps its own mode.

    `aliasing.load_model` makes one from a module and its ``input_size``, ``rate`` and ``channels``.

    Parameters
    ----------
    module : torch.nn.Module
        Maps N×C×(one axis or more) to N×classes, or to N×numbers.
    name : str
    input_size : int or tuple of int
        The samples that it is shown along each axis; one number for one axis.
    channels : int
    rate : float or tuple of float, optional
        The samples per second (or millimetre) along each axis that it was made for; signals of another rate are
        converted. Without it they are shown at their own.
    mean, std : float or tuple of float
        One number, or one a channel; by default 0 and 1.
    labels, origin, notes, scale
        As for `aliasing.Classifier`.

    Raises
    ------
    UsageError
        If the sizes, rates or the normalisation make no sense.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv1d(1, 4, 9, stride=4), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    >>> network = SignalNetwork(net, "tiny", 8000, rate=8000)
    >>> network.view_size, network.rate, network.takes
    ((8000,), (8000.0,), 'sounds of 8000 Hz')
    """

    full_scale: ClassVar[float] = 1.0

    module: nn.Module
    name: str
    input_size: int | tuple[int, ...]
    channels: int = 1
    rate: float | tuple[float, ...] | None = None
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    labels: tuple[str, ...] | None = None
    origin: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scale: str | None = None

    def __post_init__(self) -> None:
        sizes = _whole_numbers(self.name, "input_size", self.input_size)
        object.__setattr__(self, "input_size", sizes)
        (channels,) = _whole_numbers(self.name, "channels", (self.channels,))
        object.__setattr__(self, "channels", channels)
        if self.rate is not None:
            try:
                object.__setattr__(self, "rate", rate_per_axis(self.rate, len(sizes)))
            except UsageError as error:
                raise UsageError(f"{self.name}: {error}") from error
        for what in ("mean", "std"):
            given = getattr(self, what)
            with suppress(TypeError, ValueError):
                numbers = tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),) * channels
                numbers = numbers * channels if len(numbers) == 1 else numbers
                if len(numbers) == channels and (what == "mean" or min(numbers) > 0):
                    object.__setattr__(self, what, numbers)
                    continue
            positive = ", positive" if what == "std" else ""
            raise UsageError(f"{self.name}: {what} {given!r}; expected one number, or one for each channel{positive}")

    @property
    def view_size(self) -> tuple[int, ...]:
        """The samples of a view along each axis."""
        assert isinstance(self.input_size, tuple)
        return self.input_size

    @property
    def rates(self) -> tuple[float, ...] | None:
        """The rate of each axis; None if signals are shown at their own."""
        assert self.rate is None or isinstance(self.rate, tuple)
        return self.rate

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        axes = len(self.view_size)
        what = {1: "sounds", 3: "volumes or the frames of videos" if self.channels == 3 else "volumes"}.get(
            axes, f"signals of {axes} axes"
        )
        unit = {1: " Hz"}.get(axes, " samples per unit")
        return what if self.rates is None else f"{what} of {' × '.join(f'{rate:g}' for rate in self.rates)}{unit}"

    def preprocessing(self) -> dict[str, Any]:
        """How it sees signals, for a summary."""
        return {
            "input_size": list(self.view_size),
            "channels": self.channels,
            "rate": None if self.rates is None else list(self.rates),
            "mean": list(np.ravel(self.mean)),
            "std": list(np.ravel(self.std)),
            **({} if self.rates is None else {"rates_converted_by": converter()}),
        }

    def trial_views(self) -> npt.NDArray[np.float32]:
        """Silence, a ramp and noise: its answers to them differ."""
        random = np.random.default_rng(0)
        views = np.zeros((4, self.channels, *self.view_size), np.float32)
        views[1] = 0.1 * random.standard_normal(views.shape[1:])
        views[2] = np.linspace(-1, 1, self.view_size[-1])
        views[3] = random.uniform(-1, 1, views.shape[1:])
        return views

    def normalize(self, views: npt.NDArray[np.float32] | Tensor) -> Tensor:
        """Turn views N×C×axes into the network's input, (x − mean) / std, in its dtype."""
        batch = torch.as_tensor(views, dtype=torch.float32)
        axes = len(self.view_size)
        if batch.ndim != axes + 2 or batch.shape[1] != self.channels:
            expected = "×".join(("N", str(self.channels), *(["…"] * axes)))
            raise ValueError(f"got views of shape {tuple(batch.shape)}; expected {expected}")
        mean, std = (
            torch.tensor(numbers, device=batch.device).reshape(-1, *(1,) * axes) for numbers in (self.mean, self.std)
        )
        return ((batch - mean) / std).to(self.dtype)


def _whole_numbers(name: str, what: str, given: Any) -> tuple[int, ...]:
    numbers = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    with suppress(TypeError, ValueError):
        sizes = tuple(map(operator.index, numbers))
        if sizes and min(sizes) >= 1:
            return sizes
    raise UsageError(f"{name}: {what} {given!r}; expected a whole number of at least 1, or one for each axis")
