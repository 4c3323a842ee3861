r"""Rewriting single calls inside a module's ``forward``, without changing the module's class, parameters or names.

A call that subsamples is split in two: the same call at stride 1, whose map is *dense*, and the operator that
subsamples it. With the padding of the original call, sample *i* of the strided map is sample :math:`s i` of the dense
one, whatever the padding, dilation or size, so the same samples are kept. (If a module's stride were changed instead, a
TensorFlow-"same" convolution would pad differently, and every other sample would be the wrong one.)

A treated module has an instance attribute ``forward``, a `TreatedForward`, that runs the original ``forward`` under a
torch-function mode. torch.compile, torch.export, deepcopy and pickle know both. An operator that has parameters is
registered as a submodule as well, so that they are parameters of the network.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from aliasing.downsample.nonlinearity import alias_free
from aliasing.downsample.operator import REGISTERED
from aliasing.downsample.polyphase import largest_phase, phases_of, polyphase_pool, roll_each
from aliasing.downsample.sliding import dense_maximum
from aliasing.errors import UsageError
from aliasing.sites.axes import slice_axes
from aliasing.sites.change import each
from aliasing.sites.flow import ACTIVATIONS
from aliasing.sites.tokens import Tokens
from aliasing.sites.trace import name_of
from aliasing.surgery.operators import Pooling

__all__ = [
    "NONLINEARITIES",
    "AliasFree",
    "CircularCall",
    "CircularPadding",
    "Code",
    "DenseAverage",
    "DenseConvolution",
    "DenseMaximum",
    "DenseMaximumWithIndices",
    "DenseSlice",
    "InFront",
    "NormalisedTogether",
    "PooledConvolution",
    "PutBack",
    "ReplacedAverage",
    "Rewrite",
    "SmoothedConvolution",
    "SmoothedResampling",
    "TreatedForward",
    "WithoutMask",
]

Function: TypeAlias = Callable[..., Tensor]
Rewrite: TypeAlias = Callable[..., Tensor]
"""The replacement of a call; it gets the function and its arguments."""
_Sizes: TypeAlias = tuple[int, ...]

# The calls that can be rewritten, under the names that the record of a run gives them.
_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, F.linear)
_MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d, torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)
_WITH_INDICES = tuple(getattr(F, f"max_pool{n}d_with_indices") for n in (1, 2, 3))
_UPSAMPLINGS = (
    *(getattr(torch, f"conv_transpose{n}d") for n in (1, 2, 3)),
    *(getattr(F, f"max_unpool{n}d") for n in (1, 2, 3)),
    torch.pixel_shuffle,
)
_AVERAGES = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_ADAPTIVE = tuple(getattr(F, f"adaptive_{kind}_pool{n}d") for kind in ("avg", "max") for n in (1, 2, 3))
NORMALISATIONS = tuple(
    getattr(place, name) for place in (F, torch) for name in ("layer_norm", "rms_norm") if hasattr(place, name)
)
_OTHERS = (F.interpolate, F.pad, Tensor.__getitem__, F.batch_norm, torch.batch_norm, *NORMALISATIONS)
_KEEP_ALL = (Tensor.view, Tensor.reshape, torch.reshape, F.unfold, F.fold, Tensor.unfold, F.pixel_unshuffle)
_SUMS = (Tensor.add, torch.add)
_CLAMPS = (F.relu, torch.relu, Tensor.relu, F.relu6, F.hardtanh)
NONLINEARITIES = ACTIVATIONS - {"abs", "clamp", "clamp_", "clip", "erf", "exp", "square"}  # which also do other things
_ACTIVATIONS = tuple(
    getattr(place, name) for place in (F, torch, Tensor) for name in sorted(NONLINEARITIES) if hasattr(place, name)
)
_POOLINGS = (*_MAXIMA, *_WITH_INDICES, *_AVERAGES, *_ADAPTIVE)
_REWRITTEN = (*_CONVOLUTIONS, *_POOLINGS, *_UPSAMPLINGS, *_OTHERS, *_KEEP_ALL, *_SUMS, *_CLAMPS, *_ACTIVATIONS)
NAMES: dict[Any, str] = {call: name_of(call) for call in _REWRITTEN}


class _Rewriting(TorchFunctionMode):
    """Counts the calls of each function, and rewrites the chosen ones."""

    def __init__(self, rewrites: dict[tuple[str, int], Rewrite]) -> None:
        super().__init__()
        self.rewrites = rewrites
        self.counts = dict.fromkeys({name for name, _ in rewrites}, 0)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = NAMES.get(func)
        if name in self.counts:
            number = self.counts[name]
            self.counts[name] = number + 1
            rewrite = self.rewrites.get((name, number))
            if rewrite is not None:
                # Outer modes count the calls of their own modules; this call is already rewritten.
                with torch._C.DisableTorchFunction():
                    return rewrite(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _holder(module: nn.Module) -> nn.Module:
    """The module itself, or, if it runs whatever is registered in it, the first module inside that does not."""
    return next(inside for inside in module.modules() if not isinstance(inside, nn.Sequential | nn.ModuleDict))


def register(module: nn.Module, name: str, part: nn.Module) -> None:
    """Register what a treated module calls, so that it moves and is saved with the network."""
    holder = _holder(module)
    while hasattr(holder, name):
        name += "_"
    holder.add_module(name, part)


@dataclass(eq=False)
class TreatedForward:
    """The ``forward`` of a treated module."""

    module: nn.Module
    #: The functions applied to its positional arguments, by their number.
    inputs: dict[int, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    #: The replacements of calls made inside, by function and number.
    rewrites: dict[tuple[str, int], Rewrite] = field(default_factory=dict)
    output: Callable[[Tensor], Tensor] | None = None  #: applied to its output
    original: Callable[..., Any] | None = None  #: the instance's own ``forward``; None if it is the class's

    def poolings(self) -> Iterator[tuple[tuple[Any, ...], Pooling]]:
        """The operators of this module, each with its place in it."""
        for position, pool in self.inputs.items():
            pooling = getattr(pool, "__self__", pool)  # `smooth` is a method of one
            if isinstance(pooling, Pooling):
                yield ("inputs", position), pooling
        if isinstance(self.output, Pooling):
            yield ("output",), self.output
        for number, rewrite in self.rewrites.items():
            pooling = getattr(rewrite, "pool", None)
            if isinstance(pooling, Pooling):
                yield ("rewrites", number), pooling

    def added(self) -> Iterator[tuple[tuple[Any, ...], nn.Module]]:
        """The modules that surgery adds here: operators, and functions that learn."""
        yield from ((place, pooling.operator) for place, pooling in self.poolings())
        for number, rewrite in self.rewrites.items():
            learned = getattr(rewrite, "learned", None)
            if learned is not None:
                yield ("rewrites", number), learned

    def attach(self) -> None:
        """Put this in the place of the module's ``forward``, and register what it adds that has parameters."""
        self.original = vars(self.module).get("forward")
        self.module.forward = self
        holder = _holder(self.module)
        for place, part in self.added():
            holds_tensors = any(True for _ in chain(part.parameters(), part.buffers()))
            if holds_tensors and part not in holder.children():
                part.train(self.module.training)
                name = REGISTERED + "_".join(map(str, pytree.tree_leaves(place))).removeprefix("rewrites_")
                register(self.module, name, part)

    def detach(self) -> None:
        """Restore the module's ``forward``."""
        del self.module.forward
        if self.original is not None:
            self.module.forward = self.original
        holder, added = _holder(self.module), {part for _, part in self.added()}
        for name in [name for name, inside in holder.named_children() if inside in added]:
            delattr(holder, name)

    @property
    def __code__(self) -> Any:  # which torch.export reads of the network's own forward, to say where it is written
        return type(self.module).forward.__code__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.inputs:
            args = tuple(self.inputs[i](arg) if i in self.inputs else arg for i, arg in enumerate(args))
        if self.rewrites:
            with _Rewriting(self.rewrites):
                result = self._run(*args, **kwargs)
        else:
            result = self._run(*args, **kwargs)
        return result if self.output is None else self.output(result)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if self.original is not None:
            return self.original(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)


