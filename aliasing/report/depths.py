"""The sections on the inside of networks: depth profiles, attribution to sites, and feature maps."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from aliasing.downsample import sound_spectra, volume_spectra
from aliasing.errors import InputError
from aliasing.jitter.examples import SPECTRA
from aliasing.outputs import measures_in
from aliasing.plots.attribution import WAYS, called, differences, treatment
from aliasing.plots.depth import PANELS, with_sites
from aliasing.plots.svg import panels
from aliasing.report.blocks import Block, Cell, Chart, Charts, Figure, Section, Table, Text, ends, estimate_cell
from aliasing.report.networks import cautions, estimate_text
from aliasing.report.pictures import embed
from aliasing.report.runs import Names, Run
from aliasing.tables import above_one, counted, over_all, pair, verdict, word_for

_LAYER_MEASURES = {
    "relative_change": "relative change",
    "equivariance_error": "equivariance error",
    "unexplained_change": "unexplained change",
}
_SITE_MEASURES = {
    "energy_above": "energy above the new Nyquist frequency",
    "alias_fraction": "alias fraction",
    "baseband_kept": "baseband kept",
    "rise": "rise of the unexplained change",
}
# The measure of a depth profile that a panel shows, if it is a single one.
_SPOKEN = dict(
    zip(PANELS, [*(("layers", measure) for measure in _LAYER_MEASURES), ("sites", "alias_fraction")], strict=False)
)
_DRAWN = {"sound": sound_spectra.FILE, "volume": volume_spectra.FILE}  # inputs whose figure is shown whole
_WIDEST_FIGURE = 1600  # pixels


def depth_section(run: Run, number: int, names: Names) -> Section:
    """A shift followed through networks, layer by layer, and what each downsampling site folds."""
    models = run.networks
    images = max((model.get("images") or 0 for model in models.values()), default=0)
    section = Section(
        f"depth-{number}",
        f"Layer by layer{run.title}",
        f"{counted(images, word_for(models, 'photograph'))} under “{run.protocol}”. Bands and brackets are 95 %"
        " intervals; a triangle is a place where a network downsamples.",
    )
    section.blocks += cautions(run, names)
    networks = [(names[name], names.series(name), model) for name, model in models.items()]
    legend = [(number, name) for name, number, _ in networks] if len(networks) > 1 else []
    charts = []
    for title, draw in PANELS.items():
        drawing, caption = panels(partial(draw, networks=networks)), title.format(first=with_sites(networks)[0])
        said = f"{caption}. {_most(title, models, names)}"
        charts.append(Chart(drawing, caption, said, [] if "{first}" in title else legend))
    section.blocks.append(Charts(charts))
    for name, model in models.items():
        section.blocks += _depth_tables(names[name], model)
    section.blocks += _lie(run.summary.get("lie") or {}, names)
    return section


def _most(title: str, models: Mapping[str, Any], names: Names) -> str:
    """Where a panel of a depth profile is largest, for screen readers."""
    what, measure = _SPOKEN.get(title, ("", ""))
    found = [
        (place[measure]["value"], place, names[name])
        for name, model in models.items()
        for place in (model[what] if what else ())
        if ends(place.get(measure))[0] is not None
    ]
    numbers = "The numbers are in the tables below."
    if not found:
        return numbers
    _, place, network = max(found, key=lambda one: one[0])
    return f"The largest estimate is {estimate_text(place[measure])}, {network}, at {place['name']}. {numbers}"


def _depth_tables(name: str, model: Mapping[str, Any]) -> Iterable[Block]:
    rows = [
        [
            Cell(str(layer["name"]), layer["depth"], code=True),
            Cell("×".join(map(str, layer.get("shape") or []))),
            _pair_cell(layer.get("cumulative_stride")),
            _pair_cell(layer.get("receptive_field")),
            *(estimate_cell(layer.get(measure)) for measure in _LAYER_MEASURES),
        ]
        for layer in model["layers"]
    ]
    yield Table(
        f"{name}: every observed layer",
        ["layer", "shape", "stride", "receptive field", *_LAYER_MEASURES.values()],
        rows,
        words=2,
        folded=f"{name}: all {len(rows)} layers as a table",
    )
    explained = above_one([*model["layers"], *model["sites"]])
    if explained:
        yield Text([f"{name}: {text}." for text in explained], "note")
    rows = [
        [
            Cell(str(site["name"]), site["depth"], code=True),
            Cell(str(site.get("kind", ""))),
            _pair_cell(site.get("stride")),
            *(estimate_cell(site.get(measure)) for measure in _SITE_MEASURES),
        ]
        for site in model["sites"]
    ]
    if rows:
        seen = max(site.get("images", model.get("images") or 0) for site in model["sites"])
        yield Table(
            f"{name}: its downsampling sites, on {counted(seen, 'photograph')}",
            ["site", "kind", "stride", *_SITE_MEASURES.values()],
            rows,
            words=2,
            folded=f"{name}: all {len(rows)} downsampling sites as a table",
        )


def _pair_cell(sides: Any) -> Cell:
    """A stride or a receptive field, or a word in its place."""
    if not isinstance(sides, list) or not sides:
        return Cell("–")
    return Cell(sides[0]) if isinstance(sides[0], str) else Cell(pair(sides), sides[0])


def _lie(lie: Mapping[str, Any], names: Names) -> Iterable[Block]:
    for name, result in lie.items():
        measures = ("contribution", "share", "error", "unexplained")
        rows = [
            [Cell(str(layer["name"]), place, code=True), *(estimate_cell(layer.get(measure)) for measure in measures)]
            for place, layer in enumerate(result.get("layers") or [])
        ]
        shown = names.get(name, name)
        yield Table(
            f"{shown}: Lie-derivative error {estimate_text(result['error'])}, by {result.get('method')}, on"
            f" {result.get('images')} photographs",
            ["layer", "adds", "share", "error up to here", "unexplained"],
            rows,
            words=1,
            folded=f"{shown}: the Lie-derivative error, layer by layer",
        )


def attribution_section(run: Run, number: int, names: Names) -> Section:
    """Which downsampling site causes the jitter of a network."""
    summary = run.summary
    name = names[summary["model"]]
    as_it_is = run.networks[summary["model"]]
    section = Section(
        f"attribution-{number}",
        f"Which site causes the jitter? {name}{run.title}",
        f"{counted(as_it_is.get('images', 0), 'photograph')} under “{run.protocol}”; each site treated alone"
        f" ({treatment(summary)}), and each left out while all the others are treated; paired differences with their"
        " 95 % intervals. A site is guilty if treating it alone clearly improves a measure of jitter, or leaving it"
        " out clearly worsens it.",
    )
    shown = [f"The images: {run.shown['source']}."] if run.shown.get("source") else []
    section.blocks.append(Text([" ".join([*shown, *names.also_called(summary["model"])])], "note"))
    found = []
    attributed = measures_in(summary, "attribution")
    for measure in attributed:
        if all(measure.name in site[way] for site in summary["sites"] for way in WAYS):
            hollow = "; hollow: matched on the margin" if "all" in summary["sites"][0]["only"][measure.name] else ""
            caption = f"Difference of {measure.called}, site by site, by rank{hollow}"
            draw = partial(differences, sites=summary["sites"], measure=measure)
            drawing = panels(draw, height=0.7 + 0.38 * len(summary["sites"]))
            legend = [(number, called(way, measure)) for number, way in enumerate(WAYS)]
            found.append(Chart(drawing, caption, f"{caption}. The numbers are in the table below.", legend))
    section.blocks.append(Charts(found))
    heads = [f"{way.replace('_', ' ')}: {measure.called}" for way in WAYS for measure in attributed]
    rows = [
        [
            Cell(str(site["name"]), site.get("rank"), code=True),
            Cell(str(site.get("kind", ""))),
            *(
                estimate_cell(over_all((site.get(way) or {}).get(measure.name)), sign=True)
                for way in WAYS
                for measure in attributed
            ),
        ]
        for site in summary["sites"]
    ]
    section.blocks.append(
        Table(
            f"The sites of {name} by rank. Only: {WAYS['only'][0]}; all but: {WAYS['all_but'][0]}.",
            ["site", "kind", *heads],
            rows,
            words=2,
            folded=f"All {len(rows)} sites as a table",
        )
    )
    section.blocks.insert(0, Text([f"{verdict(summary)}."]))
    if as_it_is.get("cautions"):
        section.blocks.insert(0, Text([f"{text}." for text in as_it_is["cautions"]], "caution"))
    return section


def features_section(run: Run, number: int, names: Names) -> Section:
    """The feature maps that were drawn, and how far their averages move."""
    summary = run.summary
    name = names[summary["model"]]
    drawn = summary.get("drawn") or {}
    section = Section(
        f"features-{number}",
        f"Feature maps: {name}{run.title}",
        f"While the photograph moves under “{run.protocol}”"
        + (f"; drawn for {drawn['image']}." if drawn.get("image") else "."),
    )
    rows = [[Cell(layer, code=True), estimate_cell(estimate)] for layer, estimate in summary["layers"].items()]
    section.blocks.append(
        Table(str(summary.get("measure", "")), ["layer", "change of the averages per step"], rows, words=1)
    )
    captions = {
        "figure.png": "The maps of one channel while the photograph moves, and their global averages.",
        "layers.png": "The output of every convolution.",
        "filters.png": "The output of every filter of one layer.",
    }
    section.blocks += _figures(run, captions)
    return section


def _figures(run: Run, captions: Mapping[str, str]) -> Iterator[Block]:
    """The figures that a command left in its folder, or why one cannot be shown."""
    for file, caption in captions.items():
        if (run.folder / file).is_file():
            try:
                yield Figure(embed(run.folder, file, _WIDEST_FIGURE), caption)
            except InputError as error:
                yield Text([str(error)], "note")


def spectrum_section(run: Run, number: int) -> Section:
    """How much each operator aliases, over all the photographs, sounds or volumes of an `aliasing spectrum` run."""
    summary = run.summary
    measures = {
        "alias_fraction": "aliased energy",
        "baseband_kept": "baseband kept",
        "gaussian_alias_fraction": "aliased by a Gaussian of equal baseband",
        "above_kept": "folds of what is above",
    }
    rows = [
        [Cell(str(result.get("label", name))), *(estimate_cell(result.get(measure)) for measure in measures)]
        for name, result in summary["operators"].items()
    ]
    images = run.shown.get("used", 0)
    what = next((what for what, file in _DRAWN.items() if (run.folder / SPECTRA / file).is_file()), "photograph")
    shown = f"of one {what} (without an interval)" if images == 1 else f"mean of {images} {what}s"
    table = Table(
        f"Shares of energy at stride {pair(run.settings.get('stride'))}, {shown}",
        ["operator", *measures.values()],
        rows,
        words=1,
    )
    reading = Text([*map(str, summary.get("reading") or []), *above_one(summary["operators"].values())])
    section = Section(f"operators-{number}", f"What each way of downsampling folds{run.title}", "", [table, reading])
    if what in _DRAWN:
        caption = (
            f"The first {what}. Left: what each operator keeps; middle: the part of it that has folded; right: power."
        )
        section.blocks += _figures(run, {"figure.png": caption})
    return section
