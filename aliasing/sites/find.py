"""From the record of a run to the table of its downsampling sites."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from aliasing.models.declared import built_for, channels_of
from aliasing.sites.flow import follow
from aliasing.sites.trace import Call, Trace, Value, trace
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
    """A site, and the calls that are it: number ``ordinal`` of its function in each call of its module."""

    site: Site
    calls: tuple[Call, ...]
    ordinal: int


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
    size = built_for(module) or (published or (3, 224, 224))[1:]
    parameter = next(module.parameters(), torch.zeros(()))
    return module, torch.zeros(1, channels_of(module), *size, device=parameter.device, dtype=parameter.dtype)


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
    slices = _slices_that_keep_every_sample(record)
    reshaped = _Reshapes()
    names = _own_calls(record)
    for call in record.calls:
        key = (id(call.module), call.name)
        ordinal = ordinals[key] = ordinals.get(key, -1) + 1
        description = slices.get(call) or reshaped.space_to_depth(call) or _describe(call)
        strides.advance(call, description)
        if description is None or (call in slices and slices[call] is None):
            continue
        place = (call.module.name, call.name, ordinal)
        if place in found:
            known = found[place]
            site = replace(known.site, uses=known.site.uses + 1)
            found[place] = LocatedSite(site, (*known.calls, call), ordinal)
        else:
            found[place] = LocatedSite(_site(call, description, names, strides), (call,), ordinal)
    return list(found.values())


@dataclass(frozen=True)
class _Description:
    kind: str
    kernel: tuple[int, int]
    stride: tuple[Fraction, Fraction]
    status: Status = "subsamples"
    note: str = ""
    source: Value | None = None  # where it is not the first input of the call


def _site(call: Call, description: _Description, own_calls: dict[int, int], strides: "_Strides") -> Site:
    source, output = description.source or call.signals[0], call.outputs[0]
    while source.producer is not None and source.producer.name == "pad":
        source = source.producer.signals[0]
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
        own = call.name in _DESCRIBE or call.name == "__getitem__"
        count[id(call.module)] = count.get(id(call.module), 0) + own
    for module_call in record.module_calls:
        if module_call.parent is not None:  # a module with modules inside is no leaf
            count[id(module_call.parent)] = count.get(id(module_call.parent), 0) + 2
    return count


def _is_image(value: Value) -> bool:
    """Is this the network's input, but for padding, normalisation and resizing?"""
    call = value.producer
    if call is None:
        return value.is_signal
    if call.name in _DESCRIBE and call.name not in ("interpolate", "__getitem__"):
        return False
    return not any(v.is_learned for v in call.inputs) and all(_is_image(v) for v in call.signals)


# --- what a call does to the sampling grid ------------------------------------------------------------------------


def _describe(call: Call) -> _Description | None:
    describe = _DESCRIBE.get(call.name)
    if describe is None or not call.signals:
        return None
    return describe(call)  # type: ignore[no-any-return]


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
    given = arguments(call, "input weight bias stride padding dilation groups", stride=1, groups=1, padding=0)
    source, weight = given["input"], given["weight"]
    stride, kernel = two(given["stride"]), tuple(weight.shape[-2:])
    if max(stride) == 1 or max(source.shape[-2:]) == 1:
        return None
    if _covers_all(call, kernel):
        return _Description("global convolution", kernel, _fractions(stride), "keeps no position")
    groups = given["groups"]
    if groups == source.shape[1] == weight.shape[0] and not weight.is_learned and not weight.is_signal:
        return _Description("blur pooling", kernel, _fractions(stride), "anti-aliased", "by the network itself")
    depthwise = groups > 1 and weight.shape[1] == 1
    return _Description("depthwise convolution" if depthwise else "convolution", kernel, _fractions(stride))


def _max_pooling(call: Call) -> _Description | None:
    given = arguments(call, "input kernel stride padding dilation ceil_mode return_indices")
    kernel = two(given.get("kernel", given.get("kernel_size")))
    description = _pooling(call, "max pooling", kernel, given.get("stride"))
    if description is None or not (given.get("return_indices") or "indices" in call.name):
        return description
    return replace(description, status="out of reach", note="its indices are wanted, and those of a dense map differ")


def _average_pooling(call: Call) -> _Description | None:
    given = arguments(call, "input kernel stride padding")
    kernel = two(given.get("kernel", given.get("kernel_size")))
    description = _pooling(call, "average pooling", kernel, given.get("stride"))
    # timm calls the layer that anti-aliases `aa`; in resnetaa* it is an average, and another stands for the max pool.
    # In darknetaa53 one stands for the stride of each stage's `conv_down`.
    if description is not None and f".{call.module.name}".endswith((".aa", ".maxpool", ".conv_down.0")):
        return replace(description, status="anti-aliased", note="by the network itself")
    return description


def _pooling(call: Call, kind: str, kernel: tuple[int, int], stride: Any) -> _Description | None:
    steps = two(stride) if stride not in (None, [], ()) else kernel
    if max(steps) == 1:
        return None
    if _covers_all(call, kernel):
        return _Description(f"global {kind}", kernel, _fractions(steps), "keeps no position")
    return _Description(kind, kernel, _fractions(steps))


