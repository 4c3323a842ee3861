"""What lies between the strides: activations, layer normalisation and position codes of maps and their tokens."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aliasing.downsample.nonlinearity import Polynomial
from aliasing.errors import UsageError
from aliasing.sites.axes import Axes, spatial_axes
from aliasing.sites.flow import POINTWISE
from aliasing.sites.tokens import Tokens, tokens
from aliasing.sites.trace import Call, Recording, Value
from aliasing.surgery import rewrite
from aliasing.surgery.circular import ARGUMENTS

__all__ = ["between"]


def between(
    record: Recording, like: Tensor, nonlinearity: str | None, normalization: str | None, positions: str | None
) -> dict[Call, Any]:
    """The rewrites of what `aliasing.antialias` is asked to change there; what is learned has the type of ``like``."""
    known = spatial_axes(record)
    of_map = tokens(record, known)
    found: dict[Call, Any] = {}
    if nonlinearity is not None:
        learned: dict[nn.Module, nn.Module] = {}  # one for each module, however often it runs
        for call in record.calls:
            axes, rows = _axes_of_map(call, known), _tokens_of_map(call, of_map)
            if not (axes or rows):
                continue
            if nonlinearity == "polynomial":
                learned.setdefault(call.module.module, Polynomial().to(like.device, like.dtype))
            found[call] = rewrite.AliasFree(axes, learned.get(call.module.module), rows)
    if normalization is not None:
        together = _over_channels(record, known, of_map)
        if not together:
            raise UsageError("no layer normalisation over the channels of a map, so normalization changes nothing")
        found |= together
    if positions is not None:
        found |= _codes(record, known, of_map)
    return found


def _tokens_of_map(call: Call, of_map: Mapping[Value, Tokens]) -> Tokens | None:
    """The tokens that an activation changes, if they are those of a map."""
    return of_map.get(call.signals[0]) if call.name in rewrite.NONLINEARITIES and call.signals else None


def _axes_of_map(call: Call, known: Mapping[Value, Axes]) -> Axes:
    """The spatial axes of the map that an activation changes; none for another call, or if they are unknown.

    The call before it that mixes pixels knows them; with channels last, what permuted its axes.
    """
    if call.name not in rewrite.NONLINEARITIES or not call.signals:
        return ()
    value = call.signals[0]
    if _has_channels_last(value, known):
        return known[value]
    while value.producer is not None and value.producer.name in POINTWISE and value.producer.signals:
        if value.producer.name == "batch_norm":
            break
        value = value.producer.signals[0]
    before, axes = value.producer, len(value.shape) - 2
    if before is None or axes not in (1, 2, 3):
        return ()
    known_before = before.name == "batch_norm" or before.name in ARGUMENTS
    return tuple(range(2, 2 + axes)) if known_before else ()


def _has_channels_last(value: Value, known: Mapping[Value, Axes]) -> bool:
    """Whether a map is known to be (N, ..., C)."""
    return known.get(value) == tuple(range(1, len(value.shape) - 1))


def _over_channels(
    record: Recording, known: Mapping[Value, Axes], of_map: Mapping[Value, Tokens]
) -> dict[Call, rewrite.NormalisedTogether]:
    """Rewrites for what normalises the channels of a map, or of its tokens, position by position."""
    found = {}
    for call in record.calls:
        if call.function not in rewrite.NORMALISATIONS or not call.signals:
            continue
        shape, x = call.arguments("input normalized_shape")["normalized_shape"], call.signals[0]
        if len(tuple(shape)) == 1 and (x in of_map or _has_channels_last(x, known)):
            found[call] = rewrite.NormalisedTogether(of_map.get(x))
    return found


def _codes(record: Recording, axes: Mapping[Value, Axes], of_map: Mapping[Value, Tokens]) -> dict[Call, Any]:
    """Rewrites for the sums of a map or its tokens with a learned code for each of them."""
    found: dict[Call, Any] = {}
    for call in record.calls:
        if call.name != "add" or len(call.args) != 2 or len(call.signals) != 1:
            continue
        (x,) = call.signals
        if x.shape[0] != record.input_shapes[0][0]:
            continue  # of windows or patches, whose places are not those of the map
        code = next((place for place, one in enumerate(call.args) if isinstance(one, Value) and one.is_learned), None)
        if code is None or call.args[code].shape[-len(x.shape) + 1 :] != x.shape[1:]:
            continue
        if x in axes:
            found[call] = rewrite.Code(code, axes[x])
        elif x in of_map:
            found[call] = rewrite.Code(code, tokens=of_map[x])
    return found
