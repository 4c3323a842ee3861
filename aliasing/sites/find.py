"""Finding the downsampling sites in the record of a run."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aliasing.errors import UsageError
from aliasing.models.declared import built_for, channels_of
from aliasing.sites.axes import Axes
from aliasing.sites.change import MAKES_SAMPLES, UNPOOLED, Change, changes, unpadded
from aliasing.sites.flow import follow
from aliasing.sites.grid import Grid, grids
from aliasing.sites.status import Status
from aliasing.sites.trace import Call, Recording, Value, record_calls, runs
from aliasing.tables import pair, render

if TYPE_CHECKING:
    from aliasing.models import ShownNetwork

_SLICE = "strided_slice"  # the name of a site such as x[:, :, ::2, ::2]


@dataclass(frozen=True)
class Site:
    """A place where a network changes its sampling grid.

    Attributes
    ----------
    name : the module's qualified name, with the function's for a call that is not a module.
    module : the qualified name of the module whose ``forward`` makes the call.
    kind : "convolution", "depthwise convolution", "max pooling", "average pooling", "slicing", …
    role : "stem" or "patch embedding" for a convolution on the image, "shortcut" for a 1×1 one, otherwise "".
    stride : one number per axis: (down, across) for a picture, (along,) for a sound.
    cumulative_stride : samples of the input per sample of the output, along each axis.
    kernel : in samples, along each axis.
    input_shape, output_shape : of the first use.
    followed_by : the calls after it, up to the next that mixes pixels.
    uses : how often a run uses it.
    status : what can be done, a `Status`.
    note : why, or how it was treated.
    """

    name: str
    module: str
    kind: str
    role: str
    stride: tuple[int, ...]
    cumulative_stride: tuple[float, ...]
    kernel: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    followed_by: tuple[str, ...]
    uses: int
    status: Status
    note: str = ""

    @property
    def upsamples(self) -> bool:
        """Whether its output has more samples along the axes than its input."""
        axes = len(self.stride)
        return math.prod(self.output_shape[-axes:]) > math.prod(self.input_shape[-axes:])

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A network pickled by an older version has the old words.
        self.__dict__.update(state | {"status": Status.read(state["status"])})


@dataclass(frozen=True)
class LocatedSite:
    """A site, and its calls: number ``ordinal`` of its function in each call of its module.

    ``axes`` are the spatial axes of its input, in the order of the site's strides; ``changes`` is what each call does.
    """

    site: Site
    calls: tuple[Call, ...]
    ordinal: int
    axes: Axes
    changes: tuple[Change, ...]

    @property
    def keeps_all(self) -> bool:
        """Whether it keeps every sample, as patch merging and windows do, and its calls can be treated all the same."""
        return bool(self.changes[0].entries)


class Sites(list[Site]):
    """The sites of a network, in the order of a run; a list that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return render(table(self), "html")