def _covers_all(call: Call, kernel: tuple[int, int]) -> bool:
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    return max(output) == 1 and all(k >= size for k, size in zip(kernel, source, strict=True))


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
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    if source == output or len(source) != 2 or len(call.signals[0].shape) != 4:
        return None
    stride = Fraction(source[0], output[0]), Fraction(source[1], output[1])
    if max(stride) <= 1:
        return _Description("interpolation", (1, 1), stride, "upsampling")
    mode = arguments(call, "input size scale_factor mode", mode="nearest")["mode"]
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
    if "conv" in call.name:
        stride = arguments(call, "input weight bias stride", stride=1)["stride"]
    else:
        given = arguments(call, "input kernel_size stride")
        stride = given.get("stride") or given["kernel_size"]
    steps = (stride,) if isinstance(stride, int) else tuple(stride)
    if max(steps) == 1:
        return None
    note = "only two-dimensional signals are treated"
    return _Description(call.name, (1, 1), _fractions(two(steps)), "out of reach", note)


def _exotic_pooling(call: Call) -> _Description | None:
    source, output = call.signals[0].shape[-2:], call.outputs[0].shape[-2:]
    stride = Fraction(source[0], output[0]), Fraction(source[1], output[1])
    if max(stride) <= 1:
        return None
    kernel = math.ceil(stride[0]), math.ceil(stride[1])
    return _Description(call.name, kernel, stride, "out of reach", "has no dense counterpart here")


def _slicing(call: Call) -> _Description | None:
    steps = _steps(call)
    if steps is None:
        return None
    return _Description("slicing", (1, 1), _fractions((steps[0][1], steps[1][1])))


def _steps(call: Call) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(start, step) down and across of a slice over two neighbouring axes of a 4-D map; None for any other index."""
    source = call.signals[0]
    if call.name != "__getitem__" or len(source.shape) != 4 or call.args[0] is not source:
        return None
    axes = slice_axes(call.args[1], 4)
    if axes is None:
        return None
    stepped = [axis for axis, index in enumerate(axes) if (index.step or 1) > 1]
    if stepped not in ([1, 2], [2, 3]):
        return None
    first, second = (axes[axis] for axis in stepped)
    down, across = ((int(axis.start or 0), int(axis.step)) for axis in (first, second))  # whole numbers or tensors
    return down, across


def slice_axes(index: Any, rank: int) -> list[slice] | None:
    """One slice for each axis, with ``...`` written out; None for an index that holds anything but slices."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(not (item is Ellipsis or isinstance(item, slice)) for item in items):
        return None
    if Ellipsis in items:
        where = items.index(Ellipsis)
        items[where : where + 1] = [slice(None)] * (rank - len(items) + 1)
    return items + [slice(None)] * (rank - len(items))


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
    "conv1d": _other_dimensions,
    "conv3d": _other_dimensions,
    "max_pool1d": _other_dimensions,
    "max_pool3d": _other_dimensions,
    "avg_pool1d": _other_dimensions,
    "avg_pool3d": _other_dimensions,
    "lp_pool2d": _exotic_pooling,
    "fractional_max_pool2d": _exotic_pooling,
    "grid_sample": _exotic_pooling,
    "__getitem__": _slicing,
}


# --- downsampling that keeps every sample -------------------------------------------------------------------------


def _slices_that_keep_every_sample(record: Trace) -> dict[Call, _Description | None]:
    """Slices of one map that together hold all of its phases: the first stands for them all."""
    groups: dict[tuple[Value, int, int], dict[tuple[int, int], Call]] = {}
    for call in record.calls:
        steps = _steps(call) if call.name == "__getitem__" and call.signals else None
        if steps is not None:
            (top, down), (left, across) = steps
            groups.setdefault((call.signals[0], down, across), {})[top, left] = call
    found: dict[Call, _Description | None] = {}
    for (_, down, across), phases in groups.items():
        if len(phases) == down * across:
            first, *others = sorted(phases.values(), key=lambda call: call.index)
            stride = _fractions((down, across))
            found[first] = _Description("space to depth", (down, across), stride, "keeps every sample")
            found.update(dict.fromkeys(others))
    return found


class _Reshapes:
    """Follows maps through reshapes and permutations, to see where pixels become channels."""

    _NAMES = frozenset(
        ("view", "reshape", "permute", "transpose", "flatten", "contiguous", "unflatten", "movedim", "swapaxes")
    )

    def __init__(self) -> None:
        self._origin: dict[Value, Value] = {}

    def space_to_depth(self, call: Call) -> _Description | None:
        if call.name not in self._NAMES:
            return None
        source, output = call.signals[0], call.outputs[0]
        origin = self._origin.get(source, source)
        if len(origin.shape) != 4 or math.prod(origin.shape) != math.prod(output.shape):
            return None
        stride = self._stride(origin.shape, output.shape)
        if stride is not None:
            return _Description("space to depth", stride, _fractions(stride), "keeps every sample", source=origin)
        if len(output.shape) > 4:
            self._origin[output] = origin
        return None

    @staticmethod
    def _stride(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int] | None:
        if len(after) != 4 or before[0] != after[0]:
            return None
        for spatial, channel in (((2, 3), 1), ((1, 2), 3)):
            if all(after[axis] and before[axis] % after[axis] == 0 for axis in spatial):
                down, across = (before[axis] // after[axis] for axis in spatial)
                if down > 1 and across > 1 and after[channel] == before[channel] * down * across:
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
        stride = max(spatial) if spatial else None
        if stride is not None and description is not None:
            stride = stride[0] * description.stride[0], stride[1] * description.stride[1]
            if description.status == "keeps no position":
                stride = None
        for output in call.outputs:
            self._of[output] = stride
