"""What a training loop has at hand: a DataLoader, a Dataset, tensors N×C×H×W, alone or with their labels.

Pictures have whole levels of 0…255, so a normalised tensor x becomes 255 (x std + mean), rounded; that is exact for a
picture that had 8 bits before it was made a tensor. A loader's data set is read item by item, in its own order: neither
workers nor shuffling take part, and no random state moves.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aliasing.errors import InputError
from aliasing.images.entries import Entry, ImageSource, Loaded, bad_entry
from aliasing.images.hugging_face import label_column
from aliasing.images.opening import Normalised, is_tensor, item_entry, pair_of
from aliasing.images.pixels import unnormalised
from aliasing.rounding import rounded

_LOOKED_AT = 8  # items at the beginning, which tell what the others are
_WHOLE = 0.02  # of a level: float32 is off by 1e-4 of a level, a resized picture by up to a half


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """A loader, a data set, or a stack of tensors, with the mean and std that normalised it if they are given."""
    given = spec if isinstance(spec, Normalised) else Normalised(spec)
    found = _items_of(given.images)
    if found is None:
        return None
    items, indices = found
    kind = type(getattr(given.images, "dataset", given.images)).__name__
    if not len(indices):
        raise InputError(f"a {kind} without items holds no images")
    return _looked_at(_source_of(items, indices, given, kind), items, indices, given)


def _items_of(spec: Any) -> tuple[Any, Sequence[int]] | None:
    """Something indexable, and the indices of the items that belong to it; None if this is something else."""
    if hasattr(spec, "dataset") and hasattr(spec, "batch_size"):
        return _items_of_loader(spec)
    if isinstance(spec, tuple) and len(spec) == 2 and _is_stack(spec[0]) and len(spec[0]) == len(spec[1]):
        spec = _Pairs(*spec)
    indexable = hasattr(spec, "__getitem__") and hasattr(spec, "__len__")
    known = isinstance(spec, (str, bytes, bytearray, list, tuple, dict, np.ndarray))  # no data set, or read elsewhere
    if not indexable or known or (is_tensor(spec) and not _is_stack(spec)):
        return None
    return spec, range(len(spec))


@dataclass(frozen=True)
class _Pairs:
    """A stack of images with the label of each."""

    images: Any
    labels: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], self.labels[index]


def _is_stack(thing: Any) -> bool:
    return (is_tensor(thing) or isinstance(thing, np.ndarray)) and thing.ndim == 4


def _items_of_loader(loader: Any) -> tuple[Any, Sequence[int]]:
    """A loader's data set and the indices that it draws, sorted; or all that it gives, if it makes its own batches."""
    from torch.utils.data import BatchSampler, IterableDataset, RandomSampler, SequentialSampler, default_collate

    data_set, batches = loader.dataset, loader.batch_sampler
    if isinstance(data_set, IterableDataset) or batches is None or loader.collate_fn is not default_collate:
        with _generator_kept(loader):
            items = [item for batch in loader for item in _taken_apart(batch)]
        return items, range(len(items))
    sampler = batches.sampler if type(batches) is BatchSampler else None
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(data_set)
    if shuffles or isinstance(sampler, SequentialSampler):
        return data_set, range(len(data_set))
    with _generator_kept(batches), _generator_kept(sampler):
        return data_set, sorted({int(index) for batch in batches for index in batch})


@contextmanager
def _generator_kept(owner: Any) -> Iterator[None]:
    """Restore a sampler's or a loader's own generator afterwards, if it has one."""
    generator = getattr(owner, "generator", None)
    state = None if generator is None else generator.get_state()
    try:
        yield
    finally:
        if generator is not None:
            generator.set_state(state)


def _taken_apart(batch: Any) -> Iterator[Any]:
    """The items of one batch."""
    picture, label = pair_of(batch)
    if not _is_stack(picture):
        shape = tuple(getattr(picture, "shape", ()))
        raise InputError(
            f"a loader's batch holds a {type(picture).__name__} of shape {shape}; expected images N×C×H×W, with their"
            " labels or without"
        )
    yield from picture if label is None else zip(picture, label, strict=True)


