"""A protocol that moves nothing: one photograph as different libraries resize it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from aliasing.errors import UsageError
from aliasing.images import Image
from aliasing.models import Classifier
from aliasing.protocols.base import View, ViewProtocol, Views
from aliasing.resamplers import DEFAULT_RESAMPLER, resampler_of


@dataclass(frozen=True, kw_only=True)
class Resamplers(ViewProtocol):
    """The evaluation view as several resamplers make it, each compared with the first: ``resamplers:pil,torch``.

    Training resizes with one library and a server with another (Parmar, Zhang & Zhu 2022). The names are those of
    ``aliasing.kinds.RESAMPLERS``.

    Examples
    --------
    >>> [one["library"] for one in Resamplers(names=("pil", "opencv-area")).parameters()["names"]]
    ['Pillow', 'opencv']
    """

    name: ClassVar[str] = "resamplers"
    unit: ClassVar[str] = "resampler"
    is_shift: ClassVar[bool] = False
    listed: ClassVar[str] = "names"
    names: tuple[str, ...] = ("pil", "opencv-linear")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({*self.names}) != len(self.names) or len(self.names) < 2:
            raise UsageError(f"resamplers: at least two different names, such as pil,opencv-linear; got {self.names}")
        for name in self.names:
            resampler_of(name)  # refuses an unknown one

    def parameters(self) -> dict[str, Any]:
        described = [resampler_of(name).provenance() for name in self.names]
        return super().parameters() | {"resizer": described[0], "names": described}

    @classmethod
    def recorded(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return super().recorded(parameters) | {"names": tuple(one["name"] for one in parameters["names"])}

    def picture_views(self, image: Image, model: Classifier, random: np.random.Generator) -> Views:
        plain = replace(model, resizer=DEFAULT_RESAMPLER)  # or its own would stand for the default's name

        def view(k: int) -> View:
            resized = replace(self, resizer=self.names[k])
            return View((0.0, 0.0), float(k), lambda: resized.canvas_of(image, plain))

        seconds = range(1, len(self.names))
        return Views(tuple(map(view, range(len(self.names)))), tuple((0, k) for k in seconds))
