"""From the record of a run to the table of its downsampling sites."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aliasing.models.declared import built_for, channels_of
from aliasing.sites.axes import Axes, index_items, spatial_axes
from aliasing.sites.flow import ACTIVATIONS, SUMS, follow
from aliasing.sites.trace import Call, Trace, Value, on_trial, trace
from aliasing.tables import render

if TYPE_CHECKING:
    from aliasing.models import Classifier

__all__ = ["LocatedSite", "Site", "Sites", "Status", "find_sites", "locate", "probe_of", "table"]

Status = Literal["subsamples", "anti-aliased", "keeps every sample", "keeps no position", "upsampling", "out of reach"]
"""What there is to do at a site.

``subsamples`` is there to be treated; ``anti-aliased`` has been; ``keeps every sample`` moves all phases into the
channels (or into overlapping patches), and ``keeps no position`` is global, so neither can alias by subsampling;
``upsampling`` is its opposite; ``out of reach`` subsamples in a way that has no dense counterpart, and says why.
"""


@dataclass(frozen=True)
class Site:
    """A place where a network changes its sampling grid.

    Attributes
    ----------
    name : the module's qualified name, and the function's for a call that is no module of its own.
    module : the qualified name of the module in whose ``forward`` the call stands.
    kind : "convolution", "depthwise convolution", "max pooling", "average pooling", "slicing", …
    role : "stem" or "patch embedding" for a convolution on the image, "shortcut" for a 1×1 one, else "".
    stride : (down, across).
    cumulative_stride : pixels of the input per sample of the output.
    kernel : (height, width) in samples.
    input_shape, output_shape : of the first use.
    followed_by : the calls behind, up to the next that mixes pixels.
    uses : how often the network passes here.
    status : what there is to do.
    note : why, or how it was treated.
    """

    name: str
    module: str
    kind: str
    role: str
    stride: tuple[int, int]
    cumulative_stride: tuple[float, float]
    kernel: tuple[int, int]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    followed_by: tuple[str, ...]
    uses: int
    status: Status
    note: str = ""


@dataclass(frozen=True)
class LocatedSite:
    """A site, and the calls that are it: number ``ordinal`` of its function in each call of its module.

    ``axes`` are those of space in what it is given, down and across.
    """

    site: Site
    calls: tuple[Call, ...]
    ordinal: int
    axes: tuple[int, ...] = (-2, -1)


class Sites(list[Site]):
    """The sites of a network, in the order of its run; a list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return render(table(self), "html")


def find_sites(model: "Classifier | nn.Module", example_input: Any = None) -> Sites:
    """Find every place where a network changes its sampling grid, in the order of its run.

    Parameters
    ----------
    model : Classifier or nn.Module
        It is run once, in eval mode, on the meta device where that works, and is left as it was. A network that
        `antialias` made gives the sites that it had, marked with what was done.
    example_input : Any, optional
        What the network takes: a tensor N×C×H×W, a list of images, a dict; a tuple is several positional arguments.
        By default one image of the network's own size, 224×224 where it has none.

    Returns
    -------
    Sites
        A list of Site.

    Raises
    ------
    InputError
        If the network fails on the probe.
    UsageError
        If it is a scripted one.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(2))
    >>> for site in find_sites(net, torch.zeros(1, 3, 32, 32)):
    ...     print(site.name, site.kind, site.role, site.stride, site.cumulative_stride, site.followed_by)
    0 convolution stem (2, 2) (2.0, 2.0) ('relu', 'max_pool2d')
    2 max pooling  (2, 2) (4.0, 4.0) ('output',)
    """
    module, example = probe_of(model, example_input)
    treated: list[Site] | None = getattr(module, "antialiased_sites", None)
    if treated is not None:
        return Sites(treated)
    return Sites(located.site for located in locate(trace(module, example)))


def probe_of(model: "Classifier | nn.Module", example_input: Any) -> tuple[nn.Module, Any]:
    """The bare module, and the example that it is to be run on."""
    module: nn.Module = model if isinstance(model, nn.Module) else model.module
    if example_input is not None:
        return module, example_input
    if not isinstance(model, nn.Module):
        return module, model.blank()
    config = getattr(module, "pretrained_cfg", None) or {}
    published = config.get("input_size") if isinstance(config, dict) else None
    expected, *usual = published or (3, 224, 224)
    size = built_for(module) or usual
    parameter = next(module.parameters(), torch.zeros(()))
    probe = torch.zeros(1, channels_of(module), *size, device=parameter.device, dtype=parameter.dtype)
    if probe.shape[1] != expected and not _runs(module, probe):
        # What is in front of the first convolution makes its channels: a space-to-depth, a DCT.
        probe = probe.new_zeros(1, expected, *size)
    return module, probe


