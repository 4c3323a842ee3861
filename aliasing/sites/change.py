"""What each call of a network does to the sampling grid: which samples it keeps, along which axes, and what is lost.

There is one rule per torch function, for one, two and three axes; it reads the recorded call's arguments and shapes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
from torch import SymInt, Tensor

from aliasing.rounding import rounded
from aliasing.sites.axes import PERMUTATIONS, Axes, index_items, slice_axes, spatial_axes
from aliasing.sites.flow import ACTIVATIONS, SUMS
from aliasing.sites.status import Status
from aliasing.sites.trace import Call, Recording, Value
from aliasing.sites.windows import Cut, cuts

_BY_ITSELF = "by the network itself"
_OTHER_AXES = "it also runs along axes that are not those of the map"
_FLATTENED = "its axis runs through a flattened map, row after row"
_BY_AN_INDEX = "its positions are picked by an index, and not by a step"
_WHOLE_WINDOWS = "only shifts by whole windows commute"
_ONE_WINDOW = "a window has samples of the whole map, so only shifts by all of it commute"
_NEAR = 40  # calls between an unfolding and the folding back
_GAPS = "patches with gaps between them"


@dataclass(frozen=True)
class Change:
    """What a call does to the sampling grid.

    Attributes
    ----------
    kind : "convolution", "max pooling", "slicing", …
    kernel : in samples, one number per spatial axis.
    stride : input samples per output sample, one number per axis; below 1 if it upsamples.
    status : what can be done.
    note : why.
    source : the map that it changes, if that is not the first input of the call.
    known_axes : the spatial axes of its input, if they are not the last.
    is_site : False for a call that another one represents.
    period : the shifts that commute with it, per axis, if these are not its strides.
    entries : the calls that take the map, if it keeps every sample: one, or a slice for each phase.
    returns : the calls that put the map together again.
    window : the cut that it makes, if it cuts the map into windows.
    grid : the sizes of the map, if its input has them as one axis of tokens.
    """

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int | Fraction, ...]
    status: Status = Status.SUBSAMPLES
    note: str = ""
    source: Value | None = None
    known_axes: Axes | None = None
    is_site: bool = True
    period: tuple[int, ...] = ()
    entries: tuple[Call, ...] = ()
    returns: tuple[Call, ...] = ()
    window: Cut | None = None
    grid: tuple[int, ...] = ()

    @property
    def axes(self) -> Axes:
        """The spatial axes of its input."""
        return self.known_axes or tuple(range(-len(self.stride), 0))


def changes(record: Recording) -> dict[Call, Change]:
    """The calls of a recorded run that change the sampling grid, and how."""
    axes = spatial_axes(record)
    found = _slices_that_keep_every_sample(record, axes)
    cut = cuts(record, axes)
    found.update({call: _windowed(one) for call, one in cut.items() if one.returns})
    found.update(_unrolled(cut))
    reshapes = _Reshapes(cut)
    for call in record.calls:
        if call not in found and call.signals:
            change = reshapes.change(call) or _change(call, axes.get(call.signals[0]))
            if change is not None:
                found[call] = _of_tokens(change, call.signals[0], axes)
    return found


def _of_tokens(change: Change, source: Value, axes: Mapping[Value, Axes]) -> Change:
    """The change; if its only axis holds all samples of a map, tokens, it is unsupported unless it averages them."""
    if change.status != Status.SUBSAMPLES or len(change.stride) > 1:
        return change
    sizes = flattened(source, axes)
    if sum(size > 1 for size in sizes) < 2 or source.shape[-1] - math.prod(sizes) not in (0, 1):
        return change
    (count,) = change.kernel
    side = math.isqrt(count)
    if change.kind != "average pooling" or len(sizes) != 2 or source.shape[-1] != math.prod(sizes):
        return replace(change, status=Status.UNSUPPORTED, note=_FLATTENED)
    if change.kernel != change.stride or side**2 != count or source.shape[-1] % count:
        return replace(change, status=Status.UNSUPPORTED, note=_FLATTENED)
    # Runs of n tokens, row after row, are whole rows or parts of one, or they begin anew after a number of rows.
    across = sizes[1]
    period = count // math.gcd(count, across), 1 if count % across == 0 else count if across % count == 0 else across
    return Change("token pooling", (side, side), (side, side), note="", period=period, grid=sizes)


def flattened(source: Value, axes: Mapping[Value, Axes]) -> tuple[int, ...]:
    """The sizes of the last map on the way to a value whose spatial axes are known; none if there is no such map."""
    while source not in axes and source.producer is not None and source.producer.signals:
        source = source.producer.signals[0]
    return tuple(source.shape[axis] for axis in axes.get(source, ()))


def _unrolled(cuts: Mapping[Call, Cut]) -> dict[Call, Change]:
    """Cuts of cuts, which order the tokens so that later layers pool runs of them: the first represents them all."""
    found: dict[Call, Change] = {}
    steps: dict[Call, tuple[int, ...]] = {}
    for call, cut in cuts.items():
        if cut.outer is not None and not cut.returns:
            first = cut.outer
            while first.outer is not None:
                first = first.outer
            steps[first.call] = tuple(map(mul, steps.get(first.call, first.steps), cut.steps))
            unit = Change("mask units", steps[first.call], (1, 1), Status.WINDOWED, _WHOLE_WINDOWS)
            unit = replace(unit, known_axes=first.axes, period=unit.kernel, entries=(first.call,))
            found[first.call], found[call] = unit, replace(unit, is_site=False)
    return found


def _windowed(cut: Cut) -> Change:
    kind = "dilated windows" if cut.is_dilated else "windows"
    kernel = cut.cells[::2] if cut.is_dilated else cut.steps
    note = _WHOLE_WINDOWS if cut.windows > 1 and not cut.is_dilated else _ONE_WINDOW
    change = Change(kind, kernel, (1, 1), Status.WINDOWED, note)
    return replace(
        change, known_axes=cut.axes, period=cut.period, entries=(cut.call,), returns=tuple(cut.returns), window=cut
    )


def _change(call: Call, axes: Axes | None) -> Change | None:
    along = _ALONG_AXES.get(call.name)
    change: Change | None = None if along is None else along(call, axes)
    if change is None and call.name in _RULES:
        change = _RULES[call.name](call)
    if change is not None and change.status == Status.SUBSAMPLES and len(change.stride) > len(axes or change.stride):
        return replace(change, status=Status.UNSUPPORTED, note=_OTHER_AXES)
    return change


def each(value: Any, count: int) -> tuple[int, ...]:
    """One number per axis, from torch's one for all or one for each; the padding "valid" is none."""
    if value == "valid":
        return (0,) * count
    if isinstance(value, str):
        raise ValueError(f"padding {value!r} is not a number")
    values = (value,) if isinstance(value, int | SymInt) else tuple(value)
    values = tuple(one if isinstance(one, SymInt) else int(one) for one in values)
    return values * count if len(values) == 1 else values


