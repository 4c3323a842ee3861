"""Do deeper networks jitter more? Jitter against depth, within a family before between families.

Claim (Azulay & Weiss 2019): the deeper and the more subsampled, the more a network jitters: P(top-1 change) on crops
0.062 for VGG16, 0.061 for ResNet50, 0.068 for DenseNet121. The consistencies that Zhang (2019) published contradict it:
they rise with depth within a family (resnet18 to resnet152 85.1 to 90.9 %, vgg11 to vgg19 86.6 to 89.2 %). The paper's
networks are measured if their weights are available; otherwise the figure says that they are not.

It reads the runs that ``aliasing jitter --out`` writes:

``python -m experiments.depth_across --runs figures/jitter RUN… --out figures/depth_across``
"""

import argparse
from pathlib import Path

import torch
import torchvision

from aliasing import plots
from aliasing.depth.across import compare_depths, network_depth
from aliasing.errors import InputError
from aliasing.models import load_model
from aliasing.provenance import write_json

PAPERS = ("torchvision:vgg16", "torchvision:resnet50", "torchvision:densenet201")


def unmeasured(names: tuple[str, ...]) -> dict[str, str]:
    """Which of these networks cannot be loaded here, and why."""
    reasons = {}
    for name in names:
        try:
            load_model(name)
        except InputError as error:
            reasons[name] = f"could not be measured here: {error}"
    return reasons


def main() -> None:
    """Compare, draw, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="folders that `aliasing jitter` wrote")
    parser.add_argument("--out", type=Path, default=Path("figures/depth_across"))
    arguments = parser.parse_args()
    missing = unmeasured(PAPERS)
    # Their depth is known without their weights.
    with torch.device("meta"):
        bare = {name: torchvision.models.get_model(name.partition(":")[2], weights=None) for name in missing}
    depths = {name: network_depth(module) for name, module in bare.items()}
    result = compare_depths(arguments.runs, depths=depths, unmeasured=missing)
    write_json(arguments.out / "summary.json", result.summary())
    plots.save(plots.across(result), arguments.out / "figure.png")
    for against in ("sites", "cumulative_stride"):
        plots.save(plots.across(result, against), arguments.out / f"{against}.png")


if __name__ == "__main__":
    main()