def _runs(module: nn.Module, probe: Tensor) -> bool:
    try:
        with on_trial(module) as network:
            network(probe)
    except Exception:  # whatever the network raises
        return False
    return True


def table(sites: Sequence[Site]) -> list[dict[str, str]]:
    """The sites as rows of text, for a person to read."""
    return [
        {
            "name": site.name,
            "kind": f"{site.kind} ({site.role})" if site.role else site.kind,
            "stride": _pair(site.stride),
            "cumulative": _pair(site.cumulative_stride),
            "kernel": _pair(site.kernel),
            "in": "×".join(map(str, site.input_shape[1:])),
            "out": "×".join(map(str, site.output_shape[1:])),
            "followed by": " → ".join(site.followed_by),
            "uses": str(site.uses),
            "status": f"{site.status}: {site.note}" if site.note else site.status,
        }
        for site in sites
    ]


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g}×{pair[1]:g}"


def locate(record: Trace) -> list[LocatedSite]:
    """Every site of a recorded run, with its calls."""
    strides = _Strides()
    found: dict[tuple[str, str, int], LocatedSite] = {}
    ordinals: dict[tuple[int, str], int] = {}
    axes = spatial_axes(record)
    slices = _slices_that_keep_every_sample(record, axes)
    reshaped = _Reshapes()
    names = _own_calls(record)
    for call in record.calls:
        key = (id(call.module), call.name)
        ordinal = ordinals[key] = ordinals.get(key, -1) + 1
        description = slices.get(call) or reshaped.describe(call) or _describe(call, axes)
        strides.advance(call, description)
        if description is None or (call in slices and slices[call] is None):
            continue
        place = (call.module.name, call.name, ordinal)
        if place in found:
            known = found[place]
            site = replace(known.site, uses=known.site.uses + 1)
            found[place] = replace(known, site=site, calls=(*known.calls, call))
        else:
            site = _site(call, description, names, strides)
            found[place] = LocatedSite(site, (call,), ordinal, description.axes)
    return list(found.values())


@dataclass(frozen=True)
class _Description:
    kind: str
    kernel: tuple[int, int]
    stride: tuple[Fraction, Fraction]
    status: Status = "subsamples"
    note: str = ""
    source: Value | None = None  # where it is not the first input of the call
    axes: tuple[int, ...] = (-2, -1)


def _site(call: Call, description: _Description, own_calls: dict[int, int], strides: "_Strides") -> Site:
    source, output = _unpadded(description.source or call.signals[0]), call.outputs[0]
    is_module = own_calls[id(call.module)] == 1 or call.function is type(call.module.module)
    module = call.module.name
    name = module if is_module and module else ".".join(filter(None, (module, call.name.strip("_"))))
    role = ""
    if "convolution" in description.kind and description.status == "subsamples":
        on_image = _is_image(source)
        if on_image and all(k <= s for k, s in zip(description.kernel, description.stride, strict=True)):
            role = "patch embedding"
        elif on_image:
            role = "stem"
        elif description.kernel == (1, 1):
            role = "shortcut"
    continuation = follow(output)
    followed = [passed.name for passed in continuation.passed] + [passed.name for passed in continuation.next]
    if output.is_output:
        followed.append("output")
    down, across = description.stride
    if description.status == "upsampling":
        down, across = 1 / down, 1 / across
    return Site(
        name=name,
        module=module,
        kind=description.kind,
        role=role,
        stride=(math.ceil(down), math.ceil(across)),
        cumulative_stride=strides.behind(source, description),
        kernel=description.kernel,
        input_shape=source.shape,
        output_shape=output.shape,
        followed_by=tuple(name.strip("_") for name in followed),
        uses=1,
        status=description.status,
        note=description.note,
    )


