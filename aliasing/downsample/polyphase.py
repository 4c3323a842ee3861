r"""The polyphase pool, APS: the polyphase component with the largest norm (Chaman & Dokmanić 2021).

.. math:: y_i = x_{si + p}, \qquad p = \arg\max_q \sum_i x_{si + q}^2

Polyphase anchoring (Ding et al. 2023) rolls the whole signal so that this component comes first, :math:`x_{i + p}`.
Whatever commutes with shifts by *s* samples, such as patches or windows of that size, then moves with every shift.

A. Chaman, I. Dokmanić: Truly Shift-Invariant Convolutional Neural Networks. CVPR 2021.

P. Ding, D. Soselia, T. Armstrong, J. Su, F. Huang: Reviving Shift Equivariance in Vision Transformers. 2023,
arXiv 2306.07470.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from aliasing.axes import PerAxis, per_axis
from aliasing.downsample.operator import Operator
from aliasing.downsample.tensors import checked, laid_out_like


def polyphase_pool(x: Tensor, stride: PerAxis = 2, *, phase: Tensor | None = None, dims: int = 2) -> Tensor:
    """Adaptive polyphase sampling, APS: the phase with the largest norm (Chaman & Dokmanić 2021).

    A circular shift of ``x`` permutes its phases and rolls them, so the result holds the same values, rolled, if the
    largest norm is unique beyond rounding. A size that the stride does not divide is first continued circularly, so
    that all phases have the same length.

    Parameters
    ----------
    x, stride, dims
        As for `aliasing.downsample.subsample`.
    phase : Tensor, optional
        The phase to use, from `largest_phase`: a shortcut must follow the branch to which it is added. Or the weight
        of every phase (N, phases), floating point, for their weighted sum.

    Returns
    -------
    Tensor
        ⌈L / stride⌉ samples per axis.

    Examples
    --------
    >>> polyphase_pool(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), dims=1)
    tensor([[3., 2.]])
    """
    components = polyphase_components(x, per_axis(stride, dims, "stride"), dims)
    if phase is None:
        phase = largest_phase(x, stride, dims=dims)
    if phase.is_floating_point():
        y = (components * phase.to(x.dtype).reshape(len(components), -1, *(1,) * (dims + 1))).sum(1)
        return laid_out_like(y, x) if x.ndim == dims + 2 else y[0]
    index = phase.reshape(-1, *(1,) * (dims + 2)).expand(-1, 1, *components.shape[2:])
    y = components.gather(1, index).squeeze(1)
    return laid_out_like(y, x) if x.ndim == dims + 2 else y[0]


def largest_phase(x: Tensor, stride: PerAxis = 2, *, dims: int = 2) -> Tensor:
    """The phase that `polyphase_pool` selects: the one with the largest Euclidean norm over channels and pixels.

    It is an int64 tensor (N,) or (): the phases of the axes as one number, the last axis fastest.

    Examples
    --------
    >>> largest_phase(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), dims=1)
    tensor(1)
    """
    checked(x, dims)
    energies = x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(-dims - 1)
    for axis, step in zip(range(-dims, 0), per_axis(stride, dims, "stride"), strict=True):
        energies = torch.stack([energies.index_select(axis, one).sum(axis) for one in _phases(x, axis, step)], axis)
    return energies.flatten(-dims).argmax(-1)


def polyphase_anchor(x: Tensor, stride: PerAxis = 2, *, phase: Tensor | None = None, dims: int = 2) -> Tensor:
    """Polyphase anchoring: roll a signal so that the phase with the largest norm comes first (Ding et al. 2023).

    Of a circular shift of ``x`` it makes the same signal but for a shift by whole strides.

    Parameters
    ----------
    x, stride, phase, dims
        As for `polyphase_pool`; the phase is a whole number.

    Returns
    -------
    Tensor
        As many samples as x has.

    Examples
    --------
    >>> polyphase_anchor(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), dims=1)
    tensor([[3., 1., 2., 0.]])
    """
    steps = per_axis(stride, dims, "stride")
    phase = largest_phase(x, steps, dims=dims) if phase is None else phase
    return roll_each(x, phases_of(phase, steps))


class PolyphasePool(Operator):
    """The phase with the largest norm, APS (Chaman & Dokmanić 2021): `polyphase_pool` with its stride, as a module.

    Examples
    --------
    >>> PolyphasePool2d(2)
    PolyphasePool2d(stride=2)
    """

    meaning = (
        "keep the phase of the samples whose norm is largest (adaptive polyphase sampling, Chaman & Dokmanić 2021)"
    )
    shares_choice = True
    guarantees = frozenset(("circular integer", "constant kept"))
    claims: ClassVar[Mapping[str, str]] = {"circular integer": "100 % consistent"}

    @property
    def filters(self) -> bool:
        return False

    def choose(self, x: Tensor) -> Tensor:
        """The phase of `polyphase_pool` for this signal, for a branch that must follow and for `polyphase_upsample`."""
        return largest_phase(x, self.stride, dims=self.dims)

    def low_pass(self, x: Tensor) -> Tensor:
        """No low-pass: the signal, rolled so that the phase of its choice comes first, for the stride to come."""
        return polyphase_anchor(x, self.stride, phase=self.choose(x), dims=self.dims)

    def forward(self, x: Tensor, phase: Tensor | None = None) -> Tensor:
        return polyphase_pool(x, self.stride, phase=self.choose(x) if phase is None else phase, dims=self.dims)


class PolyphasePool1d(PolyphasePool):
    dims = 1


class PolyphasePool2d(PolyphasePool):
    dims = 2


class PolyphasePool3d(PolyphasePool):
    dims = 3


@dataclass(eq=False)
class PhaseChoice:
    """The phase that the leader of a group of operators has chosen, for the others to follow in the same pass."""

    phase: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"phase": None}  # a choice belongs to one pass


class Polyphase(PolyphasePool):
    """The polyphase pool that `aliasing.antialias` puts into a network.

    Branches that meet again must keep the same phase, or they no longer line up: the first of them to be computed
    leads, and the others follow its choice.
    """

    def __init__(self, stride: PerAxis = 2) -> None:
        super().__init__(stride)
        self.choice = PhaseChoice()

    def follow(self, leader: "Polyphase") -> None:
        self.choice, self.leads = leader.choice, False

    def _shared(self, x: Tensor) -> Tensor:
        """The phase that this operator or its leader chooses."""
        if self.leads:
            self.choice.phase = self.choose(x)
        assert self.choice.phase is not None
        return self.choice.phase

    def low_pass(self, x: Tensor) -> Tensor:
        if "before" not in self.placements:  # a subclass that mixes its phases
            return Operator.low_pass(self, x)
        return polyphase_anchor(x, self.stride, phase=self._shared(x), dims=self.dims)

    def put_back(self, x: Tensor) -> Tensor:
        """Undo what `low_pass` did in this pass: the inverse roll."""
        assert self.choice.phase is not None
        return roll_each(x, [-first for first in phases_of(self.choice.phase, self.stride)])

    def forward(self, x: Tensor, phase: Tensor | None = None) -> Tensor:
        return super().forward(x, self._shared(x) if phase is None else phase)


def polyphase_components(x: Tensor, steps: Sequence[int], dims: int) -> Tensor:
    """Polyphase components (N, phases, C, ...) of ⌈L / s⌉ samples each, the phase of the last axis fastest."""
    checked(x, dims)
    components = [x if x.ndim == dims + 2 else x[None]]
    for axis, step in zip(range(-dims, 0), steps, strict=True):
        components = [one.index_select(axis, place) for one in components for place in _phases(x, axis, step)]
    return torch.stack(components, 1)


def _phases(x: Tensor, axis: int, step: int) -> list[Tensor]:
    """The places of the ⌈L / s⌉ samples of each phase along an axis, continued circularly."""
    size = x.shape[axis]
    # Round up without a negative number, which ONNX rounds the other way, and continue circularly without a remainder
    # by a size, which ONNX lacks. (Splitting the axis instead kills the older exporter's process.)
    places = step * torch.arange((size + step - 1) // step, device=x.device)
    phases = [places + phase for phase in range(step)]
    return [place - torch.div(place, size, rounding_mode="floor") * size for place in phases]


def phases_of(number: Tensor, steps: Sequence[int]) -> list[Tensor]:
    """The phase of each axis, of phases as one number with the last axis fastest."""
    found: list[Tensor] = []
    for step in reversed(steps):
        found.insert(0, number % step)
        number = torch.div(number, step, rounding_mode="floor")
    return found


def roll_each(x: Tensor, by: Sequence[Tensor]) -> Tensor:
    """Roll each signal of a batch (N, C, ...) to the left by its own number of samples along each axis, (N,) or ()."""
    dims = len(by)
    batch = x if x.ndim == dims + 2 else x[None]
    index = [torch.arange(len(batch), device=x.device).reshape(-1, *(1,) * dims)]
    for axis, first in enumerate(by):
        size = batch.shape[axis - dims]
        places = torch.arange(size, device=x.device) + first.reshape(-1, 1)
        places = places - torch.div(places, size, rounding_mode="floor") * size
        index.append(places.reshape(len(places), *(-1 if one == axis else 1 for one in range(dims))))
    moved = batch.movedim(1, -1)[tuple(index)].movedim(-1, 1)
    return laid_out_like(moved, x) if x.ndim == dims + 2 else moved[0]
