#!/usr/bin/env bash
# MNN's OpenCV-like resize: area, cubic and Lanczos interpolation are the nearest pixel.
#
# MNN 3.6.1, opencv-python-headless 5.0.0.93, numpy 2.4.6.
# Guess: MNN.cv.resize(…, interpolation=INTER_AREA) is what cv2.resize makes with the constant of the same name, as it
# is with INTER_LINEAR, or it is an error.
# Behaviour: the constants INTER_CUBIC, INTER_AREA, INTER_LANCZOS4 and INTER_LINEAR_EXACT exist and are accepted, and
# each gives the pixels of INTER_NEAREST, without a word. A picture that is averaged while a network is trained is so
# picked from, one pixel of sixteen, where it is served: all of what is above the new Nyquist frequency folds.
# Output seen (240×320 pixels of noise to 60×80; the standard deviation of the noise is 74):
#   INTER_LINEAR        OpenCV's: differs by 0.0, standard deviation 37
#   INTER_AREA          OpenCV's: differs by 61.8, standard deviation 74, nearest pixels: True
#   INTER_CUBIC         OpenCV's: differs by 53.9, standard deviation 74, nearest pixels: True
#   INTER_LANCZOS4      OpenCV's: differs by 56.3, standard deviation 74, nearest pixels: True
#   INTER_LINEAR_EXACT  OpenCV's: differs by 53.2, standard deviation 74, nearest pixels: True
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q MNN==3.6.1 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import cv2
import MNN.cv
import MNN.expr as expr
import numpy as np

pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)


def resized(name):
    given = expr.const(pixels, list(pixels.shape), expr.NHWC, expr.uint8)
    return np.array(MNN.cv.resize(given, (80, 60), interpolation=getattr(MNN.cv, name)).read()).astype(float)


nearest = resized("INTER_NEAREST")
for name in ("INTER_LINEAR", "INTER_AREA", "INTER_CUBIC", "INTER_LANCZOS4", "INTER_LINEAR_EXACT"):
    made = resized(name)
    apart = abs(made - cv2.resize(pixels, (80, 60), interpolation=getattr(cv2, name))).mean()
    line = f"{name:19} OpenCV's: differs by {apart:.1f}, standard deviation {made.std():.0f}"
    if name == "INTER_LINEAR":
        print(line)
        assert apart < 0.5, "the behaviour has changed"
    else:
        print(f"{line}, nearest pixels: {bool((made == nearest).all())}")
        assert (made == nearest).all(), "the behaviour has changed"
PY
