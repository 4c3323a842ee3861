"""Records are whole, resumable, and read as one table by others."""

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from aliasing import records as records_module
from aliasing.errors import InputError
from aliasing.outputs.probabilities import PROBABILITIES
from aliasing.records import BLOCK_SIZE, Part, Records, folder_name, list_images


def rows(model: str, names: list[str], **more: list[int]) -> pa.Table:
    columns: dict[str, list[Any]] = {"model": [model] * len(names), "name": names, "pair": [*range(len(names))], **more}
    arrays = [pa.array(columns.get(field.name, [None] * len(names)), field.type) for field in PROBABILITIES]
    return pa.Table.from_arrays(arrays, schema=PROBABILITIES)


@pytest.fixture(params=["folder", "memory"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    return Records(tmp_path / "run" if request.param == "folder" else None)


def images(blocks: int) -> list[str]:
    return [f"{k}.png" for k in range(blocks * BLOCK_SIZE)]


def test_parts_come_back_in_order_with_what_was_left_out(records: Records) -> None:
    written = [
        Part(rows("net", ["a", "b"]), ["a", "b", "c"], {"c": "truncated"}, []),
        Part(rows("net", ["d"]), ["d", "e"], {}, ["e"]),
    ]
    records.begin("net", {}, list_images(images(2)))
    for index in (1, 0):
        records.write("net", index, written[index])
    for part, expected in zip(records.parts("net"), written, strict=True):
        assert part.table.equals(expected.table)
        assert (part.images, part.skipped, part.not_finite) == (expected.images, expected.skipped, expected.not_finite)
    assert records.table(["net"])["name"].to_pylist() == ["a", "b", "d"]
    fewer = next(records.parts("net", ["name", "no such column"])).table
    assert fewer.equals(written[0].table.select(["name"]))


def test_a_part_in_memory_is_as_small_as_its_numbers() -> None:
    """Put together from 512 tables of one row, as from a run's images, and cut to one of two networks."""
    count, records = 256, Records()
    records.begin("net", {}, list_images(images(8)))
    before = pa.total_allocated_bytes()
    for block in range(8):
        table = pa.concat_tables([rows(model, [f"{k}"]) for k in range(count) for model in ("net", "other")])
        records.write("net", block, Part(table.filter(pc.field("model") == "net"), images(8)))
        del table
    numbers = 8 * rows("net", [f"{k}" for k in range(count)]).nbytes
    # Each of 24 columns has up to three buffers, rounded up to 64 bytes: less than a fifth more.
    assert pa.total_allocated_bytes() - before < 2 * numbers
    assert len(records.table(["net"])) == 8 * count


def test_a_summary_over_missing_blocks_is_impossible(records: Records) -> None:
    with pytest.raises(InputError, match="has no records of net"):
        records.parts("net")
    records.begin("net", {}, list_images(images(4)))
    for index in (0, 2):
        records.write("net", index, Part(rows("net", ["a"]), ["a"]))
    assert records.blocks("net") == [0, 2]
    assert records.missing("net") == [1, 3]
    with pytest.raises(InputError, match=r"not finished: 2 of 4 blocks of net are missing; the same command measures"):
        records.parts("net")
    if records.directory is not None:  # so says a folder too that another process has left
        assert Records(records.directory).missing("net") == [1, 3]


def test_a_run_goes_on_only_with_the_same_settings_and_images(tmp_path: Path) -> None:
    few, many = list_images(images(1)), list_images(images(2))
    settings = {"seed": 0, "sizes": (1, 2), "threads": 1}
    Records(tmp_path).begin("net", settings, few)
    Records(tmp_path).begin("net", settings, few)
    Records(tmp_path).begin("another", {"seed": 1}, few)
    with pytest.raises(InputError, match="other settings: seed was 0 and is now 1; choose another --out"):
        Records(tmp_path).begin("net", {**settings, "seed": 1}, few)
    with pytest.raises(InputError, match="threads was 1 and is now 2; set OMP_NUM_THREADS=1, or choose another --out"):
        Records(tmp_path).begin("net", {**settings, "threads": 2}, few)
    with pytest.raises(InputError, match=r"images are not those that .* began with; choose another --out"):
        Records(tmp_path).begin("net", settings, many)
    assert list_images(["a", "b"]) != list_images(["ab"])


@pytest.fixture
def parts(tmp_path: Path) -> str:
    """Two networks of three parts each: with labels, without a row, without labels."""
    records = Records(tmp_path)
    for model in ("one", "two"):
        labelled = rows(
            model, ["a", "a", "b", "b"], label=[1, 1, 2, 2], first_top1=[1, 1, 2, 3], second_top1=[1, 2, 2, 2]
        )
        records.write(model, 0, Part(labelled, ["a", "b"]))
        records.write(model, 1, Part(PROBABILITIES.empty_table(), ["c"], {"c": "truncated"}))
        records.write(model, 2, Part(rows(model, ["d"], first_top1=[0], second_top1=[1]), ["d"]))
    (tmp_path / "records" / "one-half.parquet.partial").write_bytes(b"")
    return f"{tmp_path}/records/*/*.parquet"


def test_all_parts_have_the_same_types(parts: str, tmp_path: Path) -> None:
    schemas = [pq.read_schema(path).remove_metadata() for path in tmp_path.glob("records/*/*.parquet")]
    assert len(schemas) == 6
    assert all(schema.equals(PROBABILITIES) for schema in schemas)


def test_duckdb_reads_the_parts_as_one_table(parts: str) -> None:
    query = f"""
        SELECT model, count(*), avg((first_top1 <> second_top1)::int), avg((first_top1 = label)::int)
        FROM '{parts}' GROUP BY model ORDER BY model"""
    assert duckdb.sql(query).fetchall() == [("one", 5, 0.6, 0.75), ("two", 5, 0.6, 0.75)]


def test_polars_reads_the_parts_as_one_table(parts: str) -> None:
    changes = (pl.col("first_top1") != pl.col("second_top1")).mean().alias("change")
    right = (pl.col("first_top1") == pl.col("label")).mean().alias("right")
    table = pl.scan_parquet(parts).group_by("model").agg(pl.len(), changes, right).sort("model").collect()
    assert table.rows() == [("one", 5, 0.6, 0.75), ("two", 5, 0.6, 0.75)]
    assert table.schema["model"] == pl.String


def test_pandas_and_pyarrow_read_the_parts_as_one_table(parts: str, tmp_path: Path) -> None:
    files = sorted(tmp_path.glob("records/*/*.parquet"))
    assert len(pyarrow.dataset.dataset(files).to_table()) == 10
    table = pd.concat(map(pd.read_parquet, files))
    assert (table.first_top1 != table.second_top1).groupby(table.model).mean().to_dict() == {"one": 0.6, "two": 0.6}


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(tmp_path)
    records.write("net", 0, Part(rows("net", ["a"]), ["a"]))

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aliasing.provenance.os.fsync", disk_full)
    with pytest.raises(InputError, match=r"00001.parquet cannot be written \(No space left on device\); free some"):
        records.write("net", 1, Part(rows("net", ["b"]), ["b"]))
    assert records.blocks("net") == [0]
    assert [path.name for path in (tmp_path / "records" / folder_name("net")).iterdir()] == ["00000.parquet"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "foreign"])
def test_a_damaged_part_is_named(tmp_path: Path, damage: str) -> None:
    records = Records(tmp_path)
    records.begin("net", {}, list_images(["a"]))
    records.write("net", 0, Part(rows("net", ["a"]), ["a"]))
    path = tmp_path / "records" / folder_name("net") / "00000.parquet"
    whole = path.read_bytes()
    if damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    else:
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"not parquet"}[damage])
    with pytest.raises(InputError, match=r"00000.parquet is not a part of a run .*delete it"):
        list(records.parts("net"))


def test_a_networks_name_cannot_leave_the_folder() -> None:
    for name in ("../../etc", "file:/tmp/x.pth@torchvision:resnet18", "a/b", "<script>", "x" * 500):
        folder = folder_name(name)
        assert not set(folder) & set("/\\<>:.@")
        assert len(folder) <= 85
    assert folder_name("a/b") != folder_name("a:b")


@pytest.mark.parametrize("name", ["PROBABILITIES", "LABELS", "EMBEDDINGS"])
def test_the_columns_are_found_where_they_were(name: str) -> None:
    """Each output's file holds its columns now; the name of before says where."""
    with pytest.warns(DeprecationWarning, match=f"aliasing.records.{name} is aliasing.outputs"):
        schema = getattr(records_module, name)
    assert schema.names[:5] == ["model", "image", "name", "label", "pair"]
