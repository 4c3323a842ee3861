"""Seconds and peak memory of the summary of many records.

``python benchmarks/records.py [--networks 10] [--images 62500] [--folder DIR]`` writes synthetic records in the layout
of a run (eight pairs per image, 32 images per part) and summarises them in a separate process. With ``--folder`` the
records are kept there and found there the next time. ``--readers`` times how long DuckDB, Polars and pandas need for
P(top-1 change) of every network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from aliasing.records import BLOCK_SIZE, PROBABILITIES, Part, Records, list_images

PAIRS = 8
SUMMARISE = """
import json, resource, sys, time
from pathlib import Path
from aliasing.jitter import Jitter
from aliasing.protocols import make_protocol
from aliasing.records import Records
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.perf_counter()
names = json.loads(sys.argv[2])
networks = {name: {} for name in names}
result = Jitter(networks, make_protocol("crop"), {"images": "synthetic"}, Records(Path(sys.argv[1])))
summary = result.summary()
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
pairs = sum(model["pairs"] for model in summary["models"].values())
changes = {name: model["top1_change"]["value"] for name, model in summary["models"].items()}
print(json.dumps({"pairs": pairs, "seconds": seconds, "before": before, "peak": peak, "changes": changes}))
"""
READERS = {
    "DuckDB": 'import duckdb; print(duckdb.sql("select model, avg((first_top1 <> second_top1)::int) from'
    " '{parts}' group by model order by model\").fetchall())",
    "Polars": "import polars as pl; print(pl.scan_parquet('{parts}').group_by('model')"
    ".agg((pl.col('first_top1') != pl.col('second_top1')).mean()).sort('model').collect().rows())",
    "pandas": "import pandas as pd, glob; table = pd.concat([pd.read_parquet(part, columns=['model', 'first_top1',"
    " 'second_top1']) for part in glob.glob('{parts}')]); print((table.first_top1 != table.second_top1)"
    ".groupby(table.model).mean().to_dict())",
}


def part_of(model: str, names: list[str], random: np.random.Generator) -> Part:
    """A block of images whose answers change now and then."""
    count = len(names) * PAIRS
    probability = random.uniform(0.2, 1, count)
    top1 = random.integers(0, 1000, count)
    columns = {
        "model": [model] * count,
        "image": np.repeat([f"{hash(name) & (2**128 - 1):032x}" for name in names], PAIRS),
        "name": np.repeat(names, PAIRS),
        "label": np.repeat(random.integers(0, 1000, len(names)), PAIRS),
        "pair": np.tile(np.arange(PAIRS), len(names)),
        "first_top1": top1,
        "second_top1": np.where(random.random(count) < 0.03, (top1 + 1) % 1000, top1),
        "first_probability": probability,
        "second_probability": probability * random.uniform(0.9, 1, count),
        "first_margin": random.uniform(0, 1, count),
        "second_margin": random.uniform(0, 1, count),
        "total_variation": random.uniform(0, 0.1, count),
    }
    shifts = [f"{view}_{what}" for view in ("first", "second") for what in ("dy", "dx", "position")]
    columns |= {name: np.tile(np.arange(PAIRS, dtype=np.float32), len(names)) for name in shifts}
    columns |= {f"{view}_label_probability": random.uniform(0, 1, count) for view in ("first", "second")}
    absent = [None] * count  # what only a verified run has
    arrays = [pa.array(columns.get(field.name, absent), field.type) for field in PROBABILITIES]
    return Part(pa.Table.from_arrays(arrays, schema=PROBABILITIES), names)


def write(folder: Path, models: list[str], images: int) -> None:
    """What has not been written yet."""
    records, random = Records(folder), np.random.default_rng(0)
    names = [f"n{k % 1000:08d}/ILSVRC2012_val_{k:08d}.JPEG" for k in range(images)]
    for model in models:
        records.begin(model, {}, list_images(names))
        for block in records.missing(model):
            part = part_of(model, names[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE], random)
            records.write(model, block, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--images", type=int, default=62_500)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--readers", action="store_true")
    arguments = parser.parse_args()
    models = [f"torchvision:network{k}.IMAGENET1K_V1" for k in range(arguments.networks)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        start = time.perf_counter()
        write(folder, models, arguments.images)
        print(f"written in {time.perf_counter() - start:.1f} s")
        command = [sys.executable, "-c", SUMMARISE, str(folder), json.dumps(models)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{found['pairs']} rows of {len(models)} networks: {found['seconds']:.1f} s, peak {found['peak']:.0f} MiB"
            f" ({found['before']:.0f} MiB of them before the first row)"
        )
        if arguments.readers:
            for name, code in READERS.items():
                start = time.perf_counter()
                code = code.format(parts=folder / "records" / "*" / "*.parquet")
                subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
                print(f"{name}: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
