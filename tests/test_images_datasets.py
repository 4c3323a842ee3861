"""MNIST and CIFAR as they are published, without running what a pickle carries."""

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aliasing.errors import InputError
from aliasing.images import Image, open_images
from tests.image_files import RNG, idx, loaded, outcome


def test_the_fashion_mnist_sample(fashion_mnist_sample: Path) -> None:
    source = open_images(fashion_mnist_sample)
    assert "t10k" in source.description
    assert np.bincount([entry.label for entry in source]).tolist() == [18] * 10  # type: ignore[list-item]
    train = list(open_images(fashion_mnist_sample / "train-images-idx3-ubyte"))
    assert np.bincount([entry.label for entry in train]).tolist() == [72] * 10  # type: ignore[list-item]
    raw = np.frombuffer((fashion_mnist_sample / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    last = train[-1].load()
    assert isinstance(last, Image)
    np.testing.assert_array_equal(last.pixels, np.repeat(raw[-784:].reshape(28, 28, 1), 3, axis=2))


def test_mnist_as_torchvision_leaves_it(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    grey = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(0x803, grey.shape, grey.tobytes())))
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(0x801, (3,), bytes([4, 0, 9]))))
    (raw / "train-images-idx3-ubyte").write_bytes(idx(0x803, (1, 4, 5), bytes(20)))
    for root in (tmp_path, tmp_path / "FashionMNIST", raw):
        images = loaded(root)
        assert [image.label for image in images] == [4, 0, 9]
        np.testing.assert_array_equal([image.pixels[..., 1] for image in images], grey)
    assert [image.label for image in loaded(raw / "train-images-idx3-ubyte")] == [None]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", None, "not a readable IDX file"),
        (idx(0x802, (1, 1, 1), b"a"), None, "expected an IDX file"),
        (idx(0x803, (1, 0, 5), b""), None, "0×5 pixels"),
        (idx(0x803, (1, 2**31, 2**31), b""), None, "pixels"),
        (idx(0x803, (1, 1, 1), b"a"), idx(0x801, (2,), b"ab"), "2 labels for the 1 images"),
        (idx(0x803, (2, 1, 1), b"ab"), idx(0x801, (2,), b"a"), "ends after 1 of its 2"),
    ],
)
def test_bad_idx_files(tmp_path: Path, images: bytes, labels: bytes | None, message: str) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    if labels is not None:
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(InputError, match=message):
        open_images(tmp_path)


def test_truncated_idx_file_loses_only_what_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(idx(0x803, (2**32 - 1, 2, 2), bytes(10)))
    found = outcome(path)
    assert list(found.values()) == [None, None, f"the file ends after 2 of its {2**32 - 1} images"]
    damaged = tmp_path / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(gzip.compress(idx(0x803, (500, 20, 20), RNG.bytes(200_000)))[:100_000])
    assert "cannot be read beyond" in (list(outcome(damaged).values())[-1] or "")


CIFAR = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


def _cifar10_batch(labels: Any = None, data: Any = None) -> dict[bytes, Any]:
    data = CIFAR.reshape(4, 3072) if data is None else data
    return {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": labels or [3, 8, 8, 0],
        b"data": data,
        b"filenames": [b"x"] * 4,
    }


def test_cifar10_in_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = b"".join(bytes([label]) + planes.tobytes() for label, planes in zip([3, 8, 8, 0], CIFAR, strict=True))
    (folder / "test_batch.bin").write_bytes(records)
    (folder / "data_batch_1.bin").write_bytes(records[:3073])
    (folder / "data_batch_2.bin").write_bytes(records[:5000])
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\n\n")
    for spec in (tmp_path, folder, folder / "test_batch.bin"):
        images = loaded(spec)
        assert [image.label for image in images] == [3, 8, 8, 0]
        np.testing.assert_array_equal([image.pixels for image in images], CIFAR.transpose(0, 2, 3, 1))
    assert open_images(folder).class_names == ("airplane", "automobile")
    assert list(outcome(folder / "data_batch_*.bin").values()) == [None, None, "the file ends within image 1"]


