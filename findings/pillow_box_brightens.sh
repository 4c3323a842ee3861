#!/usr/bin/env bash
# Pillow's two ways to average blocks of 2×2 pixels: each makes noise brighter, and one four times as much as the other.
#
# pillow 13.0.0, numpy 2.4.6.
# Guess: an average that is rounded to the nearest keeps the mean of an image, and resize with the box filter is reduce.
# Behaviour: halves are rounded up. reduce(2) rounds once, and a noisy image is 1/8 grey level brighter at each level of a
# pyramid; resize with BOX rounds after each of its two passes, and it is 1/2 grey level brighter. reduce(3), whose sums
# have no halves, makes it darker by 1/9, and Image.blend cuts: 1/4 darker. After four levels the two pyramids are 1.5 grey
# levels apart.
# Output seen:
#   resize, BOX: +0.50 +1.00 +1.50 +2.01
#   reduce(2):   +0.13 +0.25 +0.37 +0.49
#   reduce(3):   -0.11
#   blend:       -0.25
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import numpy as np
from PIL import Image

noise = np.random.default_rng(0).integers(20, 230, (1026, 1026), np.uint8)


def brighter(step, levels):
    image, found = Image.fromarray(noise[: 1024 if levels > 1 else 1026, : 1024 if levels > 1 else 1026]), []
    start = np.asarray(image).mean()
    for _ in range(levels):
        image = step(image)
        found.append(float(np.asarray(image).mean() - start))
    return found


def half(image):
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)


box, reduced = brighter(half, 4), brighter(lambda image: image.reduce(2), 4)
third = brighter(lambda image: image.reduce(3), 1)
other = Image.fromarray(noise[::-1].copy())
mixed = float(np.asarray(Image.blend(Image.fromarray(noise), other, 0.5)).mean() - noise.mean())
for name, found in (("resize, BOX:", box), ("reduce(2):", reduced), ("reduce(3):", third), ("blend:", [mixed])):
    print(f"{name:12} {' '.join(f'{value:+.2f}' for value in found)}")
assert np.allclose(box, [0.5, 1, 1.5, 2], atol=0.02), "the behaviour has changed"
assert np.allclose(reduced, [0.125, 0.25, 0.375, 0.5], atol=0.02), "the behaviour has changed"
assert abs(third[0] + 1 / 9) < 0.01 and abs(mixed + 0.25) < 0.01, "the behaviour has changed"
PY
