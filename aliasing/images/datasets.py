"""The images in MNIST's IDX files and CIFAR's batches, as torchvision leaves them on disk.

- IDX (LeCun): big-endian magic 0x00000803, number of images, height, width, then the uint8 pixels; labels 0x00000801.
- CIFAR (Krizhevsky 2009): records of 1 or 2 label bytes and 3×32×32 uint8 pixels, in binary (``*.bin``) or in Python 2
  pickles. A pickle may hold only numbers, strings and a uint8 array: anything else is refused, and nothing in it is
  executed.
"""

import gzip
import io
import pickle
import re
import struct
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from aliasing.classes import MAX_LABEL, Label
from aliasing.errors import InputError, one_line
from aliasing.images.entries import Entry, Image, ImageSource, bad_entry, hash_bytes, shown
from aliasing.images.pixels import MAX_BYTES, MAX_PIXELS, Pixels, from_array

_IDX_NAME = re.compile(r"(?P<split>.*)images[-.]idx3-ubyte(\.gz)?")
_CIFAR_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-100-binary", "cifar-100-python")
_CIFAR_PIXELS = 3 * 32 * 32
_MAX_PICKLE = 2**28  # the largest of torchvision's is 155 MB


def array_entry(name: str, label: Label, pixels: Pixels) -> Entry:
    """An entry for pixels in memory; their identity is the hash of their shape and values."""

    def identify(_: Entry) -> str:
        return hash_bytes(repr((pixels.dtype.str, pixels.shape)).encode(), np.ascontiguousarray(pixels).tobytes())

    def load(entry: Entry) -> Image:
        return Image(from_array(pixels), entry.name, identify(entry), entry.label)

    return Entry(shown(name), label, load, identify)


def read(spec: Any, path: Path | None) -> ImageSource | None:
    """The data set in a folder or file, recognised by the names of its files."""
    if path is None:
        return None
    if path.is_dir():
        return _idx_in(path) or _cifar_in(path)
    if _IDX_NAME.fullmatch(path.name):
        return idx_source(path)
    named = re.fullmatch(r"(data_batch_[0-9]+|test_batch|test|train)(\.bin)?", path.name)
    return _cifar_source(path) if named and (named[2] or path.parent.name in _CIFAR_FOLDERS) else None


def _idx_in(folder: Path) -> ImageSource | None:
    for place in (folder, folder / "raw", *(folder / name / "raw" for name in ("FashionMNIST", "MNIST", "KMNIST"))):
        files = [path for path in place.glob("*ubyte*") if _IDX_NAME.fullmatch(path.name) and path.is_file()]
        if files:
            return idx_source(min(files, key=lambda path: (not path.name.startswith(("t10k", "test")), path)))
    return None


def idx_source(path: Path) -> ImageSource:
    """The images of an IDX file, with labels from the file beside it."""
    count, height, width = _idx_header(path, 0x803, 3)
    if height * width > MAX_PIXELS or not height * width:
        raise InputError(f"{path} says that its images are {height}×{width} pixels")
    labels = _idx_labels(path, count)
    description = f"IDX file {path}, " + ("unlabelled" if labels is None else "labels from the file beside it")
    return ImageSource(description, lambda: _idx_entries(path, count, height, width, labels))


def _idx_labels(path: Path, count: int) -> bytes | None:
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for beside in (path.with_name(name), path.with_name(f"{name}.gz")):
        if beside.is_file():
            (labels,) = _idx_header(beside, 0x801, 1)
            if labels != count:
                raise InputError(f"{beside} has {labels} labels for the {count} images of {path.name}")
            with closing(_open_idx(beside)) as file:
                file.read(8)
                content = file.read(min(count, MAX_BYTES))
            if len(content) != count:
                raise InputError(f"{beside} ends after {len(content)} of its {count} labels")
            return content
    return None


def _idx_header(path: Path, magic: int, axes: int) -> tuple[int, ...]:
    try:
        with closing(_open_idx(path)) as file:
            found, *shape = struct.unpack(f">{axes + 1}I", file.read(4 * (axes + 1)))
    except (OSError, EOFError, struct.error) as error:
        raise InputError(f"{path} is not a readable IDX file: {one_line(str(error))}") from error
    if found != magic:
        raise InputError(f"{path} begins with {found:#010x}; expected an IDX file, {magic:#010x}")
    return tuple(shape)


def _idx_entries(path: Path, count: int, height: int, width: int, labels: bytes | None) -> Iterator[Entry]:
    name = path.name.removesuffix(".gz")
    index = 0
    try:
        with closing(_open_idx(path)) as file:
            file.read(16)
            for index in range(count):
                content = file.read(height * width)
                if len(content) < height * width:
                    yield bad_entry(path.name, None, f"the file ends after {index} of its {count} images")
                    return
                pixels = np.frombuffer(content, np.uint8).reshape(height, width)
                yield array_entry(f"{name}/{index:05d}", labels[index] if labels else None, pixels)
    except (OSError, EOFError) as error:
        yield bad_entry(path.name, None, f"the file cannot be read beyond image {index}: {error}")


