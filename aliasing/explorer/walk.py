"""The walk of a photograph: its places, a network's answers there, which steps change them, how they are drawn."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from aliasing.called import short_names
from aliasing.errors import InputError
from aliasing.images import Image, open_images
from aliasing.jitter.engine import predict
from aliasing.jitter.network import ON_CPU, Array, prepare
from aliasing.jitter.trace import answer_in_words
from aliasing.models import Classifier
from aliasing.outputs import OUTPUTS
from aliasing.outputs.drawn import Drawing, PlacedOutput
from aliasing.protocols import Drag
from aliasing.undisturbed import surroundings_kept

Place: TypeAlias = tuple[float, float]
"""How far the content has moved down and right, in pixels."""

HOME: Place = (0.0, 0.0)
FIRST: Place = (1.0, 1.0)  # where a photograph is at first, so that there is something to see
WHOLE, FRACTION = 1.0, 0.125
ALONG = 8  # pixels of the diagonal that the page plays

_NEIGHBOURS: tuple[Place, ...] = (FIRST, (0, 1), (1, 0), (-1, -1), (0, -1), (-1, 0), (1, -1), (-1, 1))
_ELSE = "coffee.png"
CLASSES, _BATCH = 5, 16
_MOST_KNOWN = 8  # label maps are large
# Hooks on a network that cannot be copied would see what another page shows it.
TURN = Lock()


def snapped(place: Place, step: float) -> Place:
    """The nearest place on the grid of steps, within reach.

    Examples
    --------
    >>> snapped((0.6, -99.0), WHOLE), snapped((0.6, 0.0), FRACTION)
    ((1.0, -16.0), (0.625, 0.0))
    """
    down, right = (float(min(max(round(way / step) * step, -Drag.reach), Drag.reach)) for way in place)
    return down, right


def between(start: Place, end: Place, step: float) -> list[Place]:
    """The places on the way, without the start: each at most one step from the last, each way.

    Examples
    --------
    >>> between((0, 0), (1, 3), WHOLE)
    [(0.0, 1.0), (1.0, 2.0), (1.0, 3.0)]
    """
    ways = end[0] - start[0], end[1] - start[1]
    count = ceil(max(map(abs, ways)) / step)
    shares = [k / count for k in range(1, count + 1)]
    return [snapped((start[0] + share * ways[0], start[1] + share * ways[1]), step) for share in shares]


def diagonal(step: float) -> list[Place]:
    """The way down the diagonal and back home, without the start."""
    there = between(HOME, (ALONG, ALONG), step)
    return [*there, *there[-2::-1], HOME]


def told(place: Place) -> str:
    """A place in words.

    Examples
    --------
    >>> told((-1.0, 0.125)), told((2.0, 0.0)), told(HOME)
    ('1 up, 0.125 right', '2 down', 'where it was')
    """
    ways = ("up", "down"), ("left", "right")
    parts = [f"{abs(by):g} {names[by > 0]}" for by, names in zip(place, ways, strict=True) if by]
    return ", ".join(parts) or "where it was"


@dataclass
class Walk:
    """The places at which a photograph has been, one step apart, since it was last at home."""

    step: float = WHOLE
    places: list[Place] = field(default_factory=lambda: [HOME])

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.places[-1]

    def restart(self, place: Place = HOME) -> None:
        """Begin a new walk at home, and go to the place."""
        self.places = [HOME]
        self.go(place)

    def go(self, place: Place) -> None:
        """Go to the nearest place on the grid, step by step."""
        self.places += between(self.place, snapped(place, self.step), self.step)


@dataclass(frozen=True)
class Answer:
    """A network's answer at home and now, in words, and its leading classes with both probabilities."""

    before: str
    now: str
    leading: tuple[tuple[str, float, float], ...]


