"""What does the user mean by these images? A path, a pattern, the word ``sample``, or things already in memory."""

import glob
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from aliasing.errors import InputError, UsageError
from aliasing.images.archives import tar_source, zip_source
from aliasing.images.datasets import array_entry, dataset_source
from aliasing.images.entries import Entry, Image, ImageSource, bad_entry, check_regular, hash_bytes, shown
from aliasing.images.folders import file_source, folder_source, is_hidden, is_media, media_entry
from aliasing.images.pixels import BadImage, from_pil, one_line
from aliasing.images.tables import choose_split, parquet_source

# The photographs among scikit-image's pictures; of the stereo pair (motorcycle), one.
SAMPLE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

Spec = str | Path | PIL.Image.Image | npt.NDArray[Any]


def open_images(spec: Spec | ImageSource | Iterable[Any]) -> ImageSource:
    """Open a source of images as a stream, whatever holds them.

    Parameters
    ----------
    spec : str, Path, array, PIL image, or an iterable of these
        - ``sample``: the photographs that scikit-image bundles;
        - an image or a video file, a pattern such as ``photos/*.jpg``;
        - a folder, read at any depth; labels come from its ``labels.csv`` (columns ``file``, ``label``) or from class
          folders, numbered as ImageNet's where they are named by its WordNet ids, else in sorted order; of the folders
          ``train``, ``val`` and ``test``, the first of val, test and train is taken;
        - a zip or tar archive, laid out as such a folder;
        - Parquet as Hugging Face writes it: a file, or a folder of such files;
        - torchvision's MNIST, FashionMNIST, CIFAR10, CIFAR100 (the test set unless a file of the training set is
          named) and ImageNet;
        - arrays (uint8 H×W×3, H×W×4 or H×W), PIL images or paths, each alone or as a pair (image, label). A
          generator is kept as a list, since the stream must be able to start again.

    Returns
    -------
    ImageSource
        Iterates over entries, whose ``load`` gives an :class:`Image` or a :class:`Clip`.

    Raises
    ------
    InputError
        There is nothing there, or nothing that can be read.
    UsageError
        The specification is of no known kind.

    Examples
    --------
    >>> import numpy as np
    >>> source = open_images([np.zeros((8, 6, 3), np.uint8)])
    >>> [entry.load().pixels.shape for entry in source]
    [(8, 6, 3)]
    """
    if isinstance(spec, ImageSource):
        return spec
    if isinstance(spec, (str, Path)):
        return _open_path(spec)
    if isinstance(spec, np.ndarray):
        return _open_items(list(spec) if spec.ndim == 4 else [spec])
    if isinstance(spec, PIL.Image.Image):
        return _open_items([spec])
    if isinstance(spec, Iterable):
        return _open_items(spec if isinstance(spec, Sequence) else list(spec))
    raise UsageError(f"images are a path, a pattern, 'sample', arrays or PIL images; got {type(spec).__name__}")


def _open_path(spec: str | Path) -> ImageSource:
    if spec == "sample":
        return _sample()
    path = Path(spec).expanduser()
    try:
        if path.is_dir():
            return _open_folder(path)
        if path.exists() or path.is_symlink():
            return _open_file(path)
        if glob.has_magic(str(spec)):
            return _open_glob(str(path))
    except OSError as error:
        raise InputError(f"{shown(str(spec))} cannot be read: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, (InputError, UsageError)):
            raise
        raise InputError(f"{shown(str(spec))} is no path: {error}") from error  # a null byte
    raise InputError(f"{shown(str(spec))} does not exist; expected an image, a folder, an archive, or 'sample'")


def _open_file(path: Path) -> ImageSource:
    try:
        check_regular(path.stat())
    except BadImage as error:
        raise InputError(f"{shown(str(path))} is a {error}") from error
    with path.open("rb"):
        pass
    name = path.name.lower()
    if name.endswith(".zip"):
        return zip_source(path)
    if name.endswith(_TAR_ENDINGS):
        return tar_source(path)
    if name.endswith(".parquet"):
        return parquet_source([path])
    return dataset_source(path) or file_source(path)


def _open_folder(path: Path) -> ImageSource:
    known = dataset_source(path)
    if known is not None:
        return known
    tables = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    if tables:
        return parquet_source(choose_split(tables))
    source = folder_source(path)
    if source is None:
        raise InputError(f"{shown(str(path))} holds no images")
    return source


def _open_glob(pattern: str) -> ImageSource:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    if not matches:
        raise InputError(f"no file matches {shown(pattern)}")
    files = [path for path in matches if not path.is_dir() and not is_hidden(path.name)]
    tables = [path for path in files if path.suffix == ".parquet"]
    if tables:
        return parquet_source(tables)
    if not any(is_media(path.name) for path in files):
        return _open_items(files or matches)
    base = _fixed_part(pattern)
    images = [path for path in files if is_media(path.name)]
    return ImageSource(
        f"pattern {shown(pattern)}, unlabelled",
        lambda: (media_entry(str(path.relative_to(base)), None, path) for path in images),
    )


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    return Path(*(parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))]))


def _open_items(items: Sequence[Any]) -> ImageSource:
    """Things in memory, and paths, one after the other."""
    if not len(items):
        raise InputError("an empty list holds no images")
    sources: dict[int, ImageSource] = {}
    for index, item in enumerate(items):
        if isinstance(item, (str, Path)) and not is_media(str(item)):
            sources[index] = open_images(item)

    def entries() -> Iterator[Entry]:
        for index, item in enumerate(items):
            if index in sources:
                prefix = shown(str(item))
                yield from (Entry(f"{prefix}/{e.name}", e.label, e._load) for e in sources[index])
            else:
                yield _item_entry(f"{index:05d}", item)

    if len(items) == 1 and sources:
        return sources[0]
    return ImageSource(f"{len(items)} items", entries)


def _item_entry(name: str, item: Any) -> Entry:
    label = None
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], (int, np.integer)):
        item, label = item[0], int(item[1])
    if isinstance(item, (str, Path)):
        return media_entry(str(item), label, Path(item).expanduser())
    if isinstance(item, np.ndarray):
        return array_entry(name, label, item)
    if isinstance(item, PIL.Image.Image):
        return _pil_entry(name, label, item)
    return bad_entry(name, label, f"neither an array nor a PIL image nor a path: {type(item).__name__}")


def _pil_entry(name: str, label: int | None, image: PIL.Image.Image) -> Entry:
    def load(name: str, label: int | None) -> Image:
        try:
            pixels = from_pil(image)
        except BadImage:
            raise
        except Exception as error:
            raise BadImage(f"damaged image: {one_line(str(error))}") from error
        return Image(pixels, name, hash_bytes(repr(pixels.shape).encode(), pixels.tobytes()), label)

    return Entry(name, label, load)


def _sample() -> ImageSource:
    package = importlib.util.find_spec("skimage")
    folder = Path(package.origin).parent / "data" if package is not None and package.origin else None
    paths = [folder / name for name in SAMPLE if (folder / name).is_file()] if folder else []
    if not paths:
        raise InputError('the sample is scikit-image\'s photographs: pip install "aliasing[offline]"')
    description = f"sample: {len(paths)} photographs bundled with scikit-image, unlabelled"
    return ImageSource(description, lambda: (media_entry(path.name, None, path) for path in paths))
