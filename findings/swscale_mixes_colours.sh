#!/usr/bin/env bash
# FFmpeg's scaler on RGB pictures: a resize mixes the colours, and the nearest pixel has a colour that none has.
#
# PyAV 18.1.0 (libswscale 9.5), numpy 2.4.6.
# Guess: reformat from rgb24 to rgb24 resizes red, green and blue alike and apart; and POINT, the nearest pixel, takes
# pixels that are there, so that it is safe for label maps in colour.
# Behaviour: the scaler goes through luma and chroma, and where the width is halved or less it takes the chroma of every
# second pixel only. Of a picture in which there is nothing but red, noise reduced to half becomes up to 14 grey levels
# of green and of blue with BILINEAR, BICUBIC and LANCZOS; with POINT stripes of pure red become colours with 38 of each
# that no pixel has. AREA keeps them apart, as does a width that is less than halved.
# Output seen (green and blue of pictures that are red only, 256×256):
#   noise to 128×128: BILINEAR 12 and 12, BICUBIC 12 and 12, LANCZOS 14 and 14, AREA 0 and 0, POINT 38 and 38
#   noise to 200×200: BILINEAR 0 and 0, BICUBIC 0 and 0, LANCZOS 0 and 0, AREA 0 and 0, POINT 0 and 0
#   labels, black and (255, 0, 0), to 64×64 with POINT: colours [[166, 38, 38]]
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import av
import numpy as np


def resized(pixels, size, kernel):
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return frame.reformat(size, size, interpolation=kernel).to_ndarray()


noise = np.zeros((256, 256, 3), np.uint8)
noise[..., 0] = np.random.default_rng(0).integers(0, 256, (256, 256))
others = {}
for size in (128, 200):
    for kernel in ("BILINEAR", "BICUBIC", "LANCZOS", "AREA", "POINT"):
        others[size, kernel] = resized(noise, size, kernel)[..., 1:].max((0, 1)).tolist()
    told = ", ".join(f"{kernel} {green} and {blue}" for (of, kernel), (green, blue) in others.items() if of == size)
    print(f"noise to {size}×{size}: {told}")
labels = np.zeros((256, 256, 3), np.uint8)
labels[:, ::2, 0] = 255
colours = np.unique(resized(labels, 64, "POINT").reshape(-1, 3), axis=0).tolist()
print(f"labels, black and (255, 0, 0), to 64×64 with POINT: colours {colours}")
mixing = [kernel for (size, kernel), found in others.items() if size == 128 and min(found) > 5]
assert mixing == ["BILINEAR", "BICUBIC", "LANCZOS", "POINT"], "the behaviour has changed"
apart = [max(found) for (size, kernel), found in others.items() if size == 200 or kernel == "AREA"]
assert max(apart) == 0, "the behaviour has changed"
assert [255, 0, 0] not in colours and [0, 0, 0] not in colours, "the behaviour has changed"
PY
