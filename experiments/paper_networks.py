"""VGG16, ResNet50 and DenseNet201, trained here plain and cured: do the deeper ones jitter more, and is it subsampling?

Azulay & Weiss (2019) compare these three and say that deeper and more modern networks jitter more, because they
subsample. Their weights for ImageNet cannot be had here. Their architectures are torchvision's (VGG16 with batch norm
and a narrower classifier), with all five strides, trained alike on CIFAR-10: pictures are enlarged from 32 to 72 pixels
(bicubic), and a network sees 64, the middle in training, mirrored or not, and for ResNet50 also windows up to 4 pixels
away. AdamW, with one cycle of its learning rate. It is no ImageNet, and every figure says so: it shows what the
architectures do with the same data, budget and training.

Cures: ``blur``, Zhang's blur-pool of 4 taps in his placement (2019); ``blur-all`` at every site, ``blur-before`` the
convolutions; ``flc``, an ideal low-pass at every site. VGG16 downsamples by maxima only: its three blurs are one.
``tuned5`` is the plain network, converted and fine-tuned for 5 % of the budget; ``tuned0`` only has other batch-norm
statistics.

``python -m experiments paper_networks [--images N] [--epochs N] [--tests N] [--minutes M] [--device cuda] [--bf16]``

Each network is a row in ``networks/``. A run trains the rows that are missing, the most important first, begins none
after M minutes (0: only draws) and may be stopped at any moment: the same command goes on, here from the last epoch or
on another machine from the last row. Figures and table are of the rows that there are, and name the others.
"""

import argparse
import time
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aliasing.depth.matching import SELECTIONS, MatchedJitter
from aliasing.jitter.network import Execution
from aliasing.plots.style import COLOURS, MARKERS, save, spans, style
from aliasing.provenance import write_bytes
from aliasing.tables import render
from experiments._data import cifar10
from experiments._run import Run
from experiments._trained import CURES, PAIRED, PROTOCOLS, Budget, Network, Workshop
from experiments.table1 import PUBLISHED as AZULAY_WEISS

