"""Converted networks: ``antialiased:binomial4:torchvision:resnet50``; see `aliasing.surgery.specification`."""

from typing import Any

from aliasing.models.classifier import ShownNetwork
from aliasing.models.source import Source


def load(name: str, **changes: Any) -> ShownNetwork:
    """Load a network, with changes to its preprocessing if any, and convert it."""
    from aliasing.surgery import specification  # surgery is built on models

    return specification.load(name, **changes)


SOURCE = Source(load=load)
