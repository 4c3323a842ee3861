"""Opening images: anything that a reader in `aliasing.kinds.INPUTS` takes, a path, a pattern, or objects in memory."""

import glob
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from aliasing.classes import MAX_LABEL, Label, written
from aliasing.errors import InputError, UsageError, one_line, who_exits
from aliasing.images.datasets import array_entry
from aliasing.images.entries import (
    Entry,
    Image,
    ImageSource,
    Signal,
    UniqueNames,
    bad_entry,
    check_regular,
    hash_bytes,
    shown,
    signal_entry,
)
from aliasing.images.folders import file_entry, file_source, folder_source, is_hidden
from aliasing.images.media import is_media
from aliasing.images.pixels import ORIENTATIONS, UPRIGHT, BadImage, decoding, from_pil, from_tensor, turn_of
from aliasing.images.tables import IMAGE_COLUMNS, LABEL_COLUMNS, parquet_source
from aliasing.kinds import INPUTS

Spec = str | Path | PIL.Image.Image | npt.NDArray[Any]

_AS_STORED = ", as stored"  # the end of a source's description


@dataclass(frozen=True)
class Normalised:
    """Images in memory, and the mean and std that normalised them, if any."""

    images: Any
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def described(self) -> str:
        """The end of a source's description."""
        return "" if self.mean is None else f", normalised by mean {self.mean} and std {self.std}"

    @property
    def undone(self) -> str:
        """The end of a message."""
        return "" if self.mean is None else f" with mean {self.mean} and std {self.std} undone"


def open_images(
    spec: Spec | ImageSource | Iterable[Any] | Any,
    orientation: str | None = None,
    *,
    mean: Any = None,
    std: Any = None,
) -> ImageSource:
    """Open images from any source as a stream.

    Labels are kept as they are written; the network decides which of its classes they mean (see
    :mod:`aliasing.classes`).

    Parameters
    ----------
    spec : str, Path, array, PIL image, Signal, data set of torch, or an iterable of these
        - ``sample``: the photographs that scikit-image bundles;
        - an image, a video, a sound (WAV, FLAC, OGG, AIFF) or a volume (NIfTI), a pattern such as ``photos/*.jpg``;
        - a folder, read at any depth; labels come from its ``labels.csv`` (columns ``file``, ``label``), from Hugging
          Face's ``metadata.csv`` or ``metadata.jsonl`` (``file_name``, ``label``), or from the names of class folders;
          if it has splits, the first of ``val``, ``test`` and ``train`` is read;
        - a zip or tar archive with the layout of such a folder, or a shard of WebDataset (``0.jpg``, ``0.cls``);
        - a folder of tar archives, such as WebDataset's shards, or such files by ``shards-{000..127}.tar``;
        - ``@list.txt``, a file with a path on each line, and its label behind it if there is one; ``-`` for such lines
          on standard input;
        - Parquet as Hugging Face writes it: a file, or a folder of such files;
        - the URL of an image, an archive or a folder, ``https://…``, ``s3://…``, as fsspec knows them;
        - a data set of Hugging Face, in memory or streaming; ``hf:NAME`` streams one from the hub;
        - torchvision's MNIST, FashionMNIST, CIFAR10, CIFAR100 (the test set unless a file of the training set is
          named) and ImageNet;
        - arrays (uint8 H×W×3, H×W×4 or H×W), PIL images, tensors (uint8, or floats in 0…1, C×H×W), signals with their
          rates (`aliasing.images.Signal`, `aliasing.sounds.Sound`, `aliasing.volumes.Volume`) or paths, each alone or
          as a pair (image, label). A generator is kept as a list, because the stream must be able to start again;
        - a ``torch.utils.data.Dataset`` of such items, or a ``DataLoader``, whose data set is read in its order;
        - tensors N×C×H×W, alone or as a pair (tensors, labels).
    orientation : {"upright", "stored"}, optional
        Whether the EXIF orientation of a photograph is applied. torchvision's ``ImageFolder`` and timm's reader do not
        apply it, so published accuracies refer to pictures as they are stored. By default a source that is open already
        keeps its own, and all else is upright.
    mean, std : sequence of float, or float, optional
        What normalised the tensors of a loader, a data set or a stack: they hold (x − mean) / std, with x in 0…1.

    Returns
    -------
    ImageSource
        Iterates over entries, whose ``load`` gives an :class:`Image`, a :class:`Clip` or a :class:`Signal`.

    Raises
    ------
    InputError
        There is nothing there, or nothing readable.
    UsageError
        The specification is not of a known kind, or cannot have been normalised.

    Examples
    --------
    >>> import numpy as np
    >>> source = open_images([np.zeros((8, 6, 3), np.uint8)])
    >>> [entry.load().pixels.shape for entry in source]
    [(8, 6, 3)]
    """
    if orientation is None:
        orientation = spec.orientation if isinstance(spec, ImageSource) else UPRIGHT
    if orientation not in ORIENTATIONS:
        raise UsageError(f"orientation {orientation!r}; expected {' or '.join(ORIENTATIONS)}")
    if mean is not None or std is not None:
        spec = Normalised(spec, *_read_normalisation(mean, std))
    try:
        source = _open(spec)
    except InputError as error:
        raise InputError(one_line(str(error))) from error
    except SystemExit as error:  # from the user's own iterable
        raise InputError(one_line(f"{who_exits(error)} calls sys.exit({error})")) from error
    if orientation == source.orientation:
        return source
    described = source.description.removesuffix(_AS_STORED)
    described += "" if orientation == UPRIGHT else _AS_STORED
    return replace(source, description=described, orientation=orientation)