def _own_calls(record: Trace) -> dict[int, int]:
    """How many calls that could be sites each module call makes in its own forward; a leaf module makes one."""
    count: dict[int, int] = {}
    for call in record.calls:
        own = call.name in _DESCRIBE or call.name in _ALONG_AXES
        count[id(call.module)] = count.get(id(call.module), 0) + own
    for module_call in record.module_calls:
        if module_call.parent is not None:  # a module with modules inside is no leaf
            count[id(module_call.parent)] = count.get(id(module_call.parent), 0) + 2
    return count


def _unpadded(value: Value) -> Value:
    """The map that a call is given, before what pads it."""
    while value.producer is not None and value.producer.name == "pad":
        value = value.producer.signals[0]
    return value


def _is_image(value: Value) -> bool:
    """Is this the network's input, but for padding, normalisation and resizing?"""
    call = value.producer
    if call is None:
        return value.is_signal
    if call.name in _DESCRIBE and call.name not in ("interpolate", "__getitem__"):
        return False
    return not any(v.is_learned for v in call.inputs) and all(_is_image(v) for v in call.signals)


# --- what a call does to the sampling grid ------------------------------------------------------------------------


def _describe(call: Call, axes: dict[Value, Axes]) -> _Description | None:
    if not call.signals:
        return None
    if call.name in _ALONG_AXES:
        along: _Description | None = _ALONG_AXES[call.name](call, axes.get(call.signals[0]))
        if along is not None:
            return along
    describe = _DESCRIBE.get(call.name)
    return describe(call) if describe is not None else None


def arguments(call: Call, names: str, **defaults: Any) -> dict[str, Any]:
    """What a call was given, by the names of its arguments in their order."""
    return {**defaults, **dict(zip(names.split(), call.args, strict=False)), **call.kwargs}


