#!/usr/bin/env bash
# ome-zarr's scale_factors: only how many there are is read.
#
# ome-zarr 0.18.0, zarr 3.1.6, dask 2026.8.0, numpy 2.4.6.
# Guess: write_image(…, scale_factors=[4, 16]) writes levels reduced by 4 and by 16, as scale_factors=[{"y": 4, "x": 4},
# …] does.
# Behaviour: a list or tuple of whole numbers is replaced by 2, 4, 8, … of the same length. [4, 16] gives levels reduced
# by 2 and by 4, and so do [3, 9] and [8, 2]; a pyramid of 16,384 pixels that was to end at 1,024 ends at 4,096, and its
# levels take almost five times the room. Nothing is said; the scales that are stored are those of the levels.
# Output seen:
#   [4, 16]: levels of 128, 64 pixels, stored scales 2, 4
#   [3, 9]: levels of 128, 64 pixels, stored scales 2, 4
#   [8, 2]: levels of 128, 64 pixels, stored scales 2, 4
#   [{'y': 4, 'x': 4}, {'y': 16, 'x': 16}]: levels of 64, 16 pixels, stored scales 4, 16
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ome-zarr==0.18.0 zarr==3.1.6 dask==2026.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import numpy as np
import zarr
from ome_zarr.writer import write_image

image = np.zeros((256, 256), np.uint8)


def written(factors):
    group = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
    write_image(image, group, factors, axes="yx")
    levels = group.attrs["ome"]["multiscales"][0]["datasets"][1:]
    sizes = [group[level["path"]].shape[0] for level in levels]
    return sizes, [int(level["coordinateTransformations"][0]["scale"][0]) for level in levels]


as_mappings = [{"y": 4, "x": 4}, {"y": 16, "x": 16}]
for factors in ([4, 16], [3, 9], [8, 2], as_mappings):
    shown = f"{factors}"
    sizes, scales = written(factors)
    print(f"{shown}: levels of {', '.join(map(str, sizes))} pixels, stored scales {', '.join(map(str, scales))}")
    expected = ([64, 16], [4, 16]) if factors is as_mappings else ([128, 64], [2, 4])
    assert (sizes, scales) == expected, "the behaviour has changed"
PY
