"""The embedding of a network: what its last linear layer takes."""

from collections.abc import Callable

from torch import Tensor, nn

from aliasing.hooks import seen
from aliasing.models.classifier import ShownNetwork
from aliasing.sites.trace import on_trial


def penultimate_layer(classifier: ShownNetwork) -> str | None:
    """The name of the nn.Linear whose output is the network's answer to a black image, or None.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> half = (0.5, 0.5, 0.5)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> penultimate_layer(Classifier(network, "tiny", 4, half, half, "bilinear", 4, 1.0))
    '3'
    """
    outputs: dict[str, Tensor] = {}
    with on_trial(classifier.module) as module:
        linear = {name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
        with seen(module, linear, lambda name, call, args, output: outputs.__setitem__(name, output)):
            answer = module(classifier.blank())
    for name, output in outputs.items():
        # Flatten, Identity and Dropout after the layer return the same memory.
        if output.data_ptr() == answer.data_ptr() and output.numel() == answer.numel():
            return name
    return None


def penultimate_features(classifier: ShownNetwork) -> Callable[[Tensor], Tensor]:
    """The function from a normalised batch to the network's embeddings N×D.

    An embedding is the input of the last linear layer if that layer gives the network's output; otherwise it is the
    output itself, averaged over space if that is a map.

    Examples
    --------
    >>> from aliasing.models import Classifier
    >>> import torch
    >>> half = (0.5, 0.5, 0.5)
    >>> network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
    >>> features = penultimate_features(Classifier(network, "tiny", 4, half, half, "bilinear", 4, 1.0))
    >>> features(torch.zeros(7, 3, 4, 4)).shape
    torch.Size([7, 6])
    """
    name, axes = penultimate_layer(classifier), len(classifier.view_size)
    if name is None:
        return lambda batch: _pool(classifier.module(batch), axes)

    def features(batch: Tensor) -> Tensor:
        inputs: list[Tensor] = []
        with seen(classifier.module, {name}, lambda name, call, args, output: inputs.append(args[0])):
            classifier.module(batch)
        return _pool(inputs[-1], 2)  # tokens if there are three axes: a linear layer takes channels last

    return features


def _pool(features: Tensor, axes: int) -> Tensor:
    """Average a map N×C×axes over space, or tokens N×T×C over their number."""
    if features.ndim == axes + 2:
        return features.mean(tuple(range(2, axes + 2)))
    return features.mean(1) if features.ndim == 3 else features.flatten(1)