def unpadded(value: Value) -> Value:
    """The input of a call before padding."""
    while value.producer is not None and value.producer.name == "pad":
        value = value.producer.signals[0]
    return value


def axes_of(call: Call) -> int:
    """The number of spatial axes of a function, from its name or the shape."""
    named = re.search(r"(\d)d", call.name)
    return int(named[1]) if named else len(call.signals[0].shape) - 2


def _ratios(source: tuple[int, ...], output: tuple[int, ...]) -> tuple[Fraction, ...]:
    return tuple(Fraction(size, kept) for size, kept in zip(source, output, strict=True))


def _spans(stride: tuple[Fraction, ...]) -> tuple[int, ...]:
    return tuple(map(math.ceil, stride))


# --- convolutions and poolings ------------------------------------------------------------------------------------


def _convolution(call: Call) -> Change | None:
    names = "input weight bias stride padding dilation groups"
    given = call.arguments(names, stride=1, padding=0, dilation=1, groups=1)
    source, weight = given["input"], given["weight"]
    kernel = tuple(weight.shape[2:])
    stride = each(given["stride"], len(kernel))
    if not _subsamples(source, stride):
        return None
    if _takes_all(call, kernel, each(given["dilation"], len(kernel)), given["padding"]):
        return Change("global convolution", kernel, stride, Status.GLOBAL)
    groups = given["groups"]
    channels = source.shape[-len(kernel) - 1]
    if groups == channels == weight.shape[0] and not weight.is_learned and not weight.is_signal:
        return Change("blur pooling", kernel, stride, Status.ANTI_ALIASED, _BY_ITSELF)
    depthwise = groups > 1 and weight.shape[1] == 1
    return Change("depthwise convolution" if depthwise else "convolution", kernel, stride)


