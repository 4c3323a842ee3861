"""How long a cure will take: each stage timed on a few images, and scaled to all; and then corrected as it goes on."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aliasing.curing.candidates import Candidates
from aliasing.curing.material import Material
from aliasing.depth.attribution import attribute
from aliasing.images import ImageSource
from aliasing.jitter import measure_jitter
from aliasing.leaderboard.cost import cost
from aliasing.models import Classifier
from aliasing.rounding import rounded
from aliasing.surgery.finetune import Recipe, finetune
from aliasing.tables import counted

__all__ = ["Pace", "Stage", "assumed", "forecast"]

_LONG = 3.0  # seconds


@dataclass(frozen=True)
class Stage:
    """A stage of a cure, the images that pass through it, and how many seconds it should take on this machine."""

    stage: str
    images: int
    seconds: float


def forecast(
    plain: Classifier,
    made: Candidates,
    material: Material,
    recipe: Recipe,
    options: dict[str, Any],
) -> list[Stage]:
    """Time the plain network on few images and on twice as many, which tells what an image takes.

    A conversion takes longer by its multiply–adds.
    """
    counts = material.counts
    whole, *each_of = ((cost(network).multiply_adds or 0) for network in (plain, *made.networks.values()))
    work = [number / max(whole, 1) for number in each_of]
    most, each = max(work), sum(work)

    def measured(images: int) -> None:
        measure_jitter(plain, _few(material.held_out, images), **options)

    def attributed(images: int) -> None:
        attribute(plain, _few(material.attributed, images), **options)

    def trained(images: int, epochs: int = 1) -> None:
        short = replace(recipe, epochs=epochs, batch_size=max(2, min(recipe.batch_size, images)))
        with TemporaryDirectory() as folder:
            finetune(plain, _few(material.train, images), Path(folder), short)

    measured(2)  # the first run of a process is slower than all others
    measuring = _Line.of(measured, counts["held_out"])
    attributing = _Line.of(attributed, counts["attributed"])
    reading = _Line.of(trained, counts["train"])
    some = reading.images
    begin = time.perf_counter()
    trained(some, 2)
    step = max((time.perf_counter() - begin - reading(some)) / some, 0.0)  # an epoch more, without reading
    epochs = recipe.epochs

    def training(images: int, passes: int) -> float:
        return reading(images) + step * images * (passes - 1)

    tried, compared = counts["tried"], counts["compared"]
    statistics = step * counts["statistics"] / 3  # without going back
    trying = each * (training(tried, 1) + measuring(compared) + statistics)
    return [
        Stage("measure the plain network", counts["held_out"], measuring(counts["held_out"])),
        Stage("treat one site at a time", counts["attributed"], attributing(counts["attributed"])),
        Stage(f"try up to {counted(len(work), 'candidate')}", tried, trying),
        Stage("fine-tune the control", counts["train"], training(counts["train"], epochs)),
        Stage("fine-tune the chosen one", counts["train"], most * training(counts["train"], epochs)),
        Stage("measure the others", counts["held_out"], (1 + 2 * most) * measuring(counts["held_out"])),
    ]


@dataclass(frozen=True)
class _Line:
    """Seconds by number of images, through two measured points."""

    fixed: float
    each: float
    images: int  # that the larger of the two had

    @classmethod
    def of(cls, run: Callable[[int], None], most: int) -> "_Line":
        """Time twice as many images each time, until that takes long enough to be told from chance."""
        images, before = min(2, most), 0.0
        while True:
            begin = time.perf_counter()
            run(images)
            seconds = time.perf_counter() - begin
            if seconds > _LONG or 2 * images > most:
                break
            images, before = 2 * images, seconds
        each = max((seconds - before) / (images / 2), 0.0) if before else seconds / images
        return cls(max(seconds - images * each, 0.0), each, images)

    def __call__(self, images: int) -> float:
        return self.fixed + self.each * images


@dataclass
class Pace:
    """How long the stages of a cure take, beside their forecast: what is left follows from the real rate so far.

    Examples
    --------
    >>> pace = Pace([Stage("measure", 10, 20.0), Stage("train", 10, 60.0), Stage("compare", 10, 40.0)])
    >>> pace.left
    120.0
    >>> pace.finish(50.0)  # two and a half times as long as the forecast
    >>> pace.left
    250.0
    """

    stages: list[Stage]
    finished: int = 0
    forecast: float = 0.0
    taken: float = 0.0

    def finish(self, seconds: float | None) -> None:
        """Count a finished stage and its seconds; None if a part of it was done before, which tells no rate."""
        if seconds is not None:
            self.forecast += self.stages[self.finished].seconds
            self.taken += seconds
        self.finished += 1

    @property
    def left(self) -> float:
        """The seconds that the other stages should take."""
        rate = self.taken / self.forecast if self.forecast else 1.0
        return rate * sum(stage.seconds for stage in self.stages[self.finished :])


def assumed() -> str:
    """What a forecast rests on, and how busy the machine is, where the system tells it."""
    text = "by the rate of the last few seconds on this machine; if other work slows it down, it takes longer"
    processors = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= processors:
        return text
    return f"{text} (it is busy now: {rounded(load, '.1f')} tasks on {processors} processors)"


def _few(source: ImageSource, count: int) -> ImageSource:
    return replace(source, _entries=lambda: islice(source._entries(), count))
