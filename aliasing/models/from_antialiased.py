"""Converted networks: ``antialiased:binomial4:torchvision:resnet50``; see `aliasing.surgery.specification`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aliasing.models.classifier import Classifier


def load(name: str, **changes: Any) -> "Classifier":
    """Load a network, which may see images in another way than its source says, and convert it."""
    # Surgery is built on models; only the name comes back here.
    from aliasing.surgery import specification

    return specification.load(name, **changes)


def reapply(classifier: "Classifier", path: Path) -> "Classifier":
    """Convert a network as the file of its weights says, if it says so."""
    from aliasing.surgery import specification

    return specification.reapply(classifier, path)