def _open_idx(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _cifar_in(folder: Path) -> ImageSource | None:
    places = [folder] if folder.name in _CIFAR_FOLDERS else [folder / name for name in _CIFAR_FOLDERS]
    for place in places:
        for name in ("test_batch.bin", "test.bin", "test_batch", "test"):
            if (place / name).is_file():
                return _cifar_source(place / name)
    return None


def _cifar_source(path: Path) -> ImageSource:
    fine = path.stem in ("test", "train")  # CIFAR-10's are called test_batch, data_batch_1 …
    data_set = "CIFAR-100" if fine else "CIFAR-10"
    read = partial(_cifar_binary, path, 2 if fine else 1)
    if path.suffix != ".bin":
        read = partial(_cifar_pickle, path)
        _read_pickle(path)
    return ImageSource(f"{data_set} file {path}, labels from it", read, _cifar_class_names(path, fine))


def _cifar_entry(path: Path, index: int, label: int, planes: bytes) -> Entry:
    pixels = np.frombuffer(planes, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)
    return array_entry(f"{path.name.removesuffix('.bin')}/{index:05d}", label, pixels)


def _cifar_binary(path: Path, label_bytes: int) -> Iterator[Entry]:
    with path.open("rb") as file:
        index = 0
        while record := file.read(label_bytes + _CIFAR_PIXELS):
            if len(record) < label_bytes + _CIFAR_PIXELS:
                yield bad_entry(path.name, None, f"the file ends within image {index}")
                return
            yield _cifar_entry(path, index, record[label_bytes - 1], record[label_bytes:])
            index += 1


def _cifar_pickle(path: Path) -> Iterator[Entry]:
    labels, content = _read_pickle(path)
    for index, label in enumerate(labels):
        yield _cifar_entry(path, index, label, content[index * _CIFAR_PIXELS : (index + 1) * _CIFAR_PIXELS])


def _read_pickle(path: Path) -> tuple[list[int], bytes]:
    batch = _load_pickle(path)
    labels = batch.get(b"fine_labels", batch.get(b"labels"))
    data = batch.get(b"data")
    if not isinstance(data, _PickledArray) or not isinstance(labels, list):
        raise InputError(f"{path} does not hold data and labels, as a CIFAR batch does")
    if not all(isinstance(label, int) and 0 <= label <= MAX_LABEL for label in labels):
        raise InputError(f"{path} holds labels that are not indices")
    if len(data.content) != len(labels) * _CIFAR_PIXELS:
        raise InputError(f"{path} holds {len(labels)} labels for {len(data.content) / _CIFAR_PIXELS:g} images")
    return labels, data.content


def _load_pickle(path: Path) -> dict[bytes, Any]:
    if path.stat().st_size > _MAX_PICKLE:
        raise InputError(f"{path} is larger than any CIFAR batch")
    content = io.BytesIO(path.read_bytes())
    try:
        batch = _Unpickler(content, encoding="bytes").load()
    except Exception as error:  # an unpickler raises anything on damaged data
        raise InputError(f"{path} is not a readable CIFAR batch: {one_line(str(error))}") from error
    if not isinstance(batch, dict):
        raise InputError(f"{path} holds a {type(batch).__name__}, not a CIFAR batch")
    return {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}


def _cifar_class_names(path: Path, fine: bool) -> tuple[str, ...] | None:
    text = path.with_name("fine_label_names.txt" if fine else "batches.meta.txt")
    if text.is_file():
        return tuple(text.read_text(encoding="utf-8", errors="replace").split())
    pickled = path.with_name("meta" if fine else "batches.meta")
    if path.suffix != ".bin" and pickled.is_file():
        names = _load_pickle(pickled).get(b"fine_label_names" if fine else b"label_names")
        if isinstance(names, list):
            return tuple(one_line(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n)) for n in names)
    return None


class _PickledArray:
    """Stands in for a NumPy array in a pickle, and takes only the bytes of a uint8 array from its state."""

    content = b""

    def __setstate__(self, state: object) -> None:
        match state:
            case (_, tuple(), _PickledType(name=b"u1" | "u1"), False, bytes(content)):
                self.content = content
            case _:
                raise pickle.UnpicklingError("an array that is not of uint8")


class _PickledType:
    """Stands in for a NumPy dtype in a pickle."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Accepts only what CIFAR's batches consist of, and builds even that from harmless stand-ins."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda *_: _PickledArray()
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _PickledArray if name == "ndarray" else _PickledType
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR batch does")
