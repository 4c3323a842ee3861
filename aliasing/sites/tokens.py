"""Tokens: which values of a run are the samples of a map in order, (N, L, C), and of which map.

A transformer flattens the map of its patches, puts a class token in front and works on the rows. Their shape does not
tell a map from a sentence, so the sizes of the map are followed from where it is flattened through the calls that treat
every token by itself. Where tokens are mixed (attention) the sum with what went around it is followed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aliasing.sites.axes import PERMUTATIONS, Axes
from aliasing.sites.flow import POINTWISE
from aliasing.sites.trace import Call, Recording, Value

_EACH_BY_ITSELF = POINTWISE | {"linear", "layer_norm", "rms_norm"}
_RESHAPES = frozenset(("view", "reshape", "flatten"))


@dataclass(frozen=True)
class Tokens:
    """The samples of a map of the sizes ``grid``, row after row, behind the ``first`` others, as a class token."""

    grid: tuple[int, ...]
    first: int = 0


def tokens(record: Recording, axes: Mapping[Value, Axes]) -> dict[Value, Tokens]:
    """The values (N, L, C) that are the tokens of a map, whose spatial axes are those of `spatial_axes`."""
    found: dict[Value, Tokens] = {}
    rows: dict[Value, tuple[int, ...]] = {}  # (N, C, L): flattened, and the channels are still in front
    for call in record.calls:
        for output in call.outputs:
            if len(output.shape) != 3 or output in axes or not call.signals:
                continue
            source = call.signals[0]
            if call.name in PERMUTATIONS and source in rows:
                if output.shape == (source.shape[0], source.shape[2], source.shape[1]):
                    found[output] = Tokens(rows[source])
            elif call.name in _RESHAPES:
                sizes = rows.get(source) or tuple(source.shape[axis] for axis in axes.get(source, ()))
                has_channels_last = axes.get(source) == tuple(range(1, len(source.shape) - 1))
                channels = source.shape[-1 if has_channels_last else 1]
                if has_channels_last and output.shape == (source.shape[0], math.prod(sizes), channels):
                    found[output] = Tokens(sizes)
                elif sizes and output.shape == (source.shape[0], channels, math.prod(sizes)):
                    rows[output] = sizes
                elif source in found and output.shape == source.shape:
                    found[output] = found[source]
            elif (behind := _behind(call, output, found)) is not None:
                found[output] = behind
    return found


def _behind(call: Call, output: Value, found: Mapping[Value, Tokens]) -> Tokens | None:
    source = next((value for value in call.signals if value in found), None)
    if source is None or output.shape[0] != source.shape[0]:
        return None
    known, (before, after) = found[source], (source.shape[1], output.shape[1])
    if call.name in _EACH_BY_ITSELF:
        return known if before == after else None
    if call.name in ("cat", "concat"):
        given = call.arguments("tensors dim", dim=0)
        at_end = given["tensors"][-1] is source and given["dim"] in (1, -2)
        return replace(known, first=known.first + after - before) if at_end else None
    if call.name == "__getitem__" and after == math.prod(known.grid):
        index = call.args[1]
        dropped = index[1] if isinstance(index, tuple) and len(index) > 1 else None
        return Tokens(known.grid) if dropped == slice(known.first, None) else None
    return None
