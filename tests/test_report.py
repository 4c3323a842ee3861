"""What goes into the page: the photographs, the numbers by shift, the markup, and what a user may do wrong."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib import resources
from inspect import getdoc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

import aliasing as al
from aliasing.cli import main
from aliasing.jitter.examples import VIEWS, _views_shown
from aliasing.jitter.shifts import by_shift
from aliasing.outputs.probabilities import ACCURACY, MAC
from aliasing.plots.attribution import called
from aliasing.protocols import PROTOCOLS
from aliasing.records import Records
from aliasing.report import json_for_script, make_page, read_run
from aliasing.report.blocks import Table, Text
from aliasing.report.commands import command_again
from aliasing.report.made import made_section
from aliasing.report.networks import networks_section
from aliasing.report.paths import without_folders
from aliasing.report.runs import Names, Run, with_titles
from aliasing.state import read_json, write_json
from aliasing.tables import cell
from tests.report_runs import HOSTILE
from tests.small_network import make


def networks_of(run: Path) -> list[str]:
    return list(read_run(run).networks)


def rows_of(run: Path, model: str) -> pd.DataFrame:
    return pd.concat([part.table.to_pandas() for part in Records(run).parts(model)])


@pytest.mark.parametrize("protocol", ["crop", "grid"])
def test_the_examples_are_those_that_move_most_and_least(measured: Path, protocol: str) -> None:
    """Against pandas on the records: the photographs, the pair, and the answers to its two views."""
    folder = measured / protocol / "examples"
    examples = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    plain, treated = networks_of(measured / protocol)
    rows = rows_of(measured / protocol, plain)
    jumps = (rows.first_probability.astype(float) - rows.second_probability.astype(float)).abs()
    movement = jumps.groupby(rows.name).mean().sort_values(ascending=False)
    photographs = examples["photographs"]
    assert [shown["name"] for shown in photographs[:3]] == list(movement.index[:3])
    assert {shown["name"] for shown in photographs[3:]} == set(movement.index[-3:])
    assert [shown["kind"] for shown in photographs] == ["most"] * 3 + ["least"] * 3
    for shown in photographs:
        of_image = rows[rows.name == shown["name"]].reset_index()
        row = of_image.loc[jumps[rows.name == shown["name"]].reset_index(drop=True).idxmax()]
        first, second = (shown["views"][view] for view in shown["pair"])
        assert first["shift"] == [row.first_dy, row.first_dx]
        assert second["shift"] == [row.second_dy, row.second_dx]
        answers = shown["answers"][plain]
        # The same views in batches of other neighbours: equal to the rounding of single precision.
        assert answers["top1"][shown["pair"][1]] == row.second_top1
        assert answers["confidence"][shown["pair"][0]] == pytest.approx(row.first_probability, abs=1e-5)
        assert set(shown["answers"]) == {plain, treated}
        pictures = [view["picture"] for view in shown["views"]]
        for picture in [*pictures, shown["difference"]]:
            with Pillow.open(folder / picture) as opened:
                assert opened.size == (32, 32)
        assert len(pictures) == len(answers["top1"]) == 9


@given(st.integers(2, 200), st.data())
def test_the_views_that_are_kept_are_few_and_hold_the_pair(count: int, data: st.DataObject) -> None:
    first, second = (data.draw(st.integers(0, count - 1)) for _ in range(2))
    shown = _views_shown(count, first, second)
    assert {first, second} <= set(shown)
    assert len(shown) <= max(VIEWS, 2)
    assert shown == sorted(set(shown))
    assert 0 <= shown[0] <= shown[-1] < count
    if count <= VIEWS:
        assert shown == list(range(count))


@pytest.mark.parametrize(("protocol", "keys"), [("crop", ["first_position", "second_position"]), ("grid", None)])
def test_jitter_by_shift_is_that_of_a_group_by(measured: Path, protocol: str, keys: list[str] | None) -> None:
    name = networks_of(measured / protocol)[1]
    rows = rows_of(measured / protocol, name)
    found = by_shift((part.table for part in Records(measured / protocol).parts(name)), keys is not None).rows
    rows["changed"] = rows.first_top1 != rows.second_top1
    rows["jump"] = (rows.first_probability.astype(float) - rows.second_probability.astype(float)).abs()
    for row in found:
        if keys:
            here = rows[(rows[keys[0]] == row["shift"][0]) & (rows[keys[1]] == row["shift"][1])]
        else:
            moved = [(rows[f"second_{axis}"] - rows[f"first_{axis}"]) for axis in ("dy", "dx")]
            here = rows[(moved[0] == row["shift"][0]) & (moved[1] == row["shift"][1])]
        assert row["pairs"] == len(here) == 7
        assert row["top1_change"]["value"] == here.changed.mean()
        assert row["mac"]["value"] == pytest.approx(here.jump.mean(), rel=1e-12)
        assert row["mac"]["low"] < row["mac"]["value"] < row["mac"]["high"]
    assert len(found) == 8  # steps of the path; shifts around the centre


class Markup(HTMLParser):
    """The elements of a page, and the text of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data


