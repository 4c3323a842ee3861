"""Every text of every figure can be read: none is cut off, and none lies on another."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import aliasing as al
from aliasing import plots
from aliasing.plots.style import in_two_lines
from tests.drawn import FIGURES, VERSIONS, jitter, trace
from tests.readable import complaints


@pytest.mark.parametrize("run", ["crop", "grid", "depth", "attribution", "spectrum"])
def test_figures_of_results_can_be_read(measured: Path, run: str) -> None:
    figure = al.open(measured / run).plot()
    assert complaints(figure) == []
    plt.close(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_every_kind_of_figure_can_be_read(name: str) -> None:
    figure = FIGURES[name]()
    assert complaints(figure) == []
    plt.close(figure)


def test_what_cannot_be_read_is_found() -> None:
    figure, axes = plt.subplots(layout="constrained", figsize=(3, 2))
    axes.legend(*[[plt.Line2D([], [])], ["a line"]], loc="upper right")
    axes.set_xticks([0.2, 0.8, 3], ["left", "right", "beyond the axis"])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="place", ylabel="value")
    assert complaints(figure) == []
    axes.text(0.1, 0.2, "one label").set_in_layout(False)
    axes.text(0.15, 0.2, "another").set_in_layout(False)
    axes.text(0.9, 0.6, "a long remark").set_in_layout(False)
    axes.text(0.15, 0.2, "not shown", visible=False)
    axes.text(0.5, 0.4, "left of it", ha="right").set_in_layout(False)
    axes.text(0.5, 0.4, "right of it").set_in_layout(False)
    axes.errorbar(0.8, 0.5, yerr=0.45)
    assert complaints(figure) == [
        "'a long remark' is cut by the edge of the figure",
        "'one label' and 'another' overlap",
        "'left of it' and 'right of it' touch",
        "a legend lies on 1 lines",
    ]
    plt.close(figure)


def test_a_figure_says_of_which_network_conversions_are_and_what_a_number_is() -> None:
    found = jitter(VERSIONS)
    summary = found.summary()
    models = {name: {**model, "weights": {"name": "mine"}} for name, model in summary["models"].items()}
    followed = replace(trace("plain", 0, 2), answers=("4", "hen"))
    figure = plots.jitter(replace(found, _kept={**summary, "models": models}), [followed])
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles[0].startswith("Jitter of mine under crop: 6 images")
    assert plots.jitter(found).get_suptitle().startswith("Jitter under crop: ")
    views = [axes.get_xlabel() for axes in figure.axes if not axes.get_xlabel().startswith("position")]
    assert views[-2:] == ["class 4\nat 0", "hen\nat 0.5"]
    plt.close("all")


@pytest.mark.parametrize("width", [13, 24, 34])
def test_a_name_is_broken_behind_its_parts(width: int) -> None:
    text = "binomial3,sites=layer2.0.conv1+layer2.0.strided_slice+layer3.0.conv1"
    first, last = in_two_lines(text, width).split("\n")
    assert max(len(first), len(last)) <= width
    assert text.startswith(first.partition("…")[0])
    assert text.endswith(last.rpartition("…")[2])
    assert first[-1] in ",+…"
