"""Small labelled data sets as arrays: CIFAR-10 and Fashion-MNIST, from the data folder or as torchvision keeps them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import torchvision

from aliasing.errors import InputError
from aliasing.images import Image, open_images
from experiments._run import Run

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PACKAGED_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class Labelled:
    """Images of one size, or sounds of one length, with their classes.

    Attributes
    ----------
    name : what they are, and how many of the total.
    pixels : uint8, N×H×W×3; N×H×W for grey ones; int16, N×L, the samples of sounds.
    labels : int64, N.
    """

    name: str
    pixels: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def description(self) -> dict[str, Any]:
        """What ``summary.json`` says: which images, by the hash of their pixels and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes() + self.labels.tobytes())
        return {"name": self.name, "images": len(self), "sha256": digest.hexdigest()}


def cifar10(run: Run, split: str, limit: int | None = None) -> Labelled:
    """CIFAR-10's ``"train"`` or ``"test"`` images; with a limit, that many of them at even steps."""
    file = run.data / "cifar10" / f"{split}.parquet"
    if file.exists():
        return _from_entries(f"CIFAR-10 {split}, cifar10/{split}.parquet", file, limit)
    found = _torchvision(run, torchvision.datasets.CIFAR10, split, "cifar10/train.parquet and test.parquet")
    return _chosen(f"CIFAR-10 {split}, torchvision's", found.data, np.array(found.targets), limit)


def fashion_mnist(run: Run, split: str) -> Labelled:
    """Fashion-MNIST's ``"train"`` or ``"test"`` images: all 70,000 if they are there or downloaded, else the sample's.

    All are the four IDX files, packed or not, in ``FashionMNIST/raw`` (torchvision's place) or ``fashion-mnist`` of the
    data folder, or where Debian's package puts them. A quick run takes the sample first.
    """
    if run.download:
        _torchvision(run, torchvision.datasets.FashionMNIST, split, "FashionMNIST")
    whole = [run.data / "FashionMNIST" / "raw", run.data / "fashion-mnist", PACKAGED_FASHION_MNIST]
    sample = run.data / "fashion-mnist-sample"
    for folder in [sample, *whole] if run.quick else [*whole, sample]:
        for file in folder.glob(f"{'train' if split == 'train' else 't10k'}-images-idx3-ubyte*"):
            found = _from_entries(f"Fashion-MNIST {'sample ' * (folder == sample)}{split}", file, None)
            return Labelled(found.name, found.pixels[..., 0], found.labels)
    raise InputError(
        f"no fashion-mnist or fashion-mnist-sample in {run.data}; set ALIASING_DATA or --data, let --download "
        "fetch it, or apt-get install dataset-fashion-mnist"
    )


def resized(images: Labelled, size: int) -> Labelled:
    """Square colour images at another size: bilinear, antialiased, rounded."""
    planes = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
    pixels = planes.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return Labelled(f"{images.name}, resized to {size} pixels", pixels, images.labels)


def _torchvision(run: Run, data_set: Any, split: str, wanted: str) -> Any:
    try:
        return data_set(run.data, train=split == "train", download=run.download)
    except RuntimeError as error:
        raise InputError(
            f"no {wanted} in {run.data}; set ALIASING_DATA or --data, or let --download fetch it"
        ) from error


def _from_entries(name: str, path: Path, limit: int | None) -> Labelled:
    entries = list(open_images(path))
    chosen = [entries[index] for index in _even(len(entries), limit)]
    images = list(_loaded(chosen, path))
    labels = np.array([image.label for image in images], np.int64)
    return Labelled(_shown(name, len(images), len(entries)), np.stack([image.pixels for image in images]), labels)


def _loaded(entries: list[Any], path: Path) -> Iterator[Image]:
    for entry in entries:
        image = entry.load()
        if not isinstance(image, Image) or image.label is None:
            raise InputError(f"{path}: {entry.name} has no label")
        yield image


def _chosen(name: str, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[Any], limit: int | None) -> Labelled:
    chosen = _even(len(labels), limit)
    return Labelled(_shown(name, len(chosen), len(labels)), pixels[chosen], labels[chosen].astype(np.int64))


def _even(count: int, limit: int | None) -> npt.NDArray[np.int64]:
    """Indices of ``limit`` of ``count`` things at even steps: each class keeps its share if classes are sorted."""
    wanted = count if limit is None else min(limit, count)
    return np.arange(wanted) * count // wanted


def _shown(name: str, images: int, of: int) -> str:
    return name if images == of else f"{name}, {images} of {of} at even steps"