def _transposed_convolution(call: Call) -> Change | None:
    given = call.arguments("input weight bias stride", stride=1)
    return _upsampling("transposed convolution", tuple(given["weight"].shape[2:]), given["stride"])


def _upsampling(kind: str, kernel: tuple[int, ...], stride: Any) -> Change | None:
    steps = each(stride, len(kernel))
    factors = tuple(Fraction(1, step) for step in steps)
    return None if max(steps) == 1 else Change(kind, kernel, factors, Status.UPSAMPLING)


def _max_pooling(call: Call) -> Change | None:
    given = call.arguments("input kernel_size stride padding dilation ceil_mode return_indices", padding=0, dilation=1)
    change = _pooling(call, "max pooling", given)
    if change is None or not (given.get("return_indices") or "indices" in call.name):
        return change
    note = UNPOOLED if _only_unpools(call) else "it returns indices, and those of a dense map differ"
    return replace(change, status=Status.UNSUPPORTED, note=note)


UNPOOLED = "its indices go to an unpooling: both are treated with upsampling=True"


def _only_unpools(call: Call) -> bool:
    """Whether the indices of a maximum go to unpoolings alone, which put values back where they were."""
    indices = call.outputs[1:]
    readers = [reader for value in indices for reader in value.consumers]
    is_output = any(value.is_output for value in indices)
    return bool(readers) and not is_output and all(reader.name.startswith("max_unpool") for reader in readers)


def _max_unpooling(call: Call) -> Change | None:
    dims, given = axes_of(call), call.arguments("input indices kernel_size stride")
    kernel = each(given["kernel_size"], dims)
    return _upsampling("max unpooling", kernel, given.get("stride") or kernel)


def _average_pooling(call: Call) -> Change | None:
    given = call.arguments("input kernel_size stride padding", padding=0)
    change = _pooling(call, "average pooling", {**given, "dilation": 1})
    if change is not None and _stands_for_a_stride(call, change):
        return replace(change, status=Status.ANTI_ALIASED, note=_BY_ITSELF)
    return change


def _stands_for_a_stride(call: Call, change: Change) -> bool:
    """Whether this average is a blur-pool in place of a layer's stride.

    It is if it averages whole cells, and nothing else reads the map, which is complete: activated, summed or a maximum.
    That is how CLIP's ResNets and timm's ``resnetaa`` and ``darknetaa`` are anti-aliased. An average beside a strided
    convolution (the shortcuts of ``resnet50d``), or after one without an activation (DenseNet), is ordinary pooling.
    """
    source = call.signals[0]
    if change.kernel != change.stride or len(source.consumers) > 1 or source.producer is None:
        return False
    producer = source.producer
    if re.fullmatch(r"max_pool\dd", producer.name):
        return _change(producer, None) is None  # at stride 1
    is_sum = producer.name in SUMS and len(set(producer.signals)) > 1
    return is_sum or producer.name in ACTIVATIONS


def _norm_pooling(call: Call) -> Change | None:
    given = call.arguments("input norm_type kernel_size stride ceil_mode")
    change = _pooling(call, "norm pooling", {**given, "padding": 0, "dilation": 1})
    if change is None or change.status != Status.SUBSAMPLES:
        return change
    return replace(change, status=Status.UNSUPPORTED, note="pooling by norms (LPPool) is not treated")


def _pooling(call: Call, kind: str, given: dict[str, Any]) -> Change | None:
    dims = axes_of(call)
    kernel, stride = each(given["kernel_size"], dims), given.get("stride")
    steps = each(stride, dims) if stride not in (None, [], ()) else kernel
    if not _subsamples(call.signals[0], steps):
        return None
    if _takes_all(call, kernel, each(given["dilation"], dims), given["padding"]):
        return Change(f"global {kind}", kernel, steps, Status.GLOBAL)
    return Change(kind, kernel, steps)


def _subsamples(source: Value, steps: tuple[int, ...]) -> bool:
    """Whether an axis with more than one sample loses some."""
    sizes = unpadded(source).shape[-len(steps) :]
    return any(step > 1 and size > 1 for step, size in zip(steps, sizes, strict=True))


