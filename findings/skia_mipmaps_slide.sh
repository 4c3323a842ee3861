#!/usr/bin/env bash
# Skia's mipmaps, with which browsers reduce pictures: odd sizes slide, and every level is darker.
#
# skia-python 144.1, numpy 2.4.6. Chromium 156's canvas does the same with imageSmoothingQuality "medium" and "high".
# Guess: a picture that is drawn smaller with FilterMode.kLinear and MipmapMode.kLinear is a picture of the same place,
# whatever its size; where a level has an odd size, its three-tap filter is there to keep the content in place; and an
# average of four is rounded to the nearest.
# Behaviour: the three taps lie at every second pixel, but the level of 511 pixels is drawn as if its pixels had the
# width 1023 / 511. So at each level of an odd size the content is stretched away from the middle, by one pixel of the
# picture above from end to end: of a picture of 1,023 pixels that is drawn 128 wide, what is at the left lies 2.5
# pixels too far left, and what is at the right 2.6 too far right, 0.6 pixels of the result from end to end. One of
# 1,024 lies where it should. And averages are cut: noise becomes 3/8 grey level darker at each level, 1.9 after five.
# Without mipmaps neither happens, but 35 % folds.
# Output seen:
#   1023 to 128: 2.5 too far left at the left, 2.6 too far right at the right
#   1024 to 128: 0.1 too far left at the left, 0.0 too far right at the right
#   noise, darker by 0.38 0.75 1.12 1.50 1.88 after one to five levels
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q skia-python==144.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PY'
import numpy as np
import skia

MIPMAPS = skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kLinear)
RGBA = skia.kRGBA_8888_ColorType


def drawn(grey, width, height):
    opaque = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    image = skia.Image.fromarray(opaque, colorType=RGBA).withDefaultMipmaps()
    surface = skia.Surface(width, height)
    surface.getCanvas().drawImageRect(image, skia.Rect(width, height), MIPMAPS)
    return surface.toarray(colorType=RGBA)[..., 0].astype(float)


def off(length, count):
    """How far right of its place a pixel at either end looks, by the phase of a cosine and a sine of four periods."""
    turns = 2 * np.pi * 4 / length * np.arange(length)
    parts = []
    for wave in (np.cos(turns), np.sin(turns)):
        ends = [np.tile(np.rint(128 + sign * 100 * wave).astype(np.uint8), (64, 1)) for sign in (1, -1)]
        high, low = (drawn(end, count, 8).mean(0) for end in ends)
        parts.append(high - low)
    seen = np.unwrap(np.angle(parts[0] + 1j * parts[1])) * length / (8 * np.pi)  # the place in the picture that is seen
    found = seen - ((np.arange(count) + 0.5) * length / count - 0.5)
    return found[1], found[-2]


for length, least in ((1023, 2), (1024, 0)):
    left, right = off(length, 128)
    print(f"{length} to 128: {left:.1f} too far left at the left, {abs(right):.1f} too far right at the right")
    assert (left > least and right < -least) if least else max(abs(left), abs(right)) < 0.2, "the behaviour has changed"
noise = np.random.default_rng(0).integers(20, 230, (1024, 1024)).astype(np.uint8)
darker = [noise.mean() - drawn(noise, 1024 >> level, 1024 >> level).mean() for level in range(1, 6)]
print(f"noise, darker by {' '.join(f'{value:.2f}' for value in darker)} after one to five levels")
assert np.allclose(darker, 0.375 * np.arange(1, 6), atol=0.05), "the behaviour has changed"
PY
