"""Does one command cure a network: steadier than it was, and than a control that trained as long without a filter?

`aliasing cure` chooses a conversion on training images, fine-tunes it and the plain network on the same batches, and
measures both on images that neither has seen. On a ResNet20 for CIFAR-10 a single short epoch is enough. On
EfficientNet-Lite0, for which there are a hundred training photographs here and not a million, it is not, and the
sentences say so.
"""

from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import aliasing as al
from aliasing.called import explained
from aliasing.curing import Cure
from aliasing.images import ImageSource, choose_images
from aliasing.models import Classifier, load_model
from aliasing.outputs.probabilities import Probabilities
from aliasing.plots.differences import paired
from aliasing.plots.style import save, style
from aliasing.surgery.finetune import Recipe
from aliasing.tables import counted
from experiments._cifar import cifar_resnet, cifar_test, cifar_train
from experiments._photographs import LITE, others, photographs
from experiments._run import Run

SHOWN = ("top1_change", "accuracy")


def run(run: Run) -> dict[str, Any]:
    """Cure both networks and draw the differences."""
    results: dict[str, Cure] = {}
    data: dict[str, Any] = {}
    test, data["CIFAR ResNet20"] = cifar_test(run, full=2000, quick=16)
    train: Any = cifar_train(run)
    train = choose_images(train, limit=48) if run.quick else choose_images(train, sample=4000)
    results["CIFAR ResNet20"] = _cured(run, cifar_resnet(run, 20), train, test, Recipe(epochs=1), {})
    if not run.quick:
        held_out, data["EfficientNet-Lite0"] = photographs(run, full=120, quick=4)
        recipe = Recipe(epochs=1, batch_size=16)
        options: dict[str, Any] = {"protocol": "crop:span=1", "candidates": ["binomial3,all", "binomial3,before,all"]}
        train = others(run, held_out, 120)
        results["EfficientNet-Lite0"] = _cured(run, load_model(LITE[0]), train, held_out, recipe, options)
    summaries = {name: result.summary() for name, result in results.items()}
    found = {
        "settings": {name: summary["settings"] | _how(summary) for name, summary in summaries.items()},
        "data": data,
        "weights": {name: {n: m["weights"] for n, m in s["models"].items()} for name, s in summaries.items()},
        "numbers": {name: _numbers(summary) for name, summary in summaries.items()},
    }
    save(draw(found), run.out / "figure.png")
    return found


def _cured(
    run: Run, plain: Classifier, train: Any, held_out: ImageSource, recipe: Recipe, options: dict[str, Any]
) -> Cure:
    folder = run.out / "records" / plain.name.replace(" ", "-").replace(":", "-")
    _, result = al.cure(plain, train, held_out, folder, recipe, tell=print, **options)
    return result


def _how(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary["cure"][name] for name in ("recipe", "images", "chosen")}


def _numbers(summary: dict[str, Any]) -> dict[str, Any]:
    kept = ("top1_change", "mac", "accuracy")
    return {
        "verdict": summary["verdict"],
        "cured": summary["cure"]["cured"],
        "guilty": summary["cure"]["guilty"],
        "candidates": summary["cure"]["candidates"],
        "cost": summary["cure"]["cost"],
        "networks": {name: {key: model[key] for key in kept} for name, model in summary["models"].items()},
        "differences": [{key: row[key] for key in ("second", "first", *kept)} for row in summary["differences"]],
    }


def draw(found: dict[str, Any]) -> Figure:
    """A row a network: the paired differences of jitter and of accuracy; from the parts of ``summary.json``."""
    numbers = found["numbers"]
    with style():
        figure, rows = plt.subplots(
            len(numbers), 2, figsize=(10, 0.9 + 2.7 * len(numbers)), squeeze=False, sharey="row"
        )
        for panels, (name, cure) in zip(rows, numbers.items(), strict=True):
            settings, numbers_of = found["settings"][name], {one: place for place, one in enumerate(cure["networks"])}
            for axes, measure in zip(panels, SHOWN, strict=True):
                paired(axes, cure["differences"], Probabilities.measure(measure), numbers_of)
            outcome = "cured" if cure["cured"] else "no cure is shown"
            chosen = settings["chosen"].replace(",", ", ")
            panels[0].set_title(f"{name}, {chosen}: {outcome}", loc="left", fontsize=10)
            shown = f"{counted(settings['images']['held_out'], 'held-out image')}, 95 % intervals"
            panels[1].set_title(f"{name}: {shown}", loc="left", fontsize=10)
        figure.suptitle(fill(explained(settings["chosen"] for settings in found["settings"].values()), 130), fontsize=9)
        return figure