def _takes_all(call: Call, kernel: tuple[int, ...], dilation: tuple[int, ...], padding: Any) -> bool:
    """Whether one window covers the whole map, so that it has only one position.

    A padded window has more: the same convolution at stride 1 gives several samples, of which one is kept.
    """
    dims = len(kernel)
    source, given = unpadded(call.signals[0]).shape[-dims:], call.signals[0].shape[-dims:]
    is_padded = padding != "valid" and (isinstance(padding, str) or any(each(padding, dims)))
    if max(call.outputs[0].shape[-dims:]) > 1 or source != given or is_padded:
        return False
    return all(d * (k - 1) + 1 >= size for k, d, size in zip(kernel, dilation, source, strict=True))


# --- resampling to a size -----------------------------------------------------------------------------------------


def _adaptive_pooling(call: Call) -> Change | None:
    dims = axes_of(call)
    source, output = call.signals[0].shape[-dims:], call.outputs[0].shape[-dims:]
    if source == output or len(call.signals[0].shape) <= dims:
        return None
    stride = _ratios(source, output)
    if max(output) == 1:
        return Change("global pooling", _spans(stride), stride, Status.GLOBAL)
    if max(stride) <= 1:
        return Change("adaptive pooling", (1,) * dims, stride, Status.UPSAMPLING)
    return Change("adaptive pooling", _spans(stride), stride)


def _mean(call: Call) -> Change | None:
    source = call.signals[0].shape
    rank, dims = len(source), call.arguments("input dim keepdim").get("dim")
    if rank not in (4, 5) or dims is None or isinstance(dims, int | str):
        return None
    axes = sorted(axis % rank for axis in dims)
    if axes not in (list(range(2, rank)), list(range(1, rank - 1))) or max(source[axis] for axis in axes) == 1:
        return None
    kernel = tuple(source[axis] for axis in axes)
    return Change("global pooling", kernel, kernel, Status.GLOBAL)


def _interpolation(call: Call) -> Change | None:
    source, output = call.signals[0].shape[2:], call.outputs[0].shape[2:]
    if source == output or len(source) != len(output) or not source:
        return None
    stride, kernel = _ratios(source, output), (1,) * len(source)
    if max(stride) <= 1:
        return Change("interpolation", kernel, stride, Status.UPSAMPLING)
    mode = call.arguments("input size scale_factor mode", mode="nearest")["mode"]
    if call.kwargs.get("antialias") or mode == "area":
        return Change(f"interpolation ({mode})", kernel, stride, Status.ANTI_ALIASED, _BY_ITSELF)
    return Change(f"interpolation ({mode})", kernel, stride)


def _exotic_pooling(call: Call) -> Change | None:
    dims = axes_of(call)
    stride = _ratios(call.signals[0].shape[-dims:], call.outputs[0].shape[-dims:])
    if max(stride) <= 1:
        return None
    return Change(call.name, _spans(stride), stride, Status.UNSUPPORTED, "has no dense counterpart here")


# --- between space and channels, of pictures ----------------------------------------------------------------------


def _pixel_shuffle(call: Call) -> Change | None:
    stride = _ratios(call.signals[0].shape[-2:], call.outputs[0].shape[-2:])
    if max(stride) <= 1:
        return None if max(stride) == 1 else Change("pixel shuffle", (1, 1), stride, Status.UPSAMPLING)
    return Change("space to depth", _spans(stride), stride, Status.SPACE_TO_DEPTH, entries=(call,))


def _unfolding(call: Call) -> Change | None:
    given = call.arguments("input kernel_size dilation padding stride", stride=1)
    kernel, stride = each(given["kernel_size"], 2), each(given["stride"], 2)
    if max(stride) == 1:
        return None
    if all(k >= s for k, s in zip(kernel, stride, strict=True)):
        framed = [(k, s) for k, s in zip(kernel, stride, strict=True) if s > 1]
        note = _frames(*framed[0]) if len(framed) == 1 else ""
        returns = _folded(call)
        is_cut = kernel == stride and max(each(given.get("padding", 0), 2)) == 0
        entries = (call,) if len(framed) > 1 and (is_cut or returns) else ()
        return Change("unfolding", kernel, stride, Status.SPACE_TO_DEPTH, note, entries=entries, returns=returns)
    return Change("unfolding", kernel, stride, Status.UNSUPPORTED, _GAPS)


