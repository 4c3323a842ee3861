"""Tables that mean the same in every form, and in which a name stays a name."""

import csv
import io
import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import aliasing as al
from aliasing import Classifier
from aliasing.cli import main
from aliasing.depth.attribution import attribute
from aliasing.tables import cell, flat, render

ESTIMATE = {"value": 0.25, "low": 0.2, "high": 0.3}
MARKUP = "<script>alert(1)</script>|`*"
HALF = (0.5, 0.5, 0.5)


@given(st.lists(st.tuples(st.text(string.printable), st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_csv_gives_back_what_it_was_given(rows: list[tuple[str, float]]) -> None:
    text = render([{"name": name.replace("\r", ""), "mac": value} for name, value in rows], "csv")
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    # The last line ends without a break; a name of one column that is empty would be an empty line, but there are two.
    assert [(row["name"], float(row["mac"])) for row in found] == [(n.replace("\r", ""), v) for n, v in rows]


def test_an_estimate_takes_three_columns_and_none_takes_them_too() -> None:
    rows = [{"mac": ESTIMATE}, {"mac": None}]
    assert flat(rows) == [
        {"mac": 0.25, "mac_low": 0.2, "mac_high": 0.3},
        {"mac": None, "mac_low": None, "mac_high": None},
    ]
    assert render(rows, "csv") == "mac,mac_low,mac_high\n0.25,0.2,0.3\n,,"


@given(st.lists(st.text(string.printable), min_size=2, max_size=2))
def test_a_markdown_cell_stays_one_cell(cells: list[str]) -> None:
    line = render([{"a": cells[0], "b": cells[1]}], "markdown").splitlines()
    assert len(line) == 3
    bare = re.sub(r"\\.", "", line[2])  # what is escaped is text
    assert bare.count("|") == 3
    assert "<" not in bare


def test_markup_is_text_in_a_notebook() -> None:
    html = render([{"network": MARKUP, "mac": ESTIMATE}], "html", titles={"mac": "MAC"})
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "0.25 [0.20, 0.30]" in html
    assert ">MAC" in html


def test_a_layer_named_as_a_number_stays_a_name() -> None:
    for form in ("table", "markdown", "html"):
        assert "1.10" in render([{"layer": "1.10"}], form)


def test_large_counts_are_short_and_nothing_is_no_number() -> None:
    text = render([{"parameters": 4_652_008, "images": 500, "speed": 39.271, "accuracy": None}])
    assert re.findall(r"\S+(?: M)?", text.splitlines()[-1]) == ["4.65 M", "500", "39.3", "–"]


def test_people_read_a_minus_and_programs_a_hyphen() -> None:
    rows = [{"network": "a − b", "mac": {"value": -0.25, "low": -0.5, "high": 0.1}, "moved": -0.125, "offset": "−0.50"}]
    for form in ("table", "markdown", "html"):
        assert all(text in render(rows, form, "+") for text in ("−0.25 [−0.50, +0.10]", "−0.125", "−0.50"))
    assert render(rows, "csv").splitlines()[1] == "a − b,-0.25,-0.5,0.1,-0.125,-0.50"


def test_no_minus_stands_before_zero() -> None:
    assert cell({"value": -0.0, "low": -0.1, "high": 0.1}, sign="+") == "+0.00 [−0.10, +0.10]"


def _network() -> Classifier:
    stem = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)
    module = nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return Classifier(module, MARKUP, 32, HALF, HALF, "bilinear", resize_size=40, crop_share=0.8)


@pytest.mark.parametrize(
    ("measure", "shown"),
    [
        (lambda network: al.measure_jitter(network, "sample", limit=2), "P(top-1 change)"),
        (lambda network: al.probe_depth(network, "sample", limit=2), "equivariance error"),
        (lambda network: attribute(network, "sample", limit=2), "all but: P(top-1 change)"),
        (al.find_sites, "max pooling"),
        (lambda network: al.compare_networks(network, "sample", limit=2), "multiply–adds"),
    ],
)
def test_results_show_themselves_in_a_notebook(measure: object, shown: str) -> None:
    html = measure(_network())._repr_html_()
    assert html.startswith("<table>")
    assert shown in html
    assert "<script>" not in html


def test_the_commands_print_what_other_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables on standard output, remarks beside; JSON and a format exclude one another."""
    network = "module:tests.cifar_resnet:resnet20"  # untrained: for the form, never for numbers
    commands = {
        ("jitter", "--models", network, "--limit", "1"): ["network", "top1_change", "top1_change_low"],
        ("depth", "--models", network, "--limit", "1"): ["network", "layer", "shape"],
        ("attribute", network, "--limit", "1"): ["rank", "site", "only_top1_change"],
        ("sites", network): ["name", "kind", "stride"],
        ("models", "pypi:*"): ["name", "installed", "origin"],
    }
    for command, columns in commands.items():
        assert main([*command, "--format", "csv"]) == 0
        captured = capsys.readouterr()
        rows = list(csv.reader(io.StringIO(captured.out)))
        assert rows[0][:3] == columns
        assert {len(row) for row in rows} == {len(rows[0])}
    assert "nothing was written" not in captured.out
    assert main(["sites", network, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| name")
    with pytest.raises(SystemExit) as exit_:
        main(["jitter", "--json", "--format", "csv"])
    assert exit_.value.code == 2


def test_csv_has_the_paired_differences_too(capsys: pytest.CaptureFixture[str]) -> None:
    models = [f"module:tests.small_network:{name}" for name in ("make", "another")]
    assert main(["jitter", "--models", *models, "--limit", "3", "--format", "csv"]) == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert main(["jitter", "--models", *models, "--limit", "3", "--json"]) == 0
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (first["minus"], second["minus"]) == ("", models[0])
    for measure in ("top1_change", "mac"):
        assert first[f"{measure}_minus_first"] == ""
        for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            assert float(second[f"{measure}_minus_first{end}"]) == difference[measure][key]
        assert float(second[measure]) - float(first[measure]) == pytest.approx(difference[measure]["value"])


def test_csv_of_one_network_has_no_differences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jitter", "--models", "module:tests.small_network:make", "--limit", "1", "--format", "csv"]) == 0
    assert "minus" not in capsys.readouterr().out