def test_the_page_shows_what_the_runs_hold(measured: Path) -> None:
    runs = [read_run(measured / folder) for folder in ("crop", "grid", "depth", "attribution", "spectrum", "features")]
    page, cautions = make_page(runs)
    assert cautions == []
    assert len(page) < 10_000_000
    markup = Markup(page)
    for run in runs[:2]:
        for name, model in run.networks.items():
            assert without_folders(name) in markup.text
            assert model["weights"]["sha256"] in markup.text
            for measure in ("top1_change", "mac", "worst_change"):
                value, low, high = (model[measure][end] for end in ("value", "low", "high"))
                assert cell({"value": value, "low": low, "high": high}) in markup.text
                if measure in ("top1_change", "mac"):  # the chart's point says the same of itself
                    assert re.search(rf"<title>[^<]*: {re.escape(cell(model[measure]))}</title>", page)
        assert without_folders(command_again(run)) in markup.text
    assert "broken.png" in markup.text
    for layer in next(iter(runs[2].networks.values()))["layers"]:
        assert layer["name"] in markup.text
        assert f", {layer['name']}: {cell(layer['relative_change'])}</title>" in page
    for look in json.loads((measured / "spectrum/spectra/spectra.json").read_text(encoding="utf-8"))["looks"]:
        assert look["label"] in markup.text
    identifiers = [attributes["id"] for _, attributes in markup.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = {attributes["href"] for tag, attributes in markup.elements if tag == "a"}
    assert {f"#{section}" for section in identifiers if section.split("-")[0] in ("networks", "depth")} - targets <= {
        f"#{name}" for name in identifiers if name.endswith("-title") or name.count("-") > 1
    }
    for tag, attributes in markup.elements:
        assert tag != "img" or attributes.get("alt") is not None
    assert sum(tag == "table" for tag, _ in markup.elements) == sum(tag == "caption" for tag, _ in markup.elements)


def lead(protocol: dict[str, object]) -> str:
    return networks_section(Run(Path(), "networks", {"settings": {"protocol": protocol}}), 1, Names({}, {})).lead


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_described_with_numbers_for_its_parameters(name: str) -> None:
    words = {"pixels", "step", "steps", "frames", "video"}  # which are plain words too
    parameters = {one.name for one in fields(PROTOCOLS[name])}
    said = lead({"name": name})
    assert said.endswith(".")
    assert len(said) > 30
    assert "`" not in said
    assert not (parameters - words) & {*re.findall(r"[a-z_]+", said)}
    if re.search(r"``(pixels|steps?|frames)``", (getdoc(PROTOCOLS[name]) or "").split("\n")[0]):
        assert re.search(r"\d", said)


def test_the_numbers_are_those_of_the_run() -> None:
    assert "within ±3 pixels" in lead({"name": "grid", "radius": 3})
    assert "within ±1 pixels" in lead({"name": "grid"})
    assert "9 steps of 0.5 degrees" in lead({"name": "rotate", "steps": 9})


def test_images_that_a_cure_held_out_flatter_nobody(measured: Path) -> None:
    for folder, flattered in (("cure", False), ("cure/held-out", True)):
        page, _ = make_page([read_run(measured / folder)])
        assert ("flattering if trained on" in Markup(page).text) == flattered
        assert ("Accuracy flatters" in page) == flattered


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ((0.6, 0.95), "the dashed line is the Pareto front"),
        ((0.9, 0.95), "second is alone on the Pareto front"),
        ((0.8, 0.9), "first; second, of equal values, are alone on the Pareto front"),
    ],
)
def test_a_caption_speaks_of_a_line_only_where_one_is_drawn(second: tuple[float, float], says: str) -> None:
    ends = {"low": 0.1, "high": 1.0}
    models = {
        name: {"accuracy": {"value": accuracy, **ends}, "consistency": {"value": consistency, **ends}}
        for name, (accuracy, consistency) in {"first": (0.8, 0.9), "second": second}.items()
    }
    settings = {"protocol": {"name": "consistency"}, "output": "probabilities"}
    run = Run(Path(), "networks", {"settings": settings, "models": models})
    blocks = networks_section(run, 1, Names({name: name for name in models}, {"first": 0, "second": 1})).blocks
    (chart,) = (one for block in blocks if block.kind == "charts" for one in block.charts if "Pareto" in one.caption)
    assert says in chart.caption
    assert ("stroke-dasharray" in chart.drawing) == says.startswith("the dashed")


