#!/usr/bin/env bash
# OpenCV 5 and a TIFF whose orientation tag turns it by a quarter.
#
# opencv-python-headless 5.0.0.93 (cv2 5.0.0), numpy 2.4.6, Pillow 13.0.0 (which writes the file).
# Guess: cv2.imread applies the orientation, as it does for JPEG, or shows the picture as it is stored.
# Behaviour: a picture that is not square cannot be read at all: imread logs an internal error ("original_ptr ==
# real_mat.data must be true") and returns None. A square one is read, and so is a turned JPEG.
# Output seen:
#   jpg (40, 20): (40, 20, 3)
#   tif (20, 20): (20, 20, 3)
#   tif (40, 20): None
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 numpy==2.4.6 pillow==13.0.0
cd "$folder"
venv/bin/python - 2> log <<'PY'
import cv2
from PIL import Image

found = []
for form, size in (("jpg", (40, 20)), ("tif", (20, 20)), ("tif", (40, 20))):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size).save(f"picture.{form}", exif=exif)
    read = cv2.imread(f"picture.{form}")
    found.append(None if read is None else read.shape)
    print(f"{form} {size}: {found[-1]}")
assert found == [(40, 20, 3), (20, 20, 3), None], "the behaviour has changed"
PY
