"""Memory does not grow with the number of inputs that stream past."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.image_files import encode, tar_bytes

SIZE = 64  # pixels a side: noise, so that its PNG is as large as its pixels, 12 kB each
FEW, MANY = 1_000, 10_000
GROWTH = 60  # MB; 9,000 images that were kept would be 110 MB of files or of pixels


def contents(count: int) -> Iterator[bytes]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield encode(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), compress_level=0)


def stream(count: int) -> Any:
    import datasets

    def rows() -> Iterator[dict[str, Any]]:
        for content in contents(count):
            yield {"image": {"bytes": content, "path": None}, "label": 0}

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    return datasets.IterableDataset.from_generator(rows, features=features)


def shards(count: int, folder: Path) -> str:
    images = contents(count)
    for shard in range(10):
        members = {f"{index:05d}.png": next(images) for index in range(count // 10)}
        (folder / f"{shard:03d}.tar").write_bytes(tar_bytes(members))
    return f"{folder}/{{000..009}}.tar"


def listed(count: int, folder: Path) -> str:
    (folder / "one.png").write_bytes(next(contents(1)))
    (folder / "list.txt").write_text("one.png 3\n" * count)
    return f"@{folder}/list.txt"


PROCESS = """
import resource, sys
import aliasing as al
from tests.small_network import make
from tests.test_images_streams import stream
images = stream(int(sys.argv[2])) if sys.argv[1] == "stream" else sys.argv[1]
result = al.measure_jitter(make(), images, "circular:pixels=1")
print(result.summary()["images"]["found"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stream", "shards", "listed"])
def test_memory_is_flat_over_ten_thousand_inputs(kind: str, tmp_path: Path) -> None:
    peaks = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        images = kind if kind == "stream" else globals()[kind](count, folder)
        command, here = [sys.executable, "-c", PROCESS, images, str(count)], Path(__file__).parents[1]
        run = subprocess.run(command, capture_output=True, text=True, cwd=here)
        assert run.returncode == 0, run.stderr
        found, peak = map(int, run.stdout.split())
        assert found == count
        peaks.append(peak)
    assert peaks[1] - peaks[0] < GROWTH, peaks
