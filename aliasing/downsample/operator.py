"""The base class of operators: modules that low-pass a signal and keep every ``stride``-th sample.

A new operator is a subclass of `Operator` in its own file, with its function, formula and source, and is added to
`aliasing.kinds.OPERATORS`. It defines `Operator.low_pass`, or `Operator.forward` if it is more than a low-pass, and
the class attributes that differ. Parameters that it learns are parameters of the converted network.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from aliasing.axes import PerAxis, are_several, per_axis
from aliasing.downsample.plain import insert_zeros, subsample
from aliasing.downsample.tensors import laid_out_like
from aliasing.errors import UsageError

Value = TypeVar("Value")

#: The guarantees that an operator may give for periodic signals (circular padding).
GUARANTEES: Mapping[str, str] = {
    "circular integer": "a circular shift of the input by whole samples shifts the output circularly",
    "circular fractional": "so does a shift by a fraction of a sample",
    "linear": "the output of a sum is the sum of the outputs",
    "constant kept": "a constant stays that constant",
    "alias free": "nothing is left at or above the new Nyquist frequency",
}

#: The prefix of the names under which a converted network registers operators with parameters.
REGISTERED = "antialiasing_"
_IN_OPERATOR = re.compile(rf"(^|\.){REGISTERED}")


def without_operators(state_dict: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors of a converted network without those of its operators.

    Examples
    --------
    >>> without_operators({"0.weight": 1, "1.antialiasing_output.weight": 2})
    {'0.weight': 1}
    """
    return {key: value for key, value in state_dict.items() if not _IN_OPERATOR.search(key)}


class Added(nn.Module):
    """What surgery adds to a network: it keeps its tensors if a checkpoint of the original has none for it."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        if any(key.startswith(prefix) for key in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *others)


class Operator(Added):
    """A module that downsamples a signal.

    Parameters
    ----------
    stride : int or one int per axis
        Distance between the samples kept, at least 1. An axis of stride 1 is not filtered.

    Shape
    -----
    (N, C, ...) → (N, C, ...), each axis L → ⌈L / stride⌉
    """

    #: Its name in a figure; by default that of its class.
    title: ClassVar[str] = ""
    #: What it does, in a few words for who meets its short name in a table.
    meaning: ClassVar[str] = ""
    #: Where it can be in a network: "after" the dense map, or "before" a strided call, as a low-pass at stride 1.
    placements: ClassVar[tuple[str, ...]] = ("after", "before")
    #: Whether it selects samples according to its input, so that branches which meet again must share the selection.
    shares_choice: ClassVar[bool] = False
    #: Whether its filter can be chosen.
    takes_taps: ClassVar[bool] = False
    #: The paddings that it supports; empty if it does not pad.
    paddings: ClassVar[tuple[str, ...]] = ()
    #: The numbers of spatial axes that it supports.
    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    #: The `GUARANTEES` that hold.
    guarantees: ClassVar[frozenset[str]] = frozenset()
    #: What its publication claims of it: a `GUARANTEES`, and in what words.
    claims: ClassVar[Mapping[str, str]] = {}
    #: Whether its choice, if it makes one, is its own, and not that of another operator (`follow`).
    leads: bool = True
    #: Its number of spatial axes; a subclass may fix it, otherwise the stride has one number per axis.
    dims: int = 0

    def __init__(self, stride: PerAxis = 2) -> None:
        super().__init__()
        if not self.dims:
            self.dims = len(tuple(stride)) if are_several(stride) else 2  # type: ignore[arg-type]
        self.stride = per_axis(stride, self.dims, "stride")

    @classmethod
    def at(cls, stride: tuple[int, ...], taps: Any, padding: str | None) -> "Operator":
        """The operator for a place in a network, with the arguments of `antialias`.

        ``stride`` has one number per axis; ``taps`` is for operators whose filter can be chosen; ``padding`` is the
        operator's own choice if None.
        """
        return cls(stride)

    @property
    def filters(self) -> bool:
        """Whether it low-passes at all."""
        return True

    def low_pass(self, x: Tensor) -> Tensor:
        """The low-pass alone, at every sample, for the stride to come."""
        raise UsageError(f"{type(self).__name__} is not a low-pass; it can only follow a dense map")

    def transposed(self, x: Tensor) -> Tensor:
        """The transpose of `low_pass`, which looks as far back as that looks ahead: the filter after an upsampling."""
        axes = tuple(range(-self.dims, 0))
        return self.low_pass(x.flip(axes)).flip(axes)

    def upsample(self, x: Tensor) -> Tensor:
        """Insert zeros, then low-pass, times the stride along every axis: the dual of `forward`, L → L · stride."""
        zeros = insert_zeros(x, self.stride, dims=self.dims)
        return laid_out_like(math.prod(self.stride) * self.transposed(zeros), x)

    def forward(self, x: Tensor) -> Tensor:
        """Low-pass and subsample."""
        return laid_out_like(subsample(self.low_pass(x), self.stride, dims=self.dims), x)

    def law(self, *names: str) -> dict[str, Any]:
        """What is found of these laws, by default of all `GUARANTEES`: a `aliasing.downsample.laws.Cell` for each.

        Parameters that it learns are random, so what is exact holds whatever they are.

        Examples
        --------
        >>> import aliasing as al
        >>> al.layers.FourierPool1d(2).law("linear")["linear"].exact
        True
        """
        from aliasing.downsample.laws import LAWS, Subject, randomised

        operator = randomised(self)
        subject = Subject(type(self).__name__, self.stride, lambda stride: operator if stride == self.stride else None)
        return {name: LAWS[name].measure(subject) for name in names or GUARANTEES}

    def follow(self, leader: Any) -> None:
        """Use the selection of another operator of this kind in the same pass (``shares_choice``)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"stride={short(self.stride)}"


def short(values: tuple[int, ...]) -> int | tuple[int, ...]:
    """A single number if all axes have the same."""
    return values[0] if len(set(values)) == 1 else values