def test_accuracy_makes_no_site_guilty() -> None:
    assert called("only", MAC) == "this site treated, minus none (guilty: below 0)"
    assert called("only", ACCURACY) == "this site treated, minus none"


ABSOLUTE = re.compile(r"(?<![\w.])/(home|tmp|root|Users|var|private|mnt)/|(?<![\w])[A-Z]:\\+\w")


def test_no_path_of_this_machine_is_on_the_page(measured: Path) -> None:
    """Not in a text, a drawing, an attribute, a comment or the script's data; only pictures' bytes are not searched."""
    folders = ("crop", "grid", "depth", "attribution", "spectrum", "features", "cure")
    page, _ = make_page([read_run(measured / folder) for folder in folders], title=f"runs in {measured}")
    page = re.sub(r"base64,[\w+/=]+", "", page)
    own = (str(measured), str(Path.cwd()), str(Path.home()), sys.prefix)
    for found in (page, (measured / "crop" / "summary.json").read_text("utf-8")):  # the run does name them
        there = bool(ABSOLUTE.search(found)) or any(folder in found for folder in own)
        assert there == (found is not page)
    assert "file:resnet20.safetensors@module:tests.cifar_resnet:resnet20" in Markup(page).text


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ((-0.3, -0.1), "has a clearly lower P(top-1 change) than cifar_resnet20: −0.20 [−0.30, −0.10]"),
        ((0.1, 0.3), "has a clearly higher P(top-1 change) than cifar_resnet20: +0.20 [+0.10, +0.30]"),
        ((-0.3, 0.1), "and cifar_resnet20 cannot be told apart by P(top-1 change): the paired difference is −0.10"),
    ],
)
def test_one_network_is_said_to_be_better_only_where_the_paired_interval_says_so(
    measured: Path, tmp_path: Path, ends: tuple[float, float], says: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(measured / "crop", run)
    summary = read_json(run / "summary.json")
    low, high = ends
    summary["differences"][0]["top1_change"] = {"value": (low + high) / 2, "low": low, "high": high}
    write_json(run / "summary.json", summary)
    assert f"cifar_resnet20, binomial3 {says}" in Markup(make_page([read_run(run)])[0]).text


def test_each_cell_of_a_heat_map_has_its_interval_in_a_table(measured: Path) -> None:
    text = Markup(make_page([read_run(measured / "grid")])[0]).text
    for name in networks_of(measured / "grid"):
        for row in by_shift((part.table for part in Records(measured / "grid").parts(name)), False).rows:
            for measure in ("top1_change", "mac"):
                assert cell(row[measure]) in text


def poisoned(run: Path, out: Path) -> Path:
    """A run with markup wherever a summary or the examples have text."""
    shutil.copytree(run, out)

    def poison(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            poisonous = {f"{name}</script>{HOSTILE}/script>" if ":" in name else name: v for name, v in value.items()}
            return {name: poison(inner, name) for name, inner in poisonous.items()}
        if isinstance(value, list):
            return [poison(inner, key) for inner in value]
        if isinstance(value, str) and key not in ("picture", "difference", "name"):
            return f"</script>{HOSTILE}/script> javascript:alert(3) {value}"
        return value

    for path in out.rglob("*.json"):
        if path.name in ("summary.json", "examples.json"):
            write_json(path, poison(read_json(path)))
    return out


@pytest.mark.parametrize("folder", ["crop", "depth", "attribution", "spectrum", "features"])
def test_markup_in_what_was_measured_is_text(measured: Path, folder: str, tmp_path: Path) -> None:
    """The poisoned page has no more elements than the clean one, and no attribute that runs or leads anywhere.

    (It may have fewer: the records are not found under a poisoned name.)
    """
    page, _ = make_page([read_run(poisoned(measured / folder, tmp_path / folder))], title=f"</title>{HOSTILE}")
    markup, clean = Markup(page), Markup(make_page([read_run(measured / folder)])[0])
    assert HOSTILE in markup.text
    for tag in ("script", "img", "link", "style", "meta", "svg", "iframe"):
        assert sum(found == tag for found, _ in markup.elements) <= sum(found == tag for found, _ in clean.elements)
    for tag, attributes in markup.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:image/", "data:,", "#")), (tag, attributes)


@given(st.text())
def test_json_in_a_script_is_the_same_json_and_no_markup(text: str) -> None:
    written = str(json_for_script({"text": text}))
    assert json.loads(written) == {"text": text}
    assert not set("<>&\u2028\u2029") & set(written)


def test_a_picture_outside_the_run_is_not_shown(measured: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(measured / "crop", run)
    Pillow.new("RGB", (32, 32), "red").save(tmp_path / "secret.png")
    path = run / "examples" / "examples.json"
    examples = read_json(path)
    examples["photographs"][0]["views"][0]["picture"] = "../../secret.png"
    write_json(path, examples)
    text = Markup(make_page([read_run(run)])[0]).text
    assert "secret.png leads out of" in text


@pytest.mark.parametrize(
    "broken", ["{", "[]", '{"photographs": 3}', '{"photographs": [], "unit": "pixels", "is_path": 1}']
)
def test_broken_examples_are_told_and_the_rest_is_shown(measured: Path, tmp_path: Path, broken: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(measured / "crop", run)
    (run / "examples" / "examples.json").write_text(broken, encoding="utf-8")
    text = Markup(make_page([read_run(run)])[0]).text
    assert "cannot be shown" in text
    assert "Networks compared" in text


def test_an_older_run_says_what_is_missing_and_how_to_make_it(measured: Path, tmp_path: Path) -> None:
    """A summary alone: its numbers are shown; the records and the photographs are said to be missing."""
    run = tmp_path / "older"
    run.mkdir()
    shutil.copy(measured / "crop" / "summary.json", run)
    text = Markup(make_page([read_run(run)])[0]).text
    assert "holds no folder “examples”" in text
    assert "records, which are not in older" in text
    assert "Move a photograph" not in text  # no section that is an apology
    assert "Spectra before" not in text
    assert "aliasing depth --models" in text
    assert "aliasing spectrum PHOTOGRAPH.jpg" in text


def test_what_was_noted_of_all_networks_is_said_once_and_hashes_are_folded() -> None:
    """The first table of how a page was made has few and wide columns."""
    weights = {"source": "a.pth", "sha256": "0" * 64}
    models = {
        name: {"weights": weights | {"version": version}, "identity": name * 32, "notes": [*own, "moved within zeros"]}
        for name, version, own in (("a", "unversioned", []), ("b", "0.2", ["trained on 40 images"]))
    }
    run = Run(Path("run"), "networks", {"models": models, "settings": {}, "versions": {}})
    table, noted, hashes, *_ = made_section([(run, {"a": "a", "b": "b"})]).blocks
    assert isinstance(table, Table)
    assert isinstance(hashes, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a", "a.pth", "–"],
        ["b", "a.pth", "trained on 40 images"],
    ]
    assert [row[1].detail for row in table.rows] == ["", "0.2"]
    assert noted == Text(["Each of them: moved within zeros."])
    assert hashes.folded
    assert [[cell.text for cell in row[1:]] for row in hashes.rows] == [["0" * 64, name * 32] for name in "ab"]


def test_runs_of_one_kind_are_told_apart(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured / "crop", tmp_path / "again")
    runs = with_titles([read_run(measured / "crop"), read_run(tmp_path / "again"), read_run(measured / "depth")])
    assert [run.title for run in runs] == [": crop", ": again", ""]


def test_versions_that_differ_are_a_caution(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(measured / "grid", run)
    summary = read_json(run / "summary.json")
    summary["versions"]["torch"] = "1.0.0"
    write_json(run / "summary.json", summary)
    out = tmp_path / "report.html"
    assert main(["report", str(measured / "crop"), str(run), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "caution: the runs were made with different versions: torch 1.0.0 and" in printed
    assert "different versions: torch 1.0.0 and" in Markup(out.read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no summary.json"),
        ("not JSON", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1, 2]", "not that of a run"),
        ('{"experiment": "depth", "numbers": {}}', "not that of a run"),
        ('{"models": {"a": 3}}', "not that of a run"),
    ],
)
def test_a_folder_that_holds_no_run_is_one_line(
    content: str | None, message: str, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "summary.json").write_text(content, encoding="utf-8")
    complaint(["report", str(folder), "--out", str(tmp_path / "report.html")], 1, message)
    assert not (tmp_path / "report.html").exists()


def test_what_cannot_be_written_or_is_not_there_is_one_line(
    measured: Path, tmp_path: Path, complaint: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    measured_run = str(measured / "crop")
    for run, out, message in (
        (measured_run, tmp_path, "cannot be written"),
        (measured_run, tmp_path / "file" / "report.html", "cannot be written"),
        (str(tmp_path / "nowhere"), tmp_path / "report.html", "no such folder"),
    ):
        complaint(["report", run, "--out", str(out)], 1, message)


def test_a_missing_library_is_named(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("aliasing.report")]:
        monkeypatch.delitem(sys.modules, module)  # as in a process of its own
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(measured / "crop"), "--out", str(tmp_path / "report.html")]) == 2
    assert 'pip install "aliasing[report]"' in capsys.readouterr().err


def test_what_the_page_is_made_of_is_in_the_package() -> None:
    for name in ("page.html", "page.css", "page.js"):
        assert resources.files("aliasing.report").joinpath(name).is_file()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'/home/J. Doe/my photos/a.jpg' and /home/x/b", "'a.jpg' and b"),
        (r'"C:\Users\Jane Doe\net.pth" "file:C:\Users\J D\x.pth"', '"net.pth" "file:x.pth"'),
        ("it's /home/me/x and it's /a/b", "it's x and it's b"),
        ("/home/me/+x, /home/me/@x, |/home/me/#x", "+x, @x, |#x"),
        ("'a / b', 'https://a.b/c d/e', 'runs/my run/a', 1/2", "'a / b', 'https://a.b/c d/e', 'runs/my run/a', 1/2"),
    ],
)
def test_a_path_is_its_last_part_whatever_its_names(text: str, shown: str) -> None:
    assert without_folders(text) == shown


def test_the_eighth_network_looks_unlike_the_first(tmp_path: Path) -> None:
    """There are seven colours; then lines are dashed, and the legend with them."""
    networks = [replace(make(seed), name=f"network {seed}") for seed in range(9)]
    noise = [np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8) for seed in range(2)]
    al.write_report(al.probe_depth(networks, noise), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    swatches = re.findall(r'<span class="swatch ([^"]+)" aria-hidden="true"></span>network (\d)', page)
    looks = {number: look for look, number in swatches}
    assert looks["0"] == "series-0"
    assert looks["7"] == "series-0 lap-1"
    assert len({*looks.values()}) == len(looks) == 9