def _folded(call: Call) -> tuple[Call, ...]:
    """The call of the same module that folds the patches back to the map, as outlook attention does (VOLO)."""
    waiting, seen = list(call.outputs), set(call.outputs)
    while waiting:
        for after in waiting.pop(0).consumers:
            if after.name == "fold":
                return (after,) if after.outputs[0].shape[-2:] == call.signals[0].shape[-2:] else ()
            if after.index - call.index < _NEAR:
                waiting += [one for one in after.outputs if one not in seen]
                seen.update(after.outputs)
    return ()


def _folding(call: Call) -> Change | None:
    given = call.arguments("input output_size kernel_size dilation padding stride", stride=1)
    return _upsampling("folding", each(given["kernel_size"], 2), given["stride"])


# --- framing of a sound ---------------------------------------------------------------------------------------------


def _short_time_fourier(call: Call) -> Change:
    given = call.arguments("input n_fft hop_length")
    window = int(given["n_fft"])
    hop = int(given.get("hop_length") or window // 4)
    kind = "short-time Fourier transform"
    if hop > window:
        return Change(kind, (window,), (hop,), Status.UNSUPPORTED, _GAPS)
    return Change(kind, (window,), (hop,), Status.SPACE_TO_DEPTH, _frames(window, hop))


def _frames(window: int, hop: int) -> str:
    """What windows at a hop keep: each frame holds all of its samples, and the frames follow each other at 1 / hop."""
    share = f"{rounded(1 - hop / window, '.0%')} overlap" if hop < window else "no overlap"
    return (
        f"frames of {window} samples, {share}; what moves between them faster than 1/{2 * hop} cycle per sample folds"
    )


# --- calls that pick samples along axes, which may be spatial or channels -----------------------------------------


def _indexing(call: Call, axes: Axes | None) -> Change | None:
    if call.args[0] is not call.signals[0]:
        return None
    steps = _steps(call, axes)
    if steps is not None:
        return _along("slicing", {axis: step for axis, (_, step) in steps.items()}, call, axes)
    source, output = call.signals[0].shape, call.outputs[0].shape
    items = index_items(call.args[1], len(source))
    if axes is None or items is None or math.prod(output) >= math.prod(source):
        return None
    items = [item for item in items if item is not None]
    picked = [axis for axis in axes if not isinstance(items[axis], slice | int)]
    if picked:
        # If several axes are indexed together, the result has one axis for them, or as many as the index.
        kept = [axis for axis in axes if axis not in picked and isinstance(items[axis], slice)]
        if not kept and max(_rank(items[axis]) for axis in picked) < len(picked):
            return None  # a list of points, such as a detector's key points, is not a map
        share = Fraction(math.prod(source), math.prod(output)) if not kept and len(picked) == 1 else None
        return _along("indexing", dict.fromkeys(picked, share or 2), call, axes, _BY_AN_INDEX)
    stepped = {axis: items[axis].step or 1 for axis in axes if isinstance(items[axis], slice)}
    if max(stepped.values(), default=1) > 1:
        return _along("slicing", stepped, call, axes, "its index picks single positions too")
    return None


def _rank(index: Any) -> int:
    """The number of axes of an index: a recorded value, an array or a list."""
    return len(index.shape) if hasattr(index, "shape") else np.ndim(index)


def _index_select(call: Call, axes: Axes | None) -> Change | None:
    source, output = call.signals[0], call.outputs[0]
    axis = call.arguments("input dim index")["dim"] % len(source.shape)
    if axes is None or axis not in axes or output.shape[axis] >= source.shape[axis]:
        return None
    ratio = {axis: Fraction(source.shape[axis], output.shape[axis])}
    return _along("indexing", ratio, call, axes, _BY_AN_INDEX)


def _windows(call: Call, axes: Axes | None) -> Change | None:
    """``Tensor.unfold``, windows along one axis; ``torch.nn.functional.unfold`` is another function.

    What is cut from a sound, (N, L) or (N, C, L), is framed along its axis, also if nothing says that this is spatial.
    """
    if call.function is not Tensor.unfold:
        return None
    given, rank = call.arguments("input dimension size step"), len(call.signals[0].shape)
    axis, size, step = given["dimension"] % rank, given["size"], given["step"]
    axes = axes or ((axis,) if rank <= 3 else ())
    change = _along("unfolding", {axis: step}, call, axes, _GAPS) if axis in axes else None
    if change is None:
        return None
    change = replace(change, kernel=tuple(size if other == axis else 1 for other in axes))
    if size < step:
        return change
    return replace(change, status=Status.SPACE_TO_DEPTH, note=_frames(size, step) if len(axes) == 1 else "")


def _along(
    kind: str, steps: Mapping[int, int | Fraction], call: Call, axes: Axes | None, note: str = ""
) -> Change | None:
    """A step along some of the spatial axes; a note says why it is not supported."""
    source = call.signals[0].shape
    steps = {axis: step for axis, step in steps.items() if source[axis] > 1}
    if max(steps.values(), default=1) <= 1:
        return None
    axes = axes or tuple(steps)  # two neighbours
    stride = tuple(steps.get(axis, 1) for axis in axes)
    status = Status.UNSUPPORTED if note else Status.SUBSAMPLES
    return Change(kind, (1,) * len(axes), stride, status, note, known_axes=axes)


def _steps(call: Call, axes: Axes | None) -> dict[int, tuple[int, int]] | None:
    """(start, step) of a slice along each spatial axis with a step; None for any other index.

    If the axes are not known, two steps along neighbouring axes of a 4-D map are taken for spatial ones.
    """
    source = call.signals[0]
    if call.name != "__getitem__" or call.args[0] is not source:
        return None
    items = slice_axes(call.args[1], len(source.shape))
    if items is None:
        return None
    stepped = [axis for axis, item in enumerate(items) if (item.step or 1) > 1]
    if axes is not None:
        stepped = [axis for axis in stepped if axis in axes]
    elif len(source.shape) != 4 or stepped not in ([1, 2], [2, 3]):
        return None
    # Whole numbers, or tensors of one.
    return {axis: (int(items[axis].start or 0), int(items[axis].step)) for axis in stepped} or None


# Described by their arguments and the spatial axes.
_ALONG_AXES: dict[str, Any] = {"__getitem__": _indexing, "index_select": _index_select, "unfold": _windows}
_RULES: dict[str, Any] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "_convolution"), _convolution),
    **{
        f"{name}{dims}d{suffix}": rule
        for dims in (1, 2, 3)
        for name, suffix, rule in (
            ("conv_transpose", "", _transposed_convolution),
            ("max_pool", "", _max_pooling),
            ("max_pool", "_with_indices", _max_pooling),
            ("max_unpool", "", _max_unpooling),
            ("avg_pool", "", _average_pooling),
            ("lp_pool", "", _norm_pooling),
            ("adaptive_avg_pool", "", _adaptive_pooling),
            ("adaptive_max_pool", "", _adaptive_pooling),
            ("fractional_max_pool", "", _exotic_pooling),
        )
    },
    "mean": _mean,
    "amax": _mean,
    "interpolate": _interpolation,
    "upsample": _interpolation,
    "grid_sample": _exotic_pooling,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_shuffle,
    "unfold": _unfolding,
    "fold": _folding,
    "stft": _short_time_fourier,
}
MAKES_SAMPLES = frozenset(_RULES.keys() | _ALONG_AXES.keys())
"""The functions that may change the sampling grid."""


