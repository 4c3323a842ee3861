"""The anti-aliased operators as small, parameter-free objects that copy, pickle and compile.

Each takes a map N×C×H×W and a stride, and gives ⌈H / s⌉ × ⌈W / s⌉ samples. Their torch calls are hidden from torch
functions modes, so that nothing that watches the network (its own rewriting, see `aliasing.surgery.rewrite`, a
second time) takes them for calls of the network.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from aliasing.downsample import (
    blur_pool,
    convolve,
    fourier_low_pass,
    fourier_pool,
    largest_phase,
    low_pass,
    polyphase_pool,
)
from aliasing.downsample.recording import is_recorded_for_elsewhere
from aliasing.errors import UsageError
from aliasing.filters import get_taps

__all__ = [
    "Blur",
    "Filter",
    "Fourier",
    "Operator",
    "PhaseChoice",
    "Polyphase",
    "Pooling",
    "filters_of",
    "make_operator",
]

Stride = tuple[int, int]
Filter: TypeAlias = str | tuple[float, ...]
"""Taps of one axis: a name is a filter for stride 2, and is stretched to another; numbers are taken as they are."""


class Operator(Protocol):
    """What low-passes and subsamples."""

    @property
    def filters(self) -> bool:
        """Does it low-pass at all?"""
        ...

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        """Low-pass and subsample."""
        ...

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        """Low-pass only, for the stride that is to come."""
        ...


@dataclass(frozen=True)
class Blur:
    """Blur-pool with given taps, down and across (Zhang 2019). An axis that is not subsampled has the one tap 1."""

    taps: tuple[tuple[float, ...], tuple[float, ...]]
    padding: str = "reflect"

    @property
    def filters(self) -> bool:
        return max(map(len, self.taps)) > 1

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        if self._needs_any_size():
            return self._at_any_size(x, stride)
        return blur_pool(x, stride, self.taps, self._padding_for(x))

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        if self._needs_any_size():
            return self._at_any_size(x, (1, 1))
        return low_pass(x, stride, self.taps, self._padding_for(x))

    def _needs_any_size(self) -> bool:
        """Is a program recorded that will run at other sizes, in which the choice of a padding would be frozen?"""
        return self.padding == "reflect" and self.filters and is_recorded_for_elsewhere()

    def _at_any_size(self, x: Tensor, stride: Stride) -> Tensor:
        """The blur by its definition, with a padding that the program chooses when it runs."""
        pixels = [torch.arange(x.shape[axis], device=x.device) for axis in (-2, -1)]
        far = [len(row) // 2 for row in self.taps]
        reaches = (pixels[0][-1:] < far[0]) | (pixels[1][-1:] < far[1])  # as `_padding_for` says, of tensors
        for axis, inside, row in zip((-2, -1), pixels, self.taps, strict=True):
            before, after = (torch.arange(n, device=x.device) for n in ((len(row) - 1) // 2, len(row) // 2))
            last = inside[-1:]
            places = torch.cat([before - len(before), inside, last + 1 + after])
            reflected = (last - (last - places.abs()).abs()).clamp(min=0)
            repeated = places.clamp(min=0).minimum(last)
            x = x.index_select(axis, torch.where(reaches, repeated, reflected))
        rows, columns = (torch.tensor(row, dtype=torch.float64) for row in self.taps)
        return convolve(x, torch.outer(rows, columns), stride)

    def _padding_for(self, x: Tensor) -> str:
        """A map of fewer pixels than the taps reach has nothing to reflect: its border is repeated instead."""
        reaches = any(size <= len(row) // 2 for size, row in zip(x.shape[-2:], self.taps, strict=True))
        return "replicate" if self.padding == "reflect" and reaches else self.padding


@dataclass(frozen=True)
class Fourier:
    """The ideal low-pass, FLC (Grabinski et al. 2022)."""

    filters = True

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        return fourier_pool(x, stride)

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        return fourier_low_pass(x, stride)


@dataclass(eq=False)
class PhaseChoice:
    """The phase that the leader of a group of sites has chosen, for the others to follow in the same pass."""

    phase: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"phase": None}  # a choice belongs to one pass


@dataclass(frozen=True)
class Polyphase:
    """Adaptive polyphase sampling, APS (Chaman & Dokmanić 2021).

    Branches that meet again must keep the same phase, or they no longer line up: the first of them to be computed
    leads, and the others follow its choice.
    """

    choice: PhaseChoice = field(default_factory=PhaseChoice)
    leads: bool = True
    filters = False

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        if self.leads:
            self.choice.phase = largest_phase(x, stride)
        return polyphase_pool(x, stride, phase=self.choice.phase)

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        raise UsageError("aps chooses among the phases of a dense map, so it has no placement before a convolution")


@dataclass(frozen=True)
class Pooling:
    """An operator with the stride of its place."""

    operator: Operator
    stride: Stride

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_meta:  # only the shape is asked for, and autocast does not know the device
            return x.new_empty(
                *x.shape[:-2], *(-(-size // s) for size, s in zip(x.shape[-2:], self.stride, strict=True))
            )
        with torch._C.DisableTorchFunction():
            return self.operator.pool(x, self.stride)

    def smooth(self, x: Tensor) -> Tensor:
        """Low-pass only."""
        if x.is_meta:
            return torch.empty_like(x)
        with torch._C.DisableTorchFunction():
            return self.operator.smooth(x, self.stride)


def make_operator(name: str, taps: Any, padding: str | None, stride: Stride = (2, 2)) -> Operator:
    """The operator that ``antialias`` was asked for, by name, for the stride of its place."""
    if name == "blur":
        rows = (
            (1.0,) if step == 1 else tuple(get_taps(row, step).tolist())
            for row, step in zip(filters_of(taps), stride, strict=True)
        )
        down, across = rows
        return Blur((down, across), padding or "reflect")
    if name == "flc":
        return Fourier()
    if name == "aps":
        return Polyphase()
    raise UsageError(f"no operator {name!r}; expected 'blur', 'flc' or 'aps'")


def filters_of(taps: Any) -> tuple[Filter, Filter]:
    """The taps down and across, from one filter for both or one each.

    Raises
    ------
    UsageError
        If a name is unknown, or if the taps are no finite numbers whose sum is not zero.

    Examples
    --------
    >>> filters_of("binomial3")
    ('binomial3', 'binomial3')
    >>> filters_of(["binomial3", [1, 2, 1]])
    ('binomial3', (1.0, 2.0, 1.0))
    """
    try:
        is_one = isinstance(taps, str) or all(not isinstance(tap, str) and not hasattr(tap, "__len__") for tap in taps)
        rows = [taps, taps] if is_one else list(taps)
        if len(rows) != 2:
            raise UsageError(f"taps are one filter, or two of them, down and across; got {len(rows)}: {taps!r}")
        for row in rows:
            get_taps(row)  # a wrong name or filter is told here
        down, across = (row if isinstance(row, str) else tuple(float(tap) for tap in row) for row in rows)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return down, across
