"""How much of a street scene's label map moves with it: ESPNet and ENet, plain, converted and recalibrated.

Claim (Rojas-Gomez et al. 2022; nnU-Net's users, issue 2059): segmentation changes when the picture moves by a pixel,
and anti-aliased sampling makes it steadier.

Published: ESPNet 0.556 and ENet 0.521 mean IoU on CamVid's test set (Mehta et al. 2018; Paszke et al. 2016, other
weights). Computed elsewhere with these weights on all 233 test scenes: mean IoU 0.570 and 0.533; of the pixels that two
windows one pixel apart both see, 0.958 and 0.933 keep their class.

Measured here (``figures/segmentation``) on 30 of 59 scenes: 95.4 % and 93.4 % of the pixels keep their class, and
80.0 % and 74.4 % of those within 3 pixels of a boundary. A 3-tap filter without training adds 0.4 and 0.2 points
(1.5 and 0.4 at boundaries), and costs ESPNet 2.7 points of mean IoU. Of single sites, the stems gain most, which that
conversion leaves as they are: alone, 0.9 and 1.7 points. Recalibration on the 29 other scenes takes both back.

On all 59 scenes ESPNet, which may answer that a pixel is of no class, keeps the class of 95.5 % [95.3, 95.8], less than
the number computed elsewhere. Among the eleven classes that count it keeps 95.8 % [95.6, 96.0] with a mean IoU of 0.57,
as there: void is where the annotators did not know, and its borders move too. ENet never answers void: 93.5 % [93.2,
93.9] and 0.54. A loop without the package finds the same.
"""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor, nn

from aliasing.depth.attribution import attribute
from aliasing.images import open_images
from aliasing.jitter import Jitter, measure_jitter
from aliasing.jitter.network import ON_CPU, class_maps_of, prepare
from aliasing.models import Classifier
from aliasing.outputs.overlap import overlap
from aliasing.plots.style import COLOURS, save, style
from aliasing.protocols import make_protocol
from aliasing.rounding import rounded
from aliasing.sites import find_sites
from aliasing.surgery import antialias, recalibrate
from aliasing.tables import by_network
from experiments._photographs import bounds
from experiments._run import Run, hash_files
from experiments._scenes import VOID, enet, espnet

PROTOCOL = "crop:span=1"
TAPS = "binomial3"
NETWORKS = {"ESPNet": espnet, "ENet": enet}
PUBLISHED = {
    "ESPNet": {"miou": 0.556, "miou, elsewhere": 0.570, "pixel_agreement, elsewhere": 0.958},
    "ENet": {"miou": 0.521, "miou, elsewhere": 0.533, "pixel_agreement, elsewhere": 0.933},
}
MEASURES = ("pixel_agreement", "boundary_agreement", "interior_agreement", "miou_between", "miou", "miou_worst")
KINDS = ("plain", "converted", "recalibrated")


def run(run: Run) -> dict[str, Any]:
    """Measure every variant on every second scene; the others recalibrate."""
    scenes = sorted((run.folder("camvid") / "images").glob("*.png"))
    measured, others = (scenes[start : (6 if run.quick else None) : 2] for start in (0, 1))
    maps = run.folder("camvid") / "labels"
    weights = {name: run.folder("weights") / f"{name.lower()}.safetensors" for name in NETWORKS}
    numbers: dict[str, Any] = {}
    drawn = None
    for name, make in NETWORKS.items():
        plain = replace(make(weights[name]), name="plain")
        converted = replace(antialias(plain, taps=TAPS), name="converted")
        tuned = replace(recalibrate(converted, others, batch_size=8), name="recalibrated")
        result = measure([plain, converted, tuned], measured, maps)
        numbers[name] = numbers_of(result) | {"published": PUBLISHED[name]}
        numbers[name]["all scenes"] = as_elsewhere(plain, scenes[: 6 if run.quick else None], maps)
        numbers[name]["one site converted"] = by_site(plain, measured, maps, run.quick)
        drawn = drawn or [scene_of(network, measured[0]) for network in (plain, converted)]
    assert drawn is not None
    save(draw(numbers, drawn), run.out / "figure.png")
    return {
        "settings": {"protocol": PROTOCOL, "taps": TAPS, "scenes": len(measured), "recalibrated on": len(others)},
        "data": {"camvid": {"name": "camvid/images", "sha256": hash_files(measured)}},
        "weights": {name: hash_files([path]) for name, path in weights.items()},
        "numbers": numbers,
    }


def measure(networks: list[Classifier], scenes: Any, maps: Any) -> Jitter:
    """The label maps of networks on these scenes, against the ground truth."""
    return measure_jitter(networks, scenes, PROTOCOL, output="masks", truth=maps, void=VOID, batch_size=8)


