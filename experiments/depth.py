"""Jitter against depth: across networks, and layer by layer, plain and anti-aliased.

Claims (Azulay & Weiss 2019): the deeper and the more subsampled a network, the more it jitters (P(top-1 change) on
crops 0.062 for VGG16, 0.061 for ResNet50, 0.068 for DenseNet121); and in deep layers a small shift of the image does
not shift the feature map: it changes it.

The consistencies that Zhang (2019) published contradict the first claim: they rise with depth within a family (resnet18
to resnet152 85.1 to 90.9 %, vgg11 to vgg19 86.6 to 89.2 %). Deeper networks are more accurate too, so jitter is also
given for pairs whose first view is right, and matched on the first view's top-1 margin.

Measured here (``figures/depth``): EfficientNet-Lite0/1/2 on photographs, the CIFAR ResNets of 20 to 56 layers on
CIFAR-10, both plain and converted (batch-norm statistics re-estimated, nothing trained). The paper's networks are
measured if their weights are available; otherwise the figure says that they are not. The first claim does not hold:
P(top-1 change) falls by 0.017 [0.005, 0.030] per doubling of the CIFAR ResNets' layers, and not at equal margin (−0.001
[−0.014, +0.013]); the data do not decide within EfficientNet-Lite. The second does: the share of a map's change that
the shift does not explain rises by 0.33 and 0.22 at ResNet20's two stages of sites.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torchvision.models import get_model

from aliasing import plots
from aliasing.depth import Profile, probe_depth
from aliasing.depth.across import compare_depths, network_depth
from aliasing.images import ImageSource
from aliasing.jitter import Jitter
from aliasing.models import Classifier, load_model
from aliasing.surgery import antialias, recalibrate
from experiments._cifar import cifar_resnet, cifar_test, cifar_train
from experiments._photographs import LITE, measure, obtainable, others, photographs
from experiments._run import Run

PAPERS = ("torchvision:vgg16", "torchvision:resnet50", "torchvision:densenet201")
FAMILIES = {"lite": "EfficientNet-Lite", "cifar": "CIFAR ResNet"}


def run(run: Run) -> dict[str, Any]:
    """Measure both families, plain and converted; then the shallowest and the deepest of each, layer by layer."""
    had, missing = obtainable(run, PAPERS)
    pictures, data = photographs(run, full=250, quick=3)
    tests, cifar_data = cifar_test(run, full=1500, quick=10)
    sizes = (20,) if run.quick else (20, 32, 44, 56)
    statistics = others(run, pictures, 4 if run.quick else 100)
    lite = [load_model(name) for name in (*(LITE[:1] if run.quick else LITE), *had)]
    cifar = [cifar_resnet(run, layers) for layers in sizes]
    # (networks, their images, the shift, images for the statistics, how many of those)
    subjects: dict[str, tuple[list[Classifier], ImageSource, str, Any, int]] = {
        "lite": (lite, pictures, "crop:span=4", statistics, 100),
        "cifar": (cifar, tests, "pad", cifar_train(run), 50 if run.quick else 2000),
    }
    depths, families, found, profiles = {}, {}, [], {}
    for key, (networks, images, protocol, unlabelled, count) in subjects.items():
        converted = [
            replace(recalibrate(antialias(network), unlabelled, limit=count), name=f"{network.name}, anti-aliased")
            for network in networks
        ]
        for plain, treated in zip(networks, converted, strict=True):
            family = FAMILIES[key] if plain.name not in had else plain.name
            depths |= dict.fromkeys((plain.name, treated.name), network_depth(plain))
            families |= {plain.name: family, treated.name: f"{family}, anti-aliased"}
        found.append(measure(run, key, [*networks, *converted], images, protocol))
        profiles[key] = layer_by_layer(run, key, networks, converted, images, protocol)
    unmeasured = dict.fromkeys(missing, "could not be measured here: its weights are not at hand")
    # Their depth is known without their weights.
    depths |= {name: network_depth(get_model(name.partition(":")[2], weights=None)) for name in missing}
    across = compare_depths(found, depths=depths, families=families, unmeasured=unmeasured)
    plots.save(plots.across(across), run.out / "figure.png")
    for key, profile in profiles.items():
        plots.save(plots.depth(profile), run.out / f"layers_{key}.png")
    return {
        "settings": {
            "protocols": {key: protocol for key, (_, _, protocol, _, _) in subjects.items()},
            "converted": "binomial4, scheme zhang2019, placement after; batch-norm statistics re-estimated",
            "statistics": {"lite": statistics.description, "cifar": "the first training images"},
        },
        "data": {"photographs": data, "cifar10": cifar_data},
        "weights": _weights(found),
        "numbers": {
            "across": {key: value for key, value in across.summary().items() if key not in ("versions", "command")},
            "layer_by_layer": {key: profile.summary()["models"] for key, profile in profiles.items()},
        },
    }


def layer_by_layer(
    run: Run, key: str, networks: Sequence[Classifier], converted: Sequence[Classifier], images: ImageSource, shift: str
) -> Profile:
    """Follow one shift through the shallowest and the deepest network, and the deepest converted."""
    chosen = {network.name: network for network in (networks[0], networks[-1], converted[-1])}
    protocol = "crop:span=1" if shift.startswith("crop") else shift
    out = None if run.quick else run.out / "records" / f"layers_{key}"
    limit = 2 if run.quick else 200 if key == "lite" else 500
    return probe_depth(list(chosen.values()), images, protocol, limit=limit, out=out, progress=True)


def _weights(found: Sequence[Jitter]) -> dict[str, Any]:
    return {name: model["weights"] for jitter in found for name, model in jitter.models.items()}
