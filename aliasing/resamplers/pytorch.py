"""torch's resamplers: ``interpolate`` with ``antialias=True``, and without."""

from functools import partial

import torch
import torch.nn.functional as F

from aliasing.resamplers import Pixels, Resampler, View


def _resize(pixels: Pixels, height: int, width: int, interpolation: str, antialias: bool) -> View:
    image = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    resized = F.interpolate(image, (height, width), mode=interpolation, antialias=antialias, align_corners=False)
    return resized[0].permute(1, 2, 0).clamp_(0, 255).contiguous().numpy()


def _resampler(name: str, antialias: bool) -> Resampler:
    return Resampler(
        name=name,
        library="torch",
        version=torch.__version__,
        antialias=antialias,
        function=partial(_resize, antialias=antialias),
        interpolations=("bilinear", "bicubic"),
    )


antialiased = _resampler("torch", antialias=True)
aliased = _resampler("torch-aliased", antialias=False)