def _source_of(items: Any, indices: Sequence[int], given: Normalised, kind: str) -> ImageSource:
    """The items of a data set, read when they are needed; its labels are cached."""
    known: dict[int, Entry] = {}  # without what it would load
    lock = threading.Lock()  # data sets are made for one thread per process

    def item(index: int) -> Entry:
        try:
            with lock:
                return item_entry(f"{index:05d}", items[index], given)
        except Exception as error:  # whatever the user's own code raises
            return bad_entry(f"{index:05d}", None, f"the data set fails on it: {type(error).__name__}: {error}")

    def like(index: int, entry: Entry) -> Entry:
        return replace(item(index), name=entry.name, label=entry.label, orientation=entry.orientation)

    def load(index: int, entry: Entry) -> Loaded:
        return like(index, entry).load()

    def identify(index: int, entry: Entry) -> str:
        return like(index, entry).identify()

    def entries() -> Iterator[Entry]:
        for index in indices:
            if index not in known:
                one, again = item(index), (partial(load, index), partial(identify, index))
                known[index] = Entry(f"{index:05d}", one.label, *again, is_signal=one.is_signal)
            yield known[index]

    described = f"{len(indices)} items of a {kind}{given.described}"
    return ImageSource(described, entries, _class_names(items))


def _class_names(data_set: Any) -> tuple[str, ...] | None:
    """The names that a data set of torchvision or of Hugging Face gives to its classes; also those of a part of one."""
    while hasattr(data_set, "dataset") and hasattr(data_set, "indices"):  # a Subset
        data_set = data_set.dataset
    names = getattr(data_set, "classes", None)
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return label_column(getattr(data_set, "features", None))[1]


def _looked_at(source: ImageSource, items: Any, indices: Sequence[int], given: Normalised) -> ImageSource:
    """The source, with what its first items tell: how a network has to see them, and what to be cautious about."""
    cautions = []
    first = []
    for index in indices[:_LOOKED_AT]:
        try:
            twice = [items[index] for _ in range(2)]
            first.append(pair_of(twice[0])[0])
            if len({item_entry("", item, given).identify() for item in twice}) > 1:
                cautions = [
                    "the data set gives another picture each time it is read, so the numbers do not repeat: measure"
                    " with the transforms of evaluation"
                ]
        except Exception:
            continue
    floats = [x for x in first if is_tensor(x) and x.ndim == 3 and x.is_floating_point() and len(x) in (1, 3)]
    if not floats or len(floats) < len(first):
        return replace(source, cautions=tuple(cautions))
    levels = [unnormalised(x, given.mean, given.std) for x in floats]
    low, high = min(float(x.min()) for x in levels), max(float(x.max()) for x in levels)
    if not (-0.5 <= low <= high <= 255.5):
        found = f"the tensors hold numbers from {rounded(low / 255, '.2g')} to {rounded(high / 255, '.2g')}"
        if given.mean is None:
            raise InputError(f"{found}, so they were normalised: say how, mean=(…), std=(…)")
        raise InputError(f"{found}{given.undone}; expected 0…1: are these the mean and std that normalised them?")
    if max(float(np.abs(x - np.rint(x)).max()) for x in levels) > _WHOLE and floats[0].element_size() > 2:
        cautions.append(
            "the tensors are rounded to 256 levels: they were resized after they became tensors"
            + ("" if given.mean is None else ", or mean and std are not those that normalised them")
        )
    shapes = {tuple(x.shape) for x in floats}
    if len(shapes) > 1:
        return replace(source, cautions=tuple(cautions))
    channels, *size = shapes.pop()
    own: dict[str, Any] = {"input_size": tuple(size), "resize_size": tuple(size), "interpolation": "bilinear"}
    for name, numbers in (("mean", given.mean or (0.0,)), ("std", given.std or (1.0,))):
        own[name] = numbers * channels if len(numbers) == 1 else numbers
    assumed = () if given.mean else ("its tensors lie in 0…1: taken for what it is trained on; else say mean and std",)
    return replace(source, cautions=tuple(cautions), preprocessing=own, assumed=assumed)
