"""Which of the networks available here is right, stays right when the image moves, and at what price?

This measures every network whose weights need no download: plain, anti-aliased (a binomial filter of 3 taps in the
published placement), and with its batch-norm statistics re-estimated from other images. Published for networks that
were *trained* anti-aliased: consistency +1 to +3 points at no loss of accuracy (Zhang 2019). These networks were not
trained so, so we do not expect a gain and ask what converting costs.

EfficientNet-Lite on ImageNet photographs: all shifts within a pixel, and two random windows for consistency. The CIFAR
ResNets (He et al. 2016) on CIFAR-10 test images: ``pad``, for both.
"""

from typing import Any

import torch

from aliasing import plots, tables
from aliasing.images import ImageSource, open_images
from aliasing.leaderboard import Leaderboard, compare_networks
from aliasing.provenance import write_bytes
from experiments._cifar import cifar_resnet, cifar_test, cifar_train
from experiments._photographs import LITE, evenly, others, photographs
from experiments._run import Run

TAPS = "binomial3"
CIFAR_LAYERS = (20, 32, 44, 56)


def run(run: Run) -> dict[str, Any]:
    """Measure both leaderboards; figure.png and cifar.png, and leaderboard.md with both tables."""
    torch.set_num_threads(1)
    source, data = photographs(run, full=120, quick=2)
    networks = LITE[:1] if run.quick else LITE
    rest = others(run, source, 4 if run.quick else 128)
    boards = {"photographs": _board(run, "photographs", networks, source, rest)}
    found: dict[str, Any] = {"photographs": data}
    plots.save(plots.leaderboard(boards["photographs"]), run.out / "figure.png")
    if (run.data / "cifar10").exists() or not run.quick:
        tests, found["CIFAR-10"] = cifar_test(run, full=1000, quick=16)
        train = evenly(open_images(cifar_train(run)), 64 if run.quick else 1000)[0]
        resnets = [cifar_resnet(run, layers) for layers in (CIFAR_LAYERS[:1] if run.quick else CIFAR_LAYERS)]
        statistics = ImageSource(f"{len(train)} training images", lambda: iter(train))
        boards["CIFAR-10"] = _board(run, "cifar", resnets, tests, statistics, protocol="pad", consistency="pad")
        plots.save(plots.leaderboard(boards["CIFAR-10"]), run.out / "cifar.png")
    texts = [f"# {name}\n\n{_markdown(board)}" for name, board in boards.items()]
    write_bytes(run.out / "leaderboard.md", "\n\n".join([*texts, ""]).encode())
    summaries = {name: board.summary() for name, board in boards.items()}
    return {
        "settings": {name: summary["settings"] for name, summary in summaries.items()},
        "data": found,
        "weights": {
            name: model["weights"] for summary in summaries.values() for name, model in summary["models"].items()
        },
        "numbers": {
            name: {key: summary[key] for key in ("models", "differences", "pareto", "unmeasured")}
            for name, summary in summaries.items()
        },
    }


def _board(
    run: Run,
    key: str,
    networks: Any,
    source: ImageSource,
    statistics: ImageSource,
    **protocols: str,
) -> Leaderboard:
    out = None if run.quick else run.out / "records" / key
    options: dict[str, Any] = {"recalibrate_on": statistics, "out": out, "progress": True, **protocols}
    return compare_networks(networks, source, antialiased=[TAPS], **options)


def _markdown(board: Leaderboard) -> str:
    """The table without the speeds, which differ in every run."""
    summary = board.summary()
    return "\n\n".join([*tables.slide(summary), *tables.leaderboard_tables(summary, {}, "markdown")])