class _Convolution(NamedTuple):
    """The arguments of a convolution, as torch takes them."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1


class _Average(NamedTuple):
    """The arguments of an average pooling, as torch takes them."""

    input: Tensor
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None


@dataclass(frozen=True)
class AliasFree:
    """The non-linearity between an interpolation by two and a low-pass; ``learned`` replaces the function."""

    axes: tuple[int, ...] = ()  #: of space, counted from 0
    learned: nn.Module | None = None
    tokens: Tokens | None = None

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        x, *rest = args if args else (kwargs.pop("input"),)
        dense = self.learned or (lambda dense: function(dense, *rest, **kwargs))
        if self.tokens is None:
            ends = tuple(range(-len(self.axes), 0))
            y = alias_free(dense, x.movedim(self.axes, ends), dims=len(ends)).movedim(ends, self.axes)
        else:
            y = _of_map(partial(alias_free, dense, dims=len(self.tokens.grid)), x, self.tokens, others=dense)
        in_place = name_of(function).endswith("_") or kwargs.get("inplace", False)
        return x.copy_(y) if in_place else y


@dataclass(frozen=True)
class NormalisedTogether:
    """A layer normalisation over the channels, the last axis, at once for all positions of a map or its tokens."""

    tokens: Tokens | None = None

    def __call__(
        self,
        function: Function,
        input: Tensor,  # noqa: A002
        normalized_shape: Any,
        weight: Tensor | None = None,
        *others: Any,
        **options: Any,
    ) -> Tensor:
        names = ("bias", "eps") if name_of(function) == "layer_norm" else ("eps",)
        given = {**dict(zip(names, others, strict=False)), **options}
        bias, epsilon = given.get("bias"), given.get("eps")
        eps = {} if epsilon is None else {"eps": epsilon}
        normalised = getattr(F, name_of(function))
        if self.tokens is None or not self.tokens.first:
            y: Tensor = normalised(input, input.shape[1:], **eps)
        else:
            rest, rows = input[:, : self.tokens.first], input[:, self.tokens.first :]
            y = torch.cat([normalised(rest, normalized_shape, **eps), normalised(rows, rows.shape[1:], **eps)], 1)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias


@dataclass(frozen=True)
class DenseConvolution:
    """The convolution at a stride of ``kept``, then ``pool``, here or further down the network."""

    pool: Pooling | None
    kept: tuple[int, ...] = (1, 1)
    circular: bool = False

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        given = _Convolution(*args, **kwargs)
        if self.circular:
            axes = len(self.kept)
            reach = span(given.weight.shape[-axes:], each(given.dilation, axes))
            steps, padding = each(given.stride, axes), each(given.padding, axes)
            given = given._replace(input=_ring(given.input, reach, steps, padding), padding=0)
        dense = function(*given._replace(stride=self.kept))
        return dense if self.pool is None else self.pool(dense)


@dataclass(frozen=True)
class SmoothedConvolution:
    """Low-pass, then the original convolution, at its own cost."""

    pool: Pooling
    circular: bool = False

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        given = _Convolution(*args, **kwargs)
        given = given._replace(input=self.pool.smooth(given.input))
        if self.circular:
            padding = each(given.padding, _axes(function))
            given = given._replace(input=_around(given.input, padding), padding=0)
        return function(*given)


@dataclass(frozen=True)
class PooledConvolution:
    """``pool``, then a 1×1 convolution: the two commute, and this order costs less."""

    pool: Pooling

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        given = _Convolution(*args, **kwargs)
        return function(*given._replace(input=self.pool(given.input), stride=1))


@dataclass(frozen=True)
class DenseMaximum:
    """The maximum at every position, then ``pool``. ``window`` replaces the kernel and its padding."""

    pool: Pooling
    window: int | None = None
    circular: bool = False

    def __call__(
        self,
        function: Function,
        input: Tensor,  # noqa: A002
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        axes = _axes(function)
        if self.window is not None:
            return self.pool(dense_maximum(input, (self.window,) * axes))
        kernel, pad, spread = each(kernel_size, axes), each(padding, axes), each(dilation, axes)
        steps = each(stride, axes) if stride else kernel
        reach = span(kernel, spread)
        if self.circular:
            return self.pool(dense_maximum(_ring(input, reach, steps, pad, ceil_mode), kernel, dilation=spread))
        beyond = _beyond(input, reach, steps, pad, ceil_mode)
        if max(beyond) > 0:
            input = F.pad(input, _sides(pad, beyond), value=-torch.inf)  # noqa: A001
            pad = (0,) * axes
        return self.pool(dense_maximum(input, kernel, pad, spread))


@dataclass(frozen=True)
class DenseMaximumWithIndices:
    """The maximum at every position, then ``pool``, and where each value comes from, for an unpooling.

    If ``pool`` chooses a phase, the indices are those of the windows that it keeps, and otherwise the original ones.
    """

    pool: Pooling
    circular: bool = False

    def __call__(
        self,
        function: Function,
        input: Tensor,  # noqa: A002
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Tensor]:
        given = kernel_size, stride, padding, dilation, ceil_mode
        values = DenseMaximum(self.pool, circular=self.circular)(function, input, *given)
        choice = getattr(self.pool.operator, "choice", None)
        if choice is None or input.is_meta:
            return values, function(input, *given)[1]
        axes = _axes(function)
        kernel, pad, spread = each(kernel_size, axes), each(padding, axes), each(dilation, axes)
        steps, reach = each(stride, axes) if stride else kernel, span(kernel, spread)
        if self.circular:
            wide = _ring(input, reach, steps, pad, ceil_mode)
        else:
            wide = F.pad(input, _sides(pad, _beyond(input, reach, steps, pad, ceil_mode)), value=-torch.inf)
        _, found = function(wide, kernel, 1, 0, spread)
        places = torch.zeros_like(found)  # in the map, counted row by row
        for axis, before in zip(range(-axes, 0), pad, strict=True):
            along = torch.div(found, math.prod(wide.shape[axis:][1:]), rounding_mode="floor") % wide.shape[axis]
            places = places * input.shape[axis] + (along - before) % input.shape[axis]
        phase = choice.phase.argmax(1) if choice.phase.is_floating_point() else choice.phase
        return values, polyphase_pool(places.double(), self.pool.stride, phase=phase, dims=axes).long()


@dataclass(frozen=True)
class DenseAverage:
    """The average at every position, then ``pool``."""

    pool: Pooling
    circular: bool = False

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        given = _Average(*args, **kwargs)
        windows = _windows(given, _axes(function))
        input, kernel, _, pad, _ = windows  # noqa: A001
        divisor = {} if given.divisor_override is None else {"divisor_override": given.divisor_override}  # none in 1-D
        if self.circular:
            return self.pool(function(_ring(*windows), kernel, 1, **divisor))
        beyond = _beyond(*windows)
        if max(beyond) == 0:
            return self.pool(function(input, kernel, 1, pad, False, given.count_include_pad, **divisor))
        # The last windows reach beyond the padding, where nothing counts: divide by the share of them that counts.
        averaged = F.pad(input, _sides(pad, beyond))
        if divisor:
            return self.pool(function(averaged, kernel, 1, **divisor))
        counted = torch.ones_like(input[:1, :1])
        if given.count_include_pad:
            counted = F.pad(counted, _sides(pad), value=1.0)
            counted = F.pad(counted, _sides((0,) * len(pad), beyond))
        else:
            counted = F.pad(counted, _sides(pad, beyond))
        return self.pool(function(averaged, kernel, 1) / function(counted, kernel, 1))


@dataclass(frozen=True)
class ReplacedAverage:
    """``pool`` instead of an average, as in the published networks, with the average's output size."""

    pool: Pooling

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        given = _Average(*args, **kwargs)
        pooled = self.pool(given.input)
        axes = _axes(function)
        wanted = _samples(*_windows(given, axes))
        sizes = pooled.shape[-axes:]
        if wanted == tuple(sizes):
            return pooled
        if any(most > size for most, size in zip(wanted, sizes, strict=True)):  # windows beyond the map
            return DenseAverage(self.pool)(function, *args, **kwargs)
        first: Any = (..., *map(slice, wanted))
        return pooled[first]