def two(value: Any) -> tuple[int, int]:
    """A size along both axes, (down, across)."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[0]) if len(values) == 1 else (values[-2], values[-1])


def _fractions(stride: tuple[int, int]) -> tuple[Fraction, Fraction]:
    return Fraction(stride[0]), Fraction(stride[1])


def _convolution(call: Call) -> _Description | None:
    given = arguments(
        call, "input weight bias stride padding dilation groups", stride=1, padding=0, dilation=1, groups=1
    )
    source, weight = given["input"], given["weight"]
    stride, kernel = two(given["stride"]), tuple(weight.shape[-2:])
    if not _subsamples(source, stride):
        return None
    if _takes_all(call, kernel, two(given["dilation"]), given["padding"]):
        return _Description("global convolution", kernel, _fractions(stride), "keeps no position")
    groups = given["groups"]
    if groups == source.shape[-3] == weight.shape[0] and not weight.is_learned and not weight.is_signal:
        return _Description("blur pooling", kernel, _fractions(stride), "anti-aliased", "by the network itself")
    depthwise = groups > 1 and weight.shape[1] == 1
    return _Description("depthwise convolution" if depthwise else "convolution", kernel, _fractions(stride))


def _max_pooling(call: Call) -> _Description | None:
    given = arguments(call, "input kernel_size stride padding dilation ceil_mode return_indices", padding=0, dilation=1)
    description = _pooling(call, "max pooling", given)
    if description is None or not (given.get("return_indices") or "indices" in call.name):
        return description
    return replace(description, status="out of reach", note="its indices are wanted, and those of a dense map differ")


def _average_pooling(call: Call) -> _Description | None:
    given = arguments(call, "input kernel_size stride padding", padding=0)
    description = _pooling(call, "average pooling", {**given, "dilation": 1})
    if description is not None and _stands_for_a_stride(call, description):
        return replace(description, status="anti-aliased", note="by the network itself")
    return description


def _stands_for_a_stride(call: Call, description: _Description) -> bool:
    """Is this average a blur-pool, put where a layer had its stride?

    It is one if it averages whole cells, and nothing else reads the map, which is complete: activated, summed or
    maximal. So CLIP's ResNets and timm's ``resnetaa`` and ``darknetaa`` write their anti-aliasing. An average beside a
    strided convolution (the shortcuts of ``resnet50d``), or behind a convolution without an activation (DenseNet), is
    a layer's own pooling.
    """
    source = call.signals[0]
    if (
        tuple(map(Fraction, description.kernel)) != description.stride
        or len(source.consumers) > 1
        or source.producer is None
    ):
        return False
    producer = source.producer
    if producer.name == "max_pool2d":
        return _describe(producer, {}) is None  # at stride 1
    is_sum = producer.name in SUMS and len(set(producer.signals)) > 1
    return is_sum or producer.name in ACTIVATIONS


def _norm_pooling(call: Call) -> _Description | None:
    given = arguments(call, "input norm_type kernel_size stride ceil_mode")
    description = _pooling(call, "norm pooling", {**given, "padding": 0, "dilation": 1})
    if description is None or description.status != "subsamples":
        return description
    return replace(description, status="out of reach", note="a pooling by norms (LPPool) is not treated")


def _pooling(call: Call, kind: str, given: dict[str, Any]) -> _Description | None:
    kernel, stride = two(given["kernel_size"]), given.get("stride")
    steps = two(stride) if stride not in (None, [], ()) else kernel
    if not _subsamples(call.signals[0], steps):
        return None
    if _takes_all(call, kernel, two(given["dilation"]), given["padding"]):
        return _Description(f"global {kind}", kernel, _fractions(steps), "keeps no position")
    return _Description(kind, kernel, _fractions(steps))


def _subsamples(source: Value, steps: tuple[int, ...]) -> bool:
    """Is there an axis of more than one sample of which not every one is kept?"""
    sizes = _unpadded(source).shape[-len(steps) :]
    return any(step > 1 and size > 1 for step, size in zip(steps, sizes, strict=True))


def _takes_all(call: Call, kernel: tuple[int, ...], dilation: tuple[int, ...], padding: Any) -> bool:
    """Does one window hold the whole map, so that there is no other place where it could stand?

    A padded window could: the same convolution at stride 1 gives a map of several samples, of which one is kept.
    """
    dims = len(kernel)
    source, given = _unpadded(call.signals[0]).shape[-dims:], call.signals[0].shape[-dims:]
    if max(call.outputs[0].shape[-dims:]) > 1 or source != given or not _is_zero(padding):
        return False
    return all(d * (k - 1) + 1 >= size for k, d, size in zip(kernel, dilation, source, strict=True))


def _is_zero(padding: Any) -> bool:
    return padding == "valid" or (not isinstance(padding, str) and max(two(padding)) == 0)


def _adaptive_pooling(call: Call) -> _Description | None:
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    if source == output or len(call.signals[0].shape) < 3:
        return None
    stride = Fraction(source[0], output[0]), Fraction(source[1], output[1])
    kernel = math.ceil(stride[0]), math.ceil(stride[1])
    if output == (1, 1):
        return _Description("global pooling", kernel, stride, "keeps no position")
    if max(stride) <= 1:
        return _Description("adaptive pooling", (1, 1), stride, "upsampling")
    return _Description("adaptive pooling", kernel, stride)


def _mean(call: Call) -> _Description | None:
    given = arguments(call, "input dim keepdim")
    source = call.signals[0].shape
    dims = given.get("dim")
    if len(source) != 4 or dims is None or isinstance(dims, (int, str)):
        return None
    axes = {axis % 4 for axis in dims}
    if axes not in ({2, 3}, {1, 2}) or max(source[axis] for axis in axes) == 1:
        return None
    sizes = [source[axis] for axis in sorted(axes)]
    kernel = sizes[0], sizes[1]
    return _Description("global pooling", kernel, _fractions(kernel), "keeps no position")


def _interpolation(call: Call) -> _Description | None:
    dims = len(call.signals[0].shape) - 2
    source, output = call.signals[0].shape[2:], call.outputs[0].shape[2:]
    if source == output or len(source) != len(output) or dims < 1:
        return None
    ratios = tuple(Fraction(size, kept) for size, kept in zip(source, output, strict=True))
    stride = ratios[-min(dims, 2)], ratios[-1]
    if max(ratios) <= 1:
        return _Description("interpolation", (1, 1), stride, "upsampling")
    mode = arguments(call, "input size scale_factor mode", mode="nearest")["mode"]
    if dims != 2:
        note = "only two-dimensional signals are treated"
        return _Description(f"interpolation ({mode})", (1, 1), stride, "out of reach", note)
    if call.kwargs.get("antialias") or mode == "area":
        return _Description(f"interpolation ({mode})", (1, 1), stride, "anti-aliased", "by the network itself")
    return _Description(f"interpolation ({mode})", (1, 1), stride)


def _transposed_convolution(call: Call) -> _Description | None:
    given = arguments(call, "input weight bias stride", stride=1)
    stride = two(given["stride"])
    if max(stride) == 1:
        return None
    factors = Fraction(1, stride[0]), Fraction(1, stride[1])
    kernel = tuple(given["weight"].shape[-2:])
    return _Description("transposed convolution", kernel, factors, "upsampling")


def _pixel_shuffle(call: Call) -> _Description | None:
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    stride = Fraction(source[0], output[0]), Fraction(source[1], output[1])
    if max(stride) <= 1:
        return None if max(stride) == 1 else _Description("pixel shuffle", (1, 1), stride, "upsampling")
    kernel = math.ceil(stride[0]), math.ceil(stride[1])
    return _Description("space to depth", kernel, stride, "keeps every sample")


def _unfolding(call: Call) -> _Description | None:
    given = arguments(call, "input kernel_size dilation padding stride", stride=1)
    kernel, stride = two(given["kernel_size"]), two(given["stride"])
    if max(stride) == 1:
        return None
    if all(k >= s for k, s in zip(kernel, stride, strict=True)):
        return _Description("unfolding", kernel, _fractions(stride), "keeps every sample")
    return _Description("unfolding", kernel, _fractions(stride), "out of reach", "patches with gaps between them")


def _folding(call: Call) -> _Description | None:
    given = arguments(call, "input output_size kernel_size dilation padding stride", stride=1)
    stride = two(given["stride"])
    if max(stride) == 1:
        return None
    factors = Fraction(1, stride[0]), Fraction(1, stride[1])
    return _Description("folding", two(given["kernel_size"]), factors, "upsampling")


def _other_dimensions(call: Call) -> _Description | None:
    dims = 1 if "1d" in call.name else 3
    source, output = (_unpadded(value).shape[-dims:] for value in (call.signals[0], call.outputs[0]))
    note = "only two-dimensional signals are treated"
    if call.name.startswith("adaptive") or call.name.startswith("fractional"):
        kernel = steps = tuple(-(-size // kept) for size, kept in zip(source, output, strict=True))
        given: dict[str, Any] = {}
    elif "conv" in call.name:
        given = arguments(call, "input weight bias stride padding dilation", stride=1, padding=0, dilation=1)
        kernel, steps = given["weight"].shape[-dims:], _each(given["stride"], dims)
    else:
        names = "input norm_type kernel_size stride" if "lp_pool" in call.name else "input kernel_size stride padding"
        given = arguments(call, names)
        kernel, steps = _each(given["kernel_size"], dims), _each(given.get("stride") or given["kernel_size"], dims)
    if "transpose" in call.name:
        if max(steps) == 1:
            return None
        down, across = two(steps)
        return _Description(call.name, two(kernel), (Fraction(1, down), Fraction(1, across)), "upsampling")
    if not _subsamples(call.signals[0], steps):
        return None
    if _takes_all(call, kernel, _each(given.get("dilation", 1), dims), given.get("padding", 0)):
        return _Description(f"global {call.name}", two(kernel), _fractions(two(steps)), "keeps no position")
    return _Description(call.name, two(kernel), _fractions(two(steps)), "out of reach", note)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def _exotic_pooling(call: Call) -> _Description | None:
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    stride = Fraction(source[0], output[0]), Fraction(source[1], output[1])
    if max(stride) <= 1:
        return None
    kernel = math.ceil(stride[0]), math.ceil(stride[1])
    return _Description(call.name, kernel, stride, "out of reach", "has no dense counterpart here")


# --- what picks samples along axes, which may be those of space or of channels ------------------------------------


def _indexing(call: Call, axes: Axes | None) -> _Description | None:
    if call.args[0] is not call.signals[0]:
        return None
    steps = _steps(call, axes)
    if steps is not None:
        return _along("slicing", {axis: Fraction(step) for axis, (_, step) in steps.items()}, call, axes)
    source, output = call.signals[0].shape, call.outputs[0].shape
    items = index_items(call.args[1], len(source))
    if axes is None or items is None or math.prod(output) >= math.prod(source):
        return None
    items = [item for item in items if item is not None]
    picked = [axis for axis in axes if not isinstance(items[axis], slice | int)]
    if picked:
        # Where several axes are picked from together, they come out as one, or as many as the index has.
        kept = [axis for axis in axes if axis not in picked and isinstance(items[axis], slice)]
        if not kept and max(_rank(items[axis]) for axis in picked) < len(picked):
            return None  # a list of points, as of a detector's key points, is no map
        share = Fraction(math.prod(source), math.prod(output)) if not kept and len(picked) == 1 else None
        ratios = {axis: share or Fraction(2) for axis in picked}
        return _along("indexing", ratios, call, axes, "its positions are picked by an index, and not by a step")
    stepped = {axis: Fraction(items[axis].step or 1) for axis in axes if isinstance(items[axis], slice)}
    if max(stepped.values(), default=1) > 1:
        return _along("slicing", stepped, call, axes, "its index picks single positions too")
    return None


def _rank(index: Any) -> int:
    """How many axes an index has: a recorded value's, an array's or a list's."""
    return len(index.shape) if hasattr(index, "shape") else np.ndim(index)


