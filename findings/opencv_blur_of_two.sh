#!/usr/bin/env bash
# OpenCV's box blur over two pixels of a byte image: a constant does not stay a constant.
#
# opencv-python-headless 5.0.0.93 (4.12.0.88 does the same), numpy 2.4.6.
# Guess: a mean of equal pixels is that pixel, whatever the size of the box, and others are rounded to the nearest.
# Behaviour: cv2.blur with (2, 1) or (1, 2) of uint8 adds one grey level to every even sum, so that black becomes 1 and 7
# becomes 8: the image is 0.75 grey levels brighter. With (2, 2) the mean is rounded up, 0.375 grey levels brighter, and
# with (3, 3) to the nearest. The same blurs of uint16 are right to rounding.
# Output seen:
#   (2, 1): 0, 7, 100 become 1, 8, 101; noise becomes brighter by 0.75
#   (2, 2): 0, 7, 100 become 0, 7, 100; noise becomes brighter by 0.37
#   (3, 3): 0, 7, 100 become 0, 7, 100; noise becomes brighter by 0.00
#   (2, 1) of uint16: 0, 7, 100 become 0, 7, 100; noise becomes brighter by 0.00
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import cv2
import numpy as np

noise = np.random.default_rng(0).integers(0, 256, (512, 512))


def look(size, kind):
    constants = [int(cv2.blur(np.full((16, 16), value, kind), size)[8, 8]) for value in (0, 7, 100)]
    pixels = noise.astype(kind)
    exact = cv2.blur(pixels.astype(np.float64), size)
    brighter = float((cv2.blur(pixels, size) - exact).mean())
    name = f"{size}" + ("" if kind is np.uint8 else f" of {np.dtype(kind)}")
    print(f"{name}: 0, 7, 100 become {', '.join(map(str, constants))}; noise becomes brighter by {abs(brighter):.2f}")
    return constants, brighter


found = [look((2, 1), np.uint8), look((2, 2), np.uint8), look((3, 3), np.uint8), look((2, 1), np.uint16)]
assert [constants for constants, _ in found] == [[1, 8, 101], *[[0, 7, 100]] * 3], "the behaviour has changed"
assert np.allclose([brighter for _, brighter in found], [0.75, 0.375, 0, 0], atol=0.01), "the behaviour has changed"
PY
