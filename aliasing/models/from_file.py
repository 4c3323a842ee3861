"""Weights in a file, for an architecture of another source: ``file:PATH@torchvision:resnet50``."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from aliasing.errors import UsageError
from aliasing.kinds import SOURCES
from aliasing.models.checkpoints import read_checkpoint
from aliasing.models.classifier import ShownNetwork, record_weights
from aliasing.models.source import Source, split


def load(name: str, **changes: Any) -> ShownNetwork:
    """``PATH@ARCHITECTURE`` → the architecture with the weights in that file, converted if the file says so."""
    from aliasing.surgery.specification import reapply  # surgery imports models

    parts = re.fullmatch(r"(.+)@(?!test$)([^@]+(?:@test)?)", name, re.DOTALL)  # @test is the end of a name of timm's
    if not parts:
        raise UsageError(f"file:{name}; expected file:PATH@ARCHITECTURE, as in file:weights.pth@torchvision:resnet50")
    path = Path(parts[1]).expanduser()
    source, architecture = split(parts[2])
    assemble = SOURCES[source].assemble
    if assemble is None:
        able = ", ".join(name for name, other in SOURCES.items() if other.assemble)
        raise UsageError(f"file:{name}: {source}: has no architectures; expected {able}")
    loaded = assemble(architecture, read_checkpoint(path), **changes)
    # The architecture as it was given: the name of official weights would not be that of these.
    loaded = replace(loaded, name=f"file:{parts[1]}@{source}:{architecture}")
    return reapply(record_weights(loaded, parts[1]), path)


SOURCE = Source(load=load)
