"""How far is a network from moving with its input, for an infinitely small shift, and how much does each layer add?

Gruver, Finzi, Goldblum & Wilson (2022): the Lie-derivative error of a whole network is a sum over its layers, and most
of it comes from where the signal is subsampled and from activations. Measured here on real weights, each network plain
and converted (a filter of four taps at its downsampling sites, nothing trained): EfficientNet-Lite0 on photographs, a
ResNet-20 on CIFAR-10.
"""

from typing import Any

from aliasing import plots
from aliasing.depth import lie_error
from aliasing.models import load_model
from aliasing.surgery import antialias
from experiments._cifar import cifar_resnet, cifar_test
from experiments._photographs import LITE, photographs
from experiments._run import Run


def run(run: Run) -> dict[str, Any]:
    """Measure both networks, plain and converted."""
    pictures, data = photographs(run, full=12, quick=1)
    tests, cifar_data = cifar_test(run, full=100, quick=2)
    subjects = {"cifar": (cifar_resnet(run, 20), tests), "lite": (load_model(LITE[0]), pictures)}
    numbers, weights = {}, {}
    for key, (network, images) in subjects.items():
        profiles = [lie_error(model, images, batch_size=4) for model in (network, antialias(network))]
        plots.save(plots.lie(profiles), run.out / f"{key}.png")
        numbers[key] = {profile.model: profile.summary() for profile in profiles}
        weights[network.name] = network.weights
    return {
        "settings": {"direction": [1, 1], "converted": "binomial4, scheme zhang2019, placement after; nothing trained"},
        "data": {"photographs": data, "cifar10": cifar_data},
        "weights": weights,
        "numbers": numbers,
    }
