"""Parquet: images and labels by column, streamed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aliasing.errors import InputError
from aliasing.images import BadImage, Image, open_images
from tests.image_files import RNG, loaded, outcome, parquet_table, pixels


def test_parquet(tmp_path: Path) -> None:
    images = [pixels(i) if i != 5 else None for i in range(200)]
    labels = [i % 3 if i != 7 else -1 for i in range(200)]
    labels_or_none: list[int | None] = [*labels[:8], None, *labels[9:]]
    table = parquet_table(images, labels_or_none, ["cat", "dog", "ship\n"])
    pq.write_table(table, tmp_path / "test-00000-of-00001.parquet", row_group_size=50)
    source = open_images(tmp_path / "test-00000-of-00001.parquet")
    assert source.class_names == ("cat", "dog", "ship\\n")
    entries = list(source)
    assert [entry.label for entry in entries] == [None if i in (7, 8) else i % 3 for i in range(200)]
    with pytest.raises(BadImage, match="no image bytes"):
        entries.pop(5).load()
    assert [int(entry.load().pixels[0, 0, 0]) for entry in entries] == [i for i in range(200) if i != 5]  # type: ignore[union-attr]


def test_parquet_splits_and_other_columns(tmp_path: Path) -> None:
    pq.write_table(parquet_table([pixels(1)]), tmp_path / "train-00000-of-00001.parquet")
    for shard in range(2):
        plain = pa.table({"img": [pixels(2 + shard)], "fine_label": [shard], "coarse_label": [0]})
        pq.write_table(plain, tmp_path / f"test-{shard:05d}-of-00002.parquet")
    images = loaded(tmp_path)
    assert [(image.pixels[0, 0, 0], image.label) for image in images] == [(2, 0), (3, 1)]
    assert loaded(tmp_path / "train*.parquet")[0].pixels[0, 0, 0] == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"not Parquet" * 10])
def test_what_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        open_images(tmp_path / "a.parquet")


def test_parquet_without_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="expected image and label"):
        open_images(tmp_path / "a.parquet")


def test_damaged_parquet_loses_only_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(parquet_table([pixels(i) for i in range(100)]), path, row_group_size=64, compression="zstd")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[start : start + 200] = RNG.bytes(200)
    path.write_bytes(content)
    found = outcome(path)
    assert sum(reason is None for reason in found.values()) >= 64
    assert "cannot be read beyond row 64" in (found["a.parquet"] or "")


def test_cifar10_in_parquet(cifar10: Path) -> None:
    source = open_images(cifar10)
    assert "test.parquet" in source.description
    labels = np.array([entry.label for entry in source])
    assert np.bincount(labels).tolist() == [500] * 10
    image = next(iter(source)).load()
    assert isinstance(image, Image)
    assert image.pixels.shape == (32, 32, 3)


def test_parquet_is_streamed(cifar10: Path) -> None:
    """The 50,000 images of one row group take 44 MB; the first of them come without the rest."""
    before = pa.total_allocated_bytes()
    entries = iter(open_images(cifar10 / "train.parquet"))
    for _ in range(1000):
        next(entries)
    assert pa.total_allocated_bytes() - before < 16 * 2**20
