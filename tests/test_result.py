"""Every measurement returns a result, and a folder opens as the result that left it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import aliasing as al
from aliasing.depth.attribution import attribute
from aliasing.errors import InputError, UsageError
from aliasing.result import Result


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    body = nn.Conv2d(3, 4, 5, 4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5)
    return nn.Sequential(*body)


class Other(nn.Sequential):
    pass


MEASUREMENTS: dict[str, Callable[..., Any]] = {
    "jitter": lambda **options: al.measure_jitter([network(), Other(network(1))], "sample", limit=3, **options),
    "embedding": lambda **options: al.measure_jitter(network(), "sample", output="embedding", limit=3, **options),
    "depth": lambda **options: al.probe_depth(network(), "sample", limit=2, sites_every=1, **options),
    "attribution": lambda **options: attribute(network(), "sample", limit=2, **options),
    "leaderboard": lambda **options: al.compare_networks(network(), "sample", antialiased=["flc"], limit=2, **options),
}


def in_json(summary: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(summary))
    return found


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_what_is_written_opens_as_what_was_measured(kind: str, tmp_path: Path) -> None:
    result = MEASUREMENTS[kind]()
    assert isinstance(result, Result)
    result.write(tmp_path)
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    opened: Any = al.open(tmp_path)
    assert type(opened) is type(result)
    assert opened.summary() == in_json(result.summary())
    assert opened.table().equals(result.table())
    assert opened.table().num_rows >= 1
    assert repr(opened) == repr(result)
    assert result.remarks()  # below the table, as the command prints them
    assert repr(result).endswith("\n".join(result.remarks()))
    assert "<table>" in opened._repr_html_()
    assert isinstance(opened.plot(), Figure)
    # Nothing but the records is needed to come to the same numbers.
    again = in_json(replace(opened, _kept=None).summary())
    for part in ("models", "variants", "sites", "differences", "images", "pareto"):
        assert again.get(part) == opened.summary().get(part)


def test_differences_may_be_from_another_network_than_the_first(tmp_path: Path) -> None:
    result = MEASUREMENTS["jitter"]()
    first, second = result.models
    (plain,), (turned,) = (result.summary(against=name)["differences"] for name in (None, second))
    assert (turned["first"], turned["second"]) == (second, first)
    assert turned["mac"]["value"] == -plain["mac"]["value"]
    assert f"\n{second} minus {first}, paired: " in str(result)
    assert turned["mac"]["low"] == pytest.approx(-plain["mac"]["high"])  # the same sums in float64, subtracted
    assert result.table(against=second).column("minus").to_pylist() == [second, None]
    result.write(tmp_path)
    opened: Any = al.open(tmp_path)
    assert opened.summary(against=second)["differences"] == in_json(result.summary(against=second))["differences"]
    assert opened.summary()["differences"] == [in_json(plain)]
    with pytest.raises(UsageError, match="differences against 'nobody': it was not measured, but Sequential, Other"):
        result.summary(against="nobody")


def test_an_attribution_that_was_opened_is_ranked_by_another_measure(tmp_path: Path) -> None:
    result = MEASUREMENTS["attribution"]()
    result.write(tmp_path)
    opened: Any = al.open(tmp_path)
    assert opened.summary("top1_change")["sites"] == in_json(result.summary("top1_change"))["sites"]
    assert opened.summary("top1_change")["ranked_by"] == "top1_change"
    assert "by P(top-1 change)" in opened.summary("top1_change")["verdict"]


def test_an_attribution_of_the_version_before_has_the_names_of_now(tmp_path: Path) -> None:
    result = MEASUREMENTS["attribution"]()
    result.write(tmp_path)
    before = in_json(result.summary())
    for site in before["sites"]:
        assert site["alone"] == site.pop("only")
        assert site["spared"] == site.pop("all_but")
        assert (site["rank_spared"], site["clear_spared"]) == (site.pop("rank_all_but"), site.pop("clear_all_but"))
    (tmp_path / "summary.json").write_text(json.dumps(before))
    opened: Any = al.open(tmp_path)
    assert opened.summary() == in_json(result.summary())
    assert "all but: P(top-1 change)" in repr(opened)
    assert opened.summary()["verdict"] in repr(opened)
    assert "as it is: P(top-1 change) " in repr(opened)
    al.write_report(tmp_path, tmp_path / "page.html")


def test_results_and_folders_stand_on_one_page_and_are_compared(tmp_path: Path) -> None:
    out = tmp_path / "run"
    kept = MEASUREMENTS["jitter"](out=out)
    with pytest.raises(InputError, match=r"it holds no summary\.json"):  # what the command line adds
        al.open(out)
    kept.write(out)
    in_memory = MEASUREMENTS["depth"]()
    al.write_report([out, kept, in_memory], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'id="networks-2"' in page
    assert "Layer by layer" in page
    opened: Any = al.open(out)
    assert opened.difference("Sequential", "Other").estimates() == kept.difference("Sequential", "Other").estimates()


def test_what_is_no_finished_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        al.open(tmp_path / "nowhere")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="not that of a run"):
        al.open(tmp_path)
    with pytest.raises(UsageError, match=r"summary.json was not made by a run and would be replaced; choose another"):
        MEASUREMENTS["jitter"]().write(tmp_path)
    (tmp_path / "summary.json").unlink()
    MEASUREMENTS["jitter"]().write(tmp_path)
    next(tmp_path.glob("records/*/00000.parquet")).unlink()
    with pytest.raises(InputError, match=r"is not finished: records of .* are missing"):
        al.open(tmp_path)
    with pytest.raises(InputError, match="that of networks, not of depth"):
        al.depth.Profile.open(tmp_path)
