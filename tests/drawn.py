"""Every kind of figure, of results that are hard to draw: long names, many networks, equal values, few images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import aliasing as al
from aliasing import plots
from aliasing.curing import Cure
from aliasing.depth import lie_error, local_errors
from aliasing.depth.across import NetworkDepth, compare_depths
from aliasing.depth.feature_maps import INPUT, LayerMaps, follow_maps
from aliasing.images import open_images
from aliasing.jitter import Trace
from aliasing.leaderboard import compare_networks, pareto_front
from aliasing.plots.shifts import heat_map
from aliasing.sounds import Sound
from aliasing.volumes import Volume
from tests.small_network import make

VERSIONS = ("plain", "recalibrated", "tuned", "control")
LONG = (
    "file:mynet.pth@module:classifier",
    "antialiased:binomial3,before,all:file:mynet.pth@module:classifier",
    f"file:{'runs/2026/cifar-resnet20/' * 5}epoch_0199.safetensors@module:package.networks:resnet20_with_dropout",
    f"my network, trained for two hundred epochs with a cosine schedule, {'and again, ' * 10}with label smoothing",
)
FILE = f"{'recordings_of_the_second_day_' * 7}.file"  # of some 200 characters, like the last two
MANY = tuple(f"timm:resnet{18 + number}d.ra2_in1k" for number in range(40))
ANSWERS = ("tench, Tinca tinca", "great white shark, white shark, man-eater, man-eating shark", "hen")


def networks(names: Sequence[str]) -> list[al.Classifier]:
    """Networks with random weights of these names, the first two alike: for texts and never for numbers."""
    made = [replace(make(max(seed - 1, 0)), name=name) for seed, name in enumerate(names)]
    return [replace(one, labels=[*ANSWERS, *"def"]) for one in made]


@cache
def pictures(count: int = 6) -> Any:
    random = np.random.default_rng(0)
    return tuple((random.integers(0, 256, (36, 40, 3), dtype=np.uint8), index % 3) for index in range(count))


@cache
def jitter(names: tuple[str, ...], protocol: str = "crop", count: int = 6) -> Any:
    return al.measure_jitter(networks(names), list(pictures(count)), protocol)


@cache
def board(names: tuple[str, ...]) -> Any:
    return compare_networks(networks(names), list(pictures()), antialiased=["binomial3,all"])


def crowd() -> Figure:
    """A leaderboard of 40 networks, with numbers of four."""
    found = board(VERSIONS)
    summary, random = found.summary(), np.random.default_rng(0)
    measured = [*summary["models"].values()]
    models = {
        name: {**measured[number % 4], "sibling": None, "conversion": ""}
        | {"accuracy": _estimate(random), "consistency": _estimate(random)}
        for number, name in enumerate(MANY)
    }
    kept = {**summary, "models": models, "pareto": pareto_front(models, found.output.front), "differences": []}
    return plots.leaderboard(replace(found, _kept=kept))


def _estimate(random: np.random.Generator) -> dict[str, float]:
    value = float(random.integers(0, 7)) / 6
    return {"value": value, "low": 0.8 * value, "high": 0.2 + 0.8 * value}


def trace(model: str, seed: int, views: int) -> Trace:
    """A trace with numbers of no network."""
    random = np.random.default_rng(seed)
    found = random.dirichlet(np.ones(len(ANSWERS)), views).astype(np.float32)
    top1 = random.integers(0, len(ANSWERS), views)
    return Trace(
        model=model,
        image=FILE,
        unit="pixels",
        positions=np.arange(views) / 2,
        curve=found[:, 0],
        top1=top1,
        answers=tuple(ANSWERS[index] for index in top1),
        pictures=random.integers(0, 256, (views, 32, 48, 3)).astype(np.float32),
        shifts=np.zeros((views, 2)),
        confidence=found.max(1),
        pairs=tuple((view, view + 1) for view in range(views - 1)),
        leading=ANSWERS,
        leading_probabilities=found,
    )


def traces(names: Sequence[str], views: int = 12) -> list[Trace]:
    return [trace(name, seed, views) for seed, name in enumerate(names)]


def cure(names: Sequence[str] = ("plain", "control", "recalibrated", "cured")) -> Figure:
    found = jitter(tuple(names), "pad")
    facts = {
        "network": LONG[3],
        "chosen": "binomial3,sites=" + "+".join(f"layer{n}.0.strided_slice" for n in range(9)),
    }
    whole = found.summary()
    rows = [row for row in whole["differences"] if row["first"] == names[0] or row["second"] == names[-1]]
    summary = {**whole, "cure": {**facts, "cured": False}, "differences": rows}
    return plots.cure(Cure(found, None, None, facts, None, summary))  # type: ignore[arg-type]


def across(names: Sequence[str]) -> Figure:
    depths = {name: NetworkDepth(20 + 12 * (number // 2), 4, 8.0) for number, name in enumerate(names)}
    families = {name: f"a family of networks, {number % 2}" for number, name in enumerate(names)}
    missing = dict.fromkeys(LONG, "no weights")
    return plots.across(compare_depths([jitter(tuple(names))], depths=depths, families=families, unmeasured=missing))


def moving(views: int, model: str, layers: Sequence[str] = (INPUT, "0", "3", "7")) -> Any:
    (network,) = networks([model])
    image = next(iter(open_images(list(pictures())))).load()
    found = follow_maps(network, image, f"horizontal:pixels={views - 1}", list(layers))
    return replace(found, model=model, image=FILE)


def features(views: int = 9, model: str = LONG[3]) -> Figure:
    return plots.moving_maps(moving(views, model))


def frame(film: Any) -> Figure:
    """The third frame of a film, or its last."""
    film._func(2)
    film._draw_was_started = True
    return film._fig


def heat(columns: int, rows: int, names: bool = False) -> Figure:
    with plots.style.style():
        figure, axes = plt.subplots(figsize=(4.6, 2.6))
        random = np.random.default_rng(0)
        cells = [
            {"x": x, "y": LONG[y] if names else y, "value": random.random(), "low": 0.1, "high": 0.9, "pairs": 100}
            for x in range(columns)
            for y in range(rows)
        ]
        heat_map(axes, cells, 1.0)
    return figure


def spectrum(operators: Sequence[str]) -> Figure:
    picture = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    return al.compare_operators(picture, stride=4, operators=operators).plot()


def spectra(given: Any) -> Figure:
    """Of a picture, a sound or a volume whose file has a long name."""
    drawn: Any = al.compare_operators(given, stride=2, operators=["max", "blur"])
    (kind,) = {"photograph", "sound", "volume"} & vars(drawn.spectra).keys()
    figure: Figure = replace(drawn, spectra=replace(drawn.spectra, **{kind: FILE})).plot()
    return figure


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape)


FIGURES: dict[str, Callable[[], Figure]] = {
    "jitter of versions": lambda: plots.jitter(jitter(VERSIONS)),
    "jitter of versions, every shift": lambda: plots.jitter(jitter(VERSIONS, "grid:radius=1")),
    "jitter of long names": lambda: plots.jitter(jitter(LONG)),
    "jitter of 40": lambda: plots.jitter(jitter(MANY)),
    "jitter of one image": lambda: plots.jitter(jitter(VERSIONS, count=1)),
    "jitter along a path": lambda: plots.jitter(jitter(VERSIONS), traces(VERSIONS)),
    "jitter along a path, long names": lambda: plots.jitter(jitter(LONG), traces(LONG)),
    "jitter along a path, 40": lambda: plots.jitter(jitter(MANY), traces(MANY)),
    "jitter of two views": lambda: plots.jitter(jitter(VERSIONS[:1]), traces(VERSIONS[:1], 2)),
    "leaderboard of versions": lambda: plots.leaderboard(board(VERSIONS)),
    "leaderboard of long names": lambda: plots.leaderboard(board(LONG)),
    "leaderboard of 40": crowd,
    "differences of versions": lambda: plots.differences(jitter(VERSIONS)),
    "differences of long names": lambda: plots.differences(board(LONG)),
    "leaderboard of one": lambda: plots.leaderboard(board(VERSIONS[:1])),
    "cure": cure,
    "lie of versions": lambda: plots.lie([lie_error(one, list(pictures())) for one in networks(VERSIONS)]),
    "local errors of versions": lambda: plots.local_errors(
        [local_errors(one, list(pictures())) for one in networks(VERSIONS)]
    ),
    "local errors of long names": lambda: plots.local_errors(
        [local_errors(one, list(pictures(1))) for one in networks(LONG)]
    ),
    "lie of long names": lambda: plots.lie([lie_error(one, list(pictures(1))) for one in networks(LONG)]),
    "depth of versions": lambda: plots.depth(al.probe_depth(networks(VERSIONS), list(pictures()), sites_every=2)),
    "depth of long names": lambda: plots.depth(al.probe_depth(networks(LONG), list(pictures(1)))),
    "across of versions": lambda: across(VERSIONS),
    "across of 40": lambda: across(MANY),
    "attribution": lambda: plots.attribution(al.attribute(networks(LONG[3:])[0], list(pictures()))),
    "features": features,
    "features of two views": lambda: features(2, "plain"),
    "features of one layer": lambda: plots.moving_maps(moving(2, LONG[1], ["0"])),
    "layers": lambda: plots.layers(list(moving(2, "m").layers), LONG[3]),
    "guarantees": lambda: plots.guarantees(al.guarantees(["max", "kaiser", "tips", "tips-anchored"], dims=1)),
    "guarantees of a long name": lambda: plots.guarantees(al.guarantees({LONG[3]: "aps"}, dims=1, laws=["linear"])),
    "filters": lambda: plots.filters(moving(2, "m").layers[1], LONG[3]),
    "filters of a vector": lambda: plots.filters(LayerMaps("a.vector", "vector", np.ones((2, 9, 1, 1), "f4")), LONG[3]),
    "film of versions": lambda: frame(plots.animation(traces(VERSIONS))),
    "film of long names": lambda: frame(plots.animation(traces(LONG))),
    "film of one": lambda: frame(plots.animation(traces(VERSIONS[:1]))),
    "film of maps": lambda: frame(plots.animated_maps([moving(6, VERSIONS[0]), moving(6, LONG[3])])),
    "film of a map": lambda: frame(plots.animated_maps([moving(6, LONG[3], ["0"])])),
    "spectrum of one": lambda: spectrum(["blur"]),
    "spectrum of five": lambda: spectrum(["subsample", "max", "average", "blur", "fourier"]),
    "spectrum of a long name": lambda: spectra(pictures()[0][0]),
    "sound of a long name": lambda: spectra(Sound(noise(4000), rate=8000)),
    "volume of a long name": lambda: spectra(Volume(noise(16, 24, 20))),
    "folding above Nyquist": lambda: plots.folding(1, 8000, [7000, 12000]),
    "folding": lambda: plots.folding(3, 16000, [440, 5000, 8000]),
    "alias": lambda: plots.alias(7000, 4, 48000, phase=1),
    "response": lambda: plots.response({"box2": "box2", LONG[3]: (1, 2, 1), "kaiser12": "kaiser12"}, 4),
    "shifts": lambda: heat(3, 3),
    "shifts of a path": lambda: heat(13, 4, names=True),
    "shifts of many": lambda: heat(17, 17),
}