def test_cifar100_in_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "test.bin").write_bytes(b"".join(bytes([1, 70 + i]) + planes.tobytes() for i, planes in enumerate(CIFAR)))
    assert [image.label for image in loaded(tmp_path)] == [70, 71, 72, 73]


@pytest.mark.parametrize("protocol", [3, 4])
def test_cifar_in_pickles(tmp_path: Path, protocol: int) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps(_cifar10_batch(), protocol=protocol))
    (folder / "batches.meta").write_bytes(
        pickle.dumps({b"label_names": [b"airplane", b"automobile"]}, protocol=protocol)
    )
    source = open_images(tmp_path)
    assert source.class_names == ("airplane", "automobile")
    np.testing.assert_array_equal([image.pixels for image in loaded(source)], CIFAR.transpose(0, 2, 3, 1))
    assert [entry.label for entry in source] == [3, 8, 8, 0]
    (tmp_path / "cifar-100-python").mkdir()
    batch = {b"fine_labels": [9, 8, 7, 6], b"coarse_labels": [0] * 4, b"data": CIFAR.reshape(4, 3072)}
    (tmp_path / "cifar-100-python" / "test").write_bytes(pickle.dumps(batch, protocol=protocol))
    assert [entry.label for entry in open_images(tmp_path / "cifar-100-python")] == [9, 8, 7, 6]


def test_a_pickle_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Opcode by opcode as in the published batches: strings are Python 2's, the array is numpy.core.multiarray's."""

    def string(content: bytes) -> bytes:
        return (
            b"T" + struct.pack("<I", len(content)) + content
            if len(content) > 255
            else b"U" + bytes([len(content)]) + content
        )

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\0\x85" + string(b"b") + b"\x87R"
        + b"(K\1K\1M\0\x0c\x86cnumpy\ndtype\n" + string(b"u1") + b"K\0K\1\x87R"
        + b"(K\3" + string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb" + b"\x89"
        + string(CIFAR[0].tobytes()) + b"tb"
    )  # fmt: skip
    content = b"\x80\x02}(" + string(b"data") + array + string(b"labels") + b"]K\6a" + b"u."
    reference = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(reference[b"data"], CIFAR[:1].reshape(1, 3072))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(content)
    (image,) = loaded(folder)
    assert image.label == 6
    np.testing.assert_array_equal(image.pixels, CIFAR[0].transpose(1, 2, 0))


class _Evil:
    def __init__(self, action: Callable[..., Any], *arguments: Any) -> None:
        self.action, self.arguments = action, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.action, self.arguments


def test_pickles_that_carry_code_are_refused_and_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    canary = tmp_path / "canary"
    objects = [
        _Evil(os.system, f"touch {canary}"),
        _Evil(eval, f"open({str(canary)!r}, 'w')"),
        _Evil(getattr, "x", "upper"),
        {**_cifar10_batch(), b"more": _Evil(os.mkdir, str(canary))},
        np.array([1.5]),
        _cifar10_batch(data=np.zeros((4, 3072))),
        _cifar10_batch(data=np.asfortranarray(CIFAR.reshape(4, 3072))),
        _cifar10_batch(data=np.array([None], dtype=object)),
        _cifar10_batch(labels=[1, 2]),
        _cifar10_batch(labels=["a", "b", "c", "d"]),
        _cifar10_batch(labels=[-1, 0, 0, 0]),
        [1, 2, 3],
        {},
    ]
    contents = [pickle.dumps(thing, protocol=3) for thing in objects]
    contents += [
        b"",
        b"garbage",
        contents[3][:-50],
        b"\x80\x03" + b"(" * 10_000,
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    ]
    for content in contents:
        (folder / "test_batch").write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_images(folder)
        assert str(caught.value).isprintable()
        assert not canary.exists()
