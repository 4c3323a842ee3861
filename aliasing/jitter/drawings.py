"""What is drawn over a view, kept in a run's folder: label maps as PNG; boxes, outlines and key points as numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aliasing.errors import one_line
from aliasing.images.preview import read_preview, write_preview
from aliasing.outputs.drawn import FATES, Drawing, Mark

__all__ = ["read_drawing", "read_heat", "write_drawing", "write_heat"]

_MAPS = ("labels", "changed")
_HOTTEST = 254  # the level of a share of 1; 0 is nothing, and 1 a share of 0


def write_drawing(drawing: Drawing, folder: Path, place: str) -> dict[str, Any]:
    """Write the maps of a drawing under names that begin with ``place``, and return the rest, for JSON."""
    outlines = [[[round(c, 1) for point in line for c in point] for line in mark.outline] for mark in drawing.marks]
    pictures = {}
    for kind in _MAPS:
        values = getattr(drawing, kind)
        if values is not None:
            pictures[kind] = f"{place}.{kind}.png"
            write_preview(folder / pictures[kind], values, max(values.shape))
    return {
        "size": list(drawing.size),
        "said": drawing.said,
        "kept": None if np.isnan(drawing.kept) else drawing.kept,
        "names": [[label, name] for label, name in drawing.names.items()],
        "marks": [" ".join([mark.fate, *(f"{c:.1f}" for c in mark.corners), mark.text]) for mark in drawing.marks],
        **({"outlines": outlines} if any(outlines) else {}),
        **pictures,
    }


def read_drawing(stored: Mapping[str, Any], folder: Path) -> Drawing:
    """A drawing as it was written; InputError, or ValueError, KeyError or TypeError, if it is none."""
    height, width = (int(side) for side in stored["size"])
    maps = {kind: _read_map(folder, stored[kind]) for kind in _MAPS if kind in stored}
    outlines = stored.get("outlines", [()] * len(stored["marks"]))
    marks = [_read_mark(mark, outline) for mark, outline in zip(stored["marks"], outlines, strict=True)]
    if any(values.shape != (height, width) for values in maps.values()) or min(height, width) < 1:
        raise ValueError(f"a map of another size than {height}×{width}")
    kept = np.nan if stored["kept"] is None else float(stored["kept"])
    names = {int(label): one_line(str(name)) for label, name in stored["names"]}
    return Drawing((height, width), str(stored["said"]), kept, **maps, names=names, marks=tuple(marks))


def _read_mark(stored: Any, lines: Any) -> Mark:
    fate, left, top, right, bottom, text = str(stored).split(" ", 5)
    corners = float(left), float(top), float(right), float(bottom)
    outline = tuple(tuple((float(x), float(y)) for x, y in zip(line[::2], line[1::2], strict=True)) for line in lines)
    places = np.array([*corners, *(c for line in outline for point in line for c in point)])
    if fate not in FATES or not np.isfinite(places).all() or not all(outline):
        raise ValueError(f"no mark: {stored[:60]!r}")
    return Mark(corners, one_line(text), fate, outline)


def write_heat(heat: npt.NDArray[np.float32], path: Path) -> None:
    """Write shares, NaN where there is nothing, to two digits."""
    levels = np.where(np.isnan(heat), 0, 1 + np.nan_to_num(heat) * (_HOTTEST - 1))
    write_preview(path, levels, max(heat.shape))


def read_heat(folder: Path, name: str) -> npt.NDArray[np.float32]:
    """Shares as they were written; ValueError if it is not a picture of one channel."""
    levels = _read_map(folder, name).astype(np.float32)
    return np.where(levels == 0, np.float32(np.nan), (levels - 1) / (_HOTTEST - 1)).clip(0, 1)


def _read_map(folder: Path, name: Any) -> npt.NDArray[np.uint8]:
    values = read_preview(folder, str(name))
    if values.ndim != 2 or values.dtype != np.uint8:
        raise ValueError(f"{name} is not a map of one channel")
    return values
