"""An operator at its place in a network, hidden from modes that observe it, and in pickles of earlier versions.

Its torch calls are hidden from torch-function modes, so that a mode that observes the network (such as
`aliasing.surgery.rewrite`) does not take them for calls of the network.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from aliasing.downsample.operator import Operator
from aliasing.downsample.polyphase import PhaseChoice
from aliasing.filters import is_one_filter
from aliasing.kinds import OPERATORS

__all__ = ["Operator", "PhaseChoice", "Pooling", "make_operator"]


def make_operator(name: str, taps: Any, padding: str | None, stride: tuple[int, ...] | None = None) -> Operator:
    """The operator of that name for the stride of its place; without one, for trial, 2 on as many axes as have taps."""
    return OPERATORS[name].at(stride or (2,) * _axes_of(taps), taps, padding)


def _axes_of(taps: Any) -> int:
    try:
        return 2 if is_one_filter(taps) else len(taps)
    except TypeError:  # not a sequence: the operator says so
        return 2


@dataclass(frozen=True)
class Pooling:
    """An operator at its place."""

    operator: Operator

    @property
    def stride(self) -> tuple[int, ...]:
        """The operator's stride."""
        return self.operator.stride

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_meta:  # only the shape matters, and autocast does not know the device
            axes = len(self.stride)
            sizes = (-(-size // step) for size, step in zip(x.shape[-axes:], self.stride, strict=True))
            return x.new_empty(*x.shape[:-axes], *sizes)
        with torch._C.DisableTorchFunction():
            return cast(Tensor, self.operator(x))

    def smooth(self, x: Tensor) -> Tensor:
        """Low-pass only."""
        if x.is_meta:
            return torch.empty_like(x)
        with torch._C.DisableTorchFunction():
            return self.operator.low_pass(x)

    def put_back(self, x: Tensor) -> Tensor:
        """Undo what `smooth` of an operator that chooses a phase did in this pass."""
        if x.is_meta:
            return torch.empty_like(x)
        with torch._C.DisableTorchFunction():
            return cast(Tensor, self.operator.put_back(x))  # type: ignore[operator]

    def __setstate__(self, state: dict[str, Any]) -> None:
        stride = state.pop("stride", None)
        if stride is not None:  # a pickle of a version in which operators did not know their stride
            state["operator"] = state["operator"].at(stride)
        vars(self).update(state)


class _Pickled:
    """The settings that pickles of that version hold instead of an operator."""

    name, taps, padding = "", "binomial4", None

    def at(self, stride: tuple[int, ...]) -> Operator:
        operator = make_operator(self.name, self.taps, self.padding, stride)
        vars(operator).update({key: value for key, value in vars(self).items() if key in vars(operator)})
        return operator


class Blur(_Pickled):
    name = "blur"


class Fourier(_Pickled):
    name = "flc"


class Polyphase(_Pickled):
    name = "aps"
