#!/usr/bin/env bash
# OpenCV's reduced reading (IMREAD_REDUCED_…): a JPEG is averaged, a PNG of the same pixels is not, and their sizes differ.
#
# opencv-python-headless 5.0.0.93 (4.12.0.88 does the same), numpy 2.4.6.
# Guess: the flag says how an image is reduced, so all formats come out alike; at most JPEG, which can be decoded at a
# fraction of its size, has other roundings.
# Behaviour: a JPEG reduced by n is the mean of n×n pixels, and its size is rounded up. PNG, WebP, TIFF and BMP are read
# whole and interpolated between 2×2 pixels, whatever n is: by 8, only one pixel in sixteen counts, white noise keeps
# four times the standard deviation of the JPEG's, and the size is rounded down.
# Output seen (what is left of the standard deviation of white noise by 2, 4 and 8; the size of 509×510 by 8):
#   .jpg  0.50 0.25 0.12  64×64
#   .png  0.50 0.50 0.50  63×63
#   .webp 0.50 0.50 0.50  63×63
#   .tif  0.50 0.50 0.50  63×63
#   .bmp  0.50 0.50 0.50  63×63
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

noise = np.random.default_rng(0).normal(128, 30, (512, 512)).clip(0, 255).round().astype(np.uint8)
flags = cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_GRAYSCALE_8
formats = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100], ".png": [], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
for suffix, options in (formats | {".tif": [], ".bmp": []}).items():

    def read(pixels, flag):
        return cv2.imdecode(cv2.imencode(suffix, pixels, options)[1], flag)

    left = [float(read(noise, flag).std() / noise.std()) for flag in flags]
    height, width = read(noise[:509, :510], flags[-1]).shape
    print(f"{suffix:5} {' '.join(f'{share:.2f}' for share in left)}  {height}×{width}")
    expected = [1 / 2, 1 / 4, 1 / 8] if suffix == ".jpg" else [1 / 2] * 3
    assert np.allclose(left, expected, atol=0.01), "the behaviour has changed"
    assert (height, width) == ((64, 64) if suffix == ".jpg" else (63, 63)), "the behaviour has changed"
PY
