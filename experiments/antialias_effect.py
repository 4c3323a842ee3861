"""What does anti-aliasing do to networks with real weights, and does a little training bring their accuracy back?

This measures CIFAR ResNets (He et al. 2016) on the CIFAR-10 test images, and EfficientNet-Lite0 on ImageNet
photographs: plain, converted, recalibrated and (CIFAR) fine-tuned, with the operator after and before the convolution.
The plain network is fine-tuned with the same recipe, since training on these images helps by itself.

``python -m experiments.antialias_effect --data ../shared/data --work runs/effect`` resumes where it stopped: a network
whose numbers are there is done, and training resumes from its last epoch.
"""

import argparse
import csv
import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import aliasing as al
from aliasing.jitter import Jitter
from aliasing.provenance import versions, write_json
from aliasing.rounding import rounded
from aliasing.surgery import antialias, recalibrate, save
from aliasing.surgery.finetune import PRECISIONS, Recipe, finetune

TAPS = "binomial3"
PLACEMENTS = ("after", "before")
CONTROL = "plain, fine-tuned"
# More batches than these hardly move the statistics, and the plain network's come from many epochs.
RECALIBRATION_IMAGES = 5000
MEASURES = ("accuracy", "consistency", "top1_change", "mac")

Made = dict[str, tuple[al.Classifier, float]]


def cifar_variants(name: str, data: Path, work: Path, recipe: Recipe, limit: int | None) -> Made:
    """Each variant of a CIFAR ResNet, and the minutes of one core that it took to make."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import cifar_resnet

    plain: al.Classifier = getattr(cifar_resnet, name)()
    plain.module.load_state_dict(safetensors.torch.load_file(data / "cifar10-resnets" / f"{name}.safetensors"))
    train = str(data / "cifar10" / "train.parquet")
    made: Made = {}

    def add(title: str, make: Callable[[], al.Classifier], spent: float = 0.0) -> al.Classifier:
        begin = time.process_time()
        classifier = make()
        made[title] = replace(classifier, name=title), spent + (time.process_time() - begin) / 60
        print(f"{name}: {title}, {rounded(made[title][1], '.2f')} core-minutes", flush=True)
        return classifier

    def tune(title: str, network: al.Classifier, folder: Path) -> None:
        # What was spent before a stop counts too.
        clock = folder / "minutes.json"
        spent = json.loads(clock.read_text()) if clock.exists() else 0.0
        tuned = add(title, lambda: finetune(network, train, folder, recipe, limit=limit), spent)
        write_json(clock, made[title][1])
        save(tuned, folder / "weights.safetensors")

    add("plain", lambda: plain)
    tune(CONTROL, plain, work / f"{name}-plain")
    for placement in PLACEMENTS:
        converted = add(placement, lambda p=placement: antialias(plain, taps=TAPS, placement=p))  # type: ignore[misc]
        add(
            f"{placement}, recalibrated",
            lambda c=converted: recalibrate(c, train, batch_size=500, limit=RECALIBRATION_IMAGES),  # type: ignore[misc]
        )
        tune(f"{placement}, fine-tuned", converted, work / f"{name}-{placement}")
    return made


def lite0_variants(photographs: list[str]) -> Made:
    """EfficientNet-Lite0, plain, converted and recalibrated."""
    plain = al.load_model("pypi:efficientnet_lite0")
    made: Made = {"plain": (replace(plain, name="plain"), 0.0)}
    for placement in PLACEMENTS:
        begin = time.process_time()
        converted = antialias(plain, taps=TAPS, placement=placement)  # type: ignore[arg-type]
        made[placement] = replace(converted, name=placement), (time.process_time() - begin) / 60
        title = f"{placement}, recalibrated"
        recalibrated = recalibrate(converted, photographs, batch_size=50)
        made[title] = replace(recalibrated, name=title), (time.process_time() - begin) / 60
        print(f"lite0: {title}, {rounded(made[title][1], '.2f')} core-minutes", flush=True)
    return made


def measure(made: Made, images: Any, protocol: str, limit: int | None) -> dict[str, Any]:
    """Measure every variant, and its paired differences from the plain network and the plain one trained as long."""
    result = al.measure_jitter(
        [classifier for classifier, _ in made.values()], images, protocol, batch_size=100, limit=limit
    )
    models = result.summary()["models"]
    return {
        "protocol": result.settings["protocol"],
        "images": models["plain"]["images"],
        "minutes": {title: minutes for title, (_, minutes) in made.items()},
        "variants": {title: {key: models[title][key] for key in MEASURES} for title in made},
        "minus plain": differences(result, "plain"),
        "minus plain, fine-tuned": differences(result, CONTROL) if CONTROL in made else {},
    }


def differences(result: Jitter, first: str) -> dict[str, Any]:
    """Each variant minus a reference, on the same images, with the paired interval."""
    pairs = {title: result.difference(first, title).estimates() for title in result.models if title != first}
    return {title: {key: pair[key].as_dict() for key in MEASURES} for title, pair in pairs.items()}


def draw(found: dict[str, Any], path: Path) -> None:
    """P(top-1 change) and accuracy of every variant, with 95 % intervals."""
    import matplotlib.pyplot as plt

    from aliasing.plots.style import COLOURS, save, style

    colours = dict(zip(("plain", *PLACEMENTS), (COLOURS[6], *COLOURS), strict=False))
    variants = found["variants"]
    labels = [
        f"{title} ({rounded(found['minutes'][title], '.1f')} min)" if "," in title else title for title in variants
    ]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 1.2 + 0.32 * len(variants)), sharey=True)
        for axis, (key, title) in zip(
            axes, (("top1_change", "P(top-1 change)"), ("accuracy", "accuracy")), strict=True
        ):
            for row, (variant, estimates) in enumerate(variants.items()):
                low, value, high = (estimates[key][part] for part in ("low", "value", "high"))
                colour = colours[variant.split(",")[0]]
                axis.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
            axis.set(xlabel=title, yticks=range(len(variants)), yticklabels=labels)
            axis.grid(axis="x", alpha=0.3)
        axes[0].set_xlim(left=0)
        axes[0].invert_yaxis()
        figure.suptitle(heading(found), fontsize=11)
        save(figure, path)


def heading(found: dict[str, Any]) -> str:
    """Which network, on what, trained how long."""
    protocol = found["protocol"]["name"]
    if found["network"] == "lite0":
        return (
            f"EfficientNet-Lite0 on {found['images']} ImageNet photographs, `{protocol}`, {TAPS}\n"
            "(many are training images: accuracy is flattered)"
        )
    images = found["settings"]["training_images"] or 50_000
    return (
        f"CIFAR {network_name(found)} on {found['images']:,} test images, `{protocol}`, {TAPS}\n"
        f"fine-tuned: {epochs(found)} of {images:,} training images; minutes of one core"
    )


def network_name(found: dict[str, Any]) -> str:
    """A CIFAR network's name."""
    return str(found["network"]).replace("resnet", "ResNet-")