class _Shown:
    """One network's outputs for one photograph.

    Raises UsageError or InputError if the network does not give them.
    """

    @surroundings_kept()
    def __init__(self, model: Classifier, image: Image, output: str) -> None:
        self.output = OUTPUTS[output].of(model)
        running = prepare(self.output.model)
        self.model, self.image = model, image
        self._turn = TURN if running.module is model.module else nullcontext()
        self._network = self.output.network(running, ON_CPU)
        self._known: dict[Place, Any] = {}

    def outputs(self, places: Sequence[Place]) -> list[Any]:
        """The output at each place; what is known is not computed again."""
        missing = [place for place in dict.fromkeys(places) if place not in self._known]
        pictures = (picture(self.image, self.model, place) for place in missing)
        with self._turn, surroundings_kept():
            self._known.update(zip(missing, predict(self._network, pictures, _BATCH), strict=True))
        return [self._known[place] for place in places]


class DrawnWatch(_Shown):
    """How one network's answers to one photograph are drawn over it."""

    def drawing(self, place: Place) -> Drawing:
        """The answer at a place, and what of it differs from that at home."""
        assert isinstance(self.output, PlacedOutput)
        views = Drag(down=place[0], right=place[1]).views(self.image, self.model)
        found = self.output.drawing(self.outputs([HOME, place]), (0, 1), views)
        for old in [known for known in self._known if known != HOME][:-_MOST_KNOWN]:
            del self._known[old]
        return found


class Watch(_Shown):
    """One network's answers to one photograph; each place is computed once.

    Raises UsageError or InputError if the network gives no probabilities.
    """

    def __init__(self, model: Classifier, image: Image) -> None:
        super().__init__(model, image, "probabilities")

    def probabilities(self, places: Sequence[Place]) -> Array:
        """The probability of each class at each place, (places, classes)."""
        return np.stack(self.outputs(places))

    def answer(self, place: Place) -> Answer:
        """The answer at a place, and that at home."""
        outputs = self.probabilities([HOME, place])
        leading = np.argsort(-outputs.max(0), kind="stable")[:CLASSES]
        before, now = (answer_in_words(self.model.labels, int(index)) for index in outputs.argmax(1))
        rows = [(answer_in_words(self.model.labels, int(k)), *outputs[:, k].tolist()) for k in leading]
        return Answer(before, now, tuple(rows))

    def changes(self, places: Sequence[Place]) -> list[bool]:
        """Whether the answer changes, for each step from one place to the next."""
        changed: list[bool] = np.diff(self.probabilities(places).argmax(1)).astype(bool).tolist()
        return changed


def picture(image: Image, model: Classifier, place: Place) -> Array:
    """What the network sees of the photograph at a place, float32 H×W×3 in 0…255."""
    return Drag(down=place[0], right=place[1]).views(image, model).views[1].draw()


@dataclass(frozen=True)
class Start:
    """The photograph with which the page begins, where it is, and why this one."""

    image: Image
    place: Place = FIRST
    why: str = ""


def find_start(model: Classifier, is_drawn: bool = False) -> Start | None:
    """The first of scikit-image's photographs on which one pixel changes the network's class.

    If there is none, or the answer is drawn, it is the coffee; if scikit-image is absent, None.
    """
    try:
        entries = list(open_images("sample"))
    except InputError:
        return None
    name = short_names([model.name])[model.name]
    among = f"of scikit-image's {len(entries)} photographs"
    other: Start | None = None
    for entry in entries:
        image = entry.load()
        assert isinstance(image, Image)
        if is_drawn:
            if image.name == _ELSE:
                return Start(image)
            continue
        home, *moved = Watch(model, image).probabilities([HOME, *_NEIGHBOURS]).argmax(1)
        changed = [place for place, found in zip(_NEIGHBOURS, moved, strict=True) if found != home]
        if changed:
            return Start(
                image, changed[0], f"{image.name} is the first {among} on which one pixel changes {name}'s answer"
            )
        if other is None or image.name == _ELSE:
            other = Start(image, FIRST, f"on none {among} does one pixel change {name}'s answer")
    return other
