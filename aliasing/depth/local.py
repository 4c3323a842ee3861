r"""Local equivariance errors: what each call of a network fails to move, by its kind.

A call *f* of a network meets a map *x*. If the image moves by *d* pixels, the map moves by :math:`d/c` cells of its
cumulative stride *c*, and what the call makes of it should move alike. What does not, in units of what the call gives,

.. math:: e(f) = \frac{\lVert f(T_{d/c}\,x) - T_{d/c'} f(x) \rVert^2}{\lVert f(x) - \overline{f(x)} \rVert^2}

is added by this call alone, since *x* itself moves exactly. Shifts *T* are circular and interpolated by Fourier. It is
0 for whatever commutes with shifts: convolutions at stride 1 with circular padding, affine functions, means over space.

* **stride**: *e* of a strided convolution or pooling whose padding is made circular, or of an anti-aliased operator.
* **padding**: *e* of the same at stride 1 with the network's own padding, minus that with circular padding.
* **non-linearity**: *e* of an activation, or of a maximum at stride 1; and the share of an activation's energy that
  folds, because it is not there if the activation is put between an interpolation by two and an ideal low-pass
  (`aliasing.layers.AliasFreeActivation2d`).
* **normalisation**: *e* of a norm whose statistics depend on the map (layer, group and instance norms).
* **attention**: *e* of scaled dot-product attention over all tokens of an image, on their grid.

The error by the kind of call is measured end to end by Gruver, Finzi, Goldblum & Wilson 2022 (`aliasing.depth.lie`);
that non-linearities alias and how it is undone, by Karras et al. 2021 and Michaeli et al. 2023.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aliasing import sampling
from aliasing.depth import dense
from aliasing.depth.dense import operators_seen
from aliasing.depth.lie import shown_batches
from aliasing.downsample.nonlinearity import alias_free
from aliasing.errors import InputError
from aliasing.estimates import Estimate, Mean, Share
from aliasing.images import choose_images
from aliasing.jitter.faults import at_work
from aliasing.jitter.network import Execution, evaluated, require_independence
from aliasing.models import Classifier, of_pictures
from aliasing.runner import load_for
from aliasing.sites.axes import spatial_axes
from aliasing.sites.change import each
from aliasing.sites.find import probe_of
from aliasing.sites.grid import grids
from aliasing.sites.trace import Call, Recording, Value, name_of, record_calls
from aliasing.tables import UNKNOWN, flat
from aliasing.undisturbed import in_evaluation, surroundings_kept

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("stride", "padding", "non-linearity", "normalisation", "attention")
_NONLINEARITIES = frozenset({
    *("relu", "relu6", "hardtanh", "gelu", "silu", "hardswish", "hardsigmoid", "leaky_relu"),
    *("elu", "selu", "celu", "mish", "softplus", "prelu"),
})  # fmt: skip
_NORMS = frozenset({"layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize"})
_STRIDED = re.compile(r"(?:conv|max_pool|avg_pool)([123])d(?:_with_indices)?")
_ATTENTION = "scaled_dot_product_attention"
_EXTRA_TOKENS = 8  # of a class, of registers

Function: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """A call whose error is measured, and where its maps lie.

    ``axes`` are the spatial axes of its input; of tokens, those that take the place of the axis ``tokens`` once the
    last of them are put on a grid of ``cells``. ``strides`` are the cumulative strides in front of it and behind it.
    """

    name: str
    function: str
    axes: tuple[int, ...]
    strides: tuple[tuple[float, ...], tuple[float, ...]]
    tokens: int | None = None
    cells: tuple[int, ...] = ()

    def on_grid(self, x: Tensor) -> Tensor:
        """The map of tokens; a map stays as it is."""
        if self.tokens is None:
            return x
        count = math.prod(self.cells)
        on_it = x.narrow(self.tokens, x.shape[self.tokens] - count, count)
        return on_it.reshape(*x.shape[: self.tokens], *self.cells, *x.shape[self.tokens + 1 :])

    def off_grid(self, x: Tensor, tokens: Tensor) -> Tensor:
        """The tokens of a map, behind those of ``tokens`` that stand on no grid."""
        if self.tokens is None:
            return x
        last = x.flatten(self.tokens, self.tokens + len(self.cells) - 1)
        others = tokens.narrow(self.tokens, 0, tokens.shape[self.tokens] - last.shape[self.tokens])
        return torch.cat([others, last], self.tokens)


@dataclass(frozen=True)
class _Found:
    """What was measured of a call on one image: NaN of a map without changes, infinite if a map is not finite."""

    place: Place
    kind: str
    measure: str
    value: float


@dataclass(frozen=True)
class LocalErrors:
    """What each call of a network fails to move, and the sums over the calls of a kind.

    Attributes
    ----------
    model : str
    images : the number of images.
    not_measured : the calls that downsample or normalise, or attend, and whose maps have no grid that is known.
    not_finite : the images of which an error is not finite, which are left out.
    """

    model: str
    images: int
    not_measured: tuple[str, ...]
    not_finite: tuple[str, ...]
    _calls: dict[tuple[str, str, str], Mean] = field(repr=False)
    _folded: dict[str, Share] = field(repr=False)
    _kinds: dict[str, Mean] = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """For each of ``kinds`` the sum of the errors of its calls, and for each of ``calls`` its own ``error``.

        Estimates are means over the images with 95 % intervals. ``folded`` is the share of an activation's energy that
        is an alias.
        """
        calls = [
            {
                "name": name,
                "function": function,
                "kind": kind,
                "error": _of_squares(mean).as_dict(),
                "folded": self._folded[name].estimate().as_dict() if name in self._folded else None,
            }
            for (name, function, kind), mean in self._calls.items()
        ]
        counts = Counter(call["kind"] for call in calls)
        kinds = {
            kind: {"calls": counts[kind], "error": _of_squares(self._kinds[kind]).as_dict()}
            for kind in KINDS
            if counts[kind]
        }
        return {
            "images": self.images,
            "not_finite": list(self.not_finite),
            "kinds": kinds,
            "calls": calls,
            "not_measured": list(self.not_measured),
        }

    def table(self) -> pa.Table:
        """One row per call and kind, with the ends of the intervals."""
        rows = [{"model": self.model, **call, "folded": call["folded"] or UNKNOWN} for call in self.summary()["calls"]]
        return pa.Table.from_pylist(flat(rows))

    def plot(self) -> "Figure":
        """The errors along the depth, by kind (:func:`aliasing.plots.local_errors`)."""
        from aliasing import plots

        return plots.local_errors([self])


def _of_squares(mean: Mean) -> Estimate:
    """A mean of what cannot be below 0, and neither can its interval; Student's does not know."""
    found = mean.estimate()
    return Estimate(found.value, max(found.low, 0.0), found.high)


