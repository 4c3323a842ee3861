"""One file adds an output with its measures; every command and figure that shows an output knows it."""

import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import argcomplete
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import aliasing as al
from aliasing import tables
from aliasing.cli import main
from aliasing.errors import UsageError
from aliasing.outputs import OUTPUTS

# A package of its own: the peaks of a network's answer, however many a view has.
PEAKS = """
import numpy as np
import pyarrow as pa
import torch
from torch import nn

from aliasing.outputs.base import Measure, Output, column, first_and_second, pair_schema

FOUND = pa.list_(pa.float32())


def number(table, view):
    return np.array([len(row) for row in table[f"{view}_peaks"].to_pylist()])


class Peaks(Output):
    name = "peaks"
    measures = (
        Measure(
            "count_change",
            "P(count change)",
            ("first_peaks", "second_peaks"),
            lambda table: number(table, "first") != number(table, "second"),
            binary=True,
            is_change=True,
        ),
        Measure(
            "height_change",
            "height",
            ("height",),
            lambda table: column(table, "height"),
            label="change of the highest peak",
            range=(0.0, np.inf),
            unit="logits",
        ),
        Measure("steady_count", "steady", of=("count_change",), factor=-1, offset=1, sign=1),
    )
    schema = pair_schema(("first_peaks", FOUND), ("second_peaks", FOUND), ("height", pa.float32()))

    def network(self, running, execution):
        def peaks(views):
            with torch.inference_mode():
                answers = running.module(running.normalize(torch.from_numpy(views))).numpy()
            return [np.sort(answer[answer > answer.mean()])[::-1].copy() for answer in answers]

        return peaks

    def compare(self, outputs, views, image, precision):
        first, second = first_and_second(views)
        return {
            "first_peaks": [outputs[view].tolist() for view in first],
            "second_peaks": [outputs[view].tolist() for view in second],
            "height": [abs(outputs[a][0] - outputs[b][0]) for a, b in views.pairs],
        }


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 12))


def other():
    return network(1)
"""
NETWORKS = ["module:peaks_package:network", "module:peaks_package:other"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a wheel leaves in site-packages, found through its entry point."""
    folder = tmp_path / "site"
    metadata = folder / "peaks_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "peaks_package.py").write_text(PEAKS)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: peaks_package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[aliasing.outputs]\npeaks = peaks_package:Peaks\n")
    monkeypatch.syspath_prepend(str(folder))
    OUTPUTS.__dict__.pop("_entry_points", None)
    yield
    OUTPUTS.__dict__.pop("_entry_points", None)
    sys.modules.pop("peaks_package", None)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(6):
        coarse = Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        coarse.resize((320, 320)).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def test_every_command_knows_an_output_of_another_package(
    package: None, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["jitter", "--models", *NETWORKS, "--images", str(photographs), "--output", "peaks"]
    with pytest.raises(SystemExit):
        main(["jitter", "--help"])
    assert f"{{{','.join(OUTPUTS)}}}" in capsys.readouterr().out
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^network +P\(count change\) +height +steady +images +pairs$", shown, re.MULTILINE)
    assert re.search(r"^network +minus +P\(count change\) +height +steady$", shown, re.MULTILINE)
    assert (tmp_path / "run" / "figure.png").is_file()

    # The records hold what the other file says, lists of any length among them, and the summary what follows from them.
    rows = pq.read_table(sorted((tmp_path / "run" / "records").glob("*/*.parquet"))).to_pandas()
    first = rows[rows.model == NETWORKS[0]]
    changed = first.first_peaks.map(len) != first.second_peaks.map(len)
    assert first.first_peaks.map(len).nunique() > 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    measured = summary["models"][NETWORKS[0]]
    assert measured["count_change"]["value"] == pytest.approx(changed.mean())
    assert measured["steady_count"]["value"] == pytest.approx(1 - changed.mean())
    assert measured["height_change"]["value"] == pytest.approx(first.height.mean())
    assert measured["height_change"]["low"] < measured["height_change"]["value"] < measured["height_change"]["high"]
    assert measured["images_that_change"] == first[changed].name.nunique()
    (difference,) = summary["differences"]
    second = rows[rows.model == NETWORKS[1]]
    assert difference["height_change"]["value"] == pytest.approx(second.height.mean() - first.height.mean())

    assert main([*run, "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == summary["models"]
    assert main([*run, "--out", str(tmp_path / "run"), "--format", "csv"]) == 0
    assert "count_change,count_change_low,count_change_high" in capsys.readouterr().out
    assert main([*run, "--protocol", "horizontal", "--animate", "--out", str(tmp_path / "film")]) == 2
    assert "--animate makes no film of --output peaks; choose one of probabilities, masks" in capsys.readouterr().err
    assert main([*run, "--precision", "verified"]) == 2
    assert "output 'peaks' cannot be verified" in capsys.readouterr().err

    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "change of the highest peak" in page


@pytest.mark.parametrize("output", ["peaks", "embedding"])
def test_a_leaderboard_has_the_measures_of_an_output(
    output: str, package: None, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plain = tmp_path / "board", NETWORKS[0]
    asked = ["--images", str(photographs), "--output", output]
    run = ["compare", "--models", *NETWORKS, "--antialias", "binomial3,all", *asked, "--out", str(out)]
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert f"{{{','.join(OUTPUTS)}}}" in capsys.readouterr().out
    assert main(run) == 0
    printed = capsys.readouterr().out
    assert not re.search("accura|consisten", printed)
    measures = {"peaks": ("count_change", "height_change", "steady_count"), "embedding": ("cosine_distance",)}[output]
    columns = {"peaks": r"P\(count change\) +height +steady", "embedding": r"cosine distance +P\(neighbour change\)"}
    assert re.search(rf"^network +group +{columns[output]} +parameters", printed, re.MULTILINE)
    assert {path.name for path in out.iterdir()} >= {"leaderboard.md", "leaderboard.csv", "figure.png", "speed.json"}
    assert not (out / "consistency").exists()  # no measure needs a second protocol

    # Every number is that of `aliasing jitter` under the same protocol; the order is by the first measure.
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["pareto"], summary["models"][plain]["classes"]) == ([], None)
    assert main(["jitter", "--models", *NETWORKS, *asked, "--protocol", "grid:radius=1", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["models"]
    for name in NETWORKS:
        assert {key: summary["models"][name][key] for key in measures} == {key: alone[name][key] for key in measures}
    rows = al.open(out).table().to_pylist()
    heads = [row[measures[0]] for row in rows if row["sibling"] is None]
    assert "classes" not in rows[0]
    assert (len(rows), heads) == (4, sorted(heads))
    assert {row["network"].removeprefix("antialiased:binomial3,all:") for row in rows if row["sibling"]} == {*NETWORKS}

    assert main([*run, "--format", "csv"]) == 0
    assert f"{measures[0]},{measures[0]}_low,{measures[0]}_high" in capsys.readouterr().out
    assert len(al.open(out).plot().axes) == 2 + (output == "peaks")  # one panel a measure
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    assert "Pareto front" not in (tmp_path / "page.html").read_text()
    assert main([*run, "--precision", "verified"]) == 2
    assert f"output '{output}' cannot be verified" in capsys.readouterr().err


def test_completion_knows_an_output_of_another_package(
    package: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = "aliasing jitter --output pe"
    found = tmp_path / "found"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(found), "COMP_LINE": line, "COMP_TYPE": "9"}
    for name, value in {**asked, "COMP_POINT": str(len(line))}.items():
        monkeypatch.setenv(name, value)
    # Its default is os._exit, as it was when argcomplete was imported: that would end the process of the tests.
    monkeypatch.setattr(argcomplete, "autocomplete", partial(argcomplete.autocomplete, exit_method=sys.exit))
    with pytest.raises(SystemExit):
        main([])
    assert found.read_text() == "peaks "


def test_a_script_adds_an_output(package: None, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import peaks_package  # type: ignore[import-not-found]

    monkeypatch.setattr(OUTPUTS, "_added", {})
    OUTPUTS.add("summits", peaks_package.Peaks)
    result = al.measure_jitter([peaks_package.network()], photographs, output="summits", limit=2)
    assert result.metrics("Sequential").images == 2
    assert "P(count change)" in tables.jitter_tables(result.summary(), "table")[0]
    assert al.plots.jitter(result).axes[1].get_xlabel() == "change of the highest peak, logits"
    with pytest.raises(UsageError, match="unknown output 'sumits'; did you mean summits"):
        al.measure_jitter([peaks_package.network()], photographs, output="sumits")
