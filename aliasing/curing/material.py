"""The images of a cure: those it learns from, what the choice between candidates is made on, and those held out."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from aliasing.errors import InputError
from aliasing.images import BadImage, Entry, ImageSource, choose_images
from aliasing.jitter import notes_on
from aliasing.models import Classifier
from aliasing.protocols import ViewProtocol
from aliasing.protocols.base import ENLARGED, enlarged_cautions, written
from aliasing.records import InputsDigest, input_of
from aliasing.runs import keep_apart
from aliasing.tables import counted

__all__ = ["Material", "doubts", "open_material"]

_COMPARED, _TRIED, _STATISTICS, _ATTRIBUTED = 500, 1000, 500, 250
_GLANCED = 20


@dataclass(frozen=True)
class Material:
    """Streams of images; all but the last are of training images.

    Attributes
    ----------
    train : what the control and the cured network are fine-tuned on.
    tried : the part of it on which each candidate is fine-tuned for a try.
    statistics : the part of ``tried`` from which batch-norm statistics are estimated.
    compared : another part, on which the candidates are then compared.
    attributed : the part of ``compared`` on which the sites are treated one at a time.
    held_out : what the four networks are measured on.
    identity : one hash of all training images with their labels, and one of the held-out images.
    """

    train: ImageSource
    tried: ImageSource
    statistics: ImageSource
    compared: ImageSource
    attributed: ImageSource
    held_out: ImageSource
    identity: dict[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """The number of images in each."""
        streams = {name: value for name, value in vars(self).items() if isinstance(value, ImageSource)}
        return {name: sum(1 for _ in stream) for name, stream in streams.items()}


def open_material(train: ImageSource, held_out: ImageSource, out: Any, seed: int) -> Material:
    """Divide the training images by the hash of their bytes.

    Raises InputError if there are too few, or a held-out image is among them.
    """
    for source in (train, held_out):
        keep_apart(source.folders, out)
    digests = {"train": InputsDigest(), "images": InputsDigest()}
    known: dict[str, str] = {}
    count = 0
    for entry in train:
        one = input_of(entry)
        digests["train"].add([one])
        known.setdefault(one[1], entry.name)
        count += 1
    known.pop("", None)  # those that cannot be read
    shared: dict[str, str] = {}
    for entry in held_out:
        one = input_of(entry)
        digests["images"].add([one])
        if one[1] in known:
            shared[entry.name] = known[one[1]]
    if shared:
        name, there = next(iter(shared.items()))
        are = "is a training image" if len(shared) == 1 else "are training images"
        raise InputError(
            f"{len(shared)} of the held-out images {are} too ({name} is {there} in {train.description}); give --images"
            " that the network is not trained on"
        )
    if count < 4:
        raise InputError(f"{train.description} holds {counted(count)}; a cure learns from at least 4, better thousands")
    drawn = list(choose_images(train, sample=_COMPARED + _TRIED, seed=seed))
    compared = _ranked(train, drawn, min(_COMPARED, len(drawn) // 2), seed)
    names = {entry.name for entry in compared}
    tried = _kept(train, [entry for entry in drawn if entry.name not in names])
    statistics, attributed = _ranked(train, tried, _STATISTICS, seed), _ranked(train, compared, _ATTRIBUTED, seed)
    identity = {name: str(digest) for name, digest in digests.items()}
    return Material(train, tried, statistics, compared, attributed, held_out, identity)


def _ranked(source: ImageSource, entries: Iterable[Entry], count: int, seed: int) -> ImageSource:
    return _kept(source, list(choose_images(_kept(source, list(entries)), sample=count, seed=seed)))


def _kept(source: ImageSource, entries: list[Entry]) -> ImageSource:
    """Some entries of a source, in their order."""
    described = f"{len(entries)} of the training images ({source.description})"
    return replace(source, description=described, _entries=lambda: iter(entries))


def doubts(model: Classifier, protocol: ViewProtocol, source: ImageSource) -> list[str]:
    """What to know before hours are spent: the network's notes, and whether the first images are enlarged for it."""
    times = []
    for entry in islice(source, _GLANCED):
        with suppress(BadImage):
            times.append(protocol.views(entry.load(), model).enlarged)
    described = {"geometry": protocol.sizes(model), "resize_size": written(model.resized_size)}
    enlarged = [by for by in times if by > ENLARGED]
    return [*notes_on(model, protocol), *enlarged_cautions(described, protocol, enlarged, len(times))]
