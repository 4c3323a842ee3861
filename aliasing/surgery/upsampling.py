r"""Treating upsampling: what rejects its images, and what puts its samples back at the phase that was kept.

Every upsampling by *s* inserts zeros, which repeats the spectrum at the multiples of :math:`1/s`, and filters: nearest
neighbours with a box, linear interpolation with a triangle, a transposed convolution with what it has learned, pixel
shuffle with one learned filter a phase. What these leave of the repetitions are images. Behind the call stands the
transposed low-pass of an operator, at the new rate (as in StyleGAN2's and 3's layers, Karras et al. 2020, 2021):

.. math:: y = H^\top B \uparrow_s x

with *B* the network's own filter. It has the gain *s* that zeros need, so *H* has the gain one: the baseband, and a
constant, stay as the network's weights expect them, and one tap changes nothing. A filter of even length looks back by
the half sample by which its pool looks ahead, so the maps of encoder and decoder lie on each other as before.

An operator that chooses a phase instead moves the upsampled map to the phase that was kept on the way down (Chaman &
Dokmanić 2021): :math:`y = T_p B \uparrow_s x`. Unpooling of maxima puts values back by their indices.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aliasing.downsample.polyphase import PhaseChoice
from aliasing.downsample.polyphase_up import rolled_to_phase
from aliasing.rounding import rounded
from aliasing.sites.change import axes_of, each
from aliasing.sites.trace import Call
from aliasing.surgery.operators import Pooling
from aliasing.surgery.rewrite import wrapped

__all__ = ["Following", "Rejection", "Upsampled", "obstacle", "reach"]

_REACHES = {"nearest": 0, "nearest-exact": 0, "area": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}
_INTERPOLATION = "input size scale_factor mode align_corners"
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"


class Rejection(Pooling):
    """The low-pass behind an upsampling."""

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return torch.empty_like(x)
        with torch._C.DisableTorchFunction():
            return self.operator.transposed(x)


@dataclass(frozen=True)
class Following:
    """The map moved to the phases that were kept on the way down."""

    #: Of each pool from the finest: its choice, its stride, and the samples of the map between two of its phases.
    choices: tuple[tuple[PhaseChoice, tuple[int, ...], tuple[int, ...]], ...]

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_meta:
            return x
        with torch._C.DisableTorchFunction():
            for choice, steps, unit in self.choices:
                assert choice.phase is not None
                x = rolled_to_phase(x, choice.phase, steps, unit)
        return x


@dataclass(frozen=True)
class Upsampled:
    """The upsampling, then ``pool``. Circular, it sees its periodic input ``reach`` samples beyond the border."""

    pool: Rejection | Following | None
    factors: tuple[int, ...]
    reach: int = 0
    circular: bool = False

    def __call__(self, function: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        rings = self.circular and self.reach > 0
        y = self._ring(function, input, args, kwargs) if rings else function(input, *args, **kwargs)
        return y if self.pool is None else self.pool(y)

    def _ring(self, function: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        axes, sizes = range(-len(self.factors), 0), x.shape[-len(self.factors) :]
        for axis in axes:
            x = wrapped(x, axis, self.reach, self.reach)
        if args and args[0] is not None and not isinstance(args[0], Tensor):  # the size of an interpolation
            args = (self._larger(args[0]), *args[1:])
        elif kwargs.get("size") is not None:
            kwargs = {**kwargs, "size": self._larger(kwargs["size"])}
        y: Tensor = function(x, *args, **kwargs)
        for axis, size, factor in zip(axes, sizes, self.factors, strict=True):
            y = y.narrow(axis, self.reach * factor, size * factor)
        return y

    def _larger(self, size: Any) -> tuple[int, ...]:
        each_size = each(size, len(self.factors))
        return tuple(one + 2 * self.reach * factor for one, factor in zip(each_size, self.factors, strict=True))


def obstacle(call: Call) -> str:
    """Why an upsampling is not treated; empty if it is."""
    if call.name.startswith(("conv_transpose", "max_unpool", "pixel_shuffle")):
        return ""
    if call.name != "interpolate":
        return f"upsampling by {call.name} is not treated"
    given = call.arguments(_INTERPOLATION, mode="nearest")
    before, after = call.signals[0].shape[2:], call.outputs[0].shape[2:]
    if given.get("align_corners"):
        return "with align_corners=True its samples are not a whole number of new ones apart"
    if any(new % old for new, old in zip(after, before, strict=True)):
        factors = "×".join(f"{rounded(new / old, '.3g')}" for new, old in zip(after, before, strict=True))
        return f"its factor, {factors}, is not whole"
    return "" if given["mode"] in _REACHES else f"interpolation in mode {given['mode']!r} is not treated"


def reach(call: Call, factors: tuple[int, ...]) -> int | None:
    """The samples beyond a border of its input that a periodic upsampling sees.

    None if its output is not the factor times its input, so that it has no period.
    """
    before, after = (value.shape[-len(factors) :] for value in (call.signals[0], call.outputs[0]))
    if tuple(after) != tuple(size * factor for size, factor in zip(before, factors, strict=True)):
        return None
    if call.name == "interpolate":
        return _REACHES[call.arguments(_INTERPOLATION, mode="nearest")["mode"]]
    if not call.name.startswith("conv_transpose"):
        return 0
    given = call.arguments(_TRANSPOSED, dilation=1)
    kernel, spread = given["weight"].shape[2:], each(given["dilation"], axes_of(call))
    spans = (gap * (taps - 1) + 1 for taps, gap in zip(kernel, spread, strict=True))
    return max(0, *(int(-(-(span - step) // step)) for span, step in zip(spans, factors, strict=True)))
