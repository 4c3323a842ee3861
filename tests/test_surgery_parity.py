"""Zhang's published networks (2019), by their published implementation: same weights, same outputs.

The peer keeps its taps in float32 (they are dyadic, so exact), and everything else in float64 here.
"""

import pytest
import torch
from networks import difference, image, randomise
from torch import nn

from aliasing.surgery import antialias_, from_published, restore_

peers = pytest.importorskip("antialiased_cnns")

SMALL = ["resnet18", "alexnet", "vgg11", "densenet121", "mobilenet_v2"]
PUBLISHED = [
    "alexnet",
    *(f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    "mobilenet_v2",
]


def published(name: str, filter_size: int) -> nn.Module:
    """The peer, without the seconds that drawing its weights takes: they are replaced, and biases are 0.1 for all."""
    with pytest.MonkeyPatch.context() as patch:
        for initialise in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):
            patch.setattr(nn.init, initialise, lambda tensor, *args, **kwargs: tensor.fill_(0.1))
        network: nn.Module = getattr(peers, name)(filter_size=filter_size)
    return network


def without_dropout(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@torch.no_grad()
def assert_parity(name: str, filter_sizes: tuple[int, ...]) -> None:
    from torchvision.models import get_model

    first = randomise(published(name, filter_sizes[0])).double()
    weights = {key: value for key, value in first.state_dict().items() if not key.endswith("filt")}
    with torch.device("meta"):
        ours = without_dropout(get_model(name, weights=None))
    # Both networks hold the very same tensors. Batch norm updates its statistics in them, but reads them in eval only.
    ours.load_state_dict(from_published(first.state_dict(), ours), assign=True)
    x = image(224)
    for size in filter_sizes:
        theirs = without_dropout(published(name, size)).double()
        theirs.load_state_dict(weights, strict=False, assign=True)
        antialias_(ours, taps=f"binomial{size}", example_input=x)
        for training in (False, True):
            found, expected = (network.train(training)(x) for network in (ours, theirs))
            assert expected.std() > 0
            assert difference(found, expected) < 1e-10, (size, training)
        restore_(ours)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str) -> None:
    assert_parity(name, (4,))


def test_every_filter() -> None:
    assert_parity("mobilenet_v2", (2, 3, 5, 6, 7))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_with_every_filter(name: str) -> None:
    assert_parity(name, (2, 3, 4, 5, 6, 7))
