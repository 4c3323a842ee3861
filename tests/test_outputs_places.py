"""Outputs that have places: resumed to the same bytes, NaN and empty answers counted, read by DuckDB, drawn."""

from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

import aliasing as al

SIZE = 48


def maps(x: Tensor) -> Tensor:
    return torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True) - 0.4], 1)[..., ::2, ::2]


def boxes(x: Tensor) -> list[Tensor]:
    """A box around the brightest place of each picture."""
    found = []
    for picture in x.mean(1):
        y, x_ = divmod(int(picture.argmax()), picture.shape[1])
        found.append(torch.tensor([[x_ - 6.0, y - 6.0, x_ + 6.0, y + 6.0, float(picture.max()), 1.0]]))
    return found


def points(x: Tensor) -> list[dict[str, Tensor]]:
    return [
        {"keypoints": row[:, :2] + 6, "scores": row[:, 4], "descriptors": torch.eye(3)[: len(row)]} for row in boxes(x)
    ]


def instances(x: Tensor) -> list[dict[str, Tensor]]:
    """The bright part of each picture, in its box."""
    found = []
    for row, picture in zip(boxes(x), x.mean(1), strict=True):
        of = {"boxes": row[:, :4], "scores": row[:, 4], "labels": row[:, 5]}
        found.append({**of, "masks": (picture > picture.max() - 0.2)[None]})
    return found


ANSWERS: dict[str, Any] = {
    "masks": maps, "images": maps, "boxes": boxes, "keypoints": points, "instances": instances,
}  # fmt: skip


class Answering(nn.Module):
    """Answers in a way; NaN to pictures whose first pixel is black."""

    def __init__(self, output: str, nan: bool = False) -> None:
        super().__init__()
        self.output, self.nan = output, nan

    def forward(self, x: Tensor) -> Any:
        dark = self.nan & (x[:, :, 0, 0].amax(1) == 0)
        return ANSWERS[self.output](torch.where(dark[:, None, None, None], torch.nan, x) if self.nan else x)


def network(module: nn.Module) -> al.Classifier:
    return al.Classifier(module, "net", SIZE, (0.0,) * 3, (1.0,) * 3, "bilinear", 56, 1.0)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(20, 256, (14, 14, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(40)]


@pytest.mark.parametrize("output", ANSWERS)
def test_a_run_goes_on_to_the_same_bytes_and_others_read_it(output: str, pictures: list[Any], tmp_path: Path) -> None:
    def run(out: Path) -> al.jitter.Jitter:
        return al.measure_jitter(network(Answering(output)), pictures, "crop:span=2", output=output, out=out)

    whole = run(tmp_path / "whole")
    files = sorted((tmp_path / "whole" / "records").rglob("*.parquet"))
    assert len(files) == 2  # blocks of 32 images
    before = [file.read_bytes() for file in files]
    files[1].unlink()  # as if it had been killed
    again = run(tmp_path / "whole")
    assert [file.read_bytes() for file in files] == before
    assert again.summary()["models"] == whole.summary()["models"]
    rows = duckdb.sql(f"select count(*), max(pair) from '{tmp_path}/whole/records/*/*.parquet'").fetchall()
    assert rows == [(80, 1)]
    assert pq.read_table(files[0]).num_rows == 64
    whole.write(tmp_path / "whole")
    assert al.open(tmp_path / "whole").summary()["models"] == whole.summary()["models"]
    plt.close("all")


@pytest.mark.parametrize("output", ["masks", "images"])
def test_answers_that_are_not_numbers_are_counted(output: str, pictures: list[Any]) -> None:
    dark = [*pictures[:3], np.zeros((56, 56, 3), np.uint8)]
    found = al.measure_jitter(network(Answering(output, nan=True)), dark, "crop:span=2", output=output).summary()
    assert found["models"]["net"]["not_finite"] == ["00003"]
    assert found["models"]["net"]["images"] == 3


@pytest.mark.parametrize("output", ["boxes", "keypoints"])
def test_a_network_that_finds_nothing_has_no_numbers(output: str, pictures: list[Any]) -> None:
    empty = {"boxes": torch.zeros(0, 6), "keypoints": points(torch.zeros(1, 3, 8, 8))[0]}[output]
    if output == "keypoints":
        empty = {name: values[:0] for name, values in empty.items()}
    silent = al.load_model(network(nn.Identity()), answer=lambda module, batch: [empty for _ in batch])
    result = al.measure_jitter(silent, pictures[:2], output=output)
    (model,) = result.summary()["models"].values()
    assert all(value["value"] is None for value in model.values() if isinstance(value, dict) and "low" in value)
    assert "–" in str(result)
    plt.close(result.plot())
