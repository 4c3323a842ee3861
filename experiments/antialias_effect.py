"""What does anti-aliasing do to networks with real weights, and does a little training bring their accuracy back?

CIFAR ResNets (He et al. 2016) on the CIFAR-10 test images, and EfficientNet-Lite0 on ImageNet photographs: plain,
converted, recalibrated and (CIFAR) fine-tuned, the operator behind and before the convolution. The plain network is
fine-tuned by the same recipe, since training on these images helps by itself.

``python -m experiments.antialias_effect --data ../shared/data --out figures/antialias_effect``
"""

import argparse
import csv
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import aliasing as al
from aliasing.provenance import command_line, versions, write_json
from aliasing.surgery import antialias, recalibrate
from aliasing.surgery.finetune import Recipe, finetune

TAPS = "binomial3"


def cifar_variants(
    name: str, data: Path, work: Path, recipe: Recipe, limit: int | None
) -> dict[str, tuple[al.Classifier, float]]:
    """Each variant of a CIFAR ResNet, and the minutes that it took to make."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import cifar_resnet

    plain: al.Classifier = getattr(cifar_resnet, name)()
    plain.module.load_state_dict(safetensors.torch.load_file(data / "cifar10-resnets" / f"{name}.safetensors"))
    plain.module.to(memory_format=torch.channels_last)
    train = str(data / "cifar10" / "train.parquet")
    made: dict[str, tuple[al.Classifier, float]] = {"plain": (replace(plain, name="plain"), 0.0)}

    def add(title: str, make: Any) -> al.Classifier:
        begin = time.perf_counter()
        classifier = replace(make(), name=title)
        made[title] = classifier, (time.perf_counter() - begin) / 60
        print(f"{name}: {title} made in {made[title][1]:.1f} minutes", flush=True)
        return classifier

    add("plain, fine-tuned", lambda: finetune(plain, train, work / f"{name}-plain", recipe, limit=limit))
    for placement in ("after", "before"):
        converted = add(placement, lambda p=placement: antialias(plain, taps=TAPS, placement=p))
        add(f"{placement}, recalibrated", lambda c=converted: recalibrate(c, train, batch_size=500, limit=5000))
        folder = work / f"{name}-{placement}"
        add(f"{placement}, fine-tuned", lambda c=converted, f=folder: finetune(c, train, f, recipe, limit=limit))
    return made


def lite0_variants(photographs: list[str]) -> dict[str, tuple[al.Classifier, float]]:
    """EfficientNet-Lite0, plain, converted and recalibrated."""
    plain = al.load_model("pypi:efficientnet_lite0")
    made: dict[str, tuple[al.Classifier, float]] = {"plain": (replace(plain, name="plain"), 0.0)}
    for placement in ("after", "before"):
        begin = time.perf_counter()
        converted = antialias(plain, taps=TAPS, placement=placement)
        made[placement] = replace(converted, name=placement), (time.perf_counter() - begin) / 60
        title = f"{placement}, recalibrated"
        recalibrated = recalibrate(converted, photographs, batch_size=50)
        made[title] = replace(recalibrated, name=title), (time.perf_counter() - begin) / 60
        print(f"lite0: {title}", flush=True)
    return made


def measure(
    made: dict[str, tuple[al.Classifier, float]], images: Any, protocols: list[str], limit: int | None
) -> dict[str, Any]:
    """Accuracy and P(top-1 change) of every variant, and paired differences to the first."""
    found: dict[str, Any] = {"minutes": {title: minutes for title, (_, minutes) in made.items()}}
    for protocol in protocols:
        result = al.measure_jitter(
            [classifier for classifier, _ in made.values()], images, protocol, batch_size=100, limit=limit
        )
        summary = result.summary()
        wanted = ("top1_change", "accuracy", "mac")
        found[protocol] = {
            "variants": {t: {k: m[k] for k in wanted if k in m} for t, m in summary["models"].items()},
            "differences": summary["differences"],
        }
        print(protocol, "measured", flush=True)
    return found


def draw(found: dict[str, Any], protocol: str, path: Path) -> None:
    """Accuracy and P(top-1 change) of every variant, with 95 % intervals."""
    import matplotlib.pyplot as plt

    from aliasing.plots.style import save, style

    variants = found[protocol]["variants"]
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 0.5 + 0.4 * len(variants)), sharey=True)
        for axis, (key, title) in zip(
            axes, (("top1_change", "P(top-1 change)"), ("accuracy", "accuracy")), strict=True
        ):
            for row, estimates in enumerate(variants.values()):
                low, value, high = (estimates[key][part] for part in ("low", "value", "high"))
                axis.errorbar(
                    value, row, xerr=[[value - low], [high - value]], fmt="o", color=f"C{key == 'accuracy':d}"
                )
            axis.set(title=f"{title}, {protocol}", yticks=range(len(variants)), yticklabels=variants)
        axes[0].invert_yaxis()
        save(figure, path)


def main() -> None:
    """Run, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("figures/antialias_effect"))
    parser.add_argument("--work", type=Path, required=True, help="a folder for the training runs")
    parser.add_argument("--networks", nargs="+", default=["resnet20", "lite0"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, help="train on the first so many images")
    parser.add_argument("--test-limit", type=int, help="measure on the first so many images")
    parser.add_argument("--protocols", nargs="+", default=["pad", "consistency-cifar"], help="for the CIFAR ResNets")
    parser.add_argument("--threads", type=int, help="torch's; one where the cores are shared")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = Recipe(epochs=arguments.epochs, learning_rate=0.01, batch_size=128)
    for name in arguments.networks:
        if name == "lite0":
            folder = arguments.data / "imagenet-sample"
            with (folder / "labels.csv").open() as file:
                rows = [(str(folder / row["file"]), int(row["label"])) for row in csv.DictReader(file)]
            # Statistics from every other photograph, numbers from the rest.
            made = lite0_variants([path for path, _ in rows[1::2]])
            found = measure(made, rows[::2], ["consistency:draws=1"], arguments.test_limit)
        else:
            made = cifar_variants(name, arguments.data, arguments.work, recipe, arguments.limit)
            test = str(arguments.data / "cifar10" / "test.parquet")
            found = measure(made, test, arguments.protocols, arguments.test_limit)
        settings = {"taps": TAPS, "recipe": vars(recipe), "threads": torch.get_num_threads()}
        settings |= {"training_images": arguments.limit, "test_images": arguments.test_limit}
        content = {"network": name, "settings": settings, "command": command_line(), "versions": versions(), **found}
        write_json(arguments.out / f"{name}.json", content)
        protocol = next(key for key in found if key != "minutes")
        draw(found, protocol, arguments.out / f"{name}.png")


if __name__ == "__main__":
    main()
