#!/usr/bin/env bash
# FFmpeg's way from a video's frame back to RGB: every channel is rounded down, so decoded frames are darker.
#
# PyAV 18.1.0 (libswscale 9.5), numpy 2.4.6.
# Guess: to_ndarray(format="rgb24") of a yuv420p frame rounds to the nearest level, so that without any coding the way
# there and back keeps the mean of a picture, and loses only fine colours.
# Behaviour: luma is right (its mean error is below 0.01), but the way back is the sum of terms that are each cut off: no
# pixel is lighter than the formula of BT.601 says, and red, green and blue are 1.0, 1.4 and 1.0 levels darker on average.
# With yuv444p, which another routine converts, the mean is kept. A grey ramp loses half a level. Frames of a film that
# are compared with the pictures that it was made of therefore differ by more than a level before anything is lost.
# Output seen (64×64, levels 60 to 189, far from both ends):
#   yuv420p against the formula: luma -0.00; red -0.97, green -1.44, blue -0.97, at most 0.00
#   there and back: yuv420p -1.18, yuv422p -1.14, yuv444p 0.00; a grey ramp by yuv420p -0.49
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


def converted(pixels, layout):
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=layout)


def darker(pixels, layout):
    return (converted(pixels, layout).to_ndarray(format="rgb24") - pixels.astype(float)).mean()


pixels = np.random.default_rng(0).integers(60, 190, (64, 64, 3)).astype(np.uint8)
frame = converted(pixels, "yuv420p")
planes = frame.to_ndarray().astype(float)
luma, blueness, redness = planes[:64], planes[64:80].reshape(32, 32), planes[80:].reshape(32, 32)
wanted = 16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255
y, u, v = (luma - 16) * 255 / 219, *(np.kron(part - 128, np.ones((2, 2))) for part in (blueness, redness))
formula = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], -1)
error = frame.to_ndarray(format="rgb24") - formula
red, green, blue = error.mean((0, 1))
print(f"yuv420p against the formula: luma {(luma - wanted).mean():.2f}; red {red:.2f}, green {green:.2f},"
      f" blue {blue:.2f}, at most {error.max():.2f}")
back = {layout: darker(pixels, layout) for layout in ("yuv420p", "yuv422p", "yuv444p")}
ramp = np.repeat(np.arange(16, 236, dtype=np.uint8)[None, :, None].repeat(4, 0), 3, 2)
grey = darker(ramp, "yuv420p")
told = ", ".join(f"{layout} {change:.2f}" for layout, change in back.items())
print(f"there and back: {told}; a grey ramp by yuv420p {grey:.2f}")
assert abs((luma - wanted).mean()) < 0.05, "the behaviour has changed"
assert error.max() < 0.01 and max(red, green, blue) < -0.9, "the behaviour has changed"
assert max(back["yuv420p"], back["yuv422p"]) < -1 < -0.1 < back["yuv444p"], "the behaviour has changed"
assert grey < -0.4, "the behaviour has changed"
PY
