"""What an operator is: a module that low-passes a signal and keeps every ``stride``-th sample of it.

A new one is a subclass of `Operator` in a file of its own, which holds its function, formula and source; it is added to
`aliasing.operators.OPERATORS`. It defines `Operator.low_pass`, or `Operator.forward` if it is more than a low-pass, and
the class attributes that differ. Parameters that it learns are parameters of the converted network.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from aliasing.axes import PerAxis, are_several, per_axis
from aliasing.downsample.plain import subsample
from aliasing.errors import UsageError

Value = TypeVar("Value")

#: What an operator may guarantee, of periodic signals (circular padding).
GUARANTEES: Mapping[str, str] = {
    "circular integer": "a circular shift of the input by whole samples shifts the output circularly",
    "circular fractional": "so does a shift by a fraction of a sample",
    "linear": "the output of a sum is the sum of the outputs",
    "constant kept": "a constant stays that constant",
}

#: What the names begin with under which a converted network registers its operators that have parameters.
REGISTERED = "antialiasing_"
_IN_OPERATOR = re.compile(rf"(^|\.){REGISTERED}")


def without_operators(state_dict: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors that a converted network has of its own, without those of the operators that were put into it.

    Examples
    --------
    >>> without_operators({"0.weight": 1, "1.antialiasing_output.weight": 2})
    {'0.weight': 1}
    """
    return {key: value for key, value in state_dict.items() if not _IN_OPERATOR.search(key)}


class Operator(nn.Module):
    """A module that makes a signal smaller.

    Parameters
    ----------
    stride : int or one int per axis
        Distance between the samples kept, at least 1. An axis of stride 1 is not filtered.

    Attributes
    ----------
    placements : tuple of str
        Where it can stand in a network: "after" the dense map, or "before" a strided call, as a low-pass at stride 1.
    shares_choice : bool
        Whether it chooses samples by what it is shown, so that branches which meet again must follow one choice.
    takes_taps : bool
        Whether one chooses its filter.
    paddings : tuple of str
        What it can take to lie beyond the border; empty if it pads nothing.
    axes : tuple of int
        How many spatial axes it can have.
    guarantees : frozenset of str
        Which of `GUARANTEES` hold.
    dims : int
        How many spatial axes it has; a subclass may fix it, else the stride has one number per axis.

    Shape
    -----
    (N, C, ...) → (N, C, ...), each axis L → ⌈L / stride⌉
    """

    placements: ClassVar[tuple[str, ...]] = ("after", "before")
    shares_choice: ClassVar[bool] = False
    takes_taps: ClassVar[bool] = False
    paddings: ClassVar[tuple[str, ...]] = ()
    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    guarantees: ClassVar[frozenset[str]] = frozenset()
    dims: int = 0

    def __init__(self, stride: PerAxis = 2) -> None:
        super().__init__()
        if not self.dims:
            self.dims = len(tuple(stride)) if are_several(stride) else 2  # type: ignore[arg-type]
        self.stride = per_axis(stride, self.dims, "stride")

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> "Operator":
        """The operator for a place in a network, as `antialias` is asked for it.

        Parameters
        ----------
        stride : tuple of int
            One number per axis.
        taps : str, sequence of float, or one of these per axis
            The filter, for an operator that takes one.
        padding : str, optional
            What lies beyond the border; None is the operator's own choice.
        """
        return cls(stride)

    @property
    def filters(self) -> bool:
        """Whether it low-passes at all."""
        return True

    def low_pass(self, x: Tensor) -> Tensor:
        """The low-pass alone, at every sample, for the stride that is to come."""
        raise UsageError(f"{type(self).__name__} is not a low-pass; it can only stand after a dense map")

    def forward(self, x: Tensor) -> Tensor:
        """Low-pass and subsample."""
        return subsample(self.low_pass(x), self.stride, dims=self.dims)

    def follow(self, leader: Any) -> None:
        """Keep what another operator of this kind has chosen in the same pass (``shares_choice``)."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """A checkpoint of the network without its operators has nothing for this one, which stays as it is."""
        if any(key.startswith(prefix) for key in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *others)

    def extra_repr(self) -> str:
        return f"stride={short(self.stride)}"


def short(values: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all axes have the same."""
    return values[0] if len(set(values)) == 1 else values
