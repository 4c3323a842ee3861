"""Protocols: ways to turn an image into views, and pairs of views to compare.

The views differ by a small shift (or scale, angle, moment). A protocol is a frozen dataclass whose fields are its
parameters. The seed and the image's identity alone determine its views, whatever the order, the batch size or the
number of processes. `aliasing.kinds.PROTOCOLS` holds them all by name; ``crop`` is the default for pictures
(``pad`` for small ones, see `enlarged_by_crop`), and ``samples`` for signals.
"""

from dataclasses import fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from aliasing.errors import UsageError
from aliasing.fitting import Size
from aliasing.kinds import PROTOCOLS
from aliasing.models import Classifier, ShownNetwork
from aliasing.protocols.base import ENLARGED, View, ViewProtocol, Views
from aliasing.protocols.embedded import Black, Embedded, Inpaint, Mean, grow_outward
from aliasing.protocols.resampled import Resamplers
from aliasing.protocols.sampled import Samples, Subsample
from aliasing.protocols.transformed import Circular, Drag, Frames, Rotate, Scale, Subpixel
from aliasing.protocols.windowed import Consistency, ConsistencyCifar, Crop, CropRandom, Grid, Horizontal, Pad, Vertical
from aliasing.renamed import renamed

__all__ = [
    "PROTOCOLS",
    "Black",
    "Circular",
    "Consistency",
    "ConsistencyCifar",
    "Crop",
    "CropRandom",
    "Drag",
    "Embedded",
    "Frames",
    "Grid",
    "Horizontal",
    "Inpaint",
    "Mean",
    "Pad",
    "Resamplers",
    "Rotate",
    "Samples",
    "Scale",
    "Subpixel",
    "Subsample",
    "Vertical",
    "View",
    "ViewProtocol",
    "Views",
    "enlarged_by_crop",
    "grow_outward",
    "make_protocol",
]


def make_protocol(protocol: str | ViewProtocol, **parameters: Any) -> ViewProtocol:
    """A protocol from its name and parameters.

    Parameters stand behind a colon (``"black:crop_size=1.3"``, ``"consistency:canvas=256,draws=1"``) or are named. A
    ViewProtocol is returned as it is. UsageError if a name or parameter is unknown, or a value makes no sense.

    Examples
    --------
    >>> make_protocol("horizontal:pixels=16").pixels
    16
    """
    if isinstance(protocol, ViewProtocol):
        return protocol
    name, _, listed = protocol.partition(":")
    kind = PROTOCOLS[name]
    given = dict(parameters)
    for item in filter(None, listed.split(",")):
        key, equals, text = item.partition("=")
        if not equals and kind.listed:
            given[kind.listed] = (*given.get(kind.listed, ()), item.strip())
            continue
        if not equals:
            raise UsageError(f"protocol {name}: {item!r} is not of the form parameter=value")
        given[key.strip()] = text.strip()
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"protocol {name} has no parameter {key!r}; it has {', '.join(known)}")
        if isinstance(value, str):
            given[key] = _parse(name, key, value, types[key])
    return kind(**given)


def enlarged_by_crop(model: ShownNetwork) -> Size | None:
    """The size to which `crop`, the usual protocol, enlarges pictures for a network of small input; None for others.

    It needs 8 pixels more than the input. If pictures are then more than a tenth larger than at the network's own
    evaluation, as they are below 80 pixels, it measures something else, and `pad` is chosen.
    """
    if not isinstance(model, Classifier):
        return None
    size = Crop().resized_size(model)
    more = size is not None and any(a > ENLARGED * b for a, b in zip(size, model.resized_size, strict=True))
    return size if more else None


def _parse(protocol: str, key: str, text: str, kind: Any) -> Any:
    """Convert a parameter's text to its field's type; that of an optional field is its type without None."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not type(None))
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"protocol {protocol}: {key}={text!r} is not a valid {kind.__name__}") from None


if TYPE_CHECKING:
    Protocol = ViewProtocol  # its old name, for one release


__getattr__ = renamed(__name__, {"Protocol": "aliasing.protocols:ViewProtocol"})