def _index_select(call: Call, axes: Axes | None) -> _Description | None:
    given = arguments(call, "input dim index")
    source, output = call.signals[0], call.outputs[0]
    axis = given["dim"] % len(source.shape)
    if axes is None or axis not in axes or output.shape[axis] >= source.shape[axis]:
        return None
    ratio = {axis: Fraction(source.shape[axis], output.shape[axis])}
    return _along("indexing", ratio, call, axes, "its positions are picked by an index, and not by a step")


def _windows(call: Call, axes: Axes | None) -> _Description | None:
    """``Tensor.unfold``, windows of one axis; ``torch.nn.functional.unfold`` is another."""
    if call.function is not Tensor.unfold:
        return None
    given = arguments(call, "input dimension size step")
    axis = given["dimension"] % len(call.signals[0].shape)
    if axes is None or axis not in axes or given["step"] == 1:
        return None
    step = {axis: Fraction(given["step"])}
    if given["size"] >= given["step"]:
        return _along("unfolding", step, call, axes, "", "keeps every sample")
    return _along("unfolding", step, call, axes, "patches with gaps between them")


def _along(
    kind: str,
    steps: dict[int, Fraction],
    call: Call,
    axes: Axes | None,
    note: str = "",
    status: Status | None = None,
) -> _Description | None:
    """A step along some of the axes of space; a note says why it is out of reach."""
    source = call.signals[0].shape
    steps = {axis: step for axis, step in steps.items() if source[axis] > 1}
    if max(steps.values(), default=1) <= 1:
        return None
    if axes is None:  # two neighbours
        axes = tuple(steps)
    if len(axes) != 2 and not status:
        note = note or "only two-dimensional signals are treated"
    down, across = (steps.get(axis, Fraction(1)) for axis in (axes[-2:] if len(axes) > 1 else axes * 2))
    status = status or ("out of reach" if note else "subsamples")
    return _Description(kind, (1, 1), (down, across), status, note, axes=axes)


