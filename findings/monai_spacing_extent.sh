#!/usr/bin/env bash
# MONAI's Spacing with scale_extent=True: the volume that it makes covers another extent.
#
# monai 1.6.1, torch 2.14.1, numpy 2.4.6.
# Guess: "scale_extent" keeps the extent of the voxels, so that 48 voxels of 1 mm, from −0.5 to 47.5 mm, become 12 of 4
# mm from −0.5 to 47.5 mm, the first of which has its centre at 1.5 mm.
# Behaviour: the first centre is put at −1.5 mm, to the other side. The volume covers −3.5 to 44.5 mm: the first voxel
# looks beyond the beginning, where the border is repeated, and the last three voxels of the input are in none of the
# output. The affine that is stored says −1.5 mm too, so image and labels stay together; what is lost is the end, and
# what is compared voxel by voxel with MONAI's Resize to the same shape lies three voxels beside it.
# Output seen (each voxel holds its own place in mm):
#   48 by 2: stored centres -0.5 … 45.5, values 0.0 … 45.5; Resize has 0.5 … 46.5
#   48 by 3: stored centres -1.0 … 44.0, values 0.0 … 44.0; Resize has 1.0 … 46.0
#   48 by 4: stored centres -1.5 … 42.5, values 0.0 … 42.5; Resize has 1.5 … 45.5
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q monai==1.6.1 torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Resize, Spacing

places = torch.arange(48.0).reshape(1, 48, 1, 1).expand(1, 48, 8, 8).clone()
for step in (2, 3, 4):
    spacing = Spacing((step, 1, 1), mode="bilinear", scale_extent=True)
    made = spacing(MetaTensor(places, affine=torch.eye(4)))
    values = made[0, :, 0, 0].numpy()
    first = float(made.affine[0, 3])
    centres = first + step * np.arange(len(values))
    means = np.asarray(Resize((48 // step, 8, 8))(places))[0, :, 0, 0]
    print(
        f"48 by {step}: stored centres {centres[0]:.1f} … {centres[-1]:.1f}, values {values[0]:.1f} … {values[-1]:.1f};"
        f" Resize has {means[0]:.1f} … {means[-1]:.1f}"
    )
    assert len(values) == 48 // step, "the behaviour has changed"
    assert abs(first + (step - 1) / 2) < 1e-5, "the behaviour has changed"
    assert abs(values[-1] - (48 - step / 2 - 0.5 - (step - 1))) < 1e-4, "the behaviour has changed"
PY