@surroundings_kept()
def local_errors(
    model: str | nn.Module | Classifier,
    images: Any = "sample",
    *,
    pixels: Sequence[float] = (1.0, 1.0),
    limit: int | None = None,
    sample: int | None = None,
    device: str = "cpu",
) -> LocalErrors:
    """What strides, padding, non-linearities, normalisation and attention each fail to move, call by call.

    Parameters
    ----------
    model, images, limit, sample : as for :func:`aliasing.measure_jitter`
        The images are shown with the network's own preprocessing.
    pixels : (float, float)
        The shift of the image, (down, across).
    device : str
        "cpu", "cuda" (or "cuda:1"), "mps".

    Raises
    ------
    InputError
        No image is usable, or the network fails.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = local_errors(network, "sample", limit=2)
    >>> [(call["name"], call["kind"]) for call in found.summary()["calls"]]
    [('0', 'stride'), ('0', 'padding'), ('1', 'non-linearity')]
    """
    Execution(device)
    source = choose_images(images, limit=limit, sample=sample)
    classifier = evaluated(of_pictures(load_for(model, source), "the local errors"), device)
    with at_work(classifier.name, ["a picture of zeros"]):
        record = record_calls(*probe_of(classifier, None))
    module, (places, not_measured) = classifier.module, _places(record)
    treated = dense.places(module, record)
    calls: dict[tuple[str, str, str], Mean] = {}
    folded: dict[str, Share] = {}
    kinds = {kind: Mean() for kind in KINDS}
    count, not_finite = 0, list[str]()
    for names, picture in shown_batches(classifier, source, 1):
        with at_work(classifier.name, names), torch.inference_mode(), in_evaluation(module):
            if not count and not not_finite:
                require_independence(classifier, picture, device)
            x = classifier.normalize(picture).to(device)
            with _Looked(places, tuple(pixels)) as looked, operators_seen(module, treated, looked.see_operator):
                module(x)
        if any(math.isinf(one.value) for one in looked.found):
            not_finite += names
            continue
        sums = dict.fromkeys(KINDS, 0.0)
        for one in looked.found:
            if math.isnan(one.value):
                continue  # of a map without changes over space
            if one.measure == "folded":
                folded.setdefault(one.place.name, Share()).add([min(one.value, 1.0)], 1)
            else:
                calls.setdefault((one.place.name, one.place.function, one.kind), Mean()).add([one.value])
                sums[one.kind] += one.value
        for kind, value in sums.items():
            kinds[kind].add([value])
        count += 1
    if not count and not not_finite:
        raise InputError(f"no usable image in {source.description}")
    return LocalErrors(classifier.name, count, tuple(not_measured), tuple(not_finite), calls, folded, kinds)


