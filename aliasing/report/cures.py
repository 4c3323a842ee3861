"""The section on a cure: three sentences, the differences that prove it or do not, and the candidates."""

from aliasing.called import explained, short_names
from aliasing.outputs import measures_in
from aliasing.plots.differences import measured, named
from aliasing.report.blocks import Cell, Section, Table, Text, estimate_cell
from aliasing.report.networks import difference_charts
from aliasing.report.runs import Names, Run


def called(run: Run) -> str:
    """The heading of a cure, by its network's short name."""
    network = run.summary["cure"]["network"]
    return f"The cure of {short_names([network], {network: run.networks['plain']})[network]}"


def cure_section(run: Run, number: int, names: Names) -> Section:
    """What was guilty, what the cure gained, and what it cost."""
    summary, cure = run.summary, run.summary["cure"]
    recipe, images = cure["recipe"], cure["images"]
    epochs = f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] > 1)}"
    section = Section(f"cure-{number}", f"{called(run)}{run.title}")
    section.blocks.append(Text(summary["verdict"]))
    measures = measured(summary, "plot")
    section.blocks += difference_charts(summary["differences"], measures, names, "on the held-out images")
    how = (
        f"Plain is the network as it is; the control is the same network after {epochs} of training. Recalibrated (or"
        f" converted) is the conversion {cure['chosen']} before training, and cured the same conversion after as much"
        f" training. It was chosen on {images['compared']:,} training images, and training used all"
        f" {images['train']:,}; the {images['held_out']:,} held-out images played no part in either."
    )
    attributed = (
        f"Which sites are guilty was told on {images['attributed']:,} training images; an attribution on other images"
        " may say otherwise of the same weights."
    )
    section.blocks.append(Text([how, " ".join([attributed, *names.also_called("plain")])], "note"))
    shown = measures_in(summary, "table")
    section.blocks.append(
        Table(
            "Paired differences on the held-out images: an interval without 0 is a clear difference",
            ["difference", *(measure.called for measure in shown)],
            [
                [
                    Cell(named(row, names), named(row, names)),
                    *(estimate_cell(row.get(measure.name), sign=True) for measure in shown),
                ]
                for row in summary["differences"]
            ],
            words=1,
        )
    )
    tried = [measure for measure in shown if measure.name in cure["candidates"][0]]
    section.blocks.append(
        Table(
            f"The candidates after one epoch on {images['tried']:,} training images, on {images['compared']:,} others;"
            " the most stable one that is not clearly less accurate than the most accurate was chosen",
            ["candidate", "chosen", *(measure.called for measure in tried)],
            [
                [
                    *(Cell(row["candidate"], code=True), Cell(row["why_not"] or "chosen")),
                    *(estimate_cell(row.get(measure.name)) for measure in tried),
                ]
                for row in cure["candidates"]
            ],
            words=2,
        )
    )
    section.blocks.append(Text([f"{explained(row['candidate'] for row in cure['candidates'])}."], "note"))
    return section