def find_sites(model: "ShownNetwork | nn.Module", example_input: Any = None) -> Sites:
    """Find every place where a network changes its sampling grid, in the order of a run.

    Parameters
    ----------
    model : Classifier or nn.Module
        It runs once, in eval mode, if possible on the meta device, and stays as it was. A network made by `antialias`
        has the sites of its original, with a note on how each was treated.
    example_input : Any, optional
        An input of the network: a tensor N×C×H×W, a list of images, a dict; a tuple means several positional arguments.
        By default one image of the network's own size, or 224×224.

    Raises
    ------
    InputError
        If the network fails on the probe.
    UsageError
        If the network is scripted.

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
    return Sites(located.site for located in locate(record_calls(module, example)))


def named_sites(
    network: str,
    located: Sequence[LocatedSite],
    names: Sequence[str] | None = None,
    statuses: Sequence[str] = ("subsamples",),
) -> list[tuple[LocatedSite, str]]:
    """The sites that subsample, or those with these names, each with a name of its own: a second "pool" is "pool (2)".

    ``statuses`` may add those that upsample.

    Raises UsageError if there is no site of such a name.
    """
    names = names and [re.sub(r"(^|\.)getitem\b", rf"\1{_SLICE}", name) for name in names]  # as it was called
    found: list[tuple[LocatedSite, str]] = []
    for place in located:
        if place.site.status in statuses:
            before = sum(other.site.name == place.site.name for other, _ in found)
            found.append((place, f"{place.site.name} ({before + 1})" if before else place.site.name))
    known = [name for _, name in found]
    for name in names or []:
        if name not in known:
            raise UsageError(f"{network} has no site {name!r} that subsamples; it has {', '.join(known) or 'none'}")
    return [(place, name) for place, name in found if names is None or name in names]


def probe_of(model: "ShownNetwork | nn.Module", example_input: Any) -> tuple[nn.Module, Any]:
    """The bare module, and the example on which to run it."""
    module: nn.Module = model if isinstance(model, nn.Module) else model.module
    if example_input is not None:
        return module, example_input
    if not isinstance(model, nn.Module):
        return module, model.blank()
    config = getattr(module, "pretrained_cfg", None)
    published = config.get("input_size") if isinstance(config, dict) else None
    expected, *usual = published if isinstance(published, tuple | list) and len(published) == 3 else (3, 224, 224)
    size = built_for(module) or usual
    parameter = next(module.parameters(), torch.zeros(()))
    probe = torch.zeros(1, channels_of(module), *size, device=parameter.device, dtype=parameter.dtype)
    if probe.shape[1] != expected and not runs(module, probe):
        # Layers in front of the first convolution make its channels: a space-to-depth, a DCT.
        probe = probe.new_zeros(1, expected, *size)
    return module, probe


def table(sites: Sequence[Site]) -> list[dict[str, str]]:
    """The sites as rows of text, for a person to read."""
    return [
        {
            "name": site.name,
            "kind": f"{site.kind} ({site.role})" if site.role else site.kind,
            "stride": pair(site.stride),
            "cumulative": pair(site.cumulative_stride),
            "kernel": pair(site.kernel),
            "in": "×".join(map(str, site.input_shape[1:])),
            "out": "×".join(map(str, site.output_shape[1:])),
            "followed by": " → ".join(site.followed_by),
            "uses": str(site.uses),
            "status": f"{site.status}: {site.note}" if site.note else site.status,
        }
        for site in sites
    ]


def with_unpooled(located: Sequence[LocatedSite]) -> list[LocatedSite]:
    """The sites, of which a maximum can be treated if its indices go to an unpooling that is treated too."""
    return [
        replace(place, site=replace(place.site, status=Status.SUBSAMPLES, note=""))
        if place.site.note == UNPOOLED
        else place
        for place in located
    ]


def locate(record: Recording) -> list[LocatedSite]:
    """Every site of a recorded run, with its calls."""
    found: dict[tuple[str, str, int], LocatedSite] = {}
    ordinals: dict[tuple[int, str], int] = {}
    changed = changes(record)
    where = grids(record, changed)
    names = _own_calls(record)
    for call in record.calls:
        key = (id(call.module), call.name)
        ordinal = ordinals[key] = ordinals.get(key, -1) + 1
        change = changed.get(call)
        if change is None or not change.is_site:
            continue
        place = (call.module.name, call.name, ordinal)
        known = found.get(place)
        if known is None:
            found[place] = LocatedSite(_site(call, change, names, where), (call,), ordinal, change.axes, (change,))
        else:
            site = replace(known.site, uses=known.site.uses + 1)
            found[place] = replace(known, site=site, calls=(*known.calls, call), changes=(*known.changes, change))
    return list(found.values())


def _site(call: Call, change: Change, own_calls: dict[int, int], where: dict[Value, Grid]) -> Site:
    source, output = unpadded(change.source or call.signals[0]), call.outputs[0]
    is_module = own_calls[id(call.module)] == 1 or call.function is type(call.module.module)
    module = call.module.name
    called = _SLICE if call.name == "__getitem__" else "windows" if change.window else call.name.strip("_")
    name = module if is_module and module else ".".join(filter(None, (module, called)))
    role = ""
    if "convolution" in change.kind and change.status in (Status.SUBSAMPLES, Status.UNSUPPORTED):
        on_image = _is_image(source)
        if on_image and all(k <= s for k, s in zip(change.kernel, change.stride, strict=True)):
            role = "patch embedding"
        elif on_image:
            role = "stem"
        elif max(change.kernel) == 1:
            role = "shortcut"
    continuation = follow(output)
    followed = [passed.name for passed in continuation.passed] + [passed.name for passed in continuation.next]
    if output.is_output:
        followed.append("output")
    before = where.get(source, Grid()).along(len(change.stride)).stride or (1.0,) * len(change.stride)
    is_up = change.status == Status.UPSAMPLING
    return Site(
        name=name,
        module=module,
        kind=change.kind,
        role=role,
        stride=tuple(math.ceil(1 / step if is_up else step) for step in change.stride),
        cumulative_stride=tuple(float(step * own) for step, own in zip(before, change.stride, strict=True)),
        kernel=change.kernel,
        input_shape=source.shape,
        output_shape=output.shape,
        followed_by=tuple("slice" if name == "__getitem__" else name.strip("_") for name in followed),
        uses=1,
        status=change.status,
        note=change.note,
    )


def _own_calls(record: Recording) -> dict[int, int]:
    """The number of calls that could be sites in each module call's own forward; one for a leaf module."""
    count = Counter(id(call.module) for call in record.calls if call.name in MAKES_SAMPLES)
    for module_call in record.module_calls:
        if module_call.parent is not None:  # a module with modules inside is not a leaf
            count[id(module_call.parent)] += 2
    return count


def _is_image(value: Value) -> bool:
    """Whether this is the network's input, apart from padding, normalisation and resizing."""
    call = value.producer
    if call is None:
        return value.is_signal
    if call.name in MAKES_SAMPLES - {"interpolate", "__getitem__", "index_select"}:
        return False
    return not any(v.is_learned for v in call.inputs) and all(_is_image(v) for v in call.signals)