def _open(spec: Any) -> ImageSource:
    if isinstance(spec, ImageSource):
        return spec
    if not isinstance(spec, (str, Path)):
        return _read(spec, None) or _open_in_memory(spec)
    try:
        path = _existing(spec)
        source = _read(spec, path)
        if source is None and path is not None:
            source = folder_source(path) if path.is_dir() else file_source(path)
            if source is None:
                raise InputError(f"{path} holds no images")
        elif source is None and glob.has_magic(str(spec)):
            source = _open_pattern(Path(spec).expanduser())
    except OSError as error:
        raise InputError(f"{spec} cannot be read: {error.strerror}") from error
    except (InputError, UsageError):
        raise
    except (ValueError, RuntimeError) as error:  # a null byte, a misplaced **, an unknown ~user
        raise InputError(f"{spec} is not a path: {error}") from error
    if source is None:
        raise InputError(f"{spec} does not exist; expected an image, a folder, an archive, a pattern, or 'sample'")
    return source


def _read(spec: Any, path: Path | None) -> ImageSource | None:
    """What the first reader that takes it makes of it; None if there is none."""
    found = (INPUTS[name](spec, path) for name in INPUTS)
    return next((source for source in found if source is not None), None)


def _existing(spec: str | Path) -> Path | None:
    """The folder or the regular file that a path names, which can be read; None if there is nothing there."""
    path = Path(spec).expanduser()
    if path.is_dir():
        return path
    if not path.exists() and not path.is_symlink():
        return None
    try:
        check_regular(path.stat())
    except BadImage as error:
        raise InputError(f"{path} is a {error}") from error
    with path.open("rb"):
        return path


def _open_in_memory(spec: Any) -> ImageSource:
    if isinstance(spec, Normalised):
        what = type(spec.images).__name__
        raise UsageError(f"mean and std are of tensors in a loader, a data set or a stack N×C×H×W; got a {what}")
    if isinstance(spec, np.ndarray) or is_tensor(spec):
        return open_items(list(spec) if spec.ndim == 4 else [spec])
    if isinstance(spec, PIL.Image.Image | Signal):
        return open_items([spec])
    if isinstance(spec, Iterable):
        return open_items(list(spec))
    raise UsageError(f"images are a path, a pattern, 'sample', arrays or PIL images; got {type(spec).__name__}")


def _open_pattern(pattern: Path) -> ImageSource:
    depth = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:depth])
    matches = sorted(path for path in base.glob(str(Path(*pattern.parts[depth:]))) if not is_hidden(path.name))
    if not matches:
        raise InputError(f"no file matches {pattern}")
    tables = [path for path in matches if path.suffix == ".parquet"]
    if tables:
        return parquet_source(tables)
    images = [path for path in matches if is_media(path.name) and not path.is_dir()]
    if not images:
        return open_items(matches)
    return ImageSource(
        f"pattern {pattern}, unlabelled",
        lambda: (file_entry(str(path.relative_to(base)), None, path) for path in images),
        folders=(base,) if "**" in pattern.parts else (),
    )