def epochs(found: dict[str, Any]) -> str:
    """How long it was trained."""
    number = found["settings"]["recipe"]["epochs"]
    return "1 epoch" if number == 1 else f"{number} epochs"


def draw_gain(found: list[dict[str, Any]], path: Path) -> None:
    """What the filter itself gains: fine-tuned with it minus fine-tuned without, on the same images."""
    import matplotlib.pyplot as plt

    from aliasing.plots.style import COLOURS, save, style

    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 1.2 + 0.5 * len(found)), sharey=True)
        for axis, key in zip(axes, ("consistency", "accuracy"), strict=True):
            axis.axvline(0, color="0.6", linewidth=1)
            for row, network in enumerate(found):
                for offset, (placement, colour) in enumerate(zip(PLACEMENTS, COLOURS, strict=False)):
                    gain = network["minus plain, fine-tuned"][f"{placement}, fine-tuned"][key]
                    errors = [[gain["value"] - gain["low"]], [gain["high"] - gain["value"]]]
                    place, label = row + 0.3 * offset - 0.15, placement if row == 0 else None
                    axis.errorbar(gain["value"], place, xerr=errors, fmt="o", color=colour, capsize=3, label=label)
            labels = [f"{network_name(network)}, {epochs(network)}" for network in found]
            axis.set(xlabel=f"{key}, filtered − plain", yticks=range(len(found)), yticklabels=labels)
            axis.grid(axis="x", alpha=0.3)
            axis.locator_params(axis="x", nbins=6)
        axes[0].set_ylim(len(found) - 0.5, -0.5)
        axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
        figure.suptitle(
            f"Fine-tuned with the filter minus fine-tuned without, `{found[0]['protocol']['name']}`, {TAPS}",
            fontsize=11,
        )
        save(figure, path)


