"""Paired differences of every two of a few networks: in the summary, in tables, in the figure and on the page."""

from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from aliasing import plots, tables
from aliasing.jitter.result import MOST_PAIRED
from aliasing.leaderboard import Leaderboard, compare_networks
from tests.drawn import board, jitter, networks, pictures

THREE = ("lite0", "lite1", "lite2")


def pairs(result: Any) -> list[tuple[str, str]]:
    return [(row["first"], row["second"]) for row in result.summary()["differences"]]


def test_the_second_and_the_third_network_are_compared_too() -> None:
    result = jitter(THREE)
    assert pairs(result) == [("lite0", "lite1"), ("lite0", "lite2"), ("lite1", "lite2")]
    row = result.summary()["differences"][-1]
    expected = result.difference("lite1", "lite2").estimates()
    assert {name: row[name] for name in expected} == {name: found.as_dict() for name, found in expected.items()}
    assert "lite2 minus lite1, paired: " in str(result)
    assert "mac_minus_lite1_low" in result.table().column_names
    text = tables.jitter_tables(result.summary(), "table")[1].splitlines()
    assert [line.split()[:2] for line in text[2:]] == [["lite1", "lite0"], ["lite2", "lite0"], ["lite2", "lite1"]]


def test_of_many_networks_each_is_compared_with_the_first() -> None:
    names = tuple(f"net{number}" for number in range(MOST_PAIRED + 1))
    assert pairs(jitter(names)) == [("net0", name) for name in names[1:]]
    assert len(pairs(jitter(names[:-1]))) == MOST_PAIRED * (MOST_PAIRED - 1) // 2
    against = jitter(names[:3]).summary("net1")["differences"]
    assert [(row["first"], row["second"]) for row in against] == [("net1", "net0"), ("net1", "net2")]


def test_a_leaderboard_compares_plain_networks_and_the_variants_of_each() -> None:
    made = networks(THREE)
    found = compare_networks(made, list(pictures()), antialiased=["binomial3,all", "binomial4,all"])
    plain = [*combinations(THREE, 2)]
    families = [(name, *(f"antialiased:{how},all:{name}" for how in ("binomial3", "binomial4"))) for name in THREE]
    among = [pair for family in families for pair in combinations(family, 2)]
    assert sorted(pairs(found)) == sorted([*plain, *among])
    # The columns of the table have what they are named for: the first network, or the plain sibling.
    rows = {row["network"]: row for row in tables.leaderboard_columns(found.summary(), {})}
    assert [rows[name]["minus"] for name in THREE] == [None, "lite0", "lite0"]
    sibling = next(row for row in found.summary()["differences"] if row["second"] == families[2][2])
    assert rows[families[2][2]]["mac_minus_sibling"] == sibling["mac"]
    assert sibling["first"] == "lite2"


@pytest.mark.parametrize("make", [jitter, board])
def test_the_figure_has_each_pair_with_its_interval_and_the_line_of_no_difference(make: Any) -> None:
    result = make(THREE)
    figure = plots.differences(result)
    summary = result.summary()
    labels = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()]
    assert "lite2 − lite1" in labels
    assert len(labels) == len(summary["differences"])
    expected = {"accuracy": "the one named first is better →", "P(top-1 change)": "← the one named first is better"}
    keys = {"accuracy": "accuracy", "P(top-1 change)": "top1_change"}
    seen = 0
    for axes in figure.axes:
        what, _, better = axes.get_xlabel().removeprefix("difference of ").partition("\n")
        assert any(np.array_equal(line.get_xdata(), [0, 0]) for line in axes.lines)
        if what not in expected:
            continue
        seen += 1
        assert better == expected[what]
        bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
        for row, bar in zip(summary["differences"], bars, strict=True):
            (span,) = bar.lines[2][0].get_segments()
            ends = [row[keys[what]][end] for end in ("low", "high")]
            assert span[:, 0] == pytest.approx(ends, abs=1e-12)  # value ∓ (value − end): rounding alone
            assert bar.lines[0].get_xdata() == row[keys[what]]["value"]
    assert seen == 2
    assert isinstance(result, Leaderboard) == (make is board)
    plt.close(figure)