# --- downsampling that keeps every sample -------------------------------------------------------------------------


def _slices_that_keep_every_sample(record: Recording, axes: dict[Value, Axes]) -> dict[Call, Change]:
    """Slices of one map that together hold all of its phases; the first represents them all.

    Slices along one axis only are not a site: wavelets, rotary embeddings and two-step merging are written so.
    """
    groups: dict[tuple[Value, tuple[tuple[int, int], ...], str], dict[tuple[int, ...], Call]] = {}
    for call in record.calls:
        steps = _steps(call, axes.get(call.signals[0])) if call.name == "__getitem__" and call.signals else None
        if steps is not None:
            items = slice_axes(call.args[1], len(call.signals[0].shape)) or []
            rest = repr([item for axis, item in enumerate(items) if axis not in steps])
            key = call.signals[0], tuple((axis, step) for axis, (_, step) in steps.items()), rest
            phase = tuple(start % step for start, step in steps.values())
            groups.setdefault(key, {})[phase] = call
    found: dict[Call, Change] = {}
    for (source, steps_of, _), phases in groups.items():
        if len(phases) == math.prod(step for _, step in steps_of):
            step_of = dict(steps_of)
            along = axes.get(source) or tuple(step_of)
            stride = tuple(step_of.get(axis, 1) for axis in along)
            first, *others = entries = sorted(phases.values(), key=lambda call: call.index)
            change = Change("space to depth", stride, stride, Status.SPACE_TO_DEPTH, known_axes=along)
            if len(steps_of) > 1:
                change = replace(change, entries=tuple(entries))
            found[first] = replace(change, is_site=len(steps_of) > 1)
            found.update(dict.fromkeys(others, replace(change, is_site=False)))
    return found