def tables(found: list[dict[str, Any]]) -> str:
    """The CIFAR networks' numbers as Markdown, for the README."""
    names = [f"{network_name(network)}, {epochs(network)}" for network in found]
    lines: list[str] = []

    def add(what: str, rows: dict[str, list[str]], columns: list[str]) -> None:
        lines.extend((f"| {what} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"))
        lines.extend(f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items())
        lines.append("")

    for key, what in (("top1_change", "P(top-1 change)"), ("accuracy", "accuracy")):
        rows = {
            variant: [interval(network["variants"][variant][key], ".3f") for network in found]
            for variant in found[0]["variants"]
        }
        add(what, rows, names)
    spent = {
        variant: [rounded(network["minutes"][variant], ".1f") for network in found]
        for variant in found[0]["variants"]
        if "," in variant
    }
    add("minutes", spent, names)
    differences = {
        f"{name}: {placement}, fine-tuned − {first}": [
            interval(network[f"minus {first}"][f"{placement}, fine-tuned"][key], "+.3f")
            for key in ("consistency", "accuracy")
        ]
        for first in ("plain", CONTROL)
        for placement in PLACEMENTS
        for name, network in zip(map(network_name, found), found, strict=True)
    }
    add("", differences, ["consistency", "accuracy"])
    return "\n".join(lines)


def interval(estimate: dict[str, float], form: str) -> str:
    """An estimate and its interval."""
    return f"{estimate['value']:{form}} [{estimate['low']:{form}}, {estimate['high']:{form}}]"


def main() -> None:
    """Run, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("figures/antialias_effect"))
    parser.add_argument("--work", type=Path, required=True, help="a folder for the training runs and their weights")
    cifar = [f"resnet{layers}" for layers in (20, 32, 44, 56)]
    parser.add_argument("--networks", nargs="+", default=["lite0", *cifar], choices=["lite0", *cifar])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--limit", type=int, default=25_600, help="train on the first N images")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="precision of the training")
    parser.add_argument("--test-limit", type=int, help="measure on the first N images")
    parser.add_argument("--threads", type=int, help="torch's threads; use one if the cores are shared")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = Recipe(epochs=arguments.epochs, learning_rate=arguments.learning_rate, precision=arguments.precision)
    for name in arguments.networks:
        file = arguments.out / f"{name}.json"
        settings = {"taps": TAPS, "threads": torch.get_num_threads(), "test_images": arguments.test_limit}
        if name != "lite0":
            settings |= {"recipe": vars(recipe), "training_images": arguments.limit}
        if not file.exists() or json.loads(file.read_text())["settings"] != settings:
            if name == "lite0":
                folder = arguments.data / "imagenet-sample"
                with (folder / "labels.csv").open() as rows:
                    labelled = [(str(folder / row["file"]), int(row["label"])) for row in csv.DictReader(rows)]
                # Statistics from every other photograph, numbers from the rest.
                made = lite0_variants([path for path, _ in labelled[1::2]])
                found = measure(made, labelled[::2], "consistency:draws=4", arguments.test_limit)
            else:
                made = cifar_variants(name, arguments.data, arguments.work, recipe, arguments.limit)
                found = measure(made, str(arguments.data / "cifar10" / "test.parquet"), "pad", arguments.test_limit)
            command = shlex.join(["python", "-m", "experiments.antialias_effect", *sys.argv[1:]])
            content = {"network": name, "settings": settings, "command": command, "versions": versions(), **found}
            write_json(file, content)
        draw(json.loads(file.read_text()), arguments.out / f"{name}.png")
        print(f"{name}: done", flush=True)
    done = [json.loads(path.read_text()) for name in cifar if (path := arguments.out / f"{name}.json").exists()]
    if done and all("minus plain, fine-tuned" in found for found in done):
        draw_gain(done, arguments.out / "gain.png")
        print(tables(done))


if __name__ == "__main__":
    main()