def slice_axes(index: Any, rank: int) -> list[slice] | None:
    """One slice for each axis, with ``...`` written out; None for an index that holds anything but slices."""
    items = index_items(index, rank)
    return items if items is not None and all(isinstance(item, slice) for item in items) else None


def _steps(call: Call, axes: Axes | None) -> dict[int, tuple[int, int]] | None:
    """(start, step) of a slice along each of the axes of space where it has a step; None for any other index.

    Where nothing is known of the axes, two steps along neighbours of a map of four axes are taken for space.
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
    if not stepped:
        return None
    # Whole numbers, or tensors of one.
    return {axis: (int(items[axis].start or 0), int(items[axis].step)) for axis in stepped}


# By what they are called with, and the axes of space.
_ALONG_AXES: dict[str, Any] = {
    "__getitem__": _indexing,
    "index_select": _index_select,
    "unfold": _windows,
}

_DESCRIBE: dict[str, Any] = {
    "conv2d": _convolution,
    "_convolution": _convolution,
    "max_pool2d": _max_pooling,
    "max_pool2d_with_indices": _max_pooling,
    "avg_pool2d": _average_pooling,
    "adaptive_avg_pool2d": _adaptive_pooling,
    "adaptive_max_pool2d": _adaptive_pooling,
    "mean": _mean,
    "amax": _mean,
    "interpolate": _interpolation,
    "upsample": _interpolation,
    "conv_transpose2d": _transposed_convolution,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_shuffle,
    "unfold": _unfolding,
    "fold": _folding,
    **{
        f"{name}{dims}d": _other_dimensions
        for name in (
            "conv",
            "conv_transpose",
            "max_pool",
            "avg_pool",
            "lp_pool",
            "adaptive_avg_pool",
            "adaptive_max_pool",
        )
        for dims in (1, 3)
    },
    **dict.fromkeys(("fractional_max_pool3d", "max_pool1d_with_indices", "max_pool3d_with_indices"), _other_dimensions),
    "lp_pool2d": _norm_pooling,
    "fractional_max_pool2d": _exotic_pooling,
    "grid_sample": _exotic_pooling,
}


# --- downsampling that keeps every sample -------------------------------------------------------------------------


def _slices_that_keep_every_sample(record: Trace, axes: dict[Value, Axes]) -> dict[Call, _Description | None]:
    """Slices of one map that together hold all of its phases: the first stands for them all.

    Along one axis only, that is how wavelets, rotary embeddings and mergings in two steps are written: no site.
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
    found: dict[Call, _Description | None] = {}
    for (_, steps_of, _), phases in groups.items():
        if len(phases) == math.prod(step for _, step in steps_of):
            first, *others = sorted(phases.values(), key=lambda call: call.index)
            if len(steps_of) == 2:
                down, across = (step for _, step in steps_of)
                stride = _fractions((down, across))
                found[first] = _Description("space to depth", (down, across), stride, "keeps every sample")
            else:
                found[first] = None
            found.update(dict.fromkeys(others))
    return found


