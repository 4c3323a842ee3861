"""Laws of downsampling operators and networks, each measured in float64: the worst case that was found.

An operator downsamples a periodic signal, so its laws are about circular shifts, frequencies, sizes, gradients and
recorded programs. `LAWS` is the registry; `aliasing.downsample.guarantees` makes a table of them.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from aliasing import sampling
from aliasing.downsample.operator import Operator
from aliasing.errors import first_line
from aliasing.rounding import rounded

__all__ = ["LAWS", "Cell", "Law", "Subject", "randomised"]

Steps: TypeAlias = tuple[int, ...]
Function: TypeAlias = Callable[[Tensor], Tensor]

_FRACTIONS = 20  # random shifts
_SHIFTS = 24  # whole ones, at most
_CANVASES = 8  # of which windows are cut
_SIZES = range(5, 34)  # along one axis


@dataclass(frozen=True)
class Cell:
    """What was found of one law."""

    value: float | None = None  #: the worst case; None if there is no number
    exact: bool | None = None  #: whether the law holds to rounding; None if the number itself is the answer
    worst: str = ""  #: where that case was, or why there is no number
    applies: bool = True


NOT_APPLICABLE = Cell(applies=False)


@dataclass(frozen=True)
class Subject:
    """What is measured: an operator, a function of tensors, or a network."""

    name: str
    stride: Steps
    make: Callable[[Steps], Function | None]  #: it at another stride; None if it has only its own
    claims: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None  #: of a network's input
    channels: int = 3
    seed: int = 0

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return len(self.stride)

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes of its signals."""
        return tuple(range(-self.dims, 0))

    @property
    def function(self) -> Function:
        """It at its stride."""
        made = self.make(self.stride)
        assert made is not None
        return made

    @property
    def is_network(self) -> bool:
        """Whether it is a network, whose answer need not be a map."""
        return self.size is not None

    def sizes(self, steps: Steps | None = None) -> list[Steps]:
        """Sizes that the stride divides: into even numbers and into odd ones."""
        if self.size is not None:
            return [(self.size,) * self.dims]
        steps = steps or self.stride
        if self.dims == 3:  # one size for all, which keeps it short
            return [tuple(step * many for step, many in zip(steps, (4, 5, 4), strict=True))]
        return [tuple(step * many for step in steps) for many in (4, 5, 7)]

    def noise(self, sizes: Steps, number: int = 0, slope: float = 0.0, band_limited: bool = False) -> Tensor:
        """White noise, or with an amplitude that falls as 1/f^slope, as photographs' does with a slope of 1."""
        random = np.random.default_rng((self.seed, number))
        x = random.normal(size=(1, self.channels, *sizes))
        along = np.meshgrid(*map(np.fft.fftfreq, sizes), indexing="ij")
        radius = np.linalg.norm(along, axis=0)
        gain = np.where(radius > 0, np.maximum(radius, 1e-9) ** -slope, 1.0) / max(sizes) ** slope
        if band_limited:  # half a sample's shift of the Nyquist frequency is not defined
            for axis, size in enumerate(sizes):
                if size % 2 == 0:
                    gain[(slice(None),) * axis + (size // 2,)] = 0
        return torch.from_numpy(np.fft.ifftn(np.fft.fftn(x, axes=self.axes) * gain, axes=self.axes).real.copy())


@dataclass(frozen=True)
class Law:
    """A law: its name, the title of its column, and how it is measured."""

    name: str
    title: str
    measure: Callable[[Subject], Cell]


def tolerance(count: int) -> float:
    """The relative error that rounding leaves of ``count`` samples in float64.

    A transform or a sum of N samples adds about ε log₂ N to the norm (Higham 2002, §24.1 and §4.2), and an operator and
    the shifts of its output are a few of them; 64 leaves room for ten.
    """
    return float(64 * np.finfo(np.float64).eps * math.log2(4 * count))


def randomised(operator: Operator, seed: int = 0) -> Operator:
    """A copy in float64 as if it had learned something: what it begins with is often simpler than what it is."""
    learned = copy.deepcopy(operator).double().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    return learned


def _worst(found: Iterable[tuple[float, str]], count: int) -> Cell:
    """The largest of the errors, and whether it is rounding."""
    value, where = max(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0])
    if not math.isfinite(value):
        return Cell(None, False, where)
    return Cell(value, value <= tolerance(count), where)


def _relative(difference: Tensor, of: Tensor) -> float:
    size = float(of.norm())
    return float(difference.norm()) / size if size else float(difference.norm())


def _text(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(rounded(number, ".3g") for number in numbers) + ")"


def _by(sizes: Steps) -> str:
    return "×".join(map(str, sizes))


def _misfit(y: Tensor, sizes: Steps, steps: Steps) -> str:
    """What is wrong with the size of an output; empty if nothing is."""
    expected = tuple(-(-size // step) for size, step in zip(sizes, steps, strict=True))
    found = tuple(y.shape[2:])
    return "" if found == expected else f"{_by(sizes)} becomes {_by(found)}, not {_by(expected)}"


# --- values -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _constant(subject: Subject) -> Cell:
    if subject.is_network:
        return NOT_APPLICABLE
    sizes = [*subject.sizes(), (1,) * subject.dims, (5,) * subject.dims]
    found = []
    for size in sizes:
        y = subject.function(torch.full((1, subject.channels, *size), 7.0, dtype=torch.float64))
        found.append((float((y / 7 - 1).abs().max()) if y.numel() else math.nan, f"{_by(size)} samples"))
    return _worst(found, math.prod(sizes[0]))


@torch.no_grad()
def _linear(subject: Subject) -> Cell:
    if subject.is_network:
        return NOT_APPLICABLE
    found = []
    for sizes in subject.sizes():
        x, z = subject.noise(sizes, 1), subject.noise(sizes, 2)
        sum_of_outputs = 2 * subject.function(x) - subject.function(z)
        found.append((_relative(subject.function(2 * x - z) - sum_of_outputs, sum_of_outputs), f"{_by(sizes)} samples"))
    return _worst(found, math.prod(subject.sizes()[-1]))


# --- shifts -----------------------------------------------------------------------------------------------------------


def _moved(x: Tensor, by: Iterable[float]) -> Tensor:
    distances = tuple(by)
    return torch.as_tensor(sampling.shift(x.numpy(), distances, axes=tuple(range(-len(distances), 0))))


def _shift_error(y: Tensor, moved: Tensor, by: Iterable[float], steps: Sequence[float], margin: int = 0) -> float:
    """The least relative difference of an output from one shift of the other: by d/s or a whole number beside it.

    A choice of a phase moves its output by whole samples, and a low-pass by the fraction.
    """
    if y.ndim != len(steps) + 2:
        return _relative(moved - y, y)
    ways = []
    for distance, step in zip(by, steps, strict=True):
        far = distance / step
        ways.append({far, float(math.floor(far)), float(math.ceil(far))})
    found = _inner(moved, margin)
    varying = found - found.mean(tuple(range(2, y.ndim)), keepdim=True)
    return min(_relative(found - _inner(_moved(y, way), margin), varying) for way in product(*ways))


def _inner(x: Tensor, margin: int) -> Tensor:
    for axis in range(2, x.ndim):
        x = x.narrow(axis, margin, x.shape[axis] - 2 * margin)
    return x


def _under(
    subject: Subject, shifts: Iterable[tuple[float, ...]], steps: Steps | None = None, band_limited: bool = False
) -> Cell:
    steps = steps or subject.stride
    function = subject.make(steps)
    if function is None:
        return NOT_APPLICABLE
    found, shifts = [], list(shifts)
    for sizes in subject.sizes(steps):
        x = subject.noise(sizes, 3, band_limited=band_limited)
        y = function(x)
        wrong = "" if subject.is_network else _misfit(y, sizes, steps)
        if wrong:
            found.append((math.inf, wrong))
            continue
        between = _between(subject, y, sizes, steps)
        for by in shifts:
            error = _shift_error(y, function(_moved(x, by)), by, between)
            found.append((error, f"shift {_text(by)} of {_by(sizes)} samples"))
    return _worst(found, math.prod(subject.sizes(steps)[-1]))


def _between(subject: Subject, y: Tensor, sizes: Steps, steps: Steps) -> Sequence[float]:
    """The samples of the input for each of the output."""
    if not subject.is_network or y.ndim != len(sizes) + 2:
        return steps
    return tuple(size / found for size, found in zip(sizes, y.shape[2:], strict=True))


def _whole_shifts(steps: Steps) -> Iterator[tuple[float, ...]]:
    found = [tuple(map(float, by)) for by in product(*(range(step + 1) for step in steps)) if any(by)]
    return iter(found[:: -(-len(found) // _SHIFTS)])


@torch.no_grad()
def _integer(subject: Subject) -> Cell:
    return _under(subject, _whole_shifts((2,) * subject.dims if subject.is_network else subject.stride))


@torch.no_grad()
def _half(subject: Subject) -> Cell:
    return _under(subject, [(0.5,) * subject.dims], band_limited=True)


@torch.no_grad()
def _fractional(subject: Subject) -> Cell:
    random = np.random.default_rng(subject.seed)
    return _under(subject, map(tuple, random.uniform(0, 4, (_FRACTIONS, subject.dims)).tolist()), band_limited=True)


@torch.no_grad()
def _crop(subject: Subject) -> Cell:
    """Windows of one larger map, as photographs are cropped; a cell or two at the border is left out."""
    sizes = subject.sizes()[0] if subject.is_network else tuple(8 * step for step in subject.stride)
    reach = max(subject.stride)
    found: list[tuple[float, str]] = []
    for number in range(1 if subject.is_network else _CANVASES):
        canvas = subject.noise(tuple(size + reach for size in sizes), 100 + number, slope=1.0)
        outputs = []
        for corner in range(reach, -1, -1):  # the content moves by one sample more each time
            window = canvas
            for axis, size in zip(subject.axes, sizes, strict=True):
                window = window.narrow(axis, corner, size)
            outputs.append(subject.function(window.contiguous()))
        first, *others = outputs
        if first.ndim > 2 and min(first.shape[2:]) < 5:
            return NOT_APPLICABLE
        for by, moved in enumerate(others, 1):
            between = _between(subject, first, sizes, subject.stride)
            error = _shift_error(first, moved, (by,) * subject.dims, between, margin=2)
            found.append((error, f"windows {by} sample{'s' * (by > 1)} apart"))
    return _worst(found, math.prod(sizes))


@torch.no_grad()
def _other_strides(subject: Subject) -> Cell:
    """Whole circular shifts at strides 3 and 4."""
    if subject.is_network:
        return NOT_APPLICABLE
    cells = []
    for step in (3, 4):
        steps = (step,) * subject.dims
        try:
            cell = _under(subject, _whole_shifts(steps), steps)
        except ValueError as error:
            return Cell(None, False, first_line(error))
        cells.append(Cell(cell.value, cell.exact, f"stride {step}, {cell.worst}", cell.applies))
    return max(cells, key=lambda cell: math.inf if cell.value is None else cell.value)


# --- sizes and frequencies --------------------------------------------------------------------------------------------


@torch.no_grad()
def _every_size(subject: Subject) -> Cell:
    """One cycle of a cosine along an axis, at every size from 5 to 33: of any stride it stays one cycle."""
    if subject.is_network:
        return NOT_APPLICABLE
    found, (step, *others) = [], subject.stride
    for size in _SIZES:
        sizes = (size, *(4 * other for other in others))
        places = torch.arange(size, dtype=torch.float64).reshape(-1, *(1,) * len(others))
        x = torch.cos(2 * torch.pi * places / size).expand(1, subject.channels, *sizes).contiguous()
        y = subject.function(x)
        wrong = _misfit(y, sizes, subject.stride)
        if wrong:
            found.append((math.inf, wrong))
            continue
        angle = 2 * torch.pi * step * torch.arange(y.shape[2], dtype=torch.float64) / size
        lines = y.flatten(3).movedim(2, 0).flatten(1) if others else y.movedim(2, 0).flatten(1)
        waves = torch.stack([torch.cos(angle), torch.sin(angle), torch.ones_like(angle)], 1)
        left = lines - waves @ (torch.linalg.pinv(waves) @ lines)
        found.append((_relative(left, lines), f"{_by(sizes)} samples"))
    return _worst(found, max(_SIZES))


def _dense(subject: Subject, x: Tensor) -> Tensor | None:
    """The output before subsampling: the low-pass, or all of its phases, of the input moved by every one of them."""
    operator = subject.function
    if isinstance(operator, Operator):
        if "before" in operator.placements:
            return operator.low_pass(x)
        if operator.shares_choice:
            return x if bool(torch.isin(operator(x), x).all()) else None  # it keeps samples as they are
    dense = torch.empty_like(x)
    for phase in product(*map(range, subject.stride)):
        y = operator(x.roll(tuple(-by for by in phase), subject.axes))
        kept = dense
        for axis, by, step in zip(subject.axes, phase, subject.stride, strict=True):
            kept = kept.movedim(axis, -1)[..., by::step].movedim(-1, axis)
        if y.shape != kept.shape:
            return None
        kept.copy_(y)
    return dense


@torch.no_grad()
def _shares(subject: Subject, slope: float) -> tuple[float, float] | None:
    if subject.is_network:
        return None
    x = subject.noise(tuple(16 * step for step in subject.stride), 5, slope)
    dense = _dense(subject, x)
    if dense is None:
        return None
    whole = sampling.baseband_energy(x.numpy(), subject.stride, subject.axes)
    inside, total = (float(one.sum()) for one in sampling.baseband_energy(dense.numpy(), subject.stride, subject.axes))
    return 1 - inside / total if total else 0.0, inside / float(whole[0].sum())


def _alias(slope: float) -> Callable[[Subject], Cell]:
    def measure(subject: Subject) -> Cell:
        shares = _shares(subject, slope)
        if shares is None:
            return NOT_APPLICABLE
        # A share of the energy: its rounding is that of the amplitude squared, but of one it is ε itself.
        return Cell(shares[0], shares[0] <= tolerance((16 * max(subject.stride)) ** subject.dims))

    return measure


def _kept(slope: float) -> Callable[[Subject], Cell]:
    def measure(subject: Subject) -> Cell:
        shares = _shares(subject, slope)
        return NOT_APPLICABLE if shares is None else Cell(shares[1])

    return measure


# --- up again ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _images(subject: Subject) -> Cell:
    """Of white noise: of a network, in an answer with more samples than it was shown; of an operator, by its dual."""
    if subject.is_network:
        (sizes,) = subject.sizes()
        y = subject.function(subject.noise(sizes, 9))
        if not isinstance(y, Tensor) or y.ndim != subject.dims + 2:
            return NOT_APPLICABLE
        factors = [found // size for found, size in zip(y.shape[2:], sizes, strict=True)]
        if max(factors) < 2 or tuple(size * by for size, by in zip(sizes, factors, strict=True)) != y.shape[2:]:
            return NOT_APPLICABLE
        images = sampling.imaging(y.numpy(), factors, subject.axes)
        return Cell(float(images.imaging_fraction.max()), None, f"{_by(sizes)} becomes {_by(tuple(y.shape[2:]))}")
    operator = subject.function
    if not isinstance(operator, Operator) or operator.shares_choice or "before" not in operator.placements:
        return NOT_APPLICABLE
    y = operator.upsample(subject.noise(((127, 31, 15)[subject.dims - 1],) * subject.dims, 9))  # no bin on the edge
    share = float(sampling.imaging(y.numpy(), operator.stride, subject.axes).imaging_fraction.max())
    return Cell(share, share <= tolerance(y.numel()))


@torch.no_grad()
def _checkerboard(subject: Subject) -> Cell:
    """Of a constant: how far the means of an answer's phases differ, in the middle half, where no border reaches first.

    Their variance is the energy at the multiples of 1/2 other than zero.
    """
    if not subject.is_network:
        return NOT_APPLICABLE
    (sizes,) = subject.sizes()
    y = subject.function(torch.full((1, subject.channels, *sizes), 1.0, dtype=torch.float64))
    if not isinstance(y, Tensor) or y.ndim != subject.dims + 2 or any(size % 2 for size in y.shape[2:]):
        return NOT_APPLICABLE
    for axis in subject.axes:
        border = y.shape[axis] // 8 * 2
        y = y.narrow(axis, border, y.shape[axis] - 2 * border)
    phases = torch.as_tensor(sampling.polyphase(y.numpy(), 2, axes=subject.axes)).flatten(-subject.dims).mean(-1)
    return _worst(
        [(_relative(phases - phases.flatten(2).mean(2).reshape(*y.shape[:2], *(1,) * subject.dims), phases), "")],
        y.numel(),
    )


# --- programs ---------------------------------------------------------------------------------------------------------


def _gradient(subject: Subject) -> Cell:
    """Of the sum of squares, at noise, at zero, at a constant and on a map of one sample."""
    sizes = subject.sizes()[0]
    inputs = {"noise": subject.noise(sizes, 6)}
    inputs |= {"zero": torch.zeros_like(inputs["noise"]), "a constant": torch.ones_like(inputs["noise"])}
    if not subject.is_network:
        inputs["one sample"] = subject.noise((1,) * subject.dims, 6)
    for name, x in inputs.items():
        x.requires_grad_()
        y = subject.function(x).square().sum()
        (found,) = torch.autograd.grad(y, x, allow_unused=True) if y.requires_grad else (None,)
        if found is None or not bool(found.isfinite().all()):
            return Cell(None, False, f"{'no gradient' if found is None else 'not finite'} at {name}")
    return Cell(None, True)


class _Called(nn.Module):
    """A function as a module, which is what can be exported."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@torch.no_grad()
def _exported(subject: Subject) -> Cell:
    x = subject.noise(subject.sizes()[0], 7)
    module = subject.function if isinstance(subject.function, nn.Module) else _Called(subject.function)
    expected = module(x)
    try:
        program = torch.export.export(module, (x,)).module()
    except Exception as error:  # whatever torch's exporter raises of someone's function
        return Cell(None, False, f"{type(error).__name__}: {first_line(error)}"[:120])
    return _worst([(_relative(program(x) - expected, expected), "")], x.numel())


@torch.no_grad()
def _cost(subject: Subject) -> Cell:
    """Multiply-adds for each sample of the input: of convolutions, products, and transforms (5/4 N log₂ N)."""
    from torch.utils.flop_counter import FlopCounterMode

    def transform(shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        count = max(math.prod(shape), math.prod(out_shape or ()))
        return int(2.5 * count * math.log2(max(shape[-1], 2)))

    aten = torch.ops.aten
    transforms = {aten._fft_r2c: transform, aten._fft_c2r: transform, aten._fft_c2c: transform}
    x = subject.noise(tuple(16 * step for step in subject.stride) if not subject.is_network else subject.sizes()[0], 8)
    function: Any = subject.function
    with FlopCounterMode(display=False, custom_mapping=transforms) as counted:
        if subject.is_network:
            function(x)
        else:  # without a device it takes the path of the definition, and not one that is fast on a CPU
            function = copy.deepcopy(function).to("meta") if isinstance(function, nn.Module) else function
            function(x.to("meta"))
    return Cell(counted.get_total_flops() / 2 / x.numel())


LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law("constant kept", "constant kept", _constant),
        Law("linear", "linear", _linear),
        Law("circular integer", "whole shifts", _integer),
        Law("half-pixel", "half-pixel shift", _half),
        Law("circular fractional", "fractional shifts", _fractional),
        Law("crop shift", "crop shifts", _crop),
        Law("every size", "every size", _every_size),
        Law("strides 3 and 4", "strides 3 and 4", _other_strides),
        Law("alias free", "alias, white noise", _alias(0.0)),
        Law("alias, natural", "alias, 1/f", _alias(1.0)),
        Law("baseband kept", "baseband, white noise", _kept(0.0)),
        Law("baseband, natural", "baseband, 1/f", _kept(1.0)),
        Law("image free", "images, white noise", _images),
        Law("checkerboard", "checkerboard", _checkerboard),
        Law("gradient", "finite gradient", _gradient),
        Law("exported", "exported equal", _exported),
        Law("cost", "multiply-adds a sample", _cost),
    )
}
"""The laws in the order of the table; those of `aliasing.downsample.operator.GUARANTEES` have the same names."""