def _places(record: Recording) -> tuple[dict[str, list[tuple[tuple[int, ...], "Place | None"]]], list[str]]:
    """The shapes and places of the calls by the name of their function, in order; and those that have no place."""
    where, axes_of = grids(record), spatial_axes(record)
    found: dict[str, list[tuple[tuple[int, ...], Place | None]]] = {}
    missed: list[str] = []
    made: Counter[tuple[str, str]] = Counter()
    for call in record.calls:
        function = call.name.rstrip("_")
        if _kind(function) is None or not call.signals or not call.outputs:
            continue
        made[call.module.name, function] += 1
        nth = made[call.module.name, function]
        place = _place(call, function, where, axes_of, record.input_shapes[0][2:])
        if place is not None and nth > 1:
            place = replace(place, name=f"{place.name}#{nth}")
        found.setdefault(function, []).append((call.signals[0].shape, place))
        if place is None and max(call.signals[0].shape[1:-1], default=1) > 1:
            missed.append(f"{call.module.name} ({function})")
    return found, list(dict.fromkeys(missed))


def _kind(function: str) -> str | None:
    if function in _NONLINEARITIES:
        return "non-linearity"
    if function in _NORMS:
        return "normalisation"
    if function == _ATTENTION:
        return "attention"
    return "stride" if _STRIDED.fullmatch(function) else None


def _place(
    call: Call, function: str, where: dict[Value, Any], axes_of: dict[Value, Any], image: tuple[int, ...]
) -> Place | None:
    """Where the maps of a call lie; None if that is not known, or it is a map of one cell."""
    shape, given = call.signals[0].shape, call.signals[0]
    if _STRIDED.fullmatch(function) and given.producer is not None and given.producer.name == "pad":
        given = given.producer.signals[0]  # it is measured together with its padding
    before, behind = (_stride(value, where, image) for value in (given, call.outputs[0]))
    if before is None or behind is None:
        return None
    axes = axes_of.get(given)
    if axes is None and _whole_ratio(shape, image) == before:
        axes = tuple(range(2, len(shape)))
    if axes is not None:
        if math.prod(given.shape[axis] for axis in axes) == 1 or function == _ATTENTION:
            return None
        return Place(call.module.name, function, tuple(axes), (before, behind))
    cells = tuple(round(size / step) for size, step in zip(image, before, strict=True))
    if shape[1:-1] == cells and math.prod(cells) > 1 and function != _ATTENTION:
        return Place(call.module.name, function, tuple(range(1, len(shape) - 1)), (before, behind))
    # Tokens: one image's, as many as there are cells on its grid, and a few more in front of them.
    axis, rank = len(shape) - 2, 4 if function == _ATTENTION else 3
    counts = {value.shape[axis] for value in call.signals[:3]} if function == _ATTENTION else {shape[axis]}
    if len(shape) != rank or shape[0] != 1 or len(counts) != 1 or math.prod(cells) == 1:
        return None
    if not 0 <= shape[axis] - math.prod(cells) <= _EXTRA_TOKENS:
        return None
    return Place(call.module.name, function, tuple(range(axis, axis + len(cells))), (before, behind), axis, cells)