def open_items(items: list[Any]) -> ImageSource:
    """Objects in memory and paths, one after the other."""
    if not items:
        raise InputError("an empty list holds no images")
    # A list of images stays a list of paths; folders and archives are opened here, so that a wrong one is found before
    # anything is measured.
    sources = {
        index: open_images(item)
        for index, item in enumerate(items)
        if isinstance(item, (str, Path)) and not (is_media(str(item)) and Path(item).is_file())
    }
    if len(items) == 1 and sources:
        return sources[0]
    class_names = {source.class_names for source in sources.values()}
    shared = class_names.pop() if len(class_names) == 1 and len(sources) == len(items) else None

    def entries() -> Iterator[Entry]:
        names = UniqueNames()
        for index, item in enumerate(items):
            if index in sources:
                folder = names(shown(without_secrets(str(item))))
                for entry in sources[index] if shared is not None else _by_name(sources[index]):
                    yield replace(entry, name=f"{folder}/{entry.name}")
            else:
                entry = item_entry(f"{index:05d}", item, Normalised(items))
                yield replace(entry, name=names(entry.name))

    return ImageSource(
        f"{len(items)} item{'s' if len(items) > 1 else ''}",
        entries,
        shared,
        folders=tuple(folder for source in sources.values() for folder in source.folders),
    )


def _by_name(source: ImageSource) -> Iterator[Entry]:
    """The entries with names instead of a data set's numbers, which mean nothing beside those of other sources."""
    names = source.class_names
    for entry in source:
        if names is not None and isinstance(entry.label, int) and 0 <= entry.label < len(names):
            entry = replace(entry, label=names[entry.label])
        yield entry


def _read_normalisation(mean: Any, std: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A mean and a std, each one number or one a channel."""
    try:
        read = [tuple(map(float, given)) if hasattr(given, "__iter__") else (float(given),) for given in (mean, std)]
    except (TypeError, ValueError):
        read = []
    if not read or len({len(numbers) for numbers in read}) > 1 or not min(*read[1], 1) > 0:
        raise UsageError(f"mean {mean} and std {std}; expected both, one number for each channel, std positive")
    return read[0], read[1]


def is_tensor(thing: Any) -> bool:
    """Whether this is a torch tensor, without importing torch."""
    return all(hasattr(thing, name) for name in ("detach", "numpy", "ndim", "is_floating_point"))


def is_url(text: str) -> bool:
    """Whether this is a URL, ``s3://…``; a drive of Windows is not."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def without_secrets(text: str) -> str:
    """A text in which URLs have neither user and password nor a query, which may hold a signature.

    Examples
    --------
    >>> without_secrets("https://me:secret@host.org/a.png?sig=1234 is gone")
    'https://host.org/a.png is gone'
    >>> without_secrets("what?.png")
    'what?.png'
    """
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]+://)(?:[^\s/@]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", r"\1\2", text)


def pair_of(item: Any) -> tuple[Any, Any]:
    """An image and its label, from a pair, a tuple of one, or a dict as Hugging Face's data sets give it."""
    if isinstance(item, Mapping):
        image, label = (next((item[key] for key in keys if key in item), None) for keys in _KEYS)
        return (item if image is None else image), label
    if isinstance(item, (tuple, list)) and len(item) in (1, 2):
        return item[0], item[1] if len(item) == 2 else None
    return item, None


_KEYS = (*IMAGE_COLUMNS, "pixel_values"), LABEL_COLUMNS


def item_entry(name: str, item: Any, given: Normalised) -> Entry:
    """The entry of one object: an image, alone or with its label."""
    label: Label
    item, label = pair_of(item)
    if label is not None:
        shape = tuple(getattr(label, "shape", ()))
        if math.prod(shape) != 1:
            return bad_entry(name, None, f"a pair whose second is an array of shape {shape}, not a label")
        label = written(label)
        if isinstance(label, int) and abs(label) > MAX_LABEL:
            return bad_entry(name, None, f"label {label} is not the index of a class")
    if isinstance(item, str) and is_url(item):
        from aliasing.images.remote import url_entry  # which opens what is there with this module

        return url_entry(item, label)
    if isinstance(item, (str, Path)):
        return file_entry(str(item), label, Path(item).expanduser())
    if is_tensor(item):
        try:
            return array_entry(name, label, from_tensor(item, given.mean, given.std))
        except BadImage as error:
            return bad_entry(name, label, str(error))
    if isinstance(item, np.ndarray):
        return array_entry(name, label, item)
    if isinstance(item, PIL.Image.Image):
        return _pil_entry(name, label, item)
    if isinstance(item, Signal):
        return signal_entry(item.name, item.label if label is None else label, item)
    return bad_entry(name, label, f"neither an array nor a PIL image, a Signal or a path: {type(item).__name__}")


def _pil_entry(name: str, label: Label, image: PIL.Image.Image) -> Entry:
    def load(entry: Entry) -> Image:
        with decoding():
            pixels = from_pil(image, entry.orientation)
        identity = hash_bytes(repr(pixels.shape).encode(), pixels.tobytes())
        turned = entry.orientation == UPRIGHT and turn_of(image) is not None
        return Image(pixels, entry.name, identity, entry.label, turned)

    return Entry(name, label, load, lambda entry: load(entry).identity)
