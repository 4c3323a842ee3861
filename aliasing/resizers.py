"""Old names of what `aliasing.resamplers` and `aliasing.fitting` hold; they go with the next release."""

import warnings
from functools import partial
from typing import Any

from aliasing import fitting, resamplers
from aliasing.kinds import RESAMPLERS


def _resize(pixels: Any, height: int, width: int, interpolation: str = "bicubic", resizer: str = "pil") -> Any:
    return resamplers.resize(pixels, height, width, interpolation, resizer)


def _fit(
    pixels: Any, size: Any, crop_mode: str = "center", interpolation: str = "bicubic", resizer: str = "pil"
) -> Any:
    return fitting.fit(pixels, size, crop_mode, interpolation, resizer)


def _describe(resizer: str) -> Any:
    return RESAMPLERS[resizer].provenance()


def __getattr__(name: str) -> Any:
    moved: dict[str, tuple[str, Any]] = {
        "resize": ("resamplers.resize", _resize),
        "describe": ("kinds.RESAMPLERS[name].provenance", _describe),
        "RESIZERS": ("kinds.RESAMPLERS", {key: partial(_resize, resizer=key) for key in list(RESAMPLERS)[:5]}),
        "fit": ("fitting.fit", _fit),
        **{key: (f"resamplers.{key}", getattr(resamplers, key)) for key in ("INTERPOLATIONS", "Pixels", "View")},
        **{key: (f"fitting.{key}", getattr(fitting, key)) for key in ("CROP_MODES", "Size", "crop_centre")},
    }
    if name not in moved:
        raise AttributeError(f"module 'aliasing.resizers' has no attribute {name!r}")
    place, thing = moved[name]
    warnings.warn(f"aliasing.resizers.{name} is aliasing.{place} now", DeprecationWarning, stacklevel=2)
    return thing