def _stride(value: Value, where: dict[Value, Any], image: tuple[int, ...]) -> tuple[float, ...] | None:
    """The cumulative stride of a value; behind an operator, whose calls are hidden, from the ratio of the sizes."""
    if value.producer is None:
        return (1.0,) * len(image)
    grid = where.get(value)
    stride = None if grid is None or grid.stride is None else grid.along(len(image)).stride
    return _whole_ratio(value.shape, image) if stride is None else tuple(stride)


def _whole_ratio(shape: tuple[int, ...], image: tuple[int, ...]) -> tuple[float, ...] | None:
    """The whole numbers of samples of the image for each cell, if its border may have lost or gained two cells."""
    sizes = shape[2:]
    if len(sizes) != len(image):
        return None
    steps = tuple(max(round(size / count), 1) for size, count in zip(image, sizes, strict=True))
    lost = (abs(size - step * count) / step for size, step, count in zip(image, steps, sizes, strict=True))
    return tuple(map(float, steps)) if max(lost) <= 2 else None


class _Looked(TorchFunctionMode):
    """Measures the calls of a network while it runs on one image."""

    def __init__(
        self,
        places: dict[str, list[tuple[tuple[int, ...], Place | None]]],
        pixels: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.pixels = pixels
        self.found: list[_Found] = []
        self.waiting = {function: deque(found) for function, found in places.items()}
        self.padded: dict[int, tuple[Tensor, Tensor, Function]] = {}  # a padded map → it, what it was, and how

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        function = name_of(func).rstrip("_")
        if function == "pad":
            output = func(*args, **kwargs)
            self.padded[id(output)] = output, args[0], lambda x: func(x, *args[1:], **kwargs)
            return output
        waiting = self.waiting.get(function)
        # Calls without the signal, such as a norm of a parameter, are not waited for.
        if waiting and args and isinstance(args[0], Tensor) and waiting[0][0] == args[0].shape:
            place = waiting.popleft()[1]
            if place is not None:
                self._measure(place, func, args, kwargs)
        return func(*args, **kwargs)

    def _note(self, place: Place, kind: str, measure: str, value: float) -> None:
        self.found.append(_Found(place, kind, measure, value))

    def _measure(self, place: Place, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kind = _kind(place.function)
        assert kind is not None
        if kind == "stride":
            self._look_at_window(place, func, args, kwargs)
            return
        together = 3 if kind == "attention" else 1
        tokens = torch.cat(args[:together], -1) if together > 1 else args[0]

        def of_tokens(x: Tensor) -> Tensor:
            parts = place.off_grid(x, tokens).chunk(together, -1)
            return place.on_grid(func(*parts, *args[together:], **kwargs))

        def of_samples(x: Tensor) -> Tensor:
            changed: Tensor = func(x.clone(), *args[1:], **kwargs)  # it may work in place
            return changed

        is_activation = kind == "non-linearity"
        function, x = of_samples if is_activation else of_tokens, place.on_grid(tokens)
        self._note(place, kind, "error", self._error(place, function, x))
        if is_activation:
            self._note(place, kind, "folded", _folded(of_samples, x, place.axes))

    def _look_at_window(self, place: Place, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The stride and the padding of a convolution or a pooling."""
        _, x, pad = self.padded.get(id(args[0]), (None, args[0], lambda x: x))
        window = _Window.of(place.function, args, kwargs)
        still = {**window.rest, "stride": 1}

        def periodic(x: Tensor) -> Tensor:
            return _first(func(window.wrapped(x, place.axes, window.stride), **window.rest))

        if max(window.stride) > 1:
            self._note(place, "stride", "error", self._error(place, periodic, x))
        if pad(x) is x and not any(window.missing(x, place.axes)):
            return  # a window of one sample, or windows that tile the map

        def as_it_is(x: Tensor) -> Tensor:
            return _first(func(pad(x), **still, padding=window.padding))

        def without_border(x: Tensor) -> Tensor:
            return _first(func(window.wrapped(x, place.axes, (1,) * len(window.stride)), **still))

        there = replace(place, strides=(place.strides[0], place.strides[0]))
        linear = not place.function.startswith("max")
        around = 0.0 if linear else self._error(there, without_border, x)
        if max(window.stride) == 1 and not linear:
            self._note(place, "non-linearity", "error", around)
        self._note(place, "padding", "error", max(self._error(there, as_it_is, x) - around, 0.0))

    def see_operator(self, place: dense.Place, operator: Any, x: Tensor) -> None:
        """The stride that an anti-aliased operator makes; one that takes another's choice has none of its own."""
        behind = place.site.cumulative_stride
        before = tuple(step / own for step, own in zip(behind, place.site.stride, strict=True))
        count = len(behind)
        here = Place(place.site.name, "operator", tuple(range(x.ndim - count, x.ndim)), (before, behind))
        if operator.leads:
            with torch._C.DisableTorchFunction():
                self._note(here, "stride", "error", self._error(here, lambda x: operator(x), x))

    def _error(self, place: Place, function: Function, x: Tensor) -> float:
        before, behind = (
            [pixels / step for pixels, step in zip(self.pixels, strides, strict=True)] for strides in place.strides
        )
        y = function(x)
        if not (x.isfinite().all() and y.isfinite().all()):
            return math.inf
        missed = function(sampling.shift(x, before, place.axes)) - sampling.shift(y, behind, place.axes)
        return _relative(missed, y, place.axes)


def _relative(missed: Tensor, y: Tensor, axes: tuple[int, ...]) -> float:
    """The energy of what is missed ÷ that of an output without its mean over space; NaN if that is constant."""
    energy = float((y - y.mean(axes, keepdim=True)).double().square().sum())
    return float(missed.double().square().sum()) / energy if energy > 0 else math.nan


def _folded(function: Function, x: Tensor, axes: tuple[int, ...]) -> float:
    """The share of an activation's energy that is not there if it is alias-free."""
    last = tuple(range(-len(axes), 0))
    moved = x.movedim(axes, last)
    free = alias_free(lambda z: function(z.movedim(last, axes)).movedim(axes, last), moved, dims=len(axes))
    y = function(x).movedim(axes, last)
    return _relative(y - free, y, last)


@dataclass(frozen=True)
class _Window:
    """The window of a convolution or a pooling, and its arguments without an input and without padding."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    rest: dict[str, Any]

    @classmethod
    def of(cls, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Window":
        if function.startswith("conv"):
            names = "input weight bias stride padding dilation groups"
        elif function.startswith("max"):
            names = "input kernel_size stride padding dilation ceil_mode return_indices"
        else:
            names = "input kernel_size stride padding ceil_mode count_include_pad divisor_override"
        given = {**dict(zip(names.split(), args, strict=False)), **kwargs}
        given.pop("input", None)
        match = _STRIDED.fullmatch(function)
        assert match is not None
        count = int(match[1])
        kernel = tuple(given["weight"].shape[2:]) if "weight" in given else each(given["kernel_size"], count)
        stride = each(given.get("stride") or (1 if "weight" in given else kernel), count)
        dilation = each(given.get("dilation", 1), count)
        padding = given.pop("padding", 0)
        if isinstance(padding, str):
            sides = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
            padding = sides if padding == "same" else 0
        given.pop("ceil_mode", None)
        return cls(kernel, stride, dilation, each(padding, count), given)

    def missing(self, x: Tensor, axes: tuple[int, ...], stride: tuple[int, ...] | None = None) -> list[int]:
        """How many samples a map lacks along each axis so that the window fits ⌈L / s⌉ times."""
        windows = zip(axes, self.kernel, stride or self.stride, self.dilation, strict=True)
        return [
            max((-(-x.shape[axis] // step) - 1) * step + apart * (kernel - 1) + 1 - x.shape[axis], 0)
            for axis, kernel, step, apart in windows
        ]

    def wrapped(self, x: Tensor, axes: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        """A map that goes on around its edges for as many samples as it lacks."""
        for axis, more in zip(axes, self.missing(x, axes, stride), strict=True):
            size, before = x.shape[axis], -(-more // 2)
            x = x.index_select(axis, torch.arange(-before, size + more - before, device=x.device) % size)
        return x


def _first(answer: Any) -> Tensor:
    """The map of a pooling that also gives indices."""
    found: Tensor = answer[0] if isinstance(answer, tuple) else answer
    return found
