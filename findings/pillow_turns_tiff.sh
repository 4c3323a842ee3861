#!/usr/bin/env bash
# Pillow, the EXIF orientation, and TIFF.
#
# Pillow 13.0.0.
# Guess: Image.open shows every file as it is stored, and ImageOps.exif_transpose turns it upright.
# Behaviour: so it is for JPEG, PNG, WebP and AVIF. A TIFF is turned while it is loaded, and its size is the turned one
# from the beginning; the tag still stands in getexif() before the load and is gone after it. A folder of photographs in
# both formats is therefore read partly lying and partly upright by whatever only calls Image.open(...).convert("RGB").
# Output seen:
#   JPEG (40, 20) 6, loaded (40, 20) 6
#   PNG (40, 20) 6, loaded (40, 20) 6
#   WEBP (40, 20) 6, loaded (40, 20) 6
#   AVIF (40, 20) 6, loaded (40, 20) 6
#   TIFF (20, 40) 6, loaded (20, 40) None
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0
cd "$folder"
venv/bin/python - <<'PY'
from PIL import Image

ORIENTATION = 0x0112
found = {}
for form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned by a quarter
    Image.new("RGB", (40, 20)).save(f"picture.{form}", form, exif=exif)
    picture = Image.open(f"picture.{form}")
    before = picture.size, picture.getexif().get(ORIENTATION)
    picture.load()
    after = picture.size, picture.getexif().get(ORIENTATION)
    print(form, *before, end=", loaded ")
    print(*after)
    found[form] = before, after
lying = ((40, 20), 6), ((40, 20), 6)
assert found == {**dict.fromkeys(("JPEG", "PNG", "WEBP", "AVIF"), lying), "TIFF": (((20, 40), 6), ((20, 40), None))}, (
    "the behaviour has changed"
)
PY