class _Reshapes:
    """Follows pictures through reshapes and permutations, to find where pixels become channels or are reduced."""

    _NAMES = PERMUTATIONS | {"view", "reshape", "flatten", "contiguous", "unflatten"}
    _REDUCTIONS = frozenset(("mean", "sum", "amax", "amin", "max", "min", "norm", "logsumexp", "select", "__getitem__"))

    def __init__(self, cut: Mapping[Call, Cut]) -> None:
        self._cuts = {one.call.signals[0]: one for one in cut.values()}
        self._origin: dict[Value, Value] = {}

    def change(self, call: Call) -> Change | None:
        source, output = call.signals[0], call.outputs[0]
        origin = self._origin.get(source, source)
        if call.name in self._REDUCTIONS:
            return self._reduction(call, origin)
        if call.name not in self._NAMES:
            return None
        if len(origin.shape) != 4 or math.prod(origin.shape) != math.prod(output.shape):
            return None
        if source is origin and call.name in PERMUTATIONS:
            return None  # the axes as they were, in another order, such as the heads of an attention
        cut = self._cuts.get(origin)
        if cut is not None and not cut.returns and len(source.shape) == 6:
            cells, joined = (
                cut.cells[0] * cut.cells[2],
                math.prod(cut.steps) * origin.shape[3 if cut.axes[0] == 1 else 1],
            )
            if output.shape == (origin.shape[0], cells, joined):  # tokens at once
                merging = Change("space to depth", cut.steps, cut.steps, Status.SPACE_TO_DEPTH, source=origin)
                return replace(merging, known_axes=cut.axes, entries=(cut.call,))
        stride = self._stride(origin.shape, output.shape, keeps_channels=False)
        if stride is not None:
            change = Change("space to depth", stride, stride, Status.SPACE_TO_DEPTH, source=origin)
            if cut is None or cut.steps != stride or cut.returns:
                return change
            return replace(change, known_axes=cut.axes, entries=(cut.call,))
        if len(output.shape) > 4:
            self._origin[output] = origin
        return None

    def _reduction(self, call: Call, origin: Value) -> Change | None:
        """A reduction over the pixels of each cell of a map that was reshaped to cells: a pooling written out."""
        source, output = call.signals[0], call.outputs[0]
        if len(source.shape) <= len(output.shape) or source not in self._origin:
            return None
        if len(output.shape) > 4:  # one axis after the other
            self._origin[output] = origin
            return None
        stride = self._stride(origin.shape, output.shape, keeps_channels=True)
        if stride is None:
            return None
        note = "a pooling written as a reshape is not treated; torch's own pooling of the same cells is"
        kind = f"{'slice' if call.name == '__getitem__' else call.name} of cells"
        return Change(kind, stride, stride, Status.UNSUPPORTED, note, origin)

    @staticmethod
    def _stride(before: tuple[int, ...], after: tuple[int, ...], *, keeps_channels: bool) -> tuple[int, int] | None:
        if len(after) != 4 or len(before) != 4 or before[0] != after[0]:
            return None
        for spatial, channel in (((2, 3), 1), ((1, 2), 3)):
            if all(after[axis] and before[axis] % after[axis] == 0 for axis in spatial):
                down, across = (before[axis] // after[axis] for axis in spatial)
                cells = 1 if keeps_channels else down * across
                if min(down, across) > 1 and after[channel] == before[channel] * cells:
                    return down, across
        return None