@dataclass(frozen=True)
class DenseSlice:
    """The slice without its steps, then ``pool``. ``axes`` are the spatial ones, in the order of the strides."""

    pool: Pooling
    axes: tuple[int, ...]

    def __call__(self, function: Function, input: Tensor, index: Any) -> Tensor:  # noqa: A002
        slices = slice_axes(index, input.ndim)
        if slices is None:
            raise RuntimeError(f"expected a slice here; got the index {index!r}")
        # Channels and images are sliced as before.
        kept = (slice(s.start, s.stop) if axis in self.axes else s for axis, s in enumerate(slices))
        ends = tuple(range(-len(self.axes), 0))
        return self.pool(function(input, tuple(kept)).movedim(self.axes, ends)).movedim(ends, self.axes)


@dataclass(frozen=True)
class InFront:
    """``pool`` at stride 1 on the map with these spatial axes, then the original call.

    If ``grid`` is given, the last axis has a map's samples one row after the other.
    """

    pool: Pooling
    axes: tuple[int, ...]
    grid: tuple[int, ...] = ()

    def __call__(self, function: Function, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        if self.grid:
            rows = input.reshape(*input.shape[:-1], *scaled(self.grid, input.shape[-1]))
            return function(self.pool.smooth(rows).flatten(-len(self.grid)), *args, **kwargs)
        return function(_along(self.pool.smooth, input, self.axes), *args, **kwargs)


@dataclass(frozen=True)
class PutBack:
    """The original call, and then the samples where they were before ``pool``."""

    pool: Pooling
    axes: tuple[int, ...]

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        return _along(self.pool.put_back, function(*args, **kwargs), self.axes)


@dataclass(frozen=True)
class WithoutMask:
    """No sum, but its other argument; ``mask`` is the place of the mask."""

    mask: int

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        kept: Tensor = args[1 - self.mask]
        return kept


@dataclass(frozen=True)
class Code:
    """A position code, rolled on the circle so that it begins at the token with the largest norm, and then the sum.

    ``code`` is its place among the arguments.
    """

    code: int
    axes: tuple[int, ...] = ()
    tokens: Tokens | None = None

    def __call__(self, function: Function, *args: Any, **kwargs: Any) -> Tensor:
        x = args[1 - self.code]
        code = args[self.code].expand_as(x)
        if x.is_meta:
            return function(x, code, **kwargs)
        if self.tokens is None:
            ends = tuple(range(-len(self.axes), 0))
            first = x.movedim(self.axes, ends)
            return function(x, _along(partial(_begun_at_largest, x=first, dims=len(ends)), code, self.axes), **kwargs)
        begun = partial(_begun_at_largest, x=map_of(x, self.tokens), dims=len(self.tokens.grid))
        return function(x, _of_map(begun, code, self.tokens, others=lambda others: others), **kwargs)


def _begun_at_largest(code: Tensor, *, x: Tensor, dims: int) -> Tensor:
    """The code, rolled to begin where the map has its largest norm."""
    sizes = x.shape[-dims:]
    place = phases_of(largest_phase(x, sizes, dims=dims), sizes)
    return roll_each(code, [-first for first in place])


def map_of(x: Tensor, tokens: Tokens) -> Tensor:
    """The map (N, C, ...) of the tokens (N, L, C)."""
    grid = scaled(tokens.grid, x.shape[1] - tokens.first)
    return x[:, tokens.first :].mT.reshape(len(x), -1, *grid)


def _of_map(
    function: Callable[[Tensor], Tensor], x: Tensor, tokens: Tokens, *, others: Callable[[Tensor], Tensor]
) -> Tensor:
    """The tokens after a function of their map, and the others in front of them after a function of theirs."""
    y = function(map_of(x, tokens)).flatten(2).mT
    return torch.cat([others(x[:, : tokens.first]), y], 1) if tokens.first else y


def _along(function: Callable[[Tensor], Tensor], x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A function of the last axes, along these axes; the result is laid out as calls that reshape it need."""
    ends = tuple(range(-len(axes), 0))
    return function(x.movedim(axes, ends)).movedim(ends, axes).contiguous()


def scaled(grid: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The sizes of a map of ``count`` samples with the proportions of another."""
    factor = (count / math.prod(grid)) ** (1 / len(grid))
    sizes = tuple(round(size * factor) for size in grid)
    if math.prod(sizes) != count or any(
        size * grid[0] != sizes[0] * one for size, one in zip(sizes, grid, strict=True)
    ):
        raise UsageError(f"{count} tokens are no map with the proportions of {'×'.join(map(str, grid))}; give another")
    return sizes


@dataclass(frozen=True)
class SmoothedResampling:
    """Low-pass, then the resampling to a size, which has no dense map."""

    pool: Pooling

    def __call__(self, function: Function, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        return function(self.pool.smooth(input), *args, **kwargs)


@dataclass(frozen=True)
class CircularCall:
    """A convolution, maximum or average with circular padding; ``padding`` is the index of that argument."""

    padding: int
    axes: int = 2

    def __call__(self, function: Function, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        given = list(args)
        if "padding" in kwargs:
            width, kwargs = kwargs["padding"], {**kwargs, "padding": 0}
        else:
            width, given[self.padding - 1] = given[self.padding - 1], 0
        if width == "same":
            spread = each(given[4] if len(given) > 4 else kwargs.get("dilation", 1), self.axes)
            total = [samples - 1 for samples in span(given[0].shape[-self.axes :], spread)]
            before, rest = tuple(sides // 2 for sides in total), tuple(sides % 2 for sides in total)
            return function(_around(input, before, rest), *given, **kwargs)
        return function(_around(input, each(width, self.axes)), *given, **kwargs)


@dataclass(frozen=True)
class CircularPadding:
    """Circular ``F.pad``, with enough padding at the end that a dense map of ``windows`` closes the ring."""

    windows: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()

    def __call__(self, function: Function, input: Tensor, pad: Any, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
        sides = list(pad)
        for place, (window, step) in enumerate(zip(reversed(self.windows), reversed(self.steps), strict=True)):
            size = input.shape[-1 - place] + sides[2 * place] + sides[2 * place + 1]
            sides[2 * place + 1] += -(size - window + 1) % step
        return F.pad(input, sides, mode="circular")


def _axes(function: Function) -> int:
    """The number of axes of a convolution or a pooling."""
    return int(re.findall(r"(\d)d", name_of(function))[0])  # conv1d, max_pool2d_with_indices


def span(kernel: Any, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """The number of samples that a kernel spans."""
    return tuple(spread * (size - 1) + 1 for size, spread in zip(kernel, dilation, strict=True))


def _windows(given: _Average, axes: int) -> tuple[Tensor, _Sizes, _Sizes, _Sizes, bool]:
    """The map that is pooled, the size, steps and padding of the windows, and ``ceil_mode``."""
    kernel = each(given.kernel_size, axes)
    steps = each(given.stride, axes) if given.stride else kernel
    return given.input, kernel, steps, each(given.padding, axes), given.ceil_mode


def _ring(x: Tensor, reach: _Sizes, steps: _Sizes, padding: _Sizes, ceil_mode: bool = False) -> Tensor:
    """The map with circular padding, such that the dense map has whole strides and closes the ring."""
    counts = _samples(x, reach, steps, padding, ceil_mode)
    sides = zip(x.shape[-len(reach) :], reach, steps, padding, counts, strict=True)
    beyond = tuple(count * step - (size + 2 * pad - span + 1) for size, span, step, pad, count in sides)
    return _around(x, padding, beyond)


def _around(x: Tensor, padding: _Sizes, beyond: _Sizes | None = None) -> Tensor:
    """The map with circular padding before and after; ``beyond`` more after."""
    sides = _sides(padding, beyond)
    if max(sides) <= min(x.shape[-len(padding) :]):
        return F.pad(x, sides, mode="circular") if any(sides) else x
    for axis, before, after in zip(range(-1, -len(padding) - 1, -1), sides[::2], sides[1::2], strict=True):
        x = wrapped(x, axis, before, after)
    return x


def wrapped(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """A periodic map continued along one axis, by more than a period too, which `F.pad` refuses."""
    size = x.shape[axis]
    return x.index_select(axis, torch.arange(-before, size + after, device=x.device) % size)


def _sides(padding: _Sizes, beyond: _Sizes | None = None) -> list[int]:
    """What `F.pad` takes, the last axis first, for padding before and after, and ``beyond`` more after."""
    both = zip(padding, beyond or (0,) * len(padding), strict=True)
    return [side for pad, more in reversed(list(both)) for side in (pad, pad + more)]


def _samples(x: Tensor, reach: _Sizes, steps: _Sizes, padding: _Sizes, ceil_mode: bool) -> _Sizes:
    """The number of windows of a pooling along each axis."""
    counts = []
    for size, window, step, pad in zip(x.shape[-len(reach) :], reach, steps, padding, strict=True):
        free = size + 2 * pad - window
        count = (-(-free // step) if ceil_mode else free // step) + 1
        # The last window must start inside the map or the padding before it.
        if ceil_mode and (count - 1) * step >= size + pad:
            count -= 1
        counts.append(count)
    return tuple(counts)


def _beyond(x: Tensor, reach: _Sizes, steps: _Sizes, padding: _Sizes, ceil_mode: bool) -> _Sizes:
    """How far the last windows of a pooling with ``ceil_mode`` reach beyond the padding at the end of the map."""
    if not ceil_mode:
        return (0,) * len(reach)
    counts = _samples(x, reach, steps, padding, ceil_mode)
    sides = zip(x.shape[-len(reach) :], reach, steps, padding, counts, strict=True)
    return tuple(max((count - 1) * step + window - size - 2 * pad, 0) for size, window, step, pad, count in sides)