def as_elsewhere(plain: Classifier, scenes: Any, maps: Any) -> dict[str, Any]:
    """Every scene, where the network may answer all twelve classes, and where only the eleven that count."""
    known = replace(plain, name="eleven classes", answer=without_void)
    found = measure([replace(plain, name="twelve classes"), known], scenes, maps).summary()["models"]
    return {name: {measure: model[measure] for measure in ("pixel_agreement", "miou")} for name, model in found.items()}


def without_void(module: nn.Module, pictures: Tensor) -> Tensor:
    """The answer among the classes that count."""
    answer: Tensor = module(pictures)[:, :VOID]
    return answer


def numbers_of(result: Jitter) -> dict[str, Any]:
    """Each variant's measures, and its differences from the plain network."""
    summary = result.summary()
    differences = by_network(summary["differences"])
    return {
        name: {measure: model[measure] for measure in MEASURES}
        | {f"{measure}, minus plain": differences[name][measure] for measure in MEASURES if name in differences}
        for name, model in summary["models"].items()
    }


def by_site(plain: Classifier, scenes: Any, maps: Any, quick: bool) -> dict[str, Any]:
    """What it changes to treat one site alone."""
    sites = [site.name for site in find_sites(plain) if site.status == "subsamples"][: 1 if quick else None]
    how: dict[str, Any] = {"output": "masks", "truth": maps, "void": VOID, "batch_size": 4}
    found = attribute(plain, scenes, PROTOCOL, taps=TAPS, sites=sites, **how)
    return {row["name"]: {key: row["only"][key] for key in ("pixel_agreement", "miou")} for row in found.ranking()}


def scene_of(network: Classifier, scene: Any) -> dict[str, Any]:
    """A scene, its label map, and where the map of the next window differs."""
    running = prepare(network, ON_CPU)
    views = make_protocol(PROTOCOL).views(next(iter(open_images(scene))).load(), running)
    pictures = np.stack([view.draw() for view in views.views])
    first, second = (found.labels for found in class_maps_of(running, ON_CPU)(pictures))
    (a, b), shift = (view.shift for view in views.views), None
    shift = (b[0] - a[0], b[1] - a[1])
    seen, moved = overlap(first, second, shift)
    picture = overlap(pictures[0].transpose(2, 0, 1), pictures[1].transpose(2, 0, 1), shift)[0].transpose(1, 2, 0)
    return {"name": network.name, "picture": picture, "labels": seen, "changed": seen != moved}


def draw(numbers: dict[str, Any], scenes: list[dict[str, Any]]) -> Figure:
    """Agreement and mean IoU of each variant, each site alone, and what changes in one scene."""
    with style():
        figure = plt.figure(figsize=(11, 7.4))
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.3, 1))
        pixels, ratio, sites = upper.subplots(1, 3, width_ratios=(1.1, 1, 0.9))
        for row, (name, found) in enumerate(numbers.items()):
            for axes, measures in ((pixels, MEASURES[:2]), (ratio, ("miou",))):
                for mark, measure in zip("os", measures, strict=False):
                    estimates = [found[kind][measure] for kind in KINDS]
                    places = np.arange(3) + (row - 0.5) * 0.24
                    values = [estimate["value"] for estimate in estimates]
                    label = f"{name}, {'within 3 pixels of a boundary' if mark == 's' else 'all pixels'}"
                    axes.errorbar(
                        places, values, bounds(estimates), fmt=mark, color=COLOURS[row], label=label, capsize=3
                    )
        for axes, title in ((pixels, "pixels that keep their class"), (ratio, "mean IoU, ground truth")):
            axes.set_xticks(range(3), KINDS, fontsize=7.5)
            axes.set_xlim(-0.5, 2.5)
            axes.set_title(title, fontsize=10)
        pixels.set_ylim(bottom=0.5)
        pixels.legend(fontsize=8, loc="lower left")
        rows = [
            (f"{name}: {site}", one["pixel_agreement"], COLOURS[row])
            for row, (name, found) in enumerate(numbers.items())
            for site, one in found["one site converted"].items()
        ]
        for place, (_, estimate, colour) in enumerate(rows):
            sites.errorbar(estimate["value"], place, xerr=bounds([estimate]), fmt="o", color=colour, capsize=3)
        sites.axvline(0, color="grey", linewidth=1)
        sites.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=7)
        sites.invert_yaxis()
        sites.set_title("gained by one site", fontsize=10)
        panels = lower.subplots(1, 3)
        panels[0].imshow(scenes[0]["picture"] / 255)
        panels[0].set_title("a scene", fontsize=10)
        for axes, scene in zip(panels[1:], scenes, strict=True):
            grey = scene["picture"].mean(2, keepdims=True).repeat(3, 2) / 255 * 0.6 + 0.3
            grey[scene["changed"]] = (0.84, 0.37, 0)
            axes.imshow(grey)
            axes.set_title(
                f"ESPNet, {scene['name']}: {rounded(100 * scene['changed'].mean(), '.1f')} % change", fontsize=10
            )
        for axes in panels:
            axes.set_axis_off()
        return figure
