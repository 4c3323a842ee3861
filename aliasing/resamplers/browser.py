"""Chromium's canvas, by Selenium: ``drawImage`` with the three values of ``imageSmoothingQuality``."""

import atexit
import base64
import shutil
import subprocess
from functools import cache, partial
from typing import Any

import numpy as np
from selenium import webdriver

from aliasing.resamplers import Resampler, named

_DRAW = """
const [given, width, height, across, down, quality] = arguments;
const colours = Uint8Array.from(atob(given), character => character.charCodeAt(0));
const of = (w, h) => new OffscreenCanvas(w, h).getContext("2d", {willReadFrequently: true});
const image = new ImageData(width, height);
for (let i = 0; i < width * height; i++) image.data.set([...colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
const whole = of(width, height), small = of(across, down);
whole.putImageData(image, 0, 0);
small.imageSmoothingQuality = quality;
small.drawImage(whole.canvas, 0, 0, across, down);
return btoa(String.fromCharCode(...small.getImageData(0, 0, across, down).data));
"""


def _version() -> str:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise ImportError("neither chromium nor google-chrome is on the path")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "unknown")


@cache
def _driver() -> Any:
    """A browser without a window, until the program ends."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    path = shutil.which("chromedriver")
    driver = webdriver.Chrome(options, webdriver.ChromeService(path) if path else None)
    atexit.register(driver.quit)
    return driver


def _draw(pixels: Any, shape: tuple[int, ...], _: str, quality: str) -> Any:
    given = base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()
    drawn = _driver().execute_script(_DRAW, given, pixels.shape[1], pixels.shape[0], shape[1], shape[0], quality)
    return np.frombuffer(base64.b64decode(drawn), np.uint8).reshape(*shape, 4)[..., :3]


_call = partial(Resampler, library="Chromium", version=_version(), dtypes=("uint8",))
RESAMPLERS = named(
    *(
        _call(name=f"canvas-{quality}", function=partial(_draw, quality=quality), antialias=quality != "low")
        for quality in ("low", "medium", "high")
    )
)
