"""Adaptive polyphase sampling promises invariance to circular shifts: what is left of it when the window really moves?

APS (Chaman & Dokmanić 2021) makes a network with circular padding exactly invariant to circular shifts, where no pixel
enters or leaves; FLC (Grabinski et al. 2022) makes its linear operators so, and not what the ReLUs between them fold.
Neither says anything of a window that moves over a scene. A trained CIFAR ResNet (He et al. 2016), converted at every
site and its batch-norm statistics taken again, is shown both: `circular`, the image rolled by 0 … 8 pixels along the
diagonal, and `pad`, the padded image seen through a window that moves by one pixel.

``python -m experiments.shift_guarantees --data ../shared/data --out figures/shift_guarantees``
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import aliasing as al
from aliasing.provenance import versions, write_json
from aliasing.surgery import antialias, recalibrate

PROTOCOLS = {"circular": "circular shifts", "pad": "a window that moves by one pixel"}
MEASURES = ("top1_change", "mac", "accuracy")
# A mean absolute change that is rounding alone is drawn here.
FLOOR = 1e-7


def variants(name: str, data: Path) -> list[al.Classifier]:
    """The network as it is, and converted at every site with every padding circular."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import cifar_resnet

    plain: al.Classifier = getattr(cifar_resnet, name)()
    plain.module.load_state_dict(safetensors.torch.load_file(data / "cifar10-resnets" / f"{name}.safetensors"))
    train = str(data / "cifar10" / "train.parquet")
    made = [replace(plain, name="plain")]
    for operator in ("blur", "flc", "aps"):
        converted = antialias(plain, operator=operator, scheme="all", padding="circular")  # type: ignore[arg-type]
        title = "blur, binomial4" if operator == "blur" else operator
        made.append(replace(recalibrate(converted, train, batch_size=500, limit=2000), name=title))
    return made


def draw(found: dict[str, Any], title: str, path: Path) -> None:
    """P(top-1 change) and mean absolute change of every network, under both kinds of shift."""
    import matplotlib.pyplot as plt

    from aliasing.plots.style import save, style

    networks = list(found["circular"])
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(10, 1.6 + 0.5 * len(networks)), sharey=True)
        for axis, key in zip(axes, ("top1_change", "mac"), strict=True):
            for offset, (protocol, label) in enumerate(PROTOCOLS.items()):
                for row, network in enumerate(networks):
                    low, value, high = (found[protocol][network][key][part] for part in ("low", "value", "high"))
                    if key == "mac":
                        low, value, high = (max(number, FLOOR) for number in (low, value, high))
                    axis.errorbar(
                        value,
                        row + 0.24 * offset - 0.12,
                        xerr=[[value - low], [high - value]],
                        fmt="o" if offset else "s",
                        color=f"C{offset}",
                        capsize=3,
                        label=label if row == 0 else None,
                    )
            axis.grid(axis="x", alpha=0.3)
        axes[0].set(xlabel="P(top-1 change)", yticks=range(len(networks)), yticklabels=networks)
        axes[0].set_xlim(left=-0.003)
        axes[0].set_ylim(len(networks) - 0.5, -0.5)
        axes[1].set(xlabel=f"mean absolute change (at {FLOOR:g}: rounding)", xscale="log")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle(title, fontsize=11)
        save(figure, path)


def main() -> None:
    """Run, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("figures/shift_guarantees"))
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--limit", type=int, default=1000, help="test images")
    parser.add_argument("--threads", type=int, help="torch's; one where the cores are shared")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    made = variants(arguments.network, arguments.data)
    images = str(arguments.data / "cifar10" / "test.parquet")
    found: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        summary = al.measure_jitter(made, images, protocol, batch_size=100, limit=arguments.limit).summary()
        found[protocol] = {name: {key: model[key] for key in MEASURES} for name, model in summary["models"].items()}
        print(protocol, "measured", flush=True)
    settings = {"network": arguments.network, "scheme": "all", "padding": "circular", "images": arguments.limit}
    settings |= {"threads": torch.get_num_threads(), "recalibration_images": 2000}
    command = shlex.join(["python", "-m", "experiments.shift_guarantees", *sys.argv[1:]])
    content = {"command": command, "settings": settings, "versions": versions(), "protocols": found}
    write_json(arguments.out / "summary.json", content)
    network = arguments.network.replace("resnet", "ResNet-")
    title = (
        f"CIFAR {network} anti-aliased at every site, circular padding: {arguments.limit:,} test images, 95 % intervals"
    )
    draw(found, title, arguments.out / "figure.png")


if __name__ == "__main__":
    main()
