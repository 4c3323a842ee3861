"""Outputs that have places: resumed to the same bytes, NaN and empty answers counted, read by DuckDB, drawn."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import aliasing as al
from aliasing.cli import main
from aliasing.images import open_images
from aliasing.jitter.network import ON_CPU
from aliasing.outputs import OUTPUTS
from aliasing.protocols import make_protocol
from tests.test_runs import torchrun

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


@pytest.mark.parametrize("output", ANSWERS)
def test_answers_that_are_not_numbers_are_counted(output: str, pictures: list[Any]) -> None:
    dark = [*pictures[:3], np.zeros((56, 56, 3), np.uint8)]
    found = al.measure_jitter(network(Answering(output, nan=True)), dark, "crop:span=2", output=output).summary()
    assert found["models"]["net"]["not_finite"] == ["00003"]
    assert found["models"]["net"]["images"] == 3


def answered(found: Callable[[], Any], pictures: Any, output: str, **more: Any) -> al.jitter.Jitter:
    """Of a network that answers each picture with what this makes."""
    model = al.load_model(network(nn.Identity()), answer=lambda module, batch: [found() for _ in batch])
    return al.measure_jitter(model, pictures, "crop:span=2", output=output, **more)


def as_answer(output: str, rows: list[list[float]]) -> Any:
    """Detections, key points at their corners, or instances that fill their boxes within the view."""
    numbers = torch.tensor(rows).reshape(-1, 6)
    if output == "keypoints":
        descriptors = torch.ones(len(numbers), 3)
        return {"keypoints": numbers[:, :2], "scores": numbers[:, 4], "descriptors": descriptors}
    if output == "boxes":
        return numbers
    masks = torch.zeros(len(numbers), SIZE, SIZE)
    for mask, (left, top, right, bottom, *_) in zip(masks, numbers.clamp(0, SIZE).int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    return {"boxes": numbers[:, :4], "scores": numbers[:, 4], "labels": numbers[:, 5], "masks": masks}


LISTS = ("boxes", "instances", "keypoints")


@pytest.mark.parametrize("output", LISTS)
def test_a_network_that_finds_nothing_has_no_numbers(output: str, pictures: list[Any]) -> None:
    result = answered(lambda: as_answer(output, []), pictures[:2], output)
    (model,) = result.summary()["models"].values()
    assert all(value["value"] is None for value in model.values() if isinstance(value, dict) and "low" in value)
    assert "–" in str(result)
    plt.close(result.plot())


@pytest.mark.parametrize("output", LISTS)
def test_where_nothing_matches_all_is_lost(output: str, pictures: list[Any]) -> None:
    """Each view's answer is twelve pixels from the last one's."""
    places = count(0)

    def elsewhere() -> Any:
        at = 4.0 + 12 * (next(places) % 3)
        return as_answer(output, [[at, at, at + 8, at + 8, 0.9, 1.0]])

    model = al.load_model(network(nn.Identity()), answer=lambda module, batch: [elsewhere() for _ in batch])
    views = make_protocol("crop:span=2").views(next(iter(open_images(pictures[:1]))).load(), model)
    compared = OUTPUTS[output].of(model)
    outputs = compared.network(model, ON_CPU)(np.zeros((3, SIZE, SIZE, 3), np.float32))
    found = compared.compare(outputs, views, None, "float32")  # type: ignore[arg-type]
    told = {"keypoints": ("keypoints", "repeated_3", "matched")}.get(output, ("detections", "lost", "renamed"))
    assert [found[name] for name in told] == [[2, 2], [0, 0] if output == "keypoints" else [2, 2], [0, 0]]
    assert all(found[name] == [[], []] for name in found if name.startswith("kept_"))


@pytest.mark.parametrize("output", LISTS)
def test_what_lies_outside_the_picture_or_is_turned_inside_out_gives_numbers(output: str, pictures: list[Any]) -> None:
    """Far outside, over all sides, of no size, and with its corners exchanged, as a network may answer."""
    boxes = [[900.0, 900, 990, 990], [-80, -80, 400, 400], [20, 20, 20, 20], [40, 40, 10, 10], [10, 10, 30, 30]]
    found = answered(lambda: as_answer(output, [[*box, 0.9, 1.0] for box in boxes]), pictures[:2], output)
    (model,) = found.summary()["models"].values()
    assert model["images"] == 2
    numbers = {k: v["value"] for k, v in model.items() if isinstance(v, dict) and {"value", "low"} <= set(v)}
    assert all(value is None or np.isfinite(value) for value in numbers.values()), numbers
    plt.close(found.plot())


def test_a_class_that_no_picture_has_and_one_that_is_never_found_leave_the_others_alone(
    pictures: list[Any], tmp_path: Path
) -> None:
    """Class 7 is nowhere, so it does not count; class 2 is in the second picture, and is not found: half of two."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, lines in enumerate(("1 0.5 0.5 0.5 0.5\n", "1 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.2 0.2\n")):
        Image.fromarray(pictures[number]).save(folder / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(lines)
    # The middle 28 of 56 pixels, which the views, from the corner of a canvas of 50 in the middle, show from 11 on.
    boxes = torch.tensor([[11.0, 11, 39, 39, 0.9, 1], [5, 5, 9, 9, 0.8, 7]])
    (model,) = answered(lambda: boxes, folder, "boxes", truth=tmp_path).summary()["models"].values()
    assert model["ap50"]["value"] == pytest.approx(0.5)
    assert 0 <= model["ap50"]["low"] < model["ap50"]["high"] <= 1


@pytest.mark.parametrize("output", ANSWERS)
def test_pictures_that_cannot_be_used_are_counted_with_the_reason(
    output: str, pictures: list[Any], tmp_path: Path
) -> None:
    Image.fromarray(pictures[0]).save(tmp_path / "good.png")
    Image.fromarray(pictures[0][:1, :1]).save(tmp_path / "one_pixel.png")
    Image.fromarray(np.zeros((3, 9000, 3), np.uint8)).save(tmp_path / "long.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:99])
    (tmp_path / "empty.jpg").write_bytes(b"")
    summary = al.measure_jitter(network(Answering(output)), tmp_path, "crop:span=2", output=output).summary()
    skipped = summary["images"]["skipped"]
    assert skipped["empty.jpg"] == "empty file"
    assert "cannot be decoded" in skipped["broken.png"]
    assert summary["models"]["net"]["images"] == 5 - len(skipped)


of_masks, of_images, of_boxes, of_points, of_instances = (
    partial(lambda output: replace(network(Answering(output)), name=output), output) for output in ANSWERS
)


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_leave_what_one_alone_finishes_to_the_same_bytes(
    pictures: list[Any], tmp_path: Path
) -> None:
    """All outputs one after the other; the second process dies while it writes its third part."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:02}.png")

    def words(output: str, out: Path) -> list[str]:
        of = output.replace("keypoints", "points")
        network = ["--models", f"module:tests.test_outputs_places:of_{of}"]
        common = ["--images", str(folder), "--protocol", "crop:span=2", "--output", output]
        return ["jitter", *network, *common, "--out", str(out / output)]

    def records(out: Path) -> dict[str, bytes]:
        return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}

    chained = [word for output in ANSWERS for word in ("--then", *words(output, tmp_path / "shared"))][1:]
    killed = torchrun(2, "tests.small_network", *chained, DIES="1:2")
    assert killed.returncode == 1
    assert 5 <= len(records(tmp_path / "shared")) < 10
    for output in ANSWERS:
        for out in ("whole", "shared"):
            assert main(words(output, tmp_path / out)) == 0
    assert records(tmp_path / "shared") == records(tmp_path / "whole")
    assert len(records(tmp_path / "whole")) == 10
    plt.close("all")