class _Reshapes:
    """Follows maps through reshapes and permutations, to see where pixels become channels, or are reduced."""

    _NAMES = frozenset(
        ("view", "reshape", "permute", "transpose", "flatten", "contiguous", "unflatten", "movedim", "swapaxes")
    )
    _REDUCTIONS = frozenset(("mean", "sum", "amax", "amin", "max", "min", "norm", "logsumexp", "select", "__getitem__"))

    def __init__(self) -> None:
        self._origin: dict[Value, Value] = {}

    def describe(self, call: Call) -> _Description | None:
        if not call.signals:
            return None
        source, output = call.signals[0], call.outputs[0]
        origin = self._origin.get(source, source)
        if call.name in self._REDUCTIONS:
            return self._reduction(call, origin)
        if call.name not in self._NAMES:
            return None
        if len(origin.shape) != 4 or math.prod(origin.shape) != math.prod(output.shape):
            return None
        stride = self._stride(origin.shape, output.shape, keeps_channels=False)
        if stride is not None:
            return _Description("space to depth", stride, _fractions(stride), "keeps every sample", source=origin)
        if len(output.shape) > 4:
            self._origin[output] = origin
        return None

    def _reduction(self, call: Call, origin: Value) -> _Description | None:
        """One number for the pixels of each cell of a map that was reshaped to cells: a pooling written out."""
        source, output = call.signals[0], call.outputs[0]
        if len(source.shape) <= len(output.shape) or source not in self._origin:
            return None
        if len(output.shape) > 4:  # one axis after the other
            self._origin[output] = origin
            return None
        stride = self._stride(origin.shape, output.shape, keeps_channels=True)
        if stride is None:
            return None
        note = "a pooling written as a reshape, which is not treated; torch's own pooling of the same cells is"
        return _Description(
            f"{call.name.strip('_')} of cells", stride, _fractions(stride), "out of reach", note, origin
        )

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


class _Strides:
    """The cumulative stride of every value: pixels of the input per sample; None for what has no position."""

    def __init__(self) -> None:
        self._of: dict[Value, tuple[Fraction, Fraction] | None] = {}

    def behind(self, source: Value, description: _Description) -> tuple[float, float]:
        """The cumulative stride behind a site."""
        down, across = self._of.get(source) or (Fraction(1), Fraction(1))
        return float(down * description.stride[0]), float(across * description.stride[1])

    def advance(self, call: Call, description: _Description | None) -> None:
        """Carry the strides of what goes into a call over to what comes out."""
        known = [self._of.get(value, (Fraction(1), Fraction(1))) for value in call.signals]
        spatial = [stride for stride in known if stride is not None]
        stride = None
        if spatial:
            stride = max(down for down, _ in spatial), max(across for _, across in spatial)
        if stride is not None and description is not None:
            stride = stride[0] * description.stride[0], stride[1] * description.stride[1]
            if description.status == "keeps no position":
                stride = None
        for output in call.outputs:
            self._of[output] = stride
