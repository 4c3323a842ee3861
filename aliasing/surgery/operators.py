"""The anti-aliased operators as small, parameter-free objects that copy, pickle and compile.

Each takes a map N×C×H×W and a stride, and gives ⌈H / s⌉ × ⌈W / s⌉ samples. Their torch calls are hidden from torch
functions modes, so that nothing that watches the network (its own rewriting, see `aliasing.surgery.rewrite`, a
second time) takes them for calls of the network.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from aliasing.downsample import blur_pool, fourier_low_pass, fourier_pool, largest_phase, low_pass, polyphase_pool
from aliasing.errors import UsageError
from aliasing.filters import get_taps

__all__ = ["Blur", "Fourier", "Operator", "PhaseChoice", "Polyphase", "Pooling", "make_operator"]

Stride = tuple[int, int]


class Operator(Protocol):
    """What low-passes and subsamples."""

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        """Low-pass and subsample."""
        ...

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        """Low-pass only, for the stride that is to come."""
        ...


@dataclass(frozen=True)
class Blur:
    """Blur-pool with given taps (Zhang 2019)."""

    taps: tuple[float, ...]
    padding: str = "reflect"

    def pool(self, x: Tensor, stride: Stride) -> Tensor:
        return blur_pool(x, stride, self.taps, self._padding_for(x))

    def smooth(self, x: Tensor, stride: Stride) -> Tensor:
        return low_pass(x, stride, self.taps, self._padding_for(x))

    def _padding_for(self, x: Tensor) -> str:
        """A map of fewer pixels than the taps reach has nothing to reflect: its border is repeated instead."""
        if self.padding == "reflect" and min(x.shape[-2:]) <= len(self.taps) // 2:
            return "replicate"
        return self.padding


@dataclass(frozen=True)
class Fourier:
    """The ideal low-pass, FLC (Grabinski et al. 2022)."""

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


def make_operator(name: str, taps: Any, padding: str | None) -> Operator:
    """The operator that ``antialias`` was asked for, by name."""
    if name == "blur":
        try:
            row = tuple(float(tap) for tap in get_taps(taps))
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        return Blur(row, padding or "reflect")
    if name == "flc":
        return Fourier()
    if name == "aps":
        return Polyphase()
    raise UsageError(f"no operator {name!r}; expected 'blur', 'flc' or 'aps'")