NAMES = {"vgg16": "VGG16", "resnet50": "ResNet50", "densenet201": "DenseNet201"}
# Zhang's networks (2019), per cent: accuracy and consistency, plain and anti-aliased.
ZHANG = {
    "vgg16": ((71.59, 88.52), (72.96, 90.91)),
    "resnet50": ((76.16, 89.20), (77.41, 91.32)),
    "densenet201": ((76.90, 90.36), (77.31, 91.32)),
}
SHARES = (0.0, 0.05, 0.1, 0.2)
# What is compared, by the networks' titles: the second minus the first.
CONTRASTS = {
    "deeper and more modern": [("vgg16", "resnet50"), ("vgg16", "densenet201"), ("resnet50", "densenet201")],
    "subsampling": [(name, f"{name}-{cure}") for name in NAMES for cure in ("blur", "flc")],
    "crops in training": [("resnet50", "resnet50-crops"), ("resnet50-blur", "resnet50-blur-crops")],
    "placement": [(f"{name}-blur", f"{name}-blur-{how}") for name in list(NAMES)[1:] for how in ("all", "before")],
    "got back": [(f"{name}-blur", f"{name}-blur-tuned{round(100 * share)}") for name in NAMES for share in SHARES],
}
TITLES = {"pad": "on a margin", "crop": "crops", "black": "small on black"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The budget, and where it is spent."""
    parser.add_argument("--images", type=_count, default=50_000)
    parser.add_argument("--epochs", type=_count, default=6)
    parser.add_argument("--tests", type=_count, default=2000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text}")
    return int(text)


def networks() -> list[Network]:
    """All of them, the most important first."""
    vgg, resnet, densenet = of = [partial(Network, name) for name in NAMES]
    return [
        *(make(cure) for cure in ("plain", "blur") for make in of),
        *(resnet(cure, crops=True) for cure in ("plain", "blur")),
        *(make("flc") for make in of),
        *(resnet(f"blur-{how}") for how in ("all", "before")),
        *(resnet(cure, share=share) for cure, share in _tuned()),
        *(make(cure, seed=1) for cure in ("plain", "blur") for make in of),
        *(make(cure, share=share) for make in (vgg, densenet) for cure, share in _tuned()),
        *(densenet(f"blur-{how}") for how in ("all", "before")),
        *(make("flc", seed=1) for make in of),
    ]


def _tuned() -> list[tuple[str, float]]:
    """The plain network is the control of the longest."""
    return [*(("blur", share) for share in SHARES), ("plain", SHARES[-1])]


def run(run: Run) -> dict[str, Any]:
    """Train what is missing while there is time, and draw what there is."""
    options = run.options
    Execution(options.device)  # is there such a device?
    budget = Budget(80, 1, 20, 32, 16) if run.quick else Budget(options.images, options.epochs, options.tests)
    chosen = networks()
    if run.quick:
        chosen = [Network("vgg16"), Network("vgg16", "blur"), Network("vgg16", "blur", share=SHARES[-1])]
    images, test = cifar10(run, "train", budget.images), cifar10(run, "test", budget.tests)
    workshop = Workshop(run.out, budget, images, test, options.device, options.bf16)
    end = time.monotonic() + 60 * options.minutes
    rows: dict[Network, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for network in chosen:
        row = workshop.row(network)
        if row is None:
            lacking = "not trained yet" if time.monotonic() >= end else workshop.lacks(network)
            if lacking is not None:
                missing[network.name] = lacking
                continue
            row = workshop.make(network)
        rows[network] = row
    note = f"{budget}\n95 % intervals over {len(test):,} test images, not over trainings"
    if missing:
        note += f"; {len(missing)} of {len(chosen)} networks are not there yet"
    found = compared(workshop, list(rows))
    with style():
        save(draw_jitter(rows, note), run.out / "figure.png")
        save(draw_layers(rows, note), run.out / "layers.png")
        save(draw_tuned(rows, note), run.out / "tuned.png")
    write_bytes(run.out / "table.md", f"{note}\n\n{render(table(rows), 'markdown')}\n".encode())
    return {
        "settings": {"budget": vars(budget), "cures": CURES, "protocols": PROTOCOLS, "note": note},
        "data": {"train": images.description(), "test": test.description()},
        "weights": {network.name: row["weights"] for network, row in rows.items()},
        "numbers": {
            "networks": {
                network.name: {key: row[key] for key in ("depth", "history", "jitter")} for network, row in rows.items()
            },
            "differences": found,
            "rises of the unexplained change": {
                network.name: {site["name"]: site["rise"] for site in row["sites"]} for network, row in rows.items()
            },
            "attribution": {
                network.name: [[site["name"], site["clear"]] for site in row["attribution"]]
                for network, row in rows.items()
                if "attribution" in row
            },
            "not trained yet": missing,
            "published": {
                "Azulay & Weiss 2019, ImageNet": AZULAY_WEISS,
                "Zhang 2019, ImageNet: accuracy and consistency, plain and cured": {
                    name: ZHANG[name] for name in NAMES
                },
            },
        },
    }


def compared(workshop: Workshop, known: list[Network]) -> dict[str, list[dict[str, Any]]]:
    """Each contrast whose networks are there, as the mean over the seeds of both, paired over images.

    ``all`` pairs, pairs whose first view is ``right``, and pairs ``matched`` on the first view's margin.
    """
    by_title: dict[str, dict[int, Network]] = {}
    for network in known:
        by_title.setdefault(network.title, {})[network.seed] = network
    found: dict[str, list[dict[str, Any]]] = {claim: [] for claim in CONTRASTS}
    for claim, pairs in CONTRASTS.items():
        for first, second in pairs:
            seeds = sorted(by_title.get(first, {}).keys() & by_title.get(second, {}).keys())
            if not seeds:
                continue
            sides = [(by_title[title][seed], sign) for title, sign in ((first, -1), (second, 1)) for seed in seeds]
            row: dict[str, Any] = {"first": first, "second": second, "seeds": seeds}
            for protocol in PAIRED:
                tables = {network.name: workshop.records(network, protocol) for network, _ in sides}
                jitter = MatchedJitter({name: partial(_one, answers) for name, answers in tables.items()})
                weights = {network.name: sign / len(seeds) for network, sign in sides}
                row[protocol] = {
                    measure: {selection: jitter.contrast(weights, measure, selection) for selection in SELECTIONS}
                    for measure in ("top1_change", "mac")
                }
            found[claim].append(row)
    return found


def _one(table: Any) -> list[Any]:
    return [table]


def table(rows: dict[Network, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a network: accuracy, jitter under each protocol, the worst shift and half a pixel."""
    found = []
    for network, row in rows.items():
        jitter = row["jitter"]
        cells = {"network": network.name, "layers": row["depth"]["layers"], "accuracy": jitter["pad"]["accuracy"]}
        for protocol in PAIRED:
            cells |= {f"P, {TITLES[protocol]}": jitter[protocol]["top1_change"]}
            cells |= {f"MAC, {TITLES[protocol]}": jitter[protocol]["mac"]}
        cells |= {"P, half a pixel": jitter["half"]["top1_change"], "any of ±4": jitter["worst"]["worst_change"]}
        found.append(cells)
    return found


def draw_jitter(rows: dict[Network, dict[str, Any]], note: str) -> Figure:
    """P(top-1 change) and MAC of each architecture, plain and cured, and the paper's."""
    figure, panels = plt.subplots(2, 3, figsize=(12, 7), sharex=True)
    for line, (measure, label) in zip(panels, {"top1_change": "P(top-1 change)", "mac": "MAC"}.items(), strict=True):
        for axes, protocol in zip(line, PAIRED, strict=True):
            for number, cure in enumerate(("plain", "blur", "flc")):
                known = [n for n in rows if n.cure == cure and not n.crops and n.share is None]
                places = [list(NAMES).index(n.architecture) + 0.2 * (number - 1) + 0.06 * n.seed for n in known]
                values, lengths = spans([rows[network]["jitter"][protocol][measure] for network in known])
                if known:
                    look = {"fmt": MARKERS[number], "color": COLOURS[number], "capsize": 3}
                    axes.errorbar(places, values, lengths, label=cure, **look)
            published = AZULAY_WEISS["torchvision weights"][measure].get(protocol, {})
            if published:
                axes.plot(
                    range(len(published)), list(published.values()), "x", color="grey", label="published, ImageNet"
                )
            axes.set(ylim=(0, None))
            axes.grid(axis="y", alpha=0.3)
            if measure == "top1_change":
                axes.set_title(TITLES[protocol])
        line[0].set_ylabel(label)
    for axes in panels[1]:
        axes.set_xticks(range(len(NAMES)), list(NAMES.values()))
    handles, labels = panels[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(f"{note}\npublished (Azulay & Weiss 2019): DenseNet121 in the place of DenseNet201", fontsize=10)
    return figure


def draw_layers(rows: dict[Network, dict[str, Any]], note: str) -> Figure:
    """Along the layers, what a shift does not explain; below, what each site folds."""
    figure, panels = plt.subplots(2, len(NAMES), figsize=(13, 7.5), sharey="row")
    for (upper, lower), (architecture, title) in zip(panels.T, NAMES.items(), strict=True):
        upper.set(title=title, xlabel="layer")
        for number, cure in enumerate(("plain", "blur", "flc")):
            row = rows.get(Network(architecture, cure))
            if row is not None:
                _layers_of(upper, row, COLOURS[number], cure)
                sites = [site for site in row["sites"] if _has_frequencies(site, row)]
                places = [place + 0.25 * (number - 1) for place in range(len(sites))]
                values, lengths = spans([site["alias_fraction"] for site in sites])
                lower.bar(places, values, 0.25, yerr=lengths, color=COLOURS[number], label=cure)
                lower.set_xticks(
                    range(len(sites)), [site["name"] for site in sites], rotation=60, ha="right", fontsize=8
                )
    panels[0, 0].set(ylabel="unexplained change of the map", ylim=(0, None))
    panels[1, 0].set_ylabel("share of energy that folds")
    handles, labels = max((axes.get_legend_handles_labels() for axes in panels[1]), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.suptitle(f"{note}\n{_READ}", fontsize=10)
    return figure


_READ = (
    "dotted: a layer's stride is larger than that of the layer before; maps of one or two cells"
    " have no inside to compare, and those that become so small fold all but their mean"
)


def _has_frequencies(site: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether more than the mean lies below the new Nyquist frequency: it does if at least three cells are left."""
    size: int = row["settings"]["budget"]["size"]
    return site["alias_fraction"] is not None and size / max(site["cumulative_stride"]) > 2


def _layers_of(axes: Axes, row: dict[str, Any], colour: str, label: str) -> None:
    known = [(k, layer) for k, layer in enumerate(row["layers"]) if layer["unexplained_change"] is not None]
    values, lengths = spans([layer["unexplained_change"] for _, layer in known])
    places = [place for place, _ in known]
    axes.plot(places, values, "o-", color=colour, markersize=3, linewidth=1, label=label)
    axes.fill_between(places, values - lengths[0], values + lengths[1], color=colour, alpha=0.2, linewidth=0)
    before = 1.0
    for place, layer in known:
        stride = (layer["cumulative_stride"] or [before])[0]
        if label == "plain" and stride > before:
            axes.axvline(place, color="grey", linewidth=0.8, linestyle=":")
        before = stride


def draw_tuned(rows: dict[Network, dict[str, Any]], note: str) -> Figure:
    """How much of a cure that is trained from nothing a fine-tuned plain network gets, against the training."""
    figure, panels = plt.subplots(2, len(NAMES), figsize=(12, 7), sharex=True, sharey="row")
    measures = {"top1_change": ("crop", "P(top-1 change), crops"), "accuracy": ("pad", "accuracy")}
    for line, (measure, (protocol, label)) in zip(panels, measures.items(), strict=True):
        line[0].set_ylabel(label)
        for axes, (architecture, title) in zip(line, NAMES.items(), strict=True):
            for number, cure in enumerate(("plain", "blur")):
                scratch = rows.get(Network(architecture, cure))
                if scratch is not None:
                    found = scratch["jitter"][protocol][measure]
                    axes.axhline(found["value"], color=COLOURS[number], linewidth=1, label=f"{cure}, from nothing")
                    axes.axhspan(found["low"], found["high"], color=COLOURS[number], alpha=0.15, linewidth=0)
                tuned = [Network(architecture, cure, share=share) for share in SHARES]
                known = [network for network in tuned if network in rows]
                values, lengths = spans([rows[network]["jitter"][protocol][measure] for network in known])
                shares = [100 * (network.share or 0) for network in known]
                if known:
                    look = {"fmt": f"{MARKERS[number]}-", "color": COLOURS[number], "capsize": 3}
                    axes.errorbar(shares, values, lengths, label=f"plain, tuned as {cure}", **look)
            axes.grid(axis="y", alpha=0.3)
            if measure == "top1_change":
                axes.set_title(title)
    for axes in panels[1]:
        axes.set(xlabel="fine-tuning (% of the training from nothing)", xlim=(-2, 100 * SHARES[-1] + 2))
    handles, labels = max((axes.get_legend_handles_labels() for axes in panels[1]), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(f"{note}\nat 0 % only the batch-norm statistics are estimated again", fontsize=10)
    return figure
