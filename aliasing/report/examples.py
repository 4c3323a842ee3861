"""The sections on photographs that a run kept: a slider to move one, pairs of views side by side, and spectra."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aliasing.downsample import spectra as kept_spectra
from aliasing.errors import InputError
from aliasing.jitter.examples import FILE, SPECTRA
from aliasing.plots.jitter import answers_along_path, limit_shares
from aliasing.plots.overlay import heat_key, key
from aliasing.plots.spectrum import log_spectrum, profile
from aliasing.plots.style import baseband_kept
from aliasing.plots.svg import HERE, panel, panels, tell
from aliasing.report.answers import CLASSES, Answers, read_answers
from aliasing.report.blocks import Cell, Chart, Explorer, Look, Looks, Pair, Pairs, Section, Shown, Table, series_of
from aliasing.report.pictures import embed
from aliasing.report.runs import Names, Run
from aliasing.rounding import rounded
from aliasing.state import read_json

FOLDER = "examples"
_MOST_DRAWN = 3  # networks whose answers are drawn side by side
_HEAT = "the share of the pairs of views in which the answer changes there: from few to all"
_KINDS = {"most": "among the least stable", "least": "among the most stable"}


def example_sections(run: Run, number: int, names: Names) -> Iterable[Section]:
    """The slider, and the most and the least stable photographs, of a run of kind "networks" that kept examples.

    ``number`` is that of the run among its kind;
    InputError if the folder holds photographs that cannot be shown.
    """
    slider = Section(f"move-{number}", f"Move a photograph{run.title}")
    pairs = Section(f"photographs-{number}", f"The least and the most stable photographs{run.title}")
    folder = run.folder / FOLDER
    if not (folder / FILE).is_file():
        return []
    try:
        examples = read_json(folder / FILE, run.folder)
        known = {name: model.get("identity") for name, model in run.networks.items()}
        if any(known.get(name) != its for name, its in examples.get("identities", {}).items()):
            raise InputError("they were kept by a run of other networks; measure again")
        unit, is_path = examples["unit"], bool(examples["is_path"])
        photographs = [_Photograph(folder, shown, names, unit, is_path) for shown in examples["photographs"]]
        form, measure = photographs[0].form, str(examples.get("measure", "mean absolute change"))
        slider.lead = (
            "Choose a photograph and move it, view by view, with the slider or the arrow keys"
            + (", or drag it in both directions. " if any(photograph.is_grid for photograph in photographs) else ". ")
            + form.lead.format("before" if is_path else "first")
            + "".join(f" {name} is not shown: {why}." for name, why in _left_out(photographs).items())
        )
        slider.blocks.append(_explorer(examples, photographs))
        pairs.lead = f"They are chosen by the first network's {measure}. {form.chosen}"
        keys = [*_key(photographs), (heat_key(), _HEAT)] if photographs[0].drawn else []
        sign = examples.get("sign", -1)
        pairs.blocks.append(Pairs([photograph.pair(measure, sign) for photograph in photographs], keys))
    except (InputError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the photographs that {run.folder.name} kept cannot be shown: {error}") from None
    return [slider, pairs]


def spectra_places(runs: Sequence[Run]) -> list[Path]:
    """The folders of the runs that hold the spectra of a photograph."""
    places = [(run, run.folder / SPECTRA) for run in runs if run.kind == "spectrum"]
    places += [(run, run.folder / FOLDER / SPECTRA) for run in runs if run.kind == "networks"]
    inside = [place for run, place in places if place.resolve().is_relative_to(run.folder.resolve())]
    return [place for place in inside if (place / kept_spectra.FILE).is_file()]


def spectra_section(runs: Sequence[Run]) -> Iterable[Section]:
    """The spectra of one photograph before and after each downsampling operator, from the first run that kept them.

    InputError if they cannot be read.
    """
    section = Section("spectra", "Spectra before and after downsampling")
    found = spectra_places(runs)
    if not found:
        return []
    try:
        kept = kept_spectra.Spectra.open(found[0])
        height, width = kept.size
        section.lead = (
            f"{kept.photograph}, {height}×{width} pixels, made periodic, at stride {kept.stride}. The samples are above"
            " each spectrum. Everything outside the square folds into it; a filter that removes it first may also"
            " remove some of the inside."
        )
        section.blocks.append(Looks([_look(found[0], look, kept) for look in kept.looks], height, width))
    except (InputError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the spectra in {found[0].parent.name} cannot be shown: {error}") from None
    return [section]


def _left_out(photographs: "Sequence[_Photograph]") -> dict[str, str]:
    """The networks whose answers to a photograph are not shown, and why."""
    return {name: why for one in photographs for name, why in one.left_out.items()}


class _Photograph:
    """One photograph of ``examples.json`` with its pictures."""

    def __init__(self, folder: Path, shown: Mapping[str, Any], names: Names, unit: str, is_path: bool) -> None:
        self.name, self.label, self.kind = str(shown["name"]), shown.get("label"), str(shown["kind"])
        self.movement, self.ends = float(shown["movement"]), [int(view) for view in shown["pair"]]
        self.difference = embed(folder, shown["difference"])
        self.views: list[dict[str, Any]] = [
            {
                "picture": embed(folder, view["picture"]),
                "position": float(view["position"]),
                "shift": [float(moved) for moved in view["shift"]],
                "where": _where(view["shift"], float(view["position"]), unit),
                "called": f"Position {view['position']:g} on the path" if is_path else f"View {number}",
            }
            for number, view in enumerate(shown["views"], 1)
        ]
        self.is_grid = is_grid([view["shift"] for view in self.views])
        self.series = names.numbers
        self.answers = {
            names[model]: read_answers(names[model], stored, folder, self.ends, is_path)
            for model, stored in shown["answers"].items()
            if model in names
        }
        self.left_out = {names[model]: str(why) for model, why in shown.get("left_out", {}).items() if model in names}
        self.form = next((answers.form for answers in self.answers.values()), CLASSES)
        self.drawn = {name: one for name, one in self.answers.items() if one.layers}

    def as_data(self) -> dict[str, Any]:
        """The data for the page's script."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": _KINDS.get(self.kind, self.kind),
            "views": self.views,
            "is_grid": self.is_grid,
            "layers": [one.layers for one in list(self.drawn.values())[:_MOST_DRAWN]],
            "networks": [
                {"name": name, "series": series_of(self.series[name])}
                | {key: getattr(answers, key) for key in ("cells", "told", "changed")}
                for name, answers in self.answers.items()
            ],
        }

    def chart(self, is_path: bool, unit: str) -> Chart:
        """What of each network's answer to the first view is left, view by view, and a line that the script moves."""

        def draw(axes: Axes) -> None:
            places = np.array([view["position"] if is_path else number for number, view in enumerate(self.views, 1)])
            for name, answers in self.answers.items():
                jumps = np.array(answers.jumps)
                points = answers_along_path(axes, places, answers.curve, jumps, self.series[name], name, is_path)
                told = zip(places, answers.told, strict=True)
                tell(points, [f"{name}, {place:g}: {text}" for place, text in told])
            if self.drawn:
                limit_shares(axes, [answers.curve for answers in self.answers.values()])
            axes.axvline(places[0], color="black", linewidth=1, gid=HERE)
            axes.set(xlabel=unit, ylabel=self.form.axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

        legend = [(self.series[name], answers.called) for name, answers in self.answers.items()]
        caption = f"{self.form.caption}; the upright line is the view above."
        said = f"Line chart of the {self.form.axis} view by view. The table above says the same for each view."
        return Chart(panels(draw, 4.9, 2.2), caption, said, legend)

    def pair(self, measure: str, sign: int) -> Pair:
        """The two views between which the answer moves most, chosen by this measure, of this sign."""
        first, second = (self.views[view] for view in self.ends)
        pictures = [
            Shown([first["picture"]], f"the first view, {first['where']}", f"first view: {first['where']}"),
            Shown([second["picture"]], f"the second view, {second['where']}", f"second view: {second['where']}"),
            Shown([self.difference], "the second view minus the first, in grey", "their difference"),
        ]
        if self.drawn:
            few = list(self.drawn.items())[:_MOST_DRAWN]
            pictures = [shown for name, answers in few for shown in self._over(name, answers)]
        rows = [[Cell(name, name), *map(Cell, answers.step)] for name, answers in self.answers.items()]
        truth = f"It shows: {self.label}. " if self.label else ""
        kind = _KINDS.get(self.kind, self.kind).capitalize()
        heads = ["network", *self.form.step]
        told = Table(f"The answers to the two views of {self.name}", heads, rows)
        value = rounded(1 - self.movement, ".3f") if sign > 0 else _change(self.movement)
        return Pair(self.name, f"{truth}{kind}: {measure} {value}.", pictures, told)

    def _over(self, name: str, answers: Answers) -> list[Shown]:
        """What one network answers to the second view, and where its answer is unstable."""
        view, first = self.views[self.ends[1]]["picture"], self.views[0]["picture"]
        said, heading = f"{name}, second view: {answers.step[0]}", f"{name}, second view"
        return [
            Shown([view, *answers.layers[-1]], said, heading),
            Shown([first, answers.heat], f"where the answer of {name} is unstable", f"{name}: where it is unstable"),
        ]


def _explorer(examples: Mapping[str, Any], photographs: Sequence[_Photograph]) -> Explorer:
    is_path = bool(examples["is_path"])
    unit = f"position on the path ({examples['unit']})" if is_path else "view"
    data = {"photographs": [photograph.as_data() for photograph in photographs]}
    charts = [photograph.chart(is_path, unit) for photograph in photographs]
    first = photographs[0]
    drawn = list(first.drawn)[:_MOST_DRAWN]
    return Explorer(data, charts, first.views[0]["picture"], first.form.columns, drawn, _key(photographs))


def _key(photographs: Sequence[_Photograph]) -> list[tuple[str, str]]:
    """What the colours and lines over the views mean."""
    return key([one for shown in photographs for each in shown.drawn.values() for one in each.drawings])


def is_grid(shifts: Sequence[Sequence[float]]) -> bool:
    """Whether the shifts (down, right) of a photograph's views fill more than half of a grid.

    Examples
    --------
    >>> is_grid([(0, 0), (0, 1), (1, 0), (1, 1)]), is_grid([(0, 0), (-1, -1), (-2, -2)])
    (True, False)
    """
    rows, columns = (len(set(axis)) for axis in zip(*shifts, strict=True))
    return min(rows, columns) > 1 and 2 * len(set(map(tuple, shifts))) > rows * columns


def _change(movement: float) -> str:
    return rounded(movement, ".2g") if movement >= 1e-4 else "below 0.0001"


def _where(shift: Sequence[float], position: float, unit: str) -> str:
    """How far the content of a view has moved, in words."""
    down, right = (float(moved) for moved in shift)
    if not down and not right:
        return f"{position:g} {unit}" if position else "not moved"
    parts = []
    for moved, positive, negative in ((down, "down", "up"), (right, "right", "left")):
        if moved:
            parts.append(f"{abs(moved):g} {positive if moved > 0 else negative}")
    return f"moved {', '.join(parts)} px"


def _look(folder: Path, look: kept_spectra.Look, kept: kept_spectra.Spectra) -> Look:
    numbers: list[str] = []
    if look.alias_fraction is not None and look.baseband_kept is not None:
        numbers = [
            f"{rounded(100 * max(look.alias_fraction, 0), '.2f')} % of its energy is aliased",
            baseband_kept(look.baseband_kept),
        ]
    said = ", ".join(numbers) or "the photograph before any downsampling"

    def drawn(draw: Callable[[Axes, kept_spectra.Look, kept_spectra.Spectra], Any], height: float) -> str:
        def bare(axes: Axes) -> None:  # the text beside it says what the title would
            draw(axes, look, kept)
            axes.set_title("")
            legend = axes.get_legend()
            if legend:
                legend.remove()

        return panel(bare, width=3.2, height=height)

    caption = "power of its samples, by frequency" if numbers else "power by frequency"
    spectrum = f"its spectrum{' before subsampling' if numbers else ''}, cycles per pixel of the original"
    legend = [(0, "baseband"), (1, "alias")] if numbers else [(6, "power")]
    return Look(
        look.label,
        numbers,
        embed(folder, f"{look.operator}.webp"),
        [
            Chart(drawn(log_spectrum, 2.9), spectrum, f"Log spectrum, {look.label}: {said}"),
            Chart(drawn(profile, 2.2), caption, f"Power by frequency, {look.label}: {said}", legend),
        ],
    )
