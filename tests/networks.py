"""Networks for the tests of surgery: random weights that keep a signal alive, batch norm that is not the identity."""

from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Net(nn.Module):
    """A network that is a function of itself and of what it is shown, with these parts."""

    def __init__(self, way: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.way = way
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given: Any, **more: Any) -> Any:
        return self.way(self, *given, **more)


def build(name: str, **options: Any) -> nn.Module:
    """``torchvision:…`` or ``timm:…`` in eval mode, with random weights; the same ones every time."""
    torch.manual_seed(0)
    source, _, architecture = name.partition(":")
    if source == "timm":
        network = timm.create_model(architecture, **options)
    else:
        if architecture in ("googlenet", "inception_v3"):
            options = {"init_weights": False, **options}
        network = torchvision.models.get_model(architecture, weights=None, **options)
    return randomise(network)


def randomise(network: nn.Module) -> nn.Module:
    """Fill a network with weights whose outputs vary with their inputs in every layer."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) and not nn.parameter.is_lazy(
                module.weight
            ):
                fan_in = module.weight[0].numel()
                # Clip nothing and draw once: He's standard deviation for a rectified input.
                module.weight.copy_(_normal(module.weight, (2 / fan_in) ** 0.5, generator))
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                module.running_mean.copy_(_normal(module.running_mean, 0.1, generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
                if module.weight is not None:
                    module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                    module.bias.copy_(_normal(module.bias, 0.1, generator))
            # Layer scale starts at 1e-6 in some networks, which would hide what a block does.
            for name, parameter in module.named_parameters(recurse=False):
                if name in ("gamma", "gamma_1", "gamma_2", "layer_scale", "ls"):
                    parameter.fill_(0.5)
    return network.eval()


@torch.no_grad()
def settle(network: nn.Module, x: torch.Tensor) -> None:
    """Give batch norms the statistics of a batch, so that a signal keeps its size and roundings stay roundings.

    With random statistics, a deep network (timm's legacy_senet154) turns a change in the last bit into one of 0.4.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean, of one batch
        norm.train()
    network(x)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _normal(like: torch.Tensor, deviation: float, generator: torch.Generator) -> torch.Tensor:
    """Normal numbers, drawn once for up to a million values and repeated: large networks need no more."""
    count = min(like.numel(), 1_000_003)
    drawn = deviation * torch.randn(count, generator=generator)
    return drawn.repeat(-(-like.numel() // count))[: like.numel()].view(like.shape)


def image(size: int, *, batch: int = 1, channels: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A random image; white noise holds all frequencies."""
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def signal(size: int, dims: int) -> torch.Tensor:
    """White noise of three channels with this number of axes: a sound, a picture, a volume."""
    return torch.randn(1, 3, *(size,) * dims, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())
