"""Choosing some images of a source: the first N, or N drawn at random by their identities.

The seed and the hash of an image's bytes give it a number, and the N images with the lowest numbers are drawn (a
"bottom-k" sketch, Cohen & Kaplan 2007). So neither the place nor the name of an image matters, other images can only
take places, a larger sample contains a smaller one, and every process of a run draws the same.
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from aliasing.classes import Label
from aliasing.errors import UsageError
from aliasing.images.entries import Entry, ImageSource, hash_bytes
from aliasing.images.opening import open_images
from aliasing.images.pixels import BadImage
from aliasing.progress import watched


def choose_images(
    images: Any, *, limit: int | None = None, sample: int | None = None, seed: int = 0, progress: bool = False
) -> ImageSource:
    """Open images, and keep some of them.

    Parameters
    ----------
    images : Any
        As for :func:`aliasing.images.open_images`.
    limit : int, optional
        Keep the first N. In a folder with a subfolder for each class they are of the first classes.
    sample : int, optional
        Keep N drawn at random, in their order. All images are read once, to know their identities.
    seed : int
        Of the sample; another seed draws others.
    progress : bool
        Show a progress bar while the images are read.

    Returns
    -------
    ImageSource
        Its ``limit`` and ``sample`` say what was kept.

    Raises
    ------
    InputError
        There are no images.
    UsageError
        ``limit`` or ``sample`` is below 1, or both are given.

    Examples
    --------
    >>> import numpy as np
    >>> grey = [np.full((8, 8), level, np.uint8) for level in range(100)]
    >>> [entry.name for entry in choose_images(grey, limit=3)]
    ['00000', '00001', '00002']
    >>> drawn, backwards = (choose_images(list(them), sample=3) for them in (grey, grey[::-1]))
    >>> {entry.identify() for entry in drawn} == {entry.identify() for entry in backwards}
    True
    """
    for name, number in (("limit", limit), ("sample", sample)):
        if number is not None and number < 1:
            raise UsageError(f"{name} is a number of images, at least 1; got {number}")
    if limit is not None and sample is not None:
        raise UsageError(f"limit {limit} takes the first images and sample {sample} draws some; give one of the two")
    source = open_images(images)
    if limit is not None:
        return first(source, limit)
    return source if sample is None else _drawn(source, sample, seed, progress)


def first(source: ImageSource, limit: int) -> ImageSource:
    """The first images of a source."""
    limit = limit if source.limit is None else min(limit, source.limit)
    return replace(source, _entries=lambda: islice(source._entries(), limit), limit=limit, whole=source)


class LabelOrder:
    """Whether images come sorted by their labels; takes the labels one after the other.

    Examples
    --------
    >>> order = LabelOrder()
    >>> for label in ("eel", "eel", "ray", "ray"):
    ...     order.add(label)
    >>> order.is_sorted, len(order.labels)
    (True, 2)
    """

    def __init__(self) -> None:
        self.labels: set[Label] = set()
        self._known = 0
        self._last: Label = None
        self._ascends = self._in_blocks = True

    def add(self, label: Label) -> None:
        """Add the label of the next image."""
        if label is None:
            return
        if self._known and label != self._last:
            self._in_blocks &= label not in self.labels
            self._ascends &= (isinstance(self._last, str), self._last) < (isinstance(label, str), label)
        self._known, self._last = self._known + 1, label
        self.labels.add(label)

    @property
    def is_sorted(self) -> bool:
        """Whether each label's images follow one another: several of one label, or labels in ascending order."""
        blocks = self._in_blocks and len(self.labels) < self._known
        return self._known >= _TELLING and (blocks or self._ascends)


_TELLING = 4  # labels that ascend by chance once in 24 times


def _drawn(source: ImageSource, number: int, seed: int, progress: bool) -> ImageSource:
    entries = tqdm(source, desc="drawing a sample", unit="image", disable=not (progress and watched()), leave=False)
    ranked = [_rank(entry, seed) for entry in entries]
    names = {name for *_, name in heapq.nsmallest(number, ranked)}

    def chosen() -> Iterator[Entry]:
        return (entry for entry in source._entries() if entry.name in names)

    described = f"{source.description}; {len(names)} of {len(ranked)} drawn at random (seed {seed})"
    return replace(source, description=described, _entries=chosen, sample={"images": number, "seed": seed})


def _rank(entry: Entry, seed: int) -> tuple[str, str, str]:
    """What decides whether an image is drawn; of images with the same bytes, its label and then its name."""
    try:
        identity = entry.identify()
    except BadImage:  # it is drawn as often as others, and then reported like others
        identity = f"unreadable {entry.name}"
    return hash_bytes(f"{seed}:{identity}".encode()), repr(entry.label), entry.name
